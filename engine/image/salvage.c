/*
 * salvage.c - what can be had of a store whose recovery is refused: who it is
 * without its superblock, and the content behind the damage in its log, which
 * describes itself (docs/FORMAT.md, extents). Nothing is written.
 *
 * What is found in this way is not the word of the log: whoever writes content that looks like an extent has
 * it found. So it is handed out apart from the memories, with the path as a hint only. */
#include "image/salvage.h"

#include "image/checkpoint_v1.h"
#include "image/load.h"
#include "image/moved.h"

#include <stdio.h>

/* ---- identity ------------------------------------------------------------------- */

/* What a segment says of its store. */
struct vote {
    uint8_t uuid[16];
    uint64_t store; /* 0: its first batch does not tell */
    bool first;     /* the log begins with it */
};

struct votes {
    struct eng *eng;
    struct vote *all;
    size_t n, cap;
    uint64_t *ckpts;
    size_t n_ckpts, cap_ckpts;
    unsigned n_stores; /* that they say */
};

/* The number of the store in the first batch; 0: the batch is not whole. -ENOMEM. */
static int first_batch(struct eng *eng, struct io_file *file, uint64_t *ret_store)
{
    const struct eng_io_ops *ops = eng->io->ops;
    struct batch_header h;
    const uint64_t at = sizeof(struct segment_header);
    *ret_store = 0;
    if (io_pread_exact(file, ops, &h, sizeof h, at) != 0 || !batch_header_fits(&h, SEGMENT_BYTES_MAX))
        return 0;
    CLEANUP_FREE uint8_t *data = malloc(h.ops_len + 1u);
    if (!data)
        return -ENOMEM;
    if (io_pread_exact(file, ops, data, h.ops_len, at + sizeof h) == 0 && h.sum == batch_sum(&h, data))
        *ret_store = h.store; /* the number that the lost secret made */
    return 0;
}

static int ask_segment(struct votes *v, const char *name, uint32_t id)
{
    const struct eng_io_ops *ops = v->eng->io->ops;
    struct segment_header h;
    struct io_file *file;
    int r = ops->open(v->eng->io, name, IO_RDONLY, &file);
    if (r)
        return io_is_shortage(r) ? r : 0;
    if (io_pread_exact(file, ops, &h, sizeof h, 0) == 0 && segment_header_check(&h, h.uuid, id) == 0) {
        struct vote vote = {0};
        memcpy(vote.uuid, h.uuid, sizeof vote.uuid);
        if (h.kind == SEGMENT_LOG)
            r = first_batch(v->eng, file, &vote.store);
        vote.first = vote.store && h.first_seq == 1;
        if (!r)
            r = array_grow(&v->all, &v->cap, v->n + 1, sizeof *v->all);
        if (!r)
            v->all[v->n++] = vote;
    }
    ops->close(file);
    return r;
}

static int ask_file(void *arg, const char *name)
{
    struct votes *v = arg;
    uint32_t id;
    uint64_t ckpt;
    unsigned copy;
    if (segment_parse_name(name, &id) == 0)
        return ask_segment(v, name, id);
    if (image_parse_name(name, &ckpt, &copy) != 0)
        return 0;
    for (size_t i = 0; i < v->n_ckpts; i++)
        if (v->ckpts[i] == ckpt) /* its copy */
            return 0;
    int r = array_grow(&v->ckpts, &v->cap_ckpts, v->n_ckpts + 1, sizeof *v->ckpts);
    if (!r)
        v->ckpts[v->n_ckpts++] = ckpt;
    return r;
}

static int by_store(const void *a, const void *b)
{
    const struct vote *x = a, *y = b;
    int r = memcmp(x->uuid, y->uuid, sizeof x->uuid);
    return r ? r : (x->store > y->store) - (x->store < y->store);
}

/* How many checkpoints are of the store that eng->sb says, and whose batches have the number `store`. */
static size_t ask_checkpoints(struct votes *v, uint64_t store)
{
    struct images images;
    size_t n = 0;
    uint64_t seq;
    if (images_init(&images, v->eng->io, store, INDEX_TABLES_PLAIN) != 0)
        return 0;
    for (size_t i = 0; i < v->n_ckpts; i++)
        n += images_probe(&images, v->ckpts[i], &seq) == 0 ||
             checkpoint_v1_probe(v->eng, v->ckpts[i], &seq) == 0;
    images_free(&images);
    return n;
}

/* What those say who say one store, from v->all[i] on, and where they end. */
static size_t one_store(const struct votes *v, size_t i, struct vote *ret_vote)
{
    size_t most = 0, same = 0, end = i;
    *ret_vote = (struct vote){0};
    memcpy(ret_vote->uuid, v->all[i].uuid, sizeof ret_vote->uuid);
    for (; end < v->n && memcmp(v->all[end].uuid, v->all[i].uuid, sizeof v->all[i].uuid) == 0; end++) {
        same = end > i && v->all[end].store == v->all[end - 1].store ? same + 1 : 1;
        ret_vote->first = ret_vote->first || v->all[end].first;
        if (v->all[end].store && same > most) {
            most = same;
            ret_vote->store = v->all[end].store;
        }
    }
    return end;
}

/* So many times as much counts a store whose beginning is there: it can be had. */
#define BEGINNING 4u

/* The store that most say, and its number: files of another may lie among its own. */
static void count_votes(struct votes *v)
{
    struct vote best = {0}, at;
    size_t most = 0;
    if (v->n)
        qsort(v->all, v->n, sizeof *v->all, by_store);
    for (size_t i = 0, end; i < v->n; i = end) {
        end = one_store(v, i, &at);
        memcpy(v->eng->sb.uuid, at.uuid, sizeof at.uuid);
        size_t n_ckpts = ask_checkpoints(v, at.store), n = end - i + n_ckpts;
        if (at.first || n_ckpts)
            n *= BEGINNING;
        if (n > most) {
            most = n;
            best = at;
        }
        v->n_stores++;
    }
    memcpy(v->eng->sb.uuid, best.uuid, sizeof best.uuid);
    v->eng->log.store = best.store;
}

int salvage_identity(struct eng *eng, char why[256])
{
    struct votes v = {.eng = eng};
    /* Which features it has nobody knows: it may have all. */
    eng->sb = (struct superblock){
        .version = FORMAT_VERSION, .incompat = FORMAT_INCOMPAT, .segment_size = ENG_SEGMENT_SIZE_DEFAULT};
    int r = eng->io->ops->list(eng->io, ask_file, &v);
    if (!r)
        count_votes(&v);
    free(v.all);
    free(v.ckpts);
    if (r)
        return r;
    if (!eng->log.store) {
        snprintf(why, 256,
                 "not a store any more: it has no superblock, and no segment tells whose it is, with its "
                 "first batch");
        return -EBADMSG;
    }
    report_line(&eng->report, ENG_LOG_WARNING,
                "the superblock is damaged or missing: the segments tell whose they are%s",
                v.n_stores > 1 ? ", and most are of one store; those of others are left out" : "");
    return 0;
}

int salvage_root(struct eng *eng)
{
    struct op op = {.type = OP_CREATE, .ino = ENG_ROOT_INO, .mode = S_IFDIR | 0755, .time = now_ns()};
    int r = index_reserve(&eng->idx, &op, 1);
    return r ? r : index_apply(&eng->idx, &op, 0);
}

/* ---- an index in part ----------------------------------------------------------------------- */

/* What is left of a damaged checkpoint. */
static int load_remains(struct eng *eng, uint64_t id, const struct index_file *files, size_t n_files,
                        struct ckpt_position *ret_pos)
{
    struct index_holes holes = {0};
    uint8_t *lost = NULL;
    uint32_t n_slots = 0;
    uint64_t states = 0, names = 0;
    int r = checkpoint_v1_is_finished(eng, id) ? checkpoint_v1_load_parts(eng, id, &eng->idx, ret_pos, &holes)
                                               : load_parts(eng, id, ret_pos, &holes);
    if (!r) {
        states = eng->idx.s.n_past;
        names = eng->idx.s.n_past_names;
        r = index_mend(&eng->idx, &holes, files, n_files, &lost, &n_slots);
    }
    bool lost_moments = holes.lost[TABLE_MOMENTS] != NULL;
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        free(holes.lost[i]);
    if (r)
        return r;
    if (lost_moments)
        report_line(&eng->report, ENG_LOG_WARNING,
                    "snapshots are lost with them; those that are listed are left");
    eng->lost_slots = lost;
    eng->n_lost_slots = n_slots;
    report_line(&eng->report, ENG_LOG_WARNING,
                "checkpoint c%016llx: %llu parts of the index are damaged; what they named is lost",
                (unsigned long long)id, (unsigned long long)holes.n);
    if (eng->idx.s.n_past < states || eng->idx.s.n_past_names < names)
        report_line(&eng->report, ENG_LOG_WARNING,
                    "%llu past states of memories and %llu past names are lost with them",
                    (unsigned long long)(states - eng->idx.s.n_past),
                    (unsigned long long)(names - eng->idx.s.n_past_names));
    return 0;
}

int salvage_fresh_index(struct eng *eng)
{
    free(eng->lost_slots);
    eng->lost_slots = NULL;
    index_free(&eng->idx);
    return index_init(&eng->idx, eng->sb.hash_seed);
}

/* All is found by what it says of itself. */
static int lose_names(struct eng *eng, const char *why)
{
    report_line(&eng->report, ENG_LOG_WARNING, "%s: names are lost", why);
    eng->lost_after = 0;
    return salvage_root(eng);
}

int salvage_remains(struct eng *eng, const struct seg_file *segs, size_t n_segs, const uint64_t *ckpts,
                    size_t n_ckpts, uint64_t *ret_id, struct ckpt_position *ret_pos)
{
    CLEANUP_FREE struct index_file *files = calloc(n_segs + 1, sizeof *files);
    size_t n = 0;
    int r = files ? 0 : -ENOMEM;
    for (size_t i = 0; !r && i < n_segs; i++)
        if (segs[i].valid)
            files[n++] = (struct index_file){segs[i].id, segs[i].header.kind};
    for (size_t i = 0; !r && i < n_ckpts && !MUTANT(SALVAGE_ALL_LOST); i++) {
        *ret_id = ckpts[i];
        r = load_remains(eng, ckpts[i], files, n, ret_pos);
        if (!r)
            return SALVAGED_INDEX;
        r = io_is_shortage(r) ? r : salvage_fresh_index(eng);
    }
    return r ? r : lose_names(eng, "no checkpoint can be used and the log has no beginning");
}

int salvage_verify(struct eng *eng, uint64_t seq)
{
    int r = index_is_sound(&eng->idx);
    if (eng_has_history(eng) && !MUTANT(SALVAGED_EXACT))
        eng->idx.s.inexact = seq;
    if (r != -EBADMSG)
        return r;
    r = salvage_fresh_index(eng);
    return r ? r : lose_names(eng, "the log does not fit what is left of the index");
}

/* Whether the extent is of an inode of which the index lost the record, or the only name. */
static bool is_lost(const struct eng *eng, const struct extent_header *h)
{
    uint32_t slot = ino_slot(h->ino);
    if (h->seq > eng->lost_after)
        return true;
    const struct inode_rec *inode = index_inode(&eng->idx, h->ino);
    bool lost = eng->lost_slots && slot < eng->n_lost_slots && (eng->lost_slots[slot / 8] >> slot % 8 & 1);
    if (inode) /* past names may lead to it, and have done so alone */
        return !inode->nlink && (lost || index_is_orphan(&eng->idx, inode));
    return lost;
}

/* ---- content behind the damage ------------------------------------------------------ */

/* The batches of a segment that are part of the log: with next_seq it went on in a younger one, or ended. */
struct turn {
    uint32_t id;
    uint64_t first_seq, next_seq;
};

struct search {
    struct eng *eng;
    int (*emit)(void *arg, const struct eng_lost *piece, const void *data);
    void *arg;
    uint8_t *extent;    /* head, content and path hint of one */
    struct turn *turns; /* in order of id */
    size_t n_turns, cap_turns;
    uint64_t hashed; /* in the present segment, see batch_search_may() */
    bool unread;     /* a part of it was not looked at, or cannot be read */
    uint64_t
        left_at; /* where the log left the present segment, or ended in it; UINT64_MAX: none of the log */
};

static int note_turn(struct search *s, uint32_t id)
{
    struct segment *seg;
    struct segment_header h;
    if (segments_pin(&s->eng->segments, id, &seg) != 0)
        return 0;
    int r = io_pread_exact(seg->file, s->eng->io->ops, &h, sizeof h, 0);
    if (!r)
        r = segment_header_check(&h, s->eng->sb.uuid, id);
    bool is_log = !r && !seg->kept && h.kind == SEGMENT_LOG;
    segments_unpin(seg);
    r = is_log ? array_grow(&s->turns, &s->cap_turns, s->n_turns + 1, sizeof *s->turns) : 0;
    if (is_log && !r)
        s->turns[s->n_turns++] = (struct turn){id, h.first_seq, 0};
    return r;
}

/* Numbers of segments rise with those of their batches, but where a log ended and another life went on. */
static int note_turns(struct search *s)
{
    uint64_t next = s->eng->log.seq + 1; /* behind what was replayed */
    int r = 0;
    for (uint32_t id = 0; !r && (id = segments_after(&s->eng->segments, id)) > 0;)
        r = note_turn(s, id);
    for (size_t i = s->n_turns; i-- > 0;) {
        s->turns[i].next_seq = next;
        next = MIN_OF(next, s->turns[i].first_seq);
    }
    return r;
}

static int by_id(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Behind the last batch that is part of the log. Of what follows a bad one nothing else tells. */
static uint64_t left_at(const struct search *s, const struct segment *seg)
{
    struct batch_header h;
    uint64_t at = sizeof(struct segment_header);
    const struct turn key = {.id = seg->id},
                      *turn = s->n_turns ? bsearch(&key, s->turns, s->n_turns, sizeof key, by_id) : NULL;
    if (!turn || MUTANT(PASSED_BY_LOST))
        return UINT64_MAX;
    for (uint64_t seq = turn->first_seq; seq < turn->next_seq; seq++) {
        if (at + sizeof h > seg->size || io_pread_exact(seg->file, s->eng->io->ops, &h, sizeof h, at) != 0 ||
            !batch_header_fits(&h, seg->size - at - sizeof h) || h.seq != seq)
            break;
        at += sizeof h + h.ops_len + h.extents_len;
    }
    return at;
}

#define SEARCH_WINDOW (1u << 20)

/* Whether a whole extent lies at `at`; if so hands it out and tells its size on disk. */
static int try_extent(struct search *s, const struct segment *seg, uint64_t at, const struct extent_header *h,
                      uint64_t *ret_size)
{
    if (h->magic != EXTENT_MAGIC || !h->len || h->len > EXTENT_MAX || h->name_len > EXTENT_NAME_MAX)
        return 0;
    uint32_t head = extent_head_size(h->len), size = extent_size(h->len, h->name_len);
    const struct eng_io_ops *ops = s->eng->io->ops;
    if (size > seg->size - at || io_pread_exact(seg->file, ops, s->extent, head, at) != 0 ||
        extent_head_check(s->extent, h->ino, h->file_off, h->len) != 0 ||
        io_pread_exact(seg->file, ops, s->extent + head, size - head, at + head) != 0 ||
        extent_blocks_check(s->extent, 0, extent_blocks(h->len), s->extent + head) != 0)
        return 0;
    *ret_size = size;
    bool moved = seg->kind != SEGMENT_LOG && !MUTANT(MOVED_NOT_LOST),
         wanted = moved && moved_is_wanted(s->eng, h, seg);
    if ((h->file_off == EXTENT_XATTR_OFF && MUTANT(VALUES_FORGOTTEN)) ||
        (moved && moved_is_named(s->eng, h, seg, at)) ||
        (!seg->kept && at < s->left_at && !is_lost(s->eng, h) && !wanted))
        return 0;
    struct eng_lost piece = {.ino = h->ino,
                             .offset = h->file_off, /* ENG_LOST_VALUE of a value */
                             .size = h->len,
                             .seq = h->seq,
                             .segment = seg->id,
                             .segment_offset = at};
    memcpy(piece.path, s->extent + head + ALIGN8(h->len), h->name_len);
    return s->emit(s->arg, &piece, s->extent + head);
}

/* What is looked for at each place of a segment: *step is how far the next place is. Non-zero ends it. */
typedef int (*look_fn)(struct search *s, const struct segment *seg, uint64_t at, const uint8_t *head,
                       uint64_t *step);
#define HEAD_SIZE MAX_OF(sizeof(struct extent_header), sizeof(struct batch_header))

static int look_for_extent(struct search *s, const struct segment *seg, uint64_t at, const uint8_t *head,
                           uint64_t *step)
{
    struct extent_header h;
    memcpy(&h, head, sizeof h);
    return try_extent(s, seg, at, &h, step);
}

/* 1: a whole batch of this store lies here. -ENOMEM. */
static int look_for_batch(struct search *s, const struct segment *seg, uint64_t at, const uint8_t *head,
                          uint64_t *step)
{
    struct batch_header h;
    (void)step;
    memcpy(&h, head, sizeof h);
    if (h.store != s->eng->log.store || !batch_header_fits(&h, seg->size - MIN_OF(seg->size, at + sizeof h)))
        return 0;
    bool may = batch_search_may(&s->hashed, h.ops_len, seg->size);
    CLEANUP_FREE uint8_t *ops = may ? malloc(h.ops_len + 1u) : NULL;
    if (may && !ops)
        return -ENOMEM;
    int r = may ? io_pread_exact(seg->file, s->eng->io->ops, ops, h.ops_len, at + sizeof h) : -EIO;
    s->unread = s->unread || r == -EIO;
    return !r && h.sum == batch_sum(&h, ops);
}

static int look_at_places(struct search *s, struct segment *seg, look_fn look)
{
    struct seg_file sf = {.id = seg->id, .size = seg->size};
    CLEANUP_FREE uint8_t *window = malloc(SEARCH_WINDOW);
    int r = window ? 0 : -ENOMEM;
    s->hashed = 0;
    s->unread = false;
    for (uint64_t from = 0; !r;) {
        from = io_skip_hole(seg->file, s->eng->io->ops, from); /* where nothing begins */
        if (from >= seg->size || seg->size - from < HEAD_SIZE)
            break;
        ssize_t n = segment_file_read_around(s->eng->io->ops, &sf, seg->file, window, SEARCH_WINDOW, from);
        uint64_t at = from, step;
        for (; !r && n >= 0 && at + HEAD_SIZE <= from + (uint64_t)n; at += step) {
            step = 8; /* every place where one could begin */
            r = look(s, seg, at, window + (at - from), &step);
        }
        s->unread = s->unread || sf.unreadable || n < 0;
        from = MAX_OF(at, from + (n < 0 ? SEARCH_WINDOW : 8)); /* what cannot be read is passed over */
    }
    return r;
}

/*
 * Whether the segment is of this store: its header says so, or the index or a batch in it where the header is
 * damaged. Files of another store may lie in the folder; what they hold is nobody's here. -ENOMEM. */
static int is_ours(struct search *s, struct segment *seg)
{
    struct segment_header h = {0};
    const struct eng *eng = s->eng;
    bool read = io_pread_exact(seg->file, eng->io->ops, &h, sizeof h, 0) == 0;
    if (read && memcmp(h.uuid, eng->sb.uuid, sizeof h.uuid) == 0)
        return 1;
    if (read && segment_header_check(&h, h.uuid, h.id) == 0)
        return 0;
    int r = !seg->kept && index_segment(&eng->idx, seg->id) ? 1 : look_at_places(s, seg, look_for_batch);
    const char *unread = s->unread ? ", though not all of it was read" : "";
    if (!r)
        report_line(
            &s->eng->report, ENG_LOG_WARNING,
            "s%08x.%s: its header is damaged, and nothing in it says that it is of this store%s: left out",
            seg->id, seg->kept ? "kept" : "seg", unread);
    return r;
}

static int search_segment(struct search *s, uint32_t id)
{
    struct segment *seg;
    if (segments_pin(&s->eng->segments, id, &seg) != 0)
        return 0; /* the file cannot be opened: nothing to be had */
    int r = MUTANT(STRAYS_ARE_OURS) ? 1 : is_ours(s, seg);
    if (r > 0) {
        s->left_at = left_at(s, seg);
        r = look_at_places(s, seg, look_for_extent);
    }
    segments_unpin(seg);
    return r;
}

int eng_lost(struct eng *eng, int (*emit)(void *arg, const struct eng_lost *piece, const void *data),
             void *arg)
{
    struct search s = {.eng = eng, .emit = emit, .arg = arg};
    if (!eng || !emit)
        return -EINVAL;
    CLEANUP_FREE uint8_t *extent = malloc(extent_size(EXTENT_MAX, EXTENT_NAME_MAX));
    s.extent = extent;
    int r = extent ? note_turns(&s) : -ENOMEM;
    /* also those of which the index does not know: they may have come behind the damage */
    for (uint32_t id = 0; !r && (id = segments_after(&eng->segments, id)) > 0;)
        r = search_segment(&s, id);
    free(s.turns);
    return r;
}
