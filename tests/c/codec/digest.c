#include "codec/digest.h"

#include "base/mem.h"
#include "support.h"

/* FIPS 180-2's test vectors, and what xxh128sum prints. */
static void known_texts_have_their_known_digests(void **state)
{
    (void)state;
    static const struct {
        enum mk_digest_id id;
        const char *text, *hex;
    } vectors[] = {
        {MK_DIGEST_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {MK_DIGEST_SHA256, "abc",
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {MK_DIGEST_XXH3, "", "99aa06d3014798d86001c324468d497f"},
        {MK_DIGEST_XXH3, "abc", "06b05ab6733a618578af5f94892f3950"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct mk_error err;
        char hex[MK_DIGEST_HEX];
        struct mk_digest *digest = mk_digest_new(vectors[i].id, &err);
        for (const char *c = vectors[i].text; *c; c++)
            assert_ok(mk_digest_update(digest, c, 1, &err), err);
        assert_ok(mk_digest_hex(digest, hex, &err), err);
        assert_string_equal(hex, vectors[i].hex);
        mk_digest_free(digest);
    }
}

static int use_digest(struct mk_error *err)
{
    struct mk_digest *digest = mk_digest_new(MK_DIGEST_XXH3, err);
    mk_digest_free(digest);
    return digest ? MK_OK : err->status;
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    sweep_allocations("a digest", use_digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts_have_their_known_digests),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
