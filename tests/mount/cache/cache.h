/*
 * cache.h - what the parts of the coherence program share (main.c).
 *
 * A file with a model of its content in memory. An operation changes both; then each kind of reader
 * looks at the whole file and must see the model: through the page cache, past it, through mappings that
 * were there before, by name, and from another process. A line is 'ok - cache.WHAT' or 'not ok - …'. */
#ifndef ENGRAMFS_TESTS_CACHE_H
#define ENGRAMFS_TESTS_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

enum {
    CACHE_PAGE = 4096,
    CACHE_MOST = 2 << 20, /* no file grows beyond */
};

/* Ends the program: what is prepared must work. */
#define MUST(call) must((long)(call), #call, __FILE__, __LINE__)
void must(long result, const char *what, const char *file, int line);

/* One line; `format` NULL: it is as it should be. */
void say(const char *what, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Random numbers, the same for a seed. */
uint64_t rnd(void);
size_t below(size_t n);
void rnd_seed(uint64_t seed);
void rnd_bytes(void *to, size_t n); /* none of them 0, so that a hole is no match */

struct file {
    const char *name; /* in the current directory, as `other_name`, a link to it */
    const char *other_name;
    int fd, fd2; /* read and write; two descriptions */
    int direct;  /* the same, O_DIRECT */
    int reader;  /* read only, of the readers */
    int direct_reader;
    unsigned char *shared;  /* a mapping of CACHE_MOST bytes of `reader` */
    unsigned char *private; /* the same, MAP_PRIVATE */
    unsigned char *stored;  /* a shared one that may be written */
    unsigned char *model;   /* CACHE_MOST bytes, zeros behind `size` */
    size_t size;
    bool unsynced; /* something was stored through a mapping, and not synced */
};

/* A new file of `size` random bytes, holes in it if asked for, its descriptors and mappings. */
void file_begin(struct file *f, size_t size, bool holes);
void file_end(struct file *f);
/* What the model has after a change. */
void model_put(struct file *f, size_t off, const void *data, size_t n);
void model_zero(struct file *f, size_t off, size_t n, bool may_grow);
void model_resize(struct file *f, size_t size);

/* Each kind of reader against the model, attributes and holes; false with a text in `why`: one differs.
 * `whole`: those that cost a process or an open, too. */
bool file_agrees(struct file *f, bool whole, char why[256]);
/* What the kernel keeps of the attributes and what it is told when it asks: the same; but for blocks if they
 * may lag behind. */
extern bool blocks_lag;
bool stat_agrees(int fd, const char *path, char why[256]);
/* Writes back and drops what can be dropped. */
void file_drop(struct file *f);

/* An operation on content. 0: done, 1: not available here. */
struct content_op {
    const char *name;
    int (*run)(struct file *f);
    bool shrinks; /* a mapping must not be touched meanwhile */
};
extern const struct content_op content_ops[];
extern const size_t content_ops_n;
/* Reads and writes four quarters of the file at once, asynchronously and past the cache. */
int op_aio(struct file *f);
int op_aio_append(struct file *f);
int op_uring(struct file *f);
int op_uring_buffered(struct file *f);

/* The parts; `control`: a verb's file of the mount ("": there is none), `rounds` of those with threads. */
void matrix_run(const char *control);
void beside_run(unsigned rounds);
void attrs_run(unsigned rounds);
void names_run(void);
void rights_run(void);

#endif
