/* age's headers and chunks. (Round trips with the stock command: lua/age_spec.lua.) */
#include "codec/age.h"

#include "support.h"

struct header {
    uint8_t bytes[MK_AGE_MAX_HEADER];
    size_t len;
    uint8_t key[MK_AGE_KEY_BYTES];
};

static struct mk_age_keys *keys_of(const uint8_t key[MK_AGE_KEY_BYTES])
{
    struct mk_error err;
    struct mk_age_keys *keys = mk_age_keys_new(&err);
    if (key)
        memcpy(keys->keys[keys->n++], key, MK_AGE_KEY_BYTES);
    return keys;
}

/* An identity, and a header for it. */
static void make_header(struct header *header, uint8_t identity[MK_AGE_KEY_BYTES])
{
    struct mk_error err;
    uint8_t recipient[MK_AGE_KEY_BYTES];
    assert_ok(mk_age_generate(identity, &err), err);
    assert_ok(mk_age_recipient_of(identity, recipient, &err), err);
    struct mk_age_keys *keys = keys_of(recipient);
    assert_ok(mk_age_header_make(keys, header->bytes, &header->len, header->key, &err), err);
    mk_age_keys_free(keys);
}

/* What opening these bytes ends with, by their own length. */
static int open_header(const uint8_t *bytes, size_t len, const uint8_t identity[MK_AGE_KEY_BYTES],
                       uint8_t key[MK_AGE_KEY_BYTES], struct mk_error *err)
{
    size_t length = 0;
    int status = mk_age_header_length(bytes, len, &length, err);
    if (status != MK_OK)
        return status;
    if (length == 0)
        return mk_error_set(err, MK_ECORRUPT, "test", "it has no end");
    struct mk_age_keys *keys = keys_of(identity);
    status = mk_age_header_open(keys, bytes, length, key, err);
    mk_age_keys_free(keys);
    return status;
}

static void keys_have_texts_that_can_be_read_again(void **state)
{
    (void)state;
    struct mk_error err;
    uint8_t identity[MK_AGE_KEY_BYTES], recipient[MK_AGE_KEY_BYTES], back[MK_AGE_KEY_BYTES];
    char text[MK_AGE_TEXT];
    assert_ok(mk_age_generate(identity, &err), err);
    assert_ok(mk_age_recipient_of(identity, recipient, &err), err);
    mk_age_show_identity(identity, text);
    assert_int_equal(strncmp(text, "AGE-SECRET-KEY-1", 16), 0);
    assert_true(mk_age_parse_identity(text, back));
    assert_memory_equal(back, identity, sizeof back);
    assert_false(mk_age_parse_recipient(text, back));
    mk_age_show_recipient(recipient, text);
    assert_true(mk_age_parse_recipient(text, back));
    assert_memory_equal(back, recipient, sizeof back);
    assert_false(mk_age_parse_identity(text, back));
    text[10] = text[10] == 'q' ? 'p' : 'q';
    assert_false(mk_age_parse_recipient(text, back));
}

static void a_header_opens_for_its_recipient_only(void **state)
{
    (void)state;
    struct mk_error err;
    struct header header;
    uint8_t identity[MK_AGE_KEY_BYTES], other[MK_AGE_KEY_BYTES], key[MK_AGE_KEY_BYTES];
    make_header(&header, identity);
    assert_ok(open_header(header.bytes, header.len, identity, key, &err), err);
    assert_memory_equal(key, header.key, sizeof key);
    assert_ok(mk_age_generate(other, &err), err);
    assert_int_equal(open_header(header.bytes, header.len, other, key, &err), MK_EKEY);
    assert_int_equal(open_header(header.bytes, header.len, NULL, key, &err), MK_EKEY);
}

static void a_header_for_many_opens_for_each_of_them(void **state)
{
    (void)state;
    struct mk_error err;
    struct header header;
    static uint8_t identities[MK_AGE_MAX_KEYS][MK_AGE_KEY_BYTES];
    struct mk_age_keys *keys = keys_of(NULL);
    for (keys->n = 0; keys->n < MK_AGE_MAX_KEYS; keys->n++) {
        assert_ok(mk_age_generate(identities[keys->n], &err), err);
        assert_ok(mk_age_recipient_of(identities[keys->n], keys->keys[keys->n], &err), err);
    }
    assert_ok(mk_age_header_make(keys, header.bytes, &header.len, header.key, &err), err);
    mk_age_keys_free(keys);
    for (int i = 0; i < MK_AGE_MAX_KEYS; i += 9) {
        uint8_t key[MK_AGE_KEY_BYTES];
        assert_ok(open_header(header.bytes, header.len, identities[i], key, &err), err);
        assert_memory_equal(key, header.key, sizeof key);
    }
}

static void a_header_with_any_bit_changed_is_refused(void **state)
{
    (void)state;
    struct mk_error err;
    struct header header;
    uint8_t identity[MK_AGE_KEY_BYTES], key[MK_AGE_KEY_BYTES];
    make_header(&header, identity);
    int n = 0;
    for (size_t i = 0; i < header.len - MK_AGE_NONCE; i++) {
        for (int bit = 0; bit < 8; bit++, n++) {
            header.bytes[i] ^= (uint8_t)(1 << bit);
            int status = open_header(header.bytes, header.len, identity, key, &err);
            if (status != MK_ECORRUPT && status != MK_EKEY)
                fail_msg("byte %zu, bit %d: %d", i, bit, status);
            header.bytes[i] ^= (uint8_t)(1 << bit);
        }
    }
    /* The nonce is not the header's: another one only makes another key. */
    header.bytes[header.len - 1] ^= 1;
    assert_ok(open_header(header.bytes, header.len, identity, key, &err), err);
    assert_memory_not_equal(key, header.key, sizeof key);
    printf("rounds: bits of a header: all %d\n", n);
}

static void a_header_that_is_cut_needs_more(void **state)
{
    (void)state;
    struct mk_error err;
    struct header header;
    uint8_t identity[MK_AGE_KEY_BYTES];
    make_header(&header, identity);
    for (size_t len = 0; len < header.len; len++) {
        size_t length = 1;
        assert_ok(mk_age_header_length(header.bytes, len, &length, &err), err);
        assert_int_equal(length, 0);
    }
    memset(header.bytes + 40, 'x', sizeof header.bytes - 40);
    size_t length;
    assert_int_equal(mk_age_header_length(header.bytes, sizeof header.bytes, &length, &err),
                     MK_ECORRUPT);
}

#define BEGIN "age-encryption.org/v1\n"
#define MAC   "--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
#define BODY  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
#define SHARE "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk"
#define NONCE "0123456789abcdef"

/* Each is spelled as a header must not be; the last one is, but is for somebody else. */
static void a_header_has_one_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"age-encryption.org/v2\n-> X25519 " SHARE "\n" BODY MAC NONCE, MK_ECORRUPT},
        {"-----BEGIN AGE ENCRYPTED FILE-----\n", MK_ECORRUPT},
        {BEGIN MAC NONCE, MK_ECORRUPT},                               /* for nobody */
        {BEGIN "-> X25519 " SHARE "=\n" BODY MAC NONCE, MK_ECORRUPT}, /* padding */
        {BEGIN "-> X25519 CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQl\n" BODY MAC NONCE,
         MK_ECORRUPT},                                                    /* stray bits */
        {BEGIN "-> X25519 " SHARE " more\n" BODY MAC NONCE, MK_ECORRUPT}, /* a field more */
        {BEGIN "-> X25519\n" BODY MAC NONCE, MK_ECORRUPT},                /* one less */
        {BEGIN "-> X25519  " SHARE "\n" BODY MAC NONCE, MK_ECORRUPT},     /* two spaces */
        {BEGIN "-> X25519 " SHARE " \n" BODY MAC NONCE, MK_ECORRUPT},
        {BEGIN "->X25519 " SHARE "\n" BODY MAC NONCE, MK_ECORRUPT},
        {BEGIN "-> X25519 " SHARE "\r\n" BODY MAC NONCE, MK_ECORRUPT},
        {BEGIN "-> X25519 " SHARE "\n\n" MAC NONCE, MK_ECORRUPT},     /* no body */
        {BEGIN "-> X25519 " SHARE "\nAAAA\n" MAC NONCE, MK_ECORRUPT}, /* a short one */
        {BEGIN "-> X25519 " SHARE "\n" BODY BODY MAC NONCE, MK_ECORRUPT},
        {BEGIN "-> X25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n" BODY MAC NONCE,
         MK_ECORRUPT}, /* low order */
        {BEGIN "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 18\n" BODY "-> X25519 " SHARE "\n" BODY MAC NONCE,
         MK_ECORRUPT},
        {BEGIN "-> X25519 " SHARE "\n" BODY "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 18\n" BODY MAC NONCE,
         MK_ECORRUPT},
        {BEGIN "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 018\n" BODY MAC NONCE, MK_ECORRUPT},
        {BEGIN "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 1f\n" BODY MAC NONCE, MK_ECORRUPT},
        {BEGIN "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 21\n" BODY MAC NONCE, MK_ECORRUPT},
        {BEGIN "-> scrypt AAAAAAAAAAAAAAAAAAAAAA\n" BODY MAC NONCE, MK_ECORRUPT},
        {BEGIN "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 18\n" BODY MAC NONCE, MK_EKEY},
        {BEGIN "-> ssh-ed25519 abcd efgh\n"
               "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\n" MAC NONCE,
         MK_EKEY},
        {BEGIN "-> X25519 " SHARE "\n" BODY MAC NONCE, MK_EKEY},
    };
    struct mk_error err;
    uint8_t identity[MK_AGE_KEY_BYTES], key[MK_AGE_KEY_BYTES];
    assert_ok(mk_age_generate(identity, &err), err);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = cases[i].text;
        int status = open_header((const uint8_t *)text, strlen(text), identity, key, &err);
        if (status != cases[i].status)
            fail_msg("case %zu: %d, not %d: %s", i, status, cases[i].status, err.message);
    }
}

static int run_chunk(bool seal, const uint8_t key[MK_AGE_KEY_BYTES], uint64_t number, bool last,
                     const uint8_t *in, size_t len, size_t first, uint8_t *out)
{
    struct mk_error err;
    struct mk_age_cipher *cipher = mk_age_cipher_new(seal, &err);
    assert_ok(mk_age_cipher_set_key(cipher, key, &err), err);
    struct mk_age_chunk chunk = {.number = number,
                                 .last = last,
                                 .parts = {in, in + first},
                                 .part_len = {first, len - first},
                                 .out = out};
    int status = mk_age_chunk_run(cipher, &chunk, &err);
    mk_age_cipher_free(cipher);
    return status;
}

static void a_chunk_opens_in_its_place_only_however_it_lies(void **state)
{
    (void)state;
    enum { LEN = 1000 };
    uint8_t key[MK_AGE_KEY_BYTES] = {7}, sealed[LEN + MK_AGE_TAG], back[LEN + MK_AGE_TAG];
    uint8_t *data = make_data(DATA_TEXT, LEN);
    assert_int_equal(run_chunk(true, key, 5, false, data, LEN, 333, sealed), MK_OK);
    for (size_t first = 0; first <= sizeof sealed; first += first < LEN - 20 ? 83 : 1) {
        assert_int_equal(run_chunk(false, key, 5, false, sealed, sizeof sealed, first, back),
                         MK_OK);
        assert_memory_equal(back, data, LEN);
    }
    assert_int_equal(run_chunk(false, key, 6, false, sealed, sizeof sealed, 0, back), MK_ECORRUPT);
    assert_int_equal(run_chunk(false, key, 5, true, sealed, sizeof sealed, 0, back), MK_ECORRUPT);
    assert_int_equal(run_chunk(false, key, 5, false, sealed, sizeof sealed - 1, 0, back),
                     MK_ECORRUPT);
    assert_int_equal(run_chunk(false, key, 5, false, sealed, 5, 2, back), MK_ECORRUPT);
    key[0]++;
    assert_int_equal(run_chunk(false, key, 5, false, sealed, sizeof sealed, 0, back), MK_ECORRUPT);
    free(data);
}

static int make_and_open(struct mk_error *err)
{
    static struct header header;
    uint8_t identity[MK_AGE_KEY_BYTES] = {1, 2, 3}, key[MK_AGE_KEY_BYTES];
    struct mk_age_keys *keys = mk_age_keys_new(err);
    if (!keys)
        return MK_ENOMEM;
    keys->n = 1;
    int status = mk_age_recipient_of(identity, keys->keys[0], err);
    if (status == MK_OK)
        status = mk_age_header_make(keys, header.bytes, &header.len, header.key, err);
    memcpy(keys->keys[0], identity, sizeof identity);
    if (status == MK_OK)
        status = mk_age_header_open(keys, header.bytes, header.len, key, err);
    mk_age_keys_free(keys);
    return status;
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    sweep_allocations("a header of age", make_and_open);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_have_texts_that_can_be_read_again),
        cmocka_unit_test(a_header_opens_for_its_recipient_only),
        cmocka_unit_test(a_header_for_many_opens_for_each_of_them),
        cmocka_unit_test(a_header_with_any_bit_changed_is_refused),
        cmocka_unit_test(a_header_that_is_cut_needs_more),
        cmocka_unit_test(a_header_has_one_spelling),
        cmocka_unit_test(a_chunk_opens_in_its_place_only_however_it_lies),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
