#ifndef MK_BASE_COLUMNS_H
#define MK_BASE_COLUMNS_H

#include "base/names.h"

#define MK_COLUMNS_MAX 32

/* Rows of cells, to be shown in columns that are as wide as their widest cell. A character of UTF-8
 * is one wide; a sequence that sets a colour (ESC [ digits m) has no width. Zeroed but for n and
 * right. */
struct mk_columns {
    int n;
    bool right[MK_COLUMNS_MAX]; /* its cells stand at its right edge */
    size_t widths[MK_COLUMNS_MAX];
    struct mk_names cells; /* row by row */
    size_t *rows;          /* where in `cells` each begins, in the order in which they are shown */
    size_t n_rows, cap_rows;
    size_t shown; /* how many of them have been shown */
};

/* The next cell. False when memory is out: then it was not added. */
bool mk_columns_add(struct mk_columns *columns, const char *cell, size_t len);

/* Puts the rows from `first` on into the order of their bytes in a column; of those that are the
 * same there, in another one; of those that are the same in both, as they were added. All cells
 * must be there. False when memory is out: then nothing was changed. */
bool mk_columns_sort(struct mk_columns *columns, size_t first, int column, int then);

/* Adds the line of the next row to `text`, without what is blank at its end. False when memory is
 * out. All cells of the row must be there, and all rows should be, for they decide on the widths.
 */
bool mk_columns_show(struct mk_columns *columns, struct mk_names *text);
bool mk_columns_at_end(const struct mk_columns *columns);

void mk_columns_fini(struct mk_columns *columns);

#endif
