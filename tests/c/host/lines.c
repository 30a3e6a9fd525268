/* Lines out of pieces. */
#include "host/lines.h"
#include "base/mem.h"
#include "support.h"

#include <string.h>

struct seen {
    int n;
    size_t longest;
    char text[256]; /* short ones, each with a '|' */
};

static void on_line(void *arg, const char *line, size_t len)
{
    struct seen *seen = arg;
    seen->n++;
    if (len > seen->longest)
        seen->longest = len;
    size_t used = strlen(seen->text);
    if (len < 50 && used + len + 2 < sizeof seen->text)
        snprintf(seen->text + used, sizeof seen->text - used, "%.*s|", (int)len, line);
}

static void lines_come_whole_however_they_were_cut(void **state)
{
    (void)state;
    static const char text[] = "one\n\ntwo\nthree\nnot ended";
    for (size_t piece = 1; piece < sizeof text; piece++) {
        struct mk_lines lines = {0};
        struct seen seen = {0};
        for (size_t at = 0; at < sizeof text - 1; at += piece) {
            size_t left = sizeof text - 1 - at;
            mk_lines_feed(&lines, text + at, left < piece ? left : piece, on_line, &seen);
        }
        assert_string_equal(seen.text, "one|two|three|");
        mk_lines_fini(&lines);
    }
}

static void a_line_that_is_too_long_is_told_of_and_the_next_one_comes(void **state)
{
    (void)state;
    struct mk_lines lines = {0};
    struct seen seen = {0};
    char *piece = mk_alloc(1024 * 1024);
    memset(piece, 'x', 1024 * 1024);
    for (int i = 0; i < 40; i++)
        mk_lines_feed(&lines, piece, 1024 * 1024, on_line, &seen);
    assert_int_equal(seen.n, 0);
    mk_lines_feed(&lines, "\nnext\n", 6, on_line, &seen);
    assert_int_equal(seen.n, 2);
    assert_string_equal(seen.text, "next|");
    assert_true(seen.longest > 50 && seen.longest < 200); /* the event that says so */
    mk_lines_fini(&lines);
    mk_free(piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_whole_however_they_were_cut),
        cmocka_unit_test(a_line_that_is_too_long_is_told_of_and_the_next_one_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
