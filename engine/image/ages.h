/*
 * ages.h - when parts of the index were written last, as far as that is known without reading them: of what
 * was written since the opening a period of the pool tells (chunk_pool_marked()), of what is as it was loaded
 * the newest piece of its image. A piece that was moved to another file counts as written then.
 *
 * Locking: images.lock, shared. The index lock as said. */
#ifndef ENGRAMFS_AGES_H
#define ENGRAMFS_AGES_H

#include "core/eng.h"

/* What is not written since a batch. */
struct ages {
    uint64_t since;  /* that batch */
    uint64_t period; /* chunks born in it or before are older; 0: none is known to be */
    struct age {
        uint64_t file, seq; /* an image file, and the last batch of its checkpoint */
    } * files;              /* ascending */
    size_t n_files;
};

/* Under no lock; the caller ends it. A file that cannot be read counts as written just now. -ENOMEM. */
int ages_begin(struct eng *eng, uint64_t since, struct ages *ret_ages);
void ages_end(struct ages *ages); /* zeroed is fine */
/* Whether nothing of chunk c of the table was written after that batch. Under index_lock, shared. */
bool ages_is_older(struct eng *eng, const struct ages *ages, unsigned table, uint32_t c);

#endif
