#ifndef MK_FLOW_ORDERED_H
#define MK_FLOW_ORDERED_H

#include "flow/stage.h"

/*
 * A ring of slots that runs the pieces of an ordered stage on the workers and gives them back in
 * order. Order comes from the place in the ring, never from timing. Loop thread only.
 */
struct mk_ordered_ring;

/* Takes over the stage, also on failure. `on_progress` tells that a piece has been run. */
struct mk_ordered_ring *mk_ordered_ring_new(struct mk_loop *loop, struct mk_pool *pool,
                                            struct mk_ordered *stage,
                                            void (*on_progress)(void *arg), void *arg,
                                            struct mk_error *err);
/* No piece may be running. */
void mk_ordered_ring_free(struct mk_ordered_ring *ring);
int mk_ordered_ring_running(const struct mk_ordered_ring *ring);
bool mk_ordered_ring_has_room(const struct mk_ordered_ring *ring);
/* Takes over the block's reference. */
int mk_ordered_ring_put(struct mk_ordered_ring *ring, struct mk_block *block, struct mk_error *err);
/* No more input. Returns true the first time. Needs room. */
bool mk_ordered_ring_end(struct mk_ordered_ring *ring);
/* The next output block in order, if it is ready, else *out = NULL; *end with the last one. */
int mk_ordered_ring_take(struct mk_ordered_ring *ring, struct mk_block **out, bool *end,
                         struct mk_error *err);

#endif
