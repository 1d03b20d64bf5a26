/*
 * put.h - puts the entries of a source into a target, one after the other: one loop for all sources (a tree,
 * copy.c; a tar archive, tar_in.c). What is in the way of a file is replaced, directories are filled.
 *
 * The attributes of directories are set last, because filling a directory changes its time (and may need its
 * permission). */
#ifndef ENGRAMCTL_PUT_H
#define ENGRAMCTL_PUT_H

#include "ctl/transfer/batch.h"
#include "ctl/transfer/placed.h"
#include "ctl/transfer/result.h"
#include "ctl/transfer/target.h"
#include "shared/buf.h"
#include "shared/cli.h"

struct put;
struct put_later;

struct put_source {
    const char *unit; /* of the progress; NULL: bytes */
    /* Attributes of directories are set even if an error ended the source. */
    bool finishes_after_error;
    /* Takes the next entry and puts it, by the functions below. 1: done, 0: there is none, or the error of
     * the entry, which ends everything if it is one of the target, or put->ended is set. */
    int (*step)(struct put *p);
    /* Adds attributes and content of the current file to the record, and the record to the batch. */
    int (*add_file)(struct put *p, struct eng_record *rec, const struct target_attr *attr);
    /* Reports the error of the current entry, by put_complain(). */
    void (*complain)(struct put *p, int error);
    void (*progress)(const struct put *p, uint64_t *ret_done, uint64_t *ret_total);
};

/* What has the name of something that is to be put. It stays until that is complete. */
enum put_way {
    PUT_FREE,  /* nothing */
    PUT_FILE,  /* a file, of which only what is different is replaced */
    PUT_OTHER, /* what is replaced as a whole */
};

struct put {
    const struct put_source *source;
    struct target *to;
    const char *prefix; /* of complaints; NULL: none. borrowed */
    /* Of a directory that the source only implies. Others are closed to all but us until the end. */
    uint32_t implied_mode;
    bool fresh; /* nothing was in the target: its own directory gets the attributes of the source's */
    struct batch *batch;
    enum put_way way; /* of the current file */
    /* Set by step(): hard links to the current entry may come. `placed` has all such. */
    bool may_be_linked;
    struct placed placed;
    struct put_later *later;
    size_t n_later, cap_later;
    struct pool names; /* of later */
    struct complaints complaints;
    struct progress progress;
    struct copy_result result;
    /* Set by step(). The error concerns one entry of the source, whatever its number: a damaged memory is
     * EIO. */
    bool source_failed;
    bool ended; /* set by step(): nothing more can be read of the source */
};

/* `to` and `source` are borrowed. The umask is taken from the process, which has none afterwards: modes are
 * given exactly. -ENOMEM. put_done() either way. */
int put_init(struct put *p, const struct put_source *source, struct target *to, const char *prefix);
/* All entries, then the attributes of directories. */
int put_run(struct put *p);
/* Clears the progress, frees, and says what became of all. */
void put_done(struct put *p, struct copy_result *ret);

void put_complain(struct put *p, const char *path, const char *what);
/* Whether this name in the root of the target is that of the control files. */
bool put_is_reserved(const struct put *p, const char *name);
/* Looks a name up for sure: one that waits in the batch is put first. */
int put_lookup(struct put *p, tdir dir, const char *name, struct target_attr *ret);
/* `links`: a file that has other names is PUT_FILE as well. -EISDIR: a directory, which is not replaced. */
int put_find_way(struct put *p, tdir dir, const char *name, bool links, enum put_way *ret_way);
/* The directory of that name, made with `mode` if it is missing, unless `mode` is negative. */
int put_enter(struct put *p, tdir parent, const char *name, int mode, tdir *ret_dir);
/* Sets attributes of a directory that is there, by its handle. What the target cannot have is told of the
 * current entry, and is no error: what is in the directory does not depend on it. */
int put_xattrs(struct put *p, tdir self, const struct eng_record *rec);
/* Remembers to set a directory's attributes, after those of all that are deeper. `name` is for complaints. */
int put_set_later(struct put *p, tdir self, const char *name, size_t depth, const struct target_attr *attr);
/* The attributes of the target's own directory, if nothing was in it: as far as that closes nothing to us at
 * once, so that an import that is broken off leaves nothing open, and all of them at the end. */
int put_root(struct put *p, const char *name, const struct eng_record *rec, const struct target_attr *attr);
/* A file, by add_file(). */
int put_file(struct put *p, tdir dir, const char *name, const struct target_attr *attr, enum put_way way);
/* For add_file(): a record with its content. */
int put_whole(struct put *p, struct eng_record *rec);
/* For add_file(): a content beyond BATCH_CONTENT_MAX, which `write` writes to the open file. */
int put_streamed(struct put *p, struct eng_record *rec, uint64_t size,
                 int (*write)(void *arg, struct sink *sink), void *arg);
/* A symlink (`link`: its target) or special file, in place of what has the name. */
int put_other(struct put *p, tdir dir, const char *name, const struct target_attr *attr, const char *link);
/* Whether this run has put an entry under that name, which may_be_linked: 1, 0, or an error. */
int put_has(struct put *p, tdir dir, const char *name);
/* (dir, name) as a hard link to (from_dir, from), if it is none yet. -ENOTUNIQ: that is not, or not any more,
 * what this run has put there. */
int put_link(struct put *p, tdir from_dir, const char *from, tdir dir, const char *name);

#endif
