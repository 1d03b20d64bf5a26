/*
 * check.c - see check.h. The index is walked in a frozen view, so that nothing changes underneath and
 * nobody waits; what a recovery would need (image/proof.h) and content are read afterwards. No lock is held
 * but for the freeze and the thaw. */
#include "store/check.h"

#include "image/freeze.h"
#include "image/proof.h"
#include "index/verify.h"
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

static int check_tables(struct checker *c, struct index *view)
{
    int r = 0;
    for (unsigned i = 0; i < INDEX_TABLES && !r; i++)
        r = judge(c, table_validate_free(index_table(view, i)),
                  "index: the list of free records of a table is broken");
    if (!r)
        r = judge(c, names_validate(&view->names), "index: the heap is broken");
    if (!r)
        r = judge(c, btree_validate(&view->dirs), "index: the tree of directories is broken");
    if (!r)
        r = judge(c, btree_validate(&view->extents), "index: the tree of extents is broken");
    if (!r)
        r = judge(c, btree_validate(&view->past_order), "index: the order of past names is broken");
    if (!r)
        r = judge(c, btree_validate(&view->past_lookup), "index: the lookup of past names is broken");
    return r;
}

static int check_view(struct checker *c, struct index *view)
{
    int r = check_tables(c, view);
    freeze_keep_warm(c->eng);
    view->seg_slots = (struct idmap){0}; /* the live one is not frozen */
    if (!r)
        r = judge(c, index_map_segments(view), "index: a segment is there twice");
    if (!r) {
        int64_t n = index_verify(view, true, found, c);
        r = n < 0 ? (int)n : 0;
    }
    idmap_done(&view->seg_slots);
    c->figures.inodes = view->s.n_files + view->s.n_dirs + view->s.n_others;
    c->figures.dentries = view->s.n_names;
    for (uint32_t i = 1; i < view->segs.used; i++) {
        const struct seg_rec *seg = table_get(&view->segs, i);
        c->figures.segments += seg->id != 0;
    }
    return r;
}

static int check_index(struct checker *c)
{
    struct eng *eng = c->eng;
    struct index view;
    uint64_t freeze;
    freeze_keep_warm(eng);
    int r = freeze_take(eng, &view, &freeze);
    if (r)
        return r;
    r = check_view(c, &view);
    freeze_give_back(eng, &view, freeze);
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

/* Of salvage: names may show what was overwritten since, although nothing is left to tell so. */
static void report_given_up(struct checker *c)
{
    char line[200];
    const struct eng *eng = c->eng;
    struct eng_check_figures *f = &c->figures;
    if (!eng->opt.salvage || MUTANT(CUT_UNTOLD))
        return;
    f->lost_batches = eng->lost_batches;
    f->set_aside = eng->n_set_aside;
    snprintf(line, sizeof line,
             "the log cannot be followed behind batch %llu: what was changed later, in %llu batches that are "
             "known of, is lost, but for content without names",
             (unsigned long long)eng->lost_after, (unsigned long long)f->lost_batches);
    if (f->lost_batches)
        found(c, line);
    snprintf(line, sizeof line,
             "%llu files were set aside by earlier openings (*.kept): of what segments hold content is read, "
             "not names",
             (unsigned long long)f->set_aside);
    if (f->set_aside)
        found(c, line);
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
    if (!r)
        report_given_up(&c);
    show_figures(&c);
    return r;
}
