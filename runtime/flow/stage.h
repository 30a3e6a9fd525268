#ifndef MK_FLOW_STAGE_H
#define MK_FLOW_STAGE_H

/*
 * What a stage is, for those who write one. Stages never call their neighbours: the pump (flow.c)
 * calls a stage, the stage answers the pump. A synchronous transform is a `struct mk_stream`
 * (codec/stream.h) and needs nothing from here. Loop thread only.
 */
#include "base/error.h"
#include "base/text.h"
#include "buf/block.h"
#include "loop/loop.h"

#include <stdbool.h>

struct mk_node; /* the pump's own record of a stage */

struct mk_source;
struct mk_source_type {
    const char *name;
    /* Fill the block up to MK_BLOCK_BYTES, less only at the end, then call mk_source_filled once,
     * at once or later. One want is outstanding at most. */
    void (*want)(struct mk_source *source, struct mk_block *block);
    /* End early; an outstanding want is answered soon. May be called more than once. */
    void (*abort)(struct mk_source *source);
    /* Release everything, then call mk_source_closed once. No want is outstanding. */
    void (*close)(struct mk_source *source);
    /* What there is to say of the whole (a number of rows), asked for once, right after a good end.
     * NULL: nothing. */
    struct mk_text (*result)(struct mk_source *source);
    /* How many bytes it has read so far, where that is not what has come out of it: it compresses
     * them. NULL: it is. */
    uint64_t (*bytes_read)(struct mk_source *source);
};
struct mk_source { /* first member of every implementation */
    const struct mk_source_type *type;
    struct mk_node *node;
};
/* `end`: this block is the last one (it may be empty), and all went well. */
void mk_source_filled(struct mk_source *source, bool end, int status, const struct mk_error *err);
void mk_source_closed(struct mk_source *source);

struct mk_sink;
struct mk_sink_type {
    const char *name;
    /* Take the block's bytes, then call mk_sink_done once. The pump keeps the block alive until
     * then, or until mk_sink_more gives another one. */
    void (*put)(struct mk_sink *sink, struct mk_block *block);
    /* All blocks have come, and the source has vouched for them: make the result last, then call
     * mk_sink_done. */
    void (*finish)(struct mk_sink *sink);
    /* End early and leave nothing half-done; an outstanding put or finish is answered soon. It may
     * come after a good finish, when the flow fails elsewhere: then take back what can be. */
    void (*abort)(struct mk_sink *sink);
    /* Release everything, then call mk_sink_closed once. Nothing is outstanding. */
    void (*close)(struct mk_sink *sink);
    /* The result as text (a digest, a child's output), asked for once, right after a good
     * finish. NULL: this sink has none. */
    struct mk_text (*result)(struct mk_sink *sink);
};
struct mk_sink { /* first member of every implementation */
    const struct mk_sink_type *type;
    struct mk_node *node;
    bool asks_for_more; /* set by its constructor: it calls mk_sink_more until that is NULL, or
                           fails */
};
/* Between put and done: the next of the blocks that had come when the first of them was put, or
 * NULL; with a limiter always NULL. On any thread, one at a time. It is for a sink whose put is a
 * change of threads, and that cannot stall: meanwhile it does not count as moving, and what it has
 * been given is kept from other flows. */
struct mk_block *mk_sink_more(struct mk_sink *sink);
void mk_sink_done(struct mk_sink *sink, int status, const struct mk_error *err);
void mk_sink_closed(struct mk_sink *sink);
/* Something moves: whatever it was asked for will take its time, but it does not stall. */
void mk_sink_moves(struct mk_sink *sink);

/*
 * A transform whose pieces are independent: run in parallel on the workers, in any order of
 * completion, and put back in order by the pump (ordered.h).
 */
struct mk_slot {
    struct mk_block *in;
    struct mk_block *out;
    struct mk_error err;
    int status;
};
struct mk_ordered;
struct mk_ordered_type {
    const char *name;
    size_t slot_bytes; /* size of the implementation's slot, which begins with struct mk_slot */
    int (*slot_init)(struct mk_ordered *stage, struct mk_slot *slot, struct mk_error *err);
    void (*slot_fini)(struct mk_slot *slot);
    /* Loop thread, in order: slot->in has been set (NULL: what was held back, at the end).
     * Returns false when there is nothing to run for it. */
    bool (*prepare)(struct mk_ordered *stage, struct mk_slot *slot);
    /* Worker: from slot->in to slot->out. */
    int (*run)(struct mk_slot *slot, struct mk_error *err);
    /* Loop thread, in order, after run: account for the piece. NULL: there is nothing to. */
    void (*collect)(struct mk_ordered *stage, struct mk_slot *slot);
    /* Loop thread: what comes after the last piece, into an empty block. NULL: nothing. */
    void (*end)(struct mk_ordered *stage, struct mk_block *out);
    void (*free)(struct mk_ordered *stage);
};
struct mk_ordered { /* first member of every implementation */
    const struct mk_ordered_type *type;
};

#endif
