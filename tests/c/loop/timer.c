#include "loop/timer.h"

#include "base/mem.h"
#include "loop/signal.h"
#include "support.h"

#include <signal.h>

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

static void a_handle_that_nobody_closed_is_counted_at_the_end(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    int fired = 0;
    struct mk_timer *timer = mk_timer_start(loop, 60000, count, &fired, &err);
    assert_int_equal(mk_loop_free(loop), 1);
    mk_free(timer); /* what its close would have done */
}

static void on_signal(void *arg, int signum)
{
    *(int *)arg = signum;
}

static void a_signal_arrives_on_the_loop_and_does_not_keep_it_alive(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    int got = 0;
    struct mk_signal *watched = mk_signal_start(loop, SIGUSR1, on_signal, &got, &err);
    assert_false(mk_loop_run_once(loop));
    int fired = 0;
    struct mk_timer *timer = mk_timer_start(loop, 1000, count, &fired, &err);
    raise(SIGUSR1);
    while (!got && mk_loop_run_once(loop))
        continue;
    mk_timer_close(timer);
    assert_int_equal(got, SIGUSR1);
    mk_signal_close(watched);
    assert_int_equal(mk_loop_free(loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_goes_off_once),
        cmocka_unit_test(a_closed_timer_never_goes_off),
        cmocka_unit_test(a_handle_that_nobody_closed_is_counted_at_the_end),
        cmocka_unit_test(a_signal_arrives_on_the_loop_and_does_not_keep_it_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
