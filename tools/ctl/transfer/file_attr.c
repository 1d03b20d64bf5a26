/*
 * file_attr.c - see file_attr.h. No state. */
#include "ctl/transfer/file_attr.h"

#include "ctl/transfer/beneath.h"
#include "ctl/transfer/guarded.h"
#include "ctl/transfer/same.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static struct timespec from_ns(int64_t ns)
{
    struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    if (ns == TARGET_NOW)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (ts.tv_nsec < 0) {
        ts.tv_nsec += 1000000000;
        ts.tv_sec--;
    }
    return ts;
}

static bool has_xattr(const struct eng_record *rec, const char *name)
{
    for (size_t i = 0; i < rec->n_xattrs; i++)
        if (!strcmp(rec->xattrs[i].name, name))
            return true;
    return false;
}

ssize_t file_list_xattrs(const struct target *t, int fd, char *list, size_t size)
{
    ssize_t n = flistxattr(fd, list, size);
    if (n >= 0)
        return n;
    return errno == ENOTSUP && t->kind != TARGET_MOUNT ? 0 : -errno;
}

int file_remove_stale_xattrs(const struct target *t, int fd, const struct eng_record *rec)
{
    char list[ENG_XATTR_LIST_MAX];
    ssize_t n = file_list_xattrs(t, fd, list, sizeof list);
    if (n < 0)
        return (int)n;
    for (const char *s = list; s < list + n; s += strlen(s) + 1)
        if (!strncmp(s, "user.", 5) && !has_xattr(rec, s) && fremovexattr(fd, s) < 0 && errno != ENODATA)
            return -errno;
    return 0;
}

/* ext4 says ENOSPC where all attributes of a file do not fit its one block: that is no full disk. */
int file_set_xattr(int fd, const char *name, const void *value, size_t size)
{
    if (fsetxattr(fd, name, value, size, 0) == 0)
        return 0;
    return errno == ENOSPC ? -E2BIG : -errno;
}

int file_set_xattrs(int fd, const struct eng_record *rec)
{
    for (size_t i = 0; i < rec->n_xattrs; i++) {
        if (guarded_is(rec->xattrs[i].name))
            continue;
        int r = file_set_xattr(fd, rec->xattrs[i].name, rec->xattrs[i].value, rec->xattrs[i].size);
        if (r < 0)
            return r;
    }
    return 0;
}

int file_set_guarded(struct target *t, int fd, const struct eng_record *rec)
{
    int r = 0;
    for (size_t i = 0; !r && i < rec->n_xattrs; i++) {
        const struct eng_xattr_pair *x = &rec->xattrs[i];
        int e = guarded_is(x->name) ? file_set_xattr(fd, x->name, x->value, x->size) : 0;
        r = e < 0 ? guarded_refuse(t, rec->name, x->name, e) : 0;
    }
    return r;
}

bool file_gives_away(uint32_t uid, uint32_t gid)
{
    return geteuid() == 0 && (uid != 0 || gid != getegid());
}

/* The order matters: chown clears set-ID bits. */
int file_settle(int fd, const struct eng_record *rec, const struct stat *made)
{
    struct stat st = made ? *made : (struct stat){0};
    bool away = file_gives_away(rec->uid, rec->gid);
    if (away && fchown(fd, rec->uid, rec->gid) < 0)
        return -errno;
    if (made && away) {
        st.st_uid = rec->uid;
        st.st_gid = rec->gid;
    }
    if (!made && fstat(fd, &st) < 0)
        return -errno;
    uint32_t mode = same_mode(rec->mode, rec->uid, rec->gid, st.st_uid, st.st_gid);
    if (mode != (st.st_mode & 07777) && fchmod(fd, mode) < 0)
        return -errno;
    if (rec->mtime == TARGET_NOW)
        return 0;
    struct timespec ts = from_ns(rec->mtime), both[2] = {ts, ts};
    return futimens(fd, both) < 0 ? -errno : 0;
}

int file_set_attr(int fd, const struct stat *st, const struct target_attr *attr, unsigned mask)
{
    uint32_t uid = st->st_uid, gid = st->st_gid;
    if ((mask & (ENG_SET_UID | ENG_SET_GID)) && geteuid() == 0) {
        uid = mask & ENG_SET_UID ? attr->uid : uid;
        gid = mask & ENG_SET_GID ? attr->gid : gid;
        if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
            return -errno;
    }
    if ((mask & ENG_SET_MODE) && !S_ISLNK(st->st_mode)) {
        int r = beneath_chmod(fd, same_mode(attr->mode, attr->uid, attr->gid, uid, gid));
        if (r < 0)
            return r;
    }
    if (!(mask & (ENG_SET_ATIME | ENG_SET_MTIME)))
        return 0;
    struct timespec ts[2] = {from_ns(attr->atime), from_ns(attr->mtime)};
    if (!(mask & ENG_SET_ATIME))
        ts[0].tv_nsec = UTIME_OMIT;
    if (!(mask & ENG_SET_MTIME))
        ts[1].tv_nsec = UTIME_OMIT;
    return utimensat(fd, "", ts, AT_EMPTY_PATH) < 0 ? -errno : 0;
}
