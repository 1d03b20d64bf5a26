/*
 * trust.h - what root takes over from a source that somebody else answers for.
 *
 * The owner of a store, or of a mount, decides what is in it: programs that are root's and run as root,
 * devices, attributes that the system guards. To a tree of his own files the kernel would have kept him from
 * adding those. So root does not make them out of a store or mount that is not root's, unless it is told to:
 * set-ID bits but of what is the owner's own, devices, trusted.* and security.*. */
#ifndef ENGRAMCTL_TRUST_H
#define ENGRAMCTL_TRUST_H

#include "ctl/transfer/target_ops.h"

/* A backup has a note of what root's copy of somebody's store does not show otherwise: a line with user and
 * group, behind the first one. */
#define TRUST_NOTE ".engram-past"
#define TRUST_NOTE_PART TRUST_NOTE ".part"
enum { TRUST_NOTE_MAX = 4096 };
/* The line for what is copied from `t`, "" if there is none; returns its length. */
int trust_owner_line(const struct target *t, char *line, size_t size);
/* Makes the note of that folder durable. 0 or -errno. */
int trust_write_note(int folder, const char *text, size_t len);
/* Of a new store that root makes of `t`, whole: the note, if one is needed. 0 or -errno. */
int trust_hand_on(const struct target *t, int folder);

/* Notes who answers for `t`: whoever can write to the folder of its store, or to that of which it is a
 * backup. -1: nobody knows where that is. */
void trust_note_folder(struct target *t, int folder);
/* And, of a mount, who has mounted it. */
void trust_note_user(struct target *t, uid_t user);

/* `t` is to be read, by whoever runs this; `all`: he takes what there is. */
void trust_begin(struct target *t, bool all);
/* Takes out of the attributes of an entry of `t` what is not taken over. NULL: nothing, else what to tell. */
const char *trust_limit(const struct target *t, struct target_attr *attr);
/* Whether the entry as a whole is not taken over, likewise. */
const char *trust_refuses(const struct target *t, const struct target_attr *attr);
/* Whether the attribute is not. */
bool trust_has_not(const struct target *t, const char *name);
extern const char trust_why_attribute[];

#endif
