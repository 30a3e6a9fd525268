#include "loop/file.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "support.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/moonkeep-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    struct mk_error err;
    return mk_file_remove_tree(folder, &err);
}

static const char *in_folder(const char *name)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[0], "%s/%s", folder, name);
    return path[turn];
}

static void a_written_file_reads_back_with_its_mode(void **state)
{
    (void)state;
    struct mk_error err;
    char *bytes;
    size_t len;
    struct stat st;
    assert_ok(mk_file_write(in_folder("a"), "hello", 5, 0600, false, &err), err);
    assert_ok(mk_file_read(in_folder("a"), 100, &bytes, &len, &err), err);
    assert_int_equal(len, 5);
    assert_string_equal(bytes, "hello");
    mk_free(bytes);
    assert_int_equal(stat(in_folder("a"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_not_equal(access(in_folder(".a.partial"), F_OK), 0);
}

static void an_exclusive_write_never_replaces(void **state)
{
    (void)state;
    struct mk_error err;
    char *bytes;
    size_t len;
    assert_ok(mk_file_write(in_folder("e"), "first", 5, 0600, true, &err), err);
    assert_int_equal(mk_file_write(in_folder("e"), "second", 6, 0600, true, &err), MK_EEXIST);
    assert_ok(mk_file_read(in_folder("e"), 100, &bytes, &len, &err), err);
    assert_string_equal(bytes, "first");
    mk_free(bytes);
    assert_int_not_equal(access(in_folder(".e.partial"), F_OK), 0);
    assert_ok(mk_file_write(in_folder("e"), "third", 5, 0600, false, &err), err);
}

static void a_file_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct mk_error err;
    char *bytes = NULL;
    size_t len;
    char text[20000];
    memset(text, 'x', sizeof text);
    assert_ok(mk_file_write(in_folder("big"), text, sizeof text, 0600, false, &err), err);
    assert_int_equal(mk_file_read(in_folder("big"), 10000, &bytes, &len, &err), MK_EINVAL);
    assert_ok(mk_file_read(in_folder("big"), 20000, &bytes, &len, &err), err);
    assert_int_equal(len, sizeof text);
    mk_free(bytes);
}

static void missing_files_and_folders_are_named_in_the_error(void **state)
{
    (void)state;
    struct mk_error err;
    char *bytes;
    size_t len;
    assert_int_equal(mk_file_read(in_folder("none"), 1, &bytes, &len, &err), MK_ENOENT);
    assert_non_null(strstr(err.message, "/none: No such file"));
    assert_int_equal(mk_file_write(in_folder("no/where"), "x", 1, 0600, false, &err), MK_ENOENT);
}

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    struct mk_error err;
    struct stat st;
    assert_ok(mk_file_make_dirs(in_folder("p/q/r"), 0700, &err), err);
    assert_ok(mk_file_make_dirs(in_folder("p/q/r"), 0700, &err), err);
    assert_int_equal(stat(in_folder("p/q"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_ok(mk_file_write(in_folder("p/file"), "x", 1, 0600, false, &err), err);
    assert_int_equal(mk_file_make_dirs(in_folder("p/file/below"), 0700, &err), MK_ENOENT);
    assert_non_null(strstr(err.hint, "is a file"));
}

static void removing_a_tree_does_not_follow_links(void **state)
{
    (void)state;
    struct mk_error err;
    assert_ok(mk_file_make_dirs(in_folder("keep"), 0700, &err), err);
    assert_ok(mk_file_write(in_folder("keep/precious"), "x", 1, 0600, false, &err), err);
    assert_ok(mk_file_make_dirs(in_folder("tree/deep"), 0700, &err), err);
    char target[128];
    snprintf(target, sizeof target, "%s/keep", folder);
    assert_int_equal(symlink(target, in_folder("tree/deep/link")), 0);
    assert_ok(mk_file_remove_tree(in_folder("tree"), &err), err);
    assert_int_equal(access(in_folder("keep/precious"), F_OK), 0);
    assert_int_not_equal(access(in_folder("tree"), F_OK), 0);
    assert_ok(mk_file_remove_tree(in_folder("tree"), &err), err);
    assert_int_equal(symlink(target, in_folder("link")), 0);
    assert_ok(mk_file_remove_tree(in_folder("link"), &err), err);
    assert_int_equal(access(in_folder("keep/precious"), F_OK), 0);
}

static void every_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    int64_t live = mk_mem_live();
    for (int n = 1;; n++) {
        struct mk_error err;
        mk_mem_fail_at(n);
        int status = mk_file_write(in_folder("oom"), "x", 1, 0600, false, &err);
        mk_mem_fail_at(0);
        assert_int_equal(mk_mem_live(), live);
        if (status == MK_OK)
            break;
        assert_int_equal(status, MK_ENOMEM);
    }
}

/* A folder that may be written to but not read can't be synced: nothing must seem published. */
static void a_file_whose_folder_cannot_be_synced_is_not_published(void **state)
{
    (void)state;
    if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0))
        fail();
    char drop[128], target[160];
    struct mk_error err;
    snprintf(drop, sizeof drop, "/tmp/moonkeep-drop-%d", (int)getpid());
    snprintf(target, sizeof target, "%s/file", drop);
    assert_int_equal(mkdir(drop, 0333), 0);
    assert_int_equal(mk_file_write(target, "x", 1, 0600, true, &err), MK_EACCES);
    assert_int_not_equal(access(target, F_OK), 0);
    chmod(drop, 0700);
    assert_int_equal(rmdir(drop), 0); /* and it is empty */
    if (getuid() == 0 && (seteuid(0) != 0 || setegid(0) != 0))
        fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_file_reads_back_with_its_mode),
        cmocka_unit_test(an_exclusive_write_never_replaces),
        cmocka_unit_test(a_file_over_the_limit_is_refused),
        cmocka_unit_test(missing_files_and_folders_are_named_in_the_error),
        cmocka_unit_test(folders_are_made_with_their_parents),
        cmocka_unit_test(removing_a_tree_does_not_follow_links),
        cmocka_unit_test(a_file_whose_folder_cannot_be_synced_is_not_published),
        cmocka_unit_test(every_failed_allocation_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
