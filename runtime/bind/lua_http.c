/*
 * moonkeep.core.http: requests, and the two ends of flows that requests can be: a feed, which
 * answers fill, and parts, which requests take. See http/http.h, flow/feed.h, flow/parts.h.
 *
 * What a request is about (signatures, retries, what an answer means) is Lua's; the bytes of parts
 * and of what goes into a feed never get there. The text of an answer without a feed does, up to
 * `limit`.
 */
#include <string.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "flow/feed.h"
#include "flow/parts.h"
#include "http/http.h"

#define FEED_TYPE  "moonkeep.feed"
#define PARTS_TYPE "moonkeep.parts"
#define PART_TYPE  "moonkeep.part"
#define MAX_LINES  64

/* ---- feeds -------------------------------------------------------------------------------- */

static struct mk_feed *check_feed(lua_State *L, int index)
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
    lua_pushinteger(L, (lua_Integer)mk_feed_bytes(check_feed(L, 1)));
    return 1;
}

/* feed:finish(): that was all */
static int l_feed_finish(lua_State *L)
{
    mk_feed_end(check_feed(L, 1), MK_OK, NULL);
    return 0;
}

/* feed:fail(error): the flow fails with it */
static int l_feed_fail(lua_State *L)
{
    struct mk_feed *feed = check_feed(L, 1);
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
    struct mk_source *source = mk_source_feed(check_feed(L, -1), err);
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

/* ---- requests ----------------------------------------------------------------------------- */

struct request {
    struct mk_wait wait; /* first */
    struct mk_http_transfer *transfer;
    struct mk_feed *feed; /* for the body of a good answer, or NULL */
    struct mk_part *part; /* what is sent: this, or */
    char *text;           /* this, or nothing */
    const char *body;
    size_t body_len, sent;
    char *kept; /* what was received */
    size_t kept_len, kept_room, limit;
    bool too_large, no_memory;
    struct mk_error err;
};

static void request_free(struct request *request)
{
    if (request->transfer)
        mk_http_transfer_free(request->transfer);
    mk_feed_unref(request->feed);
    mk_part_unref(request->part);
    mk_free(request->text);
    mk_free(request->kept);
    mk_free(request);
}

static size_t on_send(void *arg, char *bytes, size_t room)
{
    struct request *request = arg;
    size_t left = request->body_len - request->sent;
    size_t n = left < room ? left : room;
    if (n > 0)
        memcpy(bytes, request->body + request->sent, n);
    request->sent += n;
    if (request->part)
        mk_part_moves(request->part);
    return n;
}

static bool on_rewind(void *arg)
{
    struct request *request = arg;
    request->sent = 0;
    return true;
}

#define ROOM_STEP (64u * 1024)

static void keep(struct request *request, const char *bytes, size_t len)
{
    size_t needed = request->kept_len + len;
    if (needed > request->limit) {
        request->too_large = true;
        return;
    }
    if (needed > request->kept_room) {
        size_t room = needed + ROOM_STEP;
        char *kept = mk_realloc(request->kept, room);
        if (!kept) {
            request->no_memory = true;
            return;
        }
        request->kept = kept;
        request->kept_room = room;
    }
    memcpy(request->kept + request->kept_len, bytes, len);
    request->kept_len = needed;
}

static bool is_good(const struct request *request)
{
    return mk_http_code(request->transfer) / 100 == 2;
}

static bool on_receive(void *arg, const char *bytes, size_t len)
{
    struct request *request = arg;
    if (request->feed && is_good(request)) {
        bool taken = mk_feed_write(request->feed, bytes, len);
        if (!taken && mk_feed_is_over(request->feed))
            mk_http_cancel(request->transfer);
        return taken;
    }
    if (!request->too_large && !request->no_memory)
        keep(request, bytes, len);
    /* of a bad answer the beginning says enough */
    if (request->no_memory || (request->too_large && is_good(request)))
        mk_http_cancel(request->transfer);
    return true;
}

static void on_room(void *arg)
{
    struct request *request = arg;
    if (mk_feed_is_over(request->feed))
        mk_http_cancel(request->transfer);
    else
        mk_http_resume(request->transfer);
}

static void on_done(void *arg, int status, const struct mk_error *err)
{
    struct request *request = arg;
    if (request->feed)
        mk_feed_set_writer(request->feed, NULL, NULL);
    request->err = *err;
    if (request->no_memory)
        status = mk_error_nomem(&request->err, "http");
    else if (request->too_large && is_good(request))
        status = mk_error_set(&request->err, MK_EINVAL, "http",
                              "the answer has more than %zu bytes", request->limit);
    mk_wait_fire(&request->wait, status);
}

static const struct mk_http_handler handler = {on_send, on_rewind, on_receive, on_done};

static void request_cancel(struct mk_wait *wait)
{
    struct request *request = (struct request *)(void *)wait;
    mk_http_cancel(request->transfer);
}

static void request_drop(struct mk_wait *wait)
{
    request_free((struct request *)(void *)wait);
}

/* Protected, so that running out of memory leaks nothing. */
static int push_answer(lua_State *L)
{
    const struct request *request = lua_touserdata(L, 1);
    struct mk_text headers = mk_http_headers(request->transfer);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, mk_http_code(request->transfer));
    lua_setfield(L, -2, "status");
    lua_pushlstring(L, headers.bytes, headers.len);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, request->kept ? request->kept : "", request->kept_len);
    lua_setfield(L, -2, "body");
    return 1;
}

static int request_push(lua_State *L, struct mk_wait *wait)
{
    struct request *request = (struct request *)(void *)wait;
    struct mk_error err = request->err;
    bool failed = wait->status != MK_OK, has_answer = mk_http_code(request->transfer) > 0;
    lua_pushcfunction(L, push_answer);
    lua_pushlightuserdata(L, request);
    int status = lua_pcall(L, 1, 1, 0);
    request_free(request);
    if (status != LUA_OK)
        return lua_error(L);
    if (!failed)
        return 1;
    mk_push_error(L, &err);
    lua_insert(L, -2);
    if (has_answer)
        lua_setfield(L, -2, "answer");
    else
        lua_pop(L, 1);
    return lua_error(L);
}

static const struct mk_await_ops request_ops = {.push = request_push, .drop = request_drop};

static int64_t opt_ms(lua_State *L, const char *key)
{
    lua_getfield(L, 1, key);
    lua_Integer ms = luaL_optinteger(L, -1, 0);
    lua_pop(L, 1);
    return ms > 0 ? ms : 0;
}

/* A field that is a list of lines, up to MAX_LINES - 1 of them. Its strings stay on the stack. */
static void check_lines(lua_State *L, int table, const char *key, const char **lines)
{
    if (lua_getfield(L, table, key) == LUA_TNIL)
        return;
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_Integer n = luaL_len(L, -1);
    luaL_checkstack(L, MAX_LINES, NULL);
    if (n >= MAX_LINES)
        luaL_error(L, "too many %s", key);
    int list = lua_gettop(L);
    for (lua_Integer i = 1; i <= n; i++) {
        size_t len = 0;
        if (lua_rawgeti(L, list, i) != LUA_TSTRING)
            luaL_error(L, "%s: number %d must be a string", key, (int)i);
        lines[i - 1] = lua_tolstring(L, -1, &len);
        if (strcspn(lines[i - 1], "\r\n") != len)
            luaL_error(L, "%s: number %d has a line end or a NUL byte in it", key, (int)i);
    }
}

/* Whether there is a mail, whose strings stay on the stack. */
static bool check_mail(lua_State *L, struct mk_http_mail *mail, const char **recipients)
{
    if (lua_getfield(L, 1, "mail") == LUA_TNIL)
        return false;
    int table = lua_gettop(L);
    luaL_checktype(L, table, LUA_TTABLE);
    lua_getfield(L, table, "from");
    size_t len = 0;
    mail->from = luaL_checklstring(L, -1, &len);
    if (strcspn(mail->from, "\r\n") != len)
        luaL_error(L, "from has a line end or a NUL byte in it");
    mail->to = recipients;
    mail->user = mk_opt_field_string(L, table, "user", NULL);
    mail->password = mk_opt_field_string(L, table, "password", NULL);
    mail->is_plain = mk_field_bool(L, table, "plain");
    check_lines(L, table, "to", recipients);
    return true;
}

static struct mk_http_spec check_spec(lua_State *L, const char **headers)
{
    struct mk_http_spec spec = {.method = mk_opt_field_string(L, 1, "method", "GET"),
                                .url = mk_check_field_string(L, 1, "url"),
                                .headers = headers,
                                .ca_file = mk_opt_field_string(L, 1, "ca", NULL),
                                .proxy = mk_opt_field_string(L, 1, "proxy", NULL),
                                .unix_socket = mk_opt_field_string(L, 1, "unix_socket", NULL),
                                .connect_ms = opt_ms(L, "connect_ms"),
                                .idle_ms = opt_ms(L, "idle_ms"),
                                .total_ms = opt_ms(L, "total_ms"),
                                .max_redirects = (int)opt_ms(L, "max_redirects")};
    check_lines(L, 1, "headers", headers);
    return spec;
}

/* What is sent, and where it goes: into the request, which nothing of this makes leak. */
static void check_ends(lua_State *L, struct request *request)
{
    if (lua_getfield(L, 1, "into") != LUA_TNIL)
        request->feed = mk_feed_ref(check_feed(L, -1));
    if (lua_getfield(L, 1, "body") == LUA_TSTRING) {
        const char *text = lua_tolstring(L, -1, &request->body_len);
        request->text = mk_alloc(request->body_len + 1);
        if (!request->text)
            mk_raise_nomem(L);
        memcpy(request->text, text, request->body_len + 1);
        request->body = request->text;
    } else if (!lua_isnil(L, -1)) {
        struct mk_part **box = luaL_checkudata(L, -1, PART_TYPE);
        if (!*box) {
            luaL_error(L, "its part is closed");
            return;
        }
        request->part = mk_part_ref(*box);
        request->body = (*box)->bytes;
        request->body_len = (*box)->len;
    }
    if (lua_getfield(L, 1, "limit") != LUA_TNIL)
        request->limit = (size_t)luaL_checkinteger(L, -1);
    lua_pop(L, 3);
}

static int protected_ends(lua_State *L)
{
    check_ends(L, lua_touserdata(L, 2));
    return 0;
}

#define STANDARD_LIMIT ((size_t)1024 * 1024)

/* request{ method, url, headers = { "Name: value"... }, body = text or part, into = feed, limit,
 * connect_ms, idle_ms, total_ms, ca, proxy, unix_socket, max_redirects } -> { status, headers (as
 * text), body (as text; "" when it went into the feed) }. With mail = { from, to = {...}, user,
 * password, plain } it is a mail: see http/http.h. Of an answer that was cut off, the error
 * has what there was of it as `answer`. */
static int l_request(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    const char *headers[MAX_LINES] = {NULL}, *recipients[MAX_LINES] = {NULL};
    struct mk_http_spec spec = check_spec(L, headers);
    struct mk_http_mail mail;
    spec.mail = check_mail(L, &mail, recipients) ? &mail : NULL;
    mk_await_check(L);
    struct mk_error err;
    struct mk_http *http = mk_runtime_http(L, &err);
    if (!http)
        return mk_raise(L, &err);
    struct request *request = mk_calloc(sizeof *request);
    if (!request)
        mk_raise_nomem(L);
    request->limit = STANDARD_LIMIT;
    lua_pushcfunction(L, protected_ends);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, request);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        request_free(request);
        return lua_error(L);
    }
    spec.has_body = request->body != NULL;
    spec.body_bytes = (int64_t)request->body_len;
    mk_wait_init(&request->wait, request_cancel);
    request->transfer = mk_http_start(http, &spec, &handler, request, &err);
    if (!request->transfer) {
        request_free(request);
        return mk_raise(L, &err);
    }
    if (request->feed)
        mk_feed_set_writer(request->feed, on_room, request);
    return mk_await(L, &request->wait, &request_ops);
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

int luaopen_core_http(lua_State *L)
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
    static const luaL_Reg functions[] = {
        {"request", l_request}, {"feed", l_feed}, {"parts", l_parts}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
