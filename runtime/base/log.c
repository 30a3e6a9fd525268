/*
 * Log messages of the C floors. A run's worker points this at its event pipe, the supervisor at
 * the terminal; the floors below don't know which. Messages longer than 2 KiB are cut.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static mk_log_fn log_fn;
static void *log_arg;

void mk_log_set(mk_log_fn fn, void *arg)
{
    log_fn = fn;
    log_arg = arg;
}

const char *mk_log_level_name(enum mk_log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return names[level];
}

void mk_log(enum mk_log_level level, const char *fmt, ...)
{
    char text[MK_LOG_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (log_fn)
        log_fn(level, text, log_arg);
    else if (level >= MK_LOG_WARN)
        fprintf(stderr, "%s: %s\n", mk_log_level_name(level), text);
}
