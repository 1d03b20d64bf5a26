/*
 * index.h - what the store holds, in memory: inodes, names, extents, xattrs
 * and the use of segments, in freezable tables without pointers, so that a
 * chunk of a table is also its image in a checkpoint.
 *
 * The index is changed by index_apply() alone: by a live mutation after its
 * batch was written to the log, and by recovery from the same batch. It is
 * therefore a pure function of the log.
 *
 * Locking: eng->index_lock. Shared to read the live index; exclusive to
 * apply, freeze and thaw. Since only holders of the log lock apply, a holder of
 * the log lock may read without the index lock. Frozen views need none. */
#ifndef ENGRAMFS_INDEX_H
#define ENGRAMFS_INDEX_H

#include "base/idmap.h"
#include "disk/codec.h"
#include "index/btree.h"
#include "index/names.h"
#include "index/table.h"

#include <assert.h>
#include <sys/stat.h>

/* An inode number is slot | reuse << 32: found without a search, and never used twice. */
#define INO_REUSE_MAX UINT32_C(0x1fffffff) /* a slot reused that often is retired for good */
static inline uint32_t ino_slot(uint64_t ino)
{
    return (uint32_t)ino;
}

enum inode_flags {
    INODE_INLINE = 1, /* the only extent, at offset 0, is inode.first and not in the tree */
    INODE_TAIL = 2, /* extents at and behind `size` are dead: a truncation has left them to be freed later */
    /* Of a store with INCOMPAT_HISTORY alone; docs/lab/history-design.md, 2.1. Of a past state: */
    INODE_TOLD = 4,       /* only who made it and when may be told */
    INODE_PAST = 8,       /* it is one: a record of its own, in no directory */
    INODE_PAST_TAIL = 16, /* the tail of its head is its content; of a head: it is that of a past state */
    INODE_LEAPS = 32,     /* it may have leaps (leaps.h); of a head: a past state of its line may */
    INODE_GOING = 128,    /* of a past state: no view shows it; older ones read through it */
    INODE_AMENDED = 256,  /* of a head: an ignored field moved `state` on */
};
#define INODE_FLAGS_PLAIN (INODE_INLINE | INODE_TAIL)
#define INODE_FLAGS_HEAD (INODE_FLAGS_PLAIN | INODE_PAST_TAIL | INODE_LEAPS | INODE_AMENDED)
#define INODE_FLAGS_PAST                                                                                     \
    (INODE_INLINE | INODE_TOLD | INODE_PAST | INODE_PAST_TAIL | INODE_LEAPS | INODE_GOING)

struct inode_rec {
    uint32_t nlink; /* first four bytes: chain of free records */
    uint32_t reuse; /* outlives the inode, see table_free_record() */
    uint32_t mode;  /* 0: free record */
    uint32_t flags;
    uint32_t uid, gid;
    uint64_t size; /* content; symlink: target length; directory: entries */
    int64_t atime, mtime, ctime, btime;
    uint64_t version;    /* content changes */
    uint64_t generation; /* placements (I2) */
    uint64_t state;      /* of the last change of content or xattrs, see index_new_state() */
    union {
        struct {
            struct locator first; /* INODE_INLINE */
            /* Of all inodes: the first past name that led to it, 0 none; of a past state see past_end().
             * Carried in a store without history. */
            uint32_t past_name;
        };
        struct {
            uint64_t bytes; /* content bytes held */
            uint32_t n;
            uint32_t short_of[2]; /* of a past state alone, see past_reach() */
        } extents;                /* of other files, in the tree */
        uint32_t target;          /* names: of a symlink */
        uint64_t rdev;            /* of a device */
    };
    uint32_t dentry; /* one name of it, 0 unknown */
    uint32_t xattrs; /* names: first struct xattr_rec */
    uint32_t past;   /* slot of the newest past state before this one, 0 none */
    uint32_t actor;  /* who made this state, 0 unknown */
};
static_assert(sizeof(struct inode_rec) == 128 && offsetof(struct inode_rec, state) == 80 &&
                  offsetof(struct inode_rec, first) == 88 &&
                  offsetof(struct inode_rec, extents.short_of) == 100 &&
                  offsetof(struct inode_rec, past_name) == 108 && offsetof(struct inode_rec, dentry) == 112,
              "inode record layout");

/* Extents of its content, and the bytes that they hold. */
static inline uint32_t inode_n_extents(const struct inode_rec *inode)
{
    if (inode->flags & INODE_INLINE)
        return 1;
    return S_ISREG(inode->mode) ? inode->extents.n : 0;
}
static inline bool inode_in_tree(const struct inode_rec *inode) /* they stand in the extent tree */
{
    return !(inode->flags & INODE_INLINE) && inode_n_extents(inode);
}
static inline uint64_t inode_bytes(const struct inode_rec *inode)
{
    if (inode->flags & INODE_INLINE)
        return inode->first.len;
    return S_ISREG(inode->mode) ? inode->extents.bytes : 0;
}

/*
 * Of a past state (INODE_PAST) some places mean something else: its life is [begin, end) in batches, it
 * belongs to the inode `head`, of whose past states it is number `number`, from 1 on. */
static inline uint64_t past_begin(const struct inode_rec *past) /* 0: not known */
{
    return (uint64_t)past->atime;
}
static inline void past_set_begin(struct inode_rec *past, uint64_t begin)
{
    past->atime = (int64_t)begin;
}
static inline uint64_t past_end(const struct inode_rec *past)
{
    return (uint64_t)past->dentry << 32 | past->past_name;
}
static inline void past_set_end(struct inode_rec *past, uint64_t end)
{
    past->past_name = (uint32_t)end;
    past->dentry = (uint32_t)(end >> 32);
}
static inline uint32_t past_head(const struct inode_rec *past) /* slot */
{
    return (uint32_t)past->generation;
}
static inline uint32_t past_number(const struct inode_rec *past)
{
    return (uint32_t)(past->generation >> 32);
}
static inline void past_set_head(struct inode_rec *past, uint32_t head, uint32_t number)
{
    past->generation = (uint64_t)number << 32 | head;
}

/* Of a file, so far it reads newer states: up to its size or, since it stands for one that was dropped and
 * had ended before that, less. */
static inline uint64_t past_reach(const struct inode_rec *past)
{
    if (past->flags & INODE_INLINE)
        return past->size;
    uint64_t less = (uint64_t)past->extents.short_of[1] << 32 | past->extents.short_of[0];
    return past->size - (less < past->size ? less : past->size);
}
static inline void past_set_reach(struct inode_rec *past, uint64_t reach) /* not INODE_INLINE */
{
    uint64_t less = past->size - reach;
    past->extents.short_of[0] = (uint32_t)less;
    past->extents.short_of[1] = (uint32_t)(less >> 32);
}

enum dentry_flags { DENTRY_HAS_PAST = 1 }; /* there are past names with its folder and cookie */
struct dentry_rec {
    uint32_t hash_next; /* first four bytes: chain of free records */
    uint32_t parent;    /* slot */
    uint32_t child;     /* slot; 0: free record */
    uint32_t name;      /* names */
    uint64_t cookie;    /* order of creation in the store, never reused; renaming in the directory keeps it */
    uint32_t hash;
    uint16_t name_len;
    uint16_t flags;
};
static_assert(sizeof(struct dentry_rec) == 32, "dentry record layout");

/* Followed by the name and, inline, the value or, with XATTR_IS_EXTENT, a struct locator. */
struct xattr_rec {
    uint32_t next; /* names */
    uint16_t name_len, flags;
    uint32_t value_len;
};
enum xattr_flags {
    XATTR_IS_EXTENT = 1,
    XATTR_ABSENT = 2 /* of a past state: it was not there */
};
static_assert(sizeof(struct xattr_rec) == 12, "xattr record layout");

struct seg_rec {
    uint32_t next_free, id; /* id 0: free record */
    uint32_t kind, reserved;
    uint64_t total, live; /* payload bytes */
    uint64_t last_seq;    /* last batch in it (I4: metadata age) */
    uint64_t death_seq;   /* last batch that made bytes in it dead (I4) */
    int64_t created;      /* sequence-free age for the policy, ns */
    uint64_t n_live;      /* locators that name bytes in it */
};
static_assert(sizeof(struct seg_rec) == 64, "segment record layout");

/* A name that ended and is kept. Those of one folder and cookie are a group: past ones, newest first, and
 * perhaps a live one. */
enum past_name_flags {
    PAST_REMOVED = 1,
    PAST_MOVED = 2,
    PAST_REPLACED = 4,
    PAST_SHARES_TEXT = 8, /* it has the text of the next newer one of its group, which may be the live one */
    PAST_SAME = 16        /* it was replaced by what has its content, owner, mode and fields */
};
struct past_name_rec {
    uint32_t next;   /* first four bytes: chain of free records; else the next older one of the group */
    uint32_t parent; /* slot */
    uint32_t child;  /* slot; 0: free record */
    uint32_t name;   /* names */
    uint64_t cookie;
    uint64_t end; /* batch in which it ended; those of a group have different ones */
    uint32_t hash;
    uint16_t name_len, flags;
    uint32_t of_inode; /* the next older past name of the child */
    uint32_t actor;    /* who ended it, 0 unknown */
    uint64_t begin;    /* batch in which it began, below `end` */
    uint32_t newer;    /* the next newer one of the group; of the newest: the oldest */
    uint32_t of_newer; /* the next newer past name of the child, 0 none */
};
static_assert(sizeof(struct past_name_rec) == 64 && offsetof(struct past_name_rec, hash) == 32 &&
                  offsetof(struct past_name_rec, begin) == 48,
              "past name record layout");

/* A batch with a time; a snapshot is one with a name. In the order of batches. */
enum moment_flags {
    MOMENT_SNAPSHOT = 1,
    MOMENT_ALONE = 2 /* no OP_MOMENT made it: it goes with its name */
};
struct moment_rec {
    uint32_t next;  /* chain of free records */
    uint32_t name;  /* names, 0 none */
    uint64_t batch; /* 0: free record */
    int64_t time;
    uint32_t age; /* seconds of the store's life */
    uint16_t name_len, flags;
};
static_assert(sizeof(struct moment_rec) == 32, "moment record layout");

/* What the moments of a chunk of their table have in common, once somebody has looked (moments.h). */
struct moment_sum {
    _Atomic bool is_known, has_snapshot;
    _Atomic uint32_t age;   /* of the first; UINT32_MAX: there is none */
    _Atomic uint64_t first; /* its batch; UINT64_MAX: there is none */
    _Atomic int64_t least;  /* the earliest time; INT64_MAX: there is none */
};
struct moment_sums {
    uint32_t n; /* chunks */
    struct moment_sum of[];
};

#define ACTORS_MAX 65535u
struct actor_rec {
    uint32_t next, uid;
    char name[16]; /* of the process, zeros behind it */
    uint64_t reserved;
};
static_assert(sizeof(struct actor_rec) == 32, "actor record layout");

/* Of OP_FLOOR: why the past before is not whole any more. */
enum floor_reason { FLOOR_OFF = 1, FLOOR_ON, FLOOR_AGE, FLOOR_BYTES, FLOOR_VERSIONS, FLOOR_FULL_DISK };
#define FLOOR_REASONS (FLOOR_FULL_DISK + 1)
#define FLOOR_NONE UINT64_MAX /* the history was switched off: of no batch the past is whole */

#define COOKIE_MAX (UINT64_C(1) << 62) /* listings hand cookies out as file offsets, which are signed */

/* Everything of the index that is not in a table; stored in the checkpoint as it is. */
struct index_scalars {
    uint64_t next_cookie; /* 3 and up: 1 and 2 are "." and ".." */
    uint64_t n_names;
    uint64_t n_buckets; /* linear hashing: buckets in use */
    uint64_t n_files, n_dirs, n_others;
    uint64_t total, live; /* payload bytes, all segments */
    /* Of a store with INCOMPAT_HISTORY alone. */
    uint64_t past_live;            /* payload bytes of past states */
    uint64_t n_past, n_past_names; /* records */
    uint64_t floor;                /* batch from which on the past is whole; 0 never; FLOOR_NONE not now */
    uint64_t newest_snapshot;      /* its batch, 0 none */
    uint64_t age;                  /* of the newest moment, seconds */
    uint64_t inexact;              /* last batch that amended, thinned or left out a name, or a salvage */
    uint64_t switched;             /* marks of reverts up to this number hold */
};
#define INDEX_SCALARS (sizeof(struct index_scalars) / sizeof(uint64_t))
#define INDEX_SCALARS_PLAIN 8u /* that any store has */
static_assert(offsetof(struct index_scalars, past_live) == 8 * INDEX_SCALARS_PLAIN, "scalars of any store");

/* The way to where a state went from its line: the states next newer, the nearest last. A line leads one way,
 * from new to old, and what goes are its oldest, one after the other. Where states have gone since, or come,
 * it leads nowhere, which is seen. */
#define LINE_WAY 1024u /* a power of two */
struct line_way {
    uint64_t n_walks;      /* for tests */
    uint32_t head, n, end; /* slots[(end - n .. end) % LINE_WAY] */
    uint32_t slots[LINE_WAY];
};

/* Inodes without a name that past names keep: how many of each kind, and their payload bytes. */
struct index_kept {
    int64_t files, dirs, others, bytes;
};

/* The tables, in the order in which a checkpoint stores them. */
enum index_table {
    TABLE_INODES,
    TABLE_DENTRIES,
    TABLE_BUCKETS,
    TABLE_SEGMENTS,
    TABLE_NAMES,
    TABLE_DIRS,
    TABLE_EXTENTS,
    INDEX_TABLES_PLAIN, /* that any store has; the others are empty without INCOMPAT_HISTORY */
    TABLE_PAST_NAMES = INDEX_TABLES_PLAIN,
    TABLE_PAST_ORDER,
    TABLE_PAST_LOOKUP,
    TABLE_MOMENTS,
    TABLE_ACTORS,
    INDEX_TABLES
};

struct index {
    struct chunk_pool *pool;
    struct table inodes, dentries, buckets;
    struct table segs; /* each record below `used` is there: no chunk is dropped, or absent once it is open */
    struct names names;
    struct btree dirs;    /* (directory slot, cookie) -> dentry */
    struct btree extents; /* (slot, file offset) -> locator */
    struct table past_names;
    struct btree past_order;  /* (directory slot, cookie) -> the newest past name with it */
    struct btree past_lookup; /* (hash, past name) -> that past name, if it has a text of its own */
    struct table moments, actors;
    struct index_scalars s;
    uint64_t hash_seed; /* immutable after init */
    /* Of a view: once it is set a verification ends early, with -ECANCELED. NULL: it does not. */
    const _Atomic bool *cancel;
    unsigned n_freezes;              /* alive; of the live index only, as all below */
    uint64_t n_taken;                /* extents and xattrs taken out, since opening */
    uint64_t n_orphans;              /* index_is_orphan(): unlinked, but referenced or not freed yet */
    struct index_kept kept;          /* until all of it is loaded: what came and went since opening */
    uint32_t *line_room;             /* for the past states of a line that an OP_REVERT reads; */
    size_t line_cap;                 /* reserved before it is applied */
    uint64_t mend_cookie;            /* the last that index/mend.c gave an entry, 0 none */
    uint64_t by_seq;                 /* the last batch that says who makes it, */
    uint32_t by;                     /* and that one; 0 not known (actors.h) */
    uint64_t last_state;             /* that index_new_state() gave */
    struct moment_sums *moment_sums; /* NULL: each chunk is gone through for each question */
    struct line_way way;             /* index/past.c */

    struct idmap seg_slots; /* segment id -> record in segs */
    struct chunk_pool *ref_pool;
    /* By slot: _Atomic uint32_t, references from outside; added to under the shared lock. */
    struct table inode_refs;
};

int index_init(struct index *idx, uint64_t hash_seed);
void index_free(struct index *idx); /* zeroed or frozen is fine */

/* ---- reading ------------------------------------------------------------ */

static inline uint64_t index_ino(const struct inode_rec *inode, uint32_t slot)
{
    return (uint64_t)inode->reuse << 32 | slot;
}
/* The inode, or past state, in a slot, or NULL. */
static inline const struct inode_rec *index_slot(const struct index *idx, uint32_t slot)
{
    const struct inode_rec *inode = table_get(&idx->inodes, slot);
    return inode && inode->mode ? inode : NULL;
}
/* The inode, or NULL if that number is not in use, or that of a past state. */
static inline const struct inode_rec *index_inode(const struct index *idx, uint64_t ino)
{
    const struct inode_rec *inode = index_slot(idx, ino_slot(ino));
    return inode && inode->reuse == ino >> 32 && !(inode->flags & INODE_PAST) ? inode : NULL;
}
/* Whether nothing leads to the inode any more: it lives by its references alone. */
static inline bool index_is_orphan(const struct index *idx, const struct inode_rec *inode)
{
    bool is_kept = inode->past_name && idx->s.n_past_names && !MUTANT(KEPT_IS_ORPHAN);
    return !inode->nlink && !is_kept && !(inode->flags & INODE_PAST);
}
/* The others without a name: past names keep them. */
static inline bool index_is_kept(const struct index *idx, const struct inode_rec *inode)
{
    return !inode->nlink && inode->past_name && idx->s.n_past_names && !(inode->flags & INODE_PAST);
}
/* Before and after a change by which it may become one, or cease to be one: counts it, `by` -1 and 1. */
void index_count_kept(struct index *idx, const struct inode_rec *inode, int by);
/* Payload bytes that nothing but the past has. */
static inline uint64_t index_past_bytes(const struct index *idx)
{
    return idx->s.past_live + (uint64_t)MAX_OF(idx->kept.bytes, (int64_t)0);
}
/* Whether states and names that end are kept for a history, not only for snapshots. */
static inline bool index_is_kept_whole(const struct index *idx)
{
    return idx->s.floor && idx->s.floor != FLOOR_NONE;
}
/* Whether something in a directory, or a snapshot, may be called so. */
bool index_name_is_valid(const char *name, size_t len);
/* The dentry called name in the directory, or 0. */
uint32_t index_find_name(const struct index *idx, uint32_t dir, const char *name, size_t len);
static inline const struct dentry_rec *index_dentry(const struct index *idx, uint32_t d)
{
    const struct dentry_rec *dentry = table_get(&idx->dentries, d);
    return dentry && dentry->child ? dentry : NULL;
}
/* Slot of the directory's parent; the root's is the root; 0 if damaged. */
uint32_t index_parent(const struct index *idx, uint32_t dir);
/* Writes a path of the inode, relative to the root, without NUL; its length, or 0 if it has none or does not
 * fit. */
size_t index_path(const struct index *idx, uint32_t slot, char *buf, size_t size);
/* The xattr's handle in names, 0 none. */
uint32_t index_find_xattr(const struct index *idx, const struct inode_rec *inode, const char *name,
                          size_t len);
/* The same. *ret_before: the one before it in the list, 0: none, it is the first. */
uint32_t index_find_xattr_behind(const struct index *idx, const struct inode_rec *inode, const char *name,
                                 size_t len, uint32_t *ret_before);
/* A checked look at an xattr record: name, and value or locator. NULL if damaged. */
struct xattr_view {
    uint32_t next, name_len, value_len;
    bool is_extent, is_absent;
    const char *name;
    const void *value; /* inline value */
    struct locator loc;
};
bool index_xattr(const struct index *idx, uint32_t handle, struct xattr_view *ret_view);
/* The xattrs of an inode, one after the other: begins as {.next = inode->xattrs}. Of a list that was not
 * verified yet at most XATTRS_MAX: one that is longer loops. */
#define XATTRS_MAX (1u << 20)
struct xattr_walk {
    uint32_t next, n; /* n: met so far, the present one included */
    uint32_t handle;  /* of the present one */
    struct xattr_view xattr;
};
/* False: there is no other. */
bool index_next_xattr(const struct index *idx, struct xattr_walk *walk);
/* How many xattrs the inode has, counted up to max. */
uint32_t index_count_xattrs(const struct index *idx, const struct inode_rec *inode, uint32_t max);
/* Bytes that it takes in names. */
static inline uint32_t xattr_stored_size(const struct xattr_view *view)
{
    return (uint32_t)sizeof(struct xattr_rec) + view->name_len +
           (view->is_extent ? (uint32_t)sizeof(struct locator) : view->value_len);
}
const struct seg_rec *index_segment(const struct index *idx, uint32_t id);
/* Its record in segs, 0 none. */
static inline uint32_t index_segment_slot(const struct index *idx, uint32_t id)
{
    return (uint32_t)idmap_get(&idx->seg_slots, id);
}
/* References from outside. */
uint32_t index_refs(const struct index *idx, uint32_t slot);
/* Adds n (may be negative; never below 0); the new count. Safe under the shared lock. */
uint32_t index_ref(struct index *idx, uint32_t slot, int64_t n);
/* The number that the next OP_CREATE of a live caller carries, or, with `ahead`, the one after those that it
 * gave before. 0: index full. */
uint64_t index_predict_ino(const struct index *idx, struct table_ahead *ahead);
/* The same for an OP_KEEP: past states have chunks of their own, which are dropped when these are gone.
 * `creates`: what the batch takes before for its OP_CREATEs; NULL: nothing. */
uint64_t index_predict_past(const struct index *idx, struct table_ahead *ahead,
                            const struct table_ahead *creates);

/* ---- changing ----------------------------------------------------------- */

/* Notes that the log segment exists and got batch `seq`. -ENOMEM. */
int index_touch_segment(struct index *idx, uint32_t id, uint32_t kind, uint64_t seq);
/* The same within a change that reserved its chunks: cannot fail after index_reserve_segments(). */
void index_put_segment(struct index *idx, uint32_t id, uint32_t kind, uint64_t seq);
int index_reserve_segments(struct index *idx, uint32_t n);
/* Forgets a segment that holds nothing live. */
void index_drop_segment(struct index *idx, uint32_t id);
/* Gives back the memory of chunks in which nothing is left, at most `max` of each table; returns how many
 * more could go. Exclusive lock, bit by bit. No number of an inode comes back with its chunk (I1). */
size_t index_shrink(struct index *idx, size_t max);
/* Makes what is not stored, after the tables were loaded: of absent chunks it needs those of segs alone.
 * -EBADMSG, -ENOMEM. */
int index_opened(struct index *idx);
/* Needs all inodes. */
void index_count_orphans(struct index *idx);
/* Both. */
int index_loaded(struct index *idx);
/* The first half of it, for a copy of a frozen view, which has no seg_slots; the caller frees them. */
int index_map_segments(struct index *idx);

/* What a freeze needs of memory, had before its locks. */
struct index_room {
    struct table_room tables[INDEX_TABLES];
};
/* For tables of so many chunks; with_dirty: also for table_take_dirty(). -ENOMEM: index_room_done() all the
 * same. */
int index_room_init(struct index_room *ret_room, const uint32_t chunks[INDEX_TABLES], bool with_dirty);
void index_room_done(struct index_room *room);
/* Makes *view a frozen copy, in the memory of `room` (NULL: none) as far as that will do; returns its freeze
 * number for index_thaw(). Exclusive lock. */
int index_freeze(struct index *idx, struct index_room *room, struct index *view, uint64_t *ret_freeze);
/* Nobody reads the view any more, which index_free() frees afterwards, without a lock. Exclusive lock. */
void index_thaw(struct index *idx, uint64_t freeze);

struct table *index_table(struct index *idx, unsigned i);

/* ---- for extents.c, apply.c and mend.c ------------------------------ */

struct inode_rec *index_slot_mut(struct index *idx, uint32_t slot);
/* Takes the slot of an inode or past state to come, which is free, or the next behind all, or of a past state
 * the first of another chunk, and was used no more often than its number says; the record is the caller's to
 * write. -EBADMSG: it is not. */
int index_claim(struct index *idx, uint64_t ino, bool past);
void index_free_slot(struct index *idx, uint32_t slot);
/* The next name for a state of an inode, which no other state in the store has: 65536 times the batch that
 * makes it, and which of that batch it is. */
uint64_t index_new_state(struct index *idx, uint64_t seq);
int index_add_name(struct index *idx, uint32_t dir, const char *name, uint32_t len, uint32_t child,
                   uint64_t cookie);
/* Puts a name whose record is there into the hash table and the order of its directory. */
int index_link(struct index *idx, uint32_t d);
int index_remove_name(struct index *idx, uint32_t d);
/* For index_fetch_ahead(): the buckets that a name splits, or a removal joins, and what is in them; so many
 * names of the batch come `before` it. */
void index_fetch_buckets(const struct index *idx, uint64_t before);
/* Whether it lies within an extent, of a segment that is known. */
static inline bool index_locator_is_valid(const struct index *idx, const struct locator *loc)
{
    return loc->len && loc->ext_len <= EXTENT_MAX && loc->skip < loc->ext_len &&
           loc->len <= loc->ext_len - loc->skip && index_segment(idx, loc->seg);
}
/* Adds to the live (and total) payload of a segment. */
int segment_account(struct index *idx, uint32_t id, int64_t live, int64_t total, uint64_t death_seq);

#endif
