#ifndef MK_HOST_LINES_H
#define MK_HOST_LINES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Puts lines together from what arrives in pieces. One that is longer than 16 MiB, or for which
 * there is no memory, is given as an event that says so.
 */
struct mk_lines { /* zero it to begin */
    char *bytes;  /* a line that has not ended yet */
    size_t len, room;
    bool is_cut;
};

/* Calls fn for each line that is complete, without its newline; not for empty ones. */
void mk_lines_feed(struct mk_lines *lines, const char *bytes, size_t len,
                   void (*fn)(void *arg, const char *line, size_t len), void *arg);
void mk_lines_fini(struct mk_lines *lines);

#endif
