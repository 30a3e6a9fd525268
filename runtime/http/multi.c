/*
 * libcurl's multi interface on the loop. libcurl says which descriptors it waits for, and for how
 * long; we tell it what has become of them, and after every such call take the messages of what is
 * over.
 *
 * Nothing of libcurl's may be called from inside its callbacks, and those run deep inside it. So
 * whatever is asked for (a start, a resumption, a cancellation) only marks the transfer, and is
 * done at the next turn of the loop: by `kick`, a timer of 0 ms.
 *
 * When the multi handle fails, which only a lack of memory makes it do, every transfer would be
 * left hanging: libcurl's own timeouts end them.
 */
#include "base/log.h"
#include "base/mem.h"
#include "http/http_impl.h"
#include "loop/poll.h"

/* ---- what is over ------------------------------------------------------------------------- */

static void take_messages(struct mk_http *http)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(http->multi, &left));) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result; /* the message goes with the handle */
        void *transfer;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        mk__http_end(transfer, code);
    }
}

static void act(struct mk_http *http, curl_socket_t fd, int events)
{
    int running;
    CURLMcode code = curl_multi_socket_action(http->multi, fd, events, &running);
    if (code != CURLM_OK)
        mk_log(MK_LOG_ERROR, "http: %s", curl_multi_strerror(code));
    take_messages(http);
}

/* ---- descriptors -------------------------------------------------------------------------- */

struct watched {
    struct mk_http *http;
    struct mk_poll *poll;
    curl_socket_t fd;
};

static void on_ready(void *arg, int events)
{
    const struct watched *watched = arg;
    /* An error on the descriptor comes as both, and libcurl finds out what it is. */
    act(watched->http, watched->fd,
        (events & MK_POLL_READ ? CURL_CSELECT_IN : 0) |
            (events & MK_POLL_WRITE ? CURL_CSELECT_OUT : 0));
}

static void unwatch(struct mk_http *http, curl_socket_t fd, struct watched *watched)
{
    if (!watched)
        return;
    curl_multi_assign(http->multi, fd, NULL);
    mk_poll_close(watched->poll);
    mk_free(watched);
}

static struct watched *watch(struct mk_http *http, curl_socket_t fd)
{
    struct watched *watched = mk_calloc(sizeof *watched);
    if (!watched)
        return NULL;
    struct mk_error err;
    watched->http = http;
    watched->fd = fd;
    watched->poll = mk_poll_new(http->loop, fd, on_ready, watched, &err);
    if (!watched->poll) {
        mk_log(MK_LOG_ERROR, "http: %s", err.message);
        mk_free(watched);
        return NULL;
    }
    curl_multi_assign(http->multi, fd, watched);
    return watched;
}

/* -1 would end every transfer: one that is not watched meets its timeout. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    struct mk_http *http = arg;
    struct watched *watched = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        unwatch(http, fd, watched);
        return 0;
    }
    if (!watched)
        watched = watch(http, fd);
    if (watched)
        mk_poll_set(watched->poll,
                    (what & CURL_POLL_IN ? MK_POLL_READ : 0) |
                        (what & CURL_POLL_OUT ? MK_POLL_WRITE : 0)); /* CURL_POLL_INOUT is both */
    return 0;
}

/* ---- time --------------------------------------------------------------------------------- */

static void on_timeout(void *arg)
{
    struct mk_http *http = arg;
    act(http, CURL_SOCKET_TIMEOUT, 0);
}

/* A new one replaces the old one; -1: none. */
static int on_timer(CURLM *multi, long ms, void *arg)
{
    (void)multi;
    const struct mk_http *http = arg;
    mk_timer_set(http->timeout, ms);
    return 0;
}

/* ---- what was asked for ------------------------------------------------------------------- */

static void serve(struct mk_http_transfer *transfer)
{
    transfer->is_pending = false;
    if (transfer->over)
        return;
    if (transfer->canceled) {
        mk__http_end(transfer, CURLE_ABORTED_BY_CALLBACK);
        return;
    }
    if (!transfer->added) {
        if (curl_multi_add_handle(transfer->http->multi, transfer->easy) != CURLM_OK) {
            mk__http_end(transfer, CURLE_OUT_OF_MEMORY);
            return;
        }
        transfer->added = true;
    }
    if (transfer->resume && transfer->paused)
        mk__http_unpause(transfer);
}

static void on_kick(void *arg)
{
    struct mk_http *http = arg;
    for (struct mk_http_transfer *transfer; (transfer = http->pending);) {
        http->pending = transfer->next;
        serve(transfer); /* may free it, and others */
    }
    take_messages(http);
}

void mk__http_pend(struct mk_http_transfer *transfer)
{
    struct mk_http *http = transfer->http;
    if (!transfer->is_pending) {
        transfer->is_pending = true;
        transfer->next = http->pending;
        http->pending = transfer;
        mk_timer_set(http->kick, 0);
    }
}

void mk__http_forget(struct mk_http_transfer *transfer)
{
    struct mk_http_transfer **link = &transfer->http->pending;
    while (*link && *link != transfer)
        link = &(*link)->next;
    if (*link)
        *link = transfer->next;
}

/* ---- all of it ---------------------------------------------------------------------------- */

void mk_http_free(struct mk_http *http)
{
    if (!http)
        return;
    if (http->multi)
        curl_multi_cleanup(http->multi); /* calls back, for the connections that it had kept */
    mk_timer_close(http->timeout);
    mk_timer_close(http->kick);
    mk_free(http);
    curl_global_cleanup();
}

struct mk_http *mk_http_new(struct mk_loop *loop, struct mk_error *err)
{
    struct mk_http *http = mk_calloc(sizeof *http);
    if (!http || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        mk_free(http);
        mk_error_nomem(err, "http");
        return NULL;
    }
    http->loop = loop;
    http->timeout = mk_timer_new(loop, on_timeout, http, err);
    http->kick = mk_timer_new(loop, on_kick, http, err);
    http->multi = curl_multi_init();
    if (!http->timeout || !http->kick || !http->multi) {
        mk_http_free(http);
        mk_error_nomem(err, "http");
        return NULL;
    }
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    return http;
}
