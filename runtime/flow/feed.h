#ifndef MK_FLOW_FEED_H
#define MK_FLOW_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow/stage.h"

/*
 * A source that somebody else fills: from the answer to a request, or to several, each of which
 * goes on where the one before was cut off. So whoever fills it decides what to do about a lost
 * connection, and the flow knows nothing of it. Loop thread only.
 */
struct mk_feed;
struct mk_feed *mk_feed_new(struct mk_error *err); /* with one reference */
struct mk_feed *mk_feed_ref(struct mk_feed *feed);
void mk_feed_unref(struct mk_feed *feed);
/* Its source, once. It holds a reference. */
struct mk_source *mk_source_feed(struct mk_feed *feed, struct mk_error *err);

/* Who fills it now; NULL: nobody. `room` is called when there is room again, or when the feed is
 * over: see mk_feed_is_over. That may be inside mk_feed_write, so it may only take note. */
void mk_feed_set_writer(struct mk_feed *feed, void (*room)(void *arg), void *arg);
/* Takes the bytes, all of them, at most MK_HTTP_PIECE; false: there is no room. */
bool mk_feed_write(struct mk_feed *feed, const char *bytes, size_t len);
/* How many bytes it has taken. */
uint64_t mk_feed_bytes(const struct mk_feed *feed);
/* Nothing more comes: MK_OK when that was all, or why not. */
void mk_feed_end(struct mk_feed *feed, int status, const struct mk_error *err);
/* The flow wants nothing any more. */
bool mk_feed_is_over(const struct mk_feed *feed);

#endif
