#include "codec/content_hash.h"

#include <stdio.h>

#include "support.h"

static void the_order_of_rows_and_the_cut_into_parts_do_not_matter(void **state)
{
    (void)state;
    struct mk_content_hash forward = {0}, even = {0}, odd = {0};
    char row[32], a[MK_CONTENT_HASH_TEXT], b[MK_CONTENT_HASH_TEXT];
    for (int i = 0; i < 1000; i++) {
        int len = snprintf(row, sizeof row, "%d\trow\n", i);
        mk_content_hash_row(&forward, row, (size_t)len);
    }
    for (int i = 999; i >= 0; i--) {
        int len = snprintf(row, sizeof row, "%d\trow\n", i);
        mk_content_hash_row(i % 2 ? &odd : &even, row, (size_t)len);
    }
    mk_content_hash_add(&odd, &even);
    mk_content_hash_text(&forward, a);
    mk_content_hash_text(&odd, b);
    assert_string_equal(a, b);
    assert_int_equal(forward.rows, 1000);
}

static void one_changed_missing_or_doubled_row_changes_it(void **state)
{
    (void)state;
    struct mk_content_hash all = {0}, changed = {0}, missing = {0}, doubled = {0};
    static const char *const rows[] = {"1\ta\n", "2\tb\n", "3\tc\n"};
    for (int i = 0; i < 3; i++) {
        mk_content_hash_row(&all, rows[i], 4);
        mk_content_hash_row(&changed, i == 1 ? "2\tB\n" : rows[i], 4);
        mk_content_hash_row(&doubled, i == 1 ? rows[0] : rows[i], 4);
        if (i != 1)
            mk_content_hash_row(&missing, rows[i], 4);
    }
    assert_true(all.low != changed.low && all.high != changed.high);
    assert_true(all.low != doubled.low && all.high != doubled.high);
    assert_int_equal(missing.rows, 2);
}

static void the_text_has_the_widest_values_whole(void **state)
{
    (void)state;
    struct mk_content_hash hash = {UINT64_MAX, UINT64_MAX, 1};
    char text[MK_CONTENT_HASH_TEXT];
    mk_content_hash_text(&hash, text);
    assert_string_equal(text, "18446744073709551615:0000000000000001ffffffffffffffff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_rows_and_the_cut_into_parts_do_not_matter),
        cmocka_unit_test(one_changed_missing_or_doubled_row_changes_it),
        cmocka_unit_test(the_text_has_the_widest_values_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
