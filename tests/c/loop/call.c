#include "loop/call.h"

#include <unistd.h>

#include "base/mem.h"
#include "support.h"

struct slow_body {
    int run, freed_marker;
    int *freed;
    int sleep_ms;
};

static int run_slow(void *arg)
{
    struct slow_body *body = arg;
    usleep((useconds_t)body->sleep_ms * 1000);
    body->run = 1;
    return MK_EIO;
}

static void free_slow(void *arg)
{
    struct slow_body *body = arg;
    __atomic_store_n(body->freed, 1, __ATOMIC_SEQ_CST);
    mk_free(body);
}

static struct slow_body *make_body(int *freed, int sleep_ms)
{
    struct slow_body *body = mk_calloc(sizeof *body);
    body->freed = freed;
    body->sleep_ms = sleep_ms;
    return body;
}

static void a_thread_call_fires_with_what_it_returned(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    struct mk_thread_call call = {0};
    int freed = 0;
    assert_ok(mk_thread_start(loop, &call, run_slow, free_slow, make_body(&freed, 5), &err), err);
    while (mk_loop_run_once(loop))
        continue;
    assert_int_equal(call.wait.state, MK_WAIT_FIRED);
    assert_int_equal(call.wait.status, MK_EIO);
    mk_thread_release(&call);
    assert_int_equal(mk_loop_free(loop), 0);
    for (int i = 0; i < 1000 && !__atomic_load_n(&freed, __ATOMIC_SEQ_CST); i++)
        usleep(1000);
    assert_int_equal(freed, 1);
}

static void an_abandoned_thread_does_not_hold_the_loop(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    struct mk_thread_call call = {0};
    int freed = 0;
    assert_ok(mk_thread_start(loop, &call, run_slow, free_slow, make_body(&freed, 300), &err), err);
    mk_thread_abandon(&call);
    while (mk_loop_run_once(loop))
        continue;
    assert_int_equal(call.wait.status, MK_ECANCELED);
    assert_int_equal(freed, 0);
    assert_int_equal(mk_threads_abandoned(), 1);
    mk_thread_release(&call);
    assert_int_equal(mk_loop_free(loop), 0);
    for (int i = 0; i < 3000 && mk_threads_abandoned() > 0; i++)
        usleep(1000);
    assert_int_equal(mk_threads_abandoned(), 0);
    assert_int_equal(freed, 1);
}

static int run_pool(struct mk_call *call)
{
    return mk_error_set(&call->err, MK_ENOENT, "test", "from the pool");
}

static void a_pool_call_fires_with_its_error(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    struct mk_call call = {.run = run_pool};
    assert_int_equal(mk_call_start(loop, &call), MK_OK);
    while (mk_loop_run_once(loop))
        continue;
    assert_int_equal(call.wait.status, MK_ENOENT);
    assert_string_equal(call.err.message, "from the pool");
    mk_mem_fail_at(1);
    assert_int_equal(mk_call_start(loop, &call), MK_ENOMEM);
    assert_int_equal(mk_loop_free(loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_call_fires_with_what_it_returned),
        cmocka_unit_test(an_abandoned_thread_does_not_hold_the_loop),
        cmocka_unit_test(a_pool_call_fires_with_its_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
