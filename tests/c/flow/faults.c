/* Whole flows under attack: cancelled at every turn of the loop, out of memory at every
 * allocation, with branches that die, workers that finish in reverse, and stalls. */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/content_digest.h"
#include "codec/large_objects.h"
#include "flow/rig.h"

/* How often a loop runs, or how long it takes: MOONKEEP_ROUNDS=all stands for the whole. */
static int rounds(const char *what, int standard, int all)
{
    const char *wanted = getenv("MOONKEEP_ROUNDS");
    int n = wanted && strcmp(wanted, "all") == 0 ? all : standard;
    printf("rounds: %s: %d of %d\n", what, n, all);
    return n;
}

/* ---- trees: each returns false when memory is out ------------------------------------------ */

static bool add_sink(struct rig *rig, struct mk_node *parent, struct mk_sink *sink)
{
    return parent && sink && mk_flow_sink(rig->flow, parent, sink);
}

static struct mk_node *add_stream(struct rig *rig, struct mk_node *parent, struct mk_stream *stream)
{
    return parent && stream ? mk_flow_stream(rig->flow, parent, "stream", stream)
                            : (mk_stream_free(stream), NULL);
}

static struct mk_node *add_source(struct rig *rig, struct mk_source *source)
{
    return source ? mk_flow_source(rig->flow, source) : NULL;
}

static bool small_tree(struct rig *rig)
{
    struct mk_node *node = add_source(rig, mk_source_memory("hello", 5, &rig->err));
    node = add_stream(rig, node, mk_lz4_encoder_new(1, &rig->err));
    return add_sink(rig, node, node ? mk_sink_null(&rig->err) : NULL);
}

/* A child's output, gzipped and unzipped, into a file, a digest and another child. */
static bool large_tree(struct rig *rig)
{
    struct mk_command *producer = command("head -c 1500000 /dev/zero");
    struct mk_node *node =
        producer ? add_source(rig, mk_source_process(rig->loop, producer, &rig->err)) : NULL;
    struct mk_ordered *gzip = node ? mk_ordered_gzip(1, &rig->err) : NULL;
    node = gzip ? mk_flow_ordered(rig->flow, node, gzip, &rig->err) : NULL;
    node = add_stream(rig, node, node ? mk_gzip_decoder_new(&rig->err) : NULL);
    if (!add_sink(rig, node, node ? mk_sink_file(rig->loop, path, 0, &rig->err) : NULL) ||
        !add_sink(rig, node, mk_sink_digest(rig->loop, mk_xxh3_new(&rig->err), &rig->err)))
        return false;
    struct mk_command *consumer = command("cat >/dev/null; echo done");
    return consumer &&
           add_sink(rig, node, mk_sink_process(rig->loop, consumer, false, true, &rig->err));
}

/* Rows, no faster than they may come, summed up and kept; and a large object without data. */
static bool limited_tree(struct rig *rig)
{
    static const char copy[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"
                               "\0\3\0\0\0\4\0\0\0\7\0\0\0\10\0\0\0\0\0\0\0\0\0\0\0\0"
                               "\377\377";
    const struct mk_content_spec content = {.large_objects = true, .packed = true};
    struct mk_limiter *limiter = mk_limiter_new(rig->loop, &rig->err);
    if (!limiter)
        return false;
    mk_limiter_set_rate(limiter, 2000);
    struct mk_node *node = add_source(rig, mk_source_memory(copy, sizeof copy - 1, &rig->err));
    if (node)
        mk_flow_set_limiter(node, limiter);
    mk_limiter_unref(limiter);
    node = add_stream(rig, node, node ? mk_large_objects_new(true, &rig->err) : NULL);
    return add_sink(rig, node, node ? mk_sink_text(4096, &rig->err) : NULL) &&
           add_sink(
               rig, node,
               mk_sink_digest(rig->loop, mk_content_digest_new(&content, &rig->err), &rig->err));
}

/* An age file, made and opened; any identity does. */
static struct mk_node *add_age(struct rig *rig, struct mk_node *parent, bool seal)
{
    struct mk_age_keys *keys = parent ? mk_age_keys_new(&rig->err) : NULL;
    if (!keys)
        return NULL;
    uint8_t identity[MK_AGE_KEY_BYTES] = {1};
    keys->n = 1;
    memcpy(keys->keys[0], identity, sizeof identity);
    if (seal)
        mk_age_recipient_of(identity, keys->keys[0], &rig->err);
    struct mk_ordered *stage = mk_ordered_age(seal, keys, &rig->err);
    return stage ? mk_flow_ordered(rig->flow, parent, stage, &rig->err) : NULL;
}

static bool sealed_tree(struct rig *rig)
{
    struct mk_node *node = add_source(rig, mk_source_memory("hello", 5, &rig->err));
    node = add_age(rig, add_age(rig, node, true), false);
    return add_sink(rig, node, node ? mk_sink_text(4096, &rig->err) : NULL);
}

static bool (*const trees[])(struct rig *rig) = {small_tree, large_tree, limited_tree, sealed_tree};
#define N_TREES (sizeof trees / sizeof trees[0])

/* ---- cancelling and memory ----------------------------------------------------------------- */

static void a_flow_can_be_cancelled_at_any_turn_of_the_loop(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_TREES; t++) {
        int status = MK_ECANCELED;
        for (int turn = 0; status == MK_ECANCELED; turn++) {
            struct rig rig;
            rig_up(&rig, 3);
            assert_true(trees[t](&rig));
            mk_flow_start(rig.flow);
            struct mk_wait *wait = mk_flow_wait(rig.flow);
            for (int i = 0; i < turn && wait->state == MK_WAIT_ARMED; i++)
                mk_loop_run_once(rig.loop);
            bool late = wait->state != MK_WAIT_ARMED;
            if (!late)
                wait->cancel(wait);
            status = rig_wait(&rig, rig.flow);
            rig_down(&rig);
            if (status == MK_OK) /* so everything is there */
                assert_int_equal(count_files(), trees[t] == large_tree ? 1 : 0);
            else
                assert_int_equal(count_files(), 0);
            unlink(path);
            status = late ? MK_OK : MK_ECANCELED;
        }
    }
}

static void an_allocation_that_fails_anywhere_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_TREES; t++) {
        int64_t n = 1;
        for (bool complete = false; !complete; n++) {
            struct rig rig;
            int64_t live = mk_mem_live();
            rig_up(&rig, 3);
            mk_mem_fail_at(n);
            bool built = trees[t](&rig);
            int status = built ? rig_run(&rig) : MK_ENOMEM;
            complete = mk_mem_fail_at(0) > 0; /* it had not come to pass */
            rig_down(&rig);
            assert_int_equal(mk_mem_live(), live);
            if (status != MK_OK && count_files() > 0)
                fail_msg("tree %zu, allocation %d: a file was left (%d)", t, (int)n, status);
            unlink(path);
            assert_true(complete ? status == MK_OK : true);
        }
        printf("rounds: allocations of tree %zu: all %d\n", t, (int)n - 2);
    }
}

/* ---- branches that die ----------------------------------------------------------------------- */

/* Makes blocks without end of its first input; or, to fail slowly at a certain step, one of each.
 */
struct swelling {
    struct mk_stream base;
    int slow_failure_at;
};

static int swelling_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    struct swelling *self = (struct swelling *)stream;
    bool fails = self->slow_failure_at > 0;
    if (fails && --self->slow_failure_at == 0) {
        usleep(300000);
        return mk_error_set(err, MK_ECORRUPT, "swelling", "found too late");
    }
    memset(io->out, 0, io->out_cap);
    io->out_used = io->in_len > 0 ? io->out_cap : 0;
    io->in_used = fails ? io->in_len : 0;
    io->done = io->end && io->in_len == 0;
    return MK_OK;
}

static void swelling_free(struct mk_stream *stream)
{
    mk_free(stream);
}

static const struct mk_stream_type swelling_type = {swelling_step, swelling_free, NULL};

static struct mk_stream *swelling_new(int slow_failure_at)
{
    struct swelling *self = mk_calloc(sizeof *self);
    self->base.type = &swelling_type;
    self->slow_failure_at = slow_failure_at;
    return &self->base;
}

/* Holds its first block for a while, then fails. */
static struct mk_sink *failing_sink(struct mk_loop *loop)
{
    struct checking_sink *sink = checking_new(loop);
    sink->fail_at = 2;
    sink->delay_ms = 100;
    return &sink->base;
}

static void a_branch_that_is_cut_off_gives_its_blocks_back(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 3);
    struct mk_flow *flows[3];
    uint64_t received[3] = {0};
    for (int i = 0; i < 3; i++) {
        flows[i] = i ? mk_flow_new(rig.engine, &rig.err) : rig.flow;
        mk_flow_set_independent(flows[i]);
        struct mk_node *source =
            mk_flow_source(flows[i], &counting_new(40ULL * MK_BLOCK_BYTES, MK_BLOCK_BYTES)->base);
        struct mk_node *stream = mk_flow_stream(flows[i], source, "swelling", swelling_new(0));
        mk_flow_sink(flows[i], stream, failing_sink(rig.loop));
        struct checking_sink *good = checking_new(rig.loop);
        good->received_out = &received[i];
        mk_flow_sink(flows[i], source, &good->base);
        mk_flow_start(flows[i]);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_wait(&rig, flows[i]), MK_OK);
        assert_int_equal(received[i], 40ULL * MK_BLOCK_BYTES);
    }
    mk_flow_free(flows[1]);
    mk_flow_free(flows[2]);
    rig_down(&rig);
}

static void what_a_dead_branch_still_finds_harms_nobody(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    mk_flow_set_independent(rig.flow);
    struct mk_node *source =
        mk_flow_source(rig.flow, &counting_new(10ULL * MK_BLOCK_BYTES, MK_BLOCK_BYTES)->base);
    struct mk_node *stream = mk_flow_stream(rig.flow, source, "swelling", swelling_new(3));
    mk_flow_sink(rig.flow, stream, failing_sink(rig.loop));
    mk_flow_sink(rig.flow, source, mk_sink_digest(rig.loop, mk_xxh3_new(&rig.err), &rig.err));
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    rig_down(&rig);
}

/* ---- order ----------------------------------------------------------------------------------- */

/* Of every pair, the first piece takes longer than the second. */
static int reverse_run(struct mk_slot *slot, struct mk_error *err)
{
    (void)err;
    if (((struct numbered_slot *)slot)->number % 2 == 0)
        usleep(5000);
    memcpy(slot->out->data, slot->in->data, slot->in->len);
    slot->out->len = slot->in->len;
    return MK_OK;
}

static const struct mk_ordered_type reverse_type = NUMBERED_TYPE("reverse", reverse_run);

static void pieces_that_finish_in_reverse_come_out_in_order(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    bool bad = false;
    uint64_t received = 0;
    struct checking_sink *sink = checking_new(rig.loop);
    sink->bad_out = &bad;
    sink->received_out = &received;
    struct mk_node *node = mk_flow_source(rig.flow, &counting_new(100 * 1000, 1000)->base);
    node = mk_flow_ordered(rig.flow, node, numbered_new(&reverse_type), &rig.err);
    mk_flow_sink(rig.flow, node, &sink->base);
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    assert_int_equal(received, 100000);
    assert_false(bad);
    rig_down(&rig);
}

/* ---- stalls ---- */

static void a_stalled_sink_costs_neither_memory_nor_time(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 6);
    int stall_ms = rounds("milliseconds of a stall", 1500, 60000);
    struct checking_sink *sink = checking_new(rig.loop);
    sink->delay_ms = stall_ms;
    uint64_t received = 0;
    sink->received_out = &received;
    struct mk_node *node =
        mk_flow_source(rig.flow, &counting_new(1ULL << 40, MK_BLOCK_BYTES)->base);
    mk_flow_sink(rig.flow, node, &sink->base);
    mk_flow_start(rig.flow);
    int64_t began = mk_monotonic_ms();
    while (mk_monotonic_ms() - began < stall_ms / 3) /* until everything stands still */
        mk_loop_poll(rig.loop), usleep(1000);
    size_t in_use = mk_pool_in_use(rig.pool);
    int turns = 0;
    uint64_t before = received;
    do { /* until the end of the stall */
        mk_loop_run_once(rig.loop);
        turns++;
    } while (received == before);
    assert_true(mk_monotonic_ms() - began >= stall_ms / 2);
    assert_true(turns < 50); /* it slept */
    assert_true(in_use <= 6 + 4 && mk_pool_peak(rig.pool) <= 6 + 4);
    struct mk_wait *wait = mk_flow_wait(rig.flow);
    wait->cancel(wait);
    assert_int_equal(rig_wait(&rig, rig.flow), MK_ECANCELED);
    rig_down(&rig);
}

static void a_grandchild_that_keeps_the_sinks_stdin_open_is_not_waited_for_long(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 6);
    struct mk_node *source =
        mk_flow_source(rig.flow, &counting_new(1ULL << 40, MK_BLOCK_BYTES)->base);
    mk_flow_sink(rig.flow, source,
                 mk_sink_process(rig.loop,
                                 command("exec 3<&0; sleep 300 <&3 >/dev/null 2>&1 & exit 3"),
                                 false, false, &rig.err));
    int64_t began = mk_monotonic_ms();
    assert_int_equal(rig_run(&rig), MK_ECHILD);
    assert_non_null(strstr(mk_flow_error(rig.flow)->message, "exit code 3"));
    assert_true(mk_monotonic_ms() - began < 60000);
    rig_down(&rig);
}

/* The child has ended, and its last bytes wait in the pipe, for longer than a grandchild would be
 * waited for: its sink is slow, that is all. */
static void a_sink_slower_than_the_childs_end_still_gets_everything(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 1);
    uint64_t received = 0;
    struct checking_sink *sink = checking_new(rig.loop);
    sink->received_out = &received;
    sink->delay_ms = MK_PROCESS_LINGER_MS + 200;
    struct mk_node *source = mk_flow_source(
        rig.flow, mk_source_process(rig.loop, command("head -c 2500000 /dev/zero"), &rig.err));
    mk_flow_sink(rig.flow, source, &sink->base);
    mk_flow_start(rig.flow);
    struct mk_wait *wait = mk_flow_wait(rig.flow);
    while (wait->state == MK_WAIT_ARMED) {
        uint64_t before = received;
        mk_loop_run_once(rig.loop);
        if (received != before && before > 0)
            usleep((MK_PROCESS_LINGER_MS + 100) * 1000); /* a loop that was busy elsewhere */
    }
    assert_ok(wait->status, *mk_flow_error(rig.flow));
    assert_int_equal(received, 2500000);
    rig_down(&rig);
}

/* ---- writing
 * ------------------------------------------------------------------------------------- */

/* The limit cuts a write short, and refuses the next. */
static void a_short_write_is_continued_and_its_error_told(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 3 * MK_BLOCK_BYTES / 2;
    struct rig rig;
    rig_up(&rig, 4);
    mk_flow_sink(rig.flow,
                 mk_flow_source(rig.flow, &counting_new(3ULL * MK_BLOCK_BYTES, 999)->base),
                 mk_sink_file(rig.loop, path, 0, &rig.err));
    setrlimit(RLIMIT_FSIZE, &limit);
    int status = rig_run(&rig);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(status, MK_ENOSPC);
    assert_non_null(strstr(mk_flow_error(rig.flow)->message, "File too large"));
    assert_non_null(strstr(mk_flow_error(rig.flow)->hint, "ulimit -f"));
    rig_down(&rig);
    assert_int_equal(count_files(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_can_be_cancelled_at_any_turn_of_the_loop),
        cmocka_unit_test(an_allocation_that_fails_anywhere_is_an_error_and_leaks_nothing),
        cmocka_unit_test(a_branch_that_is_cut_off_gives_its_blocks_back),
        cmocka_unit_test(what_a_dead_branch_still_finds_harms_nobody),
        cmocka_unit_test(pieces_that_finish_in_reverse_come_out_in_order),
        cmocka_unit_test(a_stalled_sink_costs_neither_memory_nor_time),
        cmocka_unit_test(a_grandchild_that_keeps_the_sinks_stdin_open_is_not_waited_for_long),
        cmocka_unit_test(a_sink_slower_than_the_childs_end_still_gets_everything),
        cmocka_unit_test(a_short_write_is_continued_and_its_error_told),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
