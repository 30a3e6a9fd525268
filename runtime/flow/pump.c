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
 * - What a busy node has taken (`block`, `taken`) is its job's or its sink's alone; the pump looks
 *   at it only when the node has answered. Without a `block` there is nothing in `taken`.
 * - Callbacks may come from inside the call that started the work: they set a mark and return to
 *   the pump loop, which never nests.
 * - A sink that stalls is cut off only while another one that matters is well, so what holds all of
 *   them up (the source, the network of this machine) cuts nothing off.
 *
 * Limits: MAX_NODES stages per flow; one source. A sink that does not answer its abort (a file
 * system that hangs) keeps the flow from ending.
 */
#include "flow/flow_impl.h"

/* ---- waiting for the pool ---------------------------------------------------------------- */

void mk__flow_park(struct mk_flow *flow)
{
    if (flow->is_parked)
        return;
    flow->is_parked = true;
    flow->next_parked = flow->engine->parked;
    flow->engine->parked = flow;
}

void mk__flow_unpark(struct mk_flow *flow)
{
    if (!flow->is_parked)
        return;
    flow->is_parked = false;
    struct mk_flow **link = &flow->engine->parked;
    while (*link != flow)
        link = &(*link)->next_parked;
    *link = flow->next_parked;
}

/* Blocks come back to the pool while some flow is pumped, or in a job, whose answer pumps: so the
 * end of a pump is the one moment at which a parked flow may be able to go on. */
static void wake_parked(struct mk_flow_engine *engine)
{
    if (engine->waking)
        return;
    engine->waking = true;
    while (engine->parked && mk_pool_has_room(engine->pool)) {
        struct mk_flow *flow = engine->parked;
        mk__flow_unpark(flow);
        mk__flow_pump(flow);
    }
    engine->waking = false;
}

/* ---- edges ------------------------------------------------------------------------------- */

bool mk__flow_children_have_room(const struct mk_node *node)
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
void mk__flow_emit(struct mk_node *node, struct mk_block *block)
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

void mk__flow_end_node(struct mk_node *node)
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
    else if (node->kind == NODE_SINK && !node->dead)
        node->sink->type->abort(node->sink);
}

void mk__flow_fail(struct mk_flow *flow, const struct mk_node *node, int status,
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

static bool is_optional(const struct mk_node *node)
{
    return node->kind == NODE_SINK && !node->dead && (node->optional || node->flow->independent);
}

static bool has_optional_sink(const struct mk_flow *flow)
{
    for (int i = 0; i < flow->n_nodes; i++)
        if (is_optional(flow->nodes[i]))
            return true;
    return false;
}

static void drop_taken_blocks(struct mk_node *node)
{
    mk_block_unref(node->block);
    node->block = NULL;
    mk_queue_clear(&node->taken);
    while (node->n_outs > 0)
        mk_block_unref(node->outs[--node->n_outs]);
}

void mk__flow_drop_blocks(struct mk_node *node)
{
    mk_queue_clear(&node->in);
    if (!node->busy) /* what a job or a stage has is given back when it answers */
        drop_taken_blocks(node);
}

/* Cuts a failed sink off, and the transforms that fed only it. Their blocks go back to the pool,
 * for other flows may wait for them. */
static void cut_branch(struct mk_node *node)
{
    struct mk_sink *sink = node->sink;
    while (node->kind != NODE_SOURCE) {
        node->dead = true;
        node->ended = true;
        mk__flow_drop_blocks(node);
        if (--node->parent->n_children > 0)
            break;
        node = node->parent;
    }
    sink->type->abort(sink); /* last: what it answers from inside is no second failure */
}

void mk__flow_sink_failed(struct mk_node *node, int status, const struct mk_error *err)
{
    struct mk_flow *flow = node->flow;
    if (flow->stopping)
        return; /* that is why it failed: it was aborted */
    node->failed = true;
    if (err)
        node->err = *err;
    if (is_optional(node)) {
        cut_branch(node);
        if (has_optional_sink(flow))
            return;
    }
    mk__flow_fail(flow, node, status, err);
}

void mk__flow_on_cancel(struct mk_wait *wait)
{
    struct mk_flow *flow =
        (struct mk_flow *)(void *)((char *)wait - offsetof(struct mk_flow, wait));
    if (flow->fired || flow->closing)
        return; /* how it ended is decided, and stages may be gone */
    mk__flow_fail(flow, NULL, MK_ECANCELED, NULL);
    mk__flow_pump(flow);
}

/* ---- sinks that stall ---------------------------------------------------------------------- */

/* For how long it has been busy without moving, as far as looks tell: while the loop itself was
 * held up there was none, so that counts for nothing. */
static int64_t still_for(const struct mk_node *node)
{
    return node->busy ? node->still * node->flow->watch_ms : 0;
}

static void look(struct mk_node *node)
{
    bool moved = !node->busy || node->moves != node->seen;
    node->seen = node->moves;
    node->still = moved ? 0 : node->still + 1;
}

/* Whether another one goes on: a sink that waits for blocks, or has moved lately. */
static bool another_is_well(const struct mk_flow *flow, const struct mk_node *node)
{
    for (int i = 0; i < flow->n_nodes; i++) {
        const struct mk_node *other = flow->nodes[i];
        if (other != node && is_optional(other) && still_for(other) < node->stall_ms / 2)
            return true;
    }
    return false;
}

static void on_watch(void *arg)
{
    struct mk_flow *flow = arg;
    mk_timer_set(flow->watch, flow->watch_ms);
    for (int i = 0; i < flow->n_nodes; i++)
        look(flow->nodes[i]);
    bool was_pumping = flow->pumping;
    flow->pumping = true; /* a sink may answer from inside its abort */
    for (int i = 0; i < flow->n_nodes; i++) {
        struct mk_node *node = flow->nodes[i];
        if (node->stall_ms <= 0 || !is_optional(node) || still_for(node) < node->stall_ms ||
            !another_is_well(flow, node))
            continue;
        struct mk_error err;
        mk_error_set(&err, MK_ETIMEOUT, node->name,
                     "it has taken nothing for %.3g s, while another one goes on",
                     (double)node->stall_ms / 1000);
        mk__flow_sink_failed(node, MK_ETIMEOUT, &err);
    }
    flow->pumping = was_pumping;
    mk__flow_pump(flow);
}

void mk__flow_start_watch(struct mk_flow *flow)
{
    int64_t shortest = 0;
    for (int i = 0; i < flow->n_nodes; i++) {
        int64_t stall_ms = flow->nodes[i]->stall_ms;
        if (stall_ms > 0 && (shortest == 0 || stall_ms < shortest))
            shortest = stall_ms;
    }
    struct mk_error err;
    flow->watch_ms = shortest < 40 ? 10 : shortest / 4;
    if (shortest > 0)
        flow->watch = mk_timer_new(flow->engine->loop, on_watch, flow, &err);
    if (flow->watch) /* no memory: nothing is cut off */
        mk_timer_set(flow->watch, flow->watch_ms);
}

/* ---- the pump ---------------------------------------------------------------------------- */

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
    mk__flow_pump(node->flow);
}

static void close_stream(struct mk_node *node)
{
    drop_taken_blocks(node);
    if (!node->flow->started) {
        mk_stream_free(node->stream);
        node->closed = true;
        return;
    }
    node->job.run = stream_free_run;
    node->job.done = stream_free_done;
    mk_workers_submit(node->flow->engine->loop, &node->job);
}

void mk__flow_close_node(struct mk_node *node)
{
    if (node->closing)
        return;
    node->closing = true;
    mk_queue_clear(&node->in);
    mk_queue_clear(&node->taken);
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

/* Begins to close every stage, once; returns whether all of them have closed. */
static bool close_stages(struct mk_flow *flow)
{
    flow->closing = true;
    for (int i = 0; i < flow->n_nodes; i++)
        mk__flow_close_node(flow->nodes[i]);
    for (int i = 0; i < flow->n_nodes; i++)
        if (!flow->nodes[i]->closed)
            return false;
    return true;
}

static void run_nodes(struct mk_flow *flow)
{
    for (int i = flow->n_nodes - 1; i >= 0; i--) {
        struct mk_node *node = flow->nodes[i];
        if (node->kind == NODE_ORDERED && (flow->stopping || node->dead))
            node->busy = node->ring && mk_ordered_ring_running(node->ring) > 0;
        if (node->kind == NODE_ORDERED && node->dead && !node->busy) {
            mk_ordered_ring_free(node->ring);
            node->ring = NULL;
        }
        if (!flow->stopping && !node->dead && mk__node_run(node))
            flow->again = true;
    }
}

void mk__flow_pump(struct mk_flow *flow)
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
    bool closed = (flow->closing || is_over(flow)) && close_stages(flow);
    flow->pumping = false;
    if (closed) {
        flow->fired = true;
        mk__flow_unpark(flow);
        mk_timer_close(flow->watch);
        flow->watch = NULL;
        for (int i = 0; i < flow->n_nodes; i++)
            mk__limiter_forget(flow->nodes[i]);
        mk_wait_fire(&flow->wait, flow->status); /* whoever waits may have freed the flow */
    }
    wake_parked(engine);
}
