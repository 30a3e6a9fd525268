#ifndef MK_LOOP_LOOP_H
#define MK_LOOP_LOOP_H

#include <stdbool.h>

#include "base/error.h"

struct mk_loop;

/* An event loop with its own pool of `workers` threads (loop/workers.h). */
struct mk_loop *mk_loop_new(int workers, struct mk_error *err);
/* Waits for one batch of events and runs their callbacks. Returns false when nothing is left
 * that could ever produce one. */
bool mk_loop_run_once(struct mk_loop *loop);
/* Runs callbacks that are due now; never waits. */
void mk_loop_poll(struct mk_loop *loop);
/* Runs what is left, joins the workers and frees the loop. Returns the number of handles that
 * somebody forgot to close: anything but 0 is a bug, and each is logged. */
int mk_loop_free(struct mk_loop *loop);
int mk_loop_workers(const struct mk_loop *loop);

#endif
