/*
 * salvage.h - what can be made out of a store that is refused otherwise. */
#ifndef ENGRAMFS_SALVAGE_H
#define ENGRAMFS_SALVAGE_H

#include "core/eng.h"

/* Who a store is when neither copy of its superblock tells: from its segments. */
int salvage_identity(struct eng *eng, char why[256]);
/* An index with nothing but a root directory. */
int salvage_root(struct eng *eng);

#endif
