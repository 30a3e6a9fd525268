#include "base/mem.h"

#include "support.h"

static void live_allocations_are_counted(void **state)
{
    (void)state;
    int64_t before = mk_mem_live();
    char *a = mk_alloc(10), *b = mk_strdup("text");
    assert_int_equal(mk_mem_live(), before + 2);
    a = mk_realloc(a, 1000);
    assert_int_equal(mk_mem_live(), before + 2);
    mk_free(a);
    mk_free(b);
    mk_free(NULL);
    assert_int_equal(mk_mem_live(), before);
}

static void exactly_the_nth_allocation_fails(void **state)
{
    (void)state;
    mk_mem_fail_at(3);
    void *a = mk_alloc(1), *b = mk_calloc(1), *c = mk_alloc(1), *d = mk_alloc(1);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(c);
    assert_non_null(d);
    mk_free(a);
    mk_free(b);
    mk_free(d);
}

static void a_failed_realloc_keeps_the_old_block(void **state)
{
    (void)state;
    char *a = mk_strdup("keep");
    mk_mem_fail_at(1);
    assert_null(mk_realloc(a, 1 << 20));
    assert_string_equal(a, "keep");
    mk_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_allocations_are_counted),
        cmocka_unit_test(exactly_the_nth_allocation_fails),
        cmocka_unit_test(a_failed_realloc_keeps_the_old_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
