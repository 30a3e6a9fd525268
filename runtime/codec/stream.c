/* The contract of streams, checked here once instead of in every implementation: see stream.h. */
#include "codec/stream.h"

#include <assert.h>

struct mk_stream *mk_encoder_new(const struct mk_codec *codec, int threads, struct mk_error *err)
{
    switch (codec->id) {
    case MK_CODEC_LZ4:
        return mk_lz4_encoder_new(codec->level, err);
    case MK_CODEC_ZSTD:
        return mk_zstd_encoder_new(codec->level, threads, err);
    case MK_CODEC_GZIP:
    case MK_CODEC_NONE:
        break;
    }
    return NULL;
}

struct mk_stream *mk_decoder_new(enum mk_codec_id id, struct mk_error *err)
{
    switch (id) {
    case MK_CODEC_GZIP:
        return mk_gzip_decoder_new(err);
    case MK_CODEC_LZ4:
        return mk_lz4_decoder_new(err);
    case MK_CODEC_ZSTD:
        return mk_zstd_decoder_new(err);
    case MK_CODEC_NONE:
        break;
    }
    return NULL;
}

int mk_stream_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    io->in_used = 0;
    io->out_used = 0;
    io->done = false;
    int status = stream->type->step(stream, io, err);
    if (status != MK_OK)
        return status;
    assert(io->in_used <= io->in_len && io->out_used <= io->out_cap);
    assert(!io->done || io->end);
    /* Progress: something moved, or there was nothing to move. */
    assert(io->in_used || io->out_used || io->done || io->in_len == 0 || io->out_cap == 0);
    return MK_OK;
}

void mk_stream_free(struct mk_stream *stream)
{
    if (stream)
        stream->type->free(stream);
}
