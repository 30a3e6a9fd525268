#ifndef MK_LOOP_TIMER_H
#define MK_LOOP_TIMER_H

#include <stdint.h>

#include "loop/loop.h"

struct mk_timer;

/* Calls fn once after delay_ms; NULL when memory is out. The timer lives until mk_timer_close,
 * which may be called before or after it has gone off, also from inside fn. */
struct mk_timer *mk_timer_start(struct mk_loop *loop, int64_t delay_ms, void (*fn)(void *arg),
                                void *arg, struct mk_error *err);
void mk_timer_close(struct mk_timer *timer); /* NULL is allowed */

/* The same for one that is set again and again, which needs no memory. */
struct mk_timer *mk_timer_new(struct mk_loop *loop, void (*fn)(void *arg), void *arg,
                              struct mk_error *err);
void mk_timer_set(struct mk_timer *timer, int64_t delay_ms); /* below 0: it is off */

#endif
