/*
 * moonkeep: the command line. Options that come before everything else are read here; what they
 * start is in host/.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/supervisor.h"
#include "host/worker.h"

enum { EXIT_USAGE = 2 };

#define DEFAULT_LUA_MEMORY  (128u * 1024 * 1024)
#define DEFAULT_WATCHDOG_MS 10000

static const char usage[] =
    "moonkeep backs PostgreSQL up by Lua recipes, and proves that the backups restore.\n"
    "\n"
    "  moonkeep run [options] RECIPE [ARG...]   run a recipe; it finds ARGs in `...`\n"
    "  moonkeep version                         print the version\n"
    "  moonkeep help                            print this\n"
    "\n"
    "Options of run:\n"
    "  -q, --quiet                only warnings, errors and what the recipe itself prints\n"
    "  -v, --verbose              debug messages and tracebacks too\n"
    "  --log-format human|json    default: human on a terminal, otherwise JSON lines\n"
    "  --watchdog DURATION        how long a recipe may compute without waiting (default 10s)\n"
    "  --lua-memory SIZE          how much memory Lua may use (default 128MiB)\n"
    "\n"
    "Exit codes: 0 ok, 1 failed, 2 wrong usage or recipe, 128+n stopped by signal n.\n"
    "Start here: docs/guide/first-backup.md\n";

static int wrong_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int wrong_usage(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("moonkeep: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputs("\nTry: moonkeep help\n", stderr);
    va_end(ap);
    return EXIT_USAGE;
}

struct unit {
    const char *name;
    double factor;
};

/* "64MiB" or "10s" with the units of the table; negative when it is neither. */
static double parse_amount(const char *text, const struct unit *units)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || !(value >= 0) || value > 1e9)
        return -1;
    for (; units->name; units++)
        if (strcmp(end, units->name) == 0)
            return value * units->factor;
    return -1;
}

static double parse_duration_ms(const char *text)
{
    static const struct unit units[] = {{"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}, {NULL, 0}};
    return parse_amount(text, units);
}

static double parse_bytes(const char *text)
{
    static const struct unit units[] = {
        {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {NULL, 0}};
    return parse_amount(text, units);
}

static int worker(int argc, char **argv)
{
    struct mk_worker_options options = {
        .module = "moonkeep.worker",
        .event_fd = 3,
        .lua_memory_bytes = DEFAULT_LUA_MEMORY,
        .watchdog_ms = DEFAULT_WATCHDOG_MS,
    };
    int i = 2;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--watchdog") == 0)
            options.watchdog_ms = (int64_t)parse_duration_ms(argv[i + 1]);
        else if (strcmp(argv[i], "--lua-memory") == 0)
            options.lua_memory_bytes = (size_t)parse_bytes(argv[i + 1]);
    }
    if (i >= argc)
        return wrong_usage("%s is started by moonkeep itself", argv[1]);
    options.file = argv[i];
    options.argc = argc - i - 1;
    options.argv = argv + i + 1;
    return mk_worker_main(&options);
}

/* A plain Lua script as the main task, with the whole library and Lua's own search paths: how
 * the tests and benchmarks run inside the binary. Not for recipes. */
static int script(int argc, char **argv)
{
    if (argc < 3)
        return wrong_usage("%s needs a file", argv[1]);
    struct mk_worker_options options = {
        .module = "moonkeep.script",
        .file = argv[2],
        .argc = argc - 3,
        .argv = argv + 3,
        .event_fd = -1,
        .system_modules = true,
        .lua_memory_bytes = 1024u * 1024 * 1024,
        .watchdog_ms = 120000,
    };
    return mk_worker_main(&options);
}

static int run(int argc, char **argv)
{
    struct mk_supervisor_options options = {.json = !isatty(STDERR_FILENO)};
    int i = 2;
    for (; i < argc && argv[i][0] == '-'; i++) {
        char option[32];
        const char *equals = strchr(argv[i], '=');
        snprintf(option, sizeof option, "%.*s", equals ? (int)(equals - argv[i]) : 31, argv[i]);
        if (strcmp(option, "-h") == 0 || strcmp(option, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (strcmp(option, "-q") == 0 || strcmp(option, "--quiet") == 0) {
            options.quiet = true;
            continue;
        }
        if (strcmp(option, "-v") == 0 || strcmp(option, "--verbose") == 0) {
            options.verbose = true;
            continue;
        }
        bool known = strcmp(option, "--log-format") == 0 || strcmp(option, "--watchdog") == 0 ||
                     strcmp(option, "--lua-memory") == 0;
        if (!known)
            return wrong_usage("run has no option \"%s\"", option);
        if (!equals && i + 1 == argc)
            return wrong_usage("%s needs a value", option);
        const char *value = equals ? equals + 1 : argv[++i];
        if (strcmp(option, "--log-format") == 0) {
            options.json = strcmp(value, "json") == 0;
            if (!options.json && strcmp(value, "human") != 0)
                return wrong_usage("--log-format is human or json, not \"%s\"", value);
        } else if (strcmp(option, "--watchdog") == 0) {
            options.watchdog = value;
            if (parse_duration_ms(value) < 1)
                return wrong_usage("\"%s\" is not a duration such as 500ms, 10s or 2m", value);
        } else {
            options.lua_memory = value;
            if (parse_bytes(value) < 1048576)
                return wrong_usage("\"%s\" is not a size of at least 1MiB, such as 64MiB", value);
        }
    }
    if (i == argc)
        return wrong_usage("run needs a recipe, for example: moonkeep run nightly.lua");
    options.recipe = argv[i];
    options.argc = argc - i - 1;
    options.argv = argv + i + 1;
    return mk_supervisor_main(&options);
}

/* Whoever starts us may have closed standard descriptors or set SIGCHLD to be ignored; both would
 * be inherited, and neither can be lived with. */
static void normalize(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
    signal(SIGCHLD, SIG_DFL);
}

int main(int argc, char **argv)
{
    normalize();
    const char *command = argc > 1 ? argv[1] : "help";
    if (strcmp(command, "run") == 0)
        return run(argc, argv);
    if (strcmp(command, "--worker") == 0)
        return worker(argc, argv);
    if (strcmp(command, "--script") == 0)
        return script(argc, argv);
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
        puts("moonkeep " MK_VERSION);
        return 0;
    }
    if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 ||
        strcmp(command, "-h") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    return wrong_usage("there is no command \"%s\"", command);
}
