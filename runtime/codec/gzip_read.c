/*
 * Reading gzip (RFC 1952). Strict where gzip(1) is lenient: after a complete member only another
 * member or zero padding may follow, so a member whose magic bytes were damaged is an error, not
 * a silent end (pg_restore and gzip read half of such a file and report success).
 *
 * ISA-L inflates twice as fast as zlib. At the end of a member it gives back what it has read
 * beyond, so the next byte of input is the next member's first.
 */
#include <isa-l.h>
#include <string.h>

#include "base/mem.h"
#include "codec/stream.h"

enum position { BEFORE_FIRST, IN_MEMBER, BETWEEN, IN_PADDING };

struct decoder {
    struct mk_stream base;
    struct inflate_state z;
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

static void begin_member(struct decoder *self)
{
    isal_inflate_reset(&self->z);
    self->z.crc_flag = ISAL_GZIP; /* header, CRC and length are checked */
    self->position = IN_MEMBER;
}

/* What follows a complete member: another one, padding, or damage. */
static int next_member(struct decoder *self, struct mk_error *err)
{
    if (self->z.next_in[0] == 0)
        self->position = IN_PADDING;
    else if (self->z.next_in[0] == 0x1f && self->position != IN_PADDING)
        begin_member(self);
    else
        return corrupt(err, "there is something else after its end");
    return MK_OK;
}

static int inflate_some(struct decoder *self, struct mk_error *err)
{
    switch (isal_inflate(&self->z)) {
    case ISAL_DECOMP_OK:
    case ISAL_END_INPUT:
    case ISAL_OUT_OVERFLOW:
        if (self->z.block_state == ISAL_BLOCK_FINISH)
            self->position = BETWEEN;
        return MK_OK;
    case ISAL_INVALID_WRAPPER:
        return corrupt(err, "its header is not gzip's");
    case ISAL_UNSUPPORTED_METHOD:
        return corrupt(err, "its header names an unknown method");
    case ISAL_INCORRECT_CHECKSUM:
        return corrupt(err, "incorrect data check");
    default:
        return corrupt(err, "invalid compressed data");
    }
}

static int decoder_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    struct decoder *self = (struct decoder *)stream;
    struct inflate_state *z = &self->z;
    memcpy(&z->next_in, &io->in, sizeof z->next_in); /* ISA-L's API lacks const */
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
                begin_member(self);
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
    mk_free(stream);
}

static const struct mk_stream_type decoder_type = {decoder_step, decoder_free, NULL};

struct mk_stream *mk_gzip_decoder_new(struct mk_error *err)
{
    struct decoder *self = mk_calloc(sizeof *self);
    if (!self) {
        mk_error_nomem(err, "gzip");
        return NULL;
    }
    self->base.type = &decoder_type;
    isal_inflate_init(&self->z);
    return &self->base;
}
