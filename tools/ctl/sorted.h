/*
 * sorted.h - puts any number of records in order in bounded memory: what there is too much of for that lies
 * in temporary files, in runs that are in order, and is merged at last. */
#ifndef ENGRAMCTL_SORTED_H
#define ENGRAMCTL_SORTED_H

#include <stddef.h>
#include <stdint.h>

struct sorted;

/* With so many bytes of records in memory, or so. NULL: no memory. */
struct sorted *sorted_new(size_t bytes);
/* NULL is fine. */
void sorted_free(struct sorted *take_sorted);
/* 0, -ENOMEM, or an error of the temporary files, which are where tmpfile(3) makes them. */
int sorted_add(struct sorted *s, uint64_t key, const void *data, size_t len);
/* Calls emit for each, by key, then by the bytes of the data, until it returns non-zero, which is then
 * returned; what is the same to the last byte once. Once only. */
int sorted_tell(struct sorted *s, int (*emit)(void *arg, uint64_t key, const void *data, size_t len),
                void *arg);

#endif
