#ifndef MK_PG_COPY_IMPL_H
#define MK_PG_COPY_IMPL_H

/* For copy.c, the loop's side, and copy_thread.c and copy_pack.c, the thread's side, only. */
#include <pthread.h>

#include "loop/iothread.h"
#include "pg/pg_impl.h"

#define MAX_NOTICES 32 /* kept between two looks of the loop */

enum mk_pg_copy_request { MK_COPY_NONE, MK_COPY_BLOCK, MK_COPY_FINISH };

struct mk_pg_copy_notice {
    char severity[16];
    char text[240];
};

struct mk_pg_copy {
    struct mk_pg *pg; /* loop */
    PGconn *conn;     /* the thread's */
    int socket_fd;    /* a copy of its descriptor: whoever has no more patience shuts it */
    struct mk_iothread *thread; /* loop */
    enum mk_pg_copy_dir dir;    /* never changes, like hash_rows, sql and client */
    bool hash_rows, end_mark;
    char *sql;
    struct mk_pg_pack *pack;   /* its owner's; the thread's until the end */
    struct mk_stream *encoder; /* the same; or NULL */
    struct mk_pg_copy_client client;
    PGcancel *cancel_handle; /* loop; the cancel request's, once that has been started */
    struct mk__pg_cancel cancel;
    bool closing; /* loop */
    bool over;    /* loop: the thread has gone */

    pthread_mutex_t mutex;
    enum mk_pg_copy_request request; /* under mutex: set by the loop, none once answered */
    struct mk_block *block;          /* the same */
    bool aborting;                   /* under mutex: set by the loop, once */
    bool answered;                   /* under mutex: set by the thread, reset by the loop */
    uint64_t told_delivered;         /* under mutex: delivered, at the last answer */
    struct mk_pg_copy_notice notices[MAX_NOTICES]; /* under mutex */
    int n_notices, n_dropped;                      /* under mutex */

    /* The thread's; read by the loop after the end. */
    struct mk_iothread *own;  /* itself */
    struct mk_block *filling; /* the one that has been asked for, until it is answered */
    struct mk_error err;
    int64_t rows;
    uint64_t bytes;     /* of the rows */
    uint64_t delivered; /* before compression, with end marks and what makes an archive */
    struct mk_content_hash hash;
};

/* ---- the thread ------------------------------------------------------------------------------ */

/* Begins a COPY. False: it has not begun, for the reason in `err`. */
bool mk__pg_copy_begin(struct mk_pg_copy *copy, const char *sql);
/* The next row, to be freed by PQfreemem: its length, or 0 at the end, then see the results. */
int mk__pg_copy_row(struct mk_pg_copy *copy, char **row);
/* Reads all results. What the server says of the end is better than what we have noticed. */
void mk__pg_copy_results(struct mk_pg_copy *copy);
/* OUT: puts bytes, compressed if that was asked for, into the blocks that are asked for. False: it
 * is to end, because it was aborted or the encoder has failed. */
bool mk__pg_copy_deliver(struct mk_pg_copy *copy, const void *bytes, size_t len);
/* The same for what the encoder has held back; the last of all. */
bool mk__pg_copy_deliver_end(struct mk_pg_copy *copy);
bool mk__pg_copy_aborting(struct mk_pg_copy *copy);
/* Waits for something to do. False: there is an abort instead. */
bool mk__pg_copy_take(struct mk_pg_copy *copy, enum mk_pg_copy_request *request);
/* What was asked for has been done. */
void mk__pg_copy_answer(struct mk_pg_copy *copy);
/* Sends a part of the rows. False: for the reason in `err`. */
bool mk__pg_copy_send(struct mk_pg_copy *copy, const void *bytes, size_t len);
/* Ends the rows, or the COPY with an error that says why; then reads all results. */
void mk__pg_copy_send_end(struct mk_pg_copy *copy, const char *why);
/* The bodies of a copy of several. */
void mk__pg_copy_pack(struct mk_pg_copy *copy);
void mk__pg_copy_unpack(struct mk_pg_copy *copy);

/* What ends the rows of a table in a file of pg_dump: \. on a line, then two empty ones. */
#define MK_COPY_END_MARK "\\.\n\n\n"

/* The thread's body. */
void mk__pg_copy_run(struct mk_iothread *thread, void *copy);
/* libpq's notice receiver while the copy lasts: on the thread. */
void mk__pg_copy_on_notice(void *copy, const PGresult *result);

#endif
