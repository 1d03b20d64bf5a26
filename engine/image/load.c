/*
 * load.c - see load.h. */
#include "image/load.h"

#include "core/damage.h"
#include "image/checkpoint_v1.h"
#include "image/rest.h"
#include "index/chunk_check.h"

static_assert(sizeof(struct index_scalars) == sizeof((struct ckpt_head *)0)->scalars &&
                  8 * INDEX_SCALARS_PLAIN == sizeof((struct ckpt_head_plain *)0)->scalars,
              "they are in the head");

/* ---- the head ------------------------------------------------------------ */

static void tree_decode(struct btree *t, const uint64_t in[3])
{
    t->root = (uint32_t)MIN_OF(in[0], (uint64_t)UINT32_MAX);
    t->depth = (uint32_t)MIN_OF(in[1], (uint64_t)UINT32_MAX);
    t->count = in[2];
}

/* As long as the map of the checkpoint, which is open, has it. */
static int take_head(struct eng *eng, const void *head, struct ckpt_position *ret_pos)
{
    struct index *idx = &eng->idx;
    bool is_plain = eng->checkpoints->images.map.n_tables == INDEX_TABLES_PLAIN;
    struct ckpt_head h;
    int r = ckpt_head_decode(head, is_plain ? sizeof(struct ckpt_head_plain) : sizeof h, &h);
    if (r)
        return r;
    if (memcmp(h.uuid, eng->sb.uuid, sizeof h.uuid) != 0 || h.segment >= h.next_segment_id ||
        !log_place_is_plausible(h.segment, h.offset) ||
        (!segment_id_is_plausible(h.next_segment_id - 1, h.seq) && !MUTANT(NUMBERS_BELIEVED)))
        return -EBADMSG;
    memcpy(&idx->s, h.scalars, sizeof idx->s);
    bool is_right = !index_is_kept_whole(idx) || idx->s.floor <= h.seq;
    if (!is_right || idx->s.newest_snapshot > h.seq || idx->s.inexact > h.seq)
        return -EBADMSG;
    tree_decode(&idx->dirs, h.trees[0]);
    tree_decode(&idx->extents, h.trees[1]);
    tree_decode(&idx->past_order, h.trees[2]);
    tree_decode(&idx->past_lookup, h.trees[3]);
    idx->n_orphans = h.n_orphans;
    *ret_pos = (struct ckpt_position){h.seq, h.chain, h.segment, h.offset, h.next_segment_id};
    return 0;
}

/* ---- all of it ------------------------------------------------------------ */

static void mend_end(struct eng *eng)
{
    unsigned mended = images_mend_end(&eng->checkpoints->images);
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        char name[IMAGE_NAME_SIZE];
        image_name(eng->checkpoints->images.map.id, copy, name);
        if (mended >> copy & 1)
            report_line(&eng->report, ENG_LOG_INFO, "%s: its end was missing; written as its copy has it",
                        name);
    }
}

/* Its tables, of which no chunk is here yet; one that it does not have is as the index began. *ret_chunks:
 * how many there are. */
static int begin_tables(struct eng *eng, uint64_t *ret_chunks)
{
    struct index *idx = &eng->idx;
    int r = 0;
    *ret_chunks = 0;
    for (unsigned i = 0; i < eng->checkpoints->images.map.n_tables && !r; i++) {
        r = images_begin_table(&eng->checkpoints->images, i, index_table(idx, i));
        *ret_chunks += index_table(idx, i)->n_chunks;
    }
    if (!r)
        r = index_check_head(idx);
    if (!r)
        rest_watch(eng);
    return r;
}

/* Loads and verifies it whole. */
static int load_whole(struct eng *eng)
{
    int r = rest_fetch_all(eng);
    if (!r)
        r = index_opened(&eng->idx);
    if (!r)
        r = rest_verify(&eng->idx);
    images_close(&eng->checkpoints->images, 0);
    return r;
}

/* Without it there is nothing that anybody could ask for. */
static int fetch_root(const struct index *idx)
{
    pool_missed = 0;
    (void)index_slot(idx, ENG_ROOT_INO);
    return pool_missed;
}

int load_checkpoint(struct eng *eng, uint64_t id, struct ckpt_position *ret_pos)
{
    struct images *images = &eng->checkpoints->images;
    void *head = NULL;
    uint64_t chunks;
    int r = images_open(images, id, sizeof(struct ckpt_head_plain), &head);
    if (r)
        return r;
    if (!eng->opt.read_only)
        mend_end(eng);
    r = take_head(eng, head, ret_pos);
    free(head);
    if (!r)
        r = begin_tables(eng, &chunks);
    if (r)
        return r;
    if (rest_is_for(eng, chunks)) {
        r = index_opened(&eng->idx);
        if (!r)
            r = fetch_root(&eng->idx);
        if (!r)
            loading_begin(&eng->loading, chunks);
    } else {
        r = load_whole(eng);
    }
    if (!r)
        eng->checkpoints->at = *ret_pos;
    return r;
}

/* ---- in part ------------------------------------------------------------ */

/* Zeros in memory for each chunk that is there; what is not read into takes none. */
static int begin_parts(struct images *images, unsigned which, struct table *t)
{
    const struct table_source none = {0};
    const struct map_table *mt = &images->map.tables[which];
    int r = table_load_begin(t, mt->n_chunks, &none);
    for (uint32_t c = 0; c < mt->n_chunks && !r; c++) {
        t->metas[c] = mt->entries[c].meta;
        if (!mt->entries[c].n_refs && !images_page_is_lost(images, which, c))
            table_load_dropped(t, c);
    }
    if (!r)
        t->used = mt->used;
    return r ? r : table_loaded(t);
}

static uint64_t pieces_len(const struct map_entry *e)
{
    uint64_t len = 0;
    for (uint32_t k = 0; k < e->n_refs; k++)
        len += e->refs[k].len;
    return len;
}

/* Reads what can be read, in the order of the chunks. No more than the files hold: a map may claim the same
 * piece again and again. */
static int read_parts(struct images *images, unsigned which, struct table *t, uint64_t *bytes,
                      struct index_holes *holes)
{
    for (uint32_t c = 0; c < t->n_chunks; c++) {
        uint64_t len = pieces_len(&images->map.tables[which].entries[c]);
        if (t->states[c] == TABLE_DROPPED)
            continue;
        int r = len <= *bytes ? images_fetch(images, which, c, t->chunks[c]) : -EBADMSG;
        *bytes -= MIN_OF(len, *bytes);
        if (!r)
            continue;
        if (io_is_shortage(r))
            return r;
        if (len)
            memset(t->chunks[c], 0, TABLE_CHUNK_SIZE);
        if (!holes->lost[which] && !(holes->lost[which] = calloc(t->n_chunks, 1)))
            return -ENOMEM;
        holes->lost[which][c] = 1;
        holes->n++;
    }
    return 0;
}

int load_parts(struct eng *eng, uint64_t id, struct ckpt_position *ret_pos, struct index_holes *ret_holes)
{
    struct images *images = &eng->checkpoints->images;
    uint64_t bytes;
    void *head = NULL;
    int r = images_open_parts(images, id, sizeof(struct ckpt_head_plain), &head, &bytes);
    if (r)
        return r;
    r = take_head(eng, head, ret_pos);
    free(head);
    images->check = NULL; /* that of another checkpoint, if any; index_mend() looks at all */
    for (unsigned i = 0; i < images->map.n_tables && !r; i++)
        r = begin_parts(images, i, index_table(&eng->idx, i));
    for (unsigned i = 0; i < images->map.n_tables && !r; i++)
        r = read_parts(images, i, index_table(&eng->idx, i), &bytes, ret_holes);
    images_close(images, 0);
    return r;
}

/* ---- what cannot be loaded ------------------------------------------------------------ */

int load_probe(struct eng *eng, uint64_t id, uint64_t *ret_seq)
{
    bool is_old = eng->sb.version == FORMAT_VERSION_OLD;
    struct image_note none[IMAGE_NOTES];
    int r = is_old ? -EBADMSG : images_probe(&eng->checkpoints->images, id, ret_seq);
    (void)images_take_notes(&eng->checkpoints->images, none); /* its copies are nobody's */
    if (r)
        r = checkpoint_v1_probe(eng, id, ret_seq);
    if (!r)
        eng->checkpoints->next_id = MAX_OF(eng->checkpoints->next_id, id + 1);
    return r;
}

void load_tell_unusable(struct eng *eng, uint64_t id, int error)
{
    char name[IMAGE_NAME_SIZE];
    image_name(id, 0, name);
    bool is_old = eng->sb.version == FORMAT_VERSION_OLD, is_finished = checkpoint_v1_is_finished(eng, id);
    if (!is_old && !is_finished)
        is_finished = images_is_finished(&eng->checkpoints->images, id);
    if ((error == -EBADMSG || (is_old && error == -ENOENT)) && !is_finished) {
        report_line(&eng->report, ENG_LOG_INFO, "checkpoint %s was not finished", name);
        return;
    }
    report_line(&eng->report, ENG_LOG_WARNING, "checkpoint %s cannot be used (%s), trying the one before",
                name, strerror(-error));
    if (eng->opt.read_only)
        damage_record_file(eng, name, 0, "this checkpoint cannot be used");
}
