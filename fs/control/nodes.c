/*
 * nodes.c - nodes and verbs of the control directory.
 *
 * State: the nodes that the kernel holds and what was asked last, under
 * ctl->lock, a leaf: neither the engine nor FUSE is called under it. Writers
 * that wait are in waiters.c. */
#include "control/nodes.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "caller.h"
#include "control/text.h"
#include "control/waiters.h"
#include "reply.h"

enum { NODE_BUCKETS = 256, NODES_MAX = 8192 };

struct node {
    struct node *next; /* protected by ctl->lock, as refs and pins are */
    uint64_t id;
    uint64_t refs; /* what the kernel holds */
    unsigned pins; /* readers of the text, in this daemon */
    enum ctl_file file;
    struct timespec time;
    size_t size;
    char text[]; /* immutable */
};

struct ctl {
    struct session *session; /* immutable */
    pthread_mutex_t lock;
    struct node *buckets[NODE_BUCKETS]; /* protected by lock, as all that follows */
    size_t nodes;
    uint64_t serial;
    struct ctl_memory memory;
    struct waiters *waiters; /* immutable; locks for itself */
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

struct ctl *ctl_new(struct session *session)
{
    struct ctl *ctl = calloc(1, sizeof *ctl);
    if (!ctl)
        return NULL;
    ctl->session = session;
    session->waiters = ctl->waiters = waiters_new();
    if (!ctl->waiters) {
        free(ctl);
        return NULL;
    }
    (void)pthread_mutex_init(&ctl->lock, NULL);
    return ctl;
}

void ctl_free(struct ctl *ctl)
{
    if (!ctl)
        return;
    for (size_t i = 0; i < NODE_BUCKETS; i++)
        for (struct node *n = ctl->buckets[i], *next; n; n = next) {
            next = n->next;
            free(n);
        }
    (void)pthread_mutex_destroy(&ctl->lock);
    waiters_free(ctl->waiters);
    free(ctl);
}

void ctl_interrupt_all(struct ctl *ctl)
{
    waiters_interrupt_all(ctl->waiters);
}

/* ---- rights ---------------------------------------------------- */

/* Who may write to control files, and see the ids of memories whatever their folders' modes. */
static bool is_trusted(const struct ctl *ctl, fuse_req_t req)
{
    const struct session *session = ctl->session;
    uid_t uid = fuse_req_ctx(req)->uid;
    return uid == 0 || uid == session->uid ||
           (session->opt->has_ctl_gid && caller_in_group(req, session->opt->ctl_gid));
}

/* ---- nodes -------------------------------------------------------------- */

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

static void drop_if_unused_locked(struct ctl *ctl, struct node *node)
{
    if (node->refs > 0 || node->pins > 0)
        return;
    struct node **at = &ctl->buckets[bucket_of(node->id)];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    ctl->nodes--;
    free(node);
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
    drop_if_unused_locked(ctl, node);
    (void)pthread_mutex_unlock(&ctl->lock);
}

static mode_t mode_of(const struct ctl *ctl, enum ctl_file file)
{
    bool group = ctl->session->opt->has_ctl_gid;
    if (ctl_files[file].open)
        return S_IFREG | 0444;
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
    st->st_mode = mode_of(ctl, node->file);
    owner_of(ctl, st);
    st->st_nlink = 1;
    st->st_size = (off_t)node->size;
    st->st_blocks = (blkcnt_t)((node->size + 511) / 512);
    st->st_blksize = 4096;
    st->st_atim = st->st_mtim = st->st_ctim = node->time;
}

void ctl_list_stat(enum ctl_file file, struct stat *ret_st)
{
    ret_st->st_ino = CTL_DIR_INO + 1 + (uint64_t)file;
    ret_st->st_mode = S_IFREG;
}

static void dir_stat(const struct ctl *ctl, struct stat *st)
{
    memset(st, 0, sizeof *st);
    st->st_ino = CTL_DIR_INO;
    st->st_mode = S_IFDIR | 0555;
    owner_of(ctl, st);
    st->st_nlink = 2;
    st->st_size = CTL_FILES;
    st->st_blksize = 4096;
    st->st_atim = st->st_mtim = st->st_ctim = reply_time(ctl->session->started);
}

void ctl_dir_entry(struct ctl *ctl, struct fuse_entry_param *ret_entry)
{
    memset(ret_entry, 0, sizeof *ret_entry);
    ret_entry->ino = CTL_DIR_INO;
    ret_entry->attr_timeout = ret_entry->entry_timeout = REPLY_TIMEOUT;
    dir_stat(ctl, &ret_entry->attr);
}

/* A copy of what is remembered, since the engine must not be called under the lock. */
static void memory_copy(struct ctl *ctl, struct ctl_memory *ret)
{
    (void)pthread_mutex_lock(&ctl->lock);
    *ret = ctl->memory;
    (void)pthread_mutex_unlock(&ctl->lock);
}

int ctl_status(struct ctl *ctl, struct text *t)
{
    struct ctl_memory memory;
    memory_copy(ctl, &memory);
    return ctl_text(ctl->session, &memory, CTL_STATUS, t);
}

static int node_new(struct ctl *ctl, enum ctl_file file, fuse_req_t req, struct node **ret_node)
{
    struct ctl_memory memory;
    memory_copy(ctl, &memory);
    memory.without_ids = ctl_files[file].open && !is_trusted(ctl, req);
    struct text t = TEXT_INIT;
    int r = ctl_text(ctl->session, &memory, file, &t);
    if (!r && text_failed(&t))
        r = -ENOMEM;
    struct node *node = r ? NULL : malloc(sizeof *node + t.len);
    if (!node) {
        text_done(&t);
        return r ? r : -ENOMEM;
    }
    *node = (struct node){.file = file, .refs = 1, .size = t.len};
    if (t.len)
        memcpy(node->text, t.data, t.len);
    (void)clock_gettime(CLOCK_REALTIME, &node->time);
    text_done(&t);
    *ret_node = node;
    return 0;
}

int ctl_lookup(struct ctl *ctl, fuse_req_t req, const char *name, struct fuse_entry_param *ret_entry)
{
    int file = ctl_file_by_name(name);
    if (file < 0)
        return -ENOENT;
    struct node *node;
    int r = node_new(ctl, (enum ctl_file)file, req, &node);
    if (r)
        return r;
    memset(ret_entry, 0, sizeof *ret_entry);
    node_stat(ctl, node, &ret_entry->attr);

    (void)pthread_mutex_lock(&ctl->lock);
    bool full = ctl->nodes >= NODES_MAX;
    if (!full) {
        ctl->nodes++;
        node->id = CTL_BIT | ++ctl->serial << 8;
        node->next = ctl->buckets[bucket_of(node->id)];
        ctl->buckets[bucket_of(node->id)] = node;
        ret_entry->ino = node->id;
    }
    (void)pthread_mutex_unlock(&ctl->lock);
    if (full)
        free(node);
    return full ? -ENFILE : 0;
}

void ctl_forget(struct ctl *ctl, fuse_ino_t ino, uint64_t n)
{
    (void)pthread_mutex_lock(&ctl->lock);
    struct node *node = find_locked(ctl, ino);
    if (node) {
        node->refs = n < node->refs ? node->refs - n : 0;
        drop_if_unused_locked(ctl, node);
    }
    (void)pthread_mutex_unlock(&ctl->lock);
}

int ctl_getattr(struct ctl *ctl, fuse_ino_t ino, struct stat *ret_st)
{
    if (ino == CTL_DIR_INO) {
        dir_stat(ctl, ret_st);
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
    size_t at = off < 0 || (uint64_t)off > node->size ? node->size : (size_t)off;
    size_t n = node->size - at < size ? node->size - at : size;
    (void)fuse_reply_buf(req, node->text + at, n);
    unpin(ctl, node);
}

/* Besides the modes, which -o noperm takes away. */
static int check_writer(const struct ctl *ctl, fuse_req_t req)
{
    if (ctl->session->opt->read_only)
        return -EROFS;
    return is_trusted(ctl, req) ? 0 : -EACCES;
}

/* ---- verbs that wait ------------------------------------------------------- */

static void remember_error(struct ctl *ctl, const struct ctl_verb *verb, int err, const char *text)
{
    if (!err)
        return;
    char line[256];
    (void)snprintf(line, sizeof line, "%s: %s: %s%s%.180s", ctl_files[verb->file].name, verb->name,
                   strerror(-err), *text ? ": " : "", text);
    (void)pthread_mutex_lock(&ctl->lock);
    memcpy(ctl->memory.last_error, line, sizeof line);
    (void)pthread_mutex_unlock(&ctl->lock);
}

/* A verb that waits: what the engine's callback needs, which frees it by answer(). */
struct asked {
    struct ctl *ctl;
    const struct ctl_verb *verb;
    struct waiter *waiter;
};

static void answer(struct asked *asked, int result)
{
    waiter_done(asked->waiter, result);
    free(asked);
}

/* The errno that a writer gets for how a job ended. */
static int job_result(enum eng_job_state state, int error)
{
    if (state == ENG_JOB_CANCELLED)
        return -ECANCELED;
    if (state != ENG_JOB_FAILED)
        return 0;
    switch (error) {
    case -ENOSPC:
    case -EROFS:
    case -EBUSY:
    case -ENOMEM:
        return error;
    default:
        return -EIO;
    }
}

static void on_job_done(void *arg, const struct eng_job_report *report)
{
    const struct asked *asked = arg;
    int result = job_result(report->state, report->error);
    const char *why = report->error_text;
    if (!result && report->job == ENG_JOB_SCRUB && report->scrub.damaged > 0) {
        result = -EIO;
        why = "damaged content was found; see the file damaged";
    }
    remember_error(asked->ctl, asked->verb, result, why);
    answer(arg, result);
}

static void on_maintenance_done(void *arg, const struct eng_maintenance_report *report, int error)
{
    const struct asked *asked = arg;
    struct ctl *ctl = asked->ctl;
    (void)pthread_mutex_lock(&ctl->lock);
    ctl->memory.has_maintenance = true;
    ctl->memory.maintenance_error = error;
    if (report)
        ctl->memory.maintenance = *report;
    (void)pthread_mutex_unlock(&ctl->lock);
    int result = error;
    if (error != -ECANCELED)
        result = job_result(error ? ENG_JOB_FAILED : ENG_JOB_DONE, error);
    remember_error(ctl, asked->verb, result,
                   report && report->compacted ? report->compaction.error_text : "");
    answer(arg, result);
}

static int ask(struct asked *asked)
{
    struct eng *eng = asked->ctl->session->eng;
    const struct ctl_verb *verb = asked->verb;
    switch (verb->action) {
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
static int do_waiting(struct ctl *ctl, fuse_req_t req, const struct ctl_verb *verb, size_t size)
{
    struct asked *asked = malloc(sizeof *asked);
    if (!asked)
        return -ENOMEM;
    struct waiter *waiter = waiter_begin(ctl->waiters, req, size);
    *asked = (struct asked){.ctl = ctl, .verb = verb, .waiter = waiter};
    int r = waiter ? ask(asked) : -ENOMEM;
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
    (void)pthread_mutex_lock(&ctl->lock);
    ctl->memory.has_estimate = true;
    ctl->memory.estimate_error = r;
    ctl->memory.estimate_time = now_ns();
    if (!r)
        ctl->memory.estimate = estimate;
    (void)pthread_mutex_unlock(&ctl->lock);
    return r;
}

static int do_now(struct ctl *ctl, const struct ctl_command *command)
{
    struct eng *eng = ctl->session->eng;
    enum eng_job_id job = command->verb->job;
    int r;
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
        return eng_hold(eng);
    case CTL_DO_RELEASE:
        return eng_release(eng);
    case CTL_DO_CONFIG_SET:
        r = eng_config_set(eng, command->key, command->value);
        /* ENOENT from write(2) would say that the file is gone */
        return r == -ENOENT ? -EINVAL : r;
    default:
        return -EINVAL;
    }
}

static int do_commands(struct ctl *ctl, fuse_req_t req, const struct ctl_command *commands, size_t n,
                       size_t size)
{
    for (size_t i = 0; i < n; i++) {
        int r;
        if (commands[i].verb->waits)
            r = do_waiting(ctl, req, commands[i].verb, size);
        else
            r = do_now(ctl, &commands[i]);
        if (r < 0)
            remember_error(ctl, commands[i].verb, r, "");
        if (r)
            return r;
    }
    return 0;
}

void ctl_write(struct ctl *ctl, fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size)
{
    struct node *node = pin(ctl, ino);
    if (!node) {
        reply_err(req, REQUEST_write, -ESTALE);
        return;
    }
    enum ctl_file file = node->file;
    unpin(ctl, node);

    struct ctl_command *commands = calloc(CTL_COMMANDS_MAX, sizeof *commands);
    size_t n = 0;
    int result = commands ? check_writer(ctl, req) : -ENOMEM;
    if (!result)
        result = ctl_parse(file, buf, size, commands, &n);
    if (!result)
        result = do_commands(ctl, req, commands, n, size);
    free(commands);
    if (result < 0)
        reply_err(req, REQUEST_write, result);
    else if (!result) /* else it is answered elsewhere */
        (void)fuse_reply_write(req, size);
}
