/*
 * simdisk_private.h - what the files of the simulated disk share. */
#ifndef ENGRAMFS_TESTS_SIMDISK_PRIVATE_H
#define ENGRAMFS_TESTS_SIMDISK_PRIVATE_H

#include "simdisk.h"

#include "disk/io.h"

#include <pthread.h>

#define SIM_BLOCK UINT64_C(4096)
#define SIM_NAME_MAX 255
#define SIM_UNLIMITED (UINT64_C(1) << 40) /* bytes a disk without limit has */

/* Bytes from `used` to `size` are zeros that take no memory, as where a file was preallocated. */
struct sim_buf {
    uint8_t *data;
    uint64_t size, used, cap;
};

enum sim_write_kind {
    SIM_WRITE,
    SIM_SET_SIZE, /* truncate */
    SIM_GROW      /* allocate: never shrinks */
};

/* State of a write or of an operation on names. */
enum sim_op_state {
    SIM_DIRTY,
    SIM_DURABLE, /* synced, but behind a lost one */
    SIM_LOST     /* its sync failed: seen until the power fails, then as chance will have it */
};

struct sim_write {
    struct sim_write *next;
    uint64_t seq; /* order of all unsynced operations of the disk */
    enum sim_write_kind kind;
    enum sim_op_state state;
    uint64_t offset, size;
    uint8_t *data; /* SIM_WRITE */
};

/* Bytes that are wrong on the medium, while the cache shows them as they were. */
#define SIM_ROTS_MAX 4
struct sim_rot {
    uint64_t offset;
    uint8_t mask; /* 0: none */
};

struct sim_node {
    struct sim_node *next;
    struct sim_node *copy;       /* scratch of simdisk_clone() */
    struct sim_buf now, durable; /* as reads see it; as the medium holds it */
    struct sim_write *writes, *last_write;
    struct sim_rot rots[SIM_ROTS_MAX];
    uint64_t bad_from, bad_to; /* cannot be read; bad_to 0: all can */
    unsigned handles;          /* open files */
    uint64_t written_at;       /* of the disk's clock */
    uint64_t self;             /* which file it is, among those of all disks; of a clone the same */
    uint64_t *extents;         /* where each ends, as it was allocated; those of a clone are forgotten */
    size_t n_extents;
};

struct sim_name {
    char name[SIM_NAME_MAX + 1];
    struct sim_node *node;
};

struct sim_dir {
    struct sim_name *names;
    size_t n;
};

/* A creation has no `from`, a removal no `to`, a renaming both. */
struct sim_dirop {
    struct sim_dirop *next;
    uint64_t seq;
    enum sim_op_state state;
    char from[SIM_NAME_MAX + 1], to[SIM_NAME_MAX + 1];
    struct sim_node *node;
};

struct sim_fault {
    enum sim_call call;
    uint64_t left; /* calls until it strikes */
    int error;     /* 0: none */
    bool always;
};

struct simdisk {
    struct eng_io io;      /* immutable; first, so that an eng_io is a simdisk */
    pthread_mutex_t mutex; /* protects all that follows */
    struct sim_node *nodes;
    struct sim_dir now, durable;
    struct sim_dirop *dirops, *last_dirop;
    uint64_t seq, epoch;
    uint64_t clock; /* counts writes */
    uint64_t handles;

    uint64_t calls[SIM_N_CALLS];
    uint64_t cut_in; /* calls until the power fails; 0: it does not */
    bool cut_reads, off;
    enum sim_call cut_call;

    struct sim_fault fault;
    char struck[SIM_NAME_MAX + 1]; /* the file in which a fault struck last */
    unsigned short_reads_every, short_writes_every, interrupt_every;
    uint64_t n_short_reads, n_short_writes, n_interrupts;
    uint64_t limit;
    enum sim_telling telling;
    bool ignore_datasync, ignore_syncdir, whole_extents;

    bool exclusive;
    unsigned sharers;
};

extern const struct eng_io_ops sim_ops;

void *sim_alloc(size_t size);

void sim_buf_resize(struct sim_buf *buf, uint64_t size);
void sim_buf_copy(struct sim_buf *to, const struct sim_buf *from);
void sim_buf_read(const struct sim_buf *buf, void *data, uint64_t size, uint64_t offset);
void sim_buf_flip(struct sim_buf *buf, uint64_t offset, uint8_t mask); /* beyond the end: nothing */
void sim_buf_write(struct sim_buf *buf, const void *data, uint64_t size, uint64_t offset);

uint64_t sim_new_self(void);
struct sim_node *sim_node_new(struct simdisk *disk);
void sim_writes_free(struct sim_node *node);
void sim_dirops_free(struct simdisk *disk);
/* Frees the nodes that nothing refers to, neither names, durable or not, nor open files. */
void sim_collect_nodes(struct simdisk *disk);

struct sim_name *sim_name_find(struct sim_dir *dir, const char *name); /* or NULL */
void sim_name_set(struct sim_dir *dir, const char *name, struct sim_node *node);
void sim_name_remove(struct sim_dir *dir, const char *name);

/* An extent was allocated up to `end`. */
void sim_extent_add(struct sim_node *node, uint64_t end);
/* The node was cut: all goes that lies behind its new end as a whole. */
void sim_extents_cut(struct sim_node *node, uint64_t size);
uint64_t sim_extents_end(const struct sim_node *node);

/* What a read past the cache gets instead of `data`, which the cache has. */
void sim_rot_read(const struct sim_node *node, uint8_t *data, uint64_t size, uint64_t offset);
/* How many of these bytes can be read up to the first that cannot: -EIO if none. */
ssize_t sim_readable(const struct sim_node *node, size_t size, uint64_t offset);
/* How many of these bytes can be written. A block of the file that they cover in part is read first, as Linux
 * does: -EIO if that is the first one and cannot be. */
ssize_t sim_writable(const struct sim_node *node, uint64_t size, uint64_t offset);
/* New data come to the medium in time. */
void sim_rot_overwrite(struct sim_node *node, uint64_t size, uint64_t offset);
/* The cache is gone: everybody sees it. */
void sim_rot_show(struct sim_node *node);
void sim_write_apply(struct sim_buf *buf, const struct sim_write *write);
void sim_dirop_apply(struct sim_dir *dir, const struct sim_dirop *op);

#endif
