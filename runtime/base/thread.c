/* Starting threads: see thread.h. A new thread inherits its maker's mask, so that is set meanwhile.
 */
#include "base/thread.h"

#include <signal.h>

int mk_thread_create(pthread_t *thread, bool detached, void *(*run)(void *arg), void *arg)
{
    pthread_t unused;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (detached)
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(thread ? thread : &unused, &attributes, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return result;
}
