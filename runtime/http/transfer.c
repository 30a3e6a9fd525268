/*
 * One request, or mail: its options, the callbacks through which its bytes go, and what libcurl's
 * codes mean. See http.h; multi.c runs it.
 *
 * An answer for which there is no room now pauses the transfer, and mk_http_resume unpauses it. The
 * header lines of an answer replace those of the one before it (100 Continue, a redirection).
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "http/http_impl.h"

#define MAX_HEAD (64u * 1024) /* bytes of header lines, which are for Lua */
/* A server is asked whether it wants a body of this size or more (Expect: 100-continue), for it
 * would reset the connection under one that it refuses. For less that costs more than it spares: a
 * server that does not know it is waited for a second. */
#define ASK_BYTES (1024 * 1024)

/* ---- callbacks ---------------------------------------------------------------------------- */

static size_t on_send(char *bytes, size_t size, size_t n, void *arg)
{
    struct mk_http_transfer *transfer = arg;
    return transfer->handler->send(transfer->arg, bytes, size * n);
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct mk_http_transfer *transfer = arg;
    bool is_start = offset == 0 && origin == SEEK_SET;
    return is_start && transfer->handler->rewind && transfer->handler->rewind(transfer->arg)
               ? CURL_SEEKFUNC_OK
               : CURL_SEEKFUNC_CANTSEEK;
}

static size_t on_receive(char *bytes, size_t size, size_t n, void *arg)
{
    struct mk_http_transfer *transfer = arg;
    if (transfer->handler->receive(transfer->arg, bytes, size * n))
        return size * n;
    transfer->paused = true;
    return CURL_WRITEFUNC_PAUSE;
}

static size_t on_header(char *bytes, size_t size, size_t n, void *arg)
{
    struct mk_http_transfer *transfer = arg;
    size_t len = size * n;
    if (len >= 5 && memcmp(bytes, "HTTP/", 5) == 0) {
        transfer->head_len = 0;
        return len;
    }
    if (transfer->head_len + len > MAX_HEAD)
        return 0;
    char *head = mk_realloc(transfer->head, transfer->head_len + len);
    if (!head)
        return 0;
    memcpy(head + transfer->head_len, bytes, len);
    transfer->head = head;
    transfer->head_len += len;
    return len;
}

/* ---- what it is --------------------------------------------------------------------------- */

/* For messages: without user, password and query, which may hold secrets. Returns whether it is a
 * URL at all. */
static bool show(struct mk_http_transfer *transfer, const struct mk_http_spec *spec)
{
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
    bool is_url = url && curl_url_set(url, CURLUPART_URL, spec->url, 0) == CURLUE_OK &&
                  curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                  curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                  curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK;
    if (is_url && curl_url_get(url, CURLUPART_PORT, &port, 0) != CURLUE_OK)
        port = NULL;
    if (is_url)
        snprintf(transfer->shown, sizeof transfer->shown, "%s %s://%s%s%s%s",
                 spec->mail ? "mail by" : spec->method, scheme, host, port ? ":" : "",
                 port ? port : "", path);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    curl_url_cleanup(url);
    return is_url;
}

static bool add_header(struct mk_http_transfer *transfer, const char *line)
{
    struct curl_slist *list = curl_slist_append(transfer->headers, line);
    if (list)
        transfer->headers = list;
    return list != NULL;
}

static bool add_recipients(struct mk_http_transfer *transfer, const struct mk_http_mail *mail)
{
    for (const char *const *to = mail ? mail->to : NULL; to && *to; to++) {
        struct curl_slist *list = curl_slist_append(transfer->recipients, *to);
        if (!list)
            return false;
        transfer->recipients = list;
    }
    return true;
}

static bool add_headers(struct mk_http_transfer *transfer, const struct mk_http_spec *spec)
{
    for (const char *const *line = spec->headers; line && *line; line++)
        if (!add_header(transfer, *line))
            return false;
    if (spec->mail)
        return true;
    bool asks = !spec->has_body || spec->body_bytes >= ASK_BYTES;
    return asks || add_header(transfer, "Expect:");
}

static void set_body(struct mk_http_transfer *transfer, const struct mk_http_spec *spec)
{
    CURL *easy = transfer->easy;
    if (strcmp(spec->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    if (!spec->has_body)
        return;
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)spec->body_bytes);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)MK_HTTP_PIECE);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
    curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
}

static void set_mail(struct mk_http_transfer *transfer, const struct mk_http_mail *mail)
{
    CURL *easy = transfer->easy;
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(easy, CURLOPT_USE_SSL, mail->is_plain ? CURLUSESSL_TRY : CURLUSESSL_ALL);
    curl_easy_setopt(easy, CURLOPT_MAIL_FROM, mail->from);
    curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, transfer->recipients);
    /* one who is not there any more does not keep it from the others */
    curl_easy_setopt(easy, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L);
    if (mail->user)
        curl_easy_setopt(easy, CURLOPT_USERNAME, mail->user);
    if (mail->password)
        curl_easy_setopt(easy, CURLOPT_PASSWORD, mail->password);
}

static void set_request(struct mk_http_transfer *transfer, const struct mk_http_spec *spec)
{
    CURL *easy = transfer->easy;
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    /* a paused stream of HTTP/2 would be buffered by libcurl, 32 MiB of it */
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, spec->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, spec->max_redirects > 0 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)spec->max_redirects);
}

static void set_options(struct mk_http_transfer *transfer, const struct mk_http_spec *spec)
{
    CURL *easy = transfer->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->reason);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    if (spec->mail)
        set_mail(transfer, spec->mail);
    else
        set_request(transfer, spec);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)spec->connect_ms);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)spec->total_ms);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, spec->idle_ms > 0 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)((spec->idle_ms + 999) / 1000));
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)MK_HTTP_PIECE);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_receive);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    if (spec->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, spec->ca_file);
    if (spec->proxy)
        curl_easy_setopt(easy, CURLOPT_PROXY, spec->proxy);
    if (spec->unix_socket)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, spec->unix_socket);
    set_body(transfer, spec);
}

struct mk_http_transfer *mk_http_start(struct mk_http *http, const struct mk_http_spec *spec,
                                       const struct mk_http_handler *handler, void *arg,
                                       struct mk_error *err)
{
    struct mk_http_transfer *transfer = mk_calloc(sizeof *transfer);
    if (transfer) {
        transfer->http = http;
        transfer->handler = handler;
        transfer->arg = arg;
        transfer->easy = curl_easy_init();
    }
    bool ok = transfer && transfer->easy && add_headers(transfer, spec) &&
              add_recipients(transfer, spec->mail);
    if (ok)
        set_options(transfer, spec);
    ok = ok && curl_easy_setopt(transfer->easy, CURLOPT_URL, spec->url) == CURLE_OK;
    if (!ok) {
        if (transfer)
            mk_http_transfer_free(transfer);
        mk_error_nomem(err, "http");
        return NULL;
    }
    if (!show(transfer, spec)) {
        mk_http_transfer_free(transfer);
        mk_error_set(err, MK_EINVAL, "http",
                     spec->mail ? "the URL is not one: it begins with smtp:// or smtps://"
                                : "the URL is not one: it begins with http:// or https://");
        return NULL;
    }
    mk__http_pend(transfer);
    return transfer;
}

void mk_http_resume(struct mk_http_transfer *transfer)
{
    transfer->resume = true;
    mk__http_pend(transfer);
}

void mk_http_cancel(struct mk_http_transfer *transfer)
{
    transfer->canceled = true;
    mk__http_pend(transfer);
}

void mk__http_unpause(struct mk_http_transfer *transfer)
{
    transfer->resume = transfer->paused = false; /* before: it calls back, and may pause again */
    curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
}

/* ---- how it ended ------------------------------------------------------------------------- */

static int status_of(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return MK_ETIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return MK_ENOMEM;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_FUNCTION_ARGUMENT:
        return MK_EINVAL;
    case CURLE_LOGIN_DENIED:
        return MK_EACCES;
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return MK_ETLS;
    default:
        return MK_ENET;
    }
}

static void explain(struct mk_http_transfer *transfer, CURLcode code, struct mk_error *err)
{
    const char *reason = transfer->reason[0] ? transfer->reason : curl_easy_strerror(code);
    mk_error_set(err, status_of(code), "http", "%s: %s", transfer->shown, reason);
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        mk_error_hint(err, "if the server has a certificate of your own authority, name that "
                           "authority's file with `ca`; verification cannot be switched off");
    else if (code == CURLE_SSL_CACERT_BADFILE)
        mk_error_hint(err, "`ca` must be a readable file of certificates in PEM form");
    else if (code == CURLE_USE_SSL_FAILED)
        mk_error_hint(err, "the server offers no encryption, and nothing is sent without it: use "
                           "its smtps:// port, or another server");
    else if (code == CURLE_LOGIN_DENIED)
        mk_error_hint(err, "check the user and the password");
    else if (code == CURLE_COULDNT_CONNECT)
        mk_error_hint(err, "nobody answers there: check the address, whether the server runs, and "
                           "what is between here and there");
    else if (code == CURLE_COULDNT_RESOLVE_HOST)
        mk_error_hint(err, "check the name, and this machine's DNS");
}

void mk__http_end(struct mk_http_transfer *transfer, CURLcode code)
{
    if (transfer->added)
        curl_multi_remove_handle(transfer->http->multi, transfer->easy);
    transfer->added = false;
    transfer->over = true;
    struct mk_error err = {.status = MK_OK};
    if (transfer->canceled)
        mk_error_set(&err, MK_ECANCELED, "http", "%s was stopped", transfer->shown);
    else if (code != CURLE_OK)
        explain(transfer, code, &err);
    transfer->handler->done(transfer->arg, err.status, &err); /* may free it */
}

void mk_http_transfer_free(struct mk_http_transfer *transfer)
{
    mk__http_forget(transfer);
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->recipients);
    mk_free(transfer->head);
    mk_free(transfer);
}

int mk_http_code(const struct mk_http_transfer *transfer)
{
    long code = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &code);
    return (int)code;
}

struct mk_text mk_http_headers(const struct mk_http_transfer *transfer)
{
    return (struct mk_text){transfer->head ? transfer->head : "", transfer->head_len};
}
