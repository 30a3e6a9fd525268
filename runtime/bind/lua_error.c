/*
 * Error values in Lua, and small helpers of all bindings. One table type for every error, with
 * __tostring, so `error(e)`, `pcall` and `tostring` work as everywhere. The handler turns plain
 * `error("text")` of recipes into the same type, so that reports have one shape.
 */
#include <stdlib.h>
#include <string.h>

#include "bind/bind.h"

#define TYPE_NAME "moonkeep.error"

static void set_text(lua_State *L, const char *key, const char *value)
{
    if (!value || !*value)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

void mk_push_error(lua_State *L, const struct mk_error *err)
{
    luaL_checkstack(L, 4, NULL);
    lua_createtable(L, 0, 6);
    set_text(L, "code", mk_error_name(err->status));
    set_text(L, "op", err->op);
    set_text(L, "message", err->message);
    set_text(L, "hint", err->hint);
    set_text(L, "detail", err->detail);
    set_text(L, "sqlstate", err->sqlstate);
    luaL_setmetatable(L, TYPE_NAME);
}

MK_RAISES int mk_raise(lua_State *L, const struct mk_error *err)
{
    mk_push_error(L, err);
    return lua_error(L);
}

MK_RAISES void mk_raise_nomem(lua_State *L)
{
    struct mk_error err;
    mk_error_nomem(&err, "moonkeep");
    mk_raise(L, &err);
    abort(); /* lua_error does not return, but its prototype does not say so */
}

static void copy_field(lua_State *L, int index, const char *key, char *to, size_t room)
{
    lua_getfield(L, index, key);
    size_t len = 0;
    const char *text = luaL_tolstring(L, -1, &len);
    len = lua_isnil(L, -2) ? 0 : len < room ? len : room - 1;
    memcpy(to, text, len);
    to[len] = '\0';
    lua_pop(L, 2);
}

MK_RAISES void mk_check_error(lua_State *L, int index, struct mk_error *err)
{
    char code[64];
    if (!lua_istable(L, index)) {
        mk_error_set(err, MK_ESYS, "", "%s", luaL_checkstring(L, index));
        return;
    }
    copy_field(L, index, "code", code, sizeof code);
    *err = (struct mk_error){.status = mk_error_status(code)};
    copy_field(L, index, "op", err->op, sizeof err->op);
    copy_field(L, index, "message", err->message, sizeof err->message);
    copy_field(L, index, "hint", err->hint, sizeof err->hint);
    copy_field(L, index, "detail", err->detail, sizeof err->detail);
}

static bool is_error(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, TYPE_NAME);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* "recipe.lua:12" of the nearest frame that belongs to a file of the user's; the library's chunks
 * are called @moonkeep/... */
static bool push_where(lua_State *L)
{
    lua_Debug ar;
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0 && strncmp(ar.source, "@moonkeep/", 10) != 0) {
            lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
            return true;
        }
    }
    const char *tracked = mk_sched_tracked_line(L);
    if (tracked)
        lua_pushstring(L, tracked);
    return tracked != NULL;
}

/* The text of a raised string, without the "file:line: " that the frame above tells as well. */
static void push_message(lua_State *L, const char *text)
{
    lua_Debug ar;
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0)
            continue;
        const char *prefix = lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
        size_t len = strlen(prefix);
        bool matches = strncmp(text, prefix, len) == 0;
        lua_pop(L, 1);
        if (matches) {
            lua_pushstring(L, text + len);
            return;
        }
    }
    lua_pushstring(L, text);
}

static void add_if_missing(lua_State *L, int index, const char *key)
{
    lua_getfield(L, index, key);
    bool missing = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (missing)
        lua_setfield(L, index, key);
    else
        lua_pop(L, 1);
}

/* Replaces whatever was raised, at `index`, by an error value. */
static void make_error(lua_State *L, int index)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, "LUA_ERROR");
    lua_setfield(L, -2, "code");
    const char *text = luaL_tolstring(L, index, NULL);
    push_message(L, text);
    lua_setfield(L, -3, "message");
    lua_pop(L, 1);
    luaL_setmetatable(L, TYPE_NAME);
    lua_replace(L, index);
}

int mk_error_handler(lua_State *L)
{
    lua_settop(L, 1);
    if (!mk_sched_push_inner_traceback(L, 1))
        lua_pushnil(L);
    if (!is_error(L, 1))
        make_error(L, 1);
    if (push_where(L))
        add_if_missing(L, 1, "where");
    bool has_inner = !lua_isnil(L, 2);
    luaL_traceback(L, L, has_inner ? "\nresumed by:" : NULL, 1);
    if (has_inner)
        lua_concat(L, 2);
    add_if_missing(L, 1, "traceback");
    lua_settop(L, 1);
    return 1;
}

/* "CODE: message" */
static int error_tostring(lua_State *L)
{
    lua_getfield(L, 1, "code");
    lua_getfield(L, 1, "message");
    lua_pushfstring(L, "%s: %s", luaL_optstring(L, 2, "ERROR"), luaL_optstring(L, 3, ""));
    return 1;
}

/* new{ code =, message =, ... } -> error value */
static int l_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    luaL_setmetatable(L, TYPE_NAME);
    return 1;
}

/* where() -> "recipe.lua:12", the nearest line that is not the library's own, or nil */
static int l_where(lua_State *L)
{
    if (!push_where(L))
        lua_pushnil(L);
    return 1;
}

static int l_is_error(lua_State *L)
{
    lua_pushboolean(L, is_error(L, 1));
    return 1;
}

int luaopen_core_error(lua_State *L)
{
    luaL_newmetatable(L, TYPE_NAME);
    lua_pushcfunction(L, error_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {{"new", l_new},
                                         {"is_error", l_is_error},
                                         {"where", l_where},
                                         {"handler", mk_error_handler},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

/* ---- helpers of all bindings -------------------------------------------------------------- */

static char runtime_key;

void mk_runtime_set(lua_State *L, struct mk_runtime *runtime)
{
    lua_pushlightuserdata(L, runtime);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &runtime_key);
}

struct mk_runtime *mk_runtime_of(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &runtime_key);
    struct mk_runtime *runtime = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return runtime;
}

struct mk_http *mk_runtime_http(lua_State *L, struct mk_error *err)
{
    struct mk_runtime *runtime = mk_runtime_of(L);
    if (!runtime->http)
        runtime->http = mk_http_new(runtime->loop, err);
    return runtime->http;
}

MK_RAISES lua_Integer mk_opt_field_integer(lua_State *L, int table, const char *key,
                                           lua_Integer standard, lua_Integer max)
{
    lua_getfield(L, table, key);
    lua_Integer value = luaL_optinteger(L, -1, standard);
    lua_pop(L, 1);
    if (value < 0 || value > max)
        luaL_error(L, "%s must be a number from 0 to %I", key, (LUAI_UACINT)max);
    return value;
}

MK_RAISES uint32_t mk_opt_field_oid(lua_State *L, int table, const char *key)
{
    return (uint32_t)mk_opt_field_integer(L, table, key, 0, UINT32_MAX);
}

const char *mk_opt_field_string(lua_State *L, int table, const char *key, const char *standard)
{
    lua_getfield(L, table, key);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s must be a string", key);
    size_t len = 0;
    const char *text = lua_tolstring(L, -1, &len);
    if (text && strlen(text) != len)
        luaL_error(L, "%s has a NUL byte in it", key);
    lua_pop(L, 1);
    return text ? text : standard;
}

MK_RAISES const char *mk_check_field_string(lua_State *L, int table, const char *key)
{
    const char *text = mk_opt_field_string(L, table, key, NULL);
    if (!text)
        luaL_error(L, "%s is missing", key);
    return text;
}

bool mk_field_bool(lua_State *L, int table, const char *key)
{
    lua_getfield(L, table, key);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}
