#ifndef MK_SCHED_SCHED_H
#define MK_SCHED_SCHED_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/loop.h"
#include "loop/wait.h"

/* In a prototype: may leave by a Lua error, so nothing may be held that only C knows of. */
#define MK_RAISES

/*
 * Tasks: Lua code that waits without blocking. Only this floor resumes and yields. Callbacks of
 * the floors below fire wait tokens; the scheduler resumes their tasks between turns of the loop,
 * never from inside a callback. Every task belongs to a scope, and a scope never ends before its
 * tasks have.
 */
struct mk_sched;
struct mk_task;
struct mk_scope;

/* Counters for tests and reports. */
struct mk_sched_stats {
    uint64_t tasks, resumes, kills;
};

/*
 * `handler` is the message handler under which task bodies run. `watchdog_ms`: how long a task
 * may run without awaiting; 0: as long as it likes, also after mk_sched_set_watchdog. L's
 * coroutine.resume and coroutine.wrap are replaced by ones through which awaits pass.
 */
struct mk_sched *mk_sched_new(lua_State *L, struct mk_loop *loop, lua_CFunction handler,
                              int64_t watchdog_ms, struct mk_error *err);
void mk_sched_set_watchdog(struct mk_sched *sched, int64_t watchdog_ms);
void mk_sched_free(struct mk_sched *sched);
struct mk_sched *mk_sched_of(lua_State *L);
struct mk_sched_stats mk_sched_stats(const struct mk_sched *sched);
/* Whether a task is running right now, or the host itself. */
bool mk_sched_is_running(const struct mk_sched *sched);

/* Runs the function and its n_args arguments on top of L's stack as the main task, until it and
 * everything it started is over. Leaves its results (true) or its error value (false) on L. */
bool mk_sched_run(struct mk_sched *sched, lua_State *L, int n_args);
/* Pops an error value and cancels the main task with it. Safe at any time on the loop thread. */
void mk_sched_cancel_main(struct mk_sched *sched, lua_State *L);

/* Pushes the error with which the running task was cancelled, or nil. */
void mk_sched_push_canceled(lua_State *L);
/* From now on, remembers which line of the user's own files this coroutine runs; for as long as it
 * is on. A tail call such as `return mk.job { ... }` leaves no frame to tell where a mistake is. */
void mk_sched_track_lines(lua_State *L, bool on);
/* While it is on, nothing can be awaited: loading a recipe does no I/O. Returns what it was before.
 */
bool mk_sched_guard(lua_State *L, bool on);
/* "recipe.lua:12", or NULL when lines are not being tracked. */
const char *mk_sched_tracked_line(lua_State *L);
/* Pushes the traceback of the user's coroutine that the error at `index` came out of. Returns
 * false, and pushes nothing, when it came out of none. */
bool mk_sched_push_inner_traceback(lua_State *L, int index);

/* ---- awaiting, for bindings -------------------------------------------------------------- */

struct mk_await_ops {
    /* The wait has fired: push the results and return their number, or raise. Either way the
     * operation is given up first. */
    int (*push)(lua_State *L, struct mk_wait *wait);
    /* The wait has fired, but nobody wants the result: give the operation up. */
    void (*drop)(struct mk_wait *wait);
    /* The task that waits is being killed: end the operation at once. NULL: it is only cancelled,
     * and dropped when it fires. */
    void (*kill)(struct mk_wait *wait);
};

/* Whether the running code can wait at all: not inside a callback of a C function, nor while its
 * task is being killed. Cancellation has no say in this. */
bool mk_can_await(lua_State *L);
/* To be called before an operation is started: raises when awaiting is impossible here (inside a
 * gsub callback, say) or the task has been cancelled. */
MK_RAISES void mk_await_check(lua_State *L);
/* `return mk_await(L, wait, ops)`: the C function's results are those of ops->push. */
MK_RAISES int mk_await(lua_State *L, struct mk_wait *wait, const struct mk_await_ops *ops);
/* The same for closers whose end is near: a cancellation does not cut it short, nor is it raised
 * here. (Being killed still ends it.) */
MK_RAISES int mk_await_held(lua_State *L, struct mk_wait *wait, const struct mk_await_ops *ops);

/* ---- scopes ------------------------------------------------------------------------------ */

/* Registers the scope type; pushes nothing. */
void mk_scope_open(lua_State *L);
/* lua_CFunction: () -> scope, a closable value with the methods
 *   spawn(fn, ...) -> n    start a task; n is its number in the scope
 *   join()                 wait for all; raises the first error, after cancelling the others
 *   results(n) -> ...      what task n has returned
 *   cancel(err)            cancel all of them
 *   deadline(ms, err)      cancel all of them with err after ms milliseconds
 * Leaving the block cancels what still runs and waits for it. */
int mk_scope_new(lua_State *L);

/* lua_CFunction: (fn, ms) -> fn's results. Cancellation is held off while fn runs, for at most ms
 * milliseconds. For closers that must await. */
int mk_shield(lua_State *L);

#endif
