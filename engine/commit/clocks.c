/*
 * clocks.c - see clocks.h. When batches were made is noted in spans, of which the ring has some for each
 * history_settle: a span counts as of its beginning, so that a state may be settled a little too early, and
 * never too late. What came before the ring is settled. */
#include "commit/clocks.h"

#include "index/moments.h"
#include "index/times.h"

#define SPANS 256u /* for twice history_settle */
#define SPAN_MIN_NS UINT64_C(1000000)
#define SECOND_NS UINT64_C(1000000000)
#define GAP_MAX INT64_C(86400)

struct clocks {
    struct span {
        uint64_t at, first; /* mono_ns(), batch */
    } spans[SPANS];         /* a ring */
    uint64_t now;           /* mono_ns() of the transaction, read once: each reading costs tens of ns */
    uint64_t n_spans;       /* all that there were */
    uint64_t unsettled;     /* the first of them that was not settled yet */
    uint64_t moment_at;     /* when the last moment began, 0: it has ended */
    uint64_t boot_at;       /* CLOCK_BOOTTIME, and that of people, when the store was opened */
    int64_t time_at;
    uint64_t age_at; /* how old it was then */
    bool has_age;
};

static uint64_t boot_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * SECOND_NS + (uint64_t)ts.tv_nsec;
}

int clocks_new(struct eng *eng)
{
    eng->clocks = calloc(1, sizeof *eng->clocks);
    if (!eng->clocks)
        return -ENOMEM;
    eng->clocks->boot_at = boot_ns();
    eng->clocks->time_at = now_ns();
    return 0;
}

void clocks_free(struct eng *eng)
{
    free(eng->clocks);
    eng->clocks = NULL;
}

/* ---- settled ------------------------------------------------------------------- */

static uint64_t settle_ns(const struct eng *eng)
{
    return atomic_load_explicit(&eng->config.history_settle, memory_order_relaxed) * SECOND_NS;
}

static const struct span *span_of(const struct clocks *c, uint64_t i)
{
    return &c->spans[i % SPANS];
}

static void note_batch(struct eng *eng)
{
    struct clocks *c = eng->clocks;
    uint64_t now = c->now, length = MAX_OF(SPAN_MIN_NS, settle_ns(eng) / (SPANS / 2));
    if (!c->n_spans || now - span_of(c, c->n_spans - 1)->at >= length)
        c->spans[c->n_spans++ % SPANS] = (struct span){now, log_seq(&eng->log)};
}

void clocks_look(struct eng *eng)
{
    eng->clocks->now = mono_ns();
}

uint64_t clocks_settled(struct eng *eng)
{
    struct clocks *c = eng->clocks;
    uint64_t now = c->now, settle = settle_ns(eng);
    uint64_t oldest = c->n_spans - MIN_OF(c->n_spans, (uint64_t)SPANS);
    c->unsettled = MAX_OF(c->unsettled, oldest);
    while (c->unsettled < c->n_spans && now - span_of(c, c->unsettled)->at >= settle)
        c->unsettled++;
    return c->unsettled < c->n_spans ? span_of(c, c->unsettled)->first - 1 : log_seq(&eng->log);
}

/* ---- age ------------------------------------------------------------------------- */

/* How old the store was when it was opened: as in its last moment, and the gap since. */
static void find_age(struct eng *eng)
{
    struct clocks *c = eng->clocks;
    const struct index *idx = &eng->idx;
    const struct moment_rec *last = index_moment(idx, index_moment_by(idx, UINT64_MAX));
    int64_t gap = 0;
    if (last && __builtin_sub_overflow(c->time_at, last->time, &gap))
        gap = 0;
    c->age_at = idx->s.age + (uint64_t)MIN_OF(MAX_OF(gap, INT64_C(0)) / (int64_t)SECOND_NS, GAP_MAX);
    c->has_age = true;
}

uint64_t clocks_age(struct eng *eng)
{
    struct clocks *c = eng->clocks;
    if (!c->has_age)
        find_age(eng);
    uint64_t age = c->age_at + (boot_ns() - c->boot_at) / SECOND_NS;
    return MIN_OF(MAX_OF(age, eng->idx.s.age), (uint64_t)UINT32_MAX);
}

/* ---- moments ---------------------------------------------------------------------- */

#define MOMENTS_LEFT (UINT32_C(1) << 20) /* records that snapshots have for themselves */

bool clocks_is_moment(struct eng *eng)
{
    const struct table *moments = &eng->idx.moments;
    uint64_t at = eng->clocks->moment_at;
    if (!eng->clocks->has_age)
        find_age(eng); /* while the last moment is one of an earlier opening */
    return (!at || eng->clocks->now - at >= MOMENT_NS) && moments->used < moments->limit - MOMENTS_LEFT;
}

void clocks_end_moment(struct eng *eng)
{
    eng->clocks->moment_at = 0;
}

struct op clocks_moment(struct eng *eng)
{
    return (struct op){.type = OP_MOMENT, .time = now_ns(), .age = clocks_age(eng)};
}

void clocks_note(struct eng *eng, const struct txn *txn)
{
    if (!eng_has_history(eng)) /* what comes before that is settled */
        return;
    note_batch(eng);
    for (size_t i = 0; i < txn->n_ops; i++)
        if (txn->ops[i].type == OP_MOMENT)
            eng->clocks->moment_at = eng->clocks->now;
}
