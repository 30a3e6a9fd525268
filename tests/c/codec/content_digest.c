#include "codec/content_digest.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "codec/content_hash.h"
#include "codec/tar.h"
#include "support.h"

#define MARK "\\.\n\n\n"

/* The digest's text, or the error's; the input in pieces of `piece` bytes. */
static void digest_of(const struct mk_content_spec *spec, const void *bytes, size_t len,
                      size_t piece, char text[256])
{
    struct mk_error err = {0};
    struct mk_digest *digest = mk_content_digest_new(spec, &err);
    assert_non_null(digest);
    int status = MK_OK;
    for (size_t at = 0; at < len && status == MK_OK; at += piece)
        status = digest->type->update(digest, (const char *)bytes + at,
                                      len - at < piece ? len - at : piece, &err);
    const char *result = status == MK_OK ? digest->type->finish(digest, &err) : NULL;
    snprintf(text, 256, "%.255s", result ? result : err.message);
    mk_digest_free(digest);
}

static void expect_rows(const char *const *rows, char text[256])
{
    struct mk_content_hash hash = {0};
    size_t bytes = 0;
    for (; *rows; rows++) {
        mk_content_hash_row(&hash, *rows, strlen(*rows));
        bytes += strlen(*rows);
    }
    char sum[MK_CONTENT_HASH_TEXT];
    mk_content_hash_text(&hash, sum);
    snprintf(text, 256, "%zu:%s", bytes, sum);
}

static void rows_sum_up_to_the_same_wherever_the_pieces_are_cut(void **state)
{
    (void)state;
    static const char *const rows[] = {"1\ta\n",  "\\N\t\\\\.\n", "\n",
                                       "\\\\.\n", "long row\n",   NULL};
    char file[128] = "", expected[256], text[256];
    for (int i = 0; rows[i]; i++)
        strcat(file, rows[i]);
    strcat(file, MARK);
    expect_rows(rows, expected);
    const struct mk_content_spec spec = {0};
    for (size_t piece = 1; piece <= strlen(file); piece++) {
        digest_of(&spec, file, strlen(file), piece, text);
        assert_string_equal(text, expected);
    }
}

static void rows_without_their_end_or_with_more_after_it_are_damage(void **state)
{
    (void)state;
    static const char file[] = "1\n2\n" MARK;
    const struct mk_content_spec spec = {0};
    char text[256];
    for (size_t len = 0; len < strlen(file); len++) {
        digest_of(&spec, file, len, 3, text);
        assert_non_null(strstr(text, "the rows have no end"));
    }
    digest_of(&spec, "1\n" MARK "\n", 8, 8, text);
    assert_non_null(strstr(text, "more after the end"));
    digest_of(&spec, "1\n\\.\n1\n\n", 9, 9, text);
    assert_non_null(strstr(text, "more after the end"));
}

/* A tar archive of two files of rows, or of two large objects. */
static size_t make_archive(uint8_t *out, const char *first, const char *second, const char *a,
                           const char *b)
{
    size_t len = 0;
    const char *const names[] = {first, second}, *const contents[] = {a, b};
    memset(out, 0, 8 * MK_TAR_BLOCK);
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(contents[i]);
        mk_tar_header(out + len, names[i], n, 1700000000);
        memcpy(out + len + MK_TAR_BLOCK, contents[i], n);
        len += MK_TAR_BLOCK + n + mk_tar_padding(n);
    }
    return len + 2 * MK_TAR_BLOCK;
}

static void an_archive_has_a_line_for_each_of_its_files(void **state)
{
    (void)state;
    static uint8_t archive[8 * MK_TAR_BLOCK];
    static const char *const rows[] = {"x\n", "y\n", NULL}, *const none[] = {NULL};
    size_t len = make_archive(archive, "1.dat", "2.dat", "y\nx\n" MARK, MARK);
    char one[256], two[256], expected[600], text[256];
    expect_rows(rows, one);
    expect_rows(none, two);
    snprintf(expected, sizeof expected, "1.dat %s\n2.dat %s\n", one, two);
    const struct mk_content_spec spec = {.packed = true};
    static const size_t pieces[] = {1, 7, 511, 512, 513, 5000};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        digest_of(&spec, archive, len, pieces[i], text);
        assert_string_equal(text, expected);
    }
}

/* Whatever is cut off, and whichever bit of a header, of padding or of the end is flipped. (Rows
 * are what the sums are for.) */
static void a_damaged_archive_is_told(void **state)
{
    (void)state;
    static uint8_t archive[8 * MK_TAR_BLOCK];
    size_t len = make_archive(archive, "1.dat", "2.dat", "x\n" MARK, MARK);
    const struct mk_content_spec spec = {.packed = true};
    char whole[256], text[256];
    digest_of(&spec, archive, len, len, whole);
    for (size_t cut = 0; cut < len; cut++) {
        digest_of(&spec, archive, cut, 4096, text);
        assert_non_null(strstr(text, "damaged"));
    }
    for (size_t bit = 0; bit < len * 8; bit++) {
        archive[bit / 8] ^= (uint8_t)(1 << bit % 8);
        digest_of(&spec, archive, len, 4096, text);
        assert_string_not_equal(text, whole);
        archive[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void large_objects_sum_up_with_their_oids(void **state)
{
    (void)state;
    static uint8_t archive[8 * MK_TAR_BLOCK];
    size_t len = make_archive(archive, "blob_258.dat", "blob_7.dat", "abc", "");
    struct mk_content_hash hash = {0};
    mk_content_hash_row(&hash, "\0\0\1\2abc", 7);
    char sum[MK_CONTENT_HASH_TEXT], expected[256], text[256];
    mk_content_hash_text(&hash, sum);
    snprintf(expected, sizeof expected, "3:%s", sum);
    digest_of(&(struct mk_content_spec){.large_objects = true, .oid = 258}, "abc", 3, 1, text);
    assert_string_equal(text, expected);
    mk_content_hash_row(&hash, "\0\0\0\7", 4);
    mk_content_hash_text(&hash, sum);
    snprintf(expected, sizeof expected, "3:%s", sum);
    digest_of(&(struct mk_content_spec){.packed = true, .large_objects = true}, archive, len, 100,
              text);
    assert_string_equal(text, expected);
    len = make_archive(archive, "blob_258.dat", "7.dat", "abc", "");
    digest_of(&(struct mk_content_spec){.packed = true, .large_objects = true}, archive, len, 100,
              text);
    assert_non_null(strstr(text, "not named like a large object"));
    len = make_archive(archive, "blob_258.dat", "../7", "abc", "");
    digest_of(&(struct mk_content_spec){.packed = true, .large_objects = true}, archive, len, 100,
              text);
    assert_non_null(strstr(text, "a header of the archive is none"));
}

static int use_digest(struct mk_error *err)
{
    static uint8_t archive[8 * MK_TAR_BLOCK];
    size_t len = make_archive(archive, "1.dat", "2.dat", "x\n" MARK, MARK);
    struct mk_digest *digest =
        mk_content_digest_new(&(struct mk_content_spec){.packed = true}, err);
    if (!digest)
        return err->status;
    int status = digest->type->update(digest, archive, len, err);
    if (status == MK_OK && !digest->type->finish(digest, err))
        status = err->status;
    mk_digest_free(digest);
    return status;
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    sweep_allocations("a content digest", use_digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_sum_up_to_the_same_wherever_the_pieces_are_cut),
        cmocka_unit_test(rows_without_their_end_or_with_more_after_it_are_damage),
        cmocka_unit_test(an_archive_has_a_line_for_each_of_its_files),
        cmocka_unit_test(a_damaged_archive_is_told),
        cmocka_unit_test(large_objects_sum_up_with_their_oids),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
