/* The sink that makes parts, and whoever takes them. */
#include "flow/rig.h"

#include "codec/digest.h"
#include "flow/parts.h"

#define PART ((size_t)700001)

struct taker {
    struct mk_part_taker taker; /* first */
    struct mk_parts *parts;
    bool is_ready, is_asking, over;
    int n_parts;
    uint64_t received;
    bool bad, had_last;
    size_t last_len;
};

static void on_ready(struct mk_part_taker *taker)
{
    ((struct taker *)taker)->is_ready = true;
}

static void ask(struct taker *taker)
{
    taker->is_asking = true;
    taker->taker = (struct mk_part_taker){.done = on_ready};
    mk_parts_take(taker->parts, &taker->taker);
}

static void check_digest(const struct mk_part *part)
{
    struct mk_error err;
    struct mk_digest *digest = mk_sha256_new(&err);
    if (!digest) /* of the sweep of allocations: it has failed here */
        return;
    assert_int_equal(digest->type->update(digest, part->bytes, part->len, &err), MK_OK);
    assert_string_equal(digest->type->finish(digest, &err), part->sha256);
    mk_digest_free(digest);
}

static void look_at(struct taker *taker, const struct mk_part *part)
{
    taker->bad = taker->bad || part->number != ++taker->n_parts || taker->had_last ||
                 (!part->is_last && part->len != PART);
    for (size_t i = 0; i < part->len; i++)
        taker->bad = taker->bad || (uint8_t)part->bytes[i] != (taker->received + i) % 251;
    taker->received += part->len;
    taker->had_last = part->is_last;
    taker->last_len = part->len;
    check_digest(part);
}

/* Asks, takes what there is, and after the last one says that all is well. */
static void take(struct taker *taker)
{
    if (!taker->is_asking && !taker->over)
        ask(taker);
    if (!taker->is_ready)
        return;
    taker->is_ready = taker->is_asking = false;
    struct mk_part *part = taker->taker.part;
    if (part)
        look_at(taker, part);
    else
        taker->over = true;
    if (!part && taker->taker.status == MK_OK)
        mk_parts_done(taker->parts, MK_OK, NULL);
    mk_part_unref(part);
}

static void setup(struct rig *rig, struct taker *taker, struct mk_source *source)
{
    rig_up(rig, 8);
    *taker = (struct taker){.parts = mk_parts_new(rig->loop, PART, &rig->err)};
    mk_flow_sink(rig->flow, mk_flow_source(rig->flow, source),
                 mk_sink_parts(taker->parts, &rig->err));
}

static int run(struct rig *rig, struct taker *taker)
{
    mk_flow_start(rig->flow);
    struct mk_wait *wait = mk_flow_wait(rig->flow);
    while (wait->state == MK_WAIT_ARMED) {
        take(taker);
        if (wait->state == MK_WAIT_ARMED)
            mk_loop_run_once(rig->loop);
    }
    return wait->status;
}

static void down(struct rig *rig, struct taker *taker)
{
    mk_parts_forget(taker->parts, &taker->taker);
    mk_parts_unref(taker->parts);
    rig_down(rig);
}

static void all_that_comes_is_in_parts_of_one_size(void **state)
{
    (void)state;
    static const uint64_t totals[] = {0, 1, PART - 1, PART, PART + 1, 3 * PART, 5 * PART + 77};
    static const size_t blocks[] = {1000, MK_BLOCK_BYTES, PART};
    for (size_t i = 0; i < sizeof totals / sizeof *totals; i++)
        for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) {
            struct rig rig;
            struct taker taker;
            setup(&rig, &taker, &counting_new(totals[i], blocks[k])->base);
            assert_ok(run(&rig, &taker), *mk_flow_error(rig.flow));
            uint64_t n = totals[i] ? (totals[i] + PART - 1) / PART : 1;
            assert_false(taker.bad);
            assert_true(taker.had_last);
            assert_int_equal(taker.received, totals[i]);
            assert_int_equal(taker.n_parts, n);
            assert_int_equal(taker.last_len, totals[i] - (n - 1) * PART);
            down(&rig, &taker);
        }
}

static void the_flow_waits_for_whoever_takes_parts(void **state)
{
    (void)state;
    struct rig rig;
    struct taker taker;
    struct counting_source *source = counting_new(100 * PART, MK_BLOCK_BYTES);
    setup(&rig, &taker, &source->base);
    mk_flow_start(rig.flow);
    for (int i = 0; i < 50; i++) {
        mk_loop_poll(rig.loop);
        usleep(2000);
    }
    /* two parts, and what the flow itself may have under way */
    assert_in_range(source->sent, 2 * PART, 2 * PART + 4 * MK_BLOCK_BYTES);
    mk_flow_wait(rig.flow)->cancel(mk_flow_wait(rig.flow));
    assert_int_equal(rig_wait(&rig, rig.flow), MK_ECANCELED);
    down(&rig, &taker);
}

static void the_takers_failure_is_the_sinks(void **state)
{
    (void)state;
    struct rig rig;
    struct taker taker;
    struct mk_error err;
    setup(&rig, &taker, &counting_new(9 * PART, MK_BLOCK_BYTES)->base);
    mk_flow_start(rig.flow);
    while (taker.n_parts < 2) {
        take(&taker);
        mk_loop_run_once(rig.loop);
    }
    mk_parts_done(taker.parts, mk_error_set(&err, MK_EACCES, "test", "not yours"), &err);
    assert_int_equal(rig_wait(&rig, rig.flow), MK_EACCES);
    assert_string_equal(mk_flow_error(rig.flow)->message, "not yours");
    down(&rig, &taker);
}

static void whoever_waits_for_a_part_hears_that_the_flow_has_failed(void **state)
{
    (void)state;
    struct rig rig;
    struct taker taker;
    struct counting_source *source = counting_new(9 * PART, MK_BLOCK_BYTES);
    source->fail_at = 4 * PART;
    setup(&rig, &taker, &source->base);
    assert_int_equal(run(&rig, &taker), MK_EIO);
    take(&taker);
    take(&taker);
    assert_true(taker.over);
    assert_int_equal(taker.taker.status, MK_ECANCELED);
    assert_false(taker.had_last);
    down(&rig, &taker);
}

static void nobody_can_say_that_all_is_well_before_all_was_taken(void **state)
{
    (void)state;
    struct rig rig;
    struct taker taker;
    setup(&rig, &taker, &counting_new(9 * PART, MK_BLOCK_BYTES)->base);
    mk_flow_start(rig.flow);
    while (taker.n_parts < 2) {
        take(&taker);
        mk_loop_run_once(rig.loop);
    }
    mk_parts_done(taker.parts, MK_OK, NULL);
    assert_int_equal(rig_wait(&rig, rig.flow), MK_EINVAL);
    down(&rig, &taker);
}

static void a_part_lives_longer_than_its_flow(void **state)
{
    (void)state;
    struct rig rig;
    struct taker taker;
    setup(&rig, &taker, &counting_new(9 * PART, MK_BLOCK_BYTES)->base);
    mk_flow_start(rig.flow);
    ask(&taker);
    while (!taker.is_ready)
        mk_loop_run_once(rig.loop);
    struct mk_part *part = mk_part_ref(taker.taker.part);
    mk_part_unref(part);
    mk_flow_wait(rig.flow)->cancel(mk_flow_wait(rig.flow));
    rig_wait(&rig, rig.flow);
    down(&rig, &taker);
    check_digest(part);
    mk_part_unref(part);
}

static void takers_are_served_in_turn(void **state)
{
    (void)state;
    struct rig rig;
    struct taker taker, others[3] = {{.parts = NULL}};
    setup(&rig, &taker, &counting_new(2 * PART, MK_BLOCK_BYTES)->base);
    mk_flow_start(rig.flow);
    for (int i = 0; i < 3; i++) {
        others[i].parts = taker.parts;
        ask(&others[i]);
    }
    while (!others[2].is_ready)
        mk_loop_run_once(rig.loop);
    assert_int_equal(others[0].taker.part->number, 1);
    assert_int_equal(others[1].taker.part->number, 2);
    assert_true(others[1].taker.part->is_last);
    assert_null(others[2].taker.part);
    assert_int_equal(others[2].taker.status, MK_OK);
    for (int i = 0; i < 3; i++)
        mk_part_unref(others[i].taker.part);
    mk_parts_done(taker.parts, MK_OK, NULL);
    assert_ok(rig_wait(&rig, rig.flow), *mk_flow_error(rig.flow));
    down(&rig, &taker);
}

static int run_once(struct mk_error *err)
{
    struct rig rig = {0};
    int status = MK_ENOMEM;
    rig.loop = mk_loop_new(1, err);
    rig.pool = rig.loop ? mk_pool_new(8) : NULL;
    rig.engine = rig.pool ? mk_flow_engine_new(rig.loop, rig.pool, err) : NULL;
    rig.flow = rig.engine ? mk_flow_new(rig.engine, err) : NULL;
    struct mk_parts *parts = rig.flow ? mk_parts_new(rig.loop, PART, err) : NULL;
    static const char text[3] = "abc";
    struct mk_source *source = parts ? mk_source_memory(text, sizeof text, err) : NULL;
    struct mk_node *node = source ? mk_flow_source(rig.flow, source) : NULL;
    struct mk_sink *sink = node ? mk_sink_parts(parts, err) : NULL;
    if (sink && mk_flow_sink(rig.flow, node, sink)) {
        struct taker taker = {.parts = parts};
        status = run(&rig, &taker);
        *err = *mk_flow_error(rig.flow);
    }
    if (rig.flow)
        mk_flow_free(rig.flow);
    mk_parts_unref(parts);
    if (rig.engine)
        mk_flow_engine_free(rig.engine);
    if (rig.loop)
        mk_loop_free(rig.loop);
    if (rig.pool)
        mk_pool_free(rig.pool);
    return status;
}

static void running_out_of_memory_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    sweep_allocations("parts", run_once);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_comes_is_in_parts_of_one_size),
        cmocka_unit_test(the_flow_waits_for_whoever_takes_parts),
        cmocka_unit_test(the_takers_failure_is_the_sinks),
        cmocka_unit_test(whoever_waits_for_a_part_hears_that_the_flow_has_failed),
        cmocka_unit_test(nobody_can_say_that_all_is_well_before_all_was_taken),
        cmocka_unit_test(takers_are_served_in_turn),
        cmocka_unit_test(a_part_lives_longer_than_its_flow),
        cmocka_unit_test(running_out_of_memory_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
