/*
 * A file as a sink: see stages.h. Blocks are written under a temporary name in the same folder;
 * finish syncs, renames without overwriting, and syncs the folder. Until then, and after any
 * failure of this sink or of the flow, there is no file of the final name. The same goes for each
 * piece, the next of which begins with a byte that has no room in the one before it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "flow/stages.h"
#include "loop/call.h"
#include "loop/file.h"

#define WRITEBACK_BYTES (8u * 1024 * 1024)
/* At a time. A whole block at once costs three times the CPU (of a dump: 7 % instead of 2 %), for
 * it and the pages it goes to are more than a processor's cache holds. */
#define WRITE_BYTES (128u * 1024)

struct sink_file {
    struct mk_sink base;
    struct mk_call call; /* while one is outstanding, everything below is the pool thread's */
    struct mk_loop *loop;
    struct mk_block *block;
    char *path;    /* of this piece */
    char *partial; /* its temporary name, once there is a file of that name */
    int fd;
    uint64_t piece_bytes, in_piece; /* at most (0: any number), and so far */
    unsigned published;             /* pieces: those before this one, or all */
    size_t unflushed;               /* bytes since writing was last begun */
    bool finished;
    bool aborted; /* loop thread */
    char base_path[];
};

static struct sink_file *of_call(struct mk_call *call)
{
    return (struct sink_file *)(void *)((char *)call - offsetof(struct sink_file, call));
}

static void forget_names(struct sink_file *self)
{
    mk_free(self->partial);
    mk_free(self->path);
    self->partial = self->path = NULL;
}

static int open_partial(struct sink_file *self)
{
    if (self->fd >= 0)
        return MK_OK;
    self->path = mk_file_piece(self->base_path, self->published + 1);
    if (!self->path)
        return mk_error_nomem(&self->call.err, "file");
    int fd = mk_file_create_partial(self->path, 0600, &self->partial, &self->call.err);
    if (fd < 0) {
        forget_names(self);
        return fd;
    }
    self->fd = fd;
    return MK_OK;
}

/* Lets the system begin to write now what the sync at the end would wait for: of a file of 256 MB,
 * a fifth of the whole time. */
static void begin_writeback(struct sink_file *self, size_t written)
{
    self->unflushed += written;
    if (self->unflushed < WRITEBACK_BYTES)
        return;
    sync_file_range(self->fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* a hint: fsync has the last word */
    self->unflushed = 0;
}

/* What was written becomes a file that lasts. */
static int publish(struct sink_file *self, struct mk_error *err)
{
    if (fsync(self->fd) != 0)
        return mk_error_errno(err, errno, "file", "could not sync %s", self->path);
    int fd = self->fd;
    self->fd = -1;
    if (close(fd) != 0)
        return mk_error_errno(err, errno, "file", "could not close %s", self->path);
    int status = mk_file_publish(self->partial, self->path, true, err);
    if (status == MK_OK) {
        self->published++;
        self->in_piece = 0;
        forget_names(self);
    }
    return status;
}

/* How many of these bytes are written next; 0: the piece is full. */
static size_t share(const struct sink_file *self, size_t left)
{
    size_t n = left < WRITE_BYTES ? left : WRITE_BYTES;
    uint64_t room = self->piece_bytes - self->in_piece;
    return self->piece_bytes > 0 && n > room ? (size_t)room : n;
}

static int write_block(struct mk_call *call)
{
    struct sink_file *self = of_call(call);
    const uint8_t *bytes = self->block->data;
    for (size_t left = self->block->len; left > 0;) {
        size_t n = share(self, left);
        if (n == 0 ? publish(self, &call->err) != MK_OK : open_partial(self) != MK_OK)
            return call->err.status;
        ssize_t written = n > 0 ? write(self->fd, bytes, n) : 0;
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return mk_error_errno(&call->err, errno, "file", "could not write %s", self->path);
        bytes += written;
        left -= (size_t)written;
        self->in_piece += (uint64_t)written;
    }
    if (self->fd >= 0)
        begin_writeback(self, self->block->len);
    return MK_OK;
}

static int finish(struct mk_call *call)
{
    struct sink_file *self = of_call(call);
    int status = open_partial(self); /* an empty stream makes an empty file */
    if (status == MK_OK)
        status = publish(self, &call->err);
    self->finished = status == MK_OK;
    return status;
}

static void on_call(struct mk_wait *wait, void *arg)
{
    struct sink_file *self = arg;
    mk_sink_done(&self->base, wait->status, &self->call.err);
}

static void start(struct sink_file *self, int (*run)(struct mk_call *call))
{
    self->call.run = run;
    if (mk_call_start(self->loop, &self->call) != MK_OK) {
        mk_sink_done(&self->base, MK_ENOMEM, &self->call.err);
        return;
    }
    self->call.wait.on_fire = on_call;
    self->call.wait.arg = self;
}

static void file_put(struct mk_sink *sink, struct mk_block *block)
{
    struct sink_file *self = (struct sink_file *)sink;
    self->block = block;
    start(self, write_block);
}

static void file_finish(struct mk_sink *sink)
{
    start((struct sink_file *)sink, finish);
}

static void file_abort(struct mk_sink *sink)
{
    ((struct sink_file *)sink)->aborted = true; /* a write ends soon; close removes what there is */
}

/* Removes what an unfinished sink has written; off the loop, for the file may be large. */
static int discard(struct mk_call *call)
{
    struct sink_file *self = of_call(call);
    if (self->fd >= 0)
        close(self->fd);
    if (self->partial)
        unlink(self->partial);
    for (; self->published > 0; self->published--) {
        char *path = mk_file_piece(self->base_path, self->published);
        if (path)
            unlink(path);
        mk_free(path);
    }
    return MK_OK;
}

static void closed(struct sink_file *self)
{
    mk_sink_closed(&self->base);
    forget_names(self);
    mk_free(self);
}

static void on_discarded(struct mk_wait *wait, void *arg)
{
    (void)wait;
    closed(arg);
}

static void file_close(struct mk_sink *sink)
{
    struct sink_file *self = (struct sink_file *)sink;
    bool is_there = self->partial || self->published > 0;
    if (!is_there || (self->finished && !self->aborted)) {
        closed(self);
        return;
    }
    self->call.run = discard;
    if (mk_call_start(self->loop, &self->call) != MK_OK) {
        discard(&self->call);
        closed(self);
        return;
    }
    self->call.wait.on_fire = on_discarded;
    self->call.wait.arg = self;
}

static const struct mk_sink_type type = {"file",     file_put,   file_finish,
                                         file_abort, file_close, NULL};

struct mk_sink *mk_sink_file(struct mk_loop *loop, const char *path, uint64_t piece_bytes,
                             struct mk_error *err)
{
    size_t size = strlen(path) + 1;
    struct sink_file *self = mk_calloc(sizeof *self + size);
    if (!self) {
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->loop = loop;
    self->fd = -1;
    self->piece_bytes = piece_bytes;
    memcpy(self->base_path, path, size);
    return &self->base;
}
