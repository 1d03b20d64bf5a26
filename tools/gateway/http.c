/*
 * http.c - HTTP by libmicrohttpd: limits, authorization, bodies, answers.
 *
 * A thread for each connection, since a request may wait for a compaction;
 * their number, what they may send, how long they may be silent and how long headers and bodies may take is
 * bounded. State: struct request, one for each request under way; the connections, under watch.lock. */
#include "gateway/gateway.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* OWED_SECONDS: from the beginning of a connection, or the end of a request on it, to the end of the next
 * one's headers, however often a byte comes; from there to the end of the body; and from when the answer is
 * made until it is taken. CLOSING: so many more may be on their way out. */
enum { IDLE_SECONDS = 15, OWED_SECONDS = 10, CLOSING = 64, CONNECTION_MEMORY = 32 << 10 };

/* So many may wait in the queue of the system, which has no order by party, before those of parties that have
 * places already are refused instead. */
enum { CROWD = 256, QUEUE = 4096 };

/* For how long a connection keeps its place if others want it: one that says nothing, and any one until its
 * first request has come, while that is answered, and while the answer is sent. */
static const int64_t LATE_NS = 100000000, PLACE_NS = 50000000, ANSWER_NS = 1000000000;

/* The client's turn; the answer is being made; the same, and it takes as long as the work does. */
enum turn { OWES, IS_SERVED, IS_WORKED_FOR };

struct connection {
    struct connection *next; /* protected by watch.lock, as the last five are */
    int fd;                  /* immutable; MHD closes it after on_connection() */
    struct in6_addr from;    /* immutable: who opened it, see party_of() */
    enum turn turn;
    int64_t since;      /* of the turn, ns */
    int64_t kept_until; /* ns */
    bool was_served;
    bool is_shut; /* its place is another's */
};

static struct {
    pthread_mutex_t lock; /* a leaf */
    pthread_cond_t changed;
    struct connection *list; /* youngest first */
    unsigned worked_for;     /* connections */
    bool has_thread, ending;
    pthread_t thread;
    _Atomic int listen_fd; /* -1: not yet known */
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .listen_fd = -1};

struct request {
    char body[GATEWAY_BODY_MAX];
    size_t size;
    bool too_large;
};

static int64_t now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Waits at most so long, or until a connection has ended. */
static void wait_locked(int64_t ns)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += (end.tv_nsec + ns) / 1000000000;
    end.tv_nsec = (end.tv_nsec + ns) % 1000000000;
    (void)pthread_cond_timedwait(&watch.changed, &watch.lock, &end);
}

/* Once a second or more often: shuts those down that are late; MHD then closes them. */
static void *watch_main(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&watch.lock);
    while (!watch.ending) {
        int64_t late = now_ns() - OWED_SECONDS * INT64_C(1000000000);
        for (struct connection *k = watch.list; k; k = k->next)
            if (k->turn == OWES && k->since < late)
                (void)shutdown(k->fd, SHUT_RDWR);
        wait_locked(1000000000);
    }
    (void)pthread_mutex_unlock(&watch.lock);
    return NULL;
}

static void give_turn(struct MHD_Connection *c, enum turn turn)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *k = info ? info->socket_context : NULL;
    if (!k)
        return;
    (void)pthread_mutex_lock(&watch.lock);
    k->since = now_ns();
    if (!k->was_served && turn != OWES)
        k->kept_until = k->since + ANSWER_NS;
    if (!k->was_served && turn == OWES && k->turn != OWES) {
        k->kept_until = k->since + PLACE_NS;
        k->was_served = true;
    }
    k->turn = turn;
    (void)pthread_mutex_unlock(&watch.lock);
}

/* What a mount works for may take for ever, if it hangs meanwhile. So these are half of the places at most:
 * whoever asks how it is finds one. */
static bool begin_work(const struct gateway *g)
{
    (void)pthread_mutex_lock(&watch.lock);
    bool may = watch.worked_for < (g->max_connections > 1 ? g->max_connections / 2 : 1);
    watch.worked_for += may;
    (void)pthread_mutex_unlock(&watch.lock);
    return may;
}

static void end_work(void)
{
    (void)pthread_mutex_lock(&watch.lock);
    watch.worked_for--;
    (void)pthread_mutex_unlock(&watch.lock);
}

/* ---- who has how many places ------------------------------------------------------- */

/*
 * Addresses that one party has at its disposal are one: all of this machine's loopback, and the 2^64 of an
 * IPv6 network. */
static struct in6_addr party_of(const struct sockaddr *addr)
{
    struct in6_addr a = in6addr_any;
    if (addr->sa_family == AF_INET6) {
        a = ((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
    } else if (addr->sa_family == AF_INET) {
        a.s6_addr[10] = a.s6_addr[11] = 0xff;
        memcpy(a.s6_addr + 12, &((const struct sockaddr_in *)(const void *)addr)->sin_addr, 4);
    }
    if (IN6_IS_ADDR_V4MAPPED(&a) && a.s6_addr[12] == 127)
        return in6addr_loopback;
    if (!IN6_IS_ADDR_V4MAPPED(&a) && !IN6_IS_ADDR_LOOPBACK(&a))
        memset(a.s6_addr + 8, 0, 8);
    return a;
}

/* Has a client owed its request, or owed to take its answer, for a while, and longest of all? */
static bool is_later(const struct connection *k, const struct connection *than, int64_t now)
{
    return k->turn == OWES && k->since <= now - LATE_NS && (!than || k->since < than->since);
}

static bool is_before(const struct connection *k, const struct connection *than)
{
    return k->turn != IS_WORKED_FOR && (!than || k->kept_until < than->kept_until);
}

static bool is_crowded(void)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    /* of a socket that listens: how many wait to be accepted */
    return getsockopt(atomic_load(&watch.listen_fd), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           info.tcpi_unacked >= CROWD;
}

/* Who has to give up a place for one more of `from`: NULL, and *ret_has_place says whether there is one.
 * *ret_own: how many places `from` has. */
static struct connection *choose_locked(const struct gateway *g, const struct in6_addr *from, int64_t now,
                                        bool *ret_has_place, unsigned *ret_own)
{
    /* Of one party three quarters at most: another one's monitoring finds room. */
    unsigned n = 0, n_own = 0, n_shut = 0, share = g->max_connections - g->max_connections / 4;
    struct connection *late[2] = {0}, *first[2] = {0}; /* of all, of this party */
    for (struct connection *k = watch.list; k; k = k->next) {
        unsigned own = IN6_ARE_ADDR_EQUAL(&k->from, from) ? 1 : 0;
        n += !k->is_shut;
        n_shut += k->is_shut;
        n_own += own && !k->is_shut;
        for (unsigned i = 0; i <= own && !k->is_shut; i++) {
            late[i] = is_later(k, late[i], now) ? k : late[i];
            first[i] = is_before(k, first[i]) ? k : first[i];
        }
    }
    bool of_own = n_own >= share;
    *ret_own = n_own;
    *ret_has_place = n < g->max_connections && !of_own && n_shut < CLOSING;
    if (*ret_has_place || n_shut >= CLOSING)
        return NULL;
    return late[of_own] ? late[of_own] : first[of_own];
}

/*
 * If that party has its share, or if there is no place left, another connection gives up its own: the one
 * that has let us wait for longest; or, if none does, the one that has had its time. So those who hold places
 * and say nothing keep nobody out; nor do those who ask all the time, or come again and again: each has a
 * place for long enough to be answered once, and the next one waits for that in the queue of the system. When
 * many wait there, who has places already waits no longer: others are behind. */
static bool make_place_locked(const struct gateway *g, const struct in6_addr *from)
{
    bool has_place;
    unsigned n_own;
    for (;;) {
        int64_t now = now_ns();
        struct connection *k = choose_locked(g, from, now, &has_place, &n_own);
        if (!k || watch.ending)
            return has_place;
        if (now >= k->kept_until || is_later(k, NULL, now)) {
            k->is_shut = true;
            (void)shutdown(k->fd, SHUT_RDWR);
            return true;
        }
        if (n_own && is_crowded())
            return false;
        wait_locked(k->kept_until - now);
    }
}

/* By the thread that then calls on_connection() for it. */
static enum MHD_Result on_accept(void *arg, const struct sockaddr *addr, socklen_t size)
{
    const struct gateway *g = arg;
    struct in6_addr from = party_of(addr);
    (void)size;
    (void)pthread_mutex_lock(&watch.lock);
    bool has_place = make_place_locked(g, &from);
    (void)pthread_mutex_unlock(&watch.lock);
    return has_place ? MHD_YES : MHD_NO;
}

static struct connection *connection_new(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *addr = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct connection *k = fd && addr ? malloc(sizeof *k) : NULL;
    int64_t now = now_ns();
    if (k)
        *k = (struct connection){.fd = fd->connect_fd,
                                 .from = party_of(addr->client_addr),
                                 .since = now,
                                 .kept_until = now + PLACE_NS};
    return k;
}

static void on_connection(void *arg, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    (void)arg;
    struct connection *k = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = k = connection_new(c);
        if (!k)
            return;
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
        (void)pthread_cond_broadcast(&watch.changed);
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

/* The whole request is here. */
static void run(struct gateway *g, struct MHD_Connection *c, const char *path, bool is_work,
                const struct request *req, struct answer *a)
{
    if (req->too_large) {
        answer_error(a, MHD_HTTP_CONTENT_TOO_LARGE, "a body has at most %u bytes", GATEWAY_BODY_MAX);
        return;
    }
    if (is_work && !begin_work(g)) {
        answer_error(a, MHD_HTTP_SERVICE_UNAVAILABLE, "others wait already, as many as may: try again later");
        return;
    }
    give_turn(c, is_work ? IS_WORKED_FOR : IS_SERVED);
    atomic_fetch_add(&g->working, 1);
    route_run(g, path, req->body, req->size, a);
    atomic_fetch_sub(&g->working, 1);
    if (is_work)
        end_work();
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *data, size_t *size, void **at)
{
    struct gateway *g = arg;
    struct request *req = *at;
    struct answer a = {0};
    (void)version;
    if (!req) { /* the headers are here */
        give_turn(c, OWES);
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
    run(g, c, path, strcmp(method, "POST") == 0, req, &a);
    give_turn(c, OWES);
    return reply(c, &a);
}

static void on_completed(void *arg, struct MHD_Connection *c, void **at, enum MHD_RequestTerminationCode why)
{
    (void)arg, (void)why;
    give_turn(c, OWES);
    free(*at);
    *at = NULL;
}

struct MHD_Daemon *http_start(struct gateway *g, const struct sockaddr *addr)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL;
    if (addr->sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    watch.has_thread = pthread_create(&watch.thread, NULL, watch_main, NULL) == 0;
    struct MHD_Daemon *d = MHD_start_daemon(
        flags, 0, on_accept, g, on_request, g, MHD_OPTION_SOCK_ADDR, addr, MHD_OPTION_CONNECTION_LIMIT,
        g->max_connections + CLOSING + 1, MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned)QUEUE,
        MHD_OPTION_END);
    const union MHD_DaemonInfo *info = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_LISTEN_FD) : NULL;
    if (info)
        atomic_store(&watch.listen_fd, info->listen_fd);
    return d;
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
    (void)pthread_cond_broadcast(&watch.changed);
    (void)pthread_mutex_unlock(&watch.lock);
    if (watch.has_thread)
        (void)pthread_join(watch.thread, NULL);
}
