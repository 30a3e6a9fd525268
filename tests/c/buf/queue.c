#include "buf/queue.h"

#include "support.h"

static void blocks_come_out_in_the_order_they_went_in(void **state)
{
    (void)state;
    struct mk_pool *pool = mk_pool_new(8);
    struct mk_queue queue;
    mk_queue_init(&queue, 3);
    for (size_t round = 0; round < 20; round++) { /* the ring wraps */
        for (size_t i = 0; i < 3; i++) {
            struct mk_block *block = mk_pool_take(pool);
            block->len = i;
            mk_queue_put(&queue, block);
        }
        for (size_t i = 0; i < 3; i++) {
            struct mk_block *block = mk_queue_get(&queue);
            assert_int_equal(block->len, i);
            mk_block_unref(block);
        }
        assert_null(mk_queue_get(&queue));
    }
    mk_pool_free(pool);
}

static void the_limit_is_soft_but_told(void **state)
{
    (void)state;
    struct mk_pool *pool = mk_pool_new(8);
    struct mk_queue queue;
    mk_queue_init(&queue, 1);
    assert_true(mk_queue_has_room(&queue));
    mk_queue_put(&queue, mk_pool_take(pool));
    assert_false(mk_queue_has_room(&queue));
    mk_queue_put(&queue, mk_pool_take(pool));
    assert_int_equal(mk_pool_in_use(pool), 2);
    mk_queue_clear(&queue);
    assert_int_equal(mk_pool_in_use(pool), 0);
    mk_pool_free(pool);
}

static void all_of_a_queue_can_be_moved_into_an_empty_one(void **state)
{
    (void)state;
    struct mk_pool *pool = mk_pool_new(8);
    struct mk_queue from, to;
    mk_queue_init(&from, 3);
    mk_queue_init(&to, 1);
    for (size_t i = 0; i < 3; i++) {
        struct mk_block *block = mk_pool_take(pool);
        block->len = i;
        mk_queue_put(&from, block);
    }
    mk_block_unref(mk_queue_get(&from));
    mk_queue_move(&to, &from);
    assert_null(mk_queue_get(&from));
    assert_true(mk_queue_has_room(&from));
    for (size_t i = 1; i < 3; i++) {
        struct mk_block *block = mk_queue_get(&to);
        assert_int_equal(block->len, i);
        mk_block_unref(block);
    }
    assert_null(mk_queue_get(&to));
    mk_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_come_out_in_the_order_they_went_in),
        cmocka_unit_test(the_limit_is_soft_but_told),
        cmocka_unit_test(all_of_a_queue_can_be_moved_into_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
