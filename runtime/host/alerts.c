/*
 * Messages wait in a list; the first one has the child. It reads its message from a memory file of
 * this process, /proc/PID/fd/N, which needs neither a disk nor an argument that others can see.
 *
 * A child that has not ended DEADLINE_MS after its start is asked to (SIGTERM), and killed
 * GRACE_MS later. It writes its messages to disk before it sends any. In a hurry the child that
 * runs is asked to end at once, and those after it (`deliver PATH keep`) only write.
 *
 * Limits: MAX_WAITING messages; those beyond are dropped, and the log of the run has them.
 */
#include "host/alerts.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/lines.h"
#include "loop/pipe.h"
#include "loop/process.h"
#include "loop/timer.h"

#define DEADLINE_MS 120000
#define GRACE_MS    5000
#define DRAIN_MS    500 /* for its last words, which a child of its own may hold back */
#define MAX_WAITING 1000

struct message {
    struct message *next;
    size_t len;
    char text[];
};

struct mk_alerts {
    struct mk_loop *loop;
    void (*on_line)(void *arg, const char *line, size_t len);
    void *arg;
    bool enabled, hurried, stopped;
    char *recipe;  /* or NULL */
    json_t *known; /* or NULL */
    struct message *waiting;
    int n_waiting;
    struct mk_process *child; /* the one that runs, or NULL */
    struct mk_reader *reader;
    struct mk_timer *timer;
    struct mk_lines lines;
    bool child_over, asked;
    int memory; /* the file of its message, or -1 */
};

static void start_next(struct mk_alerts *self);

struct mk_alerts *mk_alerts_new(struct mk_loop *loop,
                                void (*on_line)(void *arg, const char *line, size_t len), void *arg)
{
    struct mk_alerts *self = mk_calloc(sizeof *self);
    if (!self)
        return NULL;
    self->loop = loop;
    self->on_line = on_line;
    self->arg = arg;
    self->memory = -1;
    return self;
}

void mk_alerts_enable(struct mk_alerts *self, const char *recipe, json_t *known)
{
    self->enabled = true;
    mk_free(self->recipe);
    self->recipe = recipe ? mk_strdup(recipe) : NULL;
    json_decref(self->known);
    self->known = json_incref(known);
}

/* ---- one child ------------------------------------------------------------------------------ */

static void end_child(struct mk_alerts *self)
{
    mk_timer_close(self->timer);
    self->timer = NULL;
    mk_reader_close(self->reader);
    self->reader = NULL;
    if (self->child)
        mk_process_free(self->child);
    self->child = NULL;
    if (self->memory >= 0)
        close(self->memory);
    self->memory = -1;
    self->lines.len = 0;
    self->lines.is_cut = false;
    start_next(self);
}

static void on_events(void *arg, const char *bytes, size_t len)
{
    struct mk_alerts *self = arg;
    if (bytes) {
        mk_lines_feed(&self->lines, bytes, len, self->on_line, self->arg);
        return;
    }
    mk_reader_close(self->reader);
    self->reader = NULL;
    if (self->child_over)
        end_child(self);
}

static void on_exit_of_child(void *arg)
{
    struct mk_alerts *self = arg;
    self->child_over = true;
    if (!self->reader || !self->timer)
        end_child(self);
    else
        mk_timer_set(self->timer, DRAIN_MS);
}

static void on_late(void *arg)
{
    struct mk_alerts *self = arg;
    if (self->child_over) {
        end_child(self);
        return;
    }
    mk_process_kill(self->child, self->asked ? SIGKILL : SIGTERM);
    self->asked = true;
    mk_timer_set(self->timer, GRACE_MS);
}

static int memory_file(const struct message *message)
{
    int fd = memfd_create("moonkeep-alert", MFD_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t written = 0;
    while (written < message->len) {
        ssize_t n = write(fd, message->text + written, message->len - written);
        if (n <= 0) {
            close(fd);
            return -1;
        }
        written += (size_t)n;
    }
    return fd;
}

static bool start_child(struct mk_alerts *self, const struct message *message)
{
    int pair[2];
    self->memory = memory_file(message);
    if (self->memory < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/fd/%d", (long)getpid(), self->memory);
    const char *argv[] = {
        "/proc/self/exe", "--worker", "deliver", path, self->hurried ? "keep" : NULL, NULL};
    struct mk_process_spec spec = {
        .argv = argv,
        .in = MK_STDIO_NULL,
        .out = MK_STDIO_NULL,
        .inherit_stderr = true,
        .new_session = true, /* ^C at the terminal is for the run */
        .fd3 = pair[1],
    };
    struct mk_error err;
    self->child_over = self->asked = false;
    self->child = mk_process_spawn(self->loop, &spec, on_exit_of_child, self, &err);
    close(pair[1]);
    if (!self->child) {
        close(pair[0]);
        return false;
    }
    self->reader = mk_reader_new(self->loop, pair[0], on_events, self, &err);
    self->timer = mk_timer_new(self->loop, on_late, self, &err);
    if (self->timer)
        mk_timer_set(self->timer, DEADLINE_MS);
    if (!self->timer || !self->reader)
        mk_process_kill(self->child, SIGKILL);
    return true;
}

static void start_next(struct mk_alerts *self)
{
    static const char failed[] =
        "{\"event\":\"log\",\"level\":\"error\",\"text\":\"nobody could be "
        "told of this run: its messenger did not start\"}";
    struct message *message = self->waiting;
    if (!message)
        return;
    self->waiting = message->next;
    self->n_waiting--;
    bool started = !self->stopped && start_child(self, message);
    if (!started && !self->stopped)
        self->on_line(self->arg, failed, sizeof failed - 1);
    mk_free(message);
    if (!started)
        end_child(self);
}

/* ---- messages -------------------------------------------------------------------------------- */

void mk_alerts_send(struct mk_alerts *self, const json_t *event)
{
    if (!self->enabled || self->stopped || self->n_waiting >= MAX_WAITING)
        return;
    json_t *all = json_pack("{s:O, s:s?, s:O?, s:b}", "event", event, "recipe", self->recipe,
                            "known", self->known, "terminal", isatty(STDIN_FILENO));
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    size_t len = text ? strlen(text) : 0;
    struct message *message = text ? mk_alloc(sizeof *message + len) : NULL;
    if (message) {
        message->next = NULL;
        message->len = len;
        memcpy(message->text, text, len);
        struct message **last = &self->waiting;
        while (*last)
            last = &(*last)->next;
        *last = message;
        self->n_waiting++;
    }
    free(text);
    if (!self->child)
        start_next(self);
}

bool mk_alerts_is_busy(const struct mk_alerts *self)
{
    return self->child != NULL;
}

bool mk_alerts_has_child(const struct mk_alerts *self, pid_t pid)
{
    return self->child && mk_process_pid(self->child) == pid;
}

void mk_alerts_hurry(struct mk_alerts *self)
{
    self->stopped = self->hurried;
    self->hurried = true;
    if (!self->child)
        return;
    mk_process_kill(self->child, self->stopped ? SIGKILL : SIGTERM);
    self->asked = true;
    if (self->timer)
        mk_timer_set(self->timer, GRACE_MS);
}

void mk_alerts_free(struct mk_alerts *self)
{
    if (!self)
        return;
    while (self->waiting) {
        struct message *message = self->waiting;
        self->waiting = message->next;
        mk_free(message);
    }
    mk_lines_fini(&self->lines);
    mk_free(self->recipe);
    json_decref(self->known);
    mk_free(self);
}
