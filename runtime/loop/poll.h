#ifndef MK_LOOP_POLL_H
#define MK_LOOP_POLL_H

#include "loop/loop.h"

enum { MK_POLL_READ = 1, MK_POLL_WRITE = 2 };

struct mk_poll;

/* Watches a descriptor that somebody else owns (libpq's socket). `fn` gets the events that are
 * ready; an error on the descriptor is reported as all of them, so that the owner's next read or
 * write finds out what it is. The descriptor must stay open until mk_poll_close. */
struct mk_poll *mk_poll_new(struct mk_loop *loop, int fd, void (*fn)(void *arg, int events),
                            void *arg, struct mk_error *err);
void mk_poll_set(struct mk_poll *poll, int events); /* 0 pauses */
void mk_poll_close(struct mk_poll *poll);           /* NULL is allowed */

#endif
