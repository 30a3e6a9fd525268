/*
 * The event loop: libuv's, plus the worker pool. Its end is strict: everything that was opened
 * must have been closed by its owner, and what was not is counted, logged and closed, so that a
 * leak is found by the first test that causes it.
 */
#include "loop/loop.h"

#include "base/log.h"
#include "base/mem.h"
#include "loop/loop_impl.h"

struct mk_loop *mk_loop_new(int workers, struct mk_error *err)
{
    struct mk_loop *loop = mk_calloc(sizeof *loop);
    if (!loop) {
        mk_error_nomem(err, "loop");
        return NULL;
    }
    int result = uv_loop_init(&loop->uv);
    if (result != 0) {
        mk_free(loop);
        mk_error_errno(err, -result, "loop", "could not create the event loop");
        return NULL;
    }
    loop->n_workers = workers;
    loop->workers = mk__workers_new(loop, workers, err);
    if (!loop->workers) {
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        uv_loop_close(&loop->uv);
        mk_free(loop);
        return NULL;
    }
    return loop;
}

bool mk_loop_run_once(struct mk_loop *loop)
{
    return uv_run(&loop->uv, UV_RUN_ONCE) != 0;
}

void mk_loop_poll(struct mk_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_NOWAIT);
}

int mk_loop_workers(const struct mk_loop *loop)
{
    return loop->n_workers;
}

static void close_forgotten(uv_handle_t *handle, void *arg)
{
    if (uv_is_closing(handle))
        return;
    mk_log(MK_LOG_ERROR, "a %s handle was still open at exit", uv_handle_type_name(handle->type));
    ++*(int *)arg;
    uv_close(handle, NULL);
}

int mk_loop_free(struct mk_loop *loop)
{
    if (!loop)
        return 0;
    int forgotten = 0;
    mk__workers_stop(loop->workers);
    uv_run(&loop->uv, UV_RUN_NOWAIT); /* close callbacks */
    uv_walk(&loop->uv, close_forgotten, &forgotten);
    while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0)
        continue; /* a timer ends it early */
    int result = uv_loop_close(&loop->uv);
    if (result != 0)
        mk_log(MK_LOG_ERROR, "the event loop did not close: %s", uv_strerror(result));
    mk__workers_free(loop->workers);
    mk_free(loop);
    return forgotten + (result != 0);
}
