/*
 * clock.c - see clock.h. */
#include "clock.h"

struct sim_clock sim_clock;
