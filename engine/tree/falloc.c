/*
 * falloc.c - holes, and sizes without content. */
#include "commit/commit.h"
#include "index/extents.h"
#include "tree/content.h"
#include "tree/gather.h"
#include "tree/tails.h"
#include "upkeep/full_disk.h"

/* A call of eng_fallocate(), which takes as many batches as there are slices to a hole. */
struct falloc {
    uint64_t ino, off, end; /* off: up to here it is done */
    unsigned flags;
    bool done, blocked; /* blocked: by the file's tail */
    bool no_zeros;      /* there is no room to write them */
    uint64_t zeros;     /* what lies before that is to be written as zeros; 0: nothing */
};

/* Where to stop before `end`: a part of a crowded block is no hole but zeros, so that the block is written
 * anew, in one extent. */
static uint64_t before_zeros(const struct eng *eng, struct falloc *f)
{
    uint64_t size = index_inode(&eng->idx, f->ino)->size;
    uint64_t first = f->off - f->off % BLOCK_SIZE, last = f->end - f->end % BLOCK_SIZE;
    f->zeros = 0;
    if (f->no_zeros || f->off == f->end)
        return f->end;
    if ((first < f->off || f->end < MIN_OF(first + BLOCK_SIZE, size)) &&
        gather_is_crowded(eng, &eng->idx, f->ino, first)) {
        f->zeros = MIN_OF(f->end, first + BLOCK_SIZE);
        return f->off;
    }
    bool within = last > f->off && last < f->end && f->end < size;
    return within && gather_is_crowded(eng, &eng->idx, f->ino, last) ? last : f->end;
}

static int stage_hole(struct eng *eng, struct txn *txn, struct falloc *f, int64_t now)
{
    uint64_t end = before_zeros(eng, f);
    uint32_t n;
    if (f->off == end)
        return 0;
    uint64_t wanted = end;
    int r = extents_count(&eng->idx, ino_slot(f->ino), f->off, end, eng_cut(eng), &n, &end);
    /* Between two blocks, so that the next slice does not begin with zeros. */
    if (end != wanted && end - end % BLOCK_SIZE > f->off)
        end -= end % BLOCK_SIZE;
    struct op *op = r ? NULL : txn_op(txn, OP_PUNCH);
    if (!op)
        return r ? r : -ENOMEM;
    op->ino = f->ino;
    op->off = f->off;
    op->len = end - f->off;
    op->time = now;
    txn->n_freed += n;
    f->off = end;
    return 0;
}

static int stage_falloc(struct eng *eng, struct txn *txn, struct falloc *f)
{
    const struct inode_rec *inode = index_inode(&eng->idx, f->ino);
    int64_t now = now_ns();
    struct op *op;
    int r = 0;
    if (f->flags & (ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_ZERO_RANGE))
        r = stage_hole(eng, txn, f, now);
    else
        f->off = f->end;
    f->done = f->off == f->end;
    if (r || !f->done)
        return r;
    if (!(f->flags & ENG_FALLOC_KEEP_SIZE) && f->end > inode->size) {
        if (!(op = txn_op(txn, OP_TRUNCATE)))
            return -ENOMEM;
        op->ino = f->ino;
        op->len = f->end;
        op->time = now;
    }
    if (!txn->n_ops) { /* nothing to do on a log, but whoever asked changed the file, as anywhere else */
        if (!(op = txn_op(txn, OP_ATTR)))
            return -ENOMEM;
        op->ino = f->ino;
        op->mask = ENG_SET_MTIME;
        op->mtime = op->ctime = now;
    }
    return 0;
}

/* One batch of it. */
static int falloc_step(struct eng *eng, struct falloc *f)
{
    CLEANUP_TXN struct txn txn = {0};
    struct falloc next = *f;
    int r = commit_begin(eng);
    if (r)
        return r;
    const struct inode_rec *inode = index_inode(&eng->idx, f->ino);
    if (!inode)
        r = -ESTALE;
    else if (!S_ISREG(inode->mode))
        r = S_ISDIR(inode->mode) ? -EISDIR : -ENODEV;
    next.blocked = !(f->flags & ENG_FALLOC_KEEP_SIZE) && tail_in_way(eng, f->ino, f->end);
    if (!r && !next.blocked)
        r = stage_falloc(eng, &txn, &next);
    if (!r && !next.blocked && txn.n_ops)
        r = commit_txn(eng, &txn);
    if (!r)
        *f = next;
    return commit_end(eng, r);
}

/* The part of a hole that is zeros, up to the end of the file. Without room for them it is a hole. */
static int write_zeros(struct eng *eng, struct falloc *f)
{
    static const uint8_t zeros[BLOCK_SIZE];
    struct eng_attr attr;
    int r = eng_getattr(eng, f->ino, &attr);
    uint64_t end = r ? 0 : MIN_OF(f->zeros, attr.size);
    ssize_t n = end > f->off ? eng_write(eng, f->ino, zeros, end - f->off, f->off) : 0;
    f->no_zeros = n == -ENOSPC || n == -EAGAIN;
    if (r || (n < 0 && !f->no_zeros))
        return r ? r : (int)n;
    if (!f->no_zeros)
        f->off = f->zeros;
    f->zeros = 0;
    return 0;
}

int eng_fallocate(struct eng *eng, uint64_t ino, unsigned flags, uint64_t offset, uint64_t len)
{
    if (!eng)
        return -EINVAL;
    struct falloc f = {.ino = ino, .off = offset, .flags = flags};
    unsigned mode = flags & ~(unsigned)ENG_FALLOC_KEEP_SIZE;
    if (mode != 0 && mode != ENG_FALLOC_ZERO_RANGE && flags != (ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE))
        return -EOPNOTSUPP;
    if (!len)
        return -EINVAL;
    if (__builtin_add_overflow(offset, len, &f.end) || f.end > ENG_FILE_SIZE_MAX)
        return -EFBIG;
    struct full_disk_try change = {.removing = flags & ENG_FALLOC_PUNCH_HOLE};
    int r;
    do {
        r = falloc_step(eng, &f);
        if (!r && f.blocked)
            r = commit_tail(eng, ino);
        else if (!r && f.zeros)
            r = write_zeros(eng, &f);
    } while (full_disk_again(eng, &change, &r) || (!r && !f.done));
    return r;
}
