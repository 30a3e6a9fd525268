#ifndef MK_LOOP_CALL_H
#define MK_LOOP_CALL_H

#include <stdbool.h>

#include "base/error.h"
#include "loop/loop.h"
#include "loop/wait.h"

/*
 * A blocking function run off the loop. `run` gets the embedding operation and returns 0 or fills
 * call->err; the wait fires when it has returned. It cannot be interrupted.
 */
struct mk_call {
    struct mk_wait wait;
    struct mk_error err;
    int (*run)(struct mk_call *call);
};

/* On libuv's thread pool: for file-system calls, which end soon. */
int mk_call_start(struct mk_loop *loop, struct mk_call *call);

/*
 * On a thread of its own: for calls that may block for minutes (libpq's connect with its DNS
 * look-ups and host fail-over, PQcancel). `run(body)` returns a status, with which the wait fires.
 * Whoever loses patience abandons the thread: then the wait fires soon with MK_ECANCELED, and the
 * thread is left to end by itself. The body must not be touched between start and fire.
 */
struct mk_thread_call {
    struct mk_wait wait;
    struct mk__thread *thread;
};

/* On failure the wait fires too, later; so in both cases: wait for it, then release. */
int mk_thread_start(struct mk_loop *loop, struct mk_thread_call *call, int (*run)(void *body),
                    void (*free_body)(void *body), void *body, struct mk_error *err);
void mk_thread_abandon(struct mk_thread_call *call);
/* After the fire, once: lets go of the body, which is freed when the thread has let go as well. */
void mk_thread_release(struct mk_thread_call *call);
/* Abandoned threads that still run. A process that has any must leave with _exit. */
int mk_threads_abandoned(void);

#endif
