/*
 * times.c - see times.h. */
#include "index/times.h"

static const struct moment_rec *moment(const struct index *idx, uint32_t i)
{
    const struct moment_rec *m = table_get(&idx->moments, i);
    return m && m->batch ? m : NULL;
}

int64_t index_time_of(const struct index *idx, uint64_t batch)
{
    const struct moment_rec *newest = NULL, *m;
    int64_t later = TIME_UNKNOWN;
    for (uint32_t i = 0; i < idx->moments.used; i++) {
        m = moment(idx, i);
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
        const struct moment_rec *m = moment(idx, i);
        if (m && m->batch == batch && m->flags & MOMENT_SNAPSHOT)
            return true;
    }
    return false;
}
