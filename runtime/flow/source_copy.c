/*
 * COPY TO STDOUT as a source: see stages.h, pg/pg.h. The end is good only when the server has said
 * CommandComplete. With `hash` the rows counted here must be as many as the server says it sent.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "flow/stages.h"

struct source_copy {
    struct mk_source base;
    struct mk_pg *pg;
    struct mk_pg_copy *copy; /* since the first want */
    bool hash;
    char result[MK_CONTENT_HASH_TEXT];
    char sql[];
};

static void on_answer(void *arg, bool end, int status, const struct mk_error *err)
{
    struct source_copy *self = arg;
    struct mk_error mismatch;
    if (end) {
        const struct mk_content_hash *hash = mk_pg_copy_hash(self->copy);
        int64_t rows = mk_pg_copy_rows(self->copy);
        if (!self->hash) {
            snprintf(self->result, sizeof self->result, "%lld", (long long)rows);
        } else if (hash->rows == (uint64_t)rows) {
            mk_content_hash_text(hash, self->result);
        } else {
            status = mk_error_set(&mismatch, MK_EINVAL, "copy",
                                  "the server says that it sent %lld rows, but %llu have come",
                                  (long long)rows, (unsigned long long)hash->rows);
            mk_error_hint(&mismatch, "hash takes COPY's text format only");
            err = &mismatch;
        }
    }
    mk_source_filled(&self->base, end, status, err);
}

static void on_closed(void *arg)
{
    struct source_copy *self = arg;
    mk_source_closed(&self->base);
    mk_pg_unref(self->pg);
    mk_free(self);
}

static void copy_want(struct mk_source *source, struct mk_block *block)
{
    struct source_copy *self = (struct source_copy *)source;
    struct mk_error err;
    if (!self->copy) {
        const struct mk_pg_copy_client client = {on_answer, on_closed, self};
        self->copy =
            mk_pg_copy_start(self->pg, self->sql, MK_PG_COPY_OUT, self->hash, &client, &err);
    }
    if (self->copy)
        mk_pg_copy_block(self->copy, block);
    else
        mk_source_filled(source, false, err.status, &err);
}

static void copy_abort(struct mk_source *source)
{
    struct source_copy *self = (struct source_copy *)source;
    if (self->copy)
        mk_pg_copy_abort(self->copy);
}

static void copy_close(struct mk_source *source)
{
    struct source_copy *self = (struct source_copy *)source;
    if (self->copy)
        mk_pg_copy_close(self->copy);
    else
        on_closed(self);
}

static const char *copy_result(struct mk_source *source)
{
    return ((struct source_copy *)source)->result;
}

static const struct mk_source_type type = {"copy", copy_want, copy_abort, copy_close, copy_result};

struct mk_source *mk_source_copy(struct mk_pg *pg, const char *sql, bool hash, struct mk_error *err)
{
    size_t size = strlen(sql) + 1;
    struct source_copy *self = mk_calloc(sizeof *self + size);
    if (!self) {
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->pg = mk_pg_ref(pg);
    self->hash = hash;
    memcpy(self->sql, sql, size);
    return &self->base;
}
