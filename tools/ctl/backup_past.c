/*
 * backup_past.c - see backup_past.h. State: struct walk, for one look at a log.
 *
 * The note is text: a line "engramfs backup 1", then for each batch with which the folder may end a line with
 * its number and its sum: two, where a run may have ended between the note and the names. Of a store that is
 * not root's it has also whose that is (trust.h), since the files of the folder are of whoever runs this. */
#include "ctl/backup_past.h"
#include "admin.h"
#include "ctl/transfer/trust.h"
#include "shared/cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOTE TRUST_NOTE
#define HEAD "engramfs backup 1\n"
enum { NOTE_MAX = TRUST_NOTE_MAX, NOTE_LINES = 8 };

bool backup_past_is_note(const char *name)
{
    return !strcmp(name, NOTE) || !strcmp(name, TRUST_NOTE_PART);
}

/* ---- a log ------------------------------------------------------------------------ */

struct batches {
    struct backup_batch *of;
    size_t n, cap;
};

static int add_batch(struct batches *all, uint64_t seq, uint64_t sum)
{
    if (all->n == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 64;
        struct backup_batch *more = realloc(all->of, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        all->of = more;
        all->cap = cap;
    }
    all->of[all->n++] = (struct backup_batch){seq, sum};
    return 0;
}

static int by_seq(const void *a, const void *b)
{
    const struct backup_batch *x = a, *y = b;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return x->sum < y->sum ? -1 : x->sum > y->sum;
}

/* Of batches in order. */
static bool has_batch(const struct batches *all, const struct backup_batch *batch)
{
    return bsearch(batch, all->of, all->n, sizeof *all->of, by_seq) != NULL;
}

/* One segment, record by record. */
struct walk {
    uint64_t size; /* what lies behind it is of another moment */
    bool is_log;
    uint64_t first_seq;
    int (*on_batch)(struct walk *w, uint64_t seq, uint64_t sum);
    void (*on_change)(
        struct walk *w); /* the last batch changes something that would be missed; may be NULL */
    struct batches *batches;
    size_t from;      /* of this segment: where its first one is in `batches` */
    bool is_anchored; /* the first one there changes something */
    uint64_t emptied; /* the last operation may be the first of the freeing of this inode; 0: no */
    uint64_t emptied_time;
    const struct batches *wanted; /* in order */
    bool is_found, is_other;      /* the store has one of them; has another one in place of the earliest */
};

static uint64_t field(const struct eng_dump_item *item, const char *key)
{
    for (size_t i = 0; i < item->n_fields; i++)
        if (!strcmp(item->fields[i].key, key))
            return item->fields[i].number;
    return 0;
}

static bool is_log(const struct eng_dump_item *item)
{
    for (size_t i = 0; i < item->n_fields; i++)
        if (!strcmp(item->fields[i].key, "of"))
            return item->fields[i].len == 3 && !memcmp(item->fields[i].bytes, "log", 3);
    return false;
}

/* Would anybody miss the operation? Not an access time, nor what only moves content or frees what has no
 * name, nor what only comes along with another or with time. */
static bool is_change(const struct eng_dump_item *item)
{
    static const char *const nothing[] = {"relocate", "segment", "free",      "data",  "unreadable", "by",
                                          "moment",   "keep",    "drop-name", "floor", "drop"};
    enum { ACCESS_TIME_ONLY = 16 };
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        if (!strcmp(item->kind, nothing[i]))
            return false;
    if (item->later && (!strcmp(item->kind, "punch") || !strcmp(item->kind, "xattr-del")))
        return false;
    if (!strcmp(item->kind, "rewrite"))
        return field(item, "from") != field(item, "to");
    return strcmp(item->kind, "attr") != 0 || field(item, "mask") != ACCESS_TIME_ONLY;
}

/* A large removed file is emptied before it is freed, by a truncation whose extents are freed later. A user's
 * may look the same. Only of what is freed the operation behind it frees extents from 0 on, at the same time,
 * which is that of the file's last change: of a file that has a name they are freed from where it ended. */
static bool is_first_of_freeing(const struct eng_dump_item *item)
{
    return item->later && !strcmp(item->kind, "truncate") && !field(item, "len");
}

static bool is_second_of_freeing(const struct walk *w, const struct eng_dump_item *item)
{
    return item->later && !strcmp(item->kind, "punch") && field(item, "ino") == w->emptied &&
           !field(item, "offset") && field(item, "time") == w->emptied_time;
}

static void on_operation(struct walk *w, const struct eng_dump_item *item)
{
    bool is_first = is_first_of_freeing(item);
    w->emptied = is_first ? field(item, "ino") : 0;
    w->emptied_time = field(item, "time");
    if (!is_first && is_change(item))
        w->on_change(w);
}

/* The truncation was a user's, as far as anybody can tell. */
static void end_emptied(struct walk *w)
{
    if (w->emptied)
        w->on_change(w);
    w->emptied = 0;
}

enum { STOP = 1 };

/* The header names the batch before the segment's first one. */
static int on_header(struct walk *w, const struct eng_dump_item *item)
{
    w->is_log = is_log(item);
    w->first_seq = field(item, "first_seq");
    if (!w->is_log)
        return STOP;
    return item->problem || !w->first_seq ? 0 : w->on_batch(w, w->first_seq - 1, field(item, "chain"));
}

static int on_item(void *arg, const struct eng_dump_item *item)
{
    struct walk *w = arg;
    if (cli_interrupted())
        return -EINTR;
    if (!is_second_of_freeing(w, item))
        end_emptied(w);
    if (item->offset >= w->size)
        return STOP;
    if (!item->depth)
        return strcmp(item->kind, "segment") != 0 ? STOP : on_header(w, item);
    if (item->depth == 1 && !strcmp(item->kind, "batch"))
        return item->problem || item->offset + item->size > w->size
                   ? 0
                   : w->on_batch(w, field(item, "seq"), field(item, "sum"));
    if (item->depth == 2 && w->on_change)
        on_operation(w, item);
    return 0;
}

static int walk_segment(int folder_fd, uint32_t id, struct walk *w)
{
    char folder[BACKUP_FOLDER_SIZE];
    backup_folder(folder_fd, folder);
    w->is_log = false;
    int r = eng_dump_until(folder, NULL, id, false, w->size, on_item, w);
    end_emptied(w);
    return r < 0 ? r : 0;
}

static bool parse_segment(const char *name, uint32_t *ret_id)
{
    unsigned id;
    if (!backup_is_store_name(name) || sscanf(name, "s%8x.seg", &id) != 1)
        return false;
    *ret_id = id;
    return true;
}

/* ---- the end of the folder's log ------------------------------------------------------ */

static int keep_batch(struct walk *w, uint64_t seq, uint64_t sum)
{
    return add_batch(w->batches, seq, sum);
}

/* Those before it are not needed: each of them leads to it. */
static void keep_last(struct walk *w)
{
    struct batches *all = w->batches;
    if (all->n == w->from)
        return;
    all->of[w->from] = all->of[all->n - 1];
    all->n = w->from + 1;
    w->is_anchored = true;
}

static int newest_first(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? 1 : -(x > y);
}

static int list_segments(int folder_fd, uint32_t **ret_ids, size_t *ret_n)
{
    size_t cap = 0;
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int r = dir ? 0 : -errno;
    if (!dir && fd >= 0)
        close(fd);
    for (struct dirent *e; dir && !r && (e = readdir(dir));) {
        uint32_t id;
        if (!parse_segment(e->d_name, &id))
            continue;
        if (*ret_n == cap) {
            cap = cap ? cap * 2 : 64;
            uint32_t *more = realloc(*ret_ids, cap * sizeof *more);
            if (!more) {
                r = -ENOMEM;
                break;
            }
            *ret_ids = more;
        }
        (*ret_ids)[(*ret_n)++] = id;
    }
    if (dir)
        closedir(dir);
    if (!r && *ret_n)
        qsort(*ret_ids, *ret_n, sizeof **ret_ids, newest_first);
    return r;
}

/* The last batches of the log in the folder, from the last one that changes something on; what cannot be read
 * is left out. */
static int find_end(int folder_fd, struct batches *ret)
{
    uint32_t *ids = NULL;
    size_t n = 0;
    int r = list_segments(folder_fd, &ids, &n);
    struct walk w = {.size = UINT64_MAX, .on_batch = keep_batch, .on_change = keep_last, .batches = ret};
    for (size_t i = 0; !r && i < n && !w.is_anchored; i++) {
        w.from = ret->n;
        r = walk_segment(folder_fd, ids[i], &w);
    }
    free(ids);
    if (!r && n && !ret->n)
        r = -EBADMSG;
    if (!r && n)
        qsort(ret->of, ret->n, sizeof *ret->of, by_seq);
    return r;
}

/* ---- in the store ----------------------------------------------------------------- */

static int compare_batch(struct walk *w, uint64_t seq, uint64_t sum)
{
    const struct backup_batch batch = {seq, sum}, *first = w->wanted->of;
    uint64_t last = first[w->wanted->n - 1].seq;
    w->is_found = w->is_found || has_batch(w->wanted, &batch);
    w->is_other = w->is_other || (seq == first->seq && sum != first->sum);
    return w->is_found || seq > last ? STOP : 0;
}

/* Looks for them in the log of the store, from its end on. */
static int find_in_store(const struct backup *b, struct walk *w)
{
    int r = 0;
    uint64_t first = w->wanted->of[0].seq;
    for (size_t i = b->n; !r && !w->is_found && i-- > 0;) {
        const struct backup_item *item = &b->items[i];
        uint32_t id;
        if (!parse_segment(item->name, &id))
            continue;
        w->size = item->size;
        r = walk_segment(b->store_fd, id, w);
        if (w->is_log && w->first_seq <= first)
            break;
    }
    return r;
}

/* What of its header no other segment of the same number has. */
struct identity {
    uint64_t a, b;
};

static int take_identity(void *arg, const struct eng_dump_item *item)
{
    struct identity *identity = arg;
    if (strcmp(item->kind, "segment") != 0 || item->problem)
        return STOP;
    bool log = is_log(item); /* the header of one may have been written anew, with another time */
    identity->a = log ? field(item, "first_seq") : field(item, "sum");
    identity->b = log ? field(item, "chain") : 0;
    return STOP;
}

/* All zeros: it has none. */
static struct identity identity_of(int folder_fd, uint32_t id)
{
    char folder[BACKUP_FOLDER_SIZE];
    struct identity identity = {0};
    backup_folder(folder_fd, folder);
    (void)eng_dump(folder, NULL, id, false, take_identity, &identity);
    return identity;
}

/* No number of a segment is used twice: have both one with another header? */
static bool has_other_segment(const struct backup *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint32_t id;
        if (!parse_segment(b->items[i].name, &id))
            continue;
        struct identity here = identity_of(b->to_fd, id), there = identity_of(b->store_fd, id);
        if (here.a && there.a && (here.a != there.a || here.b != there.b))
            return true;
    }
    return false;
}

static int keep_only(struct walk *w, uint64_t seq, uint64_t sum)
{
    w->batches->n = 0;
    return add_batch(w->batches, seq, sum);
}

void backup_past_look(struct backup *b)
{
    struct batches all = {0};
    struct walk w = {.on_batch = keep_only, .batches = &all};
    b->end = (struct backup_batch){0};
    for (size_t i = b->n; i-- > 0 && !w.is_log;) {
        uint32_t id;
        if (!parse_segment(b->items[i].name, &id))
            continue;
        w.size = b->items[i].size;
        if (walk_segment(b->store_fd, id, &w) < 0)
            break;
    }
    if (all.n)
        b->end = all.of[0];
    free(all.of);
}

/* ---- the note ----------------------------------------------------------------------- */

static int read_note(const struct backup *b, struct batches *ret)
{
    char text[NOTE_MAX + 1];
    int fd = openat(b->to_fd, NOTE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, text, NOTE_MAX, 0) : 0;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    char *rest = text + sizeof HEAD - 1, *line;
    int r = 0;
    if (strncmp(text, HEAD, sizeof HEAD - 1) != 0)
        return 0;
    while (!r && ret->n < NOTE_LINES && (line = strsep(&rest, "\n")) && *line) {
        struct backup_batch batch;
        int end = 0;
        if (sscanf(line, "%" SCNu64 " %16" SCNx64 "%n", &batch.seq, &batch.sum, &end) == 2 && !line[end])
            r = add_batch(ret, batch.seq, batch.sum);
    }
    return r;
}

static int put_note(const struct backup *b, char *text, size_t size)
{
    const struct backup_batch *batches[] = {&b->past, &b->end};
    struct target store = {0};
    int n = snprintf(text, size, HEAD);
    for (size_t i = 0; i < 2; i++)
        if (batches[i]->seq)
            n += snprintf(text + n, size - (size_t)n, "%" PRIu64 " %016" PRIx64 "\n", batches[i]->seq,
                          batches[i]->sum);
    trust_note_folder(&store, b->store_fd);
    trust_note_user(&store, b->user);
    return n + trust_owner_line(&store, text + n, size - (size_t)n);
}

int backup_past_note(struct backup *b)
{
    char text[256];
    int n = put_note(b, text, sizeof text);
    int r = trust_write_note(b->to_fd, text, (size_t)n);
    if (r)
        cli_error("%s/" NOTE ": %s", b->path, strerror(-r));
    else
        b->past = b->end; /* for another run over it */
    return r;
}

/* ---- all together ----------------------------------------------------------------- */

/* The last batch of the store. */
static uint64_t store_seq(const struct backup *b)
{
    return b->seq > b->end.seq ? b->seq : b->end.seq;
}

static int refuse(const struct backup *b, const struct batches *end, const char *what)
{
    cli_error("%s: %s (its last batch is %" PRIu64 ", the store's %" PRIu64 ")", b->path, what,
              end->of[end->n - 1].seq, store_seq(b));
    cli_note("what only the backup has would be lost. Look at it (engramfs -o ro), give another folder, or "
             "give --replace to have it replaced");
    return -EEXIST;
}

/* The store's log begins behind the folder's end, or is damaged there. */
static int check_note(const struct backup *b, const struct batches *end)
{
    struct batches note = {0};
    int r = read_note(b, &note);
    bool is_as_left = false;
    for (size_t i = 0; i < note.n; i++)
        is_as_left = is_as_left || has_batch(end, &note.of[i]);
    free(note.of);
    if (r || (is_as_left && !has_other_segment(b)))
        return r;
    return refuse(b, end,
                  is_as_left
                      ? "it has segments that are others in the store, which went back to an earlier state"
                      : "the store's log does not go back to the end of this backup, and no note says "
                        "that it is as a run has left it: it may have been the store itself meanwhile");
}

static int check_end(struct backup *b, const struct batches *end)
{
    struct walk w = {.on_batch = compare_batch, .wanted = end};
    int r = find_in_store(b, &w);
    if (r || w.is_found)
        return r;
    if (w.is_other || end->of[0].seq > store_seq(b))
        return refuse(b, end,
                      "it holds changes that the store does not have: it has been the store itself, or the "
                      "store went back to an earlier state");
    return check_note(b, end);
}

int backup_past_check(struct backup *b)
{
    struct batches end = {0};
    int r = find_end(b->to_fd, &end);
    if (r && r != -EINTR && !b->replace)
        cli_error("%s: cannot read the end of its log: %s (--replace has it replaced anyhow)", b->path,
                  strerror(-r));
    if (b->replace)
        r = 0;
    else if (!r && end.n)
        r = check_end(b, &end);
    if (r == -EINTR)
        cli_error("interrupted; nothing was changed in %s", b->path);
    if (!r && end.n)
        b->past = end.of[end.n - 1];
    free(end.of);
    return r;
}
