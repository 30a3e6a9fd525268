/*
 * A child's stdout as a source: see stages.h. The end of the stream is good only when the child
 * has exited with 0 as well, in whichever order the two come, so a dump that dies after its last
 * byte is still a failure.
 *
 * Programs such as pg_dump write 4 KiB at a time. Waking for each would cost more than everything
 * else, so after a read that found little, reading pauses for a moment and the pipe (1 MiB) fills.
 */
#include <signal.h>
#include <stddef.h>
#include <uv.h>

#include "base/mem.h"
#include "flow/stages.h"
#include "loop/loop_impl.h"
#include "loop/timer.h"

/* A read below this is followed by a pause... */
#define LITTLE_BYTES (256 * 1024)
/* ...of this long: at 250 MB/s, what pg_dump makes at most, a quarter of the pipe. */
#define PAUSE_MS 1

struct source_process {
    struct mk_source base;
    struct mk_loop *loop;
    struct mk_command *command;
    struct mk_process *process;
    uv_pipe_t pipe;
    uv_timer_t pause;
    int open_handles;
    struct mk_block *block;  /* wanted */
    struct mk_timer *linger; /* after the child's exit, until the end of its output */
    bool heard;              /* since the timer was started */
    bool started, reading, eof, exited, aborted;
    bool closing;
    int status;
    struct mk_error err;
};

static void fill_more(struct source_process *self);

/* Answers the want when there is something to say: a full block, the good end, or a failure. */
static void answer(struct source_process *self)
{
    if (!self->block)
        return;
    bool failed = self->status != MK_OK;
    bool over = !self->started || (self->eof && self->exited);
    if (self->block->len < MK_BLOCK_BYTES && !over)
        return;
    if (self->block->len == MK_BLOCK_BYTES && !over) {
        self->block = NULL;
        mk_source_filled(&self->base, false, MK_OK, NULL);
        return;
    }
    if (!failed && self->started)
        self->status = mk_process_verdict(self->process, &self->err);
    self->block = NULL;
    mk_source_filled(&self->base, self->status == MK_OK, self->status, &self->err);
}

static void stop_reading(struct source_process *self)
{
    if (!self->reading)
        return;
    self->reading = false;
    uv_read_stop((uv_stream_t *)&self->pipe);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct source_process *self = handle->data;
    if (--self->open_handles > 0 || !self->closing)
        return;
    mk_process_free(self->process);
    mk_command_free(self->command);
    mk_source_closed(&self->base);
    mk_free(self);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct source_process *self = handle->data;
    struct mk_block *block = self->block;
    *buf = uv_buf_init((char *)block->data + block->len, (unsigned)(MK_BLOCK_BYTES - block->len));
}

static void on_pause_over(uv_timer_t *timer)
{
    fill_more(timer->data);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct source_process *self = stream->data;
    if (n == 0)
        return;
    if (n < 0) {
        stop_reading(self);
        self->eof = true;
        if (n != UV_EOF && self->status == MK_OK)
            self->status = mk_error_errno(&self->err, (int)-n, "process", "could not read from %s",
                                          self->command->argv[0]);
        answer(self);
        return;
    }
    self->block->len += (size_t)n;
    self->heard = true;
    if (self->block->len == MK_BLOCK_BYTES) {
        stop_reading(self);
        answer(self);
    } else if (n < LITTLE_BYTES) {
        stop_reading(self);
        uv_timer_start(&self->pause, on_pause_over, PAUSE_MS, 0);
    }
}

static void fill_more(struct source_process *self)
{
    if (!self->block || self->reading || self->eof)
        return;
    self->reading = true;
    uv_read_start((uv_stream_t *)&self->pipe, on_alloc, on_read);
}

static void watch_linger(struct source_process *self);

/* The child has ended, and for a while nothing has come, but no end either: a process that it has
 * left keeps the pipe open. Whether that one still has something to say nobody can know. */
static void on_linger(void *arg)
{
    struct source_process *self = arg;
    mk_timer_close(self->linger);
    self->linger = NULL;
    if (self->eof)
        return;
    if (!self->block || self->heard) { /* nobody is reading, or something has come: wait on */
        watch_linger(self);
        return;
    }
    stop_reading(self);
    uv_timer_stop(&self->pause);
    self->eof = true;
    self->status = mk_error_set(&self->err, MK_ECHILD, "process",
                                "%s has ended, but another process keeps its output open",
                                self->command->argv[0]);
    mk_error_hint(&self->err, "don't leave programs in the background that write to its stdout");
    answer(self);
}

static void watch_linger(struct source_process *self)
{
    self->heard = false;
    self->linger = mk_timer_start(self->loop, MK_PROCESS_LINGER_MS, on_linger, self, &self->err);
    if (self->linger)
        return;
    stop_reading(self);
    self->eof = true;
    self->status = self->err.status;
}

static void on_exit(void *arg)
{
    struct source_process *self = arg;
    self->exited = true;
    /* After an abort a grandchild may keep the pipe open; its bytes no longer matter. */
    if (self->aborted)
        self->eof = true;
    if (!self->eof)
        watch_linger(self);
    answer(self);
}

static void start(struct source_process *self)
{
    struct mk_process_spec spec;
    mk_command_spec(self->command, &spec);
    spec.out = MK_STDIO_PIPE;
    self->process = mk_process_spawn(self->loop, &spec, on_exit, self, &self->err);
    if (!self->process) {
        self->status = self->err.status;
        return;
    }
    self->started = true;
    uv_pipe_init(&self->loop->uv, &self->pipe, 0);
    uv_timer_init(&self->loop->uv, &self->pause);
    self->pipe.data = self->pause.data = self;
    self->open_handles = 2;
    int result = uv_pipe_open(&self->pipe, mk_process_take_stdout(self->process));
    if (result != 0) {
        self->status = mk_error_errno(&self->err, -result, "process", "could not read the pipe");
        self->eof = true;
        mk_process_kill(self->process, SIGKILL);
    }
}

static void process_want(struct mk_source *source, struct mk_block *block)
{
    struct source_process *self = (struct source_process *)source;
    self->block = block;
    self->heard = true; /* there was nobody to read until now: a whole period begins */
    if (!self->process)
        start(self);
    if (self->started && !self->eof)
        fill_more(self);
    else
        answer(self);
}

static void process_abort(struct mk_source *source)
{
    struct source_process *self = (struct source_process *)source;
    if (!self->started || self->aborted)
        return;
    self->aborted = true;
    if (self->status == MK_OK)
        self->status = mk_error_set(&self->err, MK_ECANCELED, "process", "%s was stopped",
                                    self->command->argv[0]);
    stop_reading(self);
    uv_timer_stop(&self->pause);
    mk_process_kill(self->process, SIGKILL);
    if (self->exited) {
        self->eof = true;
        answer(self);
    }
}

/* The pump may close with the child still running (an abort without an outstanding want): then
 * its exit is waited for here. */
static void close_when_exited(void *arg)
{
    struct source_process *self = arg;
    self->exited = true;
    mk_timer_close(self->linger);
    self->linger = NULL;
    uv_close((uv_handle_t *)&self->pipe, on_handle_closed);
    uv_close((uv_handle_t *)&self->pause, on_handle_closed);
}

static void process_close(struct mk_source *source)
{
    struct source_process *self = (struct source_process *)source;
    self->closing = true;
    if (!self->started) {
        mk_command_free(self->command);
        mk_source_closed(source);
        mk_free(self);
        return;
    }
    if (self->exited) {
        close_when_exited(self);
        return;
    }
    process_abort(source);
    mk_process_on_exit(self->process, close_when_exited, self);
}

static const struct mk_source_type type = {"process",     process_want, process_abort,
                                           process_close, NULL,         NULL};

struct mk_source *mk_source_process(struct mk_loop *loop, struct mk_command *command,
                                    struct mk_error *err)
{
    struct source_process *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_command_free(command);
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->loop = loop;
    self->command = command;
    return &self->base;
}
