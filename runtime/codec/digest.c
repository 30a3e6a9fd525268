/*
 * Digests: see digest.h. SHA-256 is OpenSSL's, which uses the processor's SHA instructions
 * (1.8 GB/s, others 0.4); XXH3 is the xxHash library's (more than 10 GB/s).
 */
#include "codec/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <xxhash.h>

#include "base/mem.h"

struct hash {
    struct mk_digest base;
    EVP_MD_CTX *sha; /* of one the other is NULL */
    XXH3_state_t *xxh;
    char hex[2 * MK_SHA256_BYTES + 1];
};

static const char *write_hex(struct hash *self, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        snprintf(self->hex + 2 * i, 3, "%02x", bytes[i]);
    return self->hex;
}

static void hash_free(struct mk_digest *digest)
{
    struct hash *self = (struct hash *)digest;
    EVP_MD_CTX_free(self->sha);
    XXH3_freeState(self->xxh);
    mk_free(self);
}

/* ---- SHA-256 ------------------------------------------------------------------------------- */

static int sha256_update(struct mk_digest *digest, const void *bytes, size_t len,
                         struct mk_error *err)
{
    struct hash *self = (struct hash *)digest;
    if (EVP_DigestUpdate(self->sha, bytes, len) != 1)
        return mk_error_set(err, MK_ESYS, "sha256", "OpenSSL could not hash");
    return MK_OK;
}

static const char *sha256_finish(struct mk_digest *digest, struct mk_error *err)
{
    struct hash *self = (struct hash *)digest;
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_DigestFinal_ex(self->sha, bytes, &len) == 1 && len == MK_SHA256_BYTES)
        return write_hex(self, bytes, len);
    mk_error_set(err, MK_ESYS, "sha256", "OpenSSL could not finish the hash");
    return NULL;
}

static const struct mk_digest_type sha256_type = {"sha256", sha256_update, sha256_finish,
                                                  hash_free};

struct mk_digest *mk_sha256_new(struct mk_error *err)
{
    struct hash *self = mk_calloc(sizeof *self);
    if (self) {
        self->base.type = &sha256_type;
        self->sha = EVP_MD_CTX_new();
        if (self->sha && EVP_DigestInit_ex(self->sha, EVP_sha256(), NULL) == 1)
            return &self->base;
        hash_free(&self->base);
    }
    mk_error_nomem(err, sha256_type.name);
    return NULL;
}

/* ---- XXH3 ------------------------------------------------------------------------------------ */

static int xxh3_update(struct mk_digest *digest, const void *bytes, size_t len,
                       struct mk_error *err)
{
    (void)err;
    XXH3_128bits_update(((struct hash *)digest)->xxh, bytes, len); /* fails on NULL only */
    return MK_OK;
}

static const char *xxh3_finish(struct mk_digest *digest, struct mk_error *err)
{
    (void)err;
    struct hash *self = (struct hash *)digest;
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(self->xxh));
    return write_hex(self, canonical.digest, sizeof canonical);
}

static const struct mk_digest_type xxh3_type = {"xxh3", xxh3_update, xxh3_finish, hash_free};

struct mk_digest *mk_xxh3_new(struct mk_error *err)
{
    struct hash *self = mk_calloc(sizeof *self);
    if (self) {
        self->base.type = &xxh3_type;
        self->xxh = XXH3_createState();
        if (self->xxh && XXH3_128bits_reset(self->xxh) == XXH_OK)
            return &self->base;
        hash_free(&self->base);
    }
    mk_error_nomem(err, xxh3_type.name);
    return NULL;
}

/* ---- at once ------------------------------------------------------------------------------- */

bool mk_sha256(const void *bytes, size_t len, uint8_t out[MK_SHA256_BYTES])
{
    return EVP_Digest(bytes, len, out, NULL, EVP_sha256(), NULL) == 1;
}

bool mk_md5(const void *bytes, size_t len, uint8_t out[MK_MD5_BYTES])
{
    return EVP_Digest(bytes, len, out, NULL, EVP_md5(), NULL) == 1;
}

bool mk_blake2b(const void *bytes, size_t len, uint8_t out[MK_BLAKE2B_BYTES])
{
    return EVP_Digest(bytes, len, out, NULL, EVP_blake2b512(), NULL) == 1;
}

bool mk_hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t len,
                    uint8_t out[MK_SHA256_BYTES])
{
    return HMAC(EVP_sha256(), key, (int)key_len, bytes, len, out, NULL) != NULL;
}

void mk_base64(const void *bytes, size_t len, char *out)
{
    EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
}

int mk_unbase64(const char *text, size_t len, uint8_t *out)
{
    if (len % 4 != 0 || len > INT_MAX)
        return -1;
    int padding = 0;
    while (padding < 2 && (size_t)padding < len && text[len - 1 - (size_t)padding] == '=')
        padding++;
    int n = len > 0 ? EVP_DecodeBlock(out, (const unsigned char *)text, (int)len) : 0;
    return n < 0 ? -1 : n - padding; /* it takes padding for bits */
}
