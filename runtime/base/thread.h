#ifndef MK_BASE_THREAD_H
#define MK_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Starts a thread that takes no signals: those are the loop thread's. Detached, it is never joined,
 * and `thread` may be NULL. Returns 0 or an errno value. */
int mk_thread_create(pthread_t *thread, bool detached, void *(*run)(void *arg), void *arg);

#endif
