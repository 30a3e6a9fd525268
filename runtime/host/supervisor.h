#ifndef MK_HOST_SUPERVISOR_H
#define MK_HOST_SUPERVISOR_H

struct mk_supervisor_options {
    int argc; /* the command and its arguments; the worker reads them */
    char **argv;
};

/* Runs the command in a worker process of its own; returns the exit code. */
int mk_supervisor_main(const struct mk_supervisor_options *options);

#endif
