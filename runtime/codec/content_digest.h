#ifndef MK_CODEC_CONTENT_DIGEST_H
#define MK_CODEC_CONTENT_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/digest.h"

/*
 * What a data file of a directory archive holds, as a digest: its text is "BYTES:ROWS:HASH", the
 * content hash (codec/content_hash.h) with the number of bytes of the rows before it. The end is
 * part of it: rows end with pg_dump's end mark, an archive with its zeros; else MK_ECORRUPT.
 */
struct mk_content_spec {
    bool packed;        /* a tar archive: a line "NAME TEXT" for each of its files */
    bool large_objects; /* not rows: packed, files blob_OID.dat, and one sum of all of them... */
    uint32_t oid;       /* ...or the bytes of this one */
};

struct mk_digest *mk_content_digest_new(const struct mk_content_spec *spec, struct mk_error *err);

#endif
