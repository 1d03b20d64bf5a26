/*
 * summaries.c - see summaries.h. */
#include "commit/summaries.h"

#include "disk/summary_file.h"

#define KEPT_MAX 1024u /* segments */

struct kept {
    uint32_t segment;
    uint64_t size; /* that its file had then: one that has grown since is not known any more */
    uint64_t end, used;
    struct summary entries;
};

struct summaries {
    pthread_mutex_t lock; /* a leaf */
    /* Protected by lock. */
    struct kept *kept;
    size_t n, cap;
    uint64_t clock;
    struct summaries_figures figures;
};

int summaries_new(struct eng *eng)
{
    eng->summaries = calloc(1, sizeof *eng->summaries);
    if (!eng->summaries)
        return -ENOMEM;
    pthread_mutex_init(&eng->summaries->lock, NULL);
    return 0;
}

void summaries_free(struct eng *eng)
{
    struct summaries *all = eng->summaries;
    if (!all)
        return;
    for (size_t i = 0; i < all->n; i++)
        summary_free(&all->kept[i].entries);
    free(all->kept);
    pthread_mutex_destroy(&all->lock);
    free(all);
    eng->summaries = NULL;
}

struct summaries_figures summaries_figures(struct eng *eng)
{
    pthread_mutex_lock(&eng->summaries->lock);
    struct summaries_figures figures = eng->summaries->figures;
    pthread_mutex_unlock(&eng->summaries->lock);
    return figures;
}

static void count(struct eng *eng, uint64_t *figure, uint64_t n)
{
    pthread_mutex_lock(&eng->summaries->lock);
    *figure += n;
    pthread_mutex_unlock(&eng->summaries->lock);
}

void summaries_count_walked(struct eng *eng, uint32_t n)
{
    count(eng, &eng->summaries->figures.walked, n);
}

/* The entries alone; nothing is added to a copy. */
static int copy_entries(struct summary *ret, const struct summary *s)
{
    struct summary copy = {.first = s->first, .last = s->last, .first_size = s->first_size, .n = s->n};
    int r = buf_reserve(&copy.bytes, MAX_OF(s->bytes.len, (size_t)1));
    if (r)
        return r;
    if (s->bytes.len)
        memcpy(copy.bytes.data, s->bytes.data, s->bytes.len);
    copy.bytes.len = s->bytes.len;
    *ret = copy;
    return 0;
}

/* ---- the cache ----------------------------------------------------------------------------- */

static void drop_locked(struct summaries *all, size_t i)
{
    all->figures.cache_bytes -= all->kept[i].entries.bytes.cap;
    summary_free(&all->kept[i].entries);
    all->kept[i] = all->kept[--all->n];
}

static size_t find_locked(const struct summaries *all, uint32_t segment)
{
    size_t i = 0;
    while (i < all->n && all->kept[i].segment != segment)
        i++;
    return i;
}

static void make_room_locked(struct summaries *all, uint64_t bytes)
{
    while (all->n && (all->n == KEPT_MAX || all->figures.cache_bytes + bytes > SUMMARIES_CACHE)) {
        size_t oldest = 0;
        for (size_t i = 1; i < all->n; i++)
            if (all->kept[i].used < all->kept[oldest].used)
                oldest = i;
        drop_locked(all, oldest);
    }
}

static void keep(struct eng *eng, uint32_t segment, uint64_t size, uint64_t end, const struct summary *s)
{
    struct summaries *all = eng->summaries;
    struct summary copy;
    if (s->bytes.len > SUMMARIES_CACHE / 2 || copy_entries(&copy, s) != 0)
        return;
    pthread_mutex_lock(&all->lock);
    size_t i = find_locked(all, segment);
    if (i < all->n)
        drop_locked(all, i);
    make_room_locked(all, copy.bytes.cap);
    if (array_grow(&all->kept, &all->cap, all->n + 1, sizeof *all->kept) == 0) {
        all->kept[all->n++] = (struct kept){segment, size, end, ++all->clock, copy};
        all->figures.cache_bytes += copy.bytes.cap;
        copy = (struct summary){0};
    }
    pthread_mutex_unlock(&all->lock);
    summary_free(&copy);
}

void summaries_keep(struct eng *eng, uint32_t segment, const struct summary *entries)
{
    uint64_t size = segments_size_of(&eng->segments, segment);
    keep(eng, segment, size, size, entries);
}

/* Whether it is there; the entries are copied. */
static bool find_kept(struct eng *eng, uint32_t segment, uint64_t size, struct known_summary *known)
{
    struct summaries *all = eng->summaries;
    bool found = false;
    pthread_mutex_lock(&all->lock);
    size_t i = find_locked(all, segment);
    if (i < all->n && all->kept[i].size == size) {
        found = copy_entries(&known->entries, &all->kept[i].entries) == 0;
        known->end = all->kept[i].end;
        all->kept[i].used = ++all->clock;
        all->figures.kept += found;
    }
    pthread_mutex_unlock(&all->lock);
    return found;
}

/* ---- from a file ----------------------------------------------------------------------------- */

static int scan(struct eng *eng, struct segment *seg, uint64_t end, struct summary *ret_s, uint64_t *ret_end)
{
    count(eng, &eng->summaries->figures.scanned, 1);
    return summary_scan(seg, eng->io->ops, eng->log.store, end, ret_s, ret_end);
}

/* Of a file that was cut, what is left scans to its end as well. */
static bool has_all_payload(const struct known_summary *known)
{
    struct summary_reader reader = summary_begin(&known->entries, known->end);
    struct summary_entry entry;
    uint64_t payload = 0;
    while (summary_next(&reader, &entry) == 1)
        payload += entry.len;
    return payload >= known->total || MUTANT(CUT_IS_WHOLE);
}

/* Of a segment that is not active. Damage is told once, where it costs the scan. */
static int from_file(struct eng *eng, uint32_t id, struct known_summary *known)
{
    struct segment *seg;
    int r = segments_pin(&eng->segments, id, &seg);
    if (r)
        return r;
    uint64_t size = atomic_load_explicit(&seg->size, memory_order_relaxed);
    r = summary_read(seg, eng->io->ops, eng->log.store, size, &known->entries, &known->end);
    known->whole = !r;
    if (!r) {
        count(eng, &eng->summaries->figures.read, 1);
    } else if ((r == -ENODATA || r == -EBADMSG || r == -EIO) && !find_kept(eng, id, size, known)) {
        if (r != -ENODATA)
            report_line(&eng->report, ENG_LOG_INFO,
                        "s%08x.seg: the summary at its end is damaged; made again from what it tells of", id);
        r = scan(eng, seg, size, &known->entries, &known->end);
        known->whole = !r && known->end == size && has_all_payload(known);
        if (!r)
            keep(eng, id, size, known->end, &known->entries);
    } else if (r == -ENODATA || r == -EBADMSG || r == -EIO) {
        r = 0; /* the cache had it */
    }
    segments_unpin(seg);
    return r;
}

/* ---- the active segment -------------------------------------------------------------------- */

/* Whether it is the active one. *ret_from: where its entries begin. */
static bool from_memory(struct eng *eng, uint32_t id, struct known_summary *known, uint64_t *ret_from,
                        int *ret_r)
{
    pthread_mutex_lock(&eng->log.lock);
    const struct seg_rec *rec = index_segment(&eng->idx, id);
    bool active = eng->log.active && eng->log.active->id == id;
    known->total = rec ? rec->total : 0;
    if (active) {
        *ret_r = eng->log.summary.lost ? -ENOMEM : copy_entries(&known->entries, &eng->log.summary);
        *ret_from = eng->log.summed_from;
        known->end = eng->log.tail;
    }
    pthread_mutex_unlock(&eng->log.lock);
    return active;
}

/* What lies before `from`, where the log went on when the store was opened. */
static int complete(struct eng *eng, uint32_t id, uint64_t from, struct known_summary *known)
{
    struct segment *seg;
    struct summary before = {0};
    uint64_t end = 0;
    int r = segments_pin(&eng->segments, id, &seg);
    if (r)
        return r;
    r = scan(eng, seg, from, &before, &end);
    segments_unpin(seg);
    known->whole = !r && end == from;
    if (!r)
        r = summary_join(&known->entries, &before);
    if (!r && known->whole) {
        pthread_mutex_lock(&eng->log.lock);
        (void)log_complete_summary_locked(&eng->log, id, from, &before);
        pthread_mutex_unlock(&eng->log.lock);
    }
    summary_free(&before);
    return r;
}

int summaries_get(struct eng *eng, uint32_t segment, struct known_summary *ret_known)
{
    struct known_summary known = {0};
    uint64_t from = 0;
    int r = 0;
    if (!from_memory(eng, segment, &known, &from, &r) || r == -ENOMEM) {
        r = from_file(eng, segment, &known);
    } else if (!r) {
        count(eng, &eng->summaries->figures.active, 1);
        known.whole = true;
        if (from != sizeof(struct segment_header))
            r = complete(eng, segment, from, &known);
    }
    if (r)
        summary_free(&known.entries);
    else
        *ret_known = known;
    return r;
}

void summaries_complete_active(struct eng *eng)
{
    struct known_summary known;
    pthread_mutex_lock(&eng->log.lock);
    bool wanted = eng->log.active && eng->log.summed_from != sizeof(struct segment_header);
    uint32_t id = wanted ? eng->log.active->id : 0;
    pthread_mutex_unlock(&eng->log.lock);
    if (wanted && summaries_get(eng, id, &known) == 0)
        summary_free(&known.entries);
}
