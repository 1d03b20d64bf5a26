/*
 * snapshots.c - snapshots of the store as people make, list, rename and drop them. What they see is kept by
 * commit/keep.c; what a dropped one alone saw the job `history` lets go. */
#include "commit/commit.h"
#include "commit/flush.h"
#include "index/moments.h"
#include "index/times.h"
#include "store/store.h"
#include "upkeep/full_disk.h"
#include "upkeep/history.h"

#include <string.h>

static int check_name(const char *name)
{
    size_t len = strlen(name);
    if (len > ENG_NAME_MAX)
        return -ENAMETOOLONG;
    return index_name_is_valid(name, len) ? 0 : -EINVAL;
}

/* What may be asked at all; `name` may be NULL where none is needed. */
static int check_call(const struct eng *eng, const char *name)
{
    if (!eng || !name)
        return -EINVAL;
    int r = check_name(name);
    if (r)
        return r;
    return is_read_only(eng) ? -EROFS : 0;
}

/* 0 and its record; -ENOENT. Under log.lock or index_lock. */
static int find(const struct eng *eng, const char *name, uint32_t *ret_record)
{
    *ret_record = index_find_snapshot(&eng->idx, name, strlen(name));
    return *ret_record ? 0 : -ENOENT;
}

/* ---- making ------------------------------------------------------------------------ */

static int create_once(struct eng *eng, const char *name, uint64_t *ret_batch)
{
    CLEANUP_TXN struct txn txn = {0};
    uint32_t record;
    int r = commit_begin(eng);
    if (r)
        return r;
    struct op *op = find(eng, name, &record) ? txn_op(&txn, OP_SNAPSHOT) : NULL;
    if (!op)
        return commit_end(eng, record ? -EEXIST : -ENOMEM);
    op->time = now_ns();
    op->name = name;
    op->name_len = (uint16_t)strlen(name);
    r = commit_txn(eng, &txn);
    *ret_batch = eng->idx.s.newest_snapshot;
    return commit_end(eng, r);
}

int eng_snapshot_create_unsynced(struct eng *eng, const char *name, uint64_t *ret_batch)
{
    struct full_disk_try change = {0};
    uint64_t batch = 0;
    int r = check_call(eng, name);
    if (!r)
        r = store_set_history(eng);
    if (r)
        return r;
    do
        r = create_once(eng, name, &batch);
    while (full_disk_again(eng, &change, &r));
    if (!r && ret_batch)
        *ret_batch = batch;
    return r;
}

int eng_snapshot_create(struct eng *eng, const char *name, uint64_t *ret_batch)
{
    uint64_t batch = 0;
    int r = eng_snapshot_create_unsynced(eng, name, &batch);
    if (!r) /* all that was acknowledged before lies before it in the log */
        r = flush_log(eng);
    if (!r && ret_batch)
        *ret_batch = batch;
    return r;
}

/* ---- renaming, dropping --------------------------------------------------------------- */

/* `to` NULL: it is dropped. */
static int name_once(struct eng *eng, const char *name, const char *to)
{
    CLEANUP_TXN struct txn txn = {0};
    uint32_t record, other;
    int r = commit_begin(eng);
    if (r)
        return r;
    r = find(eng, name, &record);
    bool is_same = !r && to && strcmp(name, to) == 0;
    if (!r && to && !is_same && find(eng, to, &other) == 0)
        r = -EEXIST;
    if (r || is_same)
        return commit_end(eng, r);
    struct op *op = txn_op(&txn, OP_SNAPSHOT_NAME);
    if (!op)
        return commit_end(eng, -ENOMEM);
    op->batch = index_snapshot(&eng->idx, record)->batch;
    op->name = to;
    op->name_len = to ? (uint16_t)strlen(to) : 0;
    return commit_end(eng, commit_txn(eng, &txn));
}

int eng_snapshot_rename(struct eng *eng, const char *name, const char *new_name)
{
    struct full_disk_try change = {0};
    int r = check_call(eng, name);
    if (!r)
        r = new_name ? check_name(new_name) : -EINVAL;
    if (r)
        return r;
    do
        r = name_once(eng, name, new_name);
    while (full_disk_again(eng, &change, &r));
    return r;
}

int eng_snapshot_drop(struct eng *eng, const char *name)
{
    struct full_disk_try change = {.removing = true};
    int r = check_call(eng, name);
    if (r)
        return r;
    do
        r = name_once(eng, name, NULL);
    while (full_disk_again(eng, &change, &r));
    if (r)
        return r;
    history_note(eng);
    history_look(eng);
    return 0;
}

/* ---- finding, listing ------------------------------------------------------------------- */

int eng_snapshot_find(struct eng *eng, const char *name, uint64_t *ret_batch)
{
    if (!eng || !name || !ret_batch)
        return -EINVAL;
    int r = check_name(name);
    if (r)
        return r;
    uint32_t record;
    pool_missed = 0;
    pthread_rwlock_rdlock(&eng->index_lock);
    r = find(eng, name, &record);
    *ret_batch = r ? 0 : index_snapshot(&eng->idx, record)->batch;
    int doubt = eng_doubt(eng);
    pthread_rwlock_unlock(&eng->index_lock);
    return doubt ? doubt : r;
}

int eng_snapshot_time(struct eng *eng, uint64_t batch, int64_t *ret_time)
{
    if (!eng || !ret_time)
        return -EINVAL;
    pool_missed = 0;
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct moment_rec *rec = index_snapshot(&eng->idx, index_moment_by(&eng->idx, batch));
    bool found = rec && rec->batch == batch;
    *ret_time = found ? rec->time : 0;
    int doubt = eng_doubt(eng);
    pthread_rwlock_unlock(&eng->index_lock);
    if (doubt)
        return doubt;
    return found ? 0 : -ENOENT;
}

struct listed {
    struct eng_snapshot snapshot;
    char name[ENG_NAME_MAX + 1];
};

/* All of them, as of one moment. */
static int list_all(struct eng *eng, struct listed **ret_all, size_t *ret_n)
{
    struct listed *all = NULL;
    size_t n = 0, cap = 0;
    int r = 0;
    pool_missed = 0;
    pthread_rwlock_rdlock(&eng->index_lock);
    for (uint32_t i = 0; !r && (i = index_next_snapshot(&eng->idx, i)) > 0;) {
        const struct moment_rec *rec = index_snapshot(&eng->idx, i);
        const char *name = index_snapshot_name(&eng->idx, rec);
        r = name && rec->name_len <= ENG_NAME_MAX ? array_grow(&all, &cap, n + 1, sizeof *all) : -EBADMSG;
        if (r)
            break;
        all[n] = (struct listed){.snapshot = {.batch = rec->batch, .time = rec->time}};
        memcpy(all[n++].name, name, rec->name_len);
    }
    int doubt = eng_doubt(eng);
    pthread_rwlock_unlock(&eng->index_lock);
    r = doubt ? doubt : r;
    if (r)
        free(all);
    *ret_all = r ? NULL : all;
    *ret_n = n;
    return r;
}

int eng_snapshot_list(struct eng *eng, int (*emit)(void *arg, const struct eng_snapshot *snapshot), void *arg)
{
    struct listed *all;
    size_t n;
    if (!eng || !emit)
        return -EINVAL;
    int r = list_all(eng, &all, &n);
    if (r)
        return r;
    for (size_t i = 0; i < n && !r; i++) {
        all[i].snapshot.name = all[i].name;
        r = emit(arg, &all[i].snapshot);
    }
    free(all);
    return r;
}
