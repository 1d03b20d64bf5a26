/*
 * simdisk_extents.c - the simulated disk as btrfs is: where a part of an extent is in use, all of it takes
 * room.
 *
 * Locks: those of simdisk.c. */
#include "simdisk_private.h"

#include <stdlib.h>

uint64_t sim_extents_end(const struct sim_node *node)
{
    return node->n_extents ? node->extents[node->n_extents - 1] : 0;
}

void sim_extent_add(struct sim_node *node, uint64_t end)
{
    if (end <= sim_extents_end(node))
        return;
    node->extents = realloc(node->extents, (node->n_extents + 1) * sizeof *node->extents);
    if (!node->extents)
        abort();
    node->extents[node->n_extents++] = end;
}

void sim_extents_cut(struct sim_node *node, uint64_t size)
{
    while (node->n_extents && (node->n_extents > 1 ? node->extents[node->n_extents - 2] : 0) >= size)
        node->n_extents--;
}

void simdisk_whole_extents(struct simdisk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    disk->whole_extents = true;
    for (struct sim_node *node = disk->nodes; node; node = node->next)
        sim_extent_add(node, node->now.size);
    pthread_mutex_unlock(&disk->mutex);
}
