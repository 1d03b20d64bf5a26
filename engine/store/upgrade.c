/*
 * upgrade.c - a store of version 1 becomes one of today's, the first time that it is opened for writing.
 *
 * Of its files all are read as they are, but for checkpoints. So the index, recovered, is written as a
 * checkpoint of today's format beside those of version 1; once that is durable the superblock is replaced,
 * behind its copy, and once both are durable the old checkpoints go. Whatever stops this leaves a store of
 * the version that its superblock says, whole: until then an older program finds all that it had, and beside
 * it files that it cannot use, of which neither makes anything. The next opening for writing begins anew.
 *
 * Runs before any thread starts; nothing has been written to the log yet. */
#include "core/reserve.h"
#include "disk/superblock_file.h"
#include "image/checkpoint.h"
#include "store/store.h"

#include <stdio.h>

static int replace_superblock(struct eng *eng)
{
    struct superblock sb = eng->sb;
    sb.version = FORMAT_VERSION;
    int r = superblock_replace(eng->io, &sb);
    while (r == -ENOSPC && reserve_spend(eng, RESERVE_ALL))
        r = superblock_replace(eng->io, &sb);
    if (!r)
        eng->sb = sb;
    return r;
}

int upgrade_store(struct eng *eng, char why[256])
{
    uint32_t from = eng->sb.version;
    if (from == FORMAT_VERSION)
        return 0;
    bool is_empty = eng->log.seq == 0;
    int r = is_empty || MUTANT(UPGRADE_UNSAVED) ? 0 : checkpoint_write(eng);
    if (!r)
        r = replace_superblock(eng);
    if (r) {
        snprintf(why, 256,
                 "the upgrade from format %u to %u failed: %s; the store is as it was%s, and can be opened "
                 "read-only",
                 from, FORMAT_VERSION, strerror(-r),
                 r == -ENOSPC ? "; make room for twice what its checkpoints take" : "");
        return r;
    }
    report_line(&eng->report, ENG_LOG_INFO,
                "upgraded from format %u to %u: programs that know only the former refuse this store now",
                from, FORMAT_VERSION);
    checkpoint_clean(eng);
    return 0;
}
