/*
 * Keys of age: see age.h. X25519 is OpenSSL's. Whatever held a private key is overwritten before it
 * is given back.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/mem.h"
#include "codec/age.h"
#include "codec/bech32.h"

#define RECIPIENT_PREFIX "age"
#define IDENTITY_PREFIX  "age-secret-key-"

bool mk_age_parse_recipient(const char *text, uint8_t recipient[MK_AGE_KEY_BYTES])
{
    return text[0] == 'a' && mk_bech32_decode(text, RECIPIENT_PREFIX, recipient, MK_AGE_KEY_BYTES);
}

bool mk_age_parse_identity(const char *text, uint8_t identity[MK_AGE_KEY_BYTES])
{
    return text[0] == 'A' && mk_bech32_decode(text, IDENTITY_PREFIX, identity, MK_AGE_KEY_BYTES);
}

void mk_age_show_recipient(const uint8_t recipient[MK_AGE_KEY_BYTES], char out[MK_AGE_TEXT])
{
    mk_bech32_encode(RECIPIENT_PREFIX, recipient, MK_AGE_KEY_BYTES, out);
}

void mk_age_show_identity(const uint8_t identity[MK_AGE_KEY_BYTES], char out[MK_AGE_TEXT])
{
    mk_bech32_encode(IDENTITY_PREFIX, identity, MK_AGE_KEY_BYTES, out);
    for (char *c = out; *c; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 32);
}

int mk_age_generate(uint8_t identity[MK_AGE_KEY_BYTES], struct mk_error *err)
{
    if (RAND_priv_bytes(identity, MK_AGE_KEY_BYTES) != 1)
        return mk_error_set(err, MK_ESYS, "age", "OpenSSL has no random bytes");
    return MK_OK;
}

int mk_age_recipient_of(const uint8_t identity[MK_AGE_KEY_BYTES],
                        uint8_t recipient[MK_AGE_KEY_BYTES], struct mk_error *err)
{
    size_t len = MK_AGE_KEY_BYTES;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, identity, len);
    bool ok = key && EVP_PKEY_get_raw_public_key(key, recipient, &len) == 1;
    EVP_PKEY_free(key);
    return ok ? MK_OK : mk_error_nomem(err, "age");
}

void mk_age_wipe(void *bytes, size_t len)
{
    OPENSSL_cleanse(bytes, len);
}

struct mk_age_keys *mk_age_keys_new(struct mk_error *err)
{
    struct mk_age_keys *keys = mk_calloc(sizeof *keys);
    if (!keys)
        mk_error_nomem(err, "age");
    return keys;
}

int mk_age_keys_set_passphrase(struct mk_age_keys *keys, const char *text, struct mk_error *err)
{
    keys->passphrase = mk_strdup(text);
    return keys->passphrase ? MK_OK : mk_error_nomem(err, "age");
}

void mk_age_keys_free(struct mk_age_keys *keys)
{
    if (!keys)
        return;
    if (keys->passphrase)
        OPENSSL_cleanse(keys->passphrase, strlen(keys->passphrase));
    mk_free(keys->passphrase);
    OPENSSL_cleanse(keys, sizeof *keys);
    mk_free(keys);
}
