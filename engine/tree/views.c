/*
 * views.c - eng_view_open() and what reads such a view: the functions over struct view (view.h). */
#include "core/views.h"

#include "commit/clocks.h"
#include "index/times.h"
#include "tree/attr.h"
#include "tree/content.h"
#include "tree/digest.h"
#include "tree/entries.h"
#include "tree/past_view.h"
#include "tree/xattrs.h"
#include "upkeep/history.h"

/* Whether the store has all of that batch, and what the index says of it. -ENOENT. */
static int find_batch(struct view *view)
{
    view_begin(view);
    const struct index *idx = view->idx;
    bool is_whole = idx->s.floor && view->at >= idx->s.floor; /* floor 0: there never was a history */
    view->is_exact = index_is_snapshot(idx, view->at);
    view->time = index_time_of(idx, view->at);
    bool found = view->at <= view->eng->published_seq && (view->is_exact || is_whole);
    int r = (int)view_end(view, found ? 0 : -ENOENT);
    return r == -ESTALE ? -ENOENT : r; /* of a batch before the floor */
}

static void lock_log(struct eng *eng)
{
    pthread_mutex_lock(&eng->log.queue);
    pthread_mutex_lock(&eng->log.lock);
    pthread_mutex_unlock(&eng->log.queue);
}

/* Not while a batch is under way that lets go what no view sees. `now`: of the last batch there is then.
 * `kept`: as if it were of a snapshot. `marks`: a period of the index begins (image/ages.h). */
static int put_in_use(struct eng_view *view, bool now, bool kept, bool marks)
{
    struct eng *eng = view->view.eng;
    lock_log(eng);
    if (now)
        view->view.at = eng->published_seq;
    uint64_t at = marks && MUTANT(ROLLBACK_UNKEPT) ? 1 : view->view.at;
    int r = views_add(eng, at, view->view.is_exact || kept, &view->place);
    if (!r && marks) {
        pthread_rwlock_wrlock(&eng->index_lock);
        chunk_pool_mark(eng->idx.pool, view->view.at);
        pthread_rwlock_unlock(&eng->index_lock);
    }
    pthread_mutex_unlock(&eng->log.lock);
    return r;
}

static int open_view(struct eng *eng, uint64_t batch, bool kept, struct eng_view **ret_view)
{
    struct eng_view *view = calloc(1, sizeof *view);
    if (!view)
        return -ENOMEM;
    view->view = (struct view){.eng = eng, .idx = &eng->idx, .lock = &eng->index_lock, .at = batch};
    int r = batch == VIEW_NOW ? -ENOENT : find_batch(&view->view);
    if (!r)
        r = put_in_use(view, false, kept, false);
    if (!r) { /* what went before it was in use has gone */
        r = find_batch(&view->view);
        if (r)
            views_remove(eng, view->place);
    }
    if (r) {
        free(view);
        return r;
    }
    view->view.is_exact = view->view.is_exact || kept;
    *ret_view = view;
    return 0;
}

int eng_view_open(struct eng *eng, uint64_t batch, struct eng_view **ret_view)
{
    return eng && ret_view ? open_view(eng, batch, false, ret_view) : -EINVAL;
}

int past_view_open(struct eng *eng, uint64_t batch, struct eng_view **ret_view)
{
    return open_view(eng, batch, !MUTANT(RESTORE_VIEW_GOES), ret_view);
}

struct view past_view_under_lock(struct eng *eng)
{
    return (struct view){.eng = eng,
                         .idx = &eng->idx,
                         .lock = &eng->index_lock,
                         .is_exact = true,
                         .at = eng->published_seq,
                         .time = TIME_UNKNOWN};
}

int past_view_of_now(struct eng *eng, bool marks, struct eng_view **ret_view)
{
    struct eng_view *view = calloc(1, sizeof *view);
    if (!view)
        return -ENOMEM;
    view->view = (struct view){
        .eng = eng, .idx = &eng->idx, .lock = &eng->index_lock, .is_exact = true, .time = TIME_UNKNOWN};
    int r = put_in_use(view, true, true, marks);
    if (r)
        free(view);
    else
        *ret_view = view;
    return r;
}

/* Whether nothing was changed since that batch. */
static bool is_newest(const struct view *view)
{
    pthread_rwlock_rdlock(view->lock);
    bool is = view->at == view->eng->published_seq;
    pthread_rwlock_unlock(view->lock);
    return is;
}

void eng_view_close(struct eng_view *take_view)
{
    if (!take_view)
        return;
    struct eng *eng = take_view->view.eng;
    bool is_exact = take_view->view.is_exact;
    views_remove(eng, take_view->place);
    /* A snapshot that goes behind this look takes along what it alone saw. */
    bool has_gone = is_exact && !is_newest(&take_view->view) && find_batch(&take_view->view) == -ENOENT;
    free(take_view);
    if (has_gone) {
        history_note(eng);
        history_look(eng);
    }
}

/* ---- when ----------------------------------------------------------------------------- */

int eng_view_when(struct eng_view *view, int64_t *ret_time, bool *ret_is_exact)
{
    if (!view || !ret_time || !ret_is_exact)
        return -EINVAL;
    const struct view *v = &view->view;
    view_begin(v);
    *ret_time = index_time_of(v->idx, v->at);
    *ret_is_exact = v->is_exact || v->idx->s.inexact <= v->idx->s.floor;
    return (int)view_end(v, 0);
}

/* Under log.lock. Of the last moment it is what there is now: what comes belongs to another one. */
static int find_time(struct eng *eng, int64_t time, uint64_t *ret_batch)
{
    const struct index *idx = &eng->idx;
    uint32_t i = index_moment_at(idx, time);
    uint64_t next = i ? index_next_moment(idx, i) : 0;
    if (time > now_ns() || !i || !index_is_kept_whole(idx))
        return -ENOENT;
    *ret_batch = next == UINT64_MAX ? eng->published_seq : next - 1;
    if (next == UINT64_MAX && !MUTANT(MOMENT_GOES_ON))
        clocks_end_moment(eng);
    return *ret_batch >= idx->s.floor ? 0 : -ENOENT;
}

int eng_past_at(struct eng *eng, int64_t time, uint64_t *ret_batch)
{
    if (!eng || !ret_batch)
        return -EINVAL;
    pool_missed = 0;
    lock_log(eng);
    int r = find_time(eng, time, ret_batch), doubt = eng_doubt(eng);
    pthread_mutex_unlock(&eng->log.lock);
    return doubt ? doubt : r;
}

int eng_past_since(struct eng *eng, uint64_t *ret_batch, int64_t *ret_time)
{
    if (!eng || !ret_batch || !ret_time)
        return -EINVAL;
    struct view live = view_live(eng);
    view_begin(&live);
    *ret_batch = eng->idx.s.floor;
    *ret_time = index_time_of(&eng->idx, *ret_batch);
    return (int)view_end(&live, index_is_kept_whole(&eng->idx) ? 0 : -ENOENT);
}

/* ---- reading -------------------------------------------------------------------------- */

int eng_view_getattr(struct eng_view *view, uint64_t ino, struct eng_attr *ret_attr)
{
    return view && ret_attr ? attr_get(&view->view, ino, ret_attr) : -EINVAL;
}

int eng_view_state(struct eng_view *view, uint64_t ino, uint64_t *ret_state)
{
    return view && ret_state ? attr_get_state(&view->view, ino, ret_state) : -EINVAL;
}

int eng_view_bytes(struct eng_view *view, uint64_t ino, uint64_t *ret_bytes)
{
    return view && ret_bytes ? attr_bytes_past(&view->view, ino, ret_bytes) : -EINVAL;
}

int eng_view_lookup(struct eng_view *view, uint64_t parent, const char *name, struct eng_attr *ret_attr)
{
    return view && name && ret_attr ? entries_lookup(&view->view, false, parent, name, ret_attr) : -EINVAL;
}

int eng_view_readdir(struct eng_view *view, uint64_t dir, uint64_t cookie,
                     int (*emit)(void *arg, const struct eng_dirent *entry), void *arg)
{
    return view && emit ? entries_list(&view->view, false, dir, cookie, emit, arg) : -EINVAL;
}

ssize_t eng_view_readlink(struct eng_view *view, uint64_t ino, char *buf, size_t size)
{
    return view && (buf || !size) ? entries_readlink(&view->view, ino, buf, size) : -EINVAL;
}

ssize_t eng_view_read(struct eng_view *view, uint64_t ino, void *buf, size_t size, uint64_t offset)
{
    if (!view || (!buf && size))
        return -EINVAL;
    ssize_t n = 0;
    int r = content_read_range(&view->view, ino, buf, size, offset, &n);
    if (r)
        return r;
    COUNT(view->view.eng, reads, 1);
    COUNT(view->view.eng, bytes_read, (uint64_t)n);
    return n;
}

int eng_view_seek(struct eng_view *view, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset)
{
    return view && ret_offset ? content_seek(&view->view, ino, offset, whence, ret_offset) : -EINVAL;
}

ssize_t eng_view_getxattr(struct eng_view *view, uint64_t ino, const char *name, void *value, size_t size)
{
    return view && name && (value || !size) ? xattrs_get(&view->view, ino, name, value, size) : -EINVAL;
}

ssize_t eng_view_listxattr(struct eng_view *view, uint64_t ino, char *list, size_t size)
{
    return view && (list || !size) ? xattrs_list(&view->view, ino, list, size) : -EINVAL;
}

int eng_view_digest_begin(struct eng_view *view, uint64_t ino, enum eng_digest_kind kind,
                          struct eng_digest **ret_digest)
{
    return view && ret_digest ? digest_begin(&view->view, ino, kind, ret_digest) : -EINVAL;
}

int eng_view_find(struct eng_view *view, uint32_t low_half, uint64_t *ret_ino)
{
    if (!view || !ret_ino)
        return -EINVAL;
    const struct view *v = &view->view;
    view_begin(v);
    const struct inode_rec *head = index_slot(v->idx, low_half);
    uint64_t ino = head ? index_ino(head, low_half) : 0; /* of a past state: none that index_inode() takes */
    int r = ino && view_state(v, ino) ? 0 : -ESTALE;
    *ret_ino = ino;
    return (int)view_end(v, r);
}

uint64_t eng_view_mark(const struct eng *eng, uint64_t batch, uint64_t ino)
{
    const uint64_t what[] = {batch, ino};
    return codec_keyed_hash(eng->sb.hash_seed, what, sizeof what);
}

uint64_t eng_keyed_hash(uint64_t seed, const void *data, size_t size)
{
    return codec_keyed_hash(seed, data, size);
}
