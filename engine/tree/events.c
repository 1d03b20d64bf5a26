/*
 * events.c - eng_events(): what happened to names and memories, in all of the store or below a folder.
 *
 * Each name tells how it came and how it went; each inode tells what it changed to, by each name that it had
 * then. They are looked at table by table, in slices, but for the parts of the index that were not written
 * since the first batch that is asked for (image/ages.h). First the live names, then the past ones: a name
 * that ends meanwhile goes from there to here, never back, so it may be told twice, but is never missed. A
 * path is made of the names that the folders had then.
 *
 * Memory: the events of a slice, and numbers of changed files that have several names. */
#include "tree/events.h"

#include "image/ages.h"
#include "index/actors.h"
#include "index/lives.h"
#include "index/times.h"
#include "tree/path_spans.h"
#include "tree/sightings.h"

#define LOOKS 1024u             /* at records in one section, or so */
#define TEXT_BYTES (256u << 10) /* of paths in one section, or so */
#define NO_TEXT SIZE_MAX

struct noted {
    struct eng_event event;
    size_t path, from; /* in texts; NO_TEXT: none */
};

struct line_state {
    uint32_t slot; /* of the record */
    uint64_t begin;
};

struct telling {
    struct eng *eng;
    const struct index *idx;
    struct view live;
    struct events_run *run;
    uint32_t folder; /* slot; ENG_ROOT_INO: all of the store */
    uint64_t now;    /* what comes later is not told */
    struct ages ages;
    /* Of a slice: */
    unsigned looks; /* at records, and states of a line by the hundred */
    struct noted *noted;
    size_t n_noted, cap_noted;
    char *texts;
    size_t texts_len, cap_texts;
    /* Of an inode, newest first: */
    struct line_state *line;
    size_t n_line, cap_line;
    /* Of a path, the last name first: */
    struct folder_name *way;
    size_t n_way, cap_way;
    /* Changed files with names that a sweep must find: */
    uint32_t *linked;
    size_t n_linked, cap_linked;
    struct idmap is_linked;
};

/* A name, live or past. */
struct told_name {
    uint32_t dir, name, child; /* slot, names, slot */
    uint16_t len;
    uint32_t past; /* 0: it lives */
    uint64_t begin, end;
    uint32_t took_place; /* the past name that ended there when it began, 0 none */
};

/* ---- paths ------------------------------------------------------------------------------ */

static int add_step(struct telling *t, const struct folder_name *step)
{
    int r = array_grow(&t->way, &t->cap_way, t->n_way + 1, sizeof *t->way);
    if (!r)
        t->way[t->n_way++] = *step;
    return r;
}

static int write_way(struct telling *t, size_t *ret_text)
{
    size_t at = t->texts_len, need = 1;
    for (size_t i = 0; i < t->n_way; i++)
        need += t->way[i].name_len + 1u;
    int r = array_grow(&t->texts, &t->cap_texts, at + need, 1);
    for (size_t i = t->n_way; i-- > 0 && !r;) {
        const struct folder_name *step = &t->way[i];
        const char *text = names_get(&t->idx->names, step->name, step->name_len);
        if (!text)
            return -EBADMSG;
        memcpy(t->texts + at, text, step->name_len);
        at += step->name_len;
        if (i)
            t->texts[at++] = '/';
    }
    if (r)
        return r;
    t->texts[at++] = '\0';
    *ret_text = t->texts_len;
    t->texts_len = at;
    return 0;
}

/* Notes the path that the name had at that batch, if it led to the folder that is asked for or below it, or
 * with `anywhere`. NO_TEXT: it did not, or nobody knows where it was. */
static int note_path(struct telling *t, const struct told_name *n, uint64_t at, bool anywhere,
                     size_t *ret_text)
{
    struct folder_name step = {n->dir, n->name, n->len};
    bool is_in = anywhere || t->folder == ENG_ROOT_INO || n->child == t->folder;
    uint64_t left = t->idx->s.n_dirs + 1; /* damaged or not */
    at = MUTANT(EVENTS_BY_NAMES_OF_NOW) ? t->now : at;
    *ret_text = NO_TEXT;
    t->n_way = 0;
    int r = add_step(t, &step);
    while (!r && step.parent != ENG_ROOT_INO) {
        is_in = is_in || step.parent == t->folder;
        if (!left-- || !index_folder_name_at(t->idx, step.parent, at, &step))
            return 0;
        r = add_step(t, &step);
    }
    return r || !is_in ? r : write_way(t, ret_text);
}

/* ---- events ------------------------------------------------------------------------------ */

static bool is_asked_for(const struct telling *t, uint64_t number)
{
    return number > t->run->after && number <= t->now;
}

/* What happened at those paths, to the inode in that state. */
static int add_event(struct telling *t, enum eng_version_event what, uint64_t number, uint32_t child,
                     const struct inode_rec *state, uint32_t actor, size_t path, size_t from)
{
    int r = array_grow(&t->noted, &t->cap_noted, t->n_noted + 1, sizeof *t->noted);
    if (r)
        return r;
    struct noted *noted = &t->noted[t->n_noted++];
    *noted = (struct noted){.path = path, .from = from};
    noted->event = (struct eng_event){.what = what,
                                      .number = number,
                                      .time = index_time_of(t->idx, number),
                                      .ino = index_ino(index_slot(t->idx, child), child),
                                      .size = S_ISDIR(state->mode) ? 0 : state->size,
                                      .mode = state->mode,
                                      .uid = state->uid,
                                      .gid = state->gid};
    sighting_actor(t->idx, actor, &noted->event.actor);
    return 0;
}

/* ---- states ------------------------------------------------------------------------------- */

/* The states that are kept, back to the one that was there after batch `after`. */
static int read_line(struct telling *t, uint32_t slot, uint64_t after)
{
    const struct inode_rec *state = index_slot(t->idx, slot);
    uint64_t begin = state ? past_head_begin(t->idx, state) : 0;
    t->n_line = 0;
    for (uint64_t left = t->idx->s.n_past + 1; state && left > 0; left--) {
        bool is_going = state->flags & INODE_GOING;
        int r = is_going ? 0 : array_grow(&t->line, &t->cap_line, t->n_line + 1, sizeof *t->line);
        if (r)
            return r;
        if (!is_going)
            t->line[t->n_line++] = (struct line_state){slot, begin};
        if (!is_going && begin <= after)
            break;
        slot = state->past;
        state = index_slot(t->idx, slot);
        begin = state ? past_begin(state) : 0;
    }
    return 0;
}

/* How long the line is, at most. */
static unsigned line_length(const struct index *idx, uint32_t slot)
{
    const struct inode_rec *head = index_slot(idx, slot);
    const struct inode_rec *newest = head ? index_slot(idx, head->past) : NULL;
    return newest ? past_number(newest) : 0;
}

/* Whether two neighbours of a line are one version. */
static bool is_same(const struct index *idx, uint32_t a, uint32_t b)
{
    const struct inode_rec *x = index_slot(idx, a), *y = index_slot(idx, b);
    return x->state == y->state && x->mode == y->mode && x->uid == y->uid && x->gid == y->gid;
}

/* Leaves of the line what was a change, and is asked for. */
static void leave_changes(struct telling *t)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < t->n_line; i++)
        if (is_asked_for(t, t->line[i].begin) && !is_same(t->idx, t->line[i].slot, t->line[i + 1].slot))
            t->line[n++] = t->line[i];
    t->n_line = n;
}

/* Tells the changes from the `from`-th on that were made while the name was there. */
static int tell_changes(struct telling *t, const struct told_name *n, size_t from)
{
    int r = 0;
    for (size_t i = from; i < t->n_line && t->line[i].begin > n->begin && !r; i++) {
        const struct inode_rec *state = index_slot(t->idx, t->line[i].slot);
        size_t path;
        if (t->line[i].begin >= n->end)
            continue;
        r = note_path(t, n, t->line[i].begin, false, &path);
        if (!r && path != NO_TEXT)
            r = add_event(t, ENG_VERSION_CHANGED, t->line[i].begin, n->child, state, state->actor, path,
                          NO_TEXT);
    }
    return r;
}

static struct told_name live_name(const struct index *idx, uint32_t d)
{
    const struct dentry_rec *live = index_dentry(idx, d);
    uint32_t newest = live->flags & DENTRY_HAS_PAST ? index_newest_past(idx, live->parent, live->cookie) : 0;
    const struct past_name_rec *past = index_past_name(idx, newest);
    uint64_t begin = index_name_begin(idx, d);
    bool took_place = past && past->flags & PAST_SHARES_TEXT && past->end == begin;
    return (struct told_name){.dir = live->parent,
                              .name = live->name,
                              .child = live->child,
                              .len = live->name_len,
                              .begin = begin,
                              .end = UINT64_MAX,
                              .took_place = took_place ? newest : 0};
}

static struct told_name past_name(const struct index *idx, uint32_t i)
{
    const struct past_name_rec *past = index_past_name(idx, i);
    return (struct told_name){.dir = past->parent,
                              .name = past->name,
                              .child = past->child,
                              .len = past->name_len,
                              .past = i,
                              .begin = past->begin,
                              .end = past->end,
                              .took_place = index_took_place(idx, past)};
}

/* By the past names of the inode that ended behind that batch. */
static int tell_by_past_names(struct telling *t, const struct inode_rec *inode, uint64_t ended_after)
{
    const struct past_name_rec *past = index_past_name(t->idx, inode->past_name);
    uint32_t i = inode->past_name;
    size_t from = 0;
    int r = 0;
    for (uint64_t left = t->idx->s.n_past_names; past && left > 0 && !r && from < t->n_line; left--) {
        while (from < t->n_line && t->line[from].begin >= past->end)
            from++;
        struct told_name n = past_name(t->idx, i);
        if (past->end <= ended_after)
            return 0;
        r = tell_changes(t, &n, from);
        i = past->of_inode;
        past = index_past_name(t->idx, i);
    }
    return r;
}

static int add_linked(struct telling *t, uint32_t slot)
{
    int r = idmap_reserve(&t->is_linked, 1);
    if (!r)
        r = array_grow(&t->linked, &t->cap_linked, t->n_linked + 1, sizeof *t->linked);
    if (r)
        return r;
    idmap_set(&t->is_linked, slot, 1);
    t->linked[t->n_linked++] = slot;
    return 0;
}

static int tell_root(struct telling *t)
{
    int r = 0;
    for (size_t i = 0; i < t->n_line && t->folder == ENG_ROOT_INO && !r; i++) {
        const struct inode_rec *state = index_slot(t->idx, t->line[i].slot);
        size_t path;
        t->n_way = 0;
        r = write_way(t, &path);
        if (!r)
            r = add_event(t, ENG_VERSION_CHANGED, t->line[i].begin, ENG_ROOT_INO, state, state->actor, path,
                          NO_TEXT);
    }
    return r;
}

static int look_at_inode(struct telling *t, uint32_t slot)
{
    const struct inode_rec *head = index_slot(t->idx, slot);
    if (!head || head->flags & INODE_PAST || past_head_begin(t->idx, head) <= t->run->after)
        return 0;
    int r = read_line(t, slot, t->run->after);
    if (r)
        return r;
    t->looks += (unsigned)(t->n_line / 100);
    leave_changes(t);
    if (slot == ENG_ROOT_INO)
        return tell_root(t);
    if (!t->n_line)
        return 0;
    r = tell_by_past_names(t, head, 0);
    if (r || !head->nlink)
        return r;
    const struct dentry_rec *only =
        head->nlink == 1 || S_ISDIR(head->mode) ? index_dentry(t->idx, head->dentry) : NULL;
    if (!only || only->child != slot)
        return add_linked(t, slot);
    struct told_name n = live_name(t->idx, head->dentry);
    return tell_changes(t, &n, 0);
}

static int look_at_link(struct telling *t, uint32_t d)
{
    const struct dentry_rec *live = index_dentry(t->idx, d);
    if (!live || !idmap_get(&t->is_linked, live->child))
        return 0;
    int r = read_line(t, live->child, t->run->after);
    if (r)
        return r;
    leave_changes(t);
    struct told_name n = live_name(t->idx, d);
    return tell_changes(t, &n, 0);
}

/* What became a past name before the sweep came to it. */
static int look_at_late(struct telling *t, uint32_t i)
{
    const struct inode_rec *inode = index_slot(t->idx, t->linked[i]);
    int r = inode ? read_line(t, t->linked[i], t->run->after) : 0;
    if (r || !inode)
        return r;
    leave_changes(t);
    return tell_by_past_names(t, inode, t->now);
}

/* ---- names ---------------------------------------------------------------------------------- */

/* The first state that it showed, and since when; 0: none is kept. */
static uint32_t first_state(const struct index *idx, const struct told_name *n, uint64_t *ret_number)
{
    uint32_t slot = past_at(idx, n->child, n->begin);
    const struct inode_rec *state = index_slot(idx, n->child);
    *ret_number = n->begin;
    if (slot || !state)
        return slot;
    uint64_t begin = past_head_begin(idx, state);
    slot = n->child;
    for (uint64_t left = idx->s.n_past; left > 0 && index_slot(idx, state->past); left--) {
        uint32_t next = state->past;
        state = index_slot(idx, next);
        if (state->flags & INODE_GOING)
            continue;
        slot = next;
        begin = past_begin(state);
    }
    *ret_number = MAX_OF(begin, n->begin);
    return slot;
}

static int tell_beginning(struct telling *t, const struct told_name *n)
{
    const struct index *idx = t->idx;
    uint64_t number, floor = idx->s.floor;
    if (n->begin > t->now || (n->begin <= t->run->after && past_at(idx, n->child, t->run->after)))
        return 0;
    const struct inode_rec *state = index_slot(idx, first_state(idx, n, &number));
    t->looks += line_length(idx, n->child) / 100;
    if (!state || !is_asked_for(t, number) || number >= n->end)
        return 0;
    uint32_t i = index_former_name(idx, n->child, n->past, n->begin);
    const struct past_name_rec *former = index_past_name(idx, i), *gone = index_past_name(idx, n->took_place);
    enum eng_version_event came = path_how_came(idx, n->child, i, n->begin);
    size_t path, from = NO_TEXT;
    if (came == ENG_VERSION_UNKNOWN && !gone && (!floor || number < floor))
        return 0; /* it was there before anything was kept */
    if (!gone && came == ENG_VERSION_RENAMED)
        gone = former;
    int r = note_path(t, n, number, false, &path);
    if (!r && former && (came == ENG_VERSION_RENAMED || came == ENG_VERSION_RESTORED)) {
        struct told_name was = past_name(idx, i);
        r = note_path(t, &was, was.end - 1, path != NO_TEXT, &from);
    }
    if (!r && path == NO_TEXT && from != NO_TEXT && came == ENG_VERSION_RENAMED) /* it left the folder */
        r = note_path(t, n, number, true, &path);
    if (r || path == NO_TEXT)
        return r;
    uint32_t maker = came == ENG_VERSION_CREATED ? state->actor : 0; /* a link has no room for who made it */
    came = n->took_place ? ENG_VERSION_REPLACED : came;
    return add_event(t, came, number, n->child, state, gone ? gone->actor : maker, path, from);
}

static int tell_end(struct telling *t, const struct told_name *n)
{
    const struct past_name_rec *past = index_past_name(t->idx, n->past);
    const struct inode_rec *state = index_slot(t->idx, past_at(t->idx, n->child, n->end - 1));
    size_t path;
    if (!(past->flags & PAST_REMOVED) || !is_asked_for(t, n->end) || !state)
        return 0;
    int r = note_path(t, n, n->end - 1, false, &path);
    if (r || path == NO_TEXT)
        return r;
    return add_event(t, ENG_VERSION_REMOVED, n->end, n->child, state, past->actor, path, NO_TEXT);
}

static int look_at_name(struct telling *t, uint32_t d)
{
    if (!index_dentry(t->idx, d))
        return 0;
    struct told_name n = live_name(t->idx, d);
    return tell_beginning(t, &n);
}

static int look_at_past_name(struct telling *t, uint32_t i)
{
    const struct past_name_rec *past = index_past_name(t->idx, i);
    if (!past || past->end <= t->run->after)
        return 0;
    struct told_name n = past_name(t->idx, i);
    int r = tell_beginning(t, &n);
    return r ? r : tell_end(t, &n);
}

/* ---- sweeping --------------------------------------------------------------------------------- */

typedef int (*look_fn)(struct telling *t, uint32_t i);

static void section_begin(struct telling *t)
{
    t->n_noted = t->texts_len = 0;
    t->looks = 0;
    view_begin(&t->live);
}

/* Ends a section, and tells what it has found. */
static int section_end(struct telling *t, int r)
{
    r = (int)view_end(&t->live, r);
    fault_point(&t->eng->hook, FP_DIFF_SLICE);
    for (size_t i = 0; i < t->n_noted && !r; i++) {
        struct noted *noted = &t->noted[i];
        noted->event.path = t->texts + noted->path;
        noted->event.from = noted->from == NO_TEXT ? NULL : t->texts + noted->from;
        r = t->run->emit(t->run->arg, &noted->event);
    }
    return r;
}

/* Some records of the table from *place on, which moves on. */
static int sweep_some(struct telling *t, unsigned which, bool all, look_fn look, uint64_t *place)
{
    const struct table *table = index_table(&t->eng->idx, which);
    uint64_t in_chunk = UINT64_C(1) << table->chunk_shift;
    int r = 0;
    while (*place < table->used && t->looks < LOOKS && t->texts_len < TEXT_BYTES && !r) {
        uint32_t c = (uint32_t)(*place >> table->chunk_shift);
        bool is_first = !(*place & (in_chunk - 1));
        bool is_dropped = table->states[c] == TABLE_DROPPED;
        t->run->chunks += is_first && !is_dropped;
        if (is_dropped || (is_first && !all && ages_is_older(t->eng, &t->ages, which, c))) {
            *place = (c + UINT64_C(1)) << table->chunk_shift;
            t->looks += 8;
            continue;
        }
        t->run->looked += is_first;
        if (*place)
            r = look(t, (uint32_t)*place);
        t->looks++;
        ++*place;
    }
    return r;
}

static int sweep(struct telling *t, unsigned which, bool all, look_fn look)
{
    int r = 0;
    uint64_t place = 0;
    for (bool more = true; more && !r;) {
        section_begin(t);
        r = sweep_some(t, which, all, look, &place);
        more = place < index_table(&t->eng->idx, which)->used;
        r = section_end(t, r);
    }
    return r;
}

static int tell_late(struct telling *t)
{
    int r = 0;
    for (size_t i = 0; i < t->n_linked && !r && !MUTANT(LATE_EVENTS_MISSED); i++) {
        section_begin(t);
        r = section_end(t, look_at_late(t, (uint32_t)i));
    }
    return r;
}

static int tell_all(struct telling *t)
{
    int r = ages_begin(t->eng, t->run->after, &t->ages);
    bool all = !t->run->after || MUTANT(EVENTS_OF_ALL_CHUNKS);
    if (!r)
        r = sweep(t, TABLE_DENTRIES, all, look_at_name);
    if (!r)
        r = sweep(t, TABLE_PAST_NAMES, all, look_at_past_name);
    if (!r)
        r = sweep(t, TABLE_INODES, all, look_at_inode);
    if (!r && t->n_linked)
        r = sweep(t, TABLE_DENTRIES, true, look_at_link);
    if (!r)
        r = tell_late(t);
    ages_end(&t->ages);
    return r;
}

static int find_folder(struct telling *t)
{
    view_begin(&t->live);
    const struct inode_rec *inode = index_inode(t->idx, t->run->folder);
    int r = inode && S_ISDIR(inode->mode) ? 0 : -ENOTDIR;
    t->now = t->eng->published_seq;
    return (int)view_end(&t->live, inode ? r : -ESTALE);
}

int events_run(struct eng *eng, struct events_run *run)
{
    struct telling t = {
        .eng = eng, .idx = &eng->idx, .live = view_live(eng), .run = run, .folder = ino_slot(run->folder)};
    int r = find_folder(&t);
    if (!r)
        r = tell_all(&t);
    free(t.noted);
    free(t.texts);
    free(t.line);
    free(t.way);
    free(t.linked);
    idmap_done(&t.is_linked);
    return r;
}

/* The batch before the first one that was at `time` or later. */
static uint64_t batch_before(struct eng *eng, int64_t time)
{
    struct view live = view_live(eng);
    view_begin(&live);
    uint64_t first = time == INT64_MIN ? 1 : index_next_moment(live.idx, index_moment_at(live.idx, time - 1));
    (void)view_end(&live, 0);
    return first - 1;
}

int eng_events(struct eng *eng, uint64_t folder, int64_t since,
               int (*emit)(void *arg, const struct eng_event *event), void *arg)
{
    if (!eng || !emit)
        return -EINVAL;
    struct events_run run = {.folder = folder, .after = batch_before(eng, since), .emit = emit, .arg = arg};
    return events_run(eng, &run);
}
