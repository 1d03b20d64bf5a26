/*
 * replace.c - see replace.h. State: struct replace, for one run. */
#include "ctl/replace.h"

#include "ctl/transfer/guarded.h"
#include "ctl/transfer/mounts.h"
#include "ctl/transfer/same.h"
#include "ctl/transfer/temporary.h"
#include "engine.h"
#include "shared/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define GUARD "user.engram.if_match"
#define STATE "user.engram.state"
#define NO_CONTENT "user.engram.content" /* "none": of a memory without content, which this one has */
#define PIECE ((size_t)1 << 18)

/* -EIO, whatever the error. */
static int complain(const struct replace *r, const char *what, int error)
{
    cli_error("%s: %s%s%s", r->path, what, *what ? ": " : "", strerror(-error));
    return -EIO;
}

/* ---- states and guards ---------------------------------------------------------- */

bool replace_parse_guard(const char *text, char ret_guard[REPLACE_GUARD_BUF])
{
    size_t n = strlen(text);
    if (n == 64 && strspn(text, "0123456789abcdefABCDEF") == 64) {
        for (size_t i = 0; i <= n; i++) /* with the NUL */
            ret_guard[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] + ('a' - 'A') : text[i]);
        return true;
    }
    if (!strncmp(text, "state:", 6))
        text += 6;
    n = strlen(text);
    errno = 0;
    uint64_t state = strtoull(text, NULL, 10);
    if (!n || strspn(text, "0123456789") != n || errno)
        return false;
    (void)snprintf(ret_guard, REPLACE_GUARD_BUF, "state:%" PRIu64, state);
    return true;
}

static int get_state(int fd, uint64_t *ret_state)
{
    char text[32], *end;
    ssize_t n = fgetxattr(fd, STATE, text, sizeof text - 1);
    if (n < 0)
        return -errno;
    text[n] = 0;
    *ret_state = strtoull(text, &end, 10);
    return end == text || *end ? -EPROTO : 0;
}

static int open_name(const struct replace *r)
{
    int fd = openat(r->folder, r->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

uint64_t replace_state_now(const struct replace *r)
{
    uint64_t state = 0;
    int fd = open_name(r);
    if (fd < 0 || get_state(fd, &state))
        state = 0;
    if (fd >= 0)
        close(fd);
    return state;
}

/* ---- finding and opening ---------------------------------------------------------- */

/* A program that was started without standard descriptors gets those of the files that it opens: a message
 * would go into a memory. */
static int fill_standard(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
        ;
    return fd < 0 ? -errno : close(fd);
}

static int find_mount(const struct replace *r, const char *folder)
{
    struct target_mount mount;
    char why[512];
    int is = mounts_find(r->folder, folder, &mount, why);
    mounts_done(&mount);
    if (is < 0)
        cli_error("%s", why);
    else if (!is)
        cli_error("%s: is in no mount of engramfs: nobody there compares it with what was read", r->path);
    return is > 0 ? CLI_OK : CLI_ERROR;
}

static int open_folder(struct replace *r, char *whole)
{
    char *slash = strrchr(whole, '/'), *name = slash ? slash + 1 : whole;
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return complain(r, "", *whole ? -EISDIR : -ENOENT);
    size_t n = strlen(name);
    if (n > NAME_MAX)
        return complain(r, "", -ENAMETOOLONG);
    memcpy(r->name, name, n + 1);
    if (slash)
        slash[slash == whole] = 0;
    const char *folder = slash ? whole : ".";
    r->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (r->folder < 0)
        return complain(r, "", -errno);
    return find_mount(r, folder);
}

int replace_find(struct replace *r, const char *path)
{
    struct stat st;
    *r = (struct replace){.path = path, .folder = -1, .old = -1, .new = -1, .is_exact = r->is_exact};
    if (fill_standard())
        return CLI_ERROR;
    bool is_link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
    char *whole = is_link ? realpath(path, NULL) : strdup(path);
    int code = whole ? open_folder(r, whole) : complain(r, "", -errno);
    free(whole);
    return code ? CLI_ERROR : CLI_OK;
}

static void close_files(struct replace *r)
{
    if (r->old >= 0)
        close(r->old);
    if (r->new >= 0)
        close(r->new);
    r->old = r->new = -1;
}

void replace_done(struct replace *r)
{
    close_files(r);
    if (r->folder >= 0)
        close(r->folder);
    r->folder = -1;
}

static int open_old(struct replace *r)
{
    struct stat st;
    int fd = open_name(r);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return complain(r, "", fd);
    r->old = fd;
    if (fstat(fd, &st) < 0)
        return complain(r, "", -errno);
    if (S_ISREG(st.st_mode))
        return 0;
    cli_error("%s: is no memory", r->path);
    return -EIO;
}

/* A daemon that knows no guards keeps it as a field like others, which is listed, and compares nothing. */
static int check_guards(const struct replace *r)
{
    char list[1024];
    if (fsetxattr(r->new, GUARD, "none", 4, 0) < 0)
        return complain(r, "a guard", -errno);
    ssize_t n = flistxattr(r->new, list, sizeof list);
    if (fremovexattr(r->new, GUARD) < 0 || n < 0)
        return complain(r, "a guard", -errno);
    for (const char *name = list; name < list + n; name += strlen(name) + 1) {
        if (!strcmp(name, GUARD)) {
            cli_error("%s: the daemon of this mount is too old to know guards", r->path);
            return -EIO;
        }
    }
    return 0;
}

static int open_new(struct replace *r)
{
    r->new = openat(r->folder, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (r->new < 0)
        return complain(r, "cannot make a file beside it", -errno);
    int e = get_state(r->old >= 0 ? r->old : r->new, &r->state);
    if (e == -EOPNOTSUPP)
        cli_error("%s: the mount has no attributes (-o noxattr), and so nothing to compare by", r->path);
    else if (e == -ENODATA)
        cli_error("%s: the daemon of this mount is too old to know states", r->path);
    else if (e)
        complain(r, STATE, e);
    return e ? e : check_guards(r);
}

static int drop_fields(const struct replace *r)
{
    char *list = malloc(ENG_XATTR_LIST_MAX);
    ssize_t len = list ? flistxattr(r->new, list, ENG_XATTR_LIST_MAX) : -1;
    int e = len < 0 ? complain(r, "", -errno) : 0;
    for (const char *name = list; !e && name < list + len; name += strlen(name) + 1)
        if (fremovexattr(r->new, name) < 0 && errno != ENODATA)
            e = complain(r, name, -errno);
    free(list);
    return e;
}

int replace_open(struct replace *r)
{
    close_files(r);
    return open_old(r) || open_new(r) ? CLI_ERROR : CLI_OK;
}

int replace_open_again(struct replace *r)
{
    if (r->old >= 0)
        close(r->old);
    r->old = -1;
    return open_old(r) || drop_fields(r) ? CLI_ERROR : CLI_OK;
}

int replace_copy(int from, int to)
{
    char *piece = malloc(PIECE);
    int e = piece ? 0 : -ENOMEM;
    for (ssize_t n = 0; !e;) {
        n = read(from, piece, PIECE);
        if (n <= 0) {
            e = n < 0 ? -errno : 0;
            break;
        }
        for (ssize_t done = 0, w; !e && done < n; done += w) {
            w = write(to, piece + done, (size_t)(n - done));
            if (w < 0)
                e = -errno;
        }
        if (!e && cli_interrupted())
            e = -EINTR;
    }
    free(piece);
    return e;
}

/* ---- what the new one has of the old one ------------------------------------------------ */

static bool is_carried(const char *name)
{
    return (!strncmp(name, "user.", 5) && strcmp(name, NO_CONTENT) != 0) ||
           (geteuid() == 0 && guarded_is(name));
}

/* One attribute. What the system guards need not be to be had, or set. */
static int carry(const struct replace *r, const char *name, char *value)
{
    ssize_t n = fgetxattr(r->old, name, value, ENG_XATTR_SIZE_MAX);
    if (n < 0)
        return errno == ENODATA || guarded_is(name) ? 0 : complain(r, name, -errno);
    if (fsetxattr(r->new, name, value, (size_t)n, 0) < 0 && !guarded_is(name))
        return complain(r, name, -errno);
    return 0;
}

static int carry_fields(const struct replace *r)
{
    char *list = malloc(ENG_XATTR_LIST_MAX), *value = malloc(ENG_XATTR_SIZE_MAX);
    ssize_t len = list && value ? flistxattr(r->old, list, ENG_XATTR_LIST_MAX) : 0;
    int e = len < 0 ? complain(r, "its fields", -errno) : 0;
    if (!list || !value)
        e = complain(r, "", -ENOMEM);
    for (const char *name = list; !e && name < list + len; name += strlen(name) + 1)
        if (is_carried(name))
            e = carry(r, name, value);
    free(list);
    free(value);
    return e;
}

/* Owner and fields; `ret_mode` is for later. Who may not give a file away has made one of his own. */
static int settle(const struct replace *r, mode_t *ret_mode)
{
    struct stat old, new;
    if (r->old < 0) {
        mode_t mask = umask(0);
        (void)umask(mask);
        *ret_mode = 0666 & ~mask;
        return 0;
    }
    if (fstat(r->old, &old) < 0)
        return complain(r, "", -errno);
    if (fchown(r->new, old.st_uid, old.st_gid) < 0 && fchown(r->new, (uid_t)-1, old.st_gid) < 0 &&
        errno != EPERM)
        return complain(r, "its owner", -errno);
    int e = carry_fields(r);
    if (!e && fstat(r->new, &new) < 0)
        e = complain(r, "", -errno);
    if (!e)
        *ret_mode = same_mode(old.st_mode, old.st_uid, old.st_gid, new.st_uid, new.st_gid);
    return e;
}

/* ---- the step --------------------------------------------------------------------------- */

/* Of two that want to be exact the second one comes when the first one is done. Not for long: everybody who
 * may read the memory can lock it. */
static void lock_old(const struct replace *r)
{
    static const struct timespec pause = {.tv_nsec = 5000000};
    for (int i = 0; r->is_exact && r->old >= 0 && i < 200 && flock(r->old, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK || cli_interrupted())
            return;
        (void)nanosleep(&pause, NULL);
    }
}

/* Whether it is seen already that the memory is another one: without a try no temporary name comes and goes,
 * which a history keeps. What may have the same content by now the daemon compares. */
static bool is_in_vain(const struct replace *r, const char *guard)
{
    struct stat now, new;
    uint64_t state = 0;
    if (strncmp(guard, "state:", 6) != 0)
        return false;
    int fd = open_name(r);
    bool is_known = fd == -ENOENT || (fd >= 0 && !get_state(fd, &state));
    bool is_other = is_known && state != strtoull(guard + 6, NULL, 10);
    if (is_other && fd >= 0 && !r->is_exact)
        is_other = fstat(fd, &now) == 0 && fstat(r->new, &new) == 0 && now.st_size != new.st_size;
    if (fd >= 0)
        close(fd);
    return is_other;
}

static int link_temporary(const struct replace *r, char name[TEMPORARY_BUF])
{
    int e = -EEXIST;
    for (int i = 0; e == -EEXIST && i < TEMPORARY_TRIES; i++) {
        temporary_name(name);
        e = temporary_link_new(r->new, r->folder, name);
    }
    return e ? complain(r, "cannot give it a temporary name", e) : 0;
}

static int rename_over(const struct replace *r, const char *guard, mode_t mode)
{
    char temporary[TEMPORARY_BUF];
    int e = link_temporary(r, temporary);
    if (e)
        return e;
    if (guard && fsetxattr(r->new, GUARD, guard, strlen(guard), 0) < 0)
        e = complain(r, "its guard", -errno);
    if (!e && fchmod(r->new, mode) < 0)
        e = complain(r, "its mode", -errno);
    if (!e && renameat(r->folder, temporary, r->folder, r->name) < 0)
        e = errno == ECANCELED ? -ECANCELED : complain(r, "", -errno);
    if (e)
        (void)unlinkat(r->folder, temporary, 0);
    return e;
}

static int link_new(const struct replace *r, mode_t mode)
{
    if (fchmod(r->new, mode) < 0)
        return complain(r, "its mode", -errno);
    int e = temporary_link_new(r->new, r->folder, r->name);
    return e && e != -EEXIST ? complain(r, "", e) : e;
}

int replace_commit(struct replace *r, const char *guard, uint64_t *ret_state)
{
    mode_t mode = 0;
    uint64_t state = 0;
    lock_old(r); /* until it is closed */
    if (guard && is_in_vain(r, guard))
        return -ECANCELED;
    int e = cli_interrupted() ? complain(r, "nothing was written", -EINTR) : settle(r, &mode);
    if (!e && (e = get_state(r->new, &state)) != 0)
        e = complain(r, STATE, e);
    if (!e)
        e = r->old < 0 && !guard ? link_new(r, mode) : rename_over(r, guard, mode);
    if (e)
        return e;
    if (ret_state)
        *ret_state = state;
    (void)flock(r->old, LOCK_UN);
    return fsync(r->new) < 0 ? complain(r, "was replaced, but is perhaps not on the disk", -errno) : 0;
}
