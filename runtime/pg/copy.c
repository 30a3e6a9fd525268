/*
 * COPY on a thread of its own: see pg.h. From the start until the thread has ended, the libpq
 * connection is the thread's; the loop side only hands requests over, under the mutex, and rings.
 *
 *   loop    request, block --> +-------+ --> thread   PQgetCopyData / PQputCopyData
 *           on_answer      <-- | mutex | <-- answer, notices
 *
 * - The thread looks at `aborting` whenever it would wait. OUT: the loop has sent a cancel request
 *   (cancel.c), so the thread reads on until the server's error and throws the rows away. IN: it
 *   ends the COPY with an error. Either way it reads results to the end, so that the connection is
 *   usable afterwards. A server that does not react within the grace period gets its socket shut.
 * - The row that did not fit into a block waits here, so memory is libpq's two copies of a row.
 * - Notices are kept for the loop, MAX_NOTICES at most between two looks of the loop: a trigger
 *   may raise one per row.
 *
 * Limit: libpq shows an error that the server sends during COPY IN only after the end of the data,
 * as psql does; the server throws away what comes after its error.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/iothread.h"
#include "pg/pg_impl.h"

#define MAX_NOTICES 32

enum request { NONE, BLOCK, FINISH };

struct notice {
    char severity[16];
    char text[240];
};

struct mk_pg_copy {
    struct mk_pg *pg; /* loop */
    PGconn *conn;     /* the thread's */
    int socket_fd;    /* a copy of its descriptor: whoever has no more patience shuts it */
    struct mk_iothread *thread; /* loop */
    enum mk_pg_copy_dir dir;    /* never changes, like hash_rows, sql and client */
    bool hash_rows;
    char *sql;
    struct mk_pg_copy_client client;
    PGcancel *cancel_handle; /* loop; the cancel request's, once that has been started */
    struct mk__pg_cancel cancel;
    bool closing; /* loop */
    bool over;    /* loop: the thread has gone */

    pthread_mutex_t mutex;
    enum request request;               /* under mutex: set by the loop, NONE once answered */
    struct mk_block *block;             /* the same */
    bool aborting;                      /* under mutex: set by the loop, once */
    bool answered;                      /* under mutex: set by the thread, reset by the loop */
    struct notice notices[MAX_NOTICES]; /* under mutex */
    int n_notices, n_dropped;           /* under mutex */

    /* The thread's; read by the loop after the end. */
    struct mk_iothread *self_thread;
    struct mk_error err;
    int64_t rows;
    struct mk_content_hash hash;
};

/* ---- the thread: waiting ----------------------------------------------------------------- */

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
static bool wait_socket(struct mk_pg_copy *self, struct mk_iothread *thread, int events)
{
    int ready = mk_iothread_wait(thread, PQsocket(self->conn), events);
    if ((ready & MK_POLL_READ) && !mk__pg_consume(self->conn))
        return lost(self);
    return true;
}

/* Sends what libpq has queued; reads meanwhile, for a server that sends notices may wait for us. */
static bool flush(struct mk_pg_copy *self, struct mk_iothread *thread)
{
    for (;;) {
        int left = PQflush(self->conn);
        if (left < 0)
            return lost(self);
        if (left == 0)
            return true;
        if (!wait_socket(self, thread, MK_POLL_READ | MK_POLL_WRITE))
            return false;
    }
}

static bool next_result(struct mk_pg_copy *self, struct mk_iothread *thread, PGresult **result)
{
    while (PQisBusy(self->conn))
        if (!wait_socket(self, thread, MK_POLL_READ))
            break; /* its last words may have come with the end */
    *result = NULL;
    if (PQisBusy(self->conn))
        return false;
    *result = PQgetResult(self->conn);
    return true;
}

/* Reads all results. What the server says of the end is better than what we have noticed. */
static void take_results(struct mk_pg_copy *self, struct mk_iothread *thread)
{
    PGresult *result;
    while (next_result(self, thread, &result) && result) {
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

/* ---- the thread: requests ---------------------------------------------------------------- */

/* Waits for something to do. False: there is an abort instead. */
static bool take_request(struct mk_pg_copy *self, struct mk_iothread *thread, enum request *request)
{
    for (;;) {
        pthread_mutex_lock(&self->mutex);
        bool aborting = self->aborting;
        *request = self->answered ? NONE : self->request;
        pthread_mutex_unlock(&self->mutex);
        if (aborting)
            return false;
        if (*request != NONE)
            return true;
        mk_iothread_wait(thread, -1, 0);
    }
}

static void answer(struct mk_pg_copy *self, struct mk_iothread *thread)
{
    pthread_mutex_lock(&self->mutex);
    self->answered = true;
    pthread_mutex_unlock(&self->mutex);
    mk_iothread_post(thread);
}

/* ---- the thread: out --------------------------------------------------------------------- */

/* Puts a row's bytes into blocks. False: aborted. */
static bool deliver(struct mk_pg_copy *self, struct mk_iothread *thread, const char *bytes,
                    size_t len)
{
    while (len > 0) {
        enum request request;
        if (!take_request(self, thread, &request))
            return false;
        struct mk_block *block = self->block; /* the thread's while it has not been answered */
        size_t n = MK_BLOCK_BYTES - block->len;
        if (n > len)
            n = len;
        memcpy(block->data + block->len, bytes, n);
        block->len += n;
        bytes += n;
        len -= n;
        if (block->len == MK_BLOCK_BYTES)
            answer(self, thread);
    }
    return true;
}

static void copy_out(struct mk_pg_copy *self, struct mk_iothread *thread)
{
    bool wanted = true;
    for (;;) {
        char *row = NULL;
        int n = PQgetCopyData(self->conn, &row, 1);
        if (n > 0) {
            if (self->hash_rows)
                mk_content_hash_row(&self->hash, row, (size_t)n);
            wanted = wanted && deliver(self, thread, row, (size_t)n);
            PQfreemem(row);
        } else if (n < 0 || !wait_socket(self, thread, MK_POLL_READ)) {
            break; /* the end, or an error: the results tell */
        }
    }
    take_results(self, thread);
}

/* ---- the thread: in ---------------------------------------------------------------------- */

static bool send_block(struct mk_pg_copy *self, struct mk_iothread *thread)
{
    for (int refused = 0;;) {
        int sent =
            PQputCopyData(self->conn, (const char *)self->block->data, (int)self->block->len);
        if (sent < 0)
            return lost(self);
        if (!flush(self, thread))
            return false;
        if (sent > 0)
            return true;
        if (++refused > 1) { /* everything has gone out, and still there is no room for it */
            mk_error_nomem(&self->err, "copy");
            return false;
        }
    }
}

static void copy_in(struct mk_pg_copy *self, struct mk_iothread *thread)
{
    enum request request;
    bool aborted = false;
    do {
        aborted = !take_request(self, thread, &request);
        if (aborted || request == FINISH)
            break;
        if (!send_block(self, thread))
            break;
        answer(self, thread);
    } while (!failed(self));
    if (PQputCopyEnd(self->conn, aborted ? "moonkeep has stopped this COPY" : NULL) > 0)
        flush(self, thread);
    take_results(self, thread);
}

/* ---- the thread: from the start to the end ------------------------------------------------- */

static void on_notice(void *arg, const PGresult *result)
{
    struct mk_pg_copy *self = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    pthread_mutex_lock(&self->mutex);
    if (self->n_notices < MAX_NOTICES) {
        struct notice *notice = &self->notices[self->n_notices++];
        snprintf(notice->severity, sizeof notice->severity, "%s", severity ? severity : "NOTICE");
        snprintf(notice->text, sizeof notice->text, "%s", text ? text : "");
    } else {
        self->n_dropped++;
    }
    pthread_mutex_unlock(&self->mutex);
    mk_iothread_post(self->self_thread);
}

/* Begins the COPY. False: it has not begun, for the reason in `err`. */
static bool begin(struct mk_pg_copy *self, struct mk_iothread *thread)
{
    if (!PQsendQuery(self->conn, self->sql) || !flush(self, thread))
        return lost(self);
    PGresult *result;
    if (!next_result(self, thread, &result) || !result)
        return lost(self);
    ExecStatusType status = PQresultStatus(result);
    bool is_right = status == (self->dir == MK_PG_COPY_OUT ? PGRES_COPY_OUT : PGRES_COPY_IN);
    if (status == PGRES_FATAL_ERROR) {
        mk__pg_result_error(&self->err, "copy", result);
    } else if (!is_right) {
        mk_error_set(&self->err, MK_EINVAL, "copy", "this is not a %s",
                     self->dir == MK_PG_COPY_OUT ? "COPY ... TO STDOUT" : "COPY ... FROM STDIN");
    }
    if (is_right) {
        PQclear(result);
        return true;
    }
    if (status == PGRES_COPY_IN)
        PQputCopyEnd(self->conn, "this direction was not asked for");
    if (status == PGRES_COPY_OUT)
        shutdown(self->socket_fd, SHUT_RDWR); /* it may have no end */
    PQclear(result);
    if (status != PGRES_COPY_OUT)
        take_results(self, thread);
    return false;
}

static void run(struct mk_iothread *thread, void *arg)
{
    struct mk_pg_copy *self = arg;
    self->self_thread = thread;
    if (begin(self, thread)) {
        if (self->dir == MK_PG_COPY_OUT)
            copy_out(self, thread);
        else
            copy_in(self, thread);
    }
}

/* ---- the loop ---------------------------------------------------------------------------- */

static void show_notices(struct mk_pg_copy *self)
{
    struct notice notices[MAX_NOTICES];
    pthread_mutex_lock(&self->mutex);
    int n = self->n_notices, n_dropped = self->n_dropped;
    memcpy(notices, self->notices, n * sizeof notices[0]);
    self->n_notices = self->n_dropped = 0;
    pthread_mutex_unlock(&self->mutex);
    if (!self->pg->on_notice)
        return;
    for (int i = 0; i < n; i++)
        self->pg->on_notice(self->pg->notice_arg, notices[i].severity, notices[i].text);
    if (n_dropped > 0) {
        char text[64];
        snprintf(text, sizeof text, "%d more, which are not shown", n_dropped);
        self->pg->on_notice(self->pg->notice_arg, "NOTICE", text);
    }
}

static void give_answer(struct mk_pg_copy *self, bool end, int status)
{
    pthread_mutex_lock(&self->mutex);
    self->request = NONE;
    self->answered = false;
    self->block = NULL;
    pthread_mutex_unlock(&self->mutex);
    self->client.on_answer(self->client.arg, end, status, &self->err);
}

static void on_post(void *arg)
{
    struct mk_pg_copy *self = arg;
    show_notices(self);
    pthread_mutex_lock(&self->mutex);
    bool answered = self->answered;
    pthread_mutex_unlock(&self->mutex);
    if (answered)
        give_answer(self, false, MK_OK);
}

static void copy_free(struct mk_pg_copy *self)
{
    PQfreeCancel(self->cancel_handle);
    if (self->socket_fd >= 0)
        close(self->socket_fd);
    pthread_mutex_destroy(&self->mutex);
    mk_pg_unref(self->pg);
    mk_free(self->sql);
    mk_free(self);
}

static void release_when_over(struct mk_pg_copy *self)
{
    if (!self->closing || !self->over || self->cancel.running)
        return;
    void (*on_closed)(void *) = self->client.on_closed;
    void *on_closed_arg = self->client.arg;
    copy_free(self);
    on_closed(on_closed_arg);
}

/* The connection is the loop's again once no cancel request can hit what comes next. */
static void give_back_when_over(struct mk_pg_copy *self)
{
    if (!self->over || self->cancel.running)
        return;
    mk__pg_cancel_end(&self->cancel);
    if (self->err.status == MK_EPGLOST || PQtransactionStatus(self->conn) == PQTRANS_ACTIVE)
        self->pg->broken = true;
    if (self->pg->closed) {
        self->err.sqlstate[0] = '\0'; /* that of the cancel request */
        mk__pg_lost_error(&self->err, "copy", "it was closed");
    } else if (self->aborting)
        mk_error_set(&self->err, MK_ECANCELED, "copy", "canceled");
    mk__pg_copy_over(self->pg);
    bool outstanding = self->request != NONE;
    int status = self->err.status;
    if (outstanding)
        give_answer(self, status == MK_OK, status);
    else
        release_when_over(self);
}

static void on_end(void *arg)
{
    struct mk_pg_copy *self = arg;
    self->over = true;
    self->thread = NULL;
    give_back_when_over(self);
}

static const struct mk_iothread_type thread_type = {run, on_post, on_end};

struct mk_pg_copy *mk_pg_copy_start(struct mk_pg *pg, const char *sql, enum mk_pg_copy_dir dir,
                                    bool hash, const struct mk_pg_copy_client *client,
                                    struct mk_error *err)
{
    if (mk__pg_check_idle(pg, "copy", err) != MK_OK)
        return NULL;
    struct mk_pg_copy *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "copy");
        return NULL;
    }
    pthread_mutex_init(&self->mutex, NULL);
    self->pg = mk_pg_ref(pg);
    self->conn = pg->conn;
    self->dir = dir;
    self->hash_rows = hash;
    self->client = *client;
    self->sql = mk_strdup(sql);
    self->cancel_handle = PQgetCancel(pg->conn);
    self->socket_fd = fcntl(PQsocket(pg->conn), F_DUPFD_CLOEXEC, 3);
    if (self->socket_fd < 0) {
        mk_error_errno(err, errno, "copy", "could not begin");
    } else if (self->sql && self->cancel_handle) {
        pg->copy = self;
        mk_poll_set(pg->poll, 0);
        PQsetNoticeReceiver(pg->conn, on_notice, self);
        self->thread = mk_iothread_start(pg->loop, &thread_type, self, err);
        if (self->thread)
            return self;
        mk__pg_copy_over(pg);
    } else {
        mk_error_nomem(err, "copy");
    }
    copy_free(self);
    return NULL;
}

static void request(struct mk_pg_copy *self, enum request request, struct mk_block *block)
{
    pthread_mutex_lock(&self->mutex);
    self->request = request;
    self->block = block;
    pthread_mutex_unlock(&self->mutex);
    if (self->over)
        give_answer(self, self->err.status == MK_OK, self->err.status);
    else
        mk_iothread_wake(self->thread);
}

void mk_pg_copy_block(struct mk_pg_copy *self, struct mk_block *block)
{
    request(self, BLOCK, block);
}

void mk_pg_copy_finish(struct mk_pg_copy *self)
{
    request(self, FINISH, NULL);
}

/* ---- the loop: the end ------------------------------------------------------------------- */

static void on_cancel_sent(void *arg)
{
    give_back_when_over(arg);
}

static void shut(struct mk_pg_copy *self)
{
    self->pg->broken = true;
    shutdown(self->socket_fd, SHUT_RDWR);
    mk__pg_cancel_abandon(&self->cancel);
}

static void on_cancel_ignored(void *arg)
{
    shut(arg);
}

void mk_pg_copy_abort(struct mk_pg_copy *self)
{
    if (self->over || self->aborting)
        return;
    pthread_mutex_lock(&self->mutex);
    self->aborting = true;
    pthread_mutex_unlock(&self->mutex);
    mk_iothread_wake(self->thread);
    self->cancel.on_sent = on_cancel_sent;
    self->cancel.on_ignored = on_cancel_ignored;
    self->cancel.arg = self;
    PGcancel *handle = self->cancel_handle;
    self->cancel_handle = NULL;
    if (!mk__pg_cancel_start(&self->cancel, self->pg->loop, handle))
        shut(self);
}

/* Also cancelled, not only cut off: a server that is not sending would not notice. */
void mk__pg_copy_lost(struct mk_pg *pg)
{
    mk_pg_copy_abort(pg->copy);
}

void mk_pg_copy_close(struct mk_pg_copy *self)
{
    self->closing = true;
    mk_pg_copy_abort(self);
    release_when_over(self);
}

int64_t mk_pg_copy_rows(const struct mk_pg_copy *self)
{
    return self->rows;
}

const struct mk_content_hash *mk_pg_copy_hash(const struct mk_pg_copy *self)
{
    return &self->hash;
}
