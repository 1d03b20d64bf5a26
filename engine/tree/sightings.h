/*
 * sightings.h - of which batches there are views (eng_view_open()), and what is told of a change that one of
 * them shows.
 *
 * Locking: in a section of the live view, but for sighting_in(). */
#ifndef ENGRAMFS_SIGHTINGS_H
#define ENGRAMFS_SIGHTINGS_H

#include "tree/view.h"

struct sightings {
    uint64_t floor, now; /* of each batch between them, */
    uint64_t *snapshots; /* and of these */
    size_t n_snapshots;
};

/* -ENOMEM. The caller frees with sightings_done(). */
int sightings_of(const struct view *live, struct sightings *ret_sightings);
void sightings_done(struct sightings *sightings);
/* The newest batch of [begin, end) of which there is a view, 0 none. */
uint64_t sighting_in(const struct sightings *sightings, uint64_t begin, uint64_t end);
/* What a view of that batch is. */
struct view sighting_view(const struct view *live, uint64_t at);
/* The actor of that number in the table, 0 unknown. */
void sighting_actor(const struct index *idx, uint32_t number, struct eng_actor *ret_actor);

#endif
