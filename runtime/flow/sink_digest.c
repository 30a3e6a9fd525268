/* A digest of what passes, on a worker: see stages.h. */
#include <stddef.h>

#include "base/mem.h"
#include "codec/digest.h"
#include "flow/stages.h"
#include "loop/workers.h"

struct sink_digest {
    struct mk_sink base;
    struct mk_job job;
    struct mk_loop *loop;
    struct mk_digest *digest;
    struct mk_block *block;
    int status;          /* the worker's, read after the job */
    struct mk_error err; /* the same */
    const char *text;    /* once it is finished */
};

static struct sink_digest *of_job(struct mk_job *job)
{
    return (struct sink_digest *)(void *)((char *)job - offsetof(struct sink_digest, job));
}

static void on_run(struct mk_job *job)
{
    struct sink_digest *self = of_job(job);
    struct mk_block *block = self->block;
    do
        self->status =
            self->digest->type->update(self->digest, block->data, block->len, &self->err);
    while (self->status == MK_OK && (block = mk_sink_more(&self->base)));
}

static void on_done(struct mk_job *job)
{
    struct sink_digest *self = of_job(job);
    mk_sink_done(&self->base, self->status, &self->err);
}

static void digest_put(struct mk_sink *sink, struct mk_block *block)
{
    struct sink_digest *self = (struct sink_digest *)sink;
    self->block = block;
    mk_workers_submit(self->loop, &self->job);
}

static void digest_finish(struct mk_sink *sink)
{
    struct sink_digest *self = (struct sink_digest *)sink;
    self->text = self->digest->type->finish(self->digest, &self->err);
    mk_sink_done(sink, self->text ? MK_OK : self->err.status, &self->err);
}

static void digest_abort(struct mk_sink *sink)
{
    (void)sink; /* a job ends soon by itself */
}

static void digest_close(struct mk_sink *sink)
{
    struct sink_digest *self = (struct sink_digest *)sink;
    mk_digest_free(self->digest);
    mk_sink_closed(sink);
    mk_free(self);
}

static struct mk_text digest_result(struct mk_sink *sink)
{
    return mk_text_of(((struct sink_digest *)sink)->text);
}

static const struct mk_sink_type type = {"digest",     digest_put,   digest_finish,
                                         digest_abort, digest_close, digest_result};

struct mk_sink *mk_sink_digest(struct mk_loop *loop, struct mk_digest *digest, struct mk_error *err)
{
    if (!digest)
        return NULL;
    struct sink_digest *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_digest_free(digest);
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->base.asks_for_more = true;
    self->loop = loop;
    self->job.run = on_run;
    self->job.done = on_done;
    self->digest = digest;
    return &self->base;
}
