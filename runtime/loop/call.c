/*
 * Blocking calls off the loop: see call.h. A thread call's body is shared by two owners, the
 * loop's side and the thread; the last one to let go frees it. So a thread that was abandoned in
 * a DNS look-up can end whenever it likes, even while the process is leaving.
 */
#include "loop/call.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/thread.h"
#include "loop/loop_impl.h"

struct pool_call {
    uv_work_t work;
    struct mk_call *call;
    int status;
};

static void on_pool_work(uv_work_t *work)
{
    struct pool_call *self = work->data;
    self->status = self->call->run(self->call);
}

static void after_pool_work(uv_work_t *work, int status)
{
    (void)status; /* never cancelled */
    struct pool_call *self = work->data;
    struct mk_call *call = self->call;
    int result = self->status;
    mk_free(self);
    mk_wait_fire(&call->wait, result);
}

int mk_call_start(struct mk_loop *loop, struct mk_call *call)
{
    struct pool_call *self = mk_calloc(sizeof *self);
    if (!self)
        return mk_error_nomem(&call->err, "call");
    mk_wait_init(&call->wait, NULL);
    self->work.data = self;
    self->call = call;
    uv_queue_work(&loop->uv, &self->work, on_pool_work, after_pool_work);
    return MK_OK;
}

struct mk__thread {
    uv_async_t async;
    pthread_mutex_t mutex;
    int refs; /* under mutex; the loop's side and the thread have one each */
    int (*run)(void *body);
    void (*free_body)(void *body);
    void *body;
    int status;                  /* written by the thread before `returned` */
    bool returned;               /* under mutex */
    bool abandoned;              /* under mutex */
    struct mk_thread_call *call; /* loop thread only */
};

static atomic_int abandoned_threads;

int mk_threads_abandoned(void)
{
    return atomic_load(&abandoned_threads);
}

static void thread_unref(struct mk__thread *self)
{
    pthread_mutex_lock(&self->mutex);
    int refs = --self->refs;
    pthread_mutex_unlock(&self->mutex);
    if (refs > 0)
        return;
    self->free_body(self->body);
    pthread_mutex_destroy(&self->mutex);
    mk_free(self);
}

static void *thread_main(void *arg)
{
    struct mk__thread *self = arg;
    self->status = self->run(self->body);
    pthread_mutex_lock(&self->mutex);
    self->returned = true;
    bool abandoned = self->abandoned;
    if (!abandoned)
        uv_async_send(&self->async);
    pthread_mutex_unlock(&self->mutex);
    thread_unref(self);
    if (abandoned)
        atomic_fetch_sub(&abandoned_threads, 1);
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct mk__thread *self = handle->data;
    pthread_mutex_lock(&self->mutex); /* the thread has written its status before it held it */
    int status = self->abandoned ? MK_ECANCELED : self->status;
    pthread_mutex_unlock(&self->mutex);
    mk_wait_fire(&self->call->wait, status);
}

static void on_returned(uv_async_t *async)
{
    if (!uv_is_closing((uv_handle_t *)async))
        uv_close((uv_handle_t *)async, on_closed);
}

void mk_thread_abandon(struct mk_thread_call *call)
{
    struct mk__thread *self = call->thread;
    if (uv_is_closing((uv_handle_t *)&self->async))
        return; /* it has just returned */
    pthread_mutex_lock(&self->mutex);
    self->abandoned = true;
    if (!self->returned)
        atomic_fetch_add(&abandoned_threads, 1);
    pthread_mutex_unlock(&self->mutex);
    uv_close((uv_handle_t *)&self->async, on_closed);
}

int mk_thread_start(struct mk_loop *loop, struct mk_thread_call *call, int (*run)(void *body),
                    void (*free_body)(void *body), void *body, struct mk_error *err)
{
    struct mk__thread *self = mk_calloc(sizeof *self);
    if (!self)
        return mk_error_nomem(err, "thread");
    pthread_mutex_init(&self->mutex, NULL);
    self->refs = 2;
    self->run = run;
    self->free_body = free_body;
    self->body = body;
    self->call = call;
    call->thread = self;
    mk_wait_init(&call->wait, NULL);
    uv_async_init(&loop->uv, &self->async, on_returned);
    self->async.data = self;

    int result = mk_thread_create(NULL, true, thread_main, self);
    if (result != 0) {
        /* Ends like an abandoned call, so that there is one path: the wait fires with an error. */
        self->refs = 1;
        self->abandoned = true;
        uv_close((uv_handle_t *)&self->async, on_closed);
        return mk_error_errno(err, result, "thread", "could not start a thread");
    }
    return MK_OK;
}

void mk_thread_release(struct mk_thread_call *call)
{
    thread_unref(call->thread);
}
