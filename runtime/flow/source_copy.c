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
    struct mk_pg_copy_spec spec;
    char *result;
    char sql[];
};

/* A line for each member. */
static char *pack_result(const struct mk_pg_pack *pack)
{
    size_t n = mk_pg_pack_count(pack), size = n * (MK_CONTENT_HASH_TEXT + 24) + 1, used = 0;
    char *text = mk_calloc(size);
    for (size_t i = 0; text && i < n; i++) {
        struct mk_pg_member member = mk_pg_pack_member(pack, i);
        char hash[MK_CONTENT_HASH_TEXT];
        mk_content_hash_text(member.hash, hash);
        if (member.skipped)
            used += (size_t)snprintf(text + used, size - used, "-\n");
        else
            used += (size_t)snprintf(text + used, size - used, "%llu:%s\n",
                                     (unsigned long long)member.bytes, hash);
    }
    return text;
}

#define RESULT_BYTES (MK_CONTENT_HASH_TEXT + 24)

/* The number of rows, with bytes and hash if it was asked for; NULL: memory is out. */
static char *copy_text(const struct source_copy *self)
{
    char *text = mk_calloc(RESULT_BYTES);
    char hash[MK_CONTENT_HASH_TEXT];
    if (!text)
        return NULL;
    if (!self->spec.hash) {
        snprintf(text, RESULT_BYTES, "%lld", (long long)mk_pg_copy_rows(self->copy));
        return text;
    }
    mk_content_hash_text(mk_pg_copy_hash(self->copy), hash);
    snprintf(text, RESULT_BYTES, "%llu:%s", (unsigned long long)mk_pg_copy_bytes(self->copy), hash);
    return text;
}

static int check_end(struct source_copy *self, struct mk_error *err)
{
    int64_t rows = mk_pg_copy_rows(self->copy);
    uint64_t hashed = mk_pg_copy_hash(self->copy)->rows;
    if (self->spec.hash && hashed != (uint64_t)rows) {
        mk_error_set(err, MK_EINVAL, "copy",
                     "the server says that it sent %lld rows, but %llu have come", (long long)rows,
                     (unsigned long long)hashed);
        mk_error_hint(err, "hash takes COPY's text format only");
        return MK_EINVAL;
    }
    self->result = self->spec.pack ? pack_result(self->spec.pack) : copy_text(self);
    return self->result ? MK_OK : mk_error_nomem(err, "copy");
}

static void on_answer(void *arg, bool end, int status, const struct mk_error *err)
{
    struct source_copy *self = arg;
    struct mk_error end_err;
    if (end) {
        status = check_end(self, &end_err);
        err = &end_err;
    }
    mk_source_filled(&self->base, end, status, err);
}

static void on_closed(void *arg)
{
    struct source_copy *self = arg;
    mk_source_closed(&self->base);
    mk_pg_unref(self->pg);
    mk_pg_pack_free(self->spec.pack);
    mk_stream_free(self->spec.encoder);
    mk_free(self->result);
    mk_free(self);
}

static void copy_want(struct mk_source *source, struct mk_block *block)
{
    struct source_copy *self = (struct source_copy *)source;
    struct mk_error err;
    if (!self->copy) {
        const struct mk_pg_copy_client client = {on_answer, on_closed, self};
        self->copy = mk_pg_copy_start(self->pg, &self->spec, &client, &err);
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

static struct mk_text copy_result(struct mk_source *source)
{
    return mk_text_of(((struct source_copy *)source)->result);
}

static uint64_t copy_read(struct mk_source *source)
{
    struct source_copy *self = (struct source_copy *)source;
    return self->copy ? mk_pg_copy_delivered(self->copy) : 0;
}

static const struct mk_source_type type = {"copy",     copy_want,   copy_abort,
                                           copy_close, copy_result, copy_read};

struct mk_source *mk_source_copy(struct mk_pg *pg, const struct mk_pg_copy_spec *spec,
                                 struct mk_error *err)
{
    const char *sql = spec->sql ? spec->sql : "";
    size_t size = strlen(sql) + 1;
    struct source_copy *self = mk_calloc(sizeof *self + size);
    if (!self) {
        mk_pg_pack_free(spec->pack);
        mk_stream_free(spec->encoder);
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->pg = mk_pg_ref(pg);
    self->spec = *spec;
    memcpy(self->sql, sql, size);
    self->spec.sql = self->sql;
    return &self->base;
}
