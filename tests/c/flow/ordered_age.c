/* age files through a flow, whatever the sizes of its blocks. (Cancelled, and without memory:
 * faults.c.) */
#include "flow/rig.h"

static uint8_t identity[MK_AGE_KEY_BYTES], recipient[MK_AGE_KEY_BYTES];

static struct mk_ordered *age(bool seal, struct mk_error *err)
{
    struct mk_age_keys *keys = mk_age_keys_new(err);
    if (!keys)
        return NULL;
    memcpy(keys->keys[keys->n++], seal ? recipient : identity, MK_AGE_KEY_BYTES);
    return mk_ordered_age(seal, keys, err);
}

static struct mk_node *add_age(struct rig *rig, struct mk_node *parent, bool seal)
{
    struct mk_ordered *stage = parent ? age(seal, &rig->err) : NULL;
    return stage ? mk_flow_ordered(rig->flow, parent, stage, &rig->err) : NULL;
}

static void what_is_sealed_opens_whatever_the_block_sizes(void **state)
{
    (void)state;
    static const struct {
        uint64_t total;
        size_t block;
    } cases[] = {{0, 1},
                 {1, 1},
                 {3000, 1},
                 {MK_AGE_CHUNK - 1, 100},
                 {MK_AGE_CHUNK, 4096},
                 {MK_AGE_CHUNK + 1, 4096},
                 {3 * MK_AGE_CHUNK, MK_AGE_CHUNK},
                 {3 * MK_AGE_CHUNK + 5, MK_AGE_CHUNK + 1},
                 {10 * MK_BLOCK_BYTES, MK_BLOCK_BYTES},
                 {10 * MK_BLOCK_BYTES + 7, MK_BLOCK_BYTES - 11}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig rig;
        rig_up(&rig, 6);
        struct mk_node *node =
            mk_flow_source(rig.flow, &counting_new(cases[i].total, cases[i].block)->base);
        node = add_age(&rig, add_age(&rig, node, true), false);
        rig_run_and_check(&rig, node, cases[i].total);
    }
}

/* gzip's blocks are larger than what went into them when that does not compress. */
static void what_does_not_compress_fits_as_well(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 8);
    struct mk_command *random = command("head -c 20000000 /dev/urandom");
    struct mk_node *node = mk_flow_source(rig.flow, mk_source_process(rig.loop, random, &rig.err));
    node = mk_flow_ordered(rig.flow, node, mk_ordered_gzip(1, &rig.err), &rig.err);
    node = add_age(&rig, add_age(&rig, node, true), false);
    node = mk_flow_stream(rig.flow, node, "gzip", mk_gzip_decoder_new(&rig.err));
    mk_flow_sink(rig.flow, node, mk_sink_null(&rig.err));
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    struct mk_node_report report;
    mk_flow_node_report(rig.flow, 4, &report);
    assert_int_equal(report.bytes_out, 20000000);
    rig_down(&rig);
}

static int make_keys(void **state)
{
    struct mk_error err;
    assert_ok(mk_age_generate(identity, &err), err);
    assert_ok(mk_age_recipient_of(identity, recipient, &err), err);
    return make_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_opens_whatever_the_block_sizes),
        cmocka_unit_test(what_does_not_compress_fits_as_well),
    };
    return cmocka_run_group_tests(tests, make_keys, remove_folder);
}
