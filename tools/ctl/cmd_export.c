/*
 * cmd_export.c - engramctl export: a store or mount out as JSON lines, as a
 * directory tree or as a tar archive. State: struct export, for one run. */
#include "ctl/subcommand.h"
#include "ctl/transfer/copy.h"
#include "ctl/transfer/fields.h"
#include "ctl/transfer/guarded.h"
#include "ctl/transfer/jsonl.h"
#include "ctl/transfer/place.h"
#include "ctl/transfer/tar.h"
#include "ctl/transfer/target.h"
#include "ctl/transfer/temporary.h"
#include "ctl/transfer/trueid.h"
#include "ctl/transfer/trust.h"
#include "ctl/transfer/walk.h"
#include "shared/buf.h"
#include "shared/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help_text[] =
    "usage: engramctl export [--format jsonl|tree|tar] [--snapshot [--store STORE]|--tree]\n"
    "                        [--at AT] [--trust] [--json] TARGET [OUT|-]\n"
    "\n"
    "Writes the memories of TARGET, a store or a mount point or directory of a mount.\n"
    "\n"
    "  --format jsonl   one JSON object a line, to the file OUT or to standard output\n"
    "                   (the default unless OUT is called .tar); see engramctl import\n"
    "                   --help for the keys\n"
    "  --format tree    into the directory OUT, which must be missing or empty: files,\n"
    "                   directories, symlinks, hard links, modes, times, attributes\n"
    "  --format tar     the same as a tar archive (pax), to the file OUT or to standard\n"
    "                   output; GNU tar --xattrs and bsdtar read it\n"
    "  --json           the summary as JSON, on standard output, or on standard error when\n"
    "                   the export goes to standard output\n"
    "\n"
    "  --snapshot       of a mount: everything as it is at one moment, while writers go on.\n"
    "                   Its store is read besides its daemon, which removes no segment until\n"
    "                   this ends (see .engram/hold); needs leave to read the store's folder\n"
    "  --store STORE    with --snapshot: where that folder is, if not where the mount says\n"
    "\n"
    "  --at AT          as it was in the snapshot of that name, or after the batch of that\n"
    "                   number, if a snapshot or the history has it; of a mount with --snapshot\n"
    "\n"
    "  --tree           TARGET is a plain directory, a backup by rsync, say\n"
    "  --trust          as root, of a store or mount that is not root's: also set-ID bits of\n"
    "                   what is not its owner's, devices, trusted.* and security.* attributes.\n"
    "                   Whoever owns a store may put anything there; else these are left out\n"
    "                   and told, exit code 1. So is, without it, what other users have mounted\n"
    "                   with FUSE in a plain directory\n"
    "\n"
    "JSON lines hold the regular files with their user.* attributes; modes, owners,\n"
    "empty directories and links are in a tree or archive only. Bytes that are not UTF-8\n"
    "come out under keys that end in _base64, as does a content over 64 KiB that is shorter\n"
    "so. A memory over 512 MiB, or a line over 1 GiB, needs another format.\n"
    "An OUT file appears under its name only when it is complete, and is for its owner\n"
    "alone (mode 0600). If the listing of a folder breaks off, so that nobody knows what is\n"
    "missing, it is called OUT.incomplete, and an older OUT stays. Files that an import has\n"
    "not finished (.engramctl-NUMBER-NUMBER.part) are no memories: left out, and named.\n"
    "\n"
    "Exit codes: 0 all exported, 1 what is named on standard error could not be read, 2 not\n"
    "exported, or a folder was not listed to its end.\n";

#define CONTENT_MAX ((uint64_t)512 << 20)
#define OUT_BUFFER ((size_t)1 << 20)

struct export
{
    struct target *t;
    int fd;
    struct buf out, content;
    struct pool pool;
    uint64_t memories, others, guarded; /* guarded attributes are left out */
    uint64_t folders, cut, unfinished;  /* as in struct copy_result */
    uint64_t total;                     /* memories to come, for the progress; 0: unknown */
    struct complaints failed;
    struct progress progress;
};

static int flush_out(struct export *ex)
{
    for (size_t done = 0; done < ex->out.len;) {
        ssize_t n = write(ex->fd, ex->out.data + done, ex->out.len - done);
        if (n < 0 && errno == EINTR && !cli_interrupted())
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    buf_reset(&ex->out);
    return 0;
}

/* All user.* attributes of a file; user.engram.id becomes the id if it is true. */
static int load_xattrs(struct export *ex, const struct walk *w, struct target_file *f, struct memory *m)
{
    const struct eng_xattr_pair *all;
    size_t n;
    int r = target_load_xattrs(ex->t, f, &ex->pool, &all, &n);
    m->xattrs = !r ? pool_alloc(&ex->pool, (n + 1) * sizeof *m->xattrs) : NULL;
    if (!m->xattrs)
        return r < 0 ? r : -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (guarded_is(all[i].name)) {
            ex->guarded++;
        } else if (strcmp(all[i].name, FIELD_XATTR_ID) != 0) {
            m->xattrs[m->n_xattrs++] = all[i];
        } else if (trueid_is(w, all[i].value, all[i].size)) {
            m->id = all[i].value;
            m->id_len = all[i].size;
        }
    }
    return 0;
}

/* A true id is kept from the mount's root on; in a folder of the mount ids start at that folder. */
static void strip_prefix(struct export *ex, struct memory *m)
{
    size_t n = ex->t->prefix ? strlen(ex->t->prefix) : 0;
    if (n && m->id_len > n && !memcmp(m->id, ex->t->prefix, n) && m->id[n] == '/') {
        m->id += n + 1;
        m->id_len -= n + 1;
    }
}

static int export_file(struct export *ex, struct walk *w)
{
    struct target_file f;
    struct memory m = {.created = JSONL_NO_TIME};
    pool_reset(&ex->pool);
    int r = target_open_file(ex->t, w->dir, w->name, &w->attr, &f);
    if (r < 0)
        return r;
    r = load_xattrs(ex, w, &f, &m);
    if (!r && !m.id && w->path_len > WALK_PATH_MAX)
        r = -ENAMETOOLONG;
    if (!r)
        r = target_read_all(ex->t, &f, w->attr.size, CONTENT_MAX, &ex->content);
    (void)ex->t->ops->close(ex->t, &f);
    if (r < 0)
        return r;
    if (m.id)
        strip_prefix(ex, &m);
    else
        m.id = w->path, m.id_len = w->path_len;
    m.content = ex->content.data;
    m.content_len = ex->content.len;
    size_t mark = ex->out.len;
    r = jsonl_print(&m, &ex->pool, &ex->out);
    if (r < 0) {
        buf_reset(&ex->out);
        ex->out.len = mark;
    }
    return r;
}

static const char *why(const struct walk *w, int error)
{
    if (error == -EFBIG)
        return "too large for a line of JSON, use --format tar or tree";
    return error == -ENAMETOOLONG && w->path_len > WALK_PATH_MAX ? walk_too_long : target_strerror(error);
}

static int export_entry(struct export *ex, struct walk *w)
{
    if (!S_ISREG(w->attr.mode)) {
        ex->others++;
        return 0;
    }
    int r = export_file(ex, w);
    if (!r) {
        ex->memories++;
        return 0;
    }
    if (r == -ENOENT || r == -ESTALE)
        return walk_gone(w);
    int gone = target_still_there(ex->t);
    if (gone < 0)
        return gone;
    cli_complain(&ex->failed, "%.400s: %s", w->path, why(w, r));
    return 0;
}

/* What the walk could not come to. */
static int export_loss(struct export *ex, struct walk *w)
{
    int r = target_still_there(ex->t);
    if (!r)
        cli_complain(&ex->failed, "%.400s: %s", w->path_len ? w->path : ex->t->path, walk_why(w));
    return r;
}

static int export_all(struct export *ex)
{
    struct walk w;
    enum walk_event event;
    int r = walk_init(&w, ex->t);
    while (!r && (event = walk_next(&w)) != WALK_END) {
        if (event == WALK_ENTRY)
            r = export_entry(ex, &w);
        else if (event == WALK_ERROR)
            r = export_loss(ex, &w);
        if (!r && ex->out.len >= OUT_BUFFER)
            r = flush_out(ex);
        if (!r && cli_interrupted())
            r = -EINTR;
        progress_show(&ex->progress, ex->memories, ex->total);
    }
    ex->folders = w.folders;
    ex->cut = w.cut;
    ex->unfinished = w.unfinished.n;
    walk_done(&w);
    return r < 0 ? r : flush_out(ex);
}

/* The output: standard output, a special file, or a file that is renamed into place at the end. It has
 * everybody's memories: who else may read it is for the user to say. */
struct out {
    const char *path;   /* NULL: standard output */
    struct place place; /* where it has its name, or gets it */
    bool is_file;
    char temporary[NAME_MAX + 32]; /* beside that; empty: it has none yet, and is gone if we are */
    int fd;
};

static int name_temporary(struct out *o)
{
    int n = snprintf(o->temporary, sizeof o->temporary, "%s.%" PRIu32 ".part", o->place.name,
                     (uint32_t)temporary_number());
    return n > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* A file without a name, or where there are none, or nobody could give it one later, by a temporary one. */
static int make_out(struct out *o)
{
    char path[PLACE_PATH];
    int r = name_temporary(o);
    if (r < 0)
        return r;
    int fd = openat(o->place.folder, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd >= 0 && access(place_path(fd, path), F_OK) == 0) {
        o->temporary[0] = 0;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        fd = openat(o->place.folder, o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST)
            return fd >= 0 ? fd : -errno;
        (void)name_temporary(o);
    }
    return -EEXIST;
}

static int out_open(struct out *o, const char *path)
{
    struct stat st = {.st_mode = S_IFREG};
    *o = (struct out){.fd = STDOUT_FILENO};
    if (!path || !strcmp(path, "-"))
        return 0;
    o->path = path;
    o->fd = -1;
    int r = place_open(path, &o->place);
    if (r < 0)
        return r;
    if (o->place.fd >= 0 && fstat(o->place.fd, &st) < 0)
        r = -errno;
    else if (S_ISDIR(st.st_mode))
        r = -EISDIR;
    else if (!S_ISREG(st.st_mode))
        r = o->fd = place_open_special(&o->place, &st);
    else
        r = o->fd = make_out(o);
    o->is_file = S_ISREG(st.st_mode);
    if (r < 0)
        place_close(&o->place);
    return r < 0 ? r : 0;
}

/* An archive in the mount that it is made of does not hold itself. */
static void out_leave_out(const struct out *o, struct target *t)
{
    struct stat st;
    if (o->is_file && fstat(o->fd, &st) == 0)
        target_leave_out(t, st.st_dev, st.st_ino);
}

/* Gives a file without a name one: its own, if nobody has it, else a temporary one, which it has then. */
static int link_out(struct out *o, const char *name)
{
    char path[PLACE_PATH];
    int r = -EEXIST;
    for (int i = 0; r == -EEXIST && i < TEMPORARY_TRIES; i++) {
        if (i && (r = name_temporary(o)) < 0)
            return r;
        r = linkat(AT_FDCWD, place_path(o->fd, path), o->place.folder, i ? o->temporary : name,
                   AT_SYMLINK_FOLLOW);
        r = r < 0 ? -errno : 0;
    }
    if (r < 0)
        o->temporary[0] = 0;
    return r;
}

/* Gives it its name; or one for an export of which nobody knows how much is missing: what was there stays. */
static int out_give_name(struct out *o, bool whole)
{
    char aside[NAME_MAX + 1];
    const struct place *p = &o->place;
    if (snprintf(aside, sizeof aside, "%s.incomplete", p->name) >= (int)sizeof aside && !whole)
        return -ENAMETOOLONG;
    const char *name = whole ? p->name : aside;
    int r = o->temporary[0] ? 0 : link_out(o, name);
    if (r < 0 || !o->temporary[0])
        return r;
    return renameat(p->folder, o->temporary, p->folder, name) < 0 ? -errno : 0;
}

/* Ends an export that came to `r`; `cut` folders of it were not listed to their end. */
static int out_close(struct out *o, int r, uint64_t cut)
{
    if (!o->path)
        return r;
    if (!r && o->is_file && fsync(o->fd) < 0)
        r = -errno;
    if (!r && o->is_file)
        r = out_give_name(o, cut == 0);
    if (close(o->fd) < 0 && !r)
        r = -errno;
    if (o->temporary[0] && r < 0)
        (void)unlinkat(o->place.folder, o->temporary, 0);
    place_close(&o->place);
    return r;
}

/* What an export that ended with `r` came to. `name` is where it went. */
static void conclude(int r, const char *name)
{
    if (r == -EINTR)
        cli_error("interrupted");
    else if (r < 0 && r != -ECANCELED) /* which was told */
        cli_error("%s: %s", name, strerror(-r));
}

/* The exit code, and what is to be said about an export that is not whole. `out`: NULL: a tree. */
static int verdict(const struct out *out, const char *name, uint64_t failed, uint64_t cut)
{
    if (cut && out && out->is_file)
        cli_error("%s was not touched: %" PRIu64 " folders could not be listed to their end. What could be "
                  "read is in %s.incomplete",
                  name, cut, name);
    else if (cut)
        cli_error("%s is not whole: %" PRIu64 " folders could not be listed to their end", name, cut);
    if (cut)
        return CLI_ERROR;
    return failed ? CLI_SOME : CLI_OK;
}

/* Where the summary goes: standard output may be taken by the export itself. */
static FILE *summary_stream(const struct out *out, bool json)
{
    return json && (!out || out->path) ? stdout : stderr;
}

#define FOLDERS_TEXT 64

/* Of what could not be read: how many were folders, which had more in them than a count can say. */
static const char *folders_text(uint64_t n, char text[FOLDERS_TEXT])
{
    text[0] = 0;
    if (n)
        snprintf(text, FOLDERS_TEXT, ", of that %" PRIu64 " folders with what is in them", n);
    return text;
}

static int export_jsonl(struct target *t, const char *path, bool json)
{
    struct export ex = {.t = t, .total = target_count(t)};
    struct out out;
    char text[FOLDERS_TEXT];
    const char *name = path && strcmp(path, "-") != 0 ? path : "standard output";
    int r = out_open(&out, path);
    if (r < 0) {
        cli_error("%s: %s", name, r == -EACCES ? "not ours to write to" : target_strerror(r));
        return CLI_ERROR;
    }
    ex.fd = out.fd;
    out_leave_out(&out, t);
    progress_start(&ex.progress, "memories");
    r = export_all(&ex);
    r = out_close(&out, r, ex.cut);
    progress_clear(&ex.progress);
    conclude(r, name);
    double seconds = cli_seconds_since(&ex.progress.start);
    if (!r && json)
        fprintf(summary_stream(&out, true),
                "{\"memories\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"folders_failed\": %" PRIu64
                ", \"left_out\": %" PRIu64 ", \"unfinished\": %" PRIu64 ", \"seconds\": %.3f}\n",
                ex.memories, ex.failed.n, ex.folders + ex.cut, ex.others, ex.unfinished, seconds);
    else if (!r && (out.path || isatty(STDERR_FILENO)))
        fprintf(stderr, "exported %" PRIu64 " memories in %.1f s; %" PRIu64 " could not be read%s\n",
                ex.memories, seconds, ex.failed.n, folders_text(ex.folders + ex.cut, text));
    if (!r && ex.others)
        cli_warning("%" PRIu64 " symlinks or special files left out: --format tar or tree exports them",
                    ex.others);
    if (!r && ex.guarded)
        cli_warning("%" PRIu64
                    " trusted.* and security.* attributes left out: --format tar or tree exports them",
                    ex.guarded);
    buf_done(&ex.out);
    buf_done(&ex.content);
    pool_done(&ex.pool);
    if (r < 0)
        return CLI_ERROR;
    return verdict(&out, name, ex.failed.n, ex.cut);
}

static void print_copy(FILE *to, const struct copy_result *res, bool json)
{
    char text[FOLDERS_TEXT];
    uint64_t folders = res->folders + res->cut;
    if (json)
        fprintf(to,
                "{\"files\": %" PRIu64 ", \"directories\": %" PRIu64 ", \"others\": %" PRIu64
                ", \"hard_links\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"folders_failed\": %" PRIu64
                ", \"unfinished\": %" PRIu64 "}\n",
                res->files, res->dirs, res->others, res->links, res->failed, folders, res->unfinished);
    else
        fprintf(to,
                "exported %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " others, %" PRIu64
                " hard links; %" PRIu64 " failed%s\n",
                res->files, res->dirs, res->others, res->links, res->failed, folders_text(folders, text));
}

static int export_tree(struct target *t, const char *path, bool json)
{
    struct target *to;
    struct copy_result res;
    char why[512];
    if (!path || !strcmp(path, "-"))
        return cli_usage("export", "--format tree needs a directory to write to");
    int r = target_open_tree(path, TARGET_CREATE | TARGET_FIELDS, &to, why);
    if (r < 0) {
        cli_error("%s", why);
        return CLI_ERROR;
    }
    r = copy_tree(t, to, 0, &res);
    int c = target_close(to);
    r = r < 0 ? r : c;
    conclude(r, path);
    if (r < 0)
        return CLI_ERROR;
    print_copy(summary_stream(NULL, json), &res, json);
    return verdict(NULL, path, res.failed, res.cut);
}

static int export_tar(struct target *t, const char *path, bool json)
{
    struct out out;
    struct copy_result res;
    const char *name = path && strcmp(path, "-") != 0 ? path : "standard output";
    if (name != path && isatty(STDOUT_FILENO))
        return cli_usage("export", "an archive is not written to a terminal");
    int r = out_open(&out, path);
    if (r < 0) {
        cli_error("%s: %s", name, r == -EACCES ? "not ours to write to" : target_strerror(r));
        return CLI_ERROR;
    }
    out_leave_out(&out, t);
    r = tar_export(t, out.fd, &res);
    r = out_close(&out, r, res.cut);
    conclude(r, name);
    if (r < 0)
        return CLI_ERROR;
    if (json || out.path || isatty(STDERR_FILENO)) /* in a pipe only trouble is told */
        print_copy(summary_stream(&out, json), &res, json);
    return verdict(&out, name, res.failed, res.cut);
}

struct choice {
    const char *format, *store, *at;
    bool json, plain, snapshot, trust;
};

/* -1, or an exit code. */
static int read_options(int argc, char **argv, struct choice *ret)
{
    const struct subcommand_option options[] = {
        {"format", NULL, &ret->format}, {"store", NULL, &ret->store},
        {"at", NULL, &ret->at},         {"snapshot", &ret->snapshot, NULL},
        {"tree", &ret->plain, NULL},    {"json", &ret->json, NULL},
        {"trust", &ret->trust, NULL},   {0}};
    int code = subcommand_options(argc, argv, "export", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind < 1 || argc - optind > 2)
        return cli_usage("export", "expected TARGET and perhaps OUT");
    if (ret->plain && ret->snapshot)
        return cli_usage("export", "--snapshot is of a mount, and --tree is none");
    if (ret->store && !ret->snapshot)
        return cli_usage("export", "--store goes with --snapshot");
    if (ret->plain && ret->at)
        return cli_usage("export", "--at is of a store, and --tree is none");
    return -1;
}

static struct target *open_source(const char *path, const struct choice *c)
{
    struct target *t;
    char why[512];
    unsigned flags = TARGET_READ_ONLY | TARGET_FIELDS | (c->snapshot ? TARGET_SNAPSHOT : 0u);
    if (!(c->plain ? target_open_tree(path, TARGET_FIELDS, &t, why)
                   : target_open_as(path, c->store, c->at, flags, &t, why)))
        return t;
    cli_error("%s", why);
    return NULL;
}

int cmd_export(int argc, char **argv)
{
    struct choice c = {0};
    int code = read_options(argc, argv, &c);
    if (code >= 0)
        return code;
    const char *out = argc - optind == 2 ? argv[optind + 1] : NULL;
    if (!c.format)
        c.format = out && tar_is_name(out) ? "tar" : "jsonl";
    bool tree = !strcmp(c.format, "tree"), tar = !strcmp(c.format, "tar");
    if (!tree && !tar && strcmp(c.format, "jsonl") != 0)
        return cli_usage("export", "unknown format '%s'", c.format);
    if (tar && !tar_is_built)
        return cli_usage("export", "this engramctl was built without libarchive");
    cli_catch_signals(); /* before a mount is asked to hold its segments */
    struct target *t = open_source(argv[optind], &c);
    if (!t)
        return CLI_ERROR;
    trust_begin(t, c.trust);
    if (tree)
        code = export_tree(t, out, c.json);
    else
        code = tar ? export_tar(t, out, c.json) : export_jsonl(t, out, c.json);
    (void)target_close(t); /* nothing was written to it */
    return code;
}
