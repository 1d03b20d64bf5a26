/*
 * text_buffer.h - a growing text buffer, for the contents of control files.
 *
 * Failure to allocate is remembered, so that a long text is built without a
 * check on each line and tested once at the end (text_failed()). */
#ifndef ENGRAMFS_CONTROL_TEXT_BUFFER_H
#define ENGRAMFS_CONTROL_TEXT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *data; /* owned; NUL-terminated once something was added */
    size_t len, cap;
    bool failed;
};

#define TEXT_INIT                                                                                            \
    {                                                                                                        \
        NULL, 0, 0, false                                                                                    \
    }

void text_done(struct text *t);
void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(struct text *t, const char *bytes, size_t len);
static inline bool text_failed(const struct text *t)
{
    return t->failed;
}

/* Begins a member of an object, on a line of its own, with a comma unless it is the first. */
void text_json_key(struct text *t, const char *indent, const char *key);
/* A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD, as JSON can hold no others; control
 * characters, also those of C1, which JSON would take, are escaped. */
void text_json_string(struct text *t, const char *s);
/* Whether JSON can hold it as it is. */
bool text_is_utf8(const char *s);
/* RFC 4648, with padding. */
void text_base64(struct text *t, const char *s);
/* A JSON number; what JSON cannot say (NaN, infinity) becomes 0. */
void text_json_number(struct text *t, double value);
/* RFC 3339 in UTC with milliseconds. */
void text_time(struct text *t, int64_t ns);
/* 1536 -> "1.5 KiB". */
void text_bytes(struct text *t, uint64_t bytes);
/* A name on one line: what is no printable.h text, and backslash, as \xHH, byte by byte. */
void text_name(struct text *t, const char *name);

#endif
