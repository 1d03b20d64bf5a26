/*
 * past_changes.h - a random tree that changes, a name or a state at a time. Where the test keeps the past
 * itself (past_tree.h), each change keeps what it must. */
#ifndef ENGRAMFS_TESTS_PAST_CHANGES_H
#define ENGRAMFS_TESTS_PAST_CHANGES_H

#include "past_tree.h"

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

static inline void change(void)
{
    void (*const changes[])(void) = {make,           make,           make_link,     remove_name,
                                     move_name,      move_name,      change_fields, change_xattrs,
                                     change_content, change_content, change_content};
    uint64_t before = last_batch();
    changes[below(ARRAY_LEN(changes))]();
    if (last_batch() != before && !by_itself)
        tree_note();
}

#endif
