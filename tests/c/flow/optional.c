/* Sinks that a flow can go on without, and those that hold it up. */
#include "flow/rig.h"

#include "base/clock.h"

/* A sink that takes so many blocks, and then nothing until it is aborted. */
struct stalling_sink {
    struct mk_sink base;
    int takes;
    bool waits;
};

static void stalling_put(struct mk_sink *sink, struct mk_block *block)
{
    struct stalling_sink *self = (struct stalling_sink *)sink;
    (void)block;
    if (self->takes-- > 0)
        mk_sink_done(sink, MK_OK, NULL);
    else
        self->waits = true;
}

static void stalling_finish(struct mk_sink *sink)
{
    struct stalling_sink *self = (struct stalling_sink *)sink;
    self->waits = self->takes <= 0;
    if (!self->waits)
        mk_sink_done(sink, MK_OK, NULL);
}

static void stalling_abort(struct mk_sink *sink)
{
    struct stalling_sink *self = (struct stalling_sink *)sink;
    bool waits = self->waits;
    self->waits = false;
    struct mk_error err;
    mk_error_set(&err, MK_ECANCELED, "stalling", "aborted");
    if (waits)
        mk_sink_done(sink, MK_ECANCELED, &err);
}

static void stalling_close(struct mk_sink *sink)
{
    mk_sink_closed(sink);
    mk_free(sink);
}

static const struct mk_sink_type stalling_type = {"stalling",     stalling_put,   stalling_finish,
                                                  stalling_abort, stalling_close, NULL};

static struct mk_sink *stalling_new(int takes)
{
    struct stalling_sink *self = mk_calloc(sizeof *self);
    self->base.type = &stalling_type;
    self->takes = takes;
    return &self->base;
}

static struct mk_node *add_source(struct rig *rig, uint64_t bytes)
{
    return mk_flow_source(rig->flow, &counting_new(bytes, MK_BLOCK_BYTES)->base);
}

static struct checking_sink *add_checking(struct rig *rig, struct mk_node *source, bool optional)
{
    struct checking_sink *sink = checking_new(rig->loop);
    struct mk_node *node = mk_flow_sink(rig->flow, source, &sink->base);
    if (optional)
        mk_flow_set_optional(node, 0);
    return sink;
}

static struct mk_node_report report_of(struct rig *rig, int index)
{
    struct mk_node_report report;
    mk_flow_node_report(rig->flow, index, &report);
    return report;
}

#define TOTAL (20 * (uint64_t)MK_BLOCK_BYTES)

static void an_optional_sink_that_fails_is_cut_off(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    uint64_t received = 0;
    struct mk_node *source = add_source(&rig, TOTAL);
    add_checking(&rig, source, true)->fail_at = 2 * MK_BLOCK_BYTES;
    add_checking(&rig, source, true)->received_out = &received;
    add_checking(&rig, source, false);
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    assert_int_equal(received, TOTAL);
    assert_true(report_of(&rig, 1).failed);
    assert_false(report_of(&rig, 2).failed);
    rig_down(&rig);
}

static void what_had_come_for_a_sink_that_fails_is_given_back(void **state)
{
    (void)state;
    for (int takes_all = 0; takes_all <= 1; takes_all++) {
        struct rig rig;
        rig_up(&rig, 12);
        struct mk_node *source = add_source(&rig, TOTAL);
        struct checking_sink *bad = add_checking(&rig, source, true);
        bad->delay_ms = add_checking(&rig, source, true)->delay_ms = 1;
        bad->base.asks_for_more = takes_all;
        bad->fail_at = 3 * MK_BLOCK_BYTES; /* some that it has taken are left */
        assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
        assert_true(report_of(&rig, 1).failed);
        assert_false(report_of(&rig, 2).failed);
        rig_down(&rig);
    }
}

static void a_sink_that_is_not_optional_fails_the_flow(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    struct mk_node *source = add_source(&rig, TOTAL);
    add_checking(&rig, source, true);
    add_checking(&rig, source, false)->fail_at = 2 * MK_BLOCK_BYTES;
    assert_int_equal(rig_run(&rig), MK_ENOSPC);
    rig_down(&rig);
}

static void the_flow_fails_when_no_optional_sink_is_left(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    bool finished = false;
    struct mk_node *source = add_source(&rig, TOTAL);
    add_checking(&rig, source, true)->fail_at = 2 * MK_BLOCK_BYTES;
    add_checking(&rig, source, true)->fail_at = 5 * MK_BLOCK_BYTES;
    add_checking(&rig, source, false)->finished_out = &finished;
    assert_int_equal(rig_run(&rig), MK_ENOSPC);
    assert_false(finished);
    rig_down(&rig);
}

static void a_sink_that_stalls_is_cut_off_while_another_goes_on(void **state)
{
    (void)state;
    for (int takes = 0; takes <= 20; takes += 10) { /* at the first block, in between, at the end */
        struct rig rig;
        rig_up(&rig, 8);
        uint64_t received = 0;
        struct mk_node *source = add_source(&rig, TOTAL);
        mk_flow_set_optional(mk_flow_sink(rig.flow, source, stalling_new(takes)), 50);
        add_checking(&rig, source, true)->received_out = &received;
        assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
        assert_int_equal(received, TOTAL);
        assert_true(report_of(&rig, 1).failed);
        assert_int_equal(report_of(&rig, 1).err->status, MK_ETIMEOUT);
        rig_down(&rig);
    }
}

static void what_holds_every_sink_up_cuts_none_off(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    struct mk_node *source = add_source(&rig, TOTAL);
    for (int i = 0; i < 2; i++)
        mk_flow_set_optional(mk_flow_sink(rig.flow, source, stalling_new(3)), 40);
    add_checking(&rig, source, false); /* a digest has nothing to do with it */
    mk_flow_start(rig.flow);
    for (int64_t end = mk_monotonic_ms() + 200; mk_monotonic_ms() < end;)
        mk_loop_run_once(rig.loop);
    assert_false(report_of(&rig, 1).failed || report_of(&rig, 2).failed);
    struct mk_wait *wait = mk_flow_wait(rig.flow);
    assert_int_equal(wait->state, MK_WAIT_ARMED);
    wait->cancel(wait);
    assert_int_equal(rig_wait(&rig, rig.flow), MK_ECANCELED);
    rig_down(&rig);
}

static void a_flow_that_fails_elsewhere_blames_no_sink(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    struct counting_source *counting = counting_new(TOTAL, MK_BLOCK_BYTES);
    counting->fail_at = 5 * MK_BLOCK_BYTES;
    struct mk_node *source = mk_flow_source(rig.flow, &counting->base);
    mk_flow_set_optional(mk_flow_sink(rig.flow, source, stalling_new(3)), 10000); /* it waits */
    add_checking(&rig, source, true);
    assert_int_equal(rig_run(&rig), MK_EIO);
    assert_false(report_of(&rig, 1).failed || report_of(&rig, 2).failed);
    rig_down(&rig);
}

/* A sink that is slow: it takes a block after some time, and says that something moves before that.
 */
struct slow_sink {
    struct stalling_sink base;
    struct mk_loop *loop;
    struct mk_timer *timer;
    int steps;
};

static void slow_step(void *arg)
{
    struct slow_sink *self = arg;
    mk_timer_close(self->timer);
    self->timer = NULL;
    struct mk_error err;
    mk_sink_moves(&self->base.base);
    if (++self->steps % 4 == 0)
        mk_sink_done(&self->base.base, MK_OK, NULL);
    else
        self->timer = mk_timer_start(self->loop, 20, slow_step, self, &err);
}

static void slow_put(struct mk_sink *sink, struct mk_block *block)
{
    struct slow_sink *self = (struct slow_sink *)sink;
    struct mk_error err;
    (void)block;
    self->timer = mk_timer_start(self->loop, 20, slow_step, self, &err);
}

static void a_sink_that_is_slow_but_moves_is_not_taken_for_stalled(void **state)
{
    (void)state;
    static const struct mk_sink_type slow_type = {"slow",         slow_put,       stalling_finish,
                                                  stalling_abort, stalling_close, NULL};
    struct rig rig;
    rig_up(&rig, 8);
    struct slow_sink *slow = mk_calloc(sizeof *slow);
    slow->base.base.type = &slow_type;
    slow->base.takes = 1;
    slow->loop = rig.loop;
    struct mk_node *source = add_source(&rig, 3 * MK_BLOCK_BYTES);
    mk_flow_set_optional(mk_flow_sink(rig.flow, source, &slow->base.base), 60); /* a put takes 80 */
    add_checking(&rig, source, true);
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    assert_false(report_of(&rig, 1).failed);
    rig_down(&rig);
}

static void a_limited_sink_holds_the_others_and_is_not_taken_for_stalled(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    struct mk_limiter *limiter = mk_limiter_new(rig.loop, &rig.err);
    mk_limiter_set_rate(limiter, 20 * MK_BLOCK_BYTES);
    struct mk_node *source = add_source(&rig, 6 * MK_BLOCK_BYTES);
    add_checking(&rig, source, true);
    struct mk_node *limited = mk_flow_sink(rig.flow, source, &checking_new(rig.loop)->base);
    mk_flow_set_optional(limited, 20);
    mk_flow_set_limiter(limited, limiter);
    mk_limiter_unref(limiter);
    int64_t began = mk_monotonic_ms();
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    /* 6 blocks, the first of which is free, at 20 a second: not before 250 ms have gone by */
    assert_true(mk_monotonic_ms() - began >= 240);
    assert_false(report_of(&rig, 2).failed);
    rig_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_optional_sink_that_fails_is_cut_off),
        cmocka_unit_test(what_had_come_for_a_sink_that_fails_is_given_back),
        cmocka_unit_test(a_sink_that_is_not_optional_fails_the_flow),
        cmocka_unit_test(the_flow_fails_when_no_optional_sink_is_left),
        cmocka_unit_test(a_sink_that_stalls_is_cut_off_while_another_goes_on),
        cmocka_unit_test(what_holds_every_sink_up_cuts_none_off),
        cmocka_unit_test(a_flow_that_fails_elsewhere_blames_no_sink),
        cmocka_unit_test(a_sink_that_is_slow_but_moves_is_not_taken_for_stalled),
        cmocka_unit_test(a_limited_sink_holds_the_others_and_is_not_taken_for_stalled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
