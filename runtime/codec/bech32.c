/*
 * Bech32: see bech32.h. Groups of 5 bits over 32 characters; the last 6 characters are a BCH code
 * over the prefix and all groups, which finds any 4 wrong characters. The bits that fill up the
 * last group are zero: a text that has others is refused, so that there is one text for each key.
 */
#include "codec/bech32.h"

#include <string.h>

#define CHECKSUM_GROUPS 6

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* The code's remainder with one more group. */
static uint32_t next(uint32_t sum, unsigned group)
{
    static const uint32_t generator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                         0x2a1462b3};
    uint32_t top = sum >> 25;
    sum = (sum & 0x1ffffff) << 5 ^ group;
    for (int i = 0; i < 5; i++)
        if (top >> i & 1)
            sum ^= generator[i];
    return sum;
}

static uint32_t begin(const char *prefix)
{
    uint32_t sum = 1;
    for (const char *c = prefix; *c; c++)
        sum = next(sum, (unsigned char)*c >> 5);
    sum = next(sum, 0);
    for (const char *c = prefix; *c; c++)
        sum = next(sum, *c & 31);
    return sum;
}

void mk_bech32_encode(const char *prefix, const uint8_t *bytes, size_t len, char *out)
{
    uint32_t sum = begin(prefix);
    size_t n = strlen(prefix);
    memcpy(out, prefix, n);
    out[n++] = '1';
    unsigned bits = 0, have = 0;
    for (size_t i = 0; i < len || have > 0;) {
        if (have < 5 && i < len) {
            bits = bits << 8 | bytes[i++];
            have += 8;
        } else if (have < 5) { /* the end: filled up with zeros */
            bits <<= 5 - have;
            have = 5;
        }
        have -= 5;
        unsigned group = bits >> have & 31;
        out[n++] = alphabet[group];
        sum = next(sum, group);
    }
    for (int i = 0; i < CHECKSUM_GROUPS; i++)
        sum = next(sum, 0);
    sum ^= 1;
    for (int i = CHECKSUM_GROUPS - 1; i >= 0; i--)
        out[n++] = alphabet[sum >> 5 * i & 31];
    out[n] = '\0';
}

/* A character in lower case; 0 when the text has both cases. */
static char lowered(char c, bool *upper, bool *lower)
{
    *upper = *upper || (c >= 'A' && c <= 'Z');
    *lower = *lower || (c >= 'a' && c <= 'z');
    if (*upper && *lower)
        return 0;
    return (char)(c >= 'A' && c <= 'Z' ? c | 32 : c);
}

bool mk_bech32_decode(const char *text, const char *prefix, uint8_t *out, size_t len)
{
    bool upper = false, lower = false;
    size_t prefix_len = strlen(prefix);
    if (strlen(text) + 1 != MK_BECH32_CHARS(prefix_len, len))
        return false;
    for (size_t i = 0; i < prefix_len; i++)
        if (lowered(text[i], &upper, &lower) != prefix[i])
            return false;
    text += prefix_len;
    if (*text++ != '1')
        return false;
    uint32_t sum = begin(prefix);
    unsigned bits = 0, have = 0;
    for (size_t n = 0, left = strlen(text); left > 0; left--, text++) {
        char c = lowered(*text, &upper, &lower);
        const char *found = c ? strchr(alphabet, c) : NULL;
        if (!found)
            return false;
        unsigned group = (unsigned)(found - alphabet);
        sum = next(sum, group);
        if (left <= CHECKSUM_GROUPS)
            continue;
        bits = bits << 5 | group;
        have += 5;
        if (have >= 8 && n < len) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    return sum == 1 && (bits & ((1u << have) - 1)) == 0;
}
