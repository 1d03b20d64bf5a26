/*
 * checkpoint_files.c - see checkpoint_files.h. */
#include "image/checkpoint_files.h"

void checkpoint_files_free(struct ckpt_files *files)
{
    free(files->files);
    *files = (struct ckpt_files){.max = files->max};
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b; /* a struct ckpt_file begins with its id */
    return (x > y) - (x < y);
}

static int by_size(const void *a, const void *b)
{
    const struct ckpt_file *x = a, *y = b;
    return x->size != y->size ? (x->size > y->size) - (x->size < y->size) : by_id(a, b);
}

bool checkpoint_files_has(const uint64_t *ids, size_t n, uint64_t id)
{
    return n && bsearch(&id, ids, n, sizeof id, by_id);
}

/* ---- the folder ------------------------------------------------------------------------ */

struct listing {
    struct ckpt_file *found;
    size_t n, cap;
};

static int record_file(void *arg, const char *name)
{
    struct listing *l = arg;
    uint64_t id;
    if (checkpoint_parse_name(name, &id) != 0)
        return 0;
    int r = array_grow(&l->found, &l->cap, l->n + 1, sizeof *l->found);
    if (!r)
        l->found[l->n++] = (struct ckpt_file){.id = id};
    return r;
}

static uint64_t size_of(struct eng *eng, uint64_t id)
{
    const struct eng_io_ops *ops = eng->io->ops;
    char name[32];
    struct io_file *file;
    uint64_t size = 0;
    checkpoint_name(id, name);
    if (ops->open(eng->io, name, IO_RDONLY, &file) != 0)
        return 0;
    if (ops->file_size(file, &size) != 0)
        size = 0;
    ops->close(file);
    return size;
}

static int unlink_file(struct eng *eng, uint64_t id)
{
    char name[32];
    checkpoint_name(id, name);
    return eng->io->ops->unlink(eng->io, name);
}

uint64_t checkpoint_files_clean(struct eng *eng, struct ckpt_files *files, const struct ckpt_info kept[2],
                                bool may_unlink)
{
    struct listing l = {0};
    uint64_t sum = 0;
    size_t n = 0;
    (void)eng->io->ops->list(eng->io, record_file, &l); /* what is missed is met the next time */
    if (l.n)
        qsort(l.found, l.n, sizeof *l.found, by_id);
    for (size_t i = 0; i < l.n; i++) {
        struct ckpt_file f = l.found[i], *known = NULL;
        bool needed = checkpoint_files_has(kept[0].files, kept[0].n_files, f.id) ||
                      checkpoint_files_has(kept[1].files, kept[1].n_files, f.id);
        if (!needed && may_unlink && unlink_file(eng, f.id) == 0)
            continue; /* one that stays is tried again with the next checkpoint */
        if (files->n)
            known = bsearch(&f, files->files, files->n, sizeof f, by_id);
        f.size = known ? known->size : size_of(eng, f.id);
        sum += f.size;
        l.found[n++] = f;
    }
    checkpoint_files_free(files);
    *files = (struct ckpt_files){.max = files->max, .files = l.found, .n = n};
    return sum;
}

/* ---- merging --------------------------------------------------------------------------- */

/* Bytes that the view needs of each older file. */
static int measure_needed(struct index *view, struct listing *l)
{
    int r = 0;
    for (unsigned i = 0; i < INDEX_TABLES; i++) {
        const struct table *t = index_table(view, i);
        for (uint32_t c = 0; c < t->n_chunks && !r; c++) {
            if (!t->refs[c].file)
                continue;
            r = array_grow(&l->found, &l->cap, l->n + 1, sizeof *l->found);
            if (!r)
                l->found[l->n++] = (struct ckpt_file){t->refs[c].file, t->refs[c].len};
        }
    }
    if (r || !l->n)
        return r;
    qsort(l->found, l->n, sizeof *l->found, by_id);
    size_t n = 0;
    for (size_t i = 1; i < l->n; i++) {
        if (l->found[i].id == l->found[n].id)
            l->found[n].size += l->found[i].size;
        else
            l->found[++n] = l->found[i];
    }
    l->n = n + 1;
    return 0;
}

int checkpoint_files_merge(const struct ckpt_files *files, struct index *view, const struct ckpt_info *newest,
                           uint64_t **ret_ids, size_t *ret_n)
{
    struct listing l = {0};
    *ret_ids = NULL;
    *ret_n = 0;
    if (newest->n_files < files->max || MUTANT(MANY_CKPT_FILES))
        return 0;
    int r = measure_needed(view, &l);
    size_t n = l.n < files->max ? 0 : l.n - files->max / 2;
    uint64_t *ids = r ? NULL : calloc(n + 1, sizeof *ids);
    if (!r && !ids)
        r = -ENOMEM;
    if (!r && n) {
        qsort(l.found, l.n, sizeof *l.found, by_size);
        for (size_t i = 0; i < n; i++)
            ids[i] = l.found[i].id;
        qsort(ids, n, sizeof *ids, by_id);
    }
    free(l.found);
    if (r)
        return r;
    *ret_ids = ids;
    *ret_n = n;
    return 0;
}
