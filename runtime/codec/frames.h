#ifndef MK_CODEC_FRAMES_H
#define MK_CODEC_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/stream.h"
#include "codec/tar.h"

/*
 * For streams that put the bytes of a data file, or of the files of an archive, into pieces with a
 * head of their own: what such a stream does is begin a file, begin a piece, end a file, end all.
 * Each puts a few bytes; the data follows by itself.
 */
struct mk_frames;
struct mk_frames_type {
    size_t piece_bytes; /* of data, at most */
    /* `name`: of the file, in an archive; NULL: of the only one. It may set `skipped`. */
    int (*begin)(struct mk_frames *self, const char *name, struct mk_error *err);
    void (*piece)(struct mk_frames *self, size_t len);
    void (*end)(struct mk_frames *self);
    int (*finish)(struct mk_frames *self, struct mk_error *err);
};

#define MK_FRAMES_HEAD 64 /* bytes that may be put before any of them is written */

struct mk_frames { /* first member of every implementation, all else zero */
    struct mk_stream base;
    const struct mk_frames_type *type;
    bool packed;
    bool skipped; /* the file's data is passed over */

    struct mk_tar_reader tar;
    bool begun;        /* not packed: the file */
    size_t piece_left; /* data of the piece that has not been copied */
    uint8_t head[MK_FRAMES_HEAD];
    size_t head_len, head_at;
    bool finished;
};

/* The type of their streams; its `free` is mk_free. */
extern const struct mk_stream_type mk_frames_stream;

/* Big-endian. */
void mk_frames_put(struct mk_frames *self, uint64_t value, int bytes);
void mk_frames_put_bytes(struct mk_frames *self, const void *bytes, size_t len);

#endif
