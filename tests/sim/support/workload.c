/*
 * workload.c - the workloads: scripts, and random ones. */
#include "workload_private.h"

#include "clock.h"

#include "engine.h"
#include "rng.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Runs the workload on the model, up to `max_steps`; with `record` writes down what it gives, hashes from an
 * op on. */
static struct model *run_on_model(const struct workload *w, size_t max_steps, struct workload *record,
                                  size_t hash_from)
{
    struct model *m = model_new();
    size_t step = 0;
    if (record && hash_from == 0) {
        record->hashes[0] = model_hash(m);
        record->trees[0] = model_hash_tree(m);
    }
    for (size_t i = 0; i < w->n_ops; i++) {
        if (record)
            record->first_step[i] = step;
        for (unsigned k = 0; k < op_steps(&w->ops[i]) && step < max_steps; k++) {
            int r = op_apply(&w->ops[i], k, m);
            if (record) {
                record->step_results[step] = r;
                if (i + 1 >= hash_from) {
                    record->hashes[step + 1] = model_hash(m);
                    record->trees[step + 1] = model_hash_tree(m);
                }
            }
            step++;
        }
    }
    if (record)
        record->first_step[w->n_ops] = step;
    return m;
}

struct model *workload_model_at(const struct workload *w, size_t step)
{
    return run_on_model(w, step, NULL, 0);
}

struct workload *workload_of(struct op *take_ops, size_t n_ops, size_t hash_from)
{
    struct workload *w = calloc(1, sizeof *w);
    size_t steps = 0;
    for (size_t i = 0; i < n_ops; i++)
        steps += op_steps(&take_ops[i]);
    if (w) {
        w->ops = take_ops;
        w->n_ops = n_ops;
        w->first_step = calloc(n_ops + 1, sizeof *w->first_step);
        w->step_results = calloc(steps + 1, sizeof *w->step_results);
        w->hashes = calloc(steps + 1, sizeof *w->hashes);
        w->trees = calloc(steps + 1, sizeof *w->trees);
    }
    if (!w || !w->first_step || !w->step_results || !w->hashes || !w->trees)
        abort();
    model_free(run_on_model(w, SIZE_MAX, w, hash_from));
    return w;
}

void workload_free(struct workload *w)
{
    if (!w)
        return;
    free(w->ops);
    free(w->first_step);
    free(w->step_results);
    free(w->hashes);
    free(w->trees);
    free(w);
}

/* ---- the scripted workload ---------------------------------------------- */

struct script {
    struct op *ops;
    size_t n, cap;
    uint64_t seed;
    bool keeps_all;
};

static struct op *add(struct script *s, enum op_kind kind, const char *path)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 256;
        s->ops = realloc(s->ops, s->cap * sizeof *s->ops);
        if (!s->ops)
            abort();
    }
    struct op *op = &s->ops[s->n++];
    *op = (struct op){.kind = kind, .seed = ++s->seed};
    (void)snprintf(op->path, sizeof(op->path), "%s", path);
    return op;
}

static struct op *add2(struct script *s, enum op_kind kind, const char *path, const char *other)
{
    struct op *op = add(s, kind, path);
    (void)snprintf(op->other, sizeof(op->other), "%s", other);
    return op;
}

static void add_create(struct script *s, const char *path, uint32_t mode)
{
    add(s, OP_CREATE, path)->mode = mode;
}

static void add_write(struct script *s, const char *path, uint64_t offset, uint64_t size)
{
    struct op *op = add(s, OP_WRITE, path);
    op->offset = offset;
    op->size = size;
}

static void add_file(struct script *s, const char *path, uint64_t size)
{
    add_create(s, path, S_IFREG | 0644);
    add_write(s, path, 0, size);
}

static void add_sized(struct script *s, enum op_kind kind, const char *path, uint64_t size)
{
    add(s, kind, path)->size = size;
}

static void add_xattr(struct script *s, const char *path, const char *name, uint64_t size, unsigned flags)
{
    struct op *op = add2(s, OP_SETXATTR, path, name);
    op->size = size;
    op->flags = flags;
}

static void add_fallocate(struct script *s, const char *path, unsigned flags, uint64_t offset, uint64_t size)
{
    struct op *op = add(s, OP_FALLOCATE, path);
    op->flags = flags;
    op->offset = offset;
    op->size = size;
}

static void add_put_many(struct script *s, const char *dir, unsigned records, uint64_t size)
{
    struct op *op = add(s, OP_PUT_MANY, dir);
    op->flags = records;
    op->size = size;
}

static void script_content(struct script *s)
{
    add_file(s, "a", 100);
    add_write(s, "a", 50, 300);
    add(s, OP_FSYNC, "a");
    add_create(s, "empty", S_IFREG | 0600);
    add_file(s, "holes", 1000);
    add_write(s, "holes", 70000, 5000);
    add_write(s, "holes", 30001, 77);
    add_sized(s, OP_APPEND, "log", 90); /* is not there yet */
    add_create(s, "log", S_IFREG | 0644);
    for (int i = 0; i < 12; i++)
        add_sized(s, OP_APPEND, "log", 90 + (uint64_t)i * 13);
    add_sized(s, OP_TRUNCATE, "log", 700);
    add_sized(s, OP_TRUNCATE, "log", 9000);
    add_sized(s, OP_APPEND, "log", 10);
    add_file(s, "big", 50000);
    add_write(s, "big", 10000, 20000);
    add_fallocate(s, "big", ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 5000, 9000);
    add_fallocate(s, "big", ENG_FALLOC_ZERO_RANGE, 45000, 8192);
    add_fallocate(s, "big", 0, 50000, 10000);
    add_fallocate(s, "big", ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 0, 200000);
    add_write(s, "big", 123, 4096);
    add(s, OP_SYNC, "");
    add_file(s, "oversize", 150000); /* more than a segment of 64 KiB */
    add_sized(s, OP_TRUNCATE, "a", 0);
    add(s, OP_TICK, "");
}

/* Files of many extents, which are truncated and removed in slices. */
static void add_extents(struct script *s, const char *path)
{
    for (unsigned i = 9; i-- > 0;) /* backwards, so that no append takes others along */
        add_write(s, path, (uint64_t)i * 200, 150);
}

static void script_slices(struct script *s)
{
    static const char *const paths[] = {"s0", "s1", "s2"};
    for (unsigned f = 0; f < 3; f++) {
        add_create(s, paths[f], S_IFREG | 0644);
        add_extents(s, paths[f]);
    }
    add(s, OP_SYNC, "");
    add_sized(s, OP_TRUNCATE, "s0", 450);
    add_sized(s, OP_TRUNCATE, "s0", 1000); /* over what was left behind */
    add_sized(s, OP_TRUNCATE, "s1", 0);
    add(s, OP_TICK, "");
    add_write(s, "s1", 700, 30);
    add(s, OP_UNLINK, "s2");
    add_sized(s, OP_APPEND, "s0", 10);
    add(s, OP_COMPACT, "");
    add(s, OP_UNLINK, "s0");
    add(s, OP_TICK, "");
}

static void script_names(struct script *s)
{
    add_create(s, "d", S_IFDIR | 0755);
    add_create(s, "d/e", S_IFDIR | 0700);
    add_file(s, "d/e/f", 3000);
    add2(s, OP_LINK, "d/e/f", "f2");
    add_write(s, "f2", 10, 10);
    add2(s, OP_CREATE, "sym", "d/e/f")->mode = S_IFLNK | 0777;
    add_create(s, "fifo", S_IFIFO | 0640);
    add(s, OP_UNLINK, "d/e/f");
    add2(s, OP_RENAME, "f2", "d/g");
    add(s, OP_FSYNC, "d/g");
    add_file(s, "tmp", 2000);
    add2(s, OP_RENAME, "tmp", "d/g"); /* as editors save */
    add2(s, OP_RENAME, "d/g", "sym")->flags = ENG_RENAME_EXCHANGE;
    add2(s, OP_RENAME, "d/e", "a")->flags = ENG_RENAME_EXCHANGE;
    add2(s, OP_RENAME, "d", "a/d");
    add2(s, OP_RENAME, "empty", "a/d/empty")->flags = ENG_RENAME_NOREPLACE;
    add2(s, OP_RENAME, "a", "a/d/below");
    add2(s, OP_RENAME, "a/d/empty", "a/d/moved")->flags = ENG_RENAME_WHITEOUT;
    add2(s, OP_RENAME, "a/d/moved", "sym")->flags = ENG_RENAME_WHITEOUT;
    add(s, OP_RMDIR, "a");
    add_create(s, "gone", S_IFDIR | 0755);
    add(s, OP_RMDIR, "gone");
    add(s, OP_UNLINK, "fifo");
    add(s, OP_CHMOD, "log")->mode = 0400;
    add(s, OP_MTIME, "log");
    add(s, OP_CHOWN, "log");
    add(s, OP_CHOWN, "a/d");
    add(s, OP_TICK, "");
    add(s, OP_SYNC, "");
}

static void script_xattrs(struct script *s)
{
    add_xattr(s, "log", "user.engram.confidence", 4, 0);
    add_xattr(s, "log", "user.engram.embedding", 3072, ENG_XATTR_CREATE);
    add_xattr(s, "log", "user.engram.embedding", 3072, 0);
    add_xattr(s, "log", "user.empty", 0, 0);
    add_xattr(s, "log", "user.engram.confidence", 64, ENG_XATTR_REPLACE);
    add_xattr(s, "a", "user.on.a.directory", 65, 0);
    add2(s, OP_REMOVEXATTR, "log", "user.empty");
    add2(s, OP_REMOVEXATTR, "log", "user.absent");
    add(s, OP_FSYNC, "log");
    add_xattr(s, "log", "user.engram.embedding", 30, 0);
}

static void script_orphan(struct script *s)
{
    add_file(s, "orphan", 6000);
    add_xattr(s, "orphan", "user.big", 500, 0);
    add(s, OP_REF, "orphan");
    add(s, OP_UNLINK, "orphan");
    add_sized(s, OP_WRITE_REF, "orphan", 4000);
    add(s, OP_TICK, "");
}

/* Segments of one dead file each: one that is too young to go, one whose death is not durable yet (I4). */
static void script_retire(struct script *s)
{
    add_file(s, "young", 100000);
    add_file(s, "next", 100);
    add(s, OP_UNLINK, "young");
    add(s, OP_SYNC, "");
    add(s, OP_RECLAIM, "");
    add_sized(s, OP_APPEND, "log", 40);
    add(s, OP_UNLINK, "oversize");
    add_sized(s, OP_APPEND, "log", 50); /* with this batch the dead inode is freed */
    add(s, OP_RECLAIM, "");
    add_sized(s, OP_APPEND, "log", 60);
}

/* Memories come and go, so that segments fill with garbage, are compacted, and retire. */
static void script_churn(struct script *s, int rounds)
{
    char path[48];
    for (int round = 0; round < rounds; round++) {
        add_put_many(s, "m", 9, 5000);
        for (int i = 0; i < 4; i++) {
            (void)snprintf(path, sizeof(path), "m/r%02d", (round * 7 + i * 3) % 23);
            if (i == 0)
                add(s, OP_UNLINK, path);
            else
                add_write(s, path, (uint64_t)i * 100, 1500);
        }
        add(s, round % 2 ? OP_TICK : OP_FSYNC, "m");
    }
}

/* Survivors for several segments, so that a compaction hands them over one by one. */
static void script_bulk(struct script *s)
{
    char path[48];
    for (int i = 0; i < 6; i++) {
        (void)snprintf(path, sizeof(path), "bulk%d", i);
        add_file(s, path, 50000);
        add_write(s, path, 20000, 10);
    }
    add(s, OP_COMPACT, "");
    for (int i = 0; i < 6; i++) {
        (void)snprintf(path, sizeof(path), "bulk%d", i);
        add(s, OP_UNLINK, path);
    }
}

/* As a database does: little between two fsyncs, so often that zeros are written ahead of the log
 * (engine/log.h). */
static void script_fsyncs(struct script *s, enum op_kind kind, const char *path)
{
    for (unsigned i = 0; i < 18; i++) {
        add_sized(s, kind, path, 100);
        add(s, OP_FSYNC, path);
    }
}

struct workload *workload_scripted(void)
{
    struct script s = {.seed = 1000};
    add2(&s, OP_CONFIG, "checkpoint_ops", "25");
    script_content(&s);
    script_names(&s);
    add(&s, OP_COMPACT, "");
    script_xattrs(&s);
    script_slices(&s);
    add_create(&s, "m", S_IFDIR | 0755);
    script_churn(&s, 4);
    script_orphan(&s);
    add(&s, OP_COMPACT, "");
    add(&s, OP_FORGET, "");
    add(&s, OP_TICK, "");
    add_sized(&s, OP_APPEND, "log", 500);
    add(&s, OP_REOPEN, "");
    script_churn(&s, 4);
    add(&s, OP_TICK, "");
    script_retire(&s);
    add(&s, OP_COMPACT, "");
    add_sized(&s, OP_APPEND, "log", 500);
    script_bulk(&s);
    add(&s, OP_SCRUB, "");
    add(&s, OP_SYNC, "");
    script_orphan(&s); /* still referenced when the power fails or the store closes */
    add_put_many(&s, "m", PUT_MANY_MAX, 3000);
    add(&s, OP_ACCESS, "log");
    add(&s, OP_ACCESS, "m");
    script_fsyncs(&s, OP_APPEND, "log");
    add_sized(&s, OP_APPEND, "log", 700);
    add(&s, OP_REOPEN, ""); /* the zeros ahead of the log are taken back */
    add(&s, OP_ACCESS, "log");
    script_fsyncs(&s, OP_APPEND, "log");
    add_file(&s, "rolls", 90000); /* and again, at the end of a segment */
    add(&s, OP_TICK, "");
    add_sized(&s, OP_APPEND, "log", 10);
    return workload_of(s.ops, s.n, 0);
}

/* Each kind of change, of memories that a snapshot shows, and of ones that it does not. */
static void script_changes(struct script *s, unsigned round)
{
    add_write(s, "f", 3000 * round, 500);
    add_sized(s, OP_APPEND, "f", 70);
    add_sized(s, OP_TRUNCATE, "cut", round % 2 ? 100 : 9000);
    add_fallocate(s, "holes", ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 2000 * round, 3000);
    add_fallocate(s, "holes", ENG_FALLOC_ZERO_RANGE, 20000, 4096);
    add_write(s, "holes", 18500 + 500 * round, 3000);
    add_sized(s, OP_TRUNCATE, "many", 450);
    add_sized(s, OP_TRUNCATE, "many", 1500 + 100 * round); /* over what was left behind */
    add_write(s, "many", 700, 30);
    if (round % 2 == 0)
        add_extents(s, "many");
    add_file(s, "tmp", 400);
    add2(s, OP_RENAME, "tmp", "link2"); /* over one of two names, then through the other */
    add_write(s, "link1", 50, 20);
    add(s, OP_UNLINK, "link2");
    add2(s, OP_LINK, "link1", "link2");
    add2(s, OP_RENAME, "d/x", "d/y");
    add2(s, OP_RENAME, "d", "e"); /* with all below */
    add2(s, OP_RENAME, "e/y", "e/x");
    add2(s, OP_RENAME, "e", "d");
    add2(s, OP_RENAME, "swap", "d/s")->flags = ENG_RENAME_EXCHANGE;
    add2(s, OP_RENAME, "white", "black")->flags = ENG_RENAME_WHITEOUT;
    add2(s, OP_RENAME, "black", "white");
    add(s, OP_CHMOD, "f")->mode = 0600 + round;
    add(s, OP_CHOWN, "d");
    if (!s->keeps_all) /* a history keeps no state for its times alone */
        add(s, OP_MTIME, "cut");
    add_xattr(s, "f", "user.engram.confidence", 4, 0);
    add_xattr(s, "f", "user.engram.embedding", 3072, 0);
    add2(s, OP_REMOVEXATTR, "d", round % 2 ? "user.y" : "user.x");
    add_xattr(s, "d", round % 2 ? "user.x" : "user.y", 10, 0);
    add_put_many(s, "m", 5, 3000);
    add_file(s, "short", 900); /* no snapshot sees this one */
    add(s, OP_UNLINK, "short");
    add(s, OP_REF, "orphan");
    add(s, OP_UNLINK, "orphan");
    add_sized(s, OP_WRITE_REF, "orphan", 700);
    add(s, OP_FORGET, "");
    add_file(s, "orphan", 1200);
}

static void script_begin(struct script *s)
{
    add_file(s, "f", 12000);
    add_file(s, "cut", 5000);
    add_file(s, "holes", 30000);
    add_file(s, "link1", 300);
    add2(s, OP_LINK, "link1", "link2");
    add_create(s, "many", S_IFREG | 0644);
    add_extents(s, "many");
    add_create(s, "d", S_IFDIR | 0755);
    add_create(s, "m", S_IFDIR | 0755);
    add_file(s, "d/x", 200);
    add_create(s, "d/s", S_IFDIR | 0700);
    add_file(s, "swap", 100);
    add_file(s, "white", 100);
    add_file(s, "orphan", 500);
    add_xattr(s, "d", "user.x", 10, 0);
}

struct workload *workload_past(void)
{
    struct script s = {.seed = 5000};
    add2(&s, OP_CONFIG, "checkpoint_ops", "40");
    script_begin(&s);
    add(&s, OP_SNAPSHOT, "s1");
    script_changes(&s, 1);
    add(&s, OP_SNAPSHOT, "s1"); /* is there */
    add(&s, OP_SNAPSHOT, "s2");
    script_changes(&s, 2);
    add(&s, OP_COMPACT, "");
    add2(&s, OP_RESTORE, "f holes", "s1");
    add2(&s, OP_RESTORE, "d/x link1", "s2");
    add(&s, OP_SNAPSHOT, "s3");
    add(&s, OP_SNAPSHOT, "s4"); /* of nothing that is new */
    script_changes(&s, 3);
    add2(&s, OP_SNAPSHOT_RENAME, "s2", "s4"); /* is there */
    add2(&s, OP_SNAPSHOT_RENAME, "s2", "between");
    add(&s, OP_SNAPSHOT_DROP, "s2"); /* is not there any more */
    add(&s, OP_SNAPSHOT_DROP, "s4");
    add(&s, OP_SNAPSHOT_DROP, "between");
    add2(&s, OP_RESTORE, "many", "between"); /* is not there any more */
    add(&s, OP_REOPEN, "");
    add2(&s, OP_RESTORE, "many f cut", "s1");
    script_changes(&s, 4);
    add(&s, OP_ROLLBACK, "s1");
    add(&s, OP_ROLLBACK, "s3"); /* which is newer */
    add(&s, OP_SNAPSHOT_DROP, "s1");
    add(&s, OP_COMPACT, "");
    script_changes(&s, 5);
    add(&s, OP_SCRUB, "");
    add(&s, OP_SNAPSHOT_DROP, "s3");
    add(&s, OP_SNAPSHOT, "s1");
    add(&s, OP_COMPACT, "");
    add_sized(&s, OP_APPEND, "f", 10);
    return workload_of(s.ops, s.n, 0);
}

/* ---- a history ----------------------------------------------------------- */

#define STANDS (2 * CLOCK_SECOND)

int64_t workload_time(const struct workload *w, size_t i)
{
    return CLOCK_BEGIN + ((int64_t)i + 1) * STANDS + (i >= w->later_from ? w->later : 0);
}

/* A folder that is removed, and comes back with what was in it. */
static void script_undelete(struct script *s)
{
    add(s, OP_CREATE, "u")->mode = S_IFDIR | 0755;
    add(s, OP_CREATE, "u/sub")->mode = S_IFDIR | 0700;
    add_file(s, "u/one", 700);
    add_file(s, "u/sub/two", 5000);
    add_xattr(s, "u/sub/two", "user.x", 10, 0);
    add(s, OP_SNAPSHOT, "undelete");
    add2(s, OP_UNDELETE, "u", "undelete"); /* is there */
    add(s, OP_UNLINK, "u/one");
    add(s, OP_UNLINK, "u/sub/two");
    add(s, OP_RMDIR, "u/sub");
    add(s, OP_RMDIR, "u");
    add2(s, OP_UNDELETE, "u", "undelete");
    add(s, OP_SNAPSHOT_DROP, "undelete");
    add_write(s, "u/sub/two", 100, 50);
    add2(s, OP_RENAME, "u/sub", "u/below");
}

struct workload *workload_history(void)
{
    struct script s = {.seed = 6000, .keeps_all = true};
    add2(&s, OP_CONFIG, "checkpoint_ops", "40");
    script_begin(&s);
    size_t from = s.n;
    add2(&s, OP_CONFIG, "history", "2m");
    script_changes(&s, 1);
    add(&s, OP_SNAPSHOT, "s1");
    script_changes(&s, 2);
    add(&s, OP_ROLLBACK, "s1");
    script_changes(&s, 2);
    add2(&s, OP_RESTORE, "f holes", "s1");
    script_undelete(&s);
    add(&s, OP_SWEEP, "");
    add(&s, OP_COMPACT, "");
    add(&s, OP_REOPEN, "");
    script_changes(&s, 3);
    add2(&s, OP_RESTORE, "many link1 cut f", "s1");
    add(&s, OP_SNAPSHOT_DROP, "s1");
    script_changes(&s, 4);
    add(&s, OP_SWEEP, "");
    add(&s, OP_COMPACT, "");
    add_sized(&s, OP_APPEND, "f", 10);
    struct workload *w = workload_of(s.ops, s.n, 0);
    w->history_from = from;
    w->history_keeps = 120 * CLOCK_SECOND;
    return w;
}

/* ---- random workloads --------------------------------------------------- */

static void random_path(uint64_t *rng, char *buf, size_t size)
{
    static const char *const dirs[] = {"", "", "d0/", "d1/", "d0/s/", "d1/d0/"};
    static const char *const names[] = {"n0", "n1", "n2", "n3", "d0", "d1", "s", "r00", "r01", "r02"};
    (void)snprintf(buf, size, "%s%s", dirs[rng_below(rng, 6)], names[rng_below(rng, 10)]);
}

static uint64_t random_size(uint64_t *rng)
{
    static const uint64_t limits[] = {64, 64, 1000, 1000, 5000, 5000, 20000, 120000};
    return 1 + rng_below(rng, limits[rng_below(rng, 8)]);
}

static void random_create(struct op *op, uint64_t *rng)
{
    static const uint32_t modes[] = {S_IFREG | 0644, S_IFREG | 0644, S_IFREG | 0600, S_IFDIR | 0755,
                                     S_IFDIR | 0700, S_IFLNK | 0777, S_IFIFO | 0600};
    op->mode = modes[rng_below(rng, 7)];
    (void)snprintf(op->other, sizeof(op->other), "target%" PRIu64, rng_below(rng, 1000));
}

static void random_fallocate(struct op *op, uint64_t *rng)
{
    static const unsigned flags[] = {ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, ENG_FALLOC_ZERO_RANGE,
                                     ENG_FALLOC_ZERO_RANGE | ENG_FALLOC_KEEP_SIZE, 0};
    op->flags = flags[rng_below(rng, 4)];
    op->offset = rng_below(rng, 30000);
    op->size = random_size(rng);
}

static enum op_kind random_kind(uint64_t *rng)
{
    static const enum op_kind kinds[] = {
        OP_CREATE,   OP_CREATE,   OP_CREATE,    OP_CREATE,    OP_CREATE,   OP_WRITE,    OP_WRITE,
        OP_WRITE,    OP_WRITE,    OP_WRITE,     OP_WRITE,     OP_APPEND,   OP_APPEND,   OP_APPEND,
        OP_TRUNCATE, OP_TRUNCATE, OP_FALLOCATE, OP_FALLOCATE, OP_UNLINK,   OP_UNLINK,   OP_RMDIR,
        OP_LINK,     OP_RENAME,   OP_RENAME,    OP_RENAME,    OP_SETXATTR, OP_SETXATTR, OP_SETXATTR,
        OP_CHMOD,    OP_CHOWN,    OP_MTIME,     OP_PUT_MANY,  OP_PUT_MANY, OP_PUT_MANY, OP_REMOVEXATTR,
        OP_FSYNC,    OP_SYNC,     OP_TICK,      OP_TICK,      OP_RECLAIM,  OP_SCRUB,    OP_ACCESS,
    };
    uint64_t rare = rng_below(rng, 100);
    if (rare < 2)
        return OP_COMPACT;
    if (rare == 2)
        return OP_REOPEN;
    return kinds[rng_below(rng, sizeof(kinds) / sizeof(kinds[0]))];
}

static void random_op(struct script *s, uint64_t *rng)
{
    static const unsigned rename_flags[] = {
        0, 0, 0, ENG_RENAME_NOREPLACE, ENG_RENAME_EXCHANGE, ENG_RENAME_WHITEOUT};
    static const char *const xattrs[] = {"user.x", "user.y", OP_CONFIDENCE, OP_EMBEDDING};
    char path[48], other[48];
    random_path(rng, path, sizeof(path));
    random_path(rng, other, sizeof(other));
    enum op_kind kind = random_kind(rng);
    struct op *op = add2(s, kind, path, other);
    op->seed = rng_next(rng) >> 16;
    op->size = random_size(rng);
    op->mode = (unsigned)rng_below(rng, 01000);
    switch (kind) {
    case OP_CREATE:
        random_create(op, rng);
        break;
    case OP_WRITE:
        op->offset = rng_below(rng, 2) ? rng_below(rng, 3000) : rng_below(rng, 100000);
        break;
    case OP_TRUNCATE:
        op->size = rng_below(rng, 4) ? rng_below(rng, 20000) : 0;
        break;
    case OP_FALLOCATE:
        random_fallocate(op, rng);
        break;
    case OP_RENAME:
        op->flags = rename_flags[rng_below(rng, 6)];
        break;
    case OP_SETXATTR:
    case OP_REMOVEXATTR:
        (void)snprintf(op->other, sizeof(op->other), "%s", xattrs[rng_below(rng, 4)]);
        op->size = rng_below(rng, 2) ? rng_below(rng, 200) : OP_EMBEDDING_SIZE;
        op->flags = (unsigned)rng_below(rng, 8) == 0 ? ENG_XATTR_CREATE : 0;
        break;
    case OP_PUT_MANY:
        (void)snprintf(op->path, sizeof(op->path), "%s", rng_below(rng, 2) ? "d0" : "");
        op->flags = 1 + (unsigned)rng_below(rng, PUT_MANY_MAX);
        op->size = 1 + op->size % 6000;
        break;
    default:
        break;
    }
}

static void random_snapshot(struct script *s, uint64_t *rng)
{
    static const enum op_kind kinds[] = {OP_SNAPSHOT,        OP_SNAPSHOT,      OP_SNAPSHOT,
                                         OP_SNAPSHOT_RENAME, OP_SNAPSHOT_DROP, OP_SNAPSHOT_DROP};
    static const char *const names[] = {"s0", "s1", "s2", "s3"};
    const char *name = names[rng_below(rng, 4)], *other = names[rng_below(rng, 4)];
    add2(s, kinds[rng_below(rng, 6)], name, other);
}

/* An unlink that leaves an orphan, and the end of the one before. */
static void random_orphan(struct script *s, uint64_t *rng)
{
    char path[48];
    (void)snprintf(path, sizeof(path), "orphan%zu", s->n);
    add(s, OP_FORGET, "");
    add_file(s, path, random_size(rng));
    add(s, OP_REF, path);
    add(s, OP_UNLINK, path);
    add_sized(s, OP_WRITE_REF, path, random_size(rng));
}

struct workload *workload_random(uint64_t seed, size_t n_ops)
{
    struct script s = {.seed = seed << 20};
    uint64_t rng = seed;
    char ops[16];
    (void)snprintf(ops, sizeof(ops), "%u", 10 + (unsigned)rng_below(&rng, 90));
    add2(&s, OP_CONFIG, "checkpoint_ops", ops);
    add_create(&s, "d0", S_IFDIR | 0755);
    add_create(&s, "d1", S_IFDIR | 0755);
    while (s.n < n_ops) {
        uint64_t rare = rng_below(&rng, 120);
        if (rare < 2)
            random_orphan(&s, &rng);
        else if (rare == 2)
            script_fsyncs(&s, OP_MTIME, "");
        else if (rare < 9 && seed % 4 > 1)
            random_snapshot(&s, &rng);
        else
            random_op(&s, &rng);
    }
    return workload_of(s.ops, s.n, 0);
}
