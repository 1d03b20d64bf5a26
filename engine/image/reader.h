/*
 * reader.h - the image files of a store, read: the root of a checkpoint, the map behind it, and the chunks of
 * the index one by one, as they are needed or ahead of that.
 *
 * A checkpoint is in two files that have the same bytes in the same places, cN.ckp and cN.cpy. A piece is
 * read from the first, and where it is not whole there, from the second: only what both have lost is lost.
 * Which copy was bad is noted, so that it can be mended (copies.h).
 *
 * Locking: images.lock protects the map: shared while pieces are looked up and read, exclusive for the moment
 * in which a new map takes the place of the old one; files are removed after that alone. Leaves:
 * images.handles.lock, images.notes.lock. Fetching a chunk may be done by several threads, under the lock of
 * the index or not. */
#ifndef ENGRAMFS_READER_H
#define ENGRAMFS_READER_H

#include "disk/io.h"
#include "image/map.h"

#define IMAGE_COPIES 2u
#define IMAGE_NAME_SIZE 32
#define IMAGE_SPARE_BYTES (UINT64_C(1) << 20)
#define IMAGE_HANDLES 32u /* files that are kept open */
#define IMAGE_NOTES 16u

struct image_handle {
    uint64_t id; /* 0: none */
    unsigned copy, users;
    uint64_t used; /* when last, by handles.clock */
    struct io_file *file;
};

/* A copy of a file that had a bad piece, or none of it. */
struct image_note {
    uint64_t file;
    unsigned copy;
    int error;
    bool end; /* nothing but the root or what is behind it was bad */
};

struct images {
    struct eng_io *io;
    uint64_t store; /* superblock_tag() */
    unsigned n_tables;
    struct map_shape
        wide;             /* of roots that may be, too, with more tables. Immutable after the first opening */
    uint64_t spare_bytes; /* see writer.h; tests make it smaller. Immutable */
    /* Whether the records of a chunk, which is as it was written, may be believed: 0 or -EBADMSG; set before
     * the first fetch. NULL: they are. */
    int (*check)(void *arg, unsigned table, uint32_t c, const struct table_meta *meta, const uint8_t *chunk);
    void *check_arg;
    pthread_rwlock_t lock;
    struct image_map map; /* of the newest checkpoint */
    struct {
        pthread_mutex_t lock;
        struct image_handle all[IMAGE_HANDLES];
        uint64_t clock;
    } handles;
    struct {
        pthread_mutex_t lock;
        struct image_note all[IMAGE_NOTES];
        unsigned n;
    } notes;
};

/* Without any checkpoint yet. -ENOMEM. */
int images_init(struct images *images, struct eng_io *io, uint64_t store, unsigned n_tables);
void images_free(struct images *images); /* zeroed is fine */

/* The name of copy 0 or 1 of file `id`, and back. -EINVAL: it is none. */
void image_name(uint64_t id, unsigned copy, char out[IMAGE_NAME_SIZE]);
int image_parse_name(const char *name, uint64_t *ret_id, unsigned *ret_copy);

/* Makes what is written of file `id` durable and forgets what is cached of it, so that images_open() sees
 * what a power loss would leave (I11). 0 if that is so of one copy at least. */
int images_settle(struct images *images, uint64_t id);
/* Whether either copy of file `id` ends in a footer: a checkpoint that was finished. */
bool images_is_finished(struct images *images, uint64_t id);
/* Whether nothing that can be read says that it is not: copies that cannot be read at all count as such. */
bool images_may_be_finished(struct images *images, uint64_t id);
/*
 * Reads root and map of checkpoint `id`. *ret_head gets the bytes of the caller's in the root, which it
 * frees: head_len, or those of images->wide if map.n_tables says so. -ENOENT; -EBADMSG or -EIO: what both
 * copies have of a part of it is bad; -ENOMEM. images->map stays as it was then. */
int images_open(struct images *images, uint64_t id, size_t head_len, void **ret_head);

/* After images_open(), of a store that may be written: a run that died after all pieces were durable may have
 * left the end of one copy unwritten. Writes it as the other has it. A copy that ends before that, and
 * whatever else is wrong, stays noted, and is left to a scrub. Returns a bit for each copy whose end was
 * mended. */
unsigned images_mend_end(struct images *images);
/* images_open() for salvage: what pages are damaged is lost, and so are files that are too short; *ret_bytes:
 * what all files have. */
int images_open_parts(struct images *images, uint64_t id, size_t head_len, void **ret_head,
                      uint64_t *ret_bytes);
/* Whether it is not known what pieces chunk c has. */
bool images_page_is_lost(const struct images *images, unsigned table, uint32_t c);
/* The last batch of checkpoint `id`, as its root says. */
int images_probe(struct images *images, uint64_t id, uint64_t *ret_seq);

/* Reads a piece of the map, checked, header and all, into ref->len bytes. With lock held, or the map known to
 * stay. */
int images_read_piece(struct images *images, const struct piece_ref *ref, void *buf);
/* The same from one copy only; nothing is noted. */
int images_read_copy(struct images *images, const struct piece_ref *ref, unsigned copy, void *buf);
/* A table_source: chunk c, TABLE_CHUNK_SIZE bytes. Takes lock. */
int images_fetch(void *images, unsigned which, uint32_t c, uint8_t *into);
/* Chunk c will be fetched soon, with others. Takes lock. */
void images_advise(struct images *images, unsigned table, uint32_t c);
/* Makes `t`, initialised, the table `which` of the map: its chunks are absent, or dropped. -EBADMSG,
 * -ENOMEM. */
int images_begin_table(struct images *images, unsigned which, struct table *t);
/* Closes what is open of a file, or (0) of all files. */
void images_close(struct images *images, uint64_t id);
/* Copies that were bad since the last call; returns how many, at most IMAGE_NOTES. */
unsigned images_take_notes(struct images *images, struct image_note ret_notes[IMAGE_NOTES]);

/* ---- ahead of need --------------------------------------------------------------------------- */

struct images_loading {
    struct images *images;
    struct table *const *tables; /* live ones */
    void (*lock)(void *arg);     /* of the index, shared; not held while files are read */
    void (*unlock)(void *arg);
    /* A chunk could not be had `tries` times, last with this error, which may pass: whether to try again.
     * Under no lock; may wait. NULL: no. */
    bool (*again)(void *arg, int error, unsigned tries);
    void *arg;
    _Atomic bool stop;
    _Atomic uint64_t *done; /* counts chunks that need nothing more. NULL: nobody wants to know */
    /* Set by images_load(). */
    _Atomic int error; /* of a chunk that could not be had */
    uint32_t n_chunks[MAP_TABLES_MAX];
    uint64_t total;
    _Atomic uint64_t next; /* the first chunk, of all, that no thread has taken */
};

/* Fetches all absent chunks, in this thread and others, `threads` in all at most. Returns once that is done:
 * 0; or `stop` is set: -ECANCELED; or a chunk could not be had: the error, -EBADMSG of one that is lost. */
int images_load(struct images_loading *l, unsigned threads);

#endif
