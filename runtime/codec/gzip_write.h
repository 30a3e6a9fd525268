#ifndef MK_CODEC_GZIP_WRITE_H
#define MK_CODEC_GZIP_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define MK_GZIP_HEADER_BYTES  10
#define MK_GZIP_TRAILER_BYTES 10

/*
 * Writing one gzip member in parallel: a header, independently compressed raw-deflate segments
 * that each end on a byte boundary (full flush), then an empty final block, the CRC-32 of
 * everything and its length. See docs/internals/codecs.md for why one member, and for the one
 * rule about where segments may end (mk_gzip_cut).
 */
struct mk_gzip_segmenter; /* the compressor's state, reusable, one per thread at a time */

/* Level 1 is ISA-L's fast compressor, 2 to 9 are zlib's. */
struct mk_gzip_segmenter *mk_gzip_segmenter_new(int level, struct mk_error *err);
void mk_gzip_segmenter_free(struct mk_gzip_segmenter *segmenter);

struct mk_gzip_segment {
    const uint8_t *parts[2]; /* the input, in up to two pieces */
    size_t part_len[2];
    uint8_t *out;
    size_t out_cap; /* at least the input plus MK_BLOCK_SLACK */
    size_t out_len; /* result */
    uint32_t crc;   /* result: of the input */
};
int mk_gzip_segment_run(struct mk_gzip_segmenter *segmenter, struct mk_gzip_segment *segment,
                        struct mk_error *err);

/* How many of the next `available` input bytes a segment that begins at `position` takes, so that
 * it does not end on a multiple of 4096: all of them, or one less. */
size_t mk_gzip_cut(uint64_t position, size_t available);

void mk_gzip_header(uint8_t out[MK_GZIP_HEADER_BYTES]);
void mk_gzip_trailer(uint8_t out[MK_GZIP_TRAILER_BYTES], uint32_t crc, uint64_t length);
uint32_t mk_gzip_crc_join(uint32_t crc, uint32_t next_crc, uint64_t next_length);

#endif
