#ifndef MK_CODEC_LARGE_OBJECTS_H
#define MK_CODEC_LARGE_OBJECTS_H

#include <stdbool.h>

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

#endif
