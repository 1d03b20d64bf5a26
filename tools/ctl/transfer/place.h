/*
 * place.h - what a path leads to, looked up once. Whoever may rename on the way to it can make the path
 * lead elsewhere at any moment: a descriptor says what is decided about, and where something is done. */
#ifndef ENGRAMCTL_PLACE_H
#define ENGRAMCTL_PLACE_H

#include <limits.h>
#include <sys/stat.h>
#include <sys/types.h>

struct place {
    int fd;     /* O_PATH; -1: nothing has that name */
    int folder; /* O_PATH: the one in which it has its name, or would have; -1: it is "/" or "." */
    char name[NAME_MAX + 1]; /* in `folder` */
};

/* 0 as well if only the last name is missing. -ENOLINK: a link of somebody else's on the way, or at its end,
 * leads to what is not his: it is followed to what belongs to its owner only, if that is not root or us. */
int place_open(const char *path, struct place *ret);
/* Makes a missing one a folder, durable and ours. -EEXIST: there is one; -EREMCHG: somebody else's by now. */
int place_make(struct place *p, mode_t mode);
void place_close(struct place *p);
/* Opens what is no file and no folder, and has the attributes `st`, for writing. -EACCES: a FIFO of somebody
 * else's, who would read what is written. */
int place_open_special(const struct place *p, const struct stat *st);
/* Whether a folder is the one that `top` is of, or somewhere below it: 1, 0, or -errno. */
int place_is_below(int fd, const struct stat *top);

enum { PLACE_PATH = 32 };
/* A path that leads to where the descriptor is of, whatever has its name by now. Needs /proc. */
const char *place_path(int fd, char buf[PLACE_PATH]);
/* -ENOTEMPTY, or 0 if there is nothing in the folder. */
int place_check_empty(int fd);

#endif
