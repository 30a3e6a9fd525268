#ifndef MK_PG_PG_IMPL_H
#define MK_PG_PG_IMPL_H

/* For pg/ only: the connection as connect.c makes it and query.c uses it. */
#include <libpq-fe.h>

#include "loop/poll.h"
#include "pg/pg.h"

struct mk_pg {
    struct mk_loop *loop;
    PGconn *conn;
    struct mk_poll *poll;
    struct mk_pg_query *query;     /* the one under way, or NULL */
    struct mk_pg_query *canceling; /* the one whose cancel request is on its way, or NULL */
    void (*on_notice)(void *arg, const char *severity, const char *text);
    void *notice_arg;
    bool broken; /* no further use, though not closed yet */
};

/* Wraps an open libpq connection, which it takes over, also on failure. */
struct mk_pg *mk__pg_new(struct mk_loop *loop, PGconn *conn, struct mk_error *err);
/* The socket is ready. */
void mk__pg_query_ready(struct mk_pg *pg, int events);
/* The query under way ends with MK_EPGLOST. */
void mk__pg_query_lost(struct mk_pg *pg, const char *why);
/* libpq's messages end with a newline and may have several lines: cuts and copies. */
void mk__pg_copy_text(char *to, size_t size, const char *from);

#endif
