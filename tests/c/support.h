#ifndef TESTS_C_SUPPORT_H
#define TESTS_C_SUPPORT_H

/* What the C tests share: cmocka with its prerequisites, and data that compresses like data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"

enum data_kind { DATA_TEXT, DATA_RANDOM, DATA_ZEROS };

/* Deterministic: the same bytes for the same arguments. free() it. */
static inline uint8_t *make_data(enum data_kind kind, size_t len)
{
    uint8_t *data = malloc(len ? len : 1);
    uint64_t x = 88172645463325252ULL;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = kind == DATA_RANDOM  ? (uint8_t)x
                  : kind == DATA_ZEROS ? 0
                                       : (uint8_t)("0123456789\tabcdef\n"[x % (i % 7 ? 5 : 18)]);
    }
    return data;
}

/* Calls `once` with the first allocation failing, then the second, and so on until it succeeds with
 * none failing. Each time it must end with MK_ENOMEM (or do without, and say MK_OK), and give
 * back whatever it had taken. */
static inline void sweep_allocations(const char *what, int (*once)(struct mk_error *err))
{
    int n = 0;
    for (bool complete = false; !complete;) {
        struct mk_error err = {0};
        int64_t live = mk_mem_live();
        mk_mem_fail_at(++n);
        int status = once(&err);
        complete = mk_mem_fail_at(0) > 0;
        if (status != MK_OK && (complete || status != MK_ENOMEM))
            fail_msg("%s, allocation %d: %d, %s", what, n, status, err.message);
        for (int i = 0; i < 1000 && mk_mem_live() != live; i++)
            usleep(1000); /* a thread may be on its way out */
        if (mk_mem_live() != live)
            fail_msg("%s, allocation %d: %d leaked", what, n, (int)(mk_mem_live() - live));
    }
    printf("rounds: allocations of %s: all %d\n", what, n - 1);
}

#define assert_ok(status, err)                                                                     \
    do {                                                                                           \
        if ((status) != MK_OK)                                                                     \
            fail_msg("%s", (err).message);                                                         \
    } while (0)

#endif
