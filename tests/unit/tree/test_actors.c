/*
 * test_actors.c - who made a state, and who ended a name: noted with the batch, and found again after each
 * kind of restart; nothing is noted where no history is kept, or nobody is known. */
#include "history_tree.h"

#include "index/actors.h"

TestSuite(actors, .timeout = 300, .fini = tree_end);

static void act(uint32_t uid, const char *process)
{
    struct eng_actor actor = {.known = true, .uid = uid};
    memcpy(actor.process, process, strnlen(process, sizeof actor.process - 1));
    eng_act_as(&actor);
}

struct makers {
    char text[512];
    size_t len;
};

static int add_maker(void *arg, const struct eng_version *version)
{
    struct makers *m = arg;
    int n = snprintf(m->text + m->len, sizeof m->text - m->len, "%s%u", version->actor.process,
                     version->actor.known ? version->actor.uid : 0);
    m->len += (size_t)n;
    return 0;
}

/* Of each version, from oldest to newest: process and uid. */
static void expect_makers(const char *path, const char *want)
{
    struct makers m = {.len = 0};
    MUST(eng_history(u.eng, path, add_maker, &m) == 0);
    cr_assert_str_eq(m.text, want, "%s: %s, and not %s", path, m.text, want);
}

static uint64_t make_settled(const char *name, uint64_t seed)
{
    uint64_t ino = unit_create(&u, name);
    pass_ms(1500);
    (void)write_at(ino, seed);
    pass_ms(1500);
    return ino;
}

static void expect_all(void)
{
    struct eng_removed removed;
    expect_makers("f", "ada1ada1vim20sed-i30vi30");
    expect_makers("g", "cp4cp4");
    expect_makers("moved", "ada1ada1chmod50");
    MUST(eng_removed_find(u.eng, ENG_ROOT_INO, "gone", 0, &removed) == 0);
    cr_assert(removed.actor.known && removed.actor.uid == 60);
    cr_assert_str_eq(removed.actor.process, "a name of 16 byt");
    MUST(eng_removed_find(u.eng, ENG_ROOT_INO, "lost", 0, &removed) == 0);
    cr_assert(!removed.actor.known);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(actors, are_told_of_each_version_and_of_what_was_removed)
{
    struct eng_attr mode = {.mode = 0600};
    begin(1);
    for (unsigned i = 0; i < 40; i++, pass_ms(1500))
        change();
    act(1, "ada");
    uint64_t ino = make_settled("f", 1);
    (void)make_settled("moved", 1);
    (void)make_settled("gone", 1);
    (void)make_settled("lost", 1);
    act(20, "vim");
    (void)write_at(ino, 2);
    pass_ms(1500);
    act(4, "cp");
    (void)make_settled("g", 7);
    act(30, "sed-i");
    ino = make_settled("tmp", 3);
    move("tmp", "f");
    pass_ms(1500);
    act(30, "vi");
    (void)write_at(ino, 4);
    act(50, "mv");
    move("moved", "moved.1");
    act(51, "mv");
    move("moved.1", "moved");
    pass_ms(1500);
    act(50, "chmod");
    struct eng_attr attr;
    MUST(eng_lookup(u.eng, NULL, ENG_ROOT_INO, "moved", &attr) == 0);
    MUST(eng_setattr(u.eng, attr.ino, &mode, ENG_SET_MODE, NULL) == 0);
    act(60, "a name of 16 bytes and more");
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "gone") == 0);
    eng_act_as(NULL);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "lost") == 0);
    expect_all();
    MUST(eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_DROP_ALL, 1); /* from the log */
    unit_open(&u);
    set_history(1u << 30);
    expect_all();
    act(20, "vim");
    (void)make_settled("by one who is known", 1);
    expect_makers("by one who is known", "vim20vim20");
    cr_assert_eq(u.eng->idx.actors.used, 10, "each is there once");
    unit_reopen(&u); /* from a checkpoint */
    set_history(1u << 30);
    expect_all();
    act(20, "vim");
    (void)make_settled("and again", 1);
    act(20, "");
    (void)make_settled("by one without a name", 1);
    expect_makers("by one without a name", "?20?20");
    cr_assert_eq(u.eng->idx.actors.used, 11);
    eng_act_as(NULL);
}

/* Of one that somebody changes who is not known, nobody is told. */
Test(actors, are_not_those_of_before)
{
    begin(1);
    act(1, "ada");
    uint64_t ino = make_settled("f", 1);
    eng_act_as(NULL);
    (void)write_at(ino, 2);
    pass_ms(1500);
    act(2, "bob");
    (void)write_at(ino, 3);
    expect_makers("f", "ada1ada10bob2");
    /* Times are no state: who sets them has not made it. */
    struct eng_attr attr = {.mtime = 7};
    act(3, "touch");
    MUST(eng_setattr(u.eng, ino, &attr, ENG_SET_MTIME, NULL) == 0);
    expect_makers("f", "ada1ada10bob2");
    eng_act_as(NULL);
}

static uint64_t bytes_of_a_write(uint64_t ino, uint64_t seed)
{
    uint64_t before = u.eng->log.tail;
    (void)write_at(ino, seed);
    return u.eng->log.tail - before;
}

Test(actors, cost_nothing_without_a_history)
{
    tree_begin(false, 1);
    by_itself = true;
    eng_act_as(NULL);
    uint64_t ino = unit_file(&u, "f", 3000, 1), nobody = bytes_of_a_write(ino, 2);
    act(1, "ada");
    cr_assert_eq(bytes_of_a_write(ino, 3), nobody);
    MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    (void)write_at(ino, 4);
    cr_assert_eq(bytes_of_a_write(ino, 5), nobody, "nor with snapshots");
    cr_assert(u.eng->idx.actors.used <= 1);
    set_history(1000);
    (void)write_at(ino, 6);
    eng_act_as(NULL);
    nobody = bytes_of_a_write(ino, 7);
    act(1, "ada");
    cr_assert_eq(bytes_of_a_write(ino, 8), nobody + 24);
    eng_act_as(NULL);
}

Test(actors, that_are_too_many_are_not_known)
{
    char name[16];
    begin(1);
    uint64_t ino = unit_create(&u, "f");
    for (uint32_t i = 0; i < ACTORS_MAX + 2; i++) {
        struct eng_attr attr = {.mode = 0600 + i % 2};
        (void)snprintf(name, sizeof name, "p%u", i);
        act(i, name);
        MUST(eng_setattr(u.eng, ino, &attr, ENG_SET_MODE, NULL) == 0);
    }
    cr_assert_eq(u.eng->idx.actors.used, ACTORS_MAX + 1);
    cr_assert_eq(index_inode(&u.eng->idx, ino)->actor, 0);
    act(5, "p5");
    (void)write_at(ino, 1);
    cr_assert_eq(index_actor(&u.eng->idx, index_inode(&u.eng->idx, ino)->actor)->uid, 5);
    cr_assert_eq(unit_problems(&u), 0);
    eng_act_as(NULL);
}

/* ---- damage ----------------------------------------------------------------------------- */

static void count_line(void *arg, const char *line)
{
    (void)line;
    ++*(unsigned *)arg;
}

Test(actors, that_were_lost_are_told_and_mended)
{
    unsigned n = 0;
    begin(1);
    act(1, "ada");
    uint64_t ino = make_settled("f", 1);
    act(2, "rm");
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    eng_act_as(NULL);
    struct index *idx = &u.eng->idx;
    pthread_rwlock_wrlock(&u.eng->index_lock);
    MUST(chunk_pool_reserve(idx->pool, 8) == 0);
    for (uint32_t i = 1; i < idx->actors.used; i++)
        *(struct actor_rec *)table_mut(&idx->actors, i) = (struct actor_rec){0};
    MUST(index_verify(idx, true, count_line, &n) > 0 && n >= 3);
    actors_mend(idx);
    n = 0;
    (void)index_verify(idx, true, count_line, &n);
    pthread_rwlock_unlock(&u.eng->index_lock);
    cr_assert_eq(n, 0);
    cr_assert_eq(index_inode(idx, ino)->actor, 0);
    act(1, "ada");
    (void)make_settled("g", 1);
    expect_makers("g", "ada1ada1");
    eng_act_as(NULL);
}

/* What no batch has written, but a damaged or hostile store may say. */
Test(actors, that_cannot_be_are_mended)
{
    unsigned n = 0;
    begin(1);
    act(1, "ada");
    (void)make_settled("f", 1);
    act(2, "bob");
    (void)make_settled("g", 1);
    eng_act_as(NULL);
    struct index *idx = &u.eng->idx;
    pthread_rwlock_wrlock(&u.eng->index_lock);
    MUST(chunk_pool_reserve(idx->pool, 8) == 0);
    ((struct actor_rec *)table_mut(&idx->actors, 1))->next = 7;
    ((struct actor_rec *)table_mut(&idx->actors, 2))->name[9] = 'x'; /* behind the end of the name */
    MUST(index_verify(idx, true, count_line, &n) == 2);
    actors_mend(idx);
    cr_assert_eq(index_verify(idx, true, count_line, &n), 0);
    pthread_rwlock_unlock(&u.eng->index_lock);
    expect_makers("f", "00");
}

/* What a batch may say. */
Test(actors, of_a_batch_are_refused_where_they_cannot_be)
{
    char name[17] = "process";
    struct op op = {.type = OP_BY, .actor = 1, .user = 7, .name = name, .name_len = 7};
    begin(1);
    struct index *idx = &u.eng->idx;
    pthread_rwlock_wrlock(&u.eng->index_lock);
    MUST(index_reserve(idx, &op, 1) == 0);
    cr_assert_eq(actors_by(idx, &op, 1000), 0);
    cr_assert_eq(actors_now(idx, 1000), 1);
    cr_assert_eq(actors_now(idx, 1001), 0);
    cr_assert_eq(actors_by(idx, &op, 1000), -EBADMSG, "twice");
    cr_assert_eq(actors_by(idx, &op, 1001), -EBADMSG, "not new");
    op.name_len = 0;
    cr_assert_eq(actors_by(idx, &op, 1001), 0);
    op.user = 8;
    cr_assert_eq(actors_by(idx, &op, 1002), -EBADMSG, "of another uid");
    op.user = UINT64_C(7) | UINT64_C(1) << 32;
    cr_assert_eq(actors_by(idx, &op, 1002), -EBADMSG, "no uid");
    op = (struct op){.type = OP_BY, .actor = 2};
    cr_assert_eq(actors_by(idx, &op, 1002), -EBADMSG, "not there");
    op.actor = 0;
    cr_assert_eq(actors_by(idx, &op, 1002), -EBADMSG, "nobody");
    op = (struct op){.type = OP_BY, .actor = 2, .name = name, .name_len = 17};
    cr_assert_eq(actors_by(idx, &op, 1002), -EBADMSG, "too long");
    op.name_len = 9;
    cr_assert_eq(actors_by(idx, &op, 1002), -EBADMSG, "a NUL within");
    pthread_rwlock_unlock(&u.eng->index_lock);
}
