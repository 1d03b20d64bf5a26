/*
 * attr.c - see attr.h. Also eng_getattr() and eng_accessed().
 */
#include "tree/attr.h"

#include "commit/atimes.h"

#define DAY_NS (INT64_C(86400) * 1000000000)

void attr_fill(const struct inode_rec *inode, uint32_t slot, struct eng_attr *ret_attr)
{
    bool device = S_ISBLK(inode->mode) || S_ISCHR(inode->mode);
    *ret_attr = (struct eng_attr){
        .ino = index_ino(inode, slot),
        .size = inode->size,
        .bytes = device ? 0 : inode->bytes,
        .rdev = device ? inode->bytes : 0,
        .atime = inode->atime,
        .mtime = inode->mtime,
        .ctime = inode->ctime,
        .btime = inode->btime,
        .mode = inode->mode,
        .nlink = inode->nlink + (S_ISDIR(inode->mode) && inode->nlink ? 1 : 0), /* its own "." */
        .uid = inode->uid,
        .gid = inode->gid,
        .version = inode->version,
        .generation = inode->generation,
    };
}

void attr_show(struct eng *eng, uint32_t slot, struct eng_attr *ret_attr)
{
    attr_fill(index_slot(&eng->idx, slot), slot, ret_attr);
    atimes_overlay(eng, ret_attr);
}

int eng_getattr(struct eng *eng, uint64_t ino, struct eng_attr *ret_attr)
{
    if (!eng || !ret_attr)
        return -EINVAL;
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    if (inode)
        attr_show(eng, ino_slot(ino), ret_attr);
    pthread_rwlock_unlock(&eng->index_lock);
    return inode ? 0 : -ESTALE;
}

/* The rule of relatime: an atime tells whether something was read since it changed, and the day. */
static bool is_stale(const struct eng_attr *attr, int64_t now)
{
    return attr->atime <= attr->mtime || attr->atime <= attr->ctime || now - attr->atime >= DAY_NS;
}

void eng_accessed(struct eng *eng, uint64_t ino)
{
    struct eng_attr attr;
    if (!eng || !eng->opt.relatime || is_read_only(eng))
        return;
    int64_t now = now_ns();
    if (eng_getattr(eng, ino, &attr) != 0 || !is_stale(&attr, now))
        return;
    for (unsigned tries = 0; tries < 2; tries++) {
        if (atimes_add(eng, ino, now))
            return;
        atimes_flush(eng); /* if that fails the time is not kept */
    }
}
