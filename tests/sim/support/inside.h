/*
 * inside.h - what tests see of the inside of an open store: the parts that
 * they look at or drive, and nothing else of the engine. */
#ifndef TESTS_INSIDE_H
#define TESTS_INSIDE_H

#include "commit/atimes.h"
#include "commit/commit.h"
#include "commit/feed.h"
#include "commit/flush.h"
#include "commit/orphans.h"
#include "commit/refs.h"
#include "commit/retire.h"
#include "commit/summaries.h"
#include "commit/walk.h"
#include "core/damage.h"
#include "core/eng.h"
#include "core/keepers.h"
#include "core/reserve.h"
#include "core/totals.h"
#include "image/checkpoint.h"
#include "image/freeze.h"
#include "image/recover.h"
#include "image/rest.h"
#include "image/self_check.h"
#include "store/store.h"
#include "upkeep/full_disk.h"
#include "upkeep/runner.h"
#include "upkeep/workers.h"

#endif
