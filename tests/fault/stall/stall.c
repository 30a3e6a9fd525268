/*
 * LD_PRELOAD: reads of a file whose path ends with $STALL_FILE never come back, as with a network file
 * system whose server is gone. A signal interrupts none of them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static void stall(int fd)
{
    const char *wanted = getenv("STALL_FILE");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = wanted ? readlink(link, path, sizeof path - 1) : 0;
    size_t n = wanted ? strlen(wanted) : 0;
    if (len < (ssize_t)n || n == 0 || memcmp(path + len - n, wanted, n) != 0)
        return;
    for (;;)
        pause();
}

ssize_t read(int fd, void *bytes, size_t len)
{
    static ssize_t (*next)(int, void *, size_t);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "read");
    stall(fd);
    return next(fd, bytes, len);
}

ssize_t pread64(int fd, void *bytes, size_t len, off64_t at)
{
    static ssize_t (*next)(int, void *, size_t, off64_t);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "pread64");
    stall(fd);
    return next(fd, bytes, len, at);
}

ssize_t pread(int fd, void *bytes, size_t len, off_t at)
{
    return pread64(fd, bytes, len, at);
}
