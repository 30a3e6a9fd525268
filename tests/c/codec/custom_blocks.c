#include "codec/custom_blocks.h"

#include <string.h>

#include "archive.h"

static void put_int(struct bytes *bytes, uint32_t value)
{
    const uint8_t number[] = {0, (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                              (uint8_t)(value >> 24)};
    put(bytes, number, sizeof number);
}

static void put_block(struct bytes *bytes, uint8_t kind, uint32_t id)
{
    put(bytes, &kind, 1);
    put_int(bytes, id);
}

static void put_piece(struct bytes *bytes, const char *text)
{
    put_int(bytes, (uint32_t)strlen(text));
    put(bytes, text, strlen(text));
}

/* With so much room for output at a time. */
static int run(const struct mk_custom_spec *spec, const struct bytes *in, size_t room,
               struct bytes *out)
{
    struct mk_error err;
    return run_stream(mk_custom_blocks_new(spec, &err), in, in->len, room, out);
}

static void check(const struct mk_custom_spec *spec, const struct bytes *in,
                  const struct bytes *expected)
{
    static const size_t rooms[] = {65536, 7, 1};
    static struct bytes out;
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        assert_int_equal(run(spec, in, i == 0 ? 32768 : rooms[i], &out), MK_OK);
        assert_int_equal(out.len, expected->len);
        assert_memory_equal(out.data, expected->data, expected->len);
    }
}

static void a_file_of_rows_becomes_a_block(void **state)
{
    (void)state;
    static struct bytes in, expected;
    put(&in, "1\ta\n\\.\n\n\n", 9);
    put_block(&expected, 1, 4711);
    put_piece(&expected, "1\ta\n\\.\n\n\n"); /* its end is written by whoever has compared it */
    check(&(struct mk_custom_spec){.id = 4711}, &in, &expected);
}

static void files_of_an_archive_become_blocks_and_others_are_passed_over(void **state)
{
    (void)state;
    static struct bytes in, expected;
    put_file(&in, "1.dat", "one");
    put_file(&in, "2.dat", "not asked for");
    put_file(&in, "3.dat", "");
    put_end(&in);
    put_block(&expected, 1, 70000);
    put_piece(&expected, "one");
    put_int(&expected, 0);
    put_block(&expected, 1, 8);
    const struct mk_custom_member members[] = {{"1.dat", 70000}, {"3.dat", 8}};
    check(&(struct mk_custom_spec){.packed = true, .members = members, .n_members = 2}, &in,
          &expected);
}

static void large_objects_of_several_files_are_one_block(void **state)
{
    (void)state;
    static struct bytes archive, single, expected;
    put_file(&archive, "blob_16400.dat", "small");
    put_file(&archive, "blob_4000000000.dat", "");
    put_end(&archive);
    put(&single, "large", 5);
    put_block(&expected, 3, 12);
    put_int(&expected, 16400);
    put_piece(&expected, "small");
    put_int(&expected, 0);
    put_int(&expected, 4000000000u);
    check(&(struct mk_custom_spec){.packed = true, .large_objects = true, .id = 12, .first = true},
          &archive, &expected);
    expected.len = 0;
    put_int(&expected, 77);
    put_piece(&expected, "large");
    check(&(struct mk_custom_spec){.large_objects = true, .oid = 77}, &single, &expected);
}

static void an_archive_without_a_member_or_its_end_or_with_one_twice_is_damaged(void **state)
{
    (void)state;
    static struct bytes in, out;
    const struct mk_custom_member members[] = {{"1.dat", 1}, {"2.dat", 2}};
    const struct mk_custom_spec spec = {.packed = true, .members = members, .n_members = 2};
    put_file(&in, "1.dat", "one");
    size_t before = in.len;
    put_end(&in);
    assert_int_equal(run(&spec, &in, 32768, &out), MK_ECORRUPT);
    in.len = before;
    put_file(&in, "2.dat", "two");
    assert_int_equal(run(&spec, &in, 32768, &out), MK_ECORRUPT);
    before = in.len;
    put_end(&in);
    assert_int_equal(run(&spec, &in, 32768, &out), MK_OK);
    in.len = before;
    put_file(&in, "2.dat", "again");
    put_end(&in);
    assert_int_equal(run(&spec, &in, 32768, &out), MK_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_rows_becomes_a_block),
        cmocka_unit_test(files_of_an_archive_become_blocks_and_others_are_passed_over),
        cmocka_unit_test(large_objects_of_several_files_are_one_block),
        cmocka_unit_test(an_archive_without_a_member_or_its_end_or_with_one_twice_is_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
