/*
 * age's header: see age.h. Lines of text: the version, a stanza for each recipient, which holds the
 * file key sealed to that one, and a MAC over all before it, whose key is the file key's. There is
 * one spelling of each header; any other is refused (base64 with padding or stray bits, a body line
 * that is too long, a stanza with more than its fields), so that nobody can change a file and leave
 * it valid.
 *
 * Stanzas of other kinds (of SSH keys, of plugins) are passed over when a header is read.
 */
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "codec/age_impl.h"

#define VERSION      "age-encryption.org/v1\n"
#define BASE64_32    43 /* characters of 32 bytes */
#define BASE64_16    22
#define LINE_CHARS   64
#define SCRYPT_LOG_N 17 /* of what we make */
#define SCRYPT_MOST  20 /* of what we read: 1 GiB of memory; stock age makes 18 */

static int broken(struct mk_error *err, const char *what)
{
    return mk_error_set(err, MK_ECORRUPT, "age", "the header of the age file is damaged: %s", what);
}

/* ---- base64 without padding ---------------------------------------------------------------- */

static size_t put_base64(uint8_t *out, const uint8_t *bytes, size_t len)
{
    char text[LINE_CHARS + 1];
    mk_base64(bytes, len, text);
    size_t n = strcspn(text, "=");
    memcpy(out, text, n);
    return n;
}

/* At most a line. How many bytes; -1: it is not spelled as it should be. */
static int get_base64(const uint8_t *text, size_t len, uint8_t *out)
{
    char padded[LINE_CHARS + 4] = "";
    uint8_t again[LINE_CHARS + 4], bytes[LINE_CHARS];
    if (len > LINE_CHARS || len % 4 == 1)
        return -1;
    memcpy(padded, text, len);
    memcpy(padded + len, "==", -len % 4);
    int n = mk_unbase64(padded, len + -len % 4, bytes);
    if (n < 0 || put_base64(again, bytes, (size_t)n) != len || memcmp(again, text, len) != 0)
        return -1;
    memcpy(out, bytes, (size_t)n);
    return n;
}

/* ---- stanzas ------------------------------------------------------------------------------- */

#define MAX_ARGS 4 /* that are kept */

struct stanza {
    const uint8_t *args[MAX_ARGS];
    size_t arg_len[MAX_ARGS], n_args; /* n_args may be more */
    uint8_t body[LINE_CHARS];         /* its beginning */
    size_t body_len;                  /* of all */
};

struct reader {
    const uint8_t *at, *end;
};

/* The next line, without its end. False: there is none. */
static bool next_line(struct reader *reader, const uint8_t **line, size_t *len)
{
    const uint8_t *end = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
    if (!end)
        return false;
    *line = reader->at;
    *len = (size_t)(end - reader->at);
    reader->at = end + 1;
    return true;
}

/* Words of visible characters between single spaces. */
static bool split_args(const uint8_t *line, size_t len, struct stanza *stanza)
{
    for (size_t at = 0; at <= len;) {
        size_t n = 0;
        while (at + n < len && line[at + n] > ' ' && line[at + n] < 127)
            n++;
        if (n == 0 || (at + n < len && line[at + n] != ' '))
            return false;
        if (stanza->n_args < MAX_ARGS) {
            stanza->args[stanza->n_args] = line + at;
            stanza->arg_len[stanza->n_args] = n;
        }
        stanza->n_args++;
        at += n + 1;
    }
    return stanza->n_args > 0;
}

/* 1: a stanza has been read. 0: the last line begins here. */
static int next_stanza(struct reader *reader, struct stanza *stanza, struct mk_error *err)
{
    const uint8_t *line;
    size_t len;
    memset(stanza, 0, sizeof *stanza);
    if (reader->end - reader->at >= 4 && memcmp(reader->at, "--- ", 4) == 0)
        return 0;
    if (!next_line(reader, &line, &len) || len < 4 || memcmp(line, "-> ", 3) != 0 ||
        !split_args(line + 3, len - 3, stanza))
        return broken(err, "a line is neither a stanza nor the last one");
    do { /* the last line of a body is a short one */
        uint8_t bytes[LINE_CHARS];
        int n = next_line(reader, &line, &len) ? get_base64(line, len, bytes) : -1;
        if (n < 0)
            return broken(err, "a stanza is not spelled as it should be");
        if (stanza->body_len == 0)
            memcpy(stanza->body, bytes, (size_t)n);
        stanza->body_len += (size_t)n;
    } while (len == LINE_CHARS);
    return 1;
}

static bool is_arg(const struct stanza *stanza, size_t i, const char *text)
{
    return i < stanza->n_args && stanza->arg_len[i] == strlen(text) &&
           memcmp(stanza->args[i], text, stanza->arg_len[i]) == 0;
}

/* ---- opening ------------------------------------------------------------------------------- */

/* What became of a stanza. */
enum { NOT_OURS = 0, OPENED = 1 };

/* Also an error's status. */
static int unwrap(const uint8_t key[MK_AGE_KEY_BYTES], const struct stanza *stanza,
                  uint8_t file_key[MK__AGE_FILE_KEY], struct mk_error *err)
{
    int status = mk__age_wrap(false, key, stanza->body, file_key, err);
    if (status == MK_OK)
        return OPENED;
    return status == MK_ECORRUPT ? NOT_OURS : status;
}

static int open_x25519(const struct mk_age_keys *keys, const struct stanza *stanza,
                       uint8_t file_key[MK__AGE_FILE_KEY], struct mk_error *err)
{
    uint8_t share[LINE_CHARS], secret[MK_AGE_KEY_BYTES], recipient[MK_AGE_KEY_BYTES];
    uint8_t key[MK_AGE_KEY_BYTES];
    if (stanza->n_args != 2 || stanza->arg_len[1] != BASE64_32 ||
        get_base64(stanza->args[1], BASE64_32, share) != MK_AGE_KEY_BYTES ||
        stanza->body_len != MK__AGE_BODY)
        return broken(err, "an X25519 stanza has another shape");
    int status = NOT_OURS;
    for (size_t i = 0; i < keys->n && status == NOT_OURS; i++) {
        bool weak;
        if (!mk__age_shared_secret(keys->keys[i], share, secret, &weak))
            status =
                weak ? broken(err, "an X25519 stanza is of low order") : mk_error_nomem(err, "age");
        else if (mk_age_recipient_of(keys->keys[i], recipient, err) != MK_OK ||
                 !mk__age_wrap_key(secret, share, recipient, key))
            status = mk_error_nomem(err, "age");
        else
            status = unwrap(key, stanza, file_key, err);
    }
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(key, sizeof key);
    return status;
}

/* A number in decimal without a leading zero; 0: it is none. */
static unsigned small_number(const uint8_t *text, size_t len)
{
    unsigned n = 0;
    if (len == 0 || len > 2 || text[0] == '0')
        return 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        n = n * 10 + (text[i] - '0');
    }
    return n;
}

static int open_scrypt(const struct mk_age_keys *keys, const struct stanza *stanza,
                       uint8_t file_key[MK__AGE_FILE_KEY], struct mk_error *err)
{
    uint8_t salt[LINE_CHARS], key[MK_AGE_KEY_BYTES];
    unsigned log_n = stanza->n_args == 3 ? small_number(stanza->args[2], stanza->arg_len[2]) : 0;
    if (log_n == 0 || stanza->arg_len[1] != BASE64_16 ||
        get_base64(stanza->args[1], BASE64_16, salt) != MK__AGE_SALT ||
        stanza->body_len != MK__AGE_BODY)
        return broken(err, "a scrypt stanza has another shape");
    if (log_n > SCRYPT_MOST)
        return broken(err, "its passphrase would take more than 1 GiB to try");
    if (!keys->passphrase)
        return NOT_OURS;
    if (!mk__age_scrypt(keys->passphrase, salt, log_n, key))
        return mk_error_nomem(err, "age");
    int status = unwrap(key, stanza, file_key, err);
    OPENSSL_cleanse(key, sizeof key);
    return status;
}

static int none_opens(const struct mk_age_keys *keys, bool by_passphrase, struct mk_error *err)
{
    const char *what = "it is sealed to other keys";
    if (by_passphrase)
        what = keys->passphrase ? "the passphrase is another one" : "it is sealed by a passphrase";
    else if (keys->n == 0)
        what = "it is sealed to keys, and there is none";
    return mk_error_set(err, MK_EKEY, "age", "this does not open the age file: %s", what);
}

/* The file key by the first stanza that opens; all of them are looked at. */
static int find_file_key(const struct mk_age_keys *keys, struct reader *reader,
                         uint8_t file_key[MK__AGE_FILE_KEY], struct mk_error *err)
{
    struct stanza stanza;
    int status = NOT_OURS, more, n = 0;
    bool by_passphrase = false;
    while ((more = next_stanza(reader, &stanza, err)) == 1) {
        uint8_t found[MK__AGE_FILE_KEY];
        int opened = NOT_OURS;
        n++;
        if (is_arg(&stanza, 0, "scrypt")) {
            by_passphrase = true;
            if (n > 1)
                return broken(err, "a passphrase is beside other recipients");
            opened = open_scrypt(keys, &stanza, found, err);
        } else if (by_passphrase) {
            return broken(err, "a passphrase is beside other recipients");
        } else if (is_arg(&stanza, 0, "X25519")) {
            opened = open_x25519(keys, &stanza, found, err);
        }
        if (opened < 0)
            return opened;
        if (opened == OPENED && status == NOT_OURS)
            memcpy(file_key, found, MK__AGE_FILE_KEY);
        status = status == OPENED ? OPENED : opened;
        OPENSSL_cleanse(found, sizeof found);
    }
    if (more < 0)
        return more;
    if (n == 0)
        return broken(err, "it has no recipient");
    return status == OPENED ? MK_OK : none_opens(keys, by_passphrase, err);
}

int mk_age_header_length(const uint8_t *bytes, size_t len, size_t *length, struct mk_error *err)
{
    size_t known = sizeof VERSION - 1 < len ? sizeof VERSION - 1 : len;
    *length = 0;
    if (memcmp(bytes, VERSION, known) != 0) {
        mk_error_set(err, MK_ECORRUPT, "age", "it is not an age file");
        if (len > 10 && memcmp(bytes, "-----BEGIN", 10) == 0)
            mk_error_hint(err, "it is armored (age --armor): that is not read here");
        return MK_ECORRUPT;
    }
    const uint8_t *last = memmem(bytes, len, "\n--- ", 5);
    size_t need = last ? (size_t)(last - bytes) + 5 + BASE64_32 + 1 + MK_AGE_NONCE : 0;
    if (need > MK_AGE_MAX_HEADER || (!last && len >= MK_AGE_MAX_HEADER))
        return broken(err, "it is too long");
    if (last && len >= need)
        *length = need;
    return MK_OK;
}

int mk_age_header_open(const struct mk_age_keys *identities, const uint8_t *header, size_t len,
                       uint8_t key[MK_AGE_KEY_BYTES], struct mk_error *err)
{
    uint8_t file_key[MK__AGE_FILE_KEY], mac[LINE_CHARS], expected[MK_SHA256_BYTES];
    struct reader reader = {header + sizeof VERSION - 1, header + len - MK_AGE_NONCE};
    int status = find_file_key(identities, &reader, file_key, err);
    if (status != MK_OK) {
        OPENSSL_cleanse(file_key, sizeof file_key);
        return status;
    }
    const uint8_t *line = reader.at; /* "--- MAC\n" */
    if (reader.end - line != 4 + BASE64_32 + 1 || line[4 + BASE64_32] != '\n' ||
        get_base64(line + 4, BASE64_32, mac) != MK_SHA256_BYTES)
        status = broken(err, "its MAC is not spelled as it should be");
    else if (!mk__age_mac(file_key, header, (size_t)(line - header) + 3, expected) ||
             !mk__age_payload_key(file_key, reader.end, key))
        status = mk_error_nomem(err, "age");
    else if (CRYPTO_memcmp(mac, expected, sizeof expected) != 0)
        status = broken(err, "its MAC is another one");
    OPENSSL_cleanse(file_key, sizeof file_key);
    return status;
}

/* ---- making -------------------------------------------------------------------------------- */

struct writer {
    uint8_t *at;
};

static void put_text(struct writer *writer, const char *text)
{
    size_t len = strlen(text);
    memcpy(writer->at, text, len);
    writer->at += len;
}

static void put_bytes(struct writer *writer, const uint8_t *bytes, size_t len)
{
    writer->at += put_base64(writer->at, bytes, len);
}

static int put_body(struct writer *writer, const uint8_t key[MK_AGE_KEY_BYTES],
                    const uint8_t file_key[MK__AGE_FILE_KEY], struct mk_error *err)
{
    uint8_t body[MK__AGE_BODY];
    int status = mk__age_wrap(true, key, file_key, body, err);
    put_bytes(writer, body, sizeof body);
    put_text(writer, "\n");
    return status;
}

static int put_x25519(struct writer *writer, const uint8_t recipient[MK_AGE_KEY_BYTES],
                      const uint8_t file_key[MK__AGE_FILE_KEY], struct mk_error *err)
{
    uint8_t own[MK_AGE_KEY_BYTES], share[MK_AGE_KEY_BYTES], secret[MK_AGE_KEY_BYTES];
    uint8_t key[MK_AGE_KEY_BYTES];
    bool weak = false;
    int status = mk_age_generate(own, err);
    if (status == MK_OK)
        status = mk_age_recipient_of(own, share, err);
    if (status == MK_OK && (!mk__age_shared_secret(own, recipient, secret, &weak) ||
                            !mk__age_wrap_key(secret, share, recipient, key)))
        status = weak ? mk_error_set(err, MK_EINVAL, "age", "a recipient is of low order")
                      : mk_error_nomem(err, "age");
    if (status == MK_OK) {
        put_text(writer, "-> X25519 ");
        put_bytes(writer, share, sizeof share);
        put_text(writer, "\n");
        status = put_body(writer, key, file_key, err);
    }
    OPENSSL_cleanse(own, sizeof own);
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(key, sizeof key);
    return status;
}

static int put_scrypt(struct writer *writer, const char *passphrase,
                      const uint8_t file_key[MK__AGE_FILE_KEY], struct mk_error *err)
{
    uint8_t salt[MK__AGE_SALT], key[MK_AGE_KEY_BYTES];
    char cost[16];
    if (RAND_bytes(salt, sizeof salt) != 1 || !mk__age_scrypt(passphrase, salt, SCRYPT_LOG_N, key))
        return mk_error_nomem(err, "age");
    snprintf(cost, sizeof cost, " %d\n", SCRYPT_LOG_N);
    put_text(writer, "-> scrypt ");
    put_bytes(writer, salt, sizeof salt);
    put_text(writer, cost);
    int status = put_body(writer, key, file_key, err);
    OPENSSL_cleanse(key, sizeof key);
    return status;
}

int mk_age_header_make(const struct mk_age_keys *recipients, uint8_t *out, size_t *len,
                       uint8_t key[MK_AGE_KEY_BYTES], struct mk_error *err)
{
    uint8_t file_key[MK__AGE_FILE_KEY], mac[MK_SHA256_BYTES];
    struct writer writer = {out};
    if (RAND_priv_bytes(file_key, sizeof file_key) != 1)
        return mk_error_set(err, MK_ESYS, "age", "OpenSSL has no random bytes");
    put_text(&writer, VERSION);
    int status = MK_OK;
    if (recipients->passphrase)
        status = put_scrypt(&writer, recipients->passphrase, file_key, err);
    for (size_t i = 0; i < recipients->n && status == MK_OK; i++)
        status = put_x25519(&writer, recipients->keys[i], file_key, err);
    if (status == MK_OK) {
        put_text(&writer, "---");
        bool ok = mk__age_mac(file_key, out, (size_t)(writer.at - out), mac);
        put_text(&writer, " ");
        put_bytes(&writer, mac, sizeof mac);
        put_text(&writer, "\n");
        ok = ok && RAND_bytes(writer.at, MK_AGE_NONCE) == 1 &&
             mk__age_payload_key(file_key, writer.at, key);
        writer.at += MK_AGE_NONCE;
        *len = (size_t)(writer.at - out);
        status = ok ? MK_OK : mk_error_nomem(err, "age");
    }
    OPENSSL_cleanse(file_key, sizeof file_key);
    return status;
}
