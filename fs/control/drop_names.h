/*
 * drop_names.h - has the kernel give up names of control files.
 *
 * The kernel keeps the entry of a name, and with it the inode, beyond the last
 * close, until that name is looked up again: FORGET would come when somebody
 * happens to do so. An inode that no name leads to goes with its last
 * descriptor. So these are given up:
 *   - .engram/hold whenever a file of it holds, since FORGET ends the hold;
 *   - each name in .engram/changes-since that was looked up, since there are
 *     as many as there are positions, and FORGET frees the text;
 *   - all in .engram/snapshots and at that nobody uses, as long as too many views of snapshots are in use or
 * some of those that were dropped: FORGET frees what they alone show. Time and again, since nobody tells the
 *     daemon when a file is closed.
 *   - the same in .engram/history and deleted, as long as too much memory is in use for nodes there.
 * And pages of files in snapshots that somebody has stored into through a mapping. */
#ifndef ENGRAMFS_CONTROL_DROP_NAMES_H
#define ENGRAMFS_CONTROL_DROP_NAMES_H

#include "session.h"

struct drop_names;

struct drop_names_options {
    struct session *session;
    fuse_ino_t folder;                        /* .engram */
    fuse_ino_t since_folder;                  /* changes-since in it */
    fuse_ino_t snapshots_folder;              /* and snapshots */
    bool (*is_held)(void *arg, uint64_t ino); /* has the kernel not forgotten it? Under no lock */
    void *arg;
};

/* NULL: no memory. */
struct drop_names *drop_names_new(const struct drop_names_options *opt);
void drop_names_free(struct drop_names *drop_names); /* after drop_names_stop() has said true */
/* Whatever is open as .engram/hold by now loses that name soon. -EAGAIN if there can be no thread for it. */
int drop_names_hold(struct drop_names *drop_names);
/* The same for the name `position` in changes-since, where inode `ino` is or will be, once the look-up is
 * answered. Also -ENFILE: too many wait for it. */
int drop_names_since(struct drop_names *drop_names, fuse_ino_t ino, uint64_t position);
/* What the kernel should give up now: ctl_views_wants_back(), and CTL_VIEWS_PATHS. */
unsigned drop_names_wanted(const struct session *session);
/* Gives up what nobody uses in .engram/snapshots, at, history and deleted, and does so again while
 * drop_names_wanted(), of which `wanted` is the answer. -EAGAIN. */
int drop_names_views(struct drop_names *drop_names, unsigned wanted);
/* The kernel gives up its pages of an inode, into which somebody has stored in vain. Of hundreds at once some
 * keep them as long as somebody uses the file. -EAGAIN. */
int drop_names_pages(struct drop_names *drop_names, fuse_ino_t ino);
/* True: from then on FUSE's session is not used. Requests must still be answered meanwhile, or the connection
 * have ended: the kernel waits for look-ups in that folder before it gives a name up.
 *
 * False: the kernel does not come back, since somebody keeps the folder's lock. What is given here is used
 * until the process ends: neither drop_names nor FUSE's session may be freed, nor does closing FUSE's
 * descriptor end the connection. */
bool drop_names_stop(struct drop_names *drop_names);

#endif
