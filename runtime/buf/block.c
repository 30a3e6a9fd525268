/*
 * Blocks and their pool. Blocks all have the same capacity and are recycled through a free list,
 * so that a stream of any length allocates only as many as are in flight at once. Workers take
 * and return blocks, hence the mutex; it is held for a few instructions only.
 */
#include "buf/block.h"

#include <assert.h>
#include <pthread.h>

#include "base/mem.h"

struct mk_pool {
    pthread_mutex_t mutex;
    struct mk_block *free_list; /* under mutex */
    size_t limit;
    size_t in_use; /* under mutex */
    size_t peak;   /* under mutex */
};

struct mk_pool *mk_pool_new(size_t limit_blocks)
{
    struct mk_pool *pool = mk_calloc(sizeof *pool);
    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->mutex, NULL);
    pool->limit = limit_blocks;
    return pool;
}

void mk_pool_free(struct mk_pool *pool)
{
    if (!pool)
        return;
    assert(pool->in_use == 0);
    while (pool->free_list) {
        struct mk_block *block = pool->free_list;
        pool->free_list = block->next_free;
        mk_free(block);
    }
    pthread_mutex_destroy(&pool->mutex);
    mk_free(pool);
}

static size_t read_locked(struct mk_pool *pool, const size_t *field)
{
    pthread_mutex_lock(&pool->mutex);
    size_t value = *field;
    pthread_mutex_unlock(&pool->mutex);
    return value;
}

size_t mk_pool_in_use(struct mk_pool *pool)
{
    return read_locked(pool, &pool->in_use);
}

size_t mk_pool_peak(struct mk_pool *pool)
{
    return read_locked(pool, &pool->peak);
}

int mk_pool_has_room(struct mk_pool *pool)
{
    return mk_pool_in_use(pool) < pool->limit;
}

struct mk_block *mk_pool_take(struct mk_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    struct mk_block *block = pool->free_list;
    if (block)
        pool->free_list = block->next_free;
    pool->in_use++;
    if (pool->in_use > pool->peak)
        pool->peak = pool->in_use;
    pthread_mutex_unlock(&pool->mutex);

    if (!block) {
        block = mk_alloc(sizeof *block + MK_BLOCK_BYTES + MK_BLOCK_SLACK);
        if (!block) {
            pthread_mutex_lock(&pool->mutex);
            pool->in_use--;
            pthread_mutex_unlock(&pool->mutex);
            return NULL;
        }
        block->pool = pool;
        block->cap = MK_BLOCK_BYTES + MK_BLOCK_SLACK;
    }
    block->next_free = NULL;
    block->len = 0;
    block->refs = 1;
    return block;
}

struct mk_block *mk_block_ref(struct mk_block *block)
{
    __atomic_fetch_add(&block->refs, 1, __ATOMIC_RELAXED);
    return block;
}

void mk_block_unref(struct mk_block *block)
{
    if (!block || __atomic_sub_fetch(&block->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    struct mk_pool *pool = block->pool;
    pthread_mutex_lock(&pool->mutex);
    block->next_free = pool->free_list;
    pool->free_list = block;
    pool->in_use--;
    pthread_mutex_unlock(&pool->mutex);
}
