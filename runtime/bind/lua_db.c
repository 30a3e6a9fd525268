/*
 * moonkeep.core.db: batches of SQL on SQLite files, off the loop; see db/sqlite.h.
 */
#include <string.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "db/sqlite.h"
#include "loop/call.h"

struct batch {
    struct mk_call call; /* first */
    char *path;
    bool read_only;
    struct mk_db_statement *statements;
    int n;
};

static void batch_free(struct batch *batch)
{
    for (int i = 0; i < batch->n; i++)
        mk_db_statement_fini(&batch->statements[i]);
    mk_free(batch->statements);
    mk_free(batch->path);
    mk_free(batch);
}

static void batch_drop(struct mk_wait *wait)
{
    batch_free((struct batch *)(void *)wait);
}

static int run_batch(struct mk_call *call)
{
    struct batch *batch = (struct batch *)(void *)call;
    return mk_db_run(batch->path, batch->read_only, batch->statements, batch->n, &call->err);
}

static void push_value(lua_State *L, const struct mk_db_value *value, const char *texts)
{
    switch (value->type) {
    case MK_DB_INTEGER:
        lua_pushinteger(L, value->integer);
        break;
    case MK_DB_REAL:
        lua_pushnumber(L, value->real);
        break;
    case MK_DB_TEXT:
        lua_pushlstring(L, texts + value->at, value->len);
        break;
    case MK_DB_NULL:
        lua_pushnil(L);
        break;
    }
}

/* The names of the columns are on the stack, from `names` on: to look them up for each value would
 * take longer than all the rest. */
static void push_row(lua_State *L, const struct mk_db_statement *statement, size_t row, int names)
{
    lua_createtable(L, 0, statement->n_columns);
    for (int i = 0; i < statement->n_columns; i++) {
        lua_pushvalue(L, names + i);
        push_value(L, &statement->values[row * (size_t)statement->n_columns + (size_t)i],
                   statement->texts.bytes);
        lua_rawset(L, -3);
    }
}

static void push_rows(lua_State *L, const struct mk_db_statement *statement)
{
    int names = lua_gettop(L) + 1;
    luaL_checkstack(L, statement->n_columns + 5, NULL);
    for (int i = 0; i < statement->n_columns; i++)
        lua_pushstring(L, statement->columns[i]);
    lua_createtable(L, (int)statement->n_rows, 1);
    for (size_t row = 0; row < statement->n_rows; row++) {
        push_row(L, statement, row, names);
        lua_rawseti(L, -2, (lua_Integer)row + 1);
    }
    lua_pushinteger(L, statement->changes);
    lua_setfield(L, -2, "changes");
    lua_insert(L, names);
    lua_settop(L, names);
}

static bool is_same_text(const struct mk_db_value *a, const struct mk_db_value *b,
                         const char *texts)
{
    return a->type == MK_DB_TEXT && b->type == MK_DB_TEXT && a->len == b->len &&
           memcmp(texts + a->at, texts + b->at, a->len) == 0;
}

/* A table for each column, and `n`, how many rows there are. A text is often that of the row
 * before: then Lua need not look for that string. */
static void push_columns(lua_State *L, const struct mk_db_statement *statement)
{
    luaL_checkstack(L, 4, NULL);
    lua_createtable(L, 0, statement->n_columns + 2);
    for (int i = 0; i < statement->n_columns; i++) {
        lua_createtable(L, (int)statement->n_rows, 0);
        for (size_t row = 0; row < statement->n_rows; row++) {
            const struct mk_db_value *value =
                &statement->values[row * (size_t)statement->n_columns + (size_t)i];
            if (row > 0 &&
                is_same_text(value, value - statement->n_columns, statement->texts.bytes))
                lua_rawgeti(L, -1, (lua_Integer)row);
            else
                push_value(L, value, statement->texts.bytes);
            lua_rawseti(L, -2, (lua_Integer)row + 1);
        }
        lua_setfield(L, -2, statement->columns[i]);
    }
    lua_pushinteger(L, (lua_Integer)statement->n_rows);
    lua_setfield(L, -2, "n");
}

/* Protected, so that running out of memory leaks nothing. */
static int push_results(lua_State *L)
{
    const struct batch *batch = lua_touserdata(L, 1);
    lua_createtable(L, batch->n, 0);
    for (int i = 0; i < batch->n; i++) {
        if (batch->statements[i].by_column)
            push_columns(L, &batch->statements[i]);
        else
            push_rows(L, &batch->statements[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int batch_push(lua_State *L, struct mk_wait *wait)
{
    struct batch *batch = (struct batch *)(void *)wait;
    if (wait->status != MK_OK) {
        struct mk_error err = batch->call.err;
        batch_free(batch);
        return mk_raise(L, &err);
    }
    lua_pushcfunction(L, push_results);
    lua_pushlightuserdata(L, batch);
    int status = lua_pcall(L, 1, 1, 0);
    batch_free(batch);
    return status == LUA_OK ? 1 : lua_error(L);
}

static const struct mk_await_ops batch_ops = {.push = batch_push, .drop = batch_drop};

static void check_statements(lua_State *L, int list)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, list);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, list, i) != LUA_TTABLE || lua_rawgeti(L, -1, 1) != LUA_TSTRING)
            luaL_error(L, "statement %d must be { sql, parameter... }", (int)i);
        lua_pop(L, 2);
    }
}

/* Nothing of this raises: false when memory is out. */
static bool copy_text(const char *text, size_t len, char **copy)
{
    *copy = mk_alloc(len + 1);
    if (*copy)
        memcpy(*copy, text, len + 1);
    return *copy != NULL;
}

static bool copy_value(lua_State *L, struct mk_db_param *value)
{
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
        value->type = lua_isinteger(L, -1) ? MK_DB_INTEGER : MK_DB_REAL;
        value->integer = lua_tointeger(L, -1);
        value->real = lua_tonumber(L, -1);
        return true;
    case LUA_TSTRING:
        value->type = MK_DB_TEXT;
        const char *text = lua_tolstring(L, -1, &value->len);
        return copy_text(text, value->len, &value->text);
    case LUA_TBOOLEAN:
        value->type = MK_DB_INTEGER;
        value->integer = lua_toboolean(L, -1);
        return true;
    default:
        value->type = MK_DB_NULL;
        return true;
    }
}

/* The statement on top of the stack. `n`: how many parameters it has (nil ones count). */
static bool copy_statement(lua_State *L, struct mk_db_statement *statement)
{
    lua_rawgeti(L, -1, 1);
    size_t len = 0;
    const char *sql = lua_tolstring(L, -1, &len);
    bool ok = copy_text(sql, len, &statement->sql);
    lua_pop(L, 1);
    lua_pushliteral(L, "n");
    int n =
        lua_rawget(L, -2) == LUA_TNUMBER ? (int)lua_tointeger(L, -1) : (int)lua_rawlen(L, -2) - 1;
    lua_pop(L, 1);
    lua_pushliteral(L, "by_column");
    statement->by_column = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 1);
    statement->params = mk_calloc(((size_t)n + 1) * sizeof *statement->params);
    statement->n_params = statement->params ? n : 0;
    ok = ok && statement->params;
    for (int i = 0; ok && i < n; i++) {
        lua_rawgeti(L, -1, i + 2);
        ok = copy_value(L, &statement->params[i]);
        lua_pop(L, 1);
    }
    return ok;
}

/* run(path, { { sql, parameter..., n = number of parameters, by_column }, ... }, read_only) -> for
 * each a list of rows, { [column] = value }, with `changes`; or, by column, { n = how many rows,
 * [column] = { value... } }, which is for very many. One transaction. */
static int l_run(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checkstack(L, 8, NULL);
    check_statements(L, 2);
    mk_await_check(L);
    int n = (int)lua_rawlen(L, 2);
    struct batch *batch = mk_calloc(sizeof *batch);
    bool ok = batch && copy_text(path, strlen(path), &batch->path);
    if (ok)
        batch->statements = mk_calloc(((size_t)n + 1) * sizeof *batch->statements);
    ok = ok && batch->statements;
    for (int i = 0; ok && i < n; i++) {
        lua_rawgeti(L, 2, i + 1);
        batch->n = i + 1;
        ok = copy_statement(L, &batch->statements[i]);
        lua_pop(L, 1);
    }
    if (ok) {
        batch->read_only = lua_toboolean(L, 3);
        batch->call.run = run_batch;
        ok = mk_call_start(mk_runtime_of(L)->loop, &batch->call) == MK_OK;
    }
    if (!ok) {
        if (batch)
            batch_free(batch);
        mk_raise_nomem(L);
    }
    return mk_await(L, &batch->call.wait, &batch_ops);
}

int luaopen_core_db(lua_State *L)
{
    static const luaL_Reg functions[] = {{"run", l_run}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
