/*
 * The sources and sinks of a flow, made from their Lua descriptions: see lua_flow.c for what each
 * takes. Whatever is wrong raises; what the stage itself refuses is an error of the caller's.
 */
#include <string.h>
#include <unistd.h>

#include "bind/bind.h"
#include "codec/codec.h"
#include "codec/content_digest.h"
#include "codec/custom_blocks.h"
#include "codec/large_objects.h"
#include "codec/table_rows.h"
#include "codec/tar.h"
#include "flow/stages.h"

/* Each member is { name, sql }; all are strings once the first loop is over. */
static struct mk_pg_pack *check_pack(lua_State *L, int stage)
{
    lua_getfield(L, stage, "members");
    if (!lua_istable(L, -1))
        luaL_error(L, "a pack needs members");
    lua_Integer n = luaL_len(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
        bool proper = lua_rawgeti(L, -1, i) == LUA_TTABLE && lua_rawgeti(L, -1, 1) == LUA_TSTRING &&
                      lua_rawgeti(L, -2, 2) == LUA_TSTRING && lua_rawlen(L, -2) < MK_TAR_NAME;
        if (!proper)
            luaL_error(L, "member %d of a pack must be a short name and its SQL", (int)i);
        lua_pop(L, 3);
    }
    struct mk_pg_pack *pack = mk_pg_pack_new((size_t)n);
    bool complete = pack != NULL;
    for (lua_Integer i = 1; complete && i <= n; i++) {
        lua_rawgeti(L, -1, i);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        complete = mk_pg_pack_set(pack, (size_t)(i - 1), lua_tostring(L, -2), lua_tostring(L, -1));
        lua_pop(L, 3);
    }
    if (!complete) {
        mk_pg_pack_free(pack);
        mk_raise_nomem(L);
    }
    lua_pop(L, 1);
    return pack;
}

/* The codec of a stage that compresses by itself. */
static struct mk_codec check_own_codec(lua_State *L, int stage)
{
    struct mk_codec codec;
    struct mk_error err;
    if (mk_codec_parse(mk_opt_field_string(L, stage, "codec", "none"), &codec, &err) != MK_OK)
        mk_raise(L, &err);
    if (codec.id == MK_CODEC_GZIP)
        luaL_error(L, "gzip is a stage of its own");
    return codec;
}

/* A COPY, or several; raises before anything is made. */
static struct mk_source *make_copy(lua_State *L, int stage, bool is_pack, struct mk_error *err)
{
    struct mk_pg *pg = mk_check_field_pg(L, stage, "connection");
    struct mk_codec codec = check_own_codec(L, stage);
    struct mk_pg_copy_spec spec = {.dir = MK_PG_COPY_OUT,
                                   .hash = mk_field_bool(L, stage, "hash"),
                                   .end_mark = mk_field_bool(L, stage, "end_mark")};
    if (is_pack)
        spec.pack = check_pack(L, stage);
    else
        spec.sql = mk_check_field_string(L, stage, "sql");
    if (codec.id != MK_CODEC_NONE)
        spec.encoder = mk_encoder_new(&codec, 1, err);
    if (codec.id == MK_CODEC_NONE || spec.encoder)
        return mk_source_copy(pg, &spec, err);
    mk_pg_pack_free(spec.pack);
    return NULL;
}

MK_RAISES struct mk_source *mk_make_source(lua_State *L, struct mk_runtime *runtime, int stage,
                                           const char *kind, struct mk_error *err)
{
    if (strcmp(kind, "file") == 0) {
        lua_Integer pieces = mk_opt_field_integer(L, stage, "pieces", 1, UINT32_MAX);
        return mk_source_file(runtime->loop, mk_check_field_string(L, stage, "path"),
                              (unsigned)pieces, err);
    }
    if (strcmp(kind, "process") == 0)
        return mk_source_process(runtime->loop, mk_check_command(L, stage), err);
    if (strcmp(kind, "copy") == 0 || strcmp(kind, "pack") == 0)
        return make_copy(L, stage, kind[0] == 'p', err);
    if (strcmp(kind, "memory") == 0) {
        size_t len = 0;
        lua_getfield(L, stage, "text");
        const char *text = luaL_checklstring(L, -1, &len);
        struct mk_source *source = mk_source_memory(text, len, err);
        lua_pop(L, 1);
        return source;
    }
    if (strcmp(kind, "feed") == 0)
        return mk_make_feed_source(L, stage, err);
    luaL_error(L,
               "a flow cannot begin with \"%s\": its source is copy, pack, file, process, feed or "
               "memory",
               kind);
    return NULL;
}

/* Each member is { name, number of its entry }. Two values stay on the stack, which keep them. */
static void check_custom_members(lua_State *L, int stage, struct mk_custom_spec *spec)
{
    lua_getfield(L, stage, "members");
    lua_Integer n = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
    struct mk_custom_member *members = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *members, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        bool proper = lua_rawgeti(L, -2, i) == LUA_TTABLE && lua_rawgeti(L, -1, 1) == LUA_TSTRING &&
                      lua_rawgeti(L, -2, 2) == LUA_TNUMBER && lua_rawlen(L, -2) < MK_TAR_NAME;
        if (!proper)
            luaL_error(L, "member %d must be a short name and a number", (int)i);
        members[i - 1].name = lua_tostring(L, -2);
        members[i - 1].id = (uint32_t)lua_tointeger(L, -1);
        lua_pop(L, 3);
    }
    spec->members = members;
    spec->n_members = (size_t)n;
}

static struct mk_stream *make_custom_blocks(lua_State *L, int stage, struct mk_error *err)
{
    struct mk_custom_spec spec = {.packed = mk_field_bool(L, stage, "packed"),
                                  .large_objects = mk_field_bool(L, stage, "large_objects"),
                                  .id = mk_opt_field_oid(L, stage, "id"),
                                  .oid = mk_opt_field_oid(L, stage, "oid"),
                                  .first = mk_field_bool(L, stage, "first")};
    check_custom_members(L, stage, &spec);
    struct mk_stream *stream = mk_custom_blocks_new(&spec, err);
    lua_pop(L, 2);
    return stream;
}

/* Each condition is { column from 1, text }. Two values stay on the stack, which keep them. */
static void check_conditions(lua_State *L, int stage, struct mk_table_rows_spec *spec)
{
    lua_getfield(L, stage, "where");
    lua_Integer n = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
    struct mk_row_condition *list = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *list, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        bool proper = lua_rawgeti(L, -2, i) == LUA_TTABLE && lua_rawgeti(L, -1, 1) == LUA_TNUMBER &&
                      lua_rawgeti(L, -2, 2) == LUA_TSTRING && lua_tointeger(L, -2) > 0;
        if (!proper)
            luaL_error(L, "condition %d must be the number of a column and a text", (int)i);
        list[i - 1].column = (size_t)lua_tointeger(L, -2) - 1;
        list[i - 1].text = lua_tolstring(L, -1, &list[i - 1].len);
        lua_pop(L, 3);
    }
    spec->conditions = list;
    spec->n_conditions = (size_t)n;
}

static struct mk_stream *make_table_rows(lua_State *L, int stage, struct mk_error *err)
{
    struct mk_table_rows_spec spec = {.member = mk_opt_field_string(L, stage, "member", NULL),
                                      .csv = mk_field_bool(L, stage, "csv")};
    check_conditions(L, stage, &spec);
    struct mk_stream *stream = mk_table_rows_new(&spec, err);
    lua_pop(L, 2);
    return stream;
}

MK_RAISES struct mk_stream *mk_make_transform(lua_State *L, int stage, const char *kind,
                                              const char **name, struct mk_error *err)
{
    *name = "large_object_files";
    if (strcmp(kind, *name) == 0)
        return mk_large_objects_new(mk_field_bool(L, stage, "packed"), err);
    *name = "large_object_rows";
    if (strcmp(kind, *name) == 0)
        return mk_large_object_rows_new(mk_field_bool(L, stage, "packed"),
                                        mk_opt_field_oid(L, stage, "oid"), err);
    *name = "custom_blocks";
    if (strcmp(kind, *name) == 0)
        return make_custom_blocks(L, stage, err);
    *name = "table_rows";
    if (strcmp(kind, *name) == 0)
        return make_table_rows(L, stage, err);
    *name = NULL;
    return NULL;
}

static struct mk_digest *make_digest(lua_State *L, int stage, const char *kind, bool *is_digest,
                                     struct mk_error *err)
{
    *is_digest = true;
    if (strcmp(kind, "sha256") == 0)
        return mk_sha256_new(err);
    if (strcmp(kind, "xxh3") == 0)
        return mk_xxh3_new(err);
    if (strcmp(kind, "rows") == 0 || strcmp(kind, "large_objects") == 0) {
        struct mk_content_spec spec = {.large_objects = kind[0] == 'l',
                                       .packed = mk_field_bool(L, stage, "packed"),
                                       .oid = mk_opt_field_oid(L, stage, "oid")};
        return mk_content_digest_new(&spec, err);
    }
    *is_digest = false;
    return NULL;
}

MK_RAISES struct mk_sink *mk_make_sink(lua_State *L, struct mk_runtime *runtime, int stage,
                                       const char *kind, struct mk_error *err)
{
    if (strcmp(kind, "file") == 0) {
        lua_Integer piece = mk_opt_field_integer(L, stage, "piece_bytes", 0, LUA_MAXINTEGER);
        return mk_sink_file(runtime->loop, mk_check_field_string(L, stage, "path"), (uint64_t)piece,
                            err);
    }
    if (strcmp(kind, "process") == 0) {
        bool early = mk_field_bool(L, stage, "early");
        bool keep_stdout = mk_field_bool(L, stage, "keep_stdout");
        return mk_sink_process(runtime->loop, mk_check_command(L, stage), early, keep_stdout, err);
    }
    if (strcmp(kind, "copy") == 0) {
        const char *sql = mk_check_field_string(L, stage, "sql");
        return mk_sink_copy(mk_check_field_pg(L, stage, "connection"), sql, NULL, err);
    }
    if (strcmp(kind, "stdout") == 0)
        return mk_sink_fd(runtime->loop, STDOUT_FILENO, err);
    if (strcmp(kind, "stdin") == 0)
        return mk_sink_fd(runtime->loop, mk_check_field_stdin(L, stage, "child"), err);
    if (strcmp(kind, "unpack") == 0) {
        struct mk_pg *pg = mk_check_field_pg(L, stage, "connection");
        return mk_sink_copy(pg, "", check_pack(L, stage), err);
    }
    bool is_digest = false;
    struct mk_digest *digest = make_digest(L, stage, kind, &is_digest, err);
    if (is_digest)
        return mk_sink_digest(runtime->loop, digest, err);
    if (strcmp(kind, "null") == 0)
        return mk_sink_null(err);
    if (strcmp(kind, "text") == 0) {
        lua_getfield(L, stage, "limit");
        lua_Integer limit = luaL_checkinteger(L, -1);
        lua_pop(L, 1);
        return mk_sink_text(limit > 0 ? (size_t)limit : 0, err);
    }
    if (strcmp(kind, "parts") == 0)
        return mk_make_parts_sink(L, stage, err);
    luaL_error(
        L,
        "a flow cannot end with \"%s\": its sinks are copy, unpack, parts, file, process, stdin, "
        "stdout, sha256, xxh3, rows, large_objects, text and null",
        kind);
    return NULL;
}
