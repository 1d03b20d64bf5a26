/*
 * report.h - what the store tells people: lines for the log callback, the last error, and the read-only state
 * with its reason.
 *
 * The callback may call the engine, so a thread that holds a lock calls it with no line: between
 * report_defer() and report_flush() lines are queued.
 *
 * Locking: report->lock, a leaf. */
#ifndef ENGRAMFS_REPORT_H
#define ENGRAMFS_REPORT_H

#include "base/util.h"
#include "engine.h"

#include <stdarg.h>

struct report {
    /* The callback and its argument; NULL: nobody listens. Immutable after report_init(). */
    void (*log)(void *arg, enum eng_log_level level, const char *line);
    void *log_arg;

    pthread_mutex_t lock;
    /* Queued lines. Protected by lock; n_lines is atomic and read without it, as a hint. */
    struct report_line *lines;
    size_t cap_lines;
    _Atomic size_t n_lines;
    /* Why the store is read-only, and the last error of background work; "": none. Protected by lock. */
    char read_only_reason[256], last_error[256];
    /* Written under lock, read without it. */
    _Atomic bool read_only;
};

void report_init(struct report *report, const struct eng_options *opt);
void report_free(struct report *report);
/* Reports one line: at once, or, between report_defer() and report_flush(), at the flush. */
void report_line(struct report *report, enum eng_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Between the two calls the thread holds a lock, so its lines are queued. Calls nest. */
void report_defer(void);
void report_flush(struct report *report);
/* Refuses every mutation from now on; the first reason stays. */
void report_turn_read_only(struct report *report, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Reports the text, and keeps it for eng_stats.last_error. */
void report_error(struct report *report, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/*
 * Reports, once and not for each caller, that an operation on the store's own files failed with r < 0; `what`
 * names the operation, "writing to", say. Returns what the caller of the engine gets: -EIO in place of an
 * errno that would pass for an answer about the memory. */
int report_store_error(struct report *report, const char *what, int r);
/* Copies the reason for being read-only and the last error. */
void report_get(struct report *report, char ret_reason[256], char ret_error[256]);
static inline bool report_is_read_only(const struct report *report)
{
    return atomic_load_explicit(&report->read_only, memory_order_acquire);
}

#endif
