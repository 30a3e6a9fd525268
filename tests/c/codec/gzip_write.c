#include "codec/gzip_write.h"

#include <unistd.h>
#include <zlib.h>

#include "support.h"

/* Writes `len` bytes as one member in segments of `segment` bytes, by the rules of the stage. If
 * `ends` is given, it gets where each segment ends in the file, and a final 0. */
static uint8_t *write_member(int level, const uint8_t *data, size_t len, size_t segment,
                             size_t *out_len, size_t *ends)
{
    struct mk_error err;
    struct mk_gzip_segmenter *segmenter = mk_gzip_segmenter_new(level, &err);
    size_t cap = len * 2 + (len / segment + 2) * 1024;
    uint8_t *out = malloc(cap);
    mk_gzip_header(out);
    size_t used = MK_GZIP_HEADER_BYTES, at = 0;
    uint32_t crc = 0;
    while (at < len) {
        size_t n = len - at < segment ? len - at : mk_gzip_cut(at, segment);
        struct mk_gzip_segment s = {.parts = {data + at, data + at + n / 3},
                                    .part_len = {n / 3, n - n / 3},
                                    .out = out + used,
                                    .out_cap = cap - used};
        assert_ok(mk_gzip_segment_run(segmenter, &s, &err), err);
        crc = mk_gzip_crc_join(crc, s.crc, n);
        used += s.out_len;
        at += n;
        if (ends)
            *ends++ = used;
    }
    if (ends)
        *ends = 0;
    mk_gzip_trailer(out + used, crc, len);
    mk_gzip_segmenter_free(segmenter);
    *out_len = used + MK_GZIP_TRAILER_BYTES;
    return out;
}

/* Reads a file as pg_restore does, with zlib's gzread and its standard buffer. Returns the bytes
 * read when it reports a clean end, -1 when it notices damage. */
static long stock_read(const uint8_t *file, size_t len)
{
    char path[] = "/tmp/moonkeep-test-XXXXXX", buffer[4096];
    int fd = mkstemp(path);
    assert_int_equal(write(fd, file, len), len);
    lseek(fd, 0, SEEK_SET);
    unlink(path);
    gzFile gz = gzdopen(fd, "rb");
    long total = 0;
    int n;
    while ((n = gzread(gz, buffer, sizeof buffer)) > 0)
        total += n;
    return gzclose(gz) == Z_OK && n == 0 ? total : -1;
}

/* Fixed sizes that are multiples of 4096 provoke the fault that mk_gzip_cut prevents: without it
 * gzread reports a clean end at some of these cuts (see docs/internals/codecs.md). */
static void stock_readers_notice_a_cut_at_every_segment_boundary(void **state)
{
    (void)state;
    static const size_t segments[] = {4096, 16384, 65536, 262144};
    static size_t ends[1000];
    for (int level = 1; level <= 6; level += 5) {
        for (size_t s = 0; s < 4; s++) {
            size_t len = segments[s] * 40, out_len;
            uint8_t *data = make_data(DATA_TEXT, len);
            uint8_t *out = write_member(level, data, len, segments[s], &out_len, ends);
            assert_int_equal(stock_read(out, out_len), len);
            for (size_t *end = ends; *end; end++) {
                long got = stock_read(out, *end);
                if (got != -1 && got != (long)len)
                    fail_msg("level %d, segments of %zu: a cut at %zu reads as %ld bytes", level,
                             segments[s], *end, got);
            }
            free(data);
            free(out);
        }
    }
}

static void zlib_reads_what_every_level_writes_as_one_member(void **state)
{
    (void)state;
    static const enum data_kind kinds[] = {DATA_TEXT, DATA_RANDOM, DATA_ZEROS};
    for (int level = 1; level <= 9; level++) {
        for (size_t k = 0; k < 3; k++) {
            size_t len = 300000, out_len;
            uint8_t *data = make_data(kinds[k], len), *back = malloc(len + 1);
            uint8_t *out = write_member(level, data, len, 65536, &out_len, NULL);
            z_stream z = {0};
            inflateInit2(&z, 15 + 16);
            z.next_in = out;
            z.avail_in = (unsigned)out_len;
            z.next_out = back;
            z.avail_out = (unsigned)len + 1;
            assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
            assert_int_equal(z.avail_in, 0); /* one member, nothing after it */
            assert_int_equal(z.total_out, len);
            assert_memory_equal(back, data, len);
            inflateEnd(&z);
            free(data);
            free(back);
            free(out);
        }
    }
}

static void no_segment_ends_on_a_multiple_of_4096(void **state)
{
    (void)state;
    uint64_t position = 0;
    for (int i = 0; i < 10000; i++) {
        size_t available = 4096 * (size_t)(1 + i % 300);
        size_t taken = mk_gzip_cut(position, available);
        assert_true(taken == available || taken == available - 1);
        position += taken;
        assert_int_not_equal(position % 4096, 0);
    }
}

static void equal_input_gives_equal_output(void **state)
{
    (void)state;
    size_t len = 100000, a_len, b_len;
    uint8_t *data = make_data(DATA_TEXT, len);
    uint8_t *a = write_member(1, data, len, 10000, &a_len, NULL);
    uint8_t *b = write_member(1, data, len, 10000, &b_len, NULL);
    assert_int_equal(a_len, b_len);
    assert_memory_equal(a, b, a_len);
    free(data);
    free(a);
    free(b);
}

static void a_segment_that_does_not_fit_is_an_error(void **state)
{
    (void)state;
    uint8_t *data = make_data(DATA_RANDOM, 10000), out[100];
    for (int level = 1; level <= 6; level += 5) {
        struct mk_error err;
        struct mk_gzip_segmenter *segmenter = mk_gzip_segmenter_new(level, &err);
        struct mk_gzip_segment s = {
            .parts = {data, data}, .part_len = {0, 10000}, .out = out, .out_cap = sizeof out};
        assert_int_not_equal(mk_gzip_segment_run(segmenter, &s, &err), MK_OK);
        mk_gzip_segmenter_free(segmenter);
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zlib_reads_what_every_level_writes_as_one_member),
        cmocka_unit_test(stock_readers_notice_a_cut_at_every_segment_boundary),
        cmocka_unit_test(no_segment_ends_on_a_multiple_of_4096),
        cmocka_unit_test(equal_input_gives_equal_output),
        cmocka_unit_test(a_segment_that_does_not_fit_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
