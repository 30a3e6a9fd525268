#include "loop/poll.h"

#include <sys/socket.h>
#include <unistd.h>

#include "support.h"

struct seen {
    int events, calls, fd;
    struct mk_poll *poll;
};

static void on_ready(void *arg, int events)
{
    struct seen *seen = arg;
    seen->events |= events;
    seen->calls++;
    mk_poll_set(seen->poll, 0);
}

static void only_what_was_asked_for_is_reported_and_zero_pauses(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(0, &err);
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct seen seen = {0};
    seen.poll = mk_poll_new(loop, fds[0], on_ready, &seen, &err);
    assert_int_equal(write(fds[1], "x", 1), 1);
    mk_poll_set(seen.poll, MK_POLL_WRITE);
    mk_loop_run_once(loop);
    assert_int_equal(seen.events, MK_POLL_WRITE);
    mk_loop_poll(loop); /* paused by the callback */
    assert_int_equal(seen.calls, 1);
    mk_poll_set(seen.poll, MK_POLL_READ);
    mk_loop_run_once(loop);
    assert_int_equal(seen.events, MK_POLL_READ | MK_POLL_WRITE);
    mk_poll_close(seen.poll);
    assert_int_equal(mk_loop_free(loop), 0);
    close(fds[0]);
    close(fds[1]);
}

static void the_end_of_the_other_side_is_something_to_read(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(0, &err);
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct seen seen = {0};
    seen.poll = mk_poll_new(loop, fds[0], on_ready, &seen, &err);
    mk_poll_set(seen.poll, MK_POLL_READ);
    close(fds[1]);
    mk_loop_run_once(loop);
    assert_true(seen.events & MK_POLL_READ);
    mk_poll_close(seen.poll);
    assert_int_equal(mk_loop_free(loop), 0);
    close(fds[0]);
}

static void what_cannot_be_watched_is_an_error(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(0, &err);
    assert_null(mk_poll_new(loop, 9999, on_ready, NULL, &err));
    assert_non_null(strstr(err.message, "could not watch descriptor 9999"));
    assert_int_equal(mk_loop_free(loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_was_asked_for_is_reported_and_zero_pauses),
        cmocka_unit_test(the_end_of_the_other_side_is_something_to_read),
        cmocka_unit_test(what_cannot_be_watched_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
