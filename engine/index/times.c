/*
 * times.c - see times.h. */
#include "index/times.h"

#include "index/moments.h"

#include "base/fault.h"
#include "base/util.h"

/* Places of moments in their chunks. */
struct span {
    uint32_t from, end;
};

static struct span chunk_span(const struct index *idx, uint32_t c)
{
    uint32_t n = 1u << idx->moments.chunk_shift, from = c << idx->moments.chunk_shift;
    return (struct span){MAX_OF(from, 1u), MIN_OF(from + n, idx->moments.used)};
}

static uint64_t first_of(const struct moment_sum *sum)
{
    return atomic_load_explicit(&sum->first, memory_order_relaxed);
}

static int64_t least_of(const struct moment_sum *sum)
{
    return atomic_load_explicit(&sum->least, memory_order_relaxed);
}

/* ---- which moment ----------------------------------------------------------------- */

enum by { BY_BATCH, BY_TIME, BY_AGE };

static bool chunk_may_have(const struct moment_sum *sum, enum by by, uint64_t value)
{
    if (by == BY_BATCH)
        return first_of(sum) <= value;
    if (by == BY_TIME)
        return least_of(sum) <= (int64_t)value;
    return atomic_load_explicit(&sum->age, memory_order_relaxed) <= value;
}

static bool is_by(const struct moment_rec *m, enum by by, uint64_t value)
{
    if (by == BY_BATCH)
        return m->batch <= value;
    return by == BY_TIME ? m->time <= (int64_t)value : m->age <= value;
}

static uint32_t find_last(const struct index *idx, enum by by, uint64_t value)
{
    struct moment_sum own;
    for (uint32_t c = idx->moments.n_chunks; c-- > 0;) {
        if (!chunk_may_have(moments_sum(idx, c, &own), by, value))
            continue;
        struct span span = chunk_span(idx, c);
        for (uint32_t i = span.end; i-- > span.from;) {
            const struct moment_rec *m = index_moment(idx, i);
            if (m && is_by(m, by, value))
                return i;
        }
    }
    return 0;
}

uint32_t index_moment_by(const struct index *idx, uint64_t batch)
{
    return find_last(idx, BY_BATCH, batch);
}

uint32_t index_moment_at(const struct index *idx, int64_t time)
{
    const struct moment_rec *m;
    uint32_t first = 0;
    for (uint32_t i = 1; MUTANT(FIRST_MOMENT) && i < idx->moments.used; i++)
        if ((m = index_moment(idx, i)) && m->time > time)
            return first;
        else
            first = m ? i : first;
    return find_last(idx, BY_TIME, (uint64_t)time);
}

uint32_t index_moment_of_age(const struct index *idx, uint32_t age)
{
    return find_last(idx, BY_AGE, age);
}

uint64_t index_next_moment(const struct index *idx, uint32_t i)
{
    const struct moment_rec *m = NULL;
    struct moment_sum own;
    struct span span = chunk_span(idx, i >> idx->moments.chunk_shift);
    for (i++; i < span.end && !m; i++)
        m = index_moment(idx, i);
    if (m)
        return m->batch;
    for (uint32_t c = (i - 1) / (1u << idx->moments.chunk_shift) + 1; c < idx->moments.n_chunks; c++) {
        uint64_t first = first_of(moments_sum(idx, c, &own));
        if (first != UINT64_MAX)
            return first;
    }
    return UINT64_MAX;
}

bool index_is_snapshot(const struct index *idx, uint64_t batch)
{
    const struct moment_rec *m =
        idx->s.newest_snapshot ? index_moment(idx, index_moment_by(idx, batch)) : NULL;
    return m && m->batch == batch && m->flags & MOMENT_SNAPSHOT;
}

/* ---- when ---------------------------------------------------------------------------- */

int64_t index_time_of(const struct index *idx, uint64_t batch)
{
    struct moment_sum own;
    int64_t later = TIME_UNKNOWN;
    for (uint32_t c = idx->moments.n_chunks; c-- > 0;) {
        const struct moment_sum *sum = moments_sum(idx, c, &own);
        if (first_of(sum) > batch) { /* or it has none */
            later = MIN_OF(later, least_of(sum));
            continue;
        }
        struct span span = chunk_span(idx, c);
        for (uint32_t i = span.end; i-- > span.from;) {
            const struct moment_rec *m = index_moment(idx, i);
            later = m ? MIN_OF(later, m->time) : later;
            if (m && m->batch <= batch)
                return later;
        }
    }
    return TIME_UNKNOWN;
}
