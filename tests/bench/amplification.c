/*
 * amplification.c - how much is written for each byte that a user writes: overwrites of memories of one size
 * in segments, whose victims are chosen by three rules. A simulation of segments and live counts only; the
 * cost and benefit rule is the engine's own code (engine/policy.c).
 *
 *   amplification [SVG [JSON]]     prints a table; draws the curves to SVG, writes the figures to JSON
 *
 * The store is kept at a utilisation: when the segments hold more than live / utilisation, victims are
 * emptied:
 *   - all: every segment with garbage, as a compaction that a person asks for;
 *   - greedy: the one with the least live bytes, one at a time, until there is room;
 *   - cost-benefit: the first of policy_order(), one at a time, until there is room;
 *   - thresholds: as many of policy_order() as policy_enough() says, as a compaction by thresholds.
 * Survivors go to segments of their own, as in engine/compact.c. Loads: each memory as likely as any other,
 * and nine of ten writes to a tenth of the memories. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rng.h"
#include "upkeep/policy.h"

enum { PER_SEGMENT = 512, MEMORIES = PER_SEGMENT * 256, SEGMENTS_MAX = 1024, WARM = 8, MEASURED = 4 };
enum rule { ALL, GREEDY, COST_BENEFIT, THRESHOLDS, RULES };
enum load { UNIFORM, SKEWED, LOADS };
static const char *const rule_names[RULES] = {"all", "greedy", "cost-benefit", "thresholds"};
static const char *const load_names[LOADS] = {"uniform", "90/10"};
static const int utilisations[] = {50, 55, 60, 65, 70, 75, 80, 85, 90, 93};
enum { POINTS = sizeof(utilisations) / sizeof *utilisations };

/* Memories in the order in which they were appended; dead ones stay. total 0: free. */
struct seg {
    uint32_t memory[PER_SEGMENT];
    uint32_t total, live;
    uint64_t last_write, last_death;
};

struct store {
    struct seg segs[SEGMENTS_MAX];
    uint32_t seg_of[MEMORIES], slot_of[MEMORIES];
    uint32_t fresh, survivors; /* segments that are being filled */
    uint64_t total, limit;     /* memories in all segments, live and dead; above which victims are emptied */
    uint64_t written, moved, clock;
};

static void fail(const char *what)
{
    (void)fprintf(stderr, "amplification: %s\n", what);
    exit(1);
}

static uint32_t new_segment(struct store *s)
{
    for (uint32_t i = 1; i < SEGMENTS_MAX; i++)
        if (!s->segs[i].total && i != s->fresh && i != s->survivors)
            return i;
    fail("no free segment");
    return 0;
}

static void append(struct store *s, uint32_t *active, uint32_t memory)
{
    if (!*active || s->segs[*active].total == PER_SEGMENT)
        *active = new_segment(s);
    struct seg *seg = &s->segs[*active];
    s->seg_of[memory] = *active;
    s->slot_of[memory] = seg->total;
    seg->memory[seg->total++] = memory;
    seg->live++;
    s->total++;
}

static void kill(struct store *s, uint32_t memory)
{
    struct seg *seg = &s->segs[s->seg_of[memory]];
    seg->live--;
    seg->last_death = s->clock;
}

static void empty_segment(struct store *s, uint32_t id)
{
    struct seg *seg = &s->segs[id];
    for (uint32_t i = 0; i < seg->total; i++) {
        uint32_t memory = seg->memory[i];
        if (s->seg_of[memory] != id || s->slot_of[memory] != i)
            continue;
        append(s, &s->survivors, memory);
        s->moved++;
    }
    s->total -= seg->total;
    *seg = (struct seg){0};
}

/* Segments that hold garbage and are not being filled. */
static size_t candidates(const struct store *s, struct candidate *c)
{
    size_t n = 0;
    for (uint32_t i = 1; i < SEGMENTS_MAX; i++) {
        const struct seg *seg = &s->segs[i];
        uint64_t last = seg->last_death > seg->last_write ? seg->last_death : seg->last_write;
        if (seg->live < seg->total && i != s->fresh && i != s->survivors)
            c[n++] = (struct candidate){i, seg->total, seg->live, s->clock - last};
    }
    return n;
}

static int by_live(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->live != y->live ? (x->live > y->live) - (x->live < y->live) : (x->id > y->id) - (x->id < y->id);
}

static void make_room(struct store *s, enum rule rule)
{
    static struct candidate c[SEGMENTS_MAX];
    while (s->total > s->limit) {
        size_t n = candidates(s, c);
        if (!n)
            fail("no victim");
        if (rule == GREEDY)
            qsort(c, n, sizeof *c, by_live);
        else
            n = policy_order(c, n);
        double garbage = policy_fragmentation(s->limit, MEMORIES);
        size_t k = rule == ALL          ? n
                   : rule == THRESHOLDS ? policy_enough(c, n, s->total, MEMORIES, POLICY_LEAVE * garbage)
                                        : 1;
        for (size_t i = 0; i < k; i++)
            empty_segment(s, c[i].id);
    }
}

static void overwrite(struct store *s, uint32_t memory, enum rule rule)
{
    s->clock++;
    kill(s, memory);
    append(s, &s->fresh, memory);
    s->segs[s->fresh].last_write = s->clock;
    s->written++;
    make_room(s, rule);
}

static double amplification(enum rule rule, enum load load, int percent)
{
    struct store *s = calloc(1, sizeof *s);
    uint64_t rng = 1;
    if (!s)
        fail("no memory");
    s->limit = (uint64_t)MEMORIES * 100 / (uint64_t)percent;
    for (uint32_t i = 0; i < MEMORIES; i++)
        append(s, &s->fresh, i);
    for (uint64_t i = 0; i < (uint64_t)(WARM + MEASURED) * MEMORIES; i++) {
        if (i == (uint64_t)WARM * MEMORIES)
            s->written = s->moved = 0;
        bool hot = load == SKEWED && rng_below(&rng, 10) < 9;
        uint64_t m = load == UNIFORM ? rng_below(&rng, MEMORIES)
                     : hot           ? rng_below(&rng, MEMORIES / 10)
                                     : MEMORIES / 10 + rng_below(&rng, MEMORIES - MEMORIES / 10);
        overwrite(s, (uint32_t)m, rule);
    }
    double result = (double)(s->written + s->moved) / (double)s->written;
    free(s);
    return result;
}

/* ---- output --------------------------------------------------------------------- */

static double figures[LOADS][RULES][POINTS];

static double place_x(int percent)
{
    return 60 + (percent - 50) * 12.0;
}

static double place_y(double amplification)
{
    return 340 - (amplification > 15 ? 14 : amplification - 1) * 22.0;
}

static void draw(const char *path)
{
    static const char *const colours[RULES] = {"#888888", "#c0392b", "#1f6fb2", "#2e8b57"};
    FILE *f = fopen(path, "w");
    if (!f)
        fail(path);
    (void)fprintf(
        f,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"680\" height=\"400\" font-family=\"sans-serif\" "
        "font-size=\"12\">\n<rect width=\"680\" height=\"400\" fill=\"white\"/>\n"
        "<text x=\"60\" y=\"18\">bytes written for each byte of the user, by utilisation in percent; "
        "solid: uniform, dashed: 90/10</text>\n");
    for (int a = 1; a <= 15; a += 2)
        (void)fprintf(f,
                      "<line x1=\"60\" x2=\"600\" y1=\"%.0f\" y2=\"%.0f\" stroke=\"#ddd\"/><text x=\"36\" "
                      "y=\"%.0f\">%d</text>\n",
                      place_y(a), place_y(a), place_y(a) + 4, a);
    for (int p = 50; p <= 95; p += 5)
        (void)fprintf(f, "<text x=\"%.0f\" y=\"360\">%d</text>\n", place_x(p) - 7, p);
    for (int l = 0; l < LOADS; l++) {
        for (int r = 0; r < RULES; r++) {
            (void)fprintf(f, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\"%s points=\"",
                          colours[r], l == SKEWED ? " stroke-dasharray=\"6 4\"" : "");
            for (int p = 0; p < POINTS; p++)
                (void)fprintf(f, "%.1f,%.1f ", place_x(utilisations[p]), place_y(figures[l][r][p]));
            (void)fprintf(f, "\"/>\n");
        }
    }
    for (int r = 0; r < RULES; r++)
        (void)fprintf(f, "<text x=\"%d\" y=\"385\" fill=\"%s\">%s</text>\n", 60 + r * 120, colours[r],
                      rule_names[r]);
    (void)fprintf(f, "</svg>\n");
    if (fclose(f))
        fail(path);
}

static void write_json(const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f)
        fail(path);
    (void)fprintf(f, "[");
    for (int l = 0; l < LOADS; l++)
        for (int r = 0; r < RULES; r++)
            for (int p = 0; p < POINTS; p++)
                (void)fprintf(
                    f,
                    "%s\n {\"load\": \"%s\", \"rule\": \"%s\", \"utilisation\": %d, \"amplification\": %.3f}",
                    l + r + p ? "," : "", load_names[l], rule_names[r], utilisations[p], figures[l][r][p]);
    (void)fprintf(f, "\n]\n");
    if (fclose(f))
        fail(path);
}

int main(int argc, char **argv)
{
    printf("%-9s %-13s", "load", "rule");
    for (int p = 0; p < POINTS; p++)
        printf(" %5d%%", utilisations[p]);
    printf("\n");
    for (int l = 0; l < LOADS; l++) {
        for (int r = 0; r < RULES; r++) {
            printf("%-9s %-13s", load_names[l], rule_names[r]);
            for (int p = 0; p < POINTS; p++) {
                figures[l][r][p] = amplification((enum rule)r, (enum load)l, utilisations[p]);
                printf(" %6.2f", figures[l][r][p]);
                (void)fflush(stdout);
            }
            printf("\n");
        }
    }
    if (argc > 1)
        draw(argv[1]);
    if (argc > 2)
        write_json(argv[2]);
    return 0;
}
