/*
 * changes.c - see changes.h.
 *
 * Each text ends with a line that tells how far it goes: the position to ask for the next changes with. What
 * was only read (access times) is no change here. Paths are those of the moment when the text is made. No
 * state, no locks. */
#include "control/changes.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_AT_ONCE = 64,
    TEXT_BYTES = 1 << 20,  /* a text ends with the first batch that comes so far */
    PATHS_BYTES = 8 << 20, /* from there on it has no paths: the rest of one large batch */
    /* The same of paths that are too long, which take no room in a text, but a climb through PATH_MAX / 2
     * folders. More than in the latest changes, which are to be told whole. */
    TEXT_TOO_LONG = 2 * CHANGES_LATEST,
    PATHS_TOO_LONG = 4 * TEXT_TOO_LONG
};

struct telling {
    struct eng *eng;
    struct text *t;
    unsigned too_long; /* paths */
    char path[PATH_MAX];
};

static const char *const kinds[] = {[ENG_CHANGE_CREATED] = "created",       [ENG_CHANGE_LINKED] = "linked",
                                    [ENG_CHANGE_UNLINKED] = "unlinked",     [ENG_CHANGE_CONTENT] = "content",
                                    [ENG_CHANGE_ATTRIBUTES] = "attributes", [ENG_CHANGE_FIELDS] = "fields",
                                    [ENG_CHANGE_REMOVED] = "removed"};

static bool is_told(const struct eng_change *c)
{
    return c->kind != ENG_CHANGE_ATTRIBUTES || (c->mask & ~(unsigned)ENG_SET_ATIME) != 0;
}

/* The path that the change is about: of a name that it had or got, else of the inode. False: none, or it is
 * longer than paths are. */
static bool find_path(struct telling *telling, const struct eng_change *c)
{
    bool of_name = c->kind == ENG_CHANGE_LINKED || c->kind == ENG_CHANGE_UNLINKED;
    size_t room = sizeof telling->path - (of_name ? c->name_len + 1u : 0);
    char *path = telling->path;
    ssize_t n = eng_path(telling->eng, of_name ? c->parent : c->ino, path, room);
    telling->too_long += n == -ENAMETOOLONG;
    if (n < 0)
        return false;
    if (of_name) {
        if (n)
            path[n++] = '/';
        memcpy(path + n, c->name, c->name_len + 1);
    }
    return true;
}

static void attributes_member(struct text *t, unsigned mask)
{
    static const struct {
        unsigned mask;
        const char *name;
    } list[] = {{ENG_SET_MODE, "mode"},  {ENG_SET_UID, "uid"},     {ENG_SET_GID, "gid"},
                {ENG_SET_SIZE, "size"},  {ENG_SET_ATIME, "atime"}, {ENG_SET_MTIME, "mtime"},
                {ENG_SET_CTIME, "ctime"}};
    const char *comma = "";
    text_add(t, ", \"attributes\": [");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (mask & list[i].mask) {
            text_add(t, "%s\"%s\"", comma, list[i].name);
            comma = ", ";
        }
    text_add(t, "]");
}

/* Behind the member `key`, which has no bytes that are not UTF-8. */
static void bytes_member(struct text *t, const char *key, const char *value)
{
    if (text_is_utf8(value))
        return;
    text_add(t, ", \"%s_base64\": \"", key);
    text_base64(t, value);
    text_add(t, "\"");
}

static void change_line(struct telling *telling, const struct eng_change *c)
{
    struct text *t = telling->t;
    const char *path = telling->path;
    text_add(t, "{\"position\": %" PRIu64 ", \"time\": \"", c->position);
    text_time(t, c->time);
    text_add(t, "\", \"change\": \"%s\", \"inode\": %" PRIu64 ", \"path\": ", kinds[c->kind], c->ino);
    bool known = t->len < PATHS_BYTES && telling->too_long < PATHS_TOO_LONG && find_path(telling, c);
    if (known)
        text_json_string(t, path);
    else
        text_add(t, "null");
    if (known)
        bytes_member(t, "path", path);
    if (c->kind == ENG_CHANGE_LINKED || c->kind == ENG_CHANGE_UNLINKED)
        text_add(t, ", \"moved\": %s", c->moved ? "true" : "false");
    if (c->kind == ENG_CHANGE_ATTRIBUTES)
        attributes_member(t, c->mask);
    if (c->kind == ENG_CHANGE_FIELDS) {
        text_add(t, ", \"field\": ");
        text_json_string(t, c->name);
        bytes_member(t, "field", c->name);
    }
    text_add(t, "}\n");
}

static bool is_long(const struct telling *telling)
{
    return telling->t->len >= TEXT_BYTES || telling->too_long >= TEXT_TOO_LONG;
}

/* The changes of `feed`, to the batch `until`, or 0: the first one with which the text is long; and the last
 * line. */
static int write_changes(struct eng *eng, struct eng_feed *feed, uint64_t until, struct text *t)
{
    struct eng_change *changes = malloc(READ_AT_ONCE * sizeof *changes);
    struct telling *telling = malloc(sizeof *telling);
    uint64_t end = eng_feed_position(feed), last = end;
    ssize_t n = changes && telling ? 1 : -ENOMEM;
    bool full = false;
    if (telling)
        *telling = (struct telling){.eng = eng, .t = t};
    while (n > 0 && !full) {
        n = eng_feed_read(feed, changes, READ_AT_ONCE);
        for (ssize_t i = 0; i < n && !full; i++) {
            full = until ? changes[i].position > until : is_long(telling) && changes[i].position != last;
            if (!full && is_told(&changes[i]))
                change_line(telling, &changes[i]);
            last = full ? last : changes[i].position;
        }
        end = full ? last : eng_feed_position(feed);
    }
    free(changes);
    free(telling);
    if (n < 0 && n != -ESHUTDOWN)
        return (int)n;
    text_add(t, "{\"position\": %" PRIu64 ", \"change\": \"end\"}\n", end);
    return 0;
}

static int tell(struct session *session, uint64_t since, uint64_t until, struct text *t)
{
    struct eng_feed *feed;
    int r = eng_feed_open(session->eng, since, &feed);
    if (r)
        return r;
    r = write_changes(session->eng, feed, until, t);
    eng_feed_close(feed);
    return r;
}

int changes_since(struct session *session, uint64_t since, struct text *t)
{
    return tell(session, since, 0, t);
}

/* The position before the batch with the change that is the CHANGES_LATEST-th from the end, and the end. */
static int find_latest(struct eng *eng, uint64_t *ret_since, uint64_t *ret_until)
{
    struct eng_feed *feed;
    int r = eng_feed_open(eng, ENG_FEED_OLDEST, &feed);
    if (r)
        return r;
    struct eng_change *changes = malloc(READ_AT_ONCE * sizeof *changes);
    uint64_t *latest = calloc(CHANGES_LATEST, sizeof *latest), told = 0;
    ssize_t n = changes && latest ? 1 : -ENOMEM;
    *ret_since = eng_feed_position(feed);
    while (n > 0) {
        n = eng_feed_read(feed, changes, READ_AT_ONCE);
        for (ssize_t i = 0; i < n; i++)
            if (is_told(&changes[i]))
                latest[told++ % CHANGES_LATEST] = changes[i].position;
    }
    if (told >= CHANGES_LATEST)
        *ret_since = latest[told % CHANGES_LATEST] - 1;
    *ret_until = eng_feed_position(feed);
    free(changes);
    free(latest);
    eng_feed_close(feed);
    return n < 0 && n != -ESHUTDOWN ? (int)n : 0;
}

/* Beside fast writers the beginning may be overwritten before the text is made, or within it. */
int changes_latest(struct session *session, struct text *t)
{
    enum { ROUNDS = 8 };
    int r = -ESTALE;
    for (int round = 0; round < ROUNDS && r == -ESTALE; round++) {
        uint64_t since = 0, until = 0;
        t->len = 0;
        r = find_latest(session->eng, &since, &until);
        if (!r)
            r = tell(session, since, until, t);
    }
    return r;
}
