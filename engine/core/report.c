/*
 * report.c - see report.h. */
#include "core/report.h"

#include <stdio.h>

/* How often this thread has called report_defer() without report_flush(). */
static _Thread_local unsigned deferred;

struct report_line {
    enum eng_log_level level;
    char text[512];
};

void report_defer(void)
{
    deferred++;
}

void report_flush(struct report *report)
{
    if (--deferred || !atomic_load_explicit(&report->n_lines, memory_order_relaxed))
        return;
    pthread_mutex_lock(&report->lock);
    struct report_line *lines = STEAL(report->lines);
    size_t n = report->n_lines;
    atomic_store_explicit(&report->n_lines, 0, memory_order_relaxed);
    report->cap_lines = 0;
    pthread_mutex_unlock(&report->lock);
    for (size_t i = 0; i < n; i++)
        report->log(report->log_arg, lines[i].level, lines[i].text);
    free(lines);
}

/* Keeps a line for report_flush(). Without memory the line is lost. */
static void queue_line(struct report *report, const struct report_line *line)
{
    pthread_mutex_lock(&report->lock);
    size_t n = report->n_lines;
    if (array_grow(&report->lines, &report->cap_lines, n + 1, sizeof *report->lines) == 0) {
        report->lines[n] = *line;
        atomic_store_explicit(&report->n_lines, n + 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&report->lock);
}

void report_line(struct report *report, enum eng_log_level level, const char *fmt, ...)
{
    if (!report->log)
        return;
    struct report_line line = {.level = level};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line.text, sizeof line.text, fmt, ap);
    va_end(ap);
    if (deferred)
        queue_line(report, &line);
    else
        report->log(report->log_arg, level, line.text);
}

void report_turn_read_only(struct report *report, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&report->lock);
    bool first = !atomic_exchange_explicit(&report->read_only, true, memory_order_acq_rel);
    if (first)
        memcpy(report->read_only_reason, line, sizeof line);
    pthread_mutex_unlock(&report->lock);
    if (first)
        report_line(report, ENG_LOG_ERROR, "store is read-only now: %s", line);
}

void report_error(struct report *report, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&report->lock);
    memcpy(report->last_error, line, sizeof line);
    pthread_mutex_unlock(&report->lock);
    report_line(report, ENG_LOG_ERROR, "%s", line);
}

int report_store_error(struct report *report, const char *what, int r)
{
    char line[sizeof report->last_error];
    const char *hint = "are its folder and disk still there?";
    if (r == -ENOMEM)
        hint = "wait until there is memory";
    else if (r == -EMFILE || r == -ENFILE)
        hint = "raise the limit of open files";
    snprintf(line, sizeof line, "%s the store failed (%s): %s", what, strerror(-r), hint);
    pthread_mutex_lock(&report->lock);
    bool known = strcmp(report->last_error, line) == 0;
    pthread_mutex_unlock(&report->lock);
    if (!known)
        report_error(report, "%s", line);
    return r == -ENOENT || r == -ENOTDIR || r == -EACCES || r == -EPERM ? -EIO : r;
}

void report_get(struct report *report, char ret_reason[256], char ret_error[256])
{
    pthread_mutex_lock(&report->lock);
    memcpy(ret_reason, report->read_only_reason, sizeof report->read_only_reason);
    memcpy(ret_error, report->last_error, sizeof report->last_error);
    pthread_mutex_unlock(&report->lock);
}

void report_init(struct report *report, const struct eng_options *opt)
{
    *report = (struct report){.log = opt->log, .log_arg = opt->log_arg, .read_only = opt->read_only};
    pthread_mutex_init(&report->lock, NULL);
}

void report_free(struct report *report)
{
    pthread_mutex_destroy(&report->lock);
    free(report->lines);
}
