/*
 * COPY FROM STDIN as a sink: see stages.h, pg/pg.h. It begins with the first block, or with finish
 * when there is none; a flow that fails ends it with an error, so the server keeps no row of it
 * (of a pack, of the member that was under way: the others are the transaction's business).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "flow/stages.h"

struct sink_copy {
    struct mk_sink base;
    struct mk_pg *pg;
    struct mk_pg_copy *copy;
    struct mk_pg_pack *pack;
    char *result; /* the number of rows; of a pack a line for each member */
    char sql[];
};

#define NUMBER_BYTES 24

static char *make_result(const struct sink_copy *self)
{
    size_t n = self->pack ? mk_pg_pack_count(self->pack) : 1, used = 0;
    char *text = mk_calloc(n * NUMBER_BYTES + 1);
    if (text && !self->pack)
        snprintf(text, NUMBER_BYTES, "%" PRId64, mk_pg_copy_rows(self->copy));
    for (size_t i = 0; text && self->pack && i < n; i++)
        used += (size_t)snprintf(text + used, NUMBER_BYTES, "%" PRIu64 "\n",
                                 mk_pg_pack_member(self->pack, i).hash->rows);
    return text;
}

static void on_answer(void *arg, bool end, int status, const struct mk_error *err)
{
    struct sink_copy *self = arg;
    struct mk_error end_err;
    if (end) {
        self->result = make_result(self);
        status = self->result ? MK_OK : mk_error_nomem(&end_err, "copy");
        err = &end_err;
    }
    mk_sink_done(&self->base, status, err);
}

static void on_closed(void *arg)
{
    struct sink_copy *self = arg;
    mk_sink_closed(&self->base);
    mk_pg_unref(self->pg);
    mk_pg_pack_free(self->pack);
    mk_free(self->result);
    mk_free(self);
}

/* Begins it if it has not begun. False: it could not, and that has been answered. */
static bool started(struct sink_copy *self)
{
    struct mk_error err;
    if (!self->copy) {
        const struct mk_pg_copy_client client = {on_answer, on_closed, self};
        const struct mk_pg_copy_spec spec = {
            .dir = MK_PG_COPY_IN, .sql = self->sql, .pack = self->pack};
        self->copy = mk_pg_copy_start(self->pg, &spec, &client, &err);
        if (!self->copy)
            mk_sink_done(&self->base, err.status, &err);
    }
    return self->copy != NULL;
}

static void copy_put(struct mk_sink *sink, struct mk_block *block)
{
    struct sink_copy *self = (struct sink_copy *)sink;
    if (started(self))
        mk_pg_copy_block(self->copy, block);
}

static void copy_finish(struct mk_sink *sink)
{
    struct sink_copy *self = (struct sink_copy *)sink;
    if (started(self))
        mk_pg_copy_finish(self->copy);
}

static void copy_abort(struct mk_sink *sink)
{
    struct sink_copy *self = (struct sink_copy *)sink;
    if (self->copy)
        mk_pg_copy_abort(self->copy);
}

static void copy_close(struct mk_sink *sink)
{
    struct sink_copy *self = (struct sink_copy *)sink;
    if (self->copy)
        mk_pg_copy_close(self->copy);
    else
        on_closed(self);
}

static struct mk_text copy_result(struct mk_sink *sink)
{
    return mk_text_of(((struct sink_copy *)sink)->result);
}

static const struct mk_sink_type type = {"copy",     copy_put,   copy_finish,
                                         copy_abort, copy_close, copy_result};

struct mk_sink *mk_sink_copy(struct mk_pg *pg, const char *sql, struct mk_pg_pack *pack,
                             struct mk_error *err)
{
    size_t size = strlen(sql) + 1;
    struct sink_copy *self = mk_calloc(sizeof *self + size);
    if (!self) {
        mk_pg_pack_free(pack);
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->pg = mk_pg_ref(pg);
    self->pack = pack;
    memcpy(self->sql, sql, size);
    return &self->base;
}
