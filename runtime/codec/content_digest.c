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
#include "codec/tar.h"

#define END_MARK "\\.\n" /* two empty lines follow */
#define TEXT_LEN (MK_TAR_NAME + MK_CONTENT_HASH_TEXT + 24)

struct content {
    struct mk_digest base;
    struct mk_content_spec spec;

    /* the tar archive */
    uint8_t header[MK_TAR_BLOCK];
    size_t header_len;
    char name[MK_TAR_NAME];
    uint64_t left;   /* of the member's bytes */
    size_t padding;  /* zeros after it, still to come */
    bool in_member;  /* its header has come */
    bool saw_zeros;  /* a block of zeros: only such may follow */
    uint64_t blocks; /* of zeros */

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
                     is_line ? self->name : "", is_line ? " " : "", self->bytes, hash,
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

/* The number in "blob_NUMBER.dat". */
static bool parse_blob_name(const char *name, uint32_t *oid)
{
    char *end;
    if (strncmp(name, "blob_", 5) != 0 || name[5] < '0' || name[5] > '9')
        return false;
    unsigned long long value = strtoull(name + 5, &end, 10);
    *oid = (uint32_t)value;
    return value <= UINT32_MAX && strcmp(end, ".dat") == 0;
}

static int begin_member(struct content *self, struct mk_error *err)
{
    if (self->spec.large_objects) {
        uint32_t oid = self->spec.oid;
        if (self->spec.packed && !parse_blob_name(self->name, &oid))
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

/* ---- the archive ----------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static int take_header(struct content *self, struct mk_error *err)
{
    uint8_t expected[MK_TAR_BLOCK];
    self->header_len = 0;
    if (is_zero(self->header, MK_TAR_BLOCK)) {
        self->saw_zeros = true;
        self->blocks++;
        return MK_OK;
    }
    const char *text = (const char *)self->header;
    if (self->saw_zeros || text[MK_TAR_NAME - 1] != '\0')
        return corrupt(err, "a header of the archive is none");
    memcpy(self->name, text, MK_TAR_NAME);
    uint64_t time = strtoull(text + MK_TAR_TIME, NULL, 8);
    self->left = strtoull(text + MK_TAR_SIZE, NULL, 8);
    mk_tar_header(expected, self->name, self->left,
                  (int64_t)time); /* all else is always the same */
    if (memcmp(self->header, expected, MK_TAR_BLOCK) != 0)
        return corrupt(err, "a header of the archive is none");
    self->padding = mk_tar_padding(self->left);
    self->in_member = true;
    return begin_member(self, err);
}

/* One step: returns how many bytes it has taken, or a status below 0. */
static int64_t step_archive(struct content *self, const uint8_t *bytes, size_t len,
                            struct mk_error *err)
{
    size_t n = len;
    int status = MK_OK;
    if (!self->in_member) {
        if (n > MK_TAR_BLOCK - self->header_len)
            n = MK_TAR_BLOCK - self->header_len;
        memcpy(self->header + self->header_len, bytes, n);
        self->header_len += n;
        if (self->header_len == MK_TAR_BLOCK)
            status = take_header(self, err);
    } else if (self->left > 0) {
        if (n > self->left)
            n = (size_t)self->left;
        status = feed_member(self, bytes, n, err);
        self->left -= n;
    } else {
        if (n > self->padding)
            n = self->padding;
        if (!is_zero(bytes, n))
            return corrupt(err, "there is something between two files of the archive");
        self->padding -= n;
    }
    if (status == MK_OK && self->in_member && self->left == 0 && self->padding == 0) {
        self->in_member = false;
        status = end_member(self, err);
    }
    return status == MK_OK ? (int64_t)n : status;
}

/* ---- the digest ------------------------------------------------------------------------------ */

static int content_update(struct mk_digest *digest, const void *data, size_t len,
                          struct mk_error *err)
{
    struct content *self = (struct content *)digest;
    const uint8_t *bytes = data;
    if (!self->spec.packed)
        return feed_member(self, bytes, len, err);
    while (len > 0) {
        int64_t n = step_archive(self, bytes, len, err);
        if (n < 0)
            return (int)n;
        bytes += n;
        len -= (size_t)n;
    }
    return MK_OK;
}

static const char *content_finish(struct mk_digest *digest, struct mk_error *err)
{
    struct content *self = (struct content *)digest;
    int status = MK_OK;
    if (self->spec.packed) {
        if (self->blocks < 2 || self->header_len > 0 || self->in_member)
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
