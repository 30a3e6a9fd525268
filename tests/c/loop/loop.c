/* The loop as a whole: its end, and memory running out in each of its parts. */
#include "loop/loop.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/call.h"
#include "loop/iothread.h"
#include "loop/pipe.h"
#include "loop/poll.h"
#include "loop/process.h"
#include "loop/signal.h"
#include "loop/timer.h"
#include "loop/workers.h"
#include "support.h"

static char logged[256];

static void keep_log(enum mk_log_level level, const char *text, void *arg)
{
    (void)level;
    (void)arg;
    snprintf(logged, sizeof logged, "%s", text);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void a_handle_that_was_forgotten_is_counted_and_named(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    struct mk_timer *timer = mk_timer_start(loop, 1000000, nothing, NULL, &err);
    mk_log_set(keep_log, NULL);
    assert_int_equal(mk_loop_free(loop), 1);
    mk_log_set(NULL, NULL);
    assert_string_equal(logged, "a timer handle was still open at exit");
    mk_free(timer); /* its owner's mistake was to keep it */
}

struct slow_job {
    struct mk_job job;
    int done;
};

static void run_slow(struct mk_job *job)
{
    (void)job;
    usleep(50000);
}

static void slow_done(struct mk_job *job)
{
    ((struct slow_job *)(void *)job)->done++;
}

static int run_call(struct mk_call *call)
{
    (void)call;
    usleep(50000);
    return MK_OK;
}

/* What has been begun ends before the loop does, and calls nobody after that. */
static void an_empty_run_means_that_everything_is_over(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(2, &err);
    struct slow_job jobs[5] = {0};
    struct mk_call call = {.run = run_call};
    for (int i = 0; i < 5; i++) {
        jobs[i].job.run = run_slow;
        jobs[i].job.done = slow_done;
        mk_workers_submit(loop, &jobs[i].job);
    }
    assert_int_equal(mk_call_start(loop, &call), MK_OK);
    while (mk_loop_run_once(loop))
        continue;
    for (int i = 0; i < 5; i++)
        assert_int_equal(jobs[i].done, 1);
    assert_int_equal(call.wait.state, MK_WAIT_FIRED);
    assert_int_equal(mk_loop_free(loop), 0);
}

/* ---- memory: each on a loop of its own ------------------------------------------------------- */

static int use_loop(struct mk_error *err)
{
    struct mk_loop *loop = mk_loop_new(2, err);
    if (!loop)
        return err->status;
    return mk_loop_free(loop) == 0 ? MK_OK : MK_ESYS;
}

/* Runs `begin` on a loop that was made before memory runs out, until nothing is left to do. */
static int on_loop(struct mk_error *err, int (*begin)(struct mk_loop *loop, struct mk_error *err))
{
    int64_t countdown = mk_mem_fail_at(0);
    struct mk_loop *loop = mk_loop_new(1, err);
    mk_mem_fail_at(countdown);
    int status = begin(loop, err);
    while (mk_loop_run_once(loop))
        continue;
    return mk_loop_free(loop) == 0 ? status : MK_ESYS;
}

static int begin_timer(struct mk_loop *loop, struct mk_error *err)
{
    struct mk_timer *timer = mk_timer_start(loop, 1, nothing, NULL, err);
    mk_timer_close(timer);
    return timer ? MK_OK : err->status;
}

static void on_signal(void *arg, int signum)
{
    (void)arg;
    (void)signum;
}

static int begin_signal(struct mk_loop *loop, struct mk_error *err)
{
    struct mk_signal *sig = mk_signal_start(loop, SIGUSR2, on_signal, NULL, err);
    mk_signal_close(sig);
    return sig ? MK_OK : err->status;
}

static void on_bytes(void *arg, const char *bytes, size_t len)
{
    struct mk_reader **reader = arg;
    (void)len;
    if (bytes)
        return;
    mk_reader_close(*reader);
    *reader = NULL;
}

static int begin_pipe(struct mk_loop *loop, struct mk_error *err)
{
    static struct mk_reader *reader;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return MK_ESYS;
    reader = mk_reader_new(loop, fds[0], on_bytes, &reader, err);
    struct mk_writer *writer = mk_writer_new(loop, fds[1], nothing, NULL, err);
    bool sent = writer && mk_writer_send(writer, "x", 1, true);
    if (!writer)
        close(fds[1]);
    mk_writer_close(writer);
    return reader && writer ? (sent ? MK_OK : MK_ENOMEM) : err->status;
}

static void on_ready(void *arg, int events)
{
    (void)arg;
    (void)events;
}

static int begin_poll(struct mk_loop *loop, struct mk_error *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return MK_ESYS;
    struct mk_poll *poll = mk_poll_new(loop, fds[0], on_ready, NULL, err);
    mk_poll_close(poll);
    mk_loop_poll(loop);
    close(fds[0]);
    close(fds[1]);
    return poll ? MK_OK : err->status;
}

static void run_iothread(struct mk_iothread *thread, void *body)
{
    (void)body;
    mk_iothread_post(thread);
}

static int begin_iothread(struct mk_loop *loop, struct mk_error *err)
{
    static const struct mk_iothread_type type = {run_iothread, nothing, nothing};
    return mk_iothread_start(loop, &type, NULL, err) ? MK_OK : err->status;
}

static int run_body(void *body)
{
    (void)body;
    return MK_OK;
}

static int begin_thread(struct mk_loop *loop, struct mk_error *err)
{
    struct mk_thread_call call = {0};
    int status = mk_thread_start(loop, &call, run_body, nothing, NULL, err);
    if (!call.thread)
        return status;
    while (call.wait.state == MK_WAIT_ARMED)
        mk_loop_run_once(loop);
    mk_thread_release(&call);
    return status;
}

static void on_exit_of(void *arg)
{
    *(bool *)arg = true;
}

static int begin_process(struct mk_loop *loop, struct mk_error *err)
{
    static const char *const argv[] = {"true", NULL};
    struct mk_process_spec spec = {
        .argv = argv, .in = MK_STDIO_PIPE, .out = MK_STDIO_PIPE, .fd3 = -1};
    bool over = false;
    struct mk_process *process = mk_process_spawn(loop, &spec, on_exit_of, &over, err);
    if (!process)
        return err->status;
    while (!over)
        mk_loop_run_once(loop);
    int status = mk_process_verdict(process, err);
    mk_process_free(process);
    return status;
}

#define ON_LOOP(name)                                                                              \
    static int use_##name(struct mk_error *err)                                                    \
    {                                                                                              \
        return on_loop(err, begin_##name);                                                         \
    }
ON_LOOP(timer)
ON_LOOP(signal)
ON_LOOP(pipe)
ON_LOOP(poll)
ON_LOOP(iothread)
ON_LOOP(thread)
ON_LOOP(process)

static void an_allocation_that_fails_anywhere_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    sweep_allocations("a loop", use_loop);
    sweep_allocations("a timer", use_timer);
    sweep_allocations("a signal", use_signal);
    sweep_allocations("a pipe", use_pipe);
    sweep_allocations("a poll", use_poll);
    sweep_allocations("an I/O thread", use_iothread);
    sweep_allocations("a thread", use_thread);
    sweep_allocations("a process", use_process);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handle_that_was_forgotten_is_counted_and_named),
        cmocka_unit_test(an_empty_run_means_that_everything_is_over),
        cmocka_unit_test(an_allocation_that_fails_anywhere_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
