#ifndef MK_CODEC_CONTENT_HASH_H
#define MK_CODEC_CONTENT_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * The content hash of a table: how many rows it has, and the sum, modulo 2^64 and in two halves,
 * of the XXH3-128 of each row. A row is a line of COPY's text format with its newline. A sum does
 * not depend on the order of rows, so it survives a parallel load, and the sums of parts add up to
 * that of the whole. Source: pg-formats, "content hash"; both sides must pin the settings that
 * change COPY's text (DateStyle, TimeZone, IntervalStyle, bytea_output, client_encoding, ...).
 *
 * Large objects have one, too: each is a row of its oid, four bytes in network order, and its
 * bytes.
 */
struct mk_content_hash {
    uint64_t rows;
    uint64_t low, high;
};

void mk_content_hash_row(struct mk_content_hash *hash, const void *row, size_t len);
void mk_content_hash_add(struct mk_content_hash *hash, const struct mk_content_hash *part);

/* A row that comes in pieces: any number of `piece`, then `end`, which counts it. */
struct mk_content_row;
struct mk_content_row *mk_content_row_new(struct mk_error *err); /* NULL: memory is out */
void mk_content_row_piece(struct mk_content_row *row, const void *bytes, size_t len);
void mk_content_row_oid(struct mk_content_row *row, uint32_t oid); /* as such a piece */
void mk_content_row_end(struct mk_content_row *row, struct mk_content_hash *hash);
void mk_content_row_free(struct mk_content_row *row); /* NULL is allowed */

/* "ROWS:HHHHHHHHHHHHHHHHLLLLLLLLLLLLLLLL", the count in decimal, the sums in hex. */
#define MK_CONTENT_HASH_TEXT 56
void mk_content_hash_text(const struct mk_content_hash *hash, char text[MK_CONTENT_HASH_TEXT]);

#endif
