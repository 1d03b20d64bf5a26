/*
 * keep.c - see keep.h. Also eng_notes_actors(). docs/lab/history-design.md, 5.1, has the rules.
 *
 * A state that began with batch b is kept if (1) a snapshot sees it, which the newest does if any, or a view
 * that is in use, of no snapshot by a history alone; or (2) a past name of the inode ended since b: the past
 * state before would stand for what that one's end has changed, its link count above all; or (3) the store
 * keeps a history, the inode has a name, and the state is settled, or another name comes, which no later
 * state can tell apart. A name is kept if a snapshot sees it, or by a history: always if it is removed or
 * replaced; if it moves, and was settled, or a view in use sees it, or its path was another's before, or the
 * new path was since, of which it has the place in the folder.
 *
 * While the reserve is short a history keeps nothing, or removing would free nothing: then the floor rises.
 *
 * What nothing leads to is no memory any more: of an orphan nothing is kept, and of what past names alone
 * keep no state that began behind the last of these, whatever snapshots have come since. */
#include "commit/keep.h"

#include "commit/acting.h"
#include "commit/clocks.h"
#include "core/reserve.h"
#include "core/views.h"
#include "index/leaps.h"
#include "index/past.h"
#include "index/past_names.h"
#include "index/xattr_list.h"

#define FEW 8u

/* What need not be zeroed for each transaction. */
struct room {
    struct {
        uint32_t slot;
        unsigned asked; /* enum asked, of what was */
    } few[FEW];
    struct op more[2]; /* OP_FLOOR, OP_MOMENT */
    struct op by;      /* OP_BY, in front of all */
};

struct keeping {
    const struct index *idx;
    const struct config *config;
    struct txn *txn;
    uint64_t seen;            /* the newest batch that a snapshot sees, or a view in use of one; 0 none */
    bool has_losses;          /* a name ends */
    bool is_on;               /* keep_is_on() */
    bool by_history;          /* rule 3 holds, */
    bool is_short;            /* but for this, */
    bool is_left_out;         /* which made a difference */
    uint64_t settled;         /* the last batch that is */
    uint64_t looked;          /* the newest batch that a view in use sees which is of no snapshot; 0 none */
    uint64_t *inos;           /* whose state is kept */
    size_t n, cap, n_amended; /* n_amended: states that end and stood too short for rule 3 */
    struct room *room;
    size_t n_few, n_more, n_by; /* in it */
    struct idmap decided;       /* as room->few, behind these */
};

/* ---- states ------------------------------------------------------------------------- */

/* Why a state may be kept. */
enum asked {
    FOR_SNAPSHOTS = 1, /* its links change, or a folder's names, or times */
    LINK_COMES = 2,    /* beside those that it has */
    STATE_ENDS = 4,
    TAIL_BEGINS = 8, /* to which leaps must not lead (index/leaps.h) */
    DECIDED = 16     /* nothing needs to be asked any more */
};

static bool is_seen(const struct keeping *k, uint64_t begin)
{
    return k->seen && k->seen >= begin;
}

/* Or somebody looks at it. */
static bool is_settled(const struct keeping *k, uint64_t begin)
{
    return begin <= k->settled || begin <= k->looked || MUTANT(SHORT_STATE_SHOWN);
}

/* What rule 3 says, unless there is no room for it. */
static bool if_there_is_room(struct keeping *k, bool kept)
{
    bool is_left_out = kept && k->is_short;
    k->is_left_out = k->is_left_out || is_left_out;
    return kept && !is_left_out;
}

#define NUMBERS_OF_HISTORY UINT32_C(0xf0000000) /* of a line's 2^32: snapshots need some, too */

static bool is_in_history(struct keeping *k, const struct inode_rec *inode, uint64_t begin, enum asked why)
{
    bool comes_back = !inode->nlink && why == LINK_COMES && !MUTANT(REVIVED_UNKEPT);
    if (!k->by_history || why == FOR_SNAPSHOTS || !(inode->nlink || comes_back))
        return false;
    const struct inode_rec *newest = index_slot(k->idx, inode->past);
    if (newest && past_number(newest) >= NUMBERS_OF_HISTORY && !MUTANT(NUMBERS_USED_UP))
        return false; /* until these have gone, and the line begins anew */
    bool settled = is_settled(k, begin);
    if (MUTANT(SETTLED_BY_CTIME))
        settled = now_ns() - inode->ctime >= INT64_C(1000000000);
    return if_there_is_room(k, why == LINK_COMES || settled);
}

static bool is_kept(struct keeping *k, const struct inode_rec *inode, enum asked why)
{
    const struct index *idx = k->idx;
    uint64_t begin = past_head_begin(idx, inode);
    const struct past_name_rec *newest = index_past_name(idx, inode->past_name);
    bool has_ended = newest && newest->end >= begin;
    if (why == TAIL_BEGINS)
        return true;
    if (index_is_orphan(idx, inode) || (!inode->nlink && !has_ended && !MUTANT(NAMELESS_KEPT)))
        return false;
    if (is_seen(k, begin) && !MUTANT(SNAPSHOT_UNSEEN))
        return true;
    if (why == STATE_ENDS && has_ended && !MUTANT(REPLACED_UNSEEN))
        return true;
    return is_in_history(k, inode, begin, why);
}

static uint64_t asked_of(const struct keeping *k, uint32_t slot)
{
    for (size_t i = 0; i < k->n_few; i++)
        if (k->room->few[i].slot == slot)
            return k->room->few[i].asked;
    return idmap_get(&k->decided, slot);
}

static int note_asked(struct keeping *k, uint32_t slot, unsigned asked)
{
    size_t i = 0;
    while (i < k->n_few && k->room->few[i].slot != slot)
        i++;
    if (i < FEW) {
        k->room->few[i].slot = slot;
        k->room->few[i].asked = asked;
        k->n_few = MAX_OF(k->n_few, i + 1);
        return 0;
    }
    int r = idmap_reserve(&k->decided, 1);
    if (!r)
        idmap_set(&k->decided, slot, asked);
    return r;
}

/* Each inode is decided once, or once more where there is another reason to keep its state. */
static int decide(struct keeping *k, uint64_t ino, enum asked why)
{
    uint32_t slot = ino_slot(ino);
    if (why == FOR_SNAPSHOTS && !k->seen)
        return 0; /* no other rule asks */
    const struct inode_rec *inode = index_inode(k->idx, ino);
    uint64_t asked = inode ? asked_of(k, slot) : DECIDED;
    if (asked & (DECIDED | why))
        return 0;
    bool kept = is_kept(k, inode, why);
    int r = kept ? array_grow(&k->inos, &k->cap, k->n + 1, sizeof *k->inos) : 0;
    if (!r)
        r = note_asked(k, slot, (unsigned)asked | (kept ? DECIDED : why));
    if (r)
        return r;
    if (kept)
        k->inos[k->n++] = ino;
    else
        k->n_amended += why == STATE_ENDS && k->by_history && inode->nlink;
    return 0;
}

static enum asked ends_unless(const struct op *op)
{
    return op->flags & OP_SAME ? FOR_SNAPSHOTS : STATE_ENDS;
}

/* Times alone end no state. What was read only has no time that a view promises. */
static int decide_attr(struct keeping *k, struct op *op)
{
    const unsigned times = ENG_SET_ATIME | ENG_SET_MTIME;
    const struct inode_rec *inode = index_inode(k->idx, op->ino);
    if (inode && !(op->mask & ~times))
        op->flags |= OP_SAME;
    bool is_read = inode && op->mask == ENG_SET_ATIME && op->ctime == inode->ctime;
    return is_read ? 0 : decide(k, op->ino, ends_unless(op));
}

/* Of a field that is ignored no state ends; of a guard not even its ctime is another. */
static int decide_xattr(struct keeping *k, struct op *op)
{
    if (op->flags & OP_LATER)
        return 0;
    if (xattr_is_guard(op->name, op->name_len) && !MUTANT(GUARD_IN_STATE)) {
        op->flags |= OP_SAME;
        return 0;
    }
    if (config_ignores(k->config, op->name, op->name_len) && !MUTANT(NOTHING_IGNORED))
        op->flags |= OP_SAME;
    return decide(k, op->ino, ends_unless(op));
}

/* Which inode loses its name by the op, and which gets it; 0: none. */
static uint64_t loses(const struct op *op)
{
    if (op->type == OP_REPOINT)
        return op->other;
    return op->type == OP_UNLINK ? op->ino : 0;
}

static uint64_t gets(const struct op *op)
{
    return op->type == OP_LINK || op->type == OP_REPOINT ? op->ino : 0;
}

/* Whether a name comes to the inode beside those that it has: it is not moved. */
static bool link_comes(const struct keeping *k, const struct op *op)
{
    bool comes = op->type == OP_LINK && k->by_history && index_inode(k->idx, op->ino);
    for (size_t i = 0; i < k->txn->n_ops && comes && k->has_losses; i++)
        comes = loses(&k->txn->ops[i]) != op->ino;
    return comes;
}

static int decide_names(struct keeping *k, const struct op *op)
{
    int r = decide(k, op->parent, FOR_SNAPSHOTS);
    if (!r && op->type == OP_REPOINT)
        r = decide(k, op->other, FOR_SNAPSHOTS);
    enum asked why = link_comes(k, op) ? LINK_COMES : FOR_SNAPSHOTS;
    return r ? r : decide(k, op->ino, why);
}

static int decide_op(struct keeping *k, struct op *op)
{
    switch (op->type) {
    case OP_REPOINT:
    case OP_LINK:
    case OP_UNLINK:
        return decide_names(k, op);
    case OP_KEEP: /* somebody has decided */
        return note_asked(k, ino_slot(op->ino), DECIDED);
    case OP_ATTR:
        return decide_attr(k, op);
    case OP_REWRITE:
        return op->from < op->to ? decide(k, op->ino, STATE_ENDS) : 0;
    case OP_PUNCH:
        return op->flags & OP_LATER ? 0 : decide(k, op->ino, STATE_ENDS);
    case OP_XATTR_SET:
    case OP_XATTR_EXTENT:
    case OP_XATTR_DEL:
        return decide_xattr(k, op);
    case OP_TRUNCATE:
        if (op->flags & OP_LATER && leaps_are_in(k->idx, ino_slot(op->ino)) && !MUTANT(LEAP_INTO_TAIL))
            return decide(k, op->ino, TAIL_BEGINS);
        return decide(k, op->ino, ends_unless(op));
    case OP_EXTENT:
        return decide(k, op->ino, ends_unless(op));
    default:
        return 0;
    }
}

/* ---- names -------------------------------------------------------------------------- */

/* Whether the inode gets a name for the one that op i takes: each that it gets stands for one. */
static bool is_moved(const struct txn *txn, size_t i)
{
    uint64_t ino = loses(&txn->ops[i]);
    size_t names = 0, moved = 0;
    for (size_t j = 0; j < txn->n_ops; j++) {
        names += gets(&txn->ops[j]) == ino;
        moved += loses(&txn->ops[j]) == ino && txn->ops[j].flags & OP_MOVED;
    }
    return names > moved;
}

/* Whether the name d, which moves by op i, has a place in its folder that it shares with a past name of the
 * new path, which ended since it began: that path would be there twice. */
static bool would_be_twice(const struct keeping *k, size_t i, uint32_t d, uint64_t begin)
{
    const struct op *op = &k->txn->ops[i];
    uint64_t cookie = index_dentry(k->idx, d)->cookie;
    bool twice = false;
    for (size_t j = 0; j < k->txn->n_ops && !twice; j++) {
        const struct op *link = &k->txn->ops[j];
        if (link->type == OP_LINK && link->parent == op->parent && link->cookie == cookie)
            twice = index_name_ended(k->idx, ino_slot(op->parent), link->name, link->name_len, begin);
    }
    return twice;
}

static bool name_is_in_history(struct keeping *k, size_t i, uint32_t d, uint64_t begin, bool moves)
{
    const struct op *op = &k->txn->ops[i];
    if (!k->by_history)
        return false;
    bool kept = op->type == OP_REPOINT || !moves || is_settled(k, begin) ||
                index_name_ended(k->idx, ino_slot(op->parent), op->name, op->name_len, 0) ||
                would_be_twice(k, i, d, begin);
    return if_there_is_room(k, kept);
}

static void mark_name(struct keeping *k, size_t i)
{
    const struct index *idx = k->idx;
    const struct txn *txn = k->txn;
    struct op *op = &txn->ops[i];
    uint32_t d = loses(op) ? index_find_name(idx, ino_slot(op->parent), op->name, op->name_len) : 0;
    if (!d) /* it may begin in this very batch */
        return;
    op->dentry = d;
    uint64_t begin = index_name_begin(idx, d);
    bool moves = is_moved(txn, i);
    if (!is_seen(k, begin) && !name_is_in_history(k, i, d, begin, moves))
        return;
    op->flags |= OP_KEPT;
    if (moves)
        op->flags |= OP_MOVED;
}

/* ---- the transaction ------------------------------------------------------------------ */

/* Whether the op says a number that it takes. */
static bool takes_number(const struct op *op)
{
    return op->type == OP_CREATE || op->type == OP_KEEP;
}

/* Numbers behind those that the transaction takes already, which come first. */
static int put_keeps(const struct keeping *k, struct op *to)
{
    struct table_ahead creates = {0}, ahead = {0};
    for (size_t i = 0; i < k->txn->n_ops; i++)
        if (k->txn->ops[i].type == OP_CREATE)
            (void)index_predict_ino(k->idx, &creates);
    for (size_t i = 0; i < k->txn->n_ops; i++)
        if (k->txn->ops[i].type == OP_KEEP)
            (void)index_predict_past(k->idx, &ahead, &creates);
    for (size_t i = 0; i < k->n; i++) {
        uint64_t past = index_predict_past(k->idx, &ahead, &creates);
        to[i] = (struct op){.type = OP_KEEP, .ino = k->inos[i], .past = past};
        if (!to[i].past)
            return -ENOSPC;
    }
    return 0;
}

/* The ops in their new order: numbers that are taken behind all that were in use rise. */
static int put_ops(struct keeping *k)
{
    struct txn *txn = k->txn;
    size_t n_taken = 0, first = k->n_by, head = 0;
    for (size_t i = 0; i < txn->n_ops; i++)
        n_taken += takes_number(&txn->ops[i]);
    size_t keeps = first + n_taken, at = keeps + k->n + k->n_more, n = at + txn->n_ops - n_taken;
    struct op *ops = malloc(n * sizeof *ops);
    int r = ops ? put_keeps(k, ops + keeps) : -ENOMEM;
    if (r) {
        free(ops);
        return r;
    }
    memcpy(ops, &k->room->by, k->n_by * sizeof *ops);
    memcpy(ops + keeps + k->n, k->room->more, k->n_more * sizeof *ops);
    for (size_t i = 0; i < txn->n_ops; i++) {
        size_t to = takes_number(&txn->ops[i]) ? first++ : at++;
        ops[to] = txn->ops[i];
        for (; head < txn->n_heads && txn->heads[head].op == i; head++)
            txn->heads[head].op = to;
    }
    free(txn->ops);
    txn->ops = ops;
    txn->n_ops = txn->cap_ops = n;
    return 0;
}

bool keep_has(const struct txn *txn, uint64_t ino)
{
    bool has = false;
    size_t first = txn->n_ops && txn->ops[0].type == OP_BY;
    for (size_t i = first; i < txn->n_ops && takes_number(&txn->ops[i]) && !has; i++)
        has = txn->ops[i].type == OP_KEEP && txn->ops[i].ino == ino;
    return has;
}

/* Whether a state or a name ends or begins with the op. */
static bool is_change(const struct op *op)
{
    const unsigned times = ENG_SET_ATIME | ENG_SET_MTIME;
    switch (op->type) {
    case OP_LINK:
    case OP_UNLINK:
    case OP_REPOINT:
    case OP_TRUNCATE:
    case OP_EXTENT:
    case OP_REVERT:
        return true;
    case OP_ATTR:
        return op->mask & ~times;
    case OP_PUNCH:
    case OP_XATTR_SET:
    case OP_XATTR_EXTENT:
    case OP_XATTR_DEL:
        return !(op->flags & (OP_LATER | OP_SAME));
    case OP_REWRITE:
        return op->from < op->to;
    default:
        return false;
    }
}

static bool has_change(const struct txn *txn)
{
    bool has = false;
    for (size_t i = 0; i < txn->n_ops && !has; i++)
        has = is_change(&txn->ops[i]);
    return has;
}

bool keep_is_on(const struct eng *eng)
{
    const struct config *config = &eng->config;
    if (!eng_has_history(eng))
        return false;
    return atomic_load_explicit(&config->history_is_known, memory_order_relaxed)
               ? atomic_load_explicit(&config->history, memory_order_relaxed) != 0
               : index_is_kept_whole(&eng->idx);
}

bool eng_notes_actors(const struct eng *eng)
{
    const struct config *config = eng ? &eng->config : NULL;
    if (!eng || !eng_has_history(eng))
        return false;
    return !atomic_load_explicit(&config->history_is_known, memory_order_relaxed) ||
           atomic_load_explicit(&config->history, memory_order_relaxed) != 0;
}

struct op keep_floor(struct eng *eng, enum floor_reason reason)
{
    uint64_t batch = reason == FLOOR_OFF ? FLOOR_NONE : log_seq(&eng->log) + 1;
    return (struct op){.type = OP_FLOOR, .batch = batch, .reason = reason};
}

void keep_note_floor(struct eng *eng, const struct op *op)
{
    if (op->reason == FLOOR_ON)
        atomic_store_explicit(&eng->floor_for[FLOOR_OFF], 0, memory_order_relaxed);
    else
        atomic_store_explicit(&eng->floor_for[op->reason], op->batch, memory_order_relaxed);
}

/* With the first change the floor says what the configuration says, if nobody has seen to that before; and
 * that something was left out. */
static void add_floor(struct eng *eng, struct keeping *k)
{
    bool is_whole = index_is_kept_whole(k->idx);
    enum floor_reason reason = FLOOR_FULL_DISK;
    if (is_whole != k->is_on)
        reason = is_whole ? FLOOR_OFF : FLOOR_ON;
    else if (!k->is_left_out)
        return;
    k->room->more[k->n_more++] = keep_floor(eng, reason);
    keep_note_floor(eng, &k->room->more[k->n_more - 1]);
}

static void add_moment(struct eng *eng, struct keeping *k)
{
    if (k->is_on && (k->n_more || clocks_is_moment(eng)))
        k->room->more[k->n_more++] = clocks_moment(eng);
}

static int stage(struct eng *eng, struct keeping *k)
{
    int r = 0;
    for (size_t i = 0; i < k->txn->n_ops && !k->has_losses; i++)
        k->has_losses = loses(&k->txn->ops[i]) != 0;
    for (size_t i = 0; i < k->txn->n_ops && !r; i++) {
        r = decide_op(k, &k->txn->ops[i]);
        if (!r)
            mark_name(k, i);
    }
    if (!r && has_change(k->txn)) {
        add_floor(eng, k);
        add_moment(eng, k);
        k->n_by = k->is_on && acting_by(eng, &k->room->by);
    }
    return r || !(k->n + k->n_more + k->n_by) ? r : put_ops(k);
}

int keep_stage(struct eng *eng, struct txn *txn)
{
    const struct index *idx = &eng->idx;
    if (!eng_has_history(eng)) /* as most stores: nothing is set up for it */
        return 0;
    clocks_look(eng);
    bool is_on = keep_is_on(eng), is_whole = index_is_kept_whole(idx);
    uint64_t seen = MAX_OF(idx->s.newest_snapshot, views_newest(eng));
    if (!(seen || idx->s.n_past_names || idx->s.n_past || is_on || is_whole))
        return 0;
    struct room room;
    struct keeping k = {
        .idx = idx, .config = &eng->config, .txn = txn, .seen = seen, .is_on = is_on, .room = &room};
    k.by_history = is_on && is_whole;
    k.is_short = reserve_is_short(eng) && !MUTANT(SHORT_KEEPS);
    k.settled = k.by_history ? clocks_settled(eng) : 0;
    k.looked = k.by_history ? views_newest_in_time(eng) : 0;
    int r = stage(eng, &k);
    if (!r) {
        COUNT(eng, states_kept, k.n);
        COUNT(eng, states_amended, k.n_amended);
    }
    idmap_done(&k.decided);
    free(k.inos);
    return r;
}
