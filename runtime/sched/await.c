/*
 * Awaiting, from a binding's call to the result, and what holds cancellation off: shields. See
 * docs/internals/tasks.md.
 *
 * - An await checks first whether it is possible and wanted, then the operation is started, then
 *   the coroutine yields the sentinel. The continuation takes the result, or raises.
 * - A shield belongs to the coroutine in which it was opened: while that is suspended (a generator
 *   between two of its values, say), it shields nothing. It forgets its task when that ends.
 */
#include <assert.h>
#include <lauxlib.h>
#include <string.h>

#include "sched/sched_impl.h"

/* ---- awaiting ---------------------------------------------------------------------------- */

/* Nobody waits for this operation any more: give it up when it fires. */
static void on_orphan_fired(struct mk_wait *wait, void *arg)
{
    const struct mk_await_ops *ops = arg;
    wait->state = MK_WAIT_CONSUMED;
    ops->drop(wait);
}

void mk__task_orphan_wait(struct mk_task *task)
{
    struct mk_wait *wait = task->wait;
    if (!wait)
        return;
    if (task->ops->kill && wait->state == MK_WAIT_ARMED)
        task->ops->kill(wait);
    task->wait = NULL;
    if (wait->state == MK_WAIT_FIRED) {
        wait->state = MK_WAIT_CONSUMED;
        task->ops->drop(wait);
        return;
    }
    wait->on_fire = on_orphan_fired;
    memcpy(&wait->arg, &task->ops, sizeof wait->arg);
    if (wait->cancel)
        wait->cancel(wait);
}

static MK_RAISES int raise_cancel(lua_State *L, struct mk_task *task)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->cancel_ref);
    if (++task->strikes <= MK_MAX_STRIKES)
        return lua_error(L);
    mk__task_condemn(task, L);
    return lua_yield(L, 0); /* never to be resumed */
}

bool mk_can_await(lua_State *L)
{
    struct mk_task *task = mk_sched_of(L)->current;
    bool yieldable = task && lua_isyieldable(L);
    for (struct mk_nested *nested = task ? task->innermost : NULL; nested; nested = nested->outer)
        yieldable = yieldable && nested->resumer_yieldable;
    return yieldable;
}

MK_RAISES void mk_await_check(lua_State *L)
{
    struct mk_task *task = mk_sched_of(L)->current;
    if (!mk_can_await(L)) {
        luaL_error(L, "cannot await here: this runs inside a callback of a C function (such as "
                      "string.gsub, table.sort, require or __tostring), or while a task is being "
                      "killed");
        return;
    }
    if (mk__task_must_raise(task))
        raise_cancel(L, task);
    if (task->sched->guarded) {
        mk__push_error(L, "INVALID", "loading a recipe does no I/O: this belongs into `run`");
        lua_error(L);
    }
}

bool mk_sched_guard(lua_State *L, bool on)
{
    struct mk_sched *sched = mk_sched_of(L);
    bool before = sched->guarded;
    sched->guarded = on;
    return before;
}

static int consume(lua_State *L, struct mk_wait *wait, const struct mk_await_ops *ops)
{
    wait->state = MK_WAIT_CONSUMED;
    return ops->push(L, wait);
}

static int await_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct mk_task *task = (struct mk_task *)ctx;
    struct mk_wait *wait = task->wait;
    task->wait = NULL;
    assert(wait->state == MK_WAIT_FIRED);
    bool held = task->held;
    task->held = false;
    if (!held && mk__task_must_raise(task)) {
        wait->state = MK_WAIT_CONSUMED;
        task->ops->drop(wait);
        return raise_cancel(L, task);
    }
    return consume(L, wait, task->ops);
}

static void on_fired(struct mk_wait *wait, void *arg)
{
    (void)wait;
    mk__task_make_ready(arg);
}

static MK_RAISES int await(lua_State *L, struct mk_wait *wait, const struct mk_await_ops *ops,
                           bool held)
{
    if (wait->state == MK_WAIT_FIRED)
        return consume(L, wait, ops);
    struct mk_task *task = mk_sched_of(L)->current;
    task->held = held;
    task->wait = wait;
    task->ops = ops;
    wait->on_fire = on_fired;
    wait->arg = task;
    lua_pushlightuserdata(L, &mk__sentinel);
    return lua_yieldk(L, 1, (lua_KContext)task, await_k);
}

MK_RAISES int mk_await(lua_State *L, struct mk_wait *wait, const struct mk_await_ops *ops)
{
    return await(L, wait, ops, false);
}

MK_RAISES int mk_await_held(lua_State *L, struct mk_wait *wait, const struct mk_await_ops *ops)
{
    return await(L, wait, ops, true);
}

/* ---- shields ----------------------------------------------------------------------------- */

static bool is_in_chain(const struct mk_task *task, const lua_State *co)
{
    bool found = co == task->co;
    for (const struct mk_nested *nested = task->innermost; nested; nested = nested->outer)
        found = found || nested->co == co;
    return found;
}

bool mk__task_must_raise(const struct mk_task *task)
{
    if (!task->canceled || task->held)
        return false;
    for (const struct mk_shield *shield = task->shields; shield; shield = shield->next)
        if (!shield->expired && is_in_chain(task, shield->co))
            return false;
    return true;
}

void mk__task_hurry(struct mk_task *task)
{
    if (task->state == MK_TASK_WAITING && mk__task_must_raise(task) &&
        task->wait->state == MK_WAIT_ARMED && task->wait->cancel)
        task->wait->cancel(task->wait);
}

static void on_shield_over(void *arg)
{
    struct mk_shield *shield = arg;
    shield->expired = true;
    mk__task_hurry(shield->task);
}

static void drop_shield(struct mk_shield *shield)
{
    if (!shield->task)
        return;
    struct mk_shield **link = &shield->task->shields;
    while (*link != shield)
        link = &(*link)->next;
    *link = shield->next;
    mk_timer_close(shield->timer);
    shield->timer = NULL;
    shield->task = NULL;
}

void mk__task_drop_shields(struct mk_task *task)
{
    while (task->shields)
        drop_shield(task->shields);
}

static int shield_end(lua_State *L)
{
    drop_shield(lua_touserdata(L, 1));
    return 0;
}

static int shield_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    lua_closeslot(L, 1);
    return lua_gettop(L) - 1;
}

int mk_shield(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_Integer ms = luaL_checkinteger(L, 2);
    struct mk_sched *sched = mk_sched_of(L);
    if (!sched->current)
        return luaL_error(L, "shield needs a task");
    lua_settop(L, 1);
    struct mk_shield *shield = lua_newuserdatauv(L, sizeof *shield, 0);
    *shield = (struct mk_shield){.co = L};
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, shield_end);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, shield_end);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_insert(L, 1);
    lua_toclose(L, 1);
    struct mk_error err;
    shield->timer = mk_timer_start(sched->loop, ms, on_shield_over, shield, &err);
    if (!shield->timer)
        return mk__raise_nomem(L);
    shield->task = sched->current;
    shield->next = shield->task->shields;
    shield->task->shields = shield;
    lua_callk(L, 0, LUA_MULTRET, 0, shield_k);
    return shield_k(L, LUA_OK, 0);
}
