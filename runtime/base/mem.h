#ifndef MK_BASE_MEM_H
#define MK_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

/*
 * The runtime's allocator: malloc with a count of live allocations and a way to make the nth one
 * fail. All of runtime/ allocates through it, so that a test can sweep every failure point of an
 * operation and prove that each is reported and leaks nothing. Thread-safe.
 */

/* At the beginning of a process that may come to need much. */
void mk_mem_init(void);

void *mk_alloc(size_t size);
void *mk_calloc(size_t size); /* zeroed */
void *mk_realloc(void *ptr, size_t size);
char *mk_strdup(const char *text);
void mk_free(void *ptr);

/* Makes the nth allocation from now on fail, once (n = 1 is the next one); 0 turns it off. Returns
 * how many were still to come before the failure that was asked for last; 0: it has happened. */
int64_t mk_mem_fail_at(int64_t n);
/* Allocations not yet freed. */
int64_t mk_mem_live(void);

#endif
