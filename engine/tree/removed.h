/*
 * removed.h - names of a folder that were removed and are kept, of inodes that have no name now.
 *
 * Locking: in a section of the live view, or under log.lock. */
#ifndef ENGRAMFS_REMOVED_H
#define ENGRAMFS_REMOVED_H

#include "index/lives.h"
#include "tree/sightings.h"

#define REMOVED_CACHE 4096u
#define REMOVED_INODES 64u
#define REMOVED_NUMBERS 262144u /* that are noted at once */

struct removed_look {
    struct view live;
    struct sightings sightings;
    uint32_t dir;     /* slot */
    bool with_linked; /* also what is there by another name, and was all the time since (a hard link) */
    /* What was found of inodes in this section, by slot: each may be asked for as often as it had names. */
    struct removed_inode {
        uint32_t slot;   /* 0: none */
        uint64_t life;   /* since when it had a name all the time, until it lost the last one */
        uint64_t oldest; /* with which batch the oldest state begins that is kept */
    } inodes[REMOVED_INODES];
    /* REMOVED_CACHE places, by hash of folder and text: what was found of names, of which folders have the
     * same again and again. NULL: nothing is noted. */
    struct removed_noted {
        uint64_t hash, newest;
        uint64_t *numbers; /* of all of that name, which rise */
        size_t n;
    } * noted;
    size_t n_numbers; /* in all places */
};

/* With places for what is found. -ENOMEM. */
int removed_note(struct removed_look *look);
/* Another section begins: what was found of inodes may not be so any more. */
void removed_begin(struct removed_look *look);
void removed_done(struct removed_look *look);

/* The batch of which a view shows what was removed; 0: that life is none of such a name, or is not kept. An
 * inode that came back and was removed again was removed the last time alone. */
uint64_t removed_sight(struct removed_look *look, const struct name_life *life);
/* The batch that removed the newest one of that name; 0: none did, or a folder has the name now. */
int removed_newest(struct removed_look *look, const char *name, size_t len, uint64_t *ret_number);
/* Whether none of that name but the newest of all was removed later than that one in the same millisecond, of
 * a look with places. */
int removed_last_then(struct removed_look *look, const char *name, size_t len, uint64_t number,
                      bool *ret_last);
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
