#include "codec/table_rows.h"

#include <string.h>

#include "archive.h"

#define END "\\.\n\n\n"

/* In pieces of so many bytes, with so much room for output at a time. */
static int run(const struct mk_table_rows_spec *spec, const struct bytes *in, size_t piece,
               size_t room, struct bytes *out)
{
    struct mk_error err;
    return run_stream(mk_table_rows_new(spec, &err), in, piece, room, out);
}

static void check(const struct mk_table_rows_spec *spec, const struct bytes *in,
                  const char *expected)
{
    static struct bytes out;
    const size_t sizes[] = {1, 2, 7, 600, sizeof out.data / 2};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++) {
            assert_int_equal(MK_OK, run(spec, in, sizes[i], sizes[j], &out));
            assert_int_equal(strlen(expected), out.len);
            assert_memory_equal(expected, out.data, out.len);
        }
    }
}

static void check_text(const struct mk_table_rows_spec *spec, const char *text,
                       const char *expected)
{
    static struct bytes in;
    in.len = 0;
    put(&in, text, strlen(text));
    check(spec, &in, expected);
}

static void rows_come_as_they_are_but_for_the_mark_of_their_end(void **state)
{
    (void)state;
    struct mk_table_rows_spec spec = {0};
    check_text(&spec, "1\ta\n\\N\t\\\\.\n" END, "1\ta\n\\N\t\\\\.\n");
    check_text(&spec, "\n\n" END, "\n\n");
    check_text(&spec, END, "");
}

static void rows_become_csv_as_copy_writes_it(void **state)
{
    (void)state;
    struct mk_table_rows_spec spec = {.csv = true};
    check_text(&spec, "1\ta b\t\\N\n" END, "1,a b,\n");
    check_text(&spec, "\t\\N\t\n" END, "\"\",,\"\"\n");
    check_text(&spec, "a,b\tsay \"x\"\tone\\ntwo\tr\\rr\n" END,
               "\"a,b\",\"say \"\"x\"\"\",\"one\ntwo\",\"r\rr\"\n");
    check_text(&spec, "a\\tb\\\\c\\bd\n" END, "a\tb\\c\bd\n");
    check_text(&spec, "\\\\N\t\\\\.\n" END, "\\N,\\.\n");
    check_text(&spec, "\\\\.\n" END, "\"\\.\"\n");
    check_text(&spec, "\\f\\v\n" END, "\f\v\n");
    check_text(&spec, "C:\\\\new\\\\rare\n" END, "C:\\new\\rare\n");
}

static void only_rows_that_fit_every_condition_come(void **state)
{
    (void)state;
    const char *text = "1\ta\n2\tb\n22\tb\n2\ta\n\\N\tb\n" END;
    const struct mk_row_condition both[] = {{0, "2", 1}, {1, "a", 1}};
    struct mk_table_rows_spec spec = {.conditions = both, .n_conditions = 1};
    check_text(&spec, text, "2\tb\n2\ta\n");
    spec.n_conditions = 2;
    check_text(&spec, text, "2\ta\n");
    const struct mk_row_condition empty[] = {{1, "", 0}};
    spec = (struct mk_table_rows_spec){.conditions = empty, .n_conditions = 1, .csv = true};
    check_text(&spec, "1\t\n2\tb\n" END, "1,\"\"\n");
    const struct mk_row_condition beyond[] = {{7, "a", 1}};
    spec = (struct mk_table_rows_spec){.conditions = beyond, .n_conditions = 1};
    check_text(&spec, text, "");
}

static void only_the_member_of_an_archive_comes(void **state)
{
    (void)state;
    static struct bytes archive;
    archive.len = 0;
    put_file(&archive, "1.dat", "one\n" END);
    put_file(&archive, "2.dat", "two\nzwei\n" END);
    put_file(&archive, "3.dat", END);
    put_end(&archive);
    struct mk_table_rows_spec spec = {.member = "2.dat"};
    check(&spec, &archive, "two\nzwei\n");
    spec.member = "3.dat";
    check(&spec, &archive, "");
}

static int run_text(const char *text)
{
    static struct bytes in, out;
    struct mk_table_rows_spec spec = {0};
    in.len = 0;
    put(&in, text, strlen(text));
    return run(&spec, &in, 3, 64, &out);
}

static void what_is_no_data_file_is_refused(void **state)
{
    (void)state;
    assert_int_equal(MK_ECORRUPT, run_text(""));
    assert_int_equal(MK_ECORRUPT, run_text("1\n2\n"));
    assert_int_equal(MK_ECORRUPT, run_text("1\n\\."));
    assert_int_equal(MK_ECORRUPT, run_text("1\n" END "2\n"));
    static struct bytes archive, out;
    archive.len = 0;
    put_file(&archive, "1.dat", "one\n" END);
    put_file(&archive, "1.dat", "one\n" END);
    put_end(&archive);
    struct mk_table_rows_spec spec = {.member = "1.dat"};
    assert_int_equal(MK_ECORRUPT, run(&spec, &archive, 100, 100, &out));
    spec.member = "2.dat";
    assert_int_equal(MK_ECORRUPT, run(&spec, &archive, 100, 100, &out));
    archive.len = 0;
    put_file(&archive, "1.dat", "one\n");
    put_end(&archive);
    spec.member = "1.dat";
    assert_int_equal(MK_ECORRUPT, run(&spec, &archive, 100, 100, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_as_they_are_but_for_the_mark_of_their_end),
        cmocka_unit_test(rows_become_csv_as_copy_writes_it),
        cmocka_unit_test(only_rows_that_fit_every_condition_come),
        cmocka_unit_test(only_the_member_of_an_archive_comes),
        cmocka_unit_test(what_is_no_data_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
