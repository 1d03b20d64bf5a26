/*
 * test_self_check.c - the engine that tests link verifies each checkpoint before it writes it, as the next
 * opening will (image/self_check.h). Here it is shown that it does, rule by rule: a record of the live index
 * is spoilt, and the process that writes a checkpoint of it aborts. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct unit u;
static uint64_t file, dir, sub, link_ino;

static void setup(void)
{
    struct eng_attr attr;
    unit_new(&u, 0);
    dir = unit_mkdir(&u, "dir");
    cr_assert_eq(eng_create(u.eng, NULL, dir, "sub", S_IFDIR | 0755, 0, NULL, &attr), 0);
    sub = attr.ino;
    cr_assert_eq(eng_create(u.eng, NULL, dir, "link", S_IFLNK | 0777, 0, "target", &attr), 0);
    link_ino = attr.ino;
    file = unit_file(&u, "file", 500, 1);
    unit_write(&u, file, 500, 2, 5000);
    uint8_t *value = unit_bytes(1000, 3);
    cr_assert_eq(eng_setxattr(u.eng, file, "user.large", value, 1000, 0), 0);
    cr_assert_eq(eng_setxattr(u.eng, file, "user.small", value, 10, 0), 0);
    free(value);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(self_check, .init = setup, .fini = teardown, .timeout = 120);

static struct inode_rec *inode(uint64_t ino)
{
    return index_slot_mut(&u.eng->idx, ino_slot(ino));
}

static struct dentry_rec *dentry(uint64_t ino)
{
    return table_mut(&u.eng->idx.dentries, inode(ino)->dentry);
}

static struct seg_rec *segment(void)
{
    return table_mut(&u.eng->idx.segs, 1);
}

/* In place of its chain. */
static void say_free(struct table *t, uint32_t i)
{
    t->metas[0] = (struct table_meta){.free_head = (uint16_t)i, .n_free = 1};
    t->n_free = 1;
}

static void spoil(unsigned what)
{
    switch (what) {
    case 0:
        inode(file)->nlink++;
        break;
    case 1:
        inode(dir)->size++;
        break;
    case 2:
        inode(file)->extents.n++;
        break;
    case 3:
        inode(file)->extents.bytes--;
        break;
    case 4:
        inode(file)->size = 100; /* less than what it has */
        break;
    case 5:
        inode(link_ino)->target = dentry(link_ino)->name; /* one place, two owners */
        break;
    case 6:
        inode(link_ino)->size = 0;
        break;
    case 7:
        dentry(file)->cookie = u.eng->idx.s.next_cookie;
        break;
    case 8:
        dentry(dir)->parent = ino_slot(sub); /* a cycle */
        break;
    case 9:
        dentry(file)->hash_next = inode(file)->dentry;
        break;
    case 10:
        segment()->live++;
        break;
    case 11:
        segment()->n_live--;
        break;
    case 12:
        u.eng->idx.s.n_dirs++;
        break;
    case 13:
        u.eng->idx.s.next_cookie = UINT64_MAX;
        break;
    case 14:
        u.eng->idx.extents.count++;
        break;
    case 15:
        u.eng->idx.dirs.count++;
        break;
    case 16:
        inode(file)->xattrs++;
        break;
    case 17:
        names_free_cells(&u.eng->idx.names, dentry(file)->name, dentry(file)->name_len); /* and somebody's */
        break;
    case 18:
        u.eng->idx.dentries.n_free++;
        break;
    case 19:
        segment()->id = 77; /* locators lead nowhere */
        break;
    case 20:
        inode(dir)->dentry = inode(file)->dentry;
        break;
    case 21:
        say_free(&u.eng->idx.dentries, inode(file)->dentry);
        break;
    case 22:
        say_free(&u.eng->idx.inodes, ino_slot(file));
        break;
    case 23:
        say_free(&u.eng->idx.buckets, 1);
        break;
    case 24: /* one that is free is not chained */
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "file"), 0);
        table_lose_chain(&u.eng->idx.dentries, 0);
        u.eng->idx.dentries.is_lossy = false;
        break;
    default:
        break;
    }
}

#define SPOILT 25u

/* How a child ends that spoils something and writes a checkpoint: the signal, 0: it wrote it. */
static int outcome(unsigned what)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        (void)freopen("/dev/null", "w", stderr);
        spoil(what);
        _exit(checkpoint_write(u.eng) == 0 ? 0 : 1);
    }
    UNIT_NEED(child > 0 && waitpid(child, &status, 0) == child);
    UNIT_NEED(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

Test(self_check, notices_each_rule_that_is_broken)
{
    for (unsigned i = 0; i < SPOILT; i++)
        cr_expect_eq(outcome(i), SIGABRT, "case %u", i);
    cr_assert_eq(outcome(SPOILT), 0, "where nothing is wrong");
}

/* ---- logs of what nobody did ------------------------------------------------------ */

static void stage(struct txn *txn, enum op_type type, uint64_t parent, const char *name, uint64_t ino)
{
    struct op *op = txn_op(txn, type);
    UNIT_NEED(op);
    op->parent = parent;
    op->ino = ino;
    op->name = name;
    op->name_len = (uint16_t)strlen(name);
    op->cookie = u.eng->idx.s.next_cookie + txn->n_ops;
}

/* Batches in which each op may be, and that together cannot be. */
static void stage_nonsense(unsigned what, struct txn *txn)
{
    switch (what) {
    case 0: /* a directory with two names */
        stage(txn, OP_LINK, ENG_ROOT_INO, "second", sub);
        break;
    case 1: /* one below itself, cut off from the root */
        stage(txn, OP_LINK, sub, "up", dir);
        stage(txn, OP_UNLINK, ENG_ROOT_INO, "dir", dir);
        break;
    case 2: /* a directory with subdirectories and no name */
        stage(txn, OP_UNLINK, ENG_ROOT_INO, "dir", dir);
        break;
    default: /* nothing wrong */
        stage(txn, OP_LINK, ENG_ROOT_INO, "second", file);
        break;
    }
}

#define NONSENSE 3u

/* How the next opening ends after such a batch. In a child, since the store that has it cannot be closed. */
static int next_opening(unsigned what)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct txn txn = {0};
        struct unit next;
        stage_nonsense(what, &txn);
        UNIT_NEED(commit_begin(u.eng) == 0 && commit_txn(u.eng, &txn) == 0);
        (void)commit_end(u.eng, 0);
        unit_clone(&next, &u);
        int r = unit_try_open(&next);
        _exit(-r);
    }
    UNIT_NEED(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    return -WEXITSTATUS(status);
}

Test(self_check, a_log_that_does_not_fit_together_is_refused_before_it_is_built_upon)
{
    for (unsigned i = 0; i < NONSENSE; i++)
        cr_expect_eq(next_opening(i), -EBADMSG, "case %u", i);
    cr_assert_eq(next_opening(NONSENSE), 0);
}

/* Ops that are wrong by themselves are no part of a batch that is applied. */
Test(self_check, ops_that_verification_would_refuse_are_not_applied)
{
    const struct op ops[] = {
        {.type = OP_LINK, .parent = sub, .ino = ENG_ROOT_INO, .name = "root", .name_len = 4, .cookie = 99},
        {.type = OP_LINK, .parent = sub, .ino = file, .name = "x", .name_len = 1, .cookie = COOKIE_MAX + 1},
        {.type = OP_LINK, .parent = sub, .ino = file, .name = "x", .name_len = 1, .cookie = UINT64_MAX},
        {.type = OP_CREATE, .ino = index_predict_ino(&u.eng->idx, NULL), .mode = S_IFLNK | 0777},
        {.type = OP_SEGMENT, .ino = 50, .len = UINT64_MAX},
        {.type = OP_FREE, .ino = ENG_ROOT_INO},
        {.type = OP_FREE, .ino = dir},
    };
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        cr_assert_eq(index_reserve(&u.eng->idx, &ops[i], 1), 0);
        cr_expect_eq(index_apply(&u.eng->idx, &ops[i], log_seq(&u.eng->log)), -EBADMSG, "op %zu", i);
    }
    /* More live bytes in a segment than were ever written to it. */
    struct locator loc;
    cr_assert(unit_locator(&u, file, 0, &loc));
    struct op move = {.type = OP_RELOCATE, .ino = file, .old = loc, .loc = loc};
    struct op empty = {.type = OP_SEGMENT, .ino = 60, .len = loc.len - 1};
    move.loc.seg = 60;
    cr_assert_eq(index_reserve(&u.eng->idx, &empty, 1), 0);
    cr_assert_eq(index_apply(&u.eng->idx, &empty, 1), 0);
    cr_assert_eq(index_reserve(&u.eng->idx, &move, 1), 0);
    cr_assert_eq(index_apply(&u.eng->idx, &move, 1), -EBADMSG);
    u.eng->report.read_only = true; /* it is spoilt: not to be written */
}

/* What callers may try, whatever the answer: a store that could not be opened again is noticed here without a
 * look at results. */
Test(self_check, nothing_that_callers_do_makes_it_fail)
{
    struct eng_attr attr = {.size = 1};
    (void)eng_rename(u.eng, NULL, ENG_ROOT_INO, "dir", sub, "down", 0);
    (void)eng_rename(u.eng, NULL, ENG_ROOT_INO, "dir", dir, "sub", ENG_RENAME_EXCHANGE);
    (void)eng_link(u.eng, NULL, dir, sub, "second", &attr);
    (void)eng_link(u.eng, NULL, ENG_ROOT_INO, sub, "root", &attr);
    (void)eng_create(u.eng, NULL, sub, "empty", S_IFLNK | 0777, 0, "", &attr);
    (void)eng_rmdir(u.eng, ENG_ROOT_INO, "dir");
    (void)eng_setattr(u.eng, dir, &attr, ENG_SET_SIZE, NULL);
    (void)eng_unlink(u.eng, ENG_ROOT_INO, "dir");
    unit_reopen(&u);
    cr_assert_eq(unit_problems(&u), 0);
}
