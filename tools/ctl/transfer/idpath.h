/*
 * idpath.h - from the id of a memory, any byte string, to file names.
 *
 * An id is a path where it can be one. A component that cannot be a file name
 * as it is gets an escaped form, told by the mark '%' at its start:
 *
 *   %d<text>          a directory component
 *   %f<text>          the last component
 *   %h<hash>-<text>   the last component, or the whole id, when an escaped or
 *                     plain form would be too long: 32 hex digits of the
 *                     XXH3-128 of the whole id, and its readable beginning
 *
 * In <text> '%' is %25, NUL is %00, and in a %h form '/' is %2F; nothing else
 * changes. So "" is "%f", "a//b" is "a/%d/b", "../x" is "%d../x" and, since a
 * component that starts with the mark is always escaped, "%fa" is "%f%25fa":
 * no two ids meet. %d and %f forms are distinct, so that an escaped file never
 * stands where an escaped directory must; `a` beside `a/b` is resolved with
 * them by whoever sees the tree (loader.c). %h forms of two ids could only meet by
 * a hash collision, which the loader detects by the id kept with the memory. */
#ifndef ENGRAMCTL_IDPATH_H
#define ENGRAMCTL_IDPATH_H

#include <stdbool.h>
#include <stddef.h>

#define IDPATH_MARK '%'
#define IDPATH_NAME_MAX 255
/* A longer path is not used, so that a mount point's own path in front of it still fits PATH_MAX. */
#define IDPATH_PATH_MAX 3072
#define IDPATH_NAME_BUF (IDPATH_NAME_MAX + 1)

enum idpath_form { IDPATH_PLAIN, IDPATH_ESCAPED, IDPATH_HASHED };

/* Whether this component can be a file name as it is. `first`: it is the first one of the id. */
bool idpath_is_plain(const char *component, size_t len, bool first);

/* The escaped form of a directory component; false if it does not fit a name. */
bool idpath_dir(const char *component, size_t len, char ret_name[IDPATH_NAME_BUF]);
/* The escaped form of a last component; false if it does not fit a name. */
bool idpath_leaf(const char *component, size_t len, char ret_name[IDPATH_NAME_BUF]);
/* The hashed form; `text` is what its readable part is made of. */
void idpath_hashed(const char *id, size_t id_len, const char *text, size_t len,
                   char ret_name[IDPATH_NAME_BUF]);

/*
 * The path of an id in an empty tree, where nothing stands in its way:
 * at most IDPATH_PATH_MAX bytes and a NUL. Returns the strongest form used. */
enum idpath_form idpath_of(const char *id, size_t len, char ret_path[IDPATH_PATH_MAX + 1]);

/* Whether the whole id needs the hashed form in the root: a directory component or the path is too long. */
bool idpath_needs_flat(const char *id, size_t len);

#endif
