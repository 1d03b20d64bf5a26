/*
 * trueid.c - see trueid.h. No state. */
#include "ctl/transfer/trueid.h"

#include "ctl/transfer/idpath.h"

#include <string.h>
#include <sys/stat.h>

struct part {
    const char *data;
    size_t len;
};

static struct part first_part(const char *s, size_t len)
{
    const char *slash = len ? memchr(s, '/', len) : NULL;
    return (struct part){s, slash ? (size_t)(slash - s) : len};
}

static bool is_form(const char *form, const struct part *name)
{
    return strlen(form) == name->len && !memcmp(form, name->data, name->len);
}

static bool is_equal(const struct part *a, const struct part *b)
{
    return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

/* Whether the name is the hashed form of the id as seen from a folder that `at` bytes of it lead to. */
static bool is_hashed(const char *id, size_t len, size_t at, const struct part *leaf, const struct part *name)
{
    char form[IDPATH_NAME_BUF];
    if (name->len < 2 || name->data[0] != IDPATH_MARK || name->data[1] != 'h')
        return false;
    for (size_t from = 0; from <= at; from++) {
        if (from > 0 && id[from - 1] != '/')
            continue;
        idpath_hashed(id + from, len - from, leaf->data, leaf->len, form);
        if (is_form(form, name))
            return true;
        if (from == at) { /* the whole id in that folder */
            idpath_hashed(id + from, len - from, id + from, len - from, form);
            return is_form(form, name);
        }
    }
    return false;
}

/* The last component of the path, from byte `at` of the id on. */
static bool leads_last(const char *id, size_t len, size_t at, const struct part *name)
{
    char form[IDPATH_NAME_BUF];
    struct part leaf = first_part(id + at, len - at);
    if (at + leaf.len < len) /* more directories: only as a whole */
        return is_hashed(id, len, at, &leaf, name);
    return is_equal(&leaf, name) || (idpath_leaf(leaf.data, leaf.len, form) && is_form(form, name)) ||
           is_hashed(id, len, at, &leaf, name);
}

bool trueid_leads(const char *id, size_t len, const char *path)
{
    size_t at = 0;
    for (;;) {
        char form[IDPATH_NAME_BUF];
        struct part name = first_part(path, strlen(path)), part = first_part(id + at, len - at);
        if (!path[name.len])
            return leads_last(id, len, at, &name);
        if (at + part.len == len)
            return false; /* the path goes on, and the id does not */
        if (!is_equal(&part, &name) && !(idpath_dir(part.data, part.len, form) && is_form(form, &name)))
            return false;
        path += name.len + 1;
        at += part.len + 1;
    }
}

/* Whether a component has its plain name in this directory, for the kind of thing that the escaped form is
 * of: then nothing is stored under the escaped one. */
static bool has_plain(struct target *t, tdir dir, const struct part *part, bool first, bool is_dir)
{
    char name[IDPATH_NAME_BUF];
    struct target_attr attr;
    if (!idpath_is_plain(part->data, part->len, first))
        return false;
    memcpy(name, part->data, part->len);
    name[part->len] = 0;
    if (t->ops->lookup(t, dir, name, &attr) < 0)
        return false;
    return is_dir ? S_ISDIR(attr.mode) : S_ISREG(attr.mode);
}

bool trueid_is(const struct walk *w, const char *id, size_t len)
{
    const char *prefix = w->t->prefix ? w->t->prefix : "", *path = w->path;
    struct buf whole = {0};
    if (*prefix) {
        buf_str(&whole, prefix);
        buf_char(&whole, '/');
    }
    size_t at = whole.len;
    buf_add(&whole, w->path, w->path_len + 1);
    bool leads = !whole.failed && trueid_leads(id, len, whole.data);
    buf_done(&whole);
    /* Component by component below the target's root; the id begins as the prefix does, or is not of here. */
    if (!leads || len < at || memcmp(id, prefix, at ? at - 1 : 0) != 0)
        return leads;
    for (size_t depth = 0; leads; depth++) {
        struct part name = first_part(path, strlen(path)), part = first_part(id + at, len - at);
        bool last = !path[name.len];
        bool flat = last && at + part.len < len;
        if (!flat && !is_equal(&part, &name))
            leads = !has_plain(w->t, walk_above(w, depth), &part, at == 0, !last);
        if (last)
            break;
        path += name.len + 1;
        at += part.len + 1;
    }
    return leads;
}
