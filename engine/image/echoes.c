/*
 * echoes.c - see echoes.h. */
#include "image/echoes.h"

#include "core/damage.h"
#include "core/reserve.h"
#include "image/checkpoint.h"
#include "image/rest.h"

#include <stdio.h>

#define TOLD_MAX 20u    /* batches that the list of damage gets */
#define SIDE_BY_SIDE 4u /* chunks that the system fetches while one is waited for */

uint64_t echoes_gather = UINT64_C(4) << 20;

static int tell_refused(struct recovery *rec, int r)
{
    const struct echo_stock_file *f = &rec->echo.refused;
    if (r && rec->echo.has_refused)
        snprintf(rec->why, 256,
                 "e%08x.%s, of the second copy of the log, cannot be read now: %s; if that stays so, move it "
                 "out of the folder, which leaves the log without that copy",
                 f->id, f->kept ? "kept" : "log", strerror(-r));
    return r;
}

int echoes_load(struct recovery *rec)
{
    struct eng *eng = rec->eng;
    rec->echo.with_kept = eng->opt.salvage;
    rec->echo.since = recovery_likely_start(rec);
    int r = echo_stock_load(&rec->echo, eng->io, eng->log.store, !eng->opt.read_only);
    return tell_refused(rec, r);
}

int echoes_reach(struct recovery *rec, uint64_t seq)
{
    struct eng *eng = rec->eng;
    if (seq >= rec->echo.since || MUTANT(NOT_LOADED_AGAIN))
        return 0;
    /* A salvage may go back to one checkpoint after the other. */
    seq = eng->opt.salvage ? 0 : seq;
    int r = echo_stock_load_since(&rec->echo, eng->io, eng->log.store, !eng->opt.read_only, seq);
    return tell_refused(rec, r);
}

void echoes_free(struct recovery *rec)
{
    echo_stock_free(&rec->echo);
}

static struct echo_ref *next_ref(const struct recovery *rec)
{
    return echo_stock_find(&rec->echo, rec->seq + 1, rec->chain);
}

static struct echo_ref *ref_of(const struct recovery *rec, const struct batch_header *h)
{
    return echo_stock_find_batch(&rec->echo, h);
}

bool echoes_have_next(const struct recovery *rec)
{
    return next_ref(rec) != NULL;
}

bool echoes_know(const struct recovery *rec, const struct batch_header *h)
{
    return ref_of(rec, h) != NULL;
}

int echoes_fetch_ahead(struct recovery *rec)
{
    struct eng *eng = rec->eng;
    const struct table *inodes = &eng->idx.inodes;
    uint64_t n = 0;
    CLEANUP_FREE uint8_t *needed = calloc(inodes->n_chunks, 1);
    for (size_t k = 0; needed && k < rec->echo.n_refs; k++) {
        const struct echo_ref *ref = &rec->echo.refs[k];
        uint32_t c = ino_slot(ref->ino) >> inodes->chunk_shift;
        if (ref->seq <= rec->start_seq || c >= inodes->n_chunks)
            continue;
        n += !needed[c];
        needed[c] = 1;
    }
    rec->advised = n;
    int r = rest_fetch_many(eng, n / SIDE_BY_SIDE, rec->why);
    for (uint32_t c = 0; needed && c < inodes->n_chunks; c++)
        if (needed[c] && inodes->states[c] == TABLE_ABSENT)
            images_advise(&eng->checkpoints->images, TABLE_INODES, c);
    return r;
}

/* Its batch: the ops into rec->batch. */
static int read_ref(struct recovery *rec, const struct echo_ref *ref, struct batch_header *ret_header)
{
    int r = -EIO;
    for (unsigned tries = 0; r && !io_is_shortage(r) && tries < MEDIUM_TRIES; tries++)
        r = echo_stock_read(&rec->echo, rec->eng->io, ref, ret_header, &rec->batch);
    return r;
}

int echoes_read(struct recovery *rec, struct batch_header *ret_header)
{
    const struct echo_ref *ref = next_ref(rec);
    int r = ref ? read_ref(rec, ref, ret_header) : -ENODATA;
    if (!r || r == -ENODATA || io_is_shortage(r))
        return r;
    /* It was whole a moment ago, and may be the only one. Of a store in use the log has what it had. */
    if ((r == -ENOENT && rec->eng->opt.snapshot) || MUTANT(UNREAD_ECHO_IS_END))
        return -ENODATA;
    const struct echo_stock_file *f = &rec->echo.files[ref->file];
    snprintf(rec->why, 256,
             "batch %llu is damaged in the log, and e%08x.%s, which has it, cannot be read any more: %s",
             (unsigned long long)ref->seq, f->id, f->kept ? "kept" : "log", strerror(-r));
    return -EIO;
}

bool echoes_next_is_held(const struct recovery *rec)
{
    const struct echo_ref *ref = next_ref(rec);
    return ref && ref->held && rec->echo.files[ref->file].copied && !MUTANT(HELD_IS_LOST);
}

#define SECTOR 512u

/* A copy has the beginning of the batch at most. *ret_zeros: where its last bytes belong there is nothing. */
static int ends_in_nothing(struct recovery *rec, const struct seg_file *sf, const struct echo_ref *ref,
                           bool *ret_zeros)
{
    uint8_t last[SECTOR] = {0};
    uint64_t size = sizeof(struct batch_header) + ref->ops_len + ref->extents_len;
    size_t len = (size_t)MIN_OF(size, (uint64_t)SECTOR);
    struct segment *seg;
    *ret_zeros = true;
    if (sf->size < ref->offset || sf->size - ref->offset < size || MUTANT(HELD_IS_SHORT))
        return 0;
    int r = segments_pin(&rec->eng->segments, sf->id, &seg);
    if (r)
        return r;
    ssize_t n = io_pread_full(seg->file, rec->eng->io->ops, last, len, ref->offset + size - len);
    segments_unpin(seg);
    for (size_t i = 0; i < sizeof last; i++)
        *ret_zeros = *ret_zeros && last[i] == 0 && n >= 0;
    return n < 0 && n != -EIO ? (int)n : 0;
}

int echoes_end_copy(struct recovery *rec, bool *ret_ends)
{
    const struct echo_ref *ref = next_ref(rec);
    const struct seg_file *sf = NULL;
    int r = 0;
    *ret_ends = false;
    /* The ops of that very batch may be whole, and its content not. */
    if (rec->mark > rec->seq || recovery_last_whole(rec) > rec->seq + 1)
        return 0;
    for (size_t i = 0; i < rec->n_segs; i++)
        sf = rec->segs[i].id == ref->segment ? &rec->segs[i] : sf;
    *ret_ends = true;
    if (sf)
        r = ends_in_nothing(rec, sf, ref, ret_ends);
    if (!r && *ret_ends)
        report_line(
            &rec->eng->report, ENG_LOG_WARNING,
            "the log ends with batch %llu; what its second copy has behind that was written while the "
            "folder was held, and is left out: this seems to be a copy made then",
            (unsigned long long)rec->seq);
    return r;
}

/* ---- the place of a batch ------------------------------------------------------------ */

static struct seg_file *file_of(struct recovery *rec, uint32_t id)
{
    for (size_t i = 0; i < rec->n_segs; i++)
        if (rec->segs[i].id == id)
            return &rec->segs[i];
    rec->absent = (struct seg_file){.id = id};
    return &rec->absent;
}

/* The header of a segment is lost with its first batch, as one sector is: that batch says the same. */
static void speak_for_header(struct seg_file *sf, const struct batch_header *h)
{
    sf->valid = sf->mended = true;
    sf->header = (struct segment_header){.kind = SEGMENT_LOG,
                                         .id = sf->id,
                                         .first_seq = h->seq,
                                         .chain = h->chain,
                                         .durable_seq = h->durable_seq};
}

static void tell_taken(struct recovery *rec, const struct batch_header *h)
{
    char name[SEGMENT_NAME_SIZE], reason[64];
    segment_name(rec->at->id, name);
    if (rec->echoed++ == 0)
        report_line(&rec->eng->report, ENG_LOG_WARNING,
                    "%s, offset %llu: batch %llu %s; it is taken from the log's second copy", name,
                    (unsigned long long)rec->offset, (unsigned long long)h->seq,
                    rec->at->size ? "is damaged" : "is missing");
    snprintf(reason, sizeof reason, "batch %llu cannot be read; its second copy has it",
             (unsigned long long)h->seq);
    if (rec->eng->opt.read_only && !rec->eng->opt.snapshot && rec->echoed <= TOLD_MAX)
        damage_record_file(rec->eng, name, rec->offset, reason);
}

void echoes_take(struct recovery *rec, const struct batch_header *h)
{
    const struct echo_ref *ref = next_ref(rec);
    rec->at = file_of(rec, ref->segment);
    rec->offset = ref->offset;
    if (rec->looks)
        return;
    rec->at->used = rec->at->torn = true;
    rec->echoed_last = h->seq;
    if (!rec->at->valid && !rec->at->alien && ref->offset == sizeof(struct segment_header) &&
        rec->at != &rec->absent)
        speak_for_header(rec->at, h);
    /* Its file may be gone; its number is used up (I1). */
    rec->eng->segments.next_id = MAX_OF(rec->eng->segments.next_id, ref->segment + 1);
    tell_taken(rec, h);
}

/* Leaves out some records. */
static void thin(struct recovery *rec, struct buf *records,
                 bool (*leaves)(struct recovery *, void *, uint64_t, const struct echo_record *), void *arg)
{
    size_t kept = 0;
    for (size_t at = 0, n; at < records->len; at += n) {
        struct echo_record r;
        memcpy(&r, records->data + at, sizeof r);
        n = sizeof r + r.batch.ops_len;
        if (leaves(rec, arg, at, &r))
            continue;
        memmove(records->data + kept, records->data + at, n);
        kept += n;
    }
    records->len = kept;
}

/* Of those before place *arg: but the word of the log is lost where the echo alone has a batch. */
static bool is_old(struct recovery *rec, void *arg, uint64_t at, const struct echo_record *r)
{
    const struct echo_ref *ref = ref_of(rec, &r->batch);
    if (at >= *(const uint64_t *)arg || (ref && ref->only))
        return false;
    if (!ref)
        echo_miss(&rec->eng->log.echo, r->batch.seq, 0);
    return true;
}

/* Batches that others follow these prove; the last have the echo alone. */
static void drop_oldest(struct recovery *rec)
{
    struct echo *echo = &rec->eng->log.echo;
    uint64_t before = echo->pending.len - echoes_gather;
    struct buf records = echo_take(echo);
    thin(rec, &records, is_old, &before);
    echo->pending = records;
}

void echoes_note(struct recovery *rec, const struct batch_header *h)
{
    struct echo *echo = &rec->eng->log.echo;
    struct echo_ref *ref = ref_of(rec, h);
    if (ref) {
        ref->used = true;
        ref->only = h->seq == rec->echoed_last;
    }
    /* Of a store of version 1 the checkpoint that the upgrade writes has them twice. */
    if (rec->eng->opt.read_only || rec->eng->sb.version == FORMAT_VERSION_OLD)
        return;
    if (MUTANT(GATHERS_FIRST) && echo->pending.len > echoes_gather)
        return;
    if (echo->pending.len >= MAX_OF(rec->gathered_next, 2 * echoes_gather)) {
        drop_oldest(rec);
        rec->gathered_next = echo->pending.len + echoes_gather;
    }
    echo_note(echo, rec->at->id, rec->offset, h, rec->batch.data);
}

/* ---- going on ------------------------------------------------------------ */

/* What a file of the echo has for the log as it was recovered. */
struct worth {
    struct echo_file file; /* of the records that are part of the log behind the checkpoint */
    bool old;              /* it has some that an older checkpoint may need, see may_fall_back() */
    uint64_t end;          /* of the last of all these */
    bool stale;            /* it has others */
    uint64_t stale_from;   /* where the first of those lies */
    /* It is put away, and what can be read of it goes to another one: it cannot be read whole, and the log
     * may go on in it once it can; or others come before those, as nobody has written them; or it cannot be
     * cut behind those. */
    bool goes;
};

/* Most of the checkpoint is still to be verified (rest.h): what it has may be damaged, and then one before,
 * or the first batch, is what the next opening starts from. */
static bool may_fall_back(const struct recovery *rec)
{
    return !loading_is_done(&rec->eng->loading) && !MUTANT(OLD_GOES_AT_ONCE);
}

static bool is_wanted(const struct worth *w)
{
    return w->file.n || w->old;
}

static uint64_t end_of(const struct echo_ref *ref)
{
    return ref->at + sizeof(struct echo_record) + ref->ops_len;
}

/* What the checkpoint has. */
static void weigh_old(uint64_t end, struct worth *w)
{
    w->old = w->old || end;
    w->end = MAX_OF(w->end, end);
}

static void weigh_one(const struct echo_ref *ref, struct worth *w)
{
    if (!ref->used) {
        w->stale_from = w->stale ? MIN_OF(w->stale_from, ref->at) : ref->at;
        w->stale = true;
        return;
    }
    w->file.first = w->file.n ? w->file.first : ref->seq;
    w->file.last = ref->seq;
    w->file.n++;
    w->end = MAX_OF(w->end, end_of(ref));
}

/* Behind the records of the same number as the k-th. */
static size_t next_number(const struct recovery *rec, size_t k)
{
    uint64_t seq = rec->echo.refs[k].seq;
    while (k < rec->echo.n_refs && rec->echo.refs[k].seq == seq)
        k++;
    return k;
}

/* Two files have the same batch if an opening that wrote it anew was cut: then all of these records are used
 * if one is. */
static void mark_used(const struct recovery *rec)
{
    struct echo_ref *refs = rec->echo.refs;
    for (size_t k = 0, next; k < rec->echo.n_refs; k = next) {
        const struct echo_ref *used = NULL;
        next = next_number(rec, k);
        for (size_t i = k; i < next; i++)
            used = refs[i].used ? &refs[i] : used;
        for (size_t i = k; i < next; i++)
            refs[i].used = used && refs[i].sum == used->sum && refs[i].chain == used->chain;
    }
}

/* Of all files. NULL: no memory. */
static struct worth *weigh(const struct recovery *rec)
{
    const struct echo_ref *refs = rec->echo.refs;
    const struct echo_stock_file *files = rec->echo.files;
    bool falls = may_fall_back(rec);
    struct worth *worths = calloc(rec->echo.n_files + 1, sizeof *worths);
    mark_used(rec);
    for (size_t i = 0; worths && i < rec->echo.n_files; i++) {
        worths[i].file = (struct echo_file){.id = files[i].id, .size = files[i].size};
        weigh_old(falls ? files[i].old_end : 0, &worths[i]);
    }
    for (size_t k = 0; worths && k < rec->echo.n_refs; k++) {
        if (refs[k].seq > rec->start_seq)
            weigh_one(&refs[k], &worths[refs[k].file]);
        else
            weigh_old(falls ? end_of(&refs[k]) : 0, &worths[refs[k].file]);
    }
    for (size_t i = 0; worths && i < rec->echo.n_files && !MUTANT(ECHO_STALE); i++)
        worths[i].goes = (files[i].unread && !MUTANT(UNREAD_IS_CUT)) ||
                         (worths[i].stale && worths[i].stale_from < worths[i].end);
    return worths;
}

static void tell_damaged(struct recovery *rec, const struct echo_stock_file *f)
{
    char name[ECHO_NAME_SIZE];
    echo_name(f->id, name);
    if (rec->eng->opt.snapshot) /* it may be written just now */
        return;
    report_line(&rec->eng->report, ENG_LOG_WARNING,
                "%s: this second copy of the log is damaged; the log serves without it", name);
    if (rec->eng->opt.read_only)
        damage_record_file(rec->eng, name, 0, "the second copy of the log is damaged");
}

/* One that could not be read today may be tomorrow, when the log has gone on: it must not be read then. But
 * what it has nobody knows, and what another has behind that nobody can tell. */
static int set_aside(struct recovery *rec, const struct worth *w, const char *reason, bool *removed)
{
    const struct eng_io *io = rec->eng->io;
    char name[ECHO_NAME_SIZE], kept[ECHO_NAME_SIZE];
    echo_name(w->file.id, name);
    echo_kept_name(w->file.id, kept);
    int r = io->ops->rename(rec->eng->io, name, kept);
    if (r) {
        snprintf(rec->why, 256, "%s, which %s, cannot be kept as %s: %s", name, reason, kept, strerror(-r));
        return r;
    }
    *removed = true;
    rec->eng->n_set_aside++;
    report_line(&rec->eng->report, ENG_LOG_WARNING,
                "%s %s: kept as %s, which engramctl repair tries again; remove it when you do not need it",
                name, reason, kept);
    echo_miss(&rec->eng->log.echo, rec->seq, w->file.n);
    return 0;
}

static int discard(struct recovery *rec, const struct worth *w, bool *removed)
{
    char name[ECHO_NAME_SIZE];
    echo_name(w->file.id, name);
    int r = rec->eng->io->ops->unlink(rec->eng->io, name);
    *removed = *removed || w->stale || w->file.n;
    if (w->file.n)
        echo_miss(&rec->eng->log.echo, rec->seq, w->file.n);
    if (r && r != -ENOENT)
        snprintf(rec->why, 256, "%s tells of another past than the log, and cannot be removed: %s", name,
                 strerror(-r));
    return r == -ENOENT ? 0 : r;
}

static bool is_unread(const struct recovery *rec)
{
    bool unread = false;
    for (size_t i = 0; i < rec->echo.n_files; i++)
        unread = unread || (rec->echo.files[i].unread && !rec->echo.files[i].kept);
    return unread;
}

/* A file that is not to be read again. */
static int put_away(struct recovery *rec, const struct echo_stock_file *f, const struct worth *w,
                    bool *removed)
{
    if (f->unread && !MUTANT(UNREAD_ECHO_IS_END))
        return set_aside(rec, w, "cannot be read", removed);
    if (w->stale && is_unread(rec) && !MUTANT(UNREAD_ECHO_IS_END))
        return set_aside(rec, w, "may go on behind another one that cannot be read", removed);
    if (w->old)
        return set_aside(rec, w, "cannot be cut, and has what an older checkpoint may need", removed);
    return discard(rec, w, removed);
}

/* Of a file that goes on with another past, was copied, or has lost its header, the records become this
 * store's. */
static void claim(struct recovery *rec, const struct echo_stock_file *f, struct worth *w)
{
    bool stale = w->stale && !MUTANT(ECHO_STALE);
    bool others = f->headless || (f->copied && !MUTANT(COPY_STAYS));
    if (!is_wanted(w) || w->goes || !(stale || (w->file.n && others)))
        return;
    w->file.size = stale ? w->end : w->file.size;
    int r = echo_claim(&rec->eng->log.echo, w->file.id, w->file.size);
    if (r)
        echo_miss(&rec->eng->log.echo, rec->seq, 0);
    w->goes = r && stale;
}

/* A file is put away only when all that it vouches for is elsewhere, durably: the last batches of the log may
 * have no other word. A torn one stays, since nobody reads it but behind a crash, until the next checkpoint
 * has all of it; and what this checkpoint has, until that is verified (checkpoint_clean()). */
static int go_on_with(struct recovery *rec, const struct echo_stock_file *f, const struct worth *w,
                      bool *removed)
{
    struct echo *echo = &rec->eng->log.echo;
    if (!is_wanted(w) || w->goes || ((f->torn || f->damaged) && MUTANT(TORN_GOES)))
        return put_away(rec, f, w, removed);
    if (w->file.n && (f->damaged || f->torn))
        echo_miss(echo, rec->seq, 0);
    return echo_adopt(echo, &w->file);
}

static int adopt_file(struct recovery *rec, const struct echo_stock_file *f, const struct worth *w,
                      bool *removed)
{
    struct eng *eng = rec->eng;
    if (f->kept)
        return 0;
    if (f->alien) {
        report_line(&eng->report, ENG_LOG_WARNING,
                    "e%08x.log belongs to another store or has another name: left alone", f->id);
        return 0;
    }
    if (f->damaged && (f->unread || f->gap > rec->start_seq)) /* else the checkpoint has it */
        tell_damaged(rec, f);
    if (!eng->opt.read_only)
        return go_on_with(rec, f, w, removed);
    if (f->damaged || f->torn) /* told, or no damage: a check looks at the others */
        return 0;
    return w->file.n ? echo_adopt(&eng->log.echo, &w->file) : 0;
}

/* Numbers are not used twice; but a name alone, of which anybody may make one, uses none up. */
static void note_numbers(struct recovery *rec, const struct worth *worths)
{
    struct echo *echo = &rec->eng->log.echo;
    for (size_t i = 0; i < rec->echo.n_files; i++) {
        const struct echo_stock_file *f = &rec->echo.files[i];
        bool ours = is_wanted(&worths[i]) || !f->damaged;
        if (!f->alien && !f->headless && ours && f->id < UINT32_MAX)
            echo->next_id = MAX_OF(echo->next_id, f->id + 1);
    }
}

/* ---- writing anew ------------------------------------------------------------ */

#define COPY_STEP ((size_t)1 << 20)

/* Records [from, to) are of one number: notes their batch if only files have it that go. */
static int note_going(struct recovery *rec, const struct worth *worths, size_t from, size_t to)
{
    const struct echo_ref *refs = rec->echo.refs;
    struct batch_header h;
    int r = 0;
    for (size_t i = from; i < to; i++)
        if (refs[i].used && !worths[refs[i].file].goes)
            return 0;
    for (size_t i = from; i < to; i++) {
        r = refs[i].used ? read_ref(rec, &refs[i], &h) : r;
        if (r || !refs[i].used)
            continue;
        echo_note(&rec->eng->log.echo, refs[i].segment, refs[i].offset, &h, rec->batch.data);
        break;
    }
    return r;
}

/* The disk may be full. */
static int put_noted(struct recovery *rec)
{
    struct echo *echo = &rec->eng->log.echo;
    int r = echo_put(echo);
    while (r == -ENOSPC && reserve_spend(rec->eng, RESERVE_ALL))
        r = echo_put(echo);
    return r;
}

/* What the files that go tell is written to another one, durably: the log has lost it, or may tomorrow. */
static int write_going(struct recovery *rec, const struct worth *worths)
{
    struct echo *echo = &rec->eng->log.echo;
    uint64_t dropped = atomic_load_explicit(&echo->dropped, memory_order_relaxed);
    int r = 0;
    for (size_t k = 0, next; k < rec->echo.n_refs && !r && !MUTANT(GONE_IS_THERE); k = next) {
        next = next_number(rec, k);
        if (rec->echo.refs[k].seq > rec->start_seq)
            r = note_going(rec, worths, k, next);
        if (!r && echo->pending.len >= COPY_STEP)
            r = put_noted(rec);
    }
    if (!r)
        r = put_noted(rec);
    echo_sync(echo);
    if (!r && atomic_load_explicit(&echo->dropped, memory_order_relaxed) != dropped)
        r = -EIO;
    if (!r || MUTANT(GATHERED_ANYHOW))
        return 0;
    snprintf(rec->why, 256,
             "the second copy of the log cannot be used as it is, and what it tells cannot be written "
             "anew: %s; make room, or open the store read-only",
             strerror(-r));
    return r;
}

/* Stay those that the echo had not got yet, or has alone. */
static bool is_there(struct recovery *rec, void *arg, uint64_t at, const struct echo_record *r)
{
    const struct worth *worths = arg;
    const struct echo_ref *ref = ref_of(rec, &r->batch);
    (void)at;
    return ref && (!ref->only || worths[ref->file].goes);
}

static int write_anew(struct recovery *rec, struct worth *worths)
{
    struct echo *echo = &rec->eng->log.echo;
    CLEANUP_BUF struct buf gathered = echo_take(echo);
    int r = write_going(rec, worths);
    if (r)
        return r;
    thin(rec, &gathered, is_there, worths);
    echo_give(echo, &gathered);
    echo_sync(echo);
    return 0;
}

int echoes_adopt(struct recovery *rec)
{
    struct eng *eng = rec->eng;
    bool removed = false;
    CLEANUP_FREE struct worth *worths = weigh(rec);
    int r = worths ? 0 : -ENOMEM;
    if (!r)
        note_numbers(rec, worths);
    for (size_t i = 0; i < rec->echo.n_files && !r && !eng->opt.read_only; i++)
        claim(rec, &rec->echo.files[i], &worths[i]);
    if (!r && !eng->opt.read_only)
        r = write_anew(rec, worths);
    for (size_t i = 0; i < rec->echo.n_files && !r; i++)
        r = adopt_file(rec, &rec->echo.files[i], &worths[i], &removed);
    if (!r && removed) {
        r = io_syncdir(eng->io);
        if (r)
            snprintf(rec->why, 256, "removing a damaged second copy of the log failed: %s", strerror(-r));
    }
    if (rec->echoed) {
        COUNT(eng, recovery_echoed, rec->echoed);
        echo_miss(&eng->log.echo, rec->seq, 0); /* a checkpoint has them twice again */
        report_line(&eng->report, ENG_LOG_WARNING,
                    "%llu batches that the log has lost came from its second copy; content that was lost "
                    "with them is damaged",
                    (unsigned long long)rec->echoed);
    }
    return r;
}
