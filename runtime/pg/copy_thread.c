/*
 * The thread's side of a COPY: see copy.c, and copy_pack.c for several in one. It owns the libpq
 * connection, and waits in one place only, mk_iothread_wait: for the socket, for the loop's bell,
 * or for both.
 *
 * - With an encoder, rows are compressed here, while they are in the processor's cache: on two
 * cores that takes a third less time than a worker that gets them in blocks.
 * - A row that does not fit into the rest of a block waits here, so a connection's memory is its
 *   blocks and libpq's two copies of a row.
 * - Told to abort, it ends the COPY (out: throws rows away until the server's error; in: sends an
 *   error) and reads results to the end, so that the connection is usable afterwards.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/poll.h"
#include "pg/copy_impl.h"

/* ---- waiting ----------------------------------------------------------------- */

static bool failed(const struct mk_pg_copy *self)
{
    return self->err.status != MK_OK;
}

static bool lost(struct mk_pg_copy *self)
{
    mk__pg_lost_error(&self->err, "copy", PQerrorMessage(self->conn));
    return false;
}

/* Waits for the socket; false when the connection is lost. */
static bool wait_socket(struct mk_pg_copy *self, int events)
{
    int ready = mk_iothread_wait(self->own, PQsocket(self->conn), events);
    if ((ready & MK_POLL_READ) && !mk__pg_consume(self->conn))
        return lost(self);
    return true;
}

/* Sends what libpq has queued; reads meanwhile, for a server that sends notices may wait for us. */
static bool flush(struct mk_pg_copy *self)
{
    for (;;) {
        int left = PQflush(self->conn);
        if (left < 0)
            return lost(self);
        if (left == 0)
            return true;
        if (!wait_socket(self, MK_POLL_READ | MK_POLL_WRITE))
            return false;
    }
}

static bool next_result(struct mk_pg_copy *self, PGresult **result)
{
    while (PQisBusy(self->conn))
        if (!wait_socket(self, MK_POLL_READ))
            break; /* its last words may have come with the end */
    *result = NULL;
    if (PQisBusy(self->conn))
        return false;
    *result = PQgetResult(self->conn);
    return true;
}

void mk__pg_copy_results(struct mk_pg_copy *self)
{
    PGresult *result;
    while (next_result(self, &result) && result) {
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_FATAL_ERROR) {
            bool says_more =
                self->err.status == MK_EPGLOST && PQresultErrorField(result, PG_DIAG_SQLSTATE);
            if (!failed(self) || says_more)
                mk__pg_result_error(&self->err, "copy", result);
        } else if (status == PGRES_COMMAND_OK) {
            self->rows = strtoll(PQcmdTuples(result), NULL, 10);
        }
        PQclear(result);
        if (status == PGRES_COPY_IN)
            PQputCopyEnd(self->conn, "one COPY at a time");
        if (status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
            lost(self);
            return;
        }
    }
    if (PQstatus(self->conn) != CONNECTION_OK)
        lost(self);
}

/* ---- requests ---------------------------------------------------------------- */

bool mk__pg_copy_take(struct mk_pg_copy *self, enum mk_pg_copy_request *request)
{
    for (;;) {
        pthread_mutex_lock(&self->mutex);
        bool aborting = self->aborting;
        *request = self->answered ? MK_COPY_NONE : self->request;
        pthread_mutex_unlock(&self->mutex);
        if (aborting)
            return false;
        if (*request != MK_COPY_NONE)
            return true;
        mk_iothread_wait(self->own, -1, 0);
    }
}

void mk__pg_copy_answer(struct mk_pg_copy *self)
{
    pthread_mutex_lock(&self->mutex);
    self->answered = true;
    self->told_delivered = self->delivered;
    pthread_mutex_unlock(&self->mutex);
    mk_iothread_post(self->own);
}

/* ---- out --------------------------------------------------------------------- */

bool mk__pg_copy_aborting(struct mk_pg_copy *self)
{
    pthread_mutex_lock(&self->mutex);
    bool aborting = self->aborting;
    pthread_mutex_unlock(&self->mutex);
    return aborting;
}

/* The block that is being filled. NULL: aborted. */
static struct mk_block *wait_block(struct mk_pg_copy *self)
{
    enum mk_pg_copy_request request;
    if (!self->filling && mk__pg_copy_take(self, &request))
        self->filling = self->block;
    return self->filling;
}

static void answer_when_full(struct mk_pg_copy *self)
{
    if (self->filling->len < MK_BLOCK_BYTES)
        return;
    self->filling = NULL;
    mk__pg_copy_answer(self);
}

static bool deliver_plain(struct mk_pg_copy *self, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        struct mk_block *block = wait_block(self);
        if (!block)
            return false;
        size_t n = MK_BLOCK_BYTES - block->len;
        if (n > len)
            n = len;
        memcpy(block->data + block->len, bytes, n);
        block->len += n;
        bytes += n;
        len -= n;
        answer_when_full(self);
    }
    return true;
}

static bool deliver_encoded(struct mk_pg_copy *self, const uint8_t *bytes, size_t len, bool end)
{
    for (bool done = false; !done && (len > 0 || end);) {
        struct mk_block *block = wait_block(self);
        if (!block)
            return false;
        struct mk_stream_io io = {
            .in = bytes,
            .in_len = len,
            .end = end,
            .out = block->data + block->len,
            .out_cap = MK_BLOCK_BYTES - block->len,
        };
        if (mk_stream_step(self->encoder, &io, &self->err) != MK_OK)
            return false;
        bytes += io.in_used;
        len -= io.in_used;
        block->len += io.out_used;
        done = io.done;
        answer_when_full(self);
    }
    return true;
}

bool mk__pg_copy_deliver(struct mk_pg_copy *self, const void *bytes, size_t len)
{
    self->delivered += len;
    return self->encoder ? deliver_encoded(self, bytes, len, false)
                         : deliver_plain(self, bytes, len);
}

bool mk__pg_copy_deliver_end(struct mk_pg_copy *self)
{
    return !self->encoder || deliver_encoded(self, NULL, 0, true);
}

/* Nothing has come for now. The server sends 8 KiB at a time, and waking for each would cost more
 * than all else: so a moment is slept, in which its socket's buffer fills (200 KiB, at 250 MB/s).
 */
#define NAP_US 400

static void nap_if_empty(struct mk_pg_copy *self)
{
    struct pollfd pollfd = {.fd = PQsocket(self->conn), .events = POLLIN};
    if (poll(&pollfd, 1, 0) == 0)
        usleep(NAP_US);
}

int mk__pg_copy_row(struct mk_pg_copy *self, char **row)
{
    for (;;) {
        int n = PQgetCopyData(self->conn, row, 1);
        if (n > 0)
            return n;
        if (n < 0)
            return 0;
        nap_if_empty(self);
        if (!wait_socket(self, MK_POLL_READ))
            return 0;
    }
}

static void copy_out(struct mk_pg_copy *self)
{
    bool wanted = true;
    char *row;
    for (int n; (n = mk__pg_copy_row(self, &row)) > 0;) {
        if (self->hash_rows)
            mk_content_hash_row(&self->hash, row, (size_t)n);
        self->bytes += (uint64_t)n;
        wanted = wanted && mk__pg_copy_deliver(self, row, (size_t)n);
        PQfreemem(row);
    }
    mk__pg_copy_results(self);
    if (!wanted || failed(self))
        return;
    if (self->end_mark)
        wanted = mk__pg_copy_deliver(self, MK_COPY_END_MARK, strlen(MK_COPY_END_MARK));
    if (wanted)
        mk__pg_copy_deliver_end(self);
}

/* ---- in ---------------------------------------------------------------------- */

bool mk__pg_copy_send(struct mk_pg_copy *self, const void *bytes, size_t len)
{
    for (int refused = 0;;) {
        int sent = PQputCopyData(self->conn, bytes, (int)len);
        if (sent < 0)
            return lost(self);
        if (!flush(self))
            return false;
        if (sent > 0)
            return true;
        if (++refused > 1) { /* everything has gone out, and still there is no room for it */
            mk_error_nomem(&self->err, "copy");
            return false;
        }
    }
}

void mk__pg_copy_send_end(struct mk_pg_copy *self, const char *why)
{
    if (PQputCopyEnd(self->conn, why) > 0)
        flush(self);
    mk__pg_copy_results(self);
}

static void copy_in(struct mk_pg_copy *self)
{
    enum mk_pg_copy_request request;
    bool aborted = false;
    do {
        aborted = !mk__pg_copy_take(self, &request);
        if (aborted || request == MK_COPY_FINISH)
            break;
        if (!mk__pg_copy_send(self, self->block->data, self->block->len))
            break;
        mk__pg_copy_answer(self);
    } while (!failed(self));
    mk__pg_copy_send_end(self, aborted || failed(self) ? "moonkeep has stopped this COPY" : NULL);
}

/* ---- from the start to the end ------------------------------------------------- */

void mk__pg_copy_on_notice(void *arg, const PGresult *result)
{
    struct mk_pg_copy *self = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    pthread_mutex_lock(&self->mutex);
    if (self->n_notices < MAX_NOTICES) {
        struct mk_pg_copy_notice *notice = &self->notices[self->n_notices++];
        snprintf(notice->severity, sizeof notice->severity, "%s", severity ? severity : "NOTICE");
        snprintf(notice->text, sizeof notice->text, "%s", text ? text : "");
    } else {
        self->n_dropped++;
    }
    pthread_mutex_unlock(&self->mutex);
    mk_iothread_post(self->own);
}

bool mk__pg_copy_begin(struct mk_pg_copy *self, const char *sql)
{
    if (!PQsendQuery(self->conn, sql) || !flush(self))
        return lost(self);
    PGresult *result;
    if (!next_result(self, &result) || !result)
        return lost(self);
    ExecStatusType status = PQresultStatus(result);
    bool is_right = status == (self->dir == MK_PG_COPY_OUT ? PGRES_COPY_OUT : PGRES_COPY_IN);
    if (status == PGRES_FATAL_ERROR)
        mk__pg_result_error(&self->err, "copy", result);
    else if (!is_right)
        mk_error_set(&self->err, MK_EINVAL, "copy", "this is not a %s",
                     self->dir == MK_PG_COPY_OUT ? "COPY ... TO STDOUT" : "COPY ... FROM STDIN");
    PQclear(result);
    if (is_right)
        return true;
    if (status == PGRES_COPY_OUT) {
        shutdown(self->socket_fd, SHUT_RDWR); /* it may have no end */
        return false;
    }
    if (status == PGRES_COPY_IN)
        PQputCopyEnd(self->conn, "this direction was not asked for");
    mk__pg_copy_results(self);
    return false;
}

void mk__pg_copy_run(struct mk_iothread *thread, void *arg)
{
    struct mk_pg_copy *self = arg;
    self->own = thread;
    if (self->pack) {
        if (self->dir == MK_PG_COPY_OUT)
            mk__pg_copy_pack(self);
        else
            mk__pg_copy_unpack(self);
    } else if (mk__pg_copy_begin(self, self->sql)) {
        if (self->dir == MK_PG_COPY_OUT)
            copy_out(self);
        else
            copy_in(self);
    }
}
