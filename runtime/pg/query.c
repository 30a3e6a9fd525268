/*
 * Queries on an open connection, by libpq's asynchronous rules: after every send, and whenever
 * the socket is ready, flush; read whenever readable, also while writing (or a server that sends
 * notices would wait for us while we wait for it); PQisBusy before every PQgetResult.
 *
 * TLS: one PQconsumeInput may leave decrypted bytes inside OpenSSL with nothing left on the
 * socket to wake us, so an encrypted connection is read up to CONSUME_TLS times per wake-up: a
 * record has at most 16 KiB, and libpq asks for at least 8 KiB at a time.
 *
 * Cancelling uses PQcancel, which blocks, on a thread; the query then ends as any other, with the
 * server's error, so the connection stays usable. A server that says nothing more within
 * CANCEL_GRACE_MS is given up, and the connection with it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "loop/call.h"
#include "loop/timer.h"
#include "pg/pg_impl.h"

#define CONSUME_TLS     3
#define CANCEL_GRACE_MS 5000

/* Built-in type oids never change: pg_type.dat. */
enum {
    OID_BOOL = 16,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701
};

struct mk_pg_query {
    struct mk_wait wait;
    struct mk_pg *pg;
    PGresult *result; /* the last good one, or the first error */
    bool failed, canceled;
    bool ended; /* all results have come, or never will */
    struct mk_thread_call cancel;
    bool cancel_running;
    struct mk_timer *grace;
    struct mk_error err;
};

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

void mk_pg_close(struct mk_pg *pg)
{
    if (!pg)
        return;
    mk__pg_query_lost(pg, "the connection was closed");
    if (pg->canceling)
        pg->canceling->pg = NULL;
    mk_poll_close(pg->poll);
    PQfinish(pg->conn);
    mk_free(pg);
}

int mk_pg_server_version(const struct mk_pg *pg)
{
    return PQserverVersion(pg->conn);
}

int mk_pg_backend_pid(const struct mk_pg *pg)
{
    return PQbackendPID(pg->conn);
}

bool mk_pg_is_open(const struct mk_pg *pg)
{
    return !pg->broken && PQstatus(pg->conn) == CONNECTION_OK;
}

const char *mk_pg_parameter(const struct mk_pg *pg, const char *name)
{
    return PQparameterStatus(pg->conn, name);
}

void mk_pg_on_notice(struct mk_pg *pg,
                     void (*fn)(void *arg, const char *severity, const char *text), void *arg)
{
    pg->on_notice = fn;
    pg->notice_arg = arg;
}

/* ---- how a query ends -------------------------------------------------------------------- */

static void fire_when_over(struct mk_pg_query *query)
{
    if (!query->ended || query->cancel_running)
        return;
    mk_timer_close(query->grace);
    query->grace = NULL;
    if (query->canceled)
        mk_error_set(&query->err, MK_ECANCELED, "query", "canceled");
    mk_wait_fire(&query->wait, query->err.status);
}

static void end_query(struct mk_pg_query *query)
{
    if (query->ended)
        return;
    query->ended = true;
    if (query->pg) {
        query->pg->query = NULL;
        mk_poll_set(query->pg->poll, 0);
    }
    fire_when_over(query);
}

void mk__pg_query_lost(struct mk_pg *pg, const char *why)
{
    pg->broken = true;
    struct mk_pg_query *query = pg->query;
    if (!query)
        return;
    char text[512];
    mk__pg_copy_text(text, sizeof text, why);
    mk_error_set(&query->err, MK_EPGLOST, "query", "the connection to the server is lost: %s",
                 text);
    mk_error_hint(&query->err, "look into the server's log: it may have restarted, crashed, or "
                               "ended this session");
    end_query(query);
}

static void copy_field(char *to, size_t size, const PGresult *result, int field)
{
    const char *text = PQresultErrorField(result, field);
    if (text)
        mk__pg_copy_text(to, size, text);
}

static void keep_error(struct mk_pg_query *query, PGresult *result)
{
    char message[sizeof query->err.message] = "";
    copy_field(message, sizeof message, result, PG_DIAG_MESSAGE_PRIMARY);
    if (!message[0])
        mk__pg_copy_text(message, sizeof message, PQresultErrorMessage(result));
    mk_error_set(&query->err, MK_EPG, "query", "%s", message);
    copy_field(query->err.sqlstate, sizeof query->err.sqlstate, result, PG_DIAG_SQLSTATE);
    copy_field(query->err.detail, sizeof query->err.detail, result, PG_DIAG_MESSAGE_DETAIL);
    copy_field(query->err.hint, sizeof query->err.hint, result, PG_DIAG_MESSAGE_HINT);
    query->failed = true;
}

/* Returns false for a result that this interface cannot go on from. */
static bool keep_result(struct mk_pg_query *query, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    bool is_copy = status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
    if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
        if (!query->failed)
            keep_error(query, result);
    } else if (!query->failed && !is_copy) {
        PQclear(query->result);
        query->result = result;
        return true;
    }
    PQclear(result);
    return !is_copy;
}

/* Takes every result that has arrived. */
static void take_results(struct mk_pg *pg)
{
    struct mk_pg_query *query = pg->query;
    while (!PQisBusy(pg->conn)) {
        PGresult *result = PQgetResult(pg->conn);
        if (!result) {
            if (PQstatus(pg->conn) != CONNECTION_OK)
                mk__pg_query_lost(pg, PQerrorMessage(pg->conn));
            else
                end_query(query);
            return;
        }
        if (!keep_result(query, result)) {
            pg->broken = true; /* libpq would wait in COPY for ever */
            mk_error_set(&query->err, MK_EINVAL, "query", "COPY cannot be run as a query");
            query->failed = true;
            end_query(query);
            return;
        }
    }
}

static void flush(struct mk_pg *pg)
{
    int left = PQflush(pg->conn);
    if (left < 0)
        mk__pg_query_lost(pg, PQerrorMessage(pg->conn));
    else
        mk_poll_set(pg->poll, MK_POLL_READ | (left > 0 ? MK_POLL_WRITE : 0));
}

void mk__pg_query_ready(struct mk_pg *pg, int events)
{
    if (!pg->query)
        return;
    int times = (events & MK_POLL_READ) ? (PQsslInUse(pg->conn) ? CONSUME_TLS : 1) : 0;
    for (int i = 0; i < times; i++) {
        if (!PQconsumeInput(pg->conn)) {
            /* The server's last words may have come with the end: prefer them. */
            take_results(pg);
            if (pg->query)
                mk__pg_query_lost(pg, PQerrorMessage(pg->conn));
            return;
        }
    }
    flush(pg);
    if (pg->query)
        take_results(pg);
}

/* ---- cancelling -------------------------------------------------------------------------- */

static int run_cancel(void *body)
{
    char text[256];
    return PQcancel(body, text, sizeof text) ? MK_OK : MK_EPG;
}

static void free_cancel(void *body)
{
    PQfreeCancel(body);
}

static void on_cancel_sent(struct mk_wait *wait, void *arg)
{
    (void)wait; /* a cancel that failed is what the grace period is for */
    struct mk_pg_query *query = arg;
    query->cancel_running = false;
    if (query->pg)
        query->pg->canceling = NULL;
    mk_thread_release(&query->cancel);
    fire_when_over(query);
}

static void on_grace_over(void *arg)
{
    struct mk_pg_query *query = arg;
    if (query->cancel_running) {
        mk_thread_abandon(&query->cancel);
        if (query->pg)
            query->pg->broken = true; /* the late request could hit the next query */
    }
    if (query->pg && !query->ended)
        mk__pg_query_lost(query->pg, "it did not react to a cancel request");
}

static void on_cancel(struct mk_wait *wait)
{
    struct mk_pg_query *query = (struct mk_pg_query *)(void *)wait;
    if (query->canceled || query->ended)
        return;
    query->canceled = true;
    query->grace = mk_timer_start(query->pg->loop, CANCEL_GRACE_MS, on_grace_over, query, NULL);
    PGcancel *cancel = PQgetCancel(query->pg->conn);
    if (!cancel || !query->grace) {
        PQfreeCancel(cancel);
        mk__pg_query_lost(query->pg, "it could not be asked to cancel");
        return;
    }
    query->cancel.thread = NULL;
    mk_thread_start(query->pg->loop, &query->cancel, run_cancel, free_cancel, cancel, NULL);
    if (!query->cancel.thread) {
        PQfreeCancel(cancel);
        mk__pg_query_lost(query->pg, "it could not be asked to cancel");
        return;
    }
    query->cancel_running = true;
    query->pg->canceling = query;
    query->cancel.wait.on_fire = on_cancel_sent;
    query->cancel.wait.arg = query;
}

/* ---- starting, reading ------------------------------------------------------------------- */

struct mk_pg_query *mk_pg_query_start(struct mk_pg *pg, const char *sql, int n_params,
                                      const char *const *params, struct mk_error *err)
{
    if (pg->query) {
        mk_error_set(err, MK_EBUSY, "query", "the connection is busy with another query");
        mk_error_hint(err, "open a second connection for work in parallel");
        return NULL;
    }
    if (!mk_pg_is_open(pg)) {
        mk_error_set(err, MK_EPGLOST, "query", "the connection to the server is lost");
        return NULL;
    }
    struct mk_pg_query *query = mk_calloc(sizeof *query);
    if (!query) {
        mk_error_nomem(err, "query");
        return NULL;
    }
    mk_wait_init(&query->wait, on_cancel);
    query->pg = pg;
    pg->query = query;
    int sent = n_params > 0
                   ? PQsendQueryParams(pg->conn, sql, n_params, NULL, params, NULL, NULL, 0)
                   : PQsendQuery(pg->conn, sql);
    if (!sent)
        mk__pg_query_lost(pg, PQerrorMessage(pg->conn));
    else
        flush(pg);
    return query;
}

struct mk_wait *mk_pg_query_wait(struct mk_pg_query *query)
{
    return &query->wait;
}

const struct mk_error *mk_pg_query_error(const struct mk_pg_query *query)
{
    return &query->err;
}

void mk_pg_query_free(struct mk_pg_query *query)
{
    if (!query)
        return;
    PQclear(query->result);
    mk_free(query);
}

int mk_pg_rows(const struct mk_pg_query *query)
{
    return PQntuples(query->result);
}

int mk_pg_columns(const struct mk_pg_query *query)
{
    return PQnfields(query->result);
}

const char *mk_pg_column_name(const struct mk_pg_query *query, int column)
{
    return PQfname(query->result, column);
}

enum mk_pg_kind mk_pg_column_kind(const struct mk_pg_query *query, int column)
{
    switch (PQftype(query->result, column)) {
    case OID_BOOL:
        return MK_PG_BOOL;
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
        return MK_PG_INT;
    case OID_FLOAT4:
    case OID_FLOAT8:
        return MK_PG_FLOAT;
    default:
        return MK_PG_TEXT;
    }
}

const char *mk_pg_value(const struct mk_pg_query *query, int row, int column, size_t *len)
{
    if (PQgetisnull(query->result, row, column))
        return NULL;
    *len = (size_t)PQgetlength(query->result, row, column);
    return PQgetvalue(query->result, row, column);
}

int64_t mk_pg_affected(const struct mk_pg_query *query)
{
    const char *text = query->result ? PQcmdTuples(query->result) : "";
    return *text ? strtoll(text, NULL, 10) : -1;
}
