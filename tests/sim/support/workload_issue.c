/*
 * workload_issue.c - puts the operations of a workload to an engine. */
#include "workload_private.h"

#include "admin.h"
#include "guarded.h"
#include "hook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct eng_caller caller = {.uid = 0, .gid = 0, .ref = false};
static const struct eng_caller with_ref = {.uid = 0, .gid = 0, .ref = true};

/* Extents that one batch frees: truncations and removals come in slices here. */
#define SLICE 2u

int session_open(struct session *s, bool read_only, char why[256])
{
    struct eng_options opt = {
        .read_only = read_only,
        .must_exist = read_only,
        .no_background = true,
        .segment_size = s->segment_size,
        .commit_ms = -1,
        .relatime = true,
        .io = s->io,
    };
    s->ref_ino = s->ref_size = 0;
    why[0] = '\0';
    int r = eng_open("simulated", &opt, &s->eng, why);
    if (r == 0) {
        hook_slice(s->eng, SLICE);
        hook_keep_chunks(s->eng);
    }
    if (r == 0 && !read_only)
        hook_history(s->eng);
    if (r == 0 && s->beside)
        s->schedule = schedule_new(s->eng, s->beside);
    return r;
}

int session_close(struct session *s)
{
    if (!s->eng)
        return 0;
    struct eng *eng = s->eng;
    s->eng = NULL;
    s->ref_ino = 0;
    int r = eng_close(eng);
    schedule_free(s->schedule);
    s->schedule = NULL;
    return r;
}

/* ---- paths -------------------------------------------------------------- */

/* Walks to the directory of the last component, which is copied to `name`. */
static int walk_parent(struct session *s, const char *path, uint64_t *ret_dir, char name[256])
{
    uint64_t dir = ENG_ROOT_INO;
    for (;;) {
        const char *slash = strchr(path, '/');
        size_t len = slash ? (size_t)(slash - path) : strlen(path);
        memcpy(name, path, len);
        name[len] = '\0';
        if (!slash)
            break;
        struct eng_attr attr;
        int r = eng_lookup(s->eng, &caller, dir, name, &attr);
        if (r < 0)
            return r;
        if (!S_ISDIR(attr.mode))
            return -ENOTDIR;
        dir = attr.ino;
        path = slash + 1;
    }
    *ret_dir = dir;
    return 0;
}

static int walk(struct session *s, const char *path, const struct eng_caller *who, uint64_t *ret_ino)
{
    uint64_t dir;
    char name[256];
    int r = walk_parent(s, path, &dir, name);
    if (r < 0)
        return r;
    if (!name[0]) {
        *ret_ino = dir;
        return 0;
    }
    struct eng_attr attr;
    r = eng_lookup(s->eng, who, dir, name, &attr);
    if (!r)
        *ret_ino = attr.ino;
    return r;
}

/* ---- operations --------------------------------------------------------- */

/* A write must be whole; anything else than that or an error is an error of the engine's. */
static int whole(ssize_t n, uint64_t size)
{
    if (n < 0)
        return (int)n;
    return (uint64_t)n == size ? 0 : -EPROTO;
}

static int issue_bytes(struct session *s, const struct op *op, uint64_t ino)
{
    uint8_t *data = op_bytes(op->size, op->seed);
    int r;
    if (op->kind == OP_WRITE)
        r = whole(eng_write(s->eng, ino, data, op->size, op->offset), op->size);
    else if (op->kind == OP_APPEND)
        r = whole(eng_append(s->eng, ino, data, op->size, NULL), op->size);
    else
        r = eng_setxattr(s->eng, ino, op->other, data, op->size, op->flags);
    free(data);
    return r;
}

static int issue_put_many(struct session *s, const struct op *op, uint64_t dir, int *results)
{
    struct eng_record records[PUT_MANY_MAX] = {0};
    struct op_record made[PUT_MANY_MAX];
    struct eng_xattr_pair xattrs[PUT_MANY_MAX][2];
    uint8_t *content[PUT_MANY_MAX], *embedding[PUT_MANY_MAX];
    unsigned n = op->flags;
    for (unsigned i = 0; i < n; i++) {
        op_record(op, i, &made[i]);
        content[i] = op_bytes(made[i].size, made[i].seed);
        embedding[i] = op_bytes(OP_EMBEDDING_SIZE, made[i].seed + 1);
        xattrs[i][0] = (struct eng_xattr_pair){OP_CONFIDENCE, made[i].confidence, strlen(made[i].confidence)};
        xattrs[i][1] = (struct eng_xattr_pair){OP_EMBEDDING, embedding[i], OP_EMBEDDING_SIZE};
        records[i] = (struct eng_record){
            .parent = dir,
            .name = made[i].name,
            .content = content[i],
            .size = made[i].size,
            .mode = S_IFREG | 0644,
            .mtime = made[i].mtime,
            .xattrs = xattrs[i],
            .n_xattrs = made[i].with_embedding ? 2 : 1,
        };
    }
    ssize_t stored = eng_put_many(s->eng, records, n);
    ssize_t good = 0;
    for (unsigned i = 0; i < n; i++) {
        results[i] = records[i].result;
        good += records[i].result == 0;
        free(content[i]);
        free(embedding[i]);
    }
    if (stored < 0)
        return (int)stored;
    return stored == good ? 0 : -EPROTO;
}

static int issue_forget(struct session *s)
{
    if (!s->ref_ino)
        return 0;
    uint8_t *expect = op_bytes(s->ref_size, s->ref_seed), *got = op_bytes(s->ref_size, 0);
    int r = whole(eng_read(s->eng, s->ref_ino, got, s->ref_size, 0), s->ref_size);
    if (r == 0 && memcmp(expect, got, s->ref_size) != 0)
        r = -EBADMSG;
    free(expect);
    free(got);
    if (!r)
        r = eng_forget(s->eng, s->ref_ino, 1);
    s->ref_ino = s->ref_size = 0;
    return r;
}

static int issue_write_ref(struct session *s, const struct op *op)
{
    if (!s->ref_ino)
        return 0;
    uint8_t *data = op_bytes(op->size, op->seed);
    int r = whole(eng_write(s->eng, s->ref_ino, data, op->size, 0), op->size);
    free(data);
    if (!r) {
        s->ref_size = op->size;
        s->ref_seed = op->seed;
    }
    return r;
}

static int issue_reopen(struct session *s)
{
    char why[256];
    int r = session_close(s);
    return r < 0 ? r : session_open(s, false, why);
}

static int issue_scrub(struct session *s)
{
    struct eng_job_report report;
    int r = eng_job_start(s->eng, ENG_JOB_SCRUB, NULL, NULL, NULL);
    if (!r)
        r = eng_job_status(s->eng, ENG_JOB_SCRUB, &report);
    if (!r)
        r = report.error;
    return r == 0 && report.scrub.damaged ? -EIO : r;
}

static int then(struct session *s, struct eng_view *view, const char *path, struct eng_restore *ret_restore)
{
    struct eng_attr at = {.ino = ENG_ROOT_INO};
    char name[256];
    int r = walk(s, path, &caller, &ret_restore->ino);
    for (; r == 0 && *path; path += *path == '/') {
        size_t n = strcspn(path, "/");
        (void)snprintf(name, sizeof(name), "%.*s", (int)n, path);
        r = eng_view_lookup(view, at.ino, name, &at);
        path += n;
    }
    ret_restore->from = at.ino;
    return r;
}

static int issue_restore(struct session *s, const struct op *op)
{
    struct eng_restore restores[sizeof(op->path)];
    struct eng_view *view = NULL;
    uint64_t batch = 0, ino;
    char path[48];
    size_t n = 0;
    (void)op_next_path(op->path, path);
    int r = walk(s, path, &caller, &ino);
    if (r == 0)
        r = eng_snapshot_find(s->eng, op->other, &batch);
    if (r == 0)
        r = eng_view_open(s->eng, batch, &view);
    for (const char *at = op->path; *at && r == 0; n++) {
        at = op_next_path(at, path);
        restores[n].batch = batch;
        r = then(s, view, path, &restores[n]);
    }
    eng_view_close(view);
    return r ? r : eng_restore(s->eng, restores, n);
}

static int issue_rollback(struct session *s, const struct op *op)
{
    uint64_t batch, n;
    int r = eng_snapshot_find(s->eng, op->path, &batch);
    return r ? r : eng_rollback(s->eng, ENG_ROOT_INO, batch, NULL, NULL, &n);
}

static int issue_undelete(struct session *s, const struct op *op)
{
    uint64_t batch;
    int r = eng_snapshot_find(s->eng, op->other, &batch); /* where the model has it from */
    return r ? r
             : eng_undelete(s->eng, &caller, NULL, ENG_ROOT_INO, op->path, 0, ENG_ROOT_INO, op->path, NULL);
}

static int issue_store_op(struct session *s, const struct op *op)
{
    switch (op->kind) {
    case OP_WRITE_REF:
        return issue_write_ref(s, op);
    case OP_FORGET:
        return issue_forget(s);
    case OP_SYNC:
        return eng_sync(s->eng);
    case OP_TICK:
        return eng_tick(s->eng);
    case OP_COMPACT:
        return eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, NULL);
    case OP_SCRUB:
        return issue_scrub(s);
    case OP_RECLAIM:
        return eng_hold(s->eng) < 0 ? -EPROTO : eng_release(s->eng);
    case OP_CONFIG:
        return eng_config_set(s->eng, op->path, op->other);
    case OP_SNAPSHOT:
        return eng_snapshot_create(s->eng, op->path, NULL);
    case OP_SNAPSHOT_RENAME:
        return eng_snapshot_rename(s->eng, op->path, op->other);
    case OP_SNAPSHOT_DROP:
        return eng_snapshot_drop(s->eng, op->path);
    case OP_UNDELETE:
        return issue_undelete(s, op);
    case OP_SWEEP:
        return eng_job_run(s->eng, ENG_JOB_HISTORY, NULL, NULL);
    case OP_RESTORE:
        return issue_restore(s, op);
    case OP_ROLLBACK:
        return issue_rollback(s, op);
    case OP_REOPEN:
        return issue_reopen(s);
    default:
        return -ENOSYS;
    }
}

/* Some renames are by a guard that the file carries, which holds: to the model they are as any other, since
 * it is no part of what there is. */
static int issue_rename(struct session *s, const struct op *op, uint64_t dir, const char *name, uint64_t dir2,
                        const char *name2)
{
    const struct eng_guard stored = {.kind = ENG_GUARD_STORED};
    struct eng_attr from, to;
    uint64_t state = 0;
    char value[32] = "none";
    bool guarded = !op->flags && !s->shared && strlen(op->path) % 2 &&
                   eng_lookup(s->eng, NULL, dir, name, &from) == 0 && S_ISREG(from.mode);
    int r = guarded ? eng_lookup(s->eng, NULL, dir2, name2, &to) : -ENOENT;
    if (!guarded || (r && r != -ENOENT) || (!r && (S_ISDIR(to.mode) || to.ino == from.ino)))
        return eng_rename(s->eng, &caller, dir, name, dir2, name2, op->flags);
    if (!r && (r = eng_state(s->eng, to.ino, &state)) == 0)
        (void)snprintf(value, sizeof value, "state:%llu", (unsigned long long)state);
    else if (r == -ENOENT)
        r = 0;
    if (!r)
        r = eng_setxattr(s->eng, from.ino, ENG_GUARD_XATTR, value, strlen(value), 0);
    if (!r)
        r = eng_rename_if(s->eng, &caller, dir, name, dir2, name2, 0, &stored);
    if (!r && eng_getxattr(s->eng, from.ino, ENG_GUARD_XATTR, NULL, 0) >= 0)
        return -ENOTRECOVERABLE; /* which nothing else is */
    return r;
}

static int issue_name_op(struct session *s, const struct op *op)
{
    uint64_t ino = 0, dir = 0, dir2 = 0;
    char name[256] = "", name2[256] = "";
    struct eng_attr attr;
    int r;
    if (op->kind == OP_LINK) {
        r = walk(s, op->path, &caller, &ino);
        if (!r)
            r = walk_parent(s, op->other, &dir, name);
        return r < 0 ? r : eng_link(s->eng, &caller, ino, dir, name, &attr);
    }
    r = walk_parent(s, op->path, &dir, name);
    if (r < 0)
        return r;
    switch (op->kind) {
    case OP_CREATE:
        return eng_create(s->eng, &caller, dir, name, op->mode, 0, S_ISLNK(op->mode) ? op->other : NULL,
                          &attr);
    case OP_UNLINK:
        return eng_unlink(s->eng, dir, name);
    case OP_RMDIR:
        return eng_rmdir(s->eng, dir, name);
    default:
        r = walk_parent(s, op->other, &dir2, name2);
        return r < 0 ? r : issue_rename(s, op, dir, name, dir2, name2);
    }
}

static int issue_inode_op(struct session *s, const struct op *op, uint64_t ino)
{
    struct eng_attr attr = {0};
    switch (op->kind) {
    case OP_TRUNCATE:
        attr.size = op->size;
        return eng_setattr(s->eng, ino, &attr, ENG_SET_SIZE, NULL);
    case OP_CHMOD:
        attr.mode = op->mode;
        return eng_setattr(s->eng, ino, &attr, ENG_SET_MODE, NULL);
    case OP_CHOWN:
        attr.uid = op_uid(op);
        attr.gid = op_uid(op) + 1;
        return eng_setattr(s->eng, ino, &attr, ENG_SET_UID | ENG_SET_GID, NULL);
    case OP_MTIME:
        attr.mtime = OP_MTIME_BASE + (int64_t)op->seed;
        return eng_setattr(s->eng, ino, &attr, ENG_SET_MTIME, NULL);
    case OP_FALLOCATE:
        return eng_fallocate(s->eng, ino, op->flags, op->offset, op->size);
    case OP_REMOVEXATTR:
        return eng_removexattr(s->eng, ino, op->other);
    case OP_FSYNC:
        return eng_fsync(s->eng, ino);
    case OP_ACCESS:
        eng_accessed(s->eng, ino);
        return 0;
    default:
        return issue_bytes(s, op, ino);
    }
}

static int issue(struct session *s, const struct op *op, int results[PUT_MANY_MAX])
{
    uint64_t ino = 0;
    int r;
    switch (op->kind) {
    case OP_CREATE:
    case OP_UNLINK:
    case OP_RMDIR:
    case OP_LINK:
    case OP_RENAME:
        r = issue_name_op(s, op);
        break;
    case OP_PUT_MANY:
        r = walk(s, op->path, &caller, &ino);
        return r < 0 ? r : issue_put_many(s, op, ino, results);
    case OP_REF:
        r = walk(s, op->path, &with_ref, &s->ref_ino);
        break;
    case OP_WRITE:
    case OP_APPEND:
    case OP_SETXATTR:
    case OP_REMOVEXATTR:
    case OP_TRUNCATE:
    case OP_FALLOCATE:
    case OP_CHMOD:
    case OP_CHOWN:
    case OP_MTIME:
    case OP_FSYNC:
    case OP_ACCESS:
        r = walk(s, op->path, &caller, &ino);
        if (!r)
            r = issue_inode_op(s, op, ino);
        break;
    default:
        r = issue_store_op(s, op);
        break;
    }
    results[0] = r < 0 ? r : 0;
    return results[0];
}

int op_issue(struct session *s, const struct op *op, int results[PUT_MANY_MAX])
{
    /* A hole in slices is seen in part by those that look meanwhile, and after a crash, and records in
     * several batches are stored in part; the model has no such states. */
    bool whole = op->kind == OP_FALLOCATE || op->kind == OP_PUT_MANY || op->kind == OP_UNDELETE;
    struct eng_actor actor = {.known = true, .uid = op_uid(op)};
    memcpy(actor.process, op_names[op->kind], strnlen(op_names[op->kind], sizeof actor.process - 1));
    eng_act_as(&actor);
    if (s->eng)
        hook_slice(s->eng, whole ? 0 : SLICE);
    int r = issue(s, op, results);
    eng_act_as(NULL);
    return r;
}
