/*
 * repair.c - see repair.h. State: struct repair, for one run.
 *
 * Three passes: memories that the index names and that are whole are copied as any tree; of those that are
 * damaged the readable bytes; then content behind the damage of a log, which only says itself whose
 * it was. */
#include "ctl/repair.h"

#include "ctl/pieces.h"
#include "ctl/transfer/copy.h"
#include "ctl/transfer/place.h"
#include "ctl/transfer/target.h"
#include "ctl/transfer/trust.h"
#include "shared/buf.h"
#include "shared/cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 4096u /* the unit of checksums */

struct repair {
    struct target *from, *to;
    uint64_t lost_found; /* inode of the folder; 0: not made yet */
    char folder[32];     /* its name */
    struct pieces found;
    uint64_t from_dev, from_ino, to_dev, to_ino; /* the folders */
    uint64_t partial, pieces, values, bytes, problems;
    uint64_t batches, set_aside; /* given up by the salvage, by earlier openings */
};

static void on_problem(void *arg, const char *line)
{
    struct repair *rep = arg;
    rep->problems++;
    cli_note(line);
}

/*
 * A folder of our own, where nobody but us has prepared anything: a store may have brought memories called
 * lost+found, of whomever. */
static int make_folder(struct repair *rep)
{
    struct eng_attr attr;
    int r = -EEXIST;
    for (unsigned i = 0; r == -EEXIST; i++) {
        snprintf(rep->folder, sizeof rep->folder, i ? "lost+found.%u" : "lost+found", i);
        r = eng_create(rep->to->eng, &rep->to->caller, ENG_ROOT_INO, rep->folder, S_IFDIR | 0700, 0, NULL,
                       &attr);
    }
    if (!r)
        rep->lost_found = attr.ino;
    return r;
}

/* The file NAME of that folder, made if it is missing. */
static int place(struct repair *rep, const char *name, uint64_t *ret_ino)
{
    struct eng_attr attr;
    struct eng *eng = rep->to->eng;
    struct eng_caller *who = &rep->to->caller;
    int r = rep->lost_found ? 0 : make_folder(rep);
    if (!r)
        r = eng_create(eng, who, rep->lost_found, name, S_IFREG | 0600, 0, NULL, &attr);
    if (r == -EEXIST) /* this run made it, of the same inode: all of the folder is of this run */
        r = eng_lookup(eng, who, rep->lost_found, name, &attr);
    if (!r)
        *ret_ino = attr.ino;
    return r;
}

/* NUMBER.path_with_underscores, as long as a name may be. */
static void lost_name(char out[ENG_NAME_MAX + 1], uint64_t ino, const char *path)
{
    const char *shown = path ? path : "";
    int n = snprintf(out, ENG_NAME_MAX + 1, "%" PRIu64 "%s%.200s", ino, *shown ? "." : "", shown);
    for (int i = 0; i < n && i < ENG_NAME_MAX; i++)
        if (out[i] == '/')
            out[i] = '_';
}

/* ---- memories that are damaged in part ------------------------------------------------ */

static int copy_readable(struct repair *rep, uint64_t ino, const char *path)
{
    struct eng_attr attr;
    char name[ENG_NAME_MAX + 1], buf[PIECE];
    uint64_t to, lost = 0;
    int r = eng_getattr(rep->from->eng, ino, &attr);
    if (r || !S_ISREG(attr.mode))
        return 0; /* freed meanwhile cannot be; other types have no content */
    lost_name(name, ino, path);
    r = place(rep, name, &to);
    for (uint64_t at = 0; !r && at < attr.size; at += PIECE) {
        uint64_t data = at;
        if (eng_seek(rep->from->eng, ino, at, SEEK_DATA, &data) == -ENXIO)
            break; /* a hole up to the end */
        at = data - data % PIECE > at ? data - data % PIECE : at;
        ssize_t n = eng_read(rep->from->eng, ino, buf, PIECE, at);
        if (n < 0) {
            uint64_t end = at + PIECE < attr.size ? at + PIECE : attr.size;
            cli_notef("%s: bytes %" PRIu64 " to %" PRIu64 " are lost", path, at, end - 1);
            lost += end - at;
        } else {
            n = eng_write(rep->to->eng, to, buf, (size_t)n, at);
            r = n < 0 ? (int)n : 0;
            rep->bytes += n > 0 ? (uint64_t)n : 0;
        }
    }
    if (!r) {
        rep->partial++;
        cli_notef("%s: damaged; %" PRIu64 " of %" PRIu64 " bytes are in %s/%s", path, attr.size - lost,
                  attr.size, rep->folder, name);
        /* zeros at the end may stand for what was lost: the file is as long as it was */
        r = eng_setattr(rep->to->eng, to, &attr, ENG_SET_SIZE, NULL);
    }
    return r;
}

struct damaged_file {
    uint64_t ino;
    char *path;
};

struct damaged_list {
    struct damaged_file *files;
    size_t n, cap;
    bool no_memory;
};

static void note_damaged(void *arg, const struct eng_damage *d)
{
    struct damaged_list *l = arg;
    if (!d->ino) /* a file of the store's own */
        return;
    for (size_t i = 0; i < l->n; i++)
        if (l->files[i].ino == d->ino)
            return;
    struct damaged_file *files = array_room(l->files, l->n, &l->cap, sizeof *files);
    char *path = files ? strdup(d->path) : NULL;
    if (files)
        l->files = files;
    if (path)
        l->files[l->n++] = (struct damaged_file){d->ino, path};
    else
        l->no_memory = true;
}

static int copy_damaged(struct repair *rep)
{
    struct damaged_list l = {0};
    int r = eng_damaged(rep->from->eng, note_damaged, &l);
    if (!r && l.no_memory)
        r = -ENOMEM;
    for (size_t i = 0; i < l.n; i++) {
        if (!r)
            r = copy_readable(rep, l.files[i].ino, l.files[i].path);
        free(l.files[i].path);
    }
    free(l.files);
    return r;
}

/* ---- content without a memory ----------------------------------------------------------- */

static struct piece piece_of(const struct eng_lost *p)
{
    return (struct piece){.ino = p->ino,
                          .offset = p->offset,
                          .size = p->size,
                          .seq = p->seq,
                          .segment = p->segment,
                          .at = p->segment_offset};
}

/* The value of an attribute of whatever name, each in a file of its own: NUMBER.value-SEGMENT-PLACE. */
static int write_value(struct repair *rep, const struct eng_lost *p, const void *data)
{
    char name[ENG_NAME_MAX + 1];
    uint64_t to;
    snprintf(name, sizeof name, "%" PRIu64 ".value-s%08" PRIx64 "-%" PRIu64, p->ino, p->segment,
             p->segment_offset);
    int r = place(rep, name, &to);
    ssize_t n = r ? r : eng_write(rep->to->eng, to, data, p->size, 0);
    rep->bytes += n > 0 ? (uint64_t)n : 0;
    rep->values++;
    return n < 0 ? (int)n : 0;
}

static int note_piece(void *arg, const struct eng_lost *p, const void *data)
{
    struct repair *rep = arg;
    struct piece piece = piece_of(p);
    if (p->offset == ENG_LOST_VALUE)
        return write_value(rep, p, data);
    if (p->offset > ENG_FILE_SIZE_MAX - p->size)
        return 0; /* it says of itself what no file has */
    if (p->path[0] && !(piece.path = strdup(p->path)))
        return -ENOMEM;
    int r = pieces_add(&rep->found, &piece);
    if (r)
        free(piece.path);
    return r;
}

struct write_run {
    struct repair *rep;
    uint64_t to, offset; /* of the piece */
    const char *data;
};

static int write_run(void *arg, uint64_t from, uint64_t to)
{
    struct write_run *w = arg;
    ssize_t n = eng_write(w->rep->to->eng, w->to, w->data + from, to - from, w->offset + from);
    w->rep->bytes += to - from;
    return n < 0 ? (int)n : 0;
}

/* Writes those bytes of the piece that no younger piece has. */
static int write_piece(void *arg, const struct eng_lost *p, const void *data)
{
    struct repair *rep = arg;
    char name[ENG_NAME_MAX + 1];
    struct piece piece = piece_of(p);
    struct write_run w = {.rep = rep, .offset = p->offset, .data = data};
    size_t i = p->offset == ENG_LOST_VALUE ? SIZE_MAX : pieces_find(&rep->found, &piece);
    if (i == SIZE_MAX)
        return 0; /* written already, or a file that could not be read the first time */
    lost_name(name, p->ino, pieces_path(&rep->found, i));
    int r = place(rep, name, &w.to);
    if (!r)
        r = pieces_visible(&rep->found, i, write_run, &w);
    rep->pieces++;
    return r;
}

static int copy_lost(struct repair *rep)
{
    int r = eng_lost(rep->from->eng, note_piece, rep);
    if (!r && rep->found.n) {
        r = pieces_settle(&rep->found);
        if (!r)
            r = eng_lost(rep->from->eng, write_piece, rep);
    }
    size_t files = pieces_files(&rep->found);
    pieces_free(&rep->found);
    if (!r && files)
        cli_notef("content of %zu files that no name leads to is in %s", files, rep->folder);
    if (!r && rep->values)
        cli_notef("%" PRIu64 " values of attributes that no name leads to are in %s", rep->values,
                  rep->folder);
    rep->pieces += rep->values;
    return r;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int copy_all(struct repair *rep, struct copy_result *res)
{
    const struct eng_job_options options = {.on_problem = on_problem, .problem_arg = rep};
    struct eng_job_report report = {.job = ENG_JOB_CHECK};
    int r = eng_job_run(rep->from->eng, ENG_JOB_CHECK, &options, &report);
    rep->batches = report.check.lost_batches;
    rep->set_aside = report.check.set_aside;
    if (!r)
        r = copy_tree(rep->from, rep->to, COPY_FIT, res);
    if (!r)
        r = copy_damaged(rep);
    if (!r)
        r = copy_lost(rep);
    return r;
}

/* Whether the name in the folder is the one that was opened. */
static bool is_still(int folder, const char *name, uint64_t dev, uint64_t ino)
{
    struct stat st;
    return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == dev && st.st_ino == ino;
}

/* In the folder where both are, which is looked up again: it has to be the same, with the same two in it. */
static int take_the_place(const struct repair *rep, const char *store, const char *into)
{
    char kept[NAME_MAX + 1];
    const char *new = strrchr(into, '/') + 1;
    struct place p;
    int r = place_open(store, &p);
    if (r < 0)
        return r;
    if (snprintf(kept, sizeof kept, "%s.damaged", p.name) >= (int)sizeof kept)
        r = -ENAMETOOLONG;
    else if (!is_still(p.folder, p.name, rep->from_dev, rep->from_ino) ||
             !is_still(p.folder, new, rep->to_dev, rep->to_ino))
        r = -EREMCHG;
    else if (renameat2(p.folder, p.name, p.folder, kept, RENAME_NOREPLACE) < 0)
        r = -errno;
    else if (renameat2(p.folder, new, p.folder, p.name, RENAME_NOREPLACE) < 0) {
        r = -errno;
        (void)renameat2(p.folder, kept, p.folder, p.name, RENAME_NOREPLACE);
    }
    place_close(&p);
    if (!r)
        cli_notef("the damaged store is kept as %s.damaged", store);
    return r;
}

/*
 * The new store becomes whose the old one is, and as open, as it is to take its place. Until then nobody else
 * gets into its folder. Where there are no owners to be set, all has one anyway. */
static int hand_over(int old_folder, int new_folder)
{
    struct stat old = {0}, new = {0};
    int fd = openat(new_folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 || fstat(old_folder, &old) < 0 || fstat(fd, &new) < 0 ? NULL : fdopendir(fd);
    int r = dir ? 0 : -errno;
    bool given = dir && (old.st_uid != new.st_uid || old.st_gid != new.st_gid);
    for (struct dirent *e; !r && given && (errno = 0, e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            fchownat(fd, e->d_name, old.st_uid, old.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
            r = -errno;
    if (!r && given && (errno || fchown(fd, old.st_uid, old.st_gid) < 0))
        r = -errno;
    if (!r && fchmod(fd, old.st_mode & 07777) < 0)
        r = -errno;
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return r;
}

static int report(const struct repair *rep, const struct copy_result *res, bool lost, bool json)
{
    const char *folder = rep->lost_found ? rep->folder : "lost+found";
    if (json)
        printf("{\"files\": %" PRIu64 ", \"directories\": %" PRIu64 ", \"others\": %" PRIu64
               ", \"failed\": %" PRIu64 ", \"partial\": %" PRIu64 ", \"pieces\": %" PRIu64
               ", \"problems\": %" PRIu64 ", \"lost_batches\": %" PRIu64 ", \"set_aside\": %" PRIu64 "}\n",
               res->files, res->dirs, res->others, res->failed, rep->partial, rep->pieces, rep->problems,
               rep->batches, rep->set_aside);
    else
        printf("%s: %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " others copied; %" PRIu64
               " not; in %s: %" PRIu64 " files in part, %" PRIu64 " pieces without a name; given up: %" PRIu64
               " batches of the log\n",
               lost ? "NOT ALL" : "all", res->files, res->dirs, res->others, res->failed, folder,
               rep->partial, rep->pieces, rep->batches);
    return lost ? CLI_SOME : CLI_OK;
}

static int repair(struct repair *rep, const char *store, const char *new_store, bool in_place, bool json)
{
    struct copy_result res = {0};
    char why[512];
    int r = target_open(store, TARGET_READ_ONLY | TARGET_SALVAGE, &rep->from, why);
    if (!r && rep->from->kind != TARGET_STORE) {
        snprintf(why, sizeof why, "%s is mounted: unmount it first", store);
        r = -EBUSY;
    }
    if (!r)
        r = target_open(new_store, TARGET_CREATE | TARGET_NEW | TARGET_QUIET, &rep->to, why);
    if (r < 0) {
        cli_error("%s", why);
        (void)target_close(rep->from);
        (void)target_close(rep->to);
        return CLI_ERROR;
    }
    rep->from_dev = rep->from->at_dev;
    rep->from_ino = rep->from->at_ino;
    rep->to_dev = rep->to->at_dev;
    rep->to_ino = rep->to->at_ino;
    r = trust_hand_on(rep->from, rep->to->folder); /* before there is anything that it is about */
    if (!r)
        r = copy_all(rep, &res);
    const int old_folder = fcntl(rep->from->folder, F_DUPFD_CLOEXEC, 3),
              new_folder = fcntl(rep->to->folder, F_DUPFD_CLOEXEC, 3);
    (void)target_close(rep->from);
    int closed = target_close(rep->to);
    r = r ? r : closed;
    if (!r && in_place)
        r = hand_over(old_folder, new_folder);
    if (!r && in_place)
        r = take_the_place(rep, store, new_store);
    if (old_folder >= 0)
        close(old_folder);
    if (new_folder >= 0)
        close(new_folder);
    if (r < 0) {
        cli_error("%s: %s", new_store, target_strerror(r));
        return CLI_ERROR;
    }
    return report(rep, &res, res.failed || rep->partial || rep->pieces || rep->problems, json);
}

int repair_store(const char *store, const char *into, bool json)
{
    char beside[PATH_MAX];
    struct repair rep = {0};
    /* The store as it is called itself: "STORE/" and "." would be folders inside of it. */
    char *real = realpath(store, NULL);
    int n = real ? snprintf(beside, sizeof beside, "%s.repaired", real) : -1;
    if (!real || n < 0 || n >= (int)sizeof beside || !strcmp(real, "/")) {
        cli_error("%s: %s", store, real ? "no place for a store beside it" : strerror(errno));
        free(real);
        return CLI_ERROR;
    }
    const char *new_store = into ? into : beside;
    int code = repair(&rep, into ? store : real, new_store, !into, json);
    free(real);
    return code;
}
