/*
 * Timers: see timer.h. The handle's memory lives until libuv's close callback.
 *
 * uv_run runs timers that are due first, and then waits for other events all the same. What our
 * timers do is what a turn of the loop was made for, so they keep it from waiting (uv_stop).
 */
#include "loop/timer.h"

#include "base/mem.h"
#include "loop/loop_impl.h"

struct mk_timer {
    uv_timer_t uv;
    void (*fn)(void *arg);
    void *arg;
};

static void on_timer(uv_timer_t *uv)
{
    struct mk_timer *timer = uv->data;
    uv_stop(uv->loop);
    timer->fn(timer->arg);
}

static void on_closed(uv_handle_t *handle)
{
    mk_free(handle->data);
}

struct mk_timer *mk_timer_new(struct mk_loop *loop, void (*fn)(void *arg), void *arg,
                              struct mk_error *err)
{
    struct mk_timer *timer = mk_calloc(sizeof *timer);
    if (!timer) {
        mk_error_nomem(err, "timer");
        return NULL;
    }
    timer->fn = fn;
    timer->arg = arg;
    uv_timer_init(&loop->uv, &timer->uv);
    timer->uv.data = timer;
    return timer;
}

void mk_timer_set(struct mk_timer *timer, int64_t delay_ms)
{
    if (delay_ms < 0) {
        uv_timer_stop(&timer->uv);
        return;
    }
    uv_update_time(timer->uv.loop); /* Lua may have run for a while since the last turn */
    uv_timer_start(&timer->uv, on_timer, (uint64_t)delay_ms, 0);
}

struct mk_timer *mk_timer_start(struct mk_loop *loop, int64_t delay_ms, void (*fn)(void *arg),
                                void *arg, struct mk_error *err)
{
    struct mk_timer *timer = mk_timer_new(loop, fn, arg, err);
    if (timer)
        mk_timer_set(timer, delay_ms > 0 ? delay_ms : 0);
    return timer;
}

void mk_timer_close(struct mk_timer *timer)
{
    if (timer)
        uv_close((uv_handle_t *)&timer->uv, on_closed);
}
