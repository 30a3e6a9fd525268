#ifndef MK_CODEC_STREAM_H
#define MK_CODEC_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "codec/codec.h"

/*
 * One step of a synchronous, loop-free transformation. The caller offers input and room for
 * output; the step consumes some input (in_used), produces some output (out_used), and must make
 * progress. Input that was not used is offered again. With `end` set no more input follows what
 * is offered; the step sets `done` once everything has come out.
 */
struct mk_stream_io {
    const uint8_t *in;
    size_t in_len;
    bool end;
    uint8_t *out;
    size_t out_cap;

    size_t in_used;
    size_t out_used;
    bool done;
};

struct mk_stream;
struct mk_stream_type {
    int (*step)(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err);
    void (*free)(struct mk_stream *stream);
    /* What there is to say of the whole, asked for once, after `done`. NULL: nothing. */
    struct mk_text (*result)(struct mk_stream *stream);
};
struct mk_stream { /* first member of every implementation */
    const struct mk_stream_type *type;
};

/* zstd frames with a content checksum (RFC 8878), compressed by `threads` threads of libzstd;
 * 1: by whoever calls. */
struct mk_stream *mk_zstd_encoder_new(int level, int threads, struct mk_error *err);
/* Any number of concatenated zstd frames; MK_ECORRUPT on damage, and on an end inside a frame. */
struct mk_stream *mk_zstd_decoder_new(struct mk_error *err);
/* Any number of concatenated gzip members (RFC 1952), zero padding after them allowed;
 * MK_ECORRUPT on damage, and on an end inside a member. */
struct mk_stream *mk_gzip_decoder_new(struct mk_error *err);

/* One lz4 frame with a content checksum (lz4 Frame Format 1.6.3). */
struct mk_stream *mk_lz4_encoder_new(int level, struct mk_error *err);
/* Any number of concatenated lz4 frames; MK_ECORRUPT on damage, and on an end inside a frame. */
struct mk_stream *mk_lz4_decoder_new(struct mk_error *err);

/* The encoder of a codec that is written as a stream (gzip is not: codec/gzip_write.h); NULL
 * without an error for "none". */
struct mk_stream *mk_encoder_new(const struct mk_codec *codec, int threads, struct mk_error *err);
/* The decoder of a codec; NULL without an error for "none". */
struct mk_stream *mk_decoder_new(enum mk_codec_id id, struct mk_error *err);

int mk_stream_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err);
void mk_stream_free(struct mk_stream *stream);

#endif
