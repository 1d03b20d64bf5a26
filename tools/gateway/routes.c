/*
 * routes.c - what each path does, by the control files of the mount and
 * nothing else. No state. */
#include "gateway/gateway.h"

#include "shared/control.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char type_json[] = "application/json",
                  type_metrics[] = "text/plain; version=0.0.4; charset=utf-8";

/* ---- answers ---------------------------------------------------------------------- */

static void answer_json(struct answer *a, unsigned status, json_t *take_object)
{
    char *text = take_object ? json_dumps(take_object, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    a->status = text ? status : 500;
    a->type = type_json;
    a->body.len = 0;
    if (text && buf_reserve(&a->body, strlen(text) + 1)) {
        memcpy(a->body.data, text, strlen(text));
        a->body.len = strlen(text);
        a->body.data[a->body.len++] = '\n';
    }
    free(text);
    json_decref(take_object);
}

void answer_error(struct answer *a, unsigned status, const char *format, ...)
{
    char message[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    json_t *text = json_string(message);
    answer_json(a, status,
                json_pack("{s:{s:i, s:o}}", "error", "code", (int)status, "message",
                          text ? text : json_string("a path that is not UTF-8")));
}

void answer_done(struct answer *a)
{
    buf_done(&a->body);
}

/* Of what the mount said to a verb. */
static void answer_errno(const struct gateway *g, struct answer *a, int error)
{
    switch (error) {
    case -EBUSY:
        answer_error(a, 409, "a compaction is in progress");
        break;
    case -ENOENT:
    case -ENOTCONN:
    case -ECONNABORTED:
        answer_error(a, 503, "%s is not mounted, or its daemon has died (%s)", g->mountpoint,
                     strerror(-error));
        break;
    case -ETIMEDOUT:
        answer_error(a, 503, "%s does not answer", g->mountpoint);
        break;
    case -EACCES:
    case -EPERM:
        answer_error(a, 500,
                     "the gateway may not use %s/.engram: mount with -o allow_other,ctl_group=NAME, and "
                     "run the gateway in that group",
                     g->mountpoint);
        break;
    case -EROFS:
        answer_error(a, 503, "the store takes no writes: see read_only_reason in /api/v1/maintenance/stats");
        break;
    default:
        answer_error(a, 500, "%s", control_strerror(error));
    }
}

static void answer_file(const struct gateway *g, struct answer *a, unsigned status, const char *name,
                        const char *type)
{
    a->status = status;
    a->type = type;
    int r = control_read(g->mountpoint, name, &a->body);
    if (r < 0)
        answer_errno(g, a, r);
}

/* ---- the file of a failed job has its reason ---------------------------------------- */

static void answer_failed(const struct gateway *g, struct answer *a, const char *name, int error)
{
    struct buf text = {0};
    if (error == -EBUSY || error == -EROFS || control_read(g->mountpoint, name, &text) < 0) {
        buf_done(&text);
        answer_errno(g, a, error);
        return;
    }
    json_t *report = json_loadb(text.data, text.len, 0, NULL);
    const char *why = json_string_value(json_object_get(report, "error"));
    if (error == -EACCES || error == -EPERM)
        answer_errno(g, a, error);
    else if (why)
        answer_error(a, 500, "%s: %s", control_strerror(error), why);
    else
        answer_error(a, 500, "%s", control_strerror(error));
    json_decref(report);
    buf_done(&text);
}

/* Whoever writes to a mount that hangs stays in the kernel: it must answer before. */
static bool hangs(const struct gateway *g, struct answer *a)
{
    struct buf text = {0};
    int r = readings_get(g->mountpoint, "stats.json", &text);
    buf_done(&text);
    if (r == -ETIMEDOUT)
        answer_errno(g, a, r);
    return r == -ETIMEDOUT;
}

/* ---- POST /api/v1/maintenance/compact ------------------------------------------------- */

struct compact_request {
    bool force, wait, has_rate;
    double min_fragmentation; /* <0: not given */
    uint64_t rate;
};

/* 0, or the key that is wrong and what it must be in `why`. */
static int parse_member(const char *key, const json_t *v, struct compact_request *ret, char why[160])
{
    if (!strcmp(key, "force") || !strcmp(key, "wait")) {
        if (!json_is_boolean(v))
            return snprintf(why, 160, "%s must be true or false", key);
        *(*key == 'f' ? &ret->force : &ret->wait) = json_is_true(v);
        return 0;
    }
    if (!strcmp(key, "min_fragmentation")) {
        ret->min_fragmentation = json_number_value(v);
        if (!json_is_number(v) || !(ret->min_fragmentation >= 0 && ret->min_fragmentation <= 1))
            return snprintf(why, 160, "min_fragmentation must be a number from 0 to 1");
        return 0;
    }
    if (!strcmp(key, "rate")) {
        if (!json_is_integer(v) || json_integer_value(v) < 0)
            return snprintf(why, 160, "rate must be bytes a second, 0 for unlimited");
        ret->rate = (uint64_t)json_integer_value(v);
        ret->has_rate = true;
        return 0;
    }
    return snprintf(why, 160, "unknown key %.80s; known are force, min_fragmentation, rate, wait", key);
}

static int parse_compact(const char *body, size_t size, struct compact_request *ret, char why[160])
{
    *ret = (struct compact_request){.wait = true, .min_fragmentation = -1};
    json_error_t error;
    const char *key;
    json_t *v;
    int bad = 0;
    if (!size)
        return 0;
    json_t *o = json_loadb(body, size, JSON_REJECT_DUPLICATES, &error);
    if (!o)
        return snprintf(why, 160, "not JSON: line %d: %.100s", error.line, error.text);
    if (!json_is_object(o))
        bad = snprintf(why, 160, "not a JSON object");
    json_object_foreach(o, key, v)
    {
        if (!bad)
            bad = parse_member(key, v, ret, why);
    }
    json_decref(o);
    return bad;
}

/* Not above min_fragmentation: answers that nothing was done. */
static bool below(const struct gateway *g, const struct compact_request *req, struct answer *a)
{
    struct buf text = {0};
    if (req->force || req->min_fragmentation < 0)
        return false;
    int r = readings_get(g->mountpoint, "stats.json", &text);
    json_t *stats = r < 0 ? NULL : json_loadb(text.data, text.len, 0, NULL);
    buf_done(&text);
    if (!stats) {
        if (r < 0)
            answer_errno(g, a, r);
        else
            answer_error(a, 500, "stats.json cannot be read");
        return true;
    }
    double ratio = json_number_value(json_object_get(stats, "fragmentation_ratio"));
    if (ratio <= req->min_fragmentation)
        answer_json(a, 200,
                    json_pack("{s:s, s:s, s:f, s:O}", "state", "skipped", "reason",
                              "fragmentation_ratio is not above min_fragmentation", "fragmentation_ratio",
                              ratio, "total_bytes", json_object_get(stats, "total_bytes")));
    json_decref(stats);
    return ratio <= req->min_fragmentation;
}

static void compact(struct gateway *g, const char *body, size_t size, struct answer *a)
{
    struct compact_request req;
    char text[160], rate[48] = "";
    if (parse_compact(body, size, &req, text)) {
        answer_error(a, 400, "%s", text);
        return;
    }
    if (hangs(g, a) || below(g, &req, a))
        return;
    /* It is started before the rate is set: a request that is refused must not slow down the one
     * that runs. */
    if (req.has_rate)
        snprintf(rate, sizeof rate, "\nrate=%" PRIu64, req.rate);
    if (req.wait && !req.has_rate)
        snprintf(text, sizeof text, "run");
    else
        snprintf(text, sizeof text, "start%s%s", rate, req.wait ? "\nwait" : "");
    int r = control_write(g->mountpoint, "compact", text);
    if (r < 0)
        answer_failed(g, a, "compact", r);
    else
        answer_file(g, a, req.wait ? 200 : 202, "compact", type_json);
}

/* ---- the others -------------------------------------------------------------------------- */

static void metrics(struct gateway *g, const char *body, size_t size, struct answer *a)
{
    (void)body, (void)size;
    a->status = 200;
    a->type = type_metrics;
    int r = readings_get(g->mountpoint, "metrics", &a->body);
    if (r < 0)
        answer_errno(g, a, r);
}

/* Without the ids of memories that are removed and open: the mount tells them to this program, not to whoever
 * asks. */
static void stats(struct gateway *g, const char *body, size_t size, struct answer *a)
{
    struct buf text = {0};
    size_t i;
    json_t *orphan;
    (void)body, (void)size;
    int r = readings_get(g->mountpoint, "stats.json", &text);
    json_t *s = r < 0 ? NULL : json_loadb(text.data, text.len, 0, NULL);
    buf_done(&text);
    if (!s) {
        answer_errno(g, a, r < 0 ? r : -EIO);
        return;
    }
    json_array_foreach(json_object_get(s, "open_orphans"), i, orphan)
    {
        (void)json_object_set_new(orphan, "id", json_string(""));
    }
    answer_json(a, 200, s);
}

static void maintenance(struct gateway *g, const char *body, size_t size, struct answer *a)
{
    (void)body;
    if (size) {
        answer_error(a, 400, "this request has no body");
        return;
    }
    if (hangs(g, a))
        return;
    int r = control_write(g->mountpoint, "maintenance", "run");
    if (r < 0)
        answer_failed(g, a, "maintenance", r);
    else
        answer_file(g, a, 200, "maintenance", type_json);
}

static void health(struct gateway *g, const char *body, size_t size, struct answer *a)
{
    struct buf text = {0};
    (void)body, (void)size;
    int r = readings_get(g->mountpoint, "stats.json", &text);
    json_t *s = r < 0 ? NULL : json_loadb(text.data, text.len, 0, NULL);
    const char *read_only = json_string_value(json_object_get(s, "read_only_reason"));
    if (!s)
        answer_errno(g, a, r < 0 ? r : -EIO);
    else if (read_only && *read_only)
        answer_error(a, 503, "the store takes no writes: %s", read_only);
    else
        answer_json(a, 200, json_pack("{s:s}", "status", "ok"));
    json_decref(s);
    buf_done(&text);
}

static const struct route {
    const char *path, *method, *allow;
    bool open; /* without a token */
    void (*run)(struct gateway *g, const char *body, size_t size, struct answer *a);
} routes[] = {
    {"/metrics", "GET", "GET, HEAD", false, metrics},
    {"/health", "GET", "GET, HEAD", true, health},
    {"/api/v1/maintenance/stats", "GET", "GET, HEAD", false, stats},
    {"/api/v1/maintenance/compact", "POST", "POST", false, compact},
    {"/api/v1/maintenance/run", "POST", "POST", false, maintenance},
};

static const struct route *find(const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (!strcmp(routes[i].path, path))
            return &routes[i];
    return NULL;
}

unsigned route_check(const char *path, const char *method, const char **ret_allow)
{
    const struct route *r = find(path);
    if (!r)
        return 404;
    if (!strcmp(method, r->method) || (!strcmp(method, "HEAD") && !strcmp(r->method, "GET")))
        return 0;
    *ret_allow = r->allow;
    return 405;
}

bool route_is_open(const char *path)
{
    const struct route *r = find(path);
    return r && r->open;
}

void route_run(struct gateway *g, const char *path, const char *body, size_t size, struct answer *ret)
{
    find(path)->run(g, body, size, ret);
}
