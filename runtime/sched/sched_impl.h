#ifndef MK_SCHED_SCHED_IMPL_H
#define MK_SCHED_SCHED_IMPL_H

/* For sched/ only. */
#include <string.h>

#include "loop/timer.h"
#include "sched/sched.h"

/* After this many raises a task that goes on awaiting is killed. */
#define MK_MAX_STRIKES 3

enum mk_task_state { MK_TASK_NEW, MK_TASK_RUNNING, MK_TASK_WAITING, MK_TASK_DONE };

/* A coroutine of the user's that is running inside a task: lives on its resumer's Lua stack. */
struct mk_nested {
    lua_State *co;
    bool resumer_yieldable;
    struct mk_nested *outer;
};

struct mk_task {
    struct mk_sched *sched;
    struct mk_scope *scope; /* the one it belongs to; NULL: the main task */
    int scope_ref;          /* registry: keeps the scope alive until the task is DONE */
    lua_State *co;
    int co_ref; /* registry: keeps co alive */
    int n_args;
    enum mk_task_state state;
    bool queued;
    struct mk_task *next_ready;

    struct mk_wait *wait; /* what it awaits, while WAITING */
    const struct mk_await_ops *ops;
    struct mk_nested *innermost;

    bool canceled;
    int cancel_ref; /* registry: the error to raise */
    int strikes;
    bool held; /* what it awaits is not cut short by a cancellation */
    struct mk_shield *shields;
    bool dying;   /* condemned: its next yield is its last, the scheduler kills it then */
    bool killed;  /* its closers run, or have run */
    int kill_ref; /* registry: why, or LUA_NOREF */
    int raises;   /* how often it was raised where nothing can yield */

    bool ok;           /* DONE: whether it returned */
    int n_results;     /* DONE: on top of co's stack; with !ok the error value */
    int traceback_ref; /* of the inner coroutine that an error came out of, or LUA_NOREF */
    int traced_ref;    /* that error */
};

/* Lives in a userdata, which its coroutine's stack holds; in its task's list until either ends. */
struct mk_shield {
    struct mk_task *task; /* NULL: it is over */
    lua_State *co;        /* where it was opened: while that is suspended it shields nothing */
    struct mk_timer *timer;
    bool expired;
    struct mk_shield *next;
};

struct mk_scope {
    struct mk_sched *sched;
    struct mk_task *owner;
    struct mk_task **tasks;
    int n_tasks, cap_tasks, pending;
    int error_ref; /* registry: the first error, or LUA_NOREF */
    bool canceled;
    struct mk_wait wait; /* fires when nothing is pending */
    bool waiting;        /* some task holds it */
    struct mk_timer *deadline;
    int deadline_ref;
};

struct mk_sched {
    lua_State *L;
    struct mk_loop *loop;
    lua_CFunction handler;
    struct mk_watchdog *watchdog; /* NULL: none */
    int64_t burst_at;             /* atomic: when what runs was resumed; 0: nothing runs */
    lua_State *volatile running;  /* see watchdog.c */
    struct mk_task *current;
    struct mk_task *main;
    struct mk_task *ready_first, **ready_last;
    struct mk_sched_stats stats;
    bool tracking;
    bool guarded; /* nothing can be awaited: a recipe is being loaded */
    char tracked[LUA_IDSIZE + 16];
};

/* Whether a chunk is the library's own. */
#define MK_IS_LIBRARY(source) (strncmp((source), "@moonkeep/", 10) == 0)

/* What an awaiting coroutine yields: only the scheduler and the wrapped resume know it. */
extern char mk__sentinel;

/* Takes the function and n_args arguments from the top of L. NULL: memory is out. */
struct mk_task *mk__task_new(struct mk_sched *sched, struct mk_scope *scope, lua_State *L,
                             int n_args);
void mk__task_free(struct mk_task *task); /* only NEW or DONE */
/* Pops an error value. */
void mk__task_cancel(struct mk_task *task, lua_State *L);
/* Ends it at once; its closers run but cannot await. Pops an error value. */
void mk__task_kill(struct mk_task *task, lua_State *L);
bool mk__task_must_raise(const struct mk_task *task);
/* It has been cancelled, or a shield is over: what it awaits is asked to end, if that is due. */
void mk__task_hurry(struct mk_task *task);
/* The task is DONE: its shields know it no longer. */
void mk__task_drop_shields(struct mk_task *task);
/* Its wait is nobody's any more: given up now, or as soon as it fires. */
void mk__task_orphan_wait(struct mk_task *task);
void mk__task_make_ready(struct mk_task *task);
/* Marks the running task to be killed with the error on top of L (popped). */
void mk__task_condemn(struct mk_task *task, lua_State *L);

/* watchdog.c */

int mk__watchdog_start(struct mk_sched *sched, int64_t limit_ms, struct mk_error *err);
void mk__watchdog_stop(struct mk_sched *sched);
/* From now on the time counts that code takes without awaiting. Returns what was counted before. */
int64_t mk__burst_begin(struct mk_sched *sched);
void mk__burst_end(struct mk_sched *sched, int64_t before);
/* lua_resume and lua_resetthread. */
int mk__resume(struct mk_sched *sched, lua_State *co, lua_State *from, int n_args, int *n_results);
void mk__reset(struct mk_sched *sched, lua_State *co);

/* A task of the scope is DONE. */
void mk__scope_task_done(struct mk_scope *scope, struct mk_task *task);

/* coroutine.resume and coroutine.wrap. */
void mk__coro_open(lua_State *L);
/* From now on only the scheduler may resume or close it. */
void mk__coro_own(lua_State *L, lua_State *co);

/* Pushes an error value { code, message }: a table like those of bind/, without their methods
 * unless bind/ has registered them. */
void mk__push_error(lua_State *L, const char *code, const char *message);
MK_RAISES int mk__raise_nomem(lua_State *L);

#endif
