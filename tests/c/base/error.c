#include "base/error.h"

#include <errno.h>
#include <stdio.h>

#include "support.h"

static void every_status_has_a_stable_name(void **state)
{
    (void)state;
    assert_string_equal(mk_error_name(MK_OK), "OK");
    assert_string_equal(mk_error_name(MK_ENOSPC), "DISK_FULL");
    assert_string_equal(mk_error_name(-9999), "UNKNOWN");
}

static void setting_an_error_overwrites_all_of_it(void **state)
{
    (void)state;
    struct mk_error err;
    mk_error_set(&err, MK_EIO, "first", "one");
    mk_error_hint(&err, "do %d", 1);
    snprintf(err.sqlstate, sizeof err.sqlstate, "42601");
    assert_int_equal(mk_error_set(&err, MK_EINVAL, "second", "two %s", "words"), MK_EINVAL);
    assert_string_equal(err.message, "two words");
    assert_string_equal(err.op, "second");
    assert_string_equal(err.hint, "");
    assert_string_equal(err.sqlstate, "");
}

static void a_text_that_is_too_long_is_cut_not_overrun(void **state)
{
    (void)state;
    struct mk_error err;
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mk_error_errno(&err, ENOSPC, "write", "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void a_full_disk_is_known_by_name_and_carries_a_fix(void **state)
{
    (void)state;
    struct mk_error err;
    assert_int_equal(mk_error_errno(&err, ENOSPC, "write", "could not write %s", "/x"), MK_ENOSPC);
    assert_non_null(strstr(err.message, "could not write /x: No space left on device"));
    assert_non_null(strstr(err.hint, "free space"));
    assert_int_equal(mk_error_errno(&err, EOWNERDEAD, "x", "y"), MK_ESYS);
}

static void nobody_has_to_ask_for_an_error(void **state)
{
    (void)state;
    assert_int_equal(mk_error_set(NULL, MK_EIO, "x", "y"), MK_EIO);
    assert_int_equal(mk_error_errno(NULL, ENOENT, "x", "y"), MK_ENOENT);
    mk_error_hint(NULL, "z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_stable_name),
        cmocka_unit_test(setting_an_error_overwrites_all_of_it),
        cmocka_unit_test(a_text_that_is_too_long_is_cut_not_overrun),
        cmocka_unit_test(a_full_disk_is_known_by_name_and_carries_a_fix),
        cmocka_unit_test(nobody_has_to_ask_for_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
