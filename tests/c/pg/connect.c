/* Connecting where no server is needed; the rest is in tests/e2e/pg_spec.lua, on real ones. */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "pg/pg.h"
#include "support.h"

/* Listens on a free port of 127.0.0.1, never accepts or answers. */
static int silent_listener(char port[16])
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&address, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    getsockname(fd, (struct sockaddr *)(void *)&address, &len);
    snprintf(port, 16, "%d", ntohs(address.sin_port));
    return fd;
}

static struct mk_pg *connect_to(struct mk_loop *loop, const char *host, const char *port,
                                int64_t timeout_ms, bool cancel, struct mk_error *err)
{
    const char *keys[] = {"host", "port", NULL}, *values[] = {host, port, NULL};
    struct mk_pg_connect *attempt = mk_pg_connect_start(loop, keys, values, timeout_ms, err);
    assert_non_null(attempt);
    struct mk_wait *wait = mk_pg_connect_wait(attempt);
    if (cancel)
        wait->cancel(wait);
    while (wait->state == MK_WAIT_ARMED)
        mk_loop_run_once(loop);
    return mk_pg_connect_finish(attempt, err);
}

static void a_refused_connection_says_so(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    char port[16];
    close(silent_listener(port)); /* free, and nobody there */
    assert_null(connect_to(loop, "127.0.0.1", port, 5000, false, &err));
    assert_int_equal(err.status, MK_EPGCONN);
    assert_non_null(strstr(err.message, "Connection refused"));
    assert_int_equal(mk_loop_free(loop), 0);
}

static void a_server_that_never_answers_is_given_up_at_our_deadline(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    char port[16];
    int fd = silent_listener(port);
    int64_t began = mk_monotonic_ms();
    assert_null(connect_to(loop, "127.0.0.1", port, 200, false, &err));
    assert_int_equal(err.status, MK_ETIMEOUT);
    assert_true(mk_monotonic_ms() - began >= 200);
    assert_int_equal(mk_loop_free(loop), 0);
    close(fd);
}

static void an_attempt_can_be_cancelled(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_loop *loop = mk_loop_new(1, &err);
    char port[16];
    int fd = silent_listener(port);
    assert_null(connect_to(loop, "127.0.0.1", port, 60000, true, &err));
    assert_int_equal(err.status, MK_ECANCELED);
    assert_int_equal(mk_loop_free(loop), 0);
    close(fd);
}

static char refusing_port[16];

static int use_connect(struct mk_error *err)
{
    const char *keys[] = {"host", "port", NULL}, *values[] = {"127.0.0.1", refusing_port, NULL};
    struct mk_error loop_err;
    int64_t countdown = mk_mem_fail_at(0);
    struct mk_loop *loop = mk_loop_new(1, &loop_err);
    mk_mem_fail_at(countdown);
    struct mk_pg_connect *attempt = mk_pg_connect_start(loop, keys, values, 5000, err);
    if (attempt) {
        struct mk_wait *wait = mk_pg_connect_wait(attempt);
        while (wait->state == MK_WAIT_ARMED)
            mk_loop_run_once(loop);
        assert_null(mk_pg_connect_finish(attempt, err));
    }
    assert_int_equal(mk_loop_free(loop), 0);
    return err->status == MK_EPGCONN ? MK_OK : err->status; /* nobody listens there */
}

static void an_allocation_that_fails_anywhere_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    close(silent_listener(refusing_port));
    sweep_allocations("an attempt to connect", use_connect);
}

static void on_key(void *arg, const char *key, const char *value)
{
    char *text = arg;
    size_t used = strlen(text);
    snprintf(text + used, 512 - used, "%s=%s;", key, value);
}

static void conninfos_and_uris_are_split_by_libpq(void **state)
{
    (void)state;
    struct mk_error err;
    char text[512] = "";
    assert_ok(mk_pg_conninfo_parse("postgresql://me@db1,db2:5433/app?sslmode=require", on_key, text,
                                   &err),
              err);
    assert_non_null(strstr(text, "user=me;"));
    assert_non_null(strstr(text, "host=db1,db2;"));
    assert_non_null(strstr(text, "sslmode=require;"));
    assert_int_equal(mk_pg_conninfo_parse("host=x nokey", on_key, text, &err), MK_EINVAL);
    assert_true(strlen(err.hint) > 0);
    assert_non_null(strstr(err.message, "nokey"));
    static const char *const secretive[] = {"me:s3cret", "postgresq://me:s3cret/app", "pw s3cret",
                                            "password='s3cret", "host=a s3cret"};
    for (size_t i = 0; i < sizeof secretive / sizeof secretive[0]; i++) {
        assert_int_equal(mk_pg_conninfo_parse(secretive[i], on_key, text, &err), MK_EINVAL);
        assert_null(strstr(err.message, "s3cret"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first, for abandoned threads of the others give their memory back at any time */
        cmocka_unit_test(an_allocation_that_fails_anywhere_is_an_error_and_leaks_nothing),
        cmocka_unit_test(a_refused_connection_says_so),
        cmocka_unit_test(a_server_that_never_answers_is_given_up_at_our_deadline),
        cmocka_unit_test(an_attempt_can_be_cancelled),
        cmocka_unit_test(conninfos_and_uris_are_split_by_libpq),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fflush(stdout);
    _exit(failed); /* threads that were given up are still inside libpq */
}
