/*
 * http.c - HTTP by libmicrohttpd: limits, authorization, bodies, answers.
 *
 * A thread for each connection, since a request may wait for a compaction;
 * their number, what they may send, how long they may be silent and how long headers and bodies may take is
 * bounded. State: struct request, one for each request under way; the connections, under watch.lock. */
#include "gateway/gateway.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* HEADERS_SECONDS: from the beginning of a connection, or the end of a request on it, to the end of the next
 * one's headers; however often a byte comes. BODY_SECONDS: from there to the end of the body. */
enum { IDLE_SECONDS = 15, HEADERS_SECONDS = 10, BODY_SECONDS = 10, CONNECTION_MEMORY = 32 << 10 };

/* A connection, and until when something has to have come of it. */
struct connection {
    struct connection *next; /* protected by watch.lock, as `until` */
    int fd;                  /* immutable; MHD closes it after on_connection() */
    time_t until;            /* 0: an answer is being made */
};

static struct {
    pthread_mutex_t lock; /* a leaf */
    pthread_cond_t changed;
    struct connection *list;
    bool has_thread, ending;
    pthread_t thread;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

struct request {
    char body[GATEWAY_BODY_MAX];
    size_t size;
    bool too_large;
};

static time_t now_s(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

/* Once a second: shuts those down that are late; MHD then closes them. */
static void *watch_main(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&watch.lock);
    while (!watch.ending) {
        time_t now = now_s();
        for (struct connection *k = watch.list; k; k = k->next)
            if (k->until && k->until < now)
                (void)shutdown(k->fd, SHUT_RDWR);
        struct timespec next;
        (void)clock_gettime(CLOCK_REALTIME, &next);
        next.tv_sec++;
        (void)pthread_cond_timedwait(&watch.changed, &watch.lock, &next);
    }
    (void)pthread_mutex_unlock(&watch.lock);
    return NULL;
}

/* `seconds` 0: for as long as it takes. */
static void give_time(struct MHD_Connection *c, int seconds)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *k = info ? info->socket_context : NULL;
    if (!k)
        return;
    (void)pthread_mutex_lock(&watch.lock);
    k->until = seconds ? now_s() + seconds : 0;
    (void)pthread_mutex_unlock(&watch.lock);
}

static void on_connection(void *arg, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    (void)arg;
    struct connection *k = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        *context = k = info ? malloc(sizeof *k) : NULL;
        if (!k)
            return;
        *k = (struct connection){.fd = info->connect_fd, .until = now_s() + HEADERS_SECONDS};
        (void)pthread_mutex_lock(&watch.lock);
        k->next = watch.list;
        watch.list = k;
        (void)pthread_mutex_unlock(&watch.lock);
    } else if (k) {
        (void)pthread_mutex_lock(&watch.lock);
        struct connection **at = &watch.list;
        while (*at && *at != k)
            at = &(*at)->next;
        if (*at)
            *at = k->next;
        (void)pthread_mutex_unlock(&watch.lock);
        free(k);
        *context = NULL;
    }
}

/* In a time that does not tell how much of it is right. */
static bool same_token(const char *want, const char *got)
{
    size_t n = strlen(want), m = strlen(got);
    unsigned char differs = n != m;
    for (size_t i = 0; i < n; i++)
        differs |= (unsigned char)(want[i] ^ got[m ? i % m : 0]);
    return !differs;
}

static bool authorized(const struct gateway *g, struct MHD_Connection *c)
{
    const char *header = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    if (!g->token)
        return true;
    return header && strncasecmp(header, "Bearer ", 7) == 0 && same_token(g->token, header + 7);
}

static enum MHD_Result reply(struct MHD_Connection *c, struct answer *a)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(a->body.len, a->body.data, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result queued = MHD_NO;
    if (r) {
        (void)MHD_add_response_header(r, "Content-Type", a->type);
        (void)MHD_add_response_header(r, "Cache-Control", "no-store");
        (void)MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
        if (a->allow)
            (void)MHD_add_response_header(r, "Allow", a->allow);
        if (a->status == MHD_HTTP_UNAUTHORIZED)
            (void)MHD_add_response_header(r, "WWW-Authenticate", "Bearer realm=\"engram-gateway\"");
        if (a->status == MHD_HTTP_CONTENT_TOO_LARGE)
            (void)MHD_add_response_header(r, "Connection", "close");
        queued = MHD_queue_response(c, a->status, r);
        MHD_destroy_response(r);
    }
    answer_done(a);
    return queued;
}

/* A name of this machine: localhost, 127.x.x.x or ::1, with or without a port; or none at all. */
static bool is_own_name(const char *host)
{
    static const char *const names[] = {"localhost", "[::1]"};
    if (!host)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (strncasecmp(host, names[i], n) == 0 && (!host[n] || host[n] == ':'))
            return true;
    }
    return strncmp(host, "127.", 4) == 0 && host[strspn(host, "0123456789.:")] == '\0';
}

/*
 * Whether a web page may be behind the request: any that a user of this machine looks at could send it.
 * Browsers say so by Origin, except where a name of the page's was made to lead here (DNS rebinding): then by
 * Host. */
static bool from_web_page(struct MHD_Connection *c)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Origin") ||
           !is_own_name(MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host"));
}

/* What can be refused before the body has come. Writes the answer and returns true if it is. */
static bool refused(const struct gateway *g, struct MHD_Connection *c, const char *path, const char *method,
                    struct answer *a)
{
    const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");
    unsigned status;
    if (!route_is_open(path) && !authorized(g, c))
        answer_error(a, MHD_HTTP_UNAUTHORIZED, "a bearer token is needed");
    else if (!g->token && from_web_page(c))
        answer_error(a, MHD_HTTP_BAD_REQUEST, "requests of web pages are taken with --token-file only");
    else if ((status = route_check(path, method, &a->allow)) == MHD_HTTP_METHOD_NOT_ALLOWED)
        answer_error(a, status, "%s takes %s", path, a->allow);
    else if (status)
        answer_error(a, status, "there is nothing at this path");
    else if (length && strtoull(length, NULL, 10) > GATEWAY_BODY_MAX)
        answer_error(a, MHD_HTTP_CONTENT_TOO_LARGE, "a body has at most %u bytes", GATEWAY_BODY_MAX);
    else
        return false;
    return true;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *data, size_t *size, void **at)
{
    struct gateway *g = arg;
    struct request *req = *at;
    struct answer a = {0};
    (void)version;
    if (!req) { /* the headers are here */
        give_time(c, BODY_SECONDS);
        if (refused(g, c, path, method, &a))
            return reply(c, &a);
        *at = calloc(1, sizeof *req);
        return *at ? MHD_YES : MHD_NO;
    }
    if (*size) {
        req->too_large = req->too_large || *size > sizeof req->body - req->size;
        if (!req->too_large) {
            memcpy(req->body + req->size, data, *size);
            req->size += *size;
        }
        *size = 0;
        return MHD_YES;
    }
    give_time(c, 0);
    if (req->too_large) {
        answer_error(&a, MHD_HTTP_CONTENT_TOO_LARGE, "a body has at most %u bytes", GATEWAY_BODY_MAX);
    } else {
        atomic_fetch_add(&g->working, 1);
        route_run(g, path, req->body, req->size, &a);
        atomic_fetch_sub(&g->working, 1);
    }
    return reply(c, &a);
}

static void on_completed(void *arg, struct MHD_Connection *c, void **at, enum MHD_RequestTerminationCode why)
{
    (void)arg, (void)why;
    give_time(c, HEADERS_SECONDS);
    free(*at);
    *at = NULL;
}

struct MHD_Daemon *http_start(struct gateway *g, const struct sockaddr *addr)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL;
    if (addr->sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    watch.has_thread = pthread_create(&watch.thread, NULL, watch_main, NULL) == 0;
    /* Of one address three quarters at most: another one's monitoring finds room. */
    unsigned of_one = g->max_connections - g->max_connections / 4;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, g, MHD_OPTION_SOCK_ADDR, addr, MHD_OPTION_CONNECTION_LIMIT,
        g->max_connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT, of_one, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, NULL, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, NULL, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
}

uint16_t http_port(struct MHD_Daemon *d)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void http_stop(struct MHD_Daemon *d)
{
    MHD_stop_daemon(d);
    (void)pthread_mutex_lock(&watch.lock);
    watch.ending = true;
    (void)pthread_cond_signal(&watch.changed);
    (void)pthread_mutex_unlock(&watch.lock);
    if (watch.has_thread)
        (void)pthread_join(watch.thread, NULL);
}
