/*
 * The watchdog: a task that computes for too long without awaiting anything is condemned.
 *
 * A thread looks at the clock. When a burst takes too long it sends the loop thread a signal, whose
 * handler sets a hook in the coroutine that runs: lua_sethook may be called from a signal handler.
 * So code runs without any hook until then; one that counts instructions makes each of them a
 * quarter slower, and all of them are counted.
 *
 * The hook *yields*, because an error could be swallowed by pcall; the scheduler then kills the
 * task. Where no yield is possible it raises, and is called again and again: at first after a
 * while, for closers need some time, then at every instruction, so that nothing that catches errors
 * gets further.
 *
 * Invariant: `running` is the coroutine whose code runs; it is set around everything that runs
 * another one. Limits: one scheduler of a process has a watchdog. A C function that computes
 * (string.find with a pattern of many stars) is not interrupted before it returns.
 */
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "sched/sched_impl.h"

/* It means nothing to anybody else, and is ignored where there is no handler. */
#define WATCHDOG_SIGNAL SIGURG

/* Until the hook of a task that is condemned is called again, for as many times. */
#define HOOK_INSTRUCTIONS 1000000
#define PATIENT_RAISES    3

#define LOOKS 4 /* at the clock, in the time that a burst may take */

struct mk_watchdog {
    struct mk_sched *sched;
    pthread_t thread, loop_thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t limit_ms; /* under the mutex; 0: none */
    bool stop;        /* the same */
    struct sigaction before;
};

static struct mk_sched *volatile watched; /* for the signal handler */

/* ---- what runs ----------------------------------------------------------------------------- */

int64_t mk__burst_begin(struct mk_sched *sched)
{
    int64_t before = __atomic_load_n(&sched->burst_at, __ATOMIC_RELAXED);
    __atomic_store_n(&sched->burst_at, mk_monotonic_ms(), __ATOMIC_RELAXED);
    return before;
}

void mk__burst_end(struct mk_sched *sched, int64_t before)
{
    __atomic_store_n(&sched->burst_at, before, __ATOMIC_RELAXED);
}

int mk__resume(struct mk_sched *sched, lua_State *co, lua_State *from, int n_args, int *n_results)
{
    lua_State *before = sched->running;
    sched->running = co;
    int status = lua_resume(co, from, n_args, n_results);
    sched->running = before;
    return status;
}

void mk__reset(struct mk_sched *sched, lua_State *co)
{
    lua_State *before = sched->running;
    sched->running = co;
    lua_resetthread(co);
    sched->running = before;
}

/* ---- the hook ------------------------------------------------------------------------------ */

static void track_line(struct mk_sched *sched, lua_State *L, lua_Debug *ar)
{
    lua_getinfo(L, "Sl", ar);
    if (!MK_IS_LIBRARY(ar->source))
        snprintf(sched->tracked, sizeof sched->tracked, "%s:%d", ar->short_src, ar->currentline);
}

static void push_why(lua_State *L, int64_t limit_ms)
{
    char text[160];
    snprintf(text, sizeof text,
             "the recipe has computed for %.1f s without awaiting anything: is this loop endless?",
             (double)limit_ms / 1000);
    mk__push_error(L, "WATCHDOG", text);
    luaL_where(L, 0);
    if (lua_rawlen(L, -1) > 2) /* "file:line: " */
        lua_pushlstring(L, lua_tostring(L, -1), lua_rawlen(L, -1) - 2);
    else
        lua_pushnil(L);
    lua_setfield(L, -3, "where");
    lua_pop(L, 1);
    lua_pushliteral(L, "let it wait now and then (mk.sleep), or allow more: --watchdog 60s");
    lua_setfield(L, -2, "hint");
    luaL_traceback(L, L, NULL, 0);
    lua_setfield(L, -2, "traceback");
}

static int64_t limit_of(struct mk_watchdog *self)
{
    pthread_mutex_lock(&self->mutex);
    int64_t limit_ms = self->limit_ms;
    pthread_mutex_unlock(&self->mutex);
    return limit_ms;
}

static bool is_overdue(const struct mk_sched *sched, int64_t limit_ms)
{
    int64_t began = __atomic_load_n(&sched->burst_at, __ATOMIC_RELAXED);
    return limit_ms > 0 && began > 0 && mk_monotonic_ms() - began >= limit_ms;
}

static void set_hook(lua_State *L, const struct mk_sched *sched, int count);

static void on_hook(lua_State *L, lua_Debug *ar)
{
    struct mk_sched *sched = mk_sched_of(L);
    if (ar->event == LUA_HOOKLINE) {
        if (sched->tracking)
            track_line(sched, L, ar);
        return;
    }
    struct mk_task *task = sched->current;
    int64_t limit_ms = limit_of(sched->watchdog);
    if (!task || !is_overdue(sched, limit_ms)) {
        set_hook(L, sched, 0);
        return;
    }
    set_hook(L, sched, task->raises < PATIENT_RAISES ? HOOK_INSTRUCTIONS : 1);
    if (task->kill_ref == LUA_NOREF) {
        push_why(L, limit_ms);
        mk__task_condemn(task, L);
    }
    if (lua_isyieldable(L)) {
        task->dying = true;
        lua_yield(L, 0);
        return;
    }
    task->raises++;
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->kill_ref);
    lua_error(L);
}

/* `count`: instructions until it is called; 0: not for that. */
static void set_hook(lua_State *L, const struct mk_sched *sched, int count)
{
    lua_sethook(L, on_hook, (sched->tracking ? LUA_MASKLINE : 0) | (count > 0 ? LUA_MASKCOUNT : 0),
                count);
}

void mk_sched_track_lines(lua_State *L, bool on)
{
    struct mk_sched *sched = mk_sched_of(L);
    sched->tracking = on;
    sched->tracked[0] = '\0';
    set_hook(L, sched, 0);
}

const char *mk_sched_tracked_line(lua_State *L)
{
    struct mk_sched *sched = mk_sched_of(L);
    return sched->tracking && sched->tracked[0] ? sched->tracked : NULL;
}

/* ---- the thread ---------------------------------------------------------------------------- */

static void on_signal(int signum)
{
    (void)signum;
    struct mk_sched *sched = watched;
    if (sched && sched->running)
        set_hook(sched->running, sched, 1);
}

/* Until the next look, or until something has changed. */
static void wait_a_while(struct mk_watchdog *self)
{
    int64_t ms = self->limit_ms > 0 ? self->limit_ms / LOOKS + 1 : INT32_MAX;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&self->changed, &self->mutex, &until);
}

static void *watch(void *arg)
{
    struct mk_watchdog *self = arg;
    pthread_mutex_lock(&self->mutex);
    while (!self->stop) {
        if (is_overdue(self->sched, self->limit_ms))
            pthread_kill(self->loop_thread, WATCHDOG_SIGNAL);
        wait_a_while(self);
    }
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

static void init(struct mk_watchdog *self, struct mk_sched *sched, int64_t limit_ms)
{
    self->sched = sched;
    self->limit_ms = limit_ms;
    self->loop_thread = pthread_self();
    pthread_mutex_init(&self->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

int mk__watchdog_start(struct mk_sched *sched, int64_t limit_ms, struct mk_error *err)
{
    struct mk_watchdog *self = mk_calloc(sizeof *self);
    if (!self)
        return mk_error_nomem(err, "watchdog");
    init(self, sched, limit_ms);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(WATCHDOG_SIGNAL, &action, &self->before);
    watched = sched;
    int code = mk_thread_create(&self->thread, false, watch, self);
    sched->watchdog = self;
    if (code == 0)
        return MK_OK;
    self->stop = true; /* there is nothing to join */
    mk__watchdog_stop(sched);
    return mk_error_errno(err, code, "watchdog", "could not start a thread");
}

void mk_sched_set_watchdog(struct mk_sched *sched, int64_t limit_ms)
{
    struct mk_watchdog *self = sched->watchdog;
    if (!self)
        return;
    pthread_mutex_lock(&self->mutex);
    self->limit_ms = limit_ms;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

void mk__watchdog_stop(struct mk_sched *sched)
{
    struct mk_watchdog *self = sched->watchdog;
    if (!self)
        return;
    pthread_mutex_lock(&self->mutex);
    bool has_thread = !self->stop;
    self->stop = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
    if (has_thread)
        pthread_join(self->thread, NULL);
    watched = NULL;
    sigaction(WATCHDOG_SIGNAL, &self->before, NULL);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->mutex);
    mk_free(self);
    sched->watchdog = NULL;
}
