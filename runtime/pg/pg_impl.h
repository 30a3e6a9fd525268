#ifndef MK_PG_PG_IMPL_H
#define MK_PG_PG_IMPL_H

/* For pg/ only: the connection as connection.c keeps it; query.c and copy.c use it. */
#include <libpq-fe.h>

#include "loop/call.h"
#include "loop/poll.h"
#include "loop/timer.h"
#include "pg/pg.h"

struct mk_pg {
    int refs; /* the owner's until mk_pg_close, and one of each query and copy */
    struct mk_loop *loop;
    PGconn *conn; /* NULL: closed; while a copy is under way, its thread's */
    struct mk_poll *poll;
    struct mk_pg_query *query; /* the one under way, or NULL */
    struct mk_pg_copy *copy;   /* the same */
    void (*on_notice)(void *arg, const char *severity, const char *text);
    void *notice_arg;
    bool broken; /* no further use, though not closed yet */
    bool closed;
};

/* Wraps an open libpq connection, which it takes over, also on failure. */
struct mk_pg *mk__pg_new(struct mk_loop *loop, PGconn *conn, struct mk_error *err);
/* Whether something can be begun: MK_OK, MK_EBUSY or MK_EPGLOST. */
int mk__pg_check_idle(const struct mk_pg *pg, const char *op, struct mk_error *err);
/* A copy is over and gives the connection back: to the loop, or to its end. */
void mk__pg_copy_over(struct mk_pg *pg);

/* The socket is ready. */
void mk__pg_query_ready(struct mk_pg *pg, int events);
/* The query under way ends with MK_EPGLOST. */
void mk__pg_query_lost(struct mk_pg *pg, const char *why);
/* The same, for the connection is being closed. The server is asked to cancel, or it would go on
 * until it next has something to send. */
void mk__pg_query_closed(struct mk_pg *pg);
/* The copy under way ends: the connection is being closed. */
void mk__pg_copy_lost(struct mk_pg *pg);

/* ---- what queries and copies share: any thread ---------------------------------------------- */

/* Reads what has arrived, and what TLS may hold back. False: the connection is lost. */
bool mk__pg_consume(PGconn *conn);
/* libpq's messages end with a newline and may have several lines: cuts and copies. */
void mk__pg_copy_text(char *to, size_t size, const char *from);
/* The server's error in a result. */
void mk__pg_result_error(struct mk_error *err, const char *op, const PGresult *result);
/* MK_EPGLOST, for the reason that libpq gives, or the one that the server has given in `err`. */
int mk__pg_lost_error(struct mk_error *err, const char *op, const char *why);

/* ---- cancel requests ------------------------------------------------------------------------ */

struct mk__pg_cancel {
    struct mk_thread_call call;
    struct mk_timer *grace;
    bool running;                  /* the request is on its way */
    void (*on_sent)(void *arg);    /* it no longer is, however it went */
    void (*on_ignored)(void *arg); /* the server has had time enough */
    void *arg;
};

/* Takes the handle over. False: it could not begin. */
bool mk__pg_cancel_start(struct mk__pg_cancel *cancel, struct mk_loop *loop, PGcancel *handle);
/* on_sent comes soon, if the request is still on its way. */
void mk__pg_cancel_abandon(struct mk__pg_cancel *cancel);
/* What was to be cancelled is over: on_ignored will not come. */
void mk__pg_cancel_end(struct mk__pg_cancel *cancel);

#endif
