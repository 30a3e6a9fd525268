/*
 * moonkeep.core.flow: builds a flow from a Lua description and runs it. Lua holds the handle and
 * reads counters; the bytes stay below. A description is a list of stages from the source down:
 *
 *   { { kind = "process", argv = {...} }, { kind = "encode", codec = "zstd:3" },
 *     { kind = "tee", { { kind = "file", path = ... } }, { { kind = "sha256", label = "x" } } } }
 *
 * Sources: copy{connection, sql, hash, end_mark, codec}, pack{connection, members, codec},
 * file{path}, process{argv...}, feed{feed}, memory{text}. Transforms: encode{codec, threads},
 * decode{codec}, seal{recipients, passphrase}, open{identities, passphrase},
 * large_object_files{packed}, large_object_rows{packed, oid}, custom_blocks{packed,
 * id, members, large_objects, oid, first}, table_rows{member, csv, where}. Sinks: copy{connection,
 * sql}, unpack{connection, members}, parts{parts}, file{path}, null, text{limit}, sha256, xxh3,
 * rows{packed}, large_objects{packed, oid}, process{argv..., early, keep_stdout}, stdin{child},
 * stdout. A tee holds branches, each a list again; it comes last. A sink may also have `optional`,
 * `stall_ms` and `limiter`.
 */
#include <string.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "codec/codec.h"
#include "flow/flow.h"
#include "flow/stages.h"

#define TYPE_NAME  "moonkeep.flow"
#define MAX_LABELS 32
#define MAX_DEPTH  8

struct flow {
    struct mk_flow *flow;
    bool started, running;
    bool forgotten; /* its Lua value is gone while it was running */
    int n_labels;
    struct {
        int node; /* index in the flow */
        char text[32];
    } labels[MAX_LABELS];
};

static struct flow *check_flow(lua_State *L)
{
    struct flow **box = luaL_checkudata(L, 1, TYPE_NAME);
    if (!*box) /* at the very end finalizers meet what others have finalized already */
        luaL_error(L, "the flow is gone");
    return *box;
}

/* ---- limiters ------------------------------------------------------------------------------ */

#define LIMITER_TYPE "moonkeep.limiter"

static struct mk_limiter *check_limiter(lua_State *L, int index)
{
    struct mk_limiter **box = luaL_checkudata(L, index, LIMITER_TYPE);
    return *box;
}

/* limiter() -> a rate that flows share, without a limit at first */
static int l_limiter(lua_State *L)
{
    struct mk_limiter **box = lua_newuserdatauv(L, sizeof(struct mk_limiter *), 0);
    *box = NULL;
    luaL_setmetatable(L, LIMITER_TYPE);
    struct mk_error err;
    *box = mk_limiter_new(mk_runtime_of(L)->loop, &err);
    if (!*box)
        return mk_raise(L, &err);
    return 1;
}

/* limiter:set(bytes per second); 0: no limit */
static int l_limiter_set(lua_State *L)
{
    struct mk_limiter *limiter = check_limiter(L, 1);
    lua_Integer rate = luaL_checkinteger(L, 2);
    luaL_argcheck(L, rate >= 0 && rate <= INT64_MAX / 100000, 2, "not a rate");
    mk_limiter_set_rate(limiter, rate);
    return 0;
}

static int l_limiter_gc(lua_State *L)
{
    struct mk_limiter **box = luaL_checkudata(L, 1, LIMITER_TYPE);
    mk_limiter_unref(*box);
    *box = NULL;
    return 0;
}

/* ---- building: protected, so that any mistake frees what was built ------------------------- */

struct builder {
    struct flow *flow;
    struct mk_runtime *runtime;
    struct mk_limiter *limiter; /* of the source; or NULL */
};

static void add_label(lua_State *L, struct flow *flow, int stage)
{
    const char *label = mk_opt_field_string(L, stage, "label", NULL);
    if (!label)
        return;
    if (flow->n_labels == MAX_LABELS)
        luaL_error(L, "too many labels");
    flow->labels[flow->n_labels].node = mk_flow_node_count(flow->flow) - 1;
    strncpy(flow->labels[flow->n_labels].text, label, sizeof flow->labels[0].text - 1);
    flow->n_labels++;
}

static struct mk_codec check_codec(lua_State *L, int stage)
{
    struct mk_codec codec;
    struct mk_error err;
    if (mk_codec_parse(mk_check_field_string(L, stage, "codec"), &codec, &err) != MK_OK)
        mk_raise(L, &err);
    return codec;
}

/* By default as many as there are workers; 1 where many flows run side by side. */
static int check_threads(lua_State *L, struct builder *b, int stage)
{
    lua_getfield(L, stage, "threads");
    lua_Integer threads = luaL_optinteger(L, -1, mk_loop_workers(b->runtime->loop));
    if (threads < 1 || threads > 256)
        luaL_error(L, "threads must be from 1 to 256");
    lua_pop(L, 1);
    return (int)threads;
}

/* Returns the new node, or `parent` for the codec "none". */
static struct mk_node *add_codec(lua_State *L, struct builder *b, struct mk_node *parent, int stage,
                                 bool encode)
{
    struct mk_codec codec = check_codec(L, stage);
    struct mk_flow *flow = b->flow->flow;
    struct mk_error err;
    struct mk_node *node = NULL;
    if (codec.id == MK_CODEC_NONE) {
        return parent;
    } else if (encode && codec.id == MK_CODEC_GZIP) {
        struct mk_ordered *ordered = mk_ordered_gzip(codec.level, &err);
        node = ordered ? mk_flow_ordered(flow, parent, ordered, &err) : NULL;
    } else {
        struct mk_stream *stream = encode ? mk_encoder_new(&codec, check_threads(L, b, stage), &err)
                                          : mk_decoder_new(codec.id, &err);
        node = stream ? mk_flow_stream(flow, parent, mk_codec_name(codec.id), stream) : NULL;
    }
    if (!node) {
        mk_error_nomem(&err, "flow");
        mk_raise(L, &err);
    }
    return node;
}

/* An age file, made or read. */
static struct mk_node *add_age(lua_State *L, struct builder *b, struct mk_node *parent, int stage,
                               bool seal)
{
    struct mk_error err;
    struct mk_ordered *ordered = mk_make_age(L, stage, seal, &err);
    if (!ordered)
        mk_raise(L, &err);
    struct mk_node *node = mk_flow_ordered(b->flow->flow, parent, ordered, &err);
    if (!node)
        mk_raise(L, &err);
    return node;
}

/* NULL: `kind` is not a transform. */
static struct mk_node *add_transform(lua_State *L, struct builder *b, struct mk_node *parent,
                                     int stage, const char *kind)
{
    struct mk_error err;
    const char *name;
    if (strcmp(kind, "encode") == 0 || strcmp(kind, "decode") == 0)
        return add_codec(L, b, parent, stage, kind[0] == 'e');
    if (strcmp(kind, "seal") == 0 || strcmp(kind, "open") == 0)
        return add_age(L, b, parent, stage, kind[0] == 's');
    struct mk_stream *stream = mk_make_transform(L, stage, kind, &name, &err);
    if (name && !stream)
        mk_raise(L, &err);
    struct mk_node *node = stream ? mk_flow_stream(b->flow->flow, parent, name, stream) : NULL;
    if (stream && !node)
        mk_raise_nomem(L);
    return node;
}

static void build_chain(lua_State *L, struct builder *b, struct mk_node *parent, int chain,
                        int depth);

static void build_tee(lua_State *L, struct builder *b, struct mk_node *parent, int stage, int depth)
{
    lua_Integer n = luaL_len(L, stage);
    if (n < 1)
        luaL_error(L, "a tee needs at least one branch");
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, stage, i) != LUA_TTABLE)
            luaL_error(L, "a branch of a tee must be a list of stages");
        build_chain(L, b, parent, lua_gettop(L), depth + 1);
        lua_pop(L, 1);
    }
}

static struct mk_node *build_source(lua_State *L, struct builder *b, int stage, const char *kind)
{
    struct mk_error err;
    struct mk_source *source = mk_make_source(L, b->runtime, stage, kind, &err);
    if (!source)
        mk_raise(L, &err);
    struct mk_node *node = mk_flow_source(b->flow->flow, source);
    if (!node)
        mk_raise_nomem(L);
    if (b->limiter)
        mk_flow_set_limiter(node, b->limiter);
    return node;
}

/* How a sink is treated: see mk_flow_set_optional and mk_flow_set_limiter. */
static void set_terms(lua_State *L, struct mk_node *sink, int stage)
{
    if (lua_getfield(L, stage, "stall_ms") != LUA_TNIL || mk_field_bool(L, stage, "optional"))
        mk_flow_set_optional(sink, luaL_optinteger(L, -1, 0));
    if (lua_getfield(L, stage, "limiter") != LUA_TNIL)
        mk_flow_set_limiter(sink, check_limiter(L, -1));
    lua_pop(L, 2);
}

/* One stage below `parent`. Returns the node that the next stage hangs on, NULL after a sink. */
static struct mk_node *build_stage(lua_State *L, struct builder *b, struct mk_node *parent,
                                   int stage, bool last, int depth)
{
    const char *kind = mk_check_field_string(L, stage, "kind");
    struct mk_node *node =
        parent ? add_transform(L, b, parent, stage, kind) : build_source(L, b, stage, kind);
    if (node) {
        add_label(L, b->flow, stage);
        if (last)
            luaL_error(L, "the flow has no sink after \"%s\"", kind);
        return node;
    }
    if (!last) {
        luaL_error(L, "\"%s\" must be the last stage", kind);
    } else if (strcmp(kind, "tee") == 0) {
        build_tee(L, b, parent, stage, depth);
        return NULL;
    } else {
        struct mk_error err;
        struct mk_sink *sink = mk_make_sink(L, b->runtime, stage, kind, &err);
        if (!sink)
            mk_raise(L, &err);
        struct mk_node *added = mk_flow_sink(b->flow->flow, parent, sink);
        if (!added)
            mk_raise_nomem(L);
        set_terms(L, added, stage);
    }
    add_label(L, b->flow, stage);
    return NULL;
}

static void build_chain(lua_State *L, struct builder *b, struct mk_node *parent, int chain,
                        int depth)
{
    luaL_checkstack(L, 16, NULL);
    if (depth > MAX_DEPTH)
        luaL_error(L, "tees are nested too deeply");
    lua_Integer n = luaL_len(L, chain);
    if (n < 1)
        luaL_error(L, "the flow has no stages");
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, chain, i) != LUA_TTABLE)
            luaL_error(L, "stage %d must be a table", (int)i);
        parent = build_stage(L, b, parent, lua_gettop(L), i == n, depth);
        lua_pop(L, 1);
    }
}

static int protected_build(lua_State *L)
{
    build_chain(L, lua_touserdata(L, 2), NULL, 1, 0);
    return 0;
}

/* ---- making -------------------------------------------------------------------------------- */

/* new(description, { independent = bool, limiter = limiter }) -> flow */
static int l_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct mk_runtime *runtime = mk_runtime_of(L);
    bool independent = lua_istable(L, 2) && mk_field_bool(L, 2, "independent");
    struct mk_limiter *limiter = NULL;
    if (lua_istable(L, 2) && lua_getfield(L, 2, "limiter") != LUA_TNIL)
        limiter = check_limiter(L, -1); /* the table holds it */
    struct flow **box = lua_newuserdatauv(L, sizeof(struct flow *), 0);
    *box = NULL;
    luaL_setmetatable(L, TYPE_NAME);
    struct flow *flow = mk_calloc(sizeof *flow);
    struct mk_error err;
    if (flow)
        flow->flow = mk_flow_new(runtime->engine, &err);
    if (!flow || !flow->flow) {
        mk_free(flow);
        mk_raise_nomem(L);
    }
    *box = flow;
    if (independent)
        mk_flow_set_independent(flow->flow);
    struct builder builder = {flow, runtime, limiter};
    lua_pushcfunction(L, protected_build);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, &builder);
    lua_call(L, 2, 0); /* a mistake leaves what was built to the collector */
    return 1;
}

/* ---- running ------------------------------------------------------------------------------- */

static void flow_free(struct flow *flow)
{
    mk_flow_free(flow->flow);
    mk_free(flow);
}

/* The flow's own wait belongs to struct mk_flow; this one, which fires with it, knows the Lua
 * side, so that a flow outlives its Lua value when its task is killed. */
struct running {
    struct mk_wait wait; /* what the task awaits */
    struct flow *flow;
};

static void on_flow_fired(struct mk_wait *wait, void *arg)
{
    struct running *running = arg;
    running->flow->running = false;
    wait->state = MK_WAIT_CONSUMED;
    mk_wait_fire(&running->wait, wait->status);
}

static void on_run_cancel(struct mk_wait *wait)
{
    struct running *running = (struct running *)(void *)wait;
    struct mk_wait *inner = mk_flow_wait(running->flow->flow);
    if (inner->state == MK_WAIT_ARMED)
        inner->cancel(inner);
}

static void run_drop(struct mk_wait *wait)
{
    struct running *running = (struct running *)(void *)wait;
    if (running->flow->forgotten)
        flow_free(running->flow);
    mk_free(running);
}

static int run_push(lua_State *L, struct mk_wait *wait)
{
    struct running *running = (struct running *)(void *)wait;
    struct flow *flow = running->flow;
    int status = wait->status;
    mk_free(running);
    if (status != MK_OK)
        return mk_raise(L, mk_flow_error(flow->flow));
    return 0;
}

static const struct mk_await_ops run_ops = {.push = run_push, .drop = run_drop};

/* flow:run(): moves everything, raises on failure */
static int l_run(lua_State *L)
{
    struct flow *flow = check_flow(L);
    mk_await_check(L);
    if (flow->started)
        return luaL_error(L, "this flow has been run already");
    struct running *running = mk_calloc(sizeof *running);
    if (!running)
        mk_raise_nomem(L);
    mk_wait_init(&running->wait, on_run_cancel);
    running->flow = flow;
    flow->started = flow->running = true;
    struct mk_wait *inner = mk_flow_wait(flow->flow);
    inner->on_fire = on_flow_fired;
    inner->arg = running;
    mk_flow_start(flow->flow);
    return mk_await(L, &running->wait, &run_ops);
}

/* flow:report() -> list of { name, label, bytes_in, bytes_out, bytes_read, failed, error, result }
 */
static int l_report(lua_State *L)
{
    struct flow *flow = check_flow(L);
    int n = mk_flow_node_count(flow->flow);
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        struct mk_node_report report;
        mk_flow_node_report(flow->flow, i, &report);
        lua_createtable(L, 0, 6);
        lua_pushstring(L, report.name);
        lua_setfield(L, -2, "name");
        lua_pushinteger(L, (lua_Integer)report.bytes_in);
        lua_setfield(L, -2, "bytes_in");
        lua_pushinteger(L, (lua_Integer)report.bytes_out);
        lua_setfield(L, -2, "bytes_out");
        lua_pushinteger(L, (lua_Integer)report.bytes_read);
        lua_setfield(L, -2, "bytes_read");
        if (report.failed) {
            mk_push_error(L, report.err);
            lua_setfield(L, -2, "error");
        }
        if (report.result.bytes) {
            lua_pushlstring(L, report.result.bytes, report.result.len);
            lua_setfield(L, -2, "result");
        }
        for (int k = 0; k < flow->n_labels; k++) {
            if (flow->labels[k].node != i)
                continue;
            lua_pushstring(L, flow->labels[k].text);
            lua_setfield(L, -2, "label");
        }
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int l_gc(lua_State *L)
{
    struct flow **box = luaL_checkudata(L, 1, TYPE_NAME);
    struct flow *flow = *box;
    *box = NULL;
    if (!flow)
        return 0;
    if (flow->running)
        flow->forgotten = true; /* its task was killed: drop frees it */
    else
        flow_free(flow);
    return 0;
}

/* codec(spec) -> name, level, suffix: raises on an unknown one */
static int l_codec(lua_State *L)
{
    struct mk_codec codec;
    struct mk_error err;
    if (mk_codec_parse(luaL_checkstring(L, 1), &codec, &err) != MK_OK)
        return mk_raise(L, &err);
    lua_pushstring(L, mk_codec_name(codec.id));
    lua_pushinteger(L, codec.level);
    lua_pushstring(L, mk_codec_suffix(codec.id));
    return 3;
}

/* memory() -> bytes of blocks in use, and at most so far */
static int l_memory(lua_State *L)
{
    struct mk_pool *pool = mk_runtime_of(L)->pool;
    lua_Integer block = MK_BLOCK_BYTES + MK_BLOCK_SLACK;
    lua_pushinteger(L, (lua_Integer)mk_pool_in_use(pool) * block);
    lua_pushinteger(L, (lua_Integer)mk_pool_peak(pool) * block);
    return 2;
}

int luaopen_core_flow(lua_State *L)
{
    luaL_newmetatable(L, TYPE_NAME);
    static const luaL_Reg methods[] = {{"run", l_run}, {"report", l_report}, {NULL, NULL}};
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newmetatable(L, LIMITER_TYPE);
    static const luaL_Reg limiter_methods[] = {{"set", l_limiter_set}, {NULL, NULL}};
    luaL_newlib(L, limiter_methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_limiter_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {{"limiter", l_limiter},
                                         {"new", l_new},
                                         {"codec", l_codec},
                                         {"memory", l_memory},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
