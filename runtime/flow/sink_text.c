/*
 * What comes, kept: for contents that Lua reads (a table of contents, a list), never for the data
 * of a backup. Bounded by its limit: more is an error.
 */
#include <string.h>

#include "base/mem.h"
#include "flow/stages.h"

struct sink_text {
    struct mk_sink base;
    char *bytes;
    size_t len, cap, limit;
};

static int keep(struct sink_text *self, const struct mk_block *block, struct mk_error *err)
{
    size_t needed = self->len + block->len;
    if (needed > self->limit)
        return mk_error_set(err, MK_EINVAL, "text", "there are more than %zu bytes", self->limit);
    if (needed > self->cap) {
        size_t cap = needed > 2 * self->cap ? needed : 2 * self->cap;
        char *larger = mk_realloc(self->bytes, cap);
        if (!larger)
            return mk_error_nomem(err, "text");
        self->bytes = larger;
        self->cap = cap;
    }
    memcpy(self->bytes + self->len, block->data, block->len);
    self->len = needed;
    return MK_OK;
}

static void text_put(struct mk_sink *sink, struct mk_block *block)
{
    struct mk_error err;
    int status = keep((struct sink_text *)sink, block, &err);
    mk_sink_done(sink, status, &err);
}

static void text_finish(struct mk_sink *sink)
{
    mk_sink_done(sink, MK_OK, NULL);
}

static void text_abort(struct mk_sink *sink)
{
    (void)sink; /* nothing is ever outstanding */
}

static void text_close(struct mk_sink *sink)
{
    struct sink_text *self = (struct sink_text *)sink;
    mk_sink_closed(sink);
    mk_free(self->bytes);
    mk_free(self);
}

static struct mk_text text_result(struct mk_sink *sink)
{
    const struct sink_text *self = (struct sink_text *)sink;
    return (struct mk_text){self->bytes ? self->bytes : "", self->len};
}

static const struct mk_sink_type type = {"text",     text_put,   text_finish,
                                         text_abort, text_close, text_result};

struct mk_sink *mk_sink_text(size_t limit, struct mk_error *err)
{
    struct sink_text *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->limit = limit;
    return &self->base;
}
