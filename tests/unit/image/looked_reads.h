/*
 * looked_reads.h - a store that is loaded by need, whose reads are looked at: how many of its index were made
 * while all wait, under the exclusive index_lock. */
#ifndef ENGRAMFS_TESTS_LOOKED_READS_H
#define ENGRAMFS_TESTS_LOOKED_READS_H

#include "inside.h"

#include "must.h"
#include "unit_store.h"

static struct {
    const struct eng_io_ops *ops;
    struct eng_io_ops looking;
    struct eng *eng;
    unsigned n, n_waited_for;
} reads;

static ssize_t look_pread(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    if (reads.eng) {
        reads.n++;
        if (pthread_rwlock_tryrdlock(&reads.eng->index_lock) == 0)
            pthread_rwlock_unlock(&reads.eng->index_lock);
        else
            reads.n_waited_for++;
    }
    return reads.ops->pread(file, buf, size, offset);
}

static void open_looking(struct unit *u)
{
    reads.ops = u->opt.io->ops;
    reads.looking = *reads.ops;
    reads.looking.pread = look_pread;
    u->opt.io->ops = &reads.looking;
    unit_open(u);
    MUST(!loading_is_done(&u->eng->loading));
    reads.eng = u->eng;
    reads.n = reads.n_waited_for = 0;
}

static void close_looking(struct unit *u)
{
    reads.eng = NULL;
    unit_close(u);
    u->opt.io->ops = reads.ops;
}

#endif
