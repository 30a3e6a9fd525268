#ifndef MK_CODEC_TABLE_ROWS_H
#define MK_CODEC_TABLE_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/stream.h"

/*
 * The rows of one table out of a data file of pg_dump's, or of an archive of such: without the mark
 * that ends them, only those that fit, in COPY's text format or as CSV (what COPY ... CSV writes:
 * NULL is nothing, an empty text is "").
 */
struct mk_row_condition {
    size_t column; /* from 0 */
    const char *text;
    size_t len; /* as COPY's text format has it: escaped, NULL as \N */
};
struct mk_table_rows_spec {
    const char *member; /* of an archive; NULL: there is one file */
    bool csv;
    const struct mk_row_condition *conditions; /* all of them must fit */
    size_t n_conditions;
};

/* What the spec points to is copied. Memory: three times the longest row. MK_ECORRUPT: the archive
 * is none or does not have the member once; the rows have no end, or something comes after it. */
struct mk_stream *mk_table_rows_new(const struct mk_table_rows_spec *spec, struct mk_error *err);

#endif
