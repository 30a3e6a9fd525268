#ifndef MK_CODEC_ED25519_H
#define MK_CODEC_ED25519_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Signatures (RFC 8032) of small texts. A private key is its seed. False, but for `verify`: OpenSSL
 * has no memory. */
#define MK_ED25519_KEY       32
#define MK_ED25519_SIGNATURE 64
bool mk_ed25519_generate(uint8_t seed[MK_ED25519_KEY]);
bool mk_ed25519_public(const uint8_t seed[MK_ED25519_KEY], uint8_t key[MK_ED25519_KEY]);
bool mk_ed25519_sign(const uint8_t seed[MK_ED25519_KEY], const void *text, size_t len,
                     uint8_t signature[MK_ED25519_SIGNATURE]);
/* Whether it is the signature of the text by the owner of this public key. */
bool mk_ed25519_verify(const uint8_t key[MK_ED25519_KEY], const void *text, size_t len,
                       const uint8_t signature[MK_ED25519_SIGNATURE]);

#endif
