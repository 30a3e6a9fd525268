/*
 * Several small COPYs as one tar archive: see pg.h.
 *
 * Out: a file's header says its length, so each member waits here until it is complete; its memory
 * is bounded by MK_PG_MEMBER_BYTES. A member that turns out larger is read to its end, for the
 * connection's sake, but left out: whoever asked for it copies it on its own. The members are in
 * the order in which they were asked for; one that is in the archive is whole.
 *
 * In: each file that is asked for is a COPY of its own; others are passed over. A file that is
 * asked for and does not come is an error. Nothing is kept here.
 *
 * An error of one member ends it all.
 */
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "codec/tar.h"
#include "pg/copy_impl.h"

struct member {
    char *name, *sql;
    struct mk_content_hash hash;
    uint64_t bytes;
    bool skipped;
    bool seen; /* IN: it has come, to its end */
};

struct mk_pg_pack {
    size_t n_members;
    struct member *members;
};

struct mk_pg_pack *mk_pg_pack_new(size_t n_members)
{
    struct mk_pg_pack *pack = mk_calloc(sizeof *pack);
    if (!pack)
        return NULL;
    pack->members = mk_calloc((n_members + 1) * sizeof *pack->members);
    if (!pack->members) {
        mk_free(pack);
        return NULL;
    }
    pack->n_members = n_members;
    return pack;
}

bool mk_pg_pack_set(struct mk_pg_pack *pack, size_t i, const char *name, const char *sql)
{
    struct member *member = &pack->members[i];
    member->name = mk_strdup(name);
    member->sql = mk_strdup(sql);
    return member->name && member->sql;
}

size_t mk_pg_pack_count(const struct mk_pg_pack *pack)
{
    return pack->n_members;
}

struct mk_pg_member mk_pg_pack_member(const struct mk_pg_pack *pack, size_t i)
{
    const struct member *member = &pack->members[i];
    return (struct mk_pg_member){&member->hash, member->bytes, member->skipped};
}

void mk_pg_pack_free(struct mk_pg_pack *pack)
{
    if (!pack)
        return;
    for (size_t i = 0; i < pack->n_members; i++) {
        mk_free(pack->members[i].name);
        mk_free(pack->members[i].sql);
    }
    mk_free(pack->members);
    mk_free(pack);
}

/* ---- the thread: out ------------------------------------------------------------------------- */

/* What a member's rows wait in. */
struct buffer {
    char *bytes;
    size_t len, cap;
};

#define FIRST_BYTES (64u * 1024)

/* False: memory is out. */
static bool append(struct buffer *buffer, const char *bytes, size_t len)
{
    if (buffer->len + len > buffer->cap) {
        size_t cap = buffer->cap ? buffer->cap : FIRST_BYTES;
        while (cap < buffer->len + len)
            cap *= 2;
        char *larger = mk_realloc(buffer->bytes, cap);
        if (!larger)
            return false;
        buffer->bytes = larger;
        buffer->cap = cap;
    }
    memcpy(buffer->bytes + buffer->len, bytes, len);
    buffer->len += len;
    return true;
}

/* The rows of one member into the buffer. Returns whether to go on. */
static bool take_rows(struct mk_pg_copy *self, struct member *member, struct buffer *buffer)
{
    if (!mk__pg_copy_begin(self, member->sql))
        return false;
    bool out_of_memory = false;
    char *row;
    for (int n; (n = mk__pg_copy_row(self, &row)) > 0;) {
        mk_content_hash_row(&member->hash, row, (size_t)n);
        member->bytes += (uint64_t)n;
        member->skipped = member->bytes > MK_PG_MEMBER_BYTES;
        if (!member->skipped && !out_of_memory)
            out_of_memory = !append(buffer, row, (size_t)n);
        PQfreemem(row);
    }
    mk__pg_copy_results(self);
    if (self->err.status != MK_OK)
        return false;
    if (out_of_memory)
        mk_error_nomem(&self->err, "copy");
    else if (member->hash.rows != (uint64_t)self->rows)
        mk_error_set(&self->err, MK_EINVAL, "copy",
                     "the server says that it sent %lld rows, but %llu have come",
                     (long long)self->rows, (unsigned long long)member->hash.rows);
    return self->err.status == MK_OK && !mk__pg_copy_aborting(self);
}

/* Header, rows, end mark, zeros. False: aborted. */
static bool deliver_member(struct mk_pg_copy *self, const struct member *member,
                           const struct buffer *buffer, int64_t now)
{
    static const uint8_t zeros[MK_TAR_BLOCK];
    uint8_t header[MK_TAR_BLOCK];
    size_t mark = strlen(MK_COPY_END_MARK);
    uint64_t size = buffer->len + mark;
    mk_tar_header(header, member->name, size, now);
    return mk__pg_copy_deliver(self, header, sizeof header) &&
           mk__pg_copy_deliver(self, buffer->bytes, buffer->len) &&
           mk__pg_copy_deliver(self, MK_COPY_END_MARK, mark) &&
           mk__pg_copy_deliver(self, zeros, mk_tar_padding(size));
}

void mk__pg_copy_pack(struct mk_pg_copy *self)
{
    static const uint8_t end[2 * MK_TAR_BLOCK];
    struct buffer buffer = {0};
    int64_t now = (int64_t)time(NULL);
    bool going = true;
    for (size_t i = 0; going && i < self->pack->n_members; i++) {
        struct member *member = &self->pack->members[i];
        member->hash = (struct mk_content_hash){0}; /* it may have been tried before */
        member->bytes = 0;
        buffer.len = 0;
        going = take_rows(self, member, &buffer);
        if (going && !member->skipped)
            going = deliver_member(self, member, &buffer, now);
    }
    if (going && mk__pg_copy_deliver(self, end, sizeof end))
        mk__pg_copy_deliver_end(self);
    mk_free(buffer.bytes);
}

/* ---- the thread: in -------------------------------------------------------------------------- */

struct unpacking {
    struct mk_tar_reader tar;
    struct member *member; /* whose COPY is under way; NULL: the file is passed over */
    size_t next;           /* where the next one is looked for first: they come in order */
};

static struct member *find(struct mk_pg_pack *pack, struct unpacking *state)
{
    for (size_t i = 0; i < pack->n_members; i++) {
        size_t at = (state->next + i) % pack->n_members;
        if (strcmp(pack->members[at].name, state->tar.name) == 0) {
            state->next = at + 1;
            return &pack->members[at];
        }
    }
    return NULL;
}

static bool end_file(struct mk_pg_copy *self, struct unpacking *state)
{
    struct member *member = state->member;
    state->member = NULL;
    if (!member)
        return true;
    mk__pg_copy_send_end(self, NULL);
    member->hash.rows = (uint64_t)self->rows;
    member->seen = true;
    return self->err.status == MK_OK;
}

static bool begin_file(struct mk_pg_copy *self, struct unpacking *state)
{
    struct member *member = find(self->pack, state);
    if (!member)
        return true;
    if (mk__pg_copy_aborting(self))
        return false; /* a cancel request that came between two COPYs has hit nothing */
    if (member->seen) {
        mk_error_set(&self->err, MK_ECORRUPT, "copy", "the data is damaged: %s comes twice",
                     member->name);
        return false;
    }
    if (!mk__pg_copy_begin(self, member->sql))
        return false;
    state->member = member;
    return true;
}

static bool take_block(struct mk_pg_copy *self, struct unpacking *state)
{
    const uint8_t *bytes = self->block->data;
    size_t left = self->block->len;
    bool going = true;
    while (going && left > 0) {
        enum mk_tar_event event;
        int64_t n = mk_tar_read(&state->tar, bytes, left, &event, &self->err);
        if (n < 0)
            return false;
        if (event == MK_TAR_BEGIN)
            going = begin_file(self, state);
        else if (event == MK_TAR_BYTES && state->member)
            going = mk__pg_copy_send(self, bytes, (size_t)n);
        else if (event == MK_TAR_END)
            going = end_file(self, state);
        bytes += n;
        left -= (size_t)n;
    }
    return going;
}

static void check_complete(struct mk_pg_copy *self, const struct unpacking *state)
{
    if (!mk_tar_is_complete(&state->tar))
        mk_error_set(&self->err, MK_ECORRUPT, "copy",
                     "the data is damaged: the archive has no end");
    for (size_t i = 0; i < self->pack->n_members && self->err.status == MK_OK; i++)
        if (!self->pack->members[i].seen)
            mk_error_set(&self->err, MK_ECORRUPT, "copy", "the archive has no %s",
                         self->pack->members[i].name);
}

void mk__pg_copy_unpack(struct mk_pg_copy *self)
{
    struct unpacking state = {0};
    enum mk_pg_copy_request request;
    for (size_t i = 0; i < self->pack->n_members; i++)
        self->pack->members[i].seen = false; /* it may have been tried before */
    bool going;
    while ((going = mk__pg_copy_take(self, &request)) && request != MK_COPY_FINISH) {
        going = take_block(self, &state);
        if (!going)
            break;
        mk__pg_copy_answer(self);
    }
    if (state.member)
        mk__pg_copy_send_end(self, "moonkeep has stopped this COPY");
    else if (going)
        check_complete(self, &state);
}
