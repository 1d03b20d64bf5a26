/*
 * check.c - see check.h. Holds log.lock while the index is walked, so that
 * nothing changes underneath; content is read afterwards, under no lock. */
#include "store/check.h"

#include "upkeep/scrub.h"

#include <stdio.h>

struct checker {
    struct eng *eng;
    struct job *job;
    int error; /* of a callback */
    struct eng_check_figures figures;
};

static void found(void *arg, const char *line)
{
    struct checker *c = arg;
    const struct eng_job_options *options = &c->job->request.options;
    c->figures.problems++;
    if (options->on_problem)
        options->on_problem(options->problem_arg, line);
}

/* What a look at one part gave: damage is a finding, anything else the end of the check. */
static int judge(struct checker *c, int r, const char *line)
{
    if (r == -EBADMSG)
        found(c, line);
    return r == -EBADMSG ? 0 : r;
}

static int check_index(struct checker *c)
{
    struct eng *eng = c->eng;
    const struct index *idx = &eng->idx;
    int r = 0;
    pthread_mutex_lock(&eng->log.lock);
    for (unsigned i = 0; i < INDEX_TABLES && !r; i++)
        r = judge(c, table_validate_free(index_table(&eng->idx, i)),
                  "index: the list of free records of a table is broken");
    if (!r)
        r = judge(c, names_validate(&idx->names), "index: the heap is broken");
    if (!r)
        r = judge(c, btree_validate(&idx->dirs), "index: the tree of directories is broken");
    if (!r)
        r = judge(c, btree_validate(&idx->extents), "index: the tree of extents is broken");
    if (!r) {
        int64_t n = index_verify(idx, true, found, c);
        r = n < 0 ? (int)n : 0;
    }
    c->figures.inodes = idx->s.n_files + idx->s.n_dirs + idx->s.n_others;
    c->figures.dentries = idx->s.n_names;
    for (uint32_t i = 1; i < idx->segs.used; i++) {
        const struct seg_rec *seg = table_get(&idx->segs, i);
        c->figures.segments += seg->id != 0;
    }
    pthread_mutex_unlock(&eng->log.lock);
    return r;
}

/* Shows the figures so far to eng_job_status(). */
static void show_figures(struct checker *c)
{
    pthread_mutex_lock(&c->job->lock);
    c->job->report.check = c->figures;
    pthread_mutex_unlock(&c->job->lock);
}

static bool is_segment(struct eng *eng, uint32_t id)
{
    pthread_mutex_lock(&eng->log.lock); /* under which it is forgotten before it is unlinked */
    bool is = index_segment(&eng->idx, id) != NULL;
    pthread_mutex_unlock(&eng->log.lock);
    return is;
}

/* The headers of segment files: recovery needs those of the log, salvage all. */
static int check_segment_file(struct checker *c, uint32_t id)
{
    struct segment *seg;
    struct segment_header h;
    char line[128];
    int r = segments_pin(&c->eng->segments, id, &seg);
    if (!r) {
        ssize_t n = io_pread_full(seg->file, c->eng->io->ops, &h, sizeof h, 0);
        r = n < 0 ? (int)n : -EBADMSG;
        if (n == (ssize_t)sizeof h)
            r = segment_header_check(&h, c->eng->sb.uuid, id);
        segments_unpin(seg);
    }
    if (r == -ENOENT && !is_segment(c->eng, id)) /* retired since */
        return 0;
    if (r && r != -ENOMEM) {
        snprintf(line, sizeof line, "segment s%08x.seg: %s", id,
                 r == -EBADMSG ? "header is damaged" : strerror(-r));
        found(c, line);
    }
    return r == -ENOMEM ? r : 0;
}

static int check_one_file(void *arg, const struct eng_segment_info *info)
{
    struct checker *c = arg;
    c->error = check_segment_file(c, (uint32_t)info->id);
    if (!c->error)
        c->error = job_gate(c->job, 0);
    return c->error;
}

static void report_damage(void *arg, const struct eng_damage *d)
{
    char line[1300];
    snprintf(line, sizeof line, "%s (inode %llu): segment s%08llx.seg, offset %llu: %s",
             d->path[0] ? d->path : "?", (unsigned long long)d->ino, (unsigned long long)d->segment,
             (unsigned long long)d->offset, d->reason);
    found(arg, line);
}

static int check_content(struct checker *c)
{
    struct eng_scrub_figures scrub = {0}; /* protected by job->lock */
    int r = scrub_all(c->eng, c->job, &scrub);
    if (r == -EBADMSG) {
        found(c, "content: the index does not lead to all of it");
        r = 0;
    }
    c->figures.extents = scrub.extents;
    c->figures.bytes = c->job->report.done;
    return r;
}

int check_run(struct eng *eng, struct job *job)
{
    struct checker c = {.eng = eng, .job = job};
    int r = check_index(&c);
    show_figures(&c);
    if (!r)
        r = eng_segments(eng, check_one_file, &c);
    if (!r)
        r = c.error;
    if (!r)
        r = check_content(&c);
    if (!r)
        r = eng_damaged(eng, report_damage, &c);
    show_figures(&c);
    return r;
}
