/*
 * loader.h - puts memories, known by their ids, into a target: finds the place
 * of each id in the tree as it is, makes directories, fills batches.
 *
 * The place of an id is the same whenever the tree is the same, and a memory
 * that was stored under an escaped name is found there again, so importing
 * twice changes nothing:
 *   - a directory component is the directory of that name; where something
 *     else has the name (the memory `a` beside `a/b`) its escaped form;
 *   - a last component is the file of that name; where a directory has the
 *     name its escaped form. An escaped form that exists is kept in use.
 *   - Under an escaped name only a memory with the same true id is overwritten. */
#ifndef ENGRAMCTL_LOADER_H
#define ENGRAMCTL_LOADER_H

#include "ctl/transfer/batch.h"
#include "ctl/transfer/jsonl.h"
#include "ctl/transfer/target.h"

struct loader;

/* `umask` applies to what is created. `failed` is called for records refused later, in a batch. */
int loader_new(struct target *t, uint32_t umask,
               void (*failed)(void *arg, const struct eng_record *rec, uint64_t tag, int error), void *arg,
               struct loader **ret_loader);
void loader_free(struct loader *l);

/* To be called before each memory: returns the pool to parse it into. */
struct pool *loader_begin(struct loader *l);
/*
 * Stores a memory (at the latest in loader_flush()). Errors of this memory
 * alone: -EEXIST its name is taken by another one, -ENAMETOOLONG, …;
 * target_error_is_fatal() tells those after which nothing will succeed. */
int loader_add(struct loader *l, const struct memory *m, uint64_t tag);
int loader_flush(struct loader *l);

uint64_t loader_stored(const struct loader *l);
uint64_t loader_bytes(const struct loader *l);
/* Memories whose id had occurred before in this run. */
uint64_t loader_duplicates(const struct loader *l);

#endif
