/*
 * simdisk.h - a store directory in memory that loses power and fails when told.
 *
 * It stands in for the real file system under the engine (struct eng_io) and
 * promises no more than POSIX does: what was written is seen by later reads,
 * but survives a power loss for certain only after datasync() of the file, and
 * a name only after syncdir(). A file's content may be durable while its name
 * is not, and the other way round. What was not synced survives in whole, in
 * part, or not at all, in an order of the simulator's choosing.
 *
 * All functions may be called from several threads, except _free and
 * _power_on, which must be alone with the disk. */
#ifndef ENGRAMFS_TESTS_SIMDISK_H
#define ENGRAMFS_TESTS_SIMDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct eng_io;
struct simdisk;

struct simdisk *simdisk_new(void);
void simdisk_free(struct simdisk *disk); /* NULL is fine; files left open are an assertion failure */
/* A disk in the same state, durable and not, between two calls; without its open files, locks, faults and
 * pending cut. */
struct simdisk *simdisk_clone(const struct simdisk *disk);
struct eng_io *simdisk_io(struct simdisk *disk); /* belongs to the disk */

/* ---- calls -------------------------------------------------------------- */

enum sim_call {
    SIM_CREATE, /* open() with IO_CREATE */
    SIM_PWRITEV,
    SIM_TRUNCATE,
    SIM_ALLOCATE,
    SIM_DATASYNC,
    SIM_UNLINK,
    SIM_RENAME,
    SIM_SYNCDIR,
    SIM_OPEN, /* from here on: calls that change nothing */
    SIM_PREAD,
    SIM_FILE_SIZE,
    SIM_LIST,
    SIM_LOCK,
    SIM_SPACE,
    SIM_USAGE,
    SIM_N_CALLS
};
extern const char *const sim_call_names[SIM_N_CALLS];

/* Calls made since the disk was new, cloned or powered on: those that change or sync, or with `reads` all. */
uint64_t simdisk_calls(struct simdisk *disk, bool reads);
uint64_t simdisk_calls_of(struct simdisk *disk, enum sim_call call);

/* ---- power -------------------------------------------------------------- */

/*
 * The `nth` call from now (1: the next) and all after it return -EIO, until
 * simdisk_power_on(). That call itself counts as under way: what it was about
 * to write or rename may survive. Counts calls that change or sync, or with
 * `reads` all. 0: no cut. */
void simdisk_cut_at(struct simdisk *disk, uint64_t nth, bool reads);
bool simdisk_is_off(struct simdisk *disk);
enum sim_call simdisk_cut_call(struct simdisk *disk); /* the call that the power failed in; once off */

enum sim_survival {
    SIM_KEEP_ALL,    /* all of it, as if the kernel had written it in time */
    SIM_DROP_ALL,    /* exactly what was synced */
    SIM_KEEP_PREFIX, /* unsynced operations up to some moment, in order */
    SIM_RANDOM,      /* any subset of the unsynced writes; names by operation, in order for each name */
    SIM_TORN,        /* the same, and kept writes are cut short, lose sectors, or end in garbage */
    SIM_N_SURVIVALS,
    SIM_SUBSET = SIM_N_SURVIVALS, /* bit i of `seed`: whether the i-th of simdisk_unsynced() is kept */
};
extern const char *const sim_survival_names[SIM_N_SURVIVALS + 1];

/* How many operations are not durable yet: writes, changes of size, names. They count in order of time. */
size_t simdisk_unsynced(const struct simdisk *disk);

/*
 * Decides what survived, by `mode` and `seed`, and makes the disk usable
 * again; the survivors are durable. May also be called on a running disk: the
 * power fails between two calls. Locks, faults and cuts are forgotten; files
 * still open only return -EIO. */
void simdisk_power_on(struct simdisk *disk, enum sim_survival mode, uint64_t seed);

/*
 * The process dies and the machine does not: what was written can be read, and is no more durable than
 * before. The call that simdisk_cut_at() stopped counts as under way. Locks, faults and cuts are forgotten;
 * files still open only return -EIO.
 */
void simdisk_process_dies(struct simdisk *disk);

/* Syncs that report success and do nothing: to show that a test would notice. */
void simdisk_ignore_datasync(struct simdisk *disk, bool ignore);
void simdisk_ignore_syncdir(struct simdisk *disk, bool ignore);

/* ---- faults ------------------------------------------------------------- */

/*
 * The `nth` call of kind `call` from now fails once with `error` (positive
 * errno; SIM_ANY_CALL: of those that change or sync). nth 0 takes the fault back. A failed datasync leaves
 * the file's unsynced writes readable, but later datasyncs, though they succeed, do not make them durable
 * (what Linux does). A failed syncdir leaves the unsynced names visible, and later ones do not make them
 * durable, either; who locks the store next does not see them any more.
 */
#define SIM_ANY_CALL SIM_N_CALLS
/* Instead of an error: of what a pread or pwritev was asked for it transfers a part. */
#define SIM_SHORT (-1)
void simdisk_fail(struct simdisk *disk, enum sim_call call, uint64_t nth, int error);
/* The same for the `nth` and all that follow. */
void simdisk_fail_from(struct simdisk *disk, enum sim_call call, uint64_t nth, int error);
/* Whether it is still to come. */
bool simdisk_fault_waits(struct simdisk *disk);
/* Whether the file in which one struck last has, or had, a name that ends with `suffix`. */
bool simdisk_struck(struct simdisk *disk, const char *suffix);
/* The same, time after time. */
void simdisk_fail_always(struct simdisk *disk, enum sim_call call, int error);
/* Every `every`th pread / pwritev transfers only a part (0: off), every `every`th of both returns -EINTR. */
void simdisk_short_reads(struct simdisk *disk, unsigned every);
void simdisk_short_writes(struct simdisk *disk, unsigned every);
void simdisk_interrupt(struct simdisk *disk, unsigned every);
/* The disk holds `bytes` in blocks of 4096, the directory's own included; 0: no limit. */
void simdisk_limit(struct simdisk *disk, uint64_t bytes);
uint64_t simdisk_used(struct simdisk *disk);
/* What it says of its space: the truth; 0 throughout, as a file system that knows no blocks; or as if there
 * were no limit, as where a quota is met. */
enum sim_telling { SIM_TELLS_TRUTH, SIM_TELLS_NOTHING, SIM_TELLS_PLENTY };
void simdisk_tell_space(struct simdisk *disk, enum sim_telling telling);
/* From now on an allocation is an extent, which is in use until all of it was cut, as on btrfs; and so is the
 * whole of each file that is there. A clone knows nothing of it. */
void simdisk_whole_extents(struct simdisk *disk);

/* ---- raw access, for damage tests --------------------------------------- */

/* Calls emit for each file, in order of name. */
void simdisk_each(struct simdisk *disk, void (*emit)(void *arg, const char *name, uint64_t size), void *arg);
/* The whole file, malloc'd. -ENOENT. */
int simdisk_get(struct simdisk *disk, const char *name, uint8_t **ret_data, size_t *ret_size);
/* Writes a file anew, durably, creating it if it is missing. As damage it does not count as a write: one that
 * was there keeps its time, and is the same file. */
void simdisk_put(struct simdisk *disk, const char *name, const void *data, size_t size);
/* All files are others from now on, with the same content, as in a copy that was made file by file; a clone
 * is the disk itself. */
void simdisk_copied(struct simdisk *disk);
/* XORs one byte, durably. -ENOENT, -ERANGE. */
int simdisk_flip(struct simdisk *disk, const char *name, uint64_t offset, uint8_t mask);
/* The same on the medium only: reads see it that go past the cache, and all once the cache was dropped, or
 * is lost with the power. -ENOSPC: too many in one file. */
int simdisk_rot(struct simdisk *disk, const char *name, uint64_t offset, uint8_t mask);
/* Reading any of the bytes [from, to) is -EIO, time after time, until one write covers them all; one place in
 * a file. So is writing a part of a block of the file that has some of them, since Linux reads the rest of it
 * first. -ENOENT. */
int simdisk_spoil(struct simdisk *disk, const char *name, uint64_t from, uint64_t to);
/* Removes a file, durably. -ENOENT. */
int simdisk_remove(struct simdisk *disk, const char *name);

#endif
