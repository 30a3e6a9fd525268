/* The order-independent hash of a table's rows: see content_hash.h. */
#include "codec/content_hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "base/mem.h"

static void add_row(struct mk_content_hash *hash, XXH128_hash_t row_hash)
{
    hash->rows++;
    hash->low += row_hash.low64;
    hash->high += row_hash.high64;
}

void mk_content_hash_row(struct mk_content_hash *hash, const void *row, size_t len)
{
    add_row(hash, XXH3_128bits(row, len));
}

void mk_content_hash_add(struct mk_content_hash *hash, const struct mk_content_hash *part)
{
    hash->rows += part->rows;
    hash->low += part->low;
    hash->high += part->high;
}

struct mk_content_row {
    XXH3_state_t *state;
};

struct mk_content_row *mk_content_row_new(struct mk_error *err)
{
    struct mk_content_row *row = mk_calloc(sizeof *row);
    if (row) {
        row->state = XXH3_createState();
        if (row->state && XXH3_128bits_reset(row->state) == XXH_OK)
            return row;
    }
    mk_content_row_free(row);
    mk_error_nomem(err, "hash");
    return NULL;
}

void mk_content_row_piece(struct mk_content_row *row, const void *bytes, size_t len)
{
    XXH3_128bits_update(row->state, bytes, len); /* fails on NULL only */
}

void mk_content_row_oid(struct mk_content_row *row, uint32_t oid)
{
    const uint8_t bytes[] = {(uint8_t)(oid >> 24), (uint8_t)(oid >> 16), (uint8_t)(oid >> 8),
                             (uint8_t)oid};
    mk_content_row_piece(row, bytes, sizeof bytes);
}

void mk_content_row_end(struct mk_content_row *row, struct mk_content_hash *hash)
{
    add_row(hash, XXH3_128bits_digest(row->state));
    XXH3_128bits_reset(row->state);
}

void mk_content_row_free(struct mk_content_row *row)
{
    if (!row)
        return;
    XXH3_freeState(row->state);
    mk_free(row);
}

void mk_content_hash_text(const struct mk_content_hash *hash, char text[MK_CONTENT_HASH_TEXT])
{
    snprintf(text, MK_CONTENT_HASH_TEXT, "%" PRIu64 ":%016" PRIx64 "%016" PRIx64, hash->rows,
             hash->high, hash->low);
}
