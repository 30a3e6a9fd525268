/*
 * A file as a source: see stages.h. One read of up to a block is outstanding, on libuv's pool;
 * short reads are repeated there, so a block is short only at the end of the (last) file.
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
#include "loop/file.h"

struct source_file {
    struct mk_source base;
    struct mk_call call; /* while one is outstanding, everything below is the pool thread's */
    struct mk_loop *loop;
    struct mk_block *block;
    int fd;
    unsigned piece, pieces; /* the one that is read, from 1, and how many there are */
    bool end;
    char path[];
};

static struct source_file *of_call(struct mk_call *call)
{
    return (struct source_file *)(void *)((char *)call - offsetof(struct source_file, call));
}

static int open_path(struct source_file *self, const char *path, struct mk_error *err)
{
    struct stat st;
    self->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (self->fd < 0 || fstat(self->fd, &st) != 0)
        return mk_error_errno(err, errno, "file", "could not open %s", path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) /* a FIFO could hold this thread */
        return mk_error_set(err, MK_EINVAL, "file", "%s is not a regular file", path);
    posix_fadvise(self->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return MK_OK;
}

static int open_piece(struct source_file *self, struct mk_error *err)
{
    char *path = mk_file_piece(self->path, self->piece);
    int status = path ? open_path(self, path, err) : mk_error_nomem(err, "file");
    mk_free(path);
    return status;
}

static void end_piece(struct source_file *self)
{
    close(self->fd);
    self->fd = -1;
    self->end = self->piece >= self->pieces;
    self->piece++;
}

static int read_block(struct mk_call *call)
{
    struct source_file *self = of_call(call);
    struct mk_block *block = self->block;
    while (block->len < MK_BLOCK_BYTES && !self->end) {
        if (self->fd < 0 && open_piece(self, &call->err) != MK_OK)
            return call->err.status;
        ssize_t n = read(self->fd, block->data + block->len, MK_BLOCK_BYTES - block->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mk_error_errno(&call->err, errno, "file", "could not read %s", self->path);
        if (n == 0)
            end_piece(self);
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

struct mk_source *mk_source_file(struct mk_loop *loop, const char *path, unsigned pieces,
                                 struct mk_error *err)
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
    self->piece = 1;
    self->pieces = pieces;
    memcpy(self->path, path, size);
    return &self->base;
}
