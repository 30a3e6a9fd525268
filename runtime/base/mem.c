/* Counting, fault-injectable malloc: see mem.h. The counters are atomics because workers allocate.
 */
#include "base/mem.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((uintptr_t)2 << 20)
#define HEAP      ((size_t)128 << 20)

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

/* Where the kernel promises no more memory than there is (as PostgreSQL's manual has it on its own
 * machines), address space is dear. */
static bool is_address_space_dear(void)
{
    char mode = '0';
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    bool is_known = fd >= 0 && read(fd, &mode, 1) == 1;
    if (fd >= 0)
        close(fd);
    return is_known && mode == '2';
}

/* What is freed is kept for what comes next, and the heap takes its address space at once, in which
 * the kernel may use huge pages: page by page, mapping memory took a third of the time of a list of
 * 100,000 backups. Where any of this is not to be had, nothing is lost but time. */
void mk_mem_init(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    if (is_address_space_dear())
        return;
    mallopt(M_TRIM_THRESHOLD, 2 * HEAP);
    mallopt(M_TOP_PAD, HEAP);
    void *volatile first = malloc(HUGE_PAGE);
    free(first);
    mallopt(M_TOP_PAD, HUGE_PAGE);
    uintptr_t end = (uintptr_t)sbrk(0), begin = (end - HEAP + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    madvise((void *)begin, end - begin, MADV_HUGEPAGE);
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
