/*
 * removed.h - names of a folder that were removed and are kept, of inodes that have no name now.
 *
 * Locking: in a section of the live view, or under log.lock. */
#ifndef ENGRAMFS_REMOVED_H
#define ENGRAMFS_REMOVED_H

#include "index/lives.h"
#include "tree/sightings.h"

#define REMOVED_CACHE 4096u

struct removed_look {
    struct view live;
    struct sightings sightings;
    uint32_t dir;     /* slot */
    bool with_linked; /* also what is there by another name, and was all the time since (a hard link) */
    /* REMOVED_CACHE places, by hash of folder and text: what was found of names, of which folders have the
     * same again and again. NULL: nothing is noted. */
    struct removed_noted {
        uint64_t hash, newest;
    } * noted;
};

/* The batch of which a view shows what was removed; 0: that life is none of such a name, or is not kept. An
 * inode that came back and was removed again was removed the last time alone. */
uint64_t removed_sight(const struct removed_look *look, const struct name_life *life);
/* The batch that removed the newest one of that name; 0: none did, or a folder has the name now. */
int removed_newest(struct removed_look *look, const char *name, size_t len, uint64_t *ret_number);
/* The one that was removed in that batch; 0: the newest. -ENOENT. */
int removed_find(struct removed_look *look, const char *name, size_t len, uint64_t number,
                 struct name_life *ret_life);
struct removed_lister {
    struct removed_look *look;
    uint64_t cookie; /* what lies behind it is listed; moves on with what was looked at */
    unsigned looks;  /* at so many groups of names more */
    int (*emit)(void *arg, const struct name_life *life, uint64_t sight, const char *text, size_t len);
    void *arg;
    int stopped;
};
/* Calls emit for all of the folder behind `cookie` until it returns non-zero, which is then returned; that
 * one counts as not looked at. The text is the index's. *ret_more: looks were used up. -EBADMSG. */
int removed_each(struct removed_lister *lister, bool *ret_more);

#endif
