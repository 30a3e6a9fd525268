/* From files of large objects to the rows of a binary COPY: see large_objects.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/frames.h"
#include "codec/large_objects.h"

#define SIGNATURE "PGCOPY\n\377\r\n" /* and its NUL; then flags, and no extension: 8 zeros */

struct rows {
    struct mk_frames frames;
    bool has_head;
    uint32_t oid;    /* of the object */
    uint64_t offset; /* in it, of the data that comes */
};

bool mk_large_object_of(const char *name, uint32_t *oid)
{
    char *end;
    if (strncmp(name, "blob_", 5) != 0 || name[5] < '1' || name[5] > '9')
        return false; /* 0 is no object, and ends those of a custom archive */
    unsigned long long value = strtoull(name + 5, &end, 10);
    *oid = (uint32_t)value;
    return value <= UINT32_MAX && strcmp(end, ".dat") == 0;
}

static void put_head(struct rows *self)
{
    if (self->has_head)
        return;
    self->has_head = true;
    mk_frames_put_bytes(&self->frames, SIGNATURE, sizeof SIGNATURE);
    mk_frames_put(&self->frames, 0, 8);
}

static int begin(struct mk_frames *frames, const char *name, struct mk_error *err)
{
    struct rows *self = (struct rows *)frames;
    put_head(self);
    self->offset = 0;
    if (!name || mk_large_object_of(name, &self->oid))
        return MK_OK;
    return mk_error_set(err, MK_ECORRUPT, "large objects",
                        "the data is damaged: %s is not the name of a large object's file", name);
}

/* Three columns: each its length and its value; that of the data follows. */
static void piece(struct mk_frames *frames, size_t len)
{
    struct rows *self = (struct rows *)frames;
    mk_frames_put(frames, 3, 2);
    mk_frames_put(frames, 4, 4);
    mk_frames_put(frames, self->oid, 4);
    mk_frames_put(frames, 8, 4);
    mk_frames_put(frames, self->offset, 8);
    mk_frames_put(frames, len, 4);
    self->offset += len;
}

static void end(struct mk_frames *frames)
{
    (void)frames;
}

static int finish(struct mk_frames *frames, struct mk_error *err)
{
    (void)err;
    put_head((struct rows *)frames);
    mk_frames_put(frames, 0xffff, 2);
    return MK_OK;
}

static const struct mk_frames_type type = {MK_LARGE_OBJECT_ROW, begin, piece, end, finish};

struct mk_stream *mk_large_object_rows_new(bool packed, uint32_t oid, struct mk_error *err)
{
    struct rows *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "large objects");
        return NULL;
    }
    self->frames.base.type = &mk_frames_stream;
    self->frames.type = &type;
    self->frames.packed = packed;
    self->oid = oid;
    return &self->frames.base;
}
