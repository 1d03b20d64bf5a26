/*
 * fsfuzz.h - random operations on two directories, one of them on a mounted
 * store and the other on a file system that is trusted; what each call
 * returns, and what it leaves behind, must be the same.
 *
 * A run belongs to one process, which has one thread. Side OURS is the one
 * under test. A run with one side compares nothing: it is there to collide
 * with others. */
#ifndef ENGRAMFS_TESTS_FSFUZZ_H
#define ENGRAMFS_TESTS_FSFUZZ_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { OURS, REF, SIDES };
enum {
    HANDLES = 8,
    WATCHES = 6,
    HISTORY = 40,
    SAID_MAX = 900,
    PATH_CAP = 800,
    OP_MAX = 300000,   /* bytes of one read or write */
    FILE_MAX = 1 << 21 /* offsets stay below */
};

/* Explicit times lie before this, natural ones after it. */
#define NATURAL_TIMES INT64_C(1500000000)

/* A path whose attributes are inspected before and after an operation. */
struct watch {
    char path[PATH_CAP];
    bool follow;
    int err[SIDES]; /* before: 0 or why it could not be inspected */
    struct stat before[SIDES];
};

struct handle {
    bool used;
    int fd[SIDES];
    char path[PATH_CAP]; /* when it was opened */
};

struct options {
    const char *ours, *ref;
    const char *remount; /* command, called with "unmount" or "kill"; NULL: never */
    const char *lie;     /* what side OURS does wrong, to show that it is noticed; NULL: nothing */
    uint64_t seed, seeds;
    unsigned long ops;
    unsigned procs;
    bool users; /* a part of the calls is made by an ordinary user */
    bool verbose;
};

struct run {
    const struct options *opt;
    uint64_t rng;
    uint64_t seed;
    unsigned long op;
    int sides;
    int root[SIDES];
    char where[SIDES][PATH_MAX];
    struct handle handles[HANDLES];
    struct watch watches[WATCHES];
    int n_watches;
    bool any_times;  /* the operation under way may change times on one side only */
    bool fine_times; /* two changes of a file never have the same time */
    bool as_user;    /* the operation under way is an ordinary user's */
    bool lied;
    long ret[SIDES];
    int err[SIDES];
    uint8_t *buf[SIDES]; /* OP_MAX bytes each */
    char said[HISTORY][SAID_MAX];
    unsigned long n_said;
};

/* ---- fsfuzz.c ------------------------------------------------------------ */

/* Says what is about to be done; the last ones are shown when something is wrong. */
void say(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints what is wrong, the history and how to see it again; does not return. */
void wrong(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
uint64_t below(struct run *r, uint64_t n);
bool chance(struct run *r, unsigned percent);

/* From here to act_end() the calls are the operation's; each records its result. */
void act_begin(struct run *r);
void record(struct run *r, int side, long ret);
/* Compares what was recorded, and the watched paths. */
void act_end(struct run *r);
/* Is this the call on our side that is to be falsified? Not always one that succeeds. */
bool lies(struct run *r, int side, const char *kind);

/* ---- fsfuzz_compare.c ---------------------------------------------------- */

void watch(struct run *r, const char *path, bool follow);
void watch_before(struct run *r);
void watch_after(struct run *r);
void compare_bytes(struct run *r, const char *what, const void *ours, const void *ref, size_t n);
/* Content, attributes, data and holes; `cold`: from the daemon, not from the page cache. */
void compare_file(struct run *r, const char *path, bool cold);
/* Both trees, whole; inodes must correspond one to one. */
void compare_trees(struct run *r);
/* A tree that nobody changes any more agrees with itself: names, links, sizes; returns a digest of it. */
uint64_t survey(struct run *r);

/* ---- fsfuzz_names.c, fsfuzz_data.c --------------------------------------- */

void pick_path(struct run *r, char path[PATH_CAP]);
void close_all(struct run *r);
void op_names(struct run *r);
void op_attributes(struct run *r);
void op_data(struct run *r);

#endif
