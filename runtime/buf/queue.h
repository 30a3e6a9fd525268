#ifndef MK_BUF_QUEUE_H
#define MK_BUF_QUEUE_H

#include <stddef.h>

#include "buf/block.h"

#define MK_QUEUE_SLOTS 8
#define MK_QUEUE_BURST 4

/*
 * A bounded first-in first-out queue of blocks: one edge of a flow. The limit is soft: a put is
 * refused by nobody, but the pump runs a stage only while the edge behind it has room, and a stage
 * emits at most MK_QUEUE_BURST blocks per run, so an edge never holds `limit` + MK_QUEUE_BURST.
 */
struct mk_queue {
    struct mk_block *slots[MK_QUEUE_SLOTS];
    size_t head, count;
    size_t limit; /* <= MK_QUEUE_SLOTS - MK_QUEUE_BURST */
};

void mk_queue_init(struct mk_queue *queue, size_t limit);
int mk_queue_has_room(const struct mk_queue *queue);
/* Takes over the caller's reference. */
void mk_queue_put(struct mk_queue *queue, struct mk_block *block);
/* Hands its reference to the caller; NULL when empty. */
struct mk_block *mk_queue_get(struct mk_queue *queue);
/* Everything, into one that is empty. */
void mk_queue_move(struct mk_queue *to, struct mk_queue *from);
void mk_queue_clear(struct mk_queue *queue);

#endif
