/* Signals as loop events: see signal.h. */
#include "loop/signal.h"

#include "base/mem.h"
#include "loop/loop_impl.h"

struct mk_signal {
    uv_signal_t uv;
    void (*fn)(void *arg, int signum);
    void *arg;
};

static void on_signal(uv_signal_t *uv, int signum)
{
    struct mk_signal *signal = uv->data;
    signal->fn(signal->arg, signum);
}

static void on_closed(uv_handle_t *handle)
{
    mk_free(handle->data);
}

struct mk_signal *mk_signal_start(struct mk_loop *loop, int signum,
                                  void (*fn)(void *arg, int signum), void *arg,
                                  struct mk_error *err)
{
    struct mk_signal *signal = mk_calloc(sizeof *signal);
    if (!signal) {
        mk_error_nomem(err, "signal");
        return NULL;
    }
    signal->fn = fn;
    signal->arg = arg;
    signal->uv.data = signal;
    uv_signal_init(&loop->uv, &signal->uv);
    int result = uv_signal_start(&signal->uv, on_signal, signum);
    if (result != 0) {
        uv_close((uv_handle_t *)&signal->uv, on_closed);
        mk_error_errno(err, -result, "signal", "could not watch signal %d", signum);
        return NULL;
    }
    uv_unref((uv_handle_t *)&signal->uv);
    return signal;
}

void mk_signal_close(struct mk_signal *signal)
{
    if (signal)
        uv_close((uv_handle_t *)&signal->uv, on_closed);
}
