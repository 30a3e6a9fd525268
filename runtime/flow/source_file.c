/*
 * A file as a source: see stages.h. One read of up to a block is outstanding, on libuv's pool;
 * short reads are repeated there, so a block is short only at the end of the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "flow/stages.h"
#include "loop/call.h"

struct source_file {
    struct mk_source base;
    struct mk_call call; /* while one is outstanding, everything below is the pool thread's */
    struct mk_loop *loop;
    struct mk_block *block;
    int fd;
    bool end;
    char path[];
};

static struct source_file *of_call(struct mk_call *call)
{
    return (struct source_file *)(void *)((char *)call - offsetof(struct source_file, call));
}

static int read_block(struct mk_call *call)
{
    struct source_file *self = of_call(call);
    if (self->fd < 0) {
        self->fd = open(self->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat st;
        if (self->fd < 0 || fstat(self->fd, &st) != 0)
            return mk_error_errno(&call->err, errno, "file", "could not open %s", self->path);
        if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) /* a FIFO could hold this thread */
            return mk_error_set(&call->err, MK_EINVAL, "file", "%s is not a regular file",
                                self->path);
        posix_fadvise(self->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    struct mk_block *block = self->block;
    while (block->len < MK_BLOCK_BYTES) {
        ssize_t n = read(self->fd, block->data + block->len, MK_BLOCK_BYTES - block->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mk_error_errno(&call->err, errno, "file", "could not read %s", self->path);
        if (n == 0) {
            self->end = true;
            break;
        }
        block->len += (size_t)n;
    }
    return MK_OK;
}

static void on_read(struct mk_wait *wait, void *arg)
{
    struct source_file *self = arg;
    mk_source_filled(&self->base, self->end, wait->status, &self->call.err);
}

static void file_want(struct mk_source *source, struct mk_block *block)
{
    struct source_file *self = (struct source_file *)source;
    self->block = block;
    self->call.run = read_block;
    if (mk_call_start(self->loop, &self->call) != MK_OK) {
        mk_source_filled(source, false, MK_ENOMEM, &self->call.err);
        return;
    }
    self->call.wait.on_fire = on_read;
    self->call.wait.arg = self;
}

static void file_abort(struct mk_source *source)
{
    (void)source; /* a read ends soon by itself */
}

static void file_close(struct mk_source *source)
{
    struct source_file *self = (struct source_file *)source;
    if (self->fd >= 0)
        close(self->fd);
    mk_source_closed(source);
    mk_free(self);
}

static const struct mk_source_type type = {"file", file_want, file_abort, file_close, NULL, NULL};

struct mk_source *mk_source_file(struct mk_loop *loop, const char *path, struct mk_error *err)
{
    size_t size = strlen(path) + 1;
    struct source_file *self = mk_calloc(sizeof *self + size);
    if (!self) {
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->loop = loop;
    self->fd = -1;
    memcpy(self->path, path, size);
    return &self->base;
}
