/* Counting, fault-injectable malloc: see mem.h. The counters are atomics because workers allocate.
 */
#include "base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_int_fast64_t live;
static atomic_int_fast64_t fail_countdown; /* 0 = off; the call that takes it from 1 to 0 fails */

static int must_fail(void)
{
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) <= 0)
        return 0;
    return atomic_fetch_sub(&fail_countdown, 1) == 1;
}

static void *counted(void *ptr)
{
    if (ptr)
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return ptr;
}

/* What is freed is kept for what comes next: given back to the kernel and taken again it has to be
 * mapped anew, page by page, which took a fifth of the time of a list of 100,000 backups. Both
 * bounds are for what is free, or large. */
void mk_mem_init(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

void *mk_alloc(size_t size)
{
    return must_fail() ? NULL : counted(malloc(size ? size : 1));
}

void *mk_calloc(size_t size)
{
    return must_fail() ? NULL : counted(calloc(1, size ? size : 1));
}

void *mk_realloc(void *ptr, size_t size)
{
    if (!ptr)
        return mk_alloc(size);
    return must_fail() ? NULL : realloc(ptr, size ? size : 1);
}

char *mk_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mk_alloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void mk_free(void *ptr)
{
    if (ptr)
        atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(ptr);
}

int64_t mk_mem_fail_at(int64_t n)
{
    int64_t left = atomic_exchange(&fail_countdown, n);
    return left > 0 ? left : 0;
}

int64_t mk_mem_live(void)
{
    return atomic_load(&live);
}
