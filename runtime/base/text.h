#ifndef MK_BASE_TEXT_H
#define MK_BASE_TEXT_H

#include <stddef.h>
#include <string.h>

/* Bytes with their length, which belong to whoever gave them. */
struct mk_text {
    const char *bytes;
    size_t len;
};

static inline struct mk_text mk_text_of(const char *string)
{
    return (struct mk_text){string, strlen(string)};
}

#endif
