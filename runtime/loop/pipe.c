/*
 * Pipe ends: see pipe.h. A writer also reads: the end of that tells it at once that nobody listens
 * any more, also when it writes rarely.
 */
#include "loop/pipe.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/loop_impl.h"

#define READ_BYTES       16384
#define MAX_QUEUED_BYTES (1024 * 1024)

struct mk_reader {
    uv_pipe_t uv;
    void (*fn)(void *arg, const char *bytes, size_t len);
    void *arg;
    char buffer[READ_BYTES];
};

static void on_handle_closed(uv_handle_t *handle)
{
    mk_free(handle->data);
}

static void reader_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct mk_reader *reader = handle->data;
    *buf = uv_buf_init(reader->buffer, sizeof reader->buffer);
}

static void reader_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct mk_reader *reader = stream->data;
    if (n > 0)
        reader->fn(reader->arg, buf->base, (size_t)n);
    if (n < 0) {
        uv_read_stop(stream);
        reader->fn(reader->arg, NULL, 0);
    }
}

struct mk_reader *mk_reader_new(struct mk_loop *loop, int fd,
                                void (*fn)(void *arg, const char *bytes, size_t len), void *arg,
                                struct mk_error *err)
{
    struct mk_reader *reader = mk_calloc(sizeof *reader);
    if (!reader) {
        close(fd);
        mk_error_nomem(err, "pipe");
        return NULL;
    }
    reader->fn = fn;
    reader->arg = arg;
    reader->uv.data = reader;
    uv_pipe_init(&loop->uv, &reader->uv, 0);
    int result = uv_pipe_open(&reader->uv, fd);
    if (result != 0)
        close(fd); /* else it is the handle's */
    else
        result = uv_read_start((uv_stream_t *)&reader->uv, reader_alloc, reader_read);
    if (result != 0) {
        uv_close((uv_handle_t *)&reader->uv, on_handle_closed);
        mk_error_errno(err, -result, "pipe", "could not read from a pipe");
        return NULL;
    }
    return reader;
}

bool mk_reader_reply(struct mk_reader *reader, const char *bytes, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)len);
    return uv_try_write((uv_stream_t *)&reader->uv, &buf, 1) == (int)len;
}

void mk_reader_close(struct mk_reader *reader)
{
    if (reader)
        uv_close((uv_handle_t *)&reader->uv, on_handle_closed);
}

struct mk_writer {
    uv_pipe_t uv;
    void (*on_broken)(void *arg);
    void (*on_bytes)(void *arg, const char *bytes, size_t len); /* NULL: nobody listens */
    void *arg;
    size_t queued;
    bool broken;
    bool closing;
    char scratch[64];
};

struct write_request {
    uv_write_t uv;
    struct mk_writer *writer;
    size_t len;
    char bytes[];
};

static void writer_broken(struct mk_writer *writer)
{
    if (writer->broken || writer->closing)
        return;
    writer->broken = true;
    uv_read_stop((uv_stream_t *)&writer->uv);
    if (writer->on_broken)
        writer->on_broken(writer->arg);
}

static void writer_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct mk_writer *writer = handle->data;
    *buf = uv_buf_init(writer->scratch, sizeof writer->scratch);
}

static void writer_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct mk_writer *writer = stream->data;
    if (n > 0 && writer->on_bytes)
        writer->on_bytes(writer->arg, buf->base, (size_t)n);
    if (n < 0)
        writer_broken(writer);
}

struct mk_writer *mk_writer_new(struct mk_loop *loop, int fd, void (*on_broken)(void *arg),
                                void *arg, struct mk_error *err)
{
    struct mk_writer *writer = mk_calloc(sizeof *writer);
    if (!writer) {
        mk_error_nomem(err, "pipe");
        return NULL;
    }
    writer->on_broken = on_broken;
    writer->arg = arg;
    writer->uv.data = writer;
    uv_pipe_init(&loop->uv, &writer->uv, 0);
    int result = uv_pipe_open(&writer->uv, fd);
    if (result == 0)
        result = uv_read_start((uv_stream_t *)&writer->uv, writer_alloc, writer_read);
    if (result != 0) {
        uv_close((uv_handle_t *)&writer->uv, on_handle_closed);
        mk_error_errno(err, -result, "pipe", "could not write to descriptor %d", fd);
        return NULL;
    }
    uv_unref((uv_handle_t *)&writer->uv); /* listening for the end is no reason to stay */
    return writer;
}

void mk_writer_listen(struct mk_writer *writer,
                      void (*fn)(void *arg, const char *bytes, size_t len))
{
    writer->on_bytes = fn;
    if (fn)
        uv_ref((uv_handle_t *)&writer->uv);
    else
        uv_unref((uv_handle_t *)&writer->uv);
}

static void writer_close_now(struct mk_writer *writer)
{
    if (!uv_is_closing((uv_handle_t *)&writer->uv))
        uv_close((uv_handle_t *)&writer->uv, on_handle_closed);
}

static void on_written(uv_write_t *uv, int status)
{
    struct write_request *request = uv->data;
    struct mk_writer *writer = request->writer;
    writer->queued -= request->len;
    mk_free(request);
    if (status < 0)
        writer_broken(writer);
    if (writer->closing && (writer->queued == 0 || status < 0))
        writer_close_now(writer);
}

bool mk_writer_send(struct mk_writer *writer, const char *bytes, size_t len, bool important)
{
    if (writer->broken || writer->closing || (!important && writer->queued > MAX_QUEUED_BYTES))
        return false;
    struct write_request *request = mk_alloc(sizeof *request + len);
    if (!request)
        return false;
    request->writer = writer;
    request->len = len;
    request->uv.data = request;
    memcpy(request->bytes, bytes, len);
    uv_buf_t buf = uv_buf_init(request->bytes, (unsigned)len);
    writer->queued += len;
    if (uv_write(&request->uv, (uv_stream_t *)&writer->uv, &buf, 1, on_written) != 0) {
        writer->queued -= len;
        mk_free(request);
        writer_broken(writer);
        return false;
    }
    return true;
}

void mk_writer_close(struct mk_writer *writer)
{
    if (!writer)
        return;
    writer->closing = true;
    if (writer->queued == 0 || writer->broken)
        writer_close_now(writer);
}
