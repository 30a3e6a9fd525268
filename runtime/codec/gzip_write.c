/*
 * Segments of a gzip member: see gzip_write.h. ISA-L at level 1 is several times faster than zlib
 * and almost as small; it has nothing to match zlib's higher levels. Both are asked for a full
 * flush, which ends the segment on a byte boundary and lets the next one begin with no history.
 */
#include "codec/gzip_write.h"

#include <isa-l.h>
#include <zlib.h>

#include <string.h>

#include "base/mem.h"

struct mk_gzip_segmenter {
    int level;
    struct isal_zstream isal; /* level 1 */
    uint8_t *isal_buffer;
    z_stream z; /* levels 2 to 9 */
};

/* zlib on our allocator, so that its allocations are counted and can be made to fail. */
static void *zlib_alloc(void *opaque, unsigned items, unsigned size)
{
    (void)opaque;
    return mk_calloc((size_t)items * size);
}

static void zlib_free(void *opaque, void *ptr)
{
    (void)opaque;
    mk_free(ptr);
}

struct mk_gzip_segmenter *mk_gzip_segmenter_new(int level, struct mk_error *err)
{
    struct mk_gzip_segmenter *self = mk_calloc(sizeof *self);
    if (!self)
        goto nomem;
    self->level = level;
    if (level == 1) {
        self->isal_buffer = mk_alloc(ISAL_DEF_LVL1_DEFAULT);
        if (!self->isal_buffer)
            goto nomem;
    } else {
        self->z.zalloc = zlib_alloc;
        self->z.zfree = zlib_free;
        if (deflateInit2(&self->z, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
            goto nomem;
    }
    return self;
nomem:
    mk_free(self);
    mk_error_nomem(err, "gzip");
    return NULL;
}

void mk_gzip_segmenter_free(struct mk_gzip_segmenter *self)
{
    if (!self)
        return;
    if (self->level == 1)
        mk_free(self->isal_buffer);
    else
        deflateEnd(&self->z);
    mk_free(self);
}

static void run_isal(struct mk_gzip_segmenter *self, struct mk_gzip_segment *segment)
{
    struct isal_zstream *s = &self->isal;
    isal_deflate_init(s);
    s->level = 1;
    s->level_buf = self->isal_buffer;
    s->level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    s->next_out = segment->out;
    s->avail_out = (uint32_t)segment->out_cap;
    for (int i = 0; i < 2; i++) {
        memcpy(&s->next_in, &segment->parts[i], sizeof s->next_in); /* ISA-L's API lacks const */
        s->avail_in = (uint32_t)segment->part_len[i];
        s->flush = i == 1 ? FULL_FLUSH : NO_FLUSH;
        isal_deflate(s);
    }
    segment->out_len = segment->out_cap - s->avail_out;
}

static void run_zlib(struct mk_gzip_segmenter *self, struct mk_gzip_segment *segment)
{
    z_stream *z = &self->z;
    deflateReset(z);
    z->next_out = segment->out;
    z->avail_out = (unsigned)segment->out_cap;
    for (int i = 0; i < 2; i++) {
        z->next_in = segment->parts[i];
        z->avail_in = (unsigned)segment->part_len[i];
        deflate(z, i == 1 ? Z_FULL_FLUSH : Z_NO_FLUSH);
    }
    segment->out_len = segment->out_cap - z->avail_out;
}

int mk_gzip_segment_run(struct mk_gzip_segmenter *self, struct mk_gzip_segment *segment,
                        struct mk_error *err)
{
    if (self->level == 1)
        run_isal(self, segment);
    else
        run_zlib(self, segment);
    segment->crc = 0;
    for (int i = 0; i < 2; i++)
        segment->crc = crc32_gzip_refl(segment->crc, segment->parts[i], segment->part_len[i]);
    if (segment->out_len == segment->out_cap) /* no byte left: the flush may be incomplete */
        return mk_error_set(err, MK_ESYS, "gzip", "a segment of %zu bytes did not fit into %zu",
                            segment->part_len[0] + segment->part_len[1], segment->out_cap);
    return MK_OK;
}

size_t mk_gzip_cut(uint64_t position, size_t available)
{
    return (position + available) % 4096 == 0 ? available - 1 : available;
}

void mk_gzip_header(uint8_t out[MK_GZIP_HEADER_BYTES])
{
    /* magic, deflate, no flags, no time (so equal input gives equal output), no hint, Unix */
    static const uint8_t header[MK_GZIP_HEADER_BYTES] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    memcpy(out, header, sizeof header);
}

void mk_gzip_trailer(uint8_t out[MK_GZIP_TRAILER_BYTES], uint32_t crc, uint64_t length)
{
    out[0] = 0x03; /* an empty final block with fixed codes */
    out[1] = 0x00;
    for (int i = 0; i < 4; i++) {
        out[2 + i] = (uint8_t)(crc >> (8 * i));
        out[6 + i] = (uint8_t)(length >> (8 * i));
    }
}

uint32_t mk_gzip_crc_join(uint32_t crc, uint32_t next_crc, uint64_t next_length)
{
    return (uint32_t)crc32_combine(crc, next_crc, (z_off_t)next_length);
}
