/*
 * policy.c - see policy.h. */
#include "upkeep/policy.h"

#include <stdlib.h>

static double benefit(const struct candidate *c)
{
    if (c->live >= c->total)
        return -1;
    double u = (double)c->live / (double)c->total;
    return (1 - u) * (1 + (double)c->age) / (1 + u);
}

static int by_benefit(const void *a, const void *b)
{
    double x = benefit(a), y = benefit(b);
    if (x != y)
        return x < y ? 1 : -1;
    uint32_t i = ((const struct candidate *)a)->id, j = ((const struct candidate *)b)->id;
    return (i > j) - (i < j);
}

size_t policy_order(struct candidate *c, size_t n)
{
    size_t worth = 0;
    if (n)
        qsort(c, n, sizeof *c, by_benefit);
    while (worth < n && c[worth].live < c[worth].total)
        worth++;
    return worth;
}

double policy_fragmentation(uint64_t total, uint64_t live)
{
    return total ? (double)(total - live) / (double)total : 0;
}

size_t policy_enough(const struct candidate *c, size_t n, uint64_t total, uint64_t live, double leave)
{
    size_t enough = 0;
    for (; enough < n && policy_fragmentation(total, live) > leave; enough++)
        total -= c[enough].total - c[enough].live;
    return enough;
}

size_t policy_for_goal(const struct candidate *c, size_t n, uint64_t goal)
{
    size_t enough = 0;
    for (uint64_t garbage = 0; enough < n && garbage < goal; enough++)
        garbage += c[enough].total - c[enough].live;
    return enough;
}

bool policy_wanted(uint64_t total, uint64_t live, double min_fragmentation, uint64_t min_bytes)
{
    return total > min_bytes && policy_fragmentation(total, live) > min_fragmentation;
}
