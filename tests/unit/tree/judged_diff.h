/*
 * judged_diff.h - whether what eng_diff() tells is what copies of the tree say: each path that differs once,
 * with all that is not the same, and nothing else. */
#ifndef ENGRAMFS_TESTS_JUDGED_DIFF_H
#define ENGRAMFS_TESTS_JUDGED_DIFF_H

#include "snapshot_copies.h"

/* ---- copies by path --------------------------------------------------------------------- */

struct path {
    char *text;
    const struct copied *at;
};
struct paths {
    struct path *all;
    size_t n, cap;
};

static inline char *join(const char *folder, const char *name)
{
    char *text = malloc(strlen(folder) + strlen(name) + 2);
    MUST(text);
    (void)sprintf(text, "%s%s%s", folder, *folder ? "/" : "", name);
    return text;
}

static inline struct path *find_path(const struct paths *paths, const char *text)
{
    for (size_t i = 0; i < paths->n; i++)
        if (strcmp(paths->all[i].text, text) == 0)
            return &paths->all[i];
    return NULL;
}

/* Each folder stands before what is in it. */
static inline struct paths paths_of(const struct copy *copy)
{
    struct paths paths = {0};
    for (size_t i = 0; i < copy->n; i++) {
        const struct copied *c = &copy->all[i];
        const char *folder = "";
        for (size_t k = 0; k < paths.n; k++)
            if (paths.all[k].at->attr.ino == c->parent)
                folder = paths.all[k].text;
        MUST(array_grow(&paths.all, &paths.cap, paths.n + 1, sizeof *paths.all) == 0);
        paths.all[paths.n++] = (struct path){join(folder, c->name), c};
    }
    return paths;
}

static inline void free_paths(struct paths *paths)
{
    for (size_t i = 0; i < paths->n; i++)
        free(paths->all[i].text);
    free(paths->all);
}

/* ---- what was told ------------------------------------------------------------------------ */

struct told {
    char *path;
    enum eng_difference_kind kind;
    unsigned what;
    bool before, after;
};
struct list {
    struct told *all;
    size_t n, cap;
};

static inline int take(void *arg, const struct eng_difference *d)
{
    struct list *list = arg;
    MUST(array_grow(&list->all, &list->cap, list->n + 1, sizeof *list->all) == 0);
    MUST(strlen(d->path) == d->path_len);
    list->all[list->n++] = (struct told){strdup(d->path), d->kind, d->what, d->before, d->after};
    return 0;
}

static inline void free_list(struct list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->all[i].path);
    free(list->all);
}

static inline const struct told *find_told(const struct list *list, const char *path, size_t *ret_n)
{
    const struct told *found = NULL;
    *ret_n = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->all[i].path, path) != 0)
            continue;
        found = &list->all[i];
        ++*ret_n;
    }
    return found;
}

/* ---- judging it ----------------------------------------------------------------------------- */

static inline bool same_fields(const struct copied *a, const struct copied *b)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_xattrs; i++)
        for (size_t k = 0; k < b->n_xattrs; k++)
            n += strcmp(a->xattrs[i].name, b->xattrs[k].name) == 0 &&
                 a->xattrs[i].size == b->xattrs[k].size &&
                 memcmp(a->xattrs[i].value, b->xattrs[k].value, a->xattrs[i].size) == 0;
    return a->n_xattrs == b->n_xattrs && n == a->n_xattrs;
}

/* What is not the same; *ret_may: what may be told besides, of content that was written. */
static inline unsigned differences(const struct copied *a, const struct copied *b, unsigned *ret_may)
{
    unsigned what = 0;
    bool is_file = S_ISREG(a->attr.mode), has_bytes = is_file || S_ISLNK(a->attr.mode);
    bool is_written = a->attr.ino != b->attr.ino || a->attr.version != b->attr.version;
    *ret_may = 0;
    bool same_bytes = a->attr.rdev == b->attr.rdev;
    if (has_bytes && b->content)
        same_bytes = a->attr.size == b->attr.size && memcmp(a->content, b->content, a->attr.size) == 0;
    if ((a->attr.mode ^ b->attr.mode) & S_IFMT)
        what |= ENG_DIFF_TYPE;
    else if (!same_bytes)
        what |= ENG_DIFF_CONTENT;
    else if (is_file && is_written)
        *ret_may = ENG_DIFF_CONTENT;
    if ((a->attr.mode ^ b->attr.mode) & 07777)
        what |= ENG_DIFF_MODE;
    if (a->attr.uid != b->attr.uid || a->attr.gid != b->attr.gid)
        what |= ENG_DIFF_OWNER;
    if (a->attr.mtime != b->attr.mtime)
        what |= ENG_DIFF_MTIME;
    return same_fields(a, b) ? what : what | ENG_DIFF_FIELDS;
}

/* How many paths of B a copy of A would not have as they are, were they taken over where that is told, and
 * those removed that are told so; and how many are told that are the same, or wrongly. */
static inline unsigned judge(const struct copy *a, const struct copy *b, const struct list *list, bool loud)
{
    struct paths before = paths_of(a), after = paths_of(b);
    unsigned faults = 0;
    for (size_t i = 0; i < before.n + after.n; i++) {
        const struct path *p = i < before.n ? &before.all[i] : &after.all[i - before.n];
        const struct path *x = find_path(&before, p->text), *y = find_path(&after, p->text);
        unsigned may = 0, want = x && y ? differences(x->at, y->at, &may) : 0;
        size_t n;
        if (i >= before.n && x)
            continue; /* was looked at */
        const struct told *told = find_told(list, p->text, &n);
        enum eng_difference_kind kind = !x ? ENG_DIFF_ADDED : !y ? ENG_DIFF_REMOVED : ENG_DIFF_CHANGED;
        bool is_same = x && y && !want;
        bool good = told ? n == 1 && told->kind == kind && told->before == (x != NULL) &&
                               told->after == (y != NULL) && (told->what & ~may) == want &&
                               (kind != ENG_DIFF_CHANGED || told->what)
                         : is_same;
        faults += !good;
        if (!good && loud)
            (void)fprintf(stderr, "%llu to %llu: \"%s\": kind %d what %x, told %d times, kind %d what %x\n",
                          (unsigned long long)a->batch, (unsigned long long)b->batch, p->text, (int)kind,
                          want, (int)n, told ? (int)told->kind : 0, told ? told->what : 0);
    }
    for (size_t i = 0; i < list->n; i++)
        faults += !find_path(&before, list->all[i].path) && !find_path(&after, list->all[i].path);
    free_paths(&before);
    free_paths(&after);
    return faults;
}

#endif
