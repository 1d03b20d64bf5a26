/*
 * stats.c - measures the figures that figures.c tells: statistics, file system space, segments. All are of
 * the moment of the call, none is kept twice. */
#include "commit/commit.h"
#include "core/keepers.h"
#include "core/look.h"
#include "core/reserve.h"
#include "core/totals.h"
#include "index/moments.h"
#include "index/times.h"
#include "store/store.h"
#include "upkeep/policy.h"

static uint64_t without(uint64_t all, int64_t kept)
{
    return all - MIN_OF((uint64_t)MAX_OF(kept, (int64_t)0), all);
}

static void index_figures(struct eng *eng, struct eng_stats *st)
{
    uint64_t gone;
    st->spent_bytes = totals_spent(eng, &gone);
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct index *idx = &eng->idx;
    st->live_bytes = idx->s.live;
    st->total_bytes = MAX_OF(idx->s.total - MIN_OF(gone, idx->s.total), st->live_bytes);
    st->fragmentation_ratio = policy_fragmentation(st->total_bytes + st->spent_bytes, st->live_bytes);
    st->memories = without(idx->s.n_files, idx->kept.files);
    st->directories = without(idx->s.n_dirs, idx->kept.dirs);
    st->other_inodes = without(idx->s.n_others, idx->kept.others);
    st->past_bytes = index_past_bytes(idx);
    st->snapshots = index_count_snapshots(idx);
    st->past_states = idx->s.n_past;
    st->past_names = idx->s.n_past_names;
    int64_t since = index_is_kept_whole(idx) ? index_time_of(idx, idx->s.floor) : TIME_UNKNOWN;
    st->past_since = since == TIME_UNKNOWN ? 0 : since;
    st->orphans = idx->n_orphans;
    st->index_bytes = chunk_pool_bytes(idx->pool) + chunk_pool_bytes(idx->ref_pool);
    st->index_unverified_bytes = loading_left(&eng->loading) * TABLE_CHUNK_SIZE;
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
    st->checkpoint_written = COUNTED(eng, checkpoint_written);
    st->damaged_extents = COUNTED(eng, damaged);
    st->recovery_damaged = COUNTED(eng, recovery_damaged);
    st->recovery_healed = COUNTED(eng, recovery_healed);
    st->recovery_echoed = COUNTED(eng, recovery_echoed);
    st->states_kept = COUNTED(eng, states_kept);
    st->states_amended = COUNTED(eng, states_amended);
    st->dropped_unseen = COUNTED(eng, past_dropped[0]);
    st->dropped_off = COUNTED(eng, past_dropped[FLOOR_OFF]);
    st->dropped_age = COUNTED(eng, past_dropped[FLOOR_AGE]);
    st->dropped_bytes = COUNTED(eng, past_dropped[FLOOR_BYTES]);
    st->dropped_versions = COUNTED(eng, past_dropped[FLOOR_VERSIONS]);
    st->dropped_full_disk = COUNTED(eng, past_dropped[FLOOR_FULL_DISK]);
}

int eng_stats_sized(struct eng *eng, struct eng_stats *ret_stats, size_t size)
{
    struct eng_stats st = {0};
    if (!eng || !ret_stats || !size)
        return -EINVAL;
    if (!is_read_only(eng))
        commit_some_orphans(eng); /* what was removed counts as removed */
    index_figures(eng, &st);
    counter_figures(eng, &st);
    st.log_seq = st.batches = log_seq(&eng->log);
    st.durable_seq = log_durable(&eng->log);
    st.checkpoint_seq = atomic_load_explicit(&eng->marks.newest_seq, memory_order_acquire);
    st.syncs = atomic_load_explicit(&eng->log.syncs, memory_order_relaxed);
    st.checkpoint_bytes = atomic_load_explicit(&eng->marks.disk_bytes, memory_order_relaxed);
    st.reserve_bytes = reserve_bytes(eng);
    st.echo_bytes = atomic_load_explicit(&eng->log.echo.bytes, memory_order_relaxed);
    st.echo_written = atomic_load_explicit(&eng->log.echo.written, memory_order_relaxed);
    st.echo_dropped = atomic_load_explicit(&eng->log.echo.dropped, memory_order_relaxed);
    st.disk_bytes = segments_bytes(&eng->segments) + st.checkpoint_bytes;
    st.pinned_segments = segments_pinned(&eng->segments);
    st.holds = keepers_holds(eng);
    report_get(&eng->report, st.read_only_reason, st.last_error);
    pthread_mutex_lock(&eng->counters.lock);
    st.last_compaction = eng->counters.last_compaction;
    st.compaction_duration_ms = eng->counters.last_compaction_ms;
    st.compaction_seconds = eng->counters.compaction_seconds;
    st.sync_seconds = eng->counters.sync_seconds;
    pthread_mutex_unlock(&eng->counters.lock);
    give_sized(ret_stats, size, &st, sizeof st);
    return 0;
}

int eng_statfs_sized(struct eng *eng, struct eng_statfs *ret_st, size_t size)
{
    struct io_space space;
    uint64_t total, live, inodes;
    if (!eng || !ret_st || !size)
        return -EINVAL;
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
    give_sized(ret_st, size, &st, sizeof st);
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct eng_segment_info *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

struct infos {
    struct eng_segment_info *all;
    size_t n, cap;
};

static int add_info(struct eng *eng, const struct seg_rec *seg, void *arg)
{
    struct infos *l = arg;
    int r = array_grow(&l->all, &l->cap, l->n + 1, sizeof *l->all);
    if (r)
        return r;
    l->all[l->n++] = (struct eng_segment_info){.id = seg->id,
                                               .size = segments_size_of(&eng->segments, seg->id),
                                               .total = totals_payload_locked(eng, seg),
                                               .live = seg->live,
                                               .active = eng->log.active && eng->log.active->id == seg->id,
                                               .survivors = seg->kind == SEGMENT_SURVIVORS,
                                               .pending = !seg->live && seg->total};
    return 0;
}

int eng_segments(struct eng *eng, int (*emit)(void *arg, const struct eng_segment_info *info), void *arg)
{
    struct infos l = {0};
    if (!eng || !emit)
        return -EINVAL;
    int r = look_at_segments(eng, add_info, &l);
    if (!r && l.n)
        qsort(l.all, l.n, sizeof *l.all, by_id);
    for (size_t i = 0; !r && i < l.n && !emit(arg, &l.all[i]); i++)
        ;
    free(l.all);
    return r;
}
