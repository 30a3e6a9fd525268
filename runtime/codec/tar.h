#ifndef MK_CODEC_TAR_H
#define MK_CODEC_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Tar archives of regular files in the POSIX ustar format (IEEE 1003.1, pax): a header of one
 * block, the bytes, zeros up to a whole block; two blocks of zeros end the archive.
 */
#define MK_TAR_BLOCK 512
#define MK_TAR_NAME  100 /* a name and its NUL */
#define MK_TAR_SIZE  124 /* where the size stands, in octal digits */
#define MK_TAR_TIME  136 /* the same for the time */

/* The header of a file of mode 0600 and no owner; `time`: seconds since 1970. The name is shorter
 * than MK_TAR_NAME, the size at most 8 GiB - 1. */
void mk_tar_header(uint8_t block[MK_TAR_BLOCK], const char *name, uint64_t size, int64_t time);

/* How many zeros follow `size` bytes. */
static inline size_t mk_tar_padding(uint64_t size)
{
    return (size_t)((MK_TAR_BLOCK - size % MK_TAR_BLOCK) % MK_TAR_BLOCK);
}

/*
 * Reading such an archive, piece by piece. Only what mk_tar_header writes is accepted: whoever may
 * write to a store cannot make it mean anything else. `name` and `left`, the bytes of it that have
 * not come, are those of the file that is being read.
 */
struct mk_tar_reader { /* all zeros at first */
    uint8_t header[MK_TAR_BLOCK];
    size_t header_len;
    char name[MK_TAR_NAME];
    uint64_t left;
    size_t padding;  /* zeros that follow */
    bool in_file;    /* its header has come, its end has not been told */
    bool saw_zeros;  /* a block of zeros: only such may follow */
    uint64_t blocks; /* of zeros */
};
enum mk_tar_event {
    MK_TAR_NOTHING,
    MK_TAR_BEGIN, /* of a file */
    MK_TAR_BYTES, /* of it: those that were taken */
    MK_TAR_END    /* of it */
};
/* Takes some of the bytes (len > 0): returns how many, and what they were. Below 0: MK_ECORRUPT. */
int64_t mk_tar_read(struct mk_tar_reader *reader, const uint8_t *bytes, size_t len,
                    enum mk_tar_event *event, struct mk_error *err);
/* Whether the archive has come to its end. */
bool mk_tar_is_complete(const struct mk_tar_reader *reader);

#endif
