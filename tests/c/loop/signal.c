#include "loop/signal.h"

#include <signal.h>
#include <unistd.h>

#include "loop/timer.h"
#include "support.h"

static int received;

static void on_signal(void *arg, int signum)
{
    (void)arg;
    received = signum;
}

static void on_timer(void *arg)
{
    (void)arg;
}

static void a_signal_comes_on_the_loop_and_does_not_keep_it_alive(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    struct mk_signal *sig = mk_signal_start(loop, SIGUSR1, on_signal, NULL, &err);
    assert_non_null(sig);
    assert_false(mk_loop_run_once(loop)); /* nothing that could keep it */
    struct mk_timer *timer = mk_timer_start(loop, 60000, on_timer, NULL, &err);
    kill(getpid(), SIGUSR1);
    while (!received)
        mk_loop_run_once(loop);
    mk_timer_close(timer);
    assert_int_equal(received, SIGUSR1);
    mk_signal_close(sig);
    assert_int_equal(mk_loop_free(loop), 0);
}

static void a_signal_that_cannot_be_caught_is_an_error(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(0, &err);
    assert_null(mk_signal_start(loop, SIGKILL, on_signal, NULL, &err));
    assert_non_null(strstr(err.message, "could not watch signal 9"));
    assert_int_equal(mk_loop_free(loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_comes_on_the_loop_and_does_not_keep_it_alive),
        cmocka_unit_test(a_signal_that_cannot_be_caught_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
