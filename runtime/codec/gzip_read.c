/*
 * Reading gzip (RFC 1952). Strict where gzip(1) is lenient: after a complete member only another
 * member or zero padding may follow, so a member whose magic bytes were damaged is an error, not
 * a silent end (pg_restore and gzip read half of such a file and report success).
 */
#include <zlib.h>

#include "base/mem.h"
#include "codec/stream.h"
#include "codec/zlib_impl.h"

enum position { BEFORE_FIRST, IN_MEMBER, BETWEEN, IN_PADDING };

struct decoder {
    struct mk_stream base;
    z_stream z;
    enum position position;
};

static int corrupt(struct mk_error *err, const char *why)
{
    return mk_error_set(err, MK_ECORRUPT, "gzip", "gzip data is damaged: %s", why);
}

static int truncated(struct decoder *self, struct mk_error *err)
{
    return mk_error_set(err, MK_ECORRUPT, "gzip",
                        self->position == BEFORE_FIRST
                            ? "gzip data is empty"
                            : "gzip data is truncated: it ends inside a member");
}

/* What follows a complete member: another one, padding, or damage. */
static int next_member(struct decoder *self, struct mk_error *err)
{
    if (self->z.next_in[0] == 0)
        self->position = IN_PADDING;
    else if (self->z.next_in[0] == 0x1f && self->position != IN_PADDING)
        self->position = IN_MEMBER, inflateReset(&self->z);
    else
        return corrupt(err, "there is something else after its end");
    return MK_OK;
}

static int inflate_some(struct decoder *self, struct mk_error *err)
{
    int result = inflate(&self->z, Z_NO_FLUSH);
    switch (result) {
    case Z_STREAM_END:
        self->position = BETWEEN;
        return MK_OK;
    case Z_OK:
    case Z_BUF_ERROR:
        return MK_OK;
    case Z_MEM_ERROR:
        return mk_error_nomem(err, "gzip");
    default:
        return corrupt(err, self->z.msg ? self->z.msg : "unexpected data");
    }
}

static int decoder_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    struct decoder *self = (struct decoder *)stream;
    z_stream *z = &self->z;
    z->next_in = io->in;
    z->avail_in = (unsigned)io->in_len;
    z->next_out = io->out;
    z->avail_out = (unsigned)io->out_cap;
    int status = MK_OK;

    for (bool moving = true; moving && status == MK_OK && z->avail_out > 0;) {
        unsigned in_before = z->avail_in, out_before = z->avail_out;
        if (self->position == IN_MEMBER) {
            status = inflate_some(self, err);
        } else if (z->avail_in > 0) {
            if (self->position == BEFORE_FIRST)
                self->position = IN_MEMBER;
            else
                status = next_member(self, err);
            if (self->position == IN_PADDING)
                z->next_in++, z->avail_in--;
            continue;
        }
        moving = z->avail_in != in_before || z->avail_out != out_before;
    }
    io->in_used = io->in_len - z->avail_in;
    io->out_used = io->out_cap - z->avail_out;
    if (status != MK_OK || !io->end || z->avail_in > 0 || z->avail_out == 0)
        return status;
    if (self->position == BEFORE_FIRST || self->position == IN_MEMBER)
        return truncated(self, err);
    io->done = true;
    return MK_OK;
}

static void decoder_free(struct mk_stream *stream)
{
    inflateEnd(&((struct decoder *)stream)->z);
    mk_free(stream);
}

static const struct mk_stream_type decoder_type = {decoder_step, decoder_free};

struct mk_stream *mk_gzip_decoder_new(struct mk_error *err)
{
    struct decoder *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "gzip");
        return NULL;
    }
    self->base.type = &decoder_type;
    self->z.zalloc = mk__zlib_alloc;
    self->z.zfree = mk__zlib_free;
    if (inflateInit2(&self->z, 15 + 16) != Z_OK) { /* 16: gzip framing, checksum included */
        mk_free(self);
        mk_error_nomem(err, "gzip");
        return NULL;
    }
    return &self->base;
}
