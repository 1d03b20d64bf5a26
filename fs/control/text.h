/*
 * text.h - what the control files say, from the figures of the engine
 * and the little that the session remembers itself. */
#ifndef ENGRAMFS_CONTROL_TEXT_H
#define ENGRAMFS_CONTROL_TEXT_H

#include "control/verbs.h"
#include "session.h"

/* What was asked through control files. */
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

/* Writes the text of `file` as of now. Errors of the engine come back. */
int ctl_text(struct session *session, const struct ctl_memory *memory, enum ctl_file file, struct text *t);

#endif
