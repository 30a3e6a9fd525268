/*
 * The pump. Each node has an input queue (its edge) and does at most one thing at a time; `pump`
 * walks the nodes from the sinks up to the source and starts whatever can run, until nothing
 * more can. A node runs only while every edge behind it has room, so the blocks in flight are
 * bounded by the edges, and a slow sink stops the source without any further mechanism.
 *
 * Invariants:
 * - A sink's finish is called only after the source has reported a good end, so nothing becomes
 *   lasting when the source failed, however much of it had passed.
 * - After the first failure nothing new is started; what is under way is waited for; then every
 *   stage is closed; only then the wait fires. So no callback can come after the flow is freed.
 * - Callbacks may come from inside the call that started the work: they set a mark and return to
 *   the pump loop, which never nests.
 *
 * Limits: MAX_NODES stages per flow; one source.
 */
#include "flow/flow.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "buf/queue.h"
#include "flow/ordered.h"
#include "loop/workers.h"

#define MAX_NODES  32
#define EDGE_LIMIT 2

enum node_kind { NODE_SOURCE, NODE_STREAM, NODE_ORDERED, NODE_SINK };

struct mk_node {
    struct mk_flow *flow;
    const char *name;
    enum node_kind kind;
    struct mk_node *parent;
    int n_children;
    struct mk_queue in;
    bool in_ended;  /* nothing more will be put into `in` */
    bool ended;     /* everything has come out; for a sink: finished */
    bool busy;      /* something is under way */
    bool finishing; /* sink: finish has been called */
    bool dead;      /* a branch that was cut off */
    bool failed;    /* this sink is why */
    bool closing, closed;
    uint64_t bytes_in, bytes_out;
    char *result; /* sink: what its finish has given */
    struct mk_error err;

    struct mk_source *source;
    struct mk_sink *sink;
    struct mk_ordered_ring *ring;
    struct mk_stream *stream;
    struct mk_job job;      /* stream: its step on a worker */
    struct mk_block *block; /* what is being filled, put or read */
    size_t block_used;      /* stream: how much of `block` has been read */
    struct mk_block *out;   /* stream: what is being written */
    bool job_done;          /* stream: set by the worker, read after it */
    int job_status;         /* the same */
};

struct mk_flow_engine {
    struct mk_loop *loop;
    struct mk_pool *pool;
    struct mk_flow *parked; /* flows whose source waits for the pool */
    bool waking;
};

struct mk_flow {
    struct mk_flow_engine *engine;
    struct mk_wait wait;
    struct mk_error err;
    int status;
    bool independent;
    bool started;
    bool pumping, again;
    bool stopping; /* failed or cancelled */
    bool closing;  /* over: stages are being closed, none may be run */
    bool fired;
    bool is_parked;
    struct mk_flow *next_parked;
    int n_nodes;
    struct mk_node *nodes[MAX_NODES]; /* parents before children */
};

static void pump(struct mk_flow *flow);

struct mk_flow_engine *mk_flow_engine_new(struct mk_loop *loop, struct mk_pool *pool,
                                          struct mk_error *err)
{
    struct mk_flow_engine *engine = mk_calloc(sizeof *engine);
    if (!engine) {
        mk_error_nomem(err, "flow");
        return NULL;
    }
    engine->loop = loop;
    engine->pool = pool;
    return engine;
}

void mk_flow_engine_free(struct mk_flow_engine *engine)
{
    mk_free(engine);
}

/* ---- waiting for the pool ---------------------------------------------------------------- */

static void park(struct mk_flow *flow)
{
    if (flow->is_parked)
        return;
    flow->is_parked = true;
    flow->next_parked = flow->engine->parked;
    flow->engine->parked = flow;
}

static void unpark(struct mk_flow *flow)
{
    if (!flow->is_parked)
        return;
    flow->is_parked = false;
    struct mk_flow **link = &flow->engine->parked;
    while (*link != flow)
        link = &(*link)->next_parked;
    *link = flow->next_parked;
}

/* Blocks come back to the pool only while some flow is pumped, so the end of a pump is the one
 * moment at which a parked flow may be able to go on. */
static void wake_parked(struct mk_flow_engine *engine)
{
    if (engine->waking)
        return;
    engine->waking = true;
    while (engine->parked && mk_pool_has_room(engine->pool)) {
        struct mk_flow *flow = engine->parked;
        unpark(flow);
        pump(flow);
    }
    engine->waking = false;
}

/* ---- building ---------------------------------------------------------------------------- */

static void on_cancel(struct mk_wait *wait);

struct mk_flow *mk_flow_new(struct mk_flow_engine *engine, struct mk_error *err)
{
    struct mk_flow *flow = mk_calloc(sizeof *flow);
    if (!flow) {
        mk_error_nomem(err, "flow");
        return NULL;
    }
    flow->engine = engine;
    mk_wait_init(&flow->wait, on_cancel);
    return flow;
}

static struct mk_node *add_node(struct mk_flow *flow, struct mk_node *parent, enum node_kind kind,
                                const char *name)
{
    if (flow->n_nodes == MAX_NODES)
        return NULL;
    struct mk_node *node = mk_calloc(sizeof *node);
    if (!node)
        return NULL;
    node->flow = flow;
    node->parent = parent;
    node->kind = kind;
    node->name = name;
    mk_queue_init(&node->in, EDGE_LIMIT);
    if (parent)
        parent->n_children++;
    flow->nodes[flow->n_nodes++] = node;
    return node;
}

struct mk_node *mk_flow_source(struct mk_flow *flow, struct mk_source *source)
{
    struct mk_node *node = add_node(flow, NULL, NODE_SOURCE, source->type->name);
    if (!node) {
        source->type->close(source);
        return NULL;
    }
    node->source = source;
    source->node = node;
    return node;
}

struct mk_node *mk_flow_sink(struct mk_flow *flow, struct mk_node *parent, struct mk_sink *sink)
{
    struct mk_node *node = add_node(flow, parent, NODE_SINK, sink->type->name);
    if (!node) {
        sink->type->close(sink);
        return NULL;
    }
    node->sink = sink;
    sink->node = node;
    return node;
}

static void stream_job_run(struct mk_job *job);
static void stream_job_done(struct mk_job *job);

struct mk_node *mk_flow_stream(struct mk_flow *flow, struct mk_node *parent, const char *name,
                               struct mk_stream *stream)
{
    struct mk_node *node = add_node(flow, parent, NODE_STREAM, name);
    if (!node) {
        mk_stream_free(stream);
        return NULL;
    }
    node->stream = stream;
    node->job.run = stream_job_run;
    node->job.done = stream_job_done;
    return node;
}

static void on_ring_progress(void *arg);

struct mk_node *mk_flow_ordered(struct mk_flow *flow, struct mk_node *parent,
                                struct mk_ordered *stage, struct mk_error *err)
{
    struct mk_node *node = add_node(flow, parent, NODE_ORDERED, stage->type->name);
    if (!node) {
        stage->type->free(stage);
        mk_error_nomem(err, "flow");
        return NULL;
    }
    node->ring = mk_ordered_ring_new(flow->engine->loop, flow->engine->pool, stage,
                                     on_ring_progress, node, err);
    return node->ring ? node : NULL;
}

void mk_flow_set_independent(struct mk_flow *flow)
{
    flow->independent = true;
}

/* ---- edges ------------------------------------------------------------------------------- */

static bool children_have_room(const struct mk_node *node)
{
    const struct mk_flow *flow = node->flow;
    for (int i = 0; i < flow->n_nodes; i++) {
        const struct mk_node *child = flow->nodes[i];
        if (child->parent == node && !child->dead && !mk_queue_has_room(&child->in))
            return false;
    }
    return true;
}

/* Takes over the caller's reference. */
static void emit(struct mk_node *node, struct mk_block *block)
{
    struct mk_flow *flow = node->flow;
    node->bytes_out += block->len;
    for (int i = 0; i < flow->n_nodes; i++) {
        struct mk_node *child = flow->nodes[i];
        if (child->parent != node || child->dead)
            continue;
        child->bytes_in += block->len;
        mk_queue_put(&child->in, mk_block_ref(block));
    }
    mk_block_unref(block);
}

static void end_node(struct mk_node *node)
{
    node->ended = true;
    for (int i = 0; i < node->flow->n_nodes; i++)
        if (node->flow->nodes[i]->parent == node)
            node->flow->nodes[i]->in_ended = true;
}

/* ---- failing ----------------------------------------------------------------------------- */

static void abort_stage(struct mk_node *node)
{
    if (node->kind == NODE_SOURCE)
        node->source->type->abort(node->source);
    else if (node->kind == NODE_SINK && !node->ended)
        node->sink->type->abort(node->sink);
}

static void fail(struct mk_flow *flow, const struct mk_node *node, int status,
                 const struct mk_error *err)
{
    if (flow->stopping)
        return;
    flow->stopping = true;
    flow->status = status;
    if (err)
        flow->err = *err;
    if (!err || err->status == MK_OK)
        mk_error_set(&flow->err, status, node ? node->name : "flow", "%s",
                     status == MK_ECANCELED ? "canceled" : "failed");
    /* A stage may answer from inside its abort: the pump must not close stages under this loop. */
    bool was_pumping = flow->pumping;
    flow->pumping = true;
    for (int i = 0; i < flow->n_nodes; i++)
        abort_stage(flow->nodes[i]);
    flow->pumping = was_pumping;
}

static bool has_living_sink(const struct mk_flow *flow)
{
    for (int i = 0; i < flow->n_nodes; i++)
        if (flow->nodes[i]->kind == NODE_SINK && !flow->nodes[i]->dead)
            return true;
    return false;
}

/* Cuts a failed sink off, and the transforms that fed only it. */
static void cut_branch(struct mk_node *node)
{
    node->sink->type->abort(node->sink);
    while (node->kind != NODE_SOURCE) {
        node->dead = true;
        node->ended = true;
        mk_queue_clear(&node->in);
        if (--node->parent->n_children > 0)
            break;
        node = node->parent;
    }
}

static void sink_failed(struct mk_node *node, int status, const struct mk_error *err)
{
    node->failed = true;
    if (err)
        node->err = *err;
    struct mk_flow *flow = node->flow;
    if (flow->independent && !flow->stopping) {
        cut_branch(node);
        if (has_living_sink(flow))
            return;
    }
    fail(flow, node, status, err);
}

static void on_cancel(struct mk_wait *wait)
{
    struct mk_flow *flow =
        (struct mk_flow *)(void *)((char *)wait - offsetof(struct mk_flow, wait));
    if (flow->fired)
        return;
    fail(flow, NULL, MK_ECANCELED, NULL);
    pump(flow);
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
    if (node->busy || node->ended || !children_have_room(node))
        return false;
    if (!mk_pool_has_room(flow->engine->pool) && !nothing_in_flight(flow)) {
        park(flow);
        return false;
    }
    node->block = mk_pool_take(flow->engine->pool);
    if (!node->block) {
        struct mk_error err;
        fail(flow, node, mk_error_nomem(&err, node->name), &err);
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
    if (status != MK_OK) {
        mk_block_unref(block);
        fail(node->flow, node, status, err);
    } else if (node->flow->stopping || block->len == 0) {
        mk_block_unref(block);
    } else {
        emit(node, block);
    }
    if (status == MK_OK && end && !node->flow->stopping)
        end_node(node);
    pump(node->flow);
}

void mk_source_closed(struct mk_source *source)
{
    struct mk_node *node = source->node;
    if (!node)
        return; /* it never became part of a flow */
    node->closed = true;
    pump(node->flow);
}

/* ---- streams ----------------------------------------------------------------------------- */

/* Worker. Runs until the input is used up, a block is full, or everything has come out. */
static void stream_job_run(struct mk_job *job)
{
    struct mk_node *node = (struct mk_node *)(void *)((char *)job - offsetof(struct mk_node, job));
    node->job_status = MK_OK;
    if (!node->out && !(node->out = mk_pool_take(node->flow->engine->pool))) {
        node->job_status = mk_error_nomem(&node->err, node->name);
        return;
    }
    for (;;) {
        struct mk_block *in = node->block, *out = node->out;
        struct mk_stream_io io = {
            .in = in ? in->data + node->block_used : NULL,
            .in_len = in ? in->len - node->block_used : 0,
            .end = !in,
            .out = out->data + out->len,
            .out_cap = MK_BLOCK_BYTES - out->len,
        };
        node->job_status = mk_stream_step(node->stream, &io, &node->err);
        if (node->job_status != MK_OK)
            return;
        node->block_used += io.in_used;
        out->len += io.out_used;
        node->job_done = io.done;
        if (io.done || out->len == MK_BLOCK_BYTES || (in && node->block_used == in->len))
            return;
    }
}

static void stream_job_done(struct mk_job *job)
{
    struct mk_node *node = (struct mk_node *)(void *)((char *)job - offsetof(struct mk_node, job));
    struct mk_flow *flow = node->flow;
    node->busy = false;
    if (node->job_status != MK_OK) {
        fail(flow, node, node->job_status, &node->err);
    } else if (!flow->stopping && !node->dead) {
        if (node->block && node->block_used == node->block->len) {
            mk_block_unref(node->block);
            node->block = NULL;
        }
        if (node->out->len == MK_BLOCK_BYTES || (node->job_done && node->out->len > 0)) {
            emit(node, node->out);
            node->out = NULL;
        }
        if (node->job_done)
            end_node(node);
    }
    pump(flow);
}

static bool run_stream(struct mk_node *node)
{
    if (node->busy || node->ended || !children_have_room(node))
        return false;
    if (!node->block) {
        node->block = mk_queue_get(&node->in);
        node->block_used = 0;
        if (!node->block && !node->in_ended)
            return false;
    }
    node->busy = true;
    mk_workers_submit(node->flow->engine->loop, &node->job);
    return true;
}

/* ---- ordered parallel stages ------------------------------------------------------------- */

static void on_ring_progress(void *arg)
{
    struct mk_node *node = arg;
    pump(node->flow);
}

static bool run_ordered(struct mk_node *node)
{
    struct mk_flow *flow = node->flow;
    bool moved = false;
    struct mk_error err;
    int status = MK_OK;
    while (!node->ended && children_have_room(node)) {
        struct mk_block *out = NULL;
        bool end = false;
        status = mk_ordered_ring_take(node->ring, &out, &end, &err);
        if (status != MK_OK || (!out && !end))
            break;
        moved = true;
        if (out)
            emit(node, out);
        if (end)
            end_node(node);
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
        fail(flow, node, status, &err);
        return true;
    }
    return moved;
}

/* ---- sinks ------------------------------------------------------------------------------- */

static bool run_sink(struct mk_node *node)
{
    if (node->busy || node->ended)
        return false;
    node->block = mk_queue_get(&node->in);
    if (!node->block && !node->in_ended)
        return false;
    node->busy = true;
    if (node->block) {
        node->sink->type->put(node->sink, node->block);
    } else {
        node->finishing = true;
        node->sink->type->finish(node->sink);
    }
    return true;
}

static int keep_result(struct mk_node *node, struct mk_error *err)
{
    if (!node->sink->type->result)
        return MK_OK;
    node->result = mk_strdup(node->sink->type->result(node->sink));
    return node->result ? MK_OK : mk_error_nomem(err, node->name);
}

void mk_sink_done(struct mk_sink *sink, int status, const struct mk_error *err)
{
    struct mk_node *node = sink->node;
    assert(node->busy);
    node->busy = false;
    if (node->block)
        node->bytes_out += node->block->len;
    mk_block_unref(node->block);
    node->block = NULL;
    struct mk_error result_err;
    if (status == MK_OK && node->finishing) {
        node->ended = true;
        status = keep_result(node, &result_err);
        err = &result_err;
    }
    if (status != MK_OK && !node->dead)
        sink_failed(node, status, err);
    pump(node->flow);
}

void mk_sink_closed(struct mk_sink *sink)
{
    struct mk_node *node = sink->node;
    if (!node)
        return; /* it never became part of a flow */
    node->closed = true;
    pump(node->flow);
}

/* ---- the pump ---------------------------------------------------------------------------- */

static bool run_node(struct mk_node *node)
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

static bool is_over(const struct mk_flow *flow)
{
    for (int i = 0; i < flow->n_nodes; i++) {
        const struct mk_node *node = flow->nodes[i];
        if (node->busy || (!flow->stopping && !node->ended))
            return false;
    }
    return true;
}

/* Ending a compressor may wait for its threads, so it is a worker's business, too. */
static void stream_free_run(struct mk_job *job)
{
    struct mk_node *node = (struct mk_node *)(void *)((char *)job - offsetof(struct mk_node, job));
    mk_stream_free(node->stream);
}

static void stream_free_done(struct mk_job *job)
{
    struct mk_node *node = (struct mk_node *)(void *)((char *)job - offsetof(struct mk_node, job));
    node->closed = true;
    pump(node->flow);
}

static void close_stream(struct mk_node *node)
{
    mk_block_unref(node->block);
    mk_block_unref(node->out);
    node->block = node->out = NULL;
    if (!node->flow->started) {
        mk_stream_free(node->stream);
        node->closed = true;
        return;
    }
    node->job.run = stream_free_run;
    node->job.done = stream_free_done;
    mk_workers_submit(node->flow->engine->loop, &node->job);
}

static void close_node(struct mk_node *node)
{
    if (node->closing)
        return;
    node->closing = true;
    mk_queue_clear(&node->in);
    switch (node->kind) {
    case NODE_SOURCE:
        node->source->type->close(node->source);
        break;
    case NODE_SINK:
        node->sink->type->close(node->sink);
        break;
    case NODE_STREAM:
        close_stream(node);
        break;
    case NODE_ORDERED:
        mk_ordered_ring_free(node->ring);
        node->ring = NULL;
        node->closed = true;
        break;
    }
}

static void end_flow(struct mk_flow *flow)
{
    flow->closing = true;
    for (int i = 0; i < flow->n_nodes; i++)
        close_node(flow->nodes[i]);
    for (int i = 0; i < flow->n_nodes; i++)
        if (!flow->nodes[i]->closed)
            return;
    if (!flow->fired) {
        flow->fired = true;
        unpark(flow);
        mk_wait_fire(&flow->wait, flow->status);
    }
}

static void run_nodes(struct mk_flow *flow)
{
    for (int i = flow->n_nodes - 1; i >= 0; i--) {
        struct mk_node *node = flow->nodes[i];
        if (node->kind == NODE_ORDERED && (flow->stopping || node->dead))
            node->busy = node->ring && mk_ordered_ring_running(node->ring) > 0;
        if (!flow->stopping && !node->dead && run_node(node))
            flow->again = true;
    }
}

static void pump(struct mk_flow *flow)
{
    flow->again = true;
    if (flow->pumping || flow->fired)
        return;
    struct mk_flow_engine *engine = flow->engine;
    flow->pumping = true;
    while (flow->again && !flow->closing) {
        flow->again = false;
        run_nodes(flow);
    }
    if (flow->closing || is_over(flow))
        end_flow(flow);
    flow->pumping = false;
    /* The flow may be freed by its owner only from the loop, so `flow` is still valid here. */
    wake_parked(engine);
}

void mk_flow_start(struct mk_flow *flow)
{
    flow->started = true;
    pump(flow);
}

struct mk_wait *mk_flow_wait(struct mk_flow *flow)
{
    return &flow->wait;
}

const struct mk_error *mk_flow_error(const struct mk_flow *flow)
{
    return &flow->err;
}

void mk_flow_free(struct mk_flow *flow)
{
    if (!flow)
        return;
    flow->pumping = true; /* closing stages must not start the pump */
    for (int i = 0; i < flow->n_nodes; i++)
        close_node(flow->nodes[i]);
    for (int i = 0; i < flow->n_nodes; i++) {
        struct mk_node *node = flow->nodes[i];
        /* A stage that closes later no longer has anybody to tell. */
        if (!node->closed && node->source)
            node->source->node = NULL;
        if (!node->closed && node->sink)
            node->sink->node = NULL;
        mk_free(node->result);
        mk_free(node);
    }
    mk_free(flow);
}

int mk_flow_node_count(const struct mk_flow *flow)
{
    return flow->n_nodes;
}

void mk_flow_node_report(const struct mk_flow *flow, int index, struct mk_node_report *report)
{
    const struct mk_node *node = flow->nodes[index];
    *report = (struct mk_node_report){
        .name = node->name,
        .bytes_in = node->bytes_in,
        .bytes_out = node->bytes_out,
        .is_sink = node->kind == NODE_SINK,
        .failed = node->failed,
        .err = &node->err,
        .result = node->result,
    };
}
