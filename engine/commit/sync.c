/*
 * sync.c - eng_sync() and eng_fsync(): all that was acknowledged becomes durable.
 */
#include "commit/commit.h"
#include "commit/flush.h"

int eng_sync(struct eng *eng)
{
    if (!eng)
        return -EINVAL;
    if (eng->opt.read_only)
        return 0;
    if (!is_read_only(eng))
        (void)commit_orphans(eng); /* on a full disk they wait: nothing that was acknowledged is missing */
    int r = flush_log(eng);
    return r == -ENOMEM ? r : r ? -EIO : 0;
}

int eng_fsync(struct eng *eng, uint64_t ino)
{
    (void)ino; /* one log: what came before becomes durable with it */
    if (!eng)
        return -EINVAL;
    if (eng->opt.read_only)
        return 0;
    log_count_fsync(&eng->log);
    int r = flush_log(eng);
    return r == -ENOMEM ? r : r ? -EIO : 0;
}
