/*
 * nodes.c - nodes and verbs of the control directory.
 *
 * State: the nodes that the kernel holds, under ctl->lock, a leaf: neither the
 * engine nor FUSE is called under it. Writers that wait are in fs/waiters.c. */
#include "control/nodes.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "caller.h"
#include "control/changes.h"
#include "control/drop_names.h"
#include "control/remembered.h"
#include "control/text.h"
#include "control/views.h"
#include "persons.h"
#include "reply.h"
#include "waiters.h"

/* NODES_MAX for all; of them only trusted callers get the last NODES_KEPT, and others NODES_OF_USER each. The
 * last NODES_NO_SINCE are for no files in changes-since: who has many of those open can still read the
 * others. */
enum { NODE_BUCKETS = 256, NODES_MAX = 8192, NODES_KEPT = 1024, NODES_NO_SINCE = 512, NODES_OF_USER = 256 };
/* So long others than trusted callers are shown the same text, ns: making one may look at each inode and each
 * file of the store. The second: or so many times as long as it took, which leaves them a share of one thread
 * for each file. */
#define SHARED_NS INT64_C(100000000)
#define SINCE_BIT (UINT64_C(1) << 61)
#define SHARED_TIMES 10

/* A text that does not change any more. */
struct ctl_shown {
    unsigned refs; /* protected by ctl->lock */
    int64_t time;  /* when it was made; immutable, as all that follows */
    int64_t fresh; /* how long it is shown to others than trusted callers, ns */
    size_t size;
    char text[];
};

/* A user, trusted or not, who has nodes. */
struct ctl_user {
    struct ctl_user *next; /* protected by ctl->lock, as all that follows */
    uid_t uid;
    size_t nodes;
};

struct node {
    struct node *next; /* protected by ctl->lock, as refs and pins are */
    uint64_t id;
    uint64_t refs;  /* what the kernel holds */
    unsigned pins;  /* readers of the text and writers, in this daemon */
    unsigned holds; /* that end with the node: its file is open no more */
    enum ctl_file file;
    uint64_t since; /* of a file in changes-since. Immutable */
    struct ctl_user *user;
    struct ctl_shown *shown; /* immutable */
};

struct ctl {
    struct session *session;       /* immutable */
    struct drop_names *drop_names; /* immutable */
    struct eng_feed *feed;         /* immutable; never read: while there is a reader, changes are kept */
    struct remembered remembered;
    pthread_mutex_t lock;
    struct node *buckets[NODE_BUCKETS]; /* protected by lock, as all that follows */
    size_t nodes;
    struct ctl_user *users;
    struct ctl_shown *shared[CTL_FILES]; /* the last text of each that others than trusted callers got */
    unsigned making[CTL_FILES];          /* how many of them make a new one */
    uint64_t serial;
    uint64_t holds; /* those of `hold`, which no node has: only they can be given back by `release` */
};

static int64_t now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

bool ctl_reserved(fuse_ino_t parent, const char *name)
{
    return parent == ENG_ROOT_INO && strcmp(name, CTL_DIRECTORY) == 0;
}

static void shown_drop_locked(struct ctl_shown *shown)
{
    if (shown && --shown->refs == 0)
        free(shown);
}

static void user_drop_locked(struct ctl *ctl, struct ctl_user *user)
{
    struct ctl_user **at = &ctl->users;
    if (--user->nodes > 0)
        return;
    while (*at != user)
        at = &(*at)->next;
    *at = user->next;
    free(user);
}

static void node_free_locked(struct ctl *ctl, struct node *node)
{
    shown_drop_locked(node->shown);
    user_drop_locked(ctl, node->user);
    free(node);
}

static size_t bucket_of(uint64_t id)
{
    return (id >> 8) % NODE_BUCKETS;
}

static struct node *find_locked(struct ctl *ctl, uint64_t id)
{
    struct node *n = ctl->buckets[bucket_of(id)];
    while (n && n->id != id)
        n = n->next;
    return n;
}

static bool is_held(void *arg, uint64_t id)
{
    struct ctl *ctl = arg;
    (void)pthread_mutex_lock(&ctl->lock);
    bool held = find_locked(ctl, id) != NULL;
    (void)pthread_mutex_unlock(&ctl->lock);
    return held;
}

struct drop_names *ctl_drop_names(const struct ctl *ctl)
{
    return ctl->drop_names;
}

struct ctl *ctl_new(struct session *session)
{
    struct ctl *ctl = calloc(1, sizeof *ctl);
    const struct drop_names_options opt = {session,           CTL_DIR_INO, CTL_SINCE_INO,
                                           CTL_SNAPSHOTS_INO, is_held,     ctl};
    struct drop_names *drop_names = ctl ? drop_names_new(&opt) : NULL;
    if (!drop_names || eng_feed_open(session->eng, ENG_FEED_NOW, &ctl->feed)) {
        drop_names_free(drop_names);
        free(ctl);
        return NULL;
    }
    ctl->session = session;
    ctl->drop_names = drop_names;
    remembered_init(&ctl->remembered);
    (void)pthread_mutex_init(&ctl->lock, NULL);
    return ctl;
}

bool ctl_stop(struct ctl *ctl)
{
    return !ctl || drop_names_stop(ctl->drop_names);
}

void ctl_free(struct ctl *ctl)
{
    if (!ctl || !ctl_stop(ctl))
        return;
    drop_names_free(ctl->drop_names);
    eng_feed_close(ctl->feed);
    for (size_t i = 0; i < NODE_BUCKETS; i++)
        for (struct node *n = ctl->buckets[i], *next; n; n = next) {
            next = n->next;
            node_free_locked(ctl, n);
        }
    for (int file = 0; file < CTL_FILES; file++)
        shown_drop_locked(ctl->shared[file]);
    (void)pthread_mutex_destroy(&ctl->lock);
    remembered_done(&ctl->remembered);
    free(ctl);
}

/* ---- rights ---------------------------------------------------- */

/* Who may write to control files, and see the ids of memories whatever their folders' modes. */
bool ctl_is_trusted(const struct ctl *ctl, fuse_req_t req)
{
    const struct session *session = ctl->session;
    uid_t uid = fuse_req_ctx(req)->uid;
    return uid == 0 || uid == session->uid ||
           (session->opt->has_ctl_gid && caller_in_group(req, session->opt->ctl_gid));
}

/*
 * Linux has a folder's lock while it copies a listing to the caller's memory, and that may never come. Who
 * looks a name up there waits then, as soon as anybody asks for that lock alone: a stranger's rm(1) does, and
 * drop_names.c. So the modes let trusted callers list only. With -o noperm the kernel asks no modes, and
 * shows what it has kept of one listing to everybody: there must be none. */
int ctl_check_lister(const struct ctl *ctl, fuse_req_t req)
{
    return ctl_is_trusted(ctl, req) && !ctl->session->opt->noperm ? 0 : -EACCES;
}

/* With -o noperm nobody else asks. Without it the kernel has asked who opened the file, who may have given it
 * away. */
static int check_reader(const struct ctl *ctl, fuse_req_t req, enum ctl_file file)
{
    bool asked = ctl_files[file].open || !ctl->session->opt->noperm;
    return asked || ctl_is_trusted(ctl, req) ? 0 : -EACCES;
}

/* ---- nodes -------------------------------------------------------------- */

/* Returns the holds that end with it, for release_all() when the lock is given back. */
static unsigned drop_if_unused_locked(struct ctl *ctl, struct node *node)
{
    if (node->refs > 0 || node->pins > 0)
        return 0;
    unsigned holds = node->holds;
    struct node **at = &ctl->buckets[bucket_of(node->id)];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    ctl->nodes--;
    node_free_locked(ctl, node);
    return holds;
}

static void release_all(struct ctl *ctl, unsigned holds)
{
    for (; holds > 0; holds--)
        (void)eng_release(ctl->session->eng);
}

static struct node *pin(struct ctl *ctl, uint64_t id)
{
    (void)pthread_mutex_lock(&ctl->lock);
    struct node *n = find_locked(ctl, id);
    if (n)
        n->pins++;
    (void)pthread_mutex_unlock(&ctl->lock);
    return n;
}

static void unpin(struct ctl *ctl, struct node *node)
{
    (void)pthread_mutex_lock(&ctl->lock);
    node->pins--;
    unsigned holds = drop_if_unused_locked(ctl, node);
    (void)pthread_mutex_unlock(&ctl->lock);
    release_all(ctl, holds);
}

static mode_t mode_of(const struct ctl *ctl, enum ctl_file file)
{
    bool group = ctl->session->opt->has_ctl_gid;
    if (ctl_files[file].open)
        return S_IFREG | 0444;
    if (file == CTL_SNAPSHOTS || file == CTL_AT) /* all may enter it, as the folder that it is in */
        return S_IFDIR | (group ? 0771 : 0711);
    if (ctl_files[file].folder)
        return S_IFDIR | (group ? 0550 : 0500);
    if (ctl_files[file].writable)
        return S_IFREG | (group ? 0660 : 0600);
    return S_IFREG | (group ? 0440 : 0400);
}

static void owner_of(const struct ctl *ctl, struct stat *st)
{
    st->st_uid = ctl->session->uid;
    st->st_gid = ctl->session->opt->has_ctl_gid ? ctl->session->opt->ctl_gid : ctl->session->gid;
}

static void node_stat(const struct ctl *ctl, const struct node *node, struct stat *st)
{
    memset(st, 0, sizeof *st);
    ctl_list_stat(node->file, st);
    if (node->file == CTL_CHANGES_SINCE) /* one number for each that is asked for */
        st->st_ino = CTL_BIT | SINCE_BIT | (node->since & (SINCE_BIT - 1));
    st->st_mode = mode_of(ctl, node->file == CTL_CHANGES_SINCE ? CTL_CHANGES : node->file);
    owner_of(ctl, st);
    st->st_nlink = 1;
    st->st_size = (off_t)node->shown->size;
    st->st_blocks = (blkcnt_t)((node->shown->size + 511) / 512);
    st->st_blksize = 4096;
    st->st_atim = st->st_mtim = st->st_ctim = reply_time(node->shown->time);
}

void ctl_list_stat(enum ctl_file file, struct stat *ret_st)
{
    ret_st->st_ino = CTL_DIR_INO + 1 + (uint64_t)file;
    ret_st->st_mode = ctl_files[file].folder ? S_IFDIR : S_IFREG;
}

/* The control directory, which all may enter and trusted callers list, or a folder in it. */
static void dir_stat(const struct ctl *ctl, fuse_ino_t ino, struct stat *st)
{
    bool root = ino == CTL_DIR_INO;
    const mode_t folder = mode_of(ctl, root ? CTL_CHANGES_SINCE : (enum ctl_file)(ino - CTL_DIR_INO - 1));
    memset(st, 0, sizeof *st);
    st->st_ino = ino;
    st->st_mode = root ? folder | 0111 : folder;
    owner_of(ctl, st);
    st->st_nlink = root ? 3 + 4 * (ctl->session->views != NULL) : 1; /* 1: nobody counts what is in it */
    st->st_size = root ? CTL_FILES : 0;
    st->st_blksize = 4096;
    st->st_atim = st->st_mtim = st->st_ctim = reply_time(ctl->session->started);
}

void ctl_folder_entry(struct ctl *ctl, fuse_ino_t ino, struct fuse_entry_param *ret_entry)
{
    memset(ret_entry, 0, sizeof *ret_entry);
    ret_entry->ino = ino;
    ret_entry->attr_timeout = ret_entry->entry_timeout = REPLY_TIMEOUT;
    dir_stat(ctl, ino, &ret_entry->attr);
}

void ctl_dir_entry(struct ctl *ctl, struct fuse_entry_param *ret_entry)
{
    ctl_folder_entry(ctl, CTL_DIR_INO, ret_entry);
}

int ctl_status(struct ctl *ctl, struct text *t)
{
    struct ctl_memory memory;
    remembered_copy(&ctl->remembered, &memory);
    return ctl_text(ctl->session, &memory, CTL_STATUS, t);
}

/* A new text, with a reference. */
static int shown_new(struct ctl *ctl, enum ctl_file file, uint64_t since, bool trusted,
                     struct ctl_shown **ret_shown)
{
    struct ctl_memory memory;
    int64_t began = now_ns();
    remembered_copy(&ctl->remembered, &memory);
    memory.without_ids = !trusted;
    struct text t = TEXT_INIT;
    int r = file == CTL_CHANGES_SINCE ? changes_since(ctl->session, since, &t)
                                      : ctl_text(ctl->session, &memory, file, &t);
    if (!r && text_failed(&t))
        r = -ENOMEM;
    struct ctl_shown *shown = r ? NULL : malloc(sizeof *shown + t.len);
    if (shown) {
        int64_t now = now_ns(), fresh = (now - began) * SHARED_TIMES;
        *shown = (struct ctl_shown){
            .refs = 1, .time = now, .fresh = fresh > SHARED_NS ? fresh : SHARED_NS, .size = t.len};
        if (t.len)
            memcpy(shown->text, t.data, t.len);
        *ret_shown = shown;
    } else if (!r) {
        r = -ENOMEM;
    }
    text_done(&t);
    return r;
}

/* The text that somebody may see, with a reference: for others than trusted callers that of a moment ago will
 * do, and one of them at a time makes a new one, while the others see the old one. */
static int shown_get(struct ctl *ctl, enum ctl_file file, uint64_t since, bool trusted,
                     struct ctl_shown **ret_shown)
{
    if (file == CTL_CHANGES_SINCE)
        return shown_new(ctl, file, since, trusted, ret_shown);
    (void)pthread_mutex_lock(&ctl->lock);
    struct ctl_shown *shown = trusted ? NULL : ctl->shared[file];
    int64_t age = shown ? now_ns() - shown->time : 0;
    if (shown && (age >= shown->fresh || age < 0) && !ctl->making[file])
        shown = NULL;
    if (shown)
        shown->refs++;
    else if (!trusted)
        ctl->making[file]++;
    (void)pthread_mutex_unlock(&ctl->lock);
    *ret_shown = shown;
    int r = shown ? 0 : shown_new(ctl, file, since, trusted, ret_shown);
    if (shown || trusted)
        return r;
    (void)pthread_mutex_lock(&ctl->lock);
    ctl->making[file]--;
    if (!r) {
        shown_drop_locked(ctl->shared[file]);
        ctl->shared[file] = *ret_shown;
        (*ret_shown)->refs++;
    }
    (void)pthread_mutex_unlock(&ctl->lock);
    return r;
}

/* One node more for `uid`: the user, or NULL and why not. `spare` becomes the user if it is a new one. */
static struct ctl_user *user_take_locked(struct ctl *ctl, uid_t uid, bool trusted, enum ctl_file file,
                                         struct ctl_user **spare, int *ret_error)
{
    struct ctl_user *user = ctl->users;
    while (user && user->uid != uid)
        user = user->next;
    size_t most = trusted ? NODES_MAX : NODES_MAX - NODES_KEPT;
    if (trusted && file == CTL_CHANGES_SINCE)
        most = NODES_MAX - NODES_NO_SINCE;
    if (ctl->nodes >= most || (!trusted && user && user->nodes >= NODES_OF_USER)) {
        *ret_error = -ENFILE;
        return NULL;
    }
    if (!user) {
        user = *spare;
        *spare = NULL;
        *user = (struct ctl_user){.next = ctl->users, .uid = uid};
        ctl->users = user;
    }
    user->nodes++;
    return user;
}

/* May `uid` have one node more? Looked at before a text is made, so that who has too many costs nothing. */
static bool has_room(struct ctl *ctl, uid_t uid)
{
    (void)pthread_mutex_lock(&ctl->lock);
    const struct ctl_user *user = ctl->users;
    while (user && user->uid != uid)
        user = user->next;
    bool room = ctl->nodes < NODES_MAX - NODES_KEPT && (!user || user->nodes < NODES_OF_USER);
    (void)pthread_mutex_unlock(&ctl->lock);
    return room;
}

/* Which file has that name in the folder: of changes-since, after which position. CTL_FILES: a folder has it,
 * and ret_entry is that folder's. */
static int find_name(struct ctl *ctl, fuse_ino_t parent, const char *name, uint64_t *ret_since,
                     struct fuse_entry_param *ret_entry)
{
    bool up = strcmp(name, "..") == 0;
    if (parent != CTL_DIR_INO && parent != CTL_SINCE_INO &&
        parent != CTL_SNAPSHOTS_INO) /* a file, by a handle */
        return -ESTALE;
    if (up || strcmp(name, ".") == 0) { /* asked for by who has a file handle */
        ctl_folder_entry(ctl, up ? CTL_DIR_INO : parent, ret_entry);
        return CTL_FILES;
    }
    if (parent == CTL_SINCE_INO) { /* each has one name, or drop_names.c would not know which */
        bool known = ctl_parse_position(name, ret_since) == 0 && (*name != '0' || !name[1]);
        return known ? CTL_CHANGES_SINCE : -ENOENT;
    }
    int file = ctl_file_by_name(name);
    if (file < 0 || !ctl_has(ctl->session, (enum ctl_file)file))
        return -ENOENT;
    if (!ctl_files[file].folder)
        return file;
    ctl_folder_entry(ctl, CTL_DIR_INO + 1 + (fuse_ino_t)file, ret_entry);
    return CTL_FILES;
}

int ctl_lookup(struct ctl *ctl, fuse_req_t req, fuse_ino_t parent, const char *name,
               struct fuse_entry_param *ret_entry)
{
    uint64_t since = 0;
    int file = find_name(ctl, parent, name, &since, ret_entry);
    if (file < 0 || file == CTL_FILES)
        return file < 0 ? file : 0;
    uid_t uid = person_of(fuse_req_ctx(req)->uid);
    bool trusted = ctl_is_trusted(ctl, req);
    if (file == CTL_CHANGES_SINCE && check_reader(ctl, req, CTL_CHANGES_SINCE))
        return -EACCES; /* as the folder's mode says */
    if (!trusted && !has_room(ctl, uid))
        return -ENFILE;
    struct ctl_user *spare = malloc(sizeof *spare);
    struct node *node = malloc(sizeof *node);
    struct ctl_shown *shown = NULL;
    int r = spare && node ? shown_get(ctl, (enum ctl_file)file, since, trusted, &shown) : -ENOMEM;
    if (r) {
        free(spare);
        free(node);
        return r;
    }
    *node = (struct node){.file = (enum ctl_file)file, .since = since, .refs = 1, .shown = shown};
    memset(ret_entry, 0, sizeof *ret_entry);
    node_stat(ctl, node, &ret_entry->attr);

    (void)pthread_mutex_lock(&ctl->lock);
    node->user = user_take_locked(ctl, uid, trusted, node->file, &spare, &r);
    if (!r) {
        ctl->nodes++;
        node->id = CTL_BIT | ++ctl->serial << 8;
        node->next = ctl->buckets[bucket_of(node->id)];
        ctl->buckets[bucket_of(node->id)] = node;
        ret_entry->ino = node->id;
    } else {
        shown_drop_locked(shown);
    }
    (void)pthread_mutex_unlock(&ctl->lock);
    free(spare);
    if (r)
        free(node);
    else if (file == CTL_CHANGES_SINCE && (r = drop_names_since(ctl->drop_names, ret_entry->ino, since)))
        ctl_forget(ctl, ret_entry->ino, 1);
    return r;
}

void ctl_forget(struct ctl *ctl, fuse_ino_t ino, uint64_t n)
{
    (void)pthread_mutex_lock(&ctl->lock);
    struct node *node = find_locked(ctl, ino);
    unsigned holds = 0;
    if (node) {
        node->refs = n < node->refs ? node->refs - n : 0;
        holds = drop_if_unused_locked(ctl, node);
    }
    (void)pthread_mutex_unlock(&ctl->lock);
    release_all(ctl, holds);
}

int ctl_getattr(struct ctl *ctl, fuse_ino_t ino, struct stat *ret_st)
{
    if (ino == CTL_DIR_INO || ino == CTL_SINCE_INO || ino == CTL_SNAPSHOTS_INO || ino == CTL_AT_INO) {
        dir_stat(ctl, ino, ret_st);
        return 0;
    }
    struct node *node = pin(ctl, ino);
    if (!node)
        return -ESTALE;
    node_stat(ctl, node, ret_st);
    unpin(ctl, node);
    return 0;
}

void ctl_read(struct ctl *ctl, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off)
{
    struct node *node = pin(ctl, ino);
    if (!node) {
        reply_err(req, REQUEST_read, -ESTALE);
        return;
    }
    const struct ctl_shown *shown = node->shown;
    int r = check_reader(ctl, req, node->file);
    size_t at = off < 0 || (uint64_t)off > shown->size ? shown->size : (size_t)off;
    size_t n = shown->size - at < size ? shown->size - at : size;
    if (r)
        reply_err(req, REQUEST_read, r);
    else
        (void)fuse_reply_buf(req, shown->text + at, n);
    unpin(ctl, node);
}

/* Besides the modes, which -o noperm takes away. */
static int check_writer(const struct ctl *ctl, fuse_req_t req)
{
    if (ctl->session->opt->read_only)
        return -EROFS;
    return ctl_is_trusted(ctl, req) ? 0 : -EACCES;
}

/* ---- verbs that wait ------------------------------------------------------- */

/* A verb that waits: what the engine's callback needs, which frees it by answer(). */
struct asked {
    struct ctl *ctl;
    const struct ctl_verb *verb;
    struct waiter *waiter;
    struct eng_position_wait wait; /* CTL_DO_WAIT_FOR */
};

static void answer(struct asked *asked, int result)
{
    waiter_done(asked->waiter, result, NULL);
    free(asked);
}

static void reply_written(fuse_req_t req, int result, size_t size, const char *text)
{
    (void)text;
    if (result < 0)
        reply_err(req, REQUEST_write, result);
    else
        (void)fuse_reply_write(req, size);
}

/* The errno that a writer gets for how a job ended. */
static int job_result(enum eng_job_state state, int error)
{
    if (state == ENG_JOB_CANCELLED)
        return -ECANCELED;
    if (state != ENG_JOB_FAILED)
        return 0;
    bool told = error == -ENOSPC || error == -EROFS || error == -EBUSY || error == -ENOMEM;
    return told ? error : -EIO;
}

static void on_job_done(void *arg, const struct eng_job_report *report)
{
    const struct asked *asked = arg;
    int result = job_result(report->state, report->error);
    const char *why = report->error_text;
    if (!result && report->job == ENG_JOB_SCRUB && report->scrub.damaged > 0) {
        result = -EIO;
        why = "damaged content was found; see the file damaged";
    } else if (!result && report->job == ENG_JOB_SCRUB && report->scrub.recovery.damaged > 0) {
        bool all = report->scrub.recovery.healed == report->scrub.recovery.damaged;
        result = -EIO;
        why = all ? "the store's own files were damaged, and were made good"
                  : "the store's own files are damaged; see the file damaged";
    }
    remembered_error(&asked->ctl->remembered, asked->verb, result, why);
    answer(arg, result);
}

static void on_maintenance_done(void *arg, const struct eng_maintenance_report *report, int error)
{
    const struct asked *asked = arg;
    struct ctl *ctl = asked->ctl;
    remembered_maintenance(&ctl->remembered, report, error);
    int result = error;
    if (error != -ECANCELED)
        result = job_result(error ? ENG_JOB_FAILED : ENG_JOB_DONE, error);
    remembered_error(&ctl->remembered, asked->verb, result,
                     report && report->compacted ? report->compaction.error_text : "");
    answer(arg, result);
}

static void on_position(void *arg, int result)
{
    answer(arg, result ? -EINTR : 0);
}

static bool is_given_up(void *arg)
{
    const struct asked *asked = arg;
    return waiter_is_gone(asked->waiter);
}

static int wait_for(struct asked *asked, uint64_t position)
{
    asked->wait = (struct eng_position_wait){
        .position = position, .done = on_position, .is_given_up = is_given_up, .arg = asked};
    return eng_position_wait(asked->ctl->session->eng, &asked->wait);
}

static int ask(struct asked *asked, const struct ctl_command *command)
{
    struct eng *eng = asked->ctl->session->eng;
    const struct ctl_verb *verb = asked->verb;
    switch (verb->action) {
    case CTL_DO_WAIT_FOR:
        return wait_for(asked, command->position);
    case CTL_DO_JOB_RUN:
        return eng_job_start(eng, verb->job, NULL, on_job_done, asked);
    case CTL_DO_JOB_WAIT:
        return eng_job_wait(eng, verb->job, on_job_done, asked);
    case CTL_DO_MAINTENANCE_RUN:
        return eng_maintenance_start(eng, on_maintenance_done, asked);
    default:
        return -EINVAL;
    }
}

/* Starts a verb that waits. 1: the request is answered elsewhere. */
static int do_waiting(struct ctl *ctl, fuse_req_t req, const struct ctl_command *command, size_t size)
{
    struct asked *asked = malloc(sizeof *asked);
    if (!asked)
        return -ENOMEM;
    struct waiter *waiter = waiter_begin(ctl->session->waiters, req, reply_written, size);
    *asked = (struct asked){.ctl = ctl, .verb = command->verb, .waiter = waiter};
    int r = waiter ? ask(asked, command) : -ENOMEM;
    if (r) {
        if (waiter)
            waiter_abandon(waiter);
        free(asked);
        return r;
    }
    waiter_ready(waiter);
    return 1;
}

/* ---- verbs that answer at once ------------------------------------------ */

static int do_estimate(struct ctl *ctl)
{
    struct eng_compact_estimate estimate;
    int r = eng_compact_estimate(ctl->session->eng, &estimate);
    remembered_estimate(&ctl->remembered, &estimate, r, now_ns());
    return r;
}

static int do_hold(struct ctl *ctl, struct node *node, bool while_open)
{
    int r = while_open ? drop_names_hold(ctl->drop_names) : 0;
    if (!r)
        r = eng_hold(ctl->session->eng);
    (void)pthread_mutex_lock(&ctl->lock);
    if (!r && while_open)
        node->holds++;
    else if (!r)
        ctl->holds++;
    (void)pthread_mutex_unlock(&ctl->lock);
    return r;
}

/* One of this file's own first; never one of another file that is open. */
static int do_release(struct ctl *ctl, struct node *node)
{
    int r = 0;
    (void)pthread_mutex_lock(&ctl->lock);
    if (node->holds > 0)
        node->holds--;
    else if (ctl->holds > 0)
        ctl->holds--;
    else
        r = -EINVAL;
    (void)pthread_mutex_unlock(&ctl->lock);
    return r ? r : eng_release(ctl->session->eng);
}

static int do_now(struct ctl *ctl, struct node *node, const struct ctl_command *command)
{
    struct eng *eng = ctl->session->eng;
    enum eng_job_id job = command->verb->job;
    switch (command->verb->action) {
    case CTL_DO_JOB_START:
        return eng_job_start(eng, job, NULL, NULL, NULL);
    case CTL_DO_JOB_PAUSE:
        return eng_job_pause(eng, job);
    case CTL_DO_JOB_RESUME:
        return eng_job_resume(eng, job);
    case CTL_DO_JOB_CANCEL:
        return eng_job_cancel(eng, job);
    case CTL_DO_JOB_RATE:
        return eng_job_rate(eng, job, command->bytes);
    case CTL_DO_ESTIMATE:
        return do_estimate(ctl);
    case CTL_DO_HOLD:
    case CTL_DO_HOLD_WHILE_OPEN:
        return do_hold(ctl, node, command->verb->action == CTL_DO_HOLD_WHILE_OPEN);
    case CTL_DO_RELEASE:
        return do_release(ctl, node);
    default:
        return -EINVAL;
    }
}

/* All lines at once: either all are right and set, or nothing is changed. */
static int do_config(struct ctl *ctl, const struct ctl_command *commands, size_t n)
{
    struct eng_config_pair pairs[CTL_COMMANDS_MAX];
    for (size_t i = 0; i < n; i++)
        pairs[i] = (struct eng_config_pair){commands[i].key, commands[i].value};
    int r = n ? eng_config_set_all(ctl->session->eng, pairs, n) : 0;
    if (r == -ENOENT)
        remembered_error(&ctl->remembered, commands[0].verb, -EINVAL,
                         "a key that this file does not list; nothing was changed");
    else if (r)
        remembered_error(&ctl->remembered, commands[0].verb, r,
                         r == -EINVAL ? "a value out of range: engramfs-control(7); nothing was changed"
                                      : "");
    /* ENOENT from write(2) would say that the file is gone */
    return r == -ENOENT ? -EINVAL : r;
}

static int do_commands(struct ctl *ctl, fuse_req_t req, struct node *node, const struct ctl_command *commands,
                       size_t n, size_t size)
{
    for (size_t i = 0; i < n; i++) {
        int r;
        if (commands[i].verb->waits)
            r = do_waiting(ctl, req, &commands[i], size);
        else
            r = do_now(ctl, node, &commands[i]);
        if (r < 0)
            remembered_error(&ctl->remembered, commands[i].verb, r, "");
        if (r)
            return r;
    }
    return 0;
}

void ctl_write(struct ctl *ctl, fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, bool may_be_cut)
{
    const bool cut = may_be_cut && size > 0 && buf[size - 1] != '\n';
    struct node *node = pin(ctl, ino);
    if (!node) {
        reply_err(req, REQUEST_write, -ESTALE);
        return;
    }
    struct ctl_command *commands = calloc(CTL_COMMANDS_MAX, sizeof *commands);
    size_t n = 0;
    int result = commands ? check_writer(ctl, req) : -ENOMEM;
    if (!result)
        result = cut ? -EINVAL : ctl_parse(node->file, buf, size, commands, &n);
    if (result == -EINVAL || result == -E2BIG)
        remembered_bad_line(&ctl->remembered, node->file, buf, size, cut);
    else if (!result && node->file == CTL_CONFIG)
        result = do_config(ctl, commands, n);
    else if (!result)
        result = do_commands(ctl, req, node, commands, n, size);
    free(commands);
    unpin(ctl, node);
    if (result < 0)
        reply_err(req, REQUEST_write, result);
    else if (!result) /* else it is answered elsewhere */
        (void)fuse_reply_write(req, size);
}
