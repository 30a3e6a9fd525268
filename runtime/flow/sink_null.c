/* A sink that takes everything: see stages.h. */
#include "base/mem.h"
#include "flow/stages.h"

static void null_put(struct mk_sink *sink, struct mk_block *block)
{
    (void)block;
    mk_sink_done(sink, MK_OK, NULL);
}

static void null_finish(struct mk_sink *sink)
{
    mk_sink_done(sink, MK_OK, NULL);
}

static void null_abort(struct mk_sink *sink)
{
    (void)sink; /* nothing is ever outstanding */
}

static void null_close(struct mk_sink *sink)
{
    mk_sink_closed(sink);
    mk_free(sink);
}

static const struct mk_sink_type type = {"null",     null_put,   null_finish,
                                         null_abort, null_close, NULL};

struct mk_sink *mk_sink_null(struct mk_error *err)
{
    struct mk_sink *self = mk_calloc(sizeof *self);
    if (!self)
        mk_error_nomem(err, type.name);
    else
        self->type = &type;
    return self;
}
