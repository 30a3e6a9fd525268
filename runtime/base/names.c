/*
 * Names of folders: see names.h. There may be hundreds of thousands, so they lie in one allocation
 * that doubles, and are sorted as pairs of pointers into it.
 */
#include "base/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct pair {
    const char *stem;
    const char *ending; /* NULL: the name has no dot */
};

bool mk_names_reserve(struct mk_names *names, size_t more)
{
    if (names->len + more <= names->cap)
        return true;
    size_t cap = names->cap ? 2 * names->cap : 1024;
    while (cap < names->len + more)
        cap *= 2;
    char *larger = mk_realloc(names->bytes, cap);
    if (!larger)
        return false;
    names->bytes = larger;
    names->cap = cap;
    return true;
}

static void append(struct mk_names *names, const char *bytes, size_t len)
{
    memcpy(names->bytes + names->len, bytes, len);
    names->len += len;
}

bool mk_names_add(struct mk_names *names, const char *name, size_t len)
{
    if (!mk_names_reserve(names, len + 1))
        return false;
    append(names, name, len);
    append(names, "", 1);
    names->n++;
    return true;
}

void mk_names_fini(struct mk_names *names)
{
    mk_free(names->bytes);
    *names = (struct mk_names){0};
}

static int compare(const void *left, const void *right)
{
    const struct pair *a = left, *b = right;
    int order = strcmp(a->stem, b->stem);
    if (order != 0 || !a->ending || !b->ending)
        return order != 0 ? order : (a->ending != NULL) - (b->ending != NULL);
    return strcmp(a->ending, b->ending);
}

/* Cuts each name at its first dot. Returns how many there are. */
static size_t cut(struct mk_names *names, struct pair *pairs)
{
    size_t n = 0;
    for (char *name = names->bytes, *next; name < names->bytes + names->len; name = next) {
        next = name + strlen(name) + 1;
        char *dot = strchr(name, '.');
        if (dot == name)
            continue;
        if (dot)
            *dot = '\0';
        pairs[n++] = (struct pair){name, dot ? dot + 1 : NULL};
    }
    return n;
}

/* Adds the stem of the first pair, and the endings of all that have the same. Returns how many, or
 * 0 when memory is out. */
static size_t add_group(struct mk_names *groups, const struct pair *pairs, size_t n)
{
    if (!mk_names_add(groups, pairs[0].stem, strlen(pairs[0].stem)))
        return 0;
    size_t i = 0;
    for (; i < n && strcmp(pairs[i].stem, pairs[0].stem) == 0; i++) {
        const char *ending = pairs[i].ending ? pairs[i].ending : "";
        if (!mk_names_reserve(groups, strlen(ending) + 2)) /* with the NUL after the last one */
            return 0;
        append(groups, "/", 1);
        append(groups, ending, strlen(ending));
    }
    append(groups, "", 1);
    groups->n++;
    return i;
}

bool mk_names_group(struct mk_names *names, struct mk_names *groups)
{
    if (names->n == 0)
        return true;
    struct pair *pairs = mk_alloc(names->n * sizeof *pairs);
    if (!pairs)
        return false;
    size_t n = cut(names, pairs), taken = 1;
    qsort(pairs, n, sizeof *pairs, compare);
    for (size_t i = 0; i < n && taken > 0; i += taken)
        taken = add_group(groups, pairs + i, n - i);
    mk_free(pairs);
    return taken > 0;
}
