/* The source that somebody else fills. */
#include "flow/rig.h"

#include "flow/feed.h"
#include "http/http.h"

struct writer {
    struct mk_feed *feed;
    uint64_t total, sent;
    size_t piece_bytes;
    int n_rooms;
};

static void on_room(void *arg)
{
    ((struct writer *)arg)->n_rooms++;
}

/* Writes as much as there is room for; ends the feed when that was all. */
static void write_on(struct writer *writer)
{
    static char piece[MK_HTTP_PIECE];
    while (writer->sent < writer->total) {
        size_t n = writer->piece_bytes;
        if (n > writer->total - writer->sent)
            n = (size_t)(writer->total - writer->sent);
        for (size_t i = 0; i < n; i++)
            piece[i] = (char)((writer->sent + i) % 251);
        if (!mk_feed_write(writer->feed, piece, n))
            return;
        writer->sent += n;
    }
    mk_feed_end(writer->feed, MK_OK, NULL);
}

struct fed {
    struct rig rig;
    struct writer writer;
    struct checking_sink *sink;
    uint64_t received;
    bool bad, finished;
};

static void setup(struct fed *fed, uint64_t total, size_t piece_bytes)
{
    *fed = (struct fed){.received = 0};
    rig_up(&fed->rig, 4);
    fed->writer = (struct writer){
        .feed = mk_feed_new(&fed->rig.err), .total = total, .piece_bytes = piece_bytes};
    mk_feed_set_writer(fed->writer.feed, on_room, &fed->writer);
    fed->sink = checking_new(fed->rig.loop);
    fed->sink->received_out = &fed->received;
    fed->sink->bad_out = &fed->bad;
    fed->sink->finished_out = &fed->finished;
    mk_flow_sink(fed->rig.flow,
                 mk_flow_source(fed->rig.flow, mk_source_feed(fed->writer.feed, &fed->rig.err)),
                 &fed->sink->base);
}

static int run(struct fed *fed)
{
    mk_flow_start(fed->rig.flow);
    struct mk_wait *wait = mk_flow_wait(fed->rig.flow);
    while (wait->state == MK_WAIT_ARMED) {
        write_on(&fed->writer);
        if (wait->state == MK_WAIT_ARMED)
            mk_loop_run_once(fed->rig.loop);
    }
    return wait->status;
}

static void down(struct fed *fed)
{
    mk_feed_unref(fed->writer.feed);
    rig_down(&fed->rig);
}

static void pieces_of_any_size_come_out_in_order(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 16384, 99991, MK_HTTP_PIECE};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (int delay_ms = 0; delay_ms < 2; delay_ms++) {
            struct fed fed;
            uint64_t total = 3ULL * MK_BLOCK_BYTES + 12345;
            setup(&fed, total, pieces[i]);
            fed.sink->delay_ms = delay_ms;
            assert_ok(run(&fed), *mk_flow_error(fed.rig.flow));
            assert_int_equal(fed.received, total);
            assert_int_equal(mk_feed_bytes(fed.writer.feed), total);
            assert_false(fed.bad);
            assert_true(fed.finished);
            down(&fed);
        }
}

static void nothing_at_all_is_a_good_end(void **state)
{
    (void)state;
    struct fed fed;
    setup(&fed, 0, 1);
    assert_ok(run(&fed), *mk_flow_error(fed.rig.flow));
    assert_true(fed.finished);
    down(&fed);
}

static void there_is_no_room_before_the_flow_wants_something(void **state)
{
    (void)state;
    struct fed fed;
    setup(&fed, 5, 5);
    assert_false(mk_feed_write(fed.writer.feed, "hello", 5));
    assert_int_equal(fed.writer.n_rooms, 0);
    assert_ok(run(&fed), *mk_flow_error(fed.rig.flow));
    assert_int_not_equal(fed.writer.n_rooms, 0);
    down(&fed);
}

static void the_writers_failure_is_the_flows(void **state)
{
    (void)state;
    struct fed fed;
    setup(&fed, 3000000, 1000);
    mk_flow_start(fed.rig.flow);
    struct mk_error err;
    mk_error_set(&err, MK_ENET, "test", "the line is cut");
    mk_feed_write(fed.writer.feed, "\0\1\2", 3);
    mk_feed_end(fed.writer.feed, MK_ENET, &err);
    mk_feed_end(fed.writer.feed, MK_OK, NULL); /* the first end counts */
    assert_int_equal(rig_wait(&fed.rig, fed.rig.flow), MK_ENET);
    assert_string_equal(mk_flow_error(fed.rig.flow)->message, "the line is cut");
    assert_false(fed.finished);
    down(&fed);
}

static void the_writer_hears_that_the_flow_is_over(void **state)
{
    (void)state;
    struct fed fed;
    setup(&fed, 90000000, 16384);
    fed.sink->fail_at = 2000000;
    assert_int_equal(run(&fed), MK_ENOSPC);
    assert_true(mk_feed_is_over(fed.writer.feed));
    assert_false(mk_feed_write(fed.writer.feed, "x", 1));
    assert_true(fed.writer.sent < fed.writer.total);
    down(&fed);
}

static int run_once(struct mk_error *err)
{
    struct mk_feed *feed = mk_feed_new(err);
    if (!feed)
        return MK_ENOMEM;
    mk_feed_unref(feed);
    return MK_OK;
}

static void running_out_of_memory_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    sweep_allocations("a feed", run_once);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_any_size_come_out_in_order),
        cmocka_unit_test(nothing_at_all_is_a_good_end),
        cmocka_unit_test(there_is_no_room_before_the_flow_wants_something),
        cmocka_unit_test(the_writers_failure_is_the_flows),
        cmocka_unit_test(the_writer_hears_that_the_flow_is_over),
        cmocka_unit_test(running_out_of_memory_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
