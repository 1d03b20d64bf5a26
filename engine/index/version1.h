/*
 * version1.h - tables as a checkpoint of format 1 has them, made those of today.
 *
 * Locking: none; before threads run. */
#ifndef ENGRAMFS_VERSION1_H
#define ENGRAMFS_VERSION1_H

#include "index/index.h"

#define INDEX_TABLES_V1 7u /* the first of those of today */

/* What such a checkpoint says of free records: one chain in each table, one list for each class of names. */
struct index_free_v1 {
    uint32_t heads[INDEX_TABLES_V1], counts[INDEX_TABLES_V1], names[NAMES_CLASSES];
};

/* Gives the inodes of loaded tables, all of them here, the layout of today. What contradicts itself stays a
 * contradiction. */
void index_convert_v1(struct index *idx);
/* The same, and makes chains of the chunks out of those of the tables, after names_loaded(). -EBADMSG,
 * -ENOMEM. */
int index_adopt_v1(struct index *idx, const struct index_free_v1 *v1);

#endif
