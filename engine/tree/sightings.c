/*
 * sightings.c - see sightings.h. */
#include "tree/sightings.h"

#include "index/actors.h"
#include "index/moments.h"
#include "index/times.h"

int sightings_of(const struct view *live, struct sightings *ret_sightings)
{
    uint64_t floor = live->idx->s.floor; /* 0: there never was a history */
    *ret_sightings = (struct sightings){.floor = floor ? floor : UINT64_MAX, .now = live->eng->published_seq};
    return index_snapshots(live->idx, &ret_sightings->snapshots, &ret_sightings->n_snapshots);
}

void sightings_done(struct sightings *sightings)
{
    free(sightings->snapshots);
}

uint64_t sighting_in(const struct sightings *sightings, uint64_t begin, uint64_t end)
{
    end = MIN_OF(end, sightings->now + 1);
    if (begin >= end)
        return 0;
    if (end - 1 >= sightings->floor)
        return end - 1;
    size_t i = snapshots_from(sightings->snapshots, sightings->n_snapshots, end);
    return i && sightings->snapshots[i - 1] >= begin ? sightings->snapshots[i - 1] : 0;
}

struct view sighting_view(const struct view *live, uint64_t at)
{
    struct view view = *live;
    view.is_live = false;
    view.at = at;
    view.is_exact = index_is_snapshot(live->idx, at);
    view.time = index_time_of(live->idx, at);
    return view;
}

void sighting_actor(const struct index *idx, uint32_t number, struct eng_actor *ret_actor)
{
    const struct actor_rec *actor = index_actor(idx, number);
    *ret_actor = (struct eng_actor){.known = actor != NULL};
    if (!actor)
        return;
    ret_actor->uid = actor->uid;
    memcpy(ret_actor->process, actor->name, sizeof actor->name);
}
