#include "base/names.h"

#include <stdio.h>

#include "support.h"

static void add_all(struct mk_names *names, const char *const *list)
{
    for (; *list; list++)
        assert_true(mk_names_add(names, *list, strlen(*list)));
}

static void check(const char *const *names, const char *expected)
{
    struct mk_names list = {0}, groups = {0};
    add_all(&list, names);
    assert_true(mk_names_group(&list, &groups));
    for (size_t i = 0; i < groups.len; i++) /* as one text */
        groups.bytes[i] = groups.bytes[i] ? groups.bytes[i] : ' ';
    assert_int_equal(groups.len, strlen(expected));
    assert_memory_equal(groups.bytes ? groups.bytes : "", expected, groups.len);
    mk_names_fini(&list);
    mk_names_fini(&groups);
}

static void names_are_grouped_by_what_is_before_their_first_dot(void **state)
{
    (void)state;
    check((const char *const[]){"b.x", "a.z", "a", "a.y", NULL}, "a //y/z b /x ");
    check((const char *const[]){"a.x.y", "a.x", NULL}, "a /x/x.y ");
    check((const char *const[]){"a.", "a", NULL}, "a // ");
    check((const char *const[]){NULL}, "");
}

static void a_stem_that_begins_like_another_does_not_part_its_group(void **state)
{
    (void)state;
    check((const char *const[]){"a.z", "a-b.x", "a", "a0", "a.x", NULL}, "a //x/z a-b /x a0 / ");
}

static void names_that_begin_with_a_dot_are_left_out(void **state)
{
    (void)state;
    check((const char *const[]){".a.lock", "a", ".", NULL}, "a / ");
    check((const char *const[]){".a.lock", NULL}, "");
}

static void very_many_names_come_out_in_order(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct mk_names list = {0}, groups = {0};
    char name[32], last[32] = "";
    for (unsigned i = 0; i < N; i++) {
        unsigned shuffled = i * 7919 % N;
        int len = snprintf(name, sizeof name, "%06u%s", shuffled / 2, shuffled % 2 ? ".json" : "");
        assert_true(mk_names_add(&list, name, (size_t)len));
    }
    assert_true(mk_names_group(&list, &groups));
    assert_int_equal(groups.n, N);
    const char *at = groups.bytes;
    for (int i = 0; i < N / 2; i++) {
        assert_true(strcmp(last, at) < 0);
        snprintf(last, sizeof last, "%s", at);
        at += strlen(at) + 1;
        assert_string_equal(at, "//json");
        at += strlen(at) + 1;
    }
    mk_names_fini(&list);
    mk_names_fini(&groups);
}

static int group_some(struct mk_error *err)
{
    struct mk_names list = {0}, groups = {0};
    bool ok = true;
    for (int i = 0; ok && i < 300; i++)
        ok = mk_names_add(&list, "some name.of some length", 24);
    ok = ok && mk_names_group(&list, &groups);
    mk_names_fini(&list);
    mk_names_fini(&groups);
    return ok ? MK_OK : mk_error_nomem(err, "names");
}

static void without_memory_nothing_leaks(void **state)
{
    (void)state;
    sweep_allocations("grouping names", group_some);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_grouped_by_what_is_before_their_first_dot),
        cmocka_unit_test(a_stem_that_begins_like_another_does_not_part_its_group),
        cmocka_unit_test(names_that_begin_with_a_dot_are_left_out),
        cmocka_unit_test(very_many_names_come_out_in_order),
        cmocka_unit_test(without_memory_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
