#include "codec/sha256.h"

#include "base/mem.h"
#include "support.h"

/* FIPS 180-2's test vectors. */
static void known_texts_have_their_known_digests(void **state)
{
    (void)state;
    static const struct {
        const char *text, *hex;
    } vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct mk_error err;
        char hex[MK_SHA256_HEX];
        struct mk_sha256 *sha = mk_sha256_new(&err);
        for (const char *c = vectors[i].text; *c; c++)
            assert_ok(mk_sha256_update(sha, c, 1, &err), err);
        assert_ok(mk_sha256_hex(sha, hex, &err), err);
        assert_string_equal(hex, vectors[i].hex);
        mk_sha256_free(sha);
    }
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    struct mk_error err;
    mk_mem_fail_at(1);
    assert_null(mk_sha256_new(&err));
    assert_int_equal(err.status, MK_ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts_have_their_known_digests),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
