/*
 * Command lines from Lua tables: see mk_check_command. The table is checked completely before
 * anything is allocated in C, so that a mistake can raise without a leak; what copies it calls
 * nothing of Lua that may raise.
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
    lua_Integer n = (lua_Integer)lua_rawlen(L, argv);
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

/* The copies below return false when memory is out: a command without one of its arguments, or
 * without its user, would be another command. */
static bool copy_argv(lua_State *L, int argv, char ***list)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, argv);
    *list = mk_calloc((n + 1) * sizeof **list);
    bool ok = *list != NULL;
    for (lua_Integer i = 0; ok && i < n; i++) {
        lua_rawgeti(L, argv, i + 1);
        (*list)[i] = mk_strdup(lua_tostring(L, -1));
        ok = (*list)[i] != NULL;
        lua_pop(L, 1);
    }
    return ok;
}

static bool is_overridden(lua_State *L, int env, const char *entry)
{
    size_t len = strcspn(entry, "=");
    bool found = entry[len] == '\0';
    lua_pushnil(L);
    for (; lua_next(L, env); lua_pop(L, 1)) {
        const char *name = lua_tostring(L, -2);
        found = found || (strlen(name) == len && memcmp(name, entry, len) == 0);
    }
    return found;
}

static char *join_entry(const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *entry = mk_alloc(size);
    if (entry)
        snprintf(entry, size, "%s=%s", name, value);
    return entry;
}

extern char **environ;

static bool copy_env(lua_State *L, int env, char ***list)
{
    size_t n = 0;
    while (environ[n])
        n++;
    lua_pushnil(L);
    for (; lua_next(L, env); lua_pop(L, 1))
        n++;
    *list = mk_calloc((n + 1) * sizeof **list);
    bool ok = *list != NULL;
    size_t used = 0;
    for (char **entry = environ; ok && *entry; entry++)
        if (!is_overridden(L, env, *entry))
            ok = ((*list)[used++] = mk_strdup(*entry)) != NULL;
    lua_pushnil(L);
    for (; lua_next(L, env); lua_pop(L, 1))
        if (ok && lua_isstring(L, -1))
            ok = ((*list)[used++] = join_entry(lua_tostring(L, -2), lua_tostring(L, -1))) != NULL;
    return ok;
}

static bool copy_text(const char *text, char **copy)
{
    *copy = text ? mk_strdup(text) : NULL;
    return *copy || !text;
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
    bool ok = copy_argv(L, argv, &command->argv) && (!has_env || copy_env(L, env, &command->env)) &&
              copy_text(cwd, &command->cwd) && copy_text(user, &command->user);
    command->death_signal = death_signal;
    lua_settop(L, argv - 1);
    if (!ok) {
        mk_command_free(command);
        mk_raise_nomem(L);
    }
    return command;
}
