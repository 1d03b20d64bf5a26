/*
 * scrub.c - verifies every live extent where it lies, at a rate. What it
 * finds is listed by eng_damaged(); no content is changed. Before that it has
 * proven, and made good, what a recovery would need (image/proof.h).
 *
 * Works through one segment after the other: its summary and the index tell what is live, which is read in
 * order of place. Locks: none held across reads. */
#include "upkeep/scrub.h"

#include "commit/refs.h"
#include "core/damage.h"
#include "image/checkpoint.h"
#include "image/proof.h"

#define STEP_BYTES (1u << 20)

/* Verifies one range. A failure counts only if the range is still named afterwards. */
static int scrub_ref(struct eng *eng, const struct extent_ref *ref, struct segment_window *window,
                     uint8_t *buf, bool *ret_damaged)
{
    struct segment *seg;
    int r = segments_pin(&eng->segments, ref->from.seg, &seg);
    if (!r) {
        r = segment_verify(seg, eng->io->ops, ref->owner, ref->off, &ref->from, window, buf);
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
    struct segment_window window = {0};
    int r = buf ? 0 : -ENOMEM;
    uint64_t gated = 0; /* of what was read */
    for (size_t i = 0; i < n && !r; i++) {
        bool damaged;
        r = scrub_ref(eng, &refs[i], &window, buf, &damaged);
        uint64_t step = window.read - gated;
        pthread_mutex_lock(&job->lock);
        job->report.done += refs[i].from.len;
        figures->extents++;
        figures->damaged += !r && damaged;
        pthread_mutex_unlock(&job->lock);
        if (!r && (step >= STEP_BYTES || i + 1 == n)) {
            r = job_gate(job, step);
            gated = window.read;
        }
    }
    free(window.bytes);
    return r;
}

/* All segments known now, to be scrubbed one by one so that memory stays bounded. */
static int list_segments(struct eng *eng, uint32_t **ret_ids, size_t *ret_n, uint64_t *ret_bytes)
{
    size_t n = 0;
    uint64_t bytes = 0;
    pthread_rwlock_rdlock(&eng->index_lock);
    uint32_t *ids = calloc(eng->idx.segs.used, sizeof *ids);
    for (uint32_t i = 1; ids && i < eng->idx.segs.used; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        if (seg->id && seg->live) {
            ids[n++] = seg->id;
            bytes += seg->live;
        }
    }
    pthread_rwlock_unlock(&eng->index_lock);
    if (!ids)
        return -ENOMEM;
    *ret_ids = ids;
    *ret_n = n;
    *ret_bytes = bytes;
    return 0;
}

static int scrub_segment(struct eng *eng, struct job *job, struct eng_scrub_figures *figures, uint32_t id)
{
    struct idmap wanted = {0};
    CLEANUP_FREE struct extent_ref *refs = NULL;
    size_t n_refs = 0;
    int r = idmap_reserve(&wanted, 1);
    if (!r) {
        idmap_set(&wanted, id, 1);
        r = extent_refs_collect(eng, &wanted, &refs, &n_refs);
    }
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
    CLEANUP_FREE uint32_t *ids = NULL;
    size_t n = 0;
    uint64_t total = 0;
    int r = list_segments(eng, &ids, &n, &total);
    pthread_mutex_lock(&job->lock);
    job->report.total = total;
    pthread_mutex_unlock(&job->lock);
    for (size_t i = 0; i < n && !r; i++)
        r = scrub_segment(eng, job, figures, ids[i]);
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
