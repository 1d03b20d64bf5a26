/*
 * remembered.h - what was asked through control files last, and what came of it: for texts. */
#ifndef ENGRAMFS_CONTROL_REMEMBERED_H
#define ENGRAMFS_CONTROL_REMEMBERED_H

#include <pthread.h>

#include "control/verbs.h"

struct ctl_memory {
    bool has_estimate;
    int estimate_error;
    struct eng_compact_estimate estimate;
    int64_t estimate_time; /* ns since the epoch */
    bool has_maintenance;
    int maintenance_error;
    struct eng_maintenance_report maintenance;
    char last_error[256]; /* of a control write; "" if none */
    bool without_ids;     /* for a reader who may not see which memories there are */
};

/* Begins as all zeros, and remembered_init(). lock is a leaf: nothing is called under it. */
struct remembered {
    pthread_mutex_t lock;
    struct ctl_memory memory; /* protected by lock */
};

void remembered_init(struct remembered *r);
void remembered_done(struct remembered *r);
void remembered_copy(struct remembered *r, struct ctl_memory *ret_memory);
/* A verb that failed, with what the engine says of it, or "". Nothing, if err is 0. */
void remembered_error(struct remembered *r, const struct ctl_verb *verb, int err, const char *text);
/* A write that was not understood: what it began with, and why or where to look. */
void remembered_bad_line(struct remembered *r, enum ctl_file file, const char *buf, size_t size, bool cut);
/* report may be NULL. */
void remembered_maintenance(struct remembered *r, const struct eng_maintenance_report *report, int error);
void remembered_estimate(struct remembered *r, const struct eng_compact_estimate *estimate, int error,
                         int64_t time);

#endif
