/*
 * backup.c - the run of a backup: opening and proving, listing, copying, adopting. State: struct backup. */
#include "ctl/backup.h"
#include "admin.h"
#include "ctl/backup_past.h"
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
    if (faccessat(b->store_fd, BACKUP_PREFIX "names", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        cli_error(
            "%s is itself a backup, which was interrupted when it gave files their names, and is mounted "
            "with -o ro: mount it for writing once",
            b->store);
        return -EBUSY;
    }
    int r = storeid_prove(b->mountpoint, b->user, b->store, b->store_fd, ret_uuid, why);
    if (r < 0)
        cli_error("%s", why);
    return r;
}

/* ---- the folder to copy to ---------------------------------------------------- */

/* A superblock is never taken away. */
enum { SUPERBLOCKS_FROM = 2, SMALL_FILES = 4 };
static const char *const small_names[SMALL_FILES] = {"config", "config.copy", "superblock.copy",
                                                     "superblock"};

static bool is_small_name(const char *name)
{
    bool is = false;
    for (size_t i = 0; !is && i < SMALL_FILES; i++)
        is = !strcmp(small_names[i], name);
    return is;
}

/* Calls `look` for each name in the folder to copy to, until it returns non-zero, which is returned then. */
static int each_name(const struct backup *b, int (*look)(void *arg, const char *name), void *arg)
{
    int fd = openat(b->to_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int r = dir ? 0 : -errno;
    if (!dir && fd >= 0)
        close(fd);
    for (struct dirent *e; dir && !r && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = look(arg, e->d_name);
    if (dir)
        closedir(dir);
    return r;
}

struct strangers {
    char name[256];
    bool has_files; /* that only a backup has */
    bool has_small; /* that others have, too */
};

static int look_for_strangers(void *arg, const char *name)
{
    struct strangers *s = arg;
    bool is_file = backup_is_store_name(name) || backup_is_own_name(name) || backup_past_is_note(name);
    bool is_small = is_small_name(name);
    s->has_files = s->has_files || is_file;
    s->has_small = s->has_small || is_small;
    if (is_file || !strcmp(name, "lost+found") || (is_small && s->has_files))
        return 0;
    snprintf(s->name, sizeof s->name, "%s", name);
    return !is_small;
}

/* Something in the folder that no backup has: so that nothing of others is mixed with it. A first run that
 * was interrupted may have left a config, beside the files that it had copied before. */
static int check_strangers(const struct backup *b)
{
    struct strangers s = {0};
    int r = each_name(b, look_for_strangers, &s);
    if (r < 0)
        cli_error("%s: %s", b->path, strerror(-r));
    else if (r || (s.has_small && !s.has_files))
        cli_error("%s is no backup, and not empty: %s", b->path, s.name);
    else
        return 0;
    return r < 0 ? -EIO : -ENOTEMPTY;
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

/* An earlier run may have been interrupted while it gave names: the earlier backup is complete then. */
static int complete_earlier(struct backup *b)
{
    int r = eng_due_names_give(b->to_fd);
    b->is_broken = r == -EBADMSG;
    if (r > 0)
        cli_note("the run before this one was interrupted at its end: what it had copied is complete now");
    if (r >= 0 || b->is_broken) /* a list that is damaged is replaced by this run's */
        return 0;
    cli_error("%s: cannot complete what an interrupted run has left: %s", b->path, strerror(-r));
    return r;
}

/* The daemon of a backup that was mounted until now may be about to end. -EWOULDBLOCK: it has it still. */
static int lock_target(const struct backup *b)
{
    enum { STEP_MS = 20 };
    for (int waited = 0; flock(b->to_fd, LOCK_EX | LOCK_NB) < 0; waited += STEP_MS) {
        if (errno != EWOULDBLOCK || waited >= TARGET_LOCK_WAIT_MS)
            return -errno;
        if (cli_interrupted())
            return -EINTR;
        (void)nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000}, NULL);
    }
    return 0;
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
    r = lock_target(b);
    if (r == -EINTR)
        cli_error("interrupted; nothing was changed in %s", b->path);
    else if (r < 0)
        cli_error("%s: %s", b->path, r == -EWOULDBLOCK ? "in use by another run, or mounted" : strerror(-r));
    if (r < 0)
        return -EBUSY;
    if (eng_folder_is_open(b->to_fd))
        cli_warning("%s: other users may open this folder, and so keep the next backup from it: "
                    "chmod 0700 %s",
                    b->path, b->path);
    return complete_earlier(b);
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

/* Else a cut of the power might take from the store what the backup has of it. By the file of the hold, which
 * is ours: whoever lists a folder of the mount keeps its fsync waiting. A store that cannot write says so
 * elsewhere. */
static void make_durable(const struct backup *b)
{
    (void)!fsync(b->hold_fd);
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
    if (!r)
        make_durable(b);
    if (!r)
        backup_past_look(b);
    return r;
}

int backup_compare(struct backup *b)
{
    return b->is_first || b->is_broken ? 0 : backup_past_check(b);
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

static int cannot_adopt(const struct backup *b, int error)
{
    if (error)
        cli_error("%s: cannot give the copies their names: %s", b->path, strerror(-error));
    return error;
}

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

struct small_file {
    bool is_there;
    struct backup_item item;
};

/* What becomes of the folder. */
struct adoption {
    struct backup *b;
    struct small_file small[SMALL_FILES];
    struct eng_due_name *due;
    size_t n, cap;
};

/* An earlier backup had it, and the store has not. */
static bool is_gone(const struct adoption *a, const char *name)
{
    for (size_t i = 0; i < SUPERBLOCKS_FROM; i++)
        if (!strcmp(small_names[i], name))
            return !a->small[i].is_there;
    return backup_is_store_name(name) && !is_listed(a->b, name);
}

static int add_due(struct adoption *a, const char *name, bool goes)
{
    if (a->n == a->cap) {
        size_t cap = a->cap ? a->cap * 2 : 64;
        struct eng_due_name *more = realloc(a->due, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        a->due = more;
        a->cap = cap;
    }
    a->due[a->n] = (struct eng_due_name){.goes = goes};
    snprintf(a->due[a->n++].name, sizeof a->due->name, "%s", name);
    return 0;
}

static int add_if_gone(void *arg, const char *name)
{
    return is_gone(arg, name) ? add_due(arg, name, true) : 0;
}

static int remove_own(void *arg, const char *name)
{
    const struct adoption *a = arg;
    return backup_is_own_name(name) && unlinkat(a->b->to_fd, name, 0) < 0 ? -errno : 0;
}

/* The earlier backup is there until the list of names is, or nothing that is a store; the new one is from
 * then on. */
static int adopt_at_once(struct adoption *a)
{
    struct backup *b = a->b;
    int r = each_name(b, add_if_gone, a);
    for (size_t i = 0; !r && i < b->n; i++)
        if (b->items[i].is_waiting)
            r = add_due(a, b->items[i].name, false);
    for (size_t i = 0; !r && i < SMALL_FILES; i++)
        if (a->small[i].item.is_waiting)
            r = add_due(a, small_names[i], false);
    if (!r && a->n)
        r = eng_due_names_note(b->to_fd, a->due, a->n);
    if (!r && a->n)
        r = eng_due_names_give(b->to_fd);
    return cannot_adopt(b, r < 0 ? r : 0);
}

int backup_adopt(struct backup *b)
{
    struct adoption a = {.b = b};
    int r = 0;
    for (size_t i = 0; !r && i < SMALL_FILES; i++) {
        int has = backup_small_file(b, small_names[i], &a.small[i].item);
        a.small[i].is_there = has == 0;
        r = has < 0 ? has : 0;
    }
    if (!r)
        r = backup_past_note(b);
    if (!r)
        r = adopt_at_once(&a);
    if (!r) /* what interrupted runs have left */
        r = cannot_adopt(b, each_name(b, remove_own, &a));
    free(a.due);
    return r ? r : sync_folder(b);
}
