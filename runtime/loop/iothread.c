/*
 * I/O threads: see iothread.h. An eventfd wakes the thread out of its poll, an async handle wakes
 * the loop. The thread's last act is to set `ended` and to send; the loop then joins it, which
 * cannot wait for long, and only after that closes the handle, so no send can come too late.
 */
#include "loop/iothread.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "loop/loop_impl.h"
#include "loop/poll.h"

struct mk_iothread {
    const struct mk_iothread_type *type;
    void *body;
    pthread_t thread;
    uv_async_t async;
    int wake_fd;
    atomic_bool ended; /* set by the thread as its last act, read by the loop */
};

static void *thread_main(void *arg)
{
    struct mk_iothread *self = arg;
    self->type->run(self, self->body);
    atomic_store(&self->ended, true);
    uv_async_send(&self->async);
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct mk_iothread *self = handle->data;
    close(self->wake_fd);
    void (*on_end)(void *body) = self->type->on_end;
    void *body = self->body;
    mk_free(self);
    on_end(body);
}

static void on_async(uv_async_t *async)
{
    struct mk_iothread *self = async->data;
    bool ended = atomic_load(&self->ended);
    self->type->on_post(self->body);
    if (!ended || uv_is_closing((uv_handle_t *)async))
        return;
    pthread_join(self->thread, NULL);
    uv_close((uv_handle_t *)async, on_closed);
}

static void on_closed_unused(uv_handle_t *handle)
{
    mk_free(handle->data);
}

struct mk_iothread *mk_iothread_start(struct mk_loop *loop, const struct mk_iothread_type *type,
                                      void *body, struct mk_error *err)
{
    struct mk_iothread *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "thread");
        return NULL;
    }
    self->type = type;
    self->body = body;
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0) {
        mk_error_errno(err, errno, "thread", "could not make an eventfd");
        mk_free(self);
        return NULL;
    }
    uv_async_init(&loop->uv, &self->async, on_async);
    self->async.data = self;

    int result = mk_thread_create(&self->thread, false, thread_main, self);
    if (result != 0) {
        mk_error_errno(err, result, "thread", "could not start a thread");
        close(self->wake_fd);
        uv_close((uv_handle_t *)&self->async, on_closed_unused);
        return NULL;
    }
    return self;
}

void mk_iothread_wake(struct mk_iothread *self)
{
    uint64_t one = 1;
    ssize_t n = write(self->wake_fd, &one, sizeof one);
    (void)n; /* EAGAIN: it has been woken 2^64 times already */
}

void mk_iothread_post(struct mk_iothread *self)
{
    uv_async_send(&self->async);
}

int mk_iothread_wait(struct mk_iothread *self, int fd, int events)
{
    struct pollfd fds[2] = {
        {.fd = self->wake_fd, .events = POLLIN},
        {.fd = events ? fd : -1,
         .events = (short)((events & MK_POLL_READ ? POLLIN : 0) |
                           (events & MK_POLL_WRITE ? POLLOUT : 0))},
    };
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        continue;
    if (fds[0].revents) {
        uint64_t count;
        ssize_t n = read(self->wake_fd, &count, sizeof count);
        (void)n; /* it is only a bell */
    }
    if (fds[1].revents & (POLLERR | POLLHUP | POLLNVAL))
        return events;
    return (fds[1].revents & POLLIN ? MK_POLL_READ : 0) |
           (fds[1].revents & POLLOUT ? MK_POLL_WRITE : 0);
}
