/*
 * The two ends of flows that requests can be, for moonkeep.core.http: feeds, which answers fill,
 * and parts, which requests take. See flow/feed.h, flow/parts.h. Their bytes never get into Lua.
 */
#include <string.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "flow/feed.h"
#include "flow/parts.h"

#define FEED_TYPE  "moonkeep.feed"
#define PARTS_TYPE "moonkeep.parts"
#define PART_TYPE  "moonkeep.part"

/* ---- feeds -------------------------------------------------------------------------------- */

MK_RAISES struct mk_feed *mk_check_feed(lua_State *L, int index)
{
    struct mk_feed **box = luaL_checkudata(L, index, FEED_TYPE);
    return *box;
}

/* feed() -> feed, for a stage { kind = "feed", feed = feed } */
static int l_feed(lua_State *L)
{
    struct mk_feed **box = lua_newuserdatauv(L, sizeof(struct mk_feed *), 0);
    *box = NULL;
    luaL_setmetatable(L, FEED_TYPE);
    struct mk_error err;
    *box = mk_feed_new(&err);
    return *box ? 1 : mk_raise(L, &err);
}

/* feed:bytes() -> how many it has been given */
static int l_feed_bytes(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)mk_feed_bytes(mk_check_feed(L, 1)));
    return 1;
}

/* feed:finish(): that was all */
static int l_feed_finish(lua_State *L)
{
    mk_feed_end(mk_check_feed(L, 1), MK_OK, NULL);
    return 0;
}

/* feed:fail(error): the flow fails with it */
static int l_feed_fail(lua_State *L)
{
    struct mk_feed *feed = mk_check_feed(L, 1);
    struct mk_error err;
    mk_check_error(L, 2, &err);
    mk_feed_end(feed, err.status, &err);
    return 0;
}

static int l_feed_gc(lua_State *L)
{
    struct mk_feed **box = luaL_checkudata(L, 1, FEED_TYPE);
    mk_feed_unref(*box);
    *box = NULL;
    return 0;
}

MK_RAISES struct mk_source *mk_make_feed_source(lua_State *L, int stage, struct mk_error *err)
{
    lua_getfield(L, stage, "feed");
    struct mk_source *source = mk_source_feed(mk_check_feed(L, -1), err);
    lua_pop(L, 1);
    return source;
}

/* ---- parts -------------------------------------------------------------------------------- */

static struct mk_parts *check_parts(lua_State *L, int index)
{
    struct mk_parts **box = luaL_checkudata(L, index, PARTS_TYPE);
    return *box;
}

/* parts(bytes) -> parts, for a stage { kind = "parts", parts = parts } */
static int l_parts(lua_State *L)
{
    lua_Integer bytes = luaL_checkinteger(L, 1);
    luaL_argcheck(L, bytes > 0 && bytes <= (lua_Integer)1 << 30, 1, "not a size of parts");
    struct mk_parts **box = lua_newuserdatauv(L, sizeof(struct mk_parts *), 0);
    *box = NULL;
    luaL_setmetatable(L, PARTS_TYPE);
    struct mk_error err;
    *box = mk_parts_new(mk_runtime_of(L)->loop, (size_t)bytes, &err);
    return *box ? 1 : mk_raise(L, &err);
}

struct taking {
    struct mk_wait wait; /* first */
    struct mk_part_taker taker;
    struct mk_parts *parts;
};

static void taking_free(struct taking *taking)
{
    mk_parts_forget(taking->parts, &taking->taker);
    mk_part_unref(taking->taker.part);
    mk_parts_unref(taking->parts);
    mk_free(taking);
}

static void on_taken(struct mk_part_taker *taker)
{
    struct taking *taking =
        (struct taking *)(void *)((char *)taker - offsetof(struct taking, taker));
    mk_wait_fire(&taking->wait, MK_OK);
}

static void taking_cancel(struct mk_wait *wait)
{
    struct taking *taking = (struct taking *)(void *)wait;
    if (wait->state != MK_WAIT_ARMED)
        return;
    mk_parts_forget(taking->parts, &taking->taker);
    mk_wait_fire(wait, MK_ECANCELED);
}

static void taking_drop(struct mk_wait *wait)
{
    taking_free((struct taking *)(void *)wait);
}

/* Protected, so that running out of memory loses no part. */
static int push_part(lua_State *L)
{
    struct taking *taking = lua_touserdata(L, 1);
    if (!taking->taker.part) {
        lua_pushnil(L);
        lua_pushboolean(L, taking->wait.status != MK_OK || taking->taker.status != MK_OK);
        return 2;
    }
    struct mk_part **box = lua_newuserdatauv(L, sizeof(struct mk_part *), 0);
    *box = taking->taker.part;
    taking->taker.part = NULL;
    luaL_setmetatable(L, PART_TYPE);
    return 1;
}

static int taking_push(lua_State *L, struct mk_wait *wait)
{
    struct taking *taking = (struct taking *)(void *)wait;
    int top = lua_gettop(L);
    lua_pushcfunction(L, push_part);
    lua_pushlightuserdata(L, taking);
    int status = lua_pcall(L, 1, LUA_MULTRET, 0);
    taking_free(taking);
    return status == LUA_OK ? lua_gettop(L) - top : lua_error(L);
}

static const struct mk_await_ops taking_ops = {.push = taking_push, .drop = taking_drop};

/* parts:next() -> part; or nil, false when there are no more; or nil, true when the flow has ended.
 */
static int l_parts_next(lua_State *L)
{
    struct mk_parts *parts = check_parts(L, 1);
    mk_await_check(L);
    struct taking *taking = mk_calloc(sizeof *taking);
    if (!taking)
        mk_raise_nomem(L);
    mk_wait_init(&taking->wait, taking_cancel);
    taking->parts = mk_parts_ref(parts);
    taking->taker.done = on_taken;
    mk_parts_take(parts, &taking->taker);
    return mk_await(L, &taking->wait, &taking_ops);
}

/* parts:done(): all of them are stored */
static int l_parts_done(lua_State *L)
{
    mk_parts_done(check_parts(L, 1), MK_OK, NULL);
    return 0;
}

/* parts:fail(error): the sink fails with it */
static int l_parts_fail(lua_State *L)
{
    struct mk_parts *parts = check_parts(L, 1);
    struct mk_error err;
    mk_check_error(L, 2, &err);
    mk_parts_done(parts, err.status, &err);
    return 0;
}

static int l_parts_gc(lua_State *L)
{
    struct mk_parts **box = luaL_checkudata(L, 1, PARTS_TYPE);
    mk_parts_unref(*box);
    *box = NULL;
    return 0;
}

MK_RAISES struct mk_sink *mk_make_parts_sink(lua_State *L, int stage, struct mk_error *err)
{
    lua_getfield(L, stage, "parts");
    struct mk_sink *sink = mk_sink_parts(check_parts(L, -1), err);
    lua_pop(L, 1);
    return sink;
}

/* part:close(): its memory may be used for another. Also when it is collected. */
static int l_part_close(lua_State *L)
{
    struct mk_part **box = luaL_checkudata(L, 1, PART_TYPE);
    mk_part_unref(*box);
    *box = NULL;
    return 0;
}

/* part.number, .size, .sha256 (in hex), .is_last */
static int l_part_index(lua_State *L)
{
    struct mk_part **box = luaL_checkudata(L, 1, PART_TYPE);
    const char *key = luaL_checkstring(L, 2);
    if (strcmp(key, "close") == 0)
        lua_pushcfunction(L, l_part_close);
    else if (!*box)
        return luaL_error(L, "the part is closed");
    else if (strcmp(key, "number") == 0)
        lua_pushinteger(L, (*box)->number);
    else if (strcmp(key, "size") == 0)
        lua_pushinteger(L, (lua_Integer)(*box)->len);
    else if (strcmp(key, "sha256") == 0)
        lua_pushstring(L, (*box)->sha256);
    else if (strcmp(key, "is_last") == 0)
        lua_pushboolean(L, (*box)->is_last);
    else
        lua_pushnil(L);
    return 1;
}

MK_RAISES struct mk_part *mk_check_part(lua_State *L, int index)
{
    struct mk_part **box = luaL_checkudata(L, index, PART_TYPE);
    if (!*box) {
        luaL_error(L, "the part is closed");
        return NULL;
    }
    return *box;
}

static void new_type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

void mk_open_parts(lua_State *L)
{
    static const luaL_Reg feed_methods[] = {
        {"bytes", l_feed_bytes}, {"finish", l_feed_finish}, {"fail", l_feed_fail}, {NULL, NULL}};
    static const luaL_Reg parts_methods[] = {
        {"next", l_parts_next}, {"done", l_parts_done}, {"fail", l_parts_fail}, {NULL, NULL}};
    new_type(L, FEED_TYPE, feed_methods, l_feed_gc);
    new_type(L, PARTS_TYPE, parts_methods, l_parts_gc);
    luaL_newmetatable(L, PART_TYPE);
    lua_pushcfunction(L, l_part_index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_part_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, l_part_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {{"feed", l_feed}, {"parts", l_parts}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
