/*
 * echo_stock.c - see echo_stock.h. */
#include "disk/echo_stock.h"

#include "base/fault.h"

#include <stdio.h>

#define WINDOW (128u << 10)
#define SECTOR 512u
#define READ_MAX (2 * ECHO_FILE_BYTES) /* of a file: none that was written is so large */

void echo_stock_free(struct echo_stock *stock)
{
    free(stock->files);
    free(stock->refs);
    *stock = (struct echo_stock){0};
}

/* ---- one file ------------------------------------------------------------ */

struct scan {
    struct echo_stock *stock;
    const struct echo_source *source;
    uint64_t store, size;
    uint32_t file;
    struct buf window;
    uint64_t at;     /* of the window */
    uint64_t hashed; /* bytes of ops, see batch_search_may() */
    bool unread;     /* a part of it is zeros, since it cannot be read, or was passed by */
};

/* Whether it may be another answer when it is asked for again. */
static bool may_pass(int r)
{
    bool moment = r && r != -EBADMSG && !io_is_shortage(r);
    return MUTANT(EIO_PASSES_ALONE) ? r == -EIO : moment;
}

/* Around what cannot be read. */
static int read_around(struct scan *s, uint8_t *buf, size_t size, uint64_t off)
{
    int r = -EIO;
    for (unsigned tries = 0; may_pass(r) && tries < MEDIUM_TRIES; tries++)
        r = s->source->read(s->source->arg, buf, size, off);
    if (r != -EIO && r != -EBADMSG)
        return r;
    s->unread = true;
    for (size_t done = 0, len; done < size; done += len) {
        len = MIN_OF(SECTOR - (size_t)((off + done) % SECTOR), size - done);
        r = s->source->read(s->source->arg, buf + done, len, off + done);
        if (r && r != -EIO && r != -EBADMSG)
            return r;
        if (r)
            memset(buf + done, 0, len);
    }
    return 0;
}

/* Has `len` bytes from `off` of the file in the window, which the file has. */
static int look_at(struct scan *s, uint64_t off, size_t len)
{
    if (off >= s->at && off - s->at + len <= s->window.len)
        return 0;
    size_t n = (size_t)MIN_OF(s->size - off, (uint64_t)MAX_OF(len, (size_t)WINDOW));
    s->window.len = 0;
    int r = buf_reserve(&s->window, n);
    if (!r)
        r = read_around(s, s->window.data, n, off);
    s->at = off;
    s->window.len = r ? 0 : n;
    return r;
}

static const uint8_t *bytes_at(const struct scan *s, uint64_t off)
{
    return s->window.data + (off - s->at);
}

/* Whether a record may begin with `rec`, of which `left` bytes follow in the file. */
static bool may_be(const struct scan *s, const struct echo_record *rec, uint64_t left)
{
    const struct batch_header *h = &rec->batch;
    bool named = rec->magic == ECHO_RECORD_MAGIC || rec->magic == ECHO_RECORD_HELD;
    return named && h->store == s->store && batch_header_fits(h, left) && rec->offset % 8 == 0 &&
           rec->sum == echo_record_sum(rec);
}

static uint64_t first_ino(const struct scan *s, const struct echo_record *rec, uint64_t off)
{
    struct op op;
    size_t used;
    int r = op_decode(bytes_at(s, off) + sizeof *rec, rec->batch.ops_len, &op, &used);
    return r ? 0 : op.ino;
}

static int add_ref(struct scan *s, const struct echo_record *rec, uint64_t off)
{
    struct echo_stock *stock = s->stock;
    if (stock->count_only) {
        stock->n_counted += rec->batch.seq >= stock->first && rec->batch.seq <= stock->last;
        return 0;
    }
    if (rec->batch.seq <= stock->since && !MUTANT(ALL_REFS_KEPT)) {
        stock->files[s->file].old_end = off + sizeof *rec + rec->batch.ops_len;
        return 0;
    }
    int r = array_grow(&stock->refs, &stock->cap_refs, stock->n_refs + 1, sizeof *stock->refs);
    if (!r)
        stock->refs[stock->n_refs++] = (struct echo_ref){.seq = rec->batch.seq,
                                                         .chain = rec->batch.chain,
                                                         .sum = rec->batch.sum,
                                                         .at = off,
                                                         .offset = rec->offset,
                                                         .segment = rec->segment,
                                                         .file = s->file,
                                                         .held = rec->magic == ECHO_RECORD_HELD,
                                                         .ops_len = rec->batch.ops_len,
                                                         .extents_len = rec->batch.extents_len,
                                                         .ino = first_ino(s, rec, off)};
    return r;
}

/* *ret_len: of the record at `off`, which was added; 0: there is none. *ret_seq: of its batch. */
static int take_record(struct scan *s, uint64_t off, uint64_t *ret_len, uint64_t *ret_seq)
{
    struct echo_record rec;
    *ret_len = 0;
    int r = look_at(s, off, sizeof rec);
    if (r)
        return r;
    memcpy(&rec, bytes_at(s, off), sizeof rec);
    if (!may_be(s, &rec, s->size - off - sizeof rec))
        return 0;
    if (!batch_search_may(&s->hashed, rec.batch.ops_len, s->size)) {
        s->unread = true;
        return 0;
    }
    r = look_at(s, off, sizeof rec + rec.batch.ops_len);
    if (r || batch_sum(&rec.batch, bytes_at(s, off) + sizeof rec) != rec.batch.sum)
        return r;
    r = add_ref(s, &rec, off);
    if (r)
        return r;
    s->stock->synced = MAX_OF(s->stock->synced, rec.synced);
    *ret_seq = rec.batch.seq;
    *ret_len = sizeof rec + rec.batch.ops_len;
    return 0;
}

/* Behind `off`, where no record begins, where the next one may: none does in a hole, of which a file may have
 * any number. */
static uint64_t next_place(const struct scan *s, uint64_t off)
{
    off += 8;
    bool in_window = off >= s->at && off - s->at + sizeof(struct echo_record) <= s->window.len;
    if (in_window || !s->source->skip_hole)
        return off;
    return MIN_OF(s->source->skip_hole(s->source->arg, off), s->size);
}

/* Records follow one another; what cannot be understood is passed by, in search of the next one. */
static int scan_records(struct scan *s, struct echo_stock_file *f)
{
    uint64_t before = 0, seq = 0, first = UINT64_MAX;
    bool gap = false;
    int r = 0;
    for (uint64_t off = sizeof(struct echo_header), len; !r && off + sizeof(struct echo_record) <= s->size;
         off = len ? off + len : next_place(s, off)) {
        r = take_record(s, off, &len, &seq);
        if (len && gap && !f->gap) /* of several the first was durable if any was */
            f->gap = before ? before + 1 : MAX_OF(seq - 1, UINT64_C(1));
        first = len ? MIN_OF(first, seq) : first;
        before = seq;
        gap = !len;
    }
    if (f->headless) /* it became durable with the first record */
        f->gap = first;
    f->unread = s->unread;
    f->damaged = f->damaged || s->unread;
    return r;
}

static int scan_header(struct scan *s, struct echo_stock_file *f)
{
    struct echo_header h;
    if (s->size < sizeof h)
        return 0;
    int r = look_at(s, 0, sizeof h);
    if (r)
        return r;
    memcpy(&h, bytes_at(s, 0), sizeof h);
    f->headless = echo_header_check(&h) != 0;
    f->copied = !f->headless && h.self && s->source->self && h.self != s->source->self;
    f->copied = f->copied || MUTANT(STORE_IS_COPY);
    f->alien = !f->headless && (h.store != s->store || h.id != f->id) && !MUTANT(NO_STORE_NUMBER);
    return 0;
}

static int by_seq(const void *a, const void *b)
{
    const struct echo_ref *x = a, *y = b;
    return x->seq != y->seq ? (x->seq > y->seq) - (x->seq < y->seq)
                            : (x->file > y->file) - (x->file < y->file);
}

void echo_stock_sort(struct echo_stock *stock)
{
    if (stock->n_refs)
        qsort(stock->refs, stock->n_refs, sizeof *stock->refs, by_seq);
}

int echo_stock_scan(struct echo_stock *stock, const struct echo_source *source, uint64_t store, uint32_t id,
                    uint64_t size)
{
    int r = array_grow(&stock->files, &stock->cap_files, stock->n_files + 1, sizeof *stock->files);
    if (r)
        return r;
    struct scan s = {.stock = stock,
                     .source = source,
                     .store = store,
                     .size = MIN_OF(size, READ_MAX),
                     .file = (uint32_t)stock->n_files};
    struct echo_stock_file *f = &stock->files[stock->n_files++];
    *f = (struct echo_stock_file){.id = id, .size = size};
    r = scan_header(&s, f);
    if (!r && !f->alien)
        r = scan_records(&s, f);
    if (MUTANT(SORTED_EACH_TIME))
        echo_stock_sort(stock);
    buf_free(&s.window);
    return r;
}

/* Of the records the first with that batch or a younger one. */
static size_t first_from(const struct echo_stock *stock, uint64_t seq)
{
    size_t lo = 0, hi = stock->n_refs;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (stock->refs[mid].seq < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool is_elsewhere(const struct echo_stock *stock, uint64_t seq, size_t file)
{
    for (size_t i = first_from(stock, seq); i < stock->n_refs && stock->refs[i].seq == seq; i++)
        if (stock->refs[i].file != file)
            return true;
    return false;
}

/* What is missing in the middle of a file: a cut of the power may have kept what was written later. Then an
 * opening wrote what the file has anew, and was about to remove it; or a checkpoint has it. */
static void judge_gaps(struct echo_stock *stock)
{
    for (size_t i = 0; i < stock->n_files; i++) {
        struct echo_stock_file *f = &stock->files[i];
        bool elsewhere = f->gap && (f->gap <= stock->since || is_elsewhere(stock, f->gap, i));
        f->torn = ((f->gap > stock->synced || elsewhere) && !MUTANT(GAPS_ARE_DAMAGE)) ||
                  (f->gap && MUTANT(GAPS_ARE_TORN));
        f->damaged = f->damaged || (f->gap && !f->torn);
    }
}

/* ---- the folder ------------------------------------------------------------ */

#define KEPT (UINT64_C(1) << 32) /* beside the id */

struct names {
    uint64_t *ids;
    size_t n, cap;
    bool with_kept;
};

static int note_name(void *arg, const char *name)
{
    struct names *names = arg;
    uint32_t id;
    bool kept = names->with_kept && echo_parse_kept_name(name, &id) == 0;
    if (!kept && echo_parse_name(name, &id) != 0)
        return 0;
    int r = array_grow(&names->ids, &names->cap, names->n + 1, sizeof *names->ids);
    if (!r)
        names->ids[names->n++] = id | (kept ? KEPT : 0);
    return r;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void name_of(const struct echo_stock_file *f, char out[ECHO_NAME_SIZE])
{
    if (f->kept)
        echo_kept_name(f->id, out);
    else
        echo_name(f->id, out);
}

struct opened {
    struct io_file *file;
    const struct eng_io_ops *ops;
};

static int read_opened(void *arg, void *buf, size_t size, uint64_t off)
{
    const struct opened *o = arg;
    return io_pread_exact(o->file, o->ops, buf, size, off);
}

static uint64_t skip_hole_opened(void *arg, uint64_t off)
{
    const struct opened *o = arg;
    return io_skip_hole(o->file, o->ops, off);
}

static int add_unusable(struct echo_stock *stock, uint32_t id, bool alien)
{
    int r = array_grow(&stock->files, &stock->cap_files, stock->n_files + 1, sizeof *stock->files);
    if (!r)
        stock->files[stock->n_files++] =
            (struct echo_stock_file){.id = id, .alien = alien, .damaged = !alien, .unread = !alien};
    return r;
}

/* How the folder's files are read. */
struct loader {
    struct echo_stock *stock;
    struct eng_io *io;
    uint64_t store;
    bool fresh; /* from the medium */
};

/* *ret_size: of an open file, of which all is on the medium now if `fresh`. */
static int have_whole(const struct opened *o, bool fresh, uint64_t *ret_size)
{
    int r = fresh && !MUTANT(NO_MEDIUM_READ) ? o->ops->datasync(o->file) : 0;
    if (!r && fresh && !MUTANT(NO_MEDIUM_READ))
        o->ops->drop_cache(o->file);
    if (!r)
        r = o->ops->file_size(o->file, ret_size);
    return io_is_no_file(r) || r == -ENOENT ? -EIO : r; /* it is one, and it is there */
}

/* Whether another listing lacks the file, too; -ENOENT alone may be an error of the moment. */
static bool is_gone(const struct loader *l, uint64_t id)
{
    struct names names = {.with_kept = l->stock->with_kept};
    bool gone = MUTANT(ENOENT_IS_GONE) || l->io->ops->list(l->io, note_name, &names) == 0;
    for (size_t i = 0; i < names.n; i++)
        gone = gone && names.ids[i] != id;
    free(names.ids);
    return gone;
}

static int try_open(const struct loader *l, const char *name, struct opened *o, uint64_t *ret_size)
{
    int r = l->io->ops->open(l->io, name, IO_RDONLY, &o->file);
    if (r)
        return r;
    r = have_whole(o, l->fresh, ret_size);
    if (r)
        l->io->ops->close(o->file);
    return r;
}

/* An error may pass. *ret_gone: the file is there no more, since it was listed. */
static int open_file(const struct loader *l, const struct echo_stock_file *f, struct opened *o,
                     uint64_t *ret_size, bool *ret_gone)
{
    char name[ECHO_NAME_SIZE];
    int r = -EIO;
    name_of(f, name);
    *ret_gone = false;
    for (unsigned tries = 0; may_pass(r) && !io_is_no_file(r) && tries < MEDIUM_TRIES; tries++) {
        r = try_open(l, name, o, ret_size);
        *ret_gone = r == -ENOENT && is_gone(l, f->id | (f->kept ? KEPT : 0));
        if (*ret_gone)
            break;
    }
    return r;
}

static int refuse(struct echo_stock *stock, const struct echo_stock_file *f, int r)
{
    stock->has_refused = !io_is_shortage(r);
    stock->refused = *f;
    return r == -ENOENT ? -EIO : r; /* it is no store that is missing */
}

/* One whose medium cannot be read, or that is no file, is told of. Any other error may be over tomorrow, and
 * the file have what nothing else has. */
static int pass_unopened(struct echo_stock *stock, const struct echo_stock_file *f, int r)
{
    bool goes_on = r == -EIO || io_is_no_file(r) || stock->with_kept || MUTANT(EIO_PASSES_ALONE);
    if (goes_on && !io_is_shortage(r))
        return add_unusable(stock, f->id, io_is_no_file(r));
    return refuse(stock, f, r);
}

/* `size_max`: what lies behind that is not looked at. */
static int load_file(const struct loader *l, const struct echo_stock_file *f, uint64_t size_max)
{
    struct opened o = {.ops = l->io->ops};
    struct echo_source source = {.read = read_opened, .arg = &o, .skip_hole = skip_hole_opened};
    struct echo_stock *stock = l->stock;
    uint64_t size = 0;
    bool gone;
    int r = open_file(l, f, &o, &size, &gone);
    if (r)
        return gone ? 0 : pass_unopened(stock, f, r);
    source.self = io_identity(o.file, l->io->ops);
    r = echo_stock_scan(stock, &source, l->store, f->id, MIN_OF(size, size_max));
    if (stock->n_files)
        stock->files[stock->n_files - 1].kept = f->kept;
    l->io->ops->close(o.file);
    return r ? refuse(stock, f, r) : 0;
}

static void all_loaded(struct echo_stock *stock)
{
    echo_stock_sort(stock);
    judge_gaps(stock);
}

int echo_stock_load(struct echo_stock *stock, struct eng_io *io, uint64_t store, bool fresh)
{
    const struct loader l = {stock, io, store, fresh};
    struct names names = {.with_kept = stock->with_kept};
    int r = io->ops->list(io, note_name, &names);
    if (names.n)
        qsort(names.ids, names.n, sizeof *names.ids, by_id);
    for (size_t i = 0; i < names.n && !r; i++) {
        const struct echo_stock_file f = {.id = (uint32_t)names.ids[i], .kept = names.ids[i] & KEPT};
        r = load_file(&l, &f, UINT64_MAX);
    }
    all_loaded(stock);
    free(names.ids);
    return r;
}

int echo_stock_load_since(struct echo_stock *stock, struct eng_io *io, uint64_t store, bool fresh,
                          uint64_t since)
{
    const struct loader l = {stock, io, store, fresh};
    struct echo_stock before = *stock;
    int r = 0;
    *stock = (struct echo_stock){.with_kept = before.with_kept, .since = since};
    for (size_t i = 0; i < before.n_files && !r; i++) {
        const struct echo_stock_file *f = &before.files[i];
        bool unopened = !f->size && (f->alien || f->unread);
        r = unopened ? add_unusable(stock, f->id, f->alien) : load_file(&l, f, f->size);
    }
    all_loaded(stock);
    echo_stock_free(&before);
    return r;
}

/* ---- asking ------------------------------------------------------------ */

/* Of several records of a batch: one without a doubt is better than one in a copy of a held folder, and one
 * that an opening wrote anew than what was there before, some of which it may not have been able to read. */
static unsigned rank(const struct echo_stock *stock, const struct echo_ref *ref)
{
    const struct echo_stock_file *f = &stock->files[ref->file];
    if (MUTANT(LAST_IS_BEST))
        return 0;
    return (ref->held && f->copied ? 0u : 2u) + !f->kept;
}

static struct echo_ref *find(const struct echo_stock *stock, uint64_t seq, uint64_t chain,
                             const uint64_t *sum)
{
    struct echo_ref *best = NULL;
    for (size_t i = first_from(stock, seq); i < stock->n_refs && stock->refs[i].seq == seq; i++) {
        struct echo_ref *ref = &stock->refs[i];
        if ((ref->chain == chain || MUTANT(ECHO_UNCHAINED)) && (!sum || ref->sum == *sum) &&
            (!best || rank(stock, ref) >= rank(stock, best)))
            best = ref;
    }
    return best;
}

struct echo_ref *echo_stock_find(const struct echo_stock *stock, uint64_t seq, uint64_t chain)
{
    return find(stock, seq, chain, NULL);
}

struct echo_ref *echo_stock_find_batch(const struct echo_stock *stock, const struct batch_header *h)
{
    return find(stock, h->seq, h->chain, &h->sum);
}

/* Of a mutant: not from the echo, but from what it is to stand in for. */
static void look_in_log(const struct echo_ref *ref, char name[ECHO_NAME_SIZE + 8], uint64_t *at)
{
    if (!MUTANT(ECHO_IS_LOG))
        return;
    (void)snprintf(name, ECHO_NAME_SIZE + 8, "s%08x.seg", ref->segment);
    *at = ref->offset;
}

int echo_stock_read(const struct echo_stock *stock, struct eng_io *io, const struct echo_ref *ref,
                    struct batch_header *ret_header, struct buf *ops)
{
    char name[ECHO_NAME_SIZE + 8];
    struct io_file *file;
    uint64_t at = ref->at + offsetof(struct echo_record, batch);
    name_of(&stock->files[ref->file], name);
    look_in_log(ref, name, &at);
    ops->len = 0;
    int r = buf_reserve(ops, ref->ops_len + 1u);
    if (!r)
        r = io->ops->open(io, name, IO_RDONLY, &file);
    if (r)
        return r;
    r = io_pread_exact(file, io->ops, ret_header, sizeof *ret_header, at);
    if (!r)
        r = io_pread_exact(file, io->ops, ops->data, ref->ops_len, at + sizeof *ret_header);
    io->ops->close(file);
    if (!r && (ret_header->ops_len != ref->ops_len || ret_header->sum != ref->sum ||
               batch_sum(ret_header, ops->data) != ref->sum))
        r = -EBADMSG;
    return r;
}
