/*
 * gateway.h - what the parts of engram-gateway share: the request as the
 * HTTP side hands it to the routes, and the answer that it gets back. */
#ifndef ENGRAM_GATEWAY_H
#define ENGRAM_GATEWAY_H

#include "shared/buf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

/* Nobody has more to say in a request. */
#define GATEWAY_BODY_MAX 8192u

struct gateway {
    const char *mountpoint; /* immutable while it serves, as the next two are */
    const char *token;      /* NULL: none is asked for */
    unsigned max_connections;
    atomic_uint working; /* requests inside a route: a compaction may be waited for */
};

struct answer {
    unsigned status;   /* of HTTP */
    const char *type;  /* of the body; static */
    const char *allow; /* with 405: the methods; static */
    struct buf body;
};

/* ---- routes.c: what is asked of the mount ------------------------------------- */

/* Whether there is something at `path`: 0 or the status to answer with, *ret_allow then says what
 * is allowed. */
unsigned route_check(const char *path, const char *method, const char **ret_allow);
bool route_is_open(const char *path); /* needs no token */
/* Answers a request that route_check() let through. `body` need not be terminated. */
void route_run(struct gateway *g, const char *path, const char *body, size_t size, struct answer *ret);
/* {"error": {"code": …, "message": …}} */
void answer_error(struct answer *a, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void answer_done(struct answer *a);

/* ---- readings.c: what the mount says ------------------------------------------- */

/* control_read() of stats.json or metrics, or -ETIMEDOUT after some seconds. */
int readings_get(const char *mountpoint, const char *name, struct buf *ret_text);

/* ---- http.c: HTTP by libmicrohttpd ---------------------------------------------- */

struct MHD_Daemon;
/* NULL with errno set. `g` is borrowed until http_stop(). */
struct MHD_Daemon *http_start(struct gateway *g, const struct sockaddr *addr);
uint16_t http_port(struct MHD_Daemon *d);
/* Not while a request is inside a route. */
void http_stop(struct MHD_Daemon *d);

#endif
