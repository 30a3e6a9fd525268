#include "loop/iothread.h"

#include <pthread.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/poll.h"
#include "support.h"

struct body {
    pthread_mutex_t mutex;
    int asked, answered; /* under mutex */
    bool stop;           /* under mutex */
    struct mk_iothread *thread;
    int posts, ends;
    int pipe_fd, ready;
};

static void ping(struct mk_iothread *thread, void *arg)
{
    struct body *body = arg;
    for (;;) {
        pthread_mutex_lock(&body->mutex);
        bool stop = body->stop, work = !stop && body->asked > body->answered;
        if (work)
            body->answered++;
        pthread_mutex_unlock(&body->mutex);
        if (stop)
            return;
        if (work)
            mk_iothread_post(thread);
        else
            mk_iothread_wait(thread, -1, 0);
    }
}

/* Asks again after each answer, a thousand times. */
static void on_post(void *arg)
{
    struct body *body = arg;
    body->posts++;
    pthread_mutex_lock(&body->mutex);
    if (body->asked == body->answered) {
        body->stop = body->asked == 1000;
        body->asked++;
    }
    pthread_mutex_unlock(&body->mutex);
    mk_iothread_wake(body->thread);
}

static void on_end(void *arg)
{
    ((struct body *)arg)->ends++;
}

static void no_wake_and_no_post_is_lost(void **state)
{
    (void)state;
    static const struct mk_iothread_type type = {ping, on_post, on_end};
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(0, &err);
    struct body body = {.mutex = PTHREAD_MUTEX_INITIALIZER, .asked = 1};
    body.thread = mk_iothread_start(loop, &type, &body, &err);
    assert_non_null(body.thread);
    while (mk_loop_run_once(loop))
        continue;
    assert_int_equal(body.answered, 1000);
    assert_int_equal(body.ends, 1);
    assert_int_equal(mk_loop_free(loop), 0);
}

static void wait_for_pipe(struct mk_iothread *thread, void *arg)
{
    struct body *body = arg;
    while (!body->ready) /* a wake without a reason is allowed */
        body->ready = mk_iothread_wait(thread, body->pipe_fd, MK_POLL_READ);
}

static void no_post(void *arg)
{
    (void)arg;
}

static void a_descriptor_and_a_bell_are_waited_for_at_once(void **state)
{
    (void)state;
    static const struct mk_iothread_type type = {wait_for_pipe, no_post, on_end};
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(0, &err);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct body body = {.pipe_fd = fds[0]};
    body.thread = mk_iothread_start(loop, &type, &body, &err);
    mk_iothread_wake(body.thread);
    assert_int_equal(write(fds[1], "x", 1), 1);
    while (mk_loop_run_once(loop))
        continue;
    assert_int_equal(body.ready, MK_POLL_READ);
    assert_int_equal(body.ends, 1);
    assert_int_equal(mk_loop_free(loop), 0);
    close(fds[0]);
    close(fds[1]);
}

static void one_that_cannot_start_calls_nothing(void **state)
{
    (void)state;
    static const struct mk_iothread_type type = {ping, on_post, on_end};
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(0, &err);
    struct body body = {.asked = 0};
    mk_mem_fail_at(1);
    assert_null(mk_iothread_start(loop, &type, &body, &err));
    mk_mem_fail_at(0);
    assert_int_equal(err.status, MK_ENOMEM);
    assert_int_equal(body.ends, 0);
    assert_int_equal(mk_loop_free(loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_wake_and_no_post_is_lost),
        cmocka_unit_test(a_descriptor_and_a_bell_are_waited_for_at_once),
        cmocka_unit_test(one_that_cannot_start_calls_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
