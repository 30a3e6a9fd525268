#ifndef MK_CODEC_CODEC_H
#define MK_CODEC_CODEC_H

#include "base/error.h"

enum mk_codec_id { MK_CODEC_NONE, MK_CODEC_GZIP, MK_CODEC_LZ4, MK_CODEC_ZSTD };

struct mk_codec {
    enum mk_codec_id id;
    int level; /* 0 for none */
};

/* Parses "none", "gzip[:1-9]", "lz4[:1-12]" or "zstd[:1-19]". Without a level: gzip 6, others 1.
 * MK_EINVAL lists what is valid. */
int mk_codec_parse(const char *spec, struct mk_codec *codec, struct mk_error *err);
const char *mk_codec_name(enum mk_codec_id id);
/* What a file's name gets: "", ".gz", ".lz4" or ".zst". */
const char *mk_codec_suffix(enum mk_codec_id id);

#endif
