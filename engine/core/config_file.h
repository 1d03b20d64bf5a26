/*
 * config_file.h - the text of the configuration in its two files. People edit `config`, so it has no sum;
 * `config.copy` has one, of its text and of the time at which `config` was written. Where the two differ and
 * `config` was not written since, it is damaged, and the copy stands in for it; otherwise somebody has edited
 * it.
 *
 * Locking: config_file_lock of struct eng: one writer of the files at a time. */
#ifndef ENGRAMFS_CONFIG_FILE_H
#define ENGRAMFS_CONFIG_FILE_H

#include "core/report.h"
#include "disk/io.h"

#define CONFIG_FILE "config"
#define CONFIG_COPY "config.copy"
#define CONFIG_MAX 65536u /* bytes of text */
#define CONFIG_COPY_MAX (CONFIG_MAX + 128u)
extern const char *const config_names[2];

enum config_sight {
    CONFIG_WHOLE,    /* as its copy has it; or both are missing */
    CONFIG_EDITED,   /* another, or the first, text; its copy is to follow */
    CONFIG_DAMAGED,  /* damaged, or missing: the copy stands in */
    CONFIG_COPY_BAD, /* the copy is damaged, or missing */
    CONFIG_COPY_OLD  /* the copy has the same text, of another time */
};

struct config_text {
    char *text; /* NUL-terminated; the reader's to free. NULL: there is none */
    size_t size;
    enum config_sight sight;
    int error; /* of the file that is bad: -ENOENT: it is missing */
};

/* Reads both, from which the text comes that is to be believed. Errors: those of reading `config`, where the
 * copy does not help: -ENOENT, -EFBIG among them. `store`: superblock_tag(). */
int config_file_read(struct eng_io *io, uint64_t store, struct config_text *ret);
/* Makes good what config_file_read() saw, and tells; read_only: tells only. */
void config_file_mend(struct eng_io *io, uint64_t store, struct report *report, const struct config_text *t,
                      bool read_only);
/* Replaces both, `config` first: after an error it may be new already, and its copy of before. */
int config_file_write(struct eng_io *io, uint64_t store, const char *text, size_t size);
/* Whether these bytes are a whole copy of this store; of the text in it. -EBADMSG. */
int config_copy_check(const char *data, size_t size, uint64_t store, size_t *ret_at);

#endif
