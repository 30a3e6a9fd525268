/* Sources and sinks that touch the world: files and processes. */
#include "flow/rig.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a file source makes of the file at `path`, or of its pieces, is all that was written. */
static void read_pieces(uint64_t total, unsigned pieces)
{
    struct rig rig;
    rig_up(&rig, 4);
    struct mk_source *source = mk_source_file(rig.loop, path, pieces, &rig.err);
    rig_run_and_check(&rig, mk_flow_source(rig.flow, source), total);
}

static void a_file_sink_publishes_a_private_file_that_a_file_source_reads(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 4);
    uint64_t total = 3ULL * MK_BLOCK_BYTES + 5;
    mk_flow_sink(rig.flow, mk_flow_source(rig.flow, &counting_new(total, 12345)->base),
                 mk_sink_file(rig.loop, path, 0, &rig.err));
    assert_ok(rig_run(&rig), *mk_flow_error(rig.flow));
    rig_down(&rig);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, total);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(count_files(), 1);
    read_pieces(total, 1);
}

static void an_existing_file_is_never_replaced(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 4);
    assert_ok(mk_file_write(path, "precious", 8, 0600, false, &rig.err), rig.err);
    mk_flow_sink(rig.flow, mk_flow_source(rig.flow, &counting_new(10, 10)->base),
                 mk_sink_file(rig.loop, path, 0, &rig.err));
    assert_int_equal(rig_run(&rig), MK_EEXIST);
    rig_down(&rig);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 8);
    assert_int_equal(count_files(), 1); /* and no partial one is left */
    unlink(path);
}

static int write_pieces(uint64_t total, uint64_t fail_at, uint64_t piece_bytes)
{
    struct rig rig;
    rig_up(&rig, 4);
    struct counting_source *source = counting_new(total, 12345);
    source->fail_at = fail_at;
    mk_flow_sink(rig.flow, mk_flow_source(rig.flow, &source->base),
                 mk_sink_file(rig.loop, path, piece_bytes, &rig.err));
    int status = rig_run(&rig);
    rig_down(&rig);
    return status;
}

/* Drops what is behind `kept` bytes from memory, as far as the file system does so. */
static void evict(off_t kept)
{
    int fd = open(path, O_RDONLY);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, kept, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
}

static void a_file_is_read_whole_whatever_of_it_is_in_memory(void **state)
{
    (void)state;
    const uint64_t totals[] = {MK_BLOCK_BYTES - 1, MK_BLOCK_BYTES, MK_BLOCK_BYTES + 1,
                               20ULL * MK_BLOCK_BYTES, 20ULL * MK_BLOCK_BYTES + 7};
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        assert_int_equal(write_pieces(totals[i], 0, 0), MK_OK);
        read_pieces(totals[i], 1);
        evict(4096);
        read_pieces(totals[i], 1);
        evict((off_t)totals[i] / 2);
        read_pieces(totals[i], 1);
        unlink(path);
    }
}

static void a_flow_that_only_reads_a_file_lets_the_loop_run(void **state)
{
    (void)state;
    assert_int_equal(write_pieces(40ULL * MK_BLOCK_BYTES, 0, 0), MK_OK);
    struct rig rig;
    rig_up(&rig, 4);
    mk_flow_sink(rig.flow, mk_flow_source(rig.flow, mk_source_file(rig.loop, path, 1, &rig.err)),
                 mk_sink_null(&rig.err));
    mk_flow_start(rig.flow);
    int rounds = 0;
    for (struct mk_wait *wait = mk_flow_wait(rig.flow); wait->state == MK_WAIT_ARMED; rounds++)
        mk_loop_run_once(rig.loop);
    assert_ok(mk_flow_wait(rig.flow)->status, *mk_flow_error(rig.flow));
    assert_in_range(rounds, 4, 1000);
    rig_down(&rig);
    unlink(path);
}

static void a_failed_flow_leaves_no_file_behind(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 4);
    struct counting_source *source = counting_new(10000000, 100000);
    source->fail_at = 5000000;
    mk_flow_sink(rig.flow, mk_flow_source(rig.flow, &source->base),
                 mk_sink_file(rig.loop, path, 0, &rig.err));
    assert_int_equal(rig_run(&rig), MK_EIO);
    rig_down(&rig);
    assert_int_equal(count_files(), 0);
}

/* The size of a piece; -1: it is not there. */
static long long piece_size(unsigned number)
{
    struct stat st;
    char *name = mk_file_piece(path, number);
    long long size = stat(name, &st) == 0 ? (long long)st.st_size : -1;
    mk_free(name);
    return size;
}

static void a_large_file_lies_in_pieces_and_is_read_as_one(void **state)
{
    (void)state;
    const uint64_t piece = 300000;
    const uint64_t totals[] = {0, 1, piece - 1, piece, piece + 1, 3 * piece, 3 * piece + 7};
    const unsigned counts[] = {1, 1, 1, 1, 2, 3, 4};
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        assert_int_equal(write_pieces(totals[i], 0, piece), MK_OK);
        assert_int_equal(count_files(), counts[i]);
        assert_int_equal(piece_size(counts[i]), totals[i] - (counts[i] - 1) * piece);
        for (unsigned n = 1; n < counts[i]; n++)
            assert_int_equal(piece_size(n), piece);
        read_pieces(totals[i], counts[i]);
        for (unsigned n = 1; n <= counts[i]; n++) {
            char *name = mk_file_piece(path, n);
            unlink(name);
            mk_free(name);
        }
    }
}

static void a_failed_flow_leaves_no_piece_behind_but_those_of_others(void **state)
{
    (void)state;
    struct mk_error err;
    assert_int_equal(write_pieces(10000000, 5000000, 300000), MK_EIO);
    assert_int_equal(count_files(), 0);
    char *third = mk_file_piece(path, 3);
    assert_ok(mk_file_write(third, "precious", 8, 0600, false, &err), err);
    assert_int_equal(write_pieces(10000000, 0, 300000), MK_EEXIST);
    assert_int_equal(count_files(), 1);
    assert_int_equal(piece_size(3), 8);
    unlink(third);
    mk_free(third);
}

static void a_missing_file_is_told_by_name(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 2);
    mk_flow_sink(rig.flow, mk_flow_source(rig.flow, mk_source_file(rig.loop, path, 1, &rig.err)),
                 mk_sink_null(&rig.err));
    assert_int_equal(rig_run(&rig), MK_ENOENT);
    assert_non_null(strstr(mk_flow_error(rig.flow)->message, path));
    rig_down(&rig);
}

static int run_process_source(const char *script, uint64_t *received, struct mk_error *err)
{
    struct rig rig;
    rig_up(&rig, 4);
    struct checking_sink *sink = checking_new(rig.loop);
    sink->received_out = received;
    struct mk_source *source = mk_source_process(rig.loop, command(script), &rig.err);
    mk_flow_sink(rig.flow, mk_flow_source(rig.flow, source), &sink->base);
    int status = rig_run(&rig);
    *err = *mk_flow_error(rig.flow);
    rig_down(&rig);
    return status;
}

static void a_process_source_gives_all_that_the_child_writes(void **state)
{
    (void)state;
    struct mk_error err;
    uint64_t received = 0;
    assert_ok(run_process_source("head -c 5000001 /dev/zero", &received, &err), err);
    assert_int_equal(received, 5000001);
    received = 0;
    assert_ok(run_process_source("exit 0", &received, &err), err);
    assert_int_equal(received, 0);
}

static void a_child_that_fails_after_its_last_byte_is_still_a_failure(void **state)
{
    (void)state;
    struct mk_error err;
    uint64_t received;
    assert_int_equal(run_process_source("echo data; echo oops >&2; exit 1", &received, &err),
                     MK_ECHILD);
    assert_string_equal(err.detail, "oops");
    assert_int_equal(run_process_source("echo data; kill -9 $$", &received, &err), MK_ECHILD);
    /* The stream ends long before the child does. */
    assert_int_equal(run_process_source("echo data; exec >&-; sleep 0.1; exit 4", &received, &err),
                     MK_ECHILD);
    /* The child ends long before the stream does. */
    assert_int_equal(run_process_source("(sleep 0.1; echo late) & exit 5", &received, &err),
                     MK_ECHILD);
}

static void an_output_that_somebody_else_keeps_open_is_a_failure_not_a_hang(void **state)
{
    (void)state;
    struct mk_error err;
    uint64_t received;
    assert_int_equal(run_process_source("echo data; sleep 30 & exit 0", &received, &err),
                     MK_ECHILD);
    assert_non_null(strstr(err.message, "keeps its output open"));
}

static int run_process_sink(const char *script, uint64_t total, bool early, char **result,
                            struct mk_error *err)
{
    struct rig rig;
    rig_up(&rig, 4);
    struct mk_sink *sink = mk_sink_process(rig.loop, command(script), early, true, &rig.err);
    mk_flow_sink(rig.flow, mk_flow_source(rig.flow, &counting_new(total, 100000)->base), sink);
    int status = rig_run(&rig);
    *err = *mk_flow_error(rig.flow);
    struct mk_node_report report;
    mk_flow_node_report(rig.flow, 1, &report);
    *result = report.result.bytes ? strdup(report.result.bytes) : NULL;
    rig_down(&rig);
    return status;
}

static void a_process_sink_feeds_the_child_and_keeps_what_it_prints(void **state)
{
    (void)state;
    struct mk_error err;
    char *result;
    assert_ok(run_process_sink("wc -c", 3000000, false, &result, &err), err);
    assert_int_equal(atoi(result), 3000000);
    free(result);
    assert_ok(run_process_sink("wc -c", 0, false, &result, &err), err);
    assert_int_equal(atoi(result), 0);
    free(result);
}

static void a_child_that_stops_reading_is_a_failure_unless_it_may(void **state)
{
    (void)state;
    struct mk_error err;
    char *result;
    assert_int_equal(run_process_sink("head -c 10 >/dev/null", 9000000, false, &result, &err),
                     MK_EPIPE);
    assert_null(result);
    assert_ok(run_process_sink("head -c 10 | wc -c", 9000000, true, &result, &err), err);
    assert_int_equal(atoi(result), 10);
    free(result);
    /* Not even then may it fail. */
    assert_int_equal(run_process_sink("echo bad >&2; exit 9", 9000000, true, &result, &err),
                     MK_ECHILD);
    assert_string_equal(err.detail, "bad");
}

static void the_verdict_of_a_child_that_broke_the_pipe_is_its_own_not_epipe(void **state)
{
    (void)state;
    struct mk_error err;
    char *result;
    assert_int_equal(run_process_sink("head -c 10 >/dev/null; echo disk is full >&2; exit 1",
                                      9000000, false, &result, &err),
                     MK_ECHILD);
    assert_string_equal(err.detail, "disk is full");
}

static void cancelling_kills_the_children(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 4);
    struct mk_node *source =
        mk_flow_source(rig.flow, mk_source_process(rig.loop, command("exec sleep 60"), &rig.err));
    mk_flow_sink(rig.flow, source,
                 mk_sink_process(rig.loop, command("exec sleep 60"), false, true, &rig.err));
    mk_flow_start(rig.flow);
    mk_loop_poll(rig.loop);
    struct mk_wait *wait = mk_flow_wait(rig.flow);
    wait->cancel(wait);
    assert_int_equal(rig_wait(&rig, rig.flow), MK_ECANCELED);
    rig_down(&rig);
}

static void a_program_that_cannot_start_fails_the_flow(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, 4);
    struct mk_command *missing = command("");
    mk_free(missing->argv[0]);
    missing->argv[0] = mk_strdup("/no/such/program");
    struct mk_node *source =
        mk_flow_source(rig.flow, mk_source_process(rig.loop, missing, &rig.err));
    mk_flow_sink(rig.flow, source, mk_sink_null(&rig.err));
    assert_int_equal(rig_run(&rig), MK_ENOENT);
    rig_down(&rig);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static int run_into(struct rig *rig, int fd, uint64_t total)
{
    rig_up(rig, 4);
    struct mk_sink *sink = mk_sink_fd(rig->loop, fd, &rig->err);
    assert_non_null(sink);
    mk_flow_sink(rig->flow, mk_flow_source(rig->flow, &counting_new(total, 100000)->base), sink);
    return rig_run(rig);
}

static void flows_into_one_descriptor_follow_each_other(void **state)
{
    (void)state;
    struct rig rig;
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(run_into(&rig, fd, 1500000), MK_OK);
        rig_down(&rig);
        assert_int_equal(lseek(fd, 0, SEEK_CUR), 1500000 * i);
    }
    close(fd);
    unlink(path);
    fd = open("/dev/null", O_WRONLY);
    assert_int_equal(run_into(&rig, fd, 3000000), MK_OK);
    rig_down(&rig);
    close(fd);
}

static void *read_slowly(void *arg)
{
    static char bytes[50000];
    intptr_t total = 0;
    for (ssize_t n; (n = read(*(int *)arg, bytes, sizeof bytes)) > 0; total += n)
        usleep(200);
    return (void *)total;
}

static void a_pipe_whose_reader_is_slow_gets_everything_and_stays_as_it_is(void **state)
{
    (void)state;
    struct rig rig;
    for (int socket = 0; socket < 2; socket++) {
        int ends[2];
        assert_int_equal(socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends), 0);
        pthread_t reader;
        void *total;
        pthread_create(&reader, NULL, read_slowly, &ends[0]);
        assert_int_equal(run_into(&rig, ends[1], 5000000), MK_OK);
        rig_down(&rig);
        assert_false(fcntl(ends[1], F_GETFL) & O_NONBLOCK);
        close(ends[1]);
        pthread_join(reader, &total);
        assert_int_equal((intptr_t)total, 5000000);
        close(ends[0]);
    }
}

struct later {
    struct rig *rig;
    int fd; /* to be closed, or the flow is cancelled */
};

static void on_later(void *arg)
{
    struct later *later = arg;
    struct mk_wait *wait = mk_flow_wait(later->rig->flow);
    if (later->fd >= 0)
        close(later->fd);
    else
        wait->cancel(wait);
}

/* Into a pipe that nobody reads, until something happens. */
static void run_until(struct later *later, int fd, int expected)
{
    struct rig *rig = later->rig;
    rig_up(rig, 4);
    mk_flow_sink(rig->flow, mk_flow_source(rig->flow, &counting_new(5000000, 100000)->base),
                 mk_sink_fd(rig->loop, fd, &rig->err));
    struct mk_timer *timer = mk_timer_start(rig->loop, 50, on_later, later, &rig->err);
    assert_int_equal(rig_run(rig), expected);
    mk_timer_close(timer);
    rig_down(rig);
}

static void a_reader_that_goes_away_is_told(void **state)
{
    (void)state;
    struct rig rig;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    run_until(&(struct later){&rig, ends[0]}, ends[1], MK_EPIPE);
    close(ends[1]);
}

static void a_pipe_that_nobody_reads_does_not_hold_a_cancelled_flow(void **state)
{
    (void)state;
    struct rig rig;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    run_until(&(struct later){&rig, -1}, ends[1], MK_ECANCELED);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_sink_publishes_a_private_file_that_a_file_source_reads),
        cmocka_unit_test(an_existing_file_is_never_replaced),
        cmocka_unit_test(a_file_is_read_whole_whatever_of_it_is_in_memory),
        cmocka_unit_test(a_flow_that_only_reads_a_file_lets_the_loop_run),
        cmocka_unit_test(a_failed_flow_leaves_no_file_behind),
        cmocka_unit_test(a_large_file_lies_in_pieces_and_is_read_as_one),
        cmocka_unit_test(a_failed_flow_leaves_no_piece_behind_but_those_of_others),
        cmocka_unit_test(a_missing_file_is_told_by_name),
        cmocka_unit_test(a_process_source_gives_all_that_the_child_writes),
        cmocka_unit_test(a_child_that_fails_after_its_last_byte_is_still_a_failure),
        cmocka_unit_test(an_output_that_somebody_else_keeps_open_is_a_failure_not_a_hang),
        cmocka_unit_test(a_process_sink_feeds_the_child_and_keeps_what_it_prints),
        cmocka_unit_test(a_child_that_stops_reading_is_a_failure_unless_it_may),
        cmocka_unit_test(the_verdict_of_a_child_that_broke_the_pipe_is_its_own_not_epipe),
        cmocka_unit_test(cancelling_kills_the_children),
        cmocka_unit_test(a_program_that_cannot_start_fails_the_flow),
        cmocka_unit_test(flows_into_one_descriptor_follow_each_other),
        cmocka_unit_test(a_pipe_whose_reader_is_slow_gets_everything_and_stays_as_it_is),
        cmocka_unit_test(a_reader_that_goes_away_is_told),
        cmocka_unit_test(a_pipe_that_nobody_reads_does_not_hold_a_cancelled_flow),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
