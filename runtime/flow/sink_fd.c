/*
 * A descriptor as a sink, which stays its owner's: see stages.h. Flows may follow each other into
 * the same one.
 *
 * What can block (a pipe, a socket, a terminal) is written without blocking, when the loop says
 * that there is room. To others who share a pipe or a terminal its mode must not change, so we have
 * it opened anew; with a socket, which cannot be, each call says that it does not block. What may
 * not be opened (the pipe of another user, after sudo) or cannot be waited for (a regular file,
 * /dev/null) is written by the file pool's threads; those look at `aborting` between two small
 * pieces.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "flow/stages.h"
#include "loop/call.h"
#include "loop/poll.h"

struct sink_fd {
    struct mk_sink base;
    struct mk_call call; /* while one is outstanding, block and at are the pool thread's */
    struct mk_loop *loop;
    struct mk_poll *poll; /* NULL: it cannot be waited for */
    struct mk_block *block;
    size_t at; /* of the block's bytes */
    int fd;
    bool is_socket, is_file, waiting, calling, closing;
    atomic_bool aborting; /* for the pool thread */
};

static struct sink_fd *of_call(struct mk_call *call)
{
    return (struct sink_fd *)(void *)((char *)call - offsetof(struct sink_fd, call));
}

static int write_error(struct mk_error *err, int code)
{
    if (code == EPIPE || code == ECONNRESET || code == ENXIO) /* ENXIO: a FIFO that nobody reads */
        return mk_error_set(err, MK_EPIPE, "write", "whoever was to read the output is gone");
    return mk_error_errno(err, code, "write", "could not write the output");
}

/* Writes what is left. MK_OK: all of it; 1: there is no room now. */
static int write_some(struct sink_fd *self, struct mk_error *err)
{
    while (self->at < self->block->len) {
        const uint8_t *bytes = self->block->data + self->at;
        size_t left = self->block->len - self->at;
        ssize_t n = self->is_socket ? send(self->fd, bytes, left, MSG_DONTWAIT | MSG_NOSIGNAL)
                                    : write(self->fd, bytes, left);
        if (n >= 0)
            self->at += (size_t)n;
        else if (errno == EAGAIN)
            return 1;
        else if (errno != EINTR)
            return write_error(err, errno);
    }
    return MK_OK;
}

#define WAIT_MS 100

/* On a pool thread: small pieces, of which none can block once there is room. */
static int write_blocking(struct mk_call *call)
{
    struct sink_fd *self = of_call(call);
    while (self->at < self->block->len) {
        struct pollfd pollfd = {.fd = self->fd, .events = POLLOUT};
        size_t n = self->block->len - self->at;
        if (atomic_load(&self->aborting))
            return mk_error_set(&call->err, MK_ECANCELED, "write", "canceled");
        if (!self->is_file && poll(&pollfd, 1, WAIT_MS) == 0)
            continue;
        if (!self->is_file && n > PIPE_BUF)
            n = PIPE_BUF;
        ssize_t written = write(self->fd, self->block->data + self->at, n);
        if (written >= 0)
            self->at += (size_t)written;
        else if (errno != EINTR && errno != EAGAIN)
            return write_error(&call->err, errno);
    }
    return MK_OK;
}

static int sync_file(struct mk_call *call)
{
    if (fdatasync(of_call(call)->fd) == 0)
        return MK_OK;
    return write_error(&call->err, errno);
}

static void release_when_over(struct sink_fd *self)
{
    if (!self->closing || self->calling)
        return;
    mk_poll_close(self->poll);
    close(self->fd);
    mk_sink_closed(&self->base);
    mk_free(self);
}

static void on_call(struct mk_wait *wait, void *arg)
{
    struct sink_fd *self = arg;
    self->calling = false;
    mk_sink_done(&self->base, wait->status, &self->call.err);
}

static void write_now(struct sink_fd *self)
{
    struct mk_error err;
    int status = write_some(self, &err);
    self->waiting = status == 1;
    mk_poll_set(self->poll, self->waiting ? MK_POLL_WRITE : 0);
    if (!self->waiting)
        mk_sink_done(&self->base, status, &err);
}

static void on_writable(void *arg, int events)
{
    struct sink_fd *self = arg;
    if ((events & MK_POLL_WRITE) && self->waiting)
        write_now(self);
}

static void start_call(struct sink_fd *self, int (*run)(struct mk_call *call))
{
    self->call.run = run;
    if (mk_call_start(self->loop, &self->call) != MK_OK) {
        mk_sink_done(&self->base, MK_ENOMEM, &self->call.err);
        return;
    }
    self->calling = true;
    self->call.wait.on_fire = on_call;
    self->call.wait.arg = self;
}

static void fd_put(struct mk_sink *sink, struct mk_block *block)
{
    struct sink_fd *self = (struct sink_fd *)sink;
    self->block = block;
    self->at = 0;
    if (self->poll)
        write_now(self);
    else
        start_call(self, write_blocking);
}

static void fd_finish(struct mk_sink *sink)
{
    struct sink_fd *self = (struct sink_fd *)sink;
    if (self->is_file)
        start_call(self, sync_file);
    else
        mk_sink_done(sink, MK_OK, NULL);
}

static void fd_abort(struct mk_sink *sink)
{
    struct sink_fd *self = (struct sink_fd *)sink;
    struct mk_error err;
    atomic_store(&self->aborting, true);
    if (!self->waiting)
        return;
    self->waiting = false;
    mk_poll_set(self->poll, 0);
    mk_sink_done(sink, mk_error_set(&err, MK_ECANCELED, "write", "canceled"), &err);
}

static void fd_close(struct mk_sink *sink)
{
    struct sink_fd *self = (struct sink_fd *)sink;
    self->closing = true;
    release_when_over(self);
}

static const struct mk_sink_type type = {"fd", fd_put, fd_finish, fd_abort, fd_close, NULL};

/* A descriptor of our own; of a pipe or a terminal, one that does not block. -1: errno says why. */
static int open_own(int fd, const struct stat *stat, bool *can_wait)
{
    char path[64];
    *can_wait = !S_ISREG(stat->st_mode);
    if (S_ISFIFO(stat->st_mode) || S_ISCHR(stat->st_mode)) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own >= 0 || errno == ENXIO)
            return own;
        *can_wait = false;
    }
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* libuv would leave a socket that does not block to those who share it. */
static struct mk_poll *watch(struct sink_fd *self, struct mk_error *err)
{
    int flags = fcntl(self->fd, F_GETFL);
    struct mk_poll *poll = mk_poll_new(self->loop, self->fd, on_writable, self, err);
    if (self->is_socket && flags >= 0)
        fcntl(self->fd, F_SETFL, flags);
    return poll;
}

struct mk_sink *mk_sink_fd(struct mk_loop *loop, int fd, struct mk_error *err)
{
    struct stat stat;
    bool can_wait = false;
    struct sink_fd *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->loop = loop;
    self->fd = fstat(fd, &stat) == 0 ? open_own(fd, &stat, &can_wait) : -1;
    if (self->fd < 0) {
        write_error(err, errno);
        mk_free(self);
        return NULL;
    }
    self->is_socket = S_ISSOCK(stat.st_mode);
    self->is_file = S_ISREG(stat.st_mode);
    self->poll = can_wait ? watch(self, err) : NULL;
    if (self->poll || !can_wait || (S_ISCHR(stat.st_mode) && err->status != MK_ENOMEM))
        return &self->base;
    close(self->fd);
    mk_free(self);
    return NULL;
}
