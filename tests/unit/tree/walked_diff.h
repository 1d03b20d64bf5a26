/*
 * walked_diff.h - what eng_diff() is to tell of two batches, found by walking both views. For who has
 * included past_tree.h. */
#ifndef ENGRAMFS_TESTS_WALKED_DIFF_H
#define ENGRAMFS_TESTS_WALKED_DIFF_H

struct walked {
    char *path;
    struct eng_attr attr;
    char *fields, target[32];
};
struct walk {
    struct eng_view *view;
    struct walked *all;
    size_t n, cap;
};

static inline void walk_add(struct walk *w, const char *path, const struct eng_attr *attr)
{
    size_t size = 0;
    MUST(!array_grow(&w->all, &w->cap, w->n + 1, sizeof *w->all));
    struct walked *at = &w->all[w->n++];
    *at = (struct walked){.path = strdup(path), .attr = *attr};
    struct seen s = {w->view, open_memstream(&at->fields, &size)};
    MUST(at->path && s.out);
    put_xattrs(&s, attr->ino);
    MUST(fclose(s.out) == 0);
    if (S_ISLNK(attr->mode))
        MUST(eng_view_readlink(w->view, attr->ino, at->target, sizeof at->target) > 0);
}

/* Each folder before what is in it. */
static inline void walk_view(struct walk *w)
{
    const struct seen s = {w->view, NULL};
    struct eng_attr root;
    char path[1024];
    MUST(eng_view_getattr(w->view, ENG_ROOT_INO, &root) == 0);
    walk_add(w, "", &root);
    for (size_t i = 0; i < w->n; i++) {
        struct tree_entries e = {0};
        if (!S_ISDIR(w->all[i].attr.mode))
            continue;
        list_folder(&s, w->all[i].attr.ino, &e);
        for (size_t k = 0; k < e.n; k++) {
            const char *folder = w->all[i].path;
            (void)snprintf(path, sizeof path, "%s%s%s", folder, *folder ? "/" : "", e.all[k].name);
            if (e.all[k].cookie > 2)
                walk_add(w, path, &e.all[k].attr);
        }
        free(e.all);
    }
}

static inline void walk_free(struct walk *w)
{
    for (size_t i = 0; i < w->n; i++) {
        free(w->all[i].path);
        free(w->all[i].fields);
    }
    free(w->all);
}

static inline const struct walked *walk_find(const struct walk *w, const char *path)
{
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->all[i].path, path) == 0)
            return &w->all[i];
    return NULL;
}

static inline unsigned walked_what(const struct walked *x, const struct walked *y)
{
    const struct eng_attr *a = &x->attr, *b = &y->attr;
    bool is_other = S_ISREG(a->mode) && a->ino != b->ino;
    bool is_same = a->rdev == b->rdev && strcmp(x->target, y->target) == 0;
    unsigned what = (a->mode ^ b->mode) & S_IFMT ? ENG_DIFF_TYPE : 0;
    if (S_ISREG(a->mode))
        is_same = is_same && a->version == b->version && a->size == b->size;
    if (!what && (is_other || !is_same))
        what |= ENG_DIFF_CONTENT;
    what |= (a->mode ^ b->mode) & 07777 ? ENG_DIFF_MODE : 0;
    what |= a->uid != b->uid || a->gid != b->gid ? ENG_DIFF_OWNER : 0;
    what |= a->mtime != b->mtime ? ENG_DIFF_MTIME : 0;
    return what | (strcmp(x->fields, y->fields) ? ENG_DIFF_FIELDS : 0);
}

struct walked_diff {
    struct walk before, after;
    char told[8192]; /* each path with a line end on both sides */
    size_t n, len;
};

static inline int walked_take(void *arg, const struct eng_difference *d)
{
    struct walked_diff *w = arg;
    const struct walked *x = walk_find(&w->before, d->path), *y = walk_find(&w->after, d->path);
    char line[1024];
    unsigned want = x && y ? walked_what(x, y) : 0;
    cr_assert((x != NULL) == (d->before != NULL) && (y != NULL) == (d->after != NULL), "%s", d->path);
    cr_assert_eq(d->what, want, "\"%s\": %x and not %x", d->path, d->what, want);
    (void)snprintf(line, sizeof line, "\n%s\n", d->path);
    cr_assert(!strstr(w->told, line), "\"%s\" is told twice", d->path);
    w->len += (size_t)snprintf(w->told + w->len, sizeof w->told - w->len, "%s", line);
    MUST(w->len < sizeof w->told);
    w->n++;
    return 0;
}

/* Of all that differ none is left out: each that is told does, so numbers do. */
static inline size_t walked_count(const struct walked_diff *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->before.n; i++) {
        const struct walked *y = walk_find(&w->after, w->before.all[i].path);
        n += !y || walked_what(&w->before.all[i], y) != 0;
    }
    for (size_t i = 0; i < w->after.n; i++)
        n += !walk_find(&w->before, w->after.all[i].path);
    return n;
}

static inline void compare_walked(uint64_t from, uint64_t to)
{
    struct walked_diff w = {0};
    tree_whole(!exact);
    MUST(eng_view_open(u.eng, from, &w.before.view) == 0 && eng_view_open(u.eng, to, &w.after.view) == 0);
    walk_view(&w.before);
    walk_view(&w.after);
    cr_assert_eq(eng_diff(w.before.view, w.after.view, walked_take, &w), 0);
    cr_assert_eq(w.n, walked_count(&w), "%llu to %llu: %zu told of %zu", (unsigned long long)from,
                 (unsigned long long)to, w.n, walked_count(&w));
    eng_view_close(w.before.view);
    eng_view_close(w.after.view);
    tree_whole(false);
    walk_free(&w.before);
    walk_free(&w.after);
}

#endif
