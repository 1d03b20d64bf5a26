/*
 * persons.h - who stands behind a user id: whoever has subordinate ids (newuidmap(1)) is as many users as he
 * likes to the kernel, and one to what is shared out by user. */
#ifndef ENGRAMFS_FS_PERSONS_H
#define ENGRAMFS_FS_PERSONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { PERSONS_RANGES = 4096, PERSONS_NAME = 64 };

struct persons {
    size_t n;
    struct persons_range {
        uint32_t first, count;
        uint32_t person; /* the first id of the first range of the same owner */
        char owner[PERSONS_NAME];
    } ranges[PERSONS_RANGES];
};

/* Takes the lines of subuid(5); what is none is left out, as is what is beyond PERSONS_RANGES. */
void persons_parse(FILE *file, struct persons *ret_persons);
/* A number for the owner of that id: the id itself if it is nobody's subordinate id. Root is root. */
uid_t persons_find(const struct persons *persons, uid_t uid);

/* The same by /etc/subuid as it is now, or was a second ago. Any thread. */
uid_t person_of(uid_t uid);

#endif
