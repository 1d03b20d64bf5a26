/*
 * features.c - sets a bit of the superblock that an older program must refuse, in a store that is open.
 *
 * The bit is durable before anything that needs it is written: whatever a crash leaves of this, a program
 * that does not know the feature never meets its ops, tables or flags. It is never taken back.
 *
 * A copy of a held folder may have the superblock already. With the old one it would take the new ops for
 * a torn end: so no bit is set in a hold, and no hold begins meanwhile (checkpoint_exclude()). */
#include "commit/flush.h"
#include "core/keepers.h"
#include "disk/superblock_file.h"
#include "image/checkpoint.h"
#include "store/store.h"

/* The scrub, which heals, must not take for damage what is written here. */
static int replace_superblock(struct eng *eng, uint32_t bit)
{
    pthread_mutex_lock(&eng->superblock_lock);
    struct superblock sb = eng_superblock(eng);
    sb.incompat |= bit;
    int r = superblock_replace(eng->io, &sb);
    if (!r)
        atomic_store_explicit(&eng->incompat, sb.incompat, memory_order_release);
    pthread_mutex_unlock(&eng->superblock_lock);
    return r;
}

static int set_bit(struct eng *eng, uint32_t bit)
{
    if (keepers_holds(eng) && !MUTANT(BIT_IN_HOLD))
        return -EBUSY;
    int r = flush_log(eng);
    if (r)
        return r;
    if (MUTANT(BIT_LATE))
        atomic_fetch_or_explicit(&eng->incompat, bit, memory_order_release);
    fault_point(&eng->hook, FP_BIT_FLUSHED);
    r = replace_superblock(eng, bit);
    if (r && io_dir_failed(eng->io))
        (void)flush_log(eng); /* turns the store read-only: the folder may have lost names of others */
    return r;
}

int store_set_history(struct eng *eng)
{
    if (is_read_only(eng))
        return -EROFS;
    if (eng_has_history(eng)) /* for ever: nobody waits for the checkpoint that is being written */
        return 0;
    report_defer();
    checkpoint_exclude(eng);
    bool had = eng_has_history(eng);
    int r = had ? 0 : set_bit(eng, INCOMPAT_HISTORY);
    checkpoint_allow(eng);
    if (!r && !had)
        report_line(&eng->report, ENG_LOG_INFO,
                    "the store has a history now: programs that do not know that refuse it");
    report_flush(&eng->report);
    return r;
}
