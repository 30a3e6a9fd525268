/*
 * An open connection: its life, and what queries and copies share. It does one thing at a time.
 * The structure is counted, because a query or a flow may still know it when its owner closes it;
 * libpq's part ends at the close, or, when a copy's thread is using it, as soon as that has ended.
 *
 * TLS: one PQconsumeInput may leave decrypted bytes inside OpenSSL with nothing left on the
 * socket to wake us. How many calls it takes depends on how records and libpq's buffer meet, so
 * OpenSSL is asked whether anything is left.
 */
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "pg/pg_impl.h"

static void on_poll(void *arg, int events)
{
    mk__pg_query_ready(arg, events);
}

static void on_libpq_notice(void *arg, const PGresult *result)
{
    struct mk_pg *pg = arg;
    if (!pg->on_notice)
        return;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    pg->on_notice(pg->notice_arg, severity ? severity : "NOTICE", text ? text : "");
}

struct mk_pg *mk__pg_new(struct mk_loop *loop, PGconn *conn, struct mk_error *err)
{
    struct mk_pg *pg = mk_calloc(sizeof *pg);
    if (!pg) {
        PQfinish(conn);
        mk_error_nomem(err, "connect");
        return NULL;
    }
    pg->refs = 1;
    pg->loop = loop;
    pg->conn = conn;
    pg->poll = mk_poll_new(loop, PQsocket(conn), on_poll, pg, err);
    if (!pg->poll) {
        PQfinish(conn);
        mk_free(pg);
        return NULL;
    }
    PQsetnonblocking(conn, 1);
    PQsetNoticeReceiver(conn, on_libpq_notice, pg);
    return pg;
}

struct mk_pg *mk_pg_ref(struct mk_pg *pg)
{
    pg->refs++;
    return pg;
}

void mk_pg_unref(struct mk_pg *pg)
{
    if (--pg->refs == 0)
        mk_free(pg);
}

static void finish(struct mk_pg *pg)
{
    mk_poll_close(pg->poll);
    pg->poll = NULL;
    PQfinish(pg->conn);
    pg->conn = NULL;
}

void mk_pg_close(struct mk_pg *pg)
{
    if (!pg)
        return;
    pg->closed = pg->broken = true;
    mk__pg_query_closed(pg);
    if (pg->copy)
        mk__pg_copy_lost(pg);
    else
        finish(pg);
    mk_pg_unref(pg);
}

void mk__pg_copy_over(struct mk_pg *pg)
{
    pg->copy = NULL;
    if (pg->closed)
        finish(pg);
    else
        PQsetNoticeReceiver(pg->conn, on_libpq_notice, pg);
}

int mk__pg_check_idle(const struct mk_pg *pg, const char *op, struct mk_error *err)
{
    if (pg->query || pg->copy) {
        mk_error_set(err, MK_EBUSY, op, "the connection is busy with another %s",
                     pg->query ? "query" : "COPY");
        mk_error_hint(err, "open a second connection for work in parallel");
        return MK_EBUSY;
    }
    if (!mk_pg_is_open(pg))
        return mk_error_set(err, MK_EPGLOST, op, "the connection to the server is lost");
    return MK_OK;
}

int mk_pg_server_version(const struct mk_pg *pg)
{
    return PQserverVersion(pg->conn);
}

int mk_pg_backend_pid(const struct mk_pg *pg)
{
    return PQbackendPID(pg->conn);
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

struct mk_pg_address mk_pg_address(const struct mk_pg *pg)
{
    return (struct mk_pg_address){or_empty(PQhost(pg->conn)), or_empty(PQport(pg->conn)),
                                  or_empty(PQhostaddr(pg->conn))};
}

bool mk_pg_is_open(const struct mk_pg *pg)
{
    return !pg->broken && PQstatus(pg->conn) == CONNECTION_OK;
}

const char *mk_pg_parameter(const struct mk_pg *pg, const char *name)
{
    return pg->copy ? NULL : PQparameterStatus(pg->conn, name); /* its thread may change them */
}

void mk_pg_on_notice(struct mk_pg *pg,
                     void (*fn)(void *arg, const char *severity, const char *text), void *arg)
{
    pg->on_notice = fn;
    pg->notice_arg = arg;
}

/* ---- shared ------------------------------------------------------------------------------ */

bool mk__pg_consume(PGconn *conn)
{
    do {
        if (!PQconsumeInput(conn))
            return false;
        SSL *ssl = PQsslInUse(conn) ? PQsslStruct(conn, "OpenSSL") : NULL;
        if (!ssl || SSL_pending(ssl) == 0)
            return true;
    } while (true);
}

void mk__pg_copy_text(char *to, size_t size, const char *from)
{
    size_t len = strlen(from);
    while (len > 0 && (from[len - 1] == '\n' || from[len - 1] == ' '))
        len--;
    snprintf(to, size, "%.*s", (int)len, from);
}

static void copy_field(char *to, size_t size, const PGresult *result, int field)
{
    const char *text = PQresultErrorField(result, field);
    if (text)
        mk__pg_copy_text(to, size, text);
}

void mk__pg_result_error(struct mk_error *err, const char *op, const PGresult *result)
{
    char message[sizeof err->message] = "";
    copy_field(message, sizeof message, result, PG_DIAG_MESSAGE_PRIMARY);
    if (!message[0])
        mk__pg_copy_text(message, sizeof message, PQresultErrorMessage(result));
    mk_error_set(err, MK_EPG, op, "%s", message);
    copy_field(err->sqlstate, sizeof err->sqlstate, result, PG_DIAG_SQLSTATE);
    copy_field(err->detail, sizeof err->detail, result, PG_DIAG_CONTEXT); /* COPY t, line 7 ... */
    copy_field(err->detail, sizeof err->detail, result, PG_DIAG_MESSAGE_DETAIL);
    copy_field(err->hint, sizeof err->hint, result, PG_DIAG_MESSAGE_HINT);
}

int mk__pg_lost_error(struct mk_error *err, const char *op, const char *why)
{
    char text[512];
    mk__pg_copy_text(text, sizeof text, why);
    if (err->sqlstate[0]) /* the server's own last words, such as 57P01, are better than ours */
        err->status = MK_EPGLOST;
    else
        mk_error_set(err, MK_EPGLOST, op, "the connection to the server is lost: %s", text);
    mk_error_hint(err, "look into the server's log: it may have restarted, crashed, or "
                       "ended this session");
    return MK_EPGLOST;
}
