#ifndef TESTS_C_SUPPORT_H
#define TESTS_C_SUPPORT_H

/* What the C tests share: cmocka with its prerequisites, and data that compresses like data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

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

#define assert_ok(status, err)                                                                     \
    do {                                                                                           \
        if ((status) != MK_OK)                                                                     \
            fail_msg("%s", (err).message);                                                         \
    } while (0)

#endif
