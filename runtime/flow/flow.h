#ifndef MK_FLOW_FLOW_H
#define MK_FLOW_FLOW_H

#include "base/error.h"
#include "buf/block.h"
#include "codec/stream.h"
#include "flow/limiter.h"
#include "flow/stage.h"
#include "loop/loop.h"
#include "loop/wait.h"

/*
 * A flow moves blocks from one source through transforms to one or more sinks. It is a tree: a
 * node with several children is a tee, which shares each block by reference. Build it from the
 * source down, then start it; it ends by firing its wait, exactly once, after every stage has
 * closed. Sinks' results (digests) can be read until the flow is freed. Any failure fails the flow,
 * but that of an optional sink: its branch is cut off with a verdict of its own, and the flow goes
 * on while another optional sink is left. A transform that fails is no store's fault: it always
 * fails the flow.
 */
struct mk_flow;
struct mk_node;

struct mk_flow_engine; /* one per run: the loop and the pool that its flows share */
struct mk_flow_engine *mk_flow_engine_new(struct mk_loop *loop, struct mk_pool *pool,
                                          struct mk_error *err);
void mk_flow_engine_free(struct mk_flow_engine *engine);

struct mk_flow *mk_flow_new(struct mk_flow_engine *engine, struct mk_error *err);

/* Each takes over the stage, also on failure (NULL: memory is out); `parent` may already have
 * children. Names are for errors and progress, and must outlive the flow. */
struct mk_node *mk_flow_source(struct mk_flow *flow, struct mk_source *source);
struct mk_node *mk_flow_stream(struct mk_flow *flow, struct mk_node *parent, const char *name,
                               struct mk_stream *stream);
struct mk_node *mk_flow_ordered(struct mk_flow *flow, struct mk_node *parent,
                                struct mk_ordered *stage, struct mk_error *err);
struct mk_node *mk_flow_sink(struct mk_flow *flow, struct mk_node *parent, struct mk_sink *sink);

/* All before start. Every sink is optional. */
void mk_flow_set_independent(struct mk_flow *flow);
/* The source reads, or a sink takes, no faster than the limiter allows, which the flow holds. */
void mk_flow_set_limiter(struct mk_node *node, struct mk_limiter *limiter);
/* One sink is optional. With stall_ms > 0 it is also cut off when it has been busy with one block
 * (or with its end) for so long, and has not said that anything moves, while another optional one
 * is not. */
void mk_flow_set_optional(struct mk_node *sink, int64_t stall_ms);
/* Begins to move blocks. A short flow may have fired its wait when this returns. */
void mk_flow_start(struct mk_flow *flow);
struct mk_wait *mk_flow_wait(struct mk_flow *flow);
/* Why it failed, once it has: err->op names the stage. */
const struct mk_error *mk_flow_error(const struct mk_flow *flow);
/* Before start, or after the wait has fired. */
void mk_flow_free(struct mk_flow *flow);

/* Any time: what has gone into and come out of a node, and what became of it. */
struct mk_node_report {
    const char *name;
    uint64_t bytes_in, bytes_out;
    uint64_t bytes_read; /* by a source: what came in, before it compressed it */
    bool is_sink, failed;
    const struct mk_error *err; /* of a failed sink */
    struct mk_text result;      /* of a stage that has finished, or no bytes at all */
};
int mk_flow_node_count(const struct mk_flow *flow);
void mk_flow_node_report(const struct mk_flow *flow, int index, struct mk_node_report *report);

#endif
