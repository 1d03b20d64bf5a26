/*
 * jsonl.h - one memory as one line of JSON, both ways.
 *
 * Known keys: id, content (a string; null: a memory without content), and the
 * fields of fields.h. Any other member is kept as the extended attribute
 * user.NAME, a string as its text, any other value as its JSON text with NAME
 * listed in user.engram.types. What cannot be an xattr of its own (a null in a
 * known field, a key that is empty, over 250 bytes or starts with "engram.")
 * goes into the JSON object user.engram.fields. What JSON cannot say comes out in base64:
 * id_base64 and content_base64 where bytes are not UTF-8, and xattrs_base64
 * ({"user.NAME": "…"}) for attributes whose value has no faithful JSON form.
 * Export and import are inverse: nothing of a memory is lost on the way.
 *
 * A line may be anything: what is too large to be kept is refused, or kept as text, before it is loaded, so
 * that it takes a few times its length of memory. */
#ifndef ENGRAMCTL_JSONL_H
#define ENGRAMCTL_JSONL_H

#include "ctl/transfer/times.h"
#include "engine.h"
#include "shared/buf.h"

#include <stddef.h>
#include <stdint.h>

struct memory {
    const char *id;
    size_t id_len;
    const char *content;
    size_t content_len;
    int64_t created;               /* ns since the epoch; JSONL_NO_TIME: not given */
    struct eng_xattr_pair *xattrs; /* full names; without user.engram.id */
    size_t n_xattrs;
};

/* In front of a name in xattrs_base64 that is itself in base64. */
#define JSONL_BASE64_NAME "base64:"
#define JSONL_NO_TIME INT64_MIN
#define JSONL_WHY_MAX 256

/* How a line is read that other systems wrote. */
struct jsonl_options {
    /* A field that does not fit is kept as it is under the key original_KEY, in parts _1, _2, … if it is too
     * large for one attribute; an id may be a number, content any value, and NaN is a string. Else the line
     * is bad. */
    bool lenient;
    struct times_zone zone; /* of times that tell none */
};

/*
 * The same, otherwise. Values that only look different are always taken: numbers in quotes, 3.0 for 3, and
 * times in the forms of times.h. */
int jsonl_parse_as(const char *line, size_t len, const struct jsonl_options *options, struct pool *pool,
                   struct memory *ret_memory, char ret_why[JSONL_WHY_MAX]);
/*
 * Parses one line (without its newline). All of *ret_memory is in `pool`.
 * -EINVAL: a bad line, `ret_why` says why; -ENOMEM. */
int jsonl_parse(const char *line, size_t len, struct pool *pool, struct memory *ret_memory,
                char ret_why[JSONL_WHY_MAX]);

/*
 * Appends the line for a memory, with its newline. user.* attributes only.
 * `scratch` is used for working memory. A content over 64 KiB that is longer as text is in base64. -ENOMEM,
 * -EFBIG: longer than an import takes. */
int jsonl_print(const struct memory *memory, struct pool *scratch, struct buf *out);

#endif
