/* Any bytes into a decoder, in steps of any size: it ends, says "done" or "corrupt", and touches
 * nothing that is not its own. The first byte chooses the codec, the next two the steps. */
#include "codec/stream.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    static const enum mk_codec_id ids[] = {MK_CODEC_GZIP, MK_CODEC_LZ4, MK_CODEC_ZSTD};
    static uint8_t out[65536];
    struct mk_error err;
    struct mk_stream *stream = mk_decoder_new(ids[data[0] % 3], &err);
    size_t in_step = data[1] ? data[1] * 13u : 1, out_step = data[2] ? data[2] * 257u : 1;
    data += 3;
    size -= 3;
    size_t used = 0, produced = 0;
    int status = stream ? MK_OK : MK_ENOMEM;
    for (bool done = false; !done && status == MK_OK && produced < 4u * 1024 * 1024;) {
        size_t n = size - used < in_step ? size - used : in_step;
        struct mk_stream_io io = {
            .in = data + used, .in_len = n, .end = used + n == size, .out = out, .out_cap = out_step};
        if (io.out_cap > sizeof out)
            io.out_cap = sizeof out;
        status = mk_stream_step(stream, &io, &err);
        used += io.in_used;
        produced += io.out_used;
        done = io.done;
    }
    if (status != MK_OK && status != MK_ECORRUPT && status != MK_ENOMEM)
        abort();
    mk_stream_free(stream);
    return 0;
}
