/*
 * moonkeep.core.http: requests and mail; see http/http.h. The two ends of flows that requests can
 * be are in lua_parts.c.
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

#define MAX_LINES 64

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
        request->feed = mk_feed_ref(mk_check_feed(L, -1));
    if (lua_getfield(L, 1, "body") == LUA_TSTRING) {
        const char *text = lua_tolstring(L, -1, &request->body_len);
        request->text = mk_alloc(request->body_len + 1);
        if (!request->text)
            mk_raise_nomem(L);
        memcpy(request->text, text, request->body_len + 1);
        request->body = request->text;
    } else if (!lua_isnil(L, -1)) {
        struct mk_part *part = mk_check_part(L, -1);
        request->part = mk_part_ref(part);
        request->body = part->bytes;
        request->body_len = part->len;
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

int luaopen_core_http(lua_State *L)
{
    static const luaL_Reg functions[] = {{"request", l_request}, {NULL, NULL}};
    luaL_newlib(L, functions);
    mk_open_parts(L);
    return 1;
}
