/* Ed25519, by OpenSSL: see ed25519.h. */
#include "codec/ed25519.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

bool mk_ed25519_generate(uint8_t seed[MK_ED25519_KEY])
{
    return RAND_priv_bytes(seed, MK_ED25519_KEY) == 1;
}

static EVP_PKEY *private_key(const uint8_t seed[MK_ED25519_KEY])
{
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, MK_ED25519_KEY);
}

bool mk_ed25519_public(const uint8_t seed[MK_ED25519_KEY], uint8_t key[MK_ED25519_KEY])
{
    EVP_PKEY *own = private_key(seed);
    size_t len = MK_ED25519_KEY;
    bool ok = own && EVP_PKEY_get_raw_public_key(own, key, &len) == 1;
    EVP_PKEY_free(own);
    return ok;
}

bool mk_ed25519_sign(const uint8_t seed[MK_ED25519_KEY], const void *text, size_t len,
                     uint8_t signature[MK_ED25519_SIGNATURE])
{
    EVP_PKEY *own = private_key(seed);
    EVP_MD_CTX *ctx = own ? EVP_MD_CTX_new() : NULL;
    size_t n = MK_ED25519_SIGNATURE;
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, own) == 1 &&
              EVP_DigestSign(ctx, signature, &n, text, len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(own);
    return ok;
}

bool mk_ed25519_verify(const uint8_t key[MK_ED25519_KEY], const void *text, size_t len,
                       const uint8_t signature[MK_ED25519_SIGNATURE])
{
    EVP_PKEY *other = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, MK_ED25519_KEY);
    EVP_MD_CTX *ctx = other ? EVP_MD_CTX_new() : NULL;
    bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, other) == 1 &&
              EVP_DigestVerify(ctx, signature, MK_ED25519_SIGNATURE, text, len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(other);
    return ok;
}
