/* A ring of block references: see queue.h. One thread at a time. */
#include "buf/queue.h"

#include <assert.h>

void mk_queue_init(struct mk_queue *queue, size_t limit)
{
    assert(limit > 0 && limit <= MK_QUEUE_SLOTS - MK_QUEUE_BURST);
    queue->head = 0;
    queue->count = 0;
    queue->limit = limit;
}

int mk_queue_has_room(const struct mk_queue *queue)
{
    return queue->count < queue->limit;
}

void mk_queue_put(struct mk_queue *queue, struct mk_block *block)
{
    assert(queue->count < MK_QUEUE_SLOTS);
    queue->slots[(queue->head + queue->count) % MK_QUEUE_SLOTS] = block;
    queue->count++;
}

struct mk_block *mk_queue_get(struct mk_queue *queue)
{
    if (queue->count == 0)
        return NULL;
    struct mk_block *block = queue->slots[queue->head];
    queue->head = (queue->head + 1) % MK_QUEUE_SLOTS;
    queue->count--;
    return block;
}

void mk_queue_move(struct mk_queue *to, struct mk_queue *from)
{
    assert(to->count == 0);
    *to = *from;
    from->head = from->count = 0;
}

void mk_queue_clear(struct mk_queue *queue)
{
    for (struct mk_block *block; (block = mk_queue_get(queue));)
        mk_block_unref(block);
}
