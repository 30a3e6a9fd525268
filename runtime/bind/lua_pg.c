/*
 * moonkeep.core.pg: libpq for Lua. Rows are tables by column name, with Lua types where those are
 * exact: bool, integers and floats; everything else is text; SQL NULL is an absent key. Notices
 * go to the log.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "pg/pg.h"

#define TYPE_NAME "moonkeep.pg"
#define MAX_KEYS  48

static struct mk_pg **check_box(lua_State *L)
{
    return luaL_checkudata(L, 1, TYPE_NAME);
}

static struct mk_pg *check_pg(lua_State *L)
{
    struct mk_pg *pg = *check_box(L);
    if (!pg)
        luaL_error(L, "the connection is closed");
    return pg;
}

MK_RAISES struct mk_pg *mk_check_field_pg(lua_State *L, int table, const char *key)
{
    if (lua_getfield(L, table, key) == LUA_TTABLE) {
        lua_getfield(L, -1, "native");
        lua_remove(L, -2);
    }
    struct mk_pg **box = luaL_testudata(L, -1, TYPE_NAME);
    struct mk_pg *pg = box ? *box : NULL;
    if (!pg)
        luaL_error(L, box ? "the connection is closed" : "%s must be a connection", key);
    lua_pop(L, 1); /* the table holds it */
    return pg;
}

static void on_notice(void *arg, const char *severity, const char *text)
{
    (void)arg;
    bool is_warning = strcmp(severity, "WARNING") == 0;
    mk_log(is_warning ? MK_LOG_WARN : MK_LOG_DEBUG, "server %s: %s", severity, text);
}

/* ---- connecting ---------------------------------------------------------------------------- */

struct connecting {
    struct mk_wait wait;
    struct mk_pg_connect *attempt;
};

static void on_attempt(struct mk_wait *wait, void *arg)
{
    struct connecting *self = arg;
    mk_wait_fire(&self->wait, wait->status);
}

static void on_connect_cancel(struct mk_wait *wait)
{
    struct mk_wait *inner = mk_pg_connect_wait(((struct connecting *)(void *)wait)->attempt);
    if (inner->state == MK_WAIT_ARMED)
        inner->cancel(inner);
}

static struct mk_pg *connected(struct mk_wait *wait, struct mk_error *err)
{
    struct connecting *self = (struct connecting *)(void *)wait;
    struct mk_pg *pg = mk_pg_connect_finish(self->attempt, err);
    mk_free(self);
    return pg;
}

static void connect_drop(struct mk_wait *wait)
{
    struct mk_error err;
    mk_pg_close(connected(wait, &err));
}

static int connect_push(lua_State *L, struct mk_wait *wait)
{
    struct mk_pg **box = lua_touserdata(L, -1);
    struct mk_error err;
    *box = connected(wait, &err);
    if (!*box)
        return mk_raise(L, &err);
    mk_pg_on_notice(*box, on_notice, NULL);
    return 1;
}

static const struct mk_await_ops connect_ops = {.push = connect_push, .drop = connect_drop};

/* connect(keys, timeout_ms) -> connection */
static int l_connect(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer timeout_ms = luaL_checkinteger(L, 2);
    mk_await_check(L);
    const char *keys[MAX_KEYS + 1], *values[MAX_KEYS + 1];
    int n = 0;
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            return luaL_error(L, "connection settings must be strings");
        if (n == MAX_KEYS)
            return luaL_error(L, "too many connection settings");
        keys[n] = lua_tostring(L, -2); /* valid: the table holds them */
        values[n++] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    keys[n] = values[n] = NULL;
    struct mk_pg **box = lua_newuserdatauv(L, sizeof *box, 0); /* stays on top of the stack */
    *box = NULL;
    luaL_setmetatable(L, TYPE_NAME);
    struct connecting *self = mk_calloc(sizeof *self);
    if (!self)
        mk_raise_nomem(L);
    mk_wait_init(&self->wait, on_connect_cancel);
    struct mk_error err;
    self->attempt = mk_pg_connect_start(mk_runtime_of(L)->loop, keys, values, timeout_ms, &err);
    if (!self->attempt) {
        mk_free(self);
        return mk_raise(L, &err);
    }
    struct mk_wait *inner = mk_pg_connect_wait(self->attempt);
    inner->on_fire = on_attempt;
    inner->arg = self;
    return mk_await(L, &self->wait, &connect_ops);
}

/* ---- queries ------------------------------------------------------------------------------- */

struct querying {
    struct mk_wait wait;
    struct mk_pg_query *query;
};

static void on_query(struct mk_wait *wait, void *arg)
{
    struct querying *self = arg;
    mk_wait_fire(&self->wait, wait->status);
}

static void on_query_cancel(struct mk_wait *wait)
{
    struct mk_wait *inner = mk_pg_query_wait(((struct querying *)(void *)wait)->query);
    if (inner->state == MK_WAIT_ARMED)
        inner->cancel(inner);
}

static void query_drop(struct mk_wait *wait)
{
    struct querying *self = (struct querying *)(void *)wait;
    mk_pg_query_free(self->query);
    mk_free(self);
}

static void push_value(lua_State *L, enum mk_pg_kind kind, const char *text, size_t len)
{
    switch (kind) {
    case MK_PG_BOOL:
        lua_pushboolean(L, text[0] == 't');
        break;
    case MK_PG_INT:
        lua_pushinteger(L, strtoll(text, NULL, 10));
        break;
    case MK_PG_FLOAT:
        lua_pushnumber(L, strtod(text, NULL)); /* NaN and Infinity included */
        break;
    case MK_PG_TEXT:
        lua_pushlstring(L, text, len);
        break;
    }
}

static int protected_rows(lua_State *L)
{
    const struct mk_pg_query *query = lua_touserdata(L, 1);
    int rows = mk_pg_rows(query), columns = mk_pg_columns(query);
    lua_createtable(L, rows, 1);
    for (int row = 0; row < rows; row++) {
        lua_createtable(L, 0, columns);
        for (int column = 0; column < columns; column++) {
            size_t len = 0;
            const char *text = mk_pg_value(query, row, column, &len);
            if (!text)
                continue;
            push_value(L, mk_pg_column_kind(query, column), text, len);
            lua_setfield(L, -2, mk_pg_column_name(query, column));
        }
        lua_rawseti(L, -2, row + 1);
    }
    lua_pushinteger(L, mk_pg_affected(query));
    lua_setfield(L, -2, "affected");
    return 1;
}

static int query_push(lua_State *L, struct mk_wait *wait)
{
    struct querying *self = (struct querying *)(void *)wait;
    if (wait->status != MK_OK) {
        struct mk_error err = *mk_pg_query_error(self->query);
        query_drop(wait);
        return mk_raise(L, &err);
    }
    lua_pushcfunction(L, protected_rows);
    lua_pushlightuserdata(L, self->query);
    int status = lua_pcall(L, 1, 1, 0);
    query_drop(wait);
    return status == LUA_OK ? 1 : lua_error(L);
}

static const struct mk_await_ops query_ops = {.push = query_push, .drop = query_drop};

/* connection:query(sql, ...) -> rows; parameters are strings, numbers, booleans or nil */
static int l_query(lua_State *L)
{
    struct mk_pg *pg = check_pg(L);
    const char *sql = luaL_checkstring(L, 2);
    int n = lua_gettop(L) - 2;
    const char *params[MAX_KEYS];
    luaL_argcheck(L, n <= MAX_KEYS, 3, "too many parameters");
    for (int i = 0; i < n; i++) {
        int index = 3 + i;
        if (lua_isboolean(L, index)) {
            lua_pushstring(L, lua_toboolean(L, index) ? "t" : "f");
            lua_replace(L, index);
        }
        params[i] = lua_isnil(L, index) ? NULL : luaL_checkstring(L, index);
    }
    mk_await_check(L);
    struct querying *self = mk_calloc(sizeof *self);
    if (!self)
        mk_raise_nomem(L);
    mk_wait_init(&self->wait, on_query_cancel);
    struct mk_error err;
    self->query = mk_pg_query_start(pg, sql, n, params, &err);
    if (!self->query) {
        mk_free(self);
        return mk_raise(L, &err);
    }
    struct mk_wait *inner = mk_pg_query_wait(self->query);
    if (inner->state == MK_WAIT_FIRED) {
        mk_wait_fire(&self->wait, inner->status);
    } else {
        inner->on_fire = on_query;
        inner->arg = self;
    }
    return mk_await(L, &self->wait, &query_ops);
}

static int l_close(lua_State *L)
{
    struct mk_pg **box = check_box(L);
    struct mk_pg *pg = *box;
    *box = NULL;
    mk_pg_close(pg);
    return 0;
}

static int l_version(lua_State *L)
{
    lua_pushinteger(L, mk_pg_server_version(check_pg(L)));
    return 1;
}

/* connection:address() -> host, port, hostaddr: of the server that it was made to */
static int l_address(lua_State *L)
{
    struct mk_pg_address address = mk_pg_address(check_pg(L));
    lua_pushstring(L, address.host);
    lua_pushstring(L, address.port);
    lua_pushstring(L, address.hostaddr);
    return 3;
}

static int l_backend_pid(lua_State *L)
{
    lua_pushinteger(L, mk_pg_backend_pid(check_pg(L)));
    return 1;
}

static int l_parameter(lua_State *L)
{
    lua_pushstring(L, mk_pg_parameter(check_pg(L), luaL_checkstring(L, 2)));
    return 1;
}

static int l_is_open(lua_State *L)
{
    struct mk_pg *pg = *check_box(L);
    lua_pushboolean(L, pg && mk_pg_is_open(pg));
    return 1;
}

static void add_key(void *arg, const char *key, const char *value)
{
    lua_State *L = arg;
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

/* parse(conninfo) -> keys: libpq's own parser, for strings and URIs */
static int l_parse(lua_State *L)
{
    const char *conninfo = luaL_checkstring(L, 1);
    lua_newtable(L);
    struct mk_error err;
    if (mk_pg_conninfo_parse(conninfo, add_key, L, &err) != MK_OK)
        return mk_raise(L, &err);
    return 1;
}

int luaopen_core_pg(lua_State *L)
{
    luaL_newmetatable(L, TYPE_NAME);
    static const luaL_Reg methods[] = {{"query", l_query},     {"close", l_close},
                                       {"version", l_version}, {"backend_pid", l_backend_pid},
                                       {"address", l_address}, {"parameter", l_parameter},
                                       {"is_open", l_is_open}, {NULL, NULL}};
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {{"connect", l_connect}, {"parse", l_parse}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
