/* Data files as blocks of a custom archive: see custom_blocks.h. */
#include "codec/custom_blocks.h"

#include <string.h>

#include "base/mem.h"
#include "codec/frames.h"
#include "codec/large_objects.h"

#define PIECE_BYTES   (64u * 1024)
#define TABLE_ROWS    1
#define LARGE_OBJECTS 3

struct member {
    char name[MK_TAR_NAME];
    uint32_t id;
    bool seen;
};

struct blocks {
    struct mk_frames frames;
    struct mk_custom_spec spec;
    bool is_open; /* a file's pieces, until the next file begins */
    size_t n_members;
    struct member members[];
};

/* A number: its sign, then the least significant byte first. */
static void put_int(struct mk_frames *frames, uint32_t value)
{
    const uint8_t bytes[] = {0, (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                             (uint8_t)(value >> 24)};
    mk_frames_put_bytes(frames, bytes, sizeof bytes);
}

static void put_block(struct mk_frames *frames, uint8_t kind, uint32_t id)
{
    mk_frames_put(frames, kind, 1);
    put_int(frames, id);
}

static struct member *find(struct blocks *self, const char *name)
{
    for (size_t i = 0; i < self->n_members; i++)
        if (strcmp(self->members[i].name, name) == 0)
            return &self->members[i];
    return NULL;
}

static void begin_large_objects(struct blocks *self)
{
    if (self->spec.first)
        put_block(&self->frames, LARGE_OBJECTS, self->spec.id);
    self->spec.first = false;
}

static void end_pieces(struct blocks *self)
{
    if (self->is_open)
        put_int(&self->frames, 0);
    self->is_open = false;
}

static int begin(struct mk_frames *frames, const char *name, struct mk_error *err)
{
    struct blocks *self = (struct blocks *)frames;
    if (self->spec.large_objects) {
        uint32_t oid = self->spec.oid;
        if (name && !mk_large_object_of(name, &oid))
            return mk_error_set(err, MK_ECORRUPT, "large objects",
                                "the data is damaged: %s is not the name of a large object's file",
                                name);
        end_pieces(self);
        begin_large_objects(self);
        put_int(frames, oid);
        return MK_OK;
    }
    struct member *member = name ? find(self, name) : NULL;
    frames->skipped = name && !member;
    if (frames->skipped)
        return MK_OK;
    if (member && member->seen)
        return mk_error_set(err, MK_ECORRUPT, "custom", "the data is damaged: %s comes twice",
                            name);
    if (member)
        member->seen = true;
    end_pieces(self);
    put_block(frames, TABLE_ROWS, member ? member->id : self->spec.id);
    return MK_OK;
}

static void piece(struct mk_frames *frames, size_t len)
{
    put_int(frames, (uint32_t)len);
}

static void end(struct mk_frames *frames)
{
    ((struct blocks *)frames)->is_open = true;
}

static int finish(struct mk_frames *frames, struct mk_error *err)
{
    struct blocks *self = (struct blocks *)frames;
    for (size_t i = 0; i < self->n_members; i++)
        if (!self->members[i].seen)
            return mk_error_set(err, MK_ECORRUPT, "custom", "the archive has no %s",
                                self->members[i].name);
    return MK_OK;
}

static const struct mk_frames_type type = {PIECE_BYTES, begin, piece, end, finish};

struct mk_stream *mk_custom_blocks_new(const struct mk_custom_spec *spec, struct mk_error *err)
{
    struct blocks *self = mk_calloc(sizeof *self + spec->n_members * sizeof self->members[0]);
    if (!self) {
        mk_error_nomem(err, "custom");
        return NULL;
    }
    self->frames.base.type = &mk_frames_stream;
    self->frames.type = &type;
    self->frames.packed = spec->packed;
    self->spec = *spec;
    self->spec.members = NULL;
    self->n_members = spec->n_members;
    for (size_t i = 0; i < spec->n_members; i++) {
        struct member *member = &self->members[i];
        size_t len = strlen(spec->members[i].name);
        memcpy(member->name, spec->members[i].name, len < MK_TAR_NAME ? len : MK_TAR_NAME - 1);
        member->id = spec->members[i].id;
    }
    return &self->frames.base;
}
