/*
 * sorted.c - see sorted.h. State: struct sorted, for one list. */
#include "ctl/sorted.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX 32u /* then they become one */

struct record {
    uint64_t key;
    size_t at, len; /* in data */
};

struct run {
    FILE *file;
    bool is_at_end;
    uint64_t key; /* of the record that comes next */
    size_t len, cap;
    char *data;
};

struct sorted {
    size_t bytes;
    struct record *records;
    size_t n, cap;
    char *data;
    size_t len, cap_data;
    struct run runs[RUNS_MAX];
    size_t n_runs;
};

typedef int (*emit_fn)(void *arg, uint64_t key, const void *data, size_t len);

struct sorted *sorted_new(size_t bytes)
{
    struct sorted *s = calloc(1, sizeof *s);
    if (s)
        s->bytes = bytes;
    return s;
}

static void run_done(struct run *run)
{
    if (run->file)
        (void)fclose(run->file);
    free(run->data);
    *run = (struct run){.is_at_end = true};
}

void sorted_free(struct sorted *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_runs; i++)
        run_done(&s->runs[i]);
    free(s->records);
    free(s->data);
    free(s);
}

static int compare(uint64_t key, const char *data, size_t len, uint64_t other_key, const char *other,
                   size_t other_len)
{
    if (key != other_key)
        return key < other_key ? -1 : 1;
    size_t common = len < other_len ? len : other_len;
    int order = common ? memcmp(data, other, common) : 0;
    return order ? order : (len > other_len) - (len < other_len);
}

static int by_key(const void *a, const void *b, void *data)
{
    const struct record *x = a, *y = b;
    const char *bytes = data;
    return compare(x->key, bytes + x->at, x->len, y->key, bytes + y->at, y->len);
}

/* ---- runs --------------------------------------------------------------------- */

static int write_record(void *arg, uint64_t key, const void *data, size_t len)
{
    FILE *file = arg;
    bool is_written = fwrite(&key, sizeof key, 1, file) == 1 && fwrite(&len, sizeof len, 1, file) == 1 &&
                      (!len || fwrite(data, len, 1, file) == 1);
    if (is_written)
        return 0;
    return errno ? -errno : -EIO;
}

/* The next record of a run, or its end. */
static int run_next(struct run *run)
{
    uint64_t key;
    size_t len;
    run->is_at_end = fread(&key, sizeof key, 1, run->file) != 1;
    if (run->is_at_end)
        return ferror(run->file) ? -EIO : 0;
    if (fread(&len, sizeof len, 1, run->file) != 1)
        return -EIO;
    if (len > run->cap || !run->data) {
        char *data = realloc(run->data, len + 1);
        if (!data)
            return -ENOMEM;
        run->data = data;
        run->cap = len;
    }
    run->key = key;
    run->len = len;
    return len && fread(run->data, len, 1, run->file) != 1 ? -EIO : 0;
}

static int run_rewind(struct run *run)
{
    if (fflush(run->file) || fseek(run->file, 0, SEEK_SET))
        return -errno;
    return run_next(run);
}

static struct run *least(struct sorted *s)
{
    struct run *best = NULL;
    for (size_t i = 0; i < s->n_runs; i++) {
        struct run *run = &s->runs[i];
        if (!run->is_at_end &&
            (!best || compare(run->key, run->data, run->len, best->key, best->data, best->len) < 0))
            best = run;
    }
    return best;
}

static int merge(struct sorted *s, emit_fn emit, void *arg)
{
    int r = 0;
    for (size_t i = 0; i < s->n_runs && !r; i++)
        r = run_rewind(&s->runs[i]);
    for (struct run *run = r ? NULL : least(s); run && !r; run = least(s)) {
        r = emit(arg, run->key, run->data, run->len);
        if (!r)
            r = run_next(run);
    }
    return r;
}

static int merge_to_one(struct sorted *s)
{
    struct run one = {.file = tmpfile()};
    int r = one.file ? merge(s, write_record, one.file) : -errno;
    if (r) {
        run_done(&one);
        return r;
    }
    for (size_t i = 0; i < s->n_runs; i++)
        run_done(&s->runs[i]);
    s->runs[0] = one;
    s->n_runs = 1;
    return 0;
}

static int tell_memory(struct sorted *s, emit_fn emit, void *arg)
{
    int r = 0;
    if (s->n)
        qsort_r(s->records, s->n, sizeof *s->records, by_key, s->data);
    for (size_t i = 0; i < s->n && !r; i++)
        r = emit(arg, s->records[i].key, s->data + s->records[i].at, s->records[i].len);
    s->n = s->len = 0;
    return r;
}

/* What is in memory becomes a run. */
static int spill(struct sorted *s)
{
    int r = s->n_runs == RUNS_MAX ? merge_to_one(s) : 0;
    if (r)
        return r;
    struct run run = {.file = tmpfile()};
    if (!run.file)
        return -errno;
    s->runs[s->n_runs++] = run;
    return tell_memory(s, write_record, run.file);
}

/* ---- records ------------------------------------------------------------------- */

static int make_room(struct sorted *s, size_t len)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        struct record *records = reallocarray(s->records, cap, sizeof *records);
        if (!records)
            return -ENOMEM;
        s->records = records;
        s->cap = cap;
    }
    if (s->len + len <= s->cap_data && s->data)
        return 0;
    size_t cap = 2 * s->cap_data > s->len + len ? 2 * s->cap_data : s->len + len + 4096;
    char *data = realloc(s->data, cap);
    if (!data)
        return -ENOMEM;
    s->data = data;
    s->cap_data = cap;
    return 0;
}

int sorted_add(struct sorted *s, uint64_t key, const void *data, size_t len)
{
    size_t used = s->len + s->n * sizeof *s->records;
    int r = s->n && used + len > s->bytes ? spill(s) : 0;
    if (!r)
        r = make_room(s, len);
    if (r)
        return r;
    if (len)
        memcpy(s->data + s->len, data, len);
    s->records[s->n++] = (struct record){key, s->len, len};
    s->len += len;
    return 0;
}

/* Leaves out what is the same as the one before. */
struct once {
    emit_fn emit;
    void *arg;
    bool has_last;
    uint64_t key;
    char *data;
    size_t len, cap;
};

static int emit_once(void *arg, uint64_t key, const void *data, size_t len)
{
    struct once *once = arg;
    if (once->has_last && compare(key, data, len, once->key, once->data, once->len) == 0)
        return 0;
    if (len > once->cap || !once->data) {
        char *grown = realloc(once->data, len + 1);
        if (!grown)
            return -ENOMEM;
        once->data = grown;
        once->cap = len;
    }
    if (len)
        memcpy(once->data, data, len);
    once->key = key;
    once->len = len;
    once->has_last = true;
    return once->emit(once->arg, key, data, len);
}

int sorted_tell(struct sorted *s, emit_fn emit, void *arg)
{
    struct once once = {.emit = emit, .arg = arg};
    int r = s->n_runs && s->n ? spill(s) : 0;
    if (!r)
        r = s->n_runs ? merge(s, emit_once, &once) : tell_memory(s, emit_once, &once);
    free(once.data);
    return r;
}
