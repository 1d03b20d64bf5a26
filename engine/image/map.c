/*
 * map.c - see map.h. */
#include "image/map.h"

#include "base/fault.h"
#include "base/hash.h"

#define PAGE_ENTRY_MIN 16u /* bytes of a chunk in a page */

void map_free(struct image_map *map)
{
    for (unsigned i = 0; i < MAP_TABLES_MAX; i++) {
        free(map->tables[i].entries);
        free(map->tables[i].pages);
    }
    free(map->files);
    *map = (struct image_map){0};
}

/* n elements of the old, or all of them where there is more room now, and zeros behind. */
static void *copy_of(const void *array, size_t n, size_t room, size_t size)
{
    void *copy = calloc(MAX_OF(room, (size_t)1), size);
    if (copy && array && MIN_OF(n, room))
        memcpy(copy, array, MIN_OF(n, room) * size);
    return copy;
}

static int copy_table(const struct map_table *t, uint32_t n_chunks, struct map_table *ret_table)
{
    struct map_table copy = {.n_chunks = n_chunks, .used = t->used};
    copy.entries = copy_of(t->entries, t->n_chunks, n_chunks, sizeof *copy.entries);
    copy.pages = copy_of(t->pages, map_n_pages(t->n_chunks), map_n_pages(n_chunks), sizeof *copy.pages);
    if (!copy.entries || !copy.pages) {
        free(copy.entries);
        free(copy.pages);
        return -ENOMEM;
    }
    *ret_table = copy;
    return 0;
}

int map_clone(const struct image_map *map, struct image_map *ret_map)
{
    struct image_map copy = *map;
    memset(copy.tables, 0, sizeof copy.tables);
    copy.cap_files = map->n_files + 1;
    copy.files = copy_of(map->files, map->n_files, copy.cap_files, sizeof *copy.files);
    int r = copy.files ? 0 : -ENOMEM;
    for (unsigned i = 0; i < map->n_tables && !r; i++)
        r = copy_table(&map->tables[i], map->tables[i].n_chunks, &copy.tables[i]);
    if (r)
        map_free(&copy);
    *ret_map = copy;
    return r;
}

int map_resize(struct image_map *map, unsigned table, uint32_t n_chunks)
{
    struct map_table *t = &map->tables[table], resized;
    uint32_t old = t->n_chunks;
    if (n_chunks == old && t->entries)
        return 0;
    int r = copy_table(t, n_chunks, &resized);
    if (r)
        return r;
    for (uint32_t c = n_chunks; c < old; c++)
        map_clear_entry(map, table, c);
    for (uint32_t p = map_n_pages(n_chunks); p < map_n_pages(old); p++)
        map_give_up(map, &t->pages[p].ref);
    /* The page at the old or new end has another number of entries now. */
    for (uint32_t p = MIN_OF(old, n_chunks) / MAP_PAGE_CHUNKS; p < map_n_pages(n_chunks); p++)
        resized.pages[p].changed = true;
    free(t->entries);
    free(t->pages);
    *t = resized;
    return 0;
}

/* ---- files ------------------------------------------------------------ */

struct map_file *map_file(const struct image_map *map, uint64_t id)
{
    size_t lo = 0, hi = map->n_files;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (map->files[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < map->n_files && map->files[lo].id == id ? &map->files[lo] : NULL;
}

int map_add_file(struct image_map *map, uint64_t id, uint64_t size)
{
    if (!id || (map->n_files && map->files[map->n_files - 1].id >= id))
        return -EBADMSG;
    int r = array_grow(&map->files, &map->cap_files, map->n_files + 1, sizeof *map->files);
    if (!r)
        map->files[map->n_files++] = (struct map_file){.id = id, .size = size};
    return r;
}

void map_drop_dead_files(struct image_map *map, uint64_t but)
{
    size_t n = 0;
    for (size_t i = 0; i < map->n_files; i++)
        if (map->files[i].live || map->files[i].id == but)
            map->files[n++] = map->files[i];
    map->n_files = n;
}

void map_need(struct image_map *map, const struct piece_ref *ref)
{
    if (ref->file)
        map_file(map, ref->file)->live += ref->len;
}

void map_give_up(struct image_map *map, const struct piece_ref *ref)
{
    if (ref->file)
        map_file(map, ref->file)->live -= ref->len;
}

void map_clear_entry(struct image_map *map, unsigned table, uint32_t c)
{
    struct map_entry *e = &map->tables[table].entries[c];
    for (uint32_t k = 0; k < e->n_refs; k++)
        map_give_up(map, &e->refs[k]);
    e->n_refs = 0;
    e->since = (struct table_dirty){0};
}

/* ---- all pieces ------------------------------------------------------------ */

int map_each_piece(const struct image_map *map, uint64_t file,
                   int (*each)(void *arg, const struct piece_ref *ref, unsigned table, uint32_t chunk,
                               uint32_t k),
                   void *arg)
{
    int r = map->root.file == file ? each(arg, &map->root, 0, UINT32_MAX, UINT32_MAX) : 0;
    for (unsigned i = 0; i < map->n_tables && !r; i++) {
        const struct map_table *t = &map->tables[i];
        for (uint32_t p = 0; p < map_n_pages(t->n_chunks) && !r; p++)
            if (t->pages[p].ref.file == file)
                r = each(arg, &t->pages[p].ref, i, UINT32_MAX, p);
        for (uint32_t c = 0; c < t->n_chunks && !r; c++)
            for (uint32_t k = 0; k < t->entries[c].n_refs && !r; k++)
                if (t->entries[c].refs[k].file == file)
                    r = each(arg, &t->entries[c].refs[k], i, c, k);
    }
    return r;
}

static int add_len(void *arg, const struct piece_ref *ref, unsigned table, uint32_t chunk, uint32_t k)
{
    (void)table;
    (void)chunk;
    (void)k;
    *(uint64_t *)arg += ref->len;
    return 0;
}

bool map_is_counted(const struct image_map *map)
{
    for (size_t i = 0; i < map->n_files; i++) {
        uint64_t live = 0;
        (void)map_each_piece(map, map->files[i].id, add_len, &live);
        if (live != map->files[i].live)
            return false;
    }
    return true;
}

/* ---- the root ------------------------------------------------------------ */

void footer_seal(struct image_footer *f)
{
    f->magic = IMAGE_FOOTER_MAGIC;
    f->sum = codec_hash(f, offsetof(struct image_footer, sum));
}

bool footer_is_alien(const struct image_footer *f, uint64_t store, uint64_t id)
{
    return f->magic == IMAGE_FOOTER_MAGIC && f->sum == codec_hash(f, offsetof(struct image_footer, sum)) &&
           (f->store != store || f->id != id);
}

int footer_check(const struct image_footer *f, uint64_t store, uint64_t id, uint64_t size,
                 struct piece_ref *ret_root)
{
    if (f->magic != IMAGE_FOOTER_MAGIC || f->store != store || f->id != id || size < sizeof *f ||
        f->sum != codec_hash(f, offsetof(struct image_footer, sum)))
        return -EBADMSG;
    uint64_t end = size - sizeof *f;
    if (f->len <= sizeof(struct piece_header) || f->len > MIN_OF(end, (uint64_t)MAP_ROOT_MAX) || f->len % 8 ||
        f->offset % 8 || f->offset > end - f->len)
        return -EBADMSG;
    *ret_root = (struct piece_ref){
        .file = id, .offset = f->offset, .sum = f->piece_sum, .len = (uint32_t)f->len, .kind = PIECE_ROOT};
    return 0;
}

/* Then for each table a root_table, for each file a root_file, the references of all pages, and the caller's
 * head. */
struct root_head {
    uint64_t id, seq;
    uint32_t n_tables, n_files;
    uint32_t head_len, reserved;
};
struct root_table {
    uint32_t n_chunks, used;
};
struct root_file {
    uint64_t id, size;
};
static_assert(sizeof(struct root_head) == 32 && sizeof(struct root_table) == 8 &&
                  sizeof(struct root_file) == 16,
              "root layout");

static uint64_t all_pages(const struct image_map *map)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < map->n_tables; i++)
        n += map_n_pages(map->tables[i].n_chunks);
    return n;
}

size_t map_root_size(const struct image_map *map, size_t head_len)
{
    return sizeof(struct root_head) + map->n_tables * sizeof(struct root_table) +
           map->n_files * sizeof(struct root_file) + all_pages(map) * sizeof(struct piece_ref) + head_len;
}

static uint8_t *put(uint8_t *out, const void *data, size_t size)
{
    memcpy(out, data, size);
    return out + size;
}

void map_root_encode(const struct image_map *map, const void *head, size_t head_len, uint8_t *out)
{
    struct root_head h = {.id = map->id,
                          .seq = map->seq,
                          .n_tables = map->n_tables,
                          .n_files = (uint32_t)map->n_files,
                          .head_len = (uint32_t)head_len};
    out = put(out, &h, sizeof h);
    for (unsigned i = 0; i < map->n_tables; i++) {
        struct root_table rt = {map->tables[i].n_chunks, map->tables[i].used};
        out = put(out, &rt, sizeof rt);
    }
    for (size_t i = 0; i < map->n_files; i++) {
        struct root_file rf = {map->files[i].id, map->files[i].size};
        out = put(out, &rf, sizeof rf);
    }
    for (unsigned i = 0; i < map->n_tables; i++)
        for (uint32_t p = 0; p < map_n_pages(map->tables[i].n_chunks); p++)
            out = put(out, &map->tables[i].pages[p].ref, sizeof(struct piece_ref));
    (void)put(out, head, head_len);
}

static void take_tables(const uint8_t *at, struct image_map *map)
{
    for (unsigned i = 0; i < map->n_tables; i++) {
        struct root_table rt;
        memcpy(&rt, at + i * sizeof rt, sizeof rt);
        map->tables[i] = (struct map_table){.n_chunks = rt.n_chunks, .used = rt.used};
    }
}

static int make_entries(struct image_map *map, uint64_t bytes)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < map->n_tables; i++)
        sum += map->tables[i].n_chunks;
    int r = sum > bytes / PAGE_ENTRY_MIN ? -EBADMSG : 0;
    for (unsigned i = 0; i < map->n_tables && !r; i++) {
        struct map_table *t = &map->tables[i];
        t->entries = calloc(MUTANT(MANIFEST_BELIEVED) ? t->n_chunks + 1u : 1, sizeof *t->entries);
        t->pages = calloc(MAX_OF(map_n_pages(t->n_chunks), 1u), sizeof *t->pages);
        r = t->entries && t->pages ? 0 : -ENOMEM;
    }
    return r;
}

/* Room for the entries of page p; those before it have theirs: no page takes memory that was not read. */
static int add_entries(struct map_table *t, uint32_t p)
{
    size_t first = (size_t)p * MAP_PAGE_CHUNKS, n = map_page_chunks(t, p);
    struct map_entry *entries = realloc(t->entries, (first + n) * sizeof *entries);
    if (!entries)
        return -ENOMEM;
    memset(entries + first, 0, n * sizeof *entries);
    t->entries = entries;
    return 0;
}

static int take_files(const uint8_t *at, uint32_t n, struct image_map *map)
{
    int r = 0;
    for (uint32_t i = 0; i < n && !r; i++) {
        struct root_file rf;
        memcpy(&rf, at + i * sizeof rf, sizeof rf);
        r = map_add_file(map, rf.id, rf.size);
    }
    return r;
}

/* A piece may be needed if it lies in its file, whose size is known, and there is still room in that for it:
 * so a piece that is claimed again and again is found out before memory is taken for it. */
static int count_in(struct image_map *map, const struct piece_ref *ref)
{
    const struct map_file *f = map_file(map, ref->file);
    if (!f || ref->offset > f->size || ref->len > f->size - ref->offset || ref->len > f->size - f->live)
        return -EBADMSG;
    map_need(map, ref);
    return 0;
}

static int take_page_refs(const uint8_t *at, struct image_map *map)
{
    for (unsigned i = 0; i < map->n_tables; i++) {
        for (uint32_t p = 0; p < map_n_pages(map->tables[i].n_chunks); p++, at += sizeof(struct piece_ref)) {
            struct piece_ref ref;
            memcpy(&ref, at, sizeof ref);
            if (ref.kind != PIECE_PAGE || ref.len <= sizeof(struct piece_header) || ref.len % 8 ||
                ref.offset % 8 || ref.len > sizeof(struct piece_header) + MAP_PAGE_MAX ||
                count_in(map, &ref) != 0)
                return -EBADMSG;
            map->tables[i].pages[p].ref = ref;
        }
    }
    return 0;
}

static bool is_shape(const struct root_head *h, const struct map_shape *shape)
{
    return h->n_tables && h->n_tables == shape->n_tables && h->head_len == shape->head_len;
}

static int root_decode(const uint8_t *root, size_t len, const struct map_shape shapes[2],
                       struct image_map *map, size_t *ret_len)
{
    struct root_head h;
    if (len < sizeof h)
        return -EBADMSG;
    memcpy(&h, root, sizeof h);
    if (!is_shape(&h, &shapes[0]) && !is_shape(&h, &shapes[1]))
        return -EBADMSG;
    size_t tables = sizeof h + h.n_tables * sizeof(struct root_table);
    if (len < tables || (len - tables) / sizeof(struct root_file) < h.n_files)
        return -EBADMSG;
    *ret_len = h.head_len;
    map->n_tables = h.n_tables;
    map->id = h.id;
    map->seq = h.seq;
    take_tables(root + sizeof h, map);
    int r = take_files(root + tables, h.n_files, map);
    return !r && (len != map_root_size(map, h.head_len) || !map_file(map, h.id)) ? -EBADMSG : r;
}

int map_root_decode(const uint8_t *root, size_t len, const struct map_shape shapes[2],
                    struct image_map *ret_map, const void **ret_head, size_t *ret_len)
{
    struct image_map map = {0};
    int r = root_decode(root, len, shapes, &map, ret_len);
    if (r)
        map_free(&map);
    else
        *ret_head = root + len - *ret_len;
    *ret_map = map;
    return r;
}

int map_take_root(struct image_map *map, const struct piece_ref *ref, uint64_t bytes, const uint8_t *root)
{
    int r = count_in(map, ref);
    if (!r) {
        map->root = *ref;
        r = make_entries(map, bytes);
    }
    return r ? r
             : take_page_refs(root + sizeof(struct root_head) + map->n_tables * sizeof(struct root_table) +
                                  map->n_files * sizeof(struct root_file),
                              map);
}

/* A chunk takes as much memory as its image has bytes, but for the last of a table. */
static bool may_be_entry(const struct map_table *t, uint32_t c)
{
    return !t->entries[c].n_refs || c + 1 == t->n_chunks ||
           t->entries[c].refs[0].len == sizeof(struct piece_header) + TABLE_CHUNK_SIZE;
}

int map_take_page(struct image_map *map, unsigned table, uint32_t p, const uint8_t *data, uint32_t len)
{
    struct map_table *t = &map->tables[table];
    uint32_t first = p * MAP_PAGE_CHUNKS, n = map_page_chunks(t, p);
    int r = add_entries(t, p);
    if (r)
        return r;
    r = map_page_decode(data, len, t->entries + first, n);
    for (uint32_t c = first; c < first + n; c++) {
        struct map_entry *e = &t->entries[c];
        uint32_t counted = 0;
        if (!r && !may_be_entry(t, c))
            r = -EBADMSG;
        while (!r && counted < e->n_refs && !(r = count_in(map, &e->refs[counted])))
            counted++;
        if (r) /* what was not counted is not given up */
            e->n_refs = counted;
    }
    for (uint32_t c = first; r && c < first + n; c++) {
        map_clear_entry(map, table, c);
        t->entries[c].meta = (struct table_meta){0};
    }
    return r;
}

int map_lose_page(struct image_map *map, unsigned table, uint32_t p)
{
    struct map_table *t = &map->tables[table];
    t->pages[p].lost = true;
    return add_entries(t, p);
}
