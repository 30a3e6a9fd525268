#ifndef MK_LOOP_FILE_H
#define MK_LOOP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * Files that survive a crash. All functions block: call them through loop/call.h. "Durable"
 * means: the content is fsynced under a temporary name, then renamed, then the folder is fsynced;
 * so a reader (or the next start after a power cut) sees the whole file or none.
 */

/* Creates and opens the file that is to become `path`, under a name of its own in the same folder:
 * ".NAME.<pid>-<n>.partial". Returns the descriptor, or a negative MK_E*. mk_free *partial. */
int mk_file_create_partial(const char *path, mode_t mode, char **partial, struct mk_error *err);

/* The name of a piece of a file that lies in several: `path`, `path.2`, `path.3` ... NULL: memory
 * is out. mk_free it. */
char *mk_file_piece(const char *path, unsigned number);

/* Makes `from` be `to`, durably. With `exclusive`, MK_EEXIST if `to` exists, and after any failure
 * there is no `to` of ours. */
int mk_file_publish(const char *from, const char *to, bool exclusive, struct mk_error *err);

/* Writes a small file durably. With `exclusive`, MK_EEXIST if it exists, which is then untouched.
 */
int mk_file_write(const char *path, const void *bytes, size_t len, mode_t mode, bool exclusive,
                  struct mk_error *err);

/* Reads a whole file of at most max_bytes (MK_EINVAL if larger). mk_free *bytes; a NUL follows. */
int mk_file_read(const char *path, size_t max_bytes, char **bytes, size_t *len,
                 struct mk_error *err);

/* mkdir -p, durable; folders that exist keep their mode. */
int mk_file_make_dirs(const char *path, mode_t mode, struct mk_error *err);

/* rm -rf without following links. A path that does not exist is no error. */
int mk_file_remove_tree(const char *path, struct mk_error *err);

int mk_file_sync_dir(const char *path, struct mk_error *err);

#endif
