/*
 * zstd. Compression hands the work to libzstd's own threads (ZSTD_c_nbWorkers): it cuts the input
 * into jobs that overlap, so the result is ONE frame of full ratio, which independent frames
 * would not be. A call may wait for those threads, so steps belong on a worker, never on the loop.
 * Memory is bounded by the job size below: about (threads + 1) jobs of input, one output each.
 */
#include <zstd.h>
#include <zstd_errors.h>

#include "base/mem.h"
#include "codec/stream.h"

/* libzstd's own choice (4 windows: 8 MiB at level 3, 32 MiB at 19) is too much for our budget. */
#define JOB_BYTES (4 * 1024 * 1024)

struct encoder {
    struct mk_stream base;
    ZSTD_CCtx *cctx;
};

struct decoder {
    struct mk_stream base;
    ZSTD_DCtx *dctx;
    size_t pending; /* what ZSTD_decompressStream returned last: 0 = at the end of a frame */
    bool started;   /* a first byte has been seen */
};

static int damaged(struct mk_error *err, size_t code)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
        return mk_error_nomem(err, "zstd");
    return mk_error_set(err, MK_ECORRUPT, "zstd", "zstd data is damaged: %s",
                        ZSTD_getErrorName(code));
}

static int encoder_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    struct encoder *self = (struct encoder *)stream;
    ZSTD_inBuffer in = {io->in, io->in_len, 0};
    ZSTD_outBuffer out = {io->out, io->out_cap, 0};
    size_t left = 0;
    do {
        left = ZSTD_compressStream2(self->cctx, &out, &in, io->end ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return mk_error_set(err, MK_ENOMEM, "zstd", "zstd compression failed: %s",
                                ZSTD_getErrorName(left));
    } while (out.pos < out.size && (in.pos < in.size || (io->end && left > 0)));
    io->in_used = in.pos;
    io->out_used = out.pos;
    io->done = io->end && left == 0;
    return MK_OK;
}

static void encoder_free(struct mk_stream *stream)
{
    ZSTD_freeCCtx(((struct encoder *)stream)->cctx);
    mk_free(stream);
}

static const struct mk_stream_type encoder_type = {encoder_step, encoder_free, NULL};

struct mk_stream *mk_zstd_encoder_new(int level, int threads, struct mk_error *err)
{
    struct encoder *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "zstd");
        return NULL;
    }
    self->base.type = &encoder_type;
    self->cctx = ZSTD_createCCtx();
    if (!self->cctx) {
        mk_free(self);
        mk_error_nomem(err, "zstd");
        return NULL;
    }
    ZSTD_CCtx_setParameter(self->cctx, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(self->cctx, ZSTD_c_checksumFlag, 1);
    if (threads > 1) {
        /* A library built without threads refuses nbWorkers and compresses in this thread. */
        ZSTD_CCtx_setParameter(self->cctx, ZSTD_c_nbWorkers, threads);
        ZSTD_CCtx_setParameter(self->cctx, ZSTD_c_jobSize, JOB_BYTES);
    }
    return &self->base;
}

static int decoder_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    struct decoder *self = (struct decoder *)stream;
    ZSTD_inBuffer in = {io->in, io->in_len, 0};
    ZSTD_outBuffer out = {io->out, io->out_cap, 0};
    for (;;) {
        if (in.pos == in.size && self->pending == 0)
            break; /* between frames: calling again would begin one */
        size_t before_in = in.pos, before_out = out.pos;
        size_t left = ZSTD_decompressStream(self->dctx, &out, &in);
        if (ZSTD_isError(left))
            return damaged(err, left);
        self->pending = left;
        if (out.pos == out.size || (in.pos == before_in && out.pos == before_out))
            break;
    }
    if (io->in_len > 0)
        self->started = true;
    io->in_used = in.pos;
    io->out_used = out.pos;
    if (!io->end || in.pos < in.size || out.pos == out.size)
        return MK_OK;
    if (self->pending > 0 || !self->started)
        return mk_error_set(err, MK_ECORRUPT, "zstd",
                            self->started ? "zstd data is truncated: it ends inside a frame"
                                          : "zstd data is empty");
    io->done = true;
    return MK_OK;
}

static void decoder_free(struct mk_stream *stream)
{
    ZSTD_freeDCtx(((struct decoder *)stream)->dctx);
    mk_free(stream);
}

static const struct mk_stream_type decoder_type = {decoder_step, decoder_free, NULL};

struct mk_stream *mk_zstd_decoder_new(struct mk_error *err)
{
    struct decoder *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "zstd");
        return NULL;
    }
    self->base.type = &decoder_type;
    self->dctx = ZSTD_createDCtx();
    if (!self->dctx) {
        mk_free(self);
        mk_error_nomem(err, "zstd");
        return NULL;
    }
    return &self->base;
}
