/*
 * request_stats.c - counts requests and how long their handlers take. State: the counters of struct
 * request_stats, which are atomic. No locks. */
#include "request_stats.h"

const char *const request_op_names[REQUEST_OP_COUNT] = {
#define REQUEST_OP_NAME(name) [REQUEST_##name] = #name,
    REQUEST_OPS(REQUEST_OP_NAME)
#undef REQUEST_OP_NAME
};

const char *const request_class_names[REQUEST_CLASSES] = {[REQUEST_CLASS_READ] = "read",
                                                          [REQUEST_CLASS_WRITE] = "write",
                                                          [REQUEST_CLASS_SYNC] = "sync",
                                                          [REQUEST_CLASS_OTHER] = "other"};

/* From what is answered out of memory (10 us) to what waits for a disk that is busy (10 s). */
const uint64_t request_bounds[REQUEST_BUCKETS - 1] = {
    10000,   25000,    50000,    100000,    250000,    500000,     1000000,    2500000,
    5000000, 10000000, 50000000, 250000000, 500000000, 2500000000, 10000000000};

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

struct request_timer request_begin(struct request_stats *stats, enum request_op op)
{
    struct request_timer timer = {.stats = stats, .class = class_of(op)};
    atomic_fetch_add_explicit(&stats->requests[op], 1, memory_order_relaxed);
    (void)clock_gettime(CLOCK_MONOTONIC, &timer.start);
    return timer;
}

void request_end(struct request_timer *timer)
{
    struct timespec now;
    struct request_durations *d = &timer->stats->durations[timer->class];
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns =
        (int64_t)(now.tv_sec - timer->start.tv_sec) * 1000000000 + now.tv_nsec - timer->start.tv_nsec;
    unsigned i = 0;
    while (i < REQUEST_BUCKETS - 1 && (uint64_t)ns > request_bounds[i])
        i++;
    atomic_fetch_add_explicit(&d->count[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&d->sum, (uint64_t)ns, memory_order_relaxed);
}

void request_failed(struct request_stats *stats, enum request_op op)
{
    atomic_fetch_add_explicit(&stats->errors[op], 1, memory_order_relaxed);
}
