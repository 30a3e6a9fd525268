#ifndef MK_CODEC_SHA256_H
#define MK_CODEC_SHA256_H

#include <stddef.h>

#include "base/error.h"

#define MK_SHA256_HEX 65 /* 64 digits and the final NUL */

struct mk_sha256;
struct mk_sha256 *mk_sha256_new(struct mk_error *err);
int mk_sha256_update(struct mk_sha256 *sha, const void *bytes, size_t len, struct mk_error *err);
/* Ends the computation; only mk_sha256_free may follow. */
int mk_sha256_hex(struct mk_sha256 *sha, char hex[MK_SHA256_HEX], struct mk_error *err);
void mk_sha256_free(struct mk_sha256 *sha);

#endif
