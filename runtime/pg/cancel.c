/*
 * Cancel requests. PQcancel opens a connection of its own and blocks, so it runs on a thread; what
 * is cancelled then ends as it would by itself, with the server's error. A server that says
 * nothing more within GRACE_MS is given up by whoever asked. While a request is on its way the
 * connection must not be used for something else, for that is what it would hit.
 */
#include "pg/pg_impl.h"

#define GRACE_MS 5000

static int run_cancel(void *body)
{
    char text[256];
    return PQcancel(body, text, sizeof text) ? MK_OK : MK_EPG;
}

static void free_cancel(void *body)
{
    PQfreeCancel(body);
}

static void on_sent(struct mk_wait *wait, void *arg)
{
    (void)wait; /* a request that failed is what the grace period is for */
    struct mk__pg_cancel *cancel = arg;
    cancel->running = false;
    mk_thread_release(&cancel->call);
    cancel->on_sent(cancel->arg);
}

static void on_grace_over(void *arg)
{
    struct mk__pg_cancel *cancel = arg;
    cancel->on_ignored(cancel->arg);
}

bool mk__pg_cancel_start(struct mk__pg_cancel *cancel, struct mk_loop *loop, PGcancel *handle)
{
    struct mk_error err;
    cancel->call.thread = NULL;
    if (handle)
        cancel->grace = mk_timer_start(loop, GRACE_MS, on_grace_over, cancel, &err);
    if (cancel->grace)
        mk_thread_start(loop, &cancel->call, run_cancel, free_cancel, handle, &err);
    if (!cancel->call.thread) {
        PQfreeCancel(handle);
        mk__pg_cancel_end(cancel);
        return false;
    }
    cancel->running = true;
    cancel->call.wait.on_fire = on_sent;
    cancel->call.wait.arg = cancel;
    return true;
}

void mk__pg_cancel_abandon(struct mk__pg_cancel *cancel)
{
    if (cancel->running)
        mk_thread_abandon(&cancel->call);
}

void mk__pg_cancel_end(struct mk__pg_cancel *cancel)
{
    mk_timer_close(cancel->grace);
    cancel->grace = NULL;
}
