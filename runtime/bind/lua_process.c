/*
 * moonkeep.core.process: long-living children (a scratch server), and such as are not read to
 * their end. Programs whose bytes are moved are stages of a flow instead. A child is closable:
 * leaving its block kills it and waits for its end; a forgotten one is killed by the collector, and
 * freed when it has ended.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "flow/stages.h"
#include "loop/poll.h"
#include "loop/process.h"

#define TYPE_NAME  "moonkeep.process"
#define READ_BYTES (64 * 1024)

struct child {
    struct mk_process *process;
    struct mk_wait wait;
    bool waiting; /* some task holds the wait */
    bool exited;
    bool forgotten; /* its Lua value is gone */

    int in;  /* its stdin, if that is written here; -1: it is not, or no more */
    int out; /* its stdout, if that is read here; -1: it is not, or has ended */
    struct mk_poll *out_poll;
    struct mk_wait out_wait;
    bool reading; /* some task holds out_wait */
};

static void close_out(struct child *child)
{
    mk_poll_close(child->out_poll);
    child->out_poll = NULL;
    if (child->out >= 0)
        close(child->out);
    child->out = -1;
}

static void close_in(struct child *child)
{
    if (child->in >= 0)
        close(child->in);
    child->in = -1;
}

static void child_free(struct child *child)
{
    close_in(child);
    close_out(child);
    mk_process_free(child->process);
    mk_free(child);
}

static void on_exit(void *arg)
{
    struct child *child = arg;
    child->exited = true;
    if (child->forgotten) {
        child_free(child);
    } else if (child->waiting && child->wait.state == MK_WAIT_ARMED) {
        mk_wait_fire(&child->wait, MK_OK);
    }
}

static struct child *check_child(lua_State *L)
{
    struct child **box = luaL_checkudata(L, 1, TYPE_NAME);
    if (!*box) /* at the very end finalizers meet what others have finalized already */
        luaL_error(L, "the process is gone");
    return *box;
}

static void on_readable(void *arg, int events)
{
    (void)events;
    struct child *child = arg;
    mk_poll_set(child->out_poll, 0);
    if (child->reading && child->out_wait.state == MK_WAIT_ARMED)
        mk_wait_fire(&child->out_wait, MK_OK);
}

/* spawn{ argv, env, cwd, user, death_signal, read, write, stdout = true } -> child. stdin is empty,
 * unless flows are to `write` it (their sink stdin); stdout goes nowhere, unless it is to be read
 * with child:read(), or is to be ours. */
static int l_spawn(lua_State *L)
{
    mk_await_check(L);
    struct child **box = lua_newuserdatauv(L, sizeof(struct child *), 0);
    *box = NULL;
    luaL_setmetatable(L, TYPE_NAME);
    bool reads = mk_field_bool(L, 1, "read"), writes = mk_field_bool(L, 1, "write");
    bool shows = mk_field_bool(L, 1, "stdout");
    struct mk_command *command = mk_check_command(L, 1);
    struct child *child = mk_calloc(sizeof *child);
    if (!child) {
        mk_command_free(command);
        mk_raise_nomem(L);
    }
    child->in = child->out = -1;
    struct mk_loop *loop = mk_runtime_of(L)->loop;
    struct mk_process_spec spec;
    mk_command_spec(command, &spec);
    spec.in = writes ? MK_STDIO_PIPE : MK_STDIO_NULL;
    spec.out = reads ? MK_STDIO_PIPE : shows ? MK_STDIO_INHERIT : MK_STDIO_NULL;
    struct mk_error err;
    child->process = mk_process_spawn(loop, &spec, on_exit, child, &err);
    mk_command_free(command);
    if (!child->process) {
        mk_free(child);
        return mk_raise(L, &err);
    }
    *box = child;
    child->in = mk_process_take_stdin(child->process);
    if (!reads)
        return 1;
    child->out = mk_process_take_stdout(child->process);
    child->out_poll = mk_poll_new(loop, child->out, on_readable, child, &err);
    if (!child->out_poll)
        return mk_raise(L, &err); /* the collector ends it */
    return 1;
}

static int l_pid(lua_State *L)
{
    lua_pushinteger(L, mk_process_pid(check_child(L)->process));
    return 1;
}

static int l_running(lua_State *L)
{
    lua_pushboolean(L, !check_child(L)->exited);
    return 1;
}

/* child:kill("TERM" | "INT" | "QUIT" | "KILL") */
static int l_kill(lua_State *L)
{
    static const char *const names[] = {"TERM", "INT", "QUIT", "KILL", NULL};
    static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGKILL};
    struct child *child = check_child(L);
    mk_process_kill(child->process, signals[luaL_checkoption(L, 2, "TERM", names)]);
    return 0;
}

static struct child *of_wait(struct mk_wait *wait)
{
    return (struct child *)(void *)((char *)wait - offsetof(struct child, wait));
}

static int push_exit(lua_State *L, struct mk_wait *wait)
{
    struct child *child = of_wait(wait);
    child->waiting = false;
    lua_pushinteger(L, mk_process_exit_code(child->process));
    lua_pushstring(L, mk_process_stderr(child->process));
    return 2;
}

static void drop_exit(struct mk_wait *wait)
{
    of_wait(wait)->waiting = false;
}

static const struct mk_await_ops wait_ops = {.push = push_exit, .drop = drop_exit};

/* The task is cancelled while it waits: the wait ends, the child goes on. */
static void on_wait_cancel(struct mk_wait *wait)
{
    if (wait->state == MK_WAIT_ARMED)
        mk_wait_fire(wait, MK_ECANCELED);
}

static void arm(struct child *child, void (*cancel)(struct mk_wait *wait))
{
    mk_wait_init(&child->wait, cancel);
    child->waiting = true;
    if (child->exited)
        mk_wait_fire(&child->wait, MK_OK);
}

/* child:wait() -> exit code (128 + n for signal n), stderr */
static int l_wait(lua_State *L)
{
    struct child *child = check_child(L);
    mk_await_check(L);
    if (child->waiting)
        return luaL_error(L, "another task waits for this process already");
    arm(child, on_wait_cancel);
    return mk_await(L, &child->wait, &wait_ops);
}

/* ---- writing ------------------------------------------------------------------------------- */

MK_RAISES int mk_check_field_stdin(lua_State *L, int table, const char *key)
{
    lua_getfield(L, table, key);
    struct child **box = luaL_testudata(L, -1, TYPE_NAME);
    int fd = box && *box ? (*box)->in : -1;
    if (fd < 0)
        luaL_error(L, "%s must be a process whose stdin can be written", key);
    lua_pop(L, 1);
    return fd;
}

/* child:close_stdin(): that was all. */
static int l_close_stdin(lua_State *L)
{
    close_in(check_child(L));
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------- */

static struct child *of_out_wait(struct mk_wait *wait)
{
    return (struct child *)(void *)((char *)wait - offsetof(struct child, out_wait));
}

static int push_read(lua_State *L, struct mk_wait *wait)
{
    struct child *child = of_out_wait(wait);
    child->reading = false;
    luaL_Buffer buffer;
    char *bytes = luaL_buffinitsize(L, &buffer, READ_BYTES);
    ssize_t n = read(child->out, bytes, READ_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        n = 0; /* nothing, after all */
    else if (n <= 0)
        close_out(child);
    luaL_pushresultsize(&buffer, n > 0 ? (size_t)n : 0);
    if (child->out < 0)
        lua_pushnil(L);
    return 1;
}

static void drop_read(struct mk_wait *wait)
{
    of_out_wait(wait)->reading = false;
}

static const struct mk_await_ops read_ops = {.push = push_read, .drop = drop_read};

static void on_read_cancel(struct mk_wait *wait)
{
    mk_poll_set(of_out_wait(wait)->out_poll, 0);
    if (wait->state == MK_WAIT_ARMED)
        mk_wait_fire(wait, MK_ECANCELED);
}

/* child:read() -> the next bytes of its stdout, up to 64 KiB, perhaps none yet; nil at its end */
static int l_read(lua_State *L)
{
    struct child *child = check_child(L);
    mk_await_check(L);
    if (child->out < 0)
        return 0;
    if (child->reading)
        return luaL_error(L, "another task reads from this process already");
    mk_wait_init(&child->out_wait, on_read_cancel);
    child->reading = true;
    mk_poll_set(child->out_poll, MK_POLL_READ);
    return mk_await(L, &child->out_wait, &read_ops);
}

static int l_gc(lua_State *L)
{
    struct child **box = luaL_checkudata(L, 1, TYPE_NAME);
    struct child *child = *box;
    *box = NULL;
    if (!child)
        return 0;
    close_out(child);
    if (child->exited) {
        child_free(child);
    } else {
        child->forgotten = true;
        mk_process_kill(child->process, SIGKILL);
    }
    return 0;
}

static int l_close(lua_State *L)
{
    struct child **box = luaL_checkudata(L, 1, TYPE_NAME);
    struct child *child = *box;
    if (!child)
        return 0;
    close_in(child);
    if (!child->reading)
        close_out(child);
    if (child->exited)
        return 0;
    mk_process_kill(child->process, SIGKILL);
    if (!mk_can_await(L) || child->waiting)
        return 0; /* the collector frees it */
    arm(child, NULL);
    return mk_await_held(L, &child->wait, &wait_ops);
}

/* quit_pid(pid) -> whether it was there: SIGQUIT to a stale server, which is no child of ours */
static int l_kill_pid(lua_State *L)
{
    lua_Integer pid = luaL_checkinteger(L, 1);
    luaL_argcheck(L, pid > 1, 1, "not a process");
    lua_pushboolean(L, kill((pid_t)pid, SIGQUIT) == 0);
    return 1;
}

static int l_self_uid(lua_State *L)
{
    lua_pushinteger(L, geteuid());
    return 1;
}

static int l_self_pid(lua_State *L)
{
    lua_pushinteger(L, getpid());
    return 1;
}

int luaopen_core_process(lua_State *L)
{
    luaL_newmetatable(L, TYPE_NAME);
    static const luaL_Reg methods[] = {{"pid", l_pid},
                                       {"running", l_running},
                                       {"kill", l_kill},
                                       {"wait", l_wait},
                                       {"read", l_read},
                                       {"close", l_close},
                                       {"close_stdin", l_close_stdin},
                                       {NULL, NULL}};
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {{"spawn", l_spawn},
                                         {"quit_pid", l_kill_pid},
                                         {"uid", l_self_uid},
                                         {"pid", l_self_pid},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
