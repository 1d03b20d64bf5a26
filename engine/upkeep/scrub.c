/*
 * scrub.c - verifies every live extent where it lies, at a rate. What it
 * finds is listed by eng_damaged(); no content is changed. Before that it has
 * proven, and made good, what a recovery would need (image/proof.h).
 *
 * Works through groups of segments, each collected from the index and read in
 * order of place. Locks: none held across reads. */
#include "upkeep/scrub.h"

#include "commit/refs.h"
#include "core/damage.h"
#include "image/checkpoint.h"
#include "image/proof.h"

#define STEP_BYTES (1u << 20)

/* Verifies one range. A failure counts only if the range is still named afterwards. */
static int scrub_ref(struct eng *eng, const struct extent_ref *ref, uint8_t *buf, bool *ret_damaged)
{
    struct segment *seg;
    int r = segments_pin(&eng->segments, ref->from.seg, &seg);
    if (!r) {
        r = segment_read(seg, eng->io->ops, ref->ino, ref->off, &ref->from, 0, ref->from.len, buf);
        segments_unpin(seg);
    }
    *ret_damaged = false;
    if (r != -EBADMSG && r != -EIO && r != -ENOENT)
        return r;
    if (extent_ref_current(eng, ref)) {
        *ret_damaged = true;
        damage_record(eng, ref->ino, ref->off, &ref->from, damage_reason(r));
    }
    return 0;
}

static int scrub_refs(struct eng *eng, struct job *job, struct eng_scrub_figures *figures,
                      struct extent_ref *refs, size_t n)
{
    CLEANUP_FREE uint8_t *buf = malloc(EXTENT_MAX);
    int r = buf ? 0 : -ENOMEM;
    uint64_t step = 0;
    for (size_t i = 0; i < n && !r; i++) {
        bool damaged;
        r = scrub_ref(eng, &refs[i], buf, &damaged);
        step += refs[i].from.len;
        pthread_mutex_lock(&job->lock);
        job->report.done += refs[i].from.len;
        figures->extents++;
        figures->damaged += !r && damaged;
        pthread_mutex_unlock(&job->lock);
        if (!r && (step >= STEP_BYTES || i + 1 == n)) {
            r = job_gate(job, step);
            step = 0;
        }
    }
    return r;
}

struct listed {
    uint32_t id;
    uint64_t n_live; /* ranges in it */
};

/* All segments known now, to be scrubbed in groups so that memory stays bounded. */
static int list_segments(struct eng *eng, struct listed **ret_list, size_t *ret_n, uint64_t *ret_bytes)
{
    size_t n = 0;
    uint64_t bytes = 0;
    pthread_rwlock_rdlock(&eng->index_lock);
    struct listed *list = calloc(eng->idx.segs.used, sizeof *list);
    for (uint32_t i = 1; list && i < eng->idx.segs.used; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        if (seg->id && seg->live) {
            list[n++] = (struct listed){seg->id, seg->n_live};
            bytes += seg->live;
        }
    }
    pthread_rwlock_unlock(&eng->index_lock);
    if (!list)
        return -ENOMEM;
    *ret_list = list;
    *ret_n = n;
    *ret_bytes = bytes;
    return 0;
}

#define GROUP_SEGMENTS 8u

/* How many of the segments make a group: their ranges are in memory together. At least one. */
static size_t group_size(const struct eng *eng, const struct listed *list, size_t n)
{
    uint64_t refs = list[0].n_live;
    size_t i = 1;
    while (i < MIN_OF(n, (size_t)GROUP_SEGMENTS) && refs + list[i].n_live <= eng->compact_group)
        refs += list[i++].n_live;
    return i;
}

static int scrub_group(struct eng *eng, struct job *job, struct eng_scrub_figures *figures,
                       const struct listed *list, size_t n)
{
    struct idmap wanted = {0};
    CLEANUP_FREE struct extent_ref *refs = NULL;
    size_t n_refs = 0;
    int r = 0;
    for (size_t i = 0; i < n && !r; i++) {
        r = idmap_reserve(&wanted, 1);
        if (!r)
            idmap_set(&wanted, list[i].id, 1);
    }
    if (!r)
        r = extent_refs_collect(eng, &wanted, &refs, &n_refs);
    idmap_done(&wanted);
    return r ? r : scrub_refs(eng, job, figures, refs, n_refs);
}

/*
 * After a kill a recovery verifies content behind the durable mark, and takes what it finds damaged for the
 * torn end of the log, with all that lies behind. Content that a checkpoint knows is left to its
 * readers. */
static void cover_damage(struct eng *eng)
{
    bool covered = log_seq(&eng->log) <= atomic_load_explicit(&eng->marks.newest_seq, memory_order_acquire);
    if (!covered && !is_read_only(eng))
        (void)checkpoint_write(eng); /* a failure is in last_error */
}

int scrub_all(struct eng *eng, struct job *job, bool is_sound, struct eng_scrub_figures *figures)
{
    CLEANUP_FREE struct listed *list = NULL;
    size_t n = 0, in_group = 0;
    uint64_t total = 0;
    int r = list_segments(eng, &list, &n, &total);
    pthread_mutex_lock(&job->lock);
    job->report.total = total;
    pthread_mutex_unlock(&job->lock);
    for (size_t i = 0; i < n && !r; i += in_group) {
        in_group = group_size(eng, list + i, n - i);
        r = scrub_group(eng, job, figures, list + i, in_group);
    }
    if (figures->damaged && is_sound)
        cover_damage(eng);
    return r;
}

int scrub_run(struct eng *eng, struct job *job)
{
    /* First: without it all is lost. */
    int r = proof_run(eng, job, &job->report.scrub.recovery, NULL, NULL);
    return r ? r : scrub_all(eng, job, true, &job->report.scrub);
}
