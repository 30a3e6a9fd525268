/* Streams: round trips with buffers of any size, and damage, for each codec. */
#include "codec/stream.h"

#include <zlib.h>

#include "base/mem.h"
#include "support.h"

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

static void append(struct bytes *to, const void *data, size_t len)
{
    if (len == 0)
        return;
    if (to->len + len > to->cap) {
        to->cap = (to->len + len) * 2 + 64;
        to->data = realloc(to->data, to->cap);
    }
    memcpy(to->data + to->len, data, len);
    to->len += len;
}

/* Drives a stream with at most in_step bytes of input and out_step of room per step. */
static int drive(struct mk_stream *stream, const uint8_t *in, size_t len, size_t in_step,
                 size_t out_step, struct bytes *out, struct mk_error *err)
{
    uint8_t *room = malloc(out_step);
    size_t used = 0;
    int status = MK_OK;
    for (bool done = false; !done && status == MK_OK;) {
        size_t n = len - used < in_step ? len - used : in_step;
        struct mk_stream_io io = {
            .in = in + used, .in_len = n, .end = used + n == len, .out = room, .out_cap = out_step};
        status = mk_stream_step(stream, &io, err);
        used += io.in_used;
        done = io.done;
        append(out, room, io.out_used);
    }
    free(room);
    return status;
}

static void gzip_reference(struct bytes *to, const uint8_t *in, size_t len)
{
    z_stream z = {0};
    deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    size_t cap = deflateBound(&z, len) + 64;
    uint8_t *out = malloc(cap);
    z.next_in = in;
    z.avail_in = (unsigned)len;
    z.next_out = out;
    z.avail_out = (unsigned)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    append(to, out, cap - z.avail_out);
    deflateEnd(&z);
    free(out);
}

/* Compresses with the level and steps given; gzip's encoder is no stream: tests/c/flow. */
static void encode(const char *spec, const uint8_t *in, size_t len, size_t in_step, size_t out_step,
                   struct bytes *to)
{
    struct mk_error err;
    struct mk_codec codec;
    assert_ok(mk_codec_parse(spec, &codec, &err), err);
    struct mk_stream *stream = mk_encoder_new(&codec, 2, &err);
    assert_non_null(stream);
    assert_ok(drive(stream, in, len, in_step, out_step, to, &err), err);
    mk_stream_free(stream);
}

static void compress_whole(enum mk_codec_id id, const uint8_t *in, size_t len, struct bytes *to)
{
    if (id == MK_CODEC_GZIP)
        gzip_reference(to, in, len);
    else
        encode(mk_codec_name(id), in, len, 1 << 20, 1 << 20, to);
}

static int decode(enum mk_codec_id id, const uint8_t *in, size_t len, size_t in_step,
                  size_t out_step, struct bytes *out, struct mk_error *err)
{
    struct mk_stream *stream = mk_decoder_new(id, err);
    int status = drive(stream, in, len, in_step, out_step, out, err);
    mk_stream_free(stream);
    return status;
}

static const enum mk_codec_id ids[] = {MK_CODEC_GZIP, MK_CODEC_LZ4, MK_CODEC_ZSTD};
#define N_IDS (sizeof ids / sizeof ids[0])

static void round_trips_work_with_one_byte_in_and_one_byte_out(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 2, 4095, 4096, 70000};
    for (size_t c = 0; c < N_IDS; c++) {
        for (size_t l = 0; l < sizeof lens / sizeof lens[0]; l++) {
            uint8_t *data = make_data(DATA_TEXT, lens[l]);
            struct bytes packed = {0}, plain = {0};
            struct mk_error err;
            compress_whole(ids[c], data, lens[l], &packed);
            assert_ok(decode(ids[c], packed.data, packed.len, 1, 1, &plain, &err), err);
            assert_int_equal(plain.len, lens[l]);
            if (plain.len > 0)
                assert_memory_equal(plain.data, data, plain.len);
            free(data);
            free(packed.data);
            free(plain.data);
        }
    }
}

/* Encodes and decodes, and compares. */
static void round_trip(const char *spec, enum data_kind kind, size_t len, size_t in_step,
                       size_t out_step)
{
    uint8_t *data = make_data(kind, len);
    struct bytes packed = {0}, plain = {0};
    struct mk_error err;
    struct mk_codec codec;
    assert_ok(mk_codec_parse(spec, &codec, &err), err);
    encode(spec, data, len, in_step, out_step, &packed);
    assert_true(packed.len > 0);
    assert_ok(decode(codec.id, packed.data, packed.len, in_step, out_step, &plain, &err), err);
    assert_int_equal(plain.len, len);
    if (len > 0)
        assert_memory_equal(plain.data, data, len);
    free(data);
    free(packed.data);
    free(plain.data);
}

static void encoders_take_one_byte_in_and_one_byte_out(void **state)
{
    (void)state;
    static const char *const specs[] = {"lz4:1", "lz4:9", "zstd:1", "zstd:19"};
    static const size_t lens[] = {0, 1, 2, 3000};
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++)
        for (size_t l = 0; l < sizeof lens / sizeof lens[0]; l++)
            round_trip(specs[s], DATA_RANDOM, lens[l], 1, 1);
}

/* Sizes around each codec's own blocks (lz4 256 KiB, zstd 128 KiB, its jobs 4 MiB) and ours. */
static void exact_multiples_and_incompressible_data_round_trip(void **state)
{
    (void)state;
    static const char *const specs[] = {"lz4:1", "zstd:1"};
    static const size_t units[] = {128 * 1024, 256 * 1024, 1024 * 1024, 4 * 1024 * 1024};
    for (size_t s = 0; s < 2; s++) {
        for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
            for (int delta = -1; delta <= 1; delta++) {
                round_trip(specs[s], DATA_RANDOM, units[u] * 2 + delta, units[u], 65536);
                round_trip(specs[s], DATA_ZEROS, units[u] * 2 + delta, 100000, units[u]);
            }
        }
    }
}

static void concatenated_members_and_frames_are_read_to_the_end(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_IDS; c++) {
        uint8_t *data = make_data(DATA_TEXT, 10000);
        struct bytes packed = {0}, plain = {0};
        struct mk_error err;
        compress_whole(ids[c], data, 4000, &packed);
        compress_whole(ids[c], data, 0, &packed);
        compress_whole(ids[c], data + 4000, 6000, &packed);
        assert_ok(decode(ids[c], packed.data, packed.len, 100, 333, &plain, &err), err);
        assert_int_equal(plain.len, 10000);
        assert_memory_equal(plain.data, data, 10000);
        free(data);
        free(packed.data);
        free(plain.data);
    }
}

static void a_cut_at_any_byte_is_detected(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_IDS; c++) {
        uint8_t *data = make_data(DATA_TEXT, 3000);
        struct bytes packed = {0};
        compress_whole(ids[c], data, 3000, &packed);
        for (size_t cut = 0; cut < packed.len; cut++) {
            struct bytes plain = {0};
            struct mk_error err;
            if (decode(ids[c], packed.data, cut, 512, 512, &plain, &err) != MK_ECORRUPT)
                fail_msg("%s: a cut at byte %zu was not noticed", mk_codec_name(ids[c]), cut);
            free(plain.data);
        }
        free(data);
        free(packed.data);
    }
}

/* A flipped bit is either detected or harmless (gzip's header has bits that mean nothing). */
static void a_flipped_bit_never_changes_the_data_silently(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_IDS; c++) {
        uint8_t *data = make_data(DATA_TEXT, 1000);
        struct bytes packed = {0};
        compress_whole(ids[c], data, 1000, &packed);
        for (size_t bit = 0; bit < packed.len * 8; bit++) {
            struct bytes plain = {0};
            struct mk_error err;
            packed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int status = decode(ids[c], packed.data, packed.len, 4096, 4096, &plain, &err);
            if (status == MK_OK && (plain.len != 1000 || memcmp(plain.data, data, 1000) != 0))
                fail_msg("%s: flipping bit %zu changed the data silently", mk_codec_name(ids[c]),
                         bit);
            packed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            free(plain.data);
        }
        free(data);
        free(packed.data);
    }
}

static void something_else_after_the_end_is_damage(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_IDS; c++) {
        struct bytes packed = {0}, plain = {0};
        struct mk_error err;
        compress_whole(ids[c], (const uint8_t *)"hello", 5, &packed);
        append(&packed, "garbage", 7);
        assert_int_equal(decode(ids[c], packed.data, packed.len, 64, 64, &plain, &err),
                         MK_ECORRUPT);
        free(packed.data);
        free(plain.data);
    }
}

static void zero_padding_after_gzip_is_allowed(void **state)
{
    (void)state;
    struct bytes packed = {0}, plain = {0};
    struct mk_error err;
    compress_whole(MK_CODEC_GZIP, (const uint8_t *)"hello", 5, &packed);
    append(&packed, "\0\0\0\0\0\0\0\0", 8);
    assert_ok(decode(MK_CODEC_GZIP, packed.data, packed.len, 3, 64, &plain, &err), err);
    assert_int_equal(plain.len, 5);
    append(&packed, "\x1f\x8b", 2); /* but no member after padding */
    assert_int_equal(decode(MK_CODEC_GZIP, packed.data, packed.len, 3, 64, &plain, &err),
                     MK_ECORRUPT);
    free(packed.data);
    free(plain.data);
}

static void sweep_allocations_of_a_decoder(enum mk_codec_id id)
{
    uint8_t *data = make_data(DATA_TEXT, 20000);
    struct bytes packed = {0};
    compress_whole(id, data, 20000, &packed);
    int64_t live = mk_mem_live();
    for (int n = 1;; n++) {
        struct mk_error err = {0};
        struct bytes plain = {0};
        mk_mem_fail_at(n);
        struct mk_stream *stream = mk_decoder_new(id, &err);
        int status =
            stream ? drive(stream, packed.data, packed.len, 999, 999, &plain, &err) : err.status;
        mk_mem_fail_at(0);
        mk_stream_free(stream);
        free(plain.data);
        assert_int_equal(mk_mem_live(), live);
        if (status == MK_OK)
            break;
        assert_int_equal(status, MK_ENOMEM);
    }
    free(data);
    free(packed.data);
}

static int use_lz4_encoder(struct mk_error *err)
{
    struct mk_stream *stream = mk_lz4_encoder_new(1, err);
    mk_stream_free(stream);
    return stream ? MK_OK : err->status;
}

static int use_zstd_encoder(struct mk_error *err)
{
    struct mk_stream *stream = mk_zstd_encoder_new(1, 1, err);
    mk_stream_free(stream);
    return stream ? MK_OK : err->status;
}

static void running_out_of_memory_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    sweep_allocations("the lz4 encoder", use_lz4_encoder);
    sweep_allocations("the zstd encoder", use_zstd_encoder);
    for (size_t c = 0; c < N_IDS; c++)
        sweep_allocations_of_a_decoder(ids[c]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips_work_with_one_byte_in_and_one_byte_out),
        cmocka_unit_test(encoders_take_one_byte_in_and_one_byte_out),
        cmocka_unit_test(exact_multiples_and_incompressible_data_round_trip),
        cmocka_unit_test(concatenated_members_and_frames_are_read_to_the_end),
        cmocka_unit_test(a_cut_at_any_byte_is_detected),
        cmocka_unit_test(a_flipped_bit_never_changes_the_data_silently),
        cmocka_unit_test(something_else_after_the_end_is_damage),
        cmocka_unit_test(zero_padding_after_gzip_is_allowed),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
