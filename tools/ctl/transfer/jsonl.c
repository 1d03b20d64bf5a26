/*
 * jsonl.c - a line of JSON to a memory and back. Pure functions; all working
 * memory is in the caller's pool. */
#include "ctl/transfer/jsonl.h"

#include "ctl/transfer/fields.h"
#include "ctl/transfer/lines.h"
#include "rules/rfc3339.h"
#include "shared/jsontext.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Keys that are not attributes; also never names of other members. */
enum special { KEY_OTHER, KEY_ID, KEY_ID_BASE64, KEY_CONTENT, KEY_CONTENT_BASE64, KEY_XATTRS_BASE64 };

static enum special special_key(const char *key, size_t len)
{
    static const char *const names[] = {[KEY_ID] = "id",
                                        [KEY_ID_BASE64] = "id_base64",
                                        [KEY_CONTENT] = "content",
                                        [KEY_CONTENT_BASE64] = "content_base64",
                                        [KEY_XATTRS_BASE64] = "xattrs_base64"};
    for (int i = KEY_ID; i <= KEY_XATTRS_BASE64; i++)
        if (strlen(names[i]) == len && !memcmp(names[i], key, len))
            return (enum special)i;
    return KEY_OTHER;
}

/* Whether a member of this name can be an xattr user.NAME. */
static bool key_is_xattr(const char *key, size_t len)
{
    return len > 0 && len <= ENG_XATTR_NAME_MAX - (sizeof FIELD_PREFIX - 1) && !memchr(key, 0, len) &&
           !(len >= 7 && !memcmp(key, "engram.", 7));
}

/* ---- parsing ------------------------------------------------------------- */

struct parser {
    struct pool *pool;
    const struct jsonl_options *options;
    struct memory m;
    size_t cap_xattrs;
    bool has_id, has_content;
    struct jt_text *keys; /* seen so far, to refuse a second one */
    size_t n_keys, cap_keys;
    struct buf types, fields; /* the texts of user.engram.types and .fields being built */
    char *why;
};

static int bad(struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int bad(struct parser *p, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(p->why, JSONL_WHY_MAX, format, ap);
    va_end(ap);
    return -EINVAL;
}

/* Grows an pool array to hold one more element. */
static void *grown(struct pool *a, void *old, size_t n, size_t *cap, size_t element)
{
    if (n < *cap)
        return old;
    size_t want = *cap ? *cap * 2 : 8;
    void *p = pool_alloc(a, want * element);
    if (p) {
        if (n)
            memcpy(p, old, n * element);
        *cap = want;
    }
    return p;
}

/* The loader may add one more, the true id. */
enum { XATTRS_MAX = ENG_XATTR_COUNT_MAX - 1 };

static int add_xattr(struct parser *p, const char *name, const void *value, size_t size)
{
    if (size > ENG_XATTR_SIZE_MAX)
        return bad(p, "%.100s is larger than %d bytes", name, ENG_XATTR_SIZE_MAX);
    if (p->m.n_xattrs >= XATTRS_MAX)
        return bad(p, "too many members: over %d", XATTRS_MAX);
    struct eng_xattr_pair *x =
        grown(p->pool, p->m.xattrs, p->m.n_xattrs, &p->cap_xattrs, sizeof(struct eng_xattr_pair));
    if (!x)
        return -ENOMEM;
    p->m.xattrs = x;
    x[p->m.n_xattrs++] = (struct eng_xattr_pair){name, value, size};
    return 0;
}

/* More members no memory can have: each is an attribute, or takes 5 bytes of what has all that are none of
 * their own ("a":1). So a line of millions does not take the square of them. */
enum { KEYS_MAX = XATTRS_MAX + ENG_XATTR_SIZE_MAX / 5 };

static int check_duplicate(struct parser *p, const struct jt_text *key)
{
    if (p->n_keys >= KEYS_MAX)
        return bad(p, "too many members: over %d", KEYS_MAX);
    for (size_t i = 0; i < p->n_keys; i++)
        if (p->keys[i].len == key->len && !memcmp(p->keys[i].data, key->data, key->len))
            return bad(p, "the key \"%.100s\" occurs twice", key->data);
    struct jt_text *keys = grown(p->pool, p->keys, p->n_keys, &p->cap_keys, sizeof *keys);
    if (!keys)
        return -ENOMEM;
    p->keys = keys;
    keys[p->n_keys++] = *key;
    return 0;
}

static int parse_id(struct parser *p, const struct jt_member *m, bool base64)
{
    const char *key = base64 ? "id_base64" : "id";
    if (p->has_id)
        return bad(p, "both id and id_base64");
    bool number = m->kind == JT_NUMBER && !base64 && p->options->lenient;
    if (m->kind != JT_STRING && !number)
        return bad(p, "%s is not a string", key);
    p->m.id = number ? m->raw : m->string.data;
    p->m.id_len = number ? m->raw_len : m->string.len;
    if (base64) {
        void *data;
        if (!base64_decode(m->string.data, m->string.len, p->pool, &data, &p->m.id_len))
            return bad(p, "id_base64 is not base64");
        p->m.id = data;
    }
    if (number && !(p->m.id = pool_copy(p->pool, m->raw, m->raw_len)))
        return -ENOMEM;
    if (p->m.id_len > ENG_XATTR_SIZE_MAX)
        return bad(p, "the id is longer than %d bytes", ENG_XATTR_SIZE_MAX);
    p->has_id = true;
    return 0;
}

static int parse_content(struct parser *p, const struct jt_member *m, bool base64)
{
    const char *key = base64 ? "content_base64" : "content";
    if (p->has_content)
        return bad(p, "both content and content_base64");
    p->has_content = true;
    if (m->kind == JT_NULL && !base64) {
        p->m.content = "";
        return add_xattr(p, FIELD_XATTR_CONTENT, "none", 4);
    }
    bool as_text = m->kind != JT_STRING && !base64 && p->options->lenient;
    if (m->kind != JT_STRING && !as_text)
        return bad(p, "%s is not a string%s", key, base64 ? "" : " or null");
    p->m.content = m->string.data;
    p->m.content_len = m->string.len;
    if (as_text) {
        p->m.content = pool_copy(p->pool, m->raw, m->raw_len);
        p->m.content_len = m->raw_len;
        return p->m.content ? 0 : -ENOMEM;
    }
    if (base64) {
        void *data;
        if (!base64_decode(m->string.data, m->string.len, p->pool, &data, &p->m.content_len))
            return bad(p, "content_base64 is not base64");
        p->m.content = data;
    }
    return 0;
}

/* The name of a member of xattrs_base64; NULL if it is none. */
static const char *hatched_name(struct parser *p, const struct jt_text *key)
{
    size_t mark = sizeof JSONL_BASE64_NAME - 1, prefix = sizeof FIELD_PREFIX - 1, len = key->len;
    char *name = pool_copy(p->pool, key->data, key->len);
    void *data;
    if (name && len >= mark && !memcmp(name, JSONL_BASE64_NAME, mark)) {
        if (!base64_decode(key->data + mark, key->len - mark, p->pool, &data, &len))
            return NULL;
        name = pool_copy(p->pool, data, len);
    }
    if (!name || len > ENG_XATTR_NAME_MAX || len <= prefix || memcmp(name, FIELD_PREFIX, prefix) != 0 ||
        memchr(name, 0, len) || !strcmp(name, FIELD_XATTR_ID))
        return NULL;
    return name;
}

static int parse_xattrs(struct parser *p, const struct jt_member *m)
{
    struct jt_in in;
    struct jt_member x;
    int r;
    if (m->kind != JT_OBJECT || !jt_in_object(&in, m->raw, m->raw_len, p->pool))
        return bad(p, "xattrs_base64 is not an object");
    while ((r = jt_in_member(&in, &x)) > 0) {
        void *data;
        size_t size;
        const char *name = hatched_name(p, &x.key);
        if (!name)
            return bad(p, "xattrs_base64: not a name of an attribute: %.100s", x.key.data);
        if (x.kind != JT_STRING || !base64_decode(x.string.data, x.string.len, p->pool, &data, &size))
            return bad(p, "xattrs_base64: the value of %.100s is not base64", x.key.data);
        r = add_xattr(p, name, data, size);
        if (r < 0)
            return r;
    }
    if (r >= 0)
        return 0;
    return in.why ? bad(p, "xattrs_base64: %s", in.why) : -ENOMEM;
}

/* A member without an xattr of its own: into the object user.engram.fields. */
static int park(struct parser *p, const struct jt_member *m)
{
    buf_char(&p->fields, p->fields.len ? ',' : '{');
    jt_put_string(&p->fields, m->key.data, m->key.len);
    buf_char(&p->fields, ':');
    buf_add(&p->fields, m->raw, m->raw_len);
    return p->fields.failed ? -ENOMEM : 0;
}

/* The text of a number, in quotes or not; 3.0 as 3 where only an integer fits. 0: it is none. */
static size_t number_text(const struct field *f, const struct jt_member *m, const char **ret)
{
    const char *text = m->kind == JT_STRING ? m->string.data : m->raw;
    size_t len = m->kind == JT_STRING ? m->string.len : m->raw_len;
    if ((m->kind != JT_NUMBER && m->kind != JT_STRING) || !jt_is_number(text, len))
        return 0;
    const char *point = memchr(text, '.', len);
    bool integer = f->kind == FIELD_COUNT || f->kind == FIELD_FLAGS || f->kind == FIELD_TIME_OR_INTEGER;
    if (integer && point) {
        size_t zeros = 1;
        while (point + zeros < text + len && point[zeros] == '0')
            zeros++;
        if (point + zeros == text + len)
            len = (size_t)(point - text);
    }
    *ret = text;
    return len;
}

/* The value of a known field as its attribute has it; false if it does not fit. */
static bool field_value(struct parser *p, const struct field *f, const struct jt_member *m, const void **ret,
                        size_t *ret_size)
{
    char time[TIMES_BUF];
    const char *text;
    if (f->kind == FIELD_FLOATS) {
        void *data = NULL;
        bool r = m->kind == JT_ARRAY &&
                 jt_floats(m->raw, m->raw_len, ENG_XATTR_SIZE_MAX, p->pool, &data, ret_size);
        *ret = data;
        return r && field_valid(f, data, *ret_size);
    }
    bool is_time = f->kind == FIELD_TIME || f->kind == FIELD_TIME_OR_INTEGER;
    *ret_size = number_text(f, m, &text);
    if (*ret_size && f->kind != FIELD_TIME) {
        *ret = pool_copy(p->pool, text, *ret_size);
        return *ret && field_valid(f, *ret, *ret_size);
    }
    if (!is_time || (m->kind != JT_STRING && !*ret_size))
        return false;
    *ret = *ret_size ? text : m->string.data;
    *ret_size = *ret_size ? *ret_size : m->string.len;
    if (field_valid(f, *ret, *ret_size))
        return true;
    if (!times_rfc3339(&p->options->zone, *ret, *ret_size, time))
        return false;
    *ret_size = strlen(time);
    *ret = pool_copy(p->pool, time, *ret_size);
    return *ret;
}

static int parse_field(struct parser *p, const struct field *f, const struct jt_member *m)
{
    const void *value = NULL;
    size_t size = 0;
    if (m->kind == JT_NULL)
        return park(p, m);
    if (!field_value(p, f, m, &value, &size)) {
        if (f->kind == FIELD_TIME && !p->options->zone.known && m->kind == JT_STRING) {
            char time[TIMES_BUF];
            const struct times_zone utc = {.known = true};
            if (times_rfc3339(&utc, m->string.data, m->string.len, time))
                return bad(p, "%s is not a time with an offset from UTC (--timezone tells one)", f->key);
        }
        return bad(p, "%s is not %s", f->key, f->rule);
    }
    if (f->kind == FIELD_TIME)
        (void)rfc3339_parse(value, size, &p->m.created);
    return add_xattr(p, f->xattr, value, size);
}

static int parse_other(struct parser *p, const struct jt_member *m)
{
    char why[200];
    bool nested = m->kind == JT_ARRAY || m->kind == JT_OBJECT;
    if (nested && m->raw_len > ENG_XATTR_SIZE_MAX)
        return bad(p, "\"%.50s\" is larger than %d bytes", m->key.data, ENG_XATTR_SIZE_MAX);
    if (nested && !jt_valid(m->raw, m->raw_len, why))
        return bad(p, "in \"%.50s\": %s", m->key.data, why);
    if (!key_is_xattr(m->key.data, m->key.len))
        return park(p, m);
    char *name = pool_alloc(p->pool, sizeof FIELD_PREFIX + m->key.len);
    if (!name)
        return -ENOMEM;
    memcpy(name, FIELD_PREFIX, sizeof FIELD_PREFIX - 1);
    memcpy(name + sizeof FIELD_PREFIX - 1, m->key.data, m->key.len + 1);
    if (m->kind == JT_STRING)
        return add_xattr(p, name, m->string.data, m->string.len);
    buf_char(&p->types, p->types.len ? ',' : '[');
    jt_put_string(&p->types, m->key.data, m->key.len);
    const char *value = pool_copy(p->pool, m->raw, m->raw_len);
    if (p->types.failed || !value)
        return -ENOMEM;
    return add_xattr(p, name, value, m->raw_len);
}

/* Where text may be cut: not within a character. */
static size_t cut_at(const char *s, size_t len)
{
    size_t n = len < ENG_XATTR_SIZE_MAX ? len : ENG_XATTR_SIZE_MAX;
    for (size_t i = 0; n < len && i < 4 && n > 1 && ((unsigned char)s[n] & 0xC0) == 0x80; i++)
        n--;
    return n;
}

/* A field that does not fit, as other members are kept, under another key; text in parts if it must be. */
static int keep_original(struct parser *p, const struct jt_member *m)
{
    const char *rest = m->kind == JT_STRING ? m->string.data : m->raw;
    size_t len = m->kind == JT_STRING ? m->string.len : m->raw_len;
    bool parts = len > ENG_XATTR_SIZE_MAX;
    int r = 0;
    bool valid = m->kind == JT_STRING || (!parts && jt_valid(m->raw, m->raw_len, NULL));
    bool text = parts || !valid;
    if (!valid && !jt_is_json(m->raw, m->raw_len)) /* if it is small, `why` tells more of it */
        return parts ? bad(p, "in \"%.50s\": no JSON value", m->key.data) : -EINVAL;
    for (unsigned part = 1; !r && (part == 1 || len); part++) {
        size_t n = cut_at(rest, len);
        char number[16] = "";
        struct buf key = {0};
        if (parts)
            snprintf(number, sizeof number, "_%u", part);
        buf_str(&key, "original_");
        buf_add(&key, m->key.data, m->key.len);
        buf_str(&key, number);
        struct jt_member as = {.kind = text ? JT_STRING : m->kind, .raw = m->raw, .raw_len = m->raw_len};
        as.key = (struct jt_text){key.failed ? NULL : pool_copy(p->pool, key.data, key.len), key.len};
        as.string = (struct jt_text){pool_copy(p->pool, rest, n), n};
        buf_done(&key);
        r = as.key.data && as.string.data ? check_duplicate(p, &as.key) : -ENOMEM;
        if (!r)
            r = parse_other(p, &as);
        rest += n;
        len -= n;
    }
    return r;
}

static int parse_member(struct parser *p, const struct jt_member *m)
{
    int r = check_duplicate(p, &m->key);
    if (r < 0)
        return r;
    enum special special = special_key(m->key.data, m->key.len);
    switch (special) {
    case KEY_ID:
    case KEY_ID_BASE64:
        return parse_id(p, m, special == KEY_ID_BASE64);
    case KEY_CONTENT:
    case KEY_CONTENT_BASE64:
        return parse_content(p, m, special == KEY_CONTENT_BASE64);
    case KEY_XATTRS_BASE64:
        return parse_xattrs(p, m);
    case KEY_OTHER:
        break;
    }
    const struct field *f = field_by_key(m->key.data, m->key.len);
    r = f ? parse_field(p, f, m) : parse_other(p, m);
    return r == -EINVAL && p->options->lenient ? keep_original(p, m) : r;
}

/* Closes a text being built and makes it an attribute. */
static int add_built(struct parser *p, struct buf *text, char close, const char *name)
{
    if (!text->len)
        return 0;
    buf_char(text, close);
    const char *value = pool_copy(p->pool, text->data, text->len);
    if (text->failed || !value)
        return -ENOMEM;
    return add_xattr(p, name, value, text->len);
}

/* Limits that concern all attributes together, and names given twice (by a member and in xattrs_base64). */
static int check_xattrs(struct parser *p)
{
    size_t total = 0;
    for (size_t i = 0; i < p->m.n_xattrs; i++)
        total += strlen(p->m.xattrs[i].name) + 1;
    /* The loader may add one more, the true id. */
    if (total + sizeof FIELD_XATTR_ID > ENG_XATTR_LIST_MAX)
        return bad(p, "too many members: their names together are over %d bytes", ENG_XATTR_LIST_MAX);
    for (size_t i = 0; i < p->m.n_xattrs; i++)
        for (size_t k = i + 1; k < p->m.n_xattrs; k++)
            if (!strcmp(p->m.xattrs[i].name, p->m.xattrs[k].name))
                return bad(p, "the attribute %.100s is given twice", p->m.xattrs[i].name);
    return 0;
}

static int parse_line(struct parser *p, const char *line, size_t len)
{
    struct jt_in in;
    struct jt_member m;
    int r;
    if (!jt_in_object(&in, line, len, p->pool))
        return bad(p, "%s", in.why);
    while ((r = jt_in_member(&in, &m)) > 0) {
        r = parse_member(p, &m);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return in.why ? bad(p, "column %zu: %s", (size_t)(in.p - in.start) + 1, in.why) : -ENOMEM;
    if (!p->has_id)
        return bad(p, "no id");
    if (!p->has_content)
        return bad(p, "no content");
    r = add_built(p, &p->types, ']', FIELD_XATTR_TYPES);
    if (!r)
        r = add_built(p, &p->fields, '}', FIELD_XATTR_FIELDS);
    return r < 0 ? r : check_xattrs(p);
}

/* NaN and Infinity, which JSON has not, become strings. The copy, if there are any, is in the pool. */
static int without_nan(const char **text, size_t *len, struct pool *pool)
{
    static const char *const words[] = {"NaN", "-Infinity", "Infinity"};
    const char *line = *text;
    if (!memmem(line, *len, "NaN", 3) && !memmem(line, *len, "Infinity", 8))
        return 0;
    struct buf out = {0};
    bool quoted = false;
    for (size_t i = 0; i < *len;) {
        size_t n = 0;
        for (size_t w = 0; !quoted && !n && w < sizeof words / sizeof *words; w++)
            if (*len - i >= strlen(words[w]) && !memcmp(line + i, words[w], strlen(words[w])))
                n = strlen(words[w]);
        if (n)
            buf_char(&out, '"');
        else if (quoted && line[i] == '\\' && i + 1 < *len)
            buf_char(&out, line[i++]);
        else if (line[i] == '"')
            quoted = !quoted;
        buf_add(&out, line + i, n ? n : 1);
        if (n)
            buf_char(&out, '"');
        i += n ? n : 1;
    }
    const char *copy = out.failed ? NULL : pool_copy(pool, out.data, out.len);
    if (copy) {
        *text = copy;
        *len = out.len;
    }
    buf_done(&out);
    return copy ? 0 : -ENOMEM;
}

int jsonl_parse_as(const char *line, size_t len, const struct jsonl_options *options, struct pool *pool,
                   struct memory *ret_memory, char ret_why[JSONL_WHY_MAX])
{
    struct parser p = {.pool = pool, .options = options, .why = ret_why, .m.created = JSONL_NO_TIME};
    int r = options->lenient ? without_nan(&line, &len, pool) : 0;
    if (!r)
        r = parse_line(&p, line, len);
    buf_done(&p.types);
    buf_done(&p.fields);
    if (!r)
        *ret_memory = p.m;
    return r;
}

int jsonl_parse(const char *line, size_t len, struct pool *pool, struct memory *ret_memory,
                char ret_why[JSONL_WHY_MAX])
{
    static const struct jsonl_options strict;
    return jsonl_parse_as(line, len, &strict, pool, ret_memory, ret_why);
}

/* ---- printing ------------------------------------------------------------ */

struct printer {
    const struct memory *m;
    struct pool *pool;
    struct buf *out;
    struct jt_text *types; /* names whose value is JSON text */
    size_t n_types;
};

static void put_key(struct printer *p, const char *key)
{
    buf_char(p->out, ',');
    jt_put_string(p->out, key, strlen(key));
    buf_char(p->out, ':');
}

#define TEXT_ALWAYS ((size_t)64 << 10)

static const struct eng_xattr_pair *find_xattr(const struct memory *m, const char *name)
{
    for (size_t i = 0; i < m->n_xattrs; i++)
        if (!strcmp(m->xattrs[i].name, name))
            return &m->xattrs[i];
    return NULL;
}

/* Whether a large content is longer as text, six bytes for each that is no character, than in base64. */
static bool is_long_as_text(const char *s, size_t n)
{
    size_t controls = 0;
    if (n < TEXT_ALWAYS)
        return false;
    for (size_t i = 0; i < n; i++)
        controls += (unsigned char)s[i] < 0x20 && !strchr("\b\t\n\f\r", s[i] ? s[i] : 'x');
    return controls > n / 12; /* of five bytes more each; base64 takes a third more */
}

static void print_id_and_content(struct printer *p)
{
    const struct memory *m = p->m;
    bool text = utf8_valid(m->id, m->id_len);
    buf_str(p->out, text ? "{\"id\":" : "{\"id_base64\":");
    if (text)
        jt_put_string(p->out, m->id, m->id_len);
    else
        jt_put_base64(p->out, m->id, m->id_len);
    const struct eng_xattr_pair *none = find_xattr(m, FIELD_XATTR_CONTENT);
    if (none && m->content_len == 0) {
        buf_str(p->out, ",\"content\":null");
    } else if (utf8_valid(m->content, m->content_len) && !is_long_as_text(m->content, m->content_len)) {
        buf_str(p->out, ",\"content\":");
        jt_put_string(p->out, m->content, m->content_len);
    } else {
        buf_str(p->out, ",\"content_base64\":");
        jt_put_base64(p->out, m->content, m->content_len);
    }
}

/* A known field; false if its value does not keep the rule (someone else set it). */
static bool print_field(struct printer *p, const struct field *f, const struct eng_xattr_pair *x)
{
    if (!field_valid(f, x->value, x->size))
        return false;
    put_key(p, f->key);
    if (f->kind == FIELD_FLOATS) {
        const unsigned char *b = x->value;
        buf_char(p->out, '[');
        for (size_t i = 0; i < x->size; i += 4) {
            uint32_t bits = (uint32_t)b[i] | (uint32_t)b[i + 1] << 8 | (uint32_t)b[i + 2] << 16 |
                            (uint32_t)b[i + 3] << 24;
            float v;
            memcpy(&v, &bits, sizeof v);
            if (i)
                buf_char(p->out, ',');
            jt_put_float(p->out, v);
        }
        buf_char(p->out, ']');
    } else if (jt_is_number(x->value, x->size)) {
        buf_add(p->out, x->value, x->size);
    } else {
        jt_put_string(p->out, x->value, x->size);
    }
    return true;
}

static bool is_typed(const struct printer *p, const char *key)
{
    size_t len = strlen(key);
    for (size_t i = 0; i < p->n_types; i++)
        if (p->types[i].len == len && !memcmp(p->types[i].data, key, len))
            return true;
    return false;
}

static bool print_other(struct printer *p, const struct eng_xattr_pair *x)
{
    const char *key = x->name + sizeof FIELD_PREFIX - 1;
    size_t len = strlen(key);
    if (!utf8_valid(key, len) || !key_is_xattr(key, len) || special_key(key, len) || field_by_key(key, len) ||
        !utf8_valid(x->value, x->size))
        return false;
    put_key(p, key);
    /* A marked value that someone has changed to plain text is a string now; and "x", changed to a JSON
     * string, stays one. */
    if (is_typed(p, key) && x->size && *(const char *)x->value != '"' && jt_valid(x->value, x->size, NULL))
        jt_put_raw(p->out, x->value, x->size);
    else
        jt_put_string(p->out, x->value, x->size);
    return true;
}

/* Whether the parser would have put this member there; anyone may have set the attribute since. */
static bool parkable(const struct jt_member *m)
{
    if (field_by_key(m->key.data, m->key.len))
        return m->kind == JT_NULL;
    if (special_key(m->key.data, m->key.len) || key_is_xattr(m->key.data, m->key.len))
        return false;
    return (m->kind != JT_ARRAY && m->kind != JT_OBJECT) || jt_valid(m->raw, m->raw_len, NULL);
}

/* The members of user.engram.fields; false, with nothing printed, if it is not such an object. */
static bool print_parked(struct printer *p, const struct eng_xattr_pair *x)
{
    struct jt_in in;
    struct jt_member m;
    size_t mark = p->out->len;
    int r = 0;
    if (!jt_in_object(&in, x->value, x->size, p->pool))
        return false;
    while ((r = jt_in_member(&in, &m)) > 0) {
        const struct field *f = field_by_key(m.key.data, m.key.len);
        if (!parkable(&m)) {
            p->out->len = mark;
            return false;
        }
        if (f && find_xattr(p->m, f->xattr))
            continue; /* was null at import, has been set since */
        buf_char(p->out, ',');
        jt_put_string(p->out, m.key.data, m.key.len);
        buf_char(p->out, ':');
        jt_put_raw(p->out, m.raw, m.raw_len);
    }
    if (r < 0)
        p->out->len = mark;
    return !r;
}

/* Reads user.engram.types; what is not a list of strings marks nothing. */
static void load_types(struct printer *p)
{
    const struct eng_xattr_pair *x = find_xattr(p->m, FIELD_XATTR_TYPES);
    if (x && !jt_strings(x->value, x->size, p->pool, &p->types, &p->n_types))
        p->n_types = 0;
}

/* One attribute; false if it has no faithful JSON form. */
static bool print_xattr(struct printer *p, const struct eng_xattr_pair *x)
{
    if (strncmp(x->name, FIELD_PREFIX, sizeof FIELD_PREFIX - 1) != 0 || !strcmp(x->name, FIELD_XATTR_ID) ||
        !strcmp(x->name, FIELD_XATTR_TYPES))
        return true; /* another namespace, or told by other means */
    if (!strcmp(x->name, FIELD_XATTR_CONTENT))
        /* With content it means nothing any more. */
        return x->size == 4 && !memcmp(x->value, "none", 4);
    if (!strcmp(x->name, FIELD_XATTR_FIELDS))
        return print_parked(p, x);
    const struct field *f = field_by_xattr(x->name);
    return f ? print_field(p, f, x) : print_other(p, x);
}

/* One member of xattrs_base64. A name that is no text is itself told in base64: a real one starts with
 * "user.". */
static void print_hatched(struct printer *p, const struct eng_xattr_pair *x, bool first)
{
    size_t len = strlen(x->name);
    buf_str(p->out, first ? ",\"xattrs_base64\":{" : ",");
    if (utf8_valid(x->name, len)) {
        jt_put_string(p->out, x->name, len);
    } else {
        buf_str(p->out, "\"" JSONL_BASE64_NAME);
        base64_put(p->out, x->name, len);
        buf_char(p->out, '"');
    }
    buf_char(p->out, ':');
    jt_put_base64(p->out, x->value, x->size);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct eng_xattr_pair *)a)->name, ((const struct eng_xattr_pair *)b)->name);
}

/* The order of a file's attributes is that of their setting, or any; lines are compared by diff. */
static int sort_xattrs(struct memory *m, struct pool *pool)
{
    struct eng_xattr_pair *sorted = pool_alloc(pool, (m->n_xattrs + 1) * sizeof *sorted);
    if (!sorted)
        return -ENOMEM;
    if (m->n_xattrs) {
        memcpy(sorted, m->xattrs, m->n_xattrs * sizeof *sorted);
        qsort(sorted, m->n_xattrs, sizeof *sorted, by_name);
    }
    m->xattrs = sorted;
    return 0;
}

int jsonl_print(const struct memory *memory, struct pool *scratch, struct buf *out)
{
    struct memory copy = *memory, *m = &copy;
    if (sort_xattrs(m, scratch) < 0)
        return -ENOMEM;
    struct printer p = {.m = m, .pool = scratch, .out = out};
    bool *hatched = pool_alloc(scratch, m->n_xattrs + 1);
    bool any = false;
    size_t start = out->len;
    if (!hatched)
        return -ENOMEM;
    load_types(&p);
    print_id_and_content(&p);
    /* The known fields first, in the order of their table: lines are easier to read and to compare. */
    for (size_t i = 0; i < m->n_xattrs; i++)
        hatched[i] = false;
    for (const struct field *f = fields; f->key; f++)
        for (size_t i = 0; i < m->n_xattrs; i++)
            if (!strcmp(m->xattrs[i].name, f->xattr))
                hatched[i] = !print_xattr(&p, &m->xattrs[i]);
    for (size_t i = 0; i < m->n_xattrs; i++)
        if (!field_by_xattr(m->xattrs[i].name))
            hatched[i] = !print_xattr(&p, &m->xattrs[i]);
    for (size_t i = 0; i < m->n_xattrs; i++) {
        if (!hatched[i])
            continue;
        print_hatched(&p, &m->xattrs[i], !any);
        any = true;
    }
    buf_str(out, any ? "}}\n" : "}\n");
    if (out->len - start > LINES_MAX)
        return -EFBIG;
    return out->failed ? -ENOMEM : 0;
}
