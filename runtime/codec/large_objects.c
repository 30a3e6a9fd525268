/*
 * From rows of pages to files: see large_objects.h.
 *
 *   bytes --> field --> row --> object --> out
 *
 * A field is gathered whole (a page, at most MAX_FIELD); then it is consumed, or the row is acted
 * on. What an act has to write goes to `pending`, and nothing is read while some of that is left.
 * Packed, an object waits in `object` until the next one begins, since its header says its length;
 * otherwise its bytes, and the zeros of its holes, go out as they come.
 */
#include "codec/large_objects.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "codec/content_hash.h"
#include "codec/tar.h"

#define SIGNATURE       "PGCOPY\n\377\r\n"
#define SIGNATURE_BYTES 11 /* with its NUL */
#define HEAD_BYTES      (SIGNATURE_BYTES + 8)
#define MAX_FIELD       (1024u * 1024)
#define N_FIELDS        3

enum state { READ_HEAD, READ_COUNT, READ_LENGTH, READ_VALUE, READ_END };

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

struct large_objects {
    struct mk_stream base;
    bool packed;
    enum state state;
    size_t wanted;     /* bytes of what is being gathered */
    struct bytes part; /* what has come of it */
    int field;         /* of the row */

    bool has_object;
    uint32_t oid; /* of the object, and of the row that is being read */
    uint32_t row_oid;
    uint64_t row_offset;
    uint64_t size;        /* of what has come of the object */
    uint64_t zeros;       /* of a hole, to be written before `pending` */
    struct bytes object;  /* packed: the header and what has come of it */
    struct bytes pending; /* to be written */
    size_t written;       /* of it */

    struct mk_content_row *row;
    struct mk_content_hash hash;
    uint64_t bytes;
    char text[MK_CONTENT_HASH_TEXT + 24];
};

static int corrupt(struct mk_error *err, const char *what)
{
    return mk_error_set(err, MK_ECORRUPT, "large objects", "the COPY is not what was asked for: %s",
                        what);
}

/* Room for `more`; zeroed. */
static int grow(struct bytes *bytes, size_t more, struct mk_error *err)
{
    size_t cap = bytes->cap ? bytes->cap : 4096;
    while (cap < bytes->len + more)
        cap *= 2;
    if (cap > bytes->cap) {
        uint8_t *larger = mk_realloc(bytes->data, cap);
        if (!larger)
            return mk_error_nomem(err, "large objects");
        bytes->data = larger;
        bytes->cap = cap;
    }
    memset(bytes->data + bytes->len, 0, more);
    return MK_OK;
}

static int append(struct bytes *bytes, const void *data, size_t len, struct mk_error *err)
{
    if (grow(bytes, len, err) != MK_OK)
        return err->status;
    if (len > 0)
        memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
    return MK_OK;
}

static uint64_t big_endian(const uint8_t *data, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | data[i];
    return value;
}

/* ---- objects --------------------------------------------------------------------------------- */

/* The object is complete: packed, it becomes pending. */
static int end_object(struct large_objects *self, struct mk_error *err)
{
    if (!self->has_object)
        return MK_OK;
    self->has_object = false;
    mk_content_row_end(self->row, &self->hash);
    self->bytes += self->size;
    if (!self->packed)
        return MK_OK;
    char name[MK_TAR_NAME];
    snprintf(name, sizeof name, "blob_%" PRIu32 ".dat", self->oid);
    mk_tar_header(self->object.data, name, self->size, (int64_t)time(NULL));
    size_t padding = mk_tar_padding(self->size);
    if (grow(&self->object, padding, err) != MK_OK)
        return err->status;
    self->object.len += padding;
    struct bytes empty = self->pending; /* nothing is pending: swap the two */
    self->pending = self->object;
    self->object = empty;
    return MK_OK;
}

static int begin_object(struct large_objects *self, struct mk_error *err)
{
    if (!self->packed && self->hash.rows > 0)
        return corrupt(err, "there is a second object");
    mk_content_row_oid(self->row, self->row_oid);
    self->has_object = true;
    self->oid = self->row_oid;
    self->size = 0;
    self->object.len = 0;
    if (!self->packed)
        return MK_OK;
    if (grow(&self->object, MK_TAR_BLOCK, err) != MK_OK)
        return err->status;
    self->object.len = MK_TAR_BLOCK;
    return MK_OK;
}

static void hash_zeros(struct large_objects *self, uint64_t n)
{
    static const uint8_t zeros[65536];
    for (; n > 0;) {
        size_t piece = n < sizeof zeros ? (size_t)n : sizeof zeros;
        mk_content_row_piece(self->row, zeros, piece);
        n -= piece;
    }
}

/* A page of the object: after what has come of it, perhaps after a hole. */
static int take_page(struct large_objects *self, const uint8_t *data, size_t len,
                     struct mk_error *err)
{
    if (self->row_offset < self->size)
        return corrupt(err, "its rows are not in order");
    uint64_t hole = len > 0 ? self->row_offset - self->size : 0;
    if (self->packed &&
        (hole > MK_LARGE_OBJECT_BYTES || self->size + hole + len > MK_LARGE_OBJECT_BYTES))
        return corrupt(err, "an object is too large to be packed");
    hash_zeros(self, hole);
    mk_content_row_piece(self->row, data, len);
    self->size += hole + len;
    if (!self->packed) {
        self->zeros = hole;
        self->pending.len = 0;
        return append(&self->pending, data, len, err);
    }
    if (grow(&self->object, (size_t)hole, err) != MK_OK)
        return err->status;
    self->object.len += (size_t)hole;
    return append(&self->object, data, len, err);
}

/* ---- the binary format ------------------------------------------------------------------------
 */

static void want(struct large_objects *self, enum state state, size_t bytes)
{
    self->state = state;
    self->wanted = bytes;
    self->part.len = 0;
}

/* Packed: what ends the archive, after the last object, which may be pending. */
static int end_archive(struct large_objects *self, struct mk_error *err)
{
    want(self, READ_END, 1);
    if (end_object(self, err) != MK_OK)
        return err->status;
    if (!self->packed)
        return MK_OK;
    if (grow(&self->pending, 2 * MK_TAR_BLOCK, err) != MK_OK)
        return err->status;
    self->pending.len += 2 * MK_TAR_BLOCK;
    return MK_OK;
}

static int take_count(struct large_objects *self, struct mk_error *err)
{
    uint64_t count = big_endian(self->part.data, 2);
    if (count == 0xffff)
        return end_archive(self, err);
    if (count != N_FIELDS)
        return corrupt(err, "its rows do not have three columns");
    self->field = 0;
    want(self, READ_LENGTH, 4);
    return MK_OK;
}

static int take_length(struct large_objects *self, struct mk_error *err)
{
    static const size_t lengths[N_FIELDS] = {4, 8, MAX_FIELD};
    uint64_t len = big_endian(self->part.data, 4);
    bool is_data = self->field == N_FIELDS - 1;
    if (len > lengths[self->field] || (!is_data && len != lengths[self->field]))
        return corrupt(err, "a column of it has another type");
    want(self, READ_VALUE, (size_t)len);
    return MK_OK;
}

/* The row is complete but for its data, which is in `part`. A new object ends the one before it,
 * whose bytes must go out first: then false, and this comes again. */
static bool begin_row(struct large_objects *self, int *status, struct mk_error *err)
{
    bool is_next = !self->has_object || self->oid != self->row_oid;
    if (is_next && self->has_object) {
        *status = end_object(self, err);
        if (self->packed)
            return false;
    }
    *status = is_next ? begin_object(self, err) : MK_OK;
    return true;
}

static int take_value(struct large_objects *self, struct mk_error *err)
{
    int status = MK_OK;
    if (self->field == 0) {
        self->row_oid = (uint32_t)big_endian(self->part.data, 4);
    } else if (self->field == 1) {
        self->row_offset = big_endian(self->part.data, 8);
    } else {
        if (!begin_row(self, &status, err))
            return status; /* `part` stays complete */
        if (status == MK_OK)
            status = take_page(self, self->part.data, self->part.len, err);
        want(self, READ_COUNT, 2);
        return status;
    }
    self->field++;
    want(self, READ_LENGTH, 4);
    return status;
}

static int act(struct large_objects *self, struct mk_error *err)
{
    switch (self->state) {
    case READ_HEAD:
        if (memcmp(self->part.data, SIGNATURE, SIGNATURE_BYTES) != 0 ||
            big_endian(self->part.data + SIGNATURE_BYTES, 8) != 0)
            return corrupt(err, "it does not begin like one in binary format");
        want(self, READ_COUNT, 2);
        return MK_OK;
    case READ_COUNT:
        return take_count(self, err);
    case READ_LENGTH:
        return take_length(self, err);
    case READ_VALUE:
        return take_value(self, err);
    case READ_END:
        break;
    }
    return corrupt(err, "there is more after its end");
}

/* ---- the stream ------------------------------------------------------------------------------ */

static void write_pending(struct large_objects *self, struct mk_stream_io *io)
{
    size_t room = io->out_cap - io->out_used;
    if (self->zeros > 0) {
        size_t n = self->zeros < room ? (size_t)self->zeros : room;
        memset(io->out + io->out_used, 0, n);
        self->zeros -= n;
        io->out_used += n;
        room -= n;
    }
    size_t n = self->pending.len - self->written;
    if (self->zeros > 0 || n == 0)
        return;
    n = n < room ? n : room;
    memcpy(io->out + io->out_used, self->pending.data + self->written, n);
    io->out_used += n;
    self->written += n;
    if (self->written == self->pending.len)
        self->written = self->pending.len = 0;
}

static int gather(struct large_objects *self, struct mk_stream_io *io, struct mk_error *err)
{
    size_t n = self->wanted - self->part.len;
    if (n > io->in_len - io->in_used)
        n = io->in_len - io->in_used;
    int status = append(&self->part, io->in + io->in_used, n, err);
    io->in_used += n;
    return status;
}

static int large_objects_step(struct mk_stream *stream, struct mk_stream_io *io,
                              struct mk_error *err)
{
    struct large_objects *self = (struct large_objects *)stream;
    for (;;) {
        write_pending(self, io);
        if (self->zeros > 0 || self->pending.len > 0)
            return MK_OK; /* the output is full */
        int status = MK_OK;
        if (self->part.len < self->wanted) {
            if (io->in_used == io->in_len)
                break;
            status = gather(self, io, err);
        }
        if (status == MK_OK && self->part.len == self->wanted)
            status = act(self, err);
        if (status != MK_OK)
            return status;
    }
    if (!io->end)
        return MK_OK;
    if (self->state != READ_END)
        return corrupt(err, "it has no end");
    char hash[MK_CONTENT_HASH_TEXT];
    mk_content_hash_text(&self->hash, hash);
    snprintf(self->text, sizeof self->text, "%" PRIu64 ":%s", self->bytes, hash);
    io->done = true;
    return MK_OK;
}

static struct mk_text large_objects_result(struct mk_stream *stream)
{
    return mk_text_of(((struct large_objects *)stream)->text);
}

static void large_objects_free(struct mk_stream *stream)
{
    struct large_objects *self = (struct large_objects *)stream;
    mk_content_row_free(self->row);
    mk_free(self->part.data);
    mk_free(self->object.data);
    mk_free(self->pending.data);
    mk_free(self);
}

static const struct mk_stream_type type = {large_objects_step, large_objects_free,
                                           large_objects_result};

struct mk_stream *mk_large_objects_new(bool packed, struct mk_error *err)
{
    struct large_objects *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "large objects");
        return NULL;
    }
    self->base.type = &type;
    self->packed = packed;
    want(self, READ_HEAD, HEAD_BYTES);
    self->row = mk_content_row_new(err);
    if (!self->row) {
        large_objects_free(&self->base);
        return NULL;
    }
    return &self->base;
}
