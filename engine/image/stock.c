/*
 * stock.c - the files of a store's folder that a recovery looks at. Runs before any thread starts. */
#include "image/checkpoint.h"
#include "image/reader.h"
#include "image/recovery.h"

#include <stdio.h>

/* Those that an earlier opening has set aside: their content is handed out with what was lost. */
static int note_kept(void *arg, const char *name)
{
    struct recovery *rec = arg;
    const struct eng_io_ops *ops = rec->eng->io->ops;
    struct io_file *file;
    uint64_t size;
    uint32_t id;
    if (segment_parse_kept_name(name, &id) != 0 || ops->open(rec->eng->io, name, IO_RDONLY, &file) != 0)
        return 0; /* nothing to be had */
    int r = ops->file_size(file, &size);
    ops->close(file);
    if (!r)
        r = segments_add_kept(&rec->eng->segments, id, size);
    if (r == -EEXIST)
        report_line(&rec->eng->report, ENG_LOG_WARNING,
                    "%s is not looked at, since there is a segment of its number; to have it read, repair a "
                    "copy of the store without that",
                    name);
    return r == -ENOMEM ? r : 0;
}

static int note_file(void *arg, const char *name)
{
    struct recovery *rec = arg;
    uint32_t id;
    uint64_t ckpt;
    unsigned copy;
    if (segment_parse_name(name, &id) == 0 && id <= rec->last_seg) {
        int r = array_grow(&rec->segs, &rec->cap_segs, rec->n_segs + 1, sizeof *rec->segs);
        if (!r)
            rec->segs[rec->n_segs++] = (struct seg_file){.id = id};
        return r;
    }
    if (segment_parse_kept_name(name, &id) == 0) {
        int r = segments_note_kept(&rec->eng->segments, id);
        rec->eng->n_set_aside++;
        return r == -EEXIST ? 0 : r;
    }
    rec->eng->n_set_aside += echo_parse_kept_name(name, &id) == 0;
    if (image_parse_name(name, &ckpt, &copy) == 0 && ckpt <= rec->last_ckpt) {
        int r = array_grow(&rec->ckpts, &rec->cap_ckpts, rec->n_ckpts + 1, sizeof *rec->ckpts);
        if (!r)
            rec->ckpts[rec->n_ckpts++] = ckpt;
        return r;
    }
    return 0;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

struct ids {
    uint64_t *ids;
    size_t n, cap;
};

static int note_image(void *arg, const char *name)
{
    struct ids *found = arg;
    uint64_t id;
    unsigned copy;
    if (image_parse_name(name, &id, &copy) != 0)
        return 0;
    int r = array_grow(&found->ids, &found->cap, found->n + 1, sizeof *found->ids);
    if (!r)
        found->ids[found->n++] = id;
    return r;
}

uint64_t recovery_likely_start(const struct recovery *rec)
{
    struct eng *eng = rec->eng;
    struct image_note none[IMAGE_NOTES];
    struct ids found = {0};
    uint64_t seq = 0;
    int r =
        eng->sb.version == FORMAT_VERSION_OLD ? -EBADMSG : eng->io->ops->list(eng->io, note_image, &found);
    if (found.n)
        qsort(found.ids, found.n, sizeof *found.ids, newest_first);
    for (size_t i = 0; i < found.n && !r; i++)
        if (images_probe(&eng->checkpoints->images, found.ids[i], &seq) == 0)
            break;
    (void)images_take_notes(&eng->checkpoints->images, none); /* the loading takes its own */
    free(found.ids);
    return seq;
}

int recovery_read_header(struct recovery *rec, struct seg_file *sf)
{
    int r = segment_file_read(rec->eng, sf, &rec->found);
    if (!r && sf->valid)
        rec->mark = MAX_OF(rec->mark, sf->header.durable_seq);
    return r;
}

/*
 * Of a folder in use: a listing may show a file that was made while it went on, and miss one made before
 * that. Numbers only rise and nothing goes while the store is held, so a second look has all up to the last
 * of the first. */
static int limit_stock(struct recovery *rec)
{
    int r = rec->eng->io->ops->list(rec->eng->io, note_file, rec);
    rec->last_seg = 0;
    rec->last_ckpt = 0;
    for (size_t i = 0; i < rec->n_segs; i++)
        rec->last_seg = MAX_OF(rec->last_seg, rec->segs[i].id);
    for (size_t i = 0; i < rec->n_ckpts; i++)
        rec->last_ckpt = MAX_OF(rec->last_ckpt, rec->ckpts[i]);
    rec->n_segs = rec->n_ckpts = 0;
    rec->eng->n_set_aside = 0;
    return r;
}

/* A checkpoint has two files. */
static void join_copies(struct recovery *rec)
{
    size_t n = 0;
    for (size_t i = 0; i < rec->n_ckpts; i++)
        if (n == 0 || rec->ckpts[n - 1] != rec->ckpts[i])
            rec->ckpts[n++] = rec->ckpts[i];
    rec->n_ckpts = n;
}

int recovery_take_stock(struct recovery *rec)
{
    int r = rec->eng->opt.snapshot ? limit_stock(rec) : 0;
    if (!r)
        r = rec->eng->io->ops->list(rec->eng->io, note_file, rec);
    if (r)
        return r;
    if (rec->n_segs)
        qsort(rec->segs, rec->n_segs, sizeof *rec->segs, segment_file_by_id);
    if (rec->n_ckpts)
        qsort(rec->ckpts, rec->n_ckpts, sizeof *rec->ckpts, newest_first);
    join_copies(rec);
    for (size_t i = 0; i < rec->n_segs; i++)
        segment_file_advise(rec->eng, rec->segs[i].id);
    for (size_t i = 0; i < rec->n_segs && !r; i++) {
        struct seg_file *sf = &rec->segs[i];
        r = recovery_read_header(rec, sf);
        if (!r)
            r = segments_add(&rec->eng->segments, sf->id, sf->valid ? sf->header.kind : 0, sf->size);
        if (r)
            snprintf(rec->why, 256, "segment s%08x.seg: %s", sf->id, strerror(-r));
    }
    if (!r && rec->eng->opt.salvage)
        r = rec->eng->io->ops->list(rec->eng->io, note_kept, rec);
    return r;
}
