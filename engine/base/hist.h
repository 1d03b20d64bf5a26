/*
 * hist.h - histograms of durations, as Prometheus counts them. The caller holds the lock. */
#ifndef ENGRAMFS_HIST_H
#define ENGRAMFS_HIST_H

#include "admin.h"

/* Adds one duration of so many seconds. */
void hist_add(struct eng_hist *hist, double seconds);

#endif
