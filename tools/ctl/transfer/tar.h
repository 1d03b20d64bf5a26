/*
 * tar.h - a tree as a tar archive, by libarchive: files, directories, symlinks, special files, modes, times
 * in nanoseconds, owners, attributes, hard links, holes of large files. The archives are in the pax
 * format with attributes as SCHILY.xattr, which GNU tar (--xattrs), bsdtar and star read and write.
 *
 * Without libarchive (tar_none.c) tar_is_built is false and nothing else may be called. */
#ifndef ENGRAMCTL_TAR_H
#define ENGRAMCTL_TAR_H

#include "ctl/transfer/result.h"
#include "ctl/transfer/target.h"

#include <stdbool.h>

extern const bool tar_is_built;

/*
 * Writes all of `from` to `fd`, which is not closed. Returns 0 even if single files failed (each was
 * reported, and is not in the archive); -EINTR when interrupted; other errors ended it, and what was written
 * is no archive. */
int tar_export(struct target *from, int fd, struct copy_result *ret);

/*
 * Reads an archive from `fd`, compressed (gzip, bzip2, xz, zstd, lz4) or not, into `to`. Existing files are
 * replaced, existing directories filled. `name` is what messages call it. Nothing is put outside of `to`,
 * whatever names and links the archive has. Returns as tar_export(); -ECANCELED: the archive cannot be read
 * on, which was said; what came before is in `to`. */
int tar_import(int fd, const char *name, struct target *to, struct copy_result *ret);

/* Whether this is how a tar archive is called: x.tar, x.tgz, x.tar.zst, … */
bool tar_is_name(const char *path);

#endif
