/* Well-formed UTF-8 from any bytes: see utf8.h. The ranges are those of RFC 3629, section 4. */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* The length of the well-formed sequence at `s`, 0 if there is none. */
static size_t sequence(const uint8_t *s, size_t len)
{
    uint8_t lead = s[0];
    if (lead < 0x80)
        return 1;
    size_t n = lead >= 0xc2 && lead <= 0xdf   ? 2
               : lead >= 0xe0 && lead <= 0xef ? 3
               : lead >= 0xf0 && lead <= 0xf4 ? 4
                                              : 0;
    if (n == 0 || n > len)
        return 0;
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return n;
}

size_t mk_utf8_clean(const char *text, size_t len, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < len;) {
        size_t n = sequence((const uint8_t *)text + i, len - i);
        memcpy(out + used, n > 0 ? text + i : "\xef\xbf\xbd", n > 0 ? n : 3);
        used += n > 0 ? n : 3;
        i += n > 0 ? n : 1;
    }
    return used;
}
