/*
 * Queries on an open connection, by libpq's asynchronous rules: after every send, and whenever
 * the socket is ready, flush; read whenever readable, also while writing (or a server that sends
 * notices would wait for us while we wait for it); PQisBusy before every PQgetResult.
 *
 * A query that is cancelled (cancel.c) ends as any other, with the server's error, so the
 * connection stays usable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pg/pg_impl.h"

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
    bool ended; /* all results have come, or never will; a cancel request may be on its way */
    struct mk__pg_cancel cancel;
    struct mk_error err;
};

/* ---- how a query ends -------------------------------------------------------------------- */

static void fire_when_over(struct mk_pg_query *query)
{
    if (!query->ended || query->cancel.running)
        return;
    mk__pg_cancel_end(&query->cancel);
    query->pg->query = NULL;
    if (query->canceled)
        mk_error_set(&query->err, MK_ECANCELED, "query", "canceled");
    mk_wait_fire(&query->wait, query->err.status);
}

/* The query that still has something to wait for from the server. */
static struct mk_pg_query *active(const struct mk_pg *pg)
{
    return pg->query && !pg->query->ended ? pg->query : NULL;
}

static void end_query(struct mk_pg_query *query)
{
    if (query->ended)
        return;
    query->ended = true;
    mk_poll_set(query->pg->poll, 0);
    fire_when_over(query);
}

void mk__pg_query_lost(struct mk_pg *pg, const char *why)
{
    pg->broken = true;
    struct mk_pg_query *query = active(pg);
    if (!query)
        return;
    mk__pg_lost_error(&query->err, "query", why);
    end_query(query);
}

/* Returns false for a result that this interface cannot go on from. */
static bool keep_result(struct mk_pg_query *query, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    bool is_copy = status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
    if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
        if (!query->failed)
            mk__pg_result_error(&query->err, "query", result);
        query->failed = true;
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
    if (!active(pg))
        return;
    if ((events & MK_POLL_READ) && !mk__pg_consume(pg->conn)) {
        /* The server's last words may have come with the end: prefer them. */
        take_results(pg);
        mk__pg_query_lost(pg, PQerrorMessage(pg->conn));
        return;
    }
    flush(pg);
    if (active(pg))
        take_results(pg);
}

/* ---- cancelling -------------------------------------------------------------------------- */

static void on_cancel_sent(void *arg)
{
    fire_when_over(arg);
}

static void on_cancel_ignored(void *arg)
{
    struct mk_pg_query *query = arg;
    if (query->cancel.running)
        query->pg->broken = true; /* the late request could hit the next query */
    mk__pg_cancel_abandon(&query->cancel);
    mk__pg_query_lost(query->pg, "it did not react to a cancel request");
}

static bool send_cancel(struct mk_pg_query *query)
{
    query->cancel.on_sent = on_cancel_sent;
    query->cancel.on_ignored = on_cancel_ignored;
    query->cancel.arg = query;
    return mk__pg_cancel_start(&query->cancel, query->pg->loop, PQgetCancel(query->pg->conn));
}

static void on_cancel(struct mk_wait *wait)
{
    struct mk_pg_query *query = (struct mk_pg_query *)(void *)wait;
    if (query->canceled || query->ended)
        return;
    query->canceled = true;
    if (!send_cancel(query))
        mk__pg_query_lost(query->pg, "it could not be asked to cancel");
}

void mk__pg_query_closed(struct mk_pg *pg)
{
    struct mk_pg_query *query = active(pg);
    if (query && !query->canceled)
        send_cancel(query);
    mk__pg_query_lost(pg, "it was closed");
}

/* ---- starting, reading ------------------------------------------------------------------- */

struct mk_pg_query *mk_pg_query_start(struct mk_pg *pg, const char *sql, int n_params,
                                      const char *const *params, struct mk_error *err)
{
    if (mk__pg_check_idle(pg, "query", err) != MK_OK)
        return NULL;
    struct mk_pg_query *query = mk_calloc(sizeof *query);
    if (!query) {
        mk_error_nomem(err, "query");
        return NULL;
    }
    mk_wait_init(&query->wait, on_cancel);
    query->pg = mk_pg_ref(pg);
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
    mk_pg_unref(query->pg);
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
