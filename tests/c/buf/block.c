#include "buf/block.h"

#include <pthread.h>

#include "base/mem.h"
#include "support.h"

static void a_block_is_recycled_after_its_last_reference(void **state)
{
    (void)state;
    struct mk_pool *pool = mk_pool_new(2);
    struct mk_block *block = mk_pool_take(pool);
    block->len = 7;
    mk_block_ref(block);
    mk_block_unref(block);
    assert_int_equal(mk_pool_in_use(pool), 1);
    mk_block_unref(block);
    assert_int_equal(mk_pool_in_use(pool), 0);
    struct mk_block *again = mk_pool_take(pool);
    assert_ptr_equal(again, block);
    assert_int_equal(again->len, 0);
    mk_block_unref(again);
    mk_pool_free(pool);
}

static void the_limit_stops_sources_and_nobody_else(void **state)
{
    (void)state;
    struct mk_pool *pool = mk_pool_new(1);
    assert_true(mk_pool_has_room(pool));
    struct mk_block *a = mk_pool_take(pool);
    assert_false(mk_pool_has_room(pool));
    struct mk_block *b = mk_pool_take(pool);
    assert_non_null(b);
    assert_int_equal(mk_pool_peak(pool), 2);
    mk_block_unref(a);
    mk_block_unref(b);
    assert_int_equal(mk_pool_peak(pool), 2);
    mk_pool_free(pool);
}

static void running_out_of_memory_leaves_the_pool_as_it_was(void **state)
{
    (void)state;
    struct mk_pool *pool = mk_pool_new(1);
    mk_mem_fail_at(1);
    assert_null(mk_pool_take(pool));
    assert_int_equal(mk_pool_in_use(pool), 0);
    mk_pool_free(pool);
}

static void *take_and_return(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        struct mk_block *block = mk_pool_take(arg);
        block->data[0] = (uint8_t)i;
        mk_block_unref(mk_block_ref(block));
        mk_block_unref(block);
    }
    return NULL;
}

static void threads_may_share_a_pool(void **state)
{
    (void)state;
    struct mk_pool *pool = mk_pool_new(4);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_return, pool), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(mk_pool_in_use(pool), 0);
    assert_true(mk_pool_peak(pool) <= 4);
    mk_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_recycled_after_its_last_reference),
        cmocka_unit_test(the_limit_stops_sources_and_nobody_else),
        cmocka_unit_test(running_out_of_memory_leaves_the_pool_as_it_was),
        cmocka_unit_test(threads_may_share_a_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
