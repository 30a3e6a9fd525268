#ifndef MK_BASE_UTF8_H
#define MK_BASE_UTF8_H

#include <stddef.h>

/* Copies text, with U+FFFD in place of each byte that is not part of well-formed UTF-8 (RFC 3629):
 * what servers and programs say may be in any encoding, and may have been cut anywhere. `out` has
 * room for MK_UTF8_CLEAN_MAX(len). Returns the length of the copy. */
#define MK_UTF8_CLEAN_MAX(len) ((len)*3)
size_t mk_utf8_clean(const char *text, size_t len, char *out);

#endif
