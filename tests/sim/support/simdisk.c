/*
 * simdisk.c - the simulated disk: files, names, calls and faults.
 * What survives a power loss is decided in simdisk_power.c.
 *
 * Every file (node) holds its content as reads see it, its content as the
 * medium holds it, and the list of operations that lead from the second to the
 * first. The directory is held the same way: names as look-ups see them, names
 * as the medium holds them, and the operations in between.
 *
 * Locks: disk->mutex, around every call. */
#include "simdisk_private.h"

#include "disk/io.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct io_file {
    struct simdisk *disk;
    struct sim_node *node;
    uint64_t epoch; /* of the disk when it was opened */
    bool writable, direct;
};

const char *const sim_call_names[SIM_N_CALLS] = {
    [SIM_CREATE] = "create",     [SIM_PWRITEV] = "pwritev",     [SIM_TRUNCATE] = "truncate",
    [SIM_ALLOCATE] = "allocate", [SIM_DATASYNC] = "datasync",   [SIM_UNLINK] = "unlink",
    [SIM_RENAME] = "rename",     [SIM_SYNCDIR] = "syncdir",     [SIM_OPEN] = "open",
    [SIM_PREAD] = "pread",       [SIM_FILE_SIZE] = "file_size", [SIM_LIST] = "list",
    [SIM_LOCK] = "lock",         [SIM_SPACE] = "space",         [SIM_USAGE] = "usage",
};

static bool changes(enum sim_call call)
{
    return call < SIM_OPEN;
}

static struct simdisk *disk_of(struct eng_io *io)
{
    return (struct simdisk *)(void *)io;
}

void *sim_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        abort(); /* a test that is out of memory has nothing more to say */
    return p;
}

/* ---- buffers, nodes and names ------------------------------------------- */

void sim_buf_resize(struct sim_buf *buf, uint64_t size)
{
    buf->size = size;
    if (buf->used > size)
        buf->used = size;
}

/* Makes [0, end) used. */
static void use(struct sim_buf *buf, uint64_t end)
{
    if (end <= buf->used)
        return;
    if (end > buf->cap) {
        buf->cap = buf->cap * 2 > end ? buf->cap * 2 : end;
        buf->data = realloc(buf->data, buf->cap);
        if (!buf->data)
            abort();
    }
    memset(buf->data + buf->used, 0, end - buf->used);
    buf->used = end;
}

void sim_buf_write(struct sim_buf *buf, const void *data, uint64_t size, uint64_t offset)
{
    if (size == 0)
        return;
    use(buf, offset + size);
    memcpy(buf->data + offset, data, size);
    if (buf->size < buf->used)
        buf->size = buf->used;
}

void sim_buf_read(const struct sim_buf *buf, void *data, uint64_t size, uint64_t offset)
{
    uint64_t n = offset < buf->used ? buf->used - offset : 0;
    n = n < size ? n : size;
    if (n)
        memcpy(data, buf->data + offset, n);
    if (n < size)
        memset((uint8_t *)data + n, 0, size - n);
}

void sim_buf_flip(struct sim_buf *buf, uint64_t offset, uint8_t mask)
{
    if (offset >= buf->size)
        return;
    use(buf, offset + 1);
    buf->data[offset] ^= mask;
}

void sim_buf_copy(struct sim_buf *to, const struct sim_buf *from)
{
    sim_buf_resize(to, 0);
    sim_buf_write(to, from->data, from->used, 0);
    to->size = from->size;
}

uint64_t sim_new_self(void)
{
    static _Atomic uint64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

struct sim_node *sim_node_new(struct simdisk *disk)
{
    struct sim_node *node = sim_alloc(sizeof *node);
    node->next = disk->nodes;
    node->written_at = ++disk->clock;
    node->self = sim_new_self();
    disk->nodes = node;
    return node;
}

void sim_writes_free(struct sim_node *node)
{
    while (node->writes) {
        struct sim_write *write = node->writes;
        node->writes = write->next;
        free(write->data);
        free(write);
    }
    node->last_write = NULL;
}

void sim_dirops_free(struct simdisk *disk)
{
    while (disk->dirops) {
        struct sim_dirop *op = disk->dirops;
        disk->dirops = op->next;
        free(op);
    }
    disk->last_dirop = NULL;
}

struct sim_name *sim_name_find(struct sim_dir *dir, const char *name)
{
    for (size_t i = 0; i < dir->n; i++) {
        if (strcmp(dir->names[i].name, name) == 0)
            return &dir->names[i];
    }
    return NULL;
}

void sim_name_set(struct sim_dir *dir, const char *name, struct sim_node *node)
{
    struct sim_name *found = sim_name_find(dir, name);
    if (!found) {
        dir->names = realloc(dir->names, (dir->n + 1) * sizeof *dir->names);
        if (!dir->names)
            abort();
        found = &dir->names[dir->n++];
        (void)snprintf(found->name, sizeof(found->name), "%s", name);
    }
    found->node = node;
}

void sim_name_remove(struct sim_dir *dir, const char *name)
{
    struct sim_name *found = sim_name_find(dir, name);
    if (!found)
        return;
    size_t i = (size_t)(found - dir->names);
    memmove(found, found + 1, (dir->n - i - 1) * sizeof *found);
    dir->n--;
}

static bool dir_names(const struct sim_dir *dir, const struct sim_node *node)
{
    for (size_t i = 0; i < dir->n; i++) {
        if (dir->names[i].node == node)
            return true;
    }
    return false;
}

static bool node_is_needed(const struct simdisk *disk, const struct sim_node *node)
{
    if (node->handles || dir_names(&disk->now, node) || dir_names(&disk->durable, node))
        return true;
    for (const struct sim_dirop *op = disk->dirops; op; op = op->next) {
        if (op->node == node)
            return true;
    }
    return false;
}

void sim_collect_nodes(struct simdisk *disk)
{
    struct sim_node **link = &disk->nodes;
    while (*link) {
        struct sim_node *node = *link;
        if (node_is_needed(disk, node)) {
            link = &node->next;
            continue;
        }
        *link = node->next;
        sim_writes_free(node);
        free(node->now.data);
        free(node->durable.data);
        free(node->extents);
        free(node);
    }
}

/* ---- unsynced operations ------------------------------------------------ */

static void add_write(struct simdisk *disk, struct sim_node *node, enum sim_write_kind kind, uint64_t offset,
                      uint64_t size, uint8_t *take_data)
{
    struct sim_write *write = sim_alloc(sizeof *write);
    *write = (struct sim_write){
        .seq = ++disk->seq, .kind = kind, .offset = offset, .size = size, .data = take_data};
    if (node->last_write)
        node->last_write->next = write;
    else
        node->writes = write;
    node->last_write = write;
    node->written_at = ++disk->clock;
    sim_write_apply(&node->now, write);
}

static void add_dirop(struct simdisk *disk, const char *from, const char *to, struct sim_node *node)
{
    struct sim_dirop *op = sim_alloc(sizeof *op);
    op->seq = ++disk->seq;
    op->node = node;
    (void)snprintf(op->from, sizeof(op->from), "%s", from);
    (void)snprintf(op->to, sizeof(op->to), "%s", to);
    if (disk->last_dirop)
        disk->last_dirop->next = op;
    else
        disk->dirops = op;
    disk->last_dirop = op;
    sim_dirop_apply(&disk->now, op);
}

void sim_write_apply(struct sim_buf *buf, const struct sim_write *write)
{
    if (write->kind == SIM_WRITE)
        sim_buf_write(buf, write->data, write->size, write->offset);
    else if (write->kind == SIM_SET_SIZE || write->size > buf->size)
        sim_buf_resize(buf, write->size);
}

void sim_dirop_apply(struct sim_dir *dir, const struct sim_dirop *op)
{
    struct sim_name *from = op->from[0] ? sim_name_find(dir, op->from) : NULL;
    if (from && (from->node == op->node || !op->to[0]))
        sim_name_remove(dir, op->from);
    if (op->to[0])
        sim_name_set(dir, op->to, op->node);
}

/* ---- calls: counting, cuts and faults ----------------------------------- */

static bool fault_strikes(struct sim_fault *fault, enum sim_call call)
{
    if (fault->error == 0 || (fault->call == SIM_ANY_CALL ? !changes(call) : fault->call != call))
        return false;
    if (fault->left <= 1)
        return true;
    fault->left--;
    return false;
}

/*
 * Counts the call. Returns 0 or the error it must fail with. *ret_dying: the
 * power fails in this call; what it asks for is entered as not synced, and
 * then it fails. */
static int begin_locked(struct simdisk *disk, enum sim_call call, bool *ret_dying)
{
    *ret_dying = false;
    if (disk->off)
        return -EIO;
    disk->calls[call]++;
    if (disk->cut_in && (disk->cut_reads || changes(call)) && --disk->cut_in == 0) {
        disk->off = true;
        disk->cut_call = call;
        *ret_dying = true;
        return changes(call) && call != SIM_DATASYNC && call != SIM_SYNCDIR ? 0 : -EIO;
    }
    if (fault_strikes(&disk->fault, call)) {
        int error = disk->fault.error;
        if (!disk->fault.always)
            disk->fault.error = 0;
        return -error;
    }
    return 0;
}

static int begin_file_locked(struct io_file *file, enum sim_call call, bool *ret_dying)
{
    if (file->epoch != file->disk->epoch) {
        *ret_dying = false;
        return -EIO;
    }
    struct simdisk *disk = file->disk;
    bool off = disk->off;
    int r = begin_locked(disk, call, ret_dying);
    for (size_t i = 0; i < disk->now.n && r < 0 && !off; i++) {
        if (disk->now.names[i].node == file->node)
            (void)snprintf(disk->struck, sizeof disk->struck, "%s", disk->now.names[i].name);
    }
    return r;
}

static int end(struct simdisk *disk, int r, bool dying)
{
    pthread_mutex_unlock(&disk->mutex);
    return dying ? -EIO : r;
}

/* Whether the nth event of a series is one of every `every`. */
static bool due(uint64_t *count, unsigned every)
{
    return every && ++*count % every == 0;
}

/* ---- space -------------------------------------------------------------- */

static uint64_t blocks(uint64_t size)
{
    return (size + SIM_BLOCK - 1) / SIM_BLOCK * SIM_BLOCK;
}

/* What the node takes of the disk. */
static uint64_t held_by(const struct sim_node *node)
{
    uint64_t end = sim_extents_end(node);
    return blocks(end > node->now.size ? end : node->now.size);
}

static uint64_t used_locked(const struct simdisk *disk)
{
    uint64_t used = SIM_BLOCK;
    for (const struct sim_node *node = disk->nodes; node; node = node->next) {
        if (node->handles || dir_names(&disk->now, node))
            used += held_by(node);
    }
    return used;
}

static uint64_t free_locked(const struct simdisk *disk)
{
    uint64_t limit = disk->limit ? disk->limit : SIM_UNLIMITED;
    uint64_t used = used_locked(disk);
    return used < limit ? limit - used : 0;
}

/* How far a node's end may move: its size when the disk is full. */
static uint64_t size_limit_locked(const struct simdisk *disk, const struct sim_node *node)
{
    return held_by(node) + free_locked(disk) / SIM_BLOCK * SIM_BLOCK;
}

/* ---- the table ---------------------------------------------------------- */

static int open_locked(struct simdisk *disk, const char *name, int flags, bool dying,
                       struct io_file **ret_file)
{
    struct sim_name *found = sim_name_find(&disk->now, name);
    struct sim_node *node = found ? found->node : NULL;
    if (flags & IO_CREATE) {
        if (node)
            return -EEXIST;
        node = sim_node_new(disk);
        add_dirop(disk, "", name, node);
    }
    if (!node)
        return -ENOENT;
    if (dying)
        return -EIO;
    struct io_file *file = sim_alloc(sizeof *file);
    *file = (struct io_file){.disk = disk,
                             .node = node,
                             .epoch = disk->epoch,
                             .writable = (flags & (IO_RDWR | IO_CREATE)) != 0,
                             .direct = (flags & IO_DIRECT) != 0};
    node->handles++;
    disk->handles++;
    *ret_file = file;
    return 0;
}

static int sim_open(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    struct simdisk *disk = disk_of(io);
    if (strlen(name) > SIM_NAME_MAX)
        return -ENAMETOOLONG;
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    int r = begin_locked(disk, flags & IO_CREATE ? SIM_CREATE : SIM_OPEN, &dying);
    if (!r)
        r = open_locked(disk, name, flags, dying, ret_file);
    return end(disk, r, dying);
}

static void sim_close(struct io_file *file)
{
    if (!file)
        return;
    struct simdisk *disk = file->disk;
    pthread_mutex_lock(&disk->mutex);
    file->node->handles--;
    disk->handles--;
    sim_collect_nodes(disk);
    pthread_mutex_unlock(&disk->mutex);
    free(file);
}

/* A part of it, another one from time to time. */
static size_t part_of(size_t size, uint64_t nth)
{
    return 1 + (size_t)(nth * 7919 % (size - 1));
}

static ssize_t pread_locked(struct io_file *file, void *buf, size_t size, uint64_t offset, bool cut_short)
{
    struct simdisk *disk = file->disk;
    const struct sim_buf *now = &file->node->now;
    if (due(&disk->n_interrupts, disk->interrupt_every))
        return -EINTR;
    if (offset > INT64_MAX || (file->direct && ((uintptr_t)buf | size | offset) % IO_ALIGN))
        return -EINVAL;
    if (offset >= now->size)
        return 0;
    if (size > now->size - offset)
        size = (size_t)(now->size - offset);
    if (size > 1 && (due(&disk->n_short_reads, disk->short_reads_every) || cut_short))
        size = part_of(size, disk->n_short_reads + disk->calls[SIM_PREAD]);
    ssize_t n = sim_readable(file->node, size, offset);
    if (n < 0)
        return n;
    sim_buf_read(now, buf, (uint64_t)n, offset);
    if (file->direct)
        sim_rot_read(file->node, buf, (uint64_t)n, offset);
    return n;
}

static ssize_t sim_pread(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    struct simdisk *disk = file->disk;
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    ssize_t n = begin_file_locked(file, SIM_PREAD, &dying);
    if (n >= 0)
        n = pread_locked(file, buf, size, offset, n == -SIM_SHORT);
    pthread_mutex_unlock(&disk->mutex);
    return dying ? -EIO : n;
}

/* Nothing is, but both answers are to be met. */
static int sim_cached(struct io_file *file, uint64_t offset, size_t size)
{
    (void)file, (void)size;
    return offset / IO_ALIGN % 2 != 0;
}

static ssize_t pwritev_locked(struct io_file *file, const struct iovec *iov, int n, uint64_t offset,
                              bool cut_short)
{
    struct simdisk *disk = file->disk;
    if (!file->writable)
        return -EBADF;
    if (due(&disk->n_interrupts, disk->interrupt_every))
        return -EINTR;
    uint64_t size = 0;
    for (int i = 0; i < n; i++)
        size += iov[i].iov_len;
    if (size == 0)
        return 0;
    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return -EINVAL;
    if (size > 1 && (due(&disk->n_short_writes, disk->short_writes_every) || cut_short))
        size = part_of(size, disk->n_short_writes + disk->calls[SIM_PWRITEV]);
    uint64_t room = size_limit_locked(disk, file->node);
    if (offset + size > file->node->now.size && offset + size > room) {
        if (offset >= room)
            return -ENOSPC;
        size = room - offset; /* as Linux: what fits is written, the next call fails */
    }
    ssize_t writable = sim_writable(file->node, size, offset);
    if (writable < 0)
        return writable;
    size = (uint64_t)writable;

    uint8_t *data = sim_alloc(size);
    uint64_t done = 0;
    for (int i = 0; i < n && done < size; i++) {
        uint64_t part = iov[i].iov_len < size - done ? iov[i].iov_len : size - done;
        if (part)
            memcpy(data + done, iov[i].iov_base, part);
        done += part;
    }
    sim_rot_overwrite(file->node, size, offset);
    add_write(disk, file->node, SIM_WRITE, offset, size, data);
    return (ssize_t)size;
}

static ssize_t sim_pwritev(struct io_file *file, const struct iovec *iov, int n, uint64_t offset)
{
    struct simdisk *disk = file->disk;
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    ssize_t done = begin_file_locked(file, SIM_PWRITEV, &dying);
    if (done >= 0)
        done = pwritev_locked(file, iov, n, offset, done == -SIM_SHORT);
    pthread_mutex_unlock(&disk->mutex);
    return dying ? -EIO : done;
}

static int sim_file_size(struct io_file *file, uint64_t *ret_size)
{
    struct simdisk *disk = file->disk;
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    int r = begin_file_locked(file, SIM_FILE_SIZE, &dying);
    if (r == 0 && !dying)
        *ret_size = file->node->now.size;
    return end(disk, r, dying);
}

static int sim_written_at(struct io_file *file, int64_t *ret_time)
{
    pthread_mutex_lock(&file->disk->mutex);
    *ret_time = (int64_t)file->node->written_at;
    pthread_mutex_unlock(&file->disk->mutex);
    return 0;
}

static int sim_identity(struct io_file *file, uint64_t *ret_self)
{
    pthread_mutex_lock(&file->disk->mutex);
    *ret_self = file->node->self;
    pthread_mutex_unlock(&file->disk->mutex);
    return 0;
}

static int set_size_locked(struct io_file *file, enum sim_write_kind kind, uint64_t size)
{
    struct simdisk *disk = file->disk;
    if (!file->writable)
        return -EBADF;
    if (size > SIM_UNLIMITED)
        return -EFBIG;
    if (size > file->node->now.size && blocks(size) > size_limit_locked(disk, file->node))
        return -ENOSPC;
    add_write(disk, file->node, kind, 0, size, NULL);
    return 0;
}

static int sim_truncate(struct io_file *file, uint64_t size)
{
    bool dying;
    pthread_mutex_lock(&file->disk->mutex);
    int r = begin_file_locked(file, SIM_TRUNCATE, &dying);
    if (!r)
        r = set_size_locked(file, SIM_SET_SIZE, size);
    if (!r)
        sim_extents_cut(file->node, size);
    return end(file->disk, r, dying);
}

static int sim_allocate(struct io_file *file, uint64_t from, uint64_t to)
{
    bool dying;
    pthread_mutex_lock(&file->disk->mutex);
    int r = begin_file_locked(file, SIM_ALLOCATE, &dying);
    if (!r)
        r = from < to ? set_size_locked(file, SIM_GROW, to) : -EINVAL;
    if (!r && file->disk->whole_extents)
        sim_extent_add(file->node, to);
    return end(file->disk, r, dying);
}

/* After a failed sync the kernel calls the pages clean: no later sync writes them (I11). */
static void lose_writes_locked(struct sim_node *node)
{
    for (struct sim_write *write = node->writes; write; write = write->next) {
        if (write->state == SIM_DIRTY)
            write->state = SIM_LOST;
    }
}

static void datasync_locked(struct sim_node *node)
{
    bool lost = false;
    for (struct sim_write *write = node->writes; write; write = write->next) {
        if (write->state == SIM_DIRTY)
            write->state = SIM_DURABLE;
        lost = lost || write->state == SIM_LOST;
    }
    if (lost) /* the order of lost and durable writes matters until the power fails */
        return;
    for (struct sim_write *write = node->writes; write; write = write->next)
        sim_write_apply(&node->durable, write);
    sim_writes_free(node);
}

static int sim_datasync(struct io_file *file)
{
    struct simdisk *disk = file->disk;
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    int r = begin_file_locked(file, SIM_DATASYNC, &dying);
    if (r == 0 && !disk->ignore_datasync)
        datasync_locked(file->node);
    else if (r < 0 && r != -EINTR && !disk->off && file->epoch == disk->epoch)
        lose_writes_locked(file->node);
    return end(disk, r, dying);
}

/* What a failed sync lost is gone from here on; what is dirty stays. */
static void drop_cache_locked(struct sim_node *node)
{
    sim_rot_show(node);
    sim_buf_copy(&node->now, &node->durable);
    struct sim_write **link = &node->writes;
    node->last_write = NULL;
    while (*link) {
        struct sim_write *write = *link;
        if (write->state == SIM_LOST) {
            *link = write->next;
            free(write->data);
            free(write);
            continue;
        }
        sim_write_apply(&node->now, write);
        node->last_write = write;
        link = &write->next;
    }
}

static void sim_drop_cache(struct io_file *file)
{
    struct simdisk *disk = file->disk;
    pthread_mutex_lock(&disk->mutex);
    if (!disk->off && file->epoch == disk->epoch)
        drop_cache_locked(file->node);
    pthread_mutex_unlock(&disk->mutex);
}

static int sim_unlink(struct eng_io *io, const char *name)
{
    struct simdisk *disk = disk_of(io);
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    int r = begin_locked(disk, SIM_UNLINK, &dying);
    if (!r) {
        struct sim_name *found = sim_name_find(&disk->now, name);
        if (found)
            add_dirop(disk, name, "", found->node);
        else
            r = -ENOENT;
    }
    return end(disk, r, dying);
}

static int sim_rename(struct eng_io *io, const char *from, const char *to)
{
    struct simdisk *disk = disk_of(io);
    if (strlen(to) > SIM_NAME_MAX)
        return -ENAMETOOLONG;
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    int r = begin_locked(disk, SIM_RENAME, &dying);
    if (!r) {
        struct sim_name *found = sim_name_find(&disk->now, from);
        if (!found)
            r = -ENOENT;
        else if (strcmp(from, to) != 0)
            add_dirop(disk, from, to, found->node);
    }
    return end(disk, r, dying);
}

/* As with writes (lose_writes_locked): the kernel believes that it has written the folder. */
static void lose_names_locked(struct simdisk *disk)
{
    for (struct sim_dirop *op = disk->dirops; op; op = op->next) {
        if (op->state == SIM_DIRTY)
            op->state = SIM_LOST;
    }
}

static void syncdir_locked(struct simdisk *disk)
{
    bool lost = false;
    for (struct sim_dirop *op = disk->dirops; op; op = op->next) {
        if (op->state == SIM_DIRTY)
            op->state = SIM_DURABLE;
        lost = lost || op->state == SIM_LOST;
    }
    if (lost) /* their order matters until the power fails, or the folder is read anew */
        return;
    for (const struct sim_dirop *op = disk->dirops; op; op = op->next)
        sim_dirop_apply(&disk->durable, op);
    sim_dirops_free(disk);
    sim_collect_nodes(disk);
}

/*
 * Another process opens the store: it sees the folder as the medium has it, and what is still to be written.
 * A kernel that kept showing names that it has lost could not be helped by any program.
 */
static void reread_dir_locked(struct simdisk *disk)
{
    struct sim_dirop **link = &disk->dirops;
    disk->last_dirop = NULL;
    while (*link) {
        struct sim_dirop *op = *link;
        if (op->state == SIM_DURABLE)
            sim_dirop_apply(&disk->durable, op);
        if (op->state == SIM_DIRTY) {
            disk->last_dirop = op;
            link = &op->next;
            continue;
        }
        *link = op->next;
        free(op);
    }
    disk->now.n = 0;
    for (size_t i = 0; i < disk->durable.n; i++)
        sim_name_set(&disk->now, disk->durable.names[i].name, disk->durable.names[i].node);
    for (const struct sim_dirop *op = disk->dirops; op; op = op->next)
        sim_dirop_apply(&disk->now, op);
    sim_collect_nodes(disk);
}

static int sim_syncdir(struct eng_io *io)
{
    struct simdisk *disk = disk_of(io);
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    int r = begin_locked(disk, SIM_SYNCDIR, &dying);
    if (r == 0 && !disk->ignore_syncdir)
        syncdir_locked(disk);
    else if (r < 0 && r != -EINTR && !disk->off)
        lose_names_locked(disk);
    return end(disk, r, dying);
}

static int sim_list(struct eng_io *io, int (*emit)(void *arg, const char *name), void *arg)
{
    struct simdisk *disk = disk_of(io);
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    int r = begin_locked(disk, SIM_LIST, &dying);
    size_t n = r == 0 && !dying ? disk->now.n : 0;
    struct sim_name *names = sim_alloc(n * sizeof *names);
    if (n)
        memcpy(names, disk->now.names, n * sizeof *names);
    r = end(disk, r, dying);

    /* Without the mutex, because emit may call us. */
    for (size_t i = 0; i < n && r == 0; i++)
        r = emit(arg, names[i].name);
    free(names);
    return r;
}

static int sim_lock(struct eng_io *io, bool shared)
{
    struct simdisk *disk = disk_of(io);
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    int r = begin_locked(disk, SIM_LOCK, &dying);
    if (r == 0 && !dying) {
        if (disk->exclusive || (!shared && disk->sharers))
            r = -EBUSY;
        else if (shared)
            disk->sharers++;
        else
            disk->exclusive = true;
        if (r == 0)
            reread_dir_locked(disk);
    }
    return end(disk, r, dying);
}

static void sim_unlock(struct eng_io *io)
{
    struct simdisk *disk = disk_of(io);
    pthread_mutex_lock(&disk->mutex);
    if (disk->exclusive)
        disk->exclusive = false;
    else if (disk->sharers)
        disk->sharers--;
    pthread_mutex_unlock(&disk->mutex);
}

static int sim_space(struct eng_io *io, struct io_space *ret_space)
{
    struct simdisk *disk = disk_of(io);
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    int r = begin_locked(disk, SIM_SPACE, &dying);
    if (r == 0 && !dying) {
        bool limited = disk->limit && disk->telling != SIM_TELLS_PLENTY;
        uint64_t avail = limited ? free_locked(disk) : SIM_UNLIMITED - used_locked(disk);
        *ret_space = (struct io_space){.block_size = SIM_BLOCK,
                                       .total_bytes = limited ? disk->limit : SIM_UNLIMITED,
                                       .free_bytes = avail,
                                       .avail_bytes = avail};
        if (disk->telling == SIM_TELLS_NOTHING)
            *ret_space = (struct io_space){.block_size = SIM_BLOCK};
    }
    return end(disk, r, dying);
}

static int sim_usage(struct eng_io *io, uint64_t *ret_bytes)
{
    struct simdisk *disk = disk_of(io);
    bool dying;
    pthread_mutex_lock(&disk->mutex);
    int r = begin_locked(disk, SIM_USAGE, &dying);
    if (r == 0 && !dying) {
        uint64_t bytes = SIM_BLOCK;
        for (size_t i = 0; i < disk->now.n; i++)
            bytes += blocks(disk->now.names[i].node->now.size);
        *ret_bytes = bytes;
    }
    return end(disk, r, dying);
}

static int sim_give_back(struct eng_io *io)
{
    struct simdisk *disk = disk_of(io);
    pthread_mutex_lock(&disk->mutex);
    int r = disk->whole_extents ? 0 : -EOPNOTSUPP;
    pthread_mutex_unlock(&disk->mutex);
    return r;
}

const struct eng_io_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .cached = sim_cached,
    .pwritev = sim_pwritev,
    .file_size = sim_file_size,
    .written_at = sim_written_at,
    .identity = sim_identity,
    .truncate = sim_truncate,
    .allocate = sim_allocate,
    .datasync = sim_datasync,
    .drop_cache = sim_drop_cache,
    .unlink = sim_unlink,
    .rename = sim_rename,
    .syncdir = sim_syncdir,
    .list = sim_list,
    .lock = sim_lock,
    .unlock = sim_unlock,
    .space = sim_space,
    .usage = sim_usage,
    .give_back = sim_give_back,
};

uint64_t simdisk_used(struct simdisk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    uint64_t used = used_locked(disk);
    pthread_mutex_unlock(&disk->mutex);
    return used;
}

uint64_t simdisk_calls(struct simdisk *disk, bool reads)
{
    uint64_t n = 0;
    pthread_mutex_lock(&disk->mutex);
    for (int call = 0; call < SIM_N_CALLS; call++) {
        if (reads || changes((enum sim_call)call))
            n += disk->calls[call];
    }
    pthread_mutex_unlock(&disk->mutex);
    return n;
}
