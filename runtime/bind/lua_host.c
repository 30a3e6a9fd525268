/*
 * moonkeep.core.host: what the process around a recipe offers: events to the supervisor, log
 * messages, the clocks, random identifiers.
 */
#include <stdio.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "bind/bind.h"

/* emit(json, important): one event to the supervisor */
static int l_emit(lua_State *L)
{
    size_t len;
    const char *json = luaL_checklstring(L, 1, &len);
    struct mk_runtime *runtime = mk_runtime_of(L);
    if (runtime->emit)
        runtime->emit(runtime->emit_arg, json, len, lua_toboolean(L, 2));
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
        {"emit", l_emit},       {"log", l_log},       {"monotonic", l_monotonic},
        {"wall", l_wall},       {"random", l_random}, {"arguments", l_arguments},
        {"version", l_version}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
