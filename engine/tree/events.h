/*
 * events.h - eng_events(): what happened to names and memories, as the index tells it. */
#ifndef ENGRAMFS_EVENTS_H
#define ENGRAMFS_EVENTS_H

#include "tree/view.h"

/* One run: what eng_events() is asked for, and what it cost. */
struct events_run {
    uint64_t folder; /* what happened to it, and below it */
    uint64_t after;  /* in batches behind that one */
    int (*emit)(void *arg, const struct eng_event *event);
    void *arg;
    uint64_t chunks, looked; /* out: of tables that were swept, and those that were not passed by */
};

/* eng_events() says how. */
int events_run(struct eng *eng, struct events_run *run);

#endif
