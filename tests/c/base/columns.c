#include "base/columns.h"

#include "support.h"

static void add(struct mk_columns *columns, const char *const *cells)
{
    for (; *cells; cells++)
        assert_true(mk_columns_add(columns, *cells, strlen(*cells)));
}

static void check(struct mk_columns *columns, const char *expected)
{
    struct mk_names text = {0};
    while (!mk_columns_at_end(columns))
        assert_true(mk_columns_show(columns, &text));
    assert_true(mk_names_add(&text, "", 0));
    assert_string_equal(text.bytes, expected);
    mk_names_fini(&text);
    mk_columns_fini(columns);
}

static void cells_stand_below_each_other(void **state)
{
    (void)state;
    struct mk_columns columns = {.n = 3, .right = {false, true, false}};
    add(&columns, (const char *const[]){"ID", "SIZE", "WHY", NULL});
    add(&columns, (const char *const[]){"a", "12.5 KiB", "long enough", NULL});
    add(&columns, (const char *const[]){"three", "1 B", "", NULL});
    check(&columns, "ID         SIZE  WHY\n"
                    "a      12.5 KiB  long enough\n"
                    "three       1 B\n");
}

static void characters_count_not_bytes_and_colours_have_no_width(void **state)
{
    (void)state;
    struct mk_columns columns = {.n = 2};
    add(&columns, (const char *const[]){"gr\xc3\xb6\xc3\x9f"
                                        "e",
                                        "x", NULL});
    add(&columns, (const char *const[]){"\033[32mKEEP\033[0m", "y", NULL});
    add(&columns, (const char *const[]){"\033[m", "z", NULL});
    add(&columns, (const char *const[]){"\033[3", "cut", NULL}); /* no colour: it has a width */
    check(&columns, "gr\xc3\xb6\xc3\x9f"
                    "e  x\n"
                    "\033[32mKEEP\033[0m   y\n"
                    "\033[m       z\n"
                    "\033[3    cut\n");
}

static void what_follows_a_nul_is_left_out(void **state)
{
    (void)state;
    struct mk_columns columns = {.n = 2};
    assert_true(mk_columns_add(&columns, "a\0bcdef", 7));
    assert_true(mk_columns_add(&columns, "x", 1));
    check(&columns, "a  x\n");
}

static void rows_are_sorted_by_two_columns_and_else_as_they_were_added(void **state)
{
    (void)state;
    struct mk_columns columns = {.n = 3};
    assert_true(mk_columns_sort(&columns, 0, 0, 1)); /* nothing */
    add(&columns, (const char *const[]){"WHEN", "WHO", "N", NULL});
    add(&columns, (const char *const[]){"3", "b", "1", NULL});
    add(&columns, (const char *const[]){"1", "b", "2", NULL});
    add(&columns, (const char *const[]){"3", "a", "3", NULL});
    add(&columns, (const char *const[]){"", "z", "4", NULL});
    add(&columns, (const char *const[]){"3", "a", "5", NULL});
    assert_true(mk_columns_sort(&columns, 6, 0, 1)); /* nothing is left */
    assert_true(mk_columns_sort(&columns, 1, 0, 1));
    check(&columns, "WHEN  WHO  N\n"
                    "      z    4\n"
                    "1     b    2\n"
                    "3     a    3\n"
                    "3     a    5\n"
                    "3     b    1\n");
}

static int show_some(struct mk_error *err)
{
    struct mk_columns columns = {.n = 2};
    struct mk_names text = {0};
    bool ok = true;
    for (int i = 0; ok && i < 500; i++)
        ok = mk_columns_add(&columns, "a cell", 6);
    ok = ok && mk_columns_sort(&columns, 0, 0, 1);
    while (ok && !mk_columns_at_end(&columns))
        ok = mk_columns_show(&columns, &text);
    mk_names_fini(&text);
    mk_columns_fini(&columns);
    return ok ? MK_OK : mk_error_nomem(err, "columns");
}

static void without_memory_nothing_leaks(void **state)
{
    (void)state;
    sweep_allocations("showing columns", show_some);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_stand_below_each_other),
        cmocka_unit_test(characters_count_not_bytes_and_colours_have_no_width),
        cmocka_unit_test(what_follows_a_nul_is_left_out),
        cmocka_unit_test(rows_are_sorted_by_two_columns_and_else_as_they_were_added),
        cmocka_unit_test(without_memory_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
