#ifndef MK_BIND_BIND_H
#define MK_BIND_BIND_H

#include <lauxlib.h>
#include <lua.h>

#include "base/error.h"
#include "flow/flow.h"
#include "http/http.h"
#include "pg/pg.h"
#include "sched/sched.h"

/* What the bindings share. Each lua_<area>.c registers one native module, moonkeep.core.<area>;
 * the Lua library wraps them into what recipes see. */

/* What a run has one of; found from any Lua state of it. */
struct mk_runtime {
    struct mk_loop *loop;
    struct mk_pool *pool;
    struct mk_flow_engine *engine;
    struct mk_http *http; /* NULL until the first request: see mk_runtime_http */
    /* Takes one line of JSON, without the newline; `important` ones are never dropped. */
    void (*emit)(void *arg, const char *json, size_t len, bool important);
    /* Whether answers to questions (mk_answer) are awaited; false when nobody can give any. */
    bool (*listen)(void *arg, bool on);
    /* How long Lua may compute without waiting, and how much memory it may have. */
    void (*limit)(void *arg, int64_t watchdog_ms, size_t lua_memory_bytes);
    void *host_arg;     /* the argument of these */
    struct mk_ask *ask; /* the question that is open */
    int argc;           /* the command line */
    char **argv;
};
struct mk_runtime *mk_runtime_of(lua_State *L);
void mk_runtime_set(lua_State *L, struct mk_runtime *runtime);
/* Made when it is first asked for; NULL with the error. */
struct mk_http *mk_runtime_http(lua_State *L, struct mk_error *err);

/* The answer, as JSON, to the question that is open, if one is. */
#define MK_ANSWER_BYTES 8192 /* 1 KiB of text, each byte escaped */
void mk_answer(struct mk_runtime *runtime, const char *json, size_t len);

/* Error values: a table { code, op, message, hint, detail, sqlstate, where, traceback, also }. */
void mk_push_error(lua_State *L, const struct mk_error *err);
MK_RAISES int mk_raise(lua_State *L, const struct mk_error *err);
MK_RAISES void mk_raise_nomem(lua_State *L) __attribute__((noreturn));
/* What is at `index` as an error, as bindings know it: a text is one without a code. */
MK_RAISES void mk_check_error(lua_State *L, int index, struct mk_error *err);
/* The message handler of tasks: makes an error value of whatever was raised, adds traceback and
 * `where`, the nearest line that is not the library's own. */
int mk_error_handler(lua_State *L);

/* JSON of what is at `index` (not a relative one), to be freed by free(). `lenient`: strings may be
 * in any encoding. Raises when it cannot be written. */
MK_RAISES char *mk_json_text(lua_State *L, int index, bool pretty, bool lenient);

/* Field helpers for option tables. Strings stay valid while the table holds them. */
const char *mk_opt_field_string(lua_State *L, int table, const char *key, const char *standard);
MK_RAISES const char *mk_check_field_string(lua_State *L, int table, const char *key);
bool mk_field_bool(lua_State *L, int table, const char *key);
/* From 0 to max; `standard` when there is none. */
MK_RAISES lua_Integer mk_opt_field_integer(lua_State *L, int table, const char *key,
                                           lua_Integer standard, lua_Integer max);
/* 0 when there is none. */
MK_RAISES uint32_t mk_opt_field_oid(lua_State *L, int table, const char *key);

/* Reads { argv = {...}, env = { K = "v" }, cwd =, user =, death_signal = } at `index`. `env` adds
 * to this process's environment; false removes a name. Raises on mistakes. */
MK_RAISES struct mk_command *mk_check_command(lua_State *L, int index);

/* The open connection in a stage's field: a native one, or the library's with a `native`. */
MK_RAISES struct mk_pg *mk_check_field_pg(lua_State *L, int table, const char *key);
/* The descriptor of a child's stdin, which stays the child's. */
MK_RAISES int mk_check_field_stdin(lua_State *L, int table, const char *key);

/* The source or sink that the table at `stage` describes; NULL with the error. See lua_flow.c. */
MK_RAISES struct mk_source *mk_make_source(lua_State *L, struct mk_runtime *runtime, int stage,
                                           const char *kind, struct mk_error *err);
MK_RAISES struct mk_sink *mk_make_sink(lua_State *L, struct mk_runtime *runtime, int stage,
                                       const char *kind, struct mk_error *err);
/* Feeds and parts (lua_parts.c): their functions, for the table at the top; a value that is one;
 * the stages that are made of them. */
void mk_open_parts(lua_State *L);
MK_RAISES struct mk_feed *mk_check_feed(lua_State *L, int index);
MK_RAISES struct mk_part *mk_check_part(lua_State *L, int index);
MK_RAISES struct mk_source *mk_make_feed_source(lua_State *L, int stage, struct mk_error *err);
MK_RAISES struct mk_sink *mk_make_parts_sink(lua_State *L, int stage, struct mk_error *err);
/* The same for a transform other than encode and decode, with its name; no name: it is none. */
MK_RAISES struct mk_stream *mk_make_transform(lua_State *L, int stage, const char *kind,
                                              const char **name, struct mk_error *err);
/* What seals, or opens, an age file (lua_keys.c). */
MK_RAISES struct mk_ordered *mk_make_age(lua_State *L, int stage, bool seal, struct mk_error *err);

int luaopen_core_error(lua_State *L);
int luaopen_core_task(lua_State *L);
int luaopen_core_fs(lua_State *L);
int luaopen_core_process(lua_State *L);
int luaopen_core_flow(lua_State *L);
int luaopen_core_pg(lua_State *L);
int luaopen_core_backup_id(lua_State *L);
int luaopen_core_columns(lua_State *L);
int luaopen_core_units(lua_State *L);
int luaopen_core_db(lua_State *L);
int luaopen_core_http(lua_State *L);
int luaopen_core_json(lua_State *L);
int luaopen_core_hash(lua_State *L);
int luaopen_core_keys(lua_State *L);
int luaopen_core_xml(lua_State *L);
int luaopen_core_host(lua_State *L);

#endif
