/*
 * age files, sealed and opened in parallel: see stages.h, codec/age.h. A slot has the chunks that a
 * block completes; what is left of the block, from one byte to a whole chunk, is held for the next
 * slot, for only the end of the input tells which chunk is the last one. Chunks can be sealed and
 * opened in any order, and the ring puts them back.
 *
 * The key of the chunks comes from the header, which takes time (a passphrase takes half a second),
 * so it is made, or read, on a worker: by the first slot that needs it, while others wait. A slot
 * gives out nothing unless all its chunks are what was sealed.
 */
#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "flow/stages.h"

#define SEALED_CHUNK (MK_AGE_CHUNK + MK_AGE_TAG)

struct age_stage {
    struct mk_ordered base;
    bool seal;
    size_t in_chunk; /* bytes of a chunk as it comes in */
    struct mk_age_keys *keys;

    /* The loop thread's: where the input is. */
    uint8_t held[SEALED_CHUNK];
    size_t n_held;
    uint64_t issued; /* chunks */

    /* Opening: read by the loop thread until the first slot; sealing: made by the first slot. */
    uint8_t header[MK_AGE_MAX_HEADER];
    size_t header_len;
    bool has_header;

    pthread_mutex_t mutex; /* of what follows */
    bool has_key;
    int status; /* of the header */
    struct mk_error err;
    uint8_t key[MK_AGE_KEY_BYTES];
};

struct age_slot {
    struct mk_slot base;
    struct age_stage *stage;
    struct mk_age_cipher *cipher;
    bool has_key;   /* the cipher's */
    uint64_t first; /* number of its first chunk */
    size_t n_chunks;
    bool last;                /* the last of them is the file's */
    size_t n_held, from, len; /* how much of `held`; where in the block the rest is */
    int status;               /* of what is no header, whose error is in base.err */
    uint8_t held[SEALED_CHUNK];
};

static int age_slot_init(struct mk_ordered *ordered, struct mk_slot *slot, struct mk_error *err)
{
    struct age_slot *self = (struct age_slot *)slot;
    self->stage = (struct age_stage *)ordered;
    self->cipher = mk_age_cipher_new(self->stage->seal, err);
    return self->cipher ? MK_OK : MK_ENOMEM;
}

static void age_slot_fini(struct mk_slot *slot)
{
    mk_age_cipher_free(((struct age_slot *)slot)->cipher);
}

/* ---- preparing: the loop thread ------------------------------------------------------------ */

/* Takes the header from the beginning of the input. Returns how much of the block it has used. */
static size_t take_header(struct age_stage *stage, struct age_slot *self)
{
    const struct mk_block *in = self->base.in;
    size_t had = stage->header_len, room = sizeof stage->header - had;
    size_t n = in->len < room ? in->len : room;
    memcpy(stage->header + had, in->data, n);
    size_t length = 0;
    self->status = mk_age_header_length(stage->header, had + n, &length, &self->base.err);
    stage->has_header = length > 0;
    stage->header_len = stage->has_header ? length : had + n;
    return stage->header_len - had;
}

/* Which chunks the slot has, of what was held and of the block from `from` on. */
static bool take_chunks(struct age_stage *stage, struct age_slot *self, size_t from)
{
    const struct mk_block *in = self->base.in;
    /* so that what comes out has room: 17 chunks, and the header */
    assert(!in || in->len <= MK_BLOCK_BYTES + MK_AGE_CHUNK);
    size_t available = in ? in->len - from : 0, total = stage->n_held + available;
    self->last = !in;
    self->n_chunks = self->last ? 1 : total > 0 ? (total - 1) / stage->in_chunk : 0;
    self->first = stage->issued;
    self->from = from;
    stage->issued += self->n_chunks;
    size_t taken = self->last ? total : self->n_chunks * stage->in_chunk;
    self->n_held = self->n_chunks > 0 ? stage->n_held : 0;
    self->len = taken - self->n_held;
    memcpy(self->held, stage->held, self->n_held);
    if (self->n_chunks > 0)
        stage->n_held = 0;
    size_t left = available - self->len;
    if (left > 0)
        memcpy(stage->held + stage->n_held, in->data + in->len - left, left);
    stage->n_held += left;
    return self->n_chunks > 0;
}

static bool age_prepare(struct mk_ordered *ordered, struct mk_slot *slot)
{
    struct age_stage *stage = (struct age_stage *)ordered;
    struct age_slot *self = (struct age_slot *)slot;
    size_t from = 0;
    self->status = MK_OK;
    if (!stage->seal && !stage->has_header) {
        if (slot->in)
            from = take_header(stage, self);
        else
            self->status =
                mk_error_set(&slot->err, MK_ECORRUPT, "age", "the age file ends inside its header");
        if (self->status != MK_OK || !stage->has_header)
            return self->status != MK_OK;
    }
    return take_chunks(stage, self, from);
}

/* ---- running: workers ---------------------------------------------------------------------- */

/* Gives the slot its key: from the header, which the first one makes or opens. */
static int find_key(struct age_slot *self, struct mk_error *err)
{
    struct age_stage *stage = self->stage;
    pthread_mutex_lock(&stage->mutex);
    if (!stage->has_key && stage->status == MK_OK) {
        if (stage->seal)
            stage->status = mk_age_header_make(stage->keys, stage->header, &stage->header_len,
                                               stage->key, &stage->err);
        else
            stage->status = mk_age_header_open(stage->keys, stage->header, stage->header_len,
                                               stage->key, &stage->err);
        stage->has_key = stage->status == MK_OK;
    }
    int status = stage->status;
    if (status == MK_OK)
        status = mk_age_cipher_set_key(self->cipher, stage->key, err);
    else
        *err = stage->err;
    pthread_mutex_unlock(&stage->mutex);
    self->has_key = status == MK_OK;
    return status;
}

/* Bytes of the slot's input from `at` on, as they lie: held, and in the block. */
static void locate(const struct age_slot *self, size_t at, size_t len, struct mk_age_chunk *chunk)
{
    size_t in_held = at < self->n_held ? self->n_held - at : 0;
    size_t first = in_held < len ? in_held : len;
    chunk->parts[0] = self->held + (in_held > 0 ? at : 0);
    chunk->part_len[0] = first;
    chunk->part_len[1] = len - first;
    if (chunk->part_len[1] > 0)
        chunk->parts[1] = self->base.in->data + self->from + (at + first - self->n_held);
}

static int run_chunks(struct age_slot *self, struct mk_error *err)
{
    struct age_stage *stage = self->stage;
    struct mk_block *out = self->base.out;
    size_t total = self->n_held + self->len;
    for (size_t i = 0; i < self->n_chunks; i++) {
        size_t at = i * stage->in_chunk;
        size_t len = total - at < stage->in_chunk ? total - at : stage->in_chunk;
        struct mk_age_chunk chunk = {.number = self->first + i,
                                     .last = self->last && i + 1 == self->n_chunks,
                                     .out = out->data + out->len};
        locate(self, at, len, &chunk);
        if (!stage->seal && chunk.last && chunk.number > 0 && len <= MK_AGE_TAG)
            return mk_error_set(err, MK_ECORRUPT, "age", "the age file ends with an empty chunk");
        int status = mk_age_chunk_run(self->cipher, &chunk, err);
        if (status != MK_OK)
            return status;
        out->len += stage->seal ? len + MK_AGE_TAG : len - MK_AGE_TAG;
    }
    return MK_OK;
}

static int age_run(struct mk_slot *slot, struct mk_error *err)
{
    struct age_slot *self = (struct age_slot *)slot;
    struct age_stage *stage = self->stage;
    if (self->status != MK_OK)
        return self->status;
    int status = self->has_key ? MK_OK : find_key(self, err);
    if (status == MK_OK && stage->seal && self->first == 0) {
        memcpy(slot->out->data, stage->header, stage->header_len);
        slot->out->len = stage->header_len;
    }
    if (status == MK_OK)
        status = run_chunks(self, err);
    if (status != MK_OK)
        slot->out->len = 0;
    return status;
}

/* ---- the stage ----------------------------------------------------------------------------- */

static void age_free(struct mk_ordered *ordered)
{
    struct age_stage *stage = (struct age_stage *)ordered;
    mk_age_keys_free(stage->keys);
    pthread_mutex_destroy(&stage->mutex);
    mk_age_wipe(stage->key, sizeof stage->key);
    mk_free(stage);
}

static const struct mk_ordered_type type = {
    .name = "age",
    .slot_bytes = sizeof(struct age_slot),
    .slot_init = age_slot_init,
    .slot_fini = age_slot_fini,
    .prepare = age_prepare,
    .run = age_run,
    .free = age_free,
};

struct mk_ordered *mk_ordered_age(bool seal, struct mk_age_keys *keys, struct mk_error *err)
{
    struct age_stage *stage = mk_calloc(sizeof *stage);
    if (!stage || pthread_mutex_init(&stage->mutex, NULL) != 0) {
        mk_age_keys_free(keys);
        mk_free(stage);
        mk_error_nomem(err, type.name);
        return NULL;
    }
    stage->base.type = &type;
    stage->seal = seal;
    stage->in_chunk = seal ? MK_AGE_CHUNK : SEALED_CHUNK;
    stage->keys = keys;
    return &stage->base;
}
