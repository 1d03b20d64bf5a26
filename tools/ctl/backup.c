/*
 * backup.c - the run of a backup: opening and proving, listing, copying, adopting. State: struct backup. */
#include "ctl/backup.h"
#include "admin.h"
#include "ctl/transfer/place.h"
#include "ctl/transfer/storeid.h"
#include "ctl/transfer/target.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/control.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder is that of the mount, not one of the same name elsewhere, nor a copy of it. */
static int prove_store(const struct backup *b, uint8_t ret_uuid[STOREID_SIZE])
{
    char why[512];
    int r = storeid_prove(b->mountpoint, b->user, b->store, b->store_fd, ret_uuid, why);
    if (r < 0)
        cli_error("%s", why);
    return r;
}

/* ---- the folder to copy to ---------------------------------------------------- */

/* Something in the folder that no backup has: so that nothing of others is mixed with it. */
static int check_strangers(const struct backup *b)
{
    int fd = openat(b->to_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        cli_error("%s: %s", b->path, strerror(errno));
        return -EIO;
    }
    int r = 0;
    for (struct dirent *e; !r && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            strcmp(e->d_name, "lost+found") != 0 && !backup_is_store_name(e->d_name) &&
            !backup_is_own_name(e->d_name)) {
            cli_error("%s is no backup, and not empty: %s", b->path, e->d_name);
            r = -ENOTEMPTY;
        }
    closedir(dir);
    return r;
}

/* A copy in what is copied goes with it, and would be part of the next one. */
static int check_place(const struct backup *b, const struct place *p)
{
    struct stat store, held, to;
    int at = p->fd >= 0 ? p->fd : p->folder;
    if (fstat(b->store_fd, &store) < 0 || fstat(b->hold_fd, &held) < 0 || fstat(at, &to) < 0)
        return -errno;
    int r = place_is_below(at, &store);
    if (r > 0 && p->fd >= 0 && to.st_dev == store.st_dev && to.st_ino == store.st_ino)
        cli_error("%s is the store itself", b->path);
    else if (r > 0)
        cli_error("%s is in the store itself, which would be lost with it", b->path);
    else if (!r && to.st_dev == held.st_dev)
        cli_error("%s is in the mount itself, and would be lost with it", b->path);
    else
        return r;
    return -EINVAL;
}

static int open_target(struct backup *b)
{
    struct place p;
    int r = place_open(b->path, &p);
    if (!r && (r = check_place(b, &p)) == -EINVAL) {
        place_close(&p);
        return r; /* which was told */
    }
    if (!r && p.fd < 0)
        r = place_make(&p, 0700);
    b->to_fd = r < 0 ? -1 : openat(p.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = r < 0 || b->to_fd >= 0 ? r : -errno;
    place_close(&p);
    if (r < 0) {
        cli_error("%s: %s", b->path, target_strerror(r));
        return -EIO;
    }
    if (flock(b->to_fd, LOCK_EX | LOCK_NB) < 0) {
        cli_error("%s: %s", b->path,
                  errno == EWOULDBLOCK ? "in use by another run, or mounted" : strerror(errno));
        return -EBUSY;
    }
    if (eng_folder_is_open(b->to_fd))
        cli_warning("%s: other users may open this folder, and so keep the next backup from it: "
                    "chmod 0700 %s",
                    b->path, b->path);
    return 0;
}

static int prove_target(struct backup *b, const uint8_t uuid[STOREID_SIZE])
{
    int r = storeid_has(b->to_fd, uuid);
    if (r == 1)
        return 0;
    if (r == -ENOENT) {
        b->is_first = true;
        return check_strangers(b);
    }
    if (r < 0)
        cli_error("%s/superblock: %s", b->path, strerror(-r));
    else
        cli_error(
            "%s has the backup of another store, which would be lost: give another folder, or remove it",
            b->path);
    return r < 0 ? r : -EEXIST;
}

int backup_open(struct backup *b)
{
    uint8_t uuid[STOREID_SIZE];
    b->hold_fd = b->to_fd = -1;
    b->store_fd = open(b->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->store_fd < 0) {
        cli_error("%s, which the mount says is its store: %s (--store names it as it is here)", b->store,
                  strerror(errno));
        return -ENOENT;
    }
    b->hold_fd = control_hold(b->mountpoint);
    if (b->hold_fd < 0) {
        cli_error("%s: cannot hold the store: %s", b->mountpoint, control_strerror(b->hold_fd));
        return b->hold_fd;
    }
    int r = prove_store(b, uuid);
    if (!r)
        r = open_target(b);
    return r ? r : prove_target(b, uuid);
}

void backup_close(struct backup *b)
{
    if (b->hold_fd >= 0)
        control_release(b->hold_fd);
    if (b->to_fd >= 0)
        close(b->to_fd);
    if (b->store_fd >= 0)
        close(b->store_fd);
    free(b->items);
    free(b->suspects);
}

/* ---- once more ----------------------------------------------------------------- */

bool backup_is_suspect(const struct backup *b, const char *name)
{
    bool is = b->suspects_all;
    for (size_t i = 0; !is && i < b->n_suspects; i++)
        is = !strcmp(b->suspects[i], name);
    return is;
}

int backup_suspect(struct backup *b, const char *name)
{
    b->suspects_all = b->suspects_all || !name;
    if (backup_is_suspect(b, name))
        return 0;
    char(*more)[40] = realloc(b->suspects, (b->n_suspects + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    b->suspects = more;
    snprintf(b->suspects[b->n_suspects++], sizeof *more, "%s", name);
    return 0;
}

int backup_again(struct backup *b)
{
    uint8_t uuid[STOREID_SIZE];
    b->hold_fd = control_hold(b->mountpoint);
    if (b->hold_fd < 0) {
        cli_error("%s: cannot hold the store: %s", b->mountpoint, control_strerror(b->hold_fd));
        return b->hold_fd;
    }
    b->is_again = true;
    b->is_first = false; /* what is there keeps its name until its successor is durable */
    b->n = 0;
    b->total_bytes = 0;
    return prove_store(b, uuid);
}

/* ---- listing and copying ------------------------------------------------------ */

static int add_item(struct backup *b, const char *line)
{
    struct backup_item item = {0};
    char kind[16];
    unsigned long long size;
    if (sscanf(line, "%39[^\t]\t%llu\t%15[^\t]", item.name, &size, kind) != 3 ||
        !backup_is_store_name(item.name)) {
        cli_error("%s/.engram/segments: not understood: %.80s", b->mountpoint, line);
        return -EPROTO;
    }
    item.size = size;
    item.is_end = strcmp(kind, "log") == 0 || strcmp(kind, "echo") == 0;
    item.is_suspect = backup_is_suspect(b, item.name);
    b->total_bytes += size;
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        struct backup_item *more = realloc(b->items, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        b->items = more;
        b->cap = cap;
    }
    b->items[b->n++] = item;
    return 0;
}

/* The last batch of the mount's log, or one shortly before; 0: it does not tell. */
static int read_seq(struct backup *b)
{
    static const char name[] = "\nengram_store_log_sequence ";
    struct buf text = {0};
    int r = control_read(b->mountpoint, "metrics", &text);
    const char *line = r ? NULL : strstr(text.data, name);
    b->seq = line ? strtoull(line + sizeof name - 1, NULL, 10) : 0;
    buf_done(&text);
    return r;
}

/* Segments come by number: the last one of the log. Of its second copy each file may have grown. */
static void mark_end(struct backup *b)
{
    bool found = false;
    for (size_t i = b->n; i-- > 0;) {
        struct backup_item *item = &b->items[i];
        if (item->name[0] == 'e')
            continue;
        item->is_end = item->is_end && !found;
        found = found || item->is_end;
    }
}

int backup_list(struct backup *b)
{
    struct buf text = {0};
    int r = read_seq(b);
    if (!r)
        r = control_read(b->mountpoint, "segments", &text);
    if (r)
        cli_error("%s: %s", b->mountpoint, control_strerror(r));
    char *rest = text.data, *line;
    while (!r && (line = strsep(&rest, "\n")))
        if (*line)
            r = add_item(b, line);
    buf_done(&text);
    mark_end(b);
    if (!r && !b->n) {
        cli_error("%s: the mount lists no file", b->mountpoint);
        r = -EPROTO;
    }
    return r;
}

/* Has the hold lasted until now? Else files may be of different moments, or gone. */
static int check_hold(const struct backup *b)
{
    if (control_is_held(b->hold_fd))
        return 0;
    cli_error("%s: the daemon ended meanwhile; nothing was changed in %s", b->mountpoint, b->path);
    return -ENOTCONN;
}

int backup_copy(struct backup *b)
{
    int r = 0;
    for (size_t i = 0; !r && i < b->n; i++)
        r = backup_file(b, &b->items[i]);
    if (!r)
        r = check_hold(b);
    if (b->is_again)
        return r;
    control_release(b->hold_fd);
    b->hold_fd = -1;
    return r;
}

/* ---- adopting ------------------------------------------------------------------ */

static int sync_folder(const struct backup *b)
{
    int parent = b->is_first ? openat(b->to_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int r = parent >= 0 ? fsync(parent) : 0;
    if (parent >= 0)
        close(parent);
    if (!r && fsync(b->to_fd) == 0)
        return 0;
    cli_error("%s: %s", b->path, strerror(errno));
    return -EIO;
}

static bool is_listed(const struct backup *b, const char *name)
{
    for (size_t i = 0; i < b->n; i++)
        if (!strcmp(b->items[i].name, name))
            return true;
    return false;
}

/* Small files, in the order in which they get their names. */
struct small_file {
    const char *name;
    bool is_there;
    struct backup_item item;
};
enum { SUPERBLOCKS_FROM = 2, SMALL_FILES = 4 };

/* An earlier backup had it, and the store has not. A superblock is never taken away. */
static bool is_gone(const struct small_file *small, const char *name)
{
    for (size_t i = 0; i + 1 < SMALL_FILES; i++)
        if (!strcmp(small[i].name, name))
            return !small[i].is_there;
    return false;
}

/* What earlier backups had and this moment has not, and what an interrupted run has left. */
static int remove_old(struct backup *b, const struct small_file *small)
{
    int fd = openat(b->to_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int r = dir ? 0 : -errno;
    for (struct dirent *e; dir && !r && (e = readdir(dir));) {
        bool old = backup_is_own_name(e->d_name) || is_gone(small, e->d_name) ||
                   (backup_is_store_name(e->d_name) && !is_listed(b, e->d_name));
        if (old && unlinkat(b->to_fd, e->d_name, 0) < 0)
            r = -errno;
    }
    if (dir)
        closedir(dir);
    if (r)
        cli_error("%s: cannot remove what is not of this moment: %s", b->path, strerror(-r));
    return r;
}

int backup_adopt(struct backup *b)
{
    struct small_file small[SMALL_FILES] = {
        {.name = "config"}, {.name = "config.copy"}, {.name = "superblock.copy"}, {.name = "superblock"}};
    int r = 0;
    for (size_t i = 0; !r && i < SMALL_FILES; i++) {
        int has = backup_small_file(b, small[i].name, &small[i].item);
        small[i].is_there = has == 0;
        r = has < 0 ? has : 0;
    }
    if (!r)
        r = sync_folder(b); /* the copies, before anything gets its name */
    for (size_t i = 0; !r && i < b->n; i++)
        r = backup_give_name(b, &b->items[i]);
    for (size_t i = 0; !r && i < SMALL_FILES; i++) {
        if (i == SUPERBLOCKS_FROM) /* a superblock makes it a store: last of all */
            r = sync_folder(b);
        if (!r)
            r = backup_give_name(b, &small[i].item);
    }
    if (!r)
        r = sync_folder(b);
    if (!r)
        r = remove_old(b, small);
    return r ? r : sync_folder(b);
}
