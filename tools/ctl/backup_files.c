/*
 * backup_files.c - the files of a backup: which is there already, copying, syncing, naming. No state but the
 * buffers of one call. */
#include "ctl/backup_files.h"
#include "admin.h"
#include "shared/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, COMPARED = 1 << 16, SMALL_MAX = 1 << 20 };
#define PART ".part"
#define OWN_NAME_SIZE (sizeof BACKUP_PREFIX + 40 + sizeof PART)

bool backup_is_store_name(const char *name)
{
    char again[40];
    unsigned segment;
    unsigned long long checkpoint;
    if (sscanf(name, "s%8x.seg", &segment) == 1)
        snprintf(again, sizeof again, "s%08x.seg", segment);
    else if (sscanf(name, "c%16llx.", &checkpoint) == 1)
        snprintf(again, sizeof again, "c%016llx.%s", checkpoint, strstr(name, ".cpy") ? "cpy" : "ckp");
    else if (sscanf(name, "e%8x.log", &segment) == 1)
        snprintf(again, sizeof again, "e%08x.log", segment);
    else
        return false;
    return !strcmp(again, name);
}

bool backup_is_own_name(const char *name)
{
    return !strncmp(name, BACKUP_PREFIX, sizeof BACKUP_PREFIX - 1);
}

static int failed(const struct backup *b, const char *folder, const char *name, int error)
{
    cli_error("%s: %s/%s: %s", b->path, folder, name, strerror(-error));
    return error;
}

static int read_full(int fd, char *buf, size_t size, uint64_t at)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(fd, buf + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        done += (size_t)n;
    }
    return 0;
}

static int write_full(int fd, const char *buf, size_t size, uint64_t at)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(fd, buf + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

/* Are [at, at + size) of both the same? An error counts as no: the file is copied then. */
static bool same_range(int a, int b, uint64_t at, size_t size)
{
    char *x = malloc(size), *y = malloc(size);
    bool same = x && y && !read_full(a, x, size, at) && !read_full(b, y, size, at) && !memcmp(x, y, size);
    free(x);
    free(y);
    return same;
}

/* Are the first `size` bytes of both the same? */
static bool same_whole(int a, int b, uint64_t size)
{
    bool same = true;
    for (uint64_t at = 0; same && at < size; at += CHUNK)
        same = same_range(a, b, at, size - at < CHUNK ? (size_t)(size - at) : CHUNK);
    return same;
}

/* Is the file `name` of the backup what `from` has of the item? */
static bool is_there(const struct backup *b, const char *name, int from, const struct backup_item *item)
{
    struct stat st;
    uint64_t size = item->size;
    int fd = openat(b->to_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (item->is_suspect)
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    size_t part = size < COMPARED ? (size_t)size : COMPARED;
    bool same = !fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size &&
                same_range(from, fd, 0, part) && same_range(from, fd, size - part, part) &&
                (!(item->is_end || item->is_suspect) || same_whole(from, fd, size));
    close(fd);
    return same;
}

bool backup_is_same(const struct backup *b, const struct backup_item *item)
{
    struct backup_item whole = *item;
    int from = openat(b->store_fd, item->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    whole.is_suspect = true;
    bool same = from >= 0 && is_there(b, item->name, from, &whole);
    if (from >= 0)
        close(from);
    return same;
}

static int on_dumped(void *arg, const struct eng_dump_item *item)
{
    const struct backup_item *b = arg;
    bool is_bad = item->problem || !strcmp(item->kind, "unreadable");
    return is_bad && item->offset < b->size; /* behind it the daemon may be writing */
}

void backup_folder(int fd, char ret[BACKUP_FOLDER_SIZE])
{
    snprintf(ret, BACKUP_FOLDER_SIZE, "/proc/self/fd/%d", fd);
}

bool backup_is_source_damaged(const struct backup *b, const struct backup_item *item)
{
    unsigned segment;
    char folder[BACKUP_FOLDER_SIZE];
    if (sscanf(item->name, "s%8x.seg", &segment) != 1)
        return false;
    backup_folder(b->store_fd, folder);
    return eng_dump(folder, NULL, segment, true, on_dumped, (void *)(uintptr_t)item) != 0;
}

/* A file of the backup is to be replaced, that is not what the store has: by something worse? */
static bool is_worse(const struct backup *b, const struct backup_item *item)
{
    struct stat st;
    return fstatat(b->to_fd, item->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == item->size && backup_is_source_damaged(b, item);
}

/* Sleeps for as long as this run is ahead of its rate. */
static void slow_down(const struct backup *b)
{
    if (!b->rate)
        return;
    double ahead = (double)b->copied_bytes / (double)b->rate - cli_seconds_since(&b->start);
    if (ahead > 0)
        nanosleep(&(struct timespec){.tv_sec = (time_t)ahead,
                                     .tv_nsec = (long)((ahead - (double)(time_t)ahead) * 1e9)},
                  NULL);
}

static int copy_bytes(struct backup *b, int from, int to, uint64_t size)
{
    char *buf = malloc(CHUNK);
    int r = buf ? 0 : -ENOMEM;
    for (uint64_t at = 0; !r && at < size;) {
        size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
        r = read_full(from, buf, n, at);
        if (!r)
            r = write_full(to, buf, n, at);
        if (!r && cli_interrupted())
            r = -EINTR;
        at += n;
        b->copied_bytes += n;
        slow_down(b);
    }
    free(buf);
    return r;
}

/* Copies to a name that says that it is not complete, syncs, and renames to `own`. */
static int copy_to(struct backup *b, int from, uint64_t size, const char *own)
{
    char part[OWN_NAME_SIZE];
    snprintf(part, sizeof part, "%s" PART, own);
    (void)unlinkat(b->to_fd, part, 0);
    int to = openat(b->to_fd, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return -errno;
    int r = copy_bytes(b, from, to, size);
    if (!r && fsync(to) < 0)
        r = -errno;
    if (!r) /* so that what is verified later comes from the disk */
        (void)posix_fadvise(to, 0, 0, POSIX_FADV_DONTNEED);
    if (close(to) < 0 && !r)
        r = -errno;
    if (!r && renameat(b->to_fd, part, b->to_fd, own) < 0)
        r = -errno;
    if (r)
        (void)unlinkat(b->to_fd, part, 0);
    return r;
}

int backup_give_name(struct backup *b, struct backup_item *item)
{
    char own[OWN_NAME_SIZE];
    snprintf(own, sizeof own, BACKUP_PREFIX "%s", item->name);
    if (!item->is_waiting)
        return 0;
    if (renameat(b->to_fd, own, b->to_fd, item->name) < 0)
        return failed(b, b->path, item->name, -errno);
    item->is_waiting = false;
    return 0;
}

static int copy_item(struct backup *b, int from, struct backup_item *item)
{
    char own[OWN_NAME_SIZE];
    snprintf(own, sizeof own, BACKUP_PREFIX "%s", item->name);
    if (is_there(b, item->name, from, item) || is_worse(b, item))
        return 0;
    int r = 0;
    if (!is_there(b, own, from, item)) { /* of an earlier run, which was interrupted */
        r = copy_to(b, from, item->size, own);
        b->copied_files += !r;
    }
    item->is_waiting = !r;
    return r;
}

int backup_file(struct backup *b, struct backup_item *item)
{
    struct stat st;
    int from = openat(b->store_fd, item->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (from < 0)
        return failed(b, b->store, item->name, -errno);
    int r = fstat(from, &st) < 0 ? -errno : 0;
    if (!r && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < item->size)) {
        cli_error("%s/%s has %lld bytes, the mount says %llu: not the store of this mount, or damaged",
                  b->store, item->name, (long long)st.st_size, (unsigned long long)item->size);
        close(from);
        return -EBADMSG;
    }
    if (!r)
        r = copy_item(b, from, item);
    close(from);
    if (r == -EINTR) {
        cli_error("interrupted; the next run goes on");
        return r;
    }
    if (r)
        return failed(b, b->path, item->name, r);
    return b->is_first ? backup_give_name(b, item) : 0;
}

int backup_small_file(struct backup *b, const char *name, struct backup_item *item)
{
    struct stat st;
    *item = (struct backup_item){0};
    snprintf(item->name, sizeof item->name, "%s", name);
    int from = openat(b->store_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (from < 0)
        return errno == ENOENT ? 1 : failed(b, b->store, name, -errno);
    int r = fstat(from, &st) < 0 ? -errno : 0;
    if (!r && (!S_ISREG(st.st_mode) || st.st_size > SMALL_MAX))
        r = -EFBIG;
    item->size = r ? 0 : (uint64_t)st.st_size;
    int to = r ? -1 : openat(b->to_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool same = to >= 0 && !fstat(to, &st) && (uint64_t)st.st_size == item->size &&
                same_range(from, to, 0, (size_t)item->size);
    if (to >= 0)
        close(to);
    if (!r && !same) {
        char own[OWN_NAME_SIZE];
        snprintf(own, sizeof own, BACKUP_PREFIX "%s", name);
        r = copy_to(b, from, item->size, own);
        item->is_waiting = !r;
    }
    close(from);
    return r ? failed(b, b->path, name, r) : 0;
}
