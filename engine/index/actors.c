/*
 * actors.c - see actors.h. */
#include "index/actors.h"

#include "index/findings.h"

#include <string.h>

/* ---- OP_BY ------------------------------------------------------------------------- */

static int add_actor(struct index *idx, const struct op *op)
{
    struct actor_rec rec = {.uid = (uint32_t)op->user};
    if (op->name_len > sizeof rec.name || memchr(op->name, 0, op->name_len) ||
        op->actor != index_predict_actor(idx))
        return -EBADMSG;
    uint32_t i = table_alloc(&idx->actors);
    memcpy(rec.name, op->name, op->name_len);
    *(struct actor_rec *)table_mut(&idx->actors, i) = rec;
    return 0;
}

int actors_by(struct index *idx, const struct op *op, uint64_t seq)
{
    int r = op->user > UINT32_MAX || idx->by_seq == seq ? -EBADMSG : 0;
    if (!r && op->name_len)
        r = add_actor(idx, op);
    /* One that was lost with a part of the index is not known, which is no reason to refuse the batch. */
    if (!r && (!op->actor || op->actor >= idx->actors.used))
        r = -EBADMSG;
    const struct actor_rec *actor = r ? NULL : index_actor(idx, (uint32_t)op->actor);
    if (actor && actor->uid != op->user)
        r = -EBADMSG;
    if (r)
        return r;
    idx->by = actor ? (uint32_t)op->actor : 0;
    idx->by_seq = seq;
    return 0;
}

/* ---- mending and verifying ------------------------------------------------------------ */

static bool is_sound(const struct actor_rec *actor)
{
    bool is_padded = true;
    for (size_t k = strnlen(actor->name, sizeof actor->name); k < sizeof actor->name; k++)
        is_padded = is_padded && !actor->name[k];
    return is_padded && !actor->next && !actor->reserved;
}

void actors_mend(struct index *idx)
{
    for (uint32_t i = 1; i < idx->actors.used; i++) {
        const struct actor_rec *actor = table_get(&idx->actors, i);
        if (actor && !is_sound(actor))
            *(struct actor_rec *)table_mut(&idx->actors, i) = (struct actor_rec){0};
    }
    for (uint32_t slot = 1; slot < idx->inodes.used; slot++) {
        const struct inode_rec *inode = index_slot(idx, slot);
        if (inode && inode->actor && !index_actor(idx, inode->actor))
            ((struct inode_rec *)table_mut(&idx->inodes, slot))->actor = 0;
    }
    for (uint32_t i = 1; i < idx->past_names.used; i++) {
        const struct past_name_rec *past = table_get(&idx->past_names, i);
        if (past && past->child && past->actor && !index_actor(idx, past->actor))
            ((struct past_name_rec *)table_mut(&idx->past_names, i))->actor = 0;
    }
}

static bool is_cancelled(const struct index *idx, uint32_t i)
{
    return i % 1024 == 0 && idx->cancel && atomic_load_explicit(idx->cancel, memory_order_relaxed);
}

int64_t actors_verify(const struct index *idx, void (*problem)(void *arg, const char *line), void *arg)
{
    struct findings findings = {.problem = problem, .arg = arg};
    for (uint32_t i = 1; i < idx->actors.used && !is_cancelled(idx, i); i++) {
        const struct actor_rec *actor = table_get(&idx->actors, i);
        if (!actor || !is_sound(actor))
            findings_add(&findings, "actor %u: no record of one", i);
    }
    return findings.n;
}
