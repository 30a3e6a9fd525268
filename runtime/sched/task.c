/*
 * Tasks and their scheduler. See docs/internals/tasks.md.
 *
 * - One resume site (run_task), every outcome handled there.
 * - A task's body runs under lua_pcallk with a traceback handler, so the coroutine itself never
 *   dies of an error: closers run, and may await.
 * - The task, not the Lua state, is what waits: an await inside a user's coroutine yields the
 *   sentinel through all resumers up to here (coro.c), and comes back the same way.
 * - Cancelling raises at the task's next or current await, and at every one after that; a task
 *   that swallows it MK_MAX_STRIKES times is killed. So is one that computes for longer than
 *   the watchdog allows (watchdog.c).
 */
#include <assert.h>
#include <lauxlib.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sched/sched_impl.h"

char mk__sentinel;

struct mk_sched *mk_sched_of(lua_State *L)
{
    return *(struct mk_sched **)lua_getextraspace(L); /* new threads inherit it */
}

struct mk_sched_stats mk_sched_stats(const struct mk_sched *sched)
{
    return sched->stats;
}

void mk__push_error(lua_State *L, const char *code, const char *message)
{
    lua_createtable(L, 0, 2);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    luaL_setmetatable(L, "moonkeep.error");
}

MK_RAISES int mk__raise_nomem(lua_State *L)
{
    mk__push_error(L, "NO_MEMORY", "out of memory");
    return lua_error(L);
}

/* ---- the ready list ---------------------------------------------------------------------- */

void mk__task_make_ready(struct mk_task *task)
{
    if (task->queued || task->state == MK_TASK_DONE)
        return;
    struct mk_sched *sched = task->sched;
    task->queued = true;
    task->next_ready = NULL;
    *sched->ready_last = task;
    sched->ready_last = &task->next_ready;
}

static struct mk_task *take_ready(struct mk_sched *sched)
{
    struct mk_task *task = sched->ready_first;
    if (task) {
        sched->ready_first = task->next_ready;
        if (!sched->ready_first)
            sched->ready_last = &sched->ready_first;
        task->queued = false;
    }
    return task;
}

static void remove_ready(struct mk_task *task)
{
    if (!task->queued)
        return;
    struct mk_sched *sched = task->sched;
    struct mk_task **link = &sched->ready_first;
    while (*link && *link != task)
        link = &(*link)->next_ready;
    if (!*link)
        return;
    *link = task->next_ready;
    if (sched->ready_last == &task->next_ready)
        sched->ready_last = link;
    task->queued = false;
}

void mk__task_condemn(struct mk_task *task, lua_State *L)
{
    task->dying = true;
    if (task->kill_ref == LUA_NOREF)
        task->kill_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
}

void mk_sched_push_canceled(lua_State *L)
{
    const struct mk_task *task = mk_sched_of(L)->current;
    if (task && task->canceled)
        lua_rawgeti(L, LUA_REGISTRYINDEX, task->cancel_ref);
    else
        lua_pushnil(L);
}

bool mk_sched_push_inner_traceback(lua_State *L, int index)
{
    struct mk_task *task = mk_sched_of(L)->current;
    if (!task || task->traceback_ref == LUA_NOREF)
        return false;
    lua_pushvalue(L, index);
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->traced_ref);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (!same) /* the recipe has dealt with that one: this is another error */
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->traceback_ref);
    return true;
}

bool mk_sched_is_running(const struct mk_sched *sched)
{
    return sched->current != NULL;
}

/* ---- making and freeing ------------------------------------------------------------------ */

static int body_returned(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx;
    /* Stack: handler, then the results or the error value. */
    lua_pushboolean(L, status == LUA_OK || status == LUA_YIELD);
    lua_replace(L, 1);
    return lua_gettop(L);
}

/* The base of every task: (body, ...) -> true, results... or false, error. */
static int task_main(lua_State *L)
{
    lua_pushcfunction(L, mk_sched_of(L)->handler);
    lua_insert(L, 1);
    int n_args = lua_gettop(L) - 2;
    return body_returned(L, lua_pcallk(L, n_args, LUA_MULTRET, 1, 0, body_returned), 0);
}

struct mk_task *mk__task_new(struct mk_sched *sched, struct mk_scope *scope, lua_State *L,
                             int n_args)
{
    /* What Lua may raise on comes first, while there is nothing that only C knows of. */
    lua_State *co = lua_newthread(L);
    mk__coro_own(L, co);
    int co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    struct mk_task *task = lua_checkstack(co, n_args + 2) ? mk_calloc(sizeof *task) : NULL;
    if (!task) {
        luaL_unref(L, LUA_REGISTRYINDEX, co_ref);
        return NULL;
    }
    task->sched = sched;
    task->scope = scope;
    task->cancel_ref = task->kill_ref = task->traceback_ref = task->traced_ref = LUA_NOREF;
    task->scope_ref = LUA_NOREF;
    task->co = co;
    task->co_ref = co_ref;
    lua_pushcfunction(task->co, task_main);
    lua_xmove(L, task->co, n_args + 1);
    task->n_args = n_args + 1;
    sched->stats.tasks++;
    mk__task_make_ready(task);
    return task;
}

void mk__task_free(struct mk_task *task)
{
    assert(task->state == MK_TASK_NEW || task->state == MK_TASK_DONE);
    lua_State *L = task->sched->L;
    remove_ready(task);
    luaL_unref(L, LUA_REGISTRYINDEX, task->co_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, task->cancel_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, task->kill_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, task->traceback_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, task->traced_ref);
    mk_free(task);
}

/* ---- running ----------------------------------------------------------------------------- */

static void finish(struct mk_task *task, bool ok, int n_results)
{
    task->state = MK_TASK_DONE;
    task->ok = ok;
    task->n_results = n_results;
    mk__task_drop_shields(task);
    lua_State *L = task->sched->L;
    int scope_ref = task->scope_ref;
    task->scope_ref = LUA_NOREF;
    if (task->scope)
        mk__scope_task_done(task->scope, task); /* may free the task, with its scope */
    luaL_unref(L, LUA_REGISTRYINDEX, scope_ref);
}

void mk__task_kill(struct mk_task *task, lua_State *L)
{
    struct mk_sched *sched = task->sched;
    task->killed = true;
    task->dying = false; /* coroutines that its closers use may yield */
    if (task->kill_ref == LUA_NOREF) {
        lua_pushvalue(L, -1);
        task->kill_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    sched->stats.kills++;
    mk__task_orphan_wait(task);
    remove_ready(task);
    struct mk_task *before = sched->current;
    sched->current = task;
    int64_t burst_before = mk__burst_begin(sched);
    /* From the inside out, so that closers run in the order in which blocks nest. */
    for (struct mk_nested *nested = task->innermost; nested; nested = nested->outer)
        mk__reset(sched, nested->co);
    task->innermost = NULL;
    mk__reset(sched, task->co);
    mk__burst_end(sched, burst_before);
    sched->current = before;
    lua_settop(task->co, 0);
    lua_xmove(L, task->co, 1);
    finish(task, false, 1);
}

static void kill_condemned(struct mk_task *task)
{
    lua_State *L = task->sched->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->kill_ref);
    mk__task_kill(task, L);
}

static void run_task(struct mk_task *task)
{
    struct mk_sched *sched = task->sched;
    lua_State *co = task->co;
    if (task->state == MK_TASK_NEW && task->canceled) {
        lua_settop(co, 0);
        lua_rawgeti(co, LUA_REGISTRYINDEX, task->cancel_ref);
        finish(task, false, 1);
        return;
    }
    int n_args = task->state == MK_TASK_NEW ? task->n_args : 0;
    task->state = MK_TASK_RUNNING;
    sched->current = task;
    sched->stats.resumes++;
    int n_results = 0;
    int64_t burst_before = mk__burst_begin(sched);
    int status = mk__resume(sched, co, sched->L, n_args, &n_results);
    mk__burst_end(sched, burst_before);
    sched->current = NULL;

    if (task->dying) {
        kill_condemned(task);
    } else if (status == LUA_YIELD && n_results == 1 && lua_touserdata(co, -1) == &mk__sentinel) {
        lua_pop(co, 1);
        task->state = MK_TASK_WAITING;
        if (task->wait->state == MK_WAIT_FIRED)
            mk__task_make_ready(task);
    } else if (status == LUA_YIELD) {
        mk__push_error(sched->L, "INVALID",
                       "coroutine.yield was called outside of a coroutine of the recipe's own");
        mk__task_kill(task, sched->L);
    } else if (status == LUA_OK) {
        finish(task, lua_toboolean(co, -n_results), n_results - 1);
    } else { /* the handler itself failed, or memory is out: the error value is on top */
        finish(task, false, 1);
    }
}

struct mk_sched *mk_sched_new(lua_State *L, struct mk_loop *loop, lua_CFunction handler,
                              int64_t watchdog_ms, struct mk_error *err)
{
    struct mk_sched *sched = mk_calloc(sizeof *sched);
    if (!sched) {
        mk_error_nomem(err, "scheduler");
        return NULL;
    }
    sched->L = L;
    sched->loop = loop;
    sched->handler = handler;
    sched->ready_last = &sched->ready_first;
    if (watchdog_ms > 0 && mk__watchdog_start(sched, watchdog_ms, err) != MK_OK) {
        mk_free(sched);
        return NULL;
    }
    *(struct mk_sched **)lua_getextraspace(L) = sched;
    mk__coro_open(L);
    return sched;
}

void mk_sched_free(struct mk_sched *sched)
{
    if (sched)
        mk__watchdog_stop(sched);
    mk_free(sched);
}

bool mk_sched_run(struct mk_sched *sched, lua_State *L, int n_args)
{
    struct mk_task *task = mk__task_new(sched, NULL, L, n_args);
    if (!task) {
        mk__push_error(L, "NO_MEMORY", "out of memory");
        return false;
    }
    sched->main = task;
    while (task->state != MK_TASK_DONE) {
        /* Only those that are ready now: a task that is ready again at once must let the loop
         * have a turn. */
        struct mk_task *last =
            sched->ready_first ? (struct mk_task *)(void *)((char *)sched->ready_last -
                                                            offsetof(struct mk_task, next_ready))
                               : NULL;
        for (struct mk_task *ready = NULL; ready != last && (ready = take_ready(sched));)
            run_task(ready);
        if (task->state == MK_TASK_DONE)
            break;
        if (sched->ready_first) {
            mk_loop_poll(sched->loop);
        } else if (!mk_loop_run_once(sched->loop) && !sched->ready_first) {
            mk__push_error(L, "DEADLOCK", "every task waits for another one");
            mk__task_kill(task, L);
        }
    }
    sched->main = NULL;
    bool ok = task->ok;
    if (lua_checkstack(L, task->n_results)) {
        lua_xmove(task->co, L, task->n_results);
    } else {
        mk__push_error(L, "LUA_ERROR", "the main function returns too many results");
        ok = false;
    }
    mk__task_free(task);
    return ok;
}

/* ---- cancelling -------------------------------------------------------------------------- */

void mk__task_cancel(struct mk_task *task, lua_State *L)
{
    if (task->canceled || task->state == MK_TASK_DONE) {
        lua_pop(L, 1);
        return;
    }
    task->canceled = true;
    task->cancel_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    mk__task_hurry(task);
}

void mk_sched_cancel_main(struct mk_sched *sched, lua_State *L)
{
    if (sched->main)
        mk__task_cancel(sched->main, L);
    else
        lua_pop(L, 1);
}
