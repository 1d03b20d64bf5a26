/*
 * moments.c - see moments.h. */
#include "index/moments.h"

#include "base/fault.h"
#include "base/util.h"
#include "engine.h"
#include "index/findings.h"

#include <stdlib.h>
#include <string.h>

const char *index_snapshot_name(const struct index *idx, const struct moment_rec *snapshot)
{
    return snapshot->name ? names_get(&idx->names, snapshot->name, snapshot->name_len) : NULL;
}

uint32_t index_find_snapshot(const struct index *idx, const char *name, size_t len)
{
    for (uint32_t i = idx->moments.used - 1; i > 0; i--) {
        const struct moment_rec *snapshot = index_snapshot(idx, i);
        const char *text = snapshot && snapshot->name_len == len ? index_snapshot_name(idx, snapshot) : NULL;
        if (text && memcmp(text, name, len) == 0)
            return i;
    }
    return 0;
}

/* The last record before `i` that is a moment, or a snapshot; 0 none. */
static uint32_t last_before(const struct index *idx, uint32_t i, bool snapshot)
{
    do
        i--;
    while (i > 0 && !(snapshot ? index_snapshot(idx, i) : index_moment(idx, i)));
    return i;
}

static uint64_t newest_snapshot(const struct index *idx)
{
    const struct moment_rec *newest = index_moment(idx, last_before(idx, idx->moments.used, true));
    return newest ? newest->batch : 0;
}

bool snapshots_see(const uint64_t *batches, size_t n, uint64_t begin, uint64_t end)
{
    size_t low = 0, high = n; /* the first from `begin` on */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (batches[mid] < begin)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && batches[low] < end;
}

uint64_t index_count_snapshots(const struct index *idx)
{
    uint64_t n = 0;
    for (uint32_t i = 1; i < idx->moments.used; i++)
        n += index_snapshot(idx, i) != NULL;
    return n;
}

int index_snapshots(const struct index *idx, uint64_t **ret_batches, size_t *ret_n)
{
    uint64_t *batches = NULL;
    size_t n = 0, cap = 0;
    for (uint32_t i = 1; i < idx->moments.used; i++) {
        const struct moment_rec *snapshot = index_snapshot(idx, i);
        if (!snapshot)
            continue;
        if (array_grow(&batches, &cap, n + 1, sizeof *batches)) {
            free(batches);
            return -ENOMEM;
        }
        batches[n++] = snapshot->batch;
    }
    *ret_batches = batches;
    *ret_n = n;
    return 0;
}

/* ---- changes ---------------------------------------------------------------------- */

int moments_reserve(struct index *idx, uint32_t n)
{
    if (n > idx->moments.limit - MIN_OF(idx->moments.used, idx->moments.limit))
        return -EOVERFLOW; /* free records are not used again */
    return n ? table_reserve(&idx->moments, n) : 0;
}

/* Behind all others. */
static int append(struct index *idx, const struct moment_rec *rec)
{
    uint32_t i = idx->moments.used;
    const struct moment_rec *last = index_moment(idx, last_before(idx, i, false));
    if ((last && last->batch >= rec->batch) || i >= idx->moments.limit || table_claim(&idx->moments, i) != 0)
        return -EBADMSG;
    *(struct moment_rec *)table_mut(&idx->moments, i) = *rec;
    return 0;
}

int moments_begin(struct index *idx, const struct op *op, uint64_t seq)
{
    const struct moment_rec rec = {.batch = seq, .time = op->time, .age = (uint32_t)op->age};
    int r = op->age <= UINT32_MAX ? append(idx, &rec) : -EBADMSG;
    if (!r)
        idx->s.age = op->age;
    return r;
}

static void put_name(struct index *idx, uint32_t i, const struct op *op)
{
    uint32_t name = names_alloc(&idx->names, op->name_len);
    memcpy(names_mut(&idx->names, name, op->name_len), op->name, op->name_len);
    struct moment_rec *rec = table_mut(&idx->moments, i);
    rec->name = name;
    rec->name_len = op->name_len;
    rec->flags |= MOMENT_SNAPSHOT;
}

int moments_snapshot(struct index *idx, const struct op *op, uint64_t seq)
{
    if (!index_name_is_valid(op->name, op->name_len) || index_find_snapshot(idx, op->name, op->name_len))
        return -EBADMSG;
    const struct moment_rec *last = index_moment(idx, last_before(idx, idx->moments.used, false));
    const struct moment_rec rec = {
        .batch = seq, .time = op->time, .age = (uint32_t)idx->s.age, .flags = MOMENT_ALONE};
    if (last && last->batch == seq && last->flags & MOMENT_SNAPSHOT)
        return -EBADMSG;
    int r = last && last->batch == seq ? 0 : append(idx, &rec);
    if (r)
        return r;
    put_name(idx, last_before(idx, idx->moments.used, false), op);
    idx->s.newest_snapshot = seq;
    chunk_pool_mark(idx->pool, seq); /* what is written from now on is what a comparison with it looks at */
    return 0;
}

/* Without its name it is nothing, unless it is a moment all the same. */
static void drop(struct index *idx, uint32_t i)
{
    struct moment_rec *rec = table_mut(&idx->moments, i);
    uint64_t batch = rec->batch;
    bool goes = rec->flags & MOMENT_ALONE;
    rec->name = rec->name_len = 0;
    rec->flags = 0;
    if (goes) {
        *rec = (struct moment_rec){0};
        table_free_record(&idx->moments, i);
    }
    if (idx->s.newest_snapshot == batch)
        idx->s.newest_snapshot = newest_snapshot(idx);
}

int moments_name(struct index *idx, const struct op *op)
{
    uint32_t i = last_before(idx, idx->moments.used, true);
    const struct moment_rec *rec = index_moment(idx, i);
    while (rec && rec->batch > op->batch)
        rec = index_moment(idx, i = last_before(idx, i, true));
    if (!rec || rec->batch != op->batch || !index_snapshot_name(idx, rec))
        return -EBADMSG;
    uint32_t name = rec->name, len = rec->name_len;
    if (op->name_len &&
        (!index_name_is_valid(op->name, op->name_len) || index_find_snapshot(idx, op->name, op->name_len)))
        return -EBADMSG;
    if (op->name_len)
        put_name(idx, i, op);
    else
        drop(idx, i);
    names_free_cells(&idx->names, name, len);
    return 0;
}

/* ---- verify ------------------------------------------------------------------------- */

struct moments_verify {
    const struct index *idx;
    struct findings findings;
    struct text {
        const char *name;
        size_t len;
    } * texts;
    size_t n, cap;
};

static int by_text(const void *a, const void *b)
{
    const struct text *x = a, *y = b;
    int order = memcmp(x->name, y->name, MIN_OF(x->len, y->len));
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static int verify_snapshot(struct moments_verify *v, uint32_t i, const struct moment_rec *rec, uint8_t *cells)
{
    const char *name = index_snapshot_name(v->idx, rec);
    if (!name || !index_name_is_valid(name, rec->name_len) ||
        !names_mark(&v->idx->names, rec->name, rec->name_len, cells)) {
        findings_add(&v->findings, "snapshot %u: no name of its own", i);
        return 0;
    }
    if (array_grow(&v->texts, &v->cap, v->n + 1, sizeof *v->texts))
        return -ENOMEM;
    v->texts[v->n++] = (struct text){name, rec->name_len};
    return 0;
}

int64_t moments_verify(const struct index *idx, uint8_t *cells, void (*problem)(void *arg, const char *line),
                       void *arg, uint64_t *ret_n)
{
    struct moments_verify v = {.idx = idx, .findings = {.problem = problem, .arg = arg}};
    uint64_t last = 0, newest = 0, n = 0;
    int r = 0;
    for (uint32_t i = 1; i < idx->moments.used && !r; i++) {
        const struct moment_rec *rec = index_moment(idx, i);
        if (!rec)
            continue;
        n++;
        if (rec->batch <= last)
            findings_add(&v.findings, "moment %u: of batch %llu, behind one of batch %llu", i,
                         (unsigned long long)rec->batch, (unsigned long long)last);
        last = rec->batch;
        if (!(rec->flags & MOMENT_SNAPSHOT))
            continue;
        newest = rec->batch;
        r = verify_snapshot(&v, i, rec, cells);
    }
    if (v.n)
        qsort(v.texts, v.n, sizeof *v.texts, by_text);
    for (size_t i = 1; i < v.n; i++)
        if (by_text(&v.texts[i - 1], &v.texts[i]) == 0)
            findings_add(&v.findings, "snapshots: two are called \"%.*s\"",
                         (int)MIN_OF(v.texts[i].len, (size_t)64), v.texts[i].name);
    if (newest != idx->s.newest_snapshot)
        findings_add(&v.findings, "the newest snapshot is of batch %llu, not %llu",
                     (unsigned long long)newest, (unsigned long long)idx->s.newest_snapshot);
    free(v.texts);
    *ret_n = n;
    return r ? r : v.findings.n;
}
