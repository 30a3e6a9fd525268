/*
 * lz4 frames (the LZ4 Frame Format 1.6.3): linked blocks of up to 256 KiB with a content checksum,
 * which is what `lz4 -B5` writes and what pg_restore 16 and newer reads. One core compresses some
 * 700 MB/s, more than one COPY delivers, so there is no parallel version.
 *
 * LZ4F_compressUpdate needs room for its worst case before it begins, whatever the input turns out
 * to be, so output goes through `staged`, from which a step hands out as much as the caller has
 * room for.
 */
#include <lz4frame.h>
#include <string.h>

#include "base/mem.h"
#include "codec/stream.h"

/* What is compressed at a time: the size of a block. */
#define CHUNK_BYTES (256 * 1024)

struct encoder {
    struct mk_stream base;
    LZ4F_cctx *cctx;
    LZ4F_preferences_t preferences;
    bool begun, ended;
    size_t staged_len, staged_used, staged_cap;
    uint8_t *staged;
};

struct decoder {
    struct mk_stream base;
    LZ4F_dctx *dctx;
    size_t pending; /* what LZ4F_decompress returned last: 0 = at the end of a frame */
    bool started;   /* a first byte has been seen */
};

static int nomem(struct mk_error *err)
{
    return mk_error_nomem(err, "lz4");
}

/* The library has no public code for "out of memory", only the name. */
static bool is_nomem(size_t code)
{
    return strcmp(LZ4F_getErrorName(code), "ERROR_allocation_failed") == 0;
}

/* Compresses the next piece into the empty `staged`. */
static int stage_more(struct encoder *self, struct mk_stream_io *io, struct mk_error *err)
{
    size_t n = 0;
    if (!self->begun) {
        self->begun = true;
        n = LZ4F_compressBegin(self->cctx, self->staged, self->staged_cap, &self->preferences);
    } else if (io->in_used < io->in_len) {
        size_t take = io->in_len - io->in_used;
        if (take > CHUNK_BYTES)
            take = CHUNK_BYTES;
        n = LZ4F_compressUpdate(self->cctx, self->staged, self->staged_cap, io->in + io->in_used,
                                take, NULL);
        io->in_used += take;
    } else {
        n = LZ4F_compressEnd(self->cctx, self->staged, self->staged_cap, NULL);
        self->ended = true;
    }
    if (LZ4F_isError(n))
        return is_nomem(n) ? nomem(err)
                           : mk_error_set(err, MK_ESYS, "lz4", "lz4 compression failed: %s",
                                          LZ4F_getErrorName(n));
    self->staged_len = n;
    self->staged_used = 0;
    return MK_OK;
}

static int encoder_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    struct encoder *self = (struct encoder *)stream;
    for (;;) {
        size_t n = self->staged_len - self->staged_used;
        if (n > io->out_cap - io->out_used)
            n = io->out_cap - io->out_used;
        memcpy(io->out + io->out_used, self->staged + self->staged_used, n);
        io->out_used += n;
        self->staged_used += n;
        if (self->staged_used < self->staged_len)
            return MK_OK; /* no room left */
        if (self->ended) {
            io->done = true;
            return MK_OK;
        }
        if (io->in_used == io->in_len && !io->end)
            return MK_OK;
        int status = stage_more(self, io, err);
        if (status != MK_OK)
            return status;
    }
}

static void encoder_free(struct mk_stream *stream)
{
    struct encoder *self = (struct encoder *)stream;
    LZ4F_freeCompressionContext(self->cctx);
    mk_free(self->staged);
    mk_free(self);
}

static const struct mk_stream_type encoder_type = {encoder_step, encoder_free, NULL};

struct mk_stream *mk_lz4_encoder_new(int level, struct mk_error *err)
{
    struct encoder *self = mk_calloc(sizeof *self);
    if (!self) {
        nomem(err);
        return NULL;
    }
    self->base.type = &encoder_type;
    self->preferences.frameInfo.blockSizeID = LZ4F_max256KB;
    self->preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
    self->preferences.compressionLevel = level;
    self->staged_cap = LZ4F_compressBound(CHUNK_BYTES, &self->preferences);
    self->staged = mk_alloc(self->staged_cap);
    if (!self->staged || LZ4F_isError(LZ4F_createCompressionContext(&self->cctx, LZ4F_VERSION))) {
        encoder_free(&self->base);
        nomem(err);
        return NULL;
    }
    return &self->base;
}

static int decoder_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    struct decoder *self = (struct decoder *)stream;
    if (io->in_len > 0)
        self->started = true;
    for (;;) {
        if (io->in_used == io->in_len && self->pending == 0)
            break; /* between frames: calling again would begin one */
        size_t in_n = io->in_len - io->in_used, out_n = io->out_cap - io->out_used;
        size_t left = LZ4F_decompress(self->dctx, io->out + io->out_used, &out_n,
                                      io->in + io->in_used, &in_n, NULL);
        if (LZ4F_isError(left))
            return is_nomem(left) ? nomem(err)
                                  : mk_error_set(err, MK_ECORRUPT, "lz4", "lz4 data is damaged: %s",
                                                 LZ4F_getErrorName(left));
        io->in_used += in_n;
        io->out_used += out_n;
        self->pending = left;
        if (io->out_used == io->out_cap || (in_n == 0 && out_n == 0))
            break;
    }
    if (!io->end || io->in_used < io->in_len || io->out_used == io->out_cap)
        return MK_OK;
    if (self->pending > 0 || !self->started)
        return mk_error_set(err, MK_ECORRUPT, "lz4",
                            self->started ? "lz4 data is truncated: it ends inside a frame"
                                          : "lz4 data is empty");
    io->done = true;
    return MK_OK;
}

static void decoder_free(struct mk_stream *stream)
{
    LZ4F_freeDecompressionContext(((struct decoder *)stream)->dctx);
    mk_free(stream);
}

static const struct mk_stream_type decoder_type = {decoder_step, decoder_free, NULL};

struct mk_stream *mk_lz4_decoder_new(struct mk_error *err)
{
    struct decoder *self = mk_calloc(sizeof *self);
    if (!self) {
        nomem(err);
        return NULL;
    }
    self->base.type = &decoder_type;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&self->dctx, LZ4F_VERSION))) {
        mk_free(self);
        nomem(err);
        return NULL;
    }
    return &self->base;
}
