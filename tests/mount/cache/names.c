/*
 * names.c - two directories with some names each, changed in every way, beside a model of them. After each
 * change everything is looked at: each name that there may be, both listings, links, contents, attributes,
 * also of the directories. That leaves all of it in the kernel's caches for the next change: entries, names
 * that are not there, listings, targets of links. Once by itself, once while three threads look all the time.
 */
#include "cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { DIRS = 2, NAMES = 5, SLOTS = DIRS * NAMES, NODES = 3 * SLOTS };
enum type { NONE, REGULAR, FOLDER, LINK, FIFO };

static struct node {
    enum type type; /* NONE: not used */
    unsigned id;    /* what it says: its content, or the target of a link */
    unsigned mode;
    int nlink;
    ino_t ino;          /* 0: not known yet */
    unsigned attribute; /* 0: it has none */
} nodes[NODES];
static struct node *slots[SLOTS];
static unsigned next_id;

static const char *path(size_t slot)
{
    static char paths[4][32];
    static _Atomic unsigned next;
    char *p = paths[atomic_fetch_add(&next, 1) % COUNT_OF(paths)];
    (void)snprintf(p, sizeof(paths[0]), "n%zu/%zu", slot / NAMES, slot % NAMES);
    return p;
}

/* A slot with a node of that type, or a free one: SLOTS if there is none. */
static size_t pick(enum type type)
{
    size_t from = below(SLOTS);
    for (size_t i = 0; i < SLOTS; i++) {
        size_t slot = (from + i) % SLOTS;
        if ((slots[slot] ? slots[slot]->type : NONE) == type)
            return slot;
    }
    return SLOTS;
}

static size_t pick_any(void)
{
    size_t from = below(SLOTS);
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[(from + i) % SLOTS])
            return (from + i) % SLOTS;
    return SLOTS;
}

static struct node *new_node(size_t slot, enum type type, unsigned mode)
{
    struct node *n = nodes;
    while (n->type)
        n++;
    *n = (struct node){.type = type, .id = ++next_id, .mode = mode, .nlink = type == FOLDER ? 2 : 1};
    slots[slot] = n;
    return n;
}

static void drop_name(size_t slot)
{
    struct node *n = slots[slot];
    slots[slot] = NULL;
    if (n && (n->type == FOLDER || --n->nlink == 0))
        n->type = NONE;
}

/* ---- changes: true if there was something to do ------------------------------------- */

static void write_id(int fd, unsigned id)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%08u", id);
    MUST(pwrite(fd, text, (size_t)n, 0) == n ? 0 : -1);
}

static bool create(void)
{
    size_t at = pick(NONE);
    if (at == SLOTS)
        return false;
    int fd = open(path(at), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    MUST(fd);
    write_id(fd, new_node(at, REGULAR, 0644)->id);
    MUST(close(fd));
    return true;
}

static bool create_unnamed(void)
{
    size_t at = pick(NONE);
    char fd_path[32];
    if (at == SLOTS)
        return false;
    int fd = open(at < NAMES ? "n0" : "n1", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    MUST(fd);
    (void)snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", fd);
    MUST(linkat(AT_FDCWD, fd_path, AT_FDCWD, path(at), AT_SYMLINK_FOLLOW));
    write_id(fd, new_node(at, REGULAR, 0600)->id);
    MUST(close(fd));
    return true;
}

static bool make_folder(void)
{
    size_t at = pick(NONE);
    if (at == SLOTS)
        return false;
    MUST(mkdir(path(at), 0750));
    (void)new_node(at, FOLDER, 0750);
    return true;
}

static bool make_fifo(void)
{
    size_t at = pick(NONE);
    if (at == SLOTS)
        return false;
    MUST(mknod(path(at), S_IFIFO | 0640, 0));
    (void)new_node(at, FIFO, 0640);
    return true;
}

static void make_link_at(size_t at)
{
    char target[16];
    (void)snprintf(target, sizeof(target), "%08u", new_node(at, LINK, 0777)->id);
    MUST(symlink(target, path(at)));
}

static bool make_link(void)
{
    size_t at = pick(NONE);
    if (at == SLOTS)
        return false;
    make_link_at(at);
    return true;
}

static bool link_again(void)
{
    size_t at = pick(NONE), from = pick(REGULAR);
    if (at == SLOTS || from == SLOTS)
        return false;
    MUST(link(path(from), path(at)));
    slots[at] = slots[from];
    slots[at]->nlink++;
    return true;
}

static bool remove_name(void)
{
    size_t at = pick_any();
    if (at == SLOTS)
        return false;
    MUST(slots[at]->type == FOLDER ? rmdir(path(at)) : unlink(path(at)));
    drop_name(at);
    return true;
}

/* The same name is something else at once. */
static bool replace_link(void)
{
    size_t at = pick(LINK);
    if (at == SLOTS)
        return false;
    MUST(unlink(path(at)));
    drop_name(at);
    make_link_at(at);
    return true;
}

static bool recreate(void)
{
    size_t at = pick(REGULAR);
    if (at == SLOTS)
        return false;
    MUST(unlink(path(at)));
    drop_name(at);
    int fd = open(path(at), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    MUST(fd);
    write_id(fd, new_node(at, REGULAR, 0644)->id);
    MUST(close(fd));
    return true;
}

static bool rename_away(void)
{
    size_t to = pick(NONE), from = pick_any();
    if (to == SLOTS || from == SLOTS)
        return false;
    MUST(renameat2(AT_FDCWD, path(from), AT_FDCWD, path(to), RENAME_NOREPLACE));
    slots[to] = slots[from];
    slots[from] = NULL;
    return true;
}

static bool rename_over(void)
{
    enum type type = (enum type)(1 + below(4));
    size_t from = pick(type), to = pick(type);
    if (from == SLOTS || slots[from] == slots[to]) /* two names of one file: nothing happens */
        return false;
    MUST(rename(path(from), path(to)));
    drop_name(to);
    slots[to] = slots[from];
    slots[from] = NULL;
    return true;
}

static bool exchange(void)
{
    size_t a = pick_any(), b = pick_any();
    if (a == SLOTS || a == b)
        return false;
    MUST(renameat2(AT_FDCWD, path(a), AT_FDCWD, path(b), RENAME_EXCHANGE));
    struct node *n = slots[a];
    slots[a] = slots[b];
    slots[b] = n;
    return true;
}

static bool rewrite(void)
{
    size_t at = pick(REGULAR);
    if (at == SLOTS)
        return false;
    int fd = open(path(at), O_WRONLY | O_CLOEXEC | (below(2) ? O_TRUNC : 0));
    MUST(fd);
    write_id(fd, slots[at]->id = ++next_id);
    MUST(close(fd));
    return true;
}

static bool change_mode(void)
{
    size_t at = pick(below(2) ? REGULAR : FOLDER);
    if (at == SLOTS)
        return false;
    slots[at]->mode ^= 0044;
    MUST(chmod(path(at), slots[at]->mode));
    return true;
}

static bool change_times(void)
{
    size_t at = pick_any();
    const struct timespec times[] = {{(time_t)below(1000000), 5}, {(time_t)below(1000000), 7}};
    if (at == SLOTS)
        return false;
    MUST(utimensat(AT_FDCWD, path(at), times, AT_SYMLINK_NOFOLLOW));
    return true;
}

static bool change_attribute(void)
{
    size_t at = pick(below(2) ? REGULAR : FOLDER);
    if (at == SLOTS)
        return false;
    struct node *n = slots[at];
    if (n->attribute && below(2)) {
        MUST(removexattr(path(at), "user.id"));
        n->attribute = 0;
        return true;
    }
    char text[16];
    int len = snprintf(text, sizeof(text), "%08u", n->attribute = ++next_id);
    MUST(setxattr(path(at), "user.id", text, (size_t)len, 0));
    return true;
}

static const struct change {
    const char *name;
    bool (*make)(void);
} changes[] = {
    {"create", create},
    {"create-unnamed", create_unnamed},
    {"mkdir", make_folder},
    {"mknod", make_fifo},
    {"symlink", make_link},
    {"link", link_again},
    {"remove", remove_name},
    {"remove-again", remove_name},
    {"replace-link", replace_link},
    {"recreate", recreate},
    {"rename", rename_away},
    {"rename-over", rename_over},
    {"exchange", exchange},
    {"rewrite", rewrite},
    {"chmod", change_mode},
    {"utimens", change_times},
    {"setxattr", change_attribute},
};

/* ---- looking ---------------------------------------------------------------------- */

#define WRONG(...)                                                                                           \
    do {                                                                                                     \
        (void)snprintf(why, 256, __VA_ARGS__);                                                               \
        return false;                                                                                        \
    } while (0)

static mode_t mode_of(const struct node *n)
{
    static const mode_t types[] = {0, S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};
    return types[n->type] | n->mode;
}

/* Whether it is the number: `len` bytes of text. */
static bool is_number(const char *text, ssize_t len, unsigned number)
{
    char want[16];
    (void)snprintf(want, sizeof(want), "%08u", number);
    return len == 8 && memcmp(text, want, 8) == 0;
}

/* What the node says: its content or target, and its attribute. */
static bool says(const struct node *n, const char *p, char why[256])
{
    char got[16] = "";
    ssize_t len = 0;
    if (n->type == REGULAR) {
        int fd = open(p, O_RDONLY | O_CLOEXEC);
        MUST(fd);
        len = read(fd, got, 15);
        MUST(close(fd));
    } else if (n->type == LINK) {
        len = readlink(p, got, 15);
    }
    if ((n->type == REGULAR || n->type == LINK) && !is_number(got, len, n->id))
        WRONG("%s says '%s', not %u", p, got, n->id);
    if (n->type != REGULAR && n->type != FOLDER)
        return true;
    memset(got, 0, sizeof(got));
    len = getxattr(p, "user.id", got, 15);
    if (n->attribute ? !is_number(got, len, n->attribute) : len >= 0)
        WRONG("%s has an attribute of %zd bytes, '%s', not %u", p, len, got, n->attribute);
    return true;
}

static bool slot_agrees(size_t slot, char why[256])
{
    const char *p = path(slot);
    struct node *n = slots[slot];
    struct stat st;
    int r = lstat(p, &st);
    if (!n) {
        if (!r || errno != ENOENT)
            WRONG("%s is there still", p);
        return true;
    }
    if (r)
        WRONG("%s: %s", p, strerror(errno));
    if (!n->ino)
        n->ino = st.st_ino;
    if (st.st_ino != n->ino || st.st_mode != mode_of(n) || (int)st.st_nlink != n->nlink)
        WRONG("%s: inode %llu for %llu, mode %o for %o, %d links for %d", p, (unsigned long long)st.st_ino,
              (unsigned long long)n->ino, st.st_mode, mode_of(n), (int)st.st_nlink, n->nlink);
    return says(n, p, why) && stat_agrees(AT_FDCWD, p, why);
}

static bool entry_agrees(size_t dir, const struct dirent *e, bool seen[NAMES], char why[256])
{
    static const unsigned char types[] = {0, DT_REG, DT_DIR, DT_LNK, DT_FIFO};
    size_t i = (size_t)(e->d_name[0] - '0');
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
        return true;
    const struct node *n = i < NAMES && !e->d_name[1] ? slots[dir * NAMES + i] : NULL;
    if (!n)
        WRONG("n%zu lists '%.40s'", dir, e->d_name);
    if (n->ino != e->d_ino || types[n->type] != e->d_type)
        WRONG("n%zu lists %.40s as inode %llu for %llu, type %u", dir, e->d_name,
              (unsigned long long)e->d_ino, (unsigned long long)n->ino, e->d_type);
    if (seen[i])
        WRONG("n%zu lists %.40s twice", dir, e->d_name);
    seen[i] = true;
    return true;
}

static bool listing_agrees(size_t dir, char why[256])
{
    bool seen[NAMES] = {false}, good = true;
    const struct dirent *e;
    DIR *d = opendir(dir ? "n1" : "n0");
    MUST(d ? 0 : -1);
    while (good && (e = readdir(d)))
        good = entry_agrees(dir, e, seen, why);
    (void)closedir(d);
    for (size_t i = 0; good && i < NAMES; i++)
        if (!seen[i] && slots[dir * NAMES + i])
            WRONG("n%zu does not list %zu", dir, i);
    return good && stat_agrees(AT_FDCWD, dir ? "n1" : "n0", why);
}

/* What `..` in a folder's listing is, wherever it was moved. */
static bool parents_agree(char why[256])
{
    for (size_t at = 0; at < SLOTS; at++) {
        struct stat st;
        if (!slots[at] || slots[at]->type != FOLDER)
            continue;
        MUST(stat(at < NAMES ? "n0" : "n1", &st));
        DIR *d = opendir(path(at));
        MUST(d ? 0 : -1);
        ino_t up = 0;
        for (const struct dirent *e; (e = readdir(d));)
            up = strcmp(e->d_name, "..") == 0 ? e->d_ino : up;
        (void)closedir(d);
        if (up != st.st_ino)
            WRONG("%s has %llu for '..', not %llu", path(at), (unsigned long long)up,
                  (unsigned long long)st.st_ino);
    }
    return true;
}

static bool all_agree(char why[256])
{
    for (size_t slot = 0; slot < SLOTS; slot++)
        if (!slot_agrees(slot, why))
            return false;
    return listing_agrees(0, why) && listing_agrees(1, why) && parents_agree(why);
}

/* ---- and others who look meanwhile -------------------------------------------------- */

static _Atomic bool stop;

static void *look(void *arg)
{
    (void)arg;
    struct stat st;
    char text[16], p[32];
    while (!atomic_load(&stop)) {
        for (size_t dir = 0; dir < DIRS; dir++) {
            DIR *d = opendir(dir ? "n1" : "n0");
            while (d && readdir(d)) {
            }
            if (d)
                (void)closedir(d);
        }
        for (size_t slot = 0; slot < SLOTS; slot++) {
            (void)snprintf(p, sizeof(p), "n%zu/%zu", slot / NAMES, slot % NAMES);
            if (lstat(p, &st) == 0 && S_ISLNK(st.st_mode))
                MUST(readlink(p, text, sizeof(text)) < 0 && errno != ENOENT && errno != EINVAL ? -1 : 0);
        }
    }
    return NULL;
}

static void begin(void)
{
    for (size_t slot = 0; slot < SLOTS; slot++) {
        slots[slot] = NULL;
        (void)unlink(path(slot));
        (void)rmdir(path(slot));
    }
    memset(nodes, 0, sizeof(nodes));
    MUST(mkdir("n0", 0755) && errno != EEXIST ? -1 : 0);
    MUST(mkdir("n1", 0755) && errno != EEXIST ? -1 : 0);
}

static void walk(const char *name, bool beside)
{
    enum { STEPS = 700, LOOKERS = 3 };
    unsigned done[COUNT_OF(changes)] = {0};
    char why[256], what[100];
    pthread_t threads[LOOKERS];
    begin();
    for (unsigned i = 0; i < STEPS; i++) {
        size_t k = below(COUNT_OF(changes));
        atomic_store(&stop, false);
        for (size_t t = 0; beside && t < LOOKERS; t++)
            MUST(-pthread_create(&threads[t], NULL, look, NULL));
        done[k] += changes[k].make();
        atomic_store(&stop, true);
        for (size_t t = 0; beside && t < LOOKERS; t++)
            MUST(-pthread_join(threads[t], NULL));
        if (all_agree(why))
            continue;
        (void)snprintf(what, sizeof(what), "%s.%s", name, changes[k].name);
        say(what, "step %u: %s", i, why);
        return;
    }
    for (size_t k = 0; k < COUNT_OF(changes); k++) {
        (void)snprintf(what, sizeof(what), "%s.%s", name, changes[k].name);
        say(what, done[k] >= 3 ? NULL : "done only %u times", done[k]);
    }
}

void names_run(void)
{
    walk("names", false);
    walk("names-beside", true);
}
