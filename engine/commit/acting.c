/*
 * acting.c - see acting.h. Also eng_act_as().
 *
 * State: the numbers of actors by uid and name, in a table that is made with the first change of a store for
 * somebody, and grows with that of the index. */
#include "commit/acting.h"

#include "base/hash.h"
#include "index/actors.h"

static _Thread_local struct eng_actor acting;

struct acting {
    uint32_t *numbers; /* by hash, 0 free */
    uint32_t cap;      /* a power of two, twice what is in it at least */
    uint32_t known;    /* of the table of the index, up to which record they are in */
};

int acting_new(struct eng *eng)
{
    eng->acting = calloc(1, sizeof *eng->acting);
    return eng->acting ? 0 : -ENOMEM;
}

void acting_free(struct eng *eng)
{
    if (eng->acting)
        free(eng->acting->numbers);
    free(eng->acting);
    eng->acting = NULL;
}

void eng_act_as(const struct eng_actor *actor)
{
    acting = actor ? *actor : (struct eng_actor){.known = false};
}

/* ---- numbers ---------------------------------------------------------------------- */

static struct actor_rec record_of(const struct eng_actor *actor)
{
    struct actor_rec rec = {.uid = actor->uid};
    size_t len = strnlen(actor->process, sizeof rec.name);
    memcpy(rec.name, actor->process, len);
    rec.name[0] = len ? rec.name[0] : '?'; /* a name that is empty would be none */
    return rec;
}

/* The place of the pair in the table, or the free one where it would be. */
static uint32_t *place_of(const struct eng *eng, const struct actor_rec *rec)
{
    const struct acting *a = eng->acting;
    uint32_t mask = a->cap - 1,
             at = (uint32_t)hash_long(&rec->uid, sizeof rec->uid + sizeof rec->name) & mask;
    for (; a->numbers[at]; at = (at + 1) & mask) {
        const struct actor_rec *is = index_actor(&eng->idx, a->numbers[at]);
        if (is && is->uid == rec->uid && memcmp(is->name, rec->name, sizeof is->name) == 0)
            break;
    }
    return &a->numbers[at];
}

static int grow(struct acting *a, uint32_t n)
{
    uint32_t cap = a->cap ? a->cap : 64;
    while (cap < 2 * n)
        cap *= 2;
    if (cap == a->cap)
        return 0;
    uint32_t *numbers = calloc(cap, sizeof *numbers);
    if (!numbers)
        return -ENOMEM;
    free(a->numbers);
    *a = (struct acting){.numbers = numbers, .cap = cap, .known = 1};
    return 0;
}

/* Those that came to the index since the last look. */
static int look_again(struct eng *eng)
{
    struct acting *a = eng->acting;
    const struct index *idx = &eng->idx;
    int r = grow(a, idx->actors.used + 1);
    for (; !r && a->known < idx->actors.used; a->known++) {
        const struct actor_rec *rec = index_actor(idx, a->known);
        if (rec)
            *place_of(eng, rec) = a->known;
    }
    return r;
}

bool acting_by(struct eng *eng, struct op *ret_op)
{
    if (!acting.known || look_again(eng) != 0)
        return false;
    struct actor_rec rec = record_of(&acting);
    uint32_t number = *place_of(eng, &rec), next = index_predict_actor(&eng->idx);
    *ret_op = (struct op){.type = OP_BY, .actor = number ? number : next, .user = rec.uid};
    if (!number) {
        static _Thread_local char name[sizeof rec.name];
        memcpy(name, rec.name, sizeof name);
        ret_op->name = name;
        ret_op->name_len = (uint16_t)strnlen(name, sizeof name);
    }
    return ret_op->actor != 0;
}
