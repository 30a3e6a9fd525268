/*
 * The process that runs Lua: builds the floors up, runs one function in the main task, and takes
 * everything down in an order in which nothing can call into something that is gone:
 *
 *   1. the main task is over, and with it, because scopes are strict, every other task
 *   2. lua_close: finalizers begin to close what is still open; no Lua runs after this
 *   3. the loop runs until it is empty: close callbacks, killed children's exits
 *   4. pool, workers, loop; a handle that is still open is a bug and fails the process
 *
 * The first SIGTERM, SIGINT, SIGHUP or SIGALRM (the deadline), and the end of the supervisor,
 * cancel the main task, so closers run; a second signal leaves at once (children die with us, see
 * loop/process.c).
 */
#include "host/worker.h"

#include <jansson.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "bind/bind.h"
#include "buf/block.h"
#include "host/vm.h"
#include "loop/call.h"
#include "loop/pipe.h"
#include "loop/signal.h"

/* The pool's limit: what sources may take. Stages downstream add what their edges allow. */
#define POOL_BLOCKS 12
#define N_SIGNALS   4

struct worker {
    const struct mk_worker_options *options;
    struct mk_runtime runtime;
    struct mk_vm *vm;
    struct mk_sched *sched;
    struct mk_writer *writer;
    struct mk_signal *signals[N_SIGNALS];
    int signum; /* the one that was received */
    char answer[MK_ANSWER_BYTES];
    size_t answer_len;
};

static void emit(void *arg, const char *json, size_t len, bool important)
{
    struct worker *self = arg;
    if (!self->writer) {
        fprintf(stderr, "%s\n", json);
        return;
    }
    char *line = mk_alloc(len + 1);
    if (!line)
        return;
    memcpy(line, json, len);
    line[len] = '\n';
    mk_writer_send(self->writer, line, len + 1, important);
    mk_free(line);
}

/* The supervisor's answer to a question: one line. What is too long is cut. */
static void on_answer(void *arg, const char *bytes, size_t len)
{
    struct worker *self = arg;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\n') {
            if (self->answer_len < sizeof self->answer)
                self->answer[self->answer_len++] = bytes[i];
            continue;
        }
        mk_answer(&self->runtime, self->answer, self->answer_len);
        self->answer_len = 0;
    }
}

static bool listen_for_answers(void *arg, bool on)
{
    struct worker *self = arg;
    if (self->writer)
        mk_writer_listen(self->writer, on ? on_answer : NULL);
    return self->writer != NULL;
}

static void set_limits(void *arg, int64_t watchdog_ms, size_t lua_memory_bytes)
{
    struct worker *self = arg;
    mk_sched_set_watchdog(self->sched, watchdog_ms);
    mk_vm_set_limit(self->vm, lua_memory_bytes);
}

static void on_log(enum mk_log_level level, const char *text, void *arg)
{
    struct worker *self = arg;
    if (!self->writer) {
        if (level > MK_LOG_DEBUG)
            fprintf(stderr, "%s: %s\n", mk_log_level_name(level), text);
        return;
    }
    char clean[MK_UTF8_CLEAN_MAX(MK_LOG_BYTES)];
    size_t len = mk_utf8_clean(text, strlen(text), clean);
    char now[MK_ISO_BYTES];
    mk_iso_time(mk_wall_ms(), now);
    json_t *event = json_pack("{s:s, s:s, s:s, s:s%}", "event", "log", "time", now, "level",
                              mk_log_level_name(level), "text", clean, len);
    char *json = event ? json_dumps(event, JSON_COMPACT) : NULL;
    if (json)
        emit(self, json, strlen(json), level >= MK_LOG_WARN);
    free(json);
    json_decref(event);
}

static void cancel_main(struct worker *self, const struct mk_error *err)
{
    if (!self->vm)
        return; /* on the way out */
    lua_State *L = mk_vm_state(self->vm);
    mk_push_error(L, err);
    mk_sched_cancel_main(self->sched, L);
}

static void on_signal(void *arg, int signum)
{
    struct worker *self = arg;
    if (self->signum)
        return; /* a process group is often signalled as a whole: the same request again */
    self->signum = signum;
    struct mk_error err;
    if (signum == SIGALRM) { /* from the supervisor */
        mk_error_set(&err, MK_EDEADLINE, "run", "the run was stopped at its deadline");
        mk_error_hint(&err, "raise `deadline`, or find out what was slow: run it with -v");
    } else {
        mk_error_set(&err, MK_ECANCELED, "run", "stopped by signal %d (%s)", signum,
                     strsignal(signum));
    }
    cancel_main(self, &err);
}

static void on_supervisor_gone(void *arg)
{
    struct mk_error err;
    mk_error_set(&err, MK_ECANCELED, "run", "the supervisor is gone");
    cancel_main(arg, &err);
}

static int panic_fd = -1; /* the event socket */

/* Lua raised an error where nothing can catch it, so memory is out in the middle of the scheduler.
 * Its state is lost; the system cleans up, as after a kill. */
static int on_panic(lua_State *L)
{
    static const char event[] =
        "\n{\"event\":\"result\",\"job\":\"\",\"status\":\"failed\",\"error\":{"
        "\"code\":\"LUA_MEMORY\","
        "\"message\":\"memory ran out in the middle of the scheduler\","
        "\"hint\":\"give the host more memory, or raise --lua-memory\","
        "\"left\":\"nothing half-done is visible; the next run removes what was begun\"}}\n";
    (void)L;
    int fd = panic_fd >= 0 ? panic_fd : STDERR_FILENO;
    ssize_t n = write(fd, event, sizeof event - 1);
    _exit(n > 0 ? 1 : 3);
}

static int build(struct worker *self, struct mk_error *err)
{
    const struct mk_worker_options *options = self->options;
    struct mk_runtime *runtime = &self->runtime;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    runtime->loop = mk_loop_new(cpus < 1 ? 1 : cpus > 16 ? 16 : (int)cpus, err);
    if (!runtime->loop)
        return err->status;
    runtime->pool = mk_pool_new(POOL_BLOCKS);
    if (!runtime->pool)
        return mk_error_nomem(err, "start");
    runtime->engine = mk_flow_engine_new(runtime->loop, runtime->pool, err);
    if (!runtime->engine)
        return err->status;
    runtime->emit = emit;
    runtime->listen = listen_for_answers;
    runtime->limit = set_limits;
    runtime->host_arg = self;
    runtime->argc = options->argc;
    runtime->argv = options->argv;
    self->vm = mk_vm_new(options->lua_memory_bytes, options->system_modules, err);
    if (!self->vm)
        return err->status;
    lua_State *L = mk_vm_state(self->vm);
    lua_atpanic(L, on_panic);
    panic_fd = options->event_fd;
    mk_runtime_set(L, runtime);
    self->sched = mk_sched_new(L, runtime->loop, mk_error_handler, options->watchdog_ms, err);
    if (!self->sched)
        return err->status;
    mk_vm_set_sched(self->vm, self->sched);
    if (options->event_fd >= 0) {
        self->writer =
            mk_writer_new(runtime->loop, options->event_fd, on_supervisor_gone, self, err);
        if (!self->writer)
            return err->status;
    }
    mk_log_set(on_log, self);
    signal(SIGPIPE, SIG_IGN);
    static const int watched[N_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGALRM};
    for (int i = 0; i < N_SIGNALS; i++) {
        self->signals[i] = mk_signal_start(runtime->loop, watched[i], on_signal, self, err);
        if (!self->signals[i])
            return err->status;
    }
    return MK_OK;
}

static int teardown(struct worker *self)
{
    struct mk_runtime *runtime = &self->runtime;
    struct mk_vm *vm = self->vm;
    self->vm = NULL;
    mk_vm_free(vm);
    mk_sched_free(self->sched);
    if (!runtime->loop)
        return 0;
    for (int i = 0; i < N_SIGNALS; i++)
        mk_signal_close(self->signals[i]);
    while (mk_loop_run_once(runtime->loop))
        continue;
    mk_http_free(runtime->http);
    /* Last, so that all that was said on the way out still arrives. */
    mk_log_set(NULL, NULL);
    mk_writer_close(self->writer);
    while (mk_loop_run_once(runtime->loop))
        continue;
    mk_flow_engine_free(runtime->engine);
    int leaked = mk_loop_free(runtime->loop);
    mk_pool_free(runtime->pool);
    return leaked;
}

/* The library's main function failed as a whole (it was killed, or could not load): it reports
 * through module.failed(err) -> exit code, outside of any task. */
static int report_failure(struct worker *self, lua_State *L)
{
    int error = lua_gettop(L);
    lua_getglobal(L, "require");
    lua_pushstring(L, self->options->module);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_getfield(L, -1, "failed") == LUA_TFUNCTION) {
        lua_pushvalue(L, error);
        if (lua_pcall(L, 1, 1, 0) == LUA_OK)
            return (int)luaL_optinteger(L, -1, 1);
    }
    mk_log(MK_LOG_ERROR, "%s", luaL_tolstring(L, error, NULL));
    return 1;
}

/* (module, file) -> the module's main, file: what the main task is made of */
static int find_main(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_pushvalue(L, 2);
    return 2;
}

/* There is nothing yet that could send events: says it directly. */
static void report_start(const struct mk_worker_options *options, const struct mk_error *err)
{
    json_t *event = json_pack("{s:s, s:s, s:s, s:{s:s, s:s+, s:s, s:s}}", "event", "result", "job",
                              "", "status", "failed", "error", "code", mk_error_name(err->status),
                              "message", "could not start: ", err->message, "hint", err->hint,
                              "left", "nothing was begun");
    char *line = event ? json_dumps(event, JSON_COMPACT) : NULL;
    if (!line || options->event_fd < 0 || dprintf(options->event_fd, "%s\n", line) < 0)
        fprintf(stderr, "moonkeep: could not start: %s\n", err->message);
    free(line);
    json_decref(event);
}

int mk_worker_main(const struct mk_worker_options *options)
{
    mk_mem_init();
    struct worker self = {.options = options};
    struct mk_error err;
    if (build(&self, &err) != MK_OK) {
        report_start(options, &err);
        teardown(&self);
        return 1;
    }
    lua_State *L = mk_vm_state(self.vm);
    int code;
    int base = lua_gettop(L);
    lua_pushcfunction(L, find_main);
    lua_pushstring(L, options->module);
    lua_pushstring(L, options->file);
    bool ok = lua_pcall(L, 2, 2, 0) == LUA_OK && mk_sched_run(self.sched, L, 1);
    if (ok)
        code = lua_gettop(L) > base ? (int)luaL_optinteger(L, base + 1, 0) : 0;
    else
        code = report_failure(&self, L);
    int leaked = teardown(&self);
    if (leaked) {
        fprintf(stderr, "moonkeep: %d handles were still open at exit: this is a bug\n", leaked);
        code = code ? code : 1;
    }
    if (mk_threads_abandoned() > 0)
        _exit(code); /* a thread is inside libpq: static destructors must not run under it */
    return code;
}
