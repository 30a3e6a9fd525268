#ifndef MK_HOST_ALERTS_H
#define MK_HOST_ALERTS_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "loop/loop.h"

/*
 * Tells people what became of runs: for each message a child, `--worker deliver`, one after the
 * other, each with a deadline. What they do with a message (whom it concerns, how it is sent, what
 * is tried again) is Lua's: moonkeep.notify. Nothing of it changes the outcome of a run.
 */
struct mk_alerts;
/* `on_line`: for each event line of a child. */
struct mk_alerts *mk_alerts_new(struct mk_loop *loop,
                                void (*on_line)(void *arg, const char *line, size_t len),
                                void *arg);
/* Whether to send anything: not before it is clear that this command tells. `recipe`: its path, or
 * NULL; `known`: whom it tells, as the worker says it once it has loaded it, or NULL. */
void mk_alerts_enable(struct mk_alerts *alerts, const char *recipe, json_t *known);
/* Something happened: an event as it was shown. */
void mk_alerts_send(struct mk_alerts *alerts, const json_t *event);
/* Messages are still on their way. */
bool mk_alerts_is_busy(const struct mk_alerts *alerts);
/* Whether a process is one of these children. */
bool mk_alerts_has_child(const struct mk_alerts *alerts, pid_t pid);
/* Patience ends: what is on its way is given up, what waits is only put on disk, for the next run.
 * The second time: nothing more is done at all. */
void mk_alerts_hurry(struct mk_alerts *alerts);
void mk_alerts_free(struct mk_alerts *alerts); /* when it is not busy; NULL is allowed */

#endif
