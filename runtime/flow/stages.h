#ifndef MK_FLOW_STAGES_H
#define MK_FLOW_STAGES_H

/* The stages there are. Each constructor returns NULL with an error; whoever gets a stage and
 * does not put it into a flow ends it with type->close (or type->free). */
#include "codec/age.h"
#include "codec/digest.h"
#include "flow/stage.h"
#include "loop/process.h"
#include "pg/pg.h"

/* A copy of small bytes. */
struct mk_source *mk_source_memory(const void *bytes, size_t len, struct mk_error *err);
/* A file, read from its beginning to its end, and then its other pieces (mk_file_piece), if there
 * are several; opened when the flow gets there. */
struct mk_source *mk_source_file(struct mk_loop *loop, const char *path, unsigned pieces,
                                 struct mk_error *err);
/* The stdout of a child, which must exit with 0 for the end to be good. The child starts with the
 * flow. The spec is used only during the call that starts it: see struct mk_command. */
struct mk_command;
struct mk_source *mk_source_process(struct mk_loop *loop, struct mk_command *command,
                                    struct mk_error *err);

/* COPY ... TO STDOUT on the connection's own thread. The result is "ROWS", or "BYTES:ROWS:HASH"
 * with `hash` (codec/content_hash.h; the bytes are those of the rows); of a pack a line
 * "BYTES:ROWS:HASH" for each member, or "-" for one that was skipped. It takes over the pack and
 * the encoder, also on failure. The connection may be closed by its owner at any time. */
struct mk_source *mk_source_copy(struct mk_pg *pg, const struct mk_pg_copy_spec *spec,
                                 struct mk_error *err);

/* gzip as one member, compressed in parallel. */
struct mk_ordered *mk_ordered_gzip(int level, struct mk_error *err);
/* An age file, sealed or opened in parallel, to or by these keys, which it takes over, also on
 * failure. What comes out has been authenticated; whether it is all there is known at the end. */
struct mk_ordered *mk_ordered_age(bool seal, struct mk_age_keys *keys, struct mk_error *err);

/* The result is what has come, at most so many bytes. */
struct mk_sink *mk_sink_text(size_t limit, struct mk_error *err);
/* Counts and forgets. */
struct mk_sink *mk_sink_null(struct mk_error *err);
/* The result is the digest's text. It takes the digest over, also on failure; NULL: it
 * could not be made, and err says why. */
struct mk_sink *mk_sink_digest(struct mk_loop *loop, struct mk_digest *digest,
                               struct mk_error *err);
/* A new file, mode 0600, under a temporary name until it is complete and synced; an existing one
 * is MK_EEXIST and stays as it is. What has more than piece_bytes (0: no limit) lies in several,
 * each of so many bytes but the last: mk_file_piece. */
struct mk_sink *mk_sink_file(struct mk_loop *loop, const char *path, uint64_t piece_bytes,
                             struct mk_error *err);
/* A descriptor that stays the caller's, and open: a pipe, a terminal, a socket, a file at its
 * place. MK_EPIPE: nobody reads it any more. */
struct mk_sink *mk_sink_fd(struct mk_loop *loop, int fd, struct mk_error *err);
/* The stdin of a child, which must exit with 0. `early`: it may stop reading when it has enough.
 * With `keep_stdout`, the result is the first MiB of what it printed. */
struct mk_sink *mk_sink_process(struct mk_loop *loop, struct mk_command *command, bool early,
                                bool keep_stdout, struct mk_error *err);

/* COPY ... FROM STDIN on the connection's own thread; finish waits for the server's verdict. The
 * result is the number of rows; of a pack (NULL: none), which it takes over, also on failure, a
 * line for each member. Whether they last is the connection's transaction's business. */
struct mk_sink *mk_sink_copy(struct mk_pg *pg, const char *sql, struct mk_pg_pack *pack,
                             struct mk_error *err);

/* An owned copy of what mk_process_spec points at. Sources and sinks take it over. */
struct mk_command {
    char **argv; /* NULL-terminated, each allocated */
    char **env;  /* the same, or NULL */
    char *cwd, *user;
    int death_signal;
};
void mk_command_free(struct mk_command *command);
void mk_command_spec(const struct mk_command *command, struct mk_process_spec *spec);

#endif
