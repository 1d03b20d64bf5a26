/*
 * job_state.c - see job_state.h. No state of its own. */
#include "rules/job_state.h"

const char *job_state_name(enum eng_job_state state)
{
    static const char *const names[] = {
        [ENG_JOB_IDLE] = "idle", [ENG_JOB_RUNNING] = "running", [ENG_JOB_PAUSED] = "paused",
        [ENG_JOB_DONE] = "done", [ENG_JOB_FAILED] = "failed",   [ENG_JOB_CANCELLED] = "cancelled",
    };
    size_t i = (size_t)state;
    return i < sizeof names / sizeof *names ? names[i] : "unknown";
}
