#include "codec/codec.h"

#include "support.h"

static void good_names_and_levels_are_understood(void **state)
{
    (void)state;
    struct mk_codec codec;
    struct mk_error err;
    assert_ok(mk_codec_parse("none", &codec, &err), err);
    assert_int_equal(codec.id, MK_CODEC_NONE);
    assert_ok(mk_codec_parse("gzip:9", &codec, &err), err);
    assert_int_equal(codec.level, 9);
    assert_ok(mk_codec_parse("gzip", &codec, &err), err);
    assert_int_equal(codec.level, 6);
    assert_ok(mk_codec_parse("zstd", &codec, &err), err);
    assert_int_equal(codec.level, 1);
    assert_ok(mk_codec_parse("zstd:19", &codec, &err), err);
    assert_int_equal(codec.level, 19);
    assert_string_equal(mk_codec_suffix(codec.id), ".zst");
    assert_ok(mk_codec_parse("lz4", &codec, &err), err);
    assert_int_equal(codec.level, 1);
    assert_ok(mk_codec_parse("lz4:12", &codec, &err), err);
    assert_string_equal(mk_codec_suffix(codec.id), ".lz4");
}

static void anything_else_is_refused_with_the_list_of_valid_ones(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "gzp",    "gzip:",    "gzip:0",  "gzip:10",
                                      "lz4:13",  "zstd:x", "zstd:-1",  "zstd:20", "none:1",
                                      "zstd:3 ", "ZSTD",   "gzip:1:2", "zstd: 3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mk_codec codec;
        struct mk_error err;
        if (mk_codec_parse(bad[i], &codec, &err) != MK_EINVAL)
            fail_msg("\"%s\" was taken for a codec", bad[i]);
        assert_non_null(strstr(err.hint, "\"gzip:1\" to \"gzip:9\""));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_names_and_levels_are_understood),
        cmocka_unit_test(anything_else_is_refused_with_the_list_of_valid_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
