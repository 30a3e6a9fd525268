#ifndef MK_TESTS_ARCHIVE_H
#define MK_TESTS_ARCHIVE_H

/* Tar archives of small files, and streams that read them, for tests. */
#include <string.h>

#include "codec/stream.h"
#include "codec/tar.h"
#include "support.h"

struct bytes {
    uint8_t data[65536];
    size_t len;
};

static inline void put(struct bytes *bytes, const void *data, size_t len)
{
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

static inline void put_file(struct bytes *archive, const char *name, const char *text)
{
    static const uint8_t zeros[MK_TAR_BLOCK];
    uint8_t header[MK_TAR_BLOCK];
    mk_tar_header(header, name, strlen(text), 1700000000);
    put(archive, header, sizeof header);
    put(archive, text, strlen(text));
    put(archive, zeros, mk_tar_padding(strlen(text)));
}

static inline void put_end(struct bytes *archive)
{
    static const uint8_t zeros[2 * MK_TAR_BLOCK];
    put(archive, zeros, sizeof zeros);
}

/* All of `in` through a stream, in pieces of so many bytes, with so much room for output at a time.
 * Frees the stream. */
static inline int run_stream(struct mk_stream *stream, const struct bytes *in, size_t piece,
                             size_t room, struct bytes *out)
{
    struct mk_error err;
    size_t at = 0;
    int status = MK_OK;
    assert_non_null(stream);
    out->len = 0;
    for (bool done = false; !done && status == MK_OK;) {
        size_t left = in->len - at;
        struct mk_stream_io io = {.in = in->data + at,
                                  .in_len = left < piece ? left : piece,
                                  .end = left <= piece,
                                  .out = out->data + out->len,
                                  .out_cap = room};
        status = mk_stream_step(stream, &io, &err);
        at += io.in_used;
        out->len += io.out_used;
        done = io.done;
    }
    mk_stream_free(stream);
    return status;
}

#endif
