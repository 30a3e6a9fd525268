#ifndef MK_HTTP_HTTP_H
#define MK_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "loop/loop.h"

/*
 * HTTP/1.1 requests, and mail by SMTP, by libcurl, on the loop. Connections are kept and used
 * again. Certificates are always verified. Loop thread only.
 */
struct mk_http; /* one per run */
struct mk_http *mk_http_new(struct mk_loop *loop, struct mk_error *err);
void mk_http_free(struct mk_http *http); /* when every transfer has been freed */

/* A mail: the URL is smtp:// (STARTTLS is insisted on) or smtps://, the body is the message. */
struct mk_http_mail {
    const char *from;            /* addresses, without names */
    const char *const *to;       /* up to a NULL */
    const char *user, *password; /* NULL: none */
    bool is_plain;               /* no TLS is insisted on, but used where there is any */
};

struct mk_http_spec {                /* used only during mk_http_start */
    const struct mk_http_mail *mail; /* NULL: it is a request */
    const char *method, *url;
    const char *const *headers; /* "Name: value", up to a NULL; NULL: none */
    const char *ca_file;        /* NULL: the system's certificates */
    const char *proxy;          /* NULL: as the environment says; "": none */
    const char *unix_socket;    /* connect to this instead of the URL's host; or NULL */
    /* Milliseconds, 0 for none: to be connected; with no byte moving though both sides could (to
     * the second); for all of it. */
    int64_t connect_ms, idle_ms, total_ms;
    int max_redirects; /* 0: a redirection is an answer like others */
    bool has_body;
    int64_t body_bytes;
};

/* Called from inside libcurl, but for `done`: may call anything of this header. */
struct mk_http_handler {
    /* Puts the next bytes of the body into `bytes` and returns how many, 0 at its end. NULL: there
     * is no body. */
    size_t (*send)(void *arg, char *bytes, size_t room);
    /* The body is to be sent again from its beginning; false: that cannot be. NULL: never. */
    bool (*rewind)(void *arg);
    /* Bytes of the answer's body, MK_HTTP_PIECE at most; false: no room now, they will come again.
     */
    bool (*receive)(void *arg, const char *bytes, size_t len);
    /* It is over; called once, never from inside another function of this header. The answer may
     * be of any status code. MK_ENET, MK_ETLS, MK_ETIMEOUT, MK_ECANCELED ...: there is none. */
    void (*done)(void *arg, int status, const struct mk_error *err);
};
#define MK_HTTP_PIECE (256u * 1024)

struct mk_http_transfer;
/* NULL with the error, and done is not called. */
struct mk_http_transfer *mk_http_start(struct mk_http *http, const struct mk_http_spec *spec,
                                       const struct mk_http_handler *handler, void *arg,
                                       struct mk_error *err);
/* There is room to receive again. */
void mk_http_resume(struct mk_http_transfer *transfer);
/* done follows soon, if it has not been called yet. */
void mk_http_cancel(struct mk_http_transfer *transfer);
void mk_http_transfer_free(struct mk_http_transfer *transfer); /* after done */

/* The status code of the answer, 0 before it has come. Of a mail: SMTP's last one. */
int mk_http_code(const struct mk_http_transfer *transfer);
/* Its header lines, each with its "\r\n"; the transfer's own. */
struct mk_text mk_http_headers(const struct mk_http_transfer *transfer);

#endif
