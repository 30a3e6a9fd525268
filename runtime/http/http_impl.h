#ifndef MK_HTTP_HTTP_IMPL_H
#define MK_HTTP_HTTP_IMPL_H

/* For multi.c and transfer.c only. */
#include <curl/curl.h>

#include "http/http.h"
#include "loop/timer.h"

struct mk_http {
    struct mk_loop *loop;
    CURLM *multi;
    struct mk_timer *timeout;         /* libcurl's own */
    struct mk_timer *kick;            /* for what was asked for since the last one */
    struct mk_http_transfer *pending; /* those who did */
};

struct mk_http_transfer {
    struct mk_http *http;
    CURL *easy;
    struct curl_slist *headers, *recipients;
    const struct mk_http_handler *handler;
    void *arg;
    struct mk_http_transfer *next; /* of those that are pending */
    bool is_pending;
    bool added; /* it is the multi handle's */
    bool paused;
    bool resume, canceled, over;
    char *head; /* header lines */
    size_t head_len;
    char reason[CURL_ERROR_SIZE]; /* libcurl's own words */
    char shown[256];              /* "GET https://host/path", without anything secret */
};

/* Does what was asked for at the next turn of the loop. */
void mk__http_pend(struct mk_http_transfer *transfer);
/* It is asked for nothing any more. */
void mk__http_forget(struct mk_http_transfer *transfer);
/* The transfer is over with libcurl's code: takes it from the multi handle and says so. */
void mk__http_end(struct mk_http_transfer *transfer, CURLcode code);
/* Asks libcurl to go on. */
void mk__http_unpause(struct mk_http_transfer *transfer);

#endif
