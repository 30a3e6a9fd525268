/*
 * moonkeep.core.columns: tables that commands print; see base/columns.h. Lua gives the rows, one by
 * one, which need not all be there at once as Lua values, and takes the lines.
 */
#include <string.h>

#include "base/columns.h"
#include "bind/bind.h"

#define COLUMNS_TYPE "moonkeep.columns"

struct table {
    struct mk_columns columns;
    struct mk_names text; /* what is shown next; kept for the room it has */
};

/* new("lrl") -> columns, of which r ones are set to the right */
static int l_new(lua_State *L)
{
    size_t n = 0;
    const char *sides = luaL_checklstring(L, 1, &n);
    luaL_argcheck(L, n > 0 && n <= MK_COLUMNS_MAX, 1, "too many columns");
    struct table *table = lua_newuserdatauv(L, sizeof *table, 0);
    memset(table, 0, sizeof *table);
    table->columns.n = (int)n;
    for (size_t i = 0; i < n; i++)
        table->columns.right[i] = sides[i] == 'r';
    luaL_setmetatable(L, COLUMNS_TYPE);
    return 1;
}

static struct table *check(lua_State *L)
{
    return luaL_checkudata(L, 1, COLUMNS_TYPE);
}

/* columns:add(cell...): a row; cells that are missing are empty */
static int l_add(lua_State *L)
{
    struct mk_columns *columns = &check(L)->columns;
    luaL_argcheck(L, lua_gettop(L) - 1 <= columns->n, columns->n + 2, "the row is too long");
    for (int i = 2; i <= lua_gettop(L); i++)
        luaL_checkstring(L, i);
    for (int i = 0; i < columns->n; i++) {
        size_t len = 0;
        const char *cell = lua_isnoneornil(L, i + 2) ? "" : lua_tolstring(L, i + 2, &len);
        if (!mk_columns_add(columns, cell, len))
            mk_raise_nomem(L);
    }
    return 0;
}

/* columns:sort(row, column, then): those from that row on; see mk_columns_sort. All from 1 on. */
static int l_sort(lua_State *L)
{
    struct mk_columns *columns = &check(L)->columns;
    lua_Integer row = luaL_checkinteger(L, 2), keys[2];
    luaL_argcheck(L, row >= 1, 2, "no row");
    for (int i = 0; i < 2; i++) {
        keys[i] = luaL_checkinteger(L, 3 + i);
        luaL_argcheck(L, keys[i] >= 1 && keys[i] <= columns->n, 3 + i, "no column");
    }
    if (!mk_columns_sort(columns, (size_t)row - 1, (int)keys[0] - 1, (int)keys[1] - 1))
        mk_raise_nomem(L);
    return 0;
}

/* columns:show(n) -> the lines of the next n rows; nil after the last one */
static int l_show(lua_State *L)
{
    struct table *table = check(L);
    lua_Integer n = luaL_checkinteger(L, 2);
    table->text.len = 0;
    for (; n > 0 && !mk_columns_at_end(&table->columns); n--)
        if (!mk_columns_show(&table->columns, &table->text))
            mk_raise_nomem(L);
    if (table->text.len == 0)
        return 0;
    lua_pushlstring(L, table->text.bytes, table->text.len - 1); /* the caller ends the last line */
    return 1;
}

static int l_gc(lua_State *L)
{
    struct table *table = check(L);
    mk_columns_fini(&table->columns);
    mk_names_fini(&table->text);
    return 0;
}

int luaopen_core_columns(lua_State *L)
{
    luaL_newmetatable(L, COLUMNS_TYPE);
    static const luaL_Reg methods[] = {
        {"add", l_add}, {"sort", l_sort}, {"show", l_show}, {"__gc", l_gc}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {{"new", l_new}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
