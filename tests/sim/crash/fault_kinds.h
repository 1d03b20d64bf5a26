/*
 * fault_kinds.h - the faults that faults.c tries, and which operations each may keep from being done. */
#ifndef ENGRAMFS_TESTS_FAULT_KINDS_H
#define ENGRAMFS_TESTS_FAULT_KINDS_H

#include "simdisk.h"
#include "workload.h"

#include <errno.h>

struct fault {
    const char *name;
    enum sim_call call; /* which calls fail */
    int error;
    bool lasts;      /* from one call on, until the store cannot be opened or the workload has ended */
    unsigned sparse; /* each so many calls only; with `dense` every third at least */
};

/* Of the disk, and not of a call: from an operation on a file or a part of one cannot be read; the disk has
 * no room any more. */
enum { PLACE = SIM_N_CALLS + 1, FULL };

static const struct fault faults[] = {
    {"any-eio", SIM_ANY_CALL, EIO, false, 1},
    {"datasync-eio", SIM_DATASYNC, EIO, false, 1},
    {"syncdir-eio", SIM_SYNCDIR, EIO, false, 1},
    {"pwritev-enospc", SIM_PWRITEV, ENOSPC, false, 1},
    {"create-enospc", SIM_CREATE, ENOSPC, false, 1},
    {"allocate-enospc", SIM_ALLOCATE, ENOSPC, false, 1},
    {"pread-eio", SIM_PREAD, EIO, false, 1},
    {"rename-eio", SIM_RENAME, EIO, false, 1},
    {"unlink-eio", SIM_UNLINK, EIO, false, 1},
    {"open-eio", SIM_OPEN, EIO, false, 1},
    {"list-eio", SIM_LIST, EIO, false, 1},
    {"file-size-eio", SIM_FILE_SIZE, EIO, false, 1},
    {"lock-eio", SIM_LOCK, EIO, false, 1},
    {"space-eio", SIM_SPACE, EIO, false, 1},
    {"pread-eintr", SIM_PREAD, EINTR, false, 2},
    {"pwritev-eintr", SIM_PWRITEV, EINTR, false, 2},
    {"pread-short", SIM_PREAD, SIM_SHORT, false, 2},
    {"pwritev-short", SIM_PWRITEV, SIM_SHORT, false, 2},
    {"pwritev-edquot", SIM_PWRITEV, EDQUOT, false, 19},
    {"pwritev-efbig", SIM_PWRITEV, EFBIG, false, 19},
    {"pwritev-erofs", SIM_PWRITEV, EROFS, false, 19},
    {"pwritev-enomem", SIM_PWRITEV, ENOMEM, false, 19},
    {"datasync-enospc", SIM_DATASYNC, ENOSPC, false, 7},
    {"datasync-edquot", SIM_DATASYNC, EDQUOT, false, 7},
    {"syncdir-enospc", SIM_SYNCDIR, ENOSPC, false, 7},
    {"create-emfile", SIM_CREATE, EMFILE, false, 7},
    {"create-enfile", SIM_CREATE, ENFILE, false, 7},
    {"open-emfile", SIM_OPEN, EMFILE, false, 7},
    {"open-enfile", SIM_OPEN, ENFILE, false, 7},
    {"open-enomem", SIM_OPEN, ENOMEM, false, 7},
    {"pread-enodata", SIM_PREAD, ENODATA, false, 19},
    {"pread-euclean", SIM_PREAD, EUCLEAN, false, 19},
    {"pread-enomem", SIM_PREAD, ENOMEM, false, 19},
    {"rename-enospc", SIM_RENAME, ENOSPC, false, 1},
    {"unlink-erofs", SIM_UNLINK, EROFS, false, 7},
    {"file-size-euclean", SIM_FILE_SIZE, EUCLEAN, false, 7},
    {"list-enomem", SIM_LIST, ENOMEM, false, 7},
    {"all-eio", SIM_ANY_CALL, EIO, true, 37},
    {"all-erofs", SIM_ANY_CALL, EROFS, true, 37},
    {"all-pwritev-enospc", SIM_PWRITEV, ENOSPC, true, 19},
    {"all-pwritev-edquot", SIM_PWRITEV, EDQUOT, true, 37},
    {"all-pwritev-efbig", SIM_PWRITEV, EFBIG, true, 37},
    {"all-pwritev-eio", SIM_PWRITEV, EIO, true, 19},
    {"all-pwritev-short", SIM_PWRITEV, SIM_SHORT, true, 37},
    {"all-datasync-eio", SIM_DATASYNC, EIO, true, 7},
    {"all-syncdir-eio", SIM_SYNCDIR, EIO, true, 7},
    {"all-create-enospc", SIM_CREATE, ENOSPC, true, 7},
    {"all-create-emfile", SIM_CREATE, EMFILE, true, 7},
    {"all-create-enfile", SIM_CREATE, ENFILE, true, 7},
    {"all-open-emfile", SIM_OPEN, EMFILE, true, 7},
    {"all-open-enfile", SIM_OPEN, ENFILE, true, 7},
    {"all-open-enomem", SIM_OPEN, ENOMEM, true, 7},
    {"all-pread-eio", SIM_PREAD, EIO, true, 11},
    {"all-pread-enodata", SIM_PREAD, ENODATA, true, 19},
    {"all-pread-euclean", SIM_PREAD, EUCLEAN, true, 19},
    {"all-pread-enomem", SIM_PREAD, ENOMEM, true, 19},
    {"all-pread-short", SIM_PREAD, SIM_SHORT, true, 37},
    {"all-allocate-enospc", SIM_ALLOCATE, ENOSPC, true, 1},
    {"all-rename-erofs", SIM_RENAME, EROFS, true, 1},
    {"all-unlink-erofs", SIM_UNLINK, EROFS, true, 7},
    {"all-list-eio", SIM_LIST, EIO, true, 7},
    {"all-file-size-eio", SIM_FILE_SIZE, EIO, true, 11},
    {"all-lock-eio", SIM_LOCK, EIO, true, 1},
    {"all-space-eio", SIM_SPACE, EIO, true, 11},
    {"place-eio", (enum sim_call)PLACE, EIO, true, 3},
    {"full", (enum sim_call)FULL, ENOSPC, true, 3},
};
#define N_FAULTS (sizeof(faults) / sizeof(faults[0]))

/* Whether the fault may have made a flush fail, or the sync of a folder: what follows is then refused (I11).
 */
static bool may_stay(const struct fault *fault)
{
    return fault &&
           (fault->call == SIM_DATASYNC || fault->call == SIM_SYNCDIR || fault->call == SIM_ANY_CALL);
}

static bool is_of_disk(const struct fault *fault)
{
    return fault->call > SIM_ANY_CALL;
}

static bool reads(enum sim_call call)
{
    return call == (enum sim_call)PLACE || call == SIM_PREAD || call == SIM_OPEN || call == SIM_FILE_SIZE;
}

static bool op_asks_for_flush(enum op_kind kind)
{
    return kind == OP_FSYNC || kind == OP_SYNC || kind == OP_TICK || kind == OP_REOPEN;
}

static bool is_of_medium(int error)
{
    return error == EIO || error == ENODATA || error == EUCLEAN;
}

#define KIND(kind) (UINT64_C(1) << (kind))

/* Whether the operation needs calls of that kind; all others must not be kept from anything by them. `kept`:
 * there are snapshots, of what they show removing gives no room. */
static bool may_fail(enum sim_call call, enum op_kind kind, bool kept)
{
    const uint64_t asks = KIND(OP_FSYNC) | KIND(OP_SYNC) | KIND(OP_REF) | KIND(OP_FORGET) | KIND(OP_RECLAIM) |
                          KIND(OP_ACCESS) | KIND(OP_SCRUB);
    uint64_t may = KIND(OP_REOPEN) | KIND(OP_COMPACT) | KIND(OP_TICK) | KIND(OP_CONFIG);
    if (reads(call))
        may |= KIND(OP_WRITE) | KIND(OP_APPEND) | KIND(OP_TRUNCATE) | KIND(OP_WRITE_REF) | KIND(OP_FORGET) |
               KIND(OP_SCRUB) | KIND(OP_RESTORE) | KIND(OP_ROLLBACK);
    else if (call == (enum sim_call)FULL) /* what was there stays readable, and can be removed and synced */
        may = ~(asks | (kept ? 0 : KIND(OP_UNLINK) | KIND(OP_RMDIR)) | KIND(OP_REMOVEXATTR) |
                KIND(OP_REOPEN) | KIND(OP_SNAPSHOT_DROP));
    else if (call == SIM_LIST)
        may |= KIND(OP_SCRUB);
    else if (call == SIM_PWRITEV || call == SIM_CREATE || call == SIM_ALLOCATE)
        may = ~asks;
    else if (call == SIM_DATASYNC || call == SIM_SYNCDIR || call == SIM_ANY_CALL)
        may = UINT64_MAX;
    else if (call == SIM_RENAME) /* the first one writes the superblock anew */
        may |= KIND(OP_SNAPSHOT);
    return may >> kind & 1;
}

#endif
