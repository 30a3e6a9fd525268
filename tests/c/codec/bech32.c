#include "codec/bech32.h"

#include "support.h"

/* BIP 173's own example, and age's, whose bytes are those that age-keygen shows. */
static const char example[] = "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w";
static const uint8_t example_bytes[] = {0xc5, 0xf3, 0x8b, 0x70, 0x30, 0x5f, 0x51, 0x9b, 0xf6, 0x6d,
                                        0x85, 0xfb, 0x6c, 0xf0, 0x30, 0x58, 0xf3, 0xdd, 0xe4, 0x63,
                                        0xec, 0xd7, 0x91, 0x8f, 0x2d, 0xc7, 0x43, 0x91, 0x8f, 0x2d};

static void bytes_become_their_text_and_back(void **state)
{
    (void)state;
    char text[MK_BECH32_CHARS(5, sizeof example_bytes)];
    uint8_t bytes[sizeof example_bytes];
    mk_bech32_encode("split", example_bytes, sizeof example_bytes, text);
    assert_string_equal(text, example);
    assert_true(mk_bech32_decode(example, "split", bytes, sizeof bytes));
    assert_memory_equal(bytes, example_bytes, sizeof bytes);
    mk_bech32_encode("a", NULL, 0, text);
    assert_string_equal(text, "a12uel5l");
    assert_true(mk_bech32_decode("A12UEL5L", "a", bytes, 0));
}

static void any_length_comes_back(void **state)
{
    (void)state;
    uint8_t *data = make_data(DATA_RANDOM, 64);
    for (size_t len = 0; len <= 64; len++) {
        char text[MK_BECH32_CHARS(3, 64)];
        uint8_t back[64];
        mk_bech32_encode("age", data, len, text);
        assert_int_equal(strlen(text) + 1, MK_BECH32_CHARS(3, len));
        assert_true(mk_bech32_decode(text, "age", back, len));
        assert_memory_equal(back, data, len);
    }
    free(data);
}

static void a_text_with_any_character_changed_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < strlen(example); i++) {
        char text[sizeof example];
        uint8_t bytes[sizeof example_bytes];
        memcpy(text, example, sizeof text);
        for (int c = 1; c < 256; c++) {
            text[i] = (char)c;
            if (text[i] != example[i])
                assert_false(mk_bech32_decode(text, "split", bytes, sizeof bytes));
        }
    }
}

static void another_prefix_length_or_mixed_case_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[64];
    assert_false(mk_bech32_decode(example, "splat", bytes, sizeof example_bytes));
    assert_false(mk_bech32_decode(example, "split", bytes, sizeof example_bytes - 1));
    assert_false(mk_bech32_decode("", "split", bytes, sizeof example_bytes));
    assert_false(mk_bech32_decode("A12uel5l", "a", bytes, 0));
    assert_false(mk_bech32_decode("a12UEL5L", "a", bytes, 0));
    /* The bits that fill up the last character are not zero, with a checksum that is right. */
    assert_true(mk_bech32_decode("age1qqpexly5", "age", bytes, 1));
    assert_false(mk_bech32_decode("age1qpu0j2ex", "age", bytes, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_become_their_text_and_back),
        cmocka_unit_test(any_length_comes_back),
        cmocka_unit_test(a_text_with_any_character_changed_is_refused),
        cmocka_unit_test(another_prefix_length_or_mixed_case_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
