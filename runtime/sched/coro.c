/*
 * coroutine.resume and coroutine.wrap for tasks. A user's coroutine may await: it then yields the
 * scheduler's sentinel, which these pass on outwards instead of taking it for a value, and when
 * the task is resumed they resume the inner coroutine again. Two further differences to the stock
 * functions: a coroutine that died of an error is closed at once, so its closers run, and its
 * traceback is kept for the error report of the task.
 */
#include <lauxlib.h>

#include "sched/sched_impl.h"

/* Whose a coroutine is, in a weak table from coroutines to these. One that waits inside a task, and
 * a task's own, look suspended to everybody, but only the scheduler may go on with them. */
enum owner { RECIPES, WAITING, TASKS };
static char owner_key;

/* Allocates, and so may raise, only for a coroutine that is not in the table yet. */
static void set_owner(lua_State *L, lua_State *co, enum owner owner)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &owner_key);
    lua_pushthread(co);
    lua_xmove(co, L, 1);
    lua_pushinteger(L, owner);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

static enum owner owner_of(lua_State *L, lua_State *co)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &owner_key);
    lua_pushthread(co);
    lua_xmove(co, L, 1);
    lua_rawget(L, -2);
    enum owner owner = (enum owner)lua_tointeger(L, -1);
    lua_pop(L, 2);
    return owner;
}

void mk__coro_own(lua_State *L, lua_State *co)
{
    set_owner(L, co, TASKS);
}

/* Stack of a resumer: 1 = the nested record; its user value is the coroutine. */
static int resume_k(lua_State *L, int status, lua_KContext is_wrap);

/* The task is to die, but cannot yield from here: the error goes out as far as it gets. */
static int give_up(lua_State *L, struct mk_task *task, struct mk_nested *nested)
{
    task->innermost = nested->outer;
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->kill_ref);
    return lua_error(L);
}

/* For the report of this very error, should nobody deal with it. */
static void keep_traceback(lua_State *L, lua_State *co, struct mk_task *task)
{
    lua_pushvalue(co, -1);
    lua_xmove(co, L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->traced_ref);
    bool is_kept = task->traced_ref != LUA_NOREF && lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
    if (is_kept) { /* by the coroutine further in */
        lua_pop(L, 1);
        return;
    }
    luaL_unref(L, LUA_REGISTRYINDEX, task->traced_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, task->traceback_ref);
    task->traced_ref = task->traceback_ref = LUA_NOREF;
    task->traced_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    luaL_traceback(L, co, NULL, 0);
    task->traceback_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int died(lua_State *L, lua_State *co, struct mk_task *task, bool is_wrap)
{
    if (task)
        keep_traceback(L, co, task);
    mk__reset(mk_sched_of(L), co); /* closers; leaves the error on top, theirs if they raise one */
    if (!is_wrap) {
        lua_pushboolean(L, 0);
        lua_xmove(co, L, 1);
        return 2;
    }
    lua_xmove(co, L, 1);
    return lua_error(L);
}

static int resume_once(lua_State *L, lua_State *co, int n_args, bool is_wrap)
{
    struct mk_task *task = mk_sched_of(L)->current;
    struct mk_nested *nested = lua_touserdata(L, 1);
    if (task) {
        nested->outer = task->innermost;
        task->innermost = nested;
    }
    int n_results = 0;
    int status = mk__resume(mk_sched_of(L), co, L, n_args, &n_results);
    bool dying = task && task->dying;
    if (status == LUA_YIELD &&
        (dying || (n_results == 1 && lua_touserdata(co, -1) == &mk__sentinel))) {
        lua_pop(co, n_results);
        if (dying && !lua_isyieldable(L))
            return give_up(L, task, nested);
        set_owner(L, co, WAITING);
        lua_pushlightuserdata(L, &mk__sentinel);
        return lua_yieldk(L, 1, is_wrap, resume_k);
    }
    if (task)
        task->innermost = nested->outer;
    if (status != LUA_OK && status != LUA_YIELD)
        return died(L, co, task, is_wrap);
    if (!lua_checkstack(L, n_results + 1)) {
        lua_pop(co, n_results);
        return luaL_error(L, "too many results to resume");
    }
    if (!is_wrap)
        lua_pushboolean(L, 1);
    lua_xmove(co, L, n_results);
    return n_results + !is_wrap;
}

static int resume_k(lua_State *L, int status, lua_KContext is_wrap)
{
    (void)status;
    struct mk_nested *nested = lua_touserdata(L, 1);
    struct mk_task *task = mk_sched_of(L)->current;
    task->innermost = nested->outer; /* resume_once enters it again */
    set_owner(L, nested->co, RECIPES);
    return resume_once(L, nested->co, 0, is_wrap);
}

static int refuse(lua_State *L, bool is_wrap, const char *why)
{
    if (is_wrap)
        return luaL_error(L, "%s", why);
    lua_pushboolean(L, 0);
    lua_pushstring(L, why);
    return 2;
}

/* The arguments are on L's stack; co is what to resume with them. */
static int resume(lua_State *L, lua_State *co, int co_index, bool is_wrap)
{
    int n_args = lua_gettop(L) - (co_index > 0 ? 1 : 0);
    if (!lua_checkstack(co, n_args))
        return luaL_error(L, "too many arguments to resume");
    lua_Debug ar;
    if (co == L || owner_of(L, co) != RECIPES ||
        (lua_status(co) == LUA_OK && lua_getstack(co, 0, &ar)))
        return refuse(L, is_wrap, "cannot resume non-suspended coroutine");
    if (lua_status(co) == LUA_OK && lua_gettop(co) == 0)
        return refuse(L, is_wrap, "cannot resume dead coroutine");
    set_owner(L, co, RECIPES);
    lua_xmove(L, co, n_args);
    struct mk_nested *nested = lua_newuserdatauv(L, sizeof *nested, 1);
    nested->co = co;
    nested->resumer_yieldable = lua_isyieldable(L);
    nested->outer = NULL;
    lua_pushvalue(L, co_index);
    lua_setiuservalue(L, -2, 1);
    lua_insert(L, 1);
    return resume_once(L, co, n_args, is_wrap);
}

static int l_resume(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    return resume(L, co, 1, false);
}

static int l_wrapped(lua_State *L)
{
    int index = lua_upvalueindex(1);
    return resume(L, lua_tothread(L, index), index, true);
}

static int l_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, l_wrapped, 1);
    return 1;
}

/* The stock function, unless the coroutine is the scheduler's. */
static int l_close(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    if (co && owner_of(L, co) != RECIPES)
        return luaL_error(L, "cannot close a coroutine that is waiting in a task, or is a task's");
    struct mk_sched *sched = mk_sched_of(L);
    lua_State *before = sched->running;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    sched->running = co ? co : before; /* closers */
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    sched->running = before;
    return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

static int l_status(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    if (co && lua_status(co) == LUA_YIELD && owner_of(L, co) != RECIPES) {
        lua_pushliteral(L, "normal");
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static void wrap_stock(lua_State *L, const char *name, lua_CFunction fn)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, fn, 1);
    lua_setfield(L, -2, name);
}

void mk__coro_open(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &owner_key);
    lua_getglobal(L, "coroutine");
    wrap_stock(L, "close", l_close);
    wrap_stock(L, "status", l_status);
    lua_pushcfunction(L, l_resume);
    lua_setfield(L, -2, "resume");
    lua_pushcfunction(L, l_wrap);
    lua_setfield(L, -2, "wrap");
    lua_pop(L, 1);
}
