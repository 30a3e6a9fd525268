#ifndef MK_CODEC_CUSTOM_BLOCKS_H
#define MK_CODEC_CUSTOM_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/stream.h"

/*
 * Data files of a directory archive as the data blocks of a custom archive that is not compressed
 * (PostgreSQL's pg_backup_custom.c; numbers have 4 bytes): a table's rows are
 *
 *   01, number of its entry, pieces (length, bytes)..., 0
 *
 * and large objects, which are one block together,
 *
 *   03, number of their entry, (oid, pieces..., 0)..., 0
 */
struct mk_custom_member {
    const char *name; /* of a file of the archive */
    uint32_t id;      /* of its entry */
};
struct mk_custom_spec {
    bool packed; /* an archive of files; those that are not among the members are passed over */
    const struct mk_custom_member *members;
    size_t n_members;
    bool large_objects; /* all files of it, or the object `oid` */
    uint32_t id;        /* of the entry: of the only file, or of the large objects */
    uint32_t oid;
    bool first; /* large objects: begins the block */
};

/* The last 0 is left to whoever has compared the whole with what it should be; so is the second one
 * that ends the block of large objects. The members are copied. MK_ECORRUPT: the archive is none,
 * or does not have each member once. */
struct mk_stream *mk_custom_blocks_new(const struct mk_custom_spec *spec, struct mk_error *err);

#endif
