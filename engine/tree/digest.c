/*
 * digest.c - the digest of the whole content of a file, in steps.
 *
 * A digest is of one version. Each step begins with a look at the version, and the last one does nothing
 * else: if it is that of the first step, all that was read between is of it. Otherwise the digest starts
 * again, at once, for as long as what was hashed in vain is within bounds: a file that is written all the
 * time gets -EBUSY, and no hash without end.
 *
 * No function of the kind that is asked for here can hash a hole without going through its zeros, so a hole
 * costs memory bandwidth; files with more of it than ENG_DIGEST_HOLES_MAX are refused. Nothing is locked from
 * one step to the next. */
#include "tree/digest.h"

#include "base/hash.h"
#include "tree/attr.h"
#include "tree/content.h"

#include <nettle/sha2.h>
#include <sys/stat.h>

#define WHENCE_DATA 3        /* SEEK_DATA */
#define TRY_MIN (64u << 10)  /* what a try in vain counts at least */
#define VAIN_MIN (16u << 20) /* so much of it is allowed for any file, */
#define VAIN_FACTOR 4u       /* and so many times its size */
#define ZEROS_STEP 16u       /* zeros that a step adds: so many times its buffer */
#define HOLE_MIN (64u << 10) /* smaller ones are read with what is around them */

struct eng_digest {
    struct view view;
    uint64_t ino;
    const struct hash_function *function;
    void *state; /* of the function; NULL: nothing was begun */
    uint64_t version, size, off;
    uint64_t holes; /* zeros that were added */
    uint64_t tried; /* what was added since this try began */
    uint64_t vain;  /* and in all those before it */
    bool has_holes;
};

/* ---- functions ----------------------------------------------------------------- */

/* What a kind of digest is computed by. end() frees the state and writes the digest, most significant byte
 * first, unless `ret` is NULL. */
struct hash_function {
    void *(*begin)(void); /* NULL: no memory */
    void (*add)(void *state, const void *data, size_t size);
    void (*end)(void *take_state, uint8_t ret[ENG_DIGEST_MAX]);
    uint32_t size;
};

static void *xxh3_begin(void)
{
    return hash_stream_new();
}

static void xxh3_add(void *state, const void *data, size_t size)
{
    hash_stream_add(state, data, size);
}

static void xxh3_end(void *take_state, uint8_t ret[ENG_DIGEST_MAX])
{
    uint64_t hash = hash_stream_free(take_state);
    for (unsigned i = 0; ret && i < sizeof hash; i++)
        ret[i] = (uint8_t)(hash >> (56 - 8 * i));
}

static void *sha256_begin(void)
{
    struct sha256_ctx *state = malloc(sizeof *state);
    if (state)
        sha256_init(state);
    return state;
}

static void sha256_add(void *state, const void *data, size_t size)
{
    sha256_update(state, size, data);
}

static void sha256_end(void *take_state, uint8_t ret[ENG_DIGEST_MAX])
{
    if (ret)
        sha256_digest(take_state, SHA256_DIGEST_SIZE, ret);
    free(take_state);
}

static const struct hash_function functions[] = {
    [ENG_DIGEST_XXH3_64] = {xxh3_begin, xxh3_add, xxh3_end, 8},
    [ENG_DIGEST_SHA256] = {sha256_begin, sha256_add, sha256_end, SHA256_DIGEST_SIZE},
};

/* ---- steps --------------------------------------------------------------------- */

static int add_zeros(struct eng_digest *d, uint64_t n)
{
    static const uint8_t zeros[64 << 10];
    d->holes += n;
    if (d->holes > ENG_DIGEST_HOLES_MAX)
        return -EFBIG;
    for (uint64_t left = n; left > 0;) {
        size_t now = (size_t)MIN_OF(left, (uint64_t)sizeof zeros);
        d->function->add(d->state, zeros, now);
        left -= now;
    }
    d->off += n;
    d->tried += n;
    return 0;
}

/* The length of the hole at d->off; 0: there is content, or soon. */
static int hole_ahead(const struct eng_digest *d, uint64_t *ret_len)
{
    uint64_t data = d->off;
    int r = d->has_holes ? content_seek(&d->view, d->ino, d->off, WHENCE_DATA, &data) : 0;
    if (r == -ENXIO) /* none to the end */
        data = d->size;
    else if (r)
        return r;
    data = MIN_OF(data, d->size);
    *ret_len = data >= d->off + HOLE_MIN ? data - d->off : 0;
    return 0;
}

static int add_some(struct eng_digest *d, void *buf, size_t size)
{
    uint64_t hole;
    int r = hole_ahead(d, &hole);
    if (!r && hole)
        return add_zeros(d, MIN_OF(hole, (uint64_t)size * ZEROS_STEP));
    ssize_t n = 0;
    if (!r)
        r = content_read_range(&d->view, d->ino, buf, (size_t)MIN_OF(size, d->size - d->off), d->off, &n);
    if (r)
        return r;
    d->function->add(d->state, buf, (size_t)n);
    d->off += (uint64_t)n; /* 0: the file has shrunk, as the next look at the version tells */
    d->tried += (uint64_t)n;
    return 0;
}

/* Begins with the content as it is now. */
static int start(struct eng_digest *d, const struct eng_attr *now)
{
    if (d->state) {
        d->function->end(STEAL(d->state), NULL);
        d->vain += MAX_OF(d->tried, (uint64_t)TRY_MIN);
    }
    d->tried = 0;
    if (d->vain > VAIN_FACTOR * now->size + VAIN_MIN)
        return -EBUSY;
    if (now->size > now->bytes && now->size - now->bytes > ENG_DIGEST_HOLES_MAX)
        return -EFBIG;
    d->version = now->version;
    d->size = now->size;
    d->has_holes = now->size != now->bytes || view_is_past(&d->view); /* nobody has counted */
    d->off = d->holes = 0;
    d->state = d->function->begin();
    return d->state ? 0 : -ENOMEM;
}

int eng_digest_step(struct eng_digest *d, void *buf, size_t size, struct eng_digest_value *ret_value)
{
    struct eng_attr now;
    if (!d || !buf || !size || !ret_value)
        return -EINVAL;
    int r = attr_get(&d->view, d->ino, &now);
    if (!r && !S_ISREG(now.mode))
        r = -ENODATA;
    if (!r && (!d->state || (now.version != d->version && !MUTANT(MIXED_DIGEST))))
        r = start(d, &now);
    if (!r && d->off < d->size) {
        r = add_some(d, buf, size);
        return r ? r : 1;
    }
    if (r)
        return r;
    *ret_value = (struct eng_digest_value){.version = d->version, .size = d->function->size};
    d->function->end(STEAL(d->state), ret_value->bytes);
    d->vain = 0;
    return 0;
}

/* ---- a whole digest -------------------------------------------------------------- */

int digest_begin(const struct view *view, uint64_t ino, enum eng_digest_kind kind,
                 struct eng_digest **ret_digest)
{
    if ((unsigned)kind >= ARRAY_LEN(functions))
        return -EINVAL;
    struct eng_digest *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    *d = (struct eng_digest){.view = *view, .ino = ino, .function = &functions[kind]};
    *ret_digest = d;
    return 0;
}

int eng_digest_begin(struct eng *eng, uint64_t ino, enum eng_digest_kind kind, struct eng_digest **ret_digest)
{
    if (!eng || !ret_digest)
        return -EINVAL;
    struct view live = view_live(eng);
    return digest_begin(&live, ino, kind, ret_digest);
}

void eng_digest_end(struct eng_digest *take_digest)
{
    if (!take_digest)
        return;
    if (take_digest->state)
        take_digest->function->end(take_digest->state, NULL);
    free(take_digest);
}

int digest_content_hash(const struct view *view, uint64_t ino, uint64_t *ret_hash)
{
    struct eng_digest *d = NULL;
    struct eng_digest_value value;
    CLEANUP_FREE uint8_t *buf = malloc(EXTENT_MAX);
    int r = buf ? digest_begin(view, ino, ENG_DIGEST_XXH3_64, &d) : -ENOMEM, more = !r;
    while (more > 0)
        r = more = eng_digest_step(d, buf, EXTENT_MAX, &value);
    eng_digest_end(d);
    if (r)
        return r;
    uint64_t hash = 0;
    for (unsigned i = 0; i < value.size; i++)
        hash = hash << 8 | value.bytes[i];
    *ret_hash = hash;
    return 0;
}

int eng_content_hash(struct eng *eng, uint64_t ino, uint64_t *ret_hash)
{
    if (!eng || !ret_hash)
        return -EINVAL;
    struct view live = view_live(eng);
    return digest_content_hash(&live, ino, ret_hash);
}
