/*
 * fsfuzz_compare.c - what two sides must have in common: attributes around an
 * operation, files, whole trees (fsfuzz.h).
 *
 * Not compared, because file systems may differ: inode numbers (but which
 * names share one), sizes of directories, the order of a listing, blocks
 * beyond what the size allows, access times of what was read. */
#include "fsfuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "rng.h"

enum { LIST_MAX = 4096, VALUE_MAX = 4096 };

/* ---- attributes ---------------------------------------------------------- */

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void compare_stat(struct run *r, const char *path, const struct stat *a, const struct stat *b)
{
    const struct {
        const char *name;
        unsigned long long ours, ref;
    } fields[] = {
        {"mode", a->st_mode, b->st_mode}, {"links", a->st_nlink, b->st_nlink}, {"uid", a->st_uid, b->st_uid},
        {"gid", a->st_gid, b->st_gid},    {"device", a->st_rdev, b->st_rdev},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (fields[i].ours != fields[i].ref)
            wrong(r, "%s: %s: ours %llo, the reference %llo (octal)", path, fields[i].name, fields[i].ours,
                  fields[i].ref);
    if (!S_ISDIR(a->st_mode) && a->st_size != b->st_size)
        wrong(r, "%s: size: ours %lld, the reference %lld", path, (long long)a->st_size,
              (long long)b->st_size);
    /* whoever uses a FIFO does so without the file system, whose times the kernel moves only for its own */
    if (S_ISFIFO(a->st_mode))
        return;
    if ((a->st_mtim.tv_sec < NATURAL_TIMES || b->st_mtim.tv_sec < NATURAL_TIMES) &&
        !same_time(&a->st_mtim, &b->st_mtim))
        wrong(r, "%s: mtime: ours %lld.%09ld, the reference %lld.%09ld", path, (long long)a->st_mtim.tv_sec,
              a->st_mtim.tv_nsec, (long long)b->st_mtim.tv_sec, b->st_mtim.tv_nsec);
}

static int inspect(struct run *r, int side, const struct watch *w, struct stat *ret)
{
    const int flags = (w->follow ? 0 : AT_SYMLINK_NOFOLLOW) | (*w->path ? 0 : AT_EMPTY_PATH);
    return fstatat(r->root[side], w->path, ret, flags) ? errno : 0;
}

void watch(struct run *r, const char *path, bool follow)
{
    if (r->n_watches == WATCHES || r->sides < SIDES)
        return;
    struct watch *w = &r->watches[r->n_watches++];
    (void)snprintf(w->path, PATH_CAP, "%s", path);
    w->follow = follow;
    const char *slash = strrchr(path, '/');
    if (slash && slash[1] && r->n_watches < WATCHES) { /* its folder, too */
        struct watch *up = &r->watches[r->n_watches++];
        (void)snprintf(up->path, PATH_CAP, "%.*s", (int)(slash - path), path);
        up->follow = true;
    }
}

void watch_before(struct run *r)
{
    if (r->sides == SIDES && r->n_watches < WATCHES)
        watch(r, "", true); /* the root */
    for (int i = 0; i < r->n_watches; i++)
        for (int s = 0; s < r->sides; s++)
            r->watches[i].err[s] = inspect(r, s, &r->watches[i], &r->watches[i].before[s]);
}

/* Has the time of a file that was there before become another one, here and there? */
static void compare_change(struct run *r, const struct watch *w, const char *name,
                           const struct timespec *was[SIDES], const struct timespec *is[SIDES])
{
    bool ours = !same_time(was[OURS], is[OURS]), ref = !same_time(was[REF], is[REF]);
    if (ours != ref)
        wrong(r, "%s: %s %s by the operation on our side, but %s on the reference",
              *w->path ? w->path : "root", name, ours ? "was changed" : "was not changed",
              ref ? "was" : "was not");
}

void watch_after(struct run *r)
{
    for (int i = 0; i < r->n_watches; i++) {
        const struct watch *w = &r->watches[i];
        struct stat now[SIDES];
        int err[SIDES];
        for (int s = 0; s < r->sides; s++)
            err[s] = inspect(r, s, w, &now[s]);
        if (err[OURS] != err[REF])
            wrong(r, "%s afterwards: ours %s, the reference %s", w->path, strerror(err[OURS]),
                  strerror(err[REF]));
        if (err[OURS])
            continue;
        compare_stat(r, *w->path ? w->path : "root", &now[OURS], &now[REF]);
        if (!r->fine_times || r->any_times || S_ISFIFO(now[OURS].st_mode) || w->err[OURS] || w->err[REF] ||
            w->before[OURS].st_ino != now[OURS].st_ino || w->before[REF].st_ino != now[REF].st_ino)
            continue;
        compare_change(r, w, "mtime",
                       (const struct timespec *[]){&w->before[OURS].st_mtim, &w->before[REF].st_mtim},
                       (const struct timespec *[]){&now[OURS].st_mtim, &now[REF].st_mtim});
        compare_change(r, w, "ctime",
                       (const struct timespec *[]){&w->before[OURS].st_ctim, &w->before[REF].st_ctim},
                       (const struct timespec *[]){&now[OURS].st_ctim, &now[REF].st_ctim});
    }
}

/* ---- one file ------------------------------------------------------------ */

void compare_bytes(struct run *r, const char *what, const void *ours, const void *ref, size_t n)
{
    if (r->sides < SIDES || memcmp(ours, ref, n) == 0)
        return;
    const uint8_t *a = ours, *b = ref;
    size_t at = 0;
    while (a[at] == b[at])
        at++;
    size_t differ = 0;
    for (size_t i = at; i < n; i++)
        differ += a[i] != b[i];
    wrong(r, "%s: byte %zu of %zu: ours %02x, the reference %02x; %zu bytes differ", what, at, n, a[at],
          b[at], differ);
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
    return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

/* What our side calls a hole has to be zeros, a hole ends every file, and data and holes take turns. */
static void check_holes(struct run *r, const char *path, int fd, const uint8_t *content, off_t size)
{
    off_t at = 0;
    while (at < size) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0 && errno != ENXIO)
            wrong(r, "%s: SEEK_DATA %lld: %s", path, (long long)at, strerror(errno));
        off_t hole_end = data < 0 ? size : data;
        if (hole_end < at || hole_end > size)
            wrong(r, "%s: SEEK_DATA %lld gives %lld of %lld", path, (long long)at, (long long)data,
                  (long long)size);
        if (!all_zero(content + at, (size_t)(hole_end - at)))
            wrong(r, "%s: there is data in the hole from %lld to %lld", path, (long long)at,
                  (long long)hole_end);
        if (data < 0)
            break;
        at = lseek(fd, data, SEEK_HOLE);
        if (at <= data || at > size)
            wrong(r, "%s: SEEK_HOLE %lld gives %lld of %lld", path, (long long)data, (long long)at,
                  (long long)size);
    }
    errno = 0;
    if (lseek(fd, size, SEEK_DATA) != -1 || errno != ENXIO)
        wrong(r, "%s: SEEK_DATA at the end: %s", path, strerror(errno));
}

/* Whole content in memory that the caller unmaps; NULL for an empty file. */
static uint8_t *slurp(struct run *r, int side, const char *path, int fd, off_t size)
{
    if (size == 0)
        return NULL;
    uint8_t *all = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        wrong(r, "no memory for %lld bytes", (long long)size);
    off_t at = 0;
    while (at < size) {
        ssize_t n = pread(fd, all + at, (size_t)(size - at), at);
        if (n <= 0)
            wrong(r, "%s: side %d: reading at %lld of %lld: %s", path, side, (long long)at, (long long)size,
                  n ? strerror(errno) : "an early end");
        at += n;
    }
    return all;
}

static void compare_names_of_xattrs(struct run *r, const char *path, int fds[SIDES]);

void compare_file(struct run *r, const char *path, bool cold)
{
    int fds[SIDES];
    struct stat st[SIDES];
    uint8_t *all[SIDES];
    for (int s = 0; s < r->sides; s++) {
        fds[s] = openat(r->root[s], path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fds[s] < 0 || fstat(fds[s], &st[s]))
            wrong(r, "%s: side %d cannot be opened: %s", path, s, strerror(errno));
        if (cold && s == OURS)
            (void)posix_fadvise(fds[s], 0, 0, POSIX_FADV_DONTNEED);
    }
    if (r->sides == SIDES)
        compare_stat(r, path, &st[OURS], &st[REF]);
    for (int s = 0; s < r->sides; s++)
        all[s] = slurp(r, s, path, fds[s], st[s].st_size);
    if (r->sides == SIDES && st[OURS].st_size > 0)
        compare_bytes(r, path, all[OURS], all[REF], (size_t)st[OURS].st_size);
    if (st[OURS].st_size > 0)
        check_holes(r, path, fds[OURS], all[OURS], st[OURS].st_size);
    if (st[OURS].st_blocks * 512 > st[OURS].st_size + (256 << 10)) /* some is for attributes, and ahead */
        wrong(r, "%s: %lld blocks for %lld bytes", path, (long long)st[OURS].st_blocks,
              (long long)st[OURS].st_size);
    if (st[OURS].st_blocks == 0 && st[OURS].st_size > 0 && !all_zero(all[OURS], (size_t)st[OURS].st_size))
        wrong(r, "%s: no blocks, but content", path);
    if (r->sides == SIDES)
        compare_names_of_xattrs(r, path, fds);
    for (int s = 0; s < r->sides; s++) {
        if (all[s])
            (void)munmap(all[s], (size_t)st[s].st_size);
        (void)close(fds[s]);
    }
}

/* ---- extended attributes ------------------------------------------------- */

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Splits a list of xattr names into sorted words; returns how many. */
static size_t split(char *list, ssize_t size, char **words, size_t cap)
{
    size_t n = 0;
    for (ssize_t at = 0; at < size && n < cap; at += (ssize_t)strlen(list + at) + 1)
        words[n++] = list + at;
    qsort(words, n, sizeof *words, compare_words);
    return n;
}

static void compare_names_of_xattrs(struct run *r, const char *path, int fds[SIDES])
{
    char lists[SIDES][LIST_MAX], value[SIDES][VALUE_MAX];
    char *words[SIDES][64];
    size_t n[SIDES];
    for (int s = 0; s < SIDES; s++) {
        ssize_t size = flistxattr(fds[s], lists[s], LIST_MAX);
        if (size < 0)
            wrong(r, "%s: side %d: listxattr: %s", path, s, strerror(errno));
        n[s] = split(lists[s], size, words[s], 64);
    }
    if (n[OURS] != n[REF])
        wrong(r, "%s: ours has %zu xattrs, the reference %zu", path, n[OURS], n[REF]);
    for (size_t i = 0; i < n[OURS]; i++) {
        if (strcmp(words[OURS][i], words[REF][i]) != 0)
            wrong(r, "%s: xattr %s here, %s there", path, words[OURS][i], words[REF][i]);
        ssize_t size[SIDES];
        for (int s = 0; s < SIDES; s++)
            size[s] = fgetxattr(fds[s], words[s][i], value[s], VALUE_MAX);
        if (size[OURS] < 0 || size[OURS] != size[REF])
            wrong(r, "%s: xattr %s: %zd bytes here, %zd there", path, words[OURS][i], size[OURS], size[REF]);
        compare_bytes(r, words[OURS][i], value[OURS], value[REF], (size_t)size[OURS]);
    }
}

/* ---- trees --------------------------------------------------------------- */

/* Which inode of ours is which of the reference; a name more must not make another pair. */
struct pairs {
    struct pair {
        ino_t ours, ref;
        nlink_t links, seen;
        char path[PATH_CAP];
    } * all;
    size_t n, cap;
};

static struct pair *pair_of(struct run *r, struct pairs *pairs, ino_t ours, ino_t ref, const char *path)
{
    for (size_t i = 0; i < pairs->n; i++) {
        struct pair *p = &pairs->all[i];
        if (p->ours == ours && p->ref == ref)
            return p;
        if (p->ours == ours || p->ref == ref)
            wrong(r, "%s and %s: one file %s, two %s", p->path, path, p->ours == ours ? "here" : "there",
                  p->ours == ours ? "there" : "here");
    }
    if (pairs->n == pairs->cap) {
        pairs->cap = pairs->cap * 2 + 64;
        pairs->all = realloc(pairs->all, pairs->cap * sizeof *pairs->all);
        if (!pairs->all)
            abort();
    }
    struct pair *p = &pairs->all[pairs->n++];
    *p = (struct pair){.ours = ours, .ref = ref};
    (void)snprintf(p->path, PATH_CAP, "%s", path);
    return p;
}

/* All that have a name have it in this tree. */
static void check_links(struct run *r, const struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->n; i++)
        if (pairs->all[i].links != pairs->all[i].seen)
            wrong(r, "%s: %lu names, but %lu links", pairs->all[i].path, (unsigned long)pairs->all[i].seen,
                  (unsigned long)pairs->all[i].links);
}

static int not_dots(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static void free_list(struct dirent **list, int n)
{
    for (int i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

static void compare_symlink(struct run *r, const char *path)
{
    char target[SIDES][PATH_MAX];
    ssize_t n[SIDES];
    for (int s = 0; s < SIDES; s++)
        n[s] = readlinkat(r->root[s], path, target[s], PATH_MAX);
    if (n[OURS] < 0 || n[OURS] != n[REF])
        wrong(r, "%s: target of %zd bytes here, %zd there", path, n[OURS], n[REF]);
    compare_bytes(r, path, target[OURS], target[REF], (size_t)n[OURS]);
}

static void compare_folder(struct run *r, struct pairs *pairs, const char *path);

static void compare_entry(struct run *r, struct pairs *pairs, const char *path)
{
    struct stat st[SIDES];
    for (int s = 0; s < SIDES; s++)
        if (fstatat(r->root[s], path, &st[s], AT_SYMLINK_NOFOLLOW))
            wrong(r, "%s is listed on side %d, but: %s", path, s, strerror(errno));
    compare_stat(r, path, &st[OURS], &st[REF]);
    if (S_ISDIR(st[OURS].st_mode)) {
        compare_folder(r, pairs, path);
        return;
    }
    struct pair *p = pair_of(r, pairs, st[OURS].st_ino, st[REF].st_ino, path);
    p->links = st[OURS].st_nlink;
    p->seen++;
    if (S_ISREG(st[OURS].st_mode) && p->seen == 1)
        compare_file(r, path, true);
    else if (S_ISLNK(st[OURS].st_mode))
        compare_symlink(r, path);
}

static void compare_folder(struct run *r, struct pairs *pairs, const char *path)
{
    struct dirent **list[SIDES];
    int n[SIDES];
    for (int s = 0; s < SIDES; s++) {
        n[s] = scandirat(r->root[s], *path ? path : ".", &list[s], not_dots, alphasort);
        if (n[s] < 0)
            wrong(r, "%s: side %d cannot be listed: %s", path, s, strerror(errno));
    }
    for (int i = 0; i < n[OURS] || i < n[REF]; i++) {
        const char *ours = i < n[OURS] ? list[OURS][i]->d_name : "nothing";
        const char *ref = i < n[REF] ? list[REF][i]->d_name : "nothing";
        if (strcmp(ours, ref) != 0)
            wrong(r, "folder '%s': ours has %s where the reference has %s", path, ours, ref);
        if (list[OURS][i]->d_type != list[REF][i]->d_type)
            wrong(r, "%s/%s: type %d here, %d there", path, ours, list[OURS][i]->d_type,
                  list[REF][i]->d_type);
        char below_it[PATH_CAP + 256];
        (void)snprintf(below_it, sizeof(below_it), "%s%s%s", path, *path ? "/" : "", ours);
        compare_entry(r, pairs, below_it);
    }
    for (int s = 0; s < SIDES; s++)
        free_list(list[s], n[s]);
}

void compare_trees(struct run *r)
{
    struct pairs pairs = {0};
    say(r, "comparing the whole trees");
    compare_folder(r, &pairs, "");
    check_links(r, &pairs);
    free(pairs.all);
}

/* ---- a tree alone -------------------------------------------------------- */

static uint64_t mix(uint64_t digest, const void *data, size_t n)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n; i++)
        digest = (digest ^ bytes[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return digest;
}

static uint64_t survey_file(struct run *r, const char *path, const struct stat *st, uint64_t digest)
{
    compare_file(r, path, true);
    int fd = openat(r->root[OURS], path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        wrong(r, "%s: %s", path, strerror(errno));
    uint8_t *all = slurp(r, OURS, path, fd, st->st_size);
    digest = mix(digest, all, (size_t)st->st_size);
    if (all)
        (void)munmap(all, (size_t)st->st_size);
    (void)close(fd);
    return digest;
}

static uint64_t survey_folder(struct run *r, struct pairs *pairs, const char *path, uint64_t digest)
{
    struct dirent **list;
    struct stat st;
    nlink_t links = 2;
    int n = scandirat(r->root[OURS], *path ? path : ".", &list, not_dots, alphasort);
    if (n < 0)
        wrong(r, "%s cannot be listed: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        char name[PATH_CAP + 256];
        (void)snprintf(name, sizeof(name), "%s%s%s", path, *path ? "/" : "", list[i]->d_name);
        if (i > 0 && strcmp(list[i]->d_name, list[i - 1]->d_name) == 0)
            wrong(r, "%s is listed twice", name);
        if (fstatat(r->root[OURS], name, &st, AT_SYMLINK_NOFOLLOW))
            wrong(r, "%s is listed, but: %s", name, strerror(errno));
        const uint64_t words[] = {st.st_mode,
                                  st.st_nlink,
                                  st.st_uid,
                                  st.st_gid,
                                  (uint64_t)st.st_mtim.tv_sec,
                                  (uint64_t)st.st_mtim.tv_nsec,
                                  (uint64_t)st.st_size};
        digest = mix(mix(digest, name, strlen(name)), words, sizeof(words));
        if (S_ISDIR(st.st_mode)) {
            links++;
            digest = survey_folder(r, pairs, name, digest);
            continue;
        }
        struct pair *p = pair_of(r, pairs, st.st_ino, st.st_ino, name);
        p->links = st.st_nlink;
        p->seen++;
        if (S_ISREG(st.st_mode))
            digest = survey_file(r, name, &st, digest);
    }
    free_list(list, n);
    if (fstatat(r->root[OURS], *path ? path : ".", &st, 0) || st.st_nlink != links)
        wrong(r, "folder '%s': %lu links, %lu expected", path, (unsigned long)st.st_nlink,
              (unsigned long)links);
    return digest;
}

uint64_t survey(struct run *r)
{
    struct pairs pairs = {0};
    uint64_t digest = survey_folder(r, &pairs, "", UINT64_C(0xcbf29ce484222325));
    check_links(r, &pairs);
    free(pairs.all);
    return digest;
}
