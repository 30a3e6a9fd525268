#ifndef MK_FLOW_PARTS_H
#define MK_FLOW_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "flow/stage.h"

/*
 * A sink that cuts what comes into parts of one size, each with its SHA-256, and hands them to
 * somebody else, who stores them: a store that must know the length and the digest of what it
 * gets, and gets it again when a connection was lost. One part is being filled and one waits to be
 * taken; then the flow waits. Loop thread only.
 */
struct mk_part {
    int refs;
    struct mk_parts *parts;
    int number;   /* from 1 */
    bool is_last; /* then it may be shorter, or empty if it is the only one */
    size_t len;
    char *bytes;
    char sha256[65];
};
struct mk_part *mk_part_ref(struct mk_part *part);
void mk_part_unref(struct mk_part *part);

struct mk_parts;
struct mk_parts *mk_parts_new(struct mk_loop *loop, size_t part_bytes, struct mk_error *err);
struct mk_parts *mk_parts_ref(struct mk_parts *parts);
void mk_parts_unref(struct mk_parts *parts);
/* Its sink, once. It holds a reference. */
struct mk_sink *mk_sink_parts(struct mk_parts *parts, struct mk_error *err);

/* Somebody who wants the next part; embedded in what waits for it. */
struct mk_part_taker {
    void (*done)(struct mk_part_taker *taker); /* called once, now or later; may only take note */
    struct mk_part *part; /* the taker's own; NULL with MK_OK: there are no more */
    int status;           /* MK_ECANCELED: the flow is over */
    struct mk_part_taker *next;
};
/* Several may wait; they are served in turn. */
void mk_parts_take(struct mk_parts *parts, struct mk_part_taker *taker);
/* It wants none any more, if it still waits. */
void mk_parts_forget(struct mk_parts *parts, struct mk_part_taker *taker);
/* Bytes of a part have been sent: its sink does not stall. */
void mk_part_moves(struct mk_part *part);
/* What has become of all of them: the sink's verdict. Not MK_OK: any time. */
void mk_parts_done(struct mk_parts *parts, int status, const struct mk_error *err);

#endif
