/*
 * proof.c - see proof.h.
 *
 * In rounds: what one has found is made good, and the next looks whether it is. Meanwhile the store goes on:
 * a part counts only if it is still needed once it was found to be bad. */
#include "image/proof.h"

#include "commit/flush.h"
#include "core/damage.h"
#include "disk/echo_stock.h"
#include "disk/medium.h"
#include "disk/superblock_file.h"
#include "image/checkpoint.h"
#include "image/copies.h"
#include "image/freeze.h"
#include "image/segment_file.h"

#include <stdio.h>

#define ROUNDS_MAX 3u
#define STEP_BYTES (1u << 20)
#define STEP_PARTS 64u
#define FOUND_MAX 1000u /* more are not counted: by then all is rewritten, or nothing can be */
#define LINES_MAX 20u   /* of one run, in the report */

enum part { PART_SUPERBLOCK, PART_CONFIG, PART_HEADER, PART_IMAGE, PART_LOG, PART_ECHO };

struct finding {
    enum part part;
    uint64_t id, offset; /* of the segment, image file or echo, or which of two small files; where in it */
    uint64_t seq;        /* PART_LOG; PART_ECHO: its last one */
    unsigned copy;       /* PART_IMAGE: which is bad, IMAGE_COPIES: both */
    bool mended;         /* at once, from its copy */
    bool end;            /* PART_IMAGE: root and footer alone */
    int error;
};

struct findings {
    struct finding *all;
    size_t n, cap;
};

struct proof {
    struct eng *eng;
    struct job *job;
    struct medium m;
    uint64_t gated; /* of m.n_read */
    unsigned parts; /* since the gate */
    struct buf scratch;
    /* Of one round. */
    struct findings found;
    struct seg_file *segs; /* ascending by id */
    size_t n_segs, cap_segs;
    struct ckpt_position from; /* from here on the log is needed */
    bool renew;                /* a checkpoint is needed that has anew what both copies have lost */
};

static bool is_damage(int r)
{
    return r == -EBADMSG || r == -EIO || r == -ENOENT;
}

/* After each part that was looked at. */
static int step(struct proof *p)
{
    uint64_t bytes = p->m.n_read - p->gated;
    if (bytes < STEP_BYTES && ++p->parts < STEP_PARTS)
        return 0;
    p->gated = p->m.n_read;
    p->parts = 0;
    return job_gate(p->job, bytes);
}

/* ---- what was found ----------------------------------------------------------------- */

static bool is_needed(struct eng *eng, const struct finding *f)
{
    bool known;
    switch (f->part) {
    case PART_HEADER:
        pthread_rwlock_rdlock(&eng->index_lock);
        known = index_segment(&eng->idx, (uint32_t)f->id) != NULL;
        pthread_rwlock_unlock(&eng->index_lock);
        return known;
    case PART_LOG:
    case PART_ECHO:
        return f->seq > atomic_load_explicit(&eng->marks.newest_seq, memory_order_acquire);
    default:
        return true;
    }
}

/* A part could not be read, or not be verified: -ENOMEM. Any other error is returned as it is. */
static int note(struct proof *p, struct finding f)
{
    if (!is_damage(f.error))
        return f.error;
    if (!is_needed(p->eng, &f))
        return 0;
    int r = array_grow(&p->found.all, &p->found.cap, p->found.n + 1, sizeof f);
    if (!r)
        p->found.all[p->found.n++] = f;
    return r;
}

static void name_of(const struct finding *f, char name[MEDIUM_NAME_SIZE])
{
    switch (f->part) {
    case PART_SUPERBLOCK:
        snprintf(name, MEDIUM_NAME_SIZE, "%s", superblock_names[f->id]);
        break;
    case PART_CONFIG:
        snprintf(name, MEDIUM_NAME_SIZE, "%s", config_names[f->id]);
        break;
    case PART_ECHO:
        echo_name((uint32_t)f->id, name);
        break;
    case PART_IMAGE:
        image_name(f->id, f->copy % IMAGE_COPIES, name);
        break;
    default:
        segment_name((uint32_t)f->id, name);
    }
}

static void reason_of(const struct finding *f, char reason[64])
{
    const char *error = f->error == -ENOENT ? "it is missing" : damage_reason(f->error);
    static const char *const parts[] = {[PART_SUPERBLOCK] = "superblock",
                                        [PART_CONFIG] = "configuration",
                                        [PART_ECHO] = "second copy of the log",
                                        [PART_IMAGE] = "image of a part of the index"};
    if (f->end)
        snprintf(reason, 64, "end of a copy of a checkpoint: %s", error);
    else if (f->part == PART_HEADER)
        snprintf(reason, 64, f->error == -ENOENT ? "it is missing" : "header is damaged");
    else if (f->part == PART_LOG)
        snprintf(reason, 64, "batch %llu: %s", (unsigned long long)f->seq, error);
    else
        snprintf(reason, 64, "%s: %s", parts[f->part], error);
}

static bool is_among(const struct findings *l, const struct finding *f)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->all[i].part == f->part && l->all[i].id == f->id && l->all[i].offset == f->offset &&
            l->all[i].copy == f->copy && !l->all[i].mended)
            return true;
    return false;
}

/* ---- small files and headers ------------------------------------------------------------ */

static int prove_superblock(struct proof *p, unsigned which)
{
    uint8_t expect[2 * SUPERBLOCK_SIZE], data[sizeof expect] = {0};
    uint64_t size = 0;
    if (which && p->eng->sb.version == FORMAT_VERSION_OLD) /* it has none that counts yet */
        return 0;
    pthread_mutex_lock(&p->eng->superblock_lock); /* or it is another by now */
    struct superblock sb = eng_superblock(p->eng);
    superblock_encode(&sb, expect);
    int r = medium_open(&p->m, superblock_names[which]);
    if (!r)
        r = medium_size(&p->m, &size);
    if (!r)
        r = medium_read(&p->m, data, sizeof data, 0);
    pthread_mutex_unlock(&p->eng->superblock_lock);
    bool is_right = !r && size == sizeof data && memcmp(data, expect, sizeof data) == 0;
    if (!r && !is_right && !(which && superblock_is_ahead(data, (size_t)size, &sb)))
        r = -EBADMSG;
    if (r == -ENOENT && which && p->eng->opt.read_only) /* no opening for writing has made it yet */
        r = 0;
    return note(p, (struct finding){.part = PART_SUPERBLOCK, .id = which, .error = r});
}

/* All of a small file, to scratch. */
static int read_small(struct proof *p, const char *name, size_t max)
{
    uint64_t size = 0;
    p->scratch.len = 0;
    int r = medium_open(&p->m, name);
    if (!r)
        r = medium_size(&p->m, &size);
    if (!r && size > max)
        r = -EBADMSG;
    if (!r)
        r = buf_reserve(&p->scratch, (size_t)size + 1);
    if (!r)
        r = medium_read(&p->m, p->scratch.data, (size_t)size, 0);
    p->scratch.len = r ? 0 : (size_t)size;
    medium_close(&p->m); /* it is replaced, not written to */
    return r;
}

static bool is_text(const struct config_text *t, const uint8_t *data, size_t size)
{
    return t->text && t->size == size && memcmp(t->text, data, size) == 0;
}

/* What `config` says has no sum, since people write it: it is compared with its copy. */
static int config_error(struct proof *p, const struct config_text *t)
{
    int r = read_small(p, CONFIG_FILE, CONFIG_MAX);
    if (!r && !is_text(t, p->scratch.data, p->scratch.len))
        r = -EBADMSG;
    return !t->text && r == -ENOENT ? 0 : r;
}

/* One that is to follow what somebody has edited is no damage, while nobody may write it. */
static int config_copy_error(struct proof *p, const struct config_text *t)
{
    size_t at = 0;
    int r = read_small(p, CONFIG_COPY, CONFIG_COPY_MAX);
    const uint8_t *data = p->scratch.data;
    if (!r)
        r = config_copy_check((const char *)data, p->scratch.len, superblock_tag(&p->eng->sb), &at);
    if (!r && !is_text(t, data + at, p->scratch.len - at))
        r = t->sight == CONFIG_EDITED && p->eng->opt.read_only ? 0 : -EBADMSG;
    return r == -ENOENT && (!t->text || p->eng->opt.read_only) ? 0 : r;
}

static int prove_config(struct proof *p)
{
    struct config_text t;
    int errors[2] = {0};
    pthread_mutex_lock(&p->eng->config_file_lock);
    int r = config_file_read(p->eng->io, superblock_tag(&p->eng->sb), &t);
    bool known = !r || r == -ENOENT;
    if (known || r == -EIO) {
        errors[0] = known ? config_error(p, &t) : r;
        errors[1] = known ? config_copy_error(p, &t) : 0;
    }
    pthread_mutex_unlock(&p->eng->config_file_lock);
    free(t.text);
    r = r == -ENOMEM ? r : 0;
    for (unsigned i = 0; i < 2 && !r; i++)
        r = note(p, (struct finding){.part = PART_CONFIG, .id = i, .error = errors[i]});
    return r;
}

/* Those that the index knows, also without a file. */
static int list_segments(struct proof *p)
{
    const struct index *idx = &p->eng->idx;
    pthread_rwlock_rdlock(&p->eng->index_lock);
    int r = array_grow(&p->segs, &p->cap_segs, idx->segs.used, sizeof *p->segs);
    for (uint32_t i = 1; !r && i < idx->segs.used; i++) {
        const struct seg_rec *seg = table_get(&idx->segs, i);
        if (seg->id)
            p->segs[p->n_segs++] = (struct seg_file){.id = seg->id, .header = {.kind = seg->kind}};
    }
    pthread_rwlock_unlock(&p->eng->index_lock);
    if (p->n_segs)
        qsort(p->segs, p->n_segs, sizeof *p->segs, segment_file_by_id);
    return r;
}

static int read_header(struct proof *p, struct seg_file *sf)
{
    char name[MEDIUM_NAME_SIZE];
    segment_name(sf->id, name);
    int r = medium_open(&p->m, name);
    if (!r)
        r = medium_read(&p->m, &sf->header, sizeof sf->header, 0);
    if (!r)
        r = segment_header_check(&sf->header, p->eng->sb.uuid, sf->id);
    sf->valid = !r;
    return r;
}

/* What the header should say, without the header: a log's first batch tells, and of survivors memory does. A
 * file of another store, or of another number, has the header that belongs to it. */
static int make_up_header(struct proof *p, struct seg_file *sf, uint32_t kind)
{
    int r = segment_file_read(p->eng, sf, &p->scratch);
    if (kind == SEGMENT_LOG) {
        sf->valid = sf->valid && !r;
    } else if (!sf->alien || MUTANT(STRAY_WRITTEN)) {
        sf->header = (struct segment_header){.kind = kind, .durable_seq = log_durable(&p->eng->log)};
        sf->valid = true;
    }
    sf->mended = sf->valid; /* it can be written anew */
    return io_is_shortage(r) ? r : 0;
}

static int prove_headers(struct proof *p)
{
    int r = list_segments(p);
    for (size_t i = 0; i < p->n_segs && !r; i++) {
        struct seg_file *sf = &p->segs[i];
        uint32_t kind = sf->header.kind;
        int error = read_header(p, sf);
        if (is_damage(error))
            r = make_up_header(p, sf, kind);
        if (!r)
            r = note(p, (struct finding){.part = PART_HEADER, .id = sf->id, .error = error});
        if (!r)
            r = step(p);
    }
    return r;
}

/* ---- checkpoints -------------------------------------------------------------------------- */

static void exclude(void *arg)
{
    checkpoint_exclude(((struct proof *)arg)->eng);
}

static void allow(void *arg)
{
    checkpoint_allow(((struct proof *)arg)->eng);
}

static int step_of(void *arg)
{
    return step(arg);
}

/* What both copies have lost is written anew as a whole by the next checkpoint. */
static void renew(struct proof *p, const struct copies_damage *d)
{
    struct eng *eng = p->eng;
    p->renew = true;
    if (d->kind == PIECE_PAGE) {
        copies_renew_page(&eng->checkpoints->images, d->table, d->k);
    } else if (d->kind == PIECE_IMAGE || d->kind == PIECE_DELTA) {
        freeze_lock(eng);
        struct table *t = index_table(&eng->idx, d->table);
        if (d->chunk < t->n_chunks)
            (void)table_dirty_all(t, d->chunk);
        freeze_unlock(eng);
    }
}

static int found_image(void *arg, const struct copies_damage *d)
{
    struct proof *p = arg;
    struct finding f = {.part = PART_IMAGE,
                        .id = d->file,
                        .offset = d->offset,
                        .copy = d->copy,
                        .mended = d->mended,
                        .end = (d->kind == 0 && d->error == -EBADMSG) || d->kind == PIECE_ROOT,
                        .error = d->error};
    if (d->copy == IMAGE_COPIES && !is_read_only(p->eng) && !MUTANT(SCRUB_HEALS_NOTHING)) {
        checkpoint_exclude(p->eng);
        if (copies_is_needed(&p->eng->checkpoints->images, d))
            renew(p, d);
        checkpoint_allow(p->eng);
    }
    return p->found.n < FOUND_MAX ? note(p, f) : 0;
}

static int prove_checkpoint(struct proof *p)
{
    struct copies_run run = {.images = &p->eng->checkpoints->images,
                             .medium = &p->m,
                             .mend = !is_read_only(p->eng) && !MUTANT(SCRUB_HEALS_NOTHING),
                             .exclude = exclude,
                             .allow = allow,
                             .step = step_of,
                             .found = found_image,
                             .arg = p};
    (void)checkpoint_newest(p->eng, &p->from);
    return MUTANT(SCRUB_NO_IMAGES) ? 0 : copies_prove(&run);
}

/* ---- the log --------------------------------------------------------------------------------- */

/* The lowest number above `seq` with which a segment behind `id` begins. */
static uint64_t next_claim(const struct proof *p, uint64_t id, uint64_t seq)
{
    uint64_t claim = UINT64_MAX;
    for (size_t i = 0; i < p->n_segs; i++) {
        const struct seg_file *sf = &p->segs[i];
        if (sf->valid && sf->header.kind == SEGMENT_LOG && sf->id > id && sf->header.first_seq > seq)
            claim = MIN_OF(claim, sf->header.first_seq);
    }
    return claim;
}

/* As a replay does: to the youngest segment that begins with the next batch. */
static bool go_on(const struct proof *p, struct ckpt_position *at)
{
    for (size_t i = p->n_segs; i-- > 0;) {
        const struct seg_file *sf = &p->segs[i];
        if (sf->valid && sf->header.kind == SEGMENT_LOG && sf->id > at->segment &&
            sf->header.first_seq == at->seq + 1 && sf->header.chain == at->chain) {
            at->segment = sf->id;
            at->offset = sizeof sf->header;
            return true;
        }
    }
    return false;
}

/* The batch behind `at` is whole, and the next one; `at` moves on. */
static int prove_batch(struct proof *p, struct ckpt_position *at)
{
    struct batch_header h;
    char name[MEDIUM_NAME_SIZE];
    uint64_t size = 0;
    segment_name((uint32_t)at->segment, name);
    int r = at->segment ? medium_open(&p->m, name) : -ENOENT;
    if (!r)
        r = medium_size(&p->m, &size);
    if (!r)
        r = medium_read(&p->m, &h, sizeof h, at->offset);
    if (r)
        return r;
    if (h.seq != at->seq + 1 || h.chain != at->chain || h.store != p->eng->log.store ||
        !batch_header_fits(&h, size - at->offset - sizeof h))
        return -EBADMSG;
    p->scratch.len = 0;
    r = buf_reserve(&p->scratch, h.ops_len + 1u);
    if (!r)
        r = medium_read(&p->m, p->scratch.data, h.ops_len, at->offset + sizeof h);
    if (!r && h.sum != batch_sum(&h, p->scratch.data))
        r = -EBADMSG;
    at->seq = h.seq;
    at->chain = h.sum;
    at->offset += sizeof h + h.ops_len + h.extents_len;
    return r;
}

/* Up to `end`, which was the newest batch before the checkpoint was asked for: one that is written meanwhile
 * has all of these, so a batch that went with it is missed by nobody, nor are those behind it. */
static int prove_log(struct proof *p, uint64_t end)
{
    struct ckpt_position at = p->from;
    uint64_t claim = next_claim(p, at.segment, at.seq);
    int r = 0;
    while (!r && at.seq < end) {
        struct ckpt_position before = at;
        if ((at.seq + 1 >= claim || !at.segment) && go_on(p, &at))
            claim = next_claim(p, at.segment, at.seq + 1);
        before.segment = at.segment;
        before.offset = at.offset;
        int error = prove_batch(p, &at);
        if (error) /* no word about what follows: none of it can be replayed */
            return note(p, (struct finding){.part = PART_LOG,
                                            .id = before.segment,
                                            .offset = before.offset,
                                            .seq = before.seq + 1,
                                            .error = error});
        r = step(p);
    }
    return r;
}

/* ---- the second copy of the log --------------------------------------------------------------------- */

static int read_echo(void *arg, void *buf, size_t size, uint64_t off)
{
    struct proof *p = arg;
    int r = medium_read(&p->m, buf, size, off);
    return r ? r : step(p);
}

/* All batches that were written to it are there. */
static int prove_echo_file(struct proof *p, const struct echo_file *f)
{
    const struct echo_source source = {.read = read_echo, .arg = p};
    struct echo_stock stock = {.count_only = true, .first = f->first, .last = f->last};
    char name[MEDIUM_NAME_SIZE];
    echo_name(f->id, name);
    int error = medium_open(&p->m, name);
    int r = is_damage(error) ? 0 : error;
    if (!error)
        r = echo_stock_scan(&stock, &source, p->eng->log.store, f->id, f->size);
    if (!error && !r &&
        (stock.n_counted != f->n || stock.files[0].headless || stock.files[0].damaged ||
         stock.files[0].alien))
        error = -EBADMSG;
    echo_stock_free(&stock);
    medium_close(&p->m);
    return r ? r : note(p, (struct finding){.part = PART_ECHO, .id = f->id, .seq = f->last, .error = error});
}

static int prove_echo(struct proof *p)
{
    struct echo_file *files;
    size_t n;
    int r = echo_files(&p->eng->log.echo, &files, &n);
    for (size_t i = 0; i < n && !r; i++)
        r = files[i].gone ? 0 : prove_echo_file(p, &files[i]);
    free(files);
    return r;
}

/* ---- making good ------------------------------------------------------------------------------- */

/* With what the store was opened with, or has been told since; but for what holds for this mount only. */
static void write_config_of_memory(struct eng *eng)
{
    struct config config;
    const char *key;
    if (!eng->config_is_known)
        return;
    config_defaults(&config);
    for (size_t i = 0; (key = config_key(i)); i++) {
        char value[CONFIG_VALUE_SIZE];
        config_get_value(&eng->config, i, value);
        if (eng->opt.commit_ms <= 0 || strcmp(key, "commit_ms") != 0)
            (void)config_set_value(&config, key, value);
    }
    (void)config_write(eng->io, superblock_tag(&eng->sb), &config);
}

static void heal_config(struct eng *eng)
{
    struct config_text t;
    pthread_mutex_lock(&eng->config_file_lock);
    if (config_file_read(eng->io, superblock_tag(&eng->sb), &t) == 0)
        (void)config_file_write(eng->io, superblock_tag(&eng->sb), t.text, t.size);
    else
        write_config_of_memory(eng);
    pthread_mutex_unlock(&eng->config_file_lock);
    free(t.text);
}

static void heal_header(struct proof *p, uint32_t id)
{
    for (size_t i = 0; i < p->n_segs; i++)
        if (p->segs[i].id == id && p->segs[i].mended)
            if (segment_file_mend(p->eng, &p->segs[i]) != 0)
                (void)flush_log(p->eng); /* turns the store read-only if it is the sync that failed */
}

/* With the bits that the store has now, which may be more than when it was proven. */
static void heal_superblock(struct eng *eng, unsigned which)
{
    pthread_mutex_lock(&eng->superblock_lock);
    struct superblock sb = eng_superblock(eng);
    (void)superblock_write_file(eng->io, &sb, which);
    pthread_mutex_unlock(&eng->superblock_lock);
}

/* Whether it worked is for the next round to see. */
static void heal(struct proof *p)
{
    for (size_t i = 0; i < p->found.n; i++) {
        const struct finding *f = &p->found.all[i];
        if (f->part == PART_SUPERBLOCK)
            heal_superblock(p->eng, (unsigned)f->id);
        else if (f->part == PART_CONFIG)
            heal_config(p->eng);
        else if (f->part == PART_HEADER)
            heal_header(p, (uint32_t)f->id);
        else if (f->part == PART_LOG || f->part == PART_ECHO)
            p->renew = true;
    }
    if (p->renew)
        (void)checkpoint_write(p->eng);
    if (io_dir_failed(p->eng->io))
        (void)flush_log(p->eng); /* turns the store read-only: names of others may be lost, too */
}

/* ---- the whole ------------------------------------------------------------------------------------ */

static int prove_all(struct proof *p)
{
    uint64_t end = log_seq(&p->eng->log);
    p->found.n = p->n_segs = 0;
    p->renew = false;
    p->from = (struct ckpt_position){0};
    int r = 0;
    for (unsigned i = 0; i < SUPERBLOCK_FILES && !r; i++)
        r = prove_superblock(p, i);
    if (!r)
        r = prove_config(p);
    if (!r)
        r = prove_headers(p);
    if (!r)
        r = prove_checkpoint(p);
    if (!r)
        r = prove_log(p, end);
    if (!r)
        r = prove_echo(p);
    return r;
}

/* Adds what is new; all findings of all rounds are told in the end. */
static int remember(struct findings *all, const struct findings *now)
{
    int r = 0;
    for (size_t i = 0; i < now->n && !r && all->n < FOUND_MAX; i++) {
        if (is_among(all, &now->all[i]))
            continue;
        r = array_grow(&all->all, &all->cap, all->n + 1, sizeof *all->all);
        if (!r)
            all->all[all->n++] = now->all[i];
    }
    return r;
}

static const char *made_good(const struct finding *f)
{
    return f->mended ? "mended from its copy" : "made good from memory";
}

/* `left` is what the last round has found. */
static void tell(struct proof *p, const struct findings *all, const struct findings *left,
                 struct eng_recovery_figures *figures, void (*healed)(void *arg, const char *line), void *arg)
{
    struct eng *eng = p->eng;
    uint64_t n_healed = 0;
    if (!eng->opt.read_only) /* what an opening has found is not looked at again */
        damage_forget_files(eng);
    for (size_t i = 0; i < all->n; i++) {
        const struct finding *f = &all->all[i];
        char name[MEDIUM_NAME_SIZE], reason[64], line[160];
        name_of(f, name);
        reason_of(f, reason);
        bool is_left = is_among(left, f);
        snprintf(line, sizeof line, "%s, offset %llu: %s; %s", name, (unsigned long long)f->offset, reason,
                 is_left ? "a recovery may need it" : made_good(f));
        if (i < LINES_MAX)
            report_line(&eng->report, is_left ? ENG_LOG_ERROR : ENG_LOG_WARNING, "%s", line);
        if (is_left)
            damage_record_file(eng, name, f->offset, reason);
        else if (healed)
            healed(arg, line);
        n_healed += !is_left;
    }
    COUNT(eng, recovery_damaged, all->n);
    COUNT(eng, recovery_healed, n_healed);
    pthread_mutex_lock(&p->job->lock);
    figures->damaged = all->n;
    figures->healed = n_healed;
    pthread_mutex_unlock(&p->job->lock);
}

int proof_run(struct eng *eng, struct job *job, struct eng_recovery_figures *figures,
              void (*healed)(void *arg, const char *line), void *arg)
{
    struct proof p = {.eng = eng, .job = job};
    struct findings all = {0};
    int r = medium_init(&p.m, eng->io);
    for (unsigned round = 0; !r; round++) {
        r = prove_all(&p);
        medium_close(&p.m);
        if (!r)
            r = remember(&all, &p.found);
        if (r || !p.found.n || round + 1 == ROUNDS_MAX || is_read_only(eng) || MUTANT(SCRUB_HEALS_NOTHING))
            break;
        heal(&p);
        r = job_gate(job, 0);
    }
    if (all.n)
        tell(&p, &all, r ? &all : &p.found, figures, healed, arg);
    else if (!r && !eng->opt.read_only)
        damage_forget_files(eng);
    medium_free(&p.m);
    free(all.all);
    free(p.found.all);
    free(p.segs);
    buf_free(&p.scratch);
    return r;
}
