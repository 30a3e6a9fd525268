#ifndef MK_FLOW_FLOW_IMPL_H
#define MK_FLOW_FLOW_IMPL_H

/* For flow.c, pump.c, nodes.c and limiter.c only: what a flow is made of. */
#include <stddef.h>

#include "buf/queue.h"
#include "flow/flow.h"
#include "flow/ordered.h"
#include "loop/timer.h"
#include "loop/workers.h"

#define MAX_NODES  32 /* per flow */
#define EDGE_LIMIT 2  /* blocks */

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
    uint64_t bytes_in, bytes_out, bytes_read;
    size_t result_len;
    char *result; /* what the stage has said after a good end */
    struct mk_error err;
    bool optional;              /* sink: see mk_flow_set_optional */
    int64_t stall_ms;           /* the same */
    unsigned moves, seen;       /* the same: how often it moved, until the last look */
    int still;                  /* the same: at how many looks it had not */
    struct mk_limiter *limiter; /* of a source or a sink; or NULL */
    bool is_limited;            /* waits for it */
    struct mk_node *next_limited;

    struct mk_source *source;
    struct mk_sink *sink;
    struct mk_ordered_ring *ring;
    struct mk_stream *stream;
    struct mk_job job;                     /* stream: its step on a worker */
    struct mk_block *block;                /* what is being filled, put or read */
    size_t block_used;                     /* stream: how much of `block` has been read */
    struct mk_queue taken;                 /* stream, sink: what follows `block`, if any */
    uint64_t bytes_put;                    /* sink: put, and not yet counted in bytes_out */
    struct mk_block *outs[MK_QUEUE_BURST]; /* stream: what is being written, full ones first */
    int n_outs;
    bool job_done;  /* stream: set by the worker, read after it */
    int job_status; /* the same */
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
    struct mk_timer *watch; /* looks for sinks that stall; or NULL */
    int64_t watch_ms;
    int n_nodes;
    struct mk_node *nodes[MAX_NODES]; /* parents before children */
};

/* pump.c: the flow as a whole */

/* Starts whatever can run; closes the flow when it is over. Never nests. */
void mk__flow_pump(struct mk_flow *flow);
/* The first failure decides the flow's error and aborts its stages; later ones are ignored. */
void mk__flow_fail(struct mk_flow *flow, const struct mk_node *node, int status,
                   const struct mk_error *err);
void mk__flow_sink_failed(struct mk_node *node, int status, const struct mk_error *err);
void mk__flow_on_cancel(struct mk_wait *wait);
/* Until the pool has room again. */
void mk__flow_park(struct mk_flow *flow);
void mk__flow_unpark(struct mk_flow *flow);
bool mk__flow_children_have_room(const struct mk_node *node);
/* Hands a block to every living child; takes over the caller's reference. */
void mk__flow_emit(struct mk_node *node, struct mk_block *block);
/* Of a node that is cut off. */
void mk__flow_drop_blocks(struct mk_node *node);
void mk__flow_end_node(struct mk_node *node);
void mk__flow_close_node(struct mk_node *node);
/* Begins to look for sinks that stall, if any may be cut off for that. */
void mk__flow_start_watch(struct mk_flow *flow);

/* limiter.c */

/* Whether the node may move on; if not, its flow is pumped when it may. */
bool mk__limiter_allows(struct mk_limiter *limiter, struct mk_node *node);
void mk__limiter_charge(struct mk_limiter *limiter, size_t bytes);
/* It no longer waits. */
void mk__limiter_forget(struct mk_node *node);

/* nodes.c: how each kind of node runs */

/* Starts what the node can do now. Returns whether anything moved. */
bool mk__node_run(struct mk_node *node);
void mk__node_init_stream(struct mk_node *node);
void mk__node_on_ring_progress(void *node);

#endif
