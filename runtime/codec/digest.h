#ifndef MK_CODEC_DIGEST_H
#define MK_CODEC_DIGEST_H

#include <stddef.h>

#include "base/error.h"

/*
 * Digests of byte streams. SHA-256 (FIPS 180-4) is what manifests hold, for it can be checked by
 * anybody with stock tools and cannot be forged. XXH3-128 (xxhash.com, default secret, seed 0, in
 * canonical big-endian form, as `xxh128sum` prints it) is ten times faster: for damage, not malice.
 */
enum mk_digest_id { MK_DIGEST_SHA256, MK_DIGEST_XXH3 };

#define MK_DIGEST_HEX 65 /* the longest in hex digits, and the final NUL */

struct mk_digest;
struct mk_digest *mk_digest_new(enum mk_digest_id id, struct mk_error *err);
int mk_digest_update(struct mk_digest *digest, const void *bytes, size_t len, struct mk_error *err);
/* Ends the computation; only mk_digest_free may follow. */
int mk_digest_hex(struct mk_digest *digest, char hex[MK_DIGEST_HEX], struct mk_error *err);
void mk_digest_free(struct mk_digest *digest);
const char *mk_digest_name(enum mk_digest_id id);

#endif
