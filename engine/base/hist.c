/*
 * hist.c - see hist.h. */
#include "base/hist.h"

const double eng_hist_bounds[ENG_HIST_BUCKETS - 1] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                      0.25,   0.5,   1,      2.5,   10,   60,    600};

void hist_add(struct eng_hist *hist, double seconds)
{
    unsigned i = 0;
    while (i < ENG_HIST_BUCKETS - 1 && seconds > eng_hist_bounds[i])
        i++;
    hist->count[i]++;
    hist->sum += seconds;
}
