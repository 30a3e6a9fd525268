/*
 * A descriptor as a sink, which stays its owner's: see stages.h. Flows may follow each other into
 * the same one.
 *
 * What can block (a pipe, a socket, a terminal) is written without blocking, when the loop says
 * that there is room. To others who share a pipe or a terminal its mode must not change, so we have
 * it opened anew; a socket, which cannot be, does not block from then on. What cannot be waited for
 * (a regular file, /dev/null) is written by the file pool's threads.
 */
#include <errno.h>
#include <fcntl.h>
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
    bool is_socket, waiting, calling, closing;
};

static struct sink_fd *of_call(struct mk_call *call)
{
    return (struct sink_fd *)(void *)((char *)call - offsetof(struct sink_fd, call));
}

static int write_error(struct mk_error *err, int code)
{
    if (code == EPIPE || code == ECONNRESET)
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

static int write_file(struct mk_call *call)
{
    return write_some(of_call(call), &call->err);
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

static void fd_put(struct mk_sink *sink, struct mk_block *block)
{
    struct sink_fd *self = (struct sink_fd *)sink;
    self->block = block;
    self->at = 0;
    if (self->poll) {
        write_now(self);
        return;
    }
    self->call.run = write_file;
    if (mk_call_start(self->loop, &self->call) != MK_OK) {
        mk_sink_done(sink, MK_ENOMEM, &self->call.err);
        return;
    }
    self->calling = true;
    self->call.wait.on_fire = on_call;
    self->call.wait.arg = self;
}

static void fd_finish(struct mk_sink *sink)
{
    mk_sink_done(sink, MK_OK, NULL);
}

static void fd_abort(struct mk_sink *sink)
{
    struct sink_fd *self = (struct sink_fd *)sink;
    struct mk_error err;
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

/* A descriptor of our own, which does not block. -1: errno says why. */
static int open_anew(int fd, const struct stat *stat)
{
    char path[64];
    if (S_ISREG(stat->st_mode) || S_ISSOCK(stat->st_mode))
        return fcntl(fd, F_DUPFD_CLOEXEC, 3);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

struct mk_sink *mk_sink_fd(struct mk_loop *loop, int fd, struct mk_error *err)
{
    struct stat stat;
    struct sink_fd *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->loop = loop;
    self->fd = fstat(fd, &stat) == 0 ? open_anew(fd, &stat) : -1;
    if (self->fd < 0) {
        mk_error_errno(err, errno, "write", "could not open the output");
        mk_free(self);
        return NULL;
    }
    self->is_socket = S_ISSOCK(stat.st_mode);
    if (!S_ISREG(stat.st_mode))
        self->poll = mk_poll_new(loop, self->fd, on_writable, self, err);
    if (self->poll || S_ISREG(stat.st_mode) || S_ISCHR(stat.st_mode))
        return &self->base;
    close(self->fd);
    mk_free(self);
    return NULL;
}
