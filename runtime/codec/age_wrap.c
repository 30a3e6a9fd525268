/*
 * What age's headers are made of, on OpenSSL: HKDF-SHA-256, scrypt, X25519, and a seal around the
 * file key. See age_impl.h.
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <string.h>

#include "codec/age_impl.h"

#define X25519_INFO "age-encryption.org/v1/X25519"
#define SCRYPT_INFO "age-encryption.org/v1/scrypt"

static bool derive(const char *kdf_name, OSSL_PARAM *params, uint8_t *out, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, kdf_name, NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool ok = ctx && EVP_KDF_derive(ctx, out, len, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok;
}

static OSSL_PARAM octets(const char *name, const void *bytes, size_t len)
{
    union { /* OpenSSL does not write there */
        const void *in;
        void *out;
    } pointer = {bytes};
    return OSSL_PARAM_construct_octet_string(name, pointer.out, len);
}

/* HKDF-SHA-256 (RFC 5869): 32 bytes. */
static bool hkdf(const void *secret, size_t secret_len, const void *salt, size_t salt_len,
                 const char *info, uint8_t out[MK_AGE_KEY_BYTES])
{
    char digest[] = "SHA256";
    OSSL_PARAM params[5] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        octets(OSSL_KDF_PARAM_KEY, secret, secret_len), octets(OSSL_KDF_PARAM_SALT, salt, salt_len),
        octets(OSSL_KDF_PARAM_INFO, info, strlen(info)), OSSL_PARAM_construct_end()};
    return derive("HKDF", params, out, MK_AGE_KEY_BYTES);
}

bool mk__age_scrypt(const char *passphrase, const uint8_t salt[MK__AGE_SALT], unsigned log_n,
                    uint8_t out[MK_AGE_KEY_BYTES])
{
    uint8_t whole[sizeof SCRYPT_INFO - 1 + MK__AGE_SALT];
    memcpy(whole, SCRYPT_INFO, sizeof SCRYPT_INFO - 1);
    memcpy(whole + sizeof SCRYPT_INFO - 1, salt, MK__AGE_SALT);
    uint64_t n = (uint64_t)1 << log_n, most = (n * 8 + 64) * 128 + 1024 * 1024;
    uint32_t r = 8, p = 1;
    OSSL_PARAM params[7] = {octets(OSSL_KDF_PARAM_PASSWORD, passphrase, strlen(passphrase)),
                            octets(OSSL_KDF_PARAM_SALT, whole, sizeof whole),
                            OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
                            OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
                            OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
                            OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &most),
                            OSSL_PARAM_construct_end()};
    return derive("SCRYPT", params, out, MK_AGE_KEY_BYTES);
}

bool mk__age_shared_secret(const uint8_t identity[MK_AGE_KEY_BYTES],
                           const uint8_t share[MK_AGE_KEY_BYTES], uint8_t out[MK_AGE_KEY_BYTES],
                           bool *weak)
{
    size_t len = MK_AGE_KEY_BYTES;
    EVP_PKEY *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, identity, len);
    EVP_PKEY *other = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, share, len);
    EVP_PKEY_CTX *ctx = own && other ? EVP_PKEY_CTX_new(own, NULL) : NULL;
    bool ready = ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, other) == 1;
    bool ok = ready && EVP_PKEY_derive(ctx, out, &len) == 1;
    *weak = ready && !ok;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    EVP_PKEY_free(own);
    return ok;
}

bool mk__age_wrap_key(const uint8_t secret[MK_AGE_KEY_BYTES], const uint8_t share[MK_AGE_KEY_BYTES],
                      const uint8_t recipient[MK_AGE_KEY_BYTES], uint8_t out[MK_AGE_KEY_BYTES])
{
    uint8_t salt[2 * MK_AGE_KEY_BYTES];
    memcpy(salt, share, MK_AGE_KEY_BYTES);
    memcpy(salt + MK_AGE_KEY_BYTES, recipient, MK_AGE_KEY_BYTES);
    return hkdf(secret, MK_AGE_KEY_BYTES, salt, sizeof salt, X25519_INFO, out);
}

/* As a chunk whose nonce is zero. */
int mk__age_wrap(bool seal, const uint8_t key[MK_AGE_KEY_BYTES], const uint8_t *in, uint8_t *out,
                 struct mk_error *err)
{
    struct mk_age_cipher *cipher = mk_age_cipher_new(seal, err);
    if (!cipher)
        return MK_ENOMEM;
    struct mk_age_chunk chunk = {
        .parts = {in, NULL}, .part_len = {seal ? MK__AGE_FILE_KEY : MK__AGE_BODY, 0}, .out = out};
    int status = mk_age_cipher_set_key(cipher, key, err);
    if (status == MK_OK)
        status = mk_age_chunk_run(cipher, &chunk, err);
    mk_age_cipher_free(cipher);
    return status;
}

bool mk__age_mac(const uint8_t file_key[MK__AGE_FILE_KEY], const uint8_t *header, size_t len,
                 uint8_t mac[MK_SHA256_BYTES])
{
    uint8_t key[MK_AGE_KEY_BYTES];
    bool ok = hkdf(file_key, MK__AGE_FILE_KEY, "", 0, "header", key) &&
              mk_hmac_sha256(key, sizeof key, header, len, mac);
    OPENSSL_cleanse(key, sizeof key);
    return ok;
}

bool mk__age_payload_key(const uint8_t file_key[MK__AGE_FILE_KEY],
                         const uint8_t nonce[MK_AGE_NONCE], uint8_t key[MK_AGE_KEY_BYTES])
{
    return hkdf(file_key, MK__AGE_FILE_KEY, nonce, MK_AGE_NONCE, "payload", key);
}
