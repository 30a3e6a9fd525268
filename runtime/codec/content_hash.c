/* The order-independent hash of a table's rows: see content_hash.h. */
#include "codec/content_hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

void mk_content_hash_row(struct mk_content_hash *hash, const void *row, size_t len)
{
    XXH128_hash_t row_hash = XXH3_128bits(row, len);
    hash->rows++;
    hash->low += row_hash.low64;
    hash->high += row_hash.high64;
}

void mk_content_hash_add(struct mk_content_hash *hash, const struct mk_content_hash *part)
{
    hash->rows += part->rows;
    hash->low += part->low;
    hash->high += part->high;
}

void mk_content_hash_text(const struct mk_content_hash *hash, char text[MK_CONTENT_HASH_TEXT])
{
    snprintf(text, MK_CONTENT_HASH_TEXT, "%" PRIu64 ":%016" PRIx64 "%016" PRIx64, hash->rows,
             hash->high, hash->low);
}
