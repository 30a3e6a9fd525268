#ifndef MK_HOST_WORKER_H
#define MK_HOST_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a Lua process is to do. */
struct mk_worker_options {
    const char *module; /* the library module whose main(file) is run in a task */
    const char *file;   /* the recipe or script */
    int argc;           /* its arguments */
    char **argv;
    int event_fd; /* a socket to the supervisor, or -1: events go to stderr */
    bool system_modules;
    size_t lua_memory_bytes;
    int64_t watchdog_ms;
};

/* Runs it to its end and returns the exit code. */
int mk_worker_main(const struct mk_worker_options *options);

#endif
