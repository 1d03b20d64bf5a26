/*
 * unit_store.h - a store on a simulated disk for unit tests: opened without
 * threads, with small segments, so that a test can look at every byte, take
 * the power away and open again. What cannot fail in a sound engine aborts
 * with a line that says where; what a test is about, it checks itself. With $ENG_LAZY set stores are opened
 * as large ones are (image/rest.h): what a test expects of the moment after an opening may come later then.
 */
#ifndef ENGRAMFS_TESTS_UNIT_STORE_H
#define ENGRAMFS_TESTS_UNIT_STORE_H

#include "inside.h"
#include "need.h"
#include "simdisk.h"

#include <stdio.h>

#define UNIT_SEGMENT (64u << 10)

struct unit {
    struct simdisk *disk;
    struct eng *eng;        /* NULL while closed */
    struct eng_options opt; /* of the next opening */
    char why[256];          /* of the last opening that failed */
    unsigned warnings;      /* log lines of level warning and error */
    char last_warning[512];
    char all_warnings[4096]; /* the first of them since `warnings` was 0 */
};

/* A new store, open. `segment_size` 0: UNIT_SEGMENT. */
void unit_new(struct unit *u, uint64_t segment_size);
/* The same on a copy of another store's disk, closed. */
void unit_clone(struct unit *u, const struct unit *from);
void unit_done(struct unit *u); /* closes and frees */

int unit_try_open(struct unit *u);
void unit_open(struct unit *u);
void unit_close(struct unit *u); /* as an unmount does */
void unit_reopen(struct unit *u);
/* The process dies, and with `mode` other than SIM_KEEP_ALL the machine; the store is closed then. */
void unit_kill(struct unit *u, enum sim_survival mode, uint64_t seed);

/* ---- content -------------------------------------------------------------- */

/* Bytes that depend on seed only; the caller frees. */
uint8_t *unit_bytes(size_t size, uint64_t seed);
/* Creates a regular file (or directory) under the root; its inode. */
uint64_t unit_create(struct unit *u, const char *name);
uint64_t unit_mkdir(struct unit *u, const char *name);
/* Creates a file with unit_bytes(size, seed). */
uint64_t unit_file(struct unit *u, const char *name, size_t size, uint64_t seed);
void unit_write(struct unit *u, uint64_t ino, size_t size, uint64_t seed, uint64_t off);
uint64_t unit_lookup(struct unit *u, const char *name); /* 0: -ENOENT */
struct eng_attr unit_attr(struct unit *u, uint64_t ino);
/* Whether the file holds exactly unit_bytes(size, seed) (or these bytes). */
bool unit_holds(struct unit *u, uint64_t ino, size_t size, uint64_t seed);
bool unit_holds_bytes(struct unit *u, uint64_t ino, const void *bytes, size_t size);
/* Whether the first read of the file fails, and how: 0 or a negative errno. */
int unit_read_error(struct unit *u, uint64_t ino);

/* ---- looking inside ---------------------------------------------------------- */

struct eng_stats unit_stats(struct unit *u);
/* Number of problems that a check finds; prints them. */
uint64_t unit_problems(struct unit *u);
/* The n-th (from 0) piece of content of the file: false if there are fewer. */
bool unit_locator(struct unit *u, uint64_t ino, unsigned n, struct locator *ret_loc);
unsigned unit_extents(struct unit *u, uint64_t ino); /* their number */
/* Flips one byte of the payload that the locator names, `at` bytes into it. */
void unit_damage(struct unit *u, const struct locator *loc, uint32_t at);
/* Files on the disk whose name ends so; the one with the greatest name to `ret_last` (may be NULL). */
unsigned unit_files(struct unit *u, const char *suffix, char ret_last[64]);
/* Where the next batch will go. */
struct unit_place {
    uint32_t segment;
    uint64_t offset;
    char name[SEGMENT_NAME_SIZE];
};
struct unit_place unit_log_place(struct unit *u);
/* Where the batches of a segment's image end: zeros behind were allocated ahead (log.c). */
size_t unit_log_end(const uint8_t *image, size_t size);
uint64_t unit_file_size(struct unit *u, const char *name); /* 0 if it is missing */
/* All of the reserve is given back, as if others had taken it. */
void unit_spend_reserve(struct unit *u);
/* Of a closed store: takes the second copy of the log away, so that the log must speak for itself. */
void unit_without_echo(struct unit *u);
bool unit_has_segment(struct unit *u, uint32_t id);

#endif
