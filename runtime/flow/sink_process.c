/*
 * A child's stdin as a sink: see stages.h. finish closes the pipe and waits for the exit, whose
 * status is the verdict. When the child stops reading, the pipe breaks: with `early` that is
 * allowed and the rest is dropped; otherwise the child's own exit status and stderr say better
 * than EPIPE what went wrong, so the sink waits for them before it reports.
 */
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <uv.h>

#include "base/mem.h"
#include "flow/stages.h"
#include "loop/loop_impl.h"
#include "loop/pipe.h"
#include "loop/timer.h"

#define KEEP_BYTES (1024 * 1024)

enum outstanding { NOTHING, PUT, FINISH };

struct sink_process {
    struct mk_sink base;
    struct mk_loop *loop;
    struct mk_command *command;
    struct mk_process *process;
    uv_pipe_t pipe;
    uv_write_t write;
    bool pipe_open, pipe_closed;
    struct mk_reader *out_reader; /* the child's stdout, with keep_stdout */
    struct mk_timer *linger;      /* how long its pipes are waited for after the child's end */
    char *kept;
    size_t kept_len;
    enum outstanding outstanding;
    bool early, keep_stdout;
    bool broken; /* the child reads no more */
    bool exited, out_open, closing;
    int status;
    struct mk_error err;
};

static void release_when_over(struct sink_process *self)
{
    if (!self->closing || self->pipe_open || (self->process && !self->exited))
        return;
    mk_reader_close(self->out_reader);
    mk_timer_close(self->linger);
    mk_process_free(self->process);
    mk_command_free(self->command);
    mk_free(self->kept);
    mk_sink_closed(&self->base);
    mk_free(self);
}

static void done(struct sink_process *self)
{
    self->outstanding = NOTHING;
    mk_sink_done(&self->base, self->status, &self->err);
}

/* Reports what is outstanding, once there is an answer. */
static void answer(struct sink_process *self)
{
    bool over = self->exited && !self->out_open;
    if (self->outstanding == NOTHING)
        return;
    if (self->outstanding == PUT && !(self->broken && !self->early) && self->status == MK_OK) {
        if (!self->write.data)
            done(self);
        return;
    }
    if (self->process && !over)
        return;
    if (self->process && self->status == MK_OK)
        self->status = mk_process_verdict(self->process, &self->err);
    if (self->status == MK_OK && self->broken && !self->early)
        self->status =
            mk_error_set(&self->err, MK_EPIPE, "process", "%s ended before it had read everything",
                         self->command->argv[0]);
    done(self);
}

static void on_pipe_closed(uv_handle_t *handle)
{
    struct sink_process *self = handle->data;
    self->pipe_open = false;
    release_when_over(self);
}

static void close_pipe(struct sink_process *self)
{
    if (!self->pipe_open || self->pipe_closed)
        return;
    self->pipe_closed = true;
    uv_close((uv_handle_t *)&self->pipe, on_pipe_closed);
}

/* The child has ended, but a process that it has left keeps its stdout or its stdin open. */
static void give_up_pipes(struct sink_process *self)
{
    self->out_open = false;
    if (self->write.data) {
        self->broken = true;
        close_pipe(self);
    }
}

static void on_linger(void *arg)
{
    give_up_pipes(arg);
    answer(arg);
}

static void on_exit(void *arg)
{
    struct sink_process *self = arg;
    self->exited = true;
    struct mk_error err;
    if (self->out_open || self->write.data) {
        self->linger = mk_timer_start(self->loop, MK_PROCESS_LINGER_MS, on_linger, self, &err);
        if (!self->linger && self->status == MK_OK) {
            self->status = err.status;
            self->err = err;
        }
        if (!self->linger)
            give_up_pipes(self);
    }
    if (self->closing)
        release_when_over(self);
    else
        answer(self); /* may end the flow, and with it this sink */
}

static void on_stdout(void *arg, const char *bytes, size_t len)
{
    struct sink_process *self = arg;
    if (!bytes) {
        self->out_open = false;
        answer(self);
        return;
    }
    size_t room = KEEP_BYTES - self->kept_len;
    if (len > room)
        len = room;
    memcpy(self->kept + self->kept_len, bytes, len);
    self->kept_len += len;
    self->kept[self->kept_len] = '\0';
}

static int open_stdout(struct sink_process *self)
{
    self->kept = mk_calloc(KEEP_BYTES + 1);
    if (!self->kept)
        return mk_error_nomem(&self->err, "process");
    self->out_reader = mk_reader_new(self->loop, mk_process_take_stdout(self->process), on_stdout,
                                     self, &self->err);
    self->out_open = self->out_reader != NULL;
    return self->out_reader ? MK_OK : self->err.status;
}

static void start(struct sink_process *self)
{
    struct mk_process_spec spec;
    mk_command_spec(self->command, &spec);
    spec.in = MK_STDIO_PIPE;
    spec.out = self->keep_stdout ? MK_STDIO_PIPE : MK_STDIO_NULL;
    self->process = mk_process_spawn(self->loop, &spec, on_exit, self, &self->err);
    if (!self->process) {
        self->status = self->err.status;
        return;
    }
    uv_pipe_init(&self->loop->uv, &self->pipe, 0);
    self->pipe.data = self;
    self->pipe_open = true;
    int result = uv_pipe_open(&self->pipe, mk_process_take_stdin(self->process));
    if (result != 0)
        self->status = mk_error_errno(&self->err, -result, "process", "could not open the pipe");
    else if (self->keep_stdout)
        self->status = open_stdout(self);
    if (self->status != MK_OK)
        mk_process_kill(self->process, SIGKILL);
}

static void on_written(uv_write_t *write, int status)
{
    struct sink_process *self = write->data;
    write->data = NULL;
    if (status < 0 && status != UV_ECANCELED) {
        self->broken = true;
        close_pipe(self);
        if (status != UV_EPIPE && self->status == MK_OK)
            self->status = mk_error_errno(&self->err, -status, "process", "could not write to %s",
                                          self->command->argv[0]);
    }
    answer(self);
}

static void process_put(struct mk_sink *sink, struct mk_block *block)
{
    struct sink_process *self = (struct sink_process *)sink;
    self->outstanding = PUT;
    if (!self->process && self->status == MK_OK)
        start(self);
    if (self->status == MK_OK && !self->broken) {
        uv_buf_t buf = uv_buf_init((char *)block->data, (unsigned)block->len);
        self->write.data = self;
        int result = uv_write(&self->write, (uv_stream_t *)&self->pipe, &buf, 1, on_written);
        if (result == 0)
            return;
        self->write.data = NULL;
        self->broken = true;
        close_pipe(self);
    }
    answer(self);
}

static void process_finish(struct mk_sink *sink)
{
    struct sink_process *self = (struct sink_process *)sink;
    self->outstanding = FINISH;
    if (!self->process && self->status == MK_OK)
        start(self);
    close_pipe(self);
    answer(self);
}

static void process_abort(struct mk_sink *sink)
{
    struct sink_process *self = (struct sink_process *)sink;
    if (!self->process)
        return;
    if (self->status == MK_OK)
        self->status = mk_error_set(&self->err, MK_ECANCELED, "process", "%s was stopped",
                                    self->command->argv[0]);
    self->out_open = false; /* a grandchild may hold it */
    mk_process_kill(self->process, SIGKILL);
    close_pipe(self);
    answer(self);
}

static void process_close(struct mk_sink *sink)
{
    struct sink_process *self = (struct sink_process *)sink;
    self->closing = true;
    if (self->process && !self->exited)
        process_abort(sink);
    close_pipe(self);
    release_when_over(self);
}

static struct mk_text process_result(struct mk_sink *sink)
{
    struct sink_process *self = (struct sink_process *)sink;
    return mk_text_of(self->kept ? self->kept : "");
}

static const struct mk_sink_type type = {"process",     process_put,   process_finish,
                                         process_abort, process_close, process_result};

struct mk_sink *mk_sink_process(struct mk_loop *loop, struct mk_command *command, bool early,
                                bool keep_stdout, struct mk_error *err)
{
    struct sink_process *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_command_free(command);
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->loop = loop;
    self->command = command;
    self->early = early;
    self->keep_stdout = keep_stdout;
    return &self->base;
}
