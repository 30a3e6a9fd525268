#ifndef MK_LOOP_SIGNAL_H
#define MK_LOOP_SIGNAL_H

#include "loop/loop.h"

struct mk_signal;

/* Calls fn on the loop thread whenever signum arrives. Does not keep the loop alive. */
struct mk_signal *mk_signal_start(struct mk_loop *loop, int signum,
                                  void (*fn)(void *arg, int signum), void *arg,
                                  struct mk_error *err);
void mk_signal_close(struct mk_signal *signal); /* NULL is allowed */

#endif
