/*
 * How a run is shown. The events are documented in docs/reference/events.md; what goes to stdout
 * is only what the recipe itself says (`output`), everything else is on stderr.
 */
#include "host/report.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* How long the end of a run waits for somebody to read what it says. */
#define FINISH_MS 10000

int mk_report_init(struct mk_report *report, bool json, struct mk_error *err)
{
    const char *no_color = getenv("NO_COLOR");
    *report = (struct mk_report){.json = json, .journal = -1};
    const char *term = getenv("TERM");
    report->tty =
        isatty(STDERR_FILENO) && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
    report->text = open_memstream(&report->text_bytes, &report->text_len);
    if (!report->text)
        return mk_error_nomem(err, "output");
    report->output = mk_output_new(err);
    return report->output ? MK_OK : err->status;
}

static const char *field(const json_t *event, const char *key)
{
    const char *text = json_string_value(json_object_get(event, key));
    return text ? text : "";
}

static void clear_progress(struct mk_report *report)
{
    if (report->progress)
        fputs("\r\033[K", report->text);
    report->progress = false;
}

static void paint(const struct mk_report *report, const char *color, const char *text)
{
    if (report->tty)
        fprintf(report->text, "\033[%sm%s\033[0m", color, text);
    else
        fputs(text, report->text);
}

static void show_log(struct mk_report *report, const json_t *event)
{
    const char *level = field(event, "level");
    bool is_debug = strcmp(level, "debug") == 0, is_info = strcmp(level, "info") == 0;
    char clock[16];
    time_t now = time(NULL);
    struct tm local;
    strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&now, &local));
    clear_progress(report);
    fprintf(report->text, "%s  ", clock);
    if (!is_info && !is_debug) {
        paint(report, strcmp(level, "error") == 0 ? "31" : "33", level);
        fputs(": ", report->text);
    }
    fprintf(report->text, "%s\n", field(event, "text"));
}

static void show_progress(struct mk_report *report, const json_t *event)
{
    if (!report->tty)
        return;
    fprintf(report->text, "\r\033[K  %s", field(event, "text"));
    report->progress = true;
}

/* Each line without its own blanks: the first after `first`, the others below the fields' texts. */
static void show_lines(const struct mk_report *report, const char *text, const char *first)
{
    const char *indent = first;
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        size_t blank = strspn(line, " \t");
        if (blank < len)
            fprintf(report->text, "%s%.*s\n", indent, (int)(len - blank), line + blank);
        indent = "          ";
        line += len + (line[len] == '\n');
    }
}

/* A text of several lines, each indented, after its label on the first. */
static void show_field(const struct mk_report *report, const json_t *error, const char *key,
                       const char *label)
{
    const char *text = field(error, key);
    if (!*text)
        return;
    fprintf(report->text, "  %-8s", label);
    show_lines(report, text, "");
}

static void show_error(struct mk_report *report, const json_t *error, const char *job)
{
    clear_progress(report);
    paint(report, "1;31", "FAILED");
    fprintf(report->text, "  %s%s%s\n", job, *job ? "  " : "", field(error, "code"));
    show_lines(report, field(error, "message"), "  ");
    show_field(report, error, "detail", "detail");
    show_field(report, error, "where", "where");
    show_field(report, error, "left", "left");
    show_field(report, error, "hint", "hint");
    const json_t *others = json_object_get(error, "also");
    for (size_t i = 0; i < json_array_size(others); i++) {
        const json_t *other = json_array_get(others, i);
        fprintf(report->text, "  also    %s: %s\n", field(other, "code"), field(other, "message"));
    }
    if (report->verbose)
        show_field(report, error, "traceback", "trace");
}

static void show_result(struct mk_report *report, const json_t *event)
{
    const json_t *error = json_object_get(event, "error");
    if (error) {
        show_error(report, error, field(event, "job"));
        return;
    }
    bool degraded = strcmp(field(event, "status"), "degraded") == 0;
    if (report->quiet && !degraded)
        return;
    clear_progress(report);
    bool skipped = strcmp(field(event, "status"), "skipped") == 0;
    paint(report, skipped || degraded ? "1;33" : "1;32",
          skipped    ? "SKIPPED"
          : degraded ? "DEGRADED"
                     : "OK");
    const char *text = field(event, "text");
    fprintf(report->text, "  %s%s%s", field(event, "job"), *text ? "  " : "", text);
    if (!skipped)
        fprintf(report->text, "  in %.1f s", json_number_value(json_object_get(event, "seconds")));
    fputc('\n', report->text);
    const json_t *problems = json_object_get(event, "problems");
    for (size_t i = 0; i < json_array_size(problems); i++) {
        const char *problem = json_string_value(json_array_get(problems, i));
        show_lines(report, problem ? problem : "", "  ");
    }
    show_field(report, event, "hint", "hint");
}

/* -q and -v, for both formats. */
static bool is_wanted(const struct mk_report *report, const char *name, const json_t *event)
{
    if (strcmp(name, "log") == 0 && strcmp(field(event, "level"), "debug") == 0)
        return report->verbose;
    if (strcmp(name, "log") == 0 && strcmp(field(event, "level"), "info") == 0)
        return !report->quiet;
    if (strcmp(name, "progress") == 0 || strcmp(name, "start") == 0)
        return !report->quiet;
    return true;
}

/* The worker has read the command line. */
static void settings(struct mk_report *report, const json_t *event)
{
    const char *format = field(event, "log_format"), *journal = field(event, "journal");
    if (*format)
        report->json = strcmp(format, "json") == 0;
    if (json_object_get(event, "quiet"))
        report->quiet = json_is_true(json_object_get(event, "quiet"));
    if (json_object_get(event, "verbose"))
        report->verbose = json_is_true(json_object_get(event, "verbose"));
    if (*journal && report->journal < 0)
        report->journal =
            open(journal, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static void show_prompt(struct mk_report *report, const json_t *event)
{
    if (!isatty(STDIN_FILENO))
        return; /* there is nobody to ask, which the answer says */
    clear_progress(report);
    fprintf(report->text, "%s ", field(event, "text"));
}

static void write_journal(struct mk_report *report, const char *name, const char *line, size_t len)
{
    if (report->journal < 0 || strcmp(name, "progress") == 0)
        return;
    mk_output_write(report->output, report->journal, line, len, true);
    mk_output_write(report->output, report->journal, "\n", 1, true);
}

static void show_event(struct mk_report *report, const char *name, const json_t *event)
{
    if (strcmp(name, "log") == 0) {
        show_log(report, event);
    } else if (strcmp(name, "progress") == 0) {
        show_progress(report, event);
    } else if (strcmp(name, "result") == 0) {
        show_result(report, event);
    }
}

/* Sends what has been shown since the last time to the printing thread. */
static void flush(struct mk_report *report, bool important)
{
    fflush(report->text);
    if (report->text_len > 0)
        mk_output_write(report->output, STDERR_FILENO, report->text_bytes, report->text_len,
                        important);
    rewind(report->text);
}

/* What the two processes say to each other. */
static bool is_internal(const char *name)
{
    return strcmp(name, "settings") == 0 || strcmp(name, "exit") == 0;
}

json_t *mk_report_line(struct mk_report *report, const char *line, size_t len)
{
    json_t *event = json_loadb(line, len, JSON_ALLOW_NUL, NULL);
    const char *name = json_is_object(event) ? field(event, "event") : "";
    bool important = strcmp(name, "progress") != 0 && strcmp(name, "log") != 0;
    if (strcmp(name, "start") == 0)
        snprintf(report->job, sizeof report->job, "%s", field(event, "job"));
    if (strcmp(name, "start") == 0 || strcmp(name, "result") == 0)
        report->has_result = name[0] == 'r';
    if (strcmp(name, "exit") == 0)
        report->has_result = true;
    if (strcmp(name, "settings") == 0)
        settings(report, event);
    if (is_internal(name)) {
        return event;
    }
    write_journal(report, name, line, len);
    if (strcmp(name, "prompt") == 0) {
        show_prompt(report, event);
    } else if (strcmp(name, "output") == 0) {
        clear_progress(report);
        flush(report, true);
        const json_t *text = json_object_get(event, "text");
        if (json_is_string(text))
            mk_output_write(report->output, STDOUT_FILENO, json_string_value(text),
                            json_string_length(text), true);
        if (!json_is_true(json_object_get(event, "partial")))
            mk_output_write(report->output, STDOUT_FILENO, "\n", 1, true);
    } else if (!is_wanted(report, name, event)) {
        return event;
    } else if (report->json || !*name) {
        fprintf(report->text, "%.*s\n", (int)len, line);
    } else {
        show_event(report, name, event);
    }
    flush(report, important);
    return event;
}

json_t *mk_report_failure(struct mk_report *report, const char *code, const char *message,
                          const char *hint)
{
    report->has_result = true;
    char now[MK_ISO_BYTES];
    mk_iso_time(mk_wall_ms(), now);
    json_t *event = json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s}}", "event", "result",
                              "time", now, "job", report->job, "status", "failed", "error", "code",
                              code, "message", message, "hint", hint, "left",
                              "nothing half-done is visible; the next run removes what was begun");
    char *text = event ? json_dumps(event, JSON_COMPACT) : NULL;
    if (text)
        write_journal(report, "result", text, strlen(text));
    if (!text)
        fprintf(report->text, "%s: %s\n", code, message);
    else if (report->json)
        fprintf(report->text, "%s\n", text);
    else
        show_result(report, event);
    free(text);
    flush(report, true);
    return event;
}

void mk_report_fini(struct mk_report *report)
{
    int errnum = 0;
    if (report->output && !mk_output_finish(report->output, FINISH_MS, &errnum)) {
        /* Whoever should read has stopped reading: what is left is lost, and exit handlers would
         * wait for the same lock. */
        report->output = NULL;
        report->stuck = true;
    }
    if (errnum)
        fprintf(stderr, "moonkeep: could not write to stdout: %s\n", strerror(errnum));
    report->stdout_failed = errnum != 0;
    if (report->journal >= 0)
        close(report->journal);
    if (report->text)
        fclose(report->text);
    free(report->text_bytes);
}
