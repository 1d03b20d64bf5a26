/*
 * moments.c - see moments.h. */
#include "index/moments.h"

#include "base/fault.h"
#include "base/util.h"
#include "engine.h"
#include "index/findings.h"

#include <stdlib.h>
#include <string.h>

/* ---- chunks ------------------------------------------------------------------------- */

static uint32_t chunk_of(const struct index *idx, uint32_t i)
{
    return i >> idx->moments.chunk_shift;
}

static void sum_up(const struct index *idx, uint32_t c, struct moment_sum *sum)
{
    uint32_t from = c << idx->moments.chunk_shift, n = 1u << idx->moments.chunk_shift, age = UINT32_MAX;
    uint64_t first = UINT64_MAX;
    int64_t least = INT64_MAX;
    bool has_snapshot = false;
    for (uint32_t i = from; i - from < n && i < idx->moments.used; i++) {
        const struct moment_rec *m = index_moment(idx, i);
        if (!m)
            continue;
        age = first == UINT64_MAX ? m->age : age;
        first = MIN_OF(first, m->batch);
        least = MIN_OF(least, m->time);
        has_snapshot = has_snapshot || m->flags & MOMENT_SNAPSHOT;
    }
    atomic_store_explicit(&sum->age, age, memory_order_relaxed);
    atomic_store_explicit(&sum->first, first, memory_order_relaxed);
    atomic_store_explicit(&sum->least, least, memory_order_relaxed);
    atomic_store_explicit(&sum->has_snapshot, has_snapshot, memory_order_relaxed);
    atomic_store_explicit(&sum->is_known, !pool_missed, memory_order_release);
}

const struct moment_sum *moments_sum(const struct index *idx, uint32_t c, struct moment_sum *own)
{
    struct moment_sums *sums = idx->moment_sums;
    struct moment_sum *sum = sums && c < sums->n ? &sums->of[c] : own;
    if (sum == own || !atomic_load_explicit(&sum->is_known, memory_order_acquire))
        sum_up(idx, c, sum);
    return sum;
}

int moments_make_sums(struct index *idx)
{
    uint32_t n = idx->moments.n_chunks, had = idx->moment_sums ? idx->moment_sums->n : 0;
    if (n <= had)
        return 0;
    n += n / 2 + 4;
    struct moment_sums *sums = calloc(1, sizeof *sums + n * sizeof *sums->of);
    if (!sums)
        return -ENOMEM;
    sums->n = n;
    free(idx->moment_sums);
    idx->moment_sums = sums;
    return 0;
}

/* Something of the chunk that has record i changes. */
static void forget_sum(struct index *idx, uint32_t i)
{
    struct moment_sums *sums = idx->moment_sums;
    if (sums && chunk_of(idx, i) < sums->n)
        atomic_store_explicit(&sums->of[chunk_of(idx, i)].is_known, false, memory_order_relaxed);
}

/* The chunk's first record, if it may be passed by: no moment is in it, or no snapshot. Else 0. */
static uint32_t passed_by(const struct index *idx, uint32_t i, bool snapshot)
{
    struct moment_sum own;
    uint32_t c = chunk_of(idx, i);
    const struct moment_sum *sum = moments_sum(idx, c, &own);
    bool has = snapshot ? atomic_load_explicit(&sum->has_snapshot, memory_order_relaxed)
                        : atomic_load_explicit(&sum->first, memory_order_relaxed) != UINT64_MAX;
    return has ? 0 : MAX_OF(1u, c << idx->moments.chunk_shift);
}

/* ---- snapshots ---------------------------------------------------------------------- */

const char *index_snapshot_name(const struct index *idx, const struct moment_rec *snapshot)
{
    return snapshot->name ? names_get(&idx->names, snapshot->name, snapshot->name_len) : NULL;
}

/* The last record before `i` that is a moment, or a snapshot; 0 none. */
static uint32_t last_before(const struct index *idx, uint32_t i, bool snapshot)
{
    uint32_t first, mask = (1u << idx->moments.chunk_shift) - 1;
    bool enters = snapshot; /* a chunk, of which nothing was looked at; the last one has a moment as a rule */
    for (i--; i > 0; i--) {
        if (enters && (first = passed_by(idx, i, snapshot)) > 0)
            i = first;
        else if (snapshot ? index_snapshot(idx, i) : index_moment(idx, i))
            return i;
        enters = (i & mask) == 0;
    }
    return 0;
}

uint32_t index_next_snapshot(const struct index *idx, uint32_t i)
{
    uint32_t mask = (1u << idx->moments.chunk_shift) - 1;
    for (i++; i < idx->moments.used; i++) {
        if ((i & mask) <= 1 && passed_by(idx, i, true))
            i |= mask; /* to its last one */
        else if (index_snapshot(idx, i))
            return i;
    }
    return 0;
}

uint32_t index_find_snapshot(const struct index *idx, const char *name, size_t len)
{
    for (uint32_t i = idx->moments.used; (i = last_before(idx, i, true)) > 0;) {
        const struct moment_rec *snapshot = index_snapshot(idx, i);
        const char *text = snapshot && snapshot->name_len == len ? index_snapshot_name(idx, snapshot) : NULL;
        if (text && memcmp(text, name, len) == 0)
            return i;
    }
    return 0;
}

static uint64_t newest_snapshot(const struct index *idx)
{
    const struct moment_rec *newest = index_moment(idx, last_before(idx, idx->moments.used, true));
    return newest ? newest->batch : 0;
}

size_t snapshots_from(const uint64_t *batches, size_t n, uint64_t begin)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (batches[mid] < begin)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool snapshots_see(const uint64_t *batches, size_t n, uint64_t begin, uint64_t end)
{
    size_t first = snapshots_from(batches, n, begin);
    return first < n && batches[first] < end;
}

uint64_t index_count_snapshots(const struct index *idx)
{
    uint64_t n = 0;
    for (uint32_t i = 0; (i = index_next_snapshot(idx, i)) > 0;)
        n++;
    return n;
}

int index_snapshots(const struct index *idx, uint64_t **ret_batches, size_t *ret_n)
{
    uint64_t *batches = NULL;
    size_t n = 0, cap = 0;
    for (uint32_t i = 0; (i = index_next_snapshot(idx, i)) > 0;) {
        if (array_grow(&batches, &cap, n + 1, sizeof *batches)) {
            free(batches);
            return -ENOMEM;
        }
        batches[n++] = index_snapshot(idx, i)->batch;
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
    int r = n ? table_reserve(&idx->moments, n) : 0;
    return r || !n ? r : moments_make_sums(idx);
}

/* Behind all others. */
static int append(struct index *idx, const struct moment_rec *rec)
{
    uint32_t i = idx->moments.used;
    const struct moment_rec *last = index_moment(idx, last_before(idx, i, false));
    if ((last && last->batch >= rec->batch) || i >= idx->moments.limit || table_claim(&idx->moments, i) != 0)
        return -EBADMSG;
    *(struct moment_rec *)table_mut(&idx->moments, i) = *rec;
    forget_sum(idx, i);
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
    forget_sum(idx, i);
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
    forget_sum(idx, i);
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

void moments_expire(struct index *idx, uint32_t i)
{
    struct moment_rec *rec = table_mut(&idx->moments, i);
    forget_sum(idx, i);
    if (rec->flags & MOMENT_SNAPSHOT) {
        rec->flags |= MOMENT_ALONE;
        return;
    }
    *rec = (struct moment_rec){0};
    table_free_record(&idx->moments, i);
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
