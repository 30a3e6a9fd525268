/*
 * The worker pool. Two lists under one mutex: jobs to run, taken in order by whichever thread is
 * free, and jobs that have run, drained by the loop thread. uv_async_send coalesces, so the
 * callback drains the whole list. While jobs are out the async handle keeps the loop alive. Whoever
 * wakes another thread has let go of the mutex before: the other one would run into it at once, and
 * cost two more changes of threads.
 */
#include "loop/workers.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/thread.h"
#include "loop/loop_impl.h"

struct job_list {
    struct mk_job *first, **last;
};

struct mk_workers {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct job_list todo;     /* under mutex */
    struct job_list finished; /* under mutex */
    bool stopping;            /* under mutex */
    uv_async_t async;
    int outstanding; /* loop thread: submitted, not yet done */
    int n_threads;
    pthread_t threads[];
};

static void list_init(struct job_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void list_append(struct job_list *list, struct mk_job *job)
{
    job->next = NULL;
    *list->last = job;
    list->last = &job->next;
}

static struct mk_job *list_take(struct job_list *list)
{
    struct mk_job *job = list->first;
    if (job) {
        list->first = job->next;
        if (!list->first)
            list->last = &list->first;
    }
    return job;
}

static void *worker_main(void *arg)
{
    struct mk_workers *workers = arg;
    pthread_mutex_lock(&workers->mutex);
    for (;;) {
        struct mk_job *job = list_take(&workers->todo);
        if (!job) {
            if (workers->stopping)
                break;
            pthread_cond_wait(&workers->wake, &workers->mutex);
            continue;
        }
        pthread_mutex_unlock(&workers->mutex);
        job->run(job);
        pthread_mutex_lock(&workers->mutex);
        list_append(&workers->finished, job);
        pthread_mutex_unlock(&workers->mutex);
        uv_async_send(&workers->async);
        pthread_mutex_lock(&workers->mutex);
    }
    pthread_mutex_unlock(&workers->mutex);
    return NULL;
}

static void on_async(uv_async_t *async)
{
    struct mk_workers *workers = async->data;
    pthread_mutex_lock(&workers->mutex);
    struct mk_job *job = workers->finished.first;
    list_init(&workers->finished);
    pthread_mutex_unlock(&workers->mutex);
    while (job) {
        struct mk_job *next = job->next;
        if (--workers->outstanding == 0)
            uv_unref((uv_handle_t *)&workers->async);
        job->done(job);
        job = next;
    }
}

void mk_workers_submit(struct mk_loop *loop, struct mk_job *job)
{
    struct mk_workers *workers = loop->workers;
    if (workers->outstanding++ == 0)
        uv_ref((uv_handle_t *)&workers->async);
    pthread_mutex_lock(&workers->mutex);
    list_append(&workers->todo, job);
    pthread_mutex_unlock(&workers->mutex);
    pthread_cond_signal(&workers->wake);
}

struct mk_workers *mk__workers_new(struct mk_loop *loop, int threads, struct mk_error *err)
{
    struct mk_workers *workers = mk_calloc(sizeof *workers + threads * sizeof(pthread_t));
    if (!workers) {
        mk_error_nomem(err, "workers");
        return NULL;
    }
    pthread_mutex_init(&workers->mutex, NULL);
    pthread_cond_init(&workers->wake, NULL);
    list_init(&workers->todo);
    list_init(&workers->finished);
    uv_async_init(&loop->uv, &workers->async, on_async);
    workers->async.data = workers;
    uv_unref((uv_handle_t *)&workers->async);
    while (workers->n_threads < threads) {
        int result =
            mk_thread_create(&workers->threads[workers->n_threads], false, worker_main, workers);
        if (result != 0) {
            mk_error_errno(err, result, "workers", "could not start a worker thread");
            mk__workers_stop(workers);
            uv_run(&loop->uv, UV_RUN_DEFAULT);
            mk__workers_free(workers);
            return NULL;
        }
        workers->n_threads++;
    }
    return workers;
}

void mk__workers_stop(struct mk_workers *workers)
{
    pthread_mutex_lock(&workers->mutex);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->wake);
    pthread_mutex_unlock(&workers->mutex);
    for (int i = 0; i < workers->n_threads; i++)
        pthread_join(workers->threads[i], NULL);
    uv_close((uv_handle_t *)&workers->async, NULL);
}

void mk__workers_free(struct mk_workers *workers)
{
    pthread_cond_destroy(&workers->wake);
    pthread_mutex_destroy(&workers->mutex);
    mk_free(workers);
}
