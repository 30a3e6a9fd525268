#ifndef MK_LOOP_PROCESS_H
#define MK_LOOP_PROCESS_H

#include <sys/types.h>

#include "loop/loop.h"

/*
 * A child process from an argv array; there is no shell anywhere. A child is over when it has
 * exited AND its stderr (kept here) has ended; whoever reads its stdout waits for that end too.
 * A grandchild that keeps stderr open is waited for MK_PROCESS_LINGER_MS, then ignored.
 */
#define MK_PROCESS_LINGER_MS 2000
/* Of stderr the first and the last half of this are kept. */
#define MK_PROCESS_STDERR_BYTES 16384

enum mk_stdio { MK_STDIO_NULL, MK_STDIO_PIPE, MK_STDIO_INHERIT };

struct mk_process_spec {
    const char *const *argv; /* argv[0]: a path, or a name looked up in PATH */
    const char *const *env;  /* "K=V"..., NULL-terminated; NULL: this process's own */
    const char *cwd;         /* or NULL */
    const char *user;        /* run as this user (needs root), or NULL */
    enum mk_stdio in, out;
    bool inherit_stderr; /* instead of keeping it */
    bool new_session;
    int death_signal; /* sent to the child when our process dies; 0: SIGKILL */
    int fd3;          /* becomes the child's descriptor 3; -1: none */
};

struct mk_process;

/* `on_exit` comes once, on the loop; the process stays valid until mk_process_free. */
struct mk_process *mk_process_spawn(struct mk_loop *loop, const struct mk_process_spec *spec,
                                    void (*on_exit)(void *arg), void *arg, struct mk_error *err);
pid_t mk_process_pid(const struct mk_process *process);
/* Nothing happens if it is over; never a signal to a recycled pid. */
void mk_process_kill(struct mk_process *process, int signum);
/* Our (non-blocking) ends of its pipes; the caller owns them from then on. -1: none. */
int mk_process_take_stdin(struct mk_process *process);
int mk_process_take_stdout(struct mk_process *process);
/* The exit code, or 128 + n when signal n ended it. */
int mk_process_exit_code(const struct mk_process *process);
const char *mk_process_stderr(const struct mk_process *process);
/* MK_OK if it exited with 0 (what it had on stderr becomes a warning), else an MK_ECHILD that says
 * how it ended, stderr's end as detail. */
int mk_process_verdict(const struct mk_process *process, struct mk_error *err);
/* Replaces the callback of a child that is still running. */
void mk_process_on_exit(struct mk_process *process, void (*on_exit)(void *arg), void *arg);
/* Only when it is over. */
void mk_process_free(struct mk_process *process);

#endif
