/*
 * sync.c - eng_sync() and eng_fsync(): all that was acknowledged becomes durable. */
#include "commit/commit.h"
#include "commit/flush.h"

/* What callers get: they may try again after -ENOMEM, and after any other failure see -EIO (I11). */
static int sync_error(int r)
{
    return r && r != -ENOMEM ? -EIO : r;
}

int eng_sync(struct eng *eng)
{
    if (!eng)
        return -EINVAL;
    if (eng->opt.read_only)
        return 0;
    if (!is_read_only(eng))
        (void)commit_orphans(eng); /* on a full disk they wait: nothing that was acknowledged is missing */
    return sync_error(flush_log(eng));
}

int eng_fsync(struct eng *eng, uint64_t ino)
{
    (void)ino; /* one log: what came before becomes durable with it */
    if (!eng)
        return -EINVAL;
    if (eng->opt.read_only)
        return 0;
    log_count_fsync(&eng->log);
    return sync_error(flush_log(eng));
}
