/*
 * create.c - the superblock: written for a new store, read and mended of one
 * that is there; and the first batch of a new store. */
#include "commit/commit.h"
#include "commit/flush.h"
#include "disk/superblock_file.h"
#include "image/salvage.h"
#include "store/store.h"

#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

/* 1 for a name that does not belong to a store that is about to be created. */
static int is_foreign(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, SUPERBLOCK_FILE) != 0 &&
           strncmp(name, SUPERBLOCK_FILE ".", sizeof SUPERBLOCK_FILE) != 0 && strcmp(name, "lost+found") != 0;
}

static int create_superblock(struct eng *eng, char why[256])
{
    int r = eng->io->ops->list(eng->io, is_foreign, NULL);
    if (r < 0)
        return r;
    if (r > 0) {
        snprintf(why, 256, "the folder is not empty and not a store (no file named superblock)");
        return -ENOTEMPTY;
    }
    struct superblock sb = {.version = FORMAT_VERSION,
                            .compat = FORMAT_COMPAT,
                            .segment_size =
                                eng->opt.segment_size ? eng->opt.segment_size : ENG_SEGMENT_SIZE_DEFAULT,
                            .created = now_ns()};
    if (getrandom(sb.uuid, sizeof sb.uuid, 0) < 0 || getrandom(&sb.hash_seed, sizeof sb.hash_seed, 0) < 0)
        return -errno;
    r = superblock_write(eng->io, &sb);
    if (r)
        snprintf(why, 256, "cannot create the store: %s", strerror(-r));
    return r;
}

/* What is damaged is made good as soon as the store may be written: the next damage may hit what is whole. A
 * store of version 1 has one file; what an unfinished upgrade has put beside it the next one writes. */
static void mend_superblock(struct eng *eng, const int errors[SUPERBLOCK_FILES])
{
    bool mends = !eng->opt.read_only && !MUTANT(COPY_UNMENDED);
    for (unsigned i = 0; i < SUPERBLOCK_FILES; i++) {
        if (!errors[i] || (i && eng->sb.version == FORMAT_VERSION_OLD))
            continue;
        bool missing = errors[i] == -ENOENT,
             mended = mends && superblock_write_file(eng->io, &eng->sb, i) == 0;
        if (errors[i] == -ESTALE) /* nothing is wrong with it */
            continue;
        enum eng_log_level level = missing && mended && i ? ENG_LOG_INFO : ENG_LOG_WARNING;
        const char *how = mended ? "written anew from the other copy" : "the other copy serves";
        report_line(&eng->report, level, "%s: it is %s; %s", superblock_names[i],
                    missing ? "missing" : "damaged", how);
    }
}

int create_or_load(struct eng *eng, char why[256])
{
    int errors[SUPERBLOCK_FILES];
    int r = superblock_read(eng->io, &eng->sb, errors);
    if (r == -ENOENT && !eng->opt.must_exist && !eng->opt.read_only) {
        r = create_superblock(eng, why);
        if (r)
            return r;
        r = superblock_read(eng->io, &eng->sb, errors);
    }
    if (!r && (eng->sb.segment_size < ENG_SEGMENT_SIZE_MIN || eng->sb.segment_size > ENG_SEGMENT_SIZE_MAX))
        r = -EBADMSG;
    if (!r)
        mend_superblock(eng, errors);
    if (eng->opt.salvage && (r == -EBADMSG || r == -EIO || r == -ENOENT || r == -EFBIG || io_is_no_file(r)))
        return salvage_identity(eng, why);
    if (r && r != -EBADMSG && r != -EPROTONOSUPPORT) {
        snprintf(why, 256, r == -ENOENT ? "not a store: it has no file named superblock" : "superblock: %s",
                 strerror(-r));
        return r;
    }
    if (r == -EPROTONOSUPPORT)
        snprintf(why, 256,
                 "superblock: unknown format version or feature; this is engramfs " ENG_VERSION
                 " with format %u; use a newer one",
                 FORMAT_VERSION);
    else if (r)
        snprintf(why, 256, "superblock: all copies are damaged; restore the file from a copy");
    return r;
}

int create_root(struct eng *eng)
{
    CLEANUP_TXN struct txn txn = {0};
    struct op *op = txn_op(&txn, OP_CREATE);
    if (!op)
        return -ENOMEM;
    op->ino = ENG_ROOT_INO;
    op->mode = S_IFDIR | 0755;
    op->uid = (uint32_t)geteuid();
    op->gid = (uint32_t)getegid();
    op->time = now_ns();
    int r = commit_begin(eng);
    if (r)
        return r;
    r = commit_end(eng, commit_txn(eng, &txn));
    return r ? r : flush_log(eng);
}
