/*
 * check.c - see check.h. Holds log.lock while the index is walked, so that
 * nothing changes underneath; what a recovery would need (image/proof.h) and content are read afterwards,
 * under no lock. */
#include "store/check.h"

#include "image/proof.h"
#include "upkeep/scrub.h"

#include <stdio.h>

struct checker {
    struct eng *eng;
    struct job *job;
    bool is_sound; /* the index: files are made good from it */
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

static void report_damage(void *arg, const struct eng_damage *d)
{
    char line[1300];
    if (!d->ino)
        snprintf(line, sizeof line, "%s, offset %llu: %s", d->path, (unsigned long long)d->offset, d->reason);
    else
        snprintf(line, sizeof line, "%s (inode %llu): segment s%08llx.seg, offset %llu: %s",
                 d->path[0] ? d->path : "?", (unsigned long long)d->ino, (unsigned long long)d->segment,
                 (unsigned long long)d->offset, d->reason);
    found(arg, line);
}

static int check_content(struct checker *c)
{
    struct eng_scrub_figures scrub = {0}; /* protected by job->lock */
    int r = scrub_all(c->eng, c->job, c->is_sound, &scrub);
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
    c.is_sound = !c.figures.problems;
    if (!r && c.is_sound)
        r = proof_run(eng, job, &c.figures.recovery, found, &c);
    if (!r)
        r = check_content(&c);
    if (!r)
        r = eng_damaged(eng, report_damage, &c);
    show_figures(&c);
    return r;
}
