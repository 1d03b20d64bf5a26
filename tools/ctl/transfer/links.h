/*
 * links.h - which inodes of a source have come already, and under which name: so that the second name of an
 * inode becomes a hard link to the first. */
#ifndef ENGRAMCTL_LINKS_H
#define ENGRAMCTL_LINKS_H

#include "ctl/transfer/target.h"
#include "shared/buf.h"

struct links_first {
    uint64_t dev, ino;
    tdir dir;         /* the caller's: where `name` is */
    const char *name; /* owned by the table; NULL: a free slot */
    bool broken;      /* links_break(), or whatever its user says */
};

/* Zero-initialised is empty. */
struct links {
    struct links_first *table;
    size_t n, cap; /* cap is 0 or a power of two */
    struct pool names;
};

/*
 * 1: the inode of `attr` came before, *ret_first says where (the name lives as long as the table). 0: it did
 * not, or under a name that could not be made, and is noted now as (dir, name). -ENOMEM. */
int links_note(struct links *l, const struct target_attr *attr, tdir dir, const char *name,
               struct links_first *ret_first);
/* What is noted of the inode, or NULL. Until the next links_note(). */
struct links_first *links_find(struct links *l, const struct target_attr *attr);
/* The first name of a noted inode could not be made: there is nothing to link to. */
void links_break(struct links *l, const struct target_attr *attr);
void links_done(struct links *l);

#endif
