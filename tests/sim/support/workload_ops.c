/*
 * workload_ops.c - operations as the model carries them out. How they are put to an engine is in
 * workload_issue.c. */
#include "workload_private.h"

#include "engine.h"
#include "rng.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const op_names[OP_N_KINDS] = {
    [OP_CREATE] = "create",
    [OP_WRITE] = "write",
    [OP_APPEND] = "append",
    [OP_TRUNCATE] = "truncate",
    [OP_FALLOCATE] = "fallocate",
    [OP_UNLINK] = "unlink",
    [OP_RMDIR] = "rmdir",
    [OP_LINK] = "link",
    [OP_RENAME] = "rename",
    [OP_SETXATTR] = "setxattr",
    [OP_REMOVEXATTR] = "removexattr",
    [OP_CHMOD] = "chmod",
    [OP_CHOWN] = "chown",
    [OP_MTIME] = "mtime",
    [OP_PUT_MANY] = "put_many",
    [OP_REF] = "ref",
    [OP_WRITE_REF] = "write_ref",
    [OP_FORGET] = "forget",
    [OP_FSYNC] = "fsync",
    [OP_SYNC] = "sync",
    [OP_TICK] = "tick",
    [OP_COMPACT] = "compact",
    [OP_SCRUB] = "scrub",
    [OP_RECLAIM] = "reclaim",
    [OP_ACCESS] = "access",
    [OP_CONFIG] = "config",
    [OP_SNAPSHOT] = "snapshot",
    [OP_SNAPSHOT_RENAME] = "snapshot_rename",
    [OP_SNAPSHOT_DROP] = "snapshot_drop",
    [OP_SWEEP] = "sweep",
    [OP_RESTORE] = "restore",
    [OP_ROLLBACK] = "rollback",
    [OP_UNDELETE] = "undelete",
    [OP_REOPEN] = "reopen",
};

bool op_is_sync(const struct op *op)
{
    return op->kind == OP_SYNC || op->kind == OP_FSYNC || op->kind == OP_REOPEN || op->kind == OP_SNAPSHOT;
}

void op_describe(const struct op *op, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%s %s %s offset=%" PRIu64 " size=%" PRIu64 " flags=%u", op_names[op->kind],
                   op->path, op->other, op->offset, op->size, op->flags);
}

void op_record(const struct op *op, unsigned i, struct op_record *ret_record)
{
    uint64_t rng = op->seed * 31 + i;
    ret_record->seed = rng;
    (void)snprintf(ret_record->name, sizeof(ret_record->name), "r%02u", (unsigned)((op->seed + i * 5) % 23));
    ret_record->size = rng_below(&rng, 4) == 0 ? op->size : rng_below(&rng, op->size + 1);
    ret_record->mtime = OP_MTIME_BASE + (int64_t)(op->seed * 1000 + i);
    ret_record->with_embedding = rng_below(&rng, 2);
    (void)snprintf(ret_record->confidence, sizeof(ret_record->confidence), "0.%03u",
                   (unsigned)rng_below(&rng, 1000));
}

uint32_t op_uid(const struct op *op)
{
    return 1 + (uint32_t)(op->seed % 60000);
}

uint8_t *op_bytes(uint64_t size, uint64_t seed)
{
    uint8_t *data = malloc(size ? size : 1);
    if (!data)
        abort();
    rng_fill(data, size, seed);
    return data;
}

/* ---- on the model ------------------------------------------------------- */

static int apply_record(const struct op *op, unsigned i, struct model *m)
{
    struct op_record record;
    op_record(op, i, &record);
    char path[128];
    (void)snprintf(path, sizeof(path), "%s%s%s", op->path, op->path[0] ? "/" : "", record.name);

    uint32_t mode;
    int r = model_stat(m, path, &mode, NULL);
    if (r == -ENOENT)
        r = model_create(m, path, S_IFREG | 0644, NULL);
    else if (r == 0 && !S_ISREG(mode))
        r = S_ISDIR(mode) ? -EISDIR : -EEXIST;
    if (r < 0)
        return r;
    uint8_t *data = op_bytes(record.size, record.seed);
    uint8_t *embedding = op_bytes(OP_EMBEDDING_SIZE, record.seed + 1);
    (void)model_truncate(m, path, 0);
    (void)model_write(m, path, data, record.size, 0);
    (void)model_drop_xattrs(m, path);
    (void)model_setxattr(m, path, OP_CONFIDENCE, record.confidence, strlen(record.confidence), 0);
    if (record.with_embedding)
        (void)model_setxattr(m, path, OP_EMBEDDING, embedding, OP_EMBEDDING_SIZE, 0);
    (void)model_set_mtime(m, path, record.mtime);
    free(data);
    free(embedding);
    return 0;
}

static int apply_fallocate(const struct op *op, struct model *m)
{
    uint32_t mode;
    uint64_t size;
    int r = model_stat(m, op->path, &mode, &size);
    if (r == 0 && !S_ISREG(mode) && !S_ISDIR(mode))
        return -ENODEV;
    if (op->flags & (ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_ZERO_RANGE))
        return model_zero(m, op->path, op->offset, op->size, !(op->flags & ENG_FALLOC_KEEP_SIZE));
    if (r == 0 && S_ISDIR(mode))
        return -EISDIR;
    if (r < 0)
        return r;
    uint64_t end = op->offset + op->size; /* allocation alone changes the times, as on ext4 */
    return model_truncate(m, op->path, op->flags & ENG_FALLOC_KEEP_SIZE || end <= size ? size : end);
}

static int apply_bytes(const struct op *op, struct model *m)
{
    uint8_t *data = op_bytes(op->size, op->seed);
    int r;
    if (op->kind == OP_WRITE || op->kind == OP_WRITE_REF)
        r = model_write(m, op->path, data, op->size, op->offset);
    else if (op->kind == OP_APPEND)
        r = model_append(m, op->path, data, op->size);
    else
        r = model_setxattr(m, op->path, op->other, data, op->size, op->flags);
    free(data);
    return r;
}

const char *op_next_path(const char *paths, char ret_path[48])
{
    size_t n = strcspn(paths, " ");
    memcpy(ret_path, paths, n);
    ret_path[n] = '\0';
    return paths + n + (paths[n] != '\0');
}

/* All of them, or none. */
static int apply_restore(const struct op *op, struct model *m)
{
    char path[48];
    int r = 0;
    for (const char *at = op->path; *at && !r;) {
        at = op_next_path(at, path);
        r = model_can_restore(m, path, op->other);
    }
    for (const char *at = op->path; *at && !r;) {
        at = op_next_path(at, path);
        model_restore(m, path, op->other);
    }
    return r;
}

int op_apply(const struct op *op, unsigned step, struct model *m)
{
    uint32_t mode;
    switch (op->kind) {
    case OP_CREATE:
        return model_create(m, op->path, op->mode, op->other);
    case OP_WRITE:
    case OP_APPEND:
    case OP_SETXATTR:
        return apply_bytes(op, m);
    case OP_TRUNCATE:
        return model_truncate(m, op->path, op->size);
    case OP_FALLOCATE:
        return apply_fallocate(op, m);
    case OP_UNLINK:
        return model_unlink(m, op->path);
    case OP_RMDIR:
        return model_rmdir(m, op->path);
    case OP_LINK:
        return model_link(m, op->path, op->other);
    case OP_RENAME:
        return model_rename(m, op->path, op->other, op->flags);
    case OP_REMOVEXATTR:
        return model_removexattr(m, op->path, op->other);
    case OP_CHMOD:
        return model_chmod(m, op->path, op->mode);
    case OP_CHOWN:
        return model_chown(m, op->path, op_uid(op), op_uid(op) + 1);
    case OP_MTIME:
        return model_set_mtime(m, op->path, OP_MTIME_BASE + (int64_t)op->seed);
    case OP_PUT_MANY:
        return op->skip >> step & 1 ? 0 : apply_record(op, step, m);
    case OP_WRITE_REF: /* changes the model only if the unlink before it was refused */
        return model_stat(m, op->path, &mode, NULL) == 0 ? apply_bytes(op, m) : 0;
    case OP_SNAPSHOT:
        return model_snapshot(m, op->path);
    case OP_SNAPSHOT_RENAME:
        return model_snapshot_rename(m, op->path, op->other);
    case OP_SNAPSHOT_DROP:
        return model_snapshot_drop(m, op->path);
    case OP_RESTORE:
        return apply_restore(op, m);
    case OP_ROLLBACK:
        return model_rollback(m, op->path);
    case OP_UNDELETE:
        return model_undelete(m, op->path, op->other);
    case OP_FSYNC:
    case OP_ACCESS:
    case OP_REF:
        return model_stat(m, op->path, &mode, NULL);
    default:
        return 0;
    }
}

size_t op_steps(const struct op *op)
{
    return op->kind == OP_PUT_MANY ? op->flags : 1;
}
