/*
 * matrix.c - each operation in each state of the cache, twice, and all readers after it; then once more from
 * what the file system has. */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *control_file;

/* What changes no content: all of it moves within the store. */
static int compact(struct file *f)
{
    if (!*control_file)
        return 1;
    int fd = open(control_file, O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, "run", 3) == 3 ? 0 : -1);
    MUST(close(fd));
    (void)f;
    return 0;
}

/* ---- what the cache holds before ------------------------------------------------ */

static void nothing(struct file *f)
{
    file_drop(f);
}

static void everything(struct file *f)
{
    char why[256];
    MUST(file_agrees(f, true, why) ? 0 : -1);
}

static void some_of_it(struct file *f)
{
    char buf[100];
    file_drop(f);
    for (size_t i = 0; i < 5; i++) {
        size_t at = below(f->size);
        MUST(pread(f->reader, buf, sizeof(buf), (off_t)at));
        (void)((volatile const unsigned char *)f->shared)[below(f->size)];
    }
}

/* Read, and then stored to in places, which nobody has written back. */
static void stored(struct file *f)
{
    everything(f);
    for (size_t i = 0; i < 4; i++) {
        size_t at = below(f->size);
        f->stored[at] = f->model[at] = (unsigned char)(1 + below(255));
    }
    f->unsynced = true;
}

static const struct state {
    const char *name;
    void (*make)(struct file *f);
    bool holes;
} states[] = {{"cold", nothing, false},
              {"warm", everything, false},
              {"partly", some_of_it, false},
              {"stored", stored, false},
              {"with-holes", everything, true}};

static const char *const skipped = "-";

/* NULL: as it should be. */
static const char *one(const struct content_op *op, const struct state *state, struct file *f)
{
    static char why[300];
    char found[256];
    const char *result = NULL;
    size_t size = 24000 + below(60000);
    file_begin(f, below(3) ? size : size / CACHE_PAGE * CACHE_PAGE, state->holes);
    state->make(f);
    for (int again = 0; again < 2 && !result; again++) {
        if (op->run(f))
            result = again ? result : skipped;
        else if (!file_agrees(f, true, found))
            result = again ? "done twice" : "done";
        if (result == skipped || !result)
            continue;
        (void)snprintf(why, sizeof(why), "%s, %s", result, found);
        result = why;
    }
    if (!result) {
        file_drop(f);
        if (!file_agrees(f, true, found)) {
            (void)snprintf(why, sizeof(why), "from the file system %s", found);
            result = why;
        }
    }
    file_end(f);
    return result;
}

static void cross(const struct content_op *op, struct file *f)
{
    enum { TIMES = 3 };
    for (size_t s = 0; s < COUNT_OF(states); s++) {
        char what[100];
        const char *wrong = NULL;
        for (int i = 0; i < TIMES && (!wrong || wrong == skipped); i++)
            wrong = one(op, &states[s], f);
        (void)snprintf(what, sizeof(what), "matrix.%s.%s", op->name, states[s].name);
        if (wrong == skipped)
            printf("# %s is not done here\n", what);
        else
            say(what, wrong ? "%s" : NULL, wrong);
    }
}

void matrix_run(const char *control)
{
    static struct file f;
    static const struct content_op compaction = {"compact", compact, false};
    control_file = control;
    for (size_t i = 0; i < content_ops_n; i++)
        cross(&content_ops[i], &f);
    if (*control)
        cross(&compaction, &f);
}
