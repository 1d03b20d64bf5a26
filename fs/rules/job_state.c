/*
 * job_state.c - see job_state.h. No state of its own. */
#include "rules/job_state.h"

const char *job_state_name(enum eng_compact_state state)
{
    static const char *const names[] = {
        [ENG_COMPACT_IDLE] = "idle", [ENG_COMPACT_RUNNING] = "running", [ENG_COMPACT_PAUSED] = "paused",
        [ENG_COMPACT_DONE] = "done", [ENG_COMPACT_FAILED] = "failed",   [ENG_COMPACT_CANCELLED] = "cancelled",
    };
    size_t i = (size_t)state;
    return i < sizeof names / sizeof *names ? names[i] : "unknown";
}
