#include "base/utf8.h"

#include "support.h"

static void clean(const char *text, size_t len, const char *expected)
{
    char out[256];
    size_t n = mk_utf8_clean(text, len, out);
    assert_true(n <= MK_UTF8_CLEAN_MAX(len));
    out[n] = '\0';
    assert_string_equal(out, expected);
}

#define FFFD "\xef\xbf\xbd"

static void well_formed_text_stays_as_it_is(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "plain",
                                        "caf\xc3\xa9",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x8c\x99",
                                        "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        clean(texts[i], strlen(texts[i]), texts[i]);
}

static void what_is_not_is_replaced_byte_by_byte(void **state)
{
    (void)state;
    clean("caf\xe9 x", 6, "caf" FFFD " x");            /* latin1 */
    clean("a\xe2\x82", 3, "a" FFFD FFFD);              /* cut */
    clean("\xc0\xaf", 2, FFFD FFFD);                   /* overlong */
    clean("\xed\xa0\x80", 3, FFFD FFFD FFFD);          /* a surrogate */
    clean("\xf5\x80\x80\x80", 4, FFFD FFFD FFFD FFFD); /* beyond U+10FFFF */
    clean("\xf0\x80\x80\x80"
          "b",
          5, FFFD FFFD FFFD FFFD "b"); /* overlong */
    clean("\x80"
          "a",
          2, FFFD "a");
}

static void whatever_the_bytes_the_result_is_well_formed(void **state)
{
    (void)state;
    uint8_t *data = make_data(DATA_RANDOM, 100000);
    char *once = malloc(300000), *twice = malloc(900000);
    size_t n = mk_utf8_clean((const char *)data, 100000, once);
    size_t m = mk_utf8_clean(once, n, twice);
    assert_int_equal(n, m);
    assert_memory_equal(once, twice, n);
    free(data);
    free(once);
    free(twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed_text_stays_as_it_is),
        cmocka_unit_test(what_is_not_is_replaced_byte_by_byte),
        cmocka_unit_test(whatever_the_bytes_the_result_is_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
