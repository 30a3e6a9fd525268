#ifndef MK_CODEC_AGE_H
#define MK_CODEC_AGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * age v1 (age-encryption.org/v1, C2SP's age.md), on OpenSSL's primitives: a file is a header, which
 * seals a file key to X25519 recipients or to a passphrase (scrypt), and a payload of chunks, each
 * sealed by ChaCha20-Poly1305. What stock `age` writes can be opened here, and the other way round.
 *
 *   MK_ECORRUPT   the file is not as it was written, or not as the format wants it
 *   MK_EKEY       it may be whole, but none of the keys opens it
 */
#define MK_AGE_KEY_BYTES 32
#define MK_AGE_CHUNK     65536 /* bytes of a chunk; only the last may have less */
#define MK_AGE_TAG       16    /* what sealing adds to a chunk */
#define MK_AGE_NONCE     16    /* between header and chunks */
/* Of a header that is read; of one that is made, which has a few bytes for each recipient. */
#define MK_AGE_MAX_HEADER (16 * 1024)
#define MK_AGE_MAX_KEYS   64

/* ---- keys ---------------------------------------------------------------------------------- */

/* Texts are "age1..." and "AGE-SECRET-KEY-1...". */
#define MK_AGE_TEXT 96 /* room for any of them */
bool mk_age_parse_recipient(const char *text, uint8_t recipient[MK_AGE_KEY_BYTES]);
bool mk_age_parse_identity(const char *text, uint8_t identity[MK_AGE_KEY_BYTES]);
void mk_age_show_recipient(const uint8_t recipient[MK_AGE_KEY_BYTES], char out[MK_AGE_TEXT]);
void mk_age_show_identity(const uint8_t identity[MK_AGE_KEY_BYTES], char out[MK_AGE_TEXT]);
/* Overwrites what held a key. */
void mk_age_wipe(void *bytes, size_t len);
/* A new identity (the private key), and the recipient (the public one) of any. */
int mk_age_generate(uint8_t identity[MK_AGE_KEY_BYTES], struct mk_error *err);
int mk_age_recipient_of(const uint8_t identity[MK_AGE_KEY_BYTES],
                        uint8_t recipient[MK_AGE_KEY_BYTES], struct mk_error *err);

/* To whom a file is sealed, or what opens it: recipients or identities, or a passphrase. */
struct mk_age_keys {
    size_t n;
    uint8_t keys[MK_AGE_MAX_KEYS][MK_AGE_KEY_BYTES];
    char *passphrase; /* NULL: none */
};
struct mk_age_keys *mk_age_keys_new(struct mk_error *err);
int mk_age_keys_set_passphrase(struct mk_age_keys *keys, const char *text, struct mk_error *err);
void mk_age_keys_free(struct mk_age_keys *keys); /* leaves nothing of them in memory */

/* ---- headers ------------------------------------------------------------------------------- */

/* A new header and nonce, and the key of the chunks that follow. `out` has room for
 * MK_AGE_MAX_HEADER bytes. With a passphrase this takes 128 MiB and about half a second. */
int mk_age_header_make(const struct mk_age_keys *recipients, uint8_t *out, size_t *len,
                       uint8_t key[MK_AGE_KEY_BYTES], struct mk_error *err);
/* How many of these bytes are header and nonce, into `length`; 0: it needs more. MK_ECORRUPT: no
 * more bytes can make it one. */
int mk_age_header_length(const uint8_t *bytes, size_t len, size_t *length, struct mk_error *err);
/* The key of the chunks. `len` is what mk_age_header_length has said. */
int mk_age_header_open(const struct mk_age_keys *identities, const uint8_t *header, size_t len,
                       uint8_t key[MK_AGE_KEY_BYTES], struct mk_error *err);

/* ---- chunks -------------------------------------------------------------------------------- */

/* Seals or opens chunks, in any order; for one thread at a time. */
struct mk_age_cipher;
struct mk_age_cipher *mk_age_cipher_new(bool seal, struct mk_error *err);
void mk_age_cipher_free(struct mk_age_cipher *cipher);
int mk_age_cipher_set_key(struct mk_age_cipher *cipher, const uint8_t key[MK_AGE_KEY_BYTES],
                          struct mk_error *err);

struct mk_age_chunk {
    uint64_t number; /* from 0 */
    bool last;
    const uint8_t *parts[2]; /* what goes in, in two parts */
    size_t part_len[2];
    uint8_t *out; /* room for what goes in, and with sealing for MK_AGE_TAG bytes more */
};
/* Into chunk->out. Opening writes there before it knows: what is there when it fails is not to be
 * used. */
int mk_age_chunk_run(struct mk_age_cipher *cipher, const struct mk_age_chunk *chunk,
                     struct mk_error *err);

#endif
