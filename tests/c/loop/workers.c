#include "loop/workers.h"

#include <pthread.h>
#include <unistd.h>

#include "loop/call.h"
#include "support.h"

struct counting_job {
    struct mk_job job;
    pthread_t ran_on;
    int *done;
    struct mk_loop *loop;
    int again;
};

static void run(struct mk_job *job)
{
    ((struct counting_job *)(void *)job)->ran_on = pthread_self();
}

static void done(struct mk_job *job)
{
    struct counting_job *self = (struct counting_job *)(void *)job;
    ++*self->done;
    if (self->again-- > 0)
        mk_workers_submit(self->loop, job);
}

static void every_job_runs_off_the_loop_and_is_done_on_it(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(3, &err);
    static struct counting_job jobs[500];
    int finished = 0;
    for (int i = 0; i < 500; i++) {
        jobs[i] = (struct counting_job){.job = {run, done, NULL}, .done = &finished};
        mk_workers_submit(loop, &jobs[i].job);
    }
    while (mk_loop_run_once(loop))
        continue;
    assert_int_equal(finished, 500);
    for (int i = 0; i < 500; i++)
        assert_false(pthread_equal(jobs[i].ran_on, pthread_self()));
    assert_int_equal(mk_loop_free(loop), 0);
}

static void a_job_may_be_submitted_again_from_its_done(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    int finished = 0;
    struct counting_job job = {
        .job = {run, done, NULL}, .done = &finished, .loop = loop, .again = 99};
    mk_workers_submit(loop, &job.job);
    while (mk_loop_run_once(loop))
        continue;
    assert_int_equal(finished, 100);
    assert_int_equal(mk_loop_free(loop), 0);
}

static void run_long(struct mk_job *job)
{
    (void)job;
    usleep(300000);
}

static int run_short(struct mk_call *call)
{
    (void)call;
    return MK_OK;
}

/* Trap 15: CPU work has its own threads, so file calls and DNS go on while all of those are busy.
 */
static void busy_workers_do_not_hold_file_calls(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    static struct counting_job jobs[4];
    int finished = 0;
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct counting_job){.job = {run_long, done, NULL}, .done = &finished};
        mk_workers_submit(loop, &jobs[i].job);
    }
    struct mk_call call = {.run = run_short};
    assert_int_equal(mk_call_start(loop, &call), MK_OK);
    while (call.wait.state == MK_WAIT_ARMED)
        mk_loop_run_once(loop);
    assert_true(finished < 4);
    while (mk_loop_run_once(loop))
        continue;
    assert_int_equal(finished, 4);
    assert_int_equal(mk_loop_free(loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_job_runs_off_the_loop_and_is_done_on_it),
        cmocka_unit_test(a_job_may_be_submitted_again_from_its_done),
        cmocka_unit_test(busy_workers_do_not_hold_file_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
