/*
 * stats.c - figures: statistics, file system space, segments. All measured at
 * the moment of the call, none kept twice.
 */
#include "policy.h"
#include "worker.h"

const double eng_hist_bounds[ENG_HIST_BUCKETS - 1] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                      0.25,   0.5,   1,      2.5,   10,   60,    600};

void hist_add(struct eng_hist *hist, double seconds)
{
    unsigned i = 0;
    while (i < ENG_HIST_BUCKETS - 1 && seconds > eng_hist_bounds[i])
        i++;
    hist->count[i]++;
    hist->sum += seconds;
}

void eng_totals(struct eng *eng, uint64_t *ret_total, uint64_t *ret_live)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    *ret_total = eng->idx.s.total;
    *ret_live = eng->idx.s.live;
    pthread_rwlock_unlock(&eng->index_lock);
}

static void index_figures(struct eng *eng, struct eng_stats *st)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct index *idx = &eng->idx;
    st->total_bytes = idx->s.total;
    st->live_bytes = idx->s.live;
    st->fragmentation_ratio = policy_fragmentation(idx->s.total, idx->s.live);
    st->memories = idx->s.n_files;
    st->directories = idx->s.n_dirs;
    st->other_inodes = idx->s.n_others;
    st->orphans = idx->n_orphans;
    st->index_bytes = pool_bytes(idx->pool) + pool_bytes(idx->hold_pool);
    for (uint32_t i = 1; i < idx->segs.used; i++) {
        const struct seg_rec *seg = table_get(&idx->segs, i);
        st->segments += seg->id != 0;
        st->segments_pending += seg->id && !seg->live && seg->total;
    }
    pthread_rwlock_unlock(&eng->index_lock);
}

static void counter_figures(struct eng *eng, struct eng_stats *st)
{
    st->compactions_ok = COUNTED(eng, compactions_ok);
    st->compactions_failed = COUNTED(eng, compactions_failed);
    st->compactions_cancelled = COUNTED(eng, compactions_cancelled);
    st->bytes_reclaimed_total = COUNTED(eng, bytes_reclaimed);
    st->relocations = COUNTED(eng, relocations);
    st->relocations_lost = COUNTED(eng, relocations_lost);
    st->reads = COUNTED(eng, reads);
    st->writes = COUNTED(eng, writes);
    st->bytes_read = COUNTED(eng, bytes_read);
    st->bytes_written = COUNTED(eng, bytes_written);
    st->read_restarts = COUNTED(eng, read_restarts);
    st->sync_errors = COUNTED(eng, sync_errors);
    st->checkpoints = COUNTED(eng, checkpoints);
    st->damaged_extents = COUNTED(eng, damaged);
}

int eng_stats(struct eng *eng, struct eng_stats *ret_st)
{
    struct eng_stats st = {0};
    if (!eng_is_read_only(eng))
        (void)eng_flush_orphans(eng); /* what was removed counts as removed */
    index_figures(eng, &st);
    counter_figures(eng, &st);
    st.log_seq = st.batches = log_seq(&eng->log);
    st.durable_seq = log_durable(&eng->log);
    st.checkpoint_seq = __atomic_load_n(&eng->newest_ckpt_seq, __ATOMIC_ACQUIRE);
    st.syncs = __atomic_load_n(&eng->log.syncs, __ATOMIC_RELAXED);
    st.checkpoint_bytes = __atomic_load_n(&eng->ckpt_disk_bytes, __ATOMIC_RELAXED);
    st.reserve_bytes = __atomic_load_n(&eng->reserve_bytes, __ATOMIC_RELAXED);
    st.disk_bytes = arena_bytes(&eng->arena) + st.checkpoint_bytes;
    st.pinned_segments = arena_pinned(&eng->arena);
    pthread_mutex_lock(&eng->misc_lock);
    st.holds = eng->holds;
    st.last_compaction = eng->last_compaction;
    st.compaction_duration_ms = eng->last_compaction_ms;
    st.compaction_seconds = eng->compaction_seconds;
    st.sync_seconds = eng->sync_seconds;
    memcpy(st.read_only_reason, eng->read_only_reason, sizeof st.read_only_reason);
    memcpy(st.last_error, eng->last_error, sizeof st.last_error);
    pthread_mutex_unlock(&eng->misc_lock);
    *ret_st = st;
    return 0;
}

int eng_statfs(struct eng *eng, struct eng_statfs *ret_st)
{
    struct io_space space;
    uint64_t total, live, inodes;
    int r = eng->io->ops->space(eng->io, &space);
    if (r)
        return r;
    pthread_rwlock_rdlock(&eng->index_lock);
    total = eng->idx.s.total;
    live = eng->idx.s.live;
    inodes = eng->idx.s.n_files + eng->idx.s.n_dirs + eng->idx.s.n_others;
    pthread_rwlock_unlock(&eng->index_lock);
    uint64_t dead = total - live; /* compaction gives it back when it is needed */
    struct eng_statfs st = {.block_size = BLOCK_SIZE};
    st.bfree = (space.free_bytes + dead) / BLOCK_SIZE;
    st.bavail = (space.avail_bytes + dead) / BLOCK_SIZE;
    st.blocks = MAX_OF(space.total_bytes / BLOCK_SIZE, st.bfree);
    st.ffree = MIN_OF((uint64_t)UINT32_MAX - inodes, st.bavail);
    st.files = inodes + st.ffree;
    *ret_st = st;
    return 0;
}

int eng_segments(struct eng *eng, int (*emit)(void *arg, const struct eng_segment_info *info), void *arg)
{
    pthread_mutex_lock(&eng->log.lock);
    uint32_t used = eng->idx.segs.used;
    CLEANUP_FREE struct eng_segment_info *infos = calloc(used, sizeof *infos);
    size_t n = 0;
    for (uint32_t i = 1; infos && i < used; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        if (!seg->id)
            continue;
        infos[n++] = (struct eng_segment_info){.id = seg->id,
                                               .size = arena_size_of(&eng->arena, seg->id),
                                               .total = seg->total,
                                               .live = seg->live,
                                               .active = eng->log.active && eng->log.active->id == seg->id,
                                               .survivors = seg->kind == SEGMENT_SURVIVORS,
                                               .pending = !seg->live && seg->total};
    }
    pthread_mutex_unlock(&eng->log.lock);
    if (!infos)
        return -ENOMEM;
    for (size_t i = 1; i < n; i++) { /* nearly sorted: records are reused */
        struct eng_segment_info x = infos[i];
        size_t j = i;
        for (; j > 0 && infos[j - 1].id > x.id; j--)
            infos[j] = infos[j - 1];
        infos[j] = x;
    }
    for (size_t i = 0; i < n && !emit(arg, &infos[i]); i++)
        ;
    return 0;
}
