/*
 * timer.c - counts requests and how long their handlers take. State: the counters of struct face, which are
 * atomic. No locks.
 */
#include <time.h>

#include "face.h"

const char *const face_class_names[FACE_CLASSES] = {[FACE_CLASS_READ] = "read",
                                                    [FACE_CLASS_WRITE] = "write",
                                                    [FACE_CLASS_SYNC] = "sync",
                                                    [FACE_CLASS_OTHER] = "other"};

/* From what is answered out of memory (10 us) to what waits for a disk that is busy (10 s). */
const uint64_t face_bounds[FACE_BUCKETS - 1] = {10000,    25000,     50000,     100000,     250000,
                                                500000,   1000000,   2500000,   5000000,    10000000,
                                                50000000, 250000000, 500000000, 2500000000, 10000000000};

static enum face_class class_of(enum face_op op)
{
    switch (op) {
    case FACE_read:
        return FACE_CLASS_READ;
    case FACE_write:
    case FACE_copy_file_range:
    case FACE_fallocate:
        return FACE_CLASS_WRITE;
    case FACE_fsync:
    case FACE_fsyncdir:
        return FACE_CLASS_SYNC;
    default:
        return FACE_CLASS_OTHER;
    }
}

struct face_timer face_timer_begin(struct face *face, enum face_op op)
{
    struct face_timer timer = {.face = face, .class = class_of(op)};
    atomic_fetch_add_explicit(&face->requests[op], 1, memory_order_relaxed);
    (void)clock_gettime(CLOCK_MONOTONIC, &timer.start);
    return timer;
}

void face_timer_end(struct face_timer *timer)
{
    struct timespec now;
    struct face_durations *d = &timer->face->durations[timer->class];
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns =
        (int64_t)(now.tv_sec - timer->start.tv_sec) * 1000000000 + now.tv_nsec - timer->start.tv_nsec;
    unsigned i = 0;
    while (i < FACE_BUCKETS - 1 && (uint64_t)ns > face_bounds[i])
        i++;
    atomic_fetch_add_explicit(&d->count[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&d->sum, (uint64_t)ns, memory_order_relaxed);
}
