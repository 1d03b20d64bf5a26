/*
 * image_files.c - see image_files.h.
 */
#include "image_files.h"

#include "image/map.h"
#include "need.h"

#include <string.h>

static void both_names(const char *name, char names[IMAGE_COPIES][IMAGE_NAME_SIZE])
{
    uint64_t id = 0;
    unsigned copy;
    int r = image_parse_name(name, &id, &copy);
    UNIT_NEED(r == 0);
    for (copy = 0; copy < IMAGE_COPIES; copy++)
        image_name(id, copy, names[copy]);
}

void image_files_put(struct simdisk *disk, const char *name, const void *data, size_t size)
{
    char names[IMAGE_COPIES][IMAGE_NAME_SIZE];
    both_names(name, names);
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++)
        simdisk_put(disk, names[copy], data, size);
}

void image_files_flip(struct simdisk *disk, uint64_t id, uint64_t at, uint8_t mask)
{
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        char name[IMAGE_NAME_SIZE];
        image_name(id, copy, name);
        UNIT_NEED(simdisk_flip(disk, name, at, mask) == 0);
    }
}

void image_files_remove(struct simdisk *disk, const char *name)
{
    char names[IMAGE_COPIES][IMAGE_NAME_SIZE];
    both_names(name, names);
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++)
        (void)simdisk_remove(disk, names[copy]);
}

static void note_newest(void *arg, const char *name, uint64_t size)
{
    uint64_t id, *newest = arg;
    unsigned copy;
    if (size > 0 && image_parse_name(name, &id, &copy) == 0 && id > *newest)
        *newest = id;
}

uint64_t image_files_newest(struct simdisk *disk)
{
    uint64_t newest = 0;
    simdisk_each(disk, note_newest, &newest);
    return newest;
}

/* ---- sums ------------------------------------------------------------------------------------ */

static bool has_piece(const uint8_t *image, size_t end, uint64_t at, struct piece_header *ret_header)
{
    if (at % 8 || at > end || end - at < sizeof *ret_header)
        return false;
    memcpy(ret_header, image + at, sizeof *ret_header);
    return ret_header->magic == PIECE_MAGIC && ret_header->len <= end - at - sizeof *ret_header;
}

static uint64_t seal_at(uint8_t *image, uint64_t at, struct piece_header h)
{
    piece_seal(&h, image + at + sizeof h);
    memcpy(image + at, &h, sizeof h);
    return h.sum;
}

/* Whatever looks like a reference among the bytes of a page or root gets the sum of what is in its place. */
static void correct_refs(uint8_t *image, size_t end, uint64_t from, uint64_t len)
{
    for (uint64_t at = from; at + sizeof(struct piece_ref) <= from + len; at += 8) {
        struct piece_ref ref;
        struct piece_header h;
        memcpy(&ref, image + at, sizeof ref);
        if (!has_piece(image, end, ref.offset, &h) || ref.file != h.file || ref.len != sizeof h + h.len ||
            ref.kind != h.kind)
            continue;
        ref.sum = h.sum;
        memcpy(image + at, &ref, sizeof ref);
    }
}

void image_files_reseal(uint8_t *image, size_t size)
{
    struct image_footer f;
    struct piece_header h;
    if (size < sizeof f)
        return;
    size_t end = size - sizeof f;
    for (uint64_t at = 0; has_piece(image, end, at, &h); at += sizeof h + h.len) {
        if (h.kind == PIECE_PAGE || h.kind == PIECE_ROOT) /* behind what they name */
            correct_refs(image, end, at + sizeof h, h.len);
        uint64_t sum = seal_at(image, at, h);
        memcpy(&f, image + end, sizeof f);
        if (h.kind == PIECE_ROOT && f.offset == at) {
            f.piece_sum = sum;
            footer_seal(&f);
            memcpy(image + end, &f, sizeof f);
        }
    }
}

/* ---- forged ones ------------------------------------------------------------------------------ */

void forge_begin(struct forgery *f, struct simdisk *disk, uint64_t store)
{
    struct images images;
    void *head = NULL;
    char name[IMAGE_NAME_SIZE];
    uint8_t *data;
    size_t size;
    uint64_t newest = image_files_newest(disk);
    *f = (struct forgery){.disk = disk, .store = store};
    UNIT_NEED(images_init(&images, simdisk_io(disk), store, INDEX_TABLES_PLAIN) == 0);
    images.wide = (struct map_shape){INDEX_TABLES, sizeof f->head};
    UNIT_NEED(images_open(&images, newest, sizeof(struct ckpt_head_plain), &head) == 0);
    UNIT_NEED(map_clone(&images.map, &f->map) == 0);
    bool is_plain = images.map.n_tables == INDEX_TABLES_PLAIN;
    images_free(&images);
    UNIT_NEED(ckpt_head_decode(head, is_plain ? sizeof(struct ckpt_head_plain) : sizeof f->head, &f->head) ==
              0);
    free(head);
    image_name(newest, 0, name);
    UNIT_NEED(simdisk_get(disk, name, &data, &size) == 0);
    UNIT_NEED(buf_reserve(&f->file, size + 8) == 0);
    memcpy(f->file.data, data, size);
    f->file.len = ALIGN8(size);
    free(data);
}

struct piece_ref forge_piece(struct forgery *f, enum piece_kind kind, const void *data, uint32_t len)
{
    struct piece_header h = {
        .kind = (uint8_t)kind, .len = len, .file = f->map.id, .store = f->store, .seq = f->map.seq};
    uint64_t at = f->file.len;
    UNIT_NEED(buf_reserve(&f->file, sizeof h + len) == 0);
    memcpy(f->file.data + at + sizeof h, data, len);
    seal_at(f->file.data, at, h);
    memcpy(&h, f->file.data + at, sizeof h);
    f->file.len += sizeof h + len;
    return (struct piece_ref){f->map.id, at, h.sum, (uint32_t)sizeof h + len, kind};
}

void forge_page(struct forgery *f, unsigned table, uint32_t p)
{
    struct map_table *t = &f->map.tables[table];
    const struct map_entry *entries = t->entries + (size_t)p * MAP_PAGE_CHUNKS;
    uint32_t n = map_page_chunks(t, p), len = map_page_size(entries, n);
    uint8_t *page = malloc(len);
    UNIT_NEED(page);
    map_page_encode(entries, n, page);
    t->pages[p].ref = forge_piece(f, PIECE_PAGE, page, len);
    free(page);
}

size_t forge_head(const struct forgery *f, uint8_t out[sizeof(struct ckpt_head)])
{
    return ckpt_head_encode(&f->head, out);
}

void forge_end(struct forgery *f)
{
    uint8_t head[sizeof f->head];
    size_t head_len = forge_head(f, head);
    char name[IMAGE_NAME_SIZE];
    struct image_footer footer = {.store = f->store, .id = f->map.id};
    size_t len = map_root_size(&f->map, head_len);
    uint8_t *root = malloc(len);
    UNIT_NEED(root);
    map_file(&f->map, f->map.id)->size = f->file.len + sizeof(struct piece_header) + len + sizeof footer;
    map_root_encode(&f->map, head, head_len, root);
    struct piece_ref ref = forge_piece(f, PIECE_ROOT, root, (uint32_t)len);
    footer.offset = ref.offset;
    footer.len = ref.len;
    footer.piece_sum = ref.sum;
    footer_seal(&footer);
    UNIT_NEED(buf_reserve(&f->file, sizeof footer) == 0);
    memcpy(f->file.data + f->file.len, &footer, sizeof footer);
    image_name(f->map.id, 0, name);
    image_files_put(f->disk, name, f->file.data, f->file.len + sizeof footer);
    free(root);
    buf_free(&f->file);
    map_free(&f->map);
}
