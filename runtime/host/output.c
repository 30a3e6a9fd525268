/*
 * The printing thread: see output.h. One list under one mutex; the thread takes the first entry,
 * writes it without the lock, and goes on. A write error (the reader is gone) drops the entry.
 * What is important is written even when there is no memory to queue it, if that does not block.
 */
#include "host/output.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"

#define DROP_BYTES (8u * 1024 * 1024)
#define MAX_BYTES  (16u * 1024 * 1024)

struct entry {
    struct entry *next;
    int fd;
    size_t len;
    char bytes[];
};

struct mk_output {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct entry *first, **last; /* under mutex */
    size_t waiting;              /* under mutex: bytes, the entry being written included */
    unsigned long dropped;       /* under mutex */
    bool finishing;              /* under mutex */
    int errnum;                  /* under mutex: why stdout could not be written, or 0 */
    pthread_t thread;
};

/* Returns 0, or the errno of a write that failed. */
static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static void tell_dropped(struct mk_output *self)
{
    char text[128];
    int len = snprintf(
        text, sizeof text,
        "moonkeep: %lu messages were dropped, because nobody read them or memory was out\n",
        self->dropped);
    self->dropped = 0;
    pthread_mutex_unlock(&self->mutex);
    write_all(STDERR_FILENO, text, (size_t)len);
    pthread_mutex_lock(&self->mutex);
}

static void *thread_main(void *arg)
{
    struct mk_output *self = arg;
    pthread_mutex_lock(&self->mutex);
    for (;;) {
        struct entry *entry = self->first;
        if (!entry && self->dropped > 0) {
            tell_dropped(self);
            continue;
        }
        if (!entry) {
            if (self->finishing)
                break;
            pthread_cond_wait(&self->changed, &self->mutex);
            continue;
        }
        self->first = entry->next;
        if (!self->first)
            self->last = &self->first;
        pthread_mutex_unlock(&self->mutex);
        int errnum = write_all(entry->fd, entry->bytes, entry->len);
        pthread_mutex_lock(&self->mutex);
        if (errnum && entry->fd == STDOUT_FILENO && errnum != EPIPE)
            self->errnum = errnum;
        self->waiting -= entry->len;
        mk_free(entry);
    }
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

struct mk_output *mk_output_new(struct mk_error *err)
{
    struct mk_output *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "output");
        return NULL;
    }
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->changed, NULL);
    self->last = &self->first;
    int result = mk_thread_create(&self->thread, false, thread_main, self);
    if (result != 0) {
        mk_error_errno(err, result, "output", "could not start a thread");
        mk_free(self);
        return NULL;
    }
    return self;
}

static bool write_now(int fd, const char *bytes, size_t len)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    return len <= PIPE_BUF && poll(&ready, 1, 0) == 1 && write_all(fd, bytes, len) == 0;
}

void mk_output_write(struct mk_output *self, int fd, const char *bytes, size_t len, bool important)
{
    struct entry *entry = mk_alloc(sizeof *entry + len);
    if (!entry && important && write_now(fd, bytes, len))
        return;
    pthread_mutex_lock(&self->mutex);
    bool drop = self->waiting > (important ? MAX_BYTES : DROP_BYTES);
    if (!entry || drop) {
        self->dropped++;
        mk_free(entry);
    } else {
        entry->next = NULL;
        entry->fd = fd;
        entry->len = len;
        memcpy(entry->bytes, bytes, len);
        *self->last = entry;
        self->last = &entry->next;
        self->waiting += len;
        pthread_cond_signal(&self->changed);
    }
    pthread_mutex_unlock(&self->mutex);
}

bool mk_output_finish(struct mk_output *self, int timeout_ms, int *errnum)
{
    pthread_mutex_lock(&self->mutex);
    self->finishing = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    if (pthread_timedjoin_np(self->thread, NULL, &until) != 0)
        return false;
    *errnum = self->errnum;
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->mutex);
    mk_free(self);
    return true;
}
