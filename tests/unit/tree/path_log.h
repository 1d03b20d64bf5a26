/*
 * path_log.h - what a path showed over time, by what the test itself has noted after each batch: all names,
 * and which state each inode was in. By brute force, batch by batch. */
#ifndef ENGRAMFS_TESTS_PATH_LOG_H
#define ENGRAMFS_TESTS_PATH_LOG_H

#include "history_tree.h"

#define LOG_MAX 1024u

static struct logged {
    unsigned n;
    struct name names[NAMES];
    uint64_t keys[NAMES]; /* of the states */
    uint32_t by;          /* uid of who made the batch, 0 nobody */
} * logs;                 /* by batch */
static uint64_t log_first, log_last;
static uint32_t log_by; /* for whom the test acts */

/* What makes a version: not times, nor link counts. */
static inline uint64_t key_of(const struct inode_rec *state)
{
    uint64_t of[] = {state->state, state->mode, state->uid, state->gid};
    return hash_long(of, sizeof of);
}

static inline void log_act(void)
{
    struct eng_actor actor = {.known = below(4) > 0, .uid = 1 + (uint32_t)below(5), .process = "ada"};
    log_by = actor.known ? actor.uid : 0;
    eng_act_as(&actor);
}

/* All batches since the last note show what is there now. */
static inline void log_note(void)
{
    if (!logs)
        MUST((logs = calloc(LOG_MAX, sizeof *logs)));
    MUST(last_batch() < LOG_MAX);
    while (log_last < last_batch()) {
        struct logged *l = &logs[++log_last];
        l->n = n_names;
        l->by = log_by;
        memcpy(l->names, names, n_names * sizeof *names);
        for (unsigned i = 0; i < n_names; i++)
            l->keys[i] = key_of(index_inode(&u.eng->idx, names[i].ino));
    }
}

static inline void log_begin(void)
{
    struct eng_attr attr;
    MUST(eng_lookup(u.eng, NULL, ENG_ROOT_INO, "first", &attr) == 0);
    names[0] = (struct name){.dir = ENG_ROOT_INO, .ino = attr.ino, .text = "first"};
    n_names = 1;
    log_last = last_batch() - 1;
    log_note();
    log_first = log_last;
}

static inline void log_end(void)
{
    eng_act_as(NULL);
    free(logs);
    logs = NULL;
    tree_end();
}

static inline uint64_t log_entry(uint64_t dir, const char *text, uint64_t at)
{
    const struct logged *l = &logs[at];
    for (unsigned i = 0; i < l->n && dir; i++)
        if (l->names[i].dir == dir && strcmp(l->names[i].text, text) == 0)
            return l->names[i].ino;
    return 0;
}

static inline uint64_t log_key(uint64_t ino, uint64_t at)
{
    const struct logged *l = &logs[at];
    for (unsigned i = 0; i < l->n; i++)
        if (l->names[i].ino == ino)
            return l->keys[i];
    return 0;
}

static inline unsigned log_count(uint64_t ino, uint64_t at)
{
    unsigned n = 0;
    for (unsigned i = 0; i < logs[at].n; i++)
        n += logs[at].names[i].ino == ino;
    return n;
}

/* A name that the inode had after batch `at` - 1, and not after `at`; NULL: none. */
static inline const struct name *log_lost(uint64_t ino, uint64_t at)
{
    const struct logged *l = &logs[at - 1];
    for (unsigned i = 0; i < l->n; i++)
        if (l->names[i].ino == ino && log_entry(l->names[i].dir, l->names[i].text, at) != ino)
            return &l->names[i];
    return NULL;
}

/* Whether it got a name in that batch that it had not before. */
static inline bool log_won(uint64_t ino, uint64_t at)
{
    const struct logged *l = &logs[at];
    for (unsigned i = 0; i < l->n; i++)
        if (l->names[i].ino == ino && log_entry(l->names[i].dir, l->names[i].text, at - 1) != ino)
            return true;
    return false;
}

/* Whether the inode had a name, none, and one again since that batch. */
static inline bool log_came_back(uint64_t ino, uint64_t at)
{
    bool was_without = false;
    for (; at <= log_last; at++) {
        unsigned n = log_count(ino, at);
        if (was_without && n)
            return true;
        was_without = was_without || !n;
    }
    return false;
}

/* Of the inode that the entry led to before batch `at`, which removed it; 0: none that has no name now. */
static inline uint64_t log_removed(uint64_t dir, const char *text, uint64_t at)
{
    uint64_t ino = log_entry(dir, text, at - 1);
    bool is = ino && !log_entry(dir, text, at) && !log_won(ino, at) && !log_count(ino, log_last);
    return is && !log_came_back(ino, at) ? ino : 0;
}

/* The newest one of that entry; 0 none. */
static inline uint64_t log_newest(uint64_t dir, const char *text)
{
    for (uint64_t at = log_last; at > log_first; at--)
        if (log_removed(dir, text, at))
            return at;
    return 0;
}

/* ---- what a path led to, by batch --------------------------------------------------------- */

/* What the inode was called before batch `at`, when it got a name there where nothing was. */
static inline void log_follow(uint64_t ino, uint64_t at, uint64_t *who)
{
    while (at > log_first) {
        const struct name *was = log_lost(ino, at);
        if (!was) {
            if (log_count(ino, at - 1) || log_count(ino, at) != 1)
                return;
            uint64_t gone = at - 1;
            while (gone > log_first && !log_count(ino, gone - 1))
                gone--;
            was = gone > log_first ? log_lost(ino, gone) : NULL;
            if (!was || log_entry(was->dir, was->text, gone)) /* another has taken its place */
                return;
            for (; at > gone; at--)
                if (who[at - 1])
                    return;
        }
        for (; at > log_first && log_entry(was->dir, was->text, at - 1); at--) {
            if (who[at - 1])
                return;
            ino = log_entry(was->dir, was->text, at - 1); /* or of what that one took the place */
            who[at - 1] = ino;
        }
    }
}

/* Of each batch the inode that the path led to, 0 none. */
static inline void log_lead(const char *path, uint64_t *who)
{
    uint64_t folders[LOG_MAX];
    char text[16];
    for (uint64_t at = log_first; at <= log_last; at++)
        who[at] = ENG_ROOT_INO;
    while (*path) {
        size_t len = strcspn(path, "/");
        (void)snprintf(text, sizeof text, "%.*s", (int)len, path);
        path += len + (path[len] == '/');
        memcpy(folders, who, sizeof folders);
        for (uint64_t at = log_first; at <= log_last; at++)
            who[at] = log_entry(folders[at], text, at);
        for (uint64_t at = log_first + 1; at <= log_last; at++) {
            bool from_nothing = who[at] && !log_entry(folders[at], text, at - 1);
            if (from_nothing && !who[at - 1])
                log_follow(who[at], at, who);
        }
    }
}

/* ---- paths ----------------------------------------------------------------------------------- */

#define PATHS_MAX 8192u

struct log_paths {
    char (*all)[80];
    size_t n;
};

static inline bool log_path(const struct logged *l, const struct name *name, char *path, size_t size)
{
    char above[80] = "";
    for (unsigned i = 0; i < l->n; i++)
        if (name->dir == l->names[i].ino && (!log_path(l, &l->names[i], above, sizeof above)))
            return false;
    return snprintf(path, size, "%s%s%s", above, above[0] ? "/" : "", name->text) < (int)size;
}

/* All that there ever were, each once. */
static inline void log_find_paths(struct log_paths *paths)
{
    char path[80];
    MUST((paths->all = calloc(PATHS_MAX, sizeof *paths->all)));
    for (uint64_t at = log_first; at <= log_last; at++) {
        for (unsigned i = 0; i < logs[at].n; i++) {
            bool is_new = log_path(&logs[at], &logs[at].names[i], path, sizeof path);
            for (size_t k = 0; k < paths->n && is_new; k++)
                is_new = strcmp(paths->all[k], path) != 0;
            if (is_new && paths->n < PATHS_MAX)
                memcpy(paths->all[paths->n++], path, sizeof path);
        }
    }
}

#endif
