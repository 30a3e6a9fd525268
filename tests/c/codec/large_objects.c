#include "codec/large_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/content_digest.h"
#include "codec/tar.h"
#include "support.h"

/* A binary COPY that is being written. */
struct copy {
    uint8_t bytes[65536];
    size_t len;
};

static void put(struct copy *copy, const void *bytes, size_t len)
{
    memcpy(copy->bytes + copy->len, bytes, len);
    copy->len += len;
}

static void put_number(struct copy *copy, uint64_t value, int n)
{
    while (n-- > 0)
        copy->bytes[copy->len++] = (uint8_t)(value >> 8 * n);
}

static void begin(struct copy *copy)
{
    copy->len = 0;
    put(copy, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
}

static void row(struct copy *copy, uint32_t oid, uint64_t offset, const char *data)
{
    put_number(copy, 3, 2);
    put_number(copy, 4, 4);
    put_number(copy, oid, 4);
    put_number(copy, 8, 4);
    put_number(copy, offset, 8);
    put_number(copy, strlen(data), 4);
    put(copy, data, strlen(data));
}

static void end(struct copy *copy)
{
    put_number(copy, 0xffff, 2);
}

struct result {
    uint8_t bytes[65536];
    size_t len;
    char text[128];
    struct mk_error err;
};

/* Runs a stream with so many bytes of input and of room for output at a time, and frees it. */
static int pump(struct mk_stream *stream, const uint8_t *bytes, size_t len, size_t in_piece,
                size_t out_piece, struct result *result)
{
    if (!stream)
        return result->err.status;
    size_t at = 0;
    int status = MK_OK;
    result->len = 0;
    for (bool done = false; !done && status == MK_OK;) {
        size_t n = len - at < in_piece ? len - at : in_piece;
        struct mk_stream_io io = {.in = bytes + at,
                                  .in_len = n,
                                  .end = at + n == len,
                                  .out = result->bytes + result->len,
                                  .out_cap = out_piece};
        status = mk_stream_step(stream, &io, &result->err);
        at += io.in_used;
        result->len += io.out_used;
        done = io.done;
    }
    if (status == MK_OK && stream->type->result)
        snprintf(result->text, sizeof result->text, "%s", stream->type->result(stream).bytes);
    mk_stream_free(stream);
    return status;
}

static int run(const struct copy *copy, bool packed, size_t in_piece, size_t out_piece,
               struct result *result)
{
    return pump(mk_large_objects_new(packed, &result->err), copy->bytes, copy->len, in_piece,
                out_piece, result);
}

static void write_three(struct copy *copy)
{
    begin(copy);
    row(copy, 16400, 0, "first");
    row(copy, 16400, 2048, "after a hole");
    row(copy, 16401, 0, "");
    row(copy, 4000000000u, 3, "x");
    end(copy);
}

/* Small pieces and large ones; the files as the content digest reads them. */
static void objects_become_files_of_an_archive_with_zeros_for_holes(void **state)
{
    (void)state;
    static struct copy copy;
    static struct result result, whole;
    write_three(&copy);
    assert_ok(run(&copy, true, sizeof copy.bytes, 65536, &whole), whole.err);
    struct mk_error err;
    struct mk_digest *digest = mk_content_digest_new(
        &(struct mk_content_spec){.packed = true, .large_objects = true}, &err);
    assert_ok(digest->type->update(digest, whole.bytes, whole.len, &err), err);
    assert_string_equal(digest->type->finish(digest, &err), whole.text);
    mk_digest_free(digest);
    assert_string_equal((const char *)whole.bytes, "blob_16400.dat");
    assert_memory_equal(whole.bytes + MK_TAR_BLOCK, "first\0\0", 7);
    assert_memory_equal(whole.bytes + MK_TAR_BLOCK + 2048, "after a hole", 12);
    char start[16];
    snprintf(start, sizeof start, "%d:3:", 2048 + 12 + 4);
    assert_memory_equal(whole.text, start, strlen(start));
    for (size_t piece = 1; piece < 700; piece += 23) {
        assert_ok(run(&copy, true, piece, 701 - piece, &result), result.err);
        assert_string_equal(result.text, whole.text);
        assert_int_equal(result.len, whole.len);
    }
}

static void one_object_is_its_bytes(void **state)
{
    (void)state;
    static struct copy copy;
    static struct result result;
    begin(&copy);
    row(&copy, 9, 0, "ab");
    row(&copy, 9, 4, "c");
    end(&copy);
    for (size_t piece = 1; piece < 8; piece++) {
        assert_ok(run(&copy, false, piece, 8 - piece, &result), result.err);
        assert_int_equal(result.len, 5);
        assert_memory_equal(result.bytes, "ab\0\0c", 5);
        assert_memory_equal(result.text, "5:1:", 4);
    }
}

static void none_is_an_archive_without_files(void **state)
{
    (void)state;
    static struct copy copy;
    static struct result result;
    begin(&copy);
    end(&copy);
    assert_ok(run(&copy, true, 5, 100, &result), result.err);
    assert_int_equal(result.len, 2 * MK_TAR_BLOCK);
}

static void another_copy_is_refused(void **state)
{
    (void)state;
    static struct copy copy;
    static struct result result;
    write_three(&copy);
    size_t len = copy.len;
    for (copy.len = 0; copy.len < len; copy.len++) /* cut anywhere */
        assert_int_equal(run(&copy, true, 64, 4096, &result), MK_ECORRUPT);
    put(&copy, "x", 1);
    assert_int_equal(run(&copy, true, 64, 4096, &result), MK_ECORRUPT);
    begin(&copy);
    row(&copy, 1, 10, "b");
    row(&copy, 1, 0, "a");
    assert_int_equal(run(&copy, true, 64, 4096, &result), MK_ECORRUPT);
    begin(&copy);
    row(&copy, 1, 0, "a");
    row(&copy, 2, 0, "a");
    assert_int_equal(run(&copy, false, 64, 4096, &result), MK_ECORRUPT);
    begin(&copy);
    row(&copy, 1, UINT64_MAX - 1, "abc");
    end(&copy);
    assert_int_equal(run(&copy, true, 64, 4096, &result), MK_ECORRUPT);
    begin(&copy);
    put_number(&copy, 2, 2);
    assert_int_equal(run(&copy, true, 64, 4096, &result), MK_ECORRUPT);
}

static int use_stream(struct mk_error *err)
{
    static struct copy copy;
    static struct result result;
    write_three(&copy);
    int status = run(&copy, true, 64, 4096, &result);
    *err = result.err;
    return status;
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    sweep_allocations("large objects", use_stream);
}

/* A large object's file, or an archive of them, becomes rows, and those the same file again. */
static void files_become_rows_that_become_the_same_files(void **state)
{
    (void)state;
    static const size_t pieces[][2] = {{65536, 65536}, {1, 1}, {7, 65536}, {65536, 3}, {513, 27}};
    static struct copy copy;
    static struct result files, rows, again;
    for (int packed = 0; packed < 2; packed++) {
        if (packed) {
            write_three(&copy);
        } else {
            begin(&copy);
            row(&copy, 77, 0, "all");
            row(&copy, 77, 1500, "of it");
            end(&copy);
        }
        assert_ok(run(&copy, packed, 65536, 65536, &files), files.err);
        for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
            assert_ok(pump(mk_large_object_rows_new(packed, 77, &rows.err), files.bytes, files.len,
                           pieces[i][0], pieces[i][1], &rows),
                      rows.err);
            assert_ok(pump(mk_large_objects_new(packed, &again.err), rows.bytes, rows.len, 65536,
                           65536, &again),
                      again.err);
            /* an object without data has no row, so it is not there again */
            if (!packed)
                assert_memory_equal(again.bytes, files.bytes, files.len);
            else
                assert_true(again.len == files.len - MK_TAR_BLOCK);
        }
    }
}

static void an_archive_that_is_cut_or_changed_does_not_become_rows(void **state)
{
    (void)state;
    static struct copy copy;
    static struct result files, rows;
    write_three(&copy);
    assert_ok(run(&copy, true, 65536, 65536, &files), files.err);
    for (size_t len = 0; len < files.len; len += 97)
        assert_int_equal(pump(mk_large_object_rows_new(true, 0, &rows.err), files.bytes, len, 65536,
                              65536, &rows),
                         MK_ECORRUPT);
    files.bytes[5] = 'x'; /* no longer blob_OID.dat */
    assert_int_equal(pump(mk_large_object_rows_new(true, 0, &rows.err), files.bytes, files.len,
                          65536, 65536, &rows),
                     MK_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_become_files_of_an_archive_with_zeros_for_holes),
        cmocka_unit_test(one_object_is_its_bytes),
        cmocka_unit_test(none_is_an_archive_without_files),
        cmocka_unit_test(another_copy_is_refused),
        cmocka_unit_test(running_out_of_memory_is_an_error),
        cmocka_unit_test(files_become_rows_that_become_the_same_files),
        cmocka_unit_test(an_archive_that_is_cut_or_changed_does_not_become_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
