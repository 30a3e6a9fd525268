#ifndef MK_BUF_BLOCK_H
#define MK_BUF_BLOCK_H

#include <stddef.h>
#include <stdint.h>

/* What a source puts in one block at most, and the unit of parallel compression. */
#define MK_BLOCK_BYTES (1024u * 1024u)
/* Room beyond MK_BLOCK_BYTES in every block: for what a codec adds to incompressible data, and for
 * what a stage has held back of the block before (flow/ordered_age.c). */
#define MK_BLOCK_SLACK (128u * 1024u)

struct mk_pool;

/* A byte buffer. One owner fills it; once it is passed on it is immutable and shared by
 * reference count. */
struct mk_block {
    struct mk_pool *pool;
    struct mk_block *next_free; /* the pool's */
    int refs;                   /* atomic */
    size_t len;                 /* bytes filled, <= cap */
    size_t cap;
    uint8_t data[];
};

/*
 * A pool is the memory budget of a run. Only sources wait for it: a stage downstream is always
 * served, because what it may hold is already bounded by its edges (flow/). So blocks in use
 * never exceed `limit` plus what the edges allow, and no flow can deadlock on the pool.
 */
struct mk_pool *mk_pool_new(size_t limit_blocks);
void mk_pool_free(struct mk_pool *pool); /* all blocks must have been returned */
/* Whether a source may take one more block. */
int mk_pool_has_room(struct mk_pool *pool);
/* A block with one reference and len 0, or NULL when memory is out. Thread-safe. */
struct mk_block *mk_pool_take(struct mk_pool *pool);
size_t mk_pool_in_use(struct mk_pool *pool);
size_t mk_pool_peak(struct mk_pool *pool);

struct mk_block *mk_block_ref(struct mk_block *block);
void mk_block_unref(struct mk_block *block); /* NULL is allowed; thread-safe */

#endif
