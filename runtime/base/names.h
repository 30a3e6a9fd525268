#ifndef MK_BASE_NAMES_H
#define MK_BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* Names, one after the other, each with its NUL. Zeroed: none. */
struct mk_names {
    char *bytes; /* owned */
    size_t len, cap;
    size_t n;
};

/* False when memory is out; then it is as it was. */
bool mk_names_add(struct mk_names *names, const char *name, size_t len);
/* Room for so many more bytes. */
bool mk_names_reserve(struct mk_names *names, size_t more);
void mk_names_fini(struct mk_names *names);

/*
 * Names by what is before their first dot, in the order of bytes: into `groups`, which is empty,
 * each stem and, after it, its endings with a slash before each: of "b.x", "a.z", "a", "a.y" it
 * makes "a",
 * "//y/z", "b", "/x". Names that begin with a dot are left out. The names are used up: they are to
 * be freed, and no more. False when memory is out.
 */
bool mk_names_group(struct mk_names *names, struct mk_names *groups);

#endif
