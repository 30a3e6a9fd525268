/*
 * The contents of data files, summed up: see content_digest.h.
 *
 *   bytes --> tar --> member --> rows --> sum
 *             (packed)           (not of large objects)
 *
 * Each level keeps its state between pieces, so cuts may be anywhere. A row that lies in one piece
 * is hashed in place. A data newline is always the end of a row in COPY's text format, and no row
 * begins with backslash and dot.
 */
#include "codec/content_digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/content_hash.h"
#include "codec/large_objects.h"
#include "codec/tar.h"

#define END_MARK "\\.\n"            /* two empty lines follow */
#define MAX_TEXT (4u * 1024 * 1024) /* of 2,000 members there are 300 KiB */
#define TEXT_LEN (MK_TAR_NAME + MK_CONTENT_HASH_TEXT + 24)

struct content {
    struct mk_digest base;
    struct mk_content_spec spec;

    struct mk_tar_reader tar;

    /* the rows of the member */
    struct mk_content_row *row;
    char start[sizeof END_MARK - 1]; /* of a row that came in pieces */
    uint64_t row_len;                /* of what has come of it; 0: at the beginning of a row */
    bool ended;                      /* the end mark has come... */
    int empty_lines;                 /* ...and so many of the two after it */
    struct mk_content_hash hash;
    uint64_t bytes;

    char *text;
    size_t text_len, text_cap;
};

static int corrupt(struct mk_error *err, const char *what)
{
    return mk_error_set(err, MK_ECORRUPT, "rows", "the data is damaged: %s", what);
}

/* ---- the text -------------------------------------------------------------------------------- */

static int add_text(struct content *self, struct mk_error *err)
{
    if (self->text_len > MAX_TEXT)
        return corrupt(err, "there are too many files in one archive");
    if (self->text_cap - self->text_len < TEXT_LEN) {
        size_t cap = self->text_cap * 2 + TEXT_LEN;
        char *larger = mk_realloc(self->text, cap);
        if (!larger)
            return mk_error_nomem(err, "rows");
        self->text = larger;
        self->text_cap = cap;
    }
    char hash[MK_CONTENT_HASH_TEXT];
    mk_content_hash_text(&self->hash, hash);
    bool is_line = self->spec.packed && !self->spec.large_objects;
    int n = snprintf(self->text + self->text_len, TEXT_LEN, "%s%s%" PRIu64 ":%s%s",
                     is_line ? self->tar.name : "", is_line ? " " : "", self->bytes, hash,
                     is_line ? "\n" : "");
    self->text_len += (size_t)n;
    return MK_OK;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* A piece of a row, or of the end mark. */
static void begin_or_go_on(struct content *self, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len && self->row_len + i < sizeof self->start; i++)
        self->start[self->row_len + i] = (char)bytes[i];
    self->row_len += len;
    mk_content_row_piece(self->row, bytes, len);
}

static void end_row(struct content *self)
{
    if (self->row_len == sizeof self->start &&
        memcmp(self->start, END_MARK, sizeof self->start) == 0) {
        struct mk_content_hash forgotten = {0};
        mk_content_row_end(self->row, &forgotten);
        self->ended = true;
    } else {
        mk_content_row_end(self->row, &self->hash);
        self->bytes += self->row_len;
    }
    self->row_len = 0;
}

static int feed_rows(struct content *self, const uint8_t *bytes, size_t len, struct mk_error *err)
{
    while (len > 0 && !self->ended) {
        const uint8_t *newline = memchr(bytes, '\n', len);
        size_t n = newline ? (size_t)(newline - bytes) + 1 : len;
        if (newline && self->row_len == 0 && bytes[0] != '\\') {
            mk_content_hash_row(&self->hash, bytes, n);
            self->bytes += n;
        } else {
            begin_or_go_on(self, bytes, n);
            if (newline)
                end_row(self);
        }
        bytes += n;
        len -= n;
    }
    for (; len > 0; bytes++, len--)
        if (*bytes != '\n' || ++self->empty_lines > 2)
            return corrupt(err, "there is more after the end of the rows");
    return MK_OK;
}

/* ---- members --------------------------------------------------------------------------------- */

static int begin_member(struct content *self, struct mk_error *err)
{
    if (self->spec.large_objects) {
        uint32_t oid = self->spec.oid;
        if (self->spec.packed && !mk_large_object_of(self->tar.name, &oid))
            return corrupt(err, "a file of it is not named like a large object");
        mk_content_row_oid(self->row, oid);
    } else {
        self->hash = (struct mk_content_hash){0};
        self->bytes = 0;
        self->ended = false;
        self->empty_lines = 0;
    }
    return MK_OK;
}

static int feed_member(struct content *self, const uint8_t *bytes, size_t len, struct mk_error *err)
{
    if (!self->spec.large_objects)
        return feed_rows(self, bytes, len, err);
    self->bytes += len;
    mk_content_row_piece(self->row, bytes, len);
    return MK_OK;
}

static int end_member(struct content *self, struct mk_error *err)
{
    if (self->spec.large_objects) {
        mk_content_row_end(self->row, &self->hash);
        return MK_OK;
    }
    if (!self->ended || self->empty_lines != 2)
        return corrupt(err, "the rows have no end");
    return add_text(self, err);
}

/* ---- the digest ------------------------------------------------------------------------------ */

static int content_update(struct mk_digest *digest, const void *data, size_t len,
                          struct mk_error *err)
{
    struct content *self = (struct content *)digest;
    const uint8_t *bytes = data;
    if (!self->spec.packed)
        return feed_member(self, bytes, len, err);
    int status = MK_OK;
    while (len > 0 && status == MK_OK) {
        enum mk_tar_event event;
        int64_t n = mk_tar_read(&self->tar, bytes, len, &event, err);
        if (n < 0)
            return (int)n;
        if (event == MK_TAR_BEGIN)
            status = begin_member(self, err);
        else if (event == MK_TAR_BYTES)
            status = feed_member(self, bytes, (size_t)n, err);
        else if (event == MK_TAR_END)
            status = end_member(self, err);
        bytes += n;
        len -= (size_t)n;
    }
    return status;
}

static const char *content_finish(struct mk_digest *digest, struct mk_error *err)
{
    struct content *self = (struct content *)digest;
    int status = MK_OK;
    if (self->spec.packed) {
        if (!mk_tar_is_complete(&self->tar))
            status = corrupt(err, "the archive has no end");
    } else {
        status = end_member(self, err);
    }
    if (status == MK_OK && self->spec.large_objects)
        status = add_text(self, err);
    if (status != MK_OK)
        return NULL;
    return self->text ? self->text : "";
}

static void content_free(struct mk_digest *digest)
{
    struct content *self = (struct content *)digest;
    mk_content_row_free(self->row);
    mk_free(self->text);
    mk_free(self);
}

static const struct mk_digest_type type = {"rows", content_update, content_finish, content_free};

struct mk_digest *mk_content_digest_new(const struct mk_content_spec *spec, struct mk_error *err)
{
    struct content *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->spec = *spec;
    self->row = mk_content_row_new(err);
    if (!self->row || (!spec->packed && begin_member(self, err) != MK_OK)) {
        content_free(&self->base);
        return NULL;
    }
    return &self->base;
}
