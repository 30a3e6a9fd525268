/*
 * Several small COPYs as one tar archive: see pg.h. A file's header says its length, so each
 * member waits here until it is complete; its memory is bounded by MK_PG_MEMBER_BYTES. A member
 * that turns out larger is read to its end, for the connection's sake, but left out: whoever asked
 * for it copies it on its own.
 *
 * Invariants: the members are in the order in which they were asked for; a member that is in the
 * archive is whole; an error of one ends it all.
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

/* ---- the thread ---------------------------------------------------------------------------- */

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
