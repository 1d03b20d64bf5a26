/*
 * options.h - the command line of engramfs. */
#ifndef ENGRAMFS_FS_OPTIONS_H
#define ENGRAMFS_FS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Who may read the past: nobody, owners of what they read, whoever its modes let in. */
enum past_mode { PAST_OWNER, PAST_OFF, PAST_ON };
enum ctl_mode { CTL_HIDDEN, CTL_VISIBLE, CTL_OFF };

struct fs_options {
    char *store;      /* owned; as given */
    char *mountpoint; /* owned; as given */
    char *fsname;     /* owned; NULL: the store's path */
    /* owned; comma-separated options that the kernel or fusermount3 takes; "" if none */
    char *mount_flags;
    bool help, version;
    bool foreground, debug, single;
    bool read_only, allow_other, noperm, noxattr, writeback, noatime;
    bool sync, dirsync;
    bool refuses_conflicts; /* -o conflicts=refuse */
    enum ctl_mode ctl;
    enum past_mode past;
    bool has_ctl_gid;
    gid_t ctl_gid;
    int64_t commit_ms;     /* 0: the default */
    uint64_t segment_size; /* 0: the default */
};

#define FS_WHY_MAX 512

/*
 * Decodes the command line. On failure returns -EINVAL and writes one line
 * that names the culprit. The caller ends with opt_done() either way. */
int opt_parse(int argc, char **argv, struct fs_options *ret, char why[FS_WHY_MAX]);
void opt_done(struct fs_options *opt);

extern const char opt_usage[];

#endif
