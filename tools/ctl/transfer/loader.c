/*
 * loader.c - ids to places, memories to batches.
 *
 * State: the batch, a cache from the directory part of ids to handles (it
 * only grows: an import removes nothing), and the set of ids seen. One thread; the batch has another one of
 * its own. */
#include "ctl/transfer/loader.h"

#include "ctl/transfer/fields.h"
#include "ctl/transfer/idpath.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* The directory part of ids: everything up to and with the last slash, "" for none. */
struct place {
    const char *key;
    size_t key_len;
    uint64_t hash;
    tdir dir;
    bool plain; /* the path is the id's, so far */
    bool made;  /* by this run, so that a free name in it has no escaped form in use either */
    bool dirs;  /* this run went on to directories in it */
    bool flat;  /* it has no directory: such ids are hashed into the root */
};

struct loader {
    struct target *t;
    struct batch *batch;
    uint32_t mode, dir_mode, uid, gid;
    /* cache of directories */
    struct place *places;
    size_t n_places, cap_places;
    uint32_t *slots; /* index + 1 into places, 0 is free; n_slots is a power of two */
    size_t n_slots;
    size_t last; /* the place last used: neighbours in the input share it */
    struct pool keys;
    /* ids seen: seeded hashes of 128 bits, all zero is free. The seed is random, so that
     * nobody can prepare ids that seem to be the same. */
    XXH128_hash_t *seen;
    size_t n_seen, cap_seen;
    XXH128_hash_t last_id; /* not looked for yet */
    bool has_last_id;
    uint64_t seed, duplicates;
};

#define HUGE_PAGE ((size_t)2 << 20)

/* ---- ids seen -------------------------------------------------------------- */

static bool seen_insert(XXH128_hash_t *table, size_t cap, XXH128_hash_t h)
{
    size_t i = h.low64 & (cap - 1);
    while (table[i].low64 || table[i].high64) {
        if (XXH128_isEqual(table[i], h))
            return false;
        i = (i + 1) & (cap - 1);
    }
    table[i] = h;
    return true;
}

static int seen_grow(struct loader *l)
{
    size_t cap = l->cap_seen ? l->cap_seen * 2 : 4096;
    size_t size = cap * sizeof *l->seen;
    XXH128_hash_t *table = size < HUGE_PAGE ? malloc(size) : aligned_alloc(HUGE_PAGE, size);
    if (!table)
        return -ENOMEM;
    if (size >= HUGE_PAGE) /* it is read at random, and TLB misses are most of the cost */
        (void)madvise(table, size, MADV_HUGEPAGE);
    memset(table, 0, size);
    for (size_t i = 0; i < l->cap_seen; i++)
        if (l->seen[i].low64 || l->seen[i].high64)
            (void)seen_insert(table, cap, l->seen[i]);
    free(l->seen);
    l->seen = table;
    l->cap_seen = cap;
    return 0;
}

static void note_last_id(struct loader *l)
{
    if (!l->has_last_id)
        return;
    l->has_last_id = false;
    if (seen_insert(l->seen, l->cap_seen, l->last_id))
        l->n_seen++;
    else
        l->duplicates++;
}

/* An id is looked for among those seen when the next one comes: by then its slot has come from memory. */
static int note_id(struct loader *l, const char *id, size_t len)
{
    if (l->n_seen * 2 >= l->cap_seen) {
        int r = seen_grow(l);
        if (r < 0)
            return r;
    }
    note_last_id(l);
    l->last_id = XXH3_128bits_withSeed(id, len, l->seed);
    l->has_last_id = true;
    __builtin_prefetch(&l->seen[l->last_id.low64 & (l->cap_seen - 1)], 1);
    return 0;
}

/* ---- directories ------------------------------------------------------------- */

static size_t place_slot(const struct loader *l, const char *key, size_t len, uint64_t hash)
{
    size_t i = hash & (l->n_slots - 1);
    for (; l->slots[i]; i = (i + 1) & (l->n_slots - 1)) {
        const struct place *p = &l->places[l->slots[i] - 1];
        if (p->hash == hash && p->key_len == len && !memcmp(p->key, key, len))
            break;
    }
    return i;
}

static int places_grow(struct loader *l)
{
    size_t cap = l->cap_places ? l->cap_places * 2 : 256, n_slots = cap * 2;
    struct place *places = realloc(l->places, cap * sizeof *places);
    if (!places)
        return -ENOMEM;
    l->places = places;
    l->cap_places = cap;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots || cap > UINT32_MAX / 2) {
        free(slots);
        return -ENOMEM;
    }
    free(l->slots);
    l->slots = slots;
    l->n_slots = n_slots;
    for (size_t i = 0; i < l->n_places; i++)
        l->slots[place_slot(l, places[i].key, places[i].key_len, places[i].hash)] = (uint32_t)i + 1;
    return 0;
}

static int add_place(struct loader *l, const char *key, size_t len, const struct place *p, size_t *ret_index)
{
    if (l->n_places == l->cap_places) {
        int r = places_grow(l);
        if (r < 0)
            return r;
    }
    const char *copy = pool_copy(&l->keys, key, len);
    if (!copy)
        return -ENOMEM;
    uint64_t hash = XXH3_64bits(key, len);
    l->places[l->n_places] = *p;
    l->places[l->n_places].key = copy;
    l->places[l->n_places].key_len = len;
    l->places[l->n_places].hash = hash;
    l->slots[place_slot(l, key, len, hash)] = (uint32_t)l->n_places + 1;
    *ret_index = l->n_places++;
    return 0;
}

/* The directory `name` in `dir`, made if `ret_made` and nothing has the name. -ENOTDIR: something else has
 * it. */
static int enter(struct loader *l, tdir dir, const char *name, bool *ret_made, tdir *ret)
{
    struct target_attr attr;
    int r = l->t->ops->lookup(l->t, dir, name, &attr);
    if (r == -ENOENT && batch_pending(l->batch, dir, name))
        return -ENOTDIR;
    if (r == -ENOENT && ret_made) {
        l->t->wrote = true;
        r = l->t->ops->mkdir(l->t, dir, name, l->dir_mode, ret);
        if (r != -EEXIST) {
            *ret_made = !r;
            return r;
        }
        r = l->t->ops->lookup(l->t, dir, name, &attr); /* somebody else was faster */
    }
    if (r < 0)
        return r;
    return S_ISDIR(attr.mode) ? l->t->ops->subdir(l->t, dir, name, &attr, ret) : -ENOTDIR;
}

/* Resolves one directory component below `parent`. */
static int resolve(struct loader *l, const struct place *parent, const char *component, size_t len,
                   struct place *ret)
{
    char name[IDPATH_NAME_BUF], escaped[IDPATH_NAME_BUF];
    struct place p = {.plain = false};
    bool has_plain = idpath_is_plain(component, len, parent->key_len == 0);
    bool has_escaped = idpath_dir(component, len, escaped);
    int r = -ENOENT;
    if (parent->flat || (!has_plain && !has_escaped)) {
        *ret = (struct place){.flat = true};
        return 0;
    }
    if (has_plain) {
        memcpy(name, component, len);
        name[len] = 0;
        r = enter(l, parent->dir, name, NULL, &p.dir);
        p.plain = !r && parent->plain;
    }
    if (has_plain && r == -ENOENT) {
        /* Free, but the escaped form may be in use from an earlier time when it was not. */
        r = has_escaped ? enter(l, parent->dir, escaped, NULL, &p.dir) : -ENOENT;
        if (r == -ENOENT || r == -ENOTDIR) {
            r = enter(l, parent->dir, name, &p.made, &p.dir);
            p.plain = !r && parent->plain;
        }
    } else if (r == -ENOENT || r == -ENOTDIR) {
        r = has_escaped ? enter(l, parent->dir, escaped, &p.made, &p.dir) : -ENOTDIR;
    }
    if (r == -ENOTDIR) {
        p = (struct place){.flat = true};
        r = 0;
    }
    if (!r)
        *ret = p;
    return r;
}

/* Finds the place of a directory part, going down from the longest part of it that is known. */
static int find_place(struct loader *l, const char *key, size_t len, size_t *ret_index)
{
    const struct place *last = &l->places[l->last];
    if (last->key_len == len && !memcmp(last->key, key, len)) {
        *ret_index = l->last;
        return 0;
    }
    size_t at = len, index = 0;
    for (;;) {
        uint32_t s = l->slots[place_slot(l, key, at, XXH3_64bits(key, at))];
        if (s) {
            index = s - 1;
            break;
        }
        do
            at--; /* the slash that ends this part, then on to the one before */
        while (at > 0 && key[at - 1] != '/');
    }
    while (at < len) {
        const char *slash = memchr(key + at, '/', len - at);
        size_t next = (size_t)(slash + 1 - key);
        struct place p, parent = l->places[index];
        l->places[index].dirs = true;
        int r = resolve(l, &parent, key + at, next - at - 1, &p);
        if (!r)
            r = add_place(l, key, next, &p, &index);
        if (r < 0)
            return r;
        at = next;
    }
    l->last = *ret_index = index;
    return 0;
}

/* ---- files ---------------------------------------------------------------------- */

enum standing { FREE, MEMORY, TAKEN };

static int standing_of(struct loader *l, tdir dir, const char *name, enum standing *ret,
                       struct target_attr *ret_attr)
{
    int r = l->t->ops->lookup(l->t, dir, name, ret_attr);
    if (r == -ENOENT)
        *ret = batch_pending(l->batch, dir, name) ? MEMORY : FREE;
    else if (!r)
        *ret = S_ISREG(ret_attr->mode) ? MEMORY : TAKEN;
    return r == -ENOENT ? 0 : r;
}

/* The true id as it is kept: with the path of the folder that the import goes to in front. */
static int full_id(struct loader *l, const struct memory *m, char **ret_id, size_t *ret_len)
{
    const char *prefix = l->t->prefix && *l->t->prefix ? l->t->prefix : NULL;
    size_t n = prefix ? strlen(prefix) + 1 : 0;
    char *id = pool_alloc(batch_pool(l->batch), n + m->id_len + 1);
    if (!id)
        return -ENOMEM;
    if (prefix) {
        memcpy(id, prefix, n - 1);
        id[n - 1] = '/';
    }
    memcpy(id + n, m->id, m->id_len);
    *ret_id = id;
    *ret_len = n + m->id_len;
    return *ret_len > ENG_XATTR_SIZE_MAX ? -ENAMETOOLONG : 0;
}

/* Whether the file under an escaped name holds the memory with this true id: 0, -EEXIST if another. */
static int check_owner(struct loader *l, tdir dir, const char *name, const struct memory *m)
{
    struct target_attr attr;
    struct target_file f;
    char none[1] = "", *id = none;
    size_t len = 0;
    int r = batch_flush(l->batch); /* it may still be pending, without an attribute to look at */
    if (!r)
        r = full_id(l, m, &id, &len);
    if (!r)
        r = l->t->ops->lookup(l->t, dir, name, &attr);
    if (r == -ENOENT)
        return 0; /* was pending, and was refused */
    if (!r)
        r = l->t->ops->open(l->t, dir, name, &attr, false, &f);
    if (r < 0)
        return r;
    char *have = pool_alloc(batch_pool(l->batch), len + 1);
    ssize_t n = have ? l->t->ops->getxattr(l->t, &f, FIELD_XATTR_ID, have, len + 1) : -ENOMEM;
    (void)l->t->ops->close(l->t, &f);
    if (n == -ENODATA || n == -ERANGE || (n >= 0 && ((size_t)n != len || memcmp(have, id, len) != 0)))
        return -EEXIST;
    return n < 0 ? (int)n : 0;
}

/* Whether whatever has a name in this directory is a memory: nobody else has a store that is not mounted, and
 * this run put nothing but memories there. */
static bool only_memories(const struct loader *l, const struct place *place)
{
    return l->t->kind == TARGET_STORE && place->made && !place->dirs;
}

/* Chooses among the names of an id in its directory. */
static int find_name(struct loader *l, const struct place *place, const struct memory *m, const char *leaf,
                     size_t len, char name[IDPATH_NAME_BUF], bool *ret_plain)
{
    tdir dir = place->dir;
    char escaped[IDPATH_NAME_BUF];
    struct target_attr attr;
    enum standing plain = TAKEN, other = FREE;
    int r = 0;
    if (idpath_is_plain(leaf, len, place->key_len == 0)) {
        memcpy(name, leaf, len);
        name[len] = 0;
        if (only_memories(l, place))
            plain = MEMORY; /* or free: the answer is the same, and asking is a cache miss */
        else
            r = standing_of(l, dir, name, &plain, &attr);
        if (r < 0)
            return r;
    }
    *ret_plain = true;
    if (plain == MEMORY || (plain == FREE && place->made))
        return 0;
    if (!idpath_leaf(leaf, len, escaped))
        idpath_hashed(m->id, m->id_len, leaf, len, escaped);
    r = standing_of(l, dir, escaped, &other, &attr);
    if (r < 0)
        return r;
    bool ours = other == MEMORY && (r = check_owner(l, dir, escaped, m)) == 0;
    if (plain == FREE && (r == -EEXIST || !ours))
        return r == -EEXIST ? 0 : r;
    *ret_plain = false;
    memcpy(name, escaped, sizeof escaped);
    return other == TAKEN ? -EEXIST : r;
}

struct spot {
    tdir dir;
    char name[IDPATH_NAME_BUF];
    bool plain; /* the path is the id */
};

static int find_spot(struct loader *l, const struct memory *m, struct spot *ret)
{
    const char *slash = memrchr(m->id, '/', m->id_len);
    size_t dir_len = slash ? (size_t)(slash + 1 - m->id) : 0, index = 0;
    bool plain = false, flat = idpath_needs_flat(m->id, m->id_len);
    int r = flat ? 0 : find_place(l, m->id, dir_len, &index);
    if (r < 0)
        return r;
    struct place place = l->places[index];
    if (flat || place.flat) {
        enum standing s = FREE;
        struct target_attr attr;
        idpath_hashed(m->id, m->id_len, m->id, m->id_len, ret->name);
        ret->dir = l->t->root;
        ret->plain = false;
        r = standing_of(l, ret->dir, ret->name, &s, &attr);
        if (r < 0 || s == FREE)
            return r;
        return s == TAKEN ? -EEXIST : check_owner(l, ret->dir, ret->name, m);
    }
    r = find_name(l, &place, m, m->id + dir_len, m->id_len - dir_len, ret->name, &plain);
    ret->dir = place.dir;
    ret->plain = plain && place.plain;
    return r;
}

struct content {
    const struct memory *m;
};

static int write_content(void *arg, struct sink *sink)
{
    const struct memory *m = ((const struct content *)arg)->m;
    for (size_t done = 0; done < m->content_len;) {
        size_t n = m->content_len - done < BATCH_CONTENT_MAX ? m->content_len - done : BATCH_CONTENT_MAX;
        int r = sink_write(sink, m->content + done, n, done);
        if (r < 0)
            return r;
        done += n;
    }
    return sink_end(sink, m->content_len);
}

/* The attributes of a memory, with its true id if the path does not tell it. */
static int record_xattrs(struct loader *l, const struct memory *m, bool plain, struct eng_record *rec)
{
    rec->xattrs = m->xattrs;
    rec->n_xattrs = m->n_xattrs;
    if (plain)
        return 0;
    char *id = NULL;
    size_t len = 0;
    int r = full_id(l, m, &id, &len);
    struct eng_xattr_pair *x = pool_alloc(batch_pool(l->batch), (m->n_xattrs + 1) * sizeof *x);
    if (r < 0 || !x)
        return r < 0 ? r : -ENOMEM;
    if (m->n_xattrs)
        memcpy(x, m->xattrs, m->n_xattrs * sizeof *x);
    x[m->n_xattrs] = (struct eng_xattr_pair){FIELD_XATTR_ID, id, len};
    rec->xattrs = x;
    rec->n_xattrs++;
    return 0;
}

int loader_add(struct loader *l, const struct memory *m, uint64_t tag)
{
    struct spot spot = {0};
    struct eng_record rec = {.content = m->content,
                             .size = m->content_len,
                             .mode = l->mode,
                             .uid = l->uid,
                             .gid = l->gid,
                             .mtime = m->created == JSONL_NO_TIME ? TARGET_NOW : m->created};
    int r = note_id(l, m->id, m->id_len);
    if (!r)
        r = find_spot(l, m, &spot);
    if (!r)
        r = record_xattrs(l, m, spot.plain, &rec);
    if (r < 0)
        return r;
    rec.parent = spot.dir;
    rec.name = pool_copy(batch_pool(l->batch), spot.name, strlen(spot.name));
    if (!rec.name)
        return -ENOMEM;
    if (m->content_len <= BATCH_CONTENT_MAX)
        return batch_add(l->batch, &rec, tag);
    struct content content = {m};
    r = batch_put_streamed(l->batch, &rec, false, write_content, &content, &(uint64_t){0});
    if (!r)
        l->batch->stored_bytes += m->content_len;
    return r;
}

int loader_new(struct target *t, uint32_t umask,
               void (*failed)(void *arg, const struct eng_record *rec, uint64_t tag, int error), void *arg,
               struct loader **ret_loader)
{
    struct loader *l = calloc(1, sizeof *l);
    struct place root = {.dir = t->root, .plain = true};
    size_t index;
    if (!l)
        return -ENOMEM;
    l->t = t;
    t->keeps_attr = true;
    l->mode = S_IFREG | (0666 & ~umask);
    l->dir_mode = 0777 & ~umask;
    l->uid = geteuid();
    l->gid = getegid();
    if (getrandom(&l->seed, sizeof l->seed, GRND_NONBLOCK) < 0)
        l->seed = (uint64_t)(uintptr_t)l; /* very early in boot; better than none */
    l->batch = batch_new(t, failed, arg);
    if (!l->batch || add_place(l, "", 0, &root, &index) < 0) {
        loader_free(l);
        return -ENOMEM;
    }
    *ret_loader = l;
    return 0;
}

void loader_free(struct loader *l)
{
    if (!l)
        return;
    batch_free(l->batch);
    pool_done(&l->keys);
    free(l->places);
    free(l->slots);
    free(l->seen);
    free(l);
}

struct pool *loader_begin(struct loader *l)
{
    batch_begin(l->batch);
    return batch_pool(l->batch);
}

int loader_flush(struct loader *l)
{
    note_last_id(l);
    return batch_flush(l->batch);
}

uint64_t loader_stored(const struct loader *l)
{
    return l->batch->stored;
}

uint64_t loader_bytes(const struct loader *l)
{
    return l->batch->stored_bytes;
}

uint64_t loader_duplicates(const struct loader *l)
{
    return l->duplicates;
}
