/*
 * Tables for people: see columns.h. There may be hundreds of thousands of rows, so the cells lie
 * one after the other, and a line is made when it is shown.
 */
#include "base/columns.h"

#include <assert.h>
#include <string.h>

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

bool mk_columns_add(struct mk_columns *columns, const char *cell, size_t len)
{
    size_t column = columns->cells.n % (size_t)columns->n;
    const char *nul = memchr(cell, '\0', len);
    if (!mk_names_add(&columns->cells, cell, nul ? (size_t)(nul - cell) : len))
        return false;
    size_t width = width_of(cell);
    if (width > columns->widths[column])
        columns->widths[column] = width;
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
    const char *cell = columns->cells.bytes + columns->shown;
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
    columns->shown = (size_t)(end - columns->cells.bytes);
    return true;
}

bool mk_columns_at_end(const struct mk_columns *columns)
{
    return columns->shown == columns->cells.len;
}

void mk_columns_fini(struct mk_columns *columns)
{
    mk_names_fini(&columns->cells);
}
