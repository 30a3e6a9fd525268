#ifndef MK_LOOP_IOTHREAD_H
#define MK_LOOP_IOTHREAD_H

#include "base/error.h"
#include "loop/loop.h"

/*
 * A thread with a rhythm of its own, for a connection whose parsing, TLS and hashing would not fit
 * on the loop beside those of others. The two sides share the body, under a lock of the body's own,
 * and wake each other; nothing else of the loop may be touched from the thread.
 */
struct mk_iothread;
struct mk_iothread_type {
    /* The thread. It must return soon after the body has been told to. */
    void (*run)(struct mk_iothread *thread, void *body);
    /* Loop: the thread has posted, perhaps several times since the last call. */
    void (*on_post)(void *body);
    /* Loop, last: `run` has returned, and the thread is gone. The body may be freed. */
    void (*on_end)(void *body);
};

/* NULL with the error when it cannot start; then nothing is called. */
struct mk_iothread *mk_iothread_start(struct mk_loop *loop, const struct mk_iothread_type *type,
                                      void *body, struct mk_error *err);
/* From the loop, before on_end: the thread's present or next wait returns. */
void mk_iothread_wake(struct mk_iothread *thread);
/* From the thread: on_post will be called on the loop. */
void mk_iothread_post(struct mk_iothread *thread);
/* From the thread: waits until the descriptor is ready for one of `events` (MK_POLL_*), or the
 * loop wakes it. Returns the ready events, all of them on an error of the descriptor; 0: it was
 * woken. With events 0 only the loop can end it. */
int mk_iothread_wait(struct mk_iothread *thread, int fd, int events);

#endif
