/*
 * fields.h - the fields of a memory that engramfs knows: their names in JSON,
 * their extended attributes, and what a value of each may be. */
#ifndef ENGRAMCTL_FIELDS_H
#define ENGRAMCTL_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

enum field_kind {
    FIELD_TIME,            /* RFC 3339 */
    FIELD_TIME_OR_INTEGER, /* RFC 3339, or a signed integer of 64 bits of any meaning */
    FIELD_UNIT,            /* a number from 0 to 1 */
    FIELD_RATE,            /* a finite number, 0 or more */
    FIELD_COUNT,           /* an unsigned integer of 64 bits */
    FIELD_FLAGS,           /* an unsigned integer of 32 bits */
    FIELD_FLOATS,          /* little-endian f32[], not empty, finite */
};

struct field {
    const char *key;   /* in JSON */
    const char *xattr; /* full name */
    enum field_kind kind;
    const char *rule; /* what a value must be, for messages */
};

#define FIELD_PREFIX "user."
#define FIELD_OWN_PREFIX "user.engram."
#define FIELD_XATTR_CREATED "user.engram.created"
#define FIELD_XATTR_CONTENT                                                                                  \
    "user.engram.content"                  /* "none": a memory without content, as against empty content */
#define FIELD_GUARD "user.engram.if_match" /* of one rename, and of no memory */
#define FIELD_XATTR_ID "user.engram.id"    /* the true id, where the path differs from it */
#define FIELD_XATTR_TYPES                                                                                    \
    "user.engram.types" /* JSON array of the names whose value is JSON text, not a string */
#define FIELD_XATTR_FIELDS                                                                                   \
    "user.engram.fields" /* JSON object of members that cannot be xattrs of their own */

/* In the order of export; ends with key NULL. */
extern const struct field fields[];

const struct field *field_by_key(const char *key, size_t len);
const struct field *field_by_xattr(const char *name);

/*
 * Whether `value`, as stored in the xattr, keeps the field's rule and can be
 * said in JSON. The rules are those of a mount (where a value that breaks them
 * is EINVAL), less what JSON cannot say: ".5", infinity in an embedding. */
bool field_valid(const struct field *f, const void *value, size_t len);

#endif
