/*
 * test_past_names.c - names that ended: what a folder shows at each batch S, beside a list of all lives that
 * names have had; and that each past name has one owner of its text, one group, one inode.
 *
 * The ops are those of tree/namespace.c, with the flags that the decision of docs/lab/history-design.md
 * (section 1) gives them: what is removed or replaced is kept, and so is most of what is moved. */
#include "past_ops.h"

#define BATCHES 300u
#define LIVES 2048u
#define INODES 512u
#define RECORDS 64u
#define TEXTS 6u
#define SETTLE 12u /* batches after which a name is kept when it is moved */

static struct life lives[LIVES];
static unsigned n_lives;

static struct model_inode {
    uint64_t ino, touched; /* touched: the last batch with an op on it */
    bool is_dir, freed, thinned;
    unsigned n_records;
    struct {
        uint32_t nlink;
        uint64_t end;   /* perhaps later than */
        uint64_t kept;  /* when it was kept */
    } records[RECORDS]; /* past states, as far as they have link counts */
} inodes[INODES];
static unsigned n_inodes;

static struct model_inode *model_of(uint64_t ino)
{
    for (unsigned i = 0; i < n_inodes; i++)
        if (inodes[i].ino == ino)
            return &inodes[i];
    return NULL;
}

static uint64_t create_op(uint32_t mode)
{
    uint64_t ino = inode_op(mode);
    cr_assert_lt(n_inodes, INODES);
    inodes[n_inodes++] = (struct model_inode){.ino = ino, .is_dir = S_ISDIR(mode), .touched = seq};
    return ino;
}

/* ---- the list of lives -------------------------------------------------------- */

static bool is_at(const struct life *l, uint64_t at)
{
    return l->fate == KEPT && l->begin <= at && at < l->end;
}

static void begin_life(uint64_t dir, const char *text, uint64_t ino, uint64_t cookie, uint64_t begin)
{
    cr_assert_lt(n_lives, LIVES);
    struct life *l = &lives[n_lives++];
    *l = (struct life){.dir = dir, .ino = ino, .cookie = cookie, .began = seq, .begin = begin, .end = LIVE};
    (void)snprintf(l->text, sizeof(l->text), "%s", text);
}

static void end_life(struct life *l, bool kept)
{
    l->end = seq;
    l->fate = kept ? KEPT : LEFT_OUT;
}

static struct life *live_name(uint64_t dir, const char *text)
{
    for (unsigned i = 0; i < n_lives; i++)
        if (lives[i].end == LIVE && lives[i].dir == dir && strcmp(lives[i].text, text) == 0)
            return &lives[i];
    return NULL;
}

/* Links of the inode at that batch, whatever is kept of them. */
static uint32_t links_truly(uint64_t ino, uint64_t at)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < n_lives; i++)
        n += lives[i].ino == ino && lives[i].began <= at && at < lives[i].end;
    return n;
}

/* The end of the newest past name of that path, 0 none. */
static uint64_t past_of_path(uint64_t dir, const char *text)
{
    uint64_t end = 0;
    for (unsigned i = 0; i < n_lives; i++)
        if (lives[i].end != LIVE && lives[i].fate == KEPT && lives[i].dir == dir &&
            strcmp(lives[i].text, text) == 0 && lives[i].end > end)
            end = lives[i].end;
    return end;
}

/* ---- changes ------------------------------------------------------------------- */

static const char *any_text(void)
{
    static const char texts[TEXTS][4] = {"a", "b", "c", "dd", "ee", "f"};
    return texts[below(TEXTS)];
}

/* No inode is met twice in a batch: of several names that one gets or loses then, who stages the ops says
 * which are moved. */
static bool touch(uint64_t ino)
{
    struct model_inode *m = model_of(ino);
    if (m->touched == seq)
        return false;
    m->touched = seq;
    return true;
}

/* A folder that has a name; none was touched by this batch. */
static uint64_t any_dir(void)
{
    for (unsigned tries = 0; tries < 50; tries++) {
        struct model_inode *m = &inodes[below(n_inodes)];
        const struct inode_rec *inode = m->freed ? NULL : index_inode(&idx, m->ino);
        if (m->is_dir && inode && inode->nlink && (m->ino == ENG_ROOT_INO || m->touched != seq))
            return m->ino;
    }
    return ENG_ROOT_INO;
}

static struct life *any_name(void)
{
    unsigned first = (unsigned)below(n_lives + 1);
    for (unsigned i = 0; i < n_lives; i++) {
        struct life *l = &lives[(first + i) % n_lives];
        if (l->end == LIVE && l->began < seq && model_of(l->ino)->touched != seq &&
            (l->dir == ENG_ROOT_INO || model_of(l->dir)->touched != seq))
            return l;
    }
    return NULL;
}

static bool is_below(uint64_t dir, uint64_t top)
{
    uint32_t at = ino_slot(dir);
    while (at != ino_slot(top) && at != ENG_ROOT_INO)
        at = index_parent(&idx, at);
    return at == ino_slot(top);
}

static void make(uint32_t mode)
{
    uint64_t dir = any_dir(), cookie = new_cookie();
    const char *text = any_text();
    if (live_name(dir, text))
        return;
    uint64_t ino = create_op(mode);
    link_op(dir, text, ino, cookie);
    begin_life(dir, text, ino, cookie, seq);
}

/* What a KEEP does, in front of the batch's ops. */
static void keep_record(struct model_inode *m)
{
    cr_assert_lt(m->n_records, RECORDS);
    m->records[m->n_records].nlink = index_inode(&idx, m->ino)->nlink;
    m->records[m->n_records].kept = seq;
    m->records[m->n_records++].end = seq;
}

/* A change of content: the state before it is kept if a past name ended since it began, or then, else amended
 * as a rule: the record before stands for it. */
static void change_content(void)
{
    const struct life *l = any_name();
    if (!l || model_of(l->ino)->is_dir || !touch(l->ino))
        return;
    struct model_inode *m = model_of(l->ino);
    const struct past_name_rec *newest = index_past_name(&idx, index_inode(&idx, m->ino)->past_name);
    uint64_t begin = m->n_records ? m->records[m->n_records - 1].end : seq;
    if (m->n_records == RECORDS)
        return;
    if ((newest && newest->end >= begin) || below(4) == 0)
        keep_record(m);
    else if (m->n_records)
        m->records[m->n_records - 1].end = seq;
}

/* A link that is no move makes a new record. */
static void make_link(void)
{
    const struct life *l = any_name();
    uint64_t dir = any_dir(), cookie = new_cookie();
    const char *text = any_text();
    if (!l || model_of(l->ino)->is_dir || live_name(dir, text) || !touch(l->ino))
        return;
    struct model_inode *m = model_of(l->ino);
    keep_record(m);
    link_op(dir, text, m->ino, cookie);
    begin_life(dir, text, m->ino, cookie, seq);
}

static bool is_empty_dir(uint64_t ino)
{
    return S_ISDIR(index_inode(&idx, ino)->mode) && index_inode(&idx, ino)->size == 0;
}

static void remove_name(void)
{
    struct life *l = any_name();
    if (!l || (model_of(l->ino)->is_dir && !is_empty_dir(l->ino)) || !touch(l->ino))
        return;
    if (below(2)) /* as where a snapshot sees it */
        keep_record(model_of(l->ino));
    unlink_op(l, OP_KEPT);
    end_life(l, true);
}

/* Whether the name that is moved is kept: it was settled, or the path has a past, or, moved within its
 * folder, the new path has one that would be there twice. */
static bool is_kept(const struct life *l, uint64_t dir, const char *text, bool same_cookie)
{
    return l->began + SETTLE < seq || past_of_path(l->dir, l->text) ||
           (same_cookie && past_of_path(dir, text) > l->begin);
}

static void move_within(struct life *l, const char *text)
{
    uint64_t dir = l->dir, ino = l->ino, cookie = l->cookie;
    bool kept = is_kept(l, dir, text, true);
    uint64_t begin = kept ? seq : l->begin;
    unlink_op(l, OP_MOVED | (kept ? OP_KEPT : 0));
    link_op(dir, text, ino, cookie);
    end_life(l, kept);
    begin_life(dir, text, ino, cookie, begin);
}

static void move_name(bool whiteout)
{
    struct life *l = any_name();
    uint64_t dir = any_dir();
    const char *text = any_text();
    struct life *over = live_name(dir, text);
    if (!l || l == over || (over && over->began == seq) || (over && over->ino == l->ino))
        return;
    bool is_dir = model_of(l->ino)->is_dir;
    if ((is_dir && is_below(dir, l->ino)) || (over && model_of(over->ino)->is_dir != is_dir) ||
        (over && is_dir && !is_empty_dir(over->ino)) || (over && !touch(over->ino)) || !touch(l->ino))
        return;
    if (!over && dir == l->dir && !whiteout) {
        move_within(l, text);
        return;
    }
    uint64_t cookie = over ? over->cookie : new_cookie(), ino = l->ino;
    bool kept = whiteout || is_kept(l, dir, text, false);
    if (over)
        repoint_op(over, ino, OP_KEPT);
    else
        link_op(dir, text, ino, cookie);
    if (over)
        end_life(over, true);
    if (whiteout) {
        uint64_t gap = create_op(S_IFCHR);
        repoint_op(l, gap, OP_KEPT | OP_MOVED);
        begin_life(l->dir, l->text, gap, l->cookie, seq);
    } else {
        unlink_op(l, OP_MOVED | (kept ? OP_KEPT : 0));
    }
    end_life(l, kept);
    begin_life(dir, text, ino, cookie, seq);
}

static void exchange(void)
{
    struct life *a = any_name(), *b = any_name();
    if (!a || !b || a == b || a->ino == b->ino)
        return;
    if ((model_of(a->ino)->is_dir && is_below(b->dir, a->ino)) ||
        (model_of(b->ino)->is_dir && is_below(a->dir, b->ino)))
        return;
    (void)(touch(a->ino) && touch(b->ino));
    struct life first = *a, second = *b;
    repoint_op(a, second.ino, OP_KEPT | OP_MOVED);
    repoint_op(b, first.ino, OP_KEPT | OP_MOVED);
    end_life(a, true);
    end_life(b, true);
    begin_life(first.dir, first.text, second.ino, first.cookie, seq);
    begin_life(second.dir, second.text, first.ino, second.cookie, seq);
}

/* A live name whose newest past one was dropped stands for it. */
static void stand_in(const struct life *dropped)
{
    struct life *live = NULL;
    uint64_t end = dropped->cookie >> COOKIE_BATCH_SHIFT;
    for (unsigned i = 0; i < n_lives; i++) {
        struct life *l = &lives[i];
        if (l->dir != dropped->dir || l->cookie != dropped->cookie || l->fate != KEPT)
            continue;
        if (l->end == LIVE)
            live = l;
        else if (l->end > end)
            end = l->end;
    }
    if (!live || live->begin == end)
        return;
    live->begin = end;
    model_of(live->ino)->thinned = true; /* it is shown at two places, perhaps */
}

static bool has_past_in(uint64_t dir)
{
    for (unsigned i = 0; i < n_lives; i++)
        if (lives[i].dir == dir && lives[i].fate == KEPT && lives[i].end != LIVE)
            return true;
    return false;
}

static bool has_past(uint64_t ino)
{
    for (unsigned i = 0; i < n_lives; i++)
        if (lives[i].ino == ino && lives[i].fate == KEPT)
            return true;
    return false;
}

/* An inode that nothing leads to is an orphan; any other is not freed. */
static void try_free(uint64_t ino)
{
    struct model_inode *m = model_of(ino);
    bool may = !has_past(ino) && !has_past_in(ino);
    if (m->freed || index_inode(&idx, ino)->nlink)
        return;
    cr_assert_eq(apply((struct op){.type = OP_FREE, .ino = ino}), may ? 0 : -EBADMSG);
    m->freed = may;
}

static bool is_known(const struct life *name)
{
    for (unsigned i = 0; i < n_lives; i++)
        if (lives[i].dir == name->dir && lives[i].cookie == name->cookie && lives[i].end == name->end &&
            lives[i].fate == KEPT)
            return true;
    return false;
}

static void drop(struct life *l)
{
    struct life none = *l, other = *l;
    none.end++;
    other.ino++;
    cr_assert(is_known(&none) || drop_op(&none) == -EBADMSG);
    cr_assert_eq(drop_op(&other), -EBADMSG);
    cr_assert_eq(drop_op(l), 0);
    l->fate = DROPPED;
    model_of(l->ino)->thinned = true;
    stand_in(l);
    if (below(2))
        try_free(l->ino);
}

static struct life *any_past(void)
{
    unsigned first = (unsigned)below(n_lives + 1);
    for (unsigned i = 0; i < n_lives; i++) {
        struct life *l = &lives[(first + i) % n_lives];
        if (l->end < seq && l->fate == KEPT)
            return l;
    }
    return NULL;
}

/* ---- comparing -------------------------------------------------------------------- */

#define ENTRIES 64u

struct listed {
    struct shown_name names[ENTRIES];
    unsigned n, stop;
};

static int take(void *arg, const struct shown_name *name)
{
    struct listed *l = arg;
    cr_assert_lt(l->n, ENTRIES);
    if (l->n == l->stop)
        return 1;
    l->names[l->n++] = *name;
    return 0;
}

/* The listing, put together of pieces: some end where the reader stops, some where it has looked enough. */
static void list_in_pieces(uint32_t dir, uint64_t at, struct listed *ret_l)
{
    struct list_at list = {.dir = dir, .at = at, .emit = take, .arg = ret_l};
    int r;
    *ret_l = (struct listed){0};
    do {
        ret_l->stop = ret_l->n + 1 + (unsigned)below(3);
        list.looks = 1 + (uint32_t)below(4);
        r = index_list_at(&idx, &list);
        cr_assert_geq(r, 0);
    } while (r != LIST_END);
    for (unsigned i = 1; i < ret_l->n; i++)
        cr_assert_lt(ret_l->names[i - 1].cookie, ret_l->names[i].cookie, "a cookie twice, or in no order");
}

/* From each place the same follows. */
static void resume_everywhere(uint32_t dir, uint64_t at, const struct listed *all)
{
    for (unsigned i = 0; i <= all->n; i++) {
        struct listed rest = {.stop = ENTRIES};
        struct list_at list = {.dir = dir,
                               .at = at,
                               .cookie = i ? all->names[i - 1].cookie : 0,
                               .looks = UINT32_MAX,
                               .emit = take,
                               .arg = &rest};
        cr_assert_eq(index_list_at(&idx, &list), LIST_END);
        cr_assert_eq(rest.n, all->n - i);
        for (unsigned k = 0; k < rest.n; k++)
            cr_assert(rest.names[k].cookie == all->names[i + k].cookie &&
                      rest.names[k].child == all->names[i + k].child);
    }
}

static bool is_listed(const struct listed *l, const struct life *life)
{
    for (unsigned i = 0; i < l->n; i++) {
        const struct shown_name *s = &l->names[i];
        const char *text = names_get(&idx.names, s->name, s->name_len);
        if (s->cookie == life->cookie)
            return s->child == ino_slot(life->ino) && text && s->name_len == strlen(life->text) &&
                   memcmp(text, life->text, s->name_len) == 0;
    }
    return false;
}

/* Several, where a live name stands in for one that was dropped. */
static bool is_found(uint64_t dir, const char *text, uint64_t at, uint32_t slot)
{
    bool none = true;
    for (unsigned i = 0; i < n_lives; i++) {
        const struct life *l = &lives[i];
        if (!is_at(l, at) || l->dir != dir || strcmp(l->text, text) != 0)
            continue;
        none = false;
        if (ino_slot(l->ino) == slot)
            return true;
    }
    return none && slot == 0;
}

static void compare_dir(uint64_t dir, uint64_t at)
{
    struct listed l;
    unsigned n = 0, n_dirs = 0;
    uint32_t slot = ino_slot(dir);
    list_in_pieces(slot, at, &l);
    if (below(4) == 0)
        resume_everywhere(slot, at, &l);
    for (unsigned i = 0; i < n_lives; i++) {
        const struct life *life = &lives[i];
        if (!is_at(life, at) || life->dir != dir)
            continue;
        n++;
        bool is_dir = model_of(life->ino)->is_dir;
        n_dirs += is_dir;
        cr_assert(is_listed(&l, life), "%s of folder %u at %llu", life->text, slot, (unsigned long long)at);
        if (is_dir && !model_of(life->ino)->thinned)
            cr_assert_eq(index_parent_at(&idx, ino_slot(life->ino), at), slot);
    }
    cr_assert_eq(l.n, n, "folder %u at %llu: %u names, %u listed", slot, (unsigned long long)at, n, l.n);
    struct folder_at folder;
    cr_assert_eq(index_folder_at(&idx, slot, at, UINT32_MAX, &folder), 0);
    cr_assert(folder.n_dirs == n_dirs && folder.n_names == n);
    for (unsigned i = 0; i < TEXTS; i++) {
        const char *text = (const char *[]){"a", "b", "c", "dd", "ee", "f"}[i];
        cr_assert(is_found(dir, text, at, index_name_at(&idx, slot, text, strlen(text), at)),
                  "%s is not found in folder %u at %llu", text, slot, (unsigned long long)at);
    }
    cr_assert_eq(index_name_at(&idx, slot, "zz", 2, at), 0);
}

static void compare_links(const struct model_inode *m, uint64_t at)
{
    const struct inode_rec *inode = m->freed || m->is_dir || m->thinned ? NULL : index_inode(&idx, m->ino);
    uint32_t links = inode ? links_truly(m->ino, at) : 0, nlink = inode ? inode->nlink : 0;
    uint64_t end = UINT64_MAX, kept = UINT64_MAX;
    for (unsigned i = m->n_records; i > 0; i--) {
        if (m->records[i - 1].end > at) {
            nlink = m->records[i - 1].nlink;
            end = m->records[i - 1].end;
            kept = m->records[i - 1].kept;
        }
    }
    if (!links || at >= kept) /* of what was amended nothing is promised */
        return;
    cr_assert_eq(index_links_at(&idx, ino_slot(m->ino), nlink, end, at), links, "inode %u at %llu",
                 ino_slot(m->ino), (unsigned long long)at);
}

/* No path is there twice, as long as nothing was dropped. */
static void check_paths(uint64_t at)
{
    for (unsigned i = 0; i < n_lives; i++)
        for (unsigned k = i + 1; k < n_lives && is_at(&lives[i], at); k++)
            cr_assert(!is_at(&lives[k], at) || lives[i].dir != lives[k].dir ||
                          strcmp(lives[i].text, lives[k].text) != 0,
                      "%s of folder %u is there twice at %llu", lives[i].text, ino_slot(lives[i].dir),
                      (unsigned long long)at);
}

static void compare(uint64_t at)
{
    for (unsigned i = 0; i < n_inodes; i++) {
        if (inodes[i].is_dir && !inodes[i].freed)
            compare_dir(inodes[i].ino, at);
        compare_links(&inodes[i], at);
    }
}

static void check_sound(void)
{
    uint64_t orphans = idx.n_orphans;
    check_index();
    index_count_orphans(&idx);
    cr_assert_eq(idx.n_orphans, orphans);
    for (unsigned i = 0; i < n_inodes; i++)
        orphans -= !inodes[i].freed && inodes[i].ino != ENG_ROOT_INO && !has_past(inodes[i].ino);
    cr_assert_eq(orphans, 0, "what has a past name is no orphan");
}

/* ---- tests ------------------------------------------------------------------------- */

static void begin(uint64_t with_seed)
{
    begin_index(with_seed);
    n_lives = 0;
    inodes[0] = (struct model_inode){.ino = ENG_ROOT_INO, .is_dir = true, .touched = seq};
    n_inodes = 1;
}

static void change(bool drops)
{
    struct life *past = drops ? any_past() : NULL;
    switch (below(past ? 14 : 10)) {
    case 0:
    case 1:
        make(S_IFREG | 0644);
        change_content();
        break;
    case 2:
        make(S_IFDIR | 0755);
        break;
    case 3:
        make_link();
        break;
    case 4:
        remove_name();
        break;
    case 5:
    case 6:
    case 7:
        move_name(false);
        break;
    case 8:
        move_name(true);
        break;
    case 9:
        exchange();
        break;
    default:
        drop(past);
    }
}

static void grow(uint64_t end)
{
    while (seq < end) {
        seq++;
        for (uint64_t n = 1 + below(3); n > 0; n--)
            change(false);
    }
}

static void run(bool drops)
{
    struct index view = {0};
    uint64_t freeze = 0;
    while (seq < BATCHES) {
        seq++;
        for (uint64_t n = 1 + below(3); n > 0; n--)
            change(drops && seq > BATCHES / 3);
        if (seq % 7 == 0 && freeze) {
            index_thaw(&idx, freeze);
            index_free(&view);
            freeze = 0;
        } else if (seq % 7 == 3) {
            cr_assert_eq(index_freeze(&idx, NULL, &view, &freeze), 0);
        }
        if (seq % 16 == 0) {
            check_sound();
            compare(below(seq + 1));
        }
    }
    if (freeze) {
        index_thaw(&idx, freeze);
        index_free(&view);
    }
    check_sound();
    for (uint64_t at = 0; at <= seq; at++) {
        if (!drops)
            check_paths(at);
        compare(at);
    }
}

TestSuite(past_names, .timeout = 600);

Test(past_names, show_each_batch_as_it_was)
{
    for (uint64_t i = 1; i <= 12; i++) {
        begin(i);
        run(false);
        cr_assert_eq(chunk_pool_overdrafts(idx.pool), 0);
        index_free(&idx);
    }
}

/* All of them go, in no order; then all that is left, and nothing is lost. */
static void drop_all(void)
{
    struct life *past;
    while ((past = any_past())) {
        drop(past);
        if (below(8) == 0)
            compare(below(seq + 1));
        if (below(32) == 0)
            check_sound();
    }
    for (unsigned left = 1; left;) { /* folders behind what is in them */
        left = 0;
        for (unsigned i = 0; i < n_lives; i++) {
            struct life *l = &lives[i];
            if (l->end != LIVE || (model_of(l->ino)->is_dir && !is_empty_dir(l->ino)))
                continue;
            unlink_op(l, 0);
            end_life(l, false);
            left++;
        }
    }
    for (unsigned i = 1; i < n_inodes; i++)
        try_free(inodes[i].ino);
    check_sound();
    cr_assert_eq(idx.s.n_past_names, 0);
    cr_assert_eq(idx.past_order.count + idx.past_lookup.count + idx.n_orphans + idx.s.n_names, 0);
    cr_assert_eq(idx.past_names.n_free, idx.past_names.used - 1);
    for (unsigned i = 1; i < n_inodes; i++)
        cr_assert(inodes[i].freed);
}

Test(past_names, are_dropped_in_any_order)
{
    for (uint64_t i = 1; i <= 12; i++) {
        begin(100 + i);
        run(true);
        seq++;
        drop_all();
        cr_assert_eq(chunk_pool_overdrafts(idx.pool), 0);
        index_free(&idx);
    }
}

/* ---- nothing is trusted (I10) ------------------------------------------------------------- */

static void count_line(void *arg, const char *line)
{
    (void)line;
    ++*(unsigned *)arg;
}

static void use_damaged(void)
{
    struct listed l;
    for (unsigned i = 0; i < n_inodes; i++) {
        uint32_t slot = ino_slot(inodes[i].ino);
        uint64_t batch = below(seq + 1);
        l = (struct listed){.stop = ENTRIES};
        struct list_at list = {.dir = slot, .at = batch, .looks = 50, .emit = take, .arg = &l};
        (void)index_list_at(&idx, &list);
        (void)index_parent_at(&idx, slot, batch);
        (void)index_links_at(&idx, slot, 1, seq, batch);
        struct folder_at folder;
        (void)index_folder_at(&idx, slot, batch, 50, &folder);
        (void)index_name_at(&idx, slot, any_text(), 1, batch);
    }
}

static void change_damaged(void)
{
    for (unsigned i = 0; i < n_lives; i++) {
        const struct life *l = &lives[i];
        seq++;
        if (l->end == LIVE && below(2))
            (void)apply(name_op(OP_UNLINK, below(2) ? OP_KEPT : 0, l->dir, l->text, l->ino));
        else if (l->end == LIVE)
            (void)apply((struct op){.type = OP_REPOINT,
                                    .flags = OP_KEPT,
                                    .parent = l->dir,
                                    .ino = inodes[below(n_inodes)].ino,
                                    .other = l->ino,
                                    .name = l->text,
                                    .name_len = (uint16_t)strlen(l->text)});
        else
            (void)drop_op(l);
    }
}

/* A word of a past name is another: that is found, and does no harm before it is. */
Test(past_names, that_are_damaged)
{
    static const size_t words[] = {
        offsetof(struct past_name_rec, next),     offsetof(struct past_name_rec, parent),
        offsetof(struct past_name_rec, child),    offsetof(struct past_name_rec, name),
        offsetof(struct past_name_rec, cookie),   offsetof(struct past_name_rec, hash),
        offsetof(struct past_name_rec, name_len), offsetof(struct past_name_rec, of_inode),
        offsetof(struct past_name_rec, newer),    offsetof(struct past_name_rec, of_newer),
        offsetof(struct past_name_rec, end),      offsetof(struct past_name_rec, begin)};
    for (unsigned n = 0; n < 40 * sizeof(words) / sizeof(words[0]); n++) {
        begin(500 + n);
        grow(60);
        uint32_t i = 1 + (uint32_t)below(idx.past_names.used - 1), old;
        size_t word = words[n % (sizeof(words) / sizeof(words[0]))];
        cr_assert(index_past_name(&idx, i));
        uint8_t *at_word = (uint8_t *)table_mut(&idx.past_names, i) + word;
        memcpy(&old, at_word, sizeof(old));
        uint32_t new = below(4) ? (uint32_t)below(idx.past_names.used + 4) : (uint32_t)rng_next(&seed);
        memcpy(at_word, &new, sizeof(new));
        unsigned found = 0;
        int64_t r = index_verify(&idx, true, count_line, &found);
        bool may_be =
            word == offsetof(struct past_name_rec, end) || word == offsetof(struct past_name_rec, begin);
        cr_assert(r == found && (found || may_be || new == old), "word %zu: %u in place of %u", word, new,
                  old);
        use_damaged();
        change_damaged();
        index_free(&idx);
    }
}
