/* The pump: order, backpressure, failure, cancellation. */
#include "flow/rig.h"

static void everything_arrives_in_order(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4096, MK_BLOCK_BYTES};
    for (size_t i = 0; i < 3; i++) {
        struct rig rig;
        rig_up(&rig, 4);
        uint64_t total = sizes[i] * 20 + 7, received = 0;
        bool bad = false, finished = false;
        struct checking_sink *sink = checking_new(rig.loop);
        sink->received_out = &received;
        sink->bad_out = &bad;
        sink->finished_out = &finished;
        struct mk_node *source = mk_flow_source(rig.flow, &counting_new(total, sizes[i])->base);
        mk_flow_sink(rig.flow, source, &sink->base);
        assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
        assert_int_equal(received, total);
        assert_false(bad);
        assert_true(finished);
        rig_down(&rig);
    }
}

static void an_empty_flow_finishes_its_sinks(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 2);
    bool finished = false;
    struct checking_sink *sink = checking_new(rig.loop);
    sink->finished_out = &finished;
    mk_flow_sink(rig.flow, mk_flow_source(rig.flow, mk_source_memory("", 0, &rig.err)),
                 &sink->base);
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    assert_true(finished);
    rig_down(&rig);
}

static void a_slow_sink_holds_a_fast_source_within_the_pool(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 3);
    struct checking_sink *sink = checking_new(rig.loop);
    sink->delay_ms = 2;
    struct mk_node *source =
        mk_flow_source(rig.flow, &counting_new(60ULL * MK_BLOCK_BYTES, MK_BLOCK_BYTES)->base);
    mk_flow_sink(rig.flow, source, &sink->base);
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    assert_true(mk_pool_peak(rig.pool) <= 4);
    rig_down(&rig);
}

/* How often a slow sink is given something, of 40 blocks. */
static int count_puts(bool takes_all, bool is_limited)
{
    struct rig rig;
    rig_up(&rig, 12);
    const uint64_t total = 40ULL * MK_BLOCK_BYTES;
    uint64_t received = 0;
    bool bad = false;
    int puts = 0;
    struct checking_sink *sink = checking_new(rig.loop);
    sink->delay_ms = 1;
    sink->base.asks_for_more = takes_all;
    sink->received_out = &received;
    sink->bad_out = &bad;
    sink->puts_out = &puts;
    struct mk_limiter *limiter = mk_limiter_new(rig.loop, &rig.err);
    mk_limiter_set_rate(limiter, 10 * total);
    struct mk_node *source = mk_flow_source(rig.flow, &counting_new(total, MK_BLOCK_BYTES)->base);
    struct mk_node *node = mk_flow_sink(rig.flow, source, &sink->base);
    if (is_limited)
        mk_flow_set_limiter(node, limiter);
    mk_limiter_unref(limiter);
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    assert_int_equal(received, total);
    assert_false(bad);
    struct mk_node_report report;
    mk_flow_node_report(rig.flow, 1, &report);
    assert_int_equal(report.bytes_out, total);
    rig_down(&rig);
    return puts;
}

static void a_sink_may_take_all_that_has_come_at_once(void **state)
{
    (void)state;
    assert_int_equal(count_puts(false, false), 40);
    assert_in_range(count_puts(true, false), 10, 25);
}

static void a_limited_sink_takes_one_block_at_a_time(void **state)
{
    (void)state;
    assert_int_equal(count_puts(true, true), 40);
}

/* Two flows, one block in the pool: each may always have one in flight, so both end. */
static void flows_that_share_a_small_pool_do_not_starve(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 1);
    struct mk_flow *flows[3] = {rig.flow, mk_flow_new(rig.engine, &rig.err),
                                mk_flow_new(rig.engine, &rig.err)};
    for (int i = 0; i < 3; i++) {
        struct checking_sink *sink = checking_new(rig.loop);
        sink->delay_ms = i;
        mk_flow_sink(flows[i], mk_flow_source(flows[i], &counting_new(100000, 5000)->base),
                     &sink->base);
        mk_flow_start(flows[i]);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_wait(&rig, flows[i]), MK_OK);
    }
    mk_flow_free(flows[1]);
    mk_flow_free(flows[2]);
    rig_down(&rig);
}

static void a_failed_source_never_finishes_a_sink(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 4);
    bool finished = false;
    struct counting_source *source = counting_new(1000000, 1000);
    source->fail_at = 500000;
    struct checking_sink *sink = checking_new(rig.loop);
    sink->finished_out = &finished;
    mk_flow_sink(rig.flow, mk_flow_source(rig.flow, &source->base), &sink->base);
    assert_int_equal(rig_run(&rig), MK_EIO);
    assert_string_equal(mk_flow_error(rig.flow)->message, "broken on purpose");
    assert_false(finished);
    rig_down(&rig);
}

static void one_failed_branch_fails_the_flow(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 4);
    bool finished = false;
    struct checking_sink *good = checking_new(rig.loop), *bad = checking_new(rig.loop);
    good->finished_out = &finished;
    bad->fail_at = 5000;
    struct mk_node *source = mk_flow_source(rig.flow, &counting_new(1000000, 1000)->base);
    mk_flow_sink(rig.flow, source, &good->base);
    mk_flow_sink(rig.flow, source, &bad->base);
    assert_int_equal(rig_run(&rig), MK_ENOSPC);
    assert_false(finished);
    rig_down(&rig);
}

static void with_independent_branches_the_others_go_on(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 4);
    bool finished = false;
    uint64_t received = 0;
    struct checking_sink *good = checking_new(rig.loop), *bad = checking_new(rig.loop);
    good->finished_out = &finished;
    good->received_out = &received;
    bad->fail_at = 5000;
    mk_flow_set_independent(rig.flow);
    struct mk_node *source = mk_flow_source(rig.flow, &counting_new(1000000, 1000)->base);
    mk_flow_sink(rig.flow, source, &good->base);
    mk_flow_sink(rig.flow, source, &bad->base);
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    assert_true(finished);
    assert_int_equal(received, 1000000);
    struct mk_node_report report;
    mk_flow_node_report(rig.flow, 2, &report);
    assert_true(report.failed);
    assert_int_equal(report.err->status, MK_ENOSPC);
    rig_down(&rig);
}

static void when_every_branch_has_failed_so_has_the_flow(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 4);
    mk_flow_set_independent(rig.flow);
    struct mk_node *source = mk_flow_source(rig.flow, &counting_new(1000000, 1000)->base);
    for (int i = 0; i < 2; i++) {
        struct checking_sink *sink = checking_new(rig.loop);
        sink->fail_at = 5000 + i * 1000;
        mk_flow_sink(rig.flow, source, &sink->base);
    }
    assert_int_equal(rig_run(&rig), MK_ENOSPC);
    rig_down(&rig);
}

static void a_cancelled_flow_ends_with_its_work_in_flight_waited_for(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    struct mk_node *source =
        mk_flow_source(rig.flow, &counting_new(1ULL << 40, MK_BLOCK_BYTES)->base);
    struct mk_node *gzip =
        mk_flow_ordered(rig.flow, source, mk_ordered_gzip(9, &rig.err), &rig.err);
    mk_flow_sink(rig.flow, gzip, mk_sink_digest(rig.loop, mk_sha256_new(&rig.err), &rig.err));
    mk_flow_start(rig.flow);
    for (int i = 0; i < 3; i++)
        mk_loop_run_once(rig.loop);
    struct mk_wait *wait = mk_flow_wait(rig.flow);
    wait->cancel(wait);
    wait->cancel(wait);
    assert_int_equal(rig_wait(&rig, rig.flow), MK_ECANCELED);
    rig_down(&rig);
}

static void a_flow_that_never_started_can_be_freed(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 2);
    struct mk_node *source = mk_flow_source(rig.flow, &counting_new(10, 10)->base);
    mk_flow_sink(rig.flow, source, mk_sink_null(&rig.err));
    mk_flow_sink(rig.flow, source, mk_sink_digest(rig.loop, mk_sha256_new(&rig.err), &rig.err));
    rig_down(&rig);
}

/* ---- the ordered stage ----------------------------------------------------------------------- */

/* gzip then un-gzip in one flow: order, the header, the trailer and the CRC are all checked. */
static void gzip_in_parallel_reads_back_whatever_the_block_sizes(void **state)
{
    (void)state;
    static const struct {
        uint64_t total;
        size_t block;
    } cases[] = {{0, 1},           {1, 1},           {2, 1},
                 {5000, 1},        {4096 * 3, 4096}, {10 * MK_BLOCK_BYTES, MK_BLOCK_BYTES},
                 {8192 * 40, 8192}};
    for (int level = 1; level <= 6; level += 5) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct rig rig;
            rig_up(&rig, 6);
            struct mk_node *node =
                mk_flow_source(rig.flow, &counting_new(cases[i].total, cases[i].block)->base);
            node = mk_flow_ordered(rig.flow, node, mk_ordered_gzip(level, &rig.err), &rig.err);
            node = mk_flow_stream(rig.flow, node, "gzip", mk_gzip_decoder_new(&rig.err));
            rig_run_and_check(&rig, node, cases[i].total);
        }
    }
}

/* The tenth piece fails at once; its neighbours take their time. */
static int failing_run(struct mk_slot *slot, struct mk_error *err)
{
    int number = ((struct numbered_slot *)slot)->number;
    if (number == 10)
        return mk_error_set(err, MK_ECORRUPT, "failing", "piece 10");
    for (volatile int i = 0; i < 2000000; i++)
        continue;
    slot->out->len = 1;
    return MK_OK;
}

static const struct mk_ordered_type failing_type = NUMBERED_TYPE("failing", failing_run);

static void an_error_in_one_piece_waits_for_the_pieces_that_run(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    struct mk_node *node = mk_flow_source(rig.flow, &counting_new(1000, 10)->base);
    node = mk_flow_ordered(rig.flow, node, numbered_new(&failing_type), &rig.err);
    mk_flow_sink(rig.flow, node, mk_sink_null(&rig.err));
    assert_int_equal(rig_run(&rig), MK_ECORRUPT);
    assert_string_equal(mk_flow_error(rig.flow)->message, "piece 10");
    struct mk_node_report report;
    mk_flow_node_report(rig.flow, 1, &report);
    assert_true(report.bytes_out <= 10); /* nothing from behind the failure */
    rig_down(&rig);
}

static void damage_found_by_a_transform_fails_the_flow(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 4);
    struct mk_node *node =
        mk_flow_source(rig.flow, mk_source_memory("this is not gzip", 16, &rig.err));
    node = mk_flow_stream(rig.flow, node, "gzip", mk_gzip_decoder_new(&rig.err));
    mk_flow_sink(rig.flow, node, mk_sink_null(&rig.err));
    assert_int_equal(rig_run(&rig), MK_ECORRUPT);
    rig_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_arrives_in_order),
        cmocka_unit_test(an_empty_flow_finishes_its_sinks),
        cmocka_unit_test(a_slow_sink_holds_a_fast_source_within_the_pool),
        cmocka_unit_test(a_sink_may_take_all_that_has_come_at_once),
        cmocka_unit_test(a_limited_sink_takes_one_block_at_a_time),
        cmocka_unit_test(flows_that_share_a_small_pool_do_not_starve),
        cmocka_unit_test(a_failed_source_never_finishes_a_sink),
        cmocka_unit_test(one_failed_branch_fails_the_flow),
        cmocka_unit_test(with_independent_branches_the_others_go_on),
        cmocka_unit_test(when_every_branch_has_failed_so_has_the_flow),
        cmocka_unit_test(a_cancelled_flow_ends_with_its_work_in_flight_waited_for),
        cmocka_unit_test(a_flow_that_never_started_can_be_freed),
        cmocka_unit_test(gzip_in_parallel_reads_back_whatever_the_block_sizes),
        cmocka_unit_test(an_error_in_one_piece_waits_for_the_pieces_that_run),
        cmocka_unit_test(damage_found_by_a_transform_fails_the_flow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
