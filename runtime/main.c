/*
 * moonkeep: one program in several roles. As a user starts it, it is the supervisor of a command;
 * the supervisor starts it again as the worker, which reads the command line (lua/moonkeep/cli) and
 * does what it says; each message to people is sent by a process of its own; and tests start it on
 * a plain script. Only the version is told right here.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/supervisor.h"
#include "host/worker.h"

enum { EXIT_USAGE = 2 };

#define DEFAULT_LUA_MEMORY  (128u * 1024 * 1024)
#define DEFAULT_WATCHDOG_MS 10000

static int worker(int argc, char **argv)
{
    struct mk_worker_options options = {
        .module = "moonkeep.cli",
        .argc = argc - 2,
        .argv = argv + 2,
        .event_fd = 3,
        .lua_memory_bytes = DEFAULT_LUA_MEMORY,
        .watchdog_ms = DEFAULT_WATCHDOG_MS,
    };
    return mk_worker_main(&options);
}

/* Sends one message that waits: see lua/moonkeep/notify/child.lua. */
static int deliver(int argc, char **argv)
{
    struct mk_worker_options options = {
        .module = "moonkeep.notify.child",
        .file = argc > 2 ? argv[2] : "",
        .event_fd = -1,
        .lua_memory_bytes = DEFAULT_LUA_MEMORY,
        .watchdog_ms = DEFAULT_WATCHDOG_MS,
    };
    return mk_worker_main(&options);
}

/* A plain Lua script as the main task, with the whole library and Lua's own search paths: how
 * the tests and benchmarks run inside the binary. Not for recipes. */
static int script(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "moonkeep: %s needs a file\n", argv[1]);
        return EXIT_USAGE;
    }
    struct mk_worker_options options = {
        .module = "moonkeep.script",
        .file = argv[2],
        .argc = argc - 3,
        .argv = argv + 3,
        .event_fd = -1,
        .system_modules = true,
        .lua_memory_bytes = 1024u * 1024 * 1024,
        .watchdog_ms = 120000,
    };
    return mk_worker_main(&options);
}

/* Whoever starts us may have closed standard descriptors or set SIGCHLD to be ignored; both would
 * be inherited, and neither can be lived with. */
static void normalize(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
    signal(SIGCHLD, SIG_DFL);
}

int main(int argc, char **argv)
{
    normalize();
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "--worker") == 0)
        return worker(argc, argv);
    if (strcmp(command, "--deliver") == 0)
        return deliver(argc, argv);
    if (strcmp(command, "--script") == 0)
        return script(argc, argv);
    if (argc == 2 && (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0)) {
        puts("moonkeep " MK_VERSION);
        return 0;
    }
    struct mk_supervisor_options options = {.argc = argc - 1, .argv = argv + 1};
    return mk_supervisor_main(&options);
}
