/* moonkeep.core.task: the scheduler for Lua. See sched/sched.h for scopes and shields. */
#include "base/mem.h"
#include "bind/bind.h"
#include "loop/timer.h"

struct sleep {
    struct mk_wait wait;
    struct mk_timer *timer;
};

static void on_sleep_over(void *arg)
{
    struct sleep *sleep = arg;
    if (sleep->wait.state == MK_WAIT_ARMED)
        mk_wait_fire(&sleep->wait, MK_OK);
}

static void on_sleep_cancel(struct mk_wait *wait)
{
    if (wait->state == MK_WAIT_ARMED)
        mk_wait_fire(wait, MK_ECANCELED);
}

static void sleep_drop(struct mk_wait *wait)
{
    struct sleep *sleep = (struct sleep *)(void *)wait;
    mk_timer_close(sleep->timer);
    mk_free(sleep);
}

static int sleep_push(lua_State *L, struct mk_wait *wait)
{
    (void)L;
    sleep_drop(wait);
    return 0;
}

static const struct mk_await_ops sleep_ops = {.push = sleep_push, .drop = sleep_drop};

/* sleep(ms) */
static int l_sleep(lua_State *L)
{
    lua_Integer ms = luaL_checkinteger(L, 1);
    mk_await_check(L);
    struct sleep *sleep = mk_calloc(sizeof *sleep);
    if (!sleep)
        mk_raise_nomem(L);
    mk_wait_init(&sleep->wait, on_sleep_cancel);
    struct mk_error err;
    sleep->timer = mk_timer_start(mk_runtime_of(L)->loop, ms, on_sleep_over, sleep, &err);
    if (!sleep->timer) {
        mk_free(sleep);
        return mk_raise(L, &err);
    }
    return mk_await(L, &sleep->wait, &sleep_ops);
}

/* stats() -> { tasks =, resumes =, kills = } */
static int l_stats(lua_State *L)
{
    struct mk_sched_stats stats = mk_sched_stats(mk_sched_of(L));
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)stats.tasks);
    lua_setfield(L, -2, "tasks");
    lua_pushinteger(L, (lua_Integer)stats.resumes);
    lua_setfield(L, -2, "resumes");
    lua_pushinteger(L, (lua_Integer)stats.kills);
    lua_setfield(L, -2, "kills");
    return 1;
}

/* canceled() -> the error with which this task was cancelled, or nil */
static int l_canceled(lua_State *L)
{
    mk_sched_push_canceled(L);
    return 1;
}

/* track_lines(on): see mk_sched_track_lines */
static int l_track_lines(lua_State *L)
{
    mk_sched_track_lines(L, lua_toboolean(L, 1));
    return 0;
}

/* guard(on) -> what it was before: see mk_sched_guard */
static int l_guard(lua_State *L)
{
    lua_pushboolean(L, mk_sched_guard(L, lua_toboolean(L, 1)));
    return 1;
}

int luaopen_core_task(lua_State *L)
{
    mk_scope_open(L);
    static const luaL_Reg functions[] = {{"sleep", l_sleep},
                                         {"scope", mk_scope_new},
                                         {"shield", mk_shield},
                                         {"stats", l_stats},
                                         {"track_lines", l_track_lines},
                                         {"canceled", l_canceled},
                                         {"guard", l_guard},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
