#ifndef MK_HOST_LIBRARY_H
#define MK_HOST_LIBRARY_H

#include <stddef.h>

/* The Lua library as source text, generated from lua/ by cmake/embed_lua.cmake. */
struct mk_library_file {
    const char *module; /* "moonkeep.job" */
    const char *file;   /* "moonkeep/job.lua", its chunk name */
    const char *text;
    size_t len;
};
extern const struct mk_library_file mk_library[]; /* ends with a NULL module */

#endif
