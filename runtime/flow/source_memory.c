/* A source of bytes that are in memory already: see stages.h. */
#include <string.h>

#include "base/mem.h"
#include "flow/stages.h"

struct source_memory {
    struct mk_source base;
    size_t len, used;
    unsigned char bytes[];
};

static void memory_want(struct mk_source *source, struct mk_block *block)
{
    struct source_memory *self = (struct source_memory *)source;
    size_t n = self->len - self->used;
    if (n > MK_BLOCK_BYTES)
        n = MK_BLOCK_BYTES;
    memcpy(block->data, self->bytes + self->used, n);
    block->len = n;
    self->used += n;
    mk_source_filled(source, self->used == self->len, MK_OK, NULL);
}

static void memory_abort(struct mk_source *source)
{
    (void)source; /* nothing is ever outstanding */
}

static void memory_close(struct mk_source *source)
{
    mk_source_closed(source);
    mk_free(source);
}

static const struct mk_source_type type = {"memory",     memory_want, memory_abort,
                                           memory_close, NULL,        NULL};

struct mk_source *mk_source_memory(const void *bytes, size_t len, struct mk_error *err)
{
    struct source_memory *self = mk_calloc(sizeof *self + len);
    if (!self) {
        mk_error_nomem(err, type.name);
        return NULL;
    }
    self->base.type = &type;
    self->len = len;
    if (len > 0)
        memcpy(self->bytes, bytes, len);
    return &self->base;
}
