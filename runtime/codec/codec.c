/* The table of codecs, and the strings that choose one: see codec.h. */
#include "codec/codec.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    const char *suffix;
    int min, max, standard;
} codecs[] = {
    [MK_CODEC_NONE] = {"none", "", 0, 0, 0},
    [MK_CODEC_GZIP] = {"gzip", ".gz", 1, 9, 6},
    [MK_CODEC_LZ4] = {"lz4", ".lz4", 1, 12, 1},
    [MK_CODEC_ZSTD] = {"zstd", ".zst", 1, 19, 1},
};

#define VALID_HINT                                                                                 \
    "valid are \"none\", \"gzip:1\" to \"gzip:9\", \"lz4:1\" to \"lz4:12\", "                      \
    "\"zstd:1\" to \"zstd:19\""

const char *mk_codec_name(enum mk_codec_id id)
{
    return codecs[id].name;
}

const char *mk_codec_suffix(enum mk_codec_id id)
{
    return codecs[id].suffix;
}

int mk_codec_parse(const char *spec, struct mk_codec *codec, struct mk_error *err)
{
    size_t name_len = strcspn(spec, ":");
    for (int id = MK_CODEC_NONE; id <= MK_CODEC_ZSTD; id++) {
        if (strlen(codecs[id].name) != name_len || memcmp(codecs[id].name, spec, name_len) != 0)
            continue;
        codec->id = (enum mk_codec_id)id;
        codec->level = codecs[id].standard;
        if (spec[name_len] == '\0')
            return MK_OK;
        const char *digits = spec + name_len + 1;
        char *end;
        long level = strtol(digits, &end, 10);
        int is_number = *digits >= '0' && *digits <= '9' && *end == '\0';
        if (is_number && codecs[id].max > 0 && level >= codecs[id].min && level <= codecs[id].max) {
            codec->level = (int)level;
            return MK_OK;
        }
        mk_error_set(err, MK_EINVAL, "compress", "\"%.64s\" is not a level of %s", spec,
                     codecs[id].name);
        mk_error_hint(err, VALID_HINT);
        return MK_EINVAL;
    }
    mk_error_set(err, MK_EINVAL, "compress", "unknown codec \"%.64s\"", spec);
    mk_error_hint(err, VALID_HINT);
    return MK_EINVAL;
}
