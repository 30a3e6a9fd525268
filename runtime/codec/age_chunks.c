/*
 * Chunks of age's payload: see age.h. Each is sealed by ChaCha20-Poly1305 under the payload's key,
 * with its number (88 bits, big-endian) and a byte that tells the last one as the nonce. So chunks
 * can be sealed and opened in parallel, but neither swapped, nor left out, nor added to.
 */
#include <openssl/evp.h>
#include <string.h>

#include "base/mem.h"
#include "codec/age.h"

#define IV_BYTES 12

struct mk_age_cipher {
    EVP_CIPHER_CTX *ctx;
    bool seal;
};

struct mk_age_cipher *mk_age_cipher_new(bool seal, struct mk_error *err)
{
    struct mk_age_cipher *cipher = mk_calloc(sizeof *cipher);
    EVP_CIPHER_CTX *ctx = cipher ? EVP_CIPHER_CTX_new() : NULL;
    if (ctx && EVP_CipherInit_ex(ctx, EVP_chacha20_poly1305(), NULL, NULL, NULL, seal) == 1) {
        cipher->ctx = ctx;
        cipher->seal = seal;
        return cipher;
    }
    EVP_CIPHER_CTX_free(ctx);
    mk_free(cipher);
    mk_error_nomem(err, "age");
    return NULL;
}

void mk_age_cipher_free(struct mk_age_cipher *cipher)
{
    if (!cipher)
        return;
    EVP_CIPHER_CTX_free(cipher->ctx); /* which overwrites the key */
    mk_free(cipher);
}

int mk_age_cipher_set_key(struct mk_age_cipher *cipher, const uint8_t key[MK_AGE_KEY_BYTES],
                          struct mk_error *err)
{
    if (EVP_CipherInit_ex(cipher->ctx, NULL, NULL, key, NULL, -1) != 1)
        return mk_error_set(err, MK_ESYS, "age", "OpenSSL has no ChaCha20-Poly1305");
    return MK_OK;
}

static void make_iv(const struct mk_age_chunk *chunk, uint8_t iv[IV_BYTES])
{
    memset(iv, 0, IV_BYTES);
    for (int i = 0; i < 8; i++)
        iv[IV_BYTES - 2 - i] = (uint8_t)(chunk->number >> 8 * i);
    iv[IV_BYTES - 1] = chunk->last;
}

static bool update(struct mk_age_cipher *cipher, uint8_t *out, const uint8_t *in, size_t len)
{
    int n = 0;
    return len == 0 || EVP_CipherUpdate(cipher->ctx, out, &n, in, (int)len) == 1;
}

static int failed(const struct mk_age_chunk *chunk, struct mk_error *err)
{
    return mk_error_set(err, MK_ECORRUPT, "age", "chunk %llu of the age file is damaged%s",
                        (unsigned long long)chunk->number,
                        chunk->last ? ", or the file was cut, or something was added to it" : "");
}

int mk_age_chunk_run(struct mk_age_cipher *cipher, const struct mk_age_chunk *chunk,
                     struct mk_error *err)
{
    uint8_t iv[IV_BYTES], tag[MK_AGE_TAG];
    size_t first = chunk->part_len[0], second = chunk->part_len[1];
    make_iv(chunk, iv);
    if (!cipher->seal) { /* the tag is at the end, which may lie in both parts */
        if (first + second < MK_AGE_TAG)
            return failed(chunk, err);
        size_t in_second = second < MK_AGE_TAG ? second : MK_AGE_TAG;
        size_t in_first = MK_AGE_TAG - in_second;
        first -= in_first;
        second -= in_second;
        if (in_first > 0)
            memcpy(tag, chunk->parts[0] + first, in_first);
        if (in_second > 0)
            memcpy(tag + in_first, chunk->parts[1] + second, in_second);
    }
    int n = 0;
    bool ok = EVP_CipherInit_ex(cipher->ctx, NULL, NULL, NULL, iv, -1) == 1 &&
              update(cipher, chunk->out, chunk->parts[0], first) &&
              update(cipher, chunk->out + first, chunk->parts[1], second);
    if (ok && !cipher->seal)
        ok = EVP_CIPHER_CTX_ctrl(cipher->ctx, EVP_CTRL_AEAD_SET_TAG, MK_AGE_TAG, tag) == 1;
    uint8_t *end = chunk->out + first + second;
    ok = ok && EVP_CipherFinal_ex(cipher->ctx, end, &n) == 1;
    if (ok && cipher->seal)
        ok = EVP_CIPHER_CTX_ctrl(cipher->ctx, EVP_CTRL_AEAD_GET_TAG, MK_AGE_TAG, end) == 1;
    if (!ok && cipher->seal)
        return mk_error_set(err, MK_ESYS, "age", "OpenSSL could not seal");
    return ok ? MK_OK : failed(chunk, err);
}
