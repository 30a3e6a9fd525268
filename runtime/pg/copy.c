/*
 * COPY on a thread of its own: see pg.h. From the start until the thread has ended, the libpq
 * connection is the thread's (copy_thread.c); this side only hands requests over, under the mutex,
 * and rings.
 *
 *   loop    request, block --> +-------+ --> thread   PQgetCopyData / PQputCopyData
 *           on_answer      <-- | mutex | <-- answer, notices
 *
 * - An abort tells the thread, and sends a cancel request (cancel.c): the server may be busy, and
 *   neither read nor send. If it does not react within the grace period, its socket is shut.
 * - The connection is given back once the thread has ended and no cancel request is on its way.
 * - Notices are kept for the loop, MAX_NOTICES at most: a trigger may raise one per row.
 *
 * Limit: libpq shows an error that the server sends during COPY IN only after the end of the data,
 * as psql does; the server throws away what comes after its error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "pg/copy_impl.h"

/* ---- answers --------------------------------------------------------------------------- */

static void show_notices(struct mk_pg_copy *self)
{
    struct mk_pg_copy_notice notices[MAX_NOTICES];
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
    self->request = MK_COPY_NONE;
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
    } else if (self->aborting) {
        mk_error_set(&self->err, MK_ECANCELED, "copy", "canceled");
    }
    mk__pg_copy_over(self->pg);
    bool outstanding = self->request != MK_COPY_NONE;
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

static const struct mk_iothread_type thread_type = {mk__pg_copy_run, on_post, on_end};

struct mk_pg_copy *mk_pg_copy_start(struct mk_pg *pg, const struct mk_pg_copy_spec *spec,
                                    const struct mk_pg_copy_client *client, struct mk_error *err)
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
    self->dir = spec->dir;
    self->hash_rows = spec->hash;
    self->end_mark = spec->end_mark;
    self->pack = spec->pack;
    self->encoder = spec->encoder;
    self->client = *client;
    self->sql = mk_strdup(spec->sql ? spec->sql : "");
    self->cancel_handle = PQgetCancel(pg->conn);
    self->socket_fd = fcntl(PQsocket(pg->conn), F_DUPFD_CLOEXEC, 3);
    if (self->socket_fd < 0) {
        mk_error_errno(err, errno, "copy", "could not begin");
    } else if (self->sql && self->cancel_handle) {
        pg->copy = self;
        mk_poll_set(pg->poll, 0);
        PQsetNoticeReceiver(pg->conn, mk__pg_copy_on_notice, self);
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

static void request(struct mk_pg_copy *self, enum mk_pg_copy_request request,
                    struct mk_block *block)
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
    request(self, MK_COPY_BLOCK, block);
}

void mk_pg_copy_finish(struct mk_pg_copy *self)
{
    request(self, MK_COPY_FINISH, NULL);
}

/* ---- the end ------------------------------------------------------------------- */

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

uint64_t mk_pg_copy_bytes(const struct mk_pg_copy *self)
{
    return self->bytes;
}

uint64_t mk_pg_copy_delivered(struct mk_pg_copy *self)
{
    pthread_mutex_lock(&self->mutex);
    uint64_t bytes = self->over ? self->delivered : self->told_delivered;
    pthread_mutex_unlock(&self->mutex);
    return bytes;
}

const struct mk_content_hash *mk_pg_copy_hash(const struct mk_pg_copy *self)
{
    return &self->hash;
}
