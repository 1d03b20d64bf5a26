/*
 * trust.c - see trust.h. State: that of the target. */
#include "ctl/transfer/trust.h"

#include "ctl/transfer/guarded.h"
#include "ctl/transfer/mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define NOBODY UINT32_MAX /* in owner and owner_gid */
#define NOTE_OWNER "\nowner "
#define NOT_ROOTS "the store is not root's (--trust takes it over)"
const char trust_why_attribute[] = "is left out: " NOT_ROOTS;

static bool is_roots(const struct stat *st)
{
    return st->st_uid == 0 && (S_ISLNK(st->st_mode) || !(st->st_mode & (S_IWGRP | S_IWOTH)));
}

/* Of a backup that root has made: who answers for the store. 1, 0: the note has none, or -errno: nobody
 * knows. */
static int read_owner(int folder, struct target *t)
{
    char text[TRUST_NOTE_MAX + 1];
    struct stat st;
    int fd = openat(folder, TRUST_NOTE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (!r && !S_ISREG(st.st_mode))
        r = -EINVAL;
    ssize_t n = r ? 0 : pread(fd, text, TRUST_NOTE_MAX, 0);
    if (n < 0)
        r = -errno;
    close(fd);
    if (r < 0)
        return r;
    text[n] = '\0';
    const char *line = strstr(text, NOTE_OWNER);
    if (!line)
        return 0;
    uint32_t owner, group;
    if (sscanf(line + sizeof NOTE_OWNER - 1, "%" SCNu32 " %" SCNu32, &owner, &group) != 2)
        return -EINVAL;
    t->owner = owner;
    t->owner_gid = group;
    return 1;
}

int trust_owner_line(const struct target *t, char *line, size_t size)
{
    *line = '\0';
    if (!t->foreign)
        return 0;
    return snprintf(line, size, "%s%" PRIu32 " %" PRIu32 "\n", &NOTE_OWNER[1], t->owner, t->owner_gid);
}

int trust_write_note(int folder, const char *text, size_t len)
{
    (void)unlinkat(folder, TRUST_NOTE_PART, 0);
    int at = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = at < 0 ? -errno : 0;
    int fd = r ? -1 : openat(at, TRUST_NOTE_PART, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    ssize_t written = fd < 0 ? -1 : write(fd, text, len);
    if (!r && written != (ssize_t)len)
        r = written < 0 ? -errno : -ENOSPC;
    if (!r && fsync(fd) < 0)
        r = -errno;
    if (fd >= 0)
        close(fd);
    if (!r && renameat(at, TRUST_NOTE_PART, at, TRUST_NOTE) < 0)
        r = -errno;
    if (!r && fsync(at) < 0)
        r = -errno;
    if (at >= 0)
        close(at);
    return r;
}

int trust_hand_on(const struct target *t, int folder)
{
    char text[128] = "engramfs repair 1\n";
    size_t head = strlen(text);
    int n = geteuid() == 0 ? trust_owner_line(t, text + head, sizeof text - head) : 0;
    return n ? trust_write_note(folder, text, head + (size_t)n) : 0;
}

static void note_file(struct target *t, const struct stat *st)
{
    bool is_known = st->st_uid != 0 && (!t->foreign || t->owner == st->st_uid);
    bool is_same = !t->foreign || t->owner_gid == st->st_gid;
    t->foreign = true;
    t->owner = is_known ? st->st_uid : NOBODY;
    t->owner_gid = is_known && is_same ? st->st_gid : NOBODY;
}

/* Whose that file is, without asking anybody who may have mounted something there: -EXDEV. */
static int look_at(int folder, dev_t dev, const char *name, struct stat *ret_st)
{
    struct statx st;
    if (statx(folder, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
              STATX_UID | STATX_GID | STATX_MODE, &st) < 0)
        return -errno;
    *ret_st = (struct stat){.st_uid = st.stx_uid, .st_gid = st.stx_gid, .st_mode = st.stx_mode};
    return makedev(st.stx_dev_major, st.stx_dev_minor) == dev ? 0 : -EXDEV;
}

/* Whose files are in a folder of root's, on that device: `t` is theirs, and nobody's if they are of several.
 * Any one of them tells: her files may lack a superblock, or have root's, which a mount writes anew. */
static int note_files(struct target *t, int folder, dev_t dev)
{
    struct stat st = {0};
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int r = dir ? 0 : -errno;
    if (!dir && fd >= 0)
        close(fd);
    for (struct dirent *e; dir && !r && (errno = 0, e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        r = look_at(fd, dev, e->d_name, &st);
        if (!r && !is_roots(&st))
            note_file(t, &st);
        r = r == -ENOENT ? 0 : r;
    }
    if (!r)
        r = -errno;
    if (dir)
        closedir(dir);
    return r;
}

void trust_note_folder(struct target *t, int folder)
{
    struct stat st;
    t->foreign = true;
    t->owner = t->owner_gid = NOBODY;
    if (folder < 0 || fstat(folder, &st) < 0)
        return;
    uid_t user = mounts_user(folder);
    if (user) { /* whose daemon says whose it is */
        trust_note_user(t, user);
        return;
    }
    if (st.st_uid != 0) {
        t->owner = st.st_uid;
        t->owner_gid = st.st_gid;
    }
    if (!is_roots(&st)) /* root's, others can write there, and nobody knows who */
        return;
    t->foreign = false;
    int r = note_files(t, folder, st.st_dev);
    if (!r && !t->foreign)
        r = read_owner(folder, t);
    t->foreign = t->foreign || r;
    if (r < 0)
        t->owner = t->owner_gid = NOBODY;
}

void trust_note_user(struct target *t, uid_t user)
{
    if (!user)
        return;
    t->foreign = true;
    t->owner = user;
    const struct passwd *who = getpwuid(user);
    t->owner_gid = who ? who->pw_gid : NOBODY;
}

void trust_begin(struct target *t, bool all)
{
    t->limited = t->foreign && !all && geteuid() == 0;
    t->is_wary = !all && geteuid() == 0;
}

/* May the owner have files of that group run as it? */
static bool is_member(const struct target *t, gid_t gid)
{
    const struct passwd *who = t->owner != NOBODY ? getpwuid(t->owner) : NULL;
    int n = 0;
    if (gid == t->owner_gid && gid != NOBODY)
        return true;
    if (!who)
        return false;
    (void)getgrouplist(who->pw_name, who->pw_gid, NULL, &n);
    gid_t *all = n > 0 ? calloc((size_t)n, sizeof *all) : NULL;
    bool is = false;
    if (all && getgrouplist(who->pw_name, who->pw_gid, all, &n) >= 0)
        for (int i = 0; !is && i < n; i++)
            is = all[i] == gid;
    free(all);
    return is;
}

const char *trust_limit(const struct target *t, struct target_attr *attr)
{
    uint32_t before = attr->mode;
    if (!t->limited)
        return NULL;
    if (attr->mode & S_ISUID && (attr->uid != t->owner || attr->uid == NOBODY))
        attr->mode &= ~(uint32_t)S_ISUID;
    if (attr->mode & S_ISGID && !is_member(t, attr->gid))
        attr->mode &= ~(uint32_t)S_ISGID;
    return attr->mode != before ? "its set-ID bits are left out: " NOT_ROOTS : NULL;
}

const char *trust_refuses(const struct target *t, const struct target_attr *attr)
{
    bool is = t->limited && (S_ISCHR(attr->mode) || S_ISBLK(attr->mode));
    return is ? "a device, left out: " NOT_ROOTS : NULL;
}

bool trust_has_not(const struct target *t, const char *name)
{
    return t->limited && guarded_is(name);
}
