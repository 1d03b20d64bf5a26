/*
 * request_stats.c - counts requests and how long their handlers take. State: the counters of struct
 * request_stats, which are atomic. No locks. */
#include "request_stats.h"

#include <stdbool.h>

/* In nanoseconds: from answers out of memory (10 us) to requests that wait for a busy disk (10 s). */
#define BOUNDS(X)                                                                                            \
    X(10000), X(25000), X(50000), X(100000), X(250000), X(500000), X(1000000), X(2500000), X(5000000),       \
        X(10000000), X(50000000), X(250000000), X(500000000), X(2500000000), X(10000000000)
#define NANOSECONDS(n) n
#define SECONDS(n) ((n) / 1e9)
static const uint64_t bounds[REQUEST_BUCKETS - 1] = {BOUNDS(NANOSECONDS)};
const double request_bounds_seconds[REQUEST_BUCKETS - 1] = {BOUNDS(SECONDS)};

static enum request_class class_of(enum request_op op)
{
    switch (op) {
    case REQUEST_read:
        return REQUEST_CLASS_READ;
    case REQUEST_write:
    case REQUEST_copy_file_range:
    case REQUEST_fallocate:
        return REQUEST_CLASS_WRITE;
    case REQUEST_fsync:
    case REQUEST_fsyncdir:
        return REQUEST_CLASS_SYNC;
    default:
        return REQUEST_CLASS_OTHER;
    }
}

/* Of this thread. */
static __thread struct {
    struct timespec began;        /* when its request came */
    const struct timespec *again; /* that was set aside; NULL: it was not */
    bool aside;                   /* is set aside now */
} current;

struct request_timer request_begin(struct request_stats *stats, enum request_op op)
{
    struct request_timer timer = {.stats = stats, .class = class_of(op)};
    if (current.again) {
        timer.start = *current.again;
    } else {
        atomic_fetch_add_explicit(&stats->requests[op], 1, memory_order_relaxed);
        (void)clock_gettime(CLOCK_MONOTONIC, &timer.start);
    }
    current.began = timer.start;
    current.aside = false;
    return timer;
}

struct timespec request_set_aside(void)
{
    current.aside = true;
    return current.began;
}

void request_again(const struct timespec *since)
{
    current.again = since;
}

void request_end(struct request_timer *timer)
{
    struct timespec now;
    struct request_durations *d = &timer->stats->durations[timer->class];
    if (current.aside) { /* the only one of this thread */
        current.aside = false;
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns =
        (int64_t)(now.tv_sec - timer->start.tv_sec) * 1000000000 + now.tv_nsec - timer->start.tv_nsec;
    unsigned i = 0;
    while (i < REQUEST_BUCKETS - 1 && (uint64_t)ns > bounds[i])
        i++;
    atomic_fetch_add_explicit(&d->count[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&d->sum, (uint64_t)ns, memory_order_relaxed);
}

void request_failed(struct request_stats *stats, enum request_op op)
{
    atomic_fetch_add_explicit(&stats->errors[op], 1, memory_order_relaxed);
}

struct request_figures request_figures(const struct request_stats *stats)
{
    struct request_figures figures;
    for (int op = 0; op < REQUEST_OP_COUNT; op++) {
        figures.requests[op] = atomic_load_explicit(&stats->requests[op], memory_order_relaxed);
        figures.errors[op] = atomic_load_explicit(&stats->errors[op], memory_order_relaxed);
    }
    for (int class = 0; class < REQUEST_CLASSES; class ++) {
        const struct request_durations *d = &stats->durations[class];
        struct eng_hist *h = &figures.durations[class];
        for (int i = 0; i < REQUEST_BUCKETS; i++)
            h->count[i] = atomic_load_explicit(&d->count[i], memory_order_relaxed);
        h->sum = (double)atomic_load_explicit(&d->sum, memory_order_relaxed) / 1e9;
    }
    return figures;
}
