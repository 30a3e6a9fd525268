#include "base/thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support.h"

static void *look_at_mask(void *arg)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    atomic_store((atomic_int *)arg, sigismember(&mask, SIGTERM) ? 1 : 2);
    return NULL;
}

static void a_thread_takes_no_signals_and_its_maker_still_does(void **state)
{
    (void)state;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    atomic_int blocked = 0;
    pthread_t thread;
    assert_int_equal(mk_thread_create(&thread, false, look_at_mask, &blocked), 0);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&blocked), 1);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
}

static void a_detached_thread_runs_by_itself(void **state)
{
    (void)state;
    static atomic_int blocked;
    assert_int_equal(mk_thread_create(NULL, true, look_at_mask, &blocked), 0);
    for (int i = 0; i < 5000 && atomic_load(&blocked) == 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&blocked), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_takes_no_signals_and_its_maker_still_does),
        cmocka_unit_test(a_detached_thread_runs_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
