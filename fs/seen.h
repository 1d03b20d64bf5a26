/*
 * seen.h - which process has seen which content, for `-o conflicts=refuse`.
 *
 * Four tables of a fixed size (SEEN_BYTES_MAX together), each of which forgets what was not used for the
 * longest time. What is forgotten was never seen: it refuses nobody. What a process has seen of a file is its
 * content version (eng_attr.version). Names have a line besides, which goes on when another inode comes to a
 * name: so that who has read a memory, and then finds another inode at its name, is known to have seen an
 * older one.
 *
 * Knows neither FUSE nor a store. Any thread; each call takes the table's lock, a leaf, but for seen_new()
 * and seen_free(). */
#ifndef ENGRAMFS_FS_SEEN_H
#define ENGRAMFS_FS_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of all processes: what they have seen, what they moved away; and inodes, and names that lost theirs. */
enum { SEEN_RECORDS = 1 << 18, SEEN_AWAY = 1 << 14, SEEN_INODES = 1 << 16, SEEN_NAMES = 1 << 16 };
/* With the tables' heads; tests/unit/fs/test_seen.c counts it. */
#define SEEN_BYTES_MAX (UINT64_C(30) << 20)

/* A process; key 0: unknown, one that never saw anything. */
struct seen_process {
    uint64_t key;
    pid_t pid;
    uid_t uid;
    char name[17];
};

/* How a descriptor reads: not at all; through the kernel's cache, of which nobody here hears; each read(2)
 * comes here. */
enum seen_way { SEEN_NOT, SEEN_CACHED, SEEN_DIRECT };

struct seen;

/* `records` instead of SEEN_RECORDS, and a quarter of that for the others, if it is not 0. */
struct seen *seen_new(unsigned records);
void seen_free(struct seen *seen);
size_t seen_bytes(const struct seen *seen);

/* ---- reading ------------------------------------------------------------------ */

/*
 * The last OPEN of an inode by a process, until that reads it or closes it. If it was with O_TRUNC, which it
 * does not say, the truncation comes next, in the same thread: then nothing was read by it, and what it has
 * noted is taken back. */
struct seen_opening {
    pid_t thread;
    uint64_t process, ino, version;
    enum seen_way way;
    /* Filled in by seen_opens(): which version had been seen before; whether the process, and its line, had a
     * record. */
    uint64_t seen;
    bool had_record, had_line;
    bool is_taken_back;
};
/* Before seen_opened(). */
void seen_opens(struct seen *seen, const struct seen_opening *opening);
/* Before a truncation of thread, process and inode is judged: whether it is that of the OPEN. Fills in the
 * rest. Then seen_open_ends() follows. */
bool seen_open_truncates(struct seen *seen, struct seen_opening *opening);
/* `done`: it has truncated, and the descriptor stays. */
void seen_open_ends(struct seen *seen, const struct seen_opening *opening, bool done);
void seen_opened(struct seen *seen, uint64_t process, uint64_t ino, uint64_t version, enum seen_way way);
/* `version` is that of now. */
void seen_closed(struct seen *seen, uint64_t process, uint64_t ino, uint64_t version, enum seen_way way);
/* What was read from `offset` was of `version`. `direct`: by read(2) that goes past the kernel's cache. */
void seen_read(struct seen *seen, uint64_t process, uint64_t ino, uint64_t version, uint64_t offset,
               bool direct);

/* ---- changing ----------------------------------------------------------------- */

/* A change of content that is under way; the caller's memory until it ends. */
struct seen_change {
    struct seen_change *next; /* protected by the lock */
    uint64_t process, ino;
    bool overlaps; /* another one of that inode was under way, too. Protected by the lock */
};
void seen_change_begin(struct seen *seen, struct seen_change *change, uint64_t process, uint64_t ino);
/* It led from one version to another (the same: nothing was changed). `appends`: all that was there is there
 * still. */
struct seen_step {
    uint64_t before, after;
    bool appends;
};
/* By `who`, who knows what he has written, but not what he had not seen before; NULL: nobody knows. */
void seen_change_end(struct seen *seen, struct seen_change *change, const struct seen_step *step,
                     const struct seen_process *who);
/* The process has itself made that version: there is nothing in it that others have written. `created`: and
 * the inode. */
void seen_made(struct seen *seen, uint64_t process, uint64_t ino, uint64_t version, bool created);
/* It has put the inode, which is of that version, in another's place: it knows it, if it did not before. */
void seen_put(struct seen *seen, uint64_t process, uint64_t ino, uint64_t version);

/* ---- names -------------------------------------------------------------------- */

/* A name in a folder. */
struct seen_name {
    uint64_t folder, hash;
};
struct seen_name seen_name(uint64_t folder, const char *name);

/* The inode came to a name that had none; `has_others`: it has other names, too. */
void seen_came(struct seen *seen, uint64_t process, struct seen_name name, uint64_t ino, bool has_others);
/* The inode, of that version, has left a name for another one, and taken `replaced`'s place there (0: there
 * was none). */
struct seen_move {
    struct seen_name from, to;
    uint64_t ino, version, replaced;
};
void seen_moved(struct seen *seen, uint64_t process, const struct seen_move *move);
/* `has_others`: it has other names. */
void seen_removed(struct seen *seen, uint64_t process, struct seen_name name, uint64_t ino, uint64_t version,
                  bool has_others);
/* Before a name of the inode is removed, or shows another one. */
void seen_takes_name(struct seen *seen, uint64_t process, uint64_t ino);
/* Whether the last that did so, or tried to, was another process; of an inode that has no name any more. */
bool seen_lost_name(struct seen *seen, uint64_t process, uint64_t ino);
/* Two inodes have taken each other's place. */
void seen_exchanged(struct seen *seen, uint64_t one, uint64_t other);

/* ---- judging ------------------------------------------------------------------ */

enum seen_verdict {
    SEEN_NEVER,   /* may replace it */
    SEEN_UNSURE,  /* may have seen it as it is: may replace it */
    SEEN_PRESENT, /* has seen it as it is */
    SEEN_OLDER    /* has seen an older state: may not */
};
/* What a process knows of an inode that is of that version now. ret_seen: which version it has seen last; 0:
 * of another inode that had the name. */
enum seen_verdict seen_judge(struct seen *seen, uint64_t process, uint64_t ino, uint64_t version,
                             uint64_t *ret_seen);

/* What the process has itself taken away from that name. False: nothing. */
struct seen_away {
    uint64_t ino, version, seen; /* as it was taken away; which version the process had seen */
    bool older;                  /* it had seen an older state then */
};
bool seen_away(struct seen *seen, uint64_t process, struct seen_name name, struct seen_away *ret_away);
void seen_away_forget(struct seen *seen, uint64_t process, struct seen_name name);
/* Who has made the last change of that inode, or put it where it is; and who it was, but for that process.
 * False: not known. */
void seen_wrote(struct seen *seen, uint64_t ino, const struct seen_process *who);
bool seen_writer(struct seen *seen, uint64_t process, uint64_t ino, struct seen_process *ret_who);

#endif
