/*
 * fsfuzz_names.c - random operations on names and attributes (fsfuzz.h).
 *
 * Few names and low trees, so that operations meet: the same name is a file,
 * a folder, a link to itself, or nothing, one after the other. */
#include "fsfuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { NAMES = 6 };

/* ---- paths --------------------------------------------------------------- */

void pick_path(struct run *r, char path[PATH_CAP])
{
    uint64_t kind = below(r, 200);
    int depth = 1 + (kind >= 90) + (kind >= 170);
    size_t n = 0;
    path[0] = '\0';
    for (int i = 0; i < depth; i++)
        n += (size_t)snprintf(path + n, PATH_CAP - n, "%sn%llu", i ? "/" : "",
                              (unsigned long long)below(r, NAMES));
    if (kind == 197 || kind == 198) /* the longest name, and one too long */
        (void)snprintf(path + n, PATH_CAP - n, "/%0*d", kind == 197 ? 255 : 256, 7);
    else if (kind == 199)
        (void)snprintf(path + n, PATH_CAP - n, "/");
    else if (kind == 196)
        (void)snprintf(path + n, PATH_CAP - n, "/.");
    else if (kind == 195 && chance(r, 20))
        path[0] = '\0';
}

/* For calls that make or remove a name: there '..' is refused, so that it cannot lead out of the folder. */
static void pick_name(struct run *r, char path[PATH_CAP])
{
    pick_path(r, path);
    size_t n = strlen(path);
    if (below(r, 100) == 0 && n > 0 && n < PATH_CAP - 4)
        (void)snprintf(path + n, PATH_CAP - n, "/..");
}

/* ---- handles ------------------------------------------------------------- */

static void close_handle(struct run *r, struct handle *h)
{
    for (int s = 0; s < r->sides; s++)
        (void)close(h->fd[s]);
    h->used = false;
}

void close_all(struct run *r)
{
    for (int i = 0; i < HANDLES; i++)
        if (r->handles[i].used)
            close_handle(r, &r->handles[i]);
}

static int pick_flags(struct run *r)
{
    static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
    static const struct {
        int flag;
        unsigned percent;
    } extra[] = {{O_CREAT, 50},    {O_EXCL, 8},     {O_TRUNC, 8}, {O_APPEND, 15},
                 {O_DIRECTORY, 4}, {O_NOFOLLOW, 6}, {O_SYNC, 3},  {O_PATH, 1}};
    int flags = modes[below(r, 4)] | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    if (chance(r, 4))
        return flags | O_TMPFILE | (chance(r, 20) ? O_EXCL : 0);
    for (size_t i = 0; i < sizeof(extra) / sizeof(extra[0]); i++)
        if (chance(r, extra[i].percent))
            flags |= extra[i].flag;
    return flags;
}

static void do_open(struct run *r)
{
    static const mode_t modes[] = {0644, 0600, 0666, 0777, 0444, 0, 06755, 02755};
    struct handle *h = &r->handles[below(r, HANDLES)], new = {.used = true};
    if (h->used)
        close_handle(r, h);
    pick_path(r, new.path);
    const int flags = pick_flags(r);
    const mode_t mode = modes[below(r, 8)];
    say(r, "open handle %ld: %s flags %#o mode %#o", (long)(h - r->handles), new.path, flags, mode);
    watch(r, new.path, false);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        new.fd[s] = openat(r->root[s], new.path, flags, mode);
        record(r, s, new.fd[s]);
    }
    /* descriptors may differ */
    bool got = r->ret[OURS] >= 0;
    for (int s = 0; s < r->sides; s++)
        if (r->ret[s] >= 0)
            r->ret[s] = 0;
    act_end(r);
    if (got)
        *h = new;
}

static void do_close(struct run *r)
{
    struct handle *h = &r->handles[below(r, HANDLES)];
    if (!h->used)
        return;
    say(r, "close handle %ld", (long)(h - r->handles));
    close_handle(r, h);
}

/* ---- names --------------------------------------------------------------- */

/* ext4 makes a whiteout before it finds out that it cannot rename, and removes it again: its folder has new
 * times. */
static void same_times_again(struct run *r, const char *path)
{
    static const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    char folder[PATH_CAP];
    (void)snprintf(folder, sizeof(folder), "%s", path);
    size_t n = strlen(folder);
    while (n > 0 && folder[n - 1] == '/')
        folder[--n] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    for (int s = 0; s < r->sides; s++)
        (void)utimensat(r->root[s], slash ? folder : ".", times, 0);
}

static void do_rename(struct run *r)
{
    static const unsigned all_flags[] = {0,
                                         0,
                                         0,
                                         0,
                                         0,
                                         RENAME_NOREPLACE,
                                         RENAME_EXCHANGE,
                                         RENAME_EXCHANGE,
                                         RENAME_WHITEOUT,
                                         RENAME_NOREPLACE | RENAME_EXCHANGE};
    char from[PATH_CAP], to[PATH_CAP];
    pick_name(r, from);
    pick_name(r, to);
    const unsigned flags = all_flags[below(r, 10)];
    const bool whiteout = flags & RENAME_WHITEOUT;
    if (whiteout) { /* see same_times_again() */
        r->any_times = true;
        r->as_user = false;
    }
    say(r, "rename %s to %s flags %u", from, to, flags);
    watch(r, from, false);
    watch(r, to, false);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s,
               lies(r, s, "rename") ? 0 : syscall(SYS_renameat2, r->root[s], from, r->root[s], to, flags));
    if (whiteout && r->ret[REF] < 0)
        same_times_again(r, from);
    act_end(r);
}

static void do_link(struct run *r)
{
    char from[PATH_CAP], to[PATH_CAP];
    pick_path(r, from);
    pick_name(r, to);
    const int flags = chance(r, 20) ? AT_SYMLINK_FOLLOW : 0;
    say(r, "link %s to %s flags %d", from, to, flags);
    watch(r, from, flags != 0);
    watch(r, to, false);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, linkat(r->root[s], from, r->root[s], to, flags));
    act_end(r);
}

/* What a handle leads to, under a new name: of what has none only after O_TMPFILE. */
static void do_link_handle(struct run *r)
{
    const struct handle *h = &r->handles[below(r, HANDLES)];
    char from[64], to[PATH_CAP];
    if (!h->used)
        return;
    pick_name(r, to);
    say(r, "link handle %ld (%s) to %s", (long)(h - r->handles), h->path, to);
    watch(r, h->path, true);
    watch(r, to, false);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        (void)snprintf(from, sizeof(from), "/proc/self/fd/%d", h->fd[s]);
        record(r, s, linkat(AT_FDCWD, from, r->root[s], to, AT_SYMLINK_FOLLOW));
    }
    act_end(r);
}

static void do_symlink(struct run *r)
{
    char target[PATH_CAP], to[PATH_CAP];
    pick_path(r, target);
    pick_name(r, to);
    say(r, "symlink %s to %s", target, to);
    watch(r, to, false);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, symlinkat(target, r->root[s], to));
    act_end(r);
}

static void do_readlink(struct run *r)
{
    char path[PATH_CAP], target[SIDES][PATH_MAX];
    pick_path(r, path);
    const size_t size = chance(r, 10) ? 3 : PATH_MAX;
    say(r, "readlink %s into %zu bytes", path, size);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, readlinkat(r->root[s], path, target[s], size));
    act_end(r);
    if (r->ret[OURS] > 0)
        compare_bytes(r, path, target[OURS], target[REF], (size_t)r->ret[OURS]);
}

static void do_make(struct run *r)
{
    static const mode_t types[] = {S_IFDIR, S_IFDIR, S_IFDIR, S_IFREG, S_IFIFO, S_IFSOCK};
    static const mode_t modes[] = {0755, 0777, 0700, 02775, 01777, 0555, 0};
    char path[PATH_CAP];
    pick_name(r, path);
    const mode_t type = types[below(r, 6)], mode = modes[below(r, 7)];
    say(r, "make %s type %#o mode %#o", path, type, mode);
    watch(r, path, false);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s,
               type == S_IFDIR ? mkdirat(r->root[s], path, mode) : mknodat(r->root[s], path, type | mode, 0));
    act_end(r);
}

static void do_remove(struct run *r)
{
    char path[PATH_CAP];
    pick_name(r, path);
    const int flags = chance(r, 40) ? AT_REMOVEDIR : 0;
    say(r, "%s %s", flags ? "rmdir" : "unlink", path);
    watch(r, path, false);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, lies(r, s, "unlink") ? 0 : unlinkat(r->root[s], path, flags));
    act_end(r);
}

static void do_access(struct run *r)
{
    char path[PATH_CAP];
    pick_path(r, path);
    const int mode = (int)below(r, 8);
    say(r, "access %s mode %d", path, mode);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, faccessat(r->root[s], path, mode, AT_EACCESS));
    act_end(r);
}

static void do_list(struct run *r)
{
    char path[PATH_CAP];
    struct dirent **list[SIDES] = {NULL};
    pick_path(r, path);
    if (chance(r, 30))
        (void)snprintf(path, PATH_CAP, ".");
    say(r, "list %s", path);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, scandirat(r->root[s], path, &list[s], NULL, alphasort));
    act_end(r);
    for (long i = 0; list[OURS] && list[REF] && i < r->ret[OURS]; i++)
        if (strcmp(list[OURS][i]->d_name, list[REF][i]->d_name) != 0 ||
            list[OURS][i]->d_type != list[REF][i]->d_type)
            wrong(r, "%s: ours lists %s (%d), the reference %s (%d)", path, list[OURS][i]->d_name,
                  list[OURS][i]->d_type, list[REF][i]->d_name, list[REF][i]->d_type);
    for (int s = 0; s < r->sides; s++) {
        for (long i = 0; list[s] && i < r->ret[s]; i++)
            free(list[s][i]);
        if (r->ret[s] >= 0)
            free(list[s]);
    }
}

void op_names(struct run *r)
{
    static void (*const ops[])(struct run *) = {
        do_open,   do_open,   do_open,        do_open,    do_close,    do_rename, do_rename,
        do_rename, do_link,   do_link_handle, do_symlink, do_readlink, do_make,   do_make,
        do_remove, do_remove, do_list,        do_access,  do_link,
    };
    ops[below(r, sizeof(ops) / sizeof(ops[0]))](r);
}

/* ---- attributes ---------------------------------------------------------- */

static struct handle *live_handle(struct run *r)
{
    struct handle *h = &r->handles[below(r, HANDLES)];
    return h->used ? h : NULL;
}

static void do_chmod(struct run *r)
{
    static const mode_t modes[] = {0755, 0644, 0777, 0600, 0, 04755, 02755, 01777, 02777, 06711, 0440};
    char path[PATH_CAP] = "";
    struct handle *h = chance(r, 30) ? live_handle(r) : NULL;
    if (!h)
        pick_path(r, path);
    const mode_t mode = modes[below(r, 11)];
    say(r, "chmod %s to %#o", h ? h->path : path, mode);
    watch(r, h ? h->path : path, true);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        const mode_t m = lies(r, s, "chmod") ? mode ^ 1 : mode;
        record(r, s, h ? fchmod(h->fd[s], m) : fchmodat(r->root[s], path, m, 0));
    }
    act_end(r);
}

static void do_chown(struct run *r)
{
    static const uid_t owners[] = {0, 12345, 12345, (uid_t)-1};
    static const gid_t groups[] = {0, 12346, 12347, 54321, (gid_t)-1};
    char path[PATH_CAP];
    pick_path(r, path);
    const uid_t uid = owners[below(r, 4)];
    const gid_t gid = groups[below(r, 5)];
    const int flags = chance(r, 50) ? AT_SYMLINK_NOFOLLOW : 0;
    if (!r->opt->users || (uid == (uid_t)-1 && gid == (gid_t)-1))
        return;
    say(r, "chown %s to %d:%d%s", path, (int)uid, (int)gid, flags ? " nofollow" : "");
    watch(r, path, !flags);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, fchownat(r->root[s], path, uid, gid, flags));
    act_end(r);
}

/* Old times only: that is how they are told from natural ones. */
static struct timespec pick_time(struct run *r)
{
    if (chance(r, 15))
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (chance(r, 25))
        return (struct timespec){.tv_nsec = UTIME_OMIT};
    return (struct timespec){.tv_sec = (time_t)below(r, UINT64_C(3000000000)) - 1800000000,
                             .tv_nsec = (long)below(r, 1000000000)};
}

static void do_times(struct run *r)
{
    char path[PATH_CAP] = "";
    struct handle *h = chance(r, 30) ? live_handle(r) : NULL;
    if (!h)
        pick_path(r, path);
    const struct timespec times[2] = {pick_time(r), pick_time(r)};
    const int flags = !h && chance(r, 40) ? AT_SYMLINK_NOFOLLOW : 0;
    say(r, "utimens %s to %lld.%09ld, %lld.%09ld%s", h ? h->path : path, (long long)times[0].tv_sec,
        times[0].tv_nsec, (long long)times[1].tv_sec, times[1].tv_nsec, flags ? " nofollow" : "");
    watch(r, h ? h->path : path, !flags);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        struct timespec t[2] = {times[0], times[1]};
        if (t[1].tv_nsec < 1000000000 && t[1].tv_nsec > 0 && lies(r, s, "mtime"))
            t[1].tv_nsec--;
        record(r, s, h ? futimens(h->fd[s], t) : utimensat(r->root[s], path, t, flags));
    }
    act_end(r);
    struct stat st[SIDES];
    if (r->sides < SIDES || r->ret[OURS] || times[0].tv_nsec == UTIME_NOW || times[0].tv_nsec == UTIME_OMIT)
        return;
    for (int s = 0; s < SIDES; s++)
        if (h ? fstat(h->fd[s], &st[s]) : fstatat(r->root[s], path, &st[s], flags))
            wrong(r, "%s: %s", path, strerror(errno));
    if (st[OURS].st_atim.tv_sec != times[0].tv_sec || st[OURS].st_atim.tv_nsec != times[0].tv_nsec)
        wrong(r, "%s: atime is not what it was set to", path);
}

/* xattrs by path, of what a symlink leads to, or of the link itself. */
static void xattr_path(struct run *r, int side, const char *path, char whole[PATH_MAX])
{
    (void)snprintf(whole, PATH_MAX, "/proc/self/fd/%d/%s", r->root[side], path);
}

static const char *pick_xattr(struct run *r)
{
    static const char *const names[] = {"user.a",           "user.b",    "user.c",
                                        "user.longer.name", "trusted.t", "user."};
    return names[below(r, 6)];
}

static void do_setxattr(struct run *r)
{
    static const int all_flags[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};
    char path[PATH_CAP], whole[PATH_MAX];
    uint8_t value[512];
    pick_path(r, path);
    const char *name = pick_xattr(r);
    const int flags = all_flags[below(r, 4)];
    const bool follow = chance(r, 60);
    size_t size = below(r, chance(r, 30) ? 300 : 20);
    for (size_t i = 0; i < size; i++)
        value[i] = (uint8_t)below(r, 256);
    r->any_times = true; /* ext4 does not call it a change when the value is the same */
    say(r, "%ssetxattr %s %s, %zu bytes, flags %d", follow ? "" : "l", path, name, size, flags);
    watch(r, path, follow);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        size_t n = size > 1 && lies(r, s, "xattr") ? size - 1 : size;
        xattr_path(r, s, path, whole);
        record(r, s, (follow ? setxattr : lsetxattr)(whole, name, value, n, flags));
    }
    act_end(r);
}

static void do_getxattr(struct run *r)
{
    char path[PATH_CAP], whole[PATH_MAX];
    uint8_t value[SIDES][512];
    pick_path(r, path);
    const char *name = pick_xattr(r);
    const size_t size = chance(r, 20) ? 0 : chance(r, 20) ? 5 : sizeof(value[0]);
    say(r, "getxattr %s %s into %zu", path, name, size);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        xattr_path(r, s, path, whole);
        record(r, s, getxattr(whole, name, value[s], size));
    }
    act_end(r);
    if (r->ret[OURS] > 0 && size)
        compare_bytes(r, name, value[OURS], value[REF], (size_t)r->ret[OURS]);
}

static void do_removexattr(struct run *r)
{
    char path[PATH_CAP], whole[PATH_MAX];
    pick_path(r, path);
    const char *name = pick_xattr(r);
    say(r, "removexattr %s %s", path, name);
    watch(r, path, true);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        xattr_path(r, s, path, whole);
        record(r, s, removexattr(whole, name));
    }
    act_end(r);
}

static void do_listxattr(struct run *r)
{
    char path[PATH_CAP], whole[PATH_MAX], list[2000];
    pick_path(r, path);
    const size_t size = chance(r, 20) ? 0 : chance(r, 20) ? 8 : sizeof(list);
    say(r, "listxattr %s into %zu", path, size);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        xattr_path(r, s, path, whole);
        record(r, s, listxattr(whole, list, size));
    }
    act_end(r);
}

void op_attributes(struct run *r)
{
    static void (*const ops[])(struct run *) = {
        do_chmod,    do_chmod,    do_chown,    do_times,       do_times,
        do_setxattr, do_setxattr, do_getxattr, do_removexattr, do_listxattr,
    };
    ops[below(r, sizeof(ops) / sizeof(ops[0]))](r);
}
