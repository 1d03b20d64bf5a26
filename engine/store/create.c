/*
 * create.c - the superblock: written for a new store, read and mended of one
 * that is there; and the first batch of a new store. */
#include "commit/commit.h"
#include "commit/flush.h"
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
                            .incompat = FORMAT_INCOMPAT,
                            .segment_size =
                                eng->opt.segment_size ? eng->opt.segment_size : ENG_SEGMENT_SIZE_DEFAULT,
                            .created = now_ns()};
    if (getrandom(sb.uuid, sizeof sb.uuid, 0) < 0 || getrandom(&sb.hash_seed, sizeof sb.hash_seed, 0) < 0)
        return -errno;
    uint8_t image[2 * SUPERBLOCK_SIZE];
    superblock_encode(&sb, image);
    r = io_replace_file(eng->io, SUPERBLOCK_FILE, image, sizeof image);
    if (r)
        snprintf(why, 256, "cannot create the store: %s", strerror(-r));
    return r;
}

/* One damaged copy is made good by the other as soon as the store may be written: the next damage may hit
 * that. */
static void mend_superblock(struct eng *eng, const uint8_t *data, size_t size)
{
    uint8_t image[2 * SUPERBLOCK_SIZE];
    superblock_encode(&eng->sb, image);
    if (size == sizeof image && memcmp(data, image, size) == 0)
        return;
    int r = eng->opt.read_only ? -EROFS : io_replace_file(eng->io, SUPERBLOCK_FILE, image, sizeof image);
    report_line(&eng->report, ENG_LOG_WARNING, "superblock: one copy is damaged; %s",
                r ? "the other serves" : "rewritten from the other");
}

/* Each copy by itself: one that cannot be read is zeros, as long as the other can be. */
static int read_superblock(struct eng *eng, uint8_t data[2 * SUPERBLOCK_SIZE], size_t *ret_size)
{
    const struct eng_io_ops *ops = eng->io->ops;
    struct io_file *file;
    uint64_t size = 0;
    unsigned n_bad = 0;
    memset(data, 0, (size_t)2 * SUPERBLOCK_SIZE);
    int r = ops->open(eng->io, SUPERBLOCK_FILE, IO_RDONLY, &file);
    if (r)
        return r;
    r = ops->file_size(file, &size);
    if (!r && size > (uint64_t)2 * SUPERBLOCK_SIZE)
        r = -EFBIG;
    for (uint64_t at = 0; !r && at < size; at += SUPERBLOCK_SIZE) {
        size_t len = (size_t)MIN_OF(size - at, (uint64_t)SUPERBLOCK_SIZE);
        ssize_t n = io_pread_full(file, ops, data + at, len, at);
        if (n == -EIO)
            memset(data + at, 0, len);
        r = n < 0 && (n != -EIO || ++n_bad == 2) ? (int)n : 0;
    }
    ops->close(file);
    *ret_size = (size_t)size;
    return r;
}

int create_or_load(struct eng *eng, char why[256])
{
    uint8_t data[2 * SUPERBLOCK_SIZE];
    size_t size = 0;
    int r = read_superblock(eng, data, &size);
    if (r == -ENOENT && !eng->opt.must_exist && !eng->opt.read_only) {
        r = create_superblock(eng, why);
        if (r)
            return r;
        r = read_superblock(eng, data, &size);
    }
    if (eng->opt.salvage && (r == -EIO || r == -ENOENT || r == -EFBIG || io_is_no_file(r)))
        return salvage_identity(eng, why);
    if (r) {
        snprintf(why, 256, r == -ENOENT ? "not a store: it has no file named superblock" : "superblock: %s",
                 strerror(-r));
        return r;
    }
    r = superblock_decode(data, size, &eng->sb);
    if (!r)
        mend_superblock(eng, data, size);
    if (r == -EBADMSG && eng->opt.salvage)
        return salvage_identity(eng, why);
    if (r == -EPROTONOSUPPORT)
        snprintf(why, 256,
                 "superblock: unknown format version or feature; this is engramfs " ENG_VERSION
                 " with format %u; use a newer one",
                 FORMAT_VERSION);
    else if (r || eng->sb.segment_size < ENG_SEGMENT_SIZE_MIN ||
             eng->sb.segment_size > ENG_SEGMENT_SIZE_MAX) {
        snprintf(why, 256, "superblock: both copies are damaged; restore the file from a copy");
        r = -EBADMSG;
    }
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
    r = commit_txn(eng, &txn);
    commit_end(eng);
    return r ? r : flush_log(eng);
}
