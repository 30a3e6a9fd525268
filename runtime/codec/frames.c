/*
 * Files in pieces: see frames.h.
 *
 *   bytes --> (tar) --> data --> head of a piece, data, head of a piece, data ...
 *
 * The length of a piece stands before it, so a piece is begun with the data that is at hand; until
 * that has been copied (`piece_left`) nothing else is read. What is put waits in `head` for room in
 * the output.
 */
#include "codec/frames.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

void mk_frames_put_bytes(struct mk_frames *self, const void *bytes, size_t len)
{
    assert(self->head_len + len <= sizeof self->head);
    memcpy(self->head + self->head_len, bytes, len);
    self->head_len += len;
}

void mk_frames_put(struct mk_frames *self, uint64_t value, int bytes)
{
    while (bytes-- > 0) {
        uint8_t byte = (uint8_t)(value >> (8 * bytes));
        mk_frames_put_bytes(self, &byte, 1);
    }
}

static size_t least(size_t a, uint64_t b)
{
    return a < b ? a : (size_t)b;
}

/* What has been begun, as far as there is room. False: there is more of it. */
static bool write_begun(struct mk_frames *self, struct mk_stream_io *io)
{
    size_t n = least(self->head_len - self->head_at, io->out_cap - io->out_used);
    memcpy(io->out + io->out_used, self->head + self->head_at, n);
    io->out_used += n;
    self->head_at += n;
    if (self->head_at < self->head_len)
        return false;
    self->head_at = self->head_len = 0;
    n = least(self->piece_left, io->in_len - io->in_used);
    if (!self->skipped)
        n = least(n, io->out_cap - io->out_used);
    if (n > 0 && !self->skipped) {
        memcpy(io->out + io->out_used, io->in + io->in_used, n);
        io->out_used += n;
    }
    io->in_used += n;
    self->piece_left -= n;
    return self->piece_left == 0;
}

static void begin_piece(struct mk_frames *self, size_t len)
{
    self->piece_left = len;
    if (!self->skipped)
        self->type->piece(self, len);
}

static void end_file(struct mk_frames *self)
{
    if (!self->skipped)
        self->type->end(self);
    self->skipped = false;
}

/* Takes what lies between two files of an archive. */
static int read_between(struct mk_frames *self, struct mk_stream_io *io, struct mk_error *err)
{
    enum mk_tar_event event;
    int64_t n =
        mk_tar_read(&self->tar, io->in + io->in_used, io->in_len - io->in_used, &event, err);
    if (n < 0)
        return (int)n;
    io->in_used += (size_t)n;
    if (event == MK_TAR_BEGIN)
        return self->type->begin(self, self->tar.name, err);
    if (event == MK_TAR_END)
        end_file(self);
    return MK_OK;
}

static int read_on(struct mk_frames *self, struct mk_stream_io *io, struct mk_error *err)
{
    size_t len = least(io->in_len - io->in_used, self->type->piece_bytes);
    if (!self->packed) {
        begin_piece(self, len);
    } else if (self->tar.left > 0) {
        len = least(len, self->tar.left);
        self->tar.left -= len;
        begin_piece(self, len);
    } else {
        return read_between(self, io, err);
    }
    return MK_OK;
}

static int finish(struct mk_frames *self, struct mk_error *err)
{
    if (self->packed && !mk_tar_is_complete(&self->tar))
        return mk_error_set(err, MK_ECORRUPT, "tar", "the data is damaged: the archive has no end");
    self->finished = true;
    if (!self->packed)
        end_file(self);
    return self->type->finish(self, err);
}

static int frames_step(struct mk_stream *stream, struct mk_stream_io *io, struct mk_error *err)
{
    struct mk_frames *self = (struct mk_frames *)stream;
    int status = MK_OK;
    if (!self->packed && !self->begun) {
        self->begun = true;
        status = self->type->begin(self, NULL, err);
    }
    while (status == MK_OK && write_begun(self, io)) {
        if (io->in_used < io->in_len) {
            status = read_on(self, io, err);
        } else if (io->end && !self->finished) {
            status = finish(self, err);
        } else {
            io->done = self->finished;
            break;
        }
    }
    return status;
}

static void frames_free(struct mk_stream *stream)
{
    mk_free(stream);
}

const struct mk_stream_type mk_frames_stream = {frames_step, frames_free, NULL};
