#ifndef MK_CODEC_AGE_IMPL_H
#define MK_CODEC_AGE_IMPL_H

/* What age's headers are made of: derivations and seals. For age_header.c only. */
#include <stdbool.h>

#include "codec/age.h"
#include "codec/digest.h"

#define MK__AGE_FILE_KEY 16
#define MK__AGE_BODY     (MK__AGE_FILE_KEY + MK_AGE_TAG) /* a file key, sealed */
#define MK__AGE_SALT     16

/* The key that a passphrase seals with; 2^log_n * 1 KiB of memory. False: there is not so much. */
bool mk__age_scrypt(const char *passphrase, const uint8_t salt[MK__AGE_SALT], unsigned log_n,
                    uint8_t out[MK_AGE_KEY_BYTES]);
/* What both sides of an X25519 stanza know. False: OpenSSL has no memory, or (*weak) the result
 * would be zero, whatever the identity: somebody has chosen the share so. */
bool mk__age_shared_secret(const uint8_t identity[MK_AGE_KEY_BYTES],
                           const uint8_t share[MK_AGE_KEY_BYTES], uint8_t out[MK_AGE_KEY_BYTES],
                           bool *weak);
/* The key that seals the file key to a recipient. */
bool mk__age_wrap_key(const uint8_t secret[MK_AGE_KEY_BYTES], const uint8_t share[MK_AGE_KEY_BYTES],
                      const uint8_t recipient[MK_AGE_KEY_BYTES], uint8_t out[MK_AGE_KEY_BYTES]);
/* A file key, sealed or opened: MK_ECORRUPT when the key is another one. */
int mk__age_wrap(bool seal, const uint8_t key[MK_AGE_KEY_BYTES], const uint8_t *in, uint8_t *out,
                 struct mk_error *err);
bool mk__age_mac(const uint8_t file_key[MK__AGE_FILE_KEY], const uint8_t *header, size_t len,
                 uint8_t mac[MK_SHA256_BYTES]);
bool mk__age_payload_key(const uint8_t file_key[MK__AGE_FILE_KEY],
                         const uint8_t nonce[MK_AGE_NONCE], uint8_t key[MK_AGE_KEY_BYTES]);

#endif
