#ifndef MK_CODEC_CONTENT_HASH_H
#define MK_CODEC_CONTENT_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * The content hash of a table: how many rows it has, and the sum, modulo 2^64 and in two halves,
 * of the XXH3-128 of each row. A row is a line of COPY's text format with its newline. A sum does
 * not depend on the order of rows, so it survives a parallel load, and the sums of parts add up to
 * that of the whole. Source: pg-formats, "content hash"; both sides must pin the settings that
 * change COPY's text (DateStyle, TimeZone, IntervalStyle, bytea_output, client_encoding, ...).
 */
struct mk_content_hash {
    uint64_t rows;
    uint64_t low, high;
};

void mk_content_hash_row(struct mk_content_hash *hash, const void *row, size_t len);
void mk_content_hash_add(struct mk_content_hash *hash, const struct mk_content_hash *part);

/* "ROWS:HHHHHHHHHHHHHHHHLLLLLLLLLLLLLLLL", the count in decimal, the sums in hex. */
#define MK_CONTENT_HASH_TEXT 56
void mk_content_hash_text(const struct mk_content_hash *hash, char text[MK_CONTENT_HASH_TEXT]);

#endif
