#ifndef MK_LOOP_PIPE_H
#define MK_LOOP_PIPE_H

#include <stdbool.h>
#include <stddef.h>

#include "loop/loop.h"

/*
 * The two ends of a pipe or socket pair, for small traffic such as events and a child's stderr.
 * (Bulk data goes through flow/, block by block.) A reader takes the descriptor over, also on
 * failure; a writer, whose descriptor must be a socket, only when it succeeds.
 */
struct mk_reader;

/* Calls fn with what arrives, then once with NULL at the end or on an error. */
struct mk_reader *mk_reader_new(struct mk_loop *loop, int fd,
                                void (*fn)(void *arg, const char *bytes, size_t len), void *arg,
                                struct mk_error *err);
/* Answers on a socket, at once and with little; false when it does not take it. */
bool mk_reader_reply(struct mk_reader *reader, const char *bytes, size_t len);
void mk_reader_close(struct mk_reader *reader); /* NULL is allowed */

struct mk_writer;

/* `on_broken` is called once when the other end is gone, noticed even without a write. */
struct mk_writer *mk_writer_new(struct mk_loop *loop, int fd, void (*on_broken)(void *arg),
                                void *arg, struct mk_error *err);
/* What comes back is given to `fn`, with the writer's `arg`. Until `fn` is NULL again, waiting for
 * it keeps the loop alive. */
void mk_writer_listen(struct mk_writer *writer,
                      void (*fn)(void *arg, const char *bytes, size_t len));
/* Queues a copy of the bytes. With more than 1 MiB waiting only `important` ones are taken. */
bool mk_writer_send(struct mk_writer *writer, const char *bytes, size_t len, bool important);
/* Sends what is queued, then closes. NULL is allowed. */
void mk_writer_close(struct mk_writer *writer);

#endif
