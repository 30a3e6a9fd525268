/* Watching a foreign descriptor: see poll.h. */
#include "loop/poll.h"

#include "base/mem.h"
#include "loop/loop_impl.h"

struct mk_poll {
    uv_poll_t uv;
    void (*fn)(void *arg, int events);
    void *arg;
    int events;
};

static void on_closed(uv_handle_t *handle)
{
    mk_free(handle->data);
}

struct mk_poll *mk_poll_new(struct mk_loop *loop, int fd, void (*fn)(void *arg, int events),
                            void *arg, struct mk_error *err)
{
    struct mk_poll *poll = mk_calloc(sizeof *poll);
    if (!poll) {
        mk_error_nomem(err, "poll");
        return NULL;
    }
    poll->fn = fn;
    poll->arg = arg;
    poll->uv.data = poll;
    int result = uv_poll_init(&loop->uv, &poll->uv, fd);
    if (result != 0) {
        mk_free(poll); /* uv_poll_init registers nothing when it fails */
        mk_error_errno(err, -result, "poll", "could not watch descriptor %d", fd);
        return NULL;
    }
    return poll;
}

static void on_ready(uv_poll_t *uv, int status, int events)
{
    struct mk_poll *poll = uv->data;
    if (status < 0) {
        poll->events = 0; /* libuv has stopped the watcher */
        poll->fn(poll->arg, MK_POLL_READ | MK_POLL_WRITE);
        return;
    }
    int ready =
        (events & UV_READABLE ? MK_POLL_READ : 0) | (events & UV_WRITABLE ? MK_POLL_WRITE : 0);
    poll->fn(poll->arg, ready);
}

void mk_poll_set(struct mk_poll *poll, int events)
{
    if (events == poll->events)
        return;
    poll->events = events;
    if (events == 0)
        uv_poll_stop(&poll->uv);
    else
        uv_poll_start(&poll->uv,
                      (events & MK_POLL_READ ? UV_READABLE : 0) |
                          (events & MK_POLL_WRITE ? UV_WRITABLE : 0),
                      on_ready);
}

void mk_poll_close(struct mk_poll *poll)
{
    if (poll)
        uv_close((uv_handle_t *)&poll->uv, on_closed);
}
