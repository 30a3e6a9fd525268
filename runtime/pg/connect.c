/*
 * Connecting, on a thread of its own. A dbname is a name here, never a conninfo: whoever creates a
 * database may call it anything. PQconnectPoll would do it on the loop, but not without
 * blocking: it looks names up, and it alone knows how to move to the next host, also when one
 * does not answer within connect_timeout. So a thread runs libpq's own blocking connect, with
 * exactly libpq's behaviour, and a timer on the loop abandons it when our deadline has passed.
 *
 * With several hosts and no connect_timeout, each gets its share of the deadline, so that a dead
 * first host cannot use up the time of a living second one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pg/pg_impl.h"

#define MAX_KEYS 64

/* The thread's; freed by whoever lets go last. */
struct body {
    char *keys[MAX_KEYS + 1];
    char *values[MAX_KEYS + 1];
    int n;
    PGconn *conn;
};

struct mk_pg_connect {
    struct mk_wait wait;
    struct mk_thread_call thread;
    struct mk_timer *deadline;
    struct mk_loop *loop;
    struct body *body;
    int64_t timeout_ms;
    bool timed_out, canceled;
    struct mk_error err;
};

static int run_connect(void *arg)
{
    struct body *body = arg;
    body->conn =
        PQconnectdbParams((const char *const *)body->keys, (const char *const *)body->values, 0);
    return body->conn ? MK_OK : MK_ENOMEM;
}

static void free_body(void *arg)
{
    struct body *body = arg;
    for (int i = 0; i < body->n; i++) {
        mk_free(body->keys[i]);
        if (body->values[i])
            explicit_bzero(body->values[i], strlen(body->values[i])); /* it may be a password */
        mk_free(body->values[i]);
    }
    PQfinish(body->conn);
    mk_free(body);
}

static bool add(struct body *body, const char *key, const char *value)
{
    if (body->n == MAX_KEYS)
        return false;
    char *key_copy = mk_strdup(key), *value_copy = mk_strdup(value);
    if (!key_copy || !value_copy) {
        mk_free(key_copy);
        mk_free(value_copy);
        return false;
    }
    body->keys[body->n] = key_copy;
    body->values[body->n++] = value_copy;
    return true;
}

static int count_hosts(const char *hosts)
{
    int n = 1;
    for (; *hosts; hosts++)
        n += *hosts == ',';
    return n;
}

/* Our own defaults come first: libpq lets a later key win. */
static struct body *make_body(const char *const *keys, const char *const *values,
                              int64_t timeout_ms, struct mk_error *err)
{
    struct body *body = mk_calloc(sizeof *body);
    if (!body) {
        mk_error_nomem(err, "connect");
        return NULL;
    }
    bool ok =
        add(body, "fallback_application_name", "moonkeep") && add(body, "client_encoding", "UTF8");
    int hosts = 1;
    bool has_timeout = getenv("PGCONNECT_TIMEOUT") || getenv("PGSERVICE");
    for (int i = 0; keys[i]; i++) {
        if (strcmp(keys[i], "host") == 0)
            hosts = count_hosts(values[i]);
        has_timeout = has_timeout || strcmp(keys[i], "connect_timeout") == 0 ||
                      strcmp(keys[i], "service") == 0;
    }
    if (!has_timeout && hosts > 1) {
        int64_t share = timeout_ms / 1000 / hosts;
        char text[24];
        snprintf(text, sizeof text, "%d", share < 2 ? 2 : (int)share);
        ok = ok && add(body, "connect_timeout", text);
    }
    for (int i = 0; ok && keys[i]; i++)
        ok = add(body, keys[i], values[i]);
    if (!ok) {
        free_body(body);
        mk_error_nomem(err, "connect");
        return NULL;
    }
    return body;
}

static void on_deadline(void *arg)
{
    struct mk_pg_connect *self = arg;
    self->timed_out = true;
    mk_thread_abandon(&self->thread);
}

static void on_cancel(struct mk_wait *wait)
{
    struct mk_pg_connect *self = (struct mk_pg_connect *)(void *)wait;
    self->canceled = true;
    mk_thread_abandon(&self->thread);
}

static void on_thread(struct mk_wait *thread_wait, void *arg)
{
    struct mk_pg_connect *self = arg;
    mk_timer_close(self->deadline);
    self->deadline = NULL;
    int status = thread_wait->status;
    if (self->canceled)
        status = mk_error_set(&self->err, MK_ECANCELED, "connect", "canceled");
    else if (self->timed_out)
        status = mk_error_set(&self->err, MK_ETIMEOUT, "connect",
                              "no server has accepted the connection within %.1f s",
                              (double)self->timeout_ms / 1000);
    else if (status == MK_ENOMEM)
        mk_error_nomem(&self->err, "connect");
    else if (status != MK_OK && self->err.status == MK_OK)
        mk_error_set(&self->err, status, "connect", "could not start to connect");
    mk_wait_fire(&self->wait, status);
}

struct mk_pg_connect *mk_pg_connect_start(struct mk_loop *loop, const char *const *keys,
                                          const char *const *values, int64_t timeout_ms,
                                          struct mk_error *err)
{
    struct mk_pg_connect *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "connect");
        return NULL;
    }
    mk_wait_init(&self->wait, on_cancel);
    self->loop = loop;
    self->timeout_ms = timeout_ms;
    self->body = make_body(keys, values, timeout_ms, err);
    if (!self->body) {
        mk_free(self);
        return NULL;
    }
    self->deadline = mk_timer_start(loop, timeout_ms, on_deadline, self, err);
    self->thread.thread = NULL;
    if (self->deadline) /* a thread that does not start fires like one that failed */
        mk_thread_start(loop, &self->thread, run_connect, free_body, self->body, &self->err);
    if (!self->thread.thread) { /* nothing began */
        mk_timer_close(self->deadline);
        free_body(self->body);
        mk_free(self);
        mk_error_nomem(err, "connect");
        return NULL;
    }
    self->thread.wait.on_fire = on_thread;
    self->thread.wait.arg = self;
    return self;
}

struct mk_wait *mk_pg_connect_wait(struct mk_pg_connect *self)
{
    return &self->wait;
}

struct mk_pg *mk_pg_connect_finish(struct mk_pg_connect *self, struct mk_error *err)
{
    struct mk_pg *pg = NULL;
    if (self->wait.status != MK_OK) {
        *err = self->err;
    } else if (PQstatus(self->body->conn) != CONNECTION_OK) {
        char text[sizeof err->message];
        mk__pg_copy_text(text, sizeof text, PQerrorMessage(self->body->conn));
        mk_error_set(err, MK_EPGCONN, "connect", "%s", text);
    } else {
        PGconn *conn = self->body->conn;
        self->body->conn = NULL;
        pg = mk__pg_new(self->loop, conn, err);
    }
    mk_thread_release(&self->thread);
    mk_free(self);
    return pg;
}

/* libpq quotes what it was given, up to all of it. Only what names a key, or nothing, is harmless.
 */
static bool is_harmless(const char *message)
{
    static const char *const before_key[] = {"invalid connection option \"",
                                             "missing \"=\" after \""};
    for (int i = 0; i < 2; i++) {
        size_t len = strlen(before_key[i]);
        if (strncmp(message, before_key[i], len) != 0)
            continue;
        size_t key = strspn(message + len, "abcdefghijklmnopqrstuvwxyz_");
        const char *rest = message + len + key;
        return key <= 32 && rest[0] == '"' && !strchr(rest + 1, '"');
    }
    return !strchr(message, '"');
}

int mk_pg_conninfo_parse(const char *conninfo,
                         void (*fn)(void *arg, const char *key, const char *value), void *arg,
                         struct mk_error *err)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &why);
    if (!options) {
        char text[256];
        mk__pg_copy_text(text, sizeof text, why ? why : "out of memory");
        PQfreemem(why);
        if (!is_harmless(text))
            snprintf(text, sizeof text,
                     "not a valid connection string or URI (it is not shown, "
                     "for it may hold a password)");
        mk_error_set(err, MK_EINVAL, "conninfo", "%s", text);
        mk_error_hint(err, "write it as \"host=db1 dbname=app\" or "
                           "\"postgresql://user@db1:5432/app\"");
        return MK_EINVAL;
    }
    for (PQconninfoOption *option = options; option->keyword; option++)
        if (option->val)
            fn(arg, option->keyword, option->val);
    PQconninfoFree(options);
    return MK_OK;
}
