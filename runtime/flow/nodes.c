/*
 * How each kind of node runs: what it needs before it can, what it starts, and what the answer
 * means. A node does one thing at a time (`busy`), except the ordered stage, whose ring runs
 * several pieces. Everything here is called by the pump, or calls it when an answer has come.
 */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "flow/flow_impl.h"

static int keep_result(struct mk_node *node, struct mk_text text, struct mk_error *err)
{
    node->result = mk_alloc(text.len + 1);
    if (!node->result)
        return mk_error_nomem(err, node->name);
    memcpy(node->result, text.bytes, text.len);
    node->result[text.len] = '\0';
    node->result_len = text.len;
    return MK_OK;
}

/* ---- the source -------------------------------------------------------------------------- */

/* Nothing of this flow is in memory: its source may take a block even from an empty pool, so
 * that flows that wait for each other can't starve. */
static bool nothing_in_flight(const struct mk_flow *flow)
{
    for (int i = 0; i < flow->n_nodes; i++)
        if (flow->nodes[i]->busy || flow->nodes[i]->in.count > 0 || flow->nodes[i]->block)
            return false;
    return true;
}

static bool run_source(struct mk_node *node)
{
    struct mk_flow *flow = node->flow;
    if (node->busy || node->ended || !mk__flow_children_have_room(node))
        return false;
    if (node->limiter && !mk__limiter_allows(node->limiter, node))
        return false;
    if (!mk_pool_has_room(flow->engine->pool) && !nothing_in_flight(flow)) {
        mk__flow_park(flow);
        return false;
    }
    node->block = mk_pool_take(flow->engine->pool);
    if (!node->block) {
        struct mk_error err;
        mk__flow_fail(flow, node, mk_error_nomem(&err, node->name), &err);
        return true;
    }
    node->busy = true;
    node->source->type->want(node->source, node->block);
    return true;
}

void mk_source_filled(struct mk_source *source, bool end, int status, const struct mk_error *err)
{
    struct mk_node *node = source->node;
    assert(node->busy);
    node->busy = false;
    struct mk_block *block = node->block;
    node->block = NULL;
    uint64_t before = node->bytes_read;
    node->bytes_read =
        source->type->bytes_read ? source->type->bytes_read(source) : before + block->len;
    if (node->limiter)
        mk__limiter_charge(node->limiter, node->bytes_read - before);
    if (status != MK_OK) {
        mk_block_unref(block);
        mk__flow_fail(node->flow, node, status, err);
    } else if (node->flow->stopping || block->len == 0) {
        mk_block_unref(block);
    } else {
        mk__flow_emit(node, block);
    }
    if (status == MK_OK && end && !node->flow->stopping) {
        struct mk_error result_err;
        if (source->type->result &&
            keep_result(node, source->type->result(source), &result_err) != MK_OK)
            mk__flow_fail(node->flow, node, MK_ENOMEM, &result_err);
        else
            mk__flow_end_node(node);
    }
    mk__flow_pump(node->flow);
}

void mk_source_closed(struct mk_source *source)
{
    struct mk_node *node = source->node;
    if (!node)
        return; /* it never became part of a flow */
    node->closed = true;
    mk__flow_pump(node->flow);
}

/* ---- streams ----------------------------------------------------------------------------- */

/* The block that is being filled, a new one if the last is full; NULL when there are enough. */
static struct mk_block *stream_out(struct mk_node *node)
{
    struct mk_block *last = node->n_outs > 0 ? node->outs[node->n_outs - 1] : NULL;
    if (last && last->len < MK_BLOCK_BYTES)
        return last;
    if (node->n_outs == MK_QUEUE_BURST)
        return NULL;
    last = mk_pool_take(node->flow->engine->pool);
    if (last)
        node->outs[node->n_outs++] = last;
    else
        node->job_status = mk_error_nomem(&node->err, node->name);
    return last;
}

/* The block that is being read, the next one if the last is used up; NULL when there is none. */
static struct mk_block *stream_in(struct mk_node *node)
{
    if (node->block && node->block_used == node->block->len) {
        mk_block_unref(node->block);
        node->block = NULL;
    }
    if (!node->block) {
        node->block = mk_queue_get(&node->taken);
        node->block_used = 0;
    }
    return node->block;
}

/* Worker. Runs until the input is used up, enough blocks are full, or everything has come out. A
 * job that begins without input is one of the end. */
static void stream_job_run(struct mk_job *job)
{
    struct mk_node *node = (struct mk_node *)(void *)((char *)job - offsetof(struct mk_node, job));
    bool at_end = !node->block;
    node->job_status = MK_OK;
    for (struct mk_block *out; (out = stream_out(node));) {
        struct mk_block *in = node->block;
        struct mk_stream_io io = {
            .in = in ? in->data + node->block_used : NULL,
            .in_len = in ? in->len - node->block_used : 0,
            .end = at_end,
            .out = out->data + out->len,
            .out_cap = MK_BLOCK_BYTES - out->len,
        };
        node->job_status = mk_stream_step(node->stream, &io, &node->err);
        if (node->job_status != MK_OK)
            return;
        node->block_used += io.in_used;
        out->len += io.out_used;
        node->job_done = io.done;
        if (io.done || (!stream_in(node) && !at_end))
            return;
    }
}

/* Hands on what is full, and at the end what there is; keeps the rest for the next job. */
static void stream_emit(struct mk_node *node)
{
    int n = 0;
    for (; n < node->n_outs; n++) {
        struct mk_block *out = node->outs[n];
        if (out->len < MK_BLOCK_BYTES && !(node->job_done && out->len > 0))
            break;
        mk__flow_emit(node, out);
    }
    for (int i = n; i < node->n_outs; i++)
        node->outs[i - n] = node->outs[i];
    node->n_outs -= n;
}

static void end_stream(struct mk_node *node)
{
    struct mk_error err;
    const struct mk_stream_type *type = node->stream->type;
    if (type->result && keep_result(node, type->result(node->stream), &err) != MK_OK)
        mk__flow_fail(node->flow, node, MK_ENOMEM, &err);
    else
        mk__flow_end_node(node);
}

static void stream_job_done(struct mk_job *job)
{
    struct mk_node *node = (struct mk_node *)(void *)((char *)job - offsetof(struct mk_node, job));
    struct mk_flow *flow = node->flow;
    node->busy = false;
    if (node->dead) {
        mk__flow_drop_blocks(node);
    } else if (node->job_status != MK_OK) {
        mk__flow_fail(flow, node, node->job_status, &node->err);
    } else if (!flow->stopping) {
        stream_emit(node);
        if (node->job_done)
            end_stream(node);
    }
    mk__flow_pump(flow);
}

void mk__node_init_stream(struct mk_node *node)
{
    node->job.run = stream_job_run;
    node->job.done = stream_job_done;
}

static bool run_stream(struct mk_node *node)
{
    if (node->busy || node->ended || !mk__flow_children_have_room(node))
        return false;
    if (!node->block) {
        node->block = mk_queue_get(&node->in);
        node->block_used = 0;
        if (!node->block && !node->in_ended)
            return false;
        /* All that has come, in one job: each costs two changes of threads. */
        mk_queue_move(&node->taken, &node->in);
    }
    node->busy = true;
    mk_workers_submit(node->flow->engine->loop, &node->job);
    return true;
}

/* ---- ordered parallel stages ------------------------------------------------------------- */

void mk__node_on_ring_progress(void *arg)
{
    struct mk_node *node = arg;
    mk__flow_pump(node->flow);
}

static bool run_ordered(struct mk_node *node)
{
    struct mk_flow *flow = node->flow;
    bool moved = false;
    struct mk_error err;
    int status = MK_OK;
    while (!node->ended && mk__flow_children_have_room(node)) {
        struct mk_block *out = NULL;
        bool end = false;
        status = mk_ordered_ring_take(node->ring, &out, &end, &err);
        if (status != MK_OK || (!out && !end))
            break;
        moved = true;
        if (out)
            mk__flow_emit(node, out);
        if (end)
            mk__flow_end_node(node);
    }
    while (status == MK_OK && !node->ended && mk_ordered_ring_has_room(node->ring)) {
        struct mk_block *in = mk_queue_get(&node->in);
        if (!in && !(node->in_ended && mk_ordered_ring_end(node->ring)))
            break;
        moved = true;
        if (in)
            status = mk_ordered_ring_put(node->ring, in, &err);
    }
    node->busy = mk_ordered_ring_running(node->ring) > 0;
    if (status != MK_OK) {
        mk__flow_fail(flow, node, status, &err);
        return true;
    }
    return moved;
}

/* ---- sinks ------------------------------------------------------------------------------- */

static bool run_sink(struct mk_node *node)
{
    if (node->busy || node->ended)
        return false;
    if (node->limiter && !mk__limiter_allows(node->limiter, node))
        return false;
    node->block = mk_queue_get(&node->in);
    if (!node->block && !node->in_ended)
        return false;
    if (node->sink->asks_for_more && !node->limiter)
        mk_queue_move(&node->taken, &node->in);
    node->busy = true;
    node->moves++;
    if (node->block && node->limiter)
        mk__limiter_charge(node->limiter, node->block->len);
    if (node->block) {
        node->sink->type->put(node->sink, node->block);
    } else {
        node->finishing = true;
        node->sink->type->finish(node->sink);
    }
    return true;
}

static void let_go(struct mk_node *node)
{
    if (node->block)
        node->bytes_put += node->block->len;
    mk_block_unref(node->block);
    node->block = NULL;
}

struct mk_block *mk_sink_more(struct mk_sink *sink)
{
    struct mk_node *node = sink->node;
    struct mk_block *next = mk_queue_get(&node->taken);
    if (next) {
        let_go(node);
        node->block = next;
    }
    return next;
}

void mk_sink_done(struct mk_sink *sink, int status, const struct mk_error *err)
{
    struct mk_node *node = sink->node;
    assert(node->busy);
    assert(status != MK_OK || node->taken.count == 0);
    node->busy = false;
    let_go(node);
    node->bytes_out += node->bytes_put;
    node->bytes_put = 0;
    if (node->dead)
        mk__flow_drop_blocks(node);
    struct mk_error result_err;
    if (status == MK_OK && node->finishing) {
        node->ended = true;
        if (sink->type->result)
            status = keep_result(node, sink->type->result(sink), &result_err);
        err = &result_err;
    }
    if (status != MK_OK && !node->dead)
        mk__flow_sink_failed(node, status, err);
    mk__flow_pump(node->flow);
}

void mk_sink_moves(struct mk_sink *sink)
{
    if (sink->node)
        sink->node->moves++;
}

void mk_sink_closed(struct mk_sink *sink)
{
    struct mk_node *node = sink->node;
    if (!node)
        return; /* it never became part of a flow */
    node->closed = true;
    mk__flow_pump(node->flow);
}

/* ---- any ------------------------------------------------------------------------------------- */

bool mk__node_run(struct mk_node *node)
{
    switch (node->kind) {
    case NODE_SOURCE:
        return run_source(node);
    case NODE_STREAM:
        return run_stream(node);
    case NODE_ORDERED:
        return run_ordered(node);
    case NODE_SINK:
        return run_sink(node);
    }
    return false;
}
