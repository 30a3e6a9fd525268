/*
 * Tables for people: see columns.h. There may be hundreds of thousands of rows, so the cells lie
 * one after the other, and a line is made when it is shown.
 */
#include "base/columns.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define GAP 2

static size_t width_of(const char *cell)
{
    size_t width = 0;
    for (const char *at = cell; *at; at++) {
        if (at[0] == '\033' && at[1] == '[') {
            size_t digits = strspn(at + 2, "0123456789");
            if (at[2 + digits] == 'm') {
                at += 2 + digits;
                continue;
            }
        }
        width += ((unsigned char)*at & 0xc0) != 0x80; /* but for what continues a character */
    }
    return width;
}

/* Takes down where the next row begins. */
static bool begin_row(struct mk_columns *columns)
{
    if (columns->n_rows == columns->cap_rows) {
        size_t cap = columns->cap_rows ? 2 * columns->cap_rows : 64;
        size_t *larger = mk_realloc(columns->rows, cap * sizeof *larger);
        if (!larger)
            return false;
        columns->rows = larger;
        columns->cap_rows = cap;
    }
    columns->rows[columns->n_rows] = columns->cells.len;
    return true;
}

bool mk_columns_add(struct mk_columns *columns, const char *cell, size_t len)
{
    size_t column = columns->cells.n % (size_t)columns->n;
    const char *nul = memchr(cell, '\0', len);
    if (column == 0 && !begin_row(columns))
        return false;
    if (!mk_names_add(&columns->cells, cell, nul ? (size_t)(nul - cell) : len))
        return false;
    columns->n_rows += column == 0;
    size_t width = width_of(cell);
    if (width > columns->widths[column])
        columns->widths[column] = width;
    return true;
}

struct sorted {
    size_t row;
    const char *key, *then;
};

static int compare(const void *left, const void *right)
{
    const struct sorted *a = left, *b = right;
    int order = strcmp(a->key, b->key);
    if (order == 0)
        order = strcmp(a->then, b->then);
    return order != 0 ? order : (a->row > b->row) - (a->row < b->row);
}

static const char *cell_of(const struct mk_columns *columns, size_t row, int column)
{
    const char *cell = columns->cells.bytes + row;
    for (; column > 0; column--)
        cell += strlen(cell) + 1;
    return cell;
}

bool mk_columns_sort(struct mk_columns *columns, size_t first, int column, int then)
{
    assert(columns->cells.n % (size_t)columns->n == 0);
    if (columns->n_rows <= first)
        return true;
    size_t n = columns->n_rows - first;
    struct sorted *sorted = mk_alloc(n * sizeof *sorted);
    if (!sorted)
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t row = columns->rows[first + i];
        sorted[i] =
            (struct sorted){row, cell_of(columns, row, column), cell_of(columns, row, then)};
    }
    qsort(sorted, n, sizeof *sorted, compare);
    for (size_t i = 0; i < n; i++)
        columns->rows[first + i] = sorted[i].row;
    mk_free(sorted);
    return true;
}

static char *put_blanks(char *to, size_t n)
{
    memset(to, ' ', n);
    return to + n;
}

static char *put_cell(char *to, const char *cell, size_t len, size_t blanks, bool right)
{
    to = put_blanks(to, right ? blanks : 0);
    memcpy(to, cell, len);
    return put_blanks(to + len, right ? 0 : blanks);
}

bool mk_columns_show(struct mk_columns *columns, struct mk_names *text)
{
    assert(!mk_columns_at_end(columns));
    const char *cell = columns->cells.bytes + columns->rows[columns->shown];
    size_t room = 0;
    const char *end = cell;
    for (int i = 0; i < columns->n; i++) {
        size_t size = strlen(end) + 1;
        room += size + columns->widths[i] + GAP;
        end += size;
    }
    if (!mk_names_reserve(text, room + 1))
        return false;
    char *line = text->bytes + text->len, *to = line;
    for (int i = 0; i < columns->n; i++) {
        size_t len = strlen(cell);
        to = put_blanks(to, i > 0 ? GAP : 0);
        to = put_cell(to, cell, len, columns->widths[i] - width_of(cell), columns->right[i]);
        cell += len + 1;
    }
    while (to > line && to[-1] == ' ')
        to--;
    *to++ = '\n';
    text->len += (size_t)(to - line);
    columns->shown++;
    return true;
}

bool mk_columns_at_end(const struct mk_columns *columns)
{
    return columns->shown == columns->n_rows;
}

void mk_columns_fini(struct mk_columns *columns)
{
    mk_names_fini(&columns->cells);
    mk_free(columns->rows);
}
