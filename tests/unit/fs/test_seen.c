/*
 * test_seen.c - who has seen what: bounded, and what is forgotten refuses nobody. */
#include "seen.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { A = 1, B = 2, C = 3 }; /* processes */
enum { F = 10, G = 11, H = 12, I = 13 };

static struct seen *seen;

static void begin(void)
{
    seen = seen_new(0);
    cr_assert_not_null(seen);
}

static void end(void)
{
    seen_free(seen);
}

TestSuite(seen, .init = begin, .fini = end);

static enum seen_verdict judge(uint64_t process, uint64_t ino, uint64_t version)
{
    uint64_t version_seen;
    return seen_judge(seen, process, ino, version, &version_seen);
}

/* Opens it to read past the cache, reads it whole, and closes it. */
static void reads(uint64_t process, uint64_t ino, uint64_t version)
{
    seen_opened(seen, process, ino, version, SEEN_DIRECT);
    seen_read(seen, process, ino, version, 0, true);
    seen_closed(seen, process, ino, version, SEEN_DIRECT);
}

static void changes(uint64_t process, uint64_t ino, uint64_t before, bool appends)
{
    const struct seen_process who = {.key = process, .pid = (pid_t)process};
    struct seen_change change;
    const struct seen_step step = {before, before + 1, appends};
    seen_change_begin(seen, &change, process, ino);
    seen_change_end(seen, &change, &step, &who);
}

static struct seen_name name_of(const char *name)
{
    return seen_name(1, name);
}

static void moves(uint64_t process, const char *from, const char *to, uint64_t ino, uint64_t replaced)
{
    const struct seen_move move = {name_of(from), name_of(to), ino, 1, replaced};
    seen_moved(seen, process, &move);
}

Test(seen, who_has_seen_an_older_state_and_nobody_else)
{
    cr_expect_eq(judge(A, F, 5), SEEN_NEVER);
    reads(A, F, 5);
    cr_expect_eq(judge(A, F, 5), SEEN_PRESENT);
    cr_expect_eq(judge(A, F, 6), SEEN_OLDER);
    cr_expect_eq(judge(B, F, 6), SEEN_NEVER);
    cr_expect_eq(judge(A, G, 6), SEEN_NEVER);
    reads(A, F, 6);
    cr_expect_eq(judge(A, F, 6), SEEN_PRESENT);
}

/* The OPEN of a thread, which may be one with O_TRUNC. */
static struct seen_opening opens(uint64_t process, pid_t thread, uint64_t ino, uint64_t version)
{
    struct seen_opening opening = {
        .thread = thread, .process = process, .ino = ino, .version = version, .way = SEEN_CACHED};
    seen_opens(seen, &opening);
    seen_opened(seen, process, ino, version, SEEN_CACHED);
    return opening;
}

Test(seen, an_open_that_truncates_has_read_nothing)
{
    reads(A, F, 5);
    struct seen_opening o = opens(A, 100, F, 6);
    cr_assert(seen_open_truncates(seen, &o));
    cr_expect_eq(judge(A, F, 6), SEEN_OLDER, "nor is it open for reading yet");
    seen_open_ends(seen, &o, false);
    cr_expect(seen_open_truncates(seen, &o), "handled anew");
    seen_open_ends(seen, &o, false);
    seen_closed(seen, A, F, 7, SEEN_CACHED);
    cr_expect_eq(judge(A, F, 6), SEEN_OLDER, "refused, and closed");
    cr_expect_not(seen_open_truncates(seen, &o), "it is closed");

    o = opens(A, 100, F, 6);
    cr_assert(seen_open_truncates(seen, &o));
    seen_made(seen, A, F, 7, false);
    seen_open_ends(seen, &o, true);
    cr_expect_eq(judge(A, F, 8), SEEN_UNSURE, "what was truncated is open, and may be read");
    seen_closed(seen, A, F, 8, SEEN_CACHED);
    cr_expect_eq(judge(A, F, 8), SEEN_PRESENT);
    cr_expect_eq(judge(A, F, 9), SEEN_OLDER);

    o = opens(B, 100, G, 5);
    cr_assert(seen_open_truncates(seen, &o));
    cr_expect_eq(judge(B, G, 6), SEEN_NEVER, "the first time");
}

Test(seen, a_truncation_by_name_is_not_that_of_an_open)
{
    struct seen_opening o = opens(A, 100, F, 5), other = o;
    other.thread = 101;
    cr_expect_not(seen_open_truncates(seen, &other), "of another thread");
    seen_read(seen, A, F, 5, 0, false);
    cr_expect_not(seen_open_truncates(seen, &o), "it has read since");
    cr_expect_eq(judge(A, F, 5), SEEN_PRESENT);
}

Test(seen, what_only_its_maker_knows_is_not_taken_away)
{
    struct seen_away away;
    seen_came(seen, A, name_of("new"), F, false);
    seen_made(seen, A, F, 1, true);
    moves(A, "new", "job", F, 0);
    changes(B, F, 1, true);
    cr_expect_not(seen_away(seen, A, name_of("new"), &away), "a temporary name");

    seen_came(seen, A, name_of("f"), G, false);
    seen_made(seen, A, G, 1, true);
    reads(B, G, 1);
    moves(A, "f", "f~", G, 0);
    cr_expect(seen_away(seen, A, name_of("f"), &away) && away.ino == G, "another has seen it");
    moves(A, "f~", "f", G, 0);
    cr_expect_not(seen_away(seen, A, name_of("f"), &away));
    cr_expect_not(seen_away(seen, A, name_of("f~"), &away), "it came back");
}

Test(seen, who_puts_a_file_at_a_name_knows_one_of_its_line)
{
    seen_came(seen, B, name_of("f"), F, false);
    seen_made(seen, B, F, 1, true);
    reads(C, F, 1);
    seen_removed(seen, B, name_of("f"), F, 1, false);
    seen_came(seen, A, name_of("t"), G, false);
    seen_made(seen, A, G, 1, true);
    seen_came(seen, A, name_of("f"), G, false); /* by link(2) */
    seen_removed(seen, C, name_of("f"), G, 1, false);
    seen_came(seen, C, name_of("f"), H, false);
    cr_expect_eq(judge(A, H, 1), SEEN_OLDER, "another file came there");
}

Test(seen, an_unknown_process_never_saw_anything)
{
    reads(0, F, 5);
    seen_made(seen, 0, F, 5, true);
    changes(0, F, 5, false);
    cr_expect_eq(judge(0, F, 9), SEEN_NEVER);
}

Test(seen, its_own_changes_count_if_it_had_seen_what_was_there)
{
    reads(A, F, 5);
    changes(A, F, 5, false);
    cr_expect_eq(judge(A, F, 6), SEEN_PRESENT);
    changes(B, F, 6, false);
    changes(A, F, 7, true);
    cr_expect_eq(judge(A, F, 8), SEEN_OLDER);
    cr_expect_eq(judge(B, F, 8), SEEN_NEVER, "it wrote, and read nothing");
    seen_made(seen, B, F, 9, false);
    cr_expect_eq(judge(B, F, 9), SEEN_PRESENT);
}

Test(seen, what_another_changes_meanwhile_does_not)
{
    const struct seen_step mine = {5, 7, false}, theirs = {5, 6, false};
    struct seen_change a, b;
    reads(A, F, 5);
    seen_change_begin(seen, &a, A, F);
    seen_change_begin(seen, &b, B, F);
    cr_expect_eq(judge(A, F, 6), SEEN_UNSURE, "its own may be done already");
    seen_change_end(seen, &b, &theirs, NULL);
    seen_change_end(seen, &a, &mine, NULL);
    cr_expect_eq(judge(A, F, 7), SEEN_OLDER);
}

Test(seen, of_parts_of_two_versions_the_older)
{
    seen_opened(seen, A, F, 5, SEEN_DIRECT);
    seen_read(seen, A, F, 5, 0, true);
    changes(B, F, 5, true);
    seen_read(seen, A, F, 6, 100, true);
    cr_expect_eq(judge(A, F, 6), SEEN_PRESENT, "an append");
    changes(B, F, 6, false);
    seen_read(seen, A, F, 7, 200, true);
    cr_expect_eq(judge(A, F, 7), SEEN_OLDER, "half of one, half of another");
    seen_read(seen, A, F, 7, 0, true);
    cr_expect_eq(judge(A, F, 7), SEEN_PRESENT);
    changes(B, F, 7, false);
    seen_opened(seen, A, F, 8, SEEN_DIRECT);
    changes(B, F, 8, false);
    seen_read(seen, A, F, 9, 4096, true);
    cr_expect_eq(judge(A, F, 9), SEEN_PRESENT, "begins there");
}

Test(seen, nobody_knows_what_is_read_through_the_cache)
{
    const enum seen_way ways[] = {SEEN_CACHED, SEEN_DIRECT};
    for (int i = 0; i < 2; i++) {
        uint64_t ino = F + (uint64_t)i;
        seen_opened(seen, A, ino, 5, ways[i]);
        cr_expect_eq(judge(A, ino, 7), SEEN_UNSURE);
        seen_closed(seen, A, ino, 7, ways[i]);
        cr_expect_eq(judge(A, ino, 7), SEEN_PRESENT, "it may have seen it");
        cr_expect_eq(judge(A, ino, 8), SEEN_OLDER);
    }
    seen_opened(seen, B, H, 5, SEEN_DIRECT);
    seen_read(seen, B, H, 5, 0, true);
    cr_expect_eq(judge(B, H, 6), SEEN_OLDER, "its reads are known");
    seen_read(seen, B, H, 6, 0, false);
    cr_expect_eq(judge(B, H, 7), SEEN_UNSURE, "pages of a mapping");
    seen_closed(seen, B, H, 7, SEEN_DIRECT);
    cr_expect_eq(judge(B, H, 7), SEEN_PRESENT);
    seen_opened(seen, C, I, 5, SEEN_NOT);
    cr_expect_eq(judge(C, I, 7), SEEN_NEVER);
    seen_closed(seen, C, I, 7, SEEN_CACHED);
    cr_expect_eq(judge(C, I, 7), SEEN_NEVER, "of whom nothing is known");
}

Test(seen, another_file_of_the_name_is_newer)
{
    reads(A, F, 5);
    moves(B, "tmp", "f", G, F);
    cr_expect_eq(judge(A, G, 1), SEEN_OLDER);
    cr_expect_eq(judge(C, G, 1), SEEN_NEVER);
    moves(B, "tmp", "f", H, G);
    cr_expect_eq(judge(A, H, 1), SEEN_OLDER, "and another one");
    reads(A, H, 1);
    cr_expect_eq(judge(A, H, 1), SEEN_PRESENT);
    seen_removed(seen, B, name_of("f"), H, 1, false);
    seen_came(seen, C, name_of("f"), I, false);
    cr_expect_eq(judge(A, I, 1), SEEN_OLDER, "removed, and made anew");
}

Test(seen, a_backup_is_another_memory)
{
    moves(B, "f", "f~", F, 0);
    seen_came(seen, B, name_of("f"), G, false);
    reads(C, F, 1);
    cr_expect_eq(judge(C, G, 1), SEEN_NEVER, "who has read the backup alone");
    reads(A, G, 1);
    cr_expect_eq(judge(A, F, 1), SEEN_NEVER);
    moves(B, "f", "f~", G, F);
    cr_expect_eq(judge(A, G, 1), SEEN_PRESENT);
}

Test(seen, what_was_taken_away)
{
    struct seen_away away;
    reads(A, F, 5);
    seen_removed(seen, A, name_of("f"), F, 6, false);
    cr_assert(seen_away(seen, A, name_of("f"), &away));
    cr_expect(away.older && away.ino == F && away.version == 6 && away.seen == 5);
    cr_expect(!seen_away(seen, B, name_of("f"), &away));
    cr_expect(!seen_away(seen, A, name_of("g"), &away));
    cr_expect(!seen_away(seen, A, seen_name(2, "f"), &away));
    seen_came(seen, A, name_of("f"), G, false);
    cr_expect(!seen_away(seen, A, name_of("f"), &away));
    reads(A, H, 5);
    moves(A, "h", "h~", H, 0);
    cr_assert(seen_away(seen, A, name_of("h"), &away));
    cr_expect(!away.older);
    seen_removed(seen, B, name_of("i"), I, 1, false);
    cr_expect(!seen_away(seen, B, name_of("i"), &away), "which it had never seen");
}

Test(seen, a_temporary_name_is_nobodys)
{
    seen_came(seen, A, name_of("f.tmp"), G, false);
    seen_made(seen, A, G, 1, true);
    moves(A, "f.tmp", "f", G, F);
    seen_came(seen, B, name_of("f.tmp"), H, false);
    cr_expect_eq(judge(A, H, 1), SEEN_NEVER);
    seen_came(seen, A, name_of("x.tmp"), I, false);
    seen_made(seen, A, I, 1, true);
    seen_removed(seen, A, name_of("x.tmp"), I, 1, true);
    seen_came(seen, B, name_of("x.tmp"), 20, false);
    cr_expect_eq(judge(A, 20, 1), SEEN_NEVER);
}

Test(seen, exchanged)
{
    reads(A, F, 5);
    seen_exchanged(seen, F, G);
    cr_expect_eq(judge(A, F, 5), SEEN_PRESENT);
    cr_expect_eq(judge(A, G, 1), SEEN_OLDER, "which is where the other was");
}

Test(seen, who_wrote)
{
    struct seen_process who;
    cr_expect(!seen_writer(seen, 0, F, &who));
    changes(B, F, 1, false);
    changes(A, F, 2, false);
    changes(A, F, 3, false);
    cr_assert(seen_writer(seen, C, F, &who));
    cr_expect_eq(who.key, A);
    cr_assert(seen_writer(seen, A, F, &who));
    cr_expect_eq(who.key, B, "not the one who asks");
}

Test(seen, a_hundred_thousand_processes)
{
    const uint64_t n = 100000;
    for (uint64_t i = 1; i <= n; i++) {
        reads(i, F, 5);
        reads(i, G, 5);
    }
    for (uint64_t i = 1; i <= n; i++) {
        cr_assert_eq(judge(i, F, 5), SEEN_PRESENT, "%d", (int)i);
        cr_assert_eq(judge(i, G, 6), SEEN_OLDER, "%d", (int)i);
    }
    printf("# %zu bytes\n", seen_bytes(seen));
    cr_expect_leq(seen_bytes(seen), SEEN_BYTES_MAX);
}

Test(seen, forgets_what_was_not_used_for_the_longest_time)
{
    enum { RECORDS = 64 };
    seen_free(seen);
    seen = seen_new(RECORDS);
    reads(A, 1, 5);
    for (uint64_t ino = 2; ino <= RECORDS; ino++) {
        reads(A, ino, 5);
        reads(A, 1, 5);
    }
    cr_expect_eq(judge(A, 2, 6), SEEN_OLDER);
    reads(A, 1000, 5);
    cr_expect_eq(judge(A, 2, 6), SEEN_NEVER);
    cr_expect_eq(judge(A, 1, 6), SEEN_OLDER);
    cr_expect_eq(judge(A, 1000, 6), SEEN_OLDER);
    const size_t bytes = seen_bytes(seen);
    for (uint64_t i = 0; i < 10000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "n%d", (int)i);
        reads(i, i, 5);
        seen_removed(seen, i, name_of(name), i, 5, false);
        changes(i, i + 1, 5, false);
    }
    cr_expect_eq(seen_bytes(seen), bytes);
}

Test(seen, what_it_has_read_is_not_forgotten_before_the_backup_that_it_has_read_too)
{
    seen_free(seen);
    seen = seen_new(16);
    reads(A, F, 1);
    moves(B, "f", "f~", F, 0);
    seen_came(seen, B, name_of("f"), G, false);
    reads(A, G, 1);
    for (uint64_t ino = 100; ino < 200; ino++) {
        reads(A, ino, 1);
        reads(A, F, 1);
    }
    cr_expect_eq(judge(A, F, 1), SEEN_PRESENT);
    cr_expect_eq(judge(A, G, 1), SEEN_NEVER, "it is forgotten that it was read, and so is all of it");
}

/* Whatever is forgotten, and when: who has read what is there is not refused. */
Test(seen, forgetting_refuses_nobody)
{
    enum { NAMES = 12, PROCESSES = 6, ROUNDS = 100000 };
    uint64_t at[NAMES], has_read[PROCESSES + 1][NAMES] = {{0}}, next = NAMES;
    unsigned x = 1;
    seen_free(seen);
    seen = seen_new(48);
    for (uint64_t i = 0; i < NAMES; i++)
        at[i] = i + 1;
    for (int round = 0; round < ROUNDS; round++) {
        x = x * 1103515245 + 12345;
        const unsigned name = (x >> 16) % NAMES, process = 1 + (x >> 20) % PROCESSES, what = (x >> 24) % 8;
        char text[16], from[16];
        (void)snprintf(text, sizeof text, "%u", name);
        (void)snprintf(from, sizeof from, "t%u", process);
        if (what == 0) {
            moves(process, from, text, ++next, at[name]);
            at[name] = next;
            seen_put(seen, process, next, 1);
        } else if (what == 1) {
            seen_removed(seen, process, name_of(text), at[name], 1, false);
            seen_came(seen, process, name_of(text), ++next, false);
            seen_made(seen, process, next, 1, true);
            at[name] = next;
        } else {
            reads(process, at[name], 1);
        }
        has_read[process][name] = at[name];
        for (unsigned p = 1; p <= PROCESSES; p++)
            for (unsigned n = 0; n < NAMES; n++)
                if (has_read[p][n] == at[n])
                    cr_assert_neq(judge(p, at[n], 1), SEEN_OLDER, "%u %u in round %d", p, n, round);
    }
}
