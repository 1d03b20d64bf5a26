/*
 * cmd_restore.c - engramctl restore: memories of a store become what they were, or a copy of what one was is
 * made. State: struct restore, for one run. */
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "rules/rfc3339.h"
#include "shared/cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char help_text[] =
    "usage: engramctl restore STORE PATH@WHEN...\n"
    "       engramctl restore STORE FOLDER@WHEN\n"
    "       engramctl restore --to NEWPATH STORE PATH@WHEN\n"
    "\n"
    "Gives the memory at PATH the content, mode, owner and fields that PATH had at WHEN: the\n"
    "name of a snapshot, the number of a batch, or a time (2026-11-28T12:00:00Z). What is\n"
    "there now is kept as a version. Of several memories all become what they were, or none\n"
    "does. A memory keeps its inode number, its other names, and fields that history_ignore\n"
    "names; its time of modification is that of the restoring. Where nothing has that name\n"
    "now, a new memory gets it.\n"
    "\n"
    "STORE must not be mounted: of a mount, copy from .engram/snapshots or .engram/at.\n"
    "PATH is relative to the root of the store; the last '@' in the argument counts.\n"
    "\n"
    "A folder becomes what it was with all that is below it, at once: what has come since\n"
    "goes, what was removed comes back, with numbers, links and times of then. At most 4,096\n"
    "names and memories may differ, and nothing of it may have come from another folder, or\n"
    "gone there. Of the whole store: engramctl snapshot rollback.\n"
    "\n"
    "What a memory itself had is not copied. Of a path that led to another one (an editor\n"
    "that saves by renaming) content is copied, but for blocks that are the same: if more\n"
    "than 16 MiB differ, --to makes a copy. A store that keeps no history keeps what was\n"
    "there only as long as a snapshot shows it: take one first.\n"
    "\n"
    "  --to NEWPATH   make another memory of it, with its times, where nothing is yet\n"
    "\n"
    "Exit codes: 0 done, 2 nothing was done, or the disk may not have taken it, which is said.\n";

#define COPY_PIECE ((size_t)1 << 20)

struct source {
    char *path; /* of the argument, without the rest */
    uint64_t batch;
    struct eng_attr then;
};

struct restore {
    struct target *t;
    struct source *sources;
    struct eng_restore *restores;
    size_t n, n_restores;
    bool takes_folder; /* it is the only one, and no copy is asked for */
};

/* ---- what and when -------------------------------------------------------------- */

static int find_batch(struct eng *eng, const char *when, uint64_t *ret_batch)
{
    int64_t time;
    char *end;
    int r = eng_snapshot_find(eng, when, ret_batch);
    if (r != -ENOENT && r != -EINVAL && r != -ENAMETOOLONG)
        return r;
    if (*when && !when[strspn(when, "0123456789")]) {
        errno = 0;
        *ret_batch = strtoull(when, &end, 10);
        return errno ? -ENOENT : 0;
    }
    return rfc3339_parse(when, strlen(when), &time) ? eng_past_at(eng, time, ret_batch) : -EINVAL;
}

static bool is_folder_path(const char *path)
{
    size_t n = strlen(path);
    return n && path[n - 1] == '/';
}

/* Looks the path up, of the store or, of one of its views, as that shows it; of all but the last component if
 * `ret_name`, which becomes that. */
static int find_path(struct restore *re, struct eng_view *view, const char *path, const char **ret_name,
                     struct eng_attr *ret_attr)
{
    char name[ENG_NAME_MAX + 1];
    struct eng_attr at = {.ino = ENG_ROOT_INO, .mode = S_IFDIR};
    bool is_folder = is_folder_path(path);
    int r = 0;
    for (path += strspn(path, "/"); *path && !r; path += strspn(path, "/")) {
        size_t n = strcspn(path, "/");
        if (ret_name && !path[n + strspn(path + n, "/")])
            break;
        if (n > ENG_NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, path, n);
        name[n] = 0;
        path += n;
        r = view ? eng_view_lookup(view, at.ino, name, &at) : eng_lookup(re->t->eng, NULL, at.ino, name, &at);
    }
    if (ret_name)
        *ret_name = path;
    else if (!r && is_folder && !S_ISDIR(at.mode))
        r = -ENOTDIR;
    if (!r)
        *ret_attr = at;
    return r;
}

static const char *error_text(int error)
{
    switch (error) {
    case -ESTALE:
        return "that state is not kept";
    case -EINVAL:
        return "is no memory";
    case -EEXIST:
        return "there is something already";
    case -EPERM:
        return "is where mounts have their control files";
    case -E2BIG:
        return "more than 4,096 names and memories at once";
    case -EFBIG:
        return "more than 16 MiB of it differ, or too many pieces: --to makes a copy";
    case -EXDEV:
        return "something in it was in another folder, or is there now: restore one above both";
    default:
        return strerror(-error);
    }
}

/* What the argument says: finds the batch, and what the path was then. */
static int find_source(struct restore *re, struct source *s, const char *when)
{
    struct eng_view *view = NULL;
    int r = find_batch(re->t->eng, when, &s->batch);
    if (r == -EINVAL)
        cli_error("%s: '%s' is no snapshot, batch or time", s->path, when);
    if (!r)
        r = eng_view_open(re->t->eng, s->batch, &view);
    if (r && r != -EINVAL)
        cli_error("%s: %s: %s", s->path, when, r == -ENOENT ? "nothing is kept of then" : strerror(-r));
    if (r)
        return r;
    r = find_path(re, view, s->path, NULL, &s->then);
    if (r)
        cli_error("%s: at %s: %s", s->path, when, error_text(r));
    bool is_right = S_ISREG(s->then.mode) || (S_ISDIR(s->then.mode) && re->takes_folder);
    if (!r && !is_right) {
        cli_error("%s: was no memory at %s", s->path, when);
        r = -EINVAL;
    }
    eng_view_close(view);
    return r;
}

static int parse(struct restore *re, char **args)
{
    re->sources = calloc(re->n, sizeof *re->sources);
    re->restores = calloc(re->n, sizeof *re->restores);
    int r = re->sources && re->restores ? 0 : -ENOMEM;
    for (size_t i = 0; i < re->n && !r; i++) {
        char *when = strrchr(args[i], '@');
        if (!when || when == args[i]) {
            (void)cli_usage("restore", "'%s' is not PATH@WHEN", args[i]);
            return -EINVAL;
        }
        *when = 0;
        re->sources[i].path = args[i];
        r = find_source(re, &re->sources[i], when + 1);
    }
    return r;
}

/* ---- a copy ------------------------------------------------------------------------ */

static int copy_content(struct eng *eng, struct eng_view *view, uint64_t from, uint64_t ino, uint64_t size)
{
    uint64_t at = 0, hole = 0;
    char *buf = malloc(COPY_PIECE);
    int r = buf ? 0 : -ENOMEM;
    while (!r && at < size && (r = eng_view_seek(view, from, at, SEEK_DATA, &at)) == 0) {
        r = eng_view_seek(view, from, at, SEEK_HOLE, &hole);
        for (ssize_t n = 0; !r && at < hole; at += (uint64_t)n) {
            size_t want = hole - at < COPY_PIECE ? (size_t)(hole - at) : COPY_PIECE;
            n = eng_view_read(view, from, buf, want, at);
            if (n > 0)
                n = eng_write(eng, ino, buf, (size_t)n, at);
            if (n <= 0)
                r = n ? (int)n : -EIO;
            else if (cli_interrupted())
                r = -EINTR;
        }
    }
    free(buf);
    return r == -ENXIO ? 0 : r;
}

static int copy_fields(struct eng *eng, struct eng_view *view, uint64_t from, uint64_t ino)
{
    static char list[ENG_XATTR_LIST_MAX], value[ENG_XATTR_SIZE_MAX];
    ssize_t len = eng_view_listxattr(view, from, list, sizeof list);
    int r = len < 0 ? (int)len : 0;
    for (const char *name = list; !r && name < list + len; name += strlen(name) + 1) {
        ssize_t n = eng_view_getxattr(view, from, name, value, sizeof value);
        r = n < 0 ? (int)n : eng_setxattr(eng, ino, name, value, (size_t)n, 0);
    }
    return r;
}

static int copy_all(struct eng *eng, struct eng_view *view, const struct eng_attr *then, uint64_t ino)
{
    const unsigned mask = ENG_SET_MODE | ENG_SET_UID | ENG_SET_GID | ENG_SET_ATIME | ENG_SET_MTIME;
    int r = eng_setattr(eng, ino, then, ENG_SET_SIZE, NULL);
    if (!r)
        r = copy_content(eng, view, then->ino, ino, then->size);
    if (!r)
        r = copy_fields(eng, view, then->ino, ino);
    return r ? r : eng_setattr(eng, ino, then, mask, NULL);
}

/* Where a new memory may get its name: in which folder, and which. */
static int find_place(struct restore *re, const char *to, struct eng_attr *ret_dir,
                      char ret_name[ENG_NAME_MAX + 1])
{
    const char *name;
    int r = find_path(re, NULL, to, NULL, ret_dir);
    if (r != -ENOENT)
        return r ? r : -EEXIST;
    r = find_path(re, NULL, to, &name, ret_dir);
    if (!r && is_folder_path(to))
        r = -ENOTDIR;
    if (!r && strlen(name) > ENG_NAME_MAX)
        r = -ENAMETOOLONG;
    if (r)
        return r;
    (void)snprintf(ret_name, ENG_NAME_MAX + 1, "%s", name);
    return ret_dir->ino == ENG_ROOT_INO && strcmp(name, ".engram") == 0 ? -EPERM : 0;
}

/* It has no name before it is whole. */
static int make_copy(struct restore *re, const struct source *s, const char *to)
{
    struct eng *eng = re->t->eng;
    const struct eng_caller who = {.uid = s->then.uid, .gid = s->then.gid, .ref = true};
    struct eng_view *view = NULL;
    char name[ENG_NAME_MAX + 1];
    struct eng_attr dir, attr = {0};
    int r = find_place(re, to, &dir, name);
    if (!r)
        r = eng_view_open(eng, s->batch, &view);
    if (!r)
        r = eng_create(eng, &who, dir.ino, NULL, S_IFREG | 0600, 0, NULL, &attr);
    if (!r) {
        r = copy_all(eng, view, &s->then, attr.ino);
        if (!r)
            r = eng_link(eng, NULL, attr.ino, dir.ino, name, NULL);
        (void)eng_forget(eng, attr.ino, 1);
    }
    eng_view_close(view);
    if (r)
        cli_error("%s: %s", to, error_text(r));
    return r;
}

/* ---- in place -------------------------------------------------------------------------- */

/* What the store does not keep otherwise. */
static void warn_of_history(struct eng *eng)
{
    uint64_t batch;
    int64_t time;
    if (eng_past_since(eng, &batch, &time) == -ENOENT)
        cli_warning("the store keeps no history: what was there until now goes, unless a snapshot shows it");
}

static int restore_all(struct restore *re)
{
    int r = eng_restore(re->t->eng, re->restores, re->n_restores);
    if (r)
        cli_error("%s%s: %s", re->sources[0].path, re->n > 1 ? " and others" : "", error_text(r));
    else
        warn_of_history(re->t->eng);
    return r;
}

/* Several names may be of one memory, which becomes one thing. */
static int add_restore(struct restore *re, const struct source *s, uint64_t ino)
{
    size_t i = 0;
    while (i < re->n_restores && re->restores[i].ino != ino)
        i++;
    struct eng_restore *one = &re->restores[i];
    if (i == re->n_restores)
        re->restores[re->n_restores++] = (struct eng_restore){ino, s->then.ino, s->batch};
    if (one->from == s->then.ino && one->batch == s->batch)
        return 0;
    cli_error("%s: is one memory with another one that is named, for which it is to become something else",
              s->path);
    return -EINVAL;
}

/* Which memories there are now; one alone may be missing. */
static int find_now(struct restore *re, bool *ret_missing)
{
    int r = 0;
    *ret_missing = false;
    for (size_t i = 0; i < re->n && !r; i++) {
        struct source *s = &re->sources[i];
        struct eng_attr now;
        r = find_path(re, NULL, s->path, NULL, &now);
        *ret_missing = r == -ENOENT && re->n == 1;
        if (*ret_missing)
            return 0;
        if (!r && !S_ISREG(now.mode))
            r = -EINVAL;
        if (r)
            cli_error("%s: %s", s->path, r == -EINVAL ? "is no memory now" : strerror(-r));
        else
            r = add_restore(re, s, now.ino);
    }
    return r;
}

static int restore_folder(struct restore *re, const struct source *s)
{
    struct eng_attr now;
    uint64_t n;
    int r = find_path(re, NULL, s->path, NULL, &now);
    if (!r && now.ino != s->then.ino)
        r = -ESTALE;
    if (!r)
        r = eng_rollback(re->t->eng, now.ino, s->batch, NULL, NULL, &n);
    if (r)
        cli_error("%s: %s", s->path,
                  r == -ESTALE || r == -ENOENT ? "is not that folder now: restore the one above"
                                               : error_text(r));
    else
        warn_of_history(re->t->eng);
    return r;
}

static int run(struct restore *re, char **args, const char *to)
{
    bool missing = false;
    re->takes_folder = re->n == 1 && !to;
    int r = parse(re, args);
    if (!r && S_ISDIR(re->sources[0].then.mode))
        return restore_folder(re, &re->sources[0]);
    if (!r && !to)
        r = find_now(re, &missing);
    if (r)
        return r;
    if (missing)
        to = re->sources[0].path;
    return to ? make_copy(re, &re->sources[0], to) : restore_all(re);
}

int cmd_restore(int argc, char **argv)
{
    const char *to = NULL;
    const struct subcommand_option options[] = {{"to", NULL, &to}, {0}};
    struct restore re = {0};
    int code = subcommand_options(argc, argv, "restore", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind < 2)
        return cli_usage("restore", "expected STORE and PATH@WHEN");
    if (to && argc - optind > 2)
        return cli_usage("restore", "--to goes with one PATH@WHEN");
    cli_catch_signals();
    re.n = (size_t)(argc - optind - 1);
    re.t = subcommand_open(argv[optind], TARGET_QUIET);
    if (!re.t)
        return CLI_ERROR;
    int r = -EBUSY;
    if (re.t->kind == TARGET_STORE)
        r = run(&re, argv + optind + 1, to);
    else
        cli_error("%s is mounted: copy from its .engram/snapshots or .engram/at", re.t->path);
    int c = target_close(re.t);
    if (c)
        cli_error("%s: %s", argv[optind], strerror(-c));
    free(re.sources);
    free(re.restores);
    return r || c ? CLI_ERROR : CLI_OK;
}
