/*
 * Flows from the outside: building the tree of nodes, starting it, reading what came of it. What
 * happens in between is in pump.c (the flow as a whole) and nodes.c (each kind of node).
 */
#include "flow/flow_impl.h"

#include "base/mem.h"

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

struct mk_flow *mk_flow_new(struct mk_flow_engine *engine, struct mk_error *err)
{
    struct mk_flow *flow = mk_calloc(sizeof *flow);
    if (!flow) {
        mk_error_nomem(err, "flow");
        return NULL;
    }
    flow->engine = engine;
    mk_wait_init(&flow->wait, mk__flow_on_cancel);
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

struct mk_node *mk_flow_stream(struct mk_flow *flow, struct mk_node *parent, const char *name,
                               struct mk_stream *stream)
{
    struct mk_node *node = add_node(flow, parent, NODE_STREAM, name);
    if (!node) {
        mk_stream_free(stream);
        return NULL;
    }
    node->stream = stream;
    mk__node_init_stream(node);
    return node;
}

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
                                     mk__node_on_ring_progress, node, err);
    return node->ring ? node : NULL;
}

void mk_flow_set_independent(struct mk_flow *flow)
{
    flow->independent = true;
}

void mk_flow_set_limiter(struct mk_node *node, struct mk_limiter *limiter)
{
    mk_limiter_unref(node->limiter);
    node->limiter = mk_limiter_ref(limiter);
}

void mk_flow_set_optional(struct mk_node *sink, int64_t stall_ms)
{
    sink->optional = true;
    sink->stall_ms = stall_ms;
}

void mk_flow_start(struct mk_flow *flow)
{
    flow->started = true;
    mk__flow_start_watch(flow);
    mk__flow_pump(flow);
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
        mk__flow_close_node(flow->nodes[i]);
    for (int i = 0; i < flow->n_nodes; i++) {
        struct mk_node *node = flow->nodes[i];
        /* A stage that closes later no longer has anybody to tell. */
        if (!node->closed && node->source)
            node->source->node = NULL;
        if (!node->closed && node->sink)
            node->sink->node = NULL;
        mk__limiter_forget(node);
        mk_limiter_unref(node->limiter);
        mk_free(node->result);
        mk_free(node);
    }
    mk_timer_close(flow->watch);
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
        .bytes_read = node->bytes_read,
        .is_sink = node->kind == NODE_SINK,
        .failed = node->failed,
        .err = &node->err,
        .result = {node->result, node->result_len},
    };
}
