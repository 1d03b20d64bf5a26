/*
 * told_events.h - whether eng_events() tells what the test has noted of each batch (path_log.h). */
#ifndef ENGRAMFS_TESTS_TOLD_EVENTS_H
#define ENGRAMFS_TESTS_TOLD_EVENTS_H

#include "path_log.h"

#include "tree/events.h"

struct told_event {
    enum eng_version_event what;
    uint64_t number, ino;
    char path[80], from[80];
    uint32_t by;
    bool is_found;
};
struct told_events {
    struct told_event *all;
    size_t n, cap;
};

static inline int add_told_event(void *arg, const struct eng_event *event)
{
    struct told_events *t = arg;
    MUST(array_grow(&t->all, &t->cap, t->n + 1, sizeof *t->all) == 0);
    struct told_event *to = &t->all[t->n++];
    *to = (struct told_event){.what = event->what,
                              .number = event->number,
                              .ino = event->ino,
                              .by = event->actor.known ? event->actor.uid : 0};
    (void)snprintf(to->path, sizeof to->path, "%s", event->path);
    (void)snprintf(to->from, sizeof to->from, "%s", event->from ? event->from : "");
    return 0;
}

/* Whether the name lies below the folder at that batch, or is its own. */
static inline bool is_below_then(const struct name *name, uint64_t folder, uint64_t at)
{
    uint64_t dir = name->dir, left = NAMES;
    bool is = name->ino == folder || folder == ENG_ROOT_INO;
    while (!is && dir != ENG_ROOT_INO && left--) {
        is = dir == folder;
        uint64_t up = 0;
        for (unsigned i = 0; i < logs[at].n && !up; i++)
            up = logs[at].names[i].ino == dir ? logs[at].names[i].dir : 0;
        if (!up)
            return is;
        dir = up;
    }
    return is;
}

/* What is told of a name in that batch, once; ENG_VERSION_UNKNOWN: that it came, somehow. */
static inline void expect_event(struct told_events *told, uint64_t folder, const struct name *name,
                                uint64_t at, uint64_t seen_at, enum eng_version_event what)
{
    char path[80];
    if (!is_below_then(name, folder, seen_at))
        return;
    MUST(log_path(&logs[seen_at], name, path, sizeof path));
    for (size_t i = 0; i < told->n; i++) {
        struct told_event *e = &told->all[i];
        bool came = e->what != ENG_VERSION_CHANGED && e->what != ENG_VERSION_REMOVED;
        bool is = what == ENG_VERSION_UNKNOWN ? came && e->what != ENG_VERSION_REPLACED : e->what == what;
        if (e->is_found || e->number != at || e->ino != name->ino || !is || strcmp(e->path, path) != 0)
            continue;
        cr_assert(e->by == logs[at].by || !e->by, "%s at %llu (%d) is by %u, not %u", path,
                  (unsigned long long)at, (int)e->what, e->by, logs[at].by);
        bool is_made = what == ENG_VERSION_CHANGED || what == ENG_VERSION_REMOVED ||
                       what == ENG_VERSION_REPLACED || e->what == ENG_VERSION_CREATED;
        cr_assert(e->by || !logs[at].by || !is_made, "%s at %llu (%d) is by nobody", path,
                  (unsigned long long)at, (int)e->what);
        e->is_found = true;
        return;
    }
    cr_assert_fail("%s at %llu: nobody tells of %d", path, (unsigned long long)at, (int)what);
}

static inline void expect_batch(struct told_events *told, uint64_t folder, uint64_t at)
{
    for (unsigned i = 0; i < logs[at].n; i++) {
        const struct name *name = &logs[at].names[i];
        uint64_t was = log_entry(name->dir, name->text, at - 1);
        if (was != name->ino)
            expect_event(told, folder, name, at, at, was ? ENG_VERSION_REPLACED : ENG_VERSION_UNKNOWN);
        else if (logs[at].keys[i] != log_key(name->ino, at - 1))
            expect_event(told, folder, name, at, at, ENG_VERSION_CHANGED);
    }
    for (unsigned i = 0; i < logs[at - 1].n; i++) {
        const struct name *name = &logs[at - 1].names[i];
        if (!log_entry(name->dir, name->text, at) && !log_won(name->ino, at))
            expect_event(told, folder, name, at, at - 1, ENG_VERSION_REMOVED);
    }
}

/* What nobody has expected came out of the folder, and went elsewhere. */
static inline bool has_left(const struct told_event *e, uint64_t folder)
{
    char path[80];
    for (unsigned i = 0; i < logs[e->number - 1].n && e->from[0]; i++) {
        const struct name *name = &logs[e->number - 1].names[i];
        MUST(log_path(&logs[e->number - 1], name, path, sizeof path));
        if (strcmp(path, e->from) == 0)
            return name->ino == e->ino && is_below_then(name, folder, e->number - 1);
    }
    return false;
}

static inline void compare_events(uint64_t folder, uint64_t after)
{
    struct told_events told = {0};
    struct events_run run = {.folder = folder, .after = after, .emit = add_told_event, .arg = &told};
    MUST(events_run(u.eng, &run) == 0);
    for (uint64_t at = MAX_OF(log_first, after) + 1; at <= log_last; at++)
        expect_batch(&told, folder, at);
    for (size_t i = 0; i < told.n; i++) {
        const struct told_event *e = &told.all[i];
        cr_assert(e->is_found || e->number <= log_first || has_left(e, folder),
                  "%s (of %s) at %llu: %d is none of %llx", e->path, e->from, (unsigned long long)e->number,
                  (int)e->what, (unsigned long long)folder);
    }
    free(told.all);
}

#endif
