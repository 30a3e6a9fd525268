#ifndef MK_BASE_ERROR_H
#define MK_BASE_ERROR_H

#include <stdarg.h>

/*
 * The one error value of the runtime. A function that can fail returns 0 or a negative MK_E*
 * and fills its last parameter, `struct mk_error *err`. All buffers are inside the value, so
 * reporting an error never allocates, not even when memory is what has run out. Text that does
 * not fit is cut.
 *
 * message: lower case, no final dot, says what failed and on what.
 * hint:    what the user should do; empty when there is nothing useful to say.
 */
#define MK_ERROR_CODES(X)                                                                          \
    X(MK_ECANCELED, -1, "CANCELED")                                                                \
    X(MK_ETIMEOUT, -2, "TIMEOUT")                                                                  \
    X(MK_ENOMEM, -3, "NO_MEMORY")                                                                  \
    X(MK_EINVAL, -4, "INVALID")                                                                    \
    X(MK_EIO, -5, "IO_ERROR")                                                                      \
    X(MK_ENOSPC, -6, "DISK_FULL")                                                                  \
    X(MK_EACCES, -7, "PERMISSION_DENIED")                                                          \
    X(MK_ENOENT, -8, "NOT_FOUND")                                                                  \
    X(MK_EEXIST, -9, "ALREADY_EXISTS")                                                             \
    X(MK_EPIPE, -10, "BROKEN_PIPE")                                                                \
    X(MK_ECORRUPT, -11, "CORRUPT")                                                                 \
    X(MK_ECHILD, -12, "PROCESS_FAILED")                                                            \
    X(MK_EPGCONN, -13, "PG_CONNECT")                                                               \
    X(MK_EPG, -14, "PG_ERROR")                                                                     \
    X(MK_EPGLOST, -15, "PG_CONNECTION_LOST")                                                       \
    X(MK_EBUSY, -16, "BUSY")                                                                       \
    X(MK_ESYS, -17, "SYSTEM")                                                                      \
    X(MK_EDEADLINE, -18, "DEADLINE")                                                               \
    X(MK_ENET, -19, "NETWORK")                                                                     \
    X(MK_ETLS, -20, "TLS")                                                                         \
    X(MK_EKEY, -21, "WRONG_KEY")

enum mk_status {
    MK_OK = 0,
#define MK_ERROR_ENUM(name, value, text) name = value,
    MK_ERROR_CODES(MK_ERROR_ENUM)
#undef MK_ERROR_ENUM
};

struct mk_error {
    int status; /* 0 or an MK_E* */
    char op[64];
    char message[1024];
    char hint[512];
    char detail[2048]; /* libpq's DETAIL, a child's last words */
    char sqlstate[6];  /* set by pg/ only */
};

/* The stable upper-case name that users, logs and tests see, for example "DISK_FULL". */
const char *mk_error_name(int status);
/* The code of such a name; MK_EIO for one that is not of the runtime's own. */
int mk_error_status(const char *name);

/* Each setter overwrites the whole value and returns `status`, so that callers can
 * `return mk_error_set(...)`. `err` may be NULL. */
int mk_error_set(struct mk_error *err, int status, const char *op, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The same from an errno value: picks the code, appends strerror, adds the hint of known faults. */
int mk_error_errno(struct mk_error *err, int errnum, const char *op, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

void mk_error_hint(struct mk_error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* "out of memory" in a form that needs none. */
int mk_error_nomem(struct mk_error *err, const char *op);

#endif
