#ifndef MK_CODEC_BECH32_H
#define MK_CODEC_BECH32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bech32 (BIP 173, without its limit of 90 characters): bytes as text with a prefix and a checksum,
 * as age writes its keys.
 */

/* How many characters `len` bytes take, a NUL included. */
#define MK_BECH32_CHARS(prefix_len, len) ((prefix_len) + 1 + ((len)*8 + 4) / 5 + 6 + 1)

/* In lower case. `out` has room for MK_BECH32_CHARS. */
void mk_bech32_encode(const char *prefix, const uint8_t *bytes, size_t len, char *out);
/* The `len` bytes of a text of this prefix (which is in lower case; the text may be in upper case,
 * but not in both). False: it is another one, or was mistyped. */
bool mk_bech32_decode(const char *text, const char *prefix, uint8_t *out, size_t len);

#endif
