/* Lines out of pieces: see lines.h. The memory doubles, and is kept for the next line. */
#include "host/lines.h"

#include <string.h>

#include "base/mem.h"

#define MAX_LINE_BYTES ((size_t)16 * 1024 * 1024)

static void append(struct mk_lines *lines, const char *bytes, size_t len)
{
    if (lines->len + len > lines->room) {
        size_t room = 2 * (lines->len + len);
        char *larger = room <= 2 * MAX_LINE_BYTES ? mk_realloc(lines->bytes, room) : NULL;
        lines->is_cut = lines->is_cut || !larger;
        if (!larger)
            return;
        lines->bytes = larger;
        lines->room = room;
    }
    memcpy(lines->bytes + lines->len, bytes, len);
    lines->len += len;
}

static void end_line(struct mk_lines *lines, void (*fn)(void *arg, const char *line, size_t len),
                     void *arg)
{
    static const char lost[] = "{\"event\":\"log\",\"level\":\"error\",\"text\":"
                               "\"a message was too long, or there was no memory for it\"}";
    if (lines->is_cut)
        fn(arg, lost, sizeof lost - 1);
    else if (lines->len > 0)
        fn(arg, lines->bytes, lines->len);
    lines->len = 0;
    lines->is_cut = false;
}

void mk_lines_feed(struct mk_lines *lines, const char *bytes, size_t len,
                   void (*fn)(void *arg, const char *line, size_t len), void *arg)
{
    while (len > 0) {
        const char *newline = memchr(bytes, '\n', len);
        size_t n = newline ? (size_t)(newline - bytes) : len;
        append(lines, bytes, n);
        if (newline)
            end_line(lines, fn, arg);
        n += newline != NULL;
        bytes += n;
        len -= n;
    }
}

void mk_lines_fini(struct mk_lines *lines)
{
    mk_free(lines->bytes);
    lines->bytes = NULL;
}
