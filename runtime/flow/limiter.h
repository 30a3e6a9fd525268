#ifndef MK_FLOW_LIMITER_H
#define MK_FLOW_LIMITER_H

#include "base/error.h"
#include "loop/loop.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A rate in bytes per second that sources or sinks of several flows share: they wait while more has
 * moved than that. What has moved is charged afterwards, so the limit is exceeded by at most a
 * block of each, and made up for. The rate may change at any time. Loop thread only.
 */
struct mk_limiter;
struct mk_limiter *mk_limiter_new(struct mk_loop *loop, struct mk_error *err);
/* 0: no limit. */
void mk_limiter_set_rate(struct mk_limiter *limiter, int64_t bytes_per_second);
struct mk_limiter *mk_limiter_ref(struct mk_limiter *limiter);
void mk_limiter_unref(struct mk_limiter *limiter); /* NULL is allowed */

#endif
