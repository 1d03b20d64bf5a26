/* remembered.c - see remembered.h. */
#include "control/remembered.h"

#include <stdio.h>
#include <string.h>

void remembered_init(struct remembered *r)
{
    (void)pthread_mutex_init(&r->lock, NULL);
}

void remembered_done(struct remembered *r)
{
    (void)pthread_mutex_destroy(&r->lock);
}

void remembered_copy(struct remembered *r, struct ctl_memory *ret_memory)
{
    (void)pthread_mutex_lock(&r->lock);
    *ret_memory = r->memory;
    (void)pthread_mutex_unlock(&r->lock);
}

static void set_last_error(struct remembered *r, const char line[sizeof r->memory.last_error])
{
    (void)pthread_mutex_lock(&r->lock);
    memcpy(r->memory.last_error, line, sizeof r->memory.last_error);
    (void)pthread_mutex_unlock(&r->lock);
}

void remembered_error(struct remembered *r, const struct ctl_verb *verb, int err, const char *text)
{
    if (!err)
        return;
    char line[sizeof r->memory.last_error];
    (void)snprintf(line, sizeof line, "%s: %s: %s%s%.180s", ctl_files[verb->file].name, verb->name,
                   strerror(-err), *text ? ": " : "", text);
    set_last_error(r, line);
}

void remembered_bad_line(struct remembered *r, enum ctl_file file, const char *buf, size_t size, bool cut)
{
    char start[48], line[sizeof r->memory.last_error];
    size_t n = 0;
    for (; n < size && n < sizeof start - 1 && buf[n] >= ' ' && buf[n] <= '~'; n++)
        start[n] = buf[n];
    start[n] = '\0';
    if (cut)
        (void)snprintf(line, sizeof line,
                       "%s: nothing was done: what begins with '%s' goes over the end of a page of the file; "
                       "write at offset 0",
                       ctl_files[file].name, start);
    else
        (void)snprintf(line, sizeof line,
                       "%s: not understood, nothing was done: what begins with '%s'; %s/help lists what is",
                       ctl_files[file].name, start, CTL_DIRECTORY);
    set_last_error(r, line);
}

void remembered_maintenance(struct remembered *r, const struct eng_maintenance_report *report, int error)
{
    (void)pthread_mutex_lock(&r->lock);
    r->memory.has_maintenance = true;
    r->memory.maintenance_error = error;
    if (report)
        r->memory.maintenance = *report;
    (void)pthread_mutex_unlock(&r->lock);
}

void remembered_estimate(struct remembered *r, const struct eng_compact_estimate *estimate, int error,
                         int64_t time)
{
    (void)pthread_mutex_lock(&r->lock);
    r->memory.has_estimate = true;
    r->memory.estimate_error = error;
    r->memory.estimate_time = time;
    if (!error)
        r->memory.estimate = *estimate;
    (void)pthread_mutex_unlock(&r->lock);
}
