#ifndef MK_HOST_OUTPUT_H
#define MK_HOST_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * What the supervisor prints. A thread does the writing, so a terminal that was stopped, or a pipe
 * that nobody reads, never keeps the supervisor from enforcing a deadline or forwarding a signal.
 */
struct mk_output;
struct mk_output *mk_output_new(struct mk_error *err);
/* Queues a copy for descriptor 1 or 2. When 8 MiB are waiting, what is not `important` is dropped,
 * and said to have been once there is room again; at 16 MiB so is everything. */
void mk_output_write(struct mk_output *output, int fd, const char *bytes, size_t len,
                     bool important);
/* Waits until all is written, for at most timeout_ms, and frees it. Returns false, and frees
 * nothing, when somebody still does not read. *errnum: why stdout could not be written, or 0. */
bool mk_output_finish(struct mk_output *output, int timeout_ms, int *errnum);

#endif
