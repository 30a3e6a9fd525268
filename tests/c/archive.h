#ifndef MK_TESTS_ARCHIVE_H
#define MK_TESTS_ARCHIVE_H

/* Tar archives of small files, for tests. */
#include <string.h>

#include "codec/tar.h"

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

#endif
