/*
 * test_view_at.c - views of a batch: whatever was done since, each shows what the store showed then. A random
 * tree, its states and names kept as they must be; what was seen after each change is noted, and compared
 * with the view of that batch, over compactions, checkpoints and recoveries; and what differs between two
 * views, with what a walk through both finds. */
#include "past_tree.h"

#include "walked_diff.h"

#include "must.h"

#define NAMES 40u
#define DIRS 6u
#define FILE_MAX 30000u

static struct name {
    uint64_t dir, ino;
    bool is_dir;
    char text[16];
} names[NAMES];
static unsigned n_names;
static uint64_t counted; /* names and contents that were made */

static bool is_listed(uint64_t dir, const char *text)
{
    for (unsigned i = 0; i < n_names; i++)
        if (names[i].dir == dir && strcmp(names[i].text, text) == 0)
            return true;
    return false;
}

static struct name *any_name(bool files)
{
    for (unsigned tries = 0; n_names && tries < 50; tries++) {
        struct name *n = &names[below(n_names)];
        if (!files || S_ISREG(unit_attr(&u, n->ino).mode))
            return n;
    }
    return NULL;
}

static uint64_t any_dir(void)
{
    struct name *n = below(3) ? any_name(false) : NULL;
    return n && n->is_dir ? n->ino : ENG_ROOT_INO;
}

static bool is_below(uint64_t dir, uint64_t top)
{
    uint32_t at = ino_slot(dir);
    while (at != ino_slot(top) && at != ENG_ROOT_INO)
        at = index_parent(&u.eng->idx, at);
    return at == ino_slot(top);
}

/* What a snapshot has of a folder is kept when its names change. */
static void keep_folder(uint64_t dir)
{
    if (exact)
        tree_keep(dir);
}

/* ---- names ------------------------------------------------------------------------ */

/* Few texts: a path is used again and again. */
static void any_text(uint64_t dir, char text[16])
{
    do
        (void)snprintf(text, 16, "%c%llu", (char)('a' + below(8)), (unsigned long long)below(8));
    while (is_listed(dir, text));
}

static void make(void)
{
    static const uint32_t modes[] = {S_IFREG | 0644, S_IFREG | 0600, S_IFDIR | 0755,
                                     S_IFLNK | 0777, S_IFIFO | 0640, S_IFCHR | 0600};
    uint64_t dir = any_dir();
    struct name n = {.dir = dir};
    struct eng_attr attr;
    char target[32];
    uint32_t mode = modes[below(ARRAY_LEN(modes))];
    if (n_names == NAMES)
        return;
    any_text(dir, n.text);
    (void)snprintf(target, sizeof target, "to %llu", (unsigned long long)counted++);
    keep_folder(dir);
    tree_moment();
    MUST(eng_create(u.eng, NULL, dir, n.text, mode, 0x103, S_ISLNK(mode) ? target : NULL, &attr) == 0);
    n.ino = attr.ino;
    n.is_dir = S_ISDIR(mode);
    names[n_names++] = n;
}

static void make_link(void)
{
    const struct name *old = any_name(false);
    struct name n;
    if (!old || old->is_dir || n_names == NAMES)
        return;
    n = *old;
    n.dir = any_dir();
    any_text(n.dir, n.text);
    keep_folder(n.dir);
    tree_keep(n.ino);
    MUST(eng_link(u.eng, NULL, n.ino, n.dir, n.text, NULL) == 0);
    names[n_names++] = n;
}

static void forget(struct name *n)
{
    *n = names[--n_names];
}

static void remove_name(void)
{
    struct name *n = any_name(false);
    if (!n || (n->is_dir && unit_attr(&u, n->ino).size))
        return;
    keep_folder(n->dir);
    keep_folder(n->ino);
    tree_moment();
    tree_unlink(n->dir, n->text, n->ino);
    forget(n);
}

static void move_free(struct name *n, uint64_t to)
{
    char text[16];
    any_text(to, text);
    tree_moment();
    tree_rename(n->dir, n->text, n->ino, to, text, 0, false);
    n->dir = to;
    (void)snprintf(n->text, sizeof n->text, "%s", text);
}

static void move_over(struct name *n, struct name *over, bool back)
{
    keep_folder(over->ino);
    tree_moment();
    tree_rename(n->dir, n->text, n->ino, over->dir, over->text, over->ino, back);
    uint64_t ino = over->ino;
    bool is_dir = over->is_dir;
    over->ino = n->ino;
    over->is_dir = n->is_dir;
    n->ino = ino;
    n->is_dir = is_dir;
    if (!back)
        forget(n);
}

static void move_name(void)
{
    struct name *n = any_name(false), *over = below(2) ? any_name(false) : NULL;
    uint64_t to = over ? over->dir : any_dir();
    bool back = below(3) == 0;
    if (!n || n == over || (over && over->ino == n->ino) || (n->is_dir && is_below(to, n->ino)))
        return;
    if (over && back && over->is_dir && is_below(n->dir, over->ino))
        return;
    if (over && !back && (over->is_dir != n->is_dir || (over->is_dir && unit_attr(&u, over->ino).size)))
        return;
    keep_folder(n->dir);
    if (to != n->dir)
        keep_folder(to);
    keep_folder(n->ino);
    if (over)
        move_over(n, over, back);
    else
        move_free(n, to);
}

/* ---- states ------------------------------------------------------------------------ */

static void write_some(uint64_t ino, uint64_t size)
{
    uint64_t off = below(3) ? below(size + 1) : size;
    off = MIN_OF(off + (below(5) ? 0 : below(9000)), (uint64_t)FILE_MAX);
    unit_write(&u, ino, 1 + below(below(3) ? 3000 : 20000), counted++, off);
}

static void set_size(uint64_t ino, uint64_t size)
{
    struct eng_attr attr = {.size = size};
    MUST(eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE, NULL) == 0);
}

static void change_content(void)
{
    const struct name *n = any_name(true);
    if (!n)
        return;
    uint64_t size = unit_attr(&u, n->ino).size;
    tree_keep(n->ino);
    switch (below(6)) {
    case 0:
        set_size(n->ino, below(size + 1));
        break;
    case 1:
        set_size(n->ino, size + below(5000));
        break;
    case 2:
        if (size)
            MUST(eng_fallocate(u.eng, n->ino, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, below(size),
                               1 + below(size)) == 0);
        break;
    default:
        write_some(n->ino, size);
    }
}

static void change_fields(void)
{
    const struct name *n = any_name(false);
    struct eng_attr attr = {.mode = 0600 + (uint32_t)below(64),
                            .uid = (uint32_t)below(9),
                            .gid = 3,
                            .mtime = 1000 + (int64_t)below(1000)};
    static const unsigned masks[] = {ENG_SET_MODE, ENG_SET_UID | ENG_SET_GID, ENG_SET_MTIME};
    unsigned mask = masks[below(exact ? 3 : 2)];
    if (!n)
        return;
    tree_keep(n->ino);
    MUST(eng_setattr(u.eng, n->ino, &attr, mask, NULL) == 0);
}

static void change_xattrs(void)
{
    const struct name *n = any_name(false);
    char name[16];
    if (!n)
        return;
    (void)snprintf(name, sizeof name, "user.%c", (char)('a' + below(4)));
    tree_keep(n->ino);
    if (below(3) == 0 && eng_getxattr(u.eng, n->ino, name, NULL, 0) >= 0) {
        MUST(eng_removexattr(u.eng, n->ino, name) == 0);
        return;
    }
    size_t size = below(2) ? below(60) : 65 + below(5000);
    uint8_t *value = unit_bytes(size, counted++);
    MUST(eng_setxattr(u.eng, n->ino, name, value, size, 0) == 0);
    free(value);
}

static void change(void)
{
    void (*const changes[])(void) = {make,           make,           make_link,     remove_name,
                                     move_name,      move_name,      change_fields, change_xattrs,
                                     change_content, change_content, change_content};
    uint64_t before = last_batch();
    changes[below(ARRAY_LEN(changes))]();
    if (last_batch() != before && !by_itself)
        tree_note();
}

/* ---- beside it --------------------------------------------------------------------- */

static void compact(void)
{
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
}

static void restart(void)
{
    unit_reopen(&u);
}

static void recover(void)
{
    MUST(eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_DROP_ALL, below(1000));
    unit_open(&u);
}

static void write_checkpoint(void)
{
    int r = checkpoint_write(u.eng);
    MUST(!r || !loading_is_done(&u.eng->loading)); /* which it would not wait for */
}

/* A batch that nothing belongs to that is seen: what was noted before is what the view of it shows, too. */
static void compare_some(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = 1 + below(last_batch());
        if (sights[at])
            tree_compare(at);
    }
}

static void compare_two(void)
{
    uint64_t from = 1 + below(last_batch()), to = from + below(below(2) ? 20 : 500);
    while (from < last_batch() && !sights[from])
        from++;
    while (to > from && (to > last_batch() || !sights[to]))
        to--;
    if (sights[from] && sights[to])
        compare_walked(from, to);
}

static void run(unsigned changes)
{
    void (*const besides[])(void) = {compact, restart, recover, write_checkpoint};
    n_names = 0;
    for (unsigned i = 0; i < changes; i++) {
        change();
        if (below(25) == 0) {
            besides[below(ARRAY_LEN(besides))]();
            compare_some(3);
        }
        if (below(4) == 0)
            compare_two();
    }
    for (unsigned k = 0; k < ARRAY_LEN(besides); k++) {
        besides[k]();
        compare_some(8);
        for (unsigned i = 0; i < 20; i++)
            compare_two();
    }
    for (uint64_t at = 1; at <= last_batch(); at++)
        if (sights[at])
            tree_compare(at);
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert_eq(unit_stats(&u).damaged_extents, 0);
}

TestSuite(view_at, .timeout = 600);

Test(view_at, of_a_snapshot_is_exact)
{
    uint64_t seed = test_seed();
    for (uint64_t i = 0; i < 3; i++) {
        tree_begin(true, seed + i);
        run(250);
        tree_end();
    }
}

Test(view_at, of_a_whole_past_has_names_files_and_folders)
{
    uint64_t seed = test_seed() + 1000;
    for (uint64_t i = 0; i < 3; i++) {
        tree_begin(false, seed + i);
        run(300);
        tree_end();
    }
}

/* ---- snapshots that the store keeps by itself ------------------------------------------- */

static uint64_t made[64]; /* batch of the snapshot of that number, 0: it was dropped */
static unsigned n_made;

static void snapshot_name(unsigned n, char name[16])
{
    (void)snprintf(name, 16, "s%u", n);
}

static void make_snapshot(void)
{
    char name[16];
    if (n_made == ARRAY_LEN(made))
        return;
    snapshot_name(n_made, name);
    MUST(eng_snapshot_create(u.eng, name, &made[n_made]) == 0);
    MUST(made[n_made] == last_batch());
    n_made++;
    tree_note();
}

static void drop_snapshot(void)
{
    char name[16];
    struct eng_view *view = NULL;
    unsigned n = (unsigned)below(n_made);
    if (!n_made || !made[n])
        return;
    snapshot_name(n, name);
    MUST(eng_snapshot_drop(u.eng, name) == 0);
    cr_assert_eq(eng_view_open(u.eng, made[n], &view), -ENOENT);
    made[n] = 0;
}

static void compare_snapshots(void)
{
    for (unsigned n = 0; n < n_made; n++)
        if (made[n])
            tree_compare(made[n]);
}

static void run_snapshots(unsigned changes)
{
    void (*const besides[])(void) = {compact, restart, recover, write_checkpoint};
    n_names = n_made = 0;
    for (unsigned i = 0; i < changes; i++) {
        change();
        if (below(12) == 0)
            make_snapshot();
        if (below(40) == 0)
            drop_snapshot();
        if (below(40) == 0)
            besides[below(ARRAY_LEN(besides))]();
        if (below(40) == 0)
            compare_snapshots();
    }
    for (unsigned k = 0; k < ARRAY_LEN(besides); k++) {
        besides[k]();
        compare_snapshots();
    }
    cr_assert_eq(unit_problems(&u), 0);
}

Test(view_at, of_a_snapshot_that_the_store_keeps)
{
    uint64_t seed = test_seed() + 2000;
    for (uint64_t i = 0; i < 4; i++) {
        tree_begin(true, seed + i);
        by_itself = true;
        run_snapshots(500);
        tree_end();
    }
}
