/*
 * Command lines from Lua tables: see mk_check_command. The table is checked completely before
 * anything is allocated in C, so that a mistake can raise without a leak.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "flow/stages.h"

static void check_argv(lua_State *L, int argv)
{
    lua_Integer n = luaL_len(L, argv);
    if (n < 1)
        luaL_error(L, "argv is empty");
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, argv, i);
        size_t len = 0;
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
        if (!text || strlen(text) != len)
            luaL_error(L, "argv[%d] must be a string without NUL bytes", (int)i);
        lua_pop(L, 1);
    }
}

static void check_env(lua_State *L, int env)
{
    lua_pushnil(L);
    while (lua_next(L, env)) {
        bool ok =
            lua_type(L, -2) == LUA_TSTRING && !strchr(lua_tostring(L, -2), '=') &&
            (lua_type(L, -1) == LUA_TSTRING || (lua_isboolean(L, -1) && !lua_toboolean(L, -1)));
        if (!ok)
            luaL_error(L, "env must map names to strings, or to false");
        lua_pop(L, 1);
    }
}

static char **copy_argv(lua_State *L, int argv)
{
    lua_Integer n = luaL_len(L, argv);
    char **list = mk_calloc((n + 1) * sizeof *list);
    for (lua_Integer i = 0; list && i < n; i++) {
        lua_rawgeti(L, argv, i + 1);
        list[i] = mk_strdup(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    return list;
}

static bool is_overridden(lua_State *L, int env, const char *entry)
{
    const char *equals = strchr(entry, '=');
    if (!equals)
        return true;
    lua_pushlstring(L, entry, equals - entry);
    lua_rawget(L, env);
    bool found = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return found;
}

extern char **environ;

static char **copy_env(lua_State *L, int env)
{
    size_t n = 0;
    while (environ[n])
        n++;
    lua_pushnil(L);
    for (; lua_next(L, env); lua_pop(L, 1))
        n++;
    char **list = mk_calloc((n + 1) * sizeof *list);
    if (!list)
        return NULL;
    size_t used = 0;
    for (char **entry = environ; *entry; entry++)
        if (!is_overridden(L, env, *entry))
            list[used++] = mk_strdup(*entry);
    lua_pushnil(L);
    for (; lua_next(L, env); lua_pop(L, 1)) {
        if (!lua_isstring(L, -1))
            continue;
        const char *key = lua_tostring(L, -2), *value = lua_tostring(L, -1);
        size_t size = strlen(key) + strlen(value) + 2;
        list[used] = mk_alloc(size);
        if (list[used])
            snprintf(list[used++], size, "%s=%s", key, value);
    }
    return list;
}

static char *copy_text(const char *text)
{
    return text ? mk_strdup(text) : NULL;
}

MK_RAISES struct mk_command *mk_check_command(lua_State *L, int index)
{
    luaL_checktype(L, index, LUA_TTABLE);
    index = lua_absindex(L, index);
    if (lua_getfield(L, index, "argv") != LUA_TTABLE)
        luaL_error(L, "argv must be a list of strings");
    int argv = lua_gettop(L);
    check_argv(L, argv);
    bool has_env = lua_getfield(L, index, "env") == LUA_TTABLE;
    int env = lua_gettop(L);
    if (has_env)
        check_env(L, env);
    const char *cwd = mk_opt_field_string(L, index, "cwd", NULL);
    const char *user = mk_opt_field_string(L, index, "user", NULL);
    lua_getfield(L, index, "death_signal");
    int death_signal = (int)lua_tointeger(L, -1);

    struct mk_command *command = mk_calloc(sizeof *command);
    if (!command)
        mk_raise_nomem(L);
    command->argv = copy_argv(L, argv);
    command->env = has_env ? copy_env(L, env) : NULL;
    command->cwd = copy_text(cwd);
    command->user = copy_text(user);
    command->death_signal = death_signal;
    lua_settop(L, argv - 1);
    if (!command->argv || !command->argv[0] || (has_env && !command->env)) {
        mk_command_free(command);
        mk_raise_nomem(L);
    }
    return command;
}
