#ifndef MK_PG_PG_H
#define MK_PG_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "buf/block.h"
#include "codec/content_hash.h"
#include "codec/stream.h"
#include "loop/loop.h"
#include "loop/wait.h"

/*
 * Asynchronous libpq. A connection does one thing at a time (MK_EBUSY otherwise). Everything a
 * conninfo can say means what it means to libpq: services, .pgpass, URIs, TLS options, several
 * hosts. Errors of the server carry its SQLSTATE, DETAIL and HINT.
 */
struct mk_pg;

/* ---- connecting -------------------------------------------------------------------------- */

struct mk_pg_connect; /* an attempt */

/* `keys` and `values` are libpq's, NULL-terminated; a "dbname" may be a whole conninfo or URI.
 * The attempt ends within timeout_ms, whatever the servers do. NULL: it could not begin. */
struct mk_pg_connect *mk_pg_connect_start(struct mk_loop *loop, const char *const *keys,
                                          const char *const *values, int64_t timeout_ms,
                                          struct mk_error *err);
struct mk_wait *mk_pg_connect_wait(struct mk_pg_connect *attempt);
/* After the wait has fired: ends the attempt. The connection, or NULL with the error. */
struct mk_pg *mk_pg_connect_finish(struct mk_pg_connect *attempt, struct mk_error *err);

/* A query or a copy under way is cancelled, and ends with MK_EPGLOST, soon. NULL is allowed. */
void mk_pg_close(struct mk_pg *pg);
/* For whoever may still look at it after its owner has closed it. */
struct mk_pg *mk_pg_ref(struct mk_pg *pg);
void mk_pg_unref(struct mk_pg *pg);
/* For example 150018; 0 when the connection is lost. */
int mk_pg_server_version(const struct mk_pg *pg);
int mk_pg_backend_pid(const struct mk_pg *pg);
/* Which of the servers that the conninfo allows it is: host, port, and the address, which is empty
 * for a socket. The texts live as long as the connection. */
struct mk_pg_address {
    const char *host, *port, *hostaddr;
};
struct mk_pg_address mk_pg_address(const struct mk_pg *pg);
bool mk_pg_is_open(const struct mk_pg *pg);
/* A parameter that the server reports, such as "server_encoding"; NULL: it does not, or a copy is
 * under way. */
const char *mk_pg_parameter(const struct mk_pg *pg, const char *name);
/* Called with each NOTICE or WARNING, loop thread. */
void mk_pg_on_notice(struct mk_pg *pg,
                     void (*fn)(void *arg, const char *severity, const char *text), void *arg);

/* ---- queries ----------------------------------------------------------------------------- */

struct mk_pg_query;

/* Without parameters several statements are allowed, the rows are the last one's. Parameters are
 * text; NULL is SQL NULL. NULL result: it could not begin. */
struct mk_pg_query *mk_pg_query_start(struct mk_pg *pg, const char *sql, int n_params,
                                      const char *const *params, struct mk_error *err);
/* Cancelling asks the server; the connection stays usable unless the server does not answer. */
struct mk_wait *mk_pg_query_wait(struct mk_pg_query *query);
/* After the wait has fired. */
const struct mk_error *mk_pg_query_error(const struct mk_pg_query *query);
void mk_pg_query_free(struct mk_pg_query *query);

enum mk_pg_kind { MK_PG_TEXT, MK_PG_BOOL, MK_PG_INT, MK_PG_FLOAT };

int mk_pg_rows(const struct mk_pg_query *query);
int mk_pg_columns(const struct mk_pg_query *query);
const char *mk_pg_column_name(const struct mk_pg_query *query, int column);
/* bool; int2, int4, int8, oid; float4, float8. All else is text: numeric, too, to stay exact. */
enum mk_pg_kind mk_pg_column_kind(const struct mk_pg_query *query, int column);
/* NULL: SQL NULL. */
const char *mk_pg_value(const struct mk_pg_query *query, int row, int column, size_t *len);
/* Rows inserted, updated, deleted or selected; -1 where that has no meaning. */
int64_t mk_pg_affected(const struct mk_pg_query *query);

/* ---- COPY ----------------------------------------------------------------------------------- */

/*
 * COPY in either direction, block by block, on a thread of its own (loop/iothread.h): there rows
 * are parsed, hashed, encrypted and decrypted, and only whole blocks are handed over. One request
 * is outstanding at most; each is answered once, on the loop, at once or later.
 */
struct mk_pg_copy;
enum mk_pg_copy_dir { MK_PG_COPY_OUT, MK_PG_COPY_IN };

struct mk_pg_copy_client {
    /* `end`: it is over, and the server has said that all went well. */
    void (*on_answer)(void *arg, bool end, int status, const struct mk_error *err);
    /* After mk_pg_copy_close, last. */
    void (*on_closed)(void *arg);
    void *arg;
};

/* Several small COPYs that come out as one tar archive, each a file of it; or the way back. */
struct mk_pg_pack;
/* Of a member, after a good end. */
struct mk_pg_member {
    const struct mk_content_hash *hash; /* IN: only the number of rows, as the server says */
    uint64_t bytes;                     /* OUT: of the rows */
    bool skipped; /* OUT: it has more than MK_PG_MEMBER_BYTES, and is not in the archive */
};
#define MK_PG_MEMBER_BYTES (8u * 1024 * 1024)
struct mk_pg_pack *mk_pg_pack_new(size_t n_members); /* NULL: memory is out */
/* Copies both; false when memory is out. The name is shorter than MK_TAR_NAME (codec/tar.h). */
bool mk_pg_pack_set(struct mk_pg_pack *pack, size_t i, const char *name, const char *sql);
size_t mk_pg_pack_count(const struct mk_pg_pack *pack);
struct mk_pg_member mk_pg_pack_member(const struct mk_pg_pack *pack, size_t i);
void mk_pg_pack_free(struct mk_pg_pack *pack); /* NULL is allowed */

struct mk_pg_copy_spec {
    enum mk_pg_copy_dir dir;
    const char *sql; /* one COPY ... TO STDOUT or FROM STDIN; copied */
    bool hash;       /* OUT, text format: every row goes into the content hash */
    bool end_mark;   /* OUT, text format: rows are followed by what ends them in pg_dump's files */
    /* Instead of sql. OUT: hashed, with end marks. IN: MK_ECORRUPT is of an archive that is none,
     * or that lacks a member. It stays the caller's. */
    struct mk_pg_pack *pack;
    struct mk_stream *encoder; /* OUT: compresses, on the thread, what comes out; or NULL. It stays
                                  the caller's, too */
};

/* NULL: it could not begin. */
struct mk_pg_copy *mk_pg_copy_start(struct mk_pg *pg, const struct mk_pg_copy_spec *spec,
                                    const struct mk_pg_copy_client *client, struct mk_error *err);
/* OUT: fill the block up to MK_BLOCK_BYTES, less only at the end. IN: send it. The caller keeps
 * the block alive until the answer. */
void mk_pg_copy_block(struct mk_pg_copy *copy, struct mk_block *block);
/* IN: that was all. The answer is the server's verdict. */
void mk_pg_copy_finish(struct mk_pg_copy *copy);
/* End early; what is outstanding is answered soon. OUT: the query is cancelled. IN: the server is
 * told to forget everything. The connection stays usable, unless the server does not react. */
void mk_pg_copy_abort(struct mk_pg_copy *copy);
/* Aborts what is not over, waits for the thread, frees, then calls on_closed. */
void mk_pg_copy_close(struct mk_pg_copy *copy);
/* After a good end. */
int64_t mk_pg_copy_rows(const struct mk_pg_copy *copy);
/* OUT: of the rows, before compression. */
uint64_t mk_pg_copy_bytes(const struct mk_pg_copy *copy);
/* OUT, at any time: of all that went into blocks, before compression, up to the last answer. */
uint64_t mk_pg_copy_delivered(struct mk_pg_copy *copy);
const struct mk_content_hash *mk_pg_copy_hash(const struct mk_pg_copy *copy);

/* ---- conninfo ---------------------------------------------------------------------------- */

/* Splits a conninfo string or URI by libpq's rules; calls fn for each key that is set. */
int mk_pg_conninfo_parse(const char *conninfo,
                         void (*fn)(void *arg, const char *key, const char *value), void *arg,
                         struct mk_error *err);

#endif
