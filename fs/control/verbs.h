/*
 * verbs.h - the control files, their names and the verbs they take.
 *
 * One table drives the parser and the text of `help`. Pure functions. */
#ifndef ENGRAMFS_CONTROL_VERBS_H
#define ENGRAMFS_CONTROL_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admin.h"
#include "control/text_buffer.h"

#define CTL_DIRECTORY ".engram"

enum ctl_file {
    CTL_COMPACT,
    CTL_MAINTENANCE,
    CTL_SCRUB,
    CTL_HOLD,
    CTL_DAMAGED,
    CTL_SEGMENTS,
    CTL_STATS,
    CTL_METRICS,
    CTL_STATUS,
    CTL_CONFIG,
    CTL_POSITION,
    CTL_WAIT_FOR,
    CTL_CHANGES,
    CTL_CHANGES_SINCE, /* a folder, and the files in it */
    CTL_SNAPSHOTS,     /* a folder; what is in it is of views.h */
    CTL_AT,            /* the same */
    CTL_HISTORY,       /* a folder; it and what is in it are of past_paths.h */
    CTL_DELETED,       /* the same */
    CTL_CONFLICTS,
    CTL_HELP,
    CTL_FILES
};

struct ctl_file_info {
    const char *name;
    bool writable; /* takes verbs */
    bool open;     /* readable by everybody who may enter the mount */
    bool folder;
    const char *help;
};
extern const struct ctl_file_info ctl_files[CTL_FILES];

/* The control file of that name, or -1. */
int ctl_file_by_name(const char *name);
/* A position as people write it: decimal digits, nothing else. -EINVAL; -ERANGE: no batch has that number. */
int ctl_parse_position(const char *text, uint64_t *ret_position);

enum ctl_action {
    CTL_DO_JOB_RUN,
    CTL_DO_JOB_START,
    CTL_DO_JOB_WAIT,
    CTL_DO_JOB_PAUSE,
    CTL_DO_JOB_RESUME,
    CTL_DO_JOB_CANCEL,
    CTL_DO_JOB_RATE,
    CTL_DO_ESTIMATE,
    CTL_DO_MAINTENANCE_RUN,
    CTL_DO_HOLD,
    CTL_DO_HOLD_WHILE_OPEN,
    CTL_DO_RELEASE,
    CTL_DO_CONFIG_SET,
    CTL_DO_WAIT_FOR
};

enum ctl_argument { CTL_ARG_NONE, CTL_ARG_BYTES, CTL_ARG_PAIR, CTL_ARG_POSITION };

struct ctl_verb {
    enum ctl_file file;
    const char *name; /* with CTL_ARG_PAIR and CTL_ARG_POSITION: how help names it */
    enum ctl_argument argument;
    enum ctl_action action;
    bool waits; /* answered when the work is done */
    const char *help;
    enum eng_job_id job; /* of CTL_DO_JOB_* */
};

#define CTL_KEY_MAX 64
#define CTL_VALUE_MAX 192
#define CTL_COMMANDS_MAX 64

struct ctl_command {
    const struct ctl_verb *verb;
    uint64_t bytes;            /* CTL_ARG_BYTES */
    uint64_t position;         /* CTL_ARG_POSITION */
    char key[CTL_KEY_MAX];     /* CTL_ARG_PAIR */
    char value[CTL_VALUE_MAX]; /* CTL_ARG_PAIR */
};

/*
 * Decodes what was written to `file`: lines, each a verb; blank ones and
 * those that begin with # are skipped; the last newline may be missing.
 * Nothing is accepted unless every line is: -EINVAL for an unknown verb, a
 * bad value, or a verb that waits before the last line; no verb at all is fine;
 * -E2BIG for more than CTL_COMMANDS_MAX lines. ret_n commands are written to ret_commands. */
int ctl_parse(enum ctl_file file, const char *buf, size_t size,
              struct ctl_command ret_commands[CTL_COMMANDS_MAX], size_t *ret_n);

/* The text of `help`. */
void ctl_help(struct text *t);

#endif
