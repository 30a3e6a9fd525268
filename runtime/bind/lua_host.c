/*
 * moonkeep.core.host: what the process around a recipe offers: events to the supervisor, questions
 * to whoever sits at its terminal, log messages, the clocks, random identifiers, the environment.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind/bind.h"

/* emit(event, important): a table that becomes one line of JSON to the supervisor; its texts may be
 * in any encoding */
static int l_emit(lua_State *L)
{
    struct mk_runtime *runtime = mk_runtime_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    char *json = mk_json_text(L, 1, false, true);
    if (runtime->emit)
        runtime->emit(runtime->host_arg, json, strlen(json), lua_toboolean(L, 2));
    free(json);
    return 0;
}

/* log(level, text): "debug", "info", "warn" or "error" */
static int l_log(lua_State *L)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    int level = luaL_checkoption(L, 1, NULL, levels);
    mk_log((enum mk_log_level)level, "%s", luaL_checkstring(L, 2));
    return 0;
}

/* monotonic() -> milliseconds, for durations */
static int l_monotonic(lua_State *L)
{
    lua_pushinteger(L, mk_monotonic_ms());
    return 1;
}

/* wall() -> milliseconds since 1970 UTC */
static int l_wall(lua_State *L)
{
    lua_pushinteger(L, mk_wall_ms());
    return 1;
}

/* iso_time() -> "2026-11-22T02:00:00.123Z" */
static int l_iso_time(lua_State *L)
{
    char text[MK_ISO_BYTES];
    mk_iso_time(mk_wall_ms(), text);
    lua_pushstring(L, text);
    return 1;
}

/* random(n) -> 2n hex digits from the system's random source, n <= 32 */
static int l_random(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    unsigned char bytes[32];
    char hex[2 * sizeof bytes + 1];
    luaL_argcheck(L, n >= 1 && n <= (lua_Integer)sizeof bytes, 1, "1 to 32 bytes");
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return luaL_error(L, "the system gives no random bytes");
    for (int i = 0; i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    lua_pushstring(L, hex);
    return 1;
}

/* ---- questions ----------------------------------------------------------------------------- */

struct mk_ask {
    struct mk_wait wait;
    struct mk_runtime *runtime;
    size_t len;
    char json[MK_ANSWER_BYTES];
};

static void ask_over(struct mk_ask *ask, int status)
{
    struct mk_runtime *runtime = ask->runtime;
    runtime->ask = NULL;
    runtime->listen(runtime->host_arg, false);
    mk_wait_fire(&ask->wait, status);
}

void mk_answer(struct mk_runtime *runtime, const char *json, size_t len)
{
    struct mk_ask *ask = runtime->ask;
    if (!ask)
        return;
    memcpy(ask->json, json, len);
    ask->len = len;
    ask_over(ask, MK_OK);
}

static void on_ask_cancel(struct mk_wait *wait)
{
    if (wait->state == MK_WAIT_ARMED)
        ask_over((struct mk_ask *)(void *)wait, MK_ECANCELED);
}

static void ask_drop(struct mk_wait *wait)
{
    mk_free(wait);
}

static int ask_push(lua_State *L, struct mk_wait *wait)
{
    struct mk_ask *ask = (struct mk_ask *)(void *)wait;
    char json[MK_ANSWER_BYTES];
    size_t len = ask->len;
    memcpy(json, ask->json, len);
    ask_drop(wait);
    lua_pushlstring(L, json, len);
    return 1;
}

static const struct mk_await_ops ask_ops = {.push = ask_push, .drop = ask_drop};

/* ask(event) -> JSON, the answer to it; nil when there is nobody to answer. One question at a
 * time. */
static int l_ask(lua_State *L)
{
    struct mk_runtime *runtime = mk_runtime_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    mk_await_check(L);
    if (runtime->ask)
        return luaL_error(L, "another question is open");
    char *json = mk_json_text(L, 1, false, true);
    if (!runtime->listen || !runtime->listen(runtime->host_arg, true)) {
        free(json);
        lua_pushnil(L);
        return 1;
    }
    struct mk_ask *ask = mk_calloc(sizeof *ask);
    if (!ask) {
        free(json);
        runtime->listen(runtime->host_arg, false);
        mk_raise_nomem(L);
    }
    mk_wait_init(&ask->wait, on_ask_cancel);
    ask->runtime = runtime;
    runtime->ask = ask;
    runtime->emit(runtime->host_arg, json, strlen(json), true);
    free(json);
    return mk_await(L, &ask->wait, &ask_ops);
}

/* ---- the process --------------------------------------------------------------------------- */

/* limit(watchdog_ms, lua_memory_bytes) */
static int l_limit(lua_State *L)
{
    struct mk_runtime *runtime = mk_runtime_of(L);
    runtime->limit(runtime->host_arg, luaL_checkinteger(L, 1), (size_t)luaL_checkinteger(L, 2));
    return 0;
}

/* take_env(name) -> value or nil. From now on no child inherits it. */
static int l_take_env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_pushstring(L, getenv(name));
    unsetenv(name);
    return 1;
}

/* set_env(name, value): for us and for children */
static int l_set_env(lua_State *L)
{
    setenv(luaL_checkstring(L, 1), luaL_checkstring(L, 2), 1);
    return 0;
}

/* is_terminal(fd) -> boolean */
static int l_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* name() -> this machine's */
static int l_name(lua_State *L)
{
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    lua_pushstring(L, name);
    return 1;
}

/* arguments() -> list of strings */
static int l_arguments(lua_State *L)
{
    struct mk_runtime *runtime = mk_runtime_of(L);
    lua_createtable(L, runtime->argc, 0);
    for (int i = 0; i < runtime->argc; i++) {
        lua_pushstring(L, runtime->argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* version() -> text */
static int l_version(lua_State *L)
{
    lua_pushliteral(L, MK_VERSION);
    return 1;
}

int luaopen_core_host(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"emit", l_emit},
        {"ask", l_ask},
        {"log", l_log},
        {"monotonic", l_monotonic},
        {"wall", l_wall},
        {"iso_time", l_iso_time},
        {"random", l_random},
        {"limit", l_limit},
        {"take_env", l_take_env},
        {"set_env", l_set_env},
        {"is_terminal", l_is_terminal},
        {"name", l_name},
        {"arguments", l_arguments},
        {"version", l_version},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
