#include "codec/ed25519.h"

#include "codec/digest.h"
#include "support.h"

static void read_hex(const char *hex, uint8_t *out)
{
    for (; *hex; hex += 2, out++)
        sscanf(hex, "%2hhx", out);
}

/* RFC 8032, 7.1, TEST 2. */
static const char seed_hex[] = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
static const char key_hex[] = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
static const char signature_hex[] =
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

static void a_known_text_has_its_known_signature(void **state)
{
    (void)state;
    uint8_t seed[MK_ED25519_KEY], key[MK_ED25519_KEY], wanted[MK_ED25519_KEY];
    uint8_t signature[MK_ED25519_SIGNATURE], expected[MK_ED25519_SIGNATURE];
    read_hex(seed_hex, seed);
    read_hex(key_hex, wanted);
    read_hex(signature_hex, expected);
    assert_true(mk_ed25519_public(seed, key));
    assert_memory_equal(key, wanted, sizeof key);
    assert_true(mk_ed25519_sign(seed, "\x72", 1, signature));
    assert_memory_equal(signature, expected, sizeof signature);
    assert_true(mk_ed25519_verify(key, "\x72", 1, signature));
}

static void what_was_changed_is_not_what_was_signed(void **state)
{
    (void)state;
    uint8_t seed[MK_ED25519_KEY], key[MK_ED25519_KEY], signature[MK_ED25519_SIGNATURE];
    assert_true(mk_ed25519_generate(seed));
    assert_true(mk_ed25519_public(seed, key));
    assert_true(mk_ed25519_sign(seed, "text", 4, signature));
    assert_true(mk_ed25519_verify(key, "text", 4, signature));
    assert_false(mk_ed25519_verify(key, "test", 4, signature));
    assert_false(mk_ed25519_verify(key, "tex", 3, signature));
    for (size_t i = 0; i < sizeof signature; i++) {
        signature[i] ^= 1;
        assert_false(mk_ed25519_verify(key, "text", 4, signature));
        signature[i] ^= 1;
    }
    key[3] ^= 1;
    assert_false(mk_ed25519_verify(key, "text", 4, signature));
}

/* RFC 7693, appendix A. */
static void blake2b_of_abc_is_the_known_one(void **state)
{
    (void)state;
    uint8_t out[MK_BLAKE2B_BYTES], expected[4] = {0xba, 0x80, 0xa5, 0x3f};
    assert_true(mk_blake2b("abc", 3, out));
    assert_memory_equal(out, expected, sizeof expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_text_has_its_known_signature),
        cmocka_unit_test(what_was_changed_is_not_what_was_signed),
        cmocka_unit_test(blake2b_of_abc_is_the_known_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
