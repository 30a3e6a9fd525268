#ifndef MK_HOST_SUPERVISOR_H
#define MK_HOST_SUPERVISOR_H

#include <stdbool.h>

struct mk_supervisor_options {
    const char *recipe;
    int argc; /* the recipe's arguments */
    char **argv;
    const char *watchdog;   /* passed on to the worker; NULL: its own default */
    const char *lua_memory; /* the same */
    bool json;              /* events as JSON lines instead of text for people */
    bool quiet;             /* warnings, errors and output only */
    bool verbose;           /* debug messages too */
};

/* Runs the recipe in a worker process of its own; returns the exit code. */
int mk_supervisor_main(const struct mk_supervisor_options *options);

#endif
