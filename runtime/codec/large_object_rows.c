/*
 * From files to rows: see large_objects.h.
 *
 *   bytes --> (tar) --> data --> rows
 *
 * A row's length stands before its data, so a row is begun with the data that is at hand, at most
 * MK_LARGE_OBJECT_ROW; until that has been copied (`row_left`) nothing else is read. Heads of rows
 * wait in `head` for room in the output.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/large_objects.h"
#include "codec/tar.h"

#define SIGNATURE "PGCOPY\n\377\r\n" /* and its NUL, flags, no extension: 8 zeros */

struct rows {
    struct mk_stream base;
    bool packed;
    struct mk_tar_reader tar;
    uint32_t oid;    /* of the object */
    uint64_t offset; /* in it, of the data that comes */
    size_t row_left; /* data of the row that has not been copied */
    uint8_t head[32];
    size_t head_len, head_at;
    bool has_end; /* the trailer is in `head`, or was */
};

bool mk_large_object_of(const char *name, uint32_t *oid)
{
    char *end;
    if (strncmp(name, "blob_", 5) != 0 || name[5] < '0' || name[5] > '9')
        return false;
    unsigned long long value = strtoull(name + 5, &end, 10);
    *oid = (uint32_t)value;
    return value <= UINT32_MAX && strcmp(end, ".dat") == 0;
}

static void put(struct rows *self, uint64_t value, int bytes)
{
    while (bytes-- > 0)
        self->head[self->head_len++] = (uint8_t)(value >> (8 * bytes));
}

static void begin_head(struct rows *self)
{
    self->head_len = self->head_at = 0;
}

/* Three columns: each its length and its value; that of the data follows. */
static void begin_row(struct rows *self, size_t len)
{
    begin_head(self);
    put(self, 3, 2);
    put(self, 4, 4);
    put(self, self->oid, 4);
    put(self, 8, 4);
    put(self, self->offset, 8);
    put(self, len, 4);
    self->row_left = len;
    self->offset += len;
}

static size_t least(size_t a, uint64_t b)
{
    return a < b ? a : (size_t)b;
}

static void copy_out(struct mk_stream_io *io, const uint8_t *bytes, size_t n)
{
    memcpy(io->out + io->out_used, bytes, n);
    io->out_used += n;
}

/* What has been begun, as far as there is room. False: there is more of it. */
static bool write_begun(struct rows *self, struct mk_stream_io *io)
{
    size_t n = least(self->head_len - self->head_at, io->out_cap - io->out_used);
    copy_out(io, self->head + self->head_at, n);
    self->head_at += n;
    if (self->head_at < self->head_len)
        return false;
    n = least(self->row_left, io->out_cap - io->out_used);
    n = least(n, io->in_len - io->in_used);
    if (n > 0)
        copy_out(io, io->in + io->in_used, n);
    io->in_used += n;
    self->row_left -= n;
    return self->row_left == 0;
}

/* Begins a row of the data that is at hand, or takes what lies between two files. */
static int read_on(struct rows *self, struct mk_stream_io *io, struct mk_error *err)
{
    size_t len = io->in_len - io->in_used;
    if (!self->packed || self->tar.left > 0) {
        size_t n = least(len, MK_LARGE_OBJECT_ROW);
        if (self->packed) {
            n = least(n, self->tar.left);
            self->tar.left -= n;
        }
        begin_row(self, n);
        return MK_OK;
    }
    enum mk_tar_event event;
    int64_t n = mk_tar_read(&self->tar, io->in + io->in_used, len, &event, err);
    if (n < 0)
        return (int)n;
    io->in_used += (size_t)n;
    if (event != MK_TAR_BEGIN)
        return MK_OK;
    self->offset = 0;
    if (!mk_large_object_of(self->tar.name, &self->oid))
        return mk_error_set(err, MK_ECORRUPT, "large objects",
                            "the data is damaged: %s is not the name of a large object's file",
                            self->tar.name);
    return MK_OK;
}

static int rows_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    struct rows *self = (struct rows *)stream;
    for (;;) {
        if (!write_begun(self, io))
            return MK_OK;
        if (io->in_used < io->in_len) {
            if (read_on(self, io, err) != MK_OK)
                return err->status;
        } else if (io->end && !self->has_end) {
            if (self->packed && !mk_tar_is_complete(&self->tar))
                return mk_error_set(err, MK_ECORRUPT, "large objects",
                                    "the data is damaged: the archive has no end");
            self->has_end = true;
            begin_head(self);
            put(self, 0xffff, 2);
        } else {
            io->done = self->has_end;
            return MK_OK;
        }
    }
}

static void rows_free(struct mk_stream *stream)
{
    mk_free(stream);
}

static const struct mk_stream_type type = {rows_step, rows_free, NULL};

struct mk_stream *mk_large_object_rows_new(bool packed, uint32_t oid, struct mk_error *err)
{
    struct rows *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "large objects");
        return NULL;
    }
    self->base.type = &type;
    self->packed = packed;
    self->oid = oid;
    memcpy(self->head, SIGNATURE, sizeof SIGNATURE);
    self->head_len = sizeof SIGNATURE + 8;
    return &self->base;
}
