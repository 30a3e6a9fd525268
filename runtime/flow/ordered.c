/*
 * The sequence ring: see ordered.h. Slots are issued at `head + count` and collected at `head`
 * once the head slot is done, so a full ring is what stops the input. After an error in one piece
 * the pump stops issuing and waits until none is running; later pieces are thrown away.
 */
#include "flow/ordered.h"

#include <assert.h>
#include <stddef.h>

#include "base/mem.h"
#include "loop/workers.h"

/* Per worker: one that runs, one that is ready to run when it ends. */
#define SLOTS_PER_WORKER 2

struct ring_slot {
    struct mk_job job;
    struct mk_ordered_ring *ring;
    struct mk_slot *slot;
    bool done; /* run has returned: written on the loop thread */
};

struct mk_ordered_ring {
    struct mk_loop *loop;
    struct mk_pool *pool;
    struct mk_ordered *stage;
    void (*on_progress)(void *arg);
    void *arg;
    int n_slots, head, count, running;
    bool ending, ended;
    int end_status; /* of issuing what was held back */
    struct mk_error end_err;
    struct ring_slot slots[];
};

static void on_run(struct mk_job *job)
{
    struct ring_slot *self = (struct ring_slot *)(void *)job;
    self->slot->status = self->ring->stage->type->run(self->slot, &self->slot->err);
}

static void on_done(struct mk_job *job)
{
    struct ring_slot *self = (struct ring_slot *)(void *)job;
    struct mk_ordered_ring *ring = self->ring;
    self->done = true;
    ring->running--;
    ring->on_progress(ring->arg);
}

struct mk_ordered_ring *mk_ordered_ring_new(struct mk_loop *loop, struct mk_pool *pool,
                                            struct mk_ordered *stage,
                                            void (*on_progress)(void *arg), void *arg,
                                            struct mk_error *err)
{
    int n_slots = SLOTS_PER_WORKER * mk_loop_workers(loop);
    struct mk_ordered_ring *ring = mk_calloc(sizeof *ring + n_slots * sizeof ring->slots[0]);
    if (!ring) {
        mk_error_nomem(err, stage->type->name);
        stage->type->free(stage);
        return NULL;
    }
    ring->loop = loop;
    ring->pool = pool;
    ring->stage = stage;
    ring->on_progress = on_progress;
    ring->arg = arg;
    for (; ring->n_slots < n_slots; ring->n_slots++) {
        struct ring_slot *entry = &ring->slots[ring->n_slots];
        entry->ring = ring;
        entry->job.run = on_run;
        entry->job.done = on_done;
        entry->slot = mk_calloc(stage->type->slot_bytes);
        if (!entry->slot || stage->type->slot_init(stage, entry->slot, err) != MK_OK) {
            mk_free(entry->slot);
            mk_ordered_ring_free(ring);
            mk_error_nomem(err, "flow");
            return NULL;
        }
    }
    return ring;
}

static void release(struct mk_slot *slot)
{
    mk_block_unref(slot->in);
    mk_block_unref(slot->out);
    slot->in = slot->out = NULL;
}

void mk_ordered_ring_free(struct mk_ordered_ring *ring)
{
    if (!ring)
        return;
    assert(ring->running == 0);
    struct mk_ordered *stage = ring->stage;
    for (int i = 0; i < ring->n_slots; i++) {
        release(ring->slots[i].slot);
        stage->type->slot_fini(ring->slots[i].slot);
        mk_free(ring->slots[i].slot);
    }
    stage->type->free(stage);
    mk_free(ring);
}

int mk_ordered_ring_running(const struct mk_ordered_ring *ring)
{
    return ring->running;
}

bool mk_ordered_ring_has_room(const struct mk_ordered_ring *ring)
{
    return ring->count < ring->n_slots && !ring->ending;
}

static int issue(struct mk_ordered_ring *ring, struct mk_block *in, struct mk_error *err)
{
    struct ring_slot *entry = &ring->slots[(ring->head + ring->count) % ring->n_slots];
    struct mk_slot *slot = entry->slot;
    slot->in = in;
    slot->out = mk_pool_take(ring->pool);
    if (!slot->out) {
        release(slot);
        return mk_error_nomem(err, ring->stage->type->name);
    }
    if (!ring->stage->type->prepare(ring->stage, slot)) {
        release(slot);
        return MK_OK;
    }
    entry->done = false;
    ring->count++;
    ring->running++;
    mk_workers_submit(ring->loop, &entry->job);
    return MK_OK;
}

int mk_ordered_ring_put(struct mk_ordered_ring *ring, struct mk_block *block, struct mk_error *err)
{
    assert(mk_ordered_ring_has_room(ring));
    return issue(ring, block, err);
}

bool mk_ordered_ring_end(struct mk_ordered_ring *ring)
{
    if (ring->ending)
        return false;
    ring->end_status = issue(ring, NULL, &ring->end_err);
    ring->ending = true;
    return true;
}

/* Takes a block over, if there is anything in it. */
static struct mk_block *whole(struct mk_block **box)
{
    struct mk_block *block = *box;
    if (!block || block->len == 0)
        return NULL;
    *box = NULL;
    return block;
}

int mk_ordered_ring_take(struct mk_ordered_ring *ring, struct mk_block **out, bool *end,
                         struct mk_error *err)
{
    *out = NULL;
    *end = false;
    if (ring->end_status != MK_OK) {
        *err = ring->end_err;
        return ring->end_status;
    }
    while (ring->count > 0) {
        struct ring_slot *entry = &ring->slots[ring->head];
        if (!entry->done)
            return MK_OK;
        struct mk_slot *slot = entry->slot;
        if (slot->status != MK_OK) {
            *err = slot->err;
            return slot->status;
        }
        if (ring->stage->type->collect)
            ring->stage->type->collect(ring->stage, slot);
        *out = whole(&slot->out);
        release(slot);
        ring->head = (ring->head + 1) % ring->n_slots;
        ring->count--;
        if (*out)
            return MK_OK;
    }
    if (ring->ending && !ring->ended) {
        struct mk_block *last = mk_pool_take(ring->pool);
        if (!last)
            return mk_error_nomem(err, ring->stage->type->name);
        if (ring->stage->type->end)
            ring->stage->type->end(ring->stage, last);
        *out = whole(&last);
        mk_block_unref(last);
        ring->ended = true;
        *end = true;
    }
    return MK_OK;
}
