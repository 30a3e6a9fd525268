#ifndef MK_BASE_LOG_H
#define MK_BASE_LOG_H

#define MK_LOG_BYTES 2048 /* longer messages are cut */

enum mk_log_level { MK_LOG_DEBUG, MK_LOG_INFO, MK_LOG_WARN, MK_LOG_ERROR };

typedef void (*mk_log_fn)(enum mk_log_level level, const char *text, void *arg);

/* Where messages go; until it is set, warnings and errors go to stderr. Loop thread only. */
void mk_log_set(mk_log_fn fn, void *arg);
void mk_log(enum mk_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *mk_log_level_name(enum mk_log_level level);

#endif
