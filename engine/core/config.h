/*
 * config.h - configuration, kept as key=value lines in the file "config".
 *
 * Locking: values are atomic and read without a lock. config_file_lock of struct eng: one writer of the file
 * at a time. */
#ifndef ENGRAMFS_CONFIG_H
#define ENGRAMFS_CONFIG_H

#include "core/config_file.h"
#include "core/report.h"
#include "disk/io.h"

/* Bytes for a value as text, with its NUL: more than any value in range needs. */
#define CONFIG_VALUE_SIZE 256u

/* A text that is read without a lock: who reads it while it is set may see some of both. */
struct config_text_value {
    _Atomic uint64_t words[CONFIG_VALUE_SIZE / sizeof(uint64_t)];
};

struct config {
    _Atomic double compact_min_fragmentation, startup_fragmentation;
    _Atomic uint64_t compact_min_bytes, compact_rate, auto_compact;
    _Atomic uint64_t checkpoint_bytes, checkpoint_ops, commit_ms;
    _Atomic uint64_t history, history_settle; /* seconds */
    _Atomic uint64_t history_versions, history_bytes;
    struct config_text_value history_ignore; /* names of fields, with commas between them */
    /* Somebody has said whether there is a history. Else it is as it was: what a file that was lost, or
     * cannot be understood, does not say is no reason to let go of what is kept. */
    _Atomic bool history_is_known;
};

void config_defaults(struct config *config);
/* Parses and sets one value: -ENOENT unknown key, -EINVAL. */
int config_set_value(struct config *config, const char *name, const char *value);
/* The name of key i, NULL behind the last; and its value as text. */
const char *config_key(size_t i);
void config_get_value(const struct config *config, size_t i, char out[CONFIG_VALUE_SIZE]);
/* Whether the value of key i counts, and is to be stored. */
bool config_says(const struct config *config, size_t i);
/* Whether the xattr is one of the fields that history_ignore names: FIELD is user.engram.FIELD; a name with a
 * dot in it is a whole one. */
bool config_ignores(const struct config *config, const char *xattr, size_t len);
/* The value of a key that is a number; 0 if there is none of that name. */
uint64_t config_number(const struct config *config, const char *name);
/* Reads what is stored, on top of the defaults. What cannot be understood leaves a value as it is in `now`,
 * or (NULL) at its default, and `report` (may be NULL) is told so. Unless read_only, the one file is made
 * good from the other. Errors: those of reading the file. `store`: superblock_tag(). */
int config_read(struct eng_io *io, uint64_t store, struct report *report, bool read_only,
                const struct config *now, struct config *ret_config);
/* Replaces the files by these values. */
int config_write(struct eng_io *io, uint64_t store, const struct config *config);

#endif
