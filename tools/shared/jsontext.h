/*
 * jsontext.h - JSON as text: a strict scanner over the members of one object,
 * and the printers for strings, floats and base64.
 *
 * Why not jansson for this: a memory's numbers come back from export as they
 * were written (1.0, 1e5, 20 digits), for which their source text is needed,
 * and a line of 300 bytes takes jansson 6 us, twice what the whole import of
 * it may. Nested values, which are rare, are validated by jansson. */
#ifndef ENGRAM_SHARED_JSONTEXT_H
#define ENGRAM_SHARED_JSONTEXT_H

#include "shared/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum jt_kind { JT_STRING, JT_NUMBER, JT_TRUE, JT_FALSE, JT_NULL, JT_ARRAY, JT_OBJECT };

struct jt_text {
    const char *data; /* a decoded string; may hold NUL; a NUL follows it */
    size_t len;
};

struct jt_member {
    struct jt_text key;
    enum jt_kind kind;
    struct jt_text string; /* of a JT_STRING: decoded, in the pool */
    const char *raw;       /* the value's source text, within the input */
    size_t raw_len;
};

struct jt_in {
    const char *start, *p, *end; /* immutable input, borrowed */
    struct pool *pool;           /* where decoded strings go */
    const char *why;             /* after an error: what is wrong at p; NULL means no memory */
    unsigned count;              /* members read so far */
};

/* Consumes the opening brace; false (see why) if there is none. */
bool jt_in_object(struct jt_in *in, const char *text, size_t len, struct pool *pool);
/* 1: a member, 0: the end of the object and of the text, -1: see in->why.
 * An array or object was only delimited: jt_valid() or jt_floats() must accept it. */
int jt_in_member(struct jt_in *in, struct jt_member *ret);

/* Whether `text` is one JSON value of any kind. `ret_why`, if not NULL, gets the reason when it is not. It
 * may take 20 times as much memory as the text: only for what can be kept. */
bool jt_valid(const char *text, size_t len, char ret_why[200]);
/* Whether `text` is one JSON value by its grammar, which allows more than jt_valid(): a number of any size, a
 * key twice, NUL in a key, brackets in each other up to JT_DEPTH_MAX. Takes no memory, unlike that. */
bool jt_is_json(const char *text, size_t len);
#define JT_DEPTH_MAX 65536u
/* Whether `text` is exactly a JSON number. */
bool jt_is_number(const char *text, size_t len);
/* Parses an array of numbers into little-endian floats; false if it is anything else, takes more than `max`
 * bytes, or a value is beyond a float. */
bool jt_floats(const char *text, size_t len, size_t max, struct pool *pool, void **ret_data,
               size_t *ret_size);

/* Decodes an array of strings into an array in the pool; false if it is anything else. */
bool jt_strings(const char *text, size_t len, struct pool *pool, struct jt_text **ret_strings, size_t *ret_n);

bool utf8_valid(const char *s, size_t len);

/* Appends a quoted string; `s` must be valid UTF-8. */
void jt_put_string(struct buf *out, const char *s, size_t len);
/* Appends JSON text as it is, but on one line. */
void jt_put_raw(struct buf *out, const char *text, size_t len);
/* Appends the shortest decimal that reads back as the same float; `v` must be finite. */
void jt_put_float(struct buf *out, float v);
/* Appends base64 (RFC 4648, section 4, padded), without and with quotes. */
void base64_put(struct buf *out, const void *data, size_t len);
void jt_put_base64(struct buf *out, const void *data, size_t len);
/* Appends a further member of an object, a text of anybody's: `, "KEY": "…"`, or, where that is not UTF-8,
 * `, "KEY_base64": "…"`. */
void jt_put_member(struct buf *out, const char *key, const char *s);
/* Decodes into the pool; false if it is not padded base64 (or no memory: *ret_data is then NULL). */
bool base64_decode(const char *s, size_t len, struct pool *pool, void **ret_data, size_t *ret_size);

#endif
