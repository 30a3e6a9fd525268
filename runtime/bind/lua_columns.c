/*
 * moonkeep.core.columns: tables that commands print; see base/columns.h. Lua gives the rows, one by
 * one, which need not all be there at once as Lua values, and takes the lines.
 */
#include <assert.h>
#include <string.h>

#include "base/backup_id.h"
#include "base/columns.h"
#include "base/size.h"
#include "bind/bind.h"

#define COLUMNS_TYPE "moonkeep.columns"

struct table {
    struct mk_columns columns;
    char kinds[MK_COLUMNS_MAX + 1];
    struct mk_names text; /* what is shown next; kept for the room it has */
};

/* new("lrics") -> columns, by letters: texts that are set to the left (l) or right (r); ids of
 * backups, shown by their last digits (i) or by when they were made (c); bytes (s; nil: "?") */
static int l_new(lua_State *L)
{
    size_t n = 0;
    const char *kinds = luaL_checklstring(L, 1, &n);
    luaL_argcheck(L, n > 0 && n <= MK_COLUMNS_MAX, 1, "too many columns");
    luaL_argcheck(L, strspn(kinds, "lrics") == n, 1, "no kind of column");
    struct table *table = lua_newuserdatauv(L, sizeof *table, 0);
    memset(table, 0, sizeof *table);
    table->columns.n = (int)n;
    memcpy(table->kinds, kinds, n);
    for (size_t i = 0; i < n; i++)
        table->columns.right[i] = kinds[i] == 'r' || kinds[i] == 's';
    luaL_setmetatable(L, COLUMNS_TYPE);
    return 1;
}

static struct table *check(lua_State *L)
{
    return luaL_checkudata(L, 1, COLUMNS_TYPE);
}

static bool add_text(lua_State *L, struct mk_columns *columns, int arg)
{
    size_t len = 0;
    const char *cell = lua_isnoneornil(L, arg) ? "" : lua_tolstring(L, arg, &len);
    return mk_columns_add(columns, cell, len);
}

/* A cell is made here, not as a string of Lua, which would be looked up among all others. */
static bool add_cell(lua_State *L, struct mk_columns *columns, char kind, int arg)
{
    char text[MK_SIZE_TEXT] = "?";
    static_assert(sizeof text > MK_BACKUP_ID_CREATED_LEN, "a time does not fit");
    switch (kind) {
    case 'i': {
        const char *digits = mk_backup_id_short(lua_tostring(L, arg));
        return mk_columns_add(columns, digits, strlen(digits));
    }
    case 'c':
        mk_backup_id_created(lua_tostring(L, arg), text);
        return mk_columns_add(columns, text, MK_BACKUP_ID_CREATED_LEN);
    case 's':
        if (!lua_isnoneornil(L, arg))
            mk_size_text(lua_tonumber(L, arg), text);
        return mk_columns_add(columns, text, strlen(text));
    default:
        return add_text(L, columns, arg);
    }
}

static void check_cell(lua_State *L, char kind, int arg)
{
    if (kind == 'i' || kind == 'c')
        luaL_argcheck(L, mk_backup_id_begins(luaL_checkstring(L, arg)), arg, "no id of a backup");
    else if (kind == 's')
        luaL_optnumber(L, arg, 0);
    else
        luaL_optstring(L, arg, "");
}

static struct table *check_row(lua_State *L)
{
    struct table *table = check(L);
    luaL_argcheck(L, lua_gettop(L) - 1 <= table->columns.n, table->columns.n + 2,
                  "the row is too long");
    return table;
}

/* columns:add(cell...): a row; texts that are missing are empty */
static int l_add(lua_State *L)
{
    struct table *table = check_row(L);
    for (int i = 0; i < table->columns.n; i++)
        check_cell(L, table->kinds[i], i + 2);
    for (int i = 0; i < table->columns.n; i++)
        if (!add_cell(L, &table->columns, table->kinds[i], i + 2))
            mk_raise_nomem(L);
    return 0;
}

/* columns:heads(text...): a row of texts, whatever the columns are of */
static int l_heads(lua_State *L)
{
    struct table *table = check_row(L);
    for (int i = 0; i < table->columns.n; i++)
        luaL_optstring(L, i + 2, "");
    for (int i = 0; i < table->columns.n; i++)
        if (!add_text(L, &table->columns, i + 2))
            mk_raise_nomem(L);
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
    static const luaL_Reg methods[] = {{"add", l_add},   {"heads", l_heads}, {"sort", l_sort},
                                       {"show", l_show}, {"__gc", l_gc},     {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {{"new", l_new}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
