/*
 * moonkeep.core.json: JSON by jansson, whose integers are exact 64-bit ones. A Lua table with
 * keys 1..n (n > 0) is an array, any other an object; an empty table is an object unless its
 * metatable is json.array's. JSON null becomes nil (an absent key). Keys are sorted, so equal
 * values give equal text.
 *
 * The conversion calls nothing of Lua that may raise: half a jansson value would be lost then.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "bind/bind.h"

#define MAX_DEPTH 64

static char array_key; /* registry: the metatable of json.array's tables */

struct conversion {
    bool lenient; /* what is not UTF-8 is replaced, not refused */
    const char *why;
};

static json_t *to_json(lua_State *L, int index, int depth, struct conversion *conversion);

static bool is_array(lua_State *L, int index)
{
    if (lua_rawlen(L, index) > 0)
        return true;
    if (!lua_getmetatable(L, index))
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static json_t *array_to_json(lua_State *L, int index, int depth, struct conversion *conversion)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, index), keys = 0;
    lua_pushnil(L);
    for (; lua_next(L, index); lua_pop(L, 1))
        keys++;
    if (keys != n) {
        conversion->why = "a table mixes keys 1..n and others";
        return NULL;
    }
    json_t *array = json_array();
    for (lua_Integer i = 1; array && i <= n; i++) {
        lua_rawgeti(L, index, i);
        json_t *item = to_json(L, lua_gettop(L), depth + 1, conversion);
        lua_pop(L, 1);
        if (!item || json_array_append_new(array, item) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *object_to_json(lua_State *L, int index, int depth, struct conversion *conversion)
{
    json_t *object = json_object();
    lua_pushnil(L);
    while (object && lua_next(L, index)) {
        json_t *item = NULL;
        if (lua_type(L, -2) == LUA_TSTRING)
            item = to_json(L, lua_gettop(L), depth + 1, conversion);
        else
            conversion->why = "a table mixes keys 1..n and others";
        if (!item || json_object_set_new(object, lua_tostring(L, -2), item) != 0) {
            if (item)
                conversion->why = "a key is not UTF-8";
            lua_pop(L, 2);
            json_decref(object);
            return NULL;
        }
        lua_pop(L, 1);
    }
    return object;
}

static json_t *text_to_json(lua_State *L, int index, bool lenient)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    json_t *string = json_stringn(text, len);
    if (string || !lenient)
        return string;
    char *clean = mk_alloc(MK_UTF8_CLEAN_MAX(len));
    if (clean)
        string = json_stringn(clean, mk_utf8_clean(text, len, clean));
    mk_free(clean);
    return string;
}

static json_t *to_json(lua_State *L, int index, int depth, struct conversion *conversion)
{
    if (!lua_checkstack(L, 8))
        return NULL;
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        return json_boolean(lua_toboolean(L, index));
    case LUA_TNUMBER: {
        if (lua_isinteger(L, index))
            return json_integer(lua_tointeger(L, index));
        json_t *real = json_real(lua_tonumber(L, index));
        if (!real)
            conversion->why = "a number is not finite";
        return real;
    }
    case LUA_TSTRING: {
        json_t *string = text_to_json(L, index, conversion->lenient);
        if (!string)
            conversion->why = "a string is not UTF-8";
        return string;
    }
    case LUA_TTABLE:
        if (depth == MAX_DEPTH) {
            conversion->why = "tables are nested too deeply, or in a circle";
            return NULL;
        }
        return is_array(L, index) ? array_to_json(L, index, depth, conversion)
                                  : object_to_json(L, index, depth, conversion);
    default:
        conversion->why = "a value is neither table, string, number nor boolean";
        return NULL;
    }
}

static int protected_text(lua_State *L)
{
    lua_pushstring(L, lua_touserdata(L, 1));
    return 1;
}

char *mk_json_text(lua_State *L, int index, bool pretty, bool lenient)
{
    struct conversion conversion = {lenient, "out of memory"};
    json_t *json = to_json(L, index, 0, &conversion);
    if (!json)
        luaL_error(L, "cannot write JSON: %s", conversion.why);
    size_t flags = JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_REAL_PRECISION(15) |
                   (pretty ? JSON_INDENT(2) : JSON_COMPACT);
    char *text = json_dumps(json, flags);
    json_decref(json);
    if (!text)
        mk_raise_nomem(L);
    return text;
}

/* encode(value, pretty) -> text */
static int l_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    char *text = mk_json_text(L, 1, lua_toboolean(L, 2), false);
    lua_pushcfunction(L, protected_text);
    lua_pushlightuserdata(L, text);
    int status = lua_pcall(L, 1, 1, 0);
    free(text);
    return status == LUA_OK ? 1 : lua_error(L);
}

/* The table on top of the stack is an array, even when it is empty. */
static void mark_array(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    lua_setmetatable(L, -2);
}

static void push_json(lua_State *L, const json_t *json)
{
    luaL_checkstack(L, 8, "JSON is nested too deeply");
    switch (json_typeof(json)) {
    case JSON_OBJECT: {
        lua_newtable(L);
        const char *key;
        json_t *value;
        json_t *object;
        memcpy(&object, &json, sizeof object);
        json_object_foreach(object, key, value)
        {
            push_json(L, value);
            lua_setfield(L, -2, key);
        }
        break;
    }
    case JSON_ARRAY:
        lua_newtable(L);
        mark_array(L);
        for (size_t i = 0; i < json_array_size(json); i++) {
            push_json(L, json_array_get(json, i));
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(json), json_string_length(json));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(json));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(json));
        break;
    case JSON_NULL:
        lua_pushnil(L);
        break;
    }
}

static int protected_push(lua_State *L)
{
    push_json(L, lua_touserdata(L, 1));
    return 1;
}

/* decode(text) -> value; raises CORRUPT with line and column */
static int l_decode(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    json_error_t why;
    json_t *json = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (!json) {
        struct mk_error err;
        mk_error_set(&err, MK_ECORRUPT, "json", "not valid JSON: %s (line %d, column %d)", why.text,
                     why.line, why.column);
        return mk_raise(L, &err);
    }
    lua_pushcfunction(L, protected_push);
    lua_pushlightuserdata(L, json);
    int status = lua_pcall(L, 1, 1, 0);
    json_decref(json);
    return status == LUA_OK ? 1 : lua_error(L);
}

/* array(table) -> the same table, which is written as an array even when it is empty */
static int l_array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    mark_array(L);
    return 1;
}

int luaopen_core_json(lua_State *L)
{
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
    static const luaL_Reg functions[] = {
        {"encode", l_encode}, {"decode", l_decode}, {"array", l_array}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
