/*
 * Children: see process.h. Not uv_spawn, because a child here must die with its parent
 * (PR_SET_PDEATHSIG, set between fork and exec), may run as another user, and must never be
 * mistaken for another process: its exit is watched through a pidfd, which also makes kill safe
 * against recycled pids and leaves SIGCHLD alone. Between fork and exec only async-signal-safe
 * calls are made, for other threads may hold any lock at that moment.
 */
#include "loop/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "loop/pipe.h"
#include "loop/poll.h"
#include "loop/timer.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

struct mk_process {
    struct mk_loop *loop;
    void (*on_exit)(void *arg);
    void *arg;
    char name[64];
    pid_t pid;
    int pidfd;
    struct mk_poll *watch;
    struct mk_reader *err_reader;
    struct mk_timer *linger;
    int in_fd, out_fd;
    bool exited, stderr_open, over;
    int code, signum;
    size_t head_len, tail_len; /* of stderr: the first bytes, then a ring of the last ones */
    uint64_t tail_total;
    char head[MK_PROCESS_STDERR_BYTES / 2];
    char tail[MK_PROCESS_STDERR_BYTES / 2];
    char text[MK_PROCESS_STDERR_BYTES + 64]; /* both, put together when it is over */
};

/* What the child needs, prepared before fork. */
struct plan {
    const struct mk_process_spec *spec;
    const char *path;
    const char *const *env;
    int in, out, err, report; /* descriptors for 0, 1, 2, and the exec-error pipe */
    uid_t uid;
    gid_t gid;
    bool change_user;
    pid_t parent;
};

static _Noreturn void child_fail(const struct plan *plan)
{
    int errnum = errno;
    ssize_t n = write(plan->report, &errnum, sizeof errnum);
    _exit(n == sizeof errnum ? 127 : 126);
}

static _Noreturn void child_main(struct plan *plan)
{
    const struct mk_process_spec *spec = plan->spec;
    if (spec->new_session)
        setsid();
    if (dup2(plan->in, 0) < 0 || dup2(plan->out, 1) < 0 || dup2(plan->err, 2) < 0)
        child_fail(plan);
    /* The report pipe moves out of the way of descriptor 3. */
    int report = fcntl(plan->report, F_DUPFD_CLOEXEC, 10);
    if (report < 0)
        child_fail(plan);
    plan->report = report;
    int keep = spec->fd3 >= 0 ? fcntl(spec->fd3, F_DUPFD_CLOEXEC, 10) : -1;
    syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
    if (spec->fd3 >= 0 && dup2(keep, 3) < 0)
        child_fail(plan);
    for (int i = 0; i < 3; i++)
        fcntl(i, F_SETFL, fcntl(i, F_GETFL) & ~O_NONBLOCK);

    /* The raw calls: glibc's would signal threads that do not exist on this side of the fork. */
    if (plan->change_user &&
        (syscall(SYS_setgroups, 0, NULL) != 0 || syscall(SYS_setgid, plan->gid) != 0 ||
         syscall(SYS_setuid, plan->uid) != 0))
        child_fail(plan);
    if (spec->cwd && chdir(spec->cwd) != 0)
        child_fail(plan);

    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int signum = 1; signum < NSIG; signum++)
        sigaction(signum, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* After the change of user, which would clear it. */
    prctl(PR_SET_PDEATHSIG, spec->death_signal ? spec->death_signal : SIGKILL);
    if (getppid() != plan->parent)
        _exit(127); /* it died before we could say so */
    char *const *argv;
    char *const *env;
    memcpy(&argv, &spec->argv, sizeof argv);
    memcpy(&env, &plan->env, sizeof env);
    execve(plan->path, argv, env);
    child_fail(plan);
}

/* Looks a name up in PATH, as execvp would. */
static int find_program(const char *name, char path[4096], struct mk_error *err)
{
    if (strchr(name, '/')) {
        snprintf(path, 4096, "%s", name);
        return MK_OK;
    }
    const char *search = getenv("PATH");
    if (!search)
        search = "/usr/local/bin:/usr/bin:/bin";
    while (*search) {
        size_t len = strcspn(search, ":");
        snprintf(path, 4096, "%.*s/%s", (int)len, search, name);
        if (len > 0 && access(path, X_OK) == 0)
            return MK_OK;
        search += len + (search[len] == ':');
    }
    mk_error_set(err, MK_ENOENT, "spawn", "program \"%s\" is not in PATH", name);
    mk_error_hint(err, "install it, or give its full path");
    return MK_ENOENT;
}

static int find_user(struct plan *plan, const char *user, struct mk_error *err)
{
    struct passwd entry, *found = NULL;
    char buffer[4096];
    getpwnam_r(user, &entry, buffer, sizeof buffer, &found);
    if (!found)
        return mk_error_set(err, MK_ENOENT, "spawn", "there is no user \"%s\"", user);
    plan->uid = found->pw_uid;
    plan->gid = found->pw_gid;
    plan->change_user = true;
    return MK_OK;
}

static void check_over(struct mk_process *self)
{
    if (!self->exited || self->stderr_open || self->over)
        return;
    self->over = true;
    mk_timer_close(self->linger);
    self->linger = NULL;
    size_t ring = sizeof self->tail;
    size_t start = self->tail_total > ring ? self->tail_total % ring : 0;
    size_t used = (size_t)snprintf(self->text, sizeof self->text, "%.*s%s", (int)self->head_len,
                                   self->head, self->tail_total > ring ? "\n[...]\n" : "");
    size_t count = self->tail_total > ring ? ring : (size_t)self->tail_total;
    for (size_t i = 0; i < count && used + 1 < sizeof self->text; i++)
        self->text[used++] = self->tail[(start + i) % ring];
    self->text[used] = '\0';
    self->on_exit(self->arg);
}

static void close_stderr(struct mk_process *self)
{
    if (!self->stderr_open)
        return;
    self->stderr_open = false;
    mk_reader_close(self->err_reader);
    self->err_reader = NULL;
}

static void on_stderr(void *arg, const char *bytes, size_t len)
{
    struct mk_process *self = arg;
    if (!bytes) {
        close_stderr(self);
        check_over(self);
        return;
    }
    size_t room = sizeof self->head - self->head_len;
    size_t first = len < room ? len : room;
    memcpy(self->head + self->head_len, bytes, first);
    self->head_len += first;
    for (size_t i = first; i < len; i++)
        self->tail[self->tail_total++ % sizeof self->tail] = bytes[i];
}

static void on_linger(void *arg)
{
    struct mk_process *self = arg;
    close_stderr(self);
    check_over(self);
}

static void on_pidfd(void *arg, int events)
{
    (void)events;
    struct mk_process *self = arg;
    siginfo_t info = {0};
    int result = waitid(P_PIDFD, (id_t)self->pidfd, &info, WEXITED | WNOHANG);
    if (result == 0 && info.si_pid == 0)
        return;
    self->exited = true;
    if (result != 0)
        self->code = 255; /* somebody else has reaped it: nobody knows how it ended */
    else if (info.si_code == CLD_EXITED)
        self->code = info.si_status;
    else
        self->signum = info.si_status;
    mk_poll_close(self->watch);
    self->watch = NULL;
    close(self->pidfd);
    self->pidfd = -1;
    if (self->stderr_open) {
        self->linger = mk_timer_start(self->loop, MK_PROCESS_LINGER_MS, on_linger, self, NULL);
        if (!self->linger)
            close_stderr(self);
    }
    check_over(self);
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

/* Forks and waits until the child has either exec'ed or reported why it could not. */
static int fork_exec(struct plan *plan, pid_t *pid, struct mk_error *err)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0)
        return mk_error_errno(err, errno, "spawn", "could not create a pipe");
    plan->report = report[1];
    plan->parent = getpid();
    *pid = fork();
    if (*pid == 0)
        child_main(plan);
    int errnum = errno;
    close(report[1]);
    if (*pid < 0) {
        close(report[0]);
        return mk_error_errno(err, errnum, "spawn", "could not start \"%s\"", plan->path);
    }
    ssize_t n;
    do {
        n = read(report[0], &errnum, sizeof errnum);
    } while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n != sizeof errnum)
        return MK_OK;
    while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return mk_error_errno(err, errnum, "spawn", "could not run \"%s\"", plan->path);
}

struct pipes {
    int in[2], out[2], err[2], null;
};

static int open_pipes(struct pipes *p, const struct mk_process_spec *spec, struct mk_error *err)
{
    if ((p->null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0 ||
        (spec->in == MK_STDIO_PIPE && pipe2(p->in, O_CLOEXEC) != 0) ||
        (spec->out == MK_STDIO_PIPE && pipe2(p->out, O_CLOEXEC) != 0) ||
        (!spec->inherit_stderr && pipe2(p->err, O_CLOEXEC) != 0))
        return mk_error_errno(err, errno, "spawn", "could not open the child's descriptors");
    /* A larger pipe means fewer wake-ups; the system may refuse, which costs only speed. */
    if (spec->in == MK_STDIO_PIPE) {
        fcntl(p->in[1], F_SETPIPE_SZ, 1024 * 1024);
        fcntl(p->in[1], F_SETFL, O_NONBLOCK);
    }
    if (spec->out == MK_STDIO_PIPE) {
        fcntl(p->out[0], F_SETPIPE_SZ, 1024 * 1024);
        fcntl(p->out[0], F_SETFL, O_NONBLOCK);
    }
    return MK_OK;
}

static int child_fd(enum mk_stdio mode, int pipe_fd, int own_fd, int null)
{
    return mode == MK_STDIO_PIPE ? pipe_fd : mode == MK_STDIO_INHERIT ? own_fd : null;
}

extern char **environ;

/* Starts the child and the watches; on failure a child that runs already is killed and reaped. */
static int start(struct mk_process *self, const struct mk_process_spec *spec, struct pipes *p,
                 struct mk_error *err)
{
    char path[4096];
    struct plan plan = {.spec = spec, .path = path};
    int status = find_program(spec->argv[0], path, err);
    if (status == MK_OK && spec->user)
        status = find_user(&plan, spec->user, err);
    if (status == MK_OK)
        status = open_pipes(p, spec, err);
    if (status != MK_OK)
        return status;
    plan.in = child_fd(spec->in, p->in[0], 0, p->null);
    plan.out = child_fd(spec->out, p->out[1], 1, p->null);
    plan.err = spec->inherit_stderr ? 2 : p->err[1];
    plan.env = spec->env;
    if (!plan.env)
        memcpy(&plan.env, &environ, sizeof plan.env);
    status = fork_exec(&plan, &self->pid, err);
    if (status != MK_OK)
        return status;

    self->pidfd = (int)syscall(SYS_pidfd_open, self->pid, 0);
    if (self->pidfd < 0)
        status = mk_error_errno(err, errno, "spawn", "could not watch \"%s\"", path);
    if (status == MK_OK &&
        !(self->watch = mk_poll_new(self->loop, self->pidfd, on_pidfd, self, err)))
        status = MK_ENOMEM;
    if (status == MK_OK && !spec->inherit_stderr) {
        self->err_reader = mk_reader_new(self->loop, p->err[0], on_stderr, self, err);
        p->err[0] = -1; /* the reader's, also when it failed */
        self->stderr_open = self->err_reader != NULL;
        status = self->err_reader ? MK_OK : MK_ENOMEM;
    }
    if (status == MK_OK) {
        mk_poll_set(self->watch, MK_POLL_READ);
        return MK_OK;
    }
    kill(self->pid, SIGKILL);
    waitpid(self->pid, NULL, 0);
    mk_poll_close(self->watch);
    if (self->pidfd >= 0)
        close(self->pidfd);
    return status;
}

struct mk_process *mk_process_spawn(struct mk_loop *loop, const struct mk_process_spec *spec,
                                    void (*on_exit)(void *arg), void *arg, struct mk_error *err)
{
    struct mk_process *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "spawn");
        return NULL;
    }
    self->loop = loop;
    self->on_exit = on_exit;
    self->arg = arg;
    self->in_fd = self->out_fd = self->pidfd = -1;
    const char *slash = strrchr(spec->argv[0], '/');
    snprintf(self->name, sizeof self->name, "%s", slash ? slash + 1 : spec->argv[0]);

    struct pipes p = {{-1, -1}, {-1, -1}, {-1, -1}, -1};
    int status = start(self, spec, &p, err);
    if (status == MK_OK) {
        self->in_fd = p.in[1];
        self->out_fd = p.out[0];
        p.in[1] = p.out[0] = -1;
    }
    close_pair(p.in);
    close_pair(p.out);
    close_pair(p.err);
    if (p.null >= 0)
        close(p.null);
    if (status != MK_OK) {
        mk_free(self);
        return NULL;
    }
    return self;
}

pid_t mk_process_pid(const struct mk_process *self)
{
    return self->pid;
}

void mk_process_kill(struct mk_process *self, int signum)
{
    if (self->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, self->pidfd, signum, NULL, 0);
}

void mk_process_on_exit(struct mk_process *self, void (*on_exit)(void *arg), void *arg)
{
    self->on_exit = on_exit;
    self->arg = arg;
}

static int take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

int mk_process_take_stdin(struct mk_process *self)
{
    return take(&self->in_fd);
}

int mk_process_take_stdout(struct mk_process *self)
{
    return take(&self->out_fd);
}

int mk_process_exit_code(const struct mk_process *self)
{
    return self->signum ? 128 + self->signum : self->code;
}

const char *mk_process_stderr(const struct mk_process *self)
{
    return self->text;
}

static int trimmed_length(const char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    return (int)len;
}

int mk_process_verdict(const struct mk_process *self, struct mk_error *err)
{
    if (self->code == 0 && self->signum == 0) {
        if (self->text[0])
            mk_log(MK_LOG_WARN, "%s: %.*s", self->name, trimmed_length(self->text), self->text);
        return MK_OK;
    }
    if (self->signum)
        mk_error_set(err, MK_ECHILD, "process", "%s was ended by signal %d (%s)", self->name,
                     self->signum, strsignal(self->signum));
    else
        mk_error_set(err, MK_ECHILD, "process", "%s failed with exit code %d", self->name,
                     self->code);
    if (err) {
        size_t len = (size_t)trimmed_length(self->text);
        size_t max = sizeof err->detail - 1;
        size_t from = len > max ? len - max : 0;
        const char *line = from > 0 ? strchr(self->text + from, '\n') : NULL;
        if (line && (size_t)(line + 1 - self->text) < len)
            from = (size_t)(line + 1 - self->text); /* whole lines only */
        snprintf(err->detail, sizeof err->detail, "%.*s", (int)(len - from), self->text + from);
    }
    return MK_ECHILD;
}

void mk_process_free(struct mk_process *self)
{
    if (!self)
        return;
    if (self->in_fd >= 0)
        close(self->in_fd);
    if (self->out_fd >= 0)
        close(self->out_fd);
    mk_free(self);
}
