#include "codec/digest.h"

#include "base/mem.h"
#include "support.h"

/* FIPS 180-2's test vectors, and what xxh128sum prints. */
static void known_texts_have_their_known_digests(void **state)
{
    (void)state;
    static const struct {
        struct mk_digest *(*make)(struct mk_error *err);
        const char *text, *hex;
    } vectors[] = {
        {mk_sha256_new, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {mk_sha256_new, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {mk_xxh3_new, "", "99aa06d3014798d86001c324468d497f"},
        {mk_xxh3_new, "abc", "06b05ab6733a618578af5f94892f3950"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct mk_error err;
        struct mk_digest *digest = vectors[i].make(&err);
        for (const char *c = vectors[i].text; *c; c++)
            assert_ok(digest->type->update(digest, c, 1, &err), err);
        assert_string_equal(digest->type->finish(digest, &err), vectors[i].hex);
        mk_digest_free(digest);
    }
}

static int use_digest(struct mk_error *err)
{
    struct mk_digest *digest = mk_xxh3_new(err);
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
