#ifndef MK_HOST_REPORT_H
#define MK_HOST_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "host/output.h"

/* Shows a run's events: text for people, or the JSON lines as they came. */
struct mk_report {
    bool json, quiet, verbose;
    bool tty;        /* stderr is a terminal: colour, progress in place */
    bool progress;   /* a progress line is on the screen */
    bool has_result; /* a result event has come, and no job has started since */
    char job[128];   /* the job that runs, for failures that have no event */
    FILE *text;      /* what is being shown, until it goes to the printing thread */
    char *text_bytes;
    size_t text_len;
    struct mk_output *output;
    int journal;        /* the run's log file, or -1 */
    bool stdout_failed; /* after fini: what the recipe said did not all arrive */
    bool stuck;         /* after fini: nobody read the rest; the process must leave with _exit */
};

int mk_report_init(struct mk_report *report, bool json, struct mk_error *err);
/* Waits until everything has been printed, but not for ever. */
void mk_report_fini(struct mk_report *report);
/* One event line, without the newline. Lines that are no events are shown as they are. Returns
 * the parsed event (json_decref it), or NULL. */
json_t *mk_report_line(struct mk_report *report, const char *line, size_t len);
/* A failure that only the supervisor can know of: an error with no event of the worker's. Returns
 * its event (json_decref it), or NULL: no memory. */
json_t *mk_report_failure(struct mk_report *report, const char *code, const char *message,
                          const char *hint);

#endif
