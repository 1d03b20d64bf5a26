/*
 * job_state.h - what the state of a job is called, in control files and in the JSON of engramctl. Pure. */
#ifndef ENGRAMFS_RULES_JOB_STATE_H
#define ENGRAMFS_RULES_JOB_STATE_H

#include "admin.h"

/* "idle", "running", …; "unknown" for a state of a newer engine. */
const char *job_state_name(enum eng_job_state state);

#endif
