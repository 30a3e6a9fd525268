/*
 * Rows of a table, chosen and converted: see table_rows.h.
 *
 *   bytes --> tar --> member --> row --> fits? --> text
 *            (archive)
 *
 * A row is gathered whole, for its last column may decide; then its text waits until there is room
 * for it. No more input is taken while text waits. A data newline always ends a row in COPY's text
 * format, and no row is a backslash and a dot.
 */
#include "codec/table_rows.h"

#include <string.h>

#include "base/mem.h"
#include "codec/tar.h"

#define END_MARK     "\\.\n" /* two empty lines follow */
#define END_MARK_LEN 3
#define FIRST_CAP    4096

struct buffer {
    uint8_t *bytes;
    size_t len, cap;
};

struct condition {
    size_t column;
    struct buffer text;
};

struct table_rows {
    struct mk_stream base;
    bool packed, csv;
    char member[MK_TAR_NAME];

    struct mk_tar_reader tar;
    bool is_member; /* the file that is being read */
    bool seen;      /* the member has begun */
    bool ended;     /* its end mark has come */

    struct buffer row;
    struct buffer text;
    size_t text_at;

    size_t n_conditions;
    struct condition conditions[];
};

static int corrupt(struct mk_error *err, const char *what)
{
    return mk_error_set(err, MK_ECORRUPT, "rows", "the data is damaged: %s", what);
}

static int append(struct buffer *buffer, const void *bytes, size_t len, struct mk_error *err)
{
    if (buffer->cap - buffer->len < len) {
        size_t cap = buffer->cap * 2 + len + FIRST_CAP;
        uint8_t *larger = mk_realloc(buffer->bytes, cap);
        if (!larger)
            return mk_error_nomem(err, "rows");
        buffer->bytes = larger;
        buffer->cap = cap;
    }
    if (len > 0)
        memcpy(buffer->bytes + buffer->len, bytes, len);
    buffer->len += len;
    return MK_OK;
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* The next field of the row, from *at on; false: there is none. */
static bool next_field(const struct buffer *row, size_t *at, const uint8_t **field, size_t *len)
{
    if (*at > row->len - 1) /* the last byte is the newline */
        return false;
    *field = row->bytes + *at;
    size_t left = row->len - 1 - *at;
    const uint8_t *tab = left > 0 ? memchr(*field, '\t', left) : NULL;
    *len = tab ? (size_t)(tab - *field) : left;
    *at += *len + 1;
    return true;
}

static bool fits(const struct table_rows *self)
{
    size_t n_fit = 0, column = 0, at = 0, len;
    const uint8_t *field;
    for (; next_field(&self->row, &at, &field, &len); column++) {
        for (size_t i = 0; i < self->n_conditions; i++) {
            const struct condition *condition = &self->conditions[i];
            if (condition->column != column)
                continue;
            if (condition->text.len != len ||
                (len > 0 && memcmp(condition->text.bytes, field, len) != 0))
                return false;
            n_fit++;
        }
    }
    return n_fit == self->n_conditions;
}

/* What a letter after a backslash stands for. */
static uint8_t unescaped(uint8_t letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    default:
        return letter;
    }
}

/* The field's value, quoted if it must be; `alone`: it is the row's only one. */
static int add_csv(struct buffer *text, const uint8_t *field, size_t len, bool alone,
                   struct mk_error *err)
{
    if (len == 2 && memcmp(field, "\\N", 2) == 0)
        return MK_OK;
    bool quoted = len == 0 || (alone && len == 3 && memcmp(field, "\\\\.", 3) == 0);
    for (size_t i = 0; i < len && !quoted; i++) {
        if (field[i] == '\\' && i + 1 < len) {
            i++;
            quoted = field[i] == 'n' || field[i] == 'r';
        } else {
            quoted = field[i] == ',' || field[i] == '"';
        }
    }
    int status = quoted ? append(text, "\"", 1, err) : MK_OK;
    for (size_t i = 0; i < len && status == MK_OK; i++) {
        uint8_t byte = field[i];
        if (byte == '\\' && i + 1 < len)
            byte = unescaped(field[++i]);
        if (byte == '"')
            status = append(text, "\"", 1, err);
        if (status == MK_OK)
            status = append(text, &byte, 1, err);
    }
    return quoted && status == MK_OK ? append(text, "\"", 1, err) : status;
}

static int convert(struct table_rows *self, struct mk_error *err)
{
    if (!self->csv)
        return append(&self->text, self->row.bytes, self->row.len, err);
    size_t at = 0, len;
    const uint8_t *field;
    int status = MK_OK;
    for (bool first = true; status == MK_OK && next_field(&self->row, &at, &field, &len);
         first = false) {
        if (!first)
            status = append(&self->text, ",", 1, err);
        if (status == MK_OK)
            status = add_csv(&self->text, field, len, len == self->row.len - 1, err);
    }
    return status == MK_OK ? append(&self->text, "\n", 1, err) : status;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* A whole row, or the end mark, has been gathered. */
static int end_row(struct table_rows *self, struct mk_error *err)
{
    int status = MK_OK;
    if (self->row.len == END_MARK_LEN && memcmp(self->row.bytes, END_MARK, END_MARK_LEN) == 0)
        self->ended = true;
    else if (self->n_conditions == 0 || fits(self))
        status = convert(self, err);
    self->row.len = 0;
    return status;
}

/* Bytes up to a newline, at most. */
static int feed(struct table_rows *self, const uint8_t *bytes, size_t len, struct mk_error *err)
{
    if (self->ended)
        return len == 1 && bytes[0] == '\n'
                   ? MK_OK
                   : corrupt(err, "there is more after the end of the rows");
    int status = append(&self->row, bytes, len, err);
    if (status == MK_OK && bytes[len - 1] == '\n')
        status = end_row(self, err);
    return status;
}

static size_t line_of(const uint8_t *bytes, size_t len)
{
    const uint8_t *newline = memchr(bytes, '\n', len);
    return newline ? (size_t)(newline - bytes) + 1 : len;
}

static int begin_file(struct table_rows *self, struct mk_error *err)
{
    self->is_member = strcmp(self->tar.name, self->member) == 0;
    if (self->is_member && self->seen)
        return corrupt(err, "a file of the archive comes twice");
    self->seen = self->seen || self->is_member;
    return MK_OK;
}

/* Takes some of the archive. */
static int64_t take(struct table_rows *self, const uint8_t *bytes, size_t len, struct mk_error *err)
{
    if (!self->packed) {
        size_t n = line_of(bytes, len);
        int status = feed(self, bytes, n, err);
        return status == MK_OK ? (int64_t)n : status;
    }
    if (self->is_member && self->tar.left > 0)
        len = line_of(bytes, len < self->tar.left ? len : (size_t)self->tar.left);
    enum mk_tar_event event;
    int64_t n = mk_tar_read(&self->tar, bytes, len, &event, err);
    int status = MK_OK;
    if (n >= 0 && event == MK_TAR_BEGIN)
        status = begin_file(self, err);
    else if (n > 0 && event == MK_TAR_BYTES && self->is_member)
        status = feed(self, bytes, (size_t)n, err);
    else if (n >= 0 && event == MK_TAR_END && self->is_member && !self->ended)
        status = corrupt(err, "the rows have no end");
    else if (n >= 0 && event == MK_TAR_END)
        self->is_member = false;
    return status == MK_OK ? n : status;
}

static int finish(const struct table_rows *self, struct mk_error *err)
{
    if (self->packed && !mk_tar_is_complete(&self->tar))
        return corrupt(err, "the archive has no end");
    if (self->packed && !self->seen)
        return mk_error_set(err, MK_ECORRUPT, "rows", "the archive has no %s", self->member);
    return self->ended ? MK_OK : corrupt(err, "the rows have no end");
}

/* ---- the stream ------------------------------------------------------------------------------ */

static void drain(struct table_rows *self, struct mk_stream_io *io)
{
    size_t n = self->text.len - self->text_at, room = io->out_cap - io->out_used;
    n = n < room ? n : room;
    if (n > 0)
        memcpy(io->out + io->out_used, self->text.bytes + self->text_at, n);
    io->out_used += n;
    self->text_at += n;
    if (self->text_at == self->text.len)
        self->text_at = self->text.len = 0;
}

static int rows_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    struct table_rows *self = (struct table_rows *)stream;
    for (;;) {
        drain(self, io);
        if (self->text.len > 0)
            return MK_OK; /* there is no room */
        if (io->in_used == io->in_len)
            break;
        int64_t n = take(self, io->in + io->in_used, io->in_len - io->in_used, err);
        if (n < 0)
            return (int)n;
        io->in_used += (size_t)n;
    }
    io->done = io->end;
    return io->done ? finish(self, err) : MK_OK;
}

static void rows_free(struct mk_stream *stream)
{
    struct table_rows *self = (struct table_rows *)stream;
    for (size_t i = 0; i < self->n_conditions; i++)
        mk_free(self->conditions[i].text.bytes);
    mk_free(self->row.bytes);
    mk_free(self->text.bytes);
    mk_free(self);
}

static const struct mk_stream_type type = {.step = rows_step, .free = rows_free};

struct mk_stream *mk_table_rows_new(const struct mk_table_rows_spec *spec, struct mk_error *err)
{
    struct table_rows *self =
        mk_calloc(sizeof *self + spec->n_conditions * sizeof self->conditions[0]);
    if (!self) {
        mk_error_nomem(err, "rows");
        return NULL;
    }
    self->base.type = &type;
    self->packed = spec->member != NULL;
    self->csv = spec->csv;
    if (spec->member) {
        size_t len = strlen(spec->member);
        memcpy(self->member, spec->member, len < MK_TAR_NAME ? len : MK_TAR_NAME - 1);
    }
    self->n_conditions = spec->n_conditions;
    int status = MK_OK;
    for (size_t i = 0; i < spec->n_conditions && status == MK_OK; i++) {
        const struct mk_row_condition *condition = &spec->conditions[i];
        self->conditions[i].column = condition->column;
        status = append(&self->conditions[i].text, condition->text, condition->len, err);
    }
    if (status == MK_OK)
        return &self->base;
    rows_free(&self->base);
    return NULL;
}
