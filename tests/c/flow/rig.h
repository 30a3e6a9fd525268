#ifndef TESTS_C_FLOW_RIG_H
#define TESTS_C_FLOW_RIG_H

/* A flow with its loop and pool, and stages that misbehave on purpose. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>

#include "base/mem.h"
#include "flow/flow.h"
#include "flow/stages.h"
#include "loop/file.h"
#include "loop/timer.h"
#include "support.h"

struct rig {
    struct mk_loop *loop;
    struct mk_pool *pool;
    struct mk_flow_engine *engine;
    struct mk_flow *flow;
    struct mk_error err;
};

static inline void rig_up(struct rig *rig, size_t pool_blocks)
{
    signal(SIGPIPE, SIG_IGN);
    rig->loop = mk_loop_new(2, &rig->err);
    rig->pool = mk_pool_new(pool_blocks);
    rig->engine = mk_flow_engine_new(rig->loop, rig->pool, &rig->err);
    rig->flow = mk_flow_new(rig->engine, &rig->err);
}

static inline int rig_wait(struct rig *rig, struct mk_flow *flow)
{
    struct mk_wait *wait = mk_flow_wait(flow);
    while (wait->state == MK_WAIT_ARMED)
        assert_true(mk_loop_run_once(rig->loop) || wait->state != MK_WAIT_ARMED);
    return wait->status;
}

static inline int rig_run(struct rig *rig)
{
    mk_flow_start(rig->flow);
    return rig_wait(rig, rig->flow);
}

/* Everything must have been given back. */
static inline void rig_down(struct rig *rig)
{
    mk_flow_free(rig->flow);
    mk_flow_engine_free(rig->engine);
    assert_int_equal(mk_loop_free(rig->loop), 0);
    assert_int_equal(mk_pool_in_use(rig->pool), 0);
    mk_pool_free(rig->pool);
}

/* ---- a folder for a whole test program, and commands ---------------------------------------- */

static char folder[64], path[128];

static inline int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/moonkeep-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static inline int remove_folder(void **state)
{
    (void)state;
    struct mk_error err;
    return mk_file_remove_tree(folder, &err);
}

static inline int count_files(void)
{
    int n = 0;
    DIR *dir = opendir(folder);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2; /* . and .. */
}

/* For a shell; NULL when memory is out. */
static inline struct mk_command *command(const char *script)
{
    struct mk_command *self = mk_calloc(sizeof *self);
    char **argv = mk_calloc(4 * sizeof *argv);
    if (!self || !argv) {
        mk_free(self);
        mk_free(argv);
        return NULL;
    }
    self->argv = argv;
    argv[0] = mk_strdup("sh");
    argv[1] = argv[0] ? mk_strdup("-c") : NULL;
    argv[2] = argv[1] ? mk_strdup(script) : NULL;
    if (argv[2])
        return self;
    mk_command_free(self);
    return NULL;
}

/* ---- an ordered stage of which only `run` matters; it knows the number of its piece ------------
 */

struct numbered_slot {
    struct mk_slot base;
    int number;
};
struct numbered_stage {
    struct mk_ordered base;
    int issued;
};

static inline int numbered_init(struct mk_ordered *stage, struct mk_slot *slot,
                                struct mk_error *err)
{
    (void)stage;
    (void)slot;
    (void)err;
    return MK_OK;
}

static inline void numbered_fini(struct mk_slot *slot)
{
    (void)slot;
}

static inline bool numbered_prepare(struct mk_ordered *stage, struct mk_slot *slot)
{
    if (slot->in)
        ((struct numbered_slot *)slot)->number = ((struct numbered_stage *)stage)->issued++;
    return slot->in != NULL;
}

static inline void numbered_free(struct mk_ordered *stage)
{
    mk_free(stage);
}

#define NUMBERED_TYPE(name_, run_)                                                                 \
    {                                                                                              \
        .name = (name_), .slot_bytes = sizeof(struct numbered_slot), .slot_init = numbered_init,   \
        .slot_fini = numbered_fini, .prepare = numbered_prepare, .run = (run_),                    \
        .free = numbered_free                                                                      \
    }

static inline struct mk_ordered *numbered_new(const struct mk_ordered_type *type)
{
    struct numbered_stage *self = mk_calloc(sizeof *self);
    self->base.type = type;
    return &self->base;
}

/* A source that counts bytes out: 0, 1, 2 ... mod 251, in blocks of any size, and may fail. */
struct counting_source {
    struct mk_source base;
    uint64_t total, sent;
    size_t block_bytes;
    uint64_t fail_at; /* 0: never */
};

static inline void counting_want(struct mk_source *source, struct mk_block *block)
{
    struct counting_source *self = (struct counting_source *)source;
    struct mk_error err;
    if (self->fail_at && self->sent >= self->fail_at) {
        mk_error_set(&err, MK_EIO, "counting", "broken on purpose");
        mk_source_filled(source, false, MK_EIO, &err);
        return;
    }
    size_t n = self->block_bytes;
    if (n > self->total - self->sent)
        n = (size_t)(self->total - self->sent);
    for (size_t i = 0; i < n; i++)
        block->data[i] = (uint8_t)((self->sent + i) % 251);
    block->len = n;
    self->sent += n;
    mk_source_filled(source, self->sent == self->total, MK_OK, NULL);
}

static inline void counting_abort(struct mk_source *source)
{
    (void)source;
}

static inline void counting_close(struct mk_source *source)
{
    mk_source_closed(source);
    mk_free(source);
}

static const struct mk_source_type counting_type = {"counting",     counting_want, counting_abort,
                                                    counting_close, NULL,          NULL};

static inline struct counting_source *counting_new(uint64_t total, size_t block_bytes)
{
    struct counting_source *self = mk_calloc(sizeof *self);
    self->base.type = &counting_type;
    self->total = total;
    self->block_bytes = block_bytes;
    return self;
}

/* A sink that checks the counting source's bytes, takes its time, and may fail. */
struct checking_sink {
    struct mk_sink base;
    struct mk_loop *loop;
    struct mk_timer *timer;
    int delay_ms;
    int *puts_out;
    uint64_t received, fail_at;
    bool bad, finished;
    bool *finished_out, *bad_out;
    uint64_t *received_out;
};

static inline bool checking_fails(const struct checking_sink *self)
{
    return self->fail_at && self->received >= self->fail_at;
}

static inline void checking_done(struct checking_sink *self)
{
    struct mk_error err;
    if (checking_fails(self)) {
        mk_error_set(&err, MK_ENOSPC, "checking", "full on purpose");
        mk_sink_done(&self->base, MK_ENOSPC, &err);
    } else {
        mk_sink_done(&self->base, MK_OK, NULL);
    }
}

static inline void checking_answer(void *arg)
{
    struct checking_sink *self = arg;
    mk_timer_close(self->timer);
    self->timer = NULL;
    checking_done(self);
}

static inline void checking_check(struct checking_sink *self, const struct mk_block *block)
{
    for (size_t i = 0; i < block->len; i++)
        self->bad = self->bad || block->data[i] != (uint8_t)((self->received + i) % 251);
    self->received += block->len;
}

static inline void checking_put(struct mk_sink *sink, struct mk_block *block)
{
    struct checking_sink *self = (struct checking_sink *)sink;
    if (self->puts_out)
        ++*self->puts_out;
    do
        checking_check(self, block);
    while (sink->asks_for_more && !checking_fails(self) && (block = mk_sink_more(sink)));
    if (self->received_out)
        *self->received_out = self->received;
    if (self->bad_out)
        *self->bad_out = self->bad;
    struct mk_error err;
    if (self->delay_ms == 0)
        checking_done(self);
    else
        self->timer = mk_timer_start(self->loop, self->delay_ms, checking_answer, self, &err);
}

static inline void checking_finish(struct mk_sink *sink)
{
    struct checking_sink *self = (struct checking_sink *)sink;
    if (self->finished_out)
        *self->finished_out = true;
    mk_sink_done(sink, MK_OK, NULL);
}

static inline void checking_abort(struct mk_sink *sink)
{
    (void)sink;
}

static inline void checking_close(struct mk_sink *sink)
{
    mk_sink_closed(sink);
    mk_free(sink);
}

static const struct mk_sink_type checking_type = {"checking",     checking_put,   checking_finish,
                                                  checking_abort, checking_close, NULL};

static inline struct checking_sink *checking_new(struct mk_loop *loop)
{
    struct checking_sink *self = mk_calloc(sizeof *self);
    self->base.type = &checking_type;
    self->loop = loop;
    return self;
}

/* Runs the flow, whose last node this is: exactly the counted bytes must come out of it. */
static inline void rig_run_and_check(struct rig *rig, struct mk_node *node, uint64_t total)
{
    uint64_t received = 0;
    bool bad = false;
    struct checking_sink *sink = checking_new(rig->loop);
    sink->received_out = &received;
    sink->bad_out = &bad;
    mk_flow_sink(rig->flow, node, &sink->base);
    assert_ok(rig_run(rig), *mk_flow_error(rig->flow));
    assert_int_equal(received, total);
    assert_false(bad);
    rig_down(rig);
}

#endif
