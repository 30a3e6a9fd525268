#ifndef MK_CODEC_LARGE_OBJECTS_H
#define MK_CODEC_LARGE_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/stream.h"

/*
 * Large objects as files of a directory archive, from a binary COPY (PostgreSQL's documentation of
 * COPY, "Binary Format") of rows (oid, offset bigint, data bytea), in the order of the first two.
 * Holes become zeros; an object without data has one row with empty data.
 *
 * Packed: a tar archive of files blob_OID.dat, each of at most MK_LARGE_OBJECT_BYTES. Otherwise
 * the bytes of the one object that comes. The result is "BYTES:OBJECTS:HASH": see
 * codec/content_hash.h. MK_ECORRUPT: the input is no such COPY.
 */
#define MK_LARGE_OBJECT_BYTES (8u * 1024 * 1024)

struct mk_stream *mk_large_objects_new(bool packed, struct mk_error *err);

/* The oid in a file's name, blob_OID.dat; false: it is no such name. */
bool mk_large_object_of(const char *name, uint32_t *oid);

/*
 * The way back: such a file (of the object `oid`), or an archive of them, as a binary COPY of rows
 * (oid, offset bigint, data bytea), each of at most MK_LARGE_OBJECT_ROW bytes of data; an object
 * without data has none. MK_ECORRUPT: the archive is none.
 */
#define MK_LARGE_OBJECT_ROW (256u * 1024)
struct mk_stream *mk_large_object_rows_new(bool packed, uint32_t oid, struct mk_error *err);

#endif
