/*
 * map.h - what a checkpoint knows of the chunks of the index: for each chunk the pieces that make it up, for
 * each 256 chunks of a table the page on disk that says so, and the image files that all these pieces lie in.
 *
 * The root of a checkpoint names the pages: 384 of them in a store of 30 million memories, 12 KB. A
 * checkpoint writes the pages of which an entry has changed, and a root.
 *
 * A map is a value: the next checkpoint is made in a copy, which takes the place of the old one once all is
 * durable.
 *
 * Locking: none here, see reader.h. */
#ifndef ENGRAMFS_MAP_H
#define ENGRAMFS_MAP_H

#include "image/pieces.h"

#define MAP_TABLES_MAX 16u

struct map_page {
    struct piece_ref ref; /* file 0: it was never written */
    bool changed;         /* an entry is not as the page says */
    bool lost;            /* of salvage: it cannot be had */
};

struct map_table {
    struct map_entry *entries; /* n_chunks of them */
    struct map_page *pages;
    uint32_t n_chunks;
    uint32_t used; /* records handed out */
};

/* An image file, and its copy, which has the same bytes in the same places. */
struct map_file {
    uint64_t id, size;
    uint64_t live; /* bytes of the pieces in it that are needed, the root's included */
};

struct image_map {
    struct map_table tables[MAP_TABLES_MAX];
    unsigned n_tables;
    struct map_file *files; /* that have what is needed, ascending by id */
    size_t n_files, cap_files;
    uint64_t id, seq; /* the file of the checkpoint, and its last batch; 0: there is none yet */
    struct piece_ref root;
};

static inline uint32_t map_n_pages(uint32_t n_chunks)
{
    return n_chunks / MAP_PAGE_CHUNKS + (n_chunks % MAP_PAGE_CHUNKS > 0);
}
/* How many chunks page p of the table has. */
static inline uint32_t map_page_chunks(const struct map_table *t, uint32_t p)
{
    return MIN_OF(t->n_chunks - p * MAP_PAGE_CHUNKS, MAP_PAGE_CHUNKS);
}

void map_free(struct image_map *map); /* zeroed is fine */
/* -ENOMEM; *ret_map is zeroed then. */
int map_clone(const struct image_map *map, struct image_map *ret_map);
/* Makes the table n_chunks long: what is cut off gives up its pieces, what is added has none. -ENOMEM. */
int map_resize(struct image_map *map, unsigned table, uint32_t n_chunks);
/* The file, NULL if the map does not have it. */
struct map_file *map_file(const struct image_map *map, uint64_t id);
/* A file behind all others. -ENOMEM, -EBADMSG: its id is not behind theirs. */
int map_add_file(struct image_map *map, uint64_t id, uint64_t size);
/* Forgets the files without a live byte, but for `but`. */
void map_drop_dead_files(struct image_map *map, uint64_t but);
/* One more piece is needed, or one less, in a file that the map has. */
void map_need(struct image_map *map, const struct piece_ref *ref);
void map_give_up(struct image_map *map, const struct piece_ref *ref);
/* Chunk c has no pieces any more. */
void map_clear_entry(struct image_map *map, unsigned table, uint32_t c);
/* Counts live bytes anew; whether they were right. For tests. */
bool map_is_counted(const struct image_map *map);

/* Calls `each` for every piece that the map needs of the file, in no order; stops when it returns non-zero
 * and returns that. `chunk` is UINT32_MAX for a page, `k` its number then; for the root both are
 * UINT32_MAX. */
int map_each_piece(const struct image_map *map, uint64_t file,
                   int (*each)(void *arg, const struct piece_ref *ref, unsigned table, uint32_t chunk,
                               uint32_t k),
                   void *arg);

/* ---- the root --------------------------------------------------------------------------------- */

#define MAP_ROOT_MAX (1u << 30)

/* At the end of an image file, once all of its pieces are durable. */
struct image_footer {
    uint64_t magic;
    uint64_t store;                  /* superblock_tag() */
    uint64_t id;                     /* of the file */
    uint64_t offset, len, piece_sum; /* the root: a piece of this file, header and all */
    uint64_t sum;                    /* of all before it */
};
static_assert(sizeof(struct image_footer) == 56, "image footer layout");
#define IMAGE_FOOTER_MAGIC UINT64_C(0x323046504b474e45) /* "ENGKPF02" */

void footer_seal(struct image_footer *f);
/* Whether it is that of file `id` of `size` bytes; where the root is. -EBADMSG. */
int footer_check(const struct image_footer *f, uint64_t store, uint64_t id, uint64_t size,
                 struct piece_ref *ret_root);

/* Whether it is whole, but that of another store, or of a file with another number. */
bool footer_is_alien(const struct image_footer *f, uint64_t store, uint64_t id);

/* Bytes of a root without header, `head_len` (a multiple of 8) of the caller's included. */
size_t map_root_size(const struct image_map *map, size_t head_len);
void map_root_encode(const struct image_map *map, const void *head, size_t head_len, uint8_t *out);
/* What a root may be like. */
struct map_shape {
    unsigned n_tables; /* 0: none is like that */
    size_t head_len;
};
/* Makes the map that the root says, which is like one of the shapes, with its files alone; *ret_head (of
 * *ret_len bytes) points into `root`. -EBADMSG, -ENOMEM; *ret_map is zeroed then. */
int map_root_decode(const uint8_t *root, size_t len, const struct map_shape shapes[2],
                    struct image_map *ret_map, const void **ret_head, size_t *ret_len);
/* Once the sizes of the files are found to be true: the root itself, and the references of its pages, so many
 * as all `bytes` of the files can tell of. The entries come with the pages, from the first one of each table
 * on. -EBADMSG, -ENOMEM. `root` is the bytes that were decoded. */
int map_take_root(struct image_map *map, const struct piece_ref *ref, uint64_t bytes, const uint8_t *root);
/* Page p cannot be had: what it knew of is lost. -ENOMEM. */
int map_lose_page(struct image_map *map, unsigned table, uint32_t p);
/* Adds the entries of page p, and counts what they need. -EBADMSG: they cannot be; -ENOMEM. */
int map_take_page(struct image_map *map, unsigned table, uint32_t p, const uint8_t *data, uint32_t len);

#endif
