/*
 * mount_history.c - see mount_history.h. No state. */
#include "ctl/mount_history.h"

#include "ctl/report.h"
#include "rules/shown_names.h"
#include "shared/buf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static int open_in(int dir, const char *name)
{
    int fd = openat(dir, name, FOLDER_FLAGS);
    return fd < 0 ? -errno : fd;
}

/* The folder of that name in `dir`, which it closes. */
static int step_into(int dir, const char *name)
{
    int fd = open_in(dir, name);
    close(dir);
    return fd;
}

static int open_path(const char *mountpoint, const char *path)
{
    char *folder, text[SHOWN_NAME_SIZE];
    if (asprintf(&folder, "%s/.engram/history", mountpoint) < 0)
        return -ENOMEM;
    int fd = open(folder, FOLDER_FLAGS);
    if (fd < 0)
        fd = errno == ENOENT ? -EOPNOTSUPP : -errno;
    free(folder);
    for (path += strspn(path, "/"); *path && fd >= 0; path += strspn(path, "/")) {
        size_t len = strcspn(path, "/");
        if (len > SHOWN_NAME_MAX) {
            close(fd);
            return -ENAMETOOLONG;
        }
        (void)shown_name_encode(path, len, SHOWN_NAME_MAX, text);
        fd = step_into(fd, text);
        path += len;
    }
    return fd;
}

/* What the version says of itself. False: nothing. */
static bool get_text(int folder, const char *name, const char *field, char ret_text[64])
{
    char path[SHOWN_STAMP_SIZE + 64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", folder, name);
    ssize_t n = lgetxattr(path, field, ret_text, 63);
    ret_text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static enum eng_version_event event_of(const char *text)
{
    int event = ENG_VERSION_FOLDER;
    while (event > ENG_VERSION_UNKNOWN && strcmp(report_event((enum eng_version_event)event), text) != 0)
        event--;
    return (enum eng_version_event)event;
}

/* 1: it went meanwhile, or is no version. */
static int look_at(int folder, const char *name, struct eng_version *ret)
{
    struct shown_stamp stamp;
    struct stat st;
    char text[64], *process = text;
    if (!shown_stamp_parse(name, strlen(name), &stamp) || !stamp.number)
        return 1;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || errno == ESTALE ? 1 : -errno;
    *ret = (struct eng_version){.number = stamp.number,
                                .time = stamp.time,
                                .ino = st.st_ino,
                                .attr = {.ino = st.st_ino,
                                         .mode = st.st_mode,
                                         .size = (uint64_t)st.st_size,
                                         .uid = st.st_uid,
                                         .gid = st.st_gid}};
    ret->began = get_text(folder, name, "user.engram.event", text) ? event_of(text) : ENG_VERSION_UNKNOWN;
    ret->ended = get_text(folder, name, "user.engram.ended", text) ? event_of(text) : ENG_VERSION_PRESENT;
    if (get_text(folder, name, "user.engram.actor", text)) {
        ret->actor.uid = (uint32_t)strtoul(text, &process, 10);
        ret->actor.known = process > text && *process == ':';
    }
    if (ret->actor.known)
        (void)snprintf(ret->actor.process, sizeof ret->actor.process, "%.*s",
                       (int)sizeof ret->actor.process - 1, process + 1);
    return 0;
}

/* Of what the last entry of the listing is, which is the last version. */
static bool ends_with_folder(DIR *dir)
{
    bool is = false;
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            is = entry->d_type == DT_DIR;
    rewinddir(dir);
    return is;
}

static int tell_versions(DIR *dir, int (*emit)(void *arg, const struct eng_version *version), void *arg)
{
    uint64_t n = 0;
    int r = 0;
    while (!r) {
        struct eng_version version;
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry && errno)
            return -errno;
        if (!entry)
            return n ? 0 : -ENOENT;
        r = look_at(dirfd(dir), entry->d_name, &version);
        if (r == 1) {
            r = 0;
            continue;
        }
        n++;
        r = r ? r : emit(arg, &version);
    }
    return r;
}

/* Of a descriptor, which it takes, or an error. */
static int open_listing(int take_fd, DIR **ret_dir)
{
    *ret_dir = take_fd < 0 ? NULL : fdopendir(take_fd);
    int r = take_fd < 0 ? take_fd : -errno;
    if (*ret_dir)
        return 0;
    if (take_fd >= 0)
        close(take_fd);
    return r;
}

int mount_history(const char *mountpoint, const char *path,
                  int (*emit)(void *arg, const struct eng_version *version), void *arg)
{
    if (!path[strspn(path, "/")])
        return -EISDIR;
    int fd = open_path(mountpoint, path);
    DIR *dir;
    int r = open_listing(fd < 0 ? fd : step_into(fd, SHOWN_NAME_VERSIONS), &dir);
    if (r)
        return r;
    r = ends_with_folder(dir) ? -EISDIR : tell_versions(dir, emit, arg);
    (void)closedir(dir);
    return r;
}

/* ---- below a folder --------------------------------------------------------------- */

struct walk {
    struct buf path; /* of the present folder, without NUL */
    int (*emit)(void *arg, const char *path, const struct eng_version *version);
    void *arg;
};

static int tell_with_path(void *arg, const struct eng_version *version)
{
    struct walk *w = arg;
    return w->emit(w->arg, w->path.data, version);
}

/* What went meanwhile, or is not for the caller, is left out. */
static int or_left_out(int r)
{
    return r == -ENOENT || r == -ESTALE || r == -EACCES ? 0 : r;
}

static int walk_versions(struct walk *w, int folder)
{
    DIR *dir;
    int r = open_listing(open_in(folder, SHOWN_NAME_VERSIONS), &dir);
    if (r)
        return or_left_out(r);
    buf_char(&w->path, '\0');
    w->path.len--;
    r = w->path.failed ? -ENOMEM : tell_versions(dir, tell_with_path, w);
    (void)closedir(dir);
    return or_left_out(r);
}

static void add_name(struct walk *w, const char *text)
{
    char name[SHOWN_NAME_SIZE];
    size_t len;
    bool is_whole = shown_name_decode(text, strlen(text), SHOWN_NAME_MAX, name, &len) == SHOWN_NAME_WHOLE;
    if (w->path.len)
        buf_char(&w->path, '/');
    if (is_whole)
        buf_add(&w->path, name, len);
    else
        buf_str(&w->path, text);
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as folders are, a descriptor each */
static int walk_folder(struct walk *w, int take_fd)
{
    DIR *dir;
    int r = open_listing(take_fd, &dir);
    if (r)
        return or_left_out(r);
    r = walk_versions(w, dirfd(dir));
    while (!r) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            r = or_left_out(-errno);
            break;
        }
        bool is_dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (is_dots || strcmp(entry->d_name, SHOWN_NAME_VERSIONS) == 0)
            continue;
        size_t len = w->path.len;
        add_name(w, entry->d_name);
        r = w->path.failed ? -ENOMEM : walk_folder(w, open_in(dirfd(dir), entry->d_name));
        w->path.len = len;
    }
    (void)closedir(dir);
    return r;
}

int mount_history_below(const char *mountpoint, const char *path,
                        int (*emit)(void *arg, const char *path, const struct eng_version *version),
                        void *arg)
{
    struct walk w = {.emit = emit, .arg = arg};
    int fd = open_path(mountpoint, path);
    if (fd < 0)
        return fd;
    buf_str(&w.path, path + strspn(path, "/"));
    while (w.path.len && w.path.data[w.path.len - 1] == '/')
        w.path.len--;
    int r = walk_folder(&w, fd);
    buf_done(&w.path);
    return r;
}
