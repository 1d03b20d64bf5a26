/*
 * past_tree.h - a store whose past is kept by the test itself, op by op, as docs/lab/history-design.md (5.1)
 * decides where each batch is a snapshot (`exact`), or where only states of files and names are kept; and
 * what a view of a batch shows, as text. The moments are the test's own: it is linked with functions in place
 * of those of index/times.h. */
#ifndef ENGRAMFS_TESTS_PAST_TREE_H
#define ENGRAMFS_TESTS_PAST_TREE_H

#include "past_states.h"

#include "base/hash.h"
#include "index/past_names.h"
#include "index/times.h"
#include "rng.h"

#include <stdio.h>

#define BATCHES_MAX 16384u
#define SIGHT_PIECE 1777u

static struct unit u;
static bool exact;                 /* each batch is one of a snapshot */
static int64_t times[BATCHES_MAX]; /* of the moment that begins with the batch, 0: none does */
static char *sights[BATCHES_MAX];  /* what was there after the batch, NULL: not noted */
static uint64_t tree_seed;

static bool folder_times = true; /* sights have them */
static bool by_itself;           /* the store keeps its past, as its snapshots are */

bool __wrap_index_is_snapshot(const struct index *idx, uint64_t batch);
int64_t __wrap_index_time_of(const struct index *idx, uint64_t batch);
bool __real_index_is_snapshot(const struct index *idx, uint64_t batch);
int64_t __real_index_time_of(const struct index *idx, uint64_t batch);

bool __wrap_index_is_snapshot(const struct index *idx, uint64_t batch)
{
    if (by_itself)
        return __real_index_is_snapshot(idx, batch);
    return exact && batch < BATCHES_MAX && times[batch];
}

int64_t __wrap_index_time_of(const struct index *idx, uint64_t batch)
{
    if (by_itself)
        return __real_index_time_of(idx, batch);
    for (uint64_t i = batch < BATCHES_MAX ? batch + 1 : 0; i-- > 0;)
        if (times[i])
            return times[i];
    return TIME_UNKNOWN;
}

static inline uint64_t below(uint64_t n)
{
    return rng_below(&tree_seed, n);
}

static inline uint64_t last_batch(void)
{
    return eng_position(u.eng);
}

/* ---- changes ---------------------------------------------------------------- */

/* The next batch begins a moment. */
static inline void tree_moment(void)
{
    if (by_itself)
        return;
    MUST(last_batch() + 1 < BATCHES_MAX);
    times[last_batch() + 1] = now_ns();
}

/* The state that the inode is in is kept. */
static inline void tree_keep(uint64_t ino)
{
    if (by_itself)
        return;
    tree_moment();
    (void)keep_state(&u, ino);
    tree_moment();
}

/* As tree/namespace.c stages them; all names that end are kept. */
static inline struct op *tree_name_op(struct txn *txn, enum op_type type, uint8_t flags, uint64_t dir,
                                      const char *name, uint64_t ino)
{
    struct op *op = txn_op(txn, type);
    MUST(op);
    op->flags |= flags;
    op->parent = dir;
    op->ino = ino;
    op->time = now_ns();
    op->name = name;
    op->name_len = (uint16_t)strlen(name);
    return op;
}

static inline void tree_unlink(uint64_t dir, const char *name, uint64_t ino)
{
    struct txn txn = {0};
    if (by_itself) {
        int r = eng_unlink(u.eng, dir, name);
        MUST(r == -EISDIR ? !eng_rmdir(u.eng, dir, name) : !r);
        return;
    }
    MUST(commit_begin(u.eng) == 0);
    (void)tree_name_op(&txn, OP_UNLINK, OP_KEPT, dir, name, ino);
    past_commit(&u, &txn);
}

/* `over`: the inode that has the new name now, 0 none. `back`: it gets the old name. */
static inline void tree_rename(uint64_t dir, const char *name, uint64_t ino, uint64_t to_dir, const char *to,
                               uint64_t over, bool back)
{
    struct txn txn = {0};
    struct index *idx = &u.eng->idx;
    if (by_itself) {
        MUST(eng_rename(u.eng, NULL, dir, name, to_dir, to, back ? ENG_RENAME_EXCHANGE : 0) == 0);
        return;
    }
    MUST(commit_begin(u.eng) == 0);
    uint64_t cookie = index_dentry(idx, index_find_name(idx, ino_slot(dir), name, strlen(name)))->cookie;
    bool within = !over && dir == to_dir;
    if (within)
        (void)tree_name_op(&txn, OP_UNLINK, OP_KEPT | OP_MOVED, dir, name, ino);
    if (over)
        tree_name_op(&txn, OP_REPOINT, OP_KEPT | (back ? OP_MOVED : 0), to_dir, to, ino)->other = over;
    else
        tree_name_op(&txn, OP_LINK, 0, to_dir, to, ino)->cookie =
            within ? cookie : index_new_cookie(idx, true, log_seq(&u.eng->log) + 1);
    if (back)
        tree_name_op(&txn, OP_REPOINT, OP_KEPT | OP_MOVED, dir, name, over)->other = ino;
    else if (!within)
        (void)tree_name_op(&txn, OP_UNLINK, OP_KEPT | OP_MOVED, dir, name, ino);
    past_commit(&u, &txn);
}

/* ---- what is seen -------------------------------------------------------------- */

struct seen {
    struct eng_view *view; /* NULL: the store as it is */
    FILE *out;
};

static inline int see_attr(const struct seen *s, uint64_t ino, struct eng_attr *attr)
{
    return s->view ? eng_view_getattr(s->view, ino, attr) : eng_getattr(u.eng, ino, attr);
}

static inline ssize_t see_read(const struct seen *s, uint64_t ino, void *buf, size_t size, uint64_t off)
{
    return s->view ? eng_view_read(s->view, ino, buf, size, off) : eng_read(u.eng, ino, buf, size, off);
}

static inline ssize_t see_value(const struct seen *s, uint64_t ino, const char *name, void *buf, size_t size)
{
    return s->view ? eng_view_getxattr(s->view, ino, name, buf, size)
                   : eng_getxattr(u.eng, ino, name, buf, size);
}

static inline void put_hash(const struct seen *s, const void *bytes, size_t n)
{
    (void)fprintf(s->out, " %zu:%llx", n, (unsigned long long)hash_long(bytes, n));
}

/* The moment in which something was at that time. */
static inline uint64_t moment_of(int64_t time)
{
    for (uint64_t i = last_batch() + 1; i > 0; i--)
        if (times[i] && times[i] <= time)
            return i;
    return 0;
}

/* In a view that is not exact a folder's time is that of a moment, and a ctime no later than the view. */
static inline void put_attr(const struct seen *s, const struct eng_attr *a)
{
    (void)fprintf(s->out, "%llx mode %o links %u owner %u %u size %llu rdev %llu btime %lld",
                  (unsigned long long)a->ino, a->mode, a->nlink, a->uid, a->gid, (unsigned long long)a->size,
                  (unsigned long long)a->rdev, (long long)a->btime);
    if (exact)
        (void)fprintf(s->out, " version %llu times %lld %lld", (unsigned long long)a->version,
                      (long long)a->mtime, (long long)a->ctime);
    else if (S_ISDIR(a->mode) && folder_times)
        (void)fprintf(s->out, " moment %llu", (unsigned long long)moment_of(a->mtime));
    else if (!S_ISDIR(a->mode))
        (void)fprintf(s->out, " mtime %lld", (long long)a->mtime);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void put_xattrs(const struct seen *s, uint64_t ino)
{
    static char list[4096], value[ENG_XATTR_SIZE_MAX];
    char *names[64];
    size_t n = 0;
    ssize_t len = s->view ? eng_view_listxattr(s->view, ino, list, sizeof list)
                          : eng_listxattr(u.eng, ino, list, sizeof list);
    MUST(len >= 0);
    MUST(!s->view || eng_view_listxattr(s->view, ino, NULL, 0) == len);
    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(list + at) + 1)
        names[n++] = list + at;
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        ssize_t size = see_value(s, ino, names[i], value, sizeof value);
        MUST(size >= 0 && see_value(s, ino, names[i], NULL, 0) == size);
        (void)fprintf(s->out, " %s=", names[i]);
        put_hash(s, value, (size_t)size);
    }
    MUST(see_value(s, ino, "user.none", NULL, 0) == -ENODATA);
}

/* What is no content is zeros, and each place is one or the other. */
static inline void see_holes(const struct seen *s, uint64_t ino, const uint8_t *bytes, uint64_t size)
{
    uint64_t at = 0, data = 0, hole;
    int r;
    while (at < size && (r = eng_view_seek(s->view, ino, at, 3, &data)) != -ENXIO) {
        MUST(r == 0 && data >= at && data < size);
        MUST(eng_view_seek(s->view, ino, data, 4, &hole) == 0 && hole > data && hole <= size);
        for (; at < data; at++)
            MUST(!bytes[at]);
        at = hole;
    }
    for (; at < size; at++)
        MUST(!bytes[at]);
    MUST(eng_view_seek(s->view, ino, size, 3, &data) == -ENXIO);
}

/* The whole in one read, and again in pieces. */
static inline void put_content(const struct seen *s, uint64_t ino, uint64_t size)
{
    uint8_t *buf = malloc(size + 1), *again = malloc(size + SIGHT_PIECE);
    ssize_t at = 0, n;
    MUST(buf && again);
    MUST(see_read(s, ino, buf, size + 1, 0) == (ssize_t)size);
    while ((n = see_read(s, ino, again + at, SIGHT_PIECE, (uint64_t)at)) > 0)
        at += n;
    MUST(n == 0 && at == (ssize_t)size && memcmp(buf, again, size) == 0);
    put_hash(s, buf, size);
    if (s->view)
        see_holes(s, ino, buf, size);
    free(buf);
    free(again);
}

static inline void put_inode(const struct seen *s, const struct eng_attr *attr)
{
    char target[ENG_SYMLINK_MAX + 1];
    struct eng_attr again;
    MUST(see_attr(s, attr->ino, &again) == 0 && memcmp(&again, attr, sizeof again) == 0);
    put_attr(s, attr);
    put_xattrs(s, attr->ino);
    if (S_ISREG(attr->mode))
        put_content(s, attr->ino, attr->size);
    if (S_ISLNK(attr->mode)) {
        ssize_t n = s->view ? eng_view_readlink(s->view, attr->ino, target, sizeof target)
                            : eng_readlink(u.eng, attr->ino, target, sizeof target);
        (void)fprintf(s->out, " -> %zd %s", n, n < 0 ? "" : target);
    }
    (void)fputc('\n', s->out);
}

struct tree_entries {
    struct {
        char name[ENG_NAME_MAX + 1];
        uint64_t cookie;
        struct eng_attr attr;
    } * all;
    size_t n, cap, stop;
};

static inline int add_entry(void *arg, const struct eng_dirent *entry)
{
    struct tree_entries *e = arg;
    if (e->n == e->stop)
        return 1;
    MUST(!array_grow(&e->all, &e->cap, e->n + 1, sizeof *e->all));
    memcpy(e->all[e->n].name, entry->name, entry->name_len + 1);
    e->all[e->n].cookie = entry->cookie;
    e->all[e->n++].attr = entry->attr;
    return 0;
}

/* All of a folder; in a view in several calls, each from where the last one ended. */
static inline void list_folder(const struct seen *s, uint64_t dir, struct tree_entries *e)
{
    size_t before;
    e->stop = SIZE_MAX;
    if (!s->view) {
        MUST(eng_readdir(u.eng, NULL, dir, 0, add_entry, e) == 0);
        return;
    }
    do {
        before = e->n;
        e->stop = e->n + 1 + below(4);
        MUST(eng_view_readdir(s->view, dir, e->n ? e->all[e->n - 1].cookie : 0, add_entry, e) == 0);
    } while (e->n > before);
}

static inline void put_folder(const struct seen *s, uint64_t dir, unsigned depth)
{
    struct tree_entries e = {0};
    struct eng_attr attr;
    list_folder(s, dir, &e);
    for (size_t i = 0; i < e.n; i++) {
        (void)fprintf(s->out, "%*s%s %llu ", (int)depth, "", e.all[i].name,
                      (unsigned long long)e.all[i].cookie);
        MUST((s->view ? eng_view_lookup(s->view, dir, e.all[i].name, &attr)
                      : eng_lookup(u.eng, NULL, dir, e.all[i].name, &attr)) == 0);
        MUST(memcmp(&attr, &e.all[i].attr, sizeof attr) == 0);
        put_inode(s, &attr);
        if (S_ISDIR(attr.mode) && e.all[i].cookie > 2)
            put_folder(s, attr.ino, depth + 1);
    }
    free(e.all);
}

/* The whole tree. The caller frees. */
static inline char *tree_sight(struct eng_view *view)
{
    char *text = NULL;
    size_t size = 0;
    struct seen s = {view, open_memstream(&text, &size)};
    MUST(s.out);
    put_folder(&s, ENG_ROOT_INO, 0);
    MUST(fclose(s.out) == 0);
    return text;
}

/* What is there now is what a view of the last batch shows for ever. */
static inline void tree_note(void)
{
    uint64_t at = last_batch();
    MUST(at < BATCHES_MAX);
    free(sights[at]);
    sights[at] = tree_sight(NULL);
}

/* ---- comparing ------------------------------------------------------------------- */

/* With `whole` the past is whole from batch 1 on, as it is where a history was switched on then; but the
 * store takes no state for settled. */
static inline void tree_whole(bool whole)
{
    if (by_itself)
        return;
    atomic_store(&u.eng->config.history_is_known, true);
    atomic_store(&u.eng->config.history, whole);
    atomic_store(&u.eng->config.history_settle, UINT64_C(1) << 30);
    pthread_rwlock_wrlock(&u.eng->index_lock);
    u.eng->idx.s.floor = whole;
    pthread_rwlock_unlock(&u.eng->index_lock);
}

static inline struct eng_view *tree_open(uint64_t at)
{
    struct eng_view *view = NULL;
    tree_whole(!exact);
    cr_assert_eq(eng_view_open(u.eng, at, &view), 0, "batch %llu", (unsigned long long)at);
    return view;
}

static inline void tree_close(struct eng_view *view)
{
    eng_view_close(view);
    tree_whole(false);
}

static inline void tree_compare(uint64_t at)
{
    struct eng_view *view = tree_open(at);
    char *is = tree_sight(view);
    const char *want = sights[at];
    size_t k = 0, line = 0;
    for (; is[k] && is[k] == want[k]; k++)
        line = is[k] == '\n' ? k + 1 : line;
    cr_assert(is[k] == want[k], "batch %llu: %.300s\nand not: %.300s", (unsigned long long)at, is + line,
              want + line);
    free(is);
    tree_close(view);
}

static inline void tree_begin(bool all_snapshots, uint64_t seed)
{
    tree_seed = seed;
    exact = all_snapshots;
    memset(times, 0, sizeof times);
    unit_new(&u, 0);
    by_itself = false;
    MUST(store_set_history(u.eng) == 0);
    for (uint64_t i = 1; i <= last_batch(); i++)
        times[i] = now_ns();
}

static inline void tree_end(void)
{
    for (unsigned i = 0; i < BATCHES_MAX; i++) {
        free(sights[i]);
        sights[i] = NULL;
    }
    unit_done(&u);
}

#endif
