/*
 * The parent of a run. It executes no user code, so nothing a recipe does can keep it from
 * noticing the end: it starts the worker in a session of its own, shows its events, forwards
 * signals, enforces the deadline that the worker announces, reaps whatever the worker leaves
 * (it is a child subreaper), turns the outcome into an exit code, and lets people be told of it
 * (alerts.h).
 *
 * How much is shown, and where the run's log goes, the worker tells with its first event
 * ("settings"), for it reads the command line. What it asks ("prompt"), the supervisor asks at the
 * terminal, which only it has, and sends the answer back over the same socket.
 *
 * A stop has two steps: SIGTERM (SIGALRM at the deadline), which lets closers run (a scratch server
 * is removed, a database that was being restored is dropped), then SIGKILL after GRACE_MS.
 */
#include "host/supervisor.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "host/alerts.h"
#include "host/lines.h"
#include "host/report.h"
#include "loop/loop.h"
#include "loop/pipe.h"
#include "loop/poll.h"
#include "loop/process.h"
#include "loop/signal.h"
#include "loop/timer.h"

#define GRACE_MS      15000
#define REAP_MS       5000
#define REPEAT_MS     1000
#define ALERTS_MS     180000
#define MAX_INHERITED 64

struct supervisor {
    const struct mk_supervisor_options *options;
    struct mk_report report;
    struct mk_loop *loop;
    struct mk_process *worker;
    struct mk_reader *reader;
    struct mk_timer *deadline, *grace, *ending;
    struct mk_poll *answer; /* stdin, while a question is open */
    struct mk_signal *signals[3];
    int signum; /* the first one that was received */
    int64_t signaled_at;
    bool past_deadline;
    bool hung; /* it did not end after its last result */
    bool worker_over, events_over;
    bool past_run;                  /* only messages are still on their way */
    pid_t inherited[MAX_INHERITED]; /* children from before the start */
    int n_inherited, n_orphans;
    struct mk_lines lines;
    struct mk_alerts *alerts;
};

static void on_grace_over(void *arg)
{
    mk_process_kill(((struct supervisor *)arg)->worker, SIGKILL);
}

static void stop_worker(struct supervisor *self, int signum)
{
    if (self->grace) {
        mk_process_kill(self->worker, SIGKILL);
        return;
    }
    mk_process_kill(self->worker, signum);
    self->grace = mk_timer_start(self->loop, GRACE_MS, on_grace_over, self, NULL);
}

static void on_signal(void *arg, int signum)
{
    struct supervisor *self = arg;
    /* A hang-up comes from the kernel and from the shell, systemd may add a SIGHUP: that is one
     * request. Only somebody who repeats it after a while has lost patience. */
    if (self->signaled_at && mk_monotonic_ms() - self->signaled_at < REPEAT_MS)
        return;
    if (self->past_run) {
        self->signaled_at = mk_monotonic_ms();
        mk_alerts_hurry(self->alerts);
        return;
    }
    if (!self->signum) {
        self->signum = signum;
        self->signaled_at = mk_monotonic_ms();
    }
    stop_worker(self, signum);
}

static void on_deadline(void *arg)
{
    struct supervisor *self = arg;
    self->past_deadline = true;
    stop_worker(self, SIGALRM);
}

/* Nothing but the worker's own end is left to come; a finalizer may keep it for ever. */
static void on_ending_over(void *arg)
{
    struct supervisor *self = arg;
    self->hung = true;
    mk_process_kill(self->worker, SIGKILL);
}

/* ---- questions: only the supervisor has the terminal ---------------------------------------- */

/* NULL: nobody can answer. */
static void reply(struct supervisor *self, const char *text)
{
    char clean[MK_UTF8_CLEAN_MAX(1024)];
    size_t len = text ? mk_utf8_clean(text, strlen(text), clean) : 0;
    json_t *answer =
        text ? json_pack("{s:s%}", "answer", clean, len) : json_pack("{s:n}", "answer");
    char *line = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
    if (!line || !self->reader || !mk_reader_reply(self->reader, line, strlen(line)) ||
        !mk_reader_reply(self->reader, "\n", 1))
        stop_worker(self, SIGTERM);
    free(line);
    json_decref(answer);
}

static void on_stdin(void *arg, int events)
{
    struct supervisor *self = arg;
    (void)events;
    char text[1024];
    ssize_t n = read(STDIN_FILENO, text, sizeof text - 1);
    mk_poll_close(self->answer);
    self->answer = NULL;
    text[n < 0 ? 0 : n] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    reply(self, n > 0 ? text : NULL);
}

static void ask(struct supervisor *self)
{
    struct mk_error err;
    if (!self->answer && isatty(STDIN_FILENO))
        self->answer = mk_poll_new(self->loop, STDIN_FILENO, on_stdin, self, &err);
    if (self->answer)
        mk_poll_set(self->answer, MK_POLL_READ);
    else
        reply(self, NULL);
}

/* ---- events --------------------------------------------------------------------------------- */

static void on_event(void *arg, const char *line, size_t len)
{
    struct supervisor *self = arg;
    json_t *event = mk_report_line(&self->report, line, len);
    const char *name = json_string_value(json_object_get(event, "event"));
    json_int_t deadline_ms = json_integer_value(json_object_get(event, "deadline_ms"));
    bool starts = name && strcmp(name, "start") == 0;
    bool ends = name && strcmp(name, "result") == 0;
    if (starts || ends) { /* each job has its own */
        mk_timer_close(self->deadline);
        self->deadline = NULL;
    }
    /* Not with a result: more jobs may follow, after a wait, or more backups to verify. */
    if (name && strcmp(name, "exit") == 0 && !self->ending)
        self->ending = mk_timer_start(self->loop, GRACE_MS, on_ending_over, self, NULL);
    if (starts && deadline_ms > 0)
        self->deadline = mk_timer_start(self->loop, deadline_ms, on_deadline, self, NULL);
    if (name && strcmp(name, "prompt") == 0)
        ask(self);
    const json_t *recipe = json_object_get(event, "alerts"); /* of the settings */
    if (recipe)
        mk_alerts_enable(self->alerts, json_string_value(recipe), json_object_get(event, "known"));
    const json_t *announce = json_object_get(event, "announce");
    if ((ends && !json_is_false(announce)) || (starts && json_is_true(announce)))
        mk_alerts_send(self->alerts, event);
    json_decref(event);
}

static void on_events(void *arg, const char *bytes, size_t len)
{
    struct supervisor *self = arg;
    if (!bytes) {
        self->events_over = true;
        mk_reader_close(self->reader);
        self->reader = NULL;
        return;
    }
    mk_lines_feed(&self->lines, bytes, len, on_event, self);
}

/* Of a child that tells people: its messages, nothing else. */
static void on_alert_line(void *arg, const char *line, size_t len)
{
    struct supervisor *self = arg;
    json_t *event = json_loadb(line, len, JSON_ALLOW_NUL, NULL);
    const char *name = json_string_value(json_object_get(event, "event"));
    if (name && strcmp(name, "log") == 0) /* what becomes of it is not what becomes of the run */
        json_decref(mk_report_line(&self->report, line, len));
    json_decref(event);
}

static void on_worker_exit(void *arg)
{
    struct supervisor *self = arg;
    self->worker_over = true;
}

static int start_worker(struct supervisor *self, struct mk_error *err)
{
    const struct mk_supervisor_options *options = self->options;
    const char **argv = mk_calloc(((size_t)options->argc + 3) * sizeof *argv);
    if (!argv)
        return mk_error_nomem(err, "run");
    argv[0] = "/proc/self/exe";
    argv[1] = "--worker";
    for (int i = 0; i < options->argc; i++)
        argv[i + 2] = options->argv[i];

    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        mk_free(argv);
        return mk_error_set(err, MK_ESYS, "run", "could not create the event socket");
    }
    struct mk_process_spec spec = {
        .argv = argv,
        .in = MK_STDIO_NULL,
        .out = MK_STDIO_INHERIT,
        .inherit_stderr = true,
        .new_session = true,
        .death_signal = SIGTERM, /* not SIGKILL: its closers have work to do */
        .fd3 = pair[1],
    };
    self->worker = mk_process_spawn(self->loop, &spec, on_worker_exit, self, err);
    close(pair[1]);
    mk_free(argv);
    if (!self->worker) {
        close(pair[0]);
        return err->status;
    }
    self->reader = mk_reader_new(self->loop, pair[0], on_events, self, err);
    return self->reader ? MK_OK : err->status;
}

/* ---- what the worker leaves ---------------------------------------------------------------- */

/* Calls fn with the pid of each child of this process: of each of its threads, for the kernel keeps
 * them by thread. (CONFIG_PROC_CHILDREN, which distributions set.) */
static void each_child(void (*fn)(struct supervisor *self, pid_t pid), struct supervisor *self)
{
    DIR *threads = opendir("/proc/self/task");
    if (!threads)
        return;
    for (struct dirent *entry; (entry = readdir(threads));) {
        char path[320];
        snprintf(path, sizeof path, "/proc/self/task/%s/children", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (!file)
            continue;
        char text[16];
        for (size_t len = 0; len + 1 < sizeof text;) {
            int c = getc(file);
            if (c >= '0' && c <= '9') {
                text[len++] = (char)c;
                continue;
            }
            text[len] = '\0';
            if (len > 0)
                fn(self, (pid_t)strtol(text, NULL, 10));
            len = 0;
            if (c == EOF)
                break;
        }
        fclose(file);
    }
    closedir(threads);
}

/* A shell that exec'ed us may have left us children of its own: those are not ours to end. */
static void remember_child(struct supervisor *self, pid_t pid)
{
    if (self->n_inherited < MAX_INHERITED)
        self->inherited[self->n_inherited++] = pid;
}

static void kill_orphan(struct supervisor *self, pid_t pid)
{
    for (int i = 0; i < self->n_inherited; i++)
        if (self->inherited[i] == pid)
            return;
    if (mk_alerts_has_child(self->alerts, pid))
        return;
    if (kill(pid, SIGKILL) == 0) /* not another user's: nothing can be done about that */
        self->n_orphans++;
    waitpid(pid, NULL, WNOHANG);
}

/* Ends what the worker has left. Returns how many there were. */
static int kill_orphans(struct supervisor *self)
{
    self->n_orphans = 0;
    each_child(kill_orphan, self);
    return self->n_orphans;
}

static void reap_orphans(struct supervisor *self)
{
    int64_t until = mk_monotonic_ms() + REAP_MS;
    while (kill_orphans(self) > 0 && mk_monotonic_ms() < until)
        usleep(5000);
}

/* ---- the outcome --------------------------------------------------------------------------- */

/* What only the supervisor can know of. */
static void fail(struct supervisor *self, const char *code, const char *message, const char *hint)
{
    json_t *event = mk_report_failure(&self->report, code, message, hint);
    if (event && self->alerts)
        mk_alerts_send(self->alerts, event);
    json_decref(event);
}

static void on_alerts_late(void *arg)
{
    mk_alerts_hurry(((struct supervisor *)arg)->alerts);
}

/* The run is over, its outcome decided: whoever is being told of it is waited for, not for ever. */
static void finish_alerts(struct supervisor *self)
{
    self->past_run = true;
    struct mk_timer *late = NULL;
    if (mk_alerts_is_busy(self->alerts))
        late = mk_timer_start(self->loop, ALERTS_MS, on_alerts_late, self, NULL);
    while (mk_alerts_is_busy(self->alerts) && mk_loop_run_once(self->loop))
        continue;
    mk_timer_close(late);
    reap_orphans(self);
}

static int outcome(struct supervisor *self)
{
    int code = mk_process_exit_code(self->worker);
    bool told = self->report.has_result;
    if (self->past_deadline) {
        if (!told)
            fail(self, "DEADLINE", "the run did not stop at its deadline and was killed",
                 "raise `deadline`, or find out what was slow: run it with -v");
        return 1;
    }
    if (self->signum) {
        char text[128];
        snprintf(text, sizeof text, "stopped by signal %d (%s), before its closers were done",
                 self->signum, strsignal(self->signum));
        if (!told)
            fail(self, "CANCELED", text,
                 "a repeated signal, or too long a closer, ends a run at once");
        return 128 + self->signum;
    }
    if (self->hung) {
        fail(self, "WORKER_DIED",
             "the worker had not ended 15 s after its last result, and was killed",
             "a finalizer (__gc) that never returns, or a file system that hangs?");
        return 1;
    }
    if (code > 128) {
        char text[128];
        snprintf(text, sizeof text, "the worker process was ended by signal %d (%s)", code - 128,
                 strsignal(code - 128));
        fail(self, "WORKER_DIED", text,
             code - 128 == SIGKILL
                 ? "if nobody killed it, it was the out-of-memory killer: see dmesg"
                 : "this is a bug of moonkeep: please report it");
        return 1;
    }
    if (code != 0 && !told)
        fail(self, "WORKER_DIED", "the worker process ended without a result",
             "its last words are above");
    return code;
}

static int build(struct supervisor *self, struct mk_error *err)
{
    self->loop = mk_loop_new(0, err);
    if (!self->loop)
        return err->status;
    self->alerts = mk_alerts_new(self->loop, on_alert_line, self);
    if (!self->alerts)
        return mk_error_nomem(err, "start");
    if (self->options->argc > 0 && strcmp(self->options->argv[0], "run") == 0)
        mk_alerts_enable(self->alerts, NULL,
                         NULL); /* also if it dies before it has said anything */
    each_child(remember_child, self);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    signal(SIGPIPE, SIG_IGN);
    static const int watched[] = {SIGTERM, SIGINT, SIGHUP};
    for (int i = 0; i < 3; i++) {
        struct sigaction before;
        sigaction(watched[i], NULL, &before);
        if (before.sa_handler == SIG_IGN)
            continue; /* nohup, or a shell's background job */
        self->signals[i] = mk_signal_start(self->loop, watched[i], on_signal, self, err);
        if (!self->signals[i])
            return err->status;
    }
    return start_worker(self, err);
}

/* A worker may have been started before the start failed. */
static void end_worker(struct supervisor *self)
{
    if (!self->worker)
        return;
    mk_process_kill(self->worker, SIGKILL);
    while (!self->worker_over && mk_loop_run_once(self->loop))
        continue;
    reap_orphans(self);
}

int mk_supervisor_main(const struct mk_supervisor_options *options)
{
    struct supervisor self = {.options = options};
    struct mk_error err;
    if (mk_report_init(&self.report, !isatty(STDERR_FILENO), &err) != MK_OK) {
        fprintf(stderr, "moonkeep: %s\n", err.message);
        mk_report_fini(&self.report);
        return 1;
    }
    int code = 1;
    if (build(&self, &err) == MK_OK) {
        while (!self.worker_over || !self.events_over) {
            if (!mk_loop_run_once(self.loop))
                break;
            /* A grandchild may hold the event socket: the worker's end is what counts. */
            if (self.worker_over)
                reap_orphans(&self);
        }
        reap_orphans(&self);
        code = outcome(&self);
        finish_alerts(&self);
    } else {
        end_worker(&self);
        fail(&self, mk_error_name(err.status), err.message, err.hint);
    }
    mk_timer_close(self.deadline);
    mk_timer_close(self.grace);
    mk_timer_close(self.ending);
    mk_poll_close(self.answer);
    mk_reader_close(self.reader);
    for (int i = 0; i < 3; i++)
        mk_signal_close(self.signals[i]);
    if (self.worker && self.worker_over)
        mk_process_free(self.worker);
    mk_alerts_free(self.alerts);
    mk_loop_free(self.loop);
    mk_lines_fini(&self.lines);
    mk_report_fini(&self.report);
    if (self.report.stdout_failed && code == 0)
        code = 1;
    if (self.report.stuck)
        _exit(code);
    return code;
}
