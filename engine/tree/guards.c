/*
 * guards.c - see guards.h. Also eng_guard_parse() and eng_proof_add().
 *
 * Digests are computed without a lock, and a guard that needs one looks at the version alone. When that is
 * another one by then the digest is computed again, a few times. */
#include "tree/guards.h"

#include "index/xattr_list.h"

#define PROOF_TRIES 16u /* digests that one operation asks for */
#define STATE "state:"
#define SHA256_BYTES 32u

enum { TARGET, SOURCE };

/* ---- what a text means ------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_sha256(const char *text, uint8_t sha256[SHA256_BYTES])
{
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        sha256[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool parse_number(const char *text, size_t len, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            return false;
    }
    *ret_number = number;
    return len > 0;
}

int eng_guard_parse(const char *value, size_t size, struct eng_guard *ret_guard)
{
    static const char none[] = "none";
    const size_t state = sizeof STATE - 1;
    struct eng_guard guard = {0};
    if (!value || !ret_guard)
        return -EINVAL;
    if (size == sizeof none - 1 && memcmp(value, none, size) == 0)
        guard.kind = ENG_GUARD_NONE;
    else if (size == 2 * (size_t)SHA256_BYTES && parse_sha256(value, guard.sha256))
        guard.kind = ENG_GUARD_SHA256;
    else if (size > state && memcmp(value, STATE, state) == 0 &&
             parse_number(value + state, size - state, &guard.state))
        guard.kind = ENG_GUARD_STATE;
    else
        return -EINVAL;
    *ret_guard = guard;
    return 0;
}

/* ---- proofs ------------------------------------------------------------------------- */

void eng_proof_add(struct eng_proof *proof, int result, const struct eng_digest_value *value)
{
    if (!proof || (!result && !value) || proof->place >= ARRAY_LEN(proof->known))
        return;
    proof->known[proof->place].ino = proof->wanted;
    proof->known[proof->place].result = result;
    if (!result)
        proof->known[proof->place].value = *value;
}

/* The SHA-256 of the regular file in that slot as it is. -EINPROGRESS: it is wanted first; else why there is
 * none. */
static int digest_of(const struct eng *eng, struct guarded *g, unsigned place, uint32_t slot,
                     const uint8_t **ret_sha256)
{
    struct eng_proof *proof = g->proof;
    const struct inode_rec *inode = index_slot(&eng->idx, slot);
    uint64_t ino = index_ino(inode, slot);
    if (proof->known[place].ino == ino) {
        if (proof->known[place].result)
            return proof->known[place].result;
        *ret_sha256 = proof->known[place].value.bytes;
        if (proof->known[place].value.version == inode->version || MUTANT(GUARD_STALE_PROOF))
            return 0;
    }
    if (proof->tries++ >= PROOF_TRIES)
        return -EBUSY;
    proof->wanted = ino;
    proof->place = place;
    return -EINPROGRESS;
}

/* In this thread. */
static int compute(struct eng *eng, struct eng_proof *proof)
{
    struct eng_digest *d = NULL;
    struct eng_digest_value value;
    CLEANUP_FREE uint8_t *buf = malloc(EXTENT_MAX);
    int r = buf ? eng_digest_begin(eng, proof->wanted, ENG_DIGEST_SHA256, &d) : -ENOMEM, more = !r;
    while (more > 0)
        r = more = eng_digest_step(d, buf, EXTENT_MAX, &value);
    eng_digest_end(d);
    eng_proof_add(proof, r, &value);
    return r == -ENOMEM ? r : 0;
}

bool guards_again(struct eng *eng, struct guarded *g, int *r)
{
    if (*r != -EINPROGRESS || g->proof != &g->own)
        return false;
    fault_point(&eng->hook, FP_PROOF_WANTED);
    int error = compute(eng, g->proof);
    *r = error ? error : *r;
    return !error;
}

/* ---- looking at them ---------------------------------------------------------------- */

static bool is_of(enum eng_guard_kind kind, unsigned kinds)
{
    return (unsigned)kind <= ENG_GUARD_STORED && kinds & 1u << kind;
}

int guards_begin(struct guarded *g, const struct eng_guard *asked, unsigned kinds)
{
    *g = (struct guarded){.asked = asked};
    if (!asked)
        return 0;
    if (!is_of(asked->kind, kinds))
        return -EINVAL;
    if (asked->kind == ENG_GUARD_STORED && asked->otherwise &&
        !is_of(asked->otherwise->kind, kinds & ~(1u << ENG_GUARD_STORED)))
        return -EINVAL;
    g->proof = asked->proof ? asked->proof : &g->own;
    g->guard = *asked;
    return 0;
}

int guards_read(const struct eng *eng, struct guarded *g, uint32_t source)
{
    const struct inode_rec *inode = index_slot(&eng->idx, source);
    struct xattr_view xattr;
    if (!g->asked || g->asked->kind != ENG_GUARD_STORED)
        return 0;
    uint32_t x = inode->xattrs ? index_find_xattr(&eng->idx, inode, XATTR_GUARD, sizeof XATTR_GUARD - 1) : 0;
    g->guard.kind = 0;
    g->is_stored = x;
    if (!x && g->asked->otherwise)
        g->guard = *g->asked->otherwise;
    if (!x)
        return 0;
    if (!index_xattr(&eng->idx, x, &xattr))
        return -EBADMSG;
    return xattr.is_extent ? -EINVAL : eng_guard_parse(xattr.value, xattr.value_len, &g->guard);
}

static int check_seen(const struct eng *eng, const struct eng_guard *guard, uint32_t target)
{
    const struct inode_rec *inode = index_inode(&eng->idx, guard->ino);
    bool is_there = inode && (guard->kind == ENG_GUARD_MOVED ? !target : target == ino_slot(guard->ino));
    if (!inode || !is_there)
        return -EREMCHG;
    return inode->version == guard->version ? 0 : -ECANCELED;
}

/* Why a guard is not met, of a digest that cannot be had; changed all the time, it is not what it was. */
static int cannot_tell(int r)
{
    return r == -EBUSY ? -ECANCELED : r;
}

static int check_sha256(const struct eng *eng, struct guarded *g, uint32_t target)
{
    const uint8_t *sha256 = NULL;
    if (!target || !S_ISREG(index_slot(&eng->idx, target)->mode))
        return -ECANCELED;
    int r = digest_of(eng, g, TARGET, target, &sha256);
    if (r)
        return cannot_tell(r);
    return memcmp(sha256, g->guard.sha256, SHA256_BYTES) == 0 ? 0 : -ECANCELED;
}

static int check_state(const struct eng *eng, const struct eng_guard *guard, uint32_t target)
{
    return target && index_slot(&eng->idx, target)->state == guard->state ? 0 : -ECANCELED;
}

/* Whether the target has the content of the source: 0, -ECANCELED, -EINPROGRESS. */
static int check_equal(const struct eng *eng, struct guarded *g, uint32_t source, uint32_t target)
{
    const struct inode_rec *a = index_slot(&eng->idx, source), *b = index_slot(&eng->idx, target);
    const uint8_t *has[2];
    if (!source || !target || !S_ISREG(a->mode) || !S_ISREG(b->mode) || a->size != b->size ||
        MUTANT(EQUAL_REFUSED))
        return -ECANCELED;
    if (!a->size)
        return 0;
    int r = digest_of(eng, g, TARGET, target, &has[TARGET]);
    if (!r)
        r = digest_of(eng, g, SOURCE, source, &has[SOURCE]);
    if (r)
        return r == -EINPROGRESS ? r : -ECANCELED;
    return memcmp(has[TARGET], has[SOURCE], SHA256_BYTES) == 0 ? 0 : -ECANCELED;
}

int guards_check(const struct eng *eng, struct guarded *g, uint32_t source, uint32_t target)
{
    int r = 0;
    g->is_equal = false;
    switch ((int)g->guard.kind) {
    case 0:
        return 0;
    case ENG_GUARD_NONE:
        return target ? -ECANCELED : 0;
    case ENG_GUARD_SEEN:
    case ENG_GUARD_MOVED:
        return check_seen(eng, &g->guard, target);
    case ENG_GUARD_STATE:
        r = check_state(eng, &g->guard, target);
        break;
    case ENG_GUARD_SHA256:
        r = check_sha256(eng, g, target);
        break;
    default:
        return -EINVAL;
    }
    if (r != -ECANCELED)
        return r;
    r = check_equal(eng, g, source, target);
    g->is_equal = !r;
    g->proof->is_refused = true;
    return r;
}

#define SAME_FIELDS 64u /* of more it is not found out, nor of large values */

/* Whether each field of `a` is one of `b`; *ret_n: how many it has. */
static bool has_fields_of(const struct index *idx, const struct inode_rec *a, const struct inode_rec *b,
                          unsigned *ret_n)
{
    struct xattr_walk walk = {.next = a->xattrs};
    struct xattr_view other;
    bool has = true;
    *ret_n = 0;
    while (has && index_next_xattr(idx, &walk)) {
        const struct xattr_view *field = &walk.xattr;
        if (xattr_is_guard(field->name, field->name_len))
            continue;
        uint32_t x = index_find_xattr(idx, b, field->name, field->name_len);
        has = ++*ret_n <= SAME_FIELDS && x && index_xattr(idx, x, &other) && !field->is_extent &&
              !other.is_extent && field->value_len == other.value_len &&
              memcmp(field->value, other.value, other.value_len) == 0;
    }
    return has;
}

bool guards_is_same(const struct eng *eng, const struct guarded *g, uint32_t source, uint32_t target)
{
    const struct inode_rec *a = index_slot(&eng->idx, source), *b = index_slot(&eng->idx, target);
    unsigned n_a, n_b;
    return g->is_equal && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
           has_fields_of(&eng->idx, a, b, &n_a) && has_fields_of(&eng->idx, b, a, &n_b);
}

int guards_stage(const struct guarded *g, struct txn *txn, uint64_t source)
{
    if (!g->is_stored || MUTANT(GUARD_STAYS))
        return 0;
    struct op *op = txn_op(txn, OP_XATTR_DEL);
    if (!op)
        return -ENOMEM;
    op->ino = source;
    op->time = now_ns();
    op->name = XATTR_GUARD;
    op->name_len = sizeof XATTR_GUARD - 1;
    return 0;
}
