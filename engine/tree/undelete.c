/*
 * undelete.c - eng_undelete(): what was removed gets a name again, a folder with what was removed below it,
 * in one batch.
 *
 * The inodes are as they were, since what past names keep stays as it is: a name each is all that comes. */
#include "commit/commit.h"
#include "commit/orphans.h"
#include "tree/attr.h"
#include "tree/entries.h"
#include "tree/removed.h"
#include "upkeep/full_disk.h"

#define UNDELETE_LOOKS 16u /* at groups of names, for each name that may come */

struct revived {
    uint64_t parent, ino;
    size_t text; /* in texts */
    uint16_t len;
};

struct undelete {
    struct eng *eng;
    const uint32_t *owner;    /* NULL: whoever */
    struct removed_look look; /* of the present folder */
    struct revived *all;      /* each folder before what is in it */
    size_t n, cap;
    char *texts;
    size_t texts_len, cap_texts;
    uint64_t folder; /* the present one */
    size_t n_refs;   /* of the first ones a reference is held */
};

static void undelete_done(struct undelete *u)
{
    removed_done(&u->look);
    free(u->all);
    free(u->texts);
}

/* ---- what comes ---------------------------------------------------------------------- */

/* Whether the inode is still what it was when that name was removed: who has it open may have changed it. */
static bool is_as_removed(const struct index *idx, const struct name_life *life)
{
    const struct inode_rec *head = index_slot(idx, life->child);
    const struct inode_rec *then = index_slot(idx, past_at(idx, life->child, life->end - 1));
    return head && then && head->state == then->state && head->mode == then->mode && head->uid == then->uid &&
           head->gid == then->gid;
}

static int add_revived(struct undelete *u, uint64_t parent, const struct name_life *life, const char *text,
                       size_t len)
{
    const struct index *idx = &u->eng->idx;
    const bool is_linked = index_slot(idx, life->child)->nlink > 0; /* then it is what its other name shows */
    if (!is_linked && !is_as_removed(idx, life))
        return -EBUSY;
    if (u->n == eng_slice(u->eng))
        return -E2BIG;
    int r = array_grow(&u->all, &u->cap, u->n + 1, sizeof *u->all);
    if (!r)
        r = array_grow(&u->texts, &u->cap_texts, u->texts_len + len, 1);
    if (r)
        return r;
    memcpy(u->texts + u->texts_len, text, len);
    u->all[u->n++] = (struct revived){.parent = parent,
                                      .ino = index_ino(index_slot(idx, life->child), life->child),
                                      .text = u->texts_len,
                                      .len = (uint16_t)len};
    u->texts_len += len;
    return 0;
}

/* Nobody else's rights say who may have back what he had removed; see engine.h. */
static bool is_wanted(const struct undelete *u, const struct name_life *life)
{
    const struct inode_rec *inode = index_slot(&u->eng->idx, life->child);
    return !u->owner || MUTANT(UNDELETES_ALL) || (inode && inode->uid == *u->owner);
}

/* Whether an inode that has names can have so many more of them. */
static bool has_room_for_link(const struct undelete *u, const struct name_life *life)
{
    return index_slot(&u->eng->idx, life->child)->nlink + u->n < ENG_LINK_MAX;
}

/* Of one name the newest alone. */
static int add_child(void *arg, const struct name_life *life, uint64_t sight, const char *text, size_t len)
{
    struct undelete *u = arg;
    uint64_t newest = 0;
    (void)sight;
    int r = removed_newest(&u->look, text, len, &newest);
    const bool is_left = newest != life->end || !is_wanted(u, life) || !has_room_for_link(u, life);
    return r || is_left ? r : add_revived(u, u->folder, life, text, len);
}

/* What was removed below the first one. */
static int find_below(struct undelete *u)
{
    struct removed_lister lister = {.look = &u->look, .emit = add_child, .arg = u};
    bool more = false;
    u->look.with_linked = !MUTANT(LINKED_LEFT);
    int r = removed_note(&u->look);
    lister.looks = (unsigned)MIN_OF((uint64_t)UNDELETE_LOOKS * eng_slice(u->eng), (uint64_t)UINT32_MAX);
    for (size_t i = 0; i < u->n && !r; i++) {
        u->folder = u->all[i].ino;
        if (!S_ISDIR(index_inode(&u->eng->idx, u->folder)->mode))
            continue;
        u->look.dir = ino_slot(u->folder);
        lister.cookie = 0;
        r = removed_each(&lister, &more);
        if (!r && more)
            r = -E2BIG;
    }
    return r;
}

static int find_all(struct undelete *u, uint64_t folder, const char *name, uint64_t number,
                    uint64_t new_parent, const char *new_name)
{
    const struct inode_rec *dir;
    struct name_life life;
    int r = entries_dir(&u->eng->idx, folder, &dir);
    if (!r)
        r = entries_check_name(name);
    if (!r)
        r = sightings_of(&u->look.live, &u->look.sightings);
    if (!r)
        r = removed_find(&u->look, name, strlen(name), number, &life);
    if (!r)
        r = entries_may_add(u->eng, new_parent, new_name, &dir);
    if (!r && !is_wanted(u, &life))
        r = -EPERM;
    if (!r)
        r = add_revived(u, new_parent, &life, new_name, strlen(new_name));
    return r ? r : find_below(u);
}

/* ---- the batch ------------------------------------------------------------------------- */

static int stage_links(const struct undelete *u, struct txn *txn)
{
    uint64_t cookie = entries_new_cookie(u->eng);
    int64_t now = now_ns();
    for (size_t i = 0; i < u->n; i++) {
        struct op *op = txn_op(txn, OP_LINK);
        if (!op || cookie + i > COOKIE_MAX)
            return op ? -ENOSPC : -ENOMEM;
        op->parent = u->all[i].parent;
        op->ino = u->all[i].ino;
        op->time = now;
        op->name = u->texts + u->all[i].text;
        op->name_len = u->all[i].len;
        op->cookie = cookie + i;
    }
    return 0;
}

/* So that this very batch does not free what nothing shows of an inode, or all of it. */
static void add_refs(struct undelete *u)
{
    for (; u->n_refs < u->n; u->n_refs++)
        (void)index_ref(&u->eng->idx, ino_slot(u->all[u->n_refs].ino), 1);
}

static void drop_refs(struct undelete *u)
{
    for (; u->n_refs > 0; u->n_refs--) {
        uint64_t ino = u->all[u->n_refs - 1].ino;
        const struct inode_rec *inode = index_inode(&u->eng->idx, ino);
        if (inode && index_ref(&u->eng->idx, ino_slot(ino), -1) == 0 && orphans_frees(&u->eng->idx, inode))
            orphans_add(u->eng, ino);
    }
}

static int undelete_once(struct eng *eng, const struct eng_caller *who, const uint32_t *owner,
                         uint64_t folder, const char *name, uint64_t number, uint64_t new_parent,
                         const char *new_name, struct eng_attr *ret_attr)
{
    CLEANUP_TXN struct txn txn = {0};
    struct undelete u = {
        .eng = eng, .owner = owner, .look = {.live = view_live(eng), .dir = ino_slot(folder)}};
    int r = commit_begin(eng);
    if (r)
        return r;
    r = find_all(&u, folder, name, number, new_parent, new_name);
    if (!r)
        r = stage_links(&u, &txn);
    if (!r) {
        add_refs(&u);
        r = commit_txn(eng, &txn);
        if (!r)
            entries_give(eng, who, u.all[0].ino, ret_attr);
        drop_refs(&u);
    }
    undelete_done(&u);
    return commit_end(eng, r);
}

int eng_undelete(struct eng *eng, const struct eng_caller *who, const uint32_t *owner, uint64_t folder,
                 const char *name, uint64_t number, uint64_t new_parent, const char *new_name,
                 struct eng_attr *ret_attr)
{
    if (!eng || !name || !new_name)
        return -EINVAL;
    struct full_disk_try change = {0};
    int r;
    do
        r = undelete_once(eng, who, owner, folder, name, number, new_parent, new_name, ret_attr);
    while (full_disk_again(eng, &change, &r));
    return r;
}
