#ifndef MK_CODEC_TAR_H
#define MK_CODEC_TAR_H

#include <stddef.h>
#include <stdint.h>

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

#endif
