/*
 * times.c - see times.h. */
#include "index/times.h"

#include "index/moments.h"

int64_t index_time_of(const struct index *idx, uint64_t batch)
{
    const struct moment_rec *newest = NULL, *m;
    int64_t later = TIME_UNKNOWN;
    for (uint32_t i = 0; i < idx->moments.used; i++) {
        m = index_moment(idx, i);
        if (m && m->batch > batch)
            later = m->time < later ? m->time : later;
        else if (m && (!newest || m->batch > newest->batch))
            newest = m;
    }
    if (!newest)
        return TIME_UNKNOWN;
    return newest->time < later ? newest->time : later;
}

bool index_is_snapshot(const struct index *idx, uint64_t batch)
{
    for (uint32_t i = 0; i < idx->moments.used && idx->s.newest_snapshot; i++) {
        const struct moment_rec *m = index_snapshot(idx, i);
        if (m && m->batch == batch)
            return true;
    }
    return false;
}
