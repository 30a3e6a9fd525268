#ifndef MK_CODEC_DIGEST_H
#define MK_CODEC_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Digests of byte streams. SHA-256 (FIPS 180-4) is what manifests hold, for it can be checked by
 * anybody with stock tools and cannot be forged. XXH3-128 (xxhash.com, default secret, seed 0, in
 * canonical big-endian form, as `xxh128sum` prints it) is ten times faster: for damage, not malice.
 * What the rows in a stream sum up to is one, too: codec/content_digest.h.
 */
struct mk_digest;
struct mk_digest_type {
    const char *name;
    int (*update)(struct mk_digest *digest, const void *bytes, size_t len, struct mk_error *err);
    /* Ends the computation. The result as text, the digest's own; NULL: see err. */
    const char *(*finish)(struct mk_digest *digest, struct mk_error *err);
    void (*free)(struct mk_digest *digest);
};
struct mk_digest { /* first member of every implementation */
    const struct mk_digest_type *type;
};

/* Their texts are hex digits. NULL with the error: memory is out. */
struct mk_digest *mk_sha256_new(struct mk_error *err);
struct mk_digest *mk_xxh3_new(struct mk_error *err);

/* Of small bytes at once. False: OpenSSL has no memory. */
#define MK_SHA256_BYTES  32
#define MK_MD5_BYTES     16
#define MK_BLAKE2B_BYTES 64
bool mk_sha256(const void *bytes, size_t len, uint8_t out[MK_SHA256_BYTES]);
bool mk_md5(const void *bytes, size_t len, uint8_t out[MK_MD5_BYTES]);
bool mk_blake2b(const void *bytes, size_t len, uint8_t out[MK_BLAKE2B_BYTES]); /* RFC 7693 */
bool mk_hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t len,
                    uint8_t out[MK_SHA256_BYTES]); /* RFC 2104 */
/* RFC 4648, with padding and a NUL: `out` has room for (len + 2) / 3 * 4 + 1. */
void mk_base64(const void *bytes, size_t len, char *out);
/* The other way: how many bytes, at most len / 4 * 3 of `out`'s room; -1: it is none. */
int mk_unbase64(const char *text, size_t len, uint8_t *out);

static inline void mk_digest_free(struct mk_digest *digest)
{
    if (digest)
        digest->type->free(digest);
}

#endif
