/*
 * Scopes: the tree in which tasks live. A scope's owner is the task that made it; the scope never
 * ends before its tasks have. The first task that fails decides the scope's error and cancels its
 * siblings; what they raise on the way out is kept in the error's `also`. A task that was
 * cancelled and raises that cancellation has not failed.
 */
#include <lauxlib.h>
#include <stddef.h>

#include "base/mem.h"
#include "sched/sched_impl.h"

#define TYPE_NAME "moonkeep.scope"

static struct mk_scope *check_scope(lua_State *L)
{
    return luaL_checkudata(L, 1, TYPE_NAME);
}

/* Pops an error value. */
static void cancel_all(struct mk_scope *scope, lua_State *L)
{
    scope->canceled = true;
    for (int i = 0; i < scope->n_tasks; i++) {
        lua_pushvalue(L, -1);
        mk__task_cancel(scope->tasks[i], L);
    }
    lua_pop(L, 1);
}

static void push_canceled(lua_State *L)
{
    mk__push_error(L, "CANCELED", "canceled");
}

/* ---- how tasks end ----------------------------------------------------------------------- */

static bool raised_its_cancel(lua_State *L, const struct mk_task *task)
{
    if (!task->canceled)
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->cancel_ref);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
    return same;
}

/* Appends the error on top of the stack (popped) to the first one's `also`. */
static void add_secondary(struct mk_scope *scope, lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, scope->error_ref);
    if (!lua_istable(L, -1) || lua_rawequal(L, -1, -2)) {
        lua_pop(L, 2);
        return;
    }
    if (lua_getfield(L, -1, "also") != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "also");
    }
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 3);
}

void mk__scope_task_done(struct mk_scope *scope, struct mk_task *task)
{
    lua_State *L = scope->sched->L;
    luaL_checkstack(L, 8, NULL);
    if (!task->ok) {
        lua_pushvalue(task->co, -1);
        lua_xmove(task->co, L, 1);
        bool only_canceled = raised_its_cancel(L, task);
        if (scope->error_ref == LUA_NOREF && (!only_canceled || !scope->canceled)) {
            scope->error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
            push_canceled(L);
            cancel_all(scope, L);
        } else if (scope->error_ref != LUA_NOREF && !only_canceled) {
            add_secondary(scope, L);
        } else {
            lua_pop(L, 1);
        }
    }
    if (--scope->pending == 0 && scope->waiting)
        mk_wait_fire(&scope->wait, MK_OK); /* may release the scope, when nobody waits any more */
}

/* ---- methods ----------------------------------------------------------------------------- */

static int scope_spawn(lua_State *L)
{
    struct mk_scope *scope = check_scope(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    mk_await_check(L);
    if (scope->n_tasks == scope->cap_tasks) {
        int cap = scope->cap_tasks ? scope->cap_tasks * 2 : 4;
        struct mk_task **tasks = mk_realloc(scope->tasks, cap * sizeof *tasks);
        if (!tasks)
            return mk__raise_nomem(L);
        scope->tasks = tasks;
        scope->cap_tasks = cap;
    }
    lua_pushvalue(L, 1);
    int scope_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    struct mk_task *task = mk__task_new(scope->sched, scope, L, lua_gettop(L) - 2);
    if (!task) {
        luaL_unref(L, LUA_REGISTRYINDEX, scope_ref);
        return mk__raise_nomem(L);
    }
    task->scope_ref = scope_ref;
    lua_settop(L, 1);
    scope->tasks[scope->n_tasks++] = task;
    scope->pending++;
    if (scope->canceled) {
        push_canceled(L);
        mk__task_cancel(task, L);
    }
    lua_pushinteger(L, scope->n_tasks);
    return 1;
}

static struct mk_scope *of_wait(struct mk_wait *wait)
{
    return (struct mk_scope *)(void *)((char *)wait - offsetof(struct mk_scope, wait));
}

/* The owner has been cancelled while it waits here: so are its tasks, with the same error. */
static void on_join_cancel(struct mk_wait *wait)
{
    struct mk_scope *scope = of_wait(wait);
    lua_State *L = scope->sched->L;
    luaL_checkstack(L, 8, NULL);
    if (scope->owner->canceled)
        lua_rawgeti(L, LUA_REGISTRYINDEX, scope->owner->cancel_ref);
    else
        push_canceled(L); /* it is being killed */
    cancel_all(scope, L);
}

static void kill_all(struct mk_scope *scope, lua_State *L);

/* The owner is being killed while it waits: so are its tasks, for none outlives it. */
static void kill_joined(struct mk_wait *wait)
{
    struct mk_scope *scope = of_wait(wait);
    kill_all(scope, scope->sched->L);
}

static int push_joined(lua_State *L, struct mk_wait *wait)
{
    struct mk_scope *scope = of_wait(wait);
    scope->waiting = false;
    if (scope->error_ref == LUA_NOREF)
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, scope->error_ref);
    return lua_error(L);
}

static void drop_joined(struct mk_wait *wait)
{
    of_wait(wait)->waiting = false;
}

static const struct mk_await_ops join_ops = {
    .push = push_joined, .drop = drop_joined, .kill = kill_joined};

static void arm(struct mk_scope *scope)
{
    mk_wait_init(&scope->wait, on_join_cancel);
    scope->owner = scope->sched->current; /* who made it may be gone */
    scope->waiting = true;
    if (scope->pending == 0)
        mk_wait_fire(&scope->wait, MK_OK);
}

static int scope_join(lua_State *L)
{
    struct mk_scope *scope = check_scope(L);
    mk_await_check(L);
    if (scope->waiting)
        return luaL_error(L, "another task waits for this scope already");
    arm(scope);
    return mk_await(L, &scope->wait, &join_ops);
}

static int scope_results(lua_State *L)
{
    struct mk_scope *scope = check_scope(L);
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n >= 1 && n <= scope->n_tasks, 2, "no such task");
    struct mk_task *task = scope->tasks[n - 1];
    if (task->state != MK_TASK_DONE || !task->ok)
        return luaL_error(L, "task %d has no results", (int)n);
    luaL_checkstack(L, task->n_results, NULL);
    luaL_checkstack(task->co, task->n_results, NULL);
    int first = lua_gettop(task->co) - task->n_results + 1;
    for (int i = 0; i < task->n_results; i++)
        lua_pushvalue(task->co, first + i);
    lua_xmove(task->co, L, task->n_results);
    return task->n_results;
}

static int scope_cancel(lua_State *L)
{
    struct mk_scope *scope = check_scope(L);
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pop(L, 1);
        push_canceled(L);
    }
    cancel_all(scope, L);
    return 0;
}

static void on_deadline(void *arg)
{
    struct mk_scope *scope = arg;
    lua_State *L = scope->sched->L;
    luaL_checkstack(L, 8, NULL);
    lua_rawgeti(L, LUA_REGISTRYINDEX, scope->deadline_ref);
    if (scope->error_ref == LUA_NOREF && scope->pending > 0) {
        lua_pushvalue(L, -1);
        scope->error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    cancel_all(scope, L);
}

static int scope_deadline(lua_State *L)
{
    struct mk_scope *scope = check_scope(L);
    lua_Integer ms = luaL_checkinteger(L, 2);
    luaL_checkany(L, 3);
    luaL_argcheck(L, !scope->deadline, 1, "it has a deadline already");
    struct mk_error err;
    scope->deadline = mk_timer_start(scope->sched->loop, ms, on_deadline, scope, &err);
    if (!scope->deadline)
        return mk__raise_nomem(L);
    lua_settop(L, 3);
    scope->deadline_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* ---- the end ----------------------------------------------------------------------------- */

static void release(struct mk_scope *scope, lua_State *L)
{
    mk_timer_close(scope->deadline);
    scope->deadline = NULL;
    for (int i = 0; i < scope->n_tasks; i++)
        mk__task_free(scope->tasks[i]);
    mk_free(scope->tasks);
    scope->tasks = NULL;
    scope->n_tasks = scope->cap_tasks = 0;
    luaL_unref(L, LUA_REGISTRYINDEX, scope->error_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, scope->deadline_ref);
    scope->error_ref = scope->deadline_ref = LUA_NOREF;
}

static void kill_all(struct mk_scope *scope, lua_State *L)
{
    luaL_checkstack(L, 4, NULL);
    for (int i = 0; i < scope->n_tasks; i++) {
        if (scope->tasks[i]->state == MK_TASK_DONE)
            continue;
        push_canceled(L);
        mk__task_kill(scope->tasks[i], L);
    }
}

static void drop_closed(struct mk_wait *wait)
{
    struct mk_scope *scope = of_wait(wait);
    scope->waiting = false;
    release(scope, scope->sched->L);
}

static int push_closed(lua_State *L, struct mk_wait *wait)
{
    (void)L;
    drop_closed(wait);
    return 0;
}

static const struct mk_await_ops close_ops = {
    .push = push_closed, .drop = drop_closed, .kill = kill_joined};

/* A scope cannot be left early, not even by cancellation. The tasks have been cancelled, so this is
 * short unless one of them shields itself, which has a deadline. */
static int scope_close(lua_State *L)
{
    struct mk_scope *scope = check_scope(L);
    if (scope->pending > 0 && !mk_can_await(L))
        kill_all(scope, L);
    if (scope->waiting)
        return luaL_error(L, "another task waits for this scope");
    if (scope->pending > 0) {
        push_canceled(L);
        cancel_all(scope, L);
        arm(scope);
        scope->wait.cancel = NULL;
        return mk_await_held(L, &scope->wait, &close_ops);
    }
    release(scope, L);
    return 0;
}

static int scope_gc(lua_State *L)
{
    struct mk_scope *scope = check_scope(L);
    kill_all(scope, L);
    release(scope, L);
    return 0;
}

int mk_scope_new(lua_State *L)
{
    struct mk_sched *sched = mk_sched_of(L);
    mk_await_check(L);
    struct mk_scope *scope = lua_newuserdatauv(L, sizeof *scope, 0);
    *scope = (struct mk_scope){
        .sched = sched, .owner = sched->current, .error_ref = LUA_NOREF, .deadline_ref = LUA_NOREF};
    luaL_setmetatable(L, TYPE_NAME);
    return 1;
}

void mk_scope_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"spawn", scope_spawn},
        {"join", scope_join},
        {"results", scope_results},
        {"cancel", scope_cancel},
        {"deadline", scope_deadline},
        {"close", scope_close},
        {NULL, NULL},
    };
    luaL_newmetatable(L, TYPE_NAME);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, scope_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, scope_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
