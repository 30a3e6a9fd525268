#include "loop/process.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "support.h"

static void on_exit_count(void *arg)
{
    ++*(int *)arg;
}

struct run {
    struct mk_loop *loop;
    struct mk_process *process;
    int exits;
    struct mk_error err;
};

static void start(struct run *run, const char *const *argv, const struct mk_process_spec *base)
{
    struct mk_process_spec spec = base ? *base : (struct mk_process_spec){.fd3 = -1};
    spec.argv = argv;
    run->exits = 0;
    run->loop = mk_loop_new(1, &run->err);
    run->process = mk_process_spawn(run->loop, &spec, on_exit_count, &run->exits, &run->err);
}

static void finish(struct run *run)
{
    while (run->process && !run->exits && mk_loop_run_once(run->loop))
        continue;
}

static void end(struct run *run)
{
    mk_process_free(run->process);
    assert_int_equal(mk_loop_free(run->loop), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
}

static void a_good_exit_is_a_good_verdict(void **state)
{
    (void)state;
    struct run run;
    start(&run, (const char *const[]){"true", NULL}, NULL);
    finish(&run);
    assert_int_equal(run.exits, 1);
    assert_ok(mk_process_verdict(run.process, &run.err), run.err);
    end(&run);
}

static void a_failure_tells_code_and_last_words(void **state)
{
    (void)state;
    struct run run;
    start(&run, (const char *const[]){"sh", "-c", "echo why >&2; exit 3", NULL}, NULL);
    finish(&run);
    assert_int_equal(mk_process_verdict(run.process, &run.err), MK_ECHILD);
    assert_string_equal(run.err.message, "sh failed with exit code 3");
    assert_string_equal(run.err.detail, "why");
    end(&run);
}

static void a_signal_is_told_by_number_and_name(void **state)
{
    (void)state;
    struct run run;
    start(&run, (const char *const[]){"sleep", "60", NULL}, NULL);
    mk_process_kill(run.process, SIGKILL);
    finish(&run);
    assert_int_equal(mk_process_exit_code(run.process), 128 + SIGKILL);
    assert_int_equal(mk_process_verdict(run.process, &run.err), MK_ECHILD);
    assert_non_null(strstr(run.err.message, "signal 9 (Killed)"));
    mk_process_kill(run.process, SIGKILL); /* nobody to hit any more */
    end(&run);
}

static void a_program_that_is_not_there_is_an_error_at_once(void **state)
{
    (void)state;
    struct run run;
    start(&run, (const char *const[]){"no-such-program-anywhere", NULL}, NULL);
    assert_null(run.process);
    assert_int_equal(run.err.status, MK_ENOENT);
    assert_non_null(strstr(run.err.message, "not in PATH"));
    end(&run);
    start(&run, (const char *const[]){"/etc/passwd", NULL}, NULL);
    assert_null(run.process);
    assert_int_equal(run.err.status, MK_EACCES);
    end(&run);
}

static void of_a_long_stderr_the_beginning_and_the_end_are_kept(void **state)
{
    (void)state;
    struct run run;
    start(&run,
          (const char *const[]){"sh", "-c", "echo first >&2; seq 1 20000 >&2; echo last >&2", NULL},
          NULL);
    finish(&run);
    const char *text = mk_process_stderr(run.process);
    assert_non_null(strstr(text, "first\n"));
    assert_non_null(strstr(text, "[...]"));
    assert_non_null(strstr(text, "20000\nlast\n"));
    assert_true(strlen(text) < MK_PROCESS_STDERR_BYTES + 64);
    end(&run);
}

static void a_grandchild_that_keeps_stderr_open_is_not_waited_for_long(void **state)
{
    (void)state;
    struct run run;
    int64_t began = mk_monotonic_ms();
    start(&run, (const char *const[]){"sh", "-c", "sleep 30 & exit 0", NULL}, NULL);
    finish(&run);
    assert_int_equal(run.exits, 1);
    assert_true(mk_monotonic_ms() - began < 20000);
    assert_ok(mk_process_verdict(run.process, &run.err), run.err);
    end(&run);
}

static void the_environment_is_the_one_that_was_given(void **state)
{
    (void)state;
    struct run run;
    struct mk_process_spec spec = {.env = (const char *const[]){"ONLY=this", NULL}, .fd3 = -1};
    start(&run, (const char *const[]){"sh", "-c", "[ \"$ONLY\" = this ] && [ -z \"$HOME\" ]", NULL},
          &spec);
    finish(&run);
    assert_ok(mk_process_verdict(run.process, &run.err), run.err);
    end(&run);
}

static void children_get_standard_signals_and_no_descriptors_of_ours(void **state)
{
    (void)state;
    struct run run;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(dup2(1, 77), 77); /* without close-on-exec */
    start(&run,
          (const char *const[]){"sh", "-c",
                                "[ ! -e /proc/$$/fd/77 ] && "
                                "grep -q 'SigIgn:.0000000000000000' /proc/$$/status",
                                NULL},
          NULL);
    finish(&run);
    assert_ok(mk_process_verdict(run.process, &run.err), run.err);
    close(77);
    end(&run);
}

/* A child of a child: when the one in the middle is killed, ours must die with it. */
static void a_child_dies_with_its_parent(void **state)
{
    (void)state;
    int report[2];
    assert_int_equal(pipe(report), 0);
    pid_t middle = fork();
    if (middle == 0) {
        struct run run;
        start(&run, (const char *const[]){"sleep", "60", NULL}, NULL);
        pid_t pid = mk_process_pid(run.process);
        if (write(report[1], &pid, sizeof pid) != sizeof pid)
            _exit(1);
        for (;;)
            mk_loop_run_once(run.loop);
    }
    pid_t pid = 0;
    assert_int_equal(read(report[0], &pid, sizeof pid), sizeof pid);
    kill(middle, SIGKILL);
    waitpid(middle, NULL, 0);
    int gone = 0;
    for (int i = 0; i < 5000 && !gone; i++) {
        char path[64], line[256] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "r");
        gone = !file || !fgets(line, sizeof line, file) || strstr(line, ") Z");
        if (file)
            fclose(file);
        usleep(1000);
    }
    assert_true(gone);
    close(report[0]);
    close(report[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_exit_is_a_good_verdict),
        cmocka_unit_test(a_failure_tells_code_and_last_words),
        cmocka_unit_test(a_signal_is_told_by_number_and_name),
        cmocka_unit_test(a_program_that_is_not_there_is_an_error_at_once),
        cmocka_unit_test(of_a_long_stderr_the_beginning_and_the_end_are_kept),
        cmocka_unit_test(a_grandchild_that_keeps_stderr_open_is_not_waited_for_long),
        cmocka_unit_test(the_environment_is_the_one_that_was_given),
        cmocka_unit_test(children_get_standard_signals_and_no_descriptors_of_ours),
        cmocka_unit_test(a_child_dies_with_its_parent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
