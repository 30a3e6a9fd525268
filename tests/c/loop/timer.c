#include "loop/timer.h"

#include <unistd.h>

#include "base/mem.h"
#include "loop/poll.h"
#include "support.h"

static void count(void *arg)
{
    ++*(int *)arg;
}

static void a_timer_goes_off_once(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    int fired = 0;
    struct mk_timer *timer = mk_timer_start(loop, 1, count, &fired, &err);
    while (mk_loop_run_once(loop) && !fired)
        continue;
    assert_int_equal(fired, 1);
    mk_timer_close(timer);
    assert_int_equal(mk_loop_free(loop), 0);
}

static void a_closed_timer_never_goes_off(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    int fired = 0;
    mk_timer_close(mk_timer_start(loop, 0, count, &fired, &err));
    mk_timer_close(NULL);
    while (mk_loop_run_once(loop))
        continue;
    assert_int_equal(fired, 0);
    mk_mem_fail_at(1);
    assert_null(mk_timer_start(loop, 1, count, &fired, &err));
    assert_int_equal(mk_loop_free(loop), 0);
}

static void never(void *arg, int events)
{
    (void)arg;
    (void)events;
}

/* libuv runs what is due and then waits for other events: whoever waits for the timer's effect
 * would wait with it. */
static void a_timer_that_is_overdue_ends_the_wait_of_the_loop(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    int fds[2], fired = 0;
    assert_int_equal(pipe(fds), 0);
    struct mk_poll *poll = mk_poll_new(loop, fds[0], never, NULL, &err);
    mk_poll_set(poll, MK_POLL_READ); /* nothing ever comes, and it keeps the loop waiting */
    struct mk_timer *timer = mk_timer_start(loop, 1, count, &fired, &err);
    usleep(5000);
    alarm(10);
    while (!fired)
        mk_loop_run_once(loop);
    alarm(0);
    mk_timer_close(timer);
    mk_poll_close(poll);
    assert_int_equal(mk_loop_free(loop), 0);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_goes_off_once),
        cmocka_unit_test(a_closed_timer_never_goes_off),
        cmocka_unit_test(a_timer_that_is_overdue_ends_the_wait_of_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
