/*
 * files.c - the files of a store and how far each belongs to one moment.
 *
 * No state. Between checkpoint_exclude() and checkpoint_allow(), retire_exclude() and retire_allow() nothing
 * is removed, so that the list is the store of one moment: recovery of these files, cut to these sizes, gives
 * the state when log.lock was first taken, however many slices the list takes. */
#include "commit/retire.h"
#include "core/look.h"
#include "core/totals.h"
#include "image/checkpoint.h"

#include <stdio.h>

struct list {
    struct eng_file *files;
    size_t n, cap;
};

static struct eng_file *add(struct list *l, enum eng_file_kind kind, const char *name)
{
    if (array_grow(&l->files, &l->cap, l->n + 1, sizeof *l->files))
        return NULL;
    struct eng_file *f = &l->files[l->n++];
    *f = (struct eng_file){.kind = kind};
    snprintf(f->name, sizeof f->name, "%s", name);
    return f;
}

/* What the log was like at the moment of the list. */
struct moment {
    struct list *l;
    uint32_t active; /* segment; 0: none */
    uint64_t tail;
    uint32_t next_id;
};

/* A segment of the log has its size for good when the next begins; one of survivors may have grown since, by
 * what nothing of that moment names. */
static int add_segment(struct eng *eng, const struct seg_rec *seg, void *arg)
{
    const struct moment *m = arg;
    char name[SEGMENT_NAME_SIZE];
    if (seg->id >= m->next_id || !segments_has(&eng->segments, seg->id))
        return 0;
    segment_name(seg->id, name);
    struct eng_file *f = add(m->l, seg->kind == SEGMENT_SURVIVORS ? ENG_FILE_SURVIVORS : ENG_FILE_LOG, name);
    if (!f)
        return -ENOMEM;
    f->id = seg->id;
    f->active = m->active == seg->id;
    f->size = f->active ? m->tail : segments_size_of(&eng->segments, seg->id);
    f->total = totals_payload_locked(eng, seg);
    f->live = seg->live;
    return 0;
}

/* Nothing is retired meanwhile. */
static int add_segments(struct eng *eng, struct list *l)
{
    struct moment m = {.l = l};
    pthread_mutex_lock(&eng->log.lock);
    if (eng->log.active) {
        m.active = eng->log.active->id;
        m.tail = segments_size_of(&eng->segments, m.active);
    }
    pthread_mutex_lock(&eng->segments.lock);
    m.next_id = eng->segments.next_id;
    pthread_mutex_unlock(&eng->segments.lock);
    pthread_mutex_unlock(&eng->log.lock);
    return look_at_segments(eng, add_segment, &m);
}

/* Before the segments: so these have all that the echo has. Files that a hold keeps may be older. */
static int add_echo(struct eng *eng, struct list *l)
{
    struct echo_file *files;
    size_t n;
    int r = echo_files(&eng->log.echo, &files, &n);
    for (size_t i = 0; i < n && !r; i++) {
        char name[ECHO_NAME_SIZE];
        if (files[i].gone)
            continue;
        echo_name(files[i].id, name);
        struct eng_file *f = add(l, ENG_FILE_ECHO, name);
        if (f) {
            f->id = files[i].id;
            f->size = files[i].size;
        }
        r = f ? 0 : -ENOMEM;
    }
    free(files);
    return r;
}

static int add_checkpoint(void *arg, const char *name)
{
    uint64_t id;
    unsigned copy;
    return image_parse_name(name, &id, &copy) == 0 && !add(arg, ENG_FILE_CHECKPOINT, name) ? -ENOMEM : 0;
}

/* A checkpoint still being written is not valid yet: checkpoint_exclude() keeps it out of the list. */
static int size_checkpoints(struct eng *eng, struct list *l)
{
    const struct eng_io_ops *ops = eng->io->ops;
    for (size_t i = 0; i < l->n; i++) {
        struct io_file *file;
        unsigned copy;
        if (l->files[i].kind != ENG_FILE_CHECKPOINT)
            continue;
        int r = ops->open(eng->io, l->files[i].name, IO_RDONLY, &file);
        if (r)
            return r;
        r = ops->file_size(file, &l->files[i].size);
        ops->close(file);
        (void)image_parse_name(l->files[i].name, &l->files[i].id, &copy);
        if (r)
            return r;
    }
    return 0;
}

static int rank_of(enum eng_file_kind kind)
{
    return kind == ENG_FILE_CHECKPOINT ? 2 : kind == ENG_FILE_ECHO;
}

static int by_kind_and_id(const void *a, const void *b)
{
    const struct eng_file *x = a, *y = b;
    int kx = rank_of(x->kind), ky = rank_of(y->kind);
    if (kx != ky || x->id != y->id)
        return kx != ky ? kx - ky : (x->id > y->id) - (x->id < y->id);
    return strcmp(x->name, y->name); /* the two copies of a checkpoint */
}

void eng_uuid(struct eng *eng, uint8_t ret_uuid[16])
{
    memcpy(ret_uuid, eng->sb.uuid, sizeof eng->sb.uuid);
}

int eng_files(struct eng *eng, int (*emit)(void *arg, const struct eng_file *file), void *arg)
{
    struct list l = {0};
    if (!eng || !emit)
        return -EINVAL;
    checkpoint_exclude(eng);
    int r = eng->io->ops->list(eng->io, add_checkpoint, &l);
    if (!r)
        r = size_checkpoints(eng, &l);
    if (!r)
        r = add_echo(eng, &l);
    retire_exclude(eng);
    if (!r)
        r = add_segments(eng, &l);
    retire_allow(eng);
    checkpoint_allow(eng);
    if (!r && l.n)
        qsort(l.files, l.n, sizeof *l.files, by_kind_and_id);
    for (size_t i = 0; !r && i < l.n && !emit(arg, &l.files[i]); i++)
        ;
    free(l.files);
    return r;
}
