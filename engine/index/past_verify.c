/*
 * past_verify.c - see past_verify.h. Each past name is once in a group, once in the chain of its inode, and
 * once found by its text or sharing that of the next newer one; each text has one owner. */
#include "index/past_verify.h"

#include "engine.h"
#include "index/actors.h"
#include "index/findings.h"
#include "index/past_names.h"

#include <stdlib.h>

enum seen { IN_GROUP = 1, IN_CHAIN = 2, IN_LOOKUP = 4 };

struct past_verify {
    const struct index *idx;
    uint8_t *cells;
    uint8_t *seen; /* by record: enum seen */
    struct findings findings;
};

static bool is_cancelled(const struct past_verify *v, uint32_t i)
{
    return i % 1024 == 0 && v->idx->cancel && atomic_load_explicit(v->idx->cancel, memory_order_relaxed);
}

/* The record, if nothing of that kind has led to it before; so no walk goes on for ever. */
static const struct past_name_rec *see(struct past_verify *v, uint32_t i, enum seen how)
{
    const struct past_name_rec *past = index_past_name(v->idx, i);
    if (!past || v->seen[i] & how)
        return NULL;
    v->seen[i] |= (uint8_t)how;
    return past;
}

/* ---- groups ---------------------------------------------------------------------- */

static const struct dentry_rec *find_live(const struct index *idx, struct bkey key)
{
    struct bkey found;
    uint32_t d;
    if (btree_ceil(&idx->dirs, key, &found, &d) != 0 || found.a != key.a || found.b != key.b)
        return NULL;
    return index_dentry(idx, d);
}

/* Its ends, and what it is a name of. */
static void verify_record(struct past_verify *v, uint32_t i, const struct past_name_rec *past)
{
    const struct inode_rec *dir = index_slot(v->idx, past->parent), *child = index_slot(v->idx, past->child);
    if (!dir || !S_ISDIR(dir->mode) || !child || child->flags & INODE_PAST)
        findings_add(&v->findings, "past name %u: parent or child is not there", i);
    if (past->begin >= past->end || past->begin < past->cookie >> COOKIE_BATCH_SHIFT)
        findings_add(&v->findings, "past name %u: ends in batch %llu, and begins in %llu", i,
                     (unsigned long long)past->end, (unsigned long long)past->begin);
    if (past->actor && !index_actor(v->idx, past->actor))
        findings_add(&v->findings, "past name %u: ended by actor %u, who is not there", i, past->actor);
    if (past->cookie < 3 || past->cookie >= v->idx->s.next_cookie)
        findings_add(&v->findings, "past name %u: cookie out of range", i);
}

/* Its text; a live name, or the next newer past one, may be what it shares it with. */
static void verify_text(struct past_verify *v, uint32_t i, const struct past_name_rec *past,
                        const struct dentry_rec *live, const struct past_name_rec *newer)
{
    const struct index *idx = v->idx;
    bool is_shared = past->flags & PAST_SHARES_TEXT;
    uint32_t name = 0, len = 0; /* of the next newer one */
    if (newer) {
        name = newer->name;
        len = newer->name_len;
    } else if (live) {
        name = live->name;
        len = live->name_len;
    }
    const char *text = names_get(&idx->names, past->name, past->name_len);
    if (!text || !past->name_len || past->name_len > ENG_NAME_MAX)
        findings_add(&v->findings, "past name %u: no name", i);
    else if (is_shared ? name != past->name || len != past->name_len
                       : !names_mark(&idx->names, past->name, past->name_len, v->cells))
        findings_add(&v->findings, "past name %u: its text belongs to another", i);
    else if (past->hash != codec_name_hash(idx->hash_seed, past->parent, text, past->name_len))
        findings_add(&v->findings, "past name %u: its name is not found", i);
}

static void verify_member(struct past_verify *v, struct bkey key, uint32_t i,
                          const struct past_name_rec *past, const struct dentry_rec *live,
                          const struct past_name_rec *newer)
{
    if (past->parent != key.a || past->cookie != key.b || (newer && past->end > newer->begin))
        findings_add(&v->findings, "past name %u: is in the wrong group, or place", i);
    verify_record(v, i, past);
    verify_text(v, i, past, live, newer);
}

static int verify_group(void *arg, struct bkey key, const void *value)
{
    struct past_verify *v = arg;
    uint32_t i, last = 0;
    memcpy(&i, value, sizeof i);
    uint32_t newest = i;
    const struct past_name_rec *past, *newer = NULL;
    const struct dentry_rec *live = find_live(v->idx, key);
    for (; i && (past = see(v, i, IN_GROUP)); i = past->next) {
        verify_member(v, key, i, past, live, newer);
        if (last && past->newer != last)
            findings_add(&v->findings, "past name %u: the ring of its group is broken", i);
        last = i;
        newer = past;
    }
    const struct past_name_rec *first = index_past_name(v->idx, newest);
    if (i || !first || first->newer != last)
        findings_add(&v->findings, "past name %u: its group is broken", newest);
    if (live && !(live->flags & DENTRY_HAS_PAST))
        findings_add(&v->findings, "past name %u: the name that is there now does not tell of it", newest);
    return is_cancelled(v, newest);
}

/* ---- the other ways to them ------------------------------------------------------------ */

static int verify_lookup(void *arg, struct bkey key, const void *value)
{
    struct past_verify *v = arg;
    uint32_t i;
    memcpy(&i, value, sizeof i);
    const struct past_name_rec *past = see(v, i, IN_LOOKUP);
    if (!past || key.b != i || past->hash != key.a || past->flags & PAST_SHARES_TEXT)
        findings_add(&v->findings, "past names: entry (%u, %llu) has none", key.a, (unsigned long long)key.b);
    return is_cancelled(v, i);
}

static void verify_chain(struct past_verify *v, uint32_t slot, const struct inode_rec *inode)
{
    const struct past_name_rec *past, *newer = NULL;
    uint32_t i = inode->past_name, last = 0;
    for (; i && (past = see(v, i, IN_CHAIN)); i = past->of_inode) {
        if (past->child != slot || past->of_newer != last || (newer && past->end > newer->end))
            findings_add(&v->findings, "inode %u: past name %u is not its own, or not in its place", slot, i);
        last = i;
        newer = past;
    }
    if (i)
        findings_add(&v->findings, "inode %u: its past names are broken", slot);
}

static void verify_records(struct past_verify *v)
{
    const struct table *t = &v->idx->past_names;
    uint64_t n = 0;
    for (uint32_t i = 1; i < t->used && !is_cancelled(v, i); i++) {
        const struct past_name_rec *past = index_past_name(v->idx, i);
        if (!past)
            continue;
        bool shares = past->flags & PAST_SHARES_TEXT;
        if (v->seen[i] != (IN_GROUP | IN_CHAIN | (shares ? 0 : IN_LOOKUP)))
            findings_add(&v->findings, "past name %u: not all ways lead to it", i);
        n++;
    }
    if (n != v->idx->s.n_past_names)
        findings_add(&v->findings, "number of past names: counted and found differ");
}

int64_t past_names_verify(const struct index *idx, uint8_t *cells,
                          void (*problem)(void *arg, const char *line), void *arg)
{
    struct past_verify v = {.idx = idx, .cells = cells, .findings = {.problem = problem, .arg = arg}};
    if (idx->past_names.used == 1 && !idx->s.n_past_names && !idx->past_order.count &&
        !idx->past_lookup.count)
        return 0;
    v.seen = calloc(idx->past_names.used, 1);
    if (!v.seen)
        return -ENOMEM;
    if (btree_scan(&idx->past_order, (struct bkey){0, 0}, verify_group, &v) < 0 ||
        btree_scan(&idx->past_lookup, (struct bkey){0, 0}, verify_lookup, &v) < 0)
        findings_add(&v.findings, "past names: a tree is broken");
    for (uint32_t slot = 1; slot < idx->inodes.used && !is_cancelled(&v, slot); slot++) {
        const struct inode_rec *inode = index_slot(idx, slot);
        if (inode && !(inode->flags & INODE_PAST))
            verify_chain(&v, slot, inode);
    }
    verify_records(&v);
    free(v.seen);
    return v.findings.n;
}
