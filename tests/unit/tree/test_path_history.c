/*
 * test_path_history.c - what a path showed over time, and what was removed: beside what the test has noted of
 * each batch, of random changes; and what programs leave that save in their own ways. */
#include "told_events.h"

TestSuite(path_history, .timeout = 600, .fini = log_end);

/* ---- versions beside the log --------------------------------------------------------------- */

struct listed {
    struct eng_version all[LOG_MAX];
    size_t n;
};

static int add_version(void *arg, const struct eng_version *version)
{
    struct listed *l = arg;
    MUST(l->n < LOG_MAX);
    l->all[l->n++] = *version;
    return 0;
}

static struct listed *list(const char *path)
{
    static struct listed l;
    l.n = 0;
    int r = eng_history(u.eng, path, add_version, &l);
    cr_assert(r == 0 || (r == -ENOENT && !l.n), "%s: %d", path, r);
    return &l;
}

/* What a view of `seen_at` shows is in that state. */
static void check_seen(const char *path, const struct eng_version *version, uint64_t key)
{
    struct eng_view *view = NULL;
    struct eng_attr attr;
    uint64_t at = version->seen_at;
    if (at)
        cr_assert_eq(eng_view_open(u.eng, at, &view), 0, "%s: no view of %llu", path, (unsigned long long)at);
    int r = view ? eng_view_getattr(view, version->ino, &attr) : eng_getattr(u.eng, version->ino, &attr);
    cr_assert_eq(r, 0);
    cr_assert_eq(memcmp(&attr, &version->attr, sizeof attr), 0, "%s at %llu", path, (unsigned long long)at);
    eng_view_close(view);
    const struct index *idx = &u.eng->idx;
    uint32_t slot = ino_slot(version->ino);
    cr_assert_eq(key_of(index_slot(idx, at ? past_at(idx, slot, at) : slot)), key, "%s at %llu", path,
                 (unsigned long long)at);
}

/* Who made the batch; of one that came with a folder, or was seen elsewhere first, nobody may be known. */
static void check_actor(const char *path, const struct eng_version *version)
{
    uint32_t uid = version->actor.known ? version->actor.uid : 0, want = logs[version->number].by;
    bool is_made = version->began == ENG_VERSION_CREATED || version->began == ENG_VERSION_CHANGED ||
                   version->began == ENG_VERSION_REPLACED;
    cr_assert(uid == want || (!uid && !is_made), "%s at %llu (%d) is by %u, and not %u", path,
              (unsigned long long)version->number, (int)version->began, uid, want);
}

static void compare_path(const char *path)
{
    uint64_t who[LOG_MAX] = {0}, last = 0;
    struct listed *l = list(path);
    size_t n = 0;
    log_lead(path, who);
    for (uint64_t at = log_first; at <= log_last; at++) {
        uint64_t key = who[at] ? log_key(who[at], at) : 0;
        if (!key || key == last)
            continue;
        cr_assert(n < l->n && l->all[n].number == at && l->all[n].ino == who[at],
                  "%s: version %zu of %zu is %llu of %llx, and not %llu of %llx", path, n, l->n,
                  (unsigned long long)(n < l->n ? l->all[n].number : 0),
                  (unsigned long long)(n < l->n ? l->all[n].ino : 0), (unsigned long long)at,
                  (unsigned long long)who[at]);
        check_actor(path, &l->all[n]);
        check_seen(path, &l->all[n++], key);
        last = key;
    }
    cr_assert_eq(n, l->n, "%s has %zu versions more", path, l->n - n);
    bool is_there = who[log_last] && l->n;
    if (l->n)
        cr_assert_eq(is_there, l->all[l->n - 1].seen_at == 0, "%s", path);
}

/* ---- names beside the log -------------------------------------------------------------------- */

struct told_names {
    char all[256][16];
    size_t n, stop;
    uint64_t place;
};

static int add_told(void *arg, const char *name, size_t len, uint64_t place_behind)
{
    struct told_names *t = arg;
    if (t->n == t->stop)
        return 7;
    MUST(t->n < 256 && len < 16 && place_behind > t->place);
    memcpy(t->all[t->n], name, len + 1);
    MUST(strlen(t->all[t->n++]) == len);
    t->place = place_behind;
    return 0;
}

static bool is_told(const struct told_names *t, const char *text)
{
    unsigned n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += strcmp(t->all[i], text) == 0;
    cr_assert(n <= 1, "%s is told twice", text);
    return n;
}

static void compare_names(const char *path)
{
    uint64_t who[LOG_MAX] = {0};
    struct told_names told = {.n = 0}, want = {.n = 0};
    int r;
    do {
        told.stop = told.n + 1 + below(5);
        r = eng_history_names(u.eng, path, told.place, add_told, &told);
    } while (r == 7);
    log_lead(path, who);
    for (uint64_t at = log_first; at <= log_last; at++) {
        for (unsigned i = 0; i < logs[at].n; i++) {
            const struct name *name = &logs[at].names[i];
            if (name->dir == who[at] && !is_told(&want, name->text))
                memcpy(want.all[want.n++], name->text, sizeof name->text);
        }
    }
    for (size_t i = 0; i < want.n; i++)
        cr_assert(is_told(&told, want.all[i]), "%s/%s is not told", path, want.all[i]);
    cr_assert_eq(told.n, want.n, "%s: %zu names, and not %zu", path, told.n, want.n);
    cr_assert(r == 0 || (r == -ENOTDIR && !want.n), "%s: %d", path, r);
}

/* ---- removed names beside the log -------------------------------------------------------------- */

struct removals {
    struct eng_removed all[256];
    char texts[256][16];
    size_t n, stop;
    uint64_t place;
};

static int add_removed(void *arg, const struct eng_removed *removed, uint64_t place_behind)
{
    struct removals *l = arg;
    if (l->n == l->stop)
        return 7;
    MUST(l->n < 256 && removed->name_len < 16 && place_behind > l->place);
    l->all[l->n] = *removed;
    memcpy(l->texts[l->n++], removed->name, removed->name_len + 1);
    l->place = place_behind;
    return 0;
}

static void compare_removed(uint64_t dir, const struct removals *l, size_t i)
{
    const struct eng_removed *is = &l->all[i];
    struct eng_removed found;
    const char *text = l->texts[i];
    cr_assert_eq(log_removed(dir, text, is->number), is->ino, "%s at %llu", text,
                 (unsigned long long)is->number);
    cr_assert_eq(is->seen_at, is->number - 1);
    cr_assert_eq(is->actor.known ? is->actor.uid : 0, logs[is->number].by);
    uint64_t newest = log_newest(dir, text);
    struct name live = {.ino = log_entry(dir, text, log_last)};
    bool is_hidden = live.ino && S_ISDIR(unit_attr(&u, live.ino).mode);
    cr_assert_eq(is->newest, newest == is->number && !is_hidden, "%s at %llu", text,
                 (unsigned long long)is->number);
    MUST(eng_removed_find(u.eng, dir, text, is->number, &found) == 0);
    MUST(found.ino == is->ino && found.number == is->number && found.newest == is->newest);
    MUST(memcmp(&found.attr, &is->attr, sizeof found.attr) == 0);
    int r = eng_removed_find(u.eng, dir, text, 0, &found);
    cr_assert_eq(r, is_hidden ? -ENOENT : 0);
    MUST(r || found.number == newest);
    MUST(eng_removed_find(u.eng, dir, text, is->number - 1, &found) == -ENOENT ||
         log_removed(dir, text, is->number - 1));
}

/* The newest that was removed up to the time of that one, and from it on, but for the newest of all. */
static void compare_removed_at(uint64_t dir, const struct removals *l, size_t i)
{
    struct eng_removed found;
    uint64_t before = 0, behind = 0;
    const int64_t time = l->all[i].time;
    for (size_t k = 0; k < l->n; k++) {
        const struct eng_removed *other = &l->all[k];
        if (other->newest || strcmp(l->texts[k], l->texts[i]) != 0)
            continue;
        if (other->time <= time && other->number > before)
            before = other->number;
        if (other->time >= time && other->number > behind)
            behind = other->number;
    }
    int r = eng_removed_find_at(u.eng, dir, l->texts[i], INT64_MIN, time, &found);
    cr_assert_eq(r, before ? 0 : -ENOENT);
    MUST(r || found.number == before);
    r = eng_removed_find_at(u.eng, dir, l->texts[i], time, INT64_MAX, &found);
    cr_assert_eq(r, behind ? 0 : -ENOENT);
    MUST(r || found.number == behind);
}

static void compare_folder(uint64_t dir)
{
    static struct removals l;
    struct eng_attr attr;
    size_t n = 0;
    int r;
    l = (struct removals){.n = 0};
    do {
        l.stop = l.n + 1 + below(5);
        r = eng_removed_list(u.eng, dir, l.place, add_removed, &l);
    } while (r == 7);
    if (eng_getattr(u.eng, dir, &attr) == -ESTALE) {
        cr_assert_eq(r, -ESTALE);
        return;
    }
    cr_assert_eq(r, S_ISDIR(attr.mode) ? 0 : -ENOTDIR);
    for (uint64_t at = log_first + 1; at <= log_last; at++)
        for (unsigned i = 0; i < logs[at - 1].n; i++)
            n += logs[at - 1].names[i].dir == dir && log_removed(dir, logs[at - 1].names[i].text, at);
    cr_assert_eq(l.n, n, "%llx: %zu, and not %zu", (unsigned long long)dir, l.n, n);
    for (size_t i = 0; i < l.n; i++)
        compare_removed(dir, &l, i);
    for (size_t i = 0; i < l.n; i++)
        compare_removed_at(dir, &l, i);
}

/* ---- random changes ---------------------------------------------------------------------------- */

static void compare_with_log(void)
{
    struct log_paths paths = {0};
    uint64_t inos[LOG_MAX], n = 0;
    log_find_paths(&paths);
    compare_names("");
    for (size_t i = 0; i < paths.n; i++) {
        compare_path(paths.all[i]);
        compare_names(paths.all[i]);
    }
    free(paths.all);
    inos[n++] = ENG_ROOT_INO;
    for (uint64_t at = log_first; at <= log_last; at++) {
        for (unsigned i = 0; i < logs[at].n; i++) {
            bool is_new = true;
            for (uint64_t k = 0; k < n && is_new; k++)
                is_new = inos[k] != logs[at].names[i].ino;
            if (is_new && n < LOG_MAX)
                inos[n++] = logs[at].names[i].ino;
        }
    }
    for (uint64_t k = 0; k < n; k++)
        compare_folder(inos[k]);
    compare_events(ENG_ROOT_INO, 0);
    compare_events(ENG_ROOT_INO, log_first + below(log_last - log_first));
    for (uint64_t k = 0; k < n; k++)
        if (below(4) == 0 && index_inode(&u.eng->idx, inos[k]) && S_ISDIR(unit_attr(&u, inos[k]).mode))
            compare_events(inos[k], 0);
    cr_assert_eq(unit_problems(&u), 0);
}

static unsigned n_revived;

/* What random changes do not hit upon often. */
static void step(void)
{
    log_note();
    pass_ms(1500);
}

static struct name *by_entry(uint64_t dir, const char *text)
{
    for (unsigned i = 0; i < n_names; i++)
        if (names[i].dir == dir && strcmp(names[i].text, text) == 0)
            return &names[i];
    return NULL;
}

static uint64_t create_in(uint64_t dir, const char *name)
{
    struct eng_attr attr;
    MUST(eng_create(u.eng, NULL, dir, name, S_IFREG | 0644, 0, NULL, &attr) == 0);
    return attr.ino;
}

static void make_file(uint64_t dir, const char *text)
{
    struct name n = {.dir = dir};
    memcpy(n.text, text, strnlen(text, sizeof n.text - 1));
    n.ino = create_in(dir, text);
    names[n_names++] = n;
    step();
    unit_write(&u, n.ino, 100 + below(500), counted++, 0);
    step();
}

static void move_to(struct name *n, const char *text)
{
    struct name *over = by_entry(n->dir, text);
    MUST(eng_rename(u.eng, NULL, n->dir, n->text, n->dir, text, 0) == 0);
    (void)snprintf(n->text, sizeof n->text, "%s", text);
    if (over)
        forget(over);
    step();
}

static void remove_entry(uint64_t dir, const char *text)
{
    struct name *n = by_entry(dir, text);
    MUST(n && eng_unlink(u.eng, dir, text) == 0);
    forget(n);
    step();
}

static void remove_below(uint64_t dir)
{
    for (unsigned i = n_names; i-- > 0;) {
        if (i >= n_names || names[i].dir != dir)
            continue;
        struct name gone = names[i];
        remove_below(gone.ino);
        tree_unlink(dir, gone.text, gone.ino);
        forget(by_entry(dir, gone.text));
        step();
        i = n_names;
    }
}

/* ---- out of what was removed ---- */

struct revived {
    struct name all[LOG_MAX];
    unsigned n;
    bool is_busy; /* it was changed by another name, after it had lost that one */
};

/* The same of what has had another name all the time since. */
static uint64_t removed_or_linked(uint64_t dir, const char *text, uint64_t at)
{
    uint64_t ino = log_entry(dir, text, at - 1);
    bool is = ino && !log_entry(dir, text, at) && !log_won(ino, at) && !S_ISDIR(unit_attr(&u, ino).mode);
    for (uint64_t since = at; since <= log_last && is; since++)
        is = log_count(ino, since) > 0;
    return is ? ino : log_removed(dir, text, at);
}

static bool is_newest(uint64_t dir, const char *text, uint64_t at)
{
    for (uint64_t later = log_last; later > at; later--)
        if (removed_or_linked(dir, text, later))
            return false;
    return removed_or_linked(dir, text, at);
}

/* With what a folder had, of each name the newest. */
static void will_come(struct revived *r, uint64_t dir, const char *text, uint64_t number, uint64_t to,
                      const char *to_text)
{
    uint64_t ino = removed_or_linked(dir, text, number), end = number;
    struct name *n = &r->all[r->n++];
    MUST(ino && r->n < LOG_MAX);
    *n = (struct name){.dir = to, .ino = ino};
    memcpy(n->text, to_text, sizeof n->text);
    while (end <= log_last && log_count(ino, end))
        end++;
    r->is_busy = r->is_busy || (end <= log_last && log_key(ino, number - 1) != log_key(ino, end - 1));
    for (unsigned i = 0; i < logs[number - 1].n; i++)
        if (logs[number - 1].names[i].ino == ino)
            n->is_dir = logs[number - 1].names[i].is_dir;
    if (!n->is_dir)
        return;
    for (uint64_t at = log_first + 1; at <= log_last; at++) {
        for (unsigned i = 0; i < logs[at - 1].n; i++) {
            const struct name *gone = &logs[at - 1].names[i];
            if (gone->dir == ino && is_newest(ino, gone->text, at))
                will_come(r, ino, gone->text, at, ino, gone->text);
        }
    }
}

static void revive_name(const struct name *gone, uint64_t number)
{
    static struct revived r;
    char text[16];
    r.n = r.is_busy = 0;
    uint64_t to = any_dir();
    any_text(to, text);
    will_come(&r, gone->dir, gone->text, number, to, text);
    if (n_names + r.n > NAMES)
        return;
    int result = eng_undelete(u.eng, NULL, NULL, gone->dir, gone->text, number, to, text, NULL);
    cr_assert_eq(result, r.is_busy ? -EBUSY : 0, "%s at %llu: %d", gone->text, (unsigned long long)number,
                 result);
    for (unsigned i = 0; i < r.n && !result; i++)
        names[n_names++] = r.all[i];
    n_revived += !result;
}

static void revive(void)
{
    const struct name *gone = NULL;
    uint64_t number = 0;
    for (unsigned tries = 0; tries < 200 && !number; tries++) {
        uint64_t at = log_first + below(log_last - log_first);
        gone = logs[at].n ? &logs[at].names[below(logs[at].n)] : NULL;
        if (gone && below(4) && !gone->is_dir)
            continue;
        for (; gone && at < log_last && !number; at++)
            number = log_removed(gone->dir, gone->text, at + 1) == gone->ino ? at + 1 : 0;
    }
    if (number)
        revive_name(gone, number);
}

static void remove_tree(void)
{
    struct name *top = NULL;
    for (unsigned tries = 0; tries < 40 && !(top && top->is_dir && unit_attr(&u, top->ino).size); tries++)
        top = any_name(false);
    if (!top || !top->is_dir)
        return;
    struct name gone = *top;
    remove_below(gone.ino);
    tree_unlink(gone.dir, gone.text, gone.ino);
    forget(by_entry(gone.dir, gone.text));
    step();
    if (below(3))
        revive_name(&gone, last_batch());
}

static void save(void)
{
    struct name *n = any_name(true);
    char text[16], other[16];
    if (!n || n_names + 2 > NAMES)
        return;
    uint64_t dir = n->dir;
    memcpy(text, n->text, sizeof text);
    (void)snprintf(other, sizeof other, "%.8s~", text);
    bool is_vim = below(2);
    if (by_entry(dir, other))
        return;
    if (is_vim)
        move_to(n, other);
    make_file(dir, is_vim ? text : other);
    if (is_vim)
        remove_entry(dir, other);
    else
        move_to(by_entry(dir, other), text);
}

static void run(unsigned changes)
{
    log_begin();
    for (unsigned i = 0; i < changes; i++) {
        pass_ms(1000 + (int64_t)below(2000));
        uint64_t kind = below(16);
        log_act();
        if (kind < 2)
            save();
        else if (kind == 2)
            revive();
        else if (kind == 3)
            remove_tree();
        else
            change();
        log_note();
        note();
        if (below(80) == 0)
            compare_with_log();
    }
    compare_with_log();
    compare_all();
    cr_assert(n_revived > 3);
    unit_reopen(&u);
    set_history(1u << 30);
    compare_with_log();
}

Test(path_history, random_changes_as_they_were_noted)
{
    begin(test_seed() + 100);
    run(250);
}

Test(path_history, and_other_ones)
{
    begin(test_seed() + 101);
    run(400);
}

/* ---- as programs save ------------------------------------------------------------------------------ */

static uint64_t make_in(uint64_t dir, const char *name, uint64_t seed)
{
    pass_ms(1500);
    uint64_t ino = create_in(dir, name);
    unit_write(&u, ino, 3000, seed, 0);
    pass_ms(1500);
    return ino;
}

static void move_in(uint64_t dir, const char *from, const char *to, unsigned flags)
{
    MUST(eng_rename(u.eng, NULL, dir, from, dir, to, flags) == 0);
    pass_ms(1500);
}

static void change_in(uint64_t ino, uint64_t seed)
{
    (void)write_at(ino, seed);
    pass_ms(1500);
}

struct want {
    uint64_t seed;
    int began, ended;
};

/* The bytes of each version, from oldest to newest, and how it came and went. The first one may be that of a
 * file without content, which creat(2) leaves for a moment. */
static void expect_versions(const char *path, const struct want *want, size_t n)
{
    const struct listed *l = list(path);
    uint8_t got[3000];
    size_t k = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct eng_version *v = &l->all[i];
        struct eng_view *view = NULL;
        if (!v->attr.size)
            continue;
        cr_assert(k < n, "%s has more than %zu versions", path, n);
        uint8_t *bytes = unit_bytes(sizeof got, want[k].seed);
        if (v->seen_at)
            MUST(eng_view_open(u.eng, v->seen_at, &view) == 0);
        ssize_t size = view ? eng_view_read(view, v->ino, got, sizeof got, 0)
                            : eng_read(u.eng, v->ino, got, sizeof got, 0);
        eng_view_close(view);
        cr_assert(size == (ssize_t)sizeof got && memcmp(got, bytes, sizeof got) == 0,
                  "%s, version %zu is not %llu", path, k, (unsigned long long)want[k].seed);
        cr_assert((int)v->began == want[k].began && (int)v->ended == want[k].ended, "%s, version %zu: %d %d",
                  path, k, v->began, v->ended);
        free(bytes);
        k++;
    }
    cr_assert_eq(k, n, "%s has %zu versions, and not %zu", path, k, n);
}

#define EXPECT(path, ...)                                                                                    \
    expect_versions(path, (const struct want[]){__VA_ARGS__},                                                \
                    sizeof((const struct want[]){__VA_ARGS__}) / sizeof(struct want))

enum {
    CREATED = ENG_VERSION_CREATED,
    CHANGED = ENG_VERSION_CHANGED,
    RENAMED = ENG_VERSION_RENAMED,
    REPLACED = ENG_VERSION_REPLACED,
    LINKED = ENG_VERSION_LINKED,
    REMOVED = ENG_VERSION_REMOVED,
    FOLDER = ENG_VERSION_FOLDER,
    PRESENT = ENG_VERSION_PRESENT
};

Test(path_history, of_saves_by_vim)
{
    begin(1);
    (void)make_in(ENG_ROOT_INO, "f", 0);
    for (uint64_t i = 1; i < 4; i++) {
        move_in(ENG_ROOT_INO, "f", "f~", 0);
        (void)make_in(ENG_ROOT_INO, "f", i);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f~") == 0);
    }
    EXPECT("f", {0, CREATED, RENAMED}, {1, CREATED, RENAMED}, {2, CREATED, RENAMED}, {3, CREATED, PRESENT});
    EXPECT("f~", {0, CREATED, REMOVED}, {1, RENAMED, REMOVED}, {2, RENAMED, REMOVED});
}

Test(path_history, of_saves_by_a_rename_over)
{
    begin(1);
    uint64_t ino = make_in(ENG_ROOT_INO, "f", 0);
    for (uint64_t i = 1; i < 4; i++) {
        ino = make_in(ENG_ROOT_INO, ".tmp", 10 + i);
        change_in(ino, i);
        move_in(ENG_ROOT_INO, ".tmp", "f", 0);
    }
    EXPECT("f", {0, CREATED, REPLACED}, {1, REPLACED, REPLACED}, {2, REPLACED, REPLACED},
           {3, REPLACED, PRESENT});
    change_in(ino, 4);
    move_in(ENG_ROOT_INO, "f", "g", 0);
    /* What that path showed comes along, and not what the file was before it took that place. */
    EXPECT("g", {0, CREATED, REPLACED}, {1, REPLACED, REPLACED}, {2, REPLACED, REPLACED},
           {3, REPLACED, CHANGED}, {4, CHANGED, PRESENT});
    EXPECT("f", {0, CREATED, REPLACED}, {1, REPLACED, REPLACED}, {2, REPLACED, REPLACED},
           {3, REPLACED, CHANGED}, {4, CHANGED, RENAMED});
}

Test(path_history, of_a_memory_written_in_place_and_renamed)
{
    begin(1);
    uint64_t ino = make_in(ENG_ROOT_INO, "f", 0);
    change_in(ino, 1);
    move_in(ENG_ROOT_INO, "f", "g", 0);
    change_in(ino, 2);
    move_in(ENG_ROOT_INO, "g", "h", 0);
    EXPECT("h", {0, CREATED, CHANGED}, {1, CHANGED, CHANGED}, {2, CHANGED, PRESENT});
    EXPECT("g", {0, CREATED, CHANGED}, {1, CHANGED, CHANGED}, {2, CHANGED, RENAMED});
    EXPECT("f", {0, CREATED, CHANGED}, {1, CHANGED, RENAMED});
    /* Another one in its place: what that was before fills the time in which nothing was there. */
    ino = make_in(ENG_ROOT_INO, "x", 7);
    change_in(ino, 8);
    move_in(ENG_ROOT_INO, "x", "f", 0);
    EXPECT("f", {0, CREATED, CHANGED}, {1, CHANGED, RENAMED}, {7, CREATED, CHANGED}, {8, CHANGED, PRESENT});
}

Test(path_history, of_two_that_are_exchanged)
{
    begin(1);
    (void)make_in(ENG_ROOT_INO, "f", 1);
    uint64_t ino = make_in(ENG_ROOT_INO, "g", 2);
    move_in(ENG_ROOT_INO, "f", "g", ENG_RENAME_EXCHANGE);
    change_in(ino, 3);
    EXPECT("f", {1, CREATED, RENAMED}, {2, REPLACED, CHANGED}, {3, CHANGED, PRESENT});
    EXPECT("g", {2, CREATED, RENAMED}, {1, REPLACED, PRESENT});
    move_in(ENG_ROOT_INO, "g", "h", 0);
    EXPECT("h", {2, CREATED, RENAMED}, {1, REPLACED, PRESENT});
}

Test(path_history, of_a_folder_renamed_away_and_another_in_its_place)
{
    begin(1);
    uint64_t one = unit_mkdir(&u, "d"), two = unit_mkdir(&u, "e");
    (void)make_in(one, "f", 1);
    uint64_t ino = make_in(two, "f", 2);
    move_in(ENG_ROOT_INO, "d", "old", 0);
    move_in(ENG_ROOT_INO, "e", "d", 0);
    change_in(ino, 3);
    EXPECT("d/f", {1, CREATED, FOLDER}, {2, FOLDER, CHANGED}, {3, CHANGED, PRESENT});
    EXPECT("old/f", {1, CREATED, PRESENT});
    EXPECT("e/f", {2, CREATED, FOLDER});
    MUST(eng_unlink(u.eng, one, "f") == 0 && eng_rmdir(u.eng, ENG_ROOT_INO, "old") == 0);
    EXPECT("old/f", {1, CREATED, REMOVED});
    cr_assert_eq(eng_history(u.eng, "d/g", add_version, NULL), -ENOENT);
    cr_assert_eq(eng_history(u.eng, "d/f/g", add_version, NULL), -ENOENT);
    cr_assert_eq(eng_history_names(u.eng, "d/f", 0, add_told, NULL), -ENOTDIR);
    cr_assert_eq(eng_history_names(u.eng, "none", 0, add_told, NULL), -ENOENT);
}

Test(path_history, of_hard_links)
{
    begin(1);
    uint64_t ino = make_in(ENG_ROOT_INO, "f", 1);
    MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "g", NULL) == 0);
    pass_ms(1500);
    change_in(ino, 2);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    pass_ms(1500);
    change_in(ino, 3);
    EXPECT("f", {1, CREATED, CHANGED}, {2, CHANGED, REMOVED});
    EXPECT("g", {1, LINKED, CHANGED}, {2, CHANGED, CHANGED}, {3, CHANGED, PRESENT});
    struct removals l = {.stop = 256};
    MUST(eng_removed_list(u.eng, ENG_ROOT_INO, 0, add_removed, &l) == 0);
    cr_assert_eq(l.n, 0, "it has a name");
}

/* A store that keeps what snapshots see lists that, and what is there. */
Test(path_history, of_what_snapshots_see)
{
    tree_begin(false, 1);
    by_itself = true;
    atomic_store(&u.eng->config.history_is_known, true);
    uint64_t ino = make_in(ENG_ROOT_INO, "f", 1), batch;
    (void)make_in(ENG_ROOT_INO, "g", 5);
    MUST(eng_snapshot_create(u.eng, "s", &batch) == 0);
    change_in(ino, 2);
    change_in(ino, 3);
    EXPECT("f", {1, CHANGED, CHANGED}, {3, CHANGED, PRESENT});
    cr_assert_eq(list("f")->all[0].seen_at, batch);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0 && eng_unlink(u.eng, ENG_ROOT_INO, "g") == 0);
    EXPECT("f", {1, CHANGED, CHANGED});
    struct eng_removed removed;
    MUST(eng_removed_find(u.eng, ENG_ROOT_INO, "g", 0, &removed) == 0);
    cr_assert(removed.seen_at == batch && removed.newest && removed.number == last_batch());
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    sweep();
    cr_assert_eq(eng_history(u.eng, "f", add_version, NULL), -ENOENT);
    cr_assert_eq(eng_removed_find(u.eng, ENG_ROOT_INO, "g", 0, &removed), -ENOENT);
}

Test(path_history, has_a_bound)
{
    begin(1);
    for (unsigned i = 0; i < ENG_LIVES_MAX; i++) {
        (void)unit_create(&u, "f");
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    }
    MUST(eng_history(u.eng, "f/g", add_version, NULL) == -ENOENT);
    (void)unit_create(&u, "f");
    cr_assert_eq(eng_history(u.eng, "f", add_version, NULL), -ENOSPC);
}

/* A file by its place in a folder that is renamed again and again: that folder is asked once. */
Test(path_history, of_a_folder_that_is_renamed_often)
{
    struct eng_attr attr;
    begin(1);
    uint64_t dir = unit_mkdir(&u, "d");
    for (unsigned i = 0; i < 600; i++) {
        MUST(eng_create(u.eng, NULL, dir, "f", S_IFREG | 0644, 0, NULL, &attr) == 0);
        pass_ms(1500);
        MUST(eng_unlink(u.eng, dir, "f") == 0);
        move("d", "x");
        pass_ms(1500);
        move("x", "d");
    }
    cr_assert_eq(list("d/f")->n, 600);
}

/* ---- what many names cost ------------------------------------------------------------------------ */

#define MANY 30000u

static double cpu_s(void)
{
    struct timespec ts;
    MUST(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == 0);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A link of another name leaves a state each time. All are one version, which is shown once: in 1 ms, and
 * not in 3 s. */
Test(path_history, of_an_inode_that_had_many_names)
{
    begin(1);
    uint64_t ino = unit_create(&u, "f");
    for (unsigned i = 0; i < MANY; i++) {
        MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "l", NULL) == 0);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "l") == 0);
    }
    double before = cpu_s();
    cr_assert_eq(list("f")->n, 1);
    cr_assert(cpu_s() - before < 0.5);
}
