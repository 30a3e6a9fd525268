/* SHA-256 of what passes, on a worker: see stages.h. */
#include <stddef.h>

#include "base/mem.h"
#include "codec/sha256.h"
#include "flow/stages.h"
#include "loop/workers.h"

struct sink_sha256 {
    struct mk_sink base;
    struct mk_job job;
    struct mk_loop *loop;
    struct mk_sha256 *sha;
    struct mk_block *block;
    int status;          /* the worker's, read after the job */
    struct mk_error err; /* the same */
    char hex[MK_SHA256_HEX];
};

static struct sink_sha256 *of_job(struct mk_job *job)
{
    return (struct sink_sha256 *)(void *)((char *)job - offsetof(struct sink_sha256, job));
}

static void on_run(struct mk_job *job)
{
    struct sink_sha256 *self = of_job(job);
    self->status = mk_sha256_update(self->sha, self->block->data, self->block->len, &self->err);
}

static void on_done(struct mk_job *job)
{
    struct sink_sha256 *self = of_job(job);
    mk_sink_done(&self->base, self->status, &self->err);
}

static void sha256_put(struct mk_sink *sink, struct mk_block *block)
{
    struct sink_sha256 *self = (struct sink_sha256 *)sink;
    self->block = block;
    mk_workers_submit(self->loop, &self->job);
}

static void sha256_finish(struct mk_sink *sink)
{
    struct sink_sha256 *self = (struct sink_sha256 *)sink;
    self->status = mk_sha256_hex(self->sha, self->hex, &self->err);
    mk_sink_done(sink, self->status, &self->err);
}

static void sha256_abort(struct mk_sink *sink)
{
    (void)sink; /* a job ends soon by itself */
}

static void sha256_close(struct mk_sink *sink)
{
    struct sink_sha256 *self = (struct sink_sha256 *)sink;
    mk_sha256_free(self->sha);
    mk_sink_closed(sink);
    mk_free(self);
}

static const char *sha256_result(struct mk_sink *sink)
{
    return ((struct sink_sha256 *)sink)->hex;
}

static const struct mk_sink_type type = {"sha256",     sha256_put,   sha256_finish,
                                         sha256_abort, sha256_close, sha256_result};

struct mk_sink *mk_sink_sha256(struct mk_loop *loop, struct mk_error *err)
{
    struct sink_sha256 *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->loop = loop;
    self->job.run = on_run;
    self->job.done = on_done;
    self->sha = mk_sha256_new(err);
    if (!self->sha) {
        mk_free(self);
        return NULL;
    }
    return &self->base;
}
