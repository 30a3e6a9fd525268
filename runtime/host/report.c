/*
 * How a run is shown. The events are documented in docs/reference/events.md; what goes to stdout
 * is only what the recipe itself says (`output`), everything else is on stderr.
 */
#include "host/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void mk_report_init(struct mk_report *report, bool json, bool quiet, bool verbose)
{
    const char *no_color = getenv("NO_COLOR");
    *report = (struct mk_report){.json = json, .quiet = quiet, .verbose = verbose};
    report->tty = isatty(STDERR_FILENO) && !(no_color && *no_color);
}

static const char *field(const json_t *event, const char *key)
{
    const char *text = json_string_value(json_object_get(event, key));
    return text ? text : "";
}

static void clear_progress(struct mk_report *report)
{
    if (report->progress)
        fputs("\r\033[K", stderr);
    report->progress = false;
}

static void paint(const struct mk_report *report, const char *color, const char *text)
{
    if (report->tty)
        fprintf(stderr, "\033[%sm%s\033[0m", color, text);
    else
        fputs(text, stderr);
}

static void show_log(struct mk_report *report, const json_t *event)
{
    const char *level = field(event, "level");
    bool is_debug = strcmp(level, "debug") == 0, is_info = strcmp(level, "info") == 0;
    if ((is_debug && !report->verbose) || (is_info && report->quiet))
        return;
    char clock[16];
    time_t now = time(NULL);
    struct tm local;
    strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&now, &local));
    clear_progress(report);
    fprintf(stderr, "%s  ", clock);
    if (!is_info && !is_debug) {
        paint(report, strcmp(level, "error") == 0 ? "31" : "33", level);
        fputs(": ", stderr);
    }
    fprintf(stderr, "%s\n", field(event, "text"));
}

static void show_progress(struct mk_report *report, const json_t *event)
{
    if (!report->tty || report->quiet)
        return;
    fprintf(stderr, "\r\033[K  %s", field(event, "text"));
    fflush(stderr);
    report->progress = true;
}

/* A text of several lines, each indented, after its label on the first. */
static void show_field(const json_t *error, const char *key, const char *label)
{
    const char *text = field(error, key);
    if (!*text)
        return;
    fprintf(stderr, "  %-8s", label);
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        fprintf(stderr, "%s%.*s\n", line == text ? "" : "          ", (int)len, line);
        line += len + (line[len] == '\n');
    }
}

static void show_error(struct mk_report *report, const json_t *error, const char *job)
{
    clear_progress(report);
    paint(report, "1;31", "FAILED");
    fprintf(stderr, "  %s%s%s\n", job, *job ? "  " : "", field(error, "code"));
    fprintf(stderr, "  %s\n", field(error, "message"));
    show_field(error, "detail", "detail");
    show_field(error, "where", "where");
    show_field(error, "left", "left");
    show_field(error, "hint", "hint");
    const json_t *others = json_object_get(error, "also");
    for (size_t i = 0; i < json_array_size(others); i++) {
        const json_t *other = json_array_get(others, i);
        fprintf(stderr, "  also    %s: %s\n", field(other, "code"), field(other, "message"));
    }
    if (report->verbose)
        show_field(error, "traceback", "trace");
}

static void show_result(struct mk_report *report, const json_t *event)
{
    const json_t *error = json_object_get(event, "error");
    if (error) {
        show_error(report, error, field(event, "job"));
        return;
    }
    if (report->quiet)
        return;
    clear_progress(report);
    paint(report, "1;32", "OK");
    fprintf(stderr, "  %s  %s  in %.1f s\n", field(event, "job"), field(event, "text"),
            json_number_value(json_object_get(event, "seconds")));
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

json_t *mk_report_line(struct mk_report *report, const char *line, size_t len)
{
    json_t *event = json_loadb(line, len, 0, NULL);
    if (!json_is_object(event)) {
        json_decref(event);
        clear_progress(report);
        fprintf(stderr, "%.*s\n", (int)len, line);
        return NULL;
    }
    const char *name = field(event, "event");
    if (strcmp(name, "start") == 0)
        snprintf(report->job, sizeof report->job, "%s", field(event, "job"));
    if (strcmp(name, "start") == 0 || strcmp(name, "result") == 0)
        report->has_result = name[0] == 'r';
    if (strcmp(name, "output") == 0) {
        clear_progress(report);
        printf("%s\n", field(event, "text"));
        fflush(stdout);
    } else if (report->json) {
        fprintf(stderr, "%.*s\n", (int)len, line);
    } else {
        show_event(report, name, event);
    }
    return event;
}

void mk_report_failure(struct mk_report *report, const char *code, const char *message,
                       const char *hint)
{
    report->has_result = true;
    json_t *event =
        json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s}}", "event", "result", "job", report->job,
                  "status", "failed", "error", "code", code, "message", message, "hint", hint,
                  "left", "nothing half-done is visible; the next run removes what was begun");
    if (!event) {
        fprintf(stderr, "%s: %s\n", code, message);
        return;
    }
    if (report->json) {
        char *text = json_dumps(event, JSON_COMPACT);
        fprintf(stderr, "%s\n", text ? text : message);
        free(text);
    } else {
        show_result(report, event);
    }
    json_decref(event);
}
