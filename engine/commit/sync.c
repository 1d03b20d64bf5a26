/*
 * sync.c - eng_sync() and eng_fsync(): all that was acknowledged becomes durable. */
#include "commit/commit.h"
#include "commit/flush.h"

/* flush_log(), with an error that a caller of fsync(2) expects. */
static int flush_all(struct eng *eng)
{
    int r = flush_log(eng);
    return r && r != -ENOMEM ? -EIO : r;
}

int eng_sync(struct eng *eng)
{
    if (!eng)
        return -EINVAL;
    if (eng->opt.read_only)
        return 0;
    if (!is_read_only(eng))
        (void)commit_orphans(eng); /* a full disk keeps them; nothing acknowledged is missing then */
    return flush_all(eng);
}

int sync_some(struct eng *eng)
{
    if (!is_read_only(eng) && MUTANT(CLOSE_FREES_ALL))
        (void)commit_orphans(eng);
    else if (!is_read_only(eng))
        commit_some_orphans(eng);
    return flush_all(eng);
}

int eng_fsync(struct eng *eng, uint64_t ino)
{
    (void)ino; /* there is one log: all of it becomes durable */
    if (!eng)
        return -EINVAL;
    if (eng->opt.read_only)
        return 0;
    log_count_fsync(&eng->log);
    return flush_all(eng);
}
