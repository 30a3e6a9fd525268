#ifndef MK_CODEC_ZLIB_IMPL_H
#define MK_CODEC_ZLIB_IMPL_H

/* For codec/ only: zlib on our allocator, so that its allocations are counted and can be made to
 * fail like all others. */
#include "base/mem.h"

static inline void *mk__zlib_alloc(void *opaque, unsigned items, unsigned size)
{
    (void)opaque;
    return mk_calloc((size_t)items * size);
}

static inline void mk__zlib_free(void *opaque, void *ptr)
{
    (void)opaque;
    mk_free(ptr);
}

#endif
