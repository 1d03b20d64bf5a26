/*
 * proof.c - see proof.h.
 *
 * In rounds: what one has found is made good, and the next looks whether it is. Meanwhile the store goes on:
 * a part counts only if it is still needed once it was found to be bad. */
#include "image/proof.h"

#include "commit/flush.h"
#include "core/damage.h"
#include "disk/medium.h"
#include "image/checkpoint.h"
#include "image/segment_file.h"

#include <stdio.h>

#define ROUNDS_MAX 3u
#define STEP_BYTES (1u << 20)
#define STEP_PARTS 64u
#define FOUND_MAX 1000u /* more are not counted: by then all is rewritten, or nothing can be */
#define LINES_MAX 20u   /* of one run, in the report */

enum part { PART_SUPERBLOCK, PART_CONFIG, PART_HEADER, PART_MANIFEST, PART_IMAGE, PART_LOG };

struct finding {
    enum part part;
    uint64_t id, offset; /* of the segment or checkpoint; where in it */
    uint64_t seq;        /* PART_LOG */
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
    struct ckpt_chunk *bad; /* images */
    size_t n_bad, cap_bad;
    struct ckpt_position from; /* from here on the log is needed */
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
    uint64_t kept[2];
    bool known;
    switch (f->part) {
    case PART_HEADER:
        pthread_rwlock_rdlock(&eng->index_lock);
        known = index_segment(&eng->idx, (uint32_t)f->id) != NULL;
        pthread_rwlock_unlock(&eng->index_lock);
        return known;
    case PART_MANIFEST:
        checkpoint_kept(eng, kept);
        return f->id == kept[0] || f->id == kept[1];
    case PART_IMAGE:
        return checkpoint_needs(eng, f->id);
    case PART_LOG:
        return f->seq > atomic_load_explicit(&eng->marks.oldest_seq, memory_order_acquire);
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
        snprintf(name, MEDIUM_NAME_SIZE, SUPERBLOCK_FILE);
        break;
    case PART_CONFIG:
        snprintf(name, MEDIUM_NAME_SIZE, CONFIG_FILE);
        break;
    case PART_MANIFEST:
    case PART_IMAGE:
        checkpoint_name(f->id, name);
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
                                        [PART_MANIFEST] = "manifest of a checkpoint",
                                        [PART_IMAGE] = "image of a part of the index"};
    if (f->part == PART_HEADER)
        snprintf(reason, 64, f->error == -ENOENT ? "it is missing" : "header is damaged");
    else if (f->part == PART_LOG)
        snprintf(reason, 64, "batch %llu: %s", (unsigned long long)f->seq, error);
    else
        snprintf(reason, 64, "%s: %s", parts[f->part], error);
}

static bool is_among(const struct findings *l, const struct finding *f)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->all[i].part == f->part && l->all[i].id == f->id && l->all[i].offset == f->offset)
            return true;
    return false;
}

/* ---- small files and headers ------------------------------------------------------------ */

static int prove_superblock(struct proof *p)
{
    uint8_t expect[2 * SUPERBLOCK_SIZE], data[sizeof expect];
    uint64_t size = 0;
    superblock_encode(&p->eng->sb, expect);
    int r = medium_open(&p->m, SUPERBLOCK_FILE);
    if (!r)
        r = medium_size(&p->m, &size);
    if (!r)
        r = medium_read(&p->m, data, sizeof data, 0);
    if (!r && (size != sizeof data || memcmp(data, expect, sizeof data) != 0))
        r = -EBADMSG;
    return note(p, (struct finding){.part = PART_SUPERBLOCK, .error = r});
}

/* Whether it can be read: what it says has no sum, since people write it. */
static int prove_config(struct proof *p)
{
    uint64_t size = 0;
    int r = medium_open(&p->m, CONFIG_FILE);
    if (!r)
        r = medium_size(&p->m, &size);
    for (uint64_t at = 0; !r && at < size; at += IO_ALIGN) {
        uint8_t data[IO_ALIGN];
        r = medium_read(&p->m, data, (size_t)MIN_OF(size - at, (uint64_t)IO_ALIGN), at);
    }
    if (r == -ENOENT || r == -EBADMSG) /* none is needed; and it may be replaced meanwhile */
        return 0;
    return note(p, (struct finding){.part = PART_CONFIG, .error = r});
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

/* What the header should say, without the header: a log's first batch tells, and of survivors memory does. */
static int make_up_header(struct proof *p, struct seg_file *sf, uint32_t kind)
{
    int r = 0;
    if (kind == SEGMENT_LOG) {
        r = segment_file_read(p->eng, sf, &p->scratch);
        sf->valid = sf->valid && !r;
    } else {
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

static int prove_image(struct proof *p, const struct ckpt_chunk *image, uint8_t *buf)
{
    char name[MEDIUM_NAME_SIZE];
    checkpoint_name(image->file, name);
    int r = image->len <= TABLE_CHUNK_SIZE ? medium_open(&p->m, name) : -EBADMSG;
    if (!r)
        r = medium_read(&p->m, buf, image->len, image->offset);
    if (!r && codec_hash(buf, image->len) != image->sum)
        r = -EBADMSG;
    if (!r)
        return 0;
    size_t n = p->found.n;
    r = note(p, (struct finding){.part = PART_IMAGE, .id = image->file, .offset = image->offset, .error = r});
    if (r || p->found.n == n)
        return r;
    r = array_grow(&p->bad, &p->cap_bad, p->n_bad + 1, sizeof *p->bad);
    if (!r)
        p->bad[p->n_bad++] = *image;
    return r;
}

/* In order of place, each once, although both checkpoints may name it. */
static int prove_images(struct proof *p, struct ckpt_chunk *images, size_t n)
{
    CLEANUP_FREE uint8_t *buf = malloc(TABLE_CHUNK_SIZE);
    int r = buf ? 0 : -ENOMEM;
    if (n)
        qsort(images, n, sizeof *images, checkpoint_by_place);
    for (size_t i = 0; i < n && !r; i++) {
        if (i && memcmp(&images[i], &images[i - 1], sizeof *images) == 0)
            continue;
        r = prove_image(p, &images[i], buf);
        if (!r)
            r = step(p);
    }
    return r;
}

/* Reads the manifests of both, and so finds where the log begins that the older one needs. */
static int read_manifests(struct proof *p, struct ckpt_chunk **images, size_t *n)
{
    uint64_t kept[2];
    int r = 0;
    checkpoint_kept(p->eng, kept);
    for (unsigned i = 0; i < 2 && kept[i] && !r; i++) {
        int error = checkpoint_images(p->eng, kept[i], images, n, &p->from);
        r = note(p, (struct finding){.part = PART_MANIFEST, .id = kept[i], .error = error});
    }
    for (size_t i = 0; i < p->n_segs && kept[0] && !kept[1]; i++) /* the log stands in for the second */
        if (p->segs[i].valid && p->segs[i].header.kind == SEGMENT_LOG && p->segs[i].header.first_seq == 1)
            p->from = (struct ckpt_position){0};
    return r;
}

static int find_log_start(struct proof *p)
{
    struct ckpt_chunk *images = NULL;
    size_t n = 0;
    int r = read_manifests(p, &images, &n);
    free(images);
    return r;
}

static int prove_checkpoints(struct proof *p)
{
    struct ckpt_chunk *images = NULL;
    size_t n = 0;
    int r = read_manifests(p, &images, &n);
    if (!r && !MUTANT(SCRUB_NO_IMAGES))
        r = prove_images(p, images, n);
    free(images);
    return r;
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

/* *ret_broken: a batch could not be proved, and nothing behind it: none of it can be replayed. */
static int prove_log_from(struct proof *p, uint64_t end, bool *ret_broken)
{
    struct ckpt_position at = p->from;
    uint64_t claim = next_claim(p, at.segment, at.seq);
    int r = 0;
    *ret_broken = false;
    while (!r && at.seq < end) {
        struct ckpt_position before = at;
        if ((at.seq + 1 >= claim || !at.segment) && go_on(p, &at))
            claim = next_claim(p, at.segment, at.seq + 1);
        before.segment = at.segment;
        before.offset = at.offset;
        int error = prove_batch(p, &at);
        if (error) {
            *ret_broken = true;
            return note(p, (struct finding){.part = PART_LOG,
                                            .id = before.segment,
                                            .offset = before.offset,
                                            .seq = before.seq + 1,
                                            .error = error});
        }
        r = step(p);
    }
    return r;
}

#define MOVES_MAX 16u /* how often checkpoints may move the beginning meanwhile */

/* A checkpoint that is written meanwhile lets batches go that this has set out from: it begins anew where the
 * older one of now has its log. */
static int prove_log(struct proof *p, uint64_t end)
{
    bool broken;
    for (unsigned moves = 0;; moves++) {
        size_t n = p->found.n;
        uint64_t from = p->from.seq;
        int r = prove_log_from(p, end, &broken);
        if (r || !broken || p->found.n > n || moves == MOVES_MAX || MUTANT(PROOF_STAYS))
            return r;
        r = find_log_start(p);
        if (r || p->from.seq <= from)
            return r;
    }
}

/* ---- making good ------------------------------------------------------------------------------- */

static void heal_superblock(struct eng *eng)
{
    uint8_t image[2 * SUPERBLOCK_SIZE];
    superblock_encode(&eng->sb, image);
    (void)io_replace_file(eng->io, SUPERBLOCK_FILE, image, sizeof image);
}

/* With what the store was opened with, or has been told since; but for what holds for this mount only. */
static void heal_config(struct eng *eng)
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
    pthread_mutex_lock(&eng->config_file_lock);
    (void)config_write(eng->io, &config);
    pthread_mutex_unlock(&eng->config_file_lock);
}

static void heal_header(struct proof *p, uint32_t id)
{
    for (size_t i = 0; i < p->n_segs; i++)
        if (p->segs[i].id == id && p->segs[i].mended)
            if (segment_file_mend(p->eng, &p->segs[i]) != 0)
                (void)flush_log(p->eng); /* turns the store read-only if it is the sync that failed */
}

/* Two, so that neither of the kept ones needs anything that was bad. */
static void renew_checkpoints(struct proof *p)
{
    if (p->n_bad)
        qsort(p->bad, p->n_bad, sizeof *p->bad, checkpoint_by_place);
    checkpoint_forget(p->eng, p->bad, p->n_bad);
    if (checkpoint_write(p->eng) == 0)
        (void)checkpoint_write(p->eng);
}

/* Whether it worked is for the next round to see. */
static void heal(struct proof *p)
{
    bool renew = false;
    for (size_t i = 0; i < p->found.n; i++) {
        const struct finding *f = &p->found.all[i];
        if (f->part == PART_SUPERBLOCK)
            heal_superblock(p->eng);
        else if (f->part == PART_CONFIG)
            heal_config(p->eng);
        else if (f->part == PART_HEADER)
            heal_header(p, (uint32_t)f->id);
        else
            renew = true;
    }
    if (renew)
        renew_checkpoints(p);
    if (io_dir_failed(p->eng->io))
        (void)flush_log(p->eng); /* turns the store read-only: names of others may be lost, too */
}

/* ---- the whole ------------------------------------------------------------------------------------ */

static int prove_all(struct proof *p)
{
    uint64_t end = log_seq(&p->eng->log);
    p->found.n = p->n_segs = p->n_bad = 0;
    p->from = (struct ckpt_position){0};
    int r = prove_superblock(p);
    if (!r)
        r = prove_config(p);
    if (!r)
        r = prove_headers(p);
    if (!r)
        r = prove_checkpoints(p);
    if (!r)
        r = prove_log(p, end);
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
                 is_left ? "a recovery may need it" : "made good from memory");
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
    free(p.bad);
    buf_free(&p.scratch);
    return r;
}
