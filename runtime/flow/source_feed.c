/*
 * A source that somebody else fills: see feed.h.
 *
 * What is written goes straight into the block that the pump wants. Of a piece that is longer than
 * the rest of the block, what remains is kept, and is the beginning of the next block; until then
 * there is no room. So one copy is made of nearly all bytes, and at most one piece is kept.
 */
#include "flow/feed.h"

#include <string.h>

#include "base/mem.h"
#include "http/http.h"

struct mk_feed {
    int refs;
    struct mk_source base;
    bool has_source;
    struct mk_block *block; /* wanted, and not full; or NULL */
    char *rest;             /* of a piece; MK_HTTP_PIECE bytes */
    size_t rest_len;
    uint64_t bytes;
    bool ended, over;
    int status; /* of the end */
    struct mk_error err;
    void (*room)(void *arg);
    void *arg;
};

struct mk_feed *mk_feed_new(struct mk_error *err)
{
    struct mk_feed *feed = mk_calloc(sizeof *feed);
    if (feed)
        feed->rest = mk_alloc(MK_HTTP_PIECE);
    if (!feed || !feed->rest) {
        mk_free(feed);
        mk_error_nomem(err, "feed");
        return NULL;
    }
    feed->refs = 1;
    return feed;
}

struct mk_feed *mk_feed_ref(struct mk_feed *feed)
{
    feed->refs++;
    return feed;
}

void mk_feed_unref(struct mk_feed *feed)
{
    if (!feed || --feed->refs > 0)
        return;
    mk_free(feed->rest);
    mk_free(feed);
}

/* ---- filling ------------------------------------------------------------------------------ */

static size_t fill(struct mk_feed *feed, const char *bytes, size_t len)
{
    struct mk_block *block = feed->block;
    size_t room = MK_BLOCK_BYTES - block->len;
    size_t n = len < room ? len : room;
    memcpy(block->data + block->len, bytes, n);
    block->len += n;
    return n;
}

/* The block that is wanted, if it is full or the last one. */
static void answer(struct mk_feed *feed)
{
    bool is_last = feed->ended && feed->rest_len == 0;
    if (!feed->block || (feed->block->len < MK_BLOCK_BYTES && !is_last))
        return;
    feed->block = NULL;
    mk_source_filled(&feed->base, is_last && feed->status == MK_OK, is_last ? feed->status : MK_OK,
                     &feed->err);
}

bool mk_feed_write(struct mk_feed *feed, const char *bytes, size_t len)
{
    if (!feed->block || feed->rest_len > 0 || feed->ended)
        return false;
    feed->bytes += len;
    size_t n = fill(feed, bytes, len);
    memcpy(feed->rest, bytes + n, len - n);
    feed->rest_len = len - n;
    answer(feed);
    return true;
}

void mk_feed_end(struct mk_feed *feed, int status, const struct mk_error *err)
{
    if (feed->ended)
        return;
    feed->ended = true;
    feed->status = status;
    if (status != MK_OK)
        feed->err = *err;
    answer(feed);
}

static void tell_writer(struct mk_feed *feed)
{
    if (feed->room)
        feed->room(feed->arg);
}

void mk_feed_set_writer(struct mk_feed *feed, void (*room)(void *arg), void *arg)
{
    feed->room = room;
    feed->arg = arg;
}

uint64_t mk_feed_bytes(const struct mk_feed *feed)
{
    return feed->bytes;
}

bool mk_feed_is_over(const struct mk_feed *feed)
{
    return feed->over;
}

/* ---- the source --------------------------------------------------------------------------- */

static struct mk_feed *of_source(struct mk_source *source)
{
    return (struct mk_feed *)(void *)((char *)source - offsetof(struct mk_feed, base));
}

static void feed_want(struct mk_source *source, struct mk_block *block)
{
    struct mk_feed *feed = of_source(source);
    feed->block = block;
    if (feed->rest_len > 0) {
        size_t n = fill(feed, feed->rest, feed->rest_len);
        feed->rest_len -= n;
        memmove(feed->rest, feed->rest + n, feed->rest_len);
    }
    if (feed->ended)
        answer(feed);
    else
        tell_writer(feed);
}

static void feed_abort(struct mk_source *source)
{
    struct mk_feed *feed = of_source(source);
    struct mk_error err;
    feed->over = true;
    feed->rest_len = 0;
    mk_feed_end(feed, mk_error_set(&err, MK_ECANCELED, "feed", "the flow has ended"), &err);
    tell_writer(feed);
}

static void feed_close(struct mk_source *source)
{
    struct mk_feed *feed = of_source(source);
    feed->over = true;
    mk_source_closed(source);
    mk_feed_unref(feed);
}

static const struct mk_source_type type = {"feed", feed_want, feed_abort, feed_close, NULL, NULL};

struct mk_source *mk_source_feed(struct mk_feed *feed, struct mk_error *err)
{
    if (feed->has_source) {
        mk_error_set(err, MK_EINVAL, "feed", "it feeds a flow already");
        return NULL;
    }
    feed->has_source = true;
    feed->refs++;
    feed->base.type = &type;
    return &feed->base;
}
