/*
 * gzip in parallel, as ONE member: see stages.h, codec/gzip_write.h. Every input block becomes a
 * segment. A segment that would end on a multiple of 4096 gives its last byte to the next one
 * (`held`); docs/internals/codecs.md tells why that matters to stock readers.
 */
#include <string.h>

#include "base/mem.h"
#include "codec/gzip_write.h"
#include "flow/stages.h"

struct gzip_stage {
    struct mk_ordered base;
    int level;
    bool begun;      /* the header is in some slot's output */
    uint64_t issued; /* input bytes in segments prepared so far */
    uint8_t held;
    bool has_held;
    uint32_t crc; /* of all collected segments */
    uint64_t length;
};

struct gzip_slot {
    struct mk_slot base;
    struct mk_gzip_segmenter *segmenter;
    uint8_t first; /* the byte held back from the block before */
    size_t first_len;
    size_t in_len; /* of base.in */
    bool with_header;
    uint32_t crc;
};

static int gzip_slot_init(struct mk_ordered *stage, struct mk_slot *slot, struct mk_error *err)
{
    struct gzip_slot *self = (struct gzip_slot *)slot;
    self->segmenter = mk_gzip_segmenter_new(((struct gzip_stage *)stage)->level, err);
    return self->segmenter ? MK_OK : MK_ENOMEM;
}

static void gzip_slot_fini(struct mk_slot *slot)
{
    mk_gzip_segmenter_free(((struct gzip_slot *)slot)->segmenter);
}

static bool gzip_prepare(struct mk_ordered *ordered, struct mk_slot *slot)
{
    struct gzip_stage *stage = (struct gzip_stage *)ordered;
    struct gzip_slot *self = (struct gzip_slot *)slot;
    size_t available = slot->in ? slot->in->len : 0;
    self->first = stage->held;
    self->first_len = stage->has_held;
    size_t total = self->first_len + available;
    /* The very last segment may end anywhere: cut there, the data is complete. */
    size_t taken = slot->in ? mk_gzip_cut(stage->issued, total) : total;
    stage->has_held = taken < total;
    if (stage->has_held)
        stage->held = slot->in->data[available - 1];
    if (taken == 0)
        return false;
    self->in_len = taken - self->first_len;
    self->with_header = !stage->begun;
    stage->begun = true;
    stage->issued += taken;
    return true;
}

static int gzip_run(struct mk_slot *slot, struct mk_error *err)
{
    struct gzip_slot *self = (struct gzip_slot *)slot;
    struct mk_block *out = slot->out;
    if (self->with_header) {
        mk_gzip_header(out->data);
        out->len = MK_GZIP_HEADER_BYTES;
    }
    struct mk_gzip_segment segment = {
        .parts = {&self->first, slot->in ? slot->in->data : NULL},
        .part_len = {self->first_len, self->in_len},
        .out = out->data + out->len,
        .out_cap = out->cap - out->len,
    };
    int status = mk_gzip_segment_run(self->segmenter, &segment, err);
    out->len += segment.out_len;
    self->crc = segment.crc;
    return status;
}

static void gzip_collect(struct mk_ordered *ordered, struct mk_slot *slot)
{
    struct gzip_stage *stage = (struct gzip_stage *)ordered;
    struct gzip_slot *self = (struct gzip_slot *)slot;
    uint64_t len = self->first_len + self->in_len;
    stage->crc = mk_gzip_crc_join(stage->crc, self->crc, len);
    stage->length += len;
}

static void gzip_end(struct mk_ordered *ordered, struct mk_block *out)
{
    struct gzip_stage *stage = (struct gzip_stage *)ordered;
    if (!stage->begun) { /* empty input */
        mk_gzip_header(out->data);
        out->len = MK_GZIP_HEADER_BYTES;
    }
    mk_gzip_trailer(out->data + out->len, stage->crc, stage->length);
    out->len += MK_GZIP_TRAILER_BYTES;
}

static void gzip_free(struct mk_ordered *ordered)
{
    mk_free(ordered);
}

static const struct mk_ordered_type type = {
    .name = "gzip",
    .slot_bytes = sizeof(struct gzip_slot),
    .slot_init = gzip_slot_init,
    .slot_fini = gzip_slot_fini,
    .prepare = gzip_prepare,
    .run = gzip_run,
    .collect = gzip_collect,
    .end = gzip_end,
    .free = gzip_free,
};

struct mk_ordered *mk_ordered_gzip(int level, struct mk_error *err)
{
    struct gzip_stage *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->level = level;
    return &self->base;
}
