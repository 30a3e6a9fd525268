/*
 * A file as a source: see stages.h. One read of up to a block is outstanding, on libuv's pool;
 * short reads are repeated there, so a block is short only at the end of the (last) file.
 *
 * What the page cache has, the loop copies itself: handing a block to the pool and back takes
 * longer than the copy (sealing 1 GiB: 0.50 s, and 0.40 without). The kernel is asked for bytes
 * that it has at once, or none (RWF_NOWAIT), so the loop does not wait for what a disk still has to
 * read; a file that was not in memory once, or a file system that knows no such reads, is left to
 * the pool from there on.
 *
 * Limit: such a read may also begin to read ahead, which can wait for room in the disk's queue.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"
#include "flow/stages.h"
#include "loop/call.h"
#include "loop/file.h"

/* Blocks that the loop copies in a row: in a flow that does nothing else, each would be wanted from
 * inside the answer before it, and the loop would not run until the file has ended. */
#define LOOP_BLOCKS 8

struct source_file {
    struct mk_source base;
    struct mk_call call; /* while one is outstanding, everything below is the pool thread's */
    struct mk_loop *loop;
    struct mk_block *block;
    int fd;
    unsigned piece, pieces; /* the one that is read, from 1, and how many there are */
    bool end;
    bool is_cached;   /* as far as is known: this piece is in memory */
    unsigned by_loop; /* blocks, since one was left to the pool */
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
    self->is_cached = true;
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

/* Loop thread. Whether the block is full; if not, the pool fills it, or finds why it cannot. */
static bool copy_cached(struct source_file *self)
{
    struct mk_block *block = self->block;
    if (self->fd < 0 || !self->is_cached || self->by_loop == LOOP_BLOCKS)
        return false;
    while (block->len < MK_BLOCK_BYTES) {
        struct iovec rest = {block->data + block->len, MK_BLOCK_BYTES - block->len};
        ssize_t n = preadv2(self->fd, &rest, 1, -1, RWF_NOWAIT);
        self->is_cached = n >= 0;
        if (n <= 0)
            return false;
        block->len += (size_t)n;
    }
    self->by_loop++;
    return true;
}

static void file_want(struct mk_source *source, struct mk_block *block)
{
    struct source_file *self = (struct source_file *)source;
    self->block = block;
    if (copy_cached(self)) {
        mk_source_filled(source, false, MK_OK, NULL);
        return;
    }
    self->by_loop = 0;
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
