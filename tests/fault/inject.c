/*
 * Faults on command, for whole runs of the real binary: LD_PRELOAD this, and say in MK_INJECT
 *
 *   ROLE:WHAT:N    for example worker:alloc:17
 *
 * ROLE  worker or supervisor: which process of `moonkeep run`; all others pass through.
 * WHAT  alloc         the Nth allocation fails, and the next, for Lua collects and tries again
 *       EIO, ENOSPC   the Nth step fails with this error
 *       kill          SIGKILL to itself at the Nth step
 *       kill-both     the same to its parent, then to itself
 *       count         nothing fails; at the end the numbers of allocations and of steps are
 *                     written to the file MK_INJECT_COUNT
 *
 * A step is a call to the system about something outside of the program: open, read, write, fsync,
 * close, rename, link, unlink, mkdir, fork ... Only calls from the program's own
 * code count, not those of the libraries it uses: libuv ends the process when memory is out, and
 * it is ours that is under test.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum what { NOTHING, COUNT, ALLOC, ERROR, KILL, KILL_BOTH };

static enum what what;
static long at;
static int error_number;
static atomic_long allocations, steps;
static uintptr_t code_from, code_to;

static int on_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
            continue;
        code_from = info->dlpi_addr + header->p_vaddr;
        code_to = code_from + header->p_memsz;
    }
    return 1; /* the first object is the program */
}

static int is_role(const char *role, size_t len)
{
    char text[4096] = "";
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    const char *second = n > 0 ? text + strlen(text) + 1 : "";
    const char *own = strcmp(second, "--worker") == 0 ? "worker"
                      : strcmp(second, "run") == 0    ? "supervisor"
                                                      : "";
    return strlen(own) == len && strncmp(own, role, len) == 0;
}

__attribute__((constructor)) static void init(void)
{
    const char *spec = getenv("MK_INJECT");
    const char *first = spec ? strchr(spec, ':') : NULL;
    const char *second = first ? strchr(first + 1, ':') : NULL;
    if (!second || !is_role(spec, (size_t)(first - spec)))
        return;
    static const struct {
        const char *name;
        enum what what;
        int error_number;
    } table[] = {
        {"count", COUNT, 0},  {"alloc", ALLOC, 0},         {"EIO", ERROR, EIO},
        {"kill", KILL, 0},    {"ENOSPC", ERROR, ENOSPC},   {"kill-both", KILL_BOTH, 0},
    };
    dl_iterate_phdr(on_object, NULL);
    at = strtol(second + 1, NULL, 10);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        size_t len = (size_t)(second - first - 1);
        if (strlen(table[i].name) == len && strncmp(table[i].name, first + 1, len) == 0) {
            error_number = table[i].error_number;
            what = table[i].what;
        }
    }
}

__attribute__((destructor)) static void fini(void)
{
    const char *path = getenv("MK_INJECT_COUNT");
    if (what != COUNT || !path)
        return;
    what = NOTHING;
    FILE *file = fopen(path, "w");
    if (file) {
        fprintf(file, "%ld %ld\n", atomic_load(&allocations), atomic_load(&steps));
        fclose(file);
    }
}

static int is_own(const void *caller)
{
    return (uintptr_t)caller >= code_from && (uintptr_t)caller < code_to;
}

/* Whether this allocation fails. */
static int alloc_fails(const void *caller)
{
    if (what == NOTHING || !is_own(caller))
        return 0;
    long n = atomic_fetch_add(&allocations, 1) + 1;
    return what == ALLOC && (n == at || n == at + 1);
}

/* Whether this step fails, with errno set. It may not return at all. */
static int step_fails(const void *caller)
{
    if (what == NOTHING || !is_own(caller) || atomic_fetch_add(&steps, 1) + 1 != at)
        return 0;
    if (what == KILL_BOTH)
        kill(getppid(), SIGKILL);
    if (what == KILL_BOTH || what == KILL)
        kill(getpid(), SIGKILL);
    errno = error_number;
    return what == ERROR;
}

#define CALLER __builtin_return_address(0)

/* glibc's own entry points: dlsym would allocate. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t size);

void *malloc(size_t size)
{
    return alloc_fails(CALLER) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return alloc_fails(CALLER) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *ptr, size_t size)
{
    return alloc_fails(CALLER) ? NULL : __libc_realloc(ptr, size);
}

#define NEXT(name) (__extension__(__typeof__(name) *)dlsym(RTLD_NEXT, #name))

#define STEP(type, name, parameters, arguments)                                                    \
    type name parameters                                                                           \
    {                                                                                              \
        static __typeof__(name) *next;                                                             \
        if (!next)                                                                                 \
            next = NEXT(name);                                                                     \
        return step_fails(CALLER) ? -1 : next arguments;                                           \
    }

STEP(ssize_t, write, (int fd, const void *bytes, size_t len), (fd, bytes, len))
STEP(ssize_t, read, (int fd, void *bytes, size_t len), (fd, bytes, len))
STEP(int, fsync, (int fd), (fd))
STEP(int, rename, (const char *from, const char *to), (from, to))
STEP(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags),
     (a, from, b, to, flags))
STEP(int, link, (const char *from, const char *to), (from, to))
STEP(int, unlink, (const char *path), (path))
STEP(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
STEP(int, mkdir, (const char *path, mode_t mode), (path, mode))
STEP(int, rmdir, (const char *path), (path))
STEP(int, chmod, (const char *path, mode_t mode), (path, mode))
STEP(int, fchmod, (int fd, mode_t mode), (fd, mode))
STEP(int, pipe2, (int fds[2], int flags), (fds, flags))
STEP(pid_t, fork, (void), ())

/* A close that fails has closed all the same (Linux). */
int close(int fd)
{
    static __typeof__(close) *next;
    if (!next)
        next = NEXT(close);
    int fails = step_fails(CALLER), errnum = errno;
    int result = next(fd);
    if (!fails)
        return result;
    errno = errnum;
    return -1;
}

int open(const char *path, int flags, ...)
{
    static __typeof__(open) *next;
    va_list ap;
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    if (!next)
        next = NEXT(open);
    return step_fails(CALLER) ? -1 : next(path, flags, mode);
}
