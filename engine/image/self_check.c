/*
 * self_check.c - see self_check.h. Built with ENG_CHECKED only. */
#include "image/self_check.h"

#include "index/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void fail(const char *line)
{
    (void)fprintf(stderr, "self-check: %s\n", line);
    abort();
}

static void found(void *arg, const char *line)
{
    (void)arg;
    fail(line);
}

void self_check_view(const struct index *view)
{
    struct index idx = *view;
    int r = 0;
    idx.seg_slots = (struct idmap){0};
    for (unsigned i = 0; i < INDEX_TABLES && !r; i++)
        r = table_validate_free(index_table(&idx, i));
    if (!r)
        r = names_validate(&idx.names);
    if (!r)
        r = btree_validate(&idx.dirs);
    if (!r)
        r = btree_validate(&idx.extents);
    if (!r)
        r = index_map_segments(&idx);
    if (!r)
        (void)index_verify(&idx, false, found, NULL);
    idmap_done(&idx.seg_slots);
    if (r == -EBADMSG)
        fail("a table of the index is broken");
}

void self_check_memory(const struct index *idx)
{
    if (chunk_pool_overdrafts(idx->pool))
        fail("a change took chunks that it had not reserved");
}
