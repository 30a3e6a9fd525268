/*
 * Error values: see error.h. The errno table below is the only place where the runtime decides
 * which operating-system faults users see by name.
 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *mk_error_name(int status)
{
    switch (status) {
    case MK_OK:
        return "OK";
#define MK_ERROR_CASE(name, value, text)                                                           \
    case name:                                                                                     \
        return text;
        MK_ERROR_CODES(MK_ERROR_CASE)
#undef MK_ERROR_CASE
    default:
        return "UNKNOWN";
    }
}

static void set_text(struct mk_error *err, int status, const char *op, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));

static void set_text(struct mk_error *err, int status, const char *op, const char *fmt, va_list ap)
{
    err->status = status;
    snprintf(err->op, sizeof err->op, "%s", op);
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    err->hint[0] = '\0';
    err->detail[0] = '\0';
    err->sqlstate[0] = '\0';
}

int mk_error_status(const char *name)
{
#define MK_ERROR_MATCH(code, value, text)                                                          \
    if (strcmp(name, text) == 0)                                                                   \
        return code;
    MK_ERROR_CODES(MK_ERROR_MATCH)
#undef MK_ERROR_MATCH
    return MK_EIO;
}

int mk_error_set(struct mk_error *err, int status, const char *op, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        set_text(err, status, op, fmt, ap);
        va_end(ap);
    }
    return status;
}

void mk_error_hint(struct mk_error *err, const char *fmt, ...)
{
    if (!err)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->hint, sizeof err->hint, fmt, ap);
    va_end(ap);
}

int mk_error_nomem(struct mk_error *err, const char *op)
{
    mk_error_set(err, MK_ENOMEM, op, "out of memory");
    mk_error_hint(err, "lower the number of parallel jobs, or give the host more memory");
    return MK_ENOMEM;
}

static const struct {
    int errnum;
    int status;
    const char *hint;
} known_errnos[] = {
    {ENOSPC, MK_ENOSPC, "free space there, or store the backup elsewhere"},
    {EDQUOT, MK_ENOSPC, "the user's disk quota is used up: raise it, or store elsewhere"},
    {EFBIG, MK_ENOSPC, "raise the limit of file sizes (ulimit -f), or choose another file system"},
    {EACCES, MK_EACCES, "check the owner and mode of the path and of the folders above it"},
    {EPERM, MK_EACCES, "check the owner and mode of the path, and that it is not immutable"},
    {EROFS, MK_EACCES, "the file system is mounted read-only"},
    {ENOENT, MK_ENOENT, ""},
    {ENOTDIR, MK_ENOENT, "a part of the path is a file, not a folder"},
    {EEXIST, MK_EEXIST, ""},
    {EPIPE, MK_EPIPE, "the reading side ended early"},
    {EIO, MK_EIO, "the device reported an error: check dmesg and the disk's health"},
    {ENOMEM, MK_ENOMEM, "give the host more memory"},
    {ETIMEDOUT, MK_ETIMEOUT, ""},
    {ECANCELED, MK_ECANCELED, ""},
};

int mk_error_errno(struct mk_error *err, int errnum, const char *op, const char *fmt, ...)
{
    int status = MK_ESYS;
    const char *hint = "";
    for (size_t i = 0; i < sizeof known_errnos / sizeof known_errnos[0]; i++) {
        if (known_errnos[i].errnum == errnum) {
            status = known_errnos[i].status;
            hint = known_errnos[i].hint;
            break;
        }
    }
    if (!err)
        return status;
    va_list ap;
    va_start(ap, fmt);
    set_text(err, status, op, fmt, ap);
    va_end(ap);
    size_t used = strlen(err->message);
    char text[128];
    snprintf(err->message + used, sizeof err->message - used, ": %s",
             strerror_r(errnum, text, sizeof text));
    mk_error_hint(err, "%s", hint);
    return status;
}
