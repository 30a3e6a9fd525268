/*
 * A sink that makes parts: see parts.h.
 *
 * A block is copied into the part by a worker, which also feeds the digest; a block that fills the
 * part is gone on with when that has been handed on. What the sink has been asked for (a put, a
 * finish) is answered when its bytes are in a part, and finish only when the taker has said what
 * became of all.
 *
 *   filling -> ready (one, the taker's next) -> taken, until its last reference goes
 */
#include "flow/parts.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "codec/digest.h"
#include "loop/workers.h"

struct mk_parts {
    int refs;
    struct mk_loop *loop;
    size_t part_bytes;
    struct mk_sink base;
    bool has_sink;
    struct mk_part *ready;
    int n_parts;
    char *spare; /* memory of a part that is over, for the next one */
    struct mk_error err;
    int status;
    bool working; /* meanwhile the following is the worker's */
    struct mk_job job;
    struct mk_part *filling;
    struct mk_digest *digest; /* of it */
    struct mk_block *block;   /* that was put; or NULL */
    size_t used;              /* of it */
    struct mk_error fill_err;
    int fill_status;              /* up to here */
    bool finishing;               /* finish was called, and not answered */
    bool ended;                   /* the last part has been made */
    bool taken_all;               /* and taken */
    bool over;                    /* aborted, closed, or the taker has said how it ended */
    struct mk_part_taker *takers; /* that wait, the first one first */
};

/* ---- parts -------------------------------------------------------------------------------- */

struct mk_part *mk_part_ref(struct mk_part *part)
{
    part->refs++;
    return part;
}

void mk_part_unref(struct mk_part *part)
{
    if (!part || --part->refs > 0)
        return;
    struct mk_parts *parts = part->parts;
    if (parts->spare)
        mk_free(part->bytes);
    else
        parts->spare = part->bytes;
    mk_free(part);
    mk_parts_unref(parts);
}

void mk_part_moves(struct mk_part *part)
{
    if (part->parts->has_sink && !part->parts->over)
        mk_sink_moves(&part->parts->base);
}

static int new_part(struct mk_parts *parts)
{
    parts->digest = mk_sha256_new(&parts->err);
    struct mk_part *part = mk_calloc(sizeof *part);
    char *bytes = parts->spare ? parts->spare : mk_alloc(parts->part_bytes);
    parts->spare = NULL;
    if (!parts->digest || !part || !bytes) {
        mk_free(part);
        mk_free(bytes);
        return parts->status = mk_error_nomem(&parts->err, "parts");
    }
    part->refs = 1;
    part->parts = parts;
    part->bytes = bytes;
    part->number = ++parts->n_parts;
    parts->filling = part;
    parts->refs++;
    return MK_OK;
}

static bool is_full(const struct mk_parts *parts)
{
    return parts->filling && parts->filling->len == parts->part_bytes;
}

static bool is_used_up(const struct mk_parts *parts)
{
    return !parts->block || parts->used == parts->block->len;
}

/* ---- the worker's ------------------------------------------------------------------------- */

static void fill(struct mk_job *job)
{
    struct mk_parts *parts =
        (struct mk_parts *)(void *)((char *)job - offsetof(struct mk_parts, job));
    struct mk_part *part = parts->filling;
    size_t left = parts->block->len - parts->used, room = parts->part_bytes - part->len;
    size_t n = left < room ? left : room;
    const uint8_t *from = parts->block->data + parts->used;
    memcpy(part->bytes + part->len, from, n);
    part->len += n;
    parts->used += n;
    parts->fill_status = parts->digest->type->update(parts->digest, from, n, &parts->fill_err);
}

/* ---- between the flow and the taker ---------------------------------------------------------- */

/* Serves whoever waits, as far as there is an answer. */
static void serve(struct mk_parts *parts)
{
    bool is_over = parts->over || parts->status != MK_OK;
    for (struct mk_part_taker *taker; (taker = parts->takers);) {
        if (!is_over && !parts->taken_all && !parts->ready)
            return;
        parts->takers = taker->next;
        taker->status = is_over ? MK_ECANCELED : MK_OK;
        taker->part = is_over ? NULL : parts->ready;
        if (taker->part) {
            parts->taken_all = taker->part->is_last;
            parts->ready = NULL;
        }
        taker->done(taker);
    }
}

/* The part that was filled is the taker's. */
static void hand_on(struct mk_parts *parts, bool is_last)
{
    const char *text = parts->digest->type->finish(parts->digest, &parts->err);
    if (!text) {
        parts->status = parts->err.status;
        return;
    }
    struct mk_part *part = parts->filling;
    memcpy(part->sha256, text, sizeof part->sha256 - 1);
    mk_digest_free(parts->digest);
    parts->digest = NULL;
    parts->filling = NULL;
    part->is_last = is_last;
    parts->ready = part;
    parts->ended = is_last;
    serve(parts);
}

static void answer(struct mk_parts *parts)
{
    parts->block = NULL;
    parts->finishing = false;
    mk_sink_done(&parts->base, parts->status, &parts->err);
}

static void on_filled(struct mk_job *job);

/* Goes on as far as it can. */
static void advance(struct mk_parts *parts)
{
    if (parts->working)
        return;
    bool more = !is_used_up(parts);
    if (parts->status == MK_OK && !parts->over && !parts->ready && is_full(parts) && more)
        hand_on(parts, false);
    if (parts->status == MK_OK && !parts->over && !parts->filling &&
        (more || (parts->finishing && !parts->ended)))
        new_part(parts);
    if (parts->status == MK_OK && !parts->over && more && !is_full(parts)) {
        parts->working = true;
        parts->job = (struct mk_job){.run = fill, .done = on_filled};
        mk_workers_submit(parts->loop, &parts->job);
        return;
    }
    if (parts->status == MK_OK && !parts->over && parts->finishing && !parts->ended &&
        !parts->ready)
        hand_on(parts, true);
    bool is_put = parts->block && !more;
    if (parts->status != MK_OK || parts->over ? parts->block || parts->finishing : is_put)
        answer(parts);
}

static void on_filled(struct mk_job *job)
{
    struct mk_parts *parts =
        (struct mk_parts *)(void *)((char *)job - offsetof(struct mk_parts, job));
    parts->working = false;
    if (parts->status == MK_OK && parts->fill_status != MK_OK) {
        parts->status = parts->fill_status;
        parts->err = parts->fill_err;
    }
    advance(parts);
}

void mk_parts_take(struct mk_parts *parts, struct mk_part_taker *taker)
{
    struct mk_part_taker **link = &parts->takers;
    while (*link)
        link = &(*link)->next;
    *link = taker;
    taker->next = NULL;
    serve(parts);
    advance(parts);
}

void mk_parts_forget(struct mk_parts *parts, struct mk_part_taker *taker)
{
    struct mk_part_taker **link = &parts->takers;
    while (*link && *link != taker)
        link = &(*link)->next;
    if (*link)
        *link = taker->next;
}

void mk_parts_done(struct mk_parts *parts, int status, const struct mk_error *err)
{
    if (parts->over || parts->status != MK_OK)
        return;
    parts->over = true;
    parts->status = status;
    if (status != MK_OK)
        parts->err = *err;
    else if (!parts->taken_all)
        parts->status = mk_error_set(&parts->err, MK_EINVAL, "parts", "not all have been taken");
    advance(parts);
}

/* ---- the sink ----------------------------------------------------------------------------- */

static struct mk_parts *of_sink(struct mk_sink *sink)
{
    return (struct mk_parts *)(void *)((char *)sink - offsetof(struct mk_parts, base));
}

static void parts_put(struct mk_sink *sink, struct mk_block *block)
{
    struct mk_parts *parts = of_sink(sink);
    parts->block = block;
    parts->used = 0;
    advance(parts);
}

static void parts_finish(struct mk_sink *sink)
{
    struct mk_parts *parts = of_sink(sink);
    parts->finishing = true;
    advance(parts);
}

static void end(struct mk_parts *parts)
{
    if (parts->status == MK_OK && !parts->over)
        parts->status = mk_error_set(&parts->err, MK_ECANCELED, "parts", "the flow has ended");
    parts->over = true;
    serve(parts);
}

static void parts_abort(struct mk_sink *sink)
{
    struct mk_parts *parts = of_sink(sink);
    end(parts);
    advance(parts);
}

static void parts_close(struct mk_sink *sink)
{
    struct mk_parts *parts = of_sink(sink);
    end(parts);
    mk_part_unref(parts->filling);
    mk_part_unref(parts->ready);
    parts->filling = parts->ready = NULL;
    mk_sink_closed(sink);
    mk_parts_unref(parts);
}

static const struct mk_sink_type type = {"parts",     parts_put,   parts_finish,
                                         parts_abort, parts_close, NULL};

struct mk_sink *mk_sink_parts(struct mk_parts *parts, struct mk_error *err)
{
    if (parts->has_sink) {
        mk_error_set(err, MK_EINVAL, "parts", "they are a flow's already");
        return NULL;
    }
    parts->has_sink = true;
    parts->refs++;
    parts->base.type = &type;
    return &parts->base;
}

struct mk_parts *mk_parts_new(struct mk_loop *loop, size_t part_bytes, struct mk_error *err)
{
    struct mk_parts *parts = mk_calloc(sizeof *parts);
    if (!parts) {
        mk_error_nomem(err, "parts");
        return NULL;
    }
    parts->refs = 1;
    parts->loop = loop;
    parts->part_bytes = part_bytes;
    return parts;
}

struct mk_parts *mk_parts_ref(struct mk_parts *parts)
{
    parts->refs++;
    return parts;
}

void mk_parts_unref(struct mk_parts *parts)
{
    if (!parts || --parts->refs > 0)
        return;
    mk_digest_free(parts->digest);
    mk_free(parts->spare);
    mk_free(parts);
}
