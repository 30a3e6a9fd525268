#include "loop/pipe.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/timer.h"

#include "support.h"

struct received {
    char text[256];
    size_t len;
    int ends;
};

static void on_bytes(void *arg, const char *bytes, size_t len)
{
    struct received *received = arg;
    if (!bytes) {
        received->ends++;
        return;
    }
    memcpy(received->text + received->len, bytes, len);
    received->len += len;
}

static void on_broken(void *arg)
{
    ++*(int *)arg;
}

static void what_is_sent_arrives_and_then_the_end(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    int pair[2], broken = 0;
    struct received received = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct mk_reader *reader = mk_reader_new(loop, pair[0], on_bytes, &received, &err);
    struct mk_writer *writer = mk_writer_new(loop, pair[1], on_broken, &broken, &err);
    assert_true(mk_writer_send(writer, "one ", 4, false));
    assert_true(mk_writer_send(writer, "two", 3, true));
    mk_writer_close(writer); /* sends what is queued first */
    while (mk_loop_run_once(loop) && received.ends == 0)
        continue;
    assert_int_equal(received.len, 7);
    assert_memory_equal(received.text, "one two", 7);
    assert_int_equal(received.ends, 1);
    assert_int_equal(broken, 0);
    mk_reader_close(reader);
    assert_int_equal(mk_loop_free(loop), 0);
}

static void a_writer_learns_that_its_reader_is_gone_without_writing(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    int pair[2], broken = 0, ignored = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct mk_writer *writer = mk_writer_new(loop, pair[1], on_broken, &broken, &err);
    close(pair[0]);
    struct mk_timer *timer = mk_timer_start(loop, 50, on_broken, &ignored, &err);
    while (!broken && mk_loop_run_once(loop))
        continue; /* the writer alone does not keep the loop going, the timer does */
    mk_timer_close(timer);
    assert_int_equal(broken, 1);
    assert_false(mk_writer_send(writer, "x", 1, true));
    mk_writer_close(writer);
    assert_int_equal(mk_loop_free(loop), 0);
}

static void with_a_stuck_reader_only_important_messages_are_queued(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    int pair[2], broken = 0;
    static char chunk[65536];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct mk_writer *writer = mk_writer_new(loop, pair[1], on_broken, &broken, &err);
    int taken = 0;
    while (taken < 1000 && mk_writer_send(writer, chunk, sizeof chunk, false))
        taken++;
    assert_true(taken < 100); /* bounded */
    assert_true(mk_writer_send(writer, "result", 6, true));
    close(pair[0]);
    while (mk_loop_run_once(loop) && !broken)
        continue;
    mk_writer_close(writer);
    assert_int_equal(mk_loop_free(loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_arrives_and_then_the_end),
        cmocka_unit_test(a_writer_learns_that_its_reader_is_gone_without_writing),
        cmocka_unit_test(with_a_stuck_reader_only_important_messages_are_queued),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
