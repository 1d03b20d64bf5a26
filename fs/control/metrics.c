/*
 * metrics.c - the Prometheus text exposition (format 0.0.4) of all tables of figures.
 *
 * Names follow Prometheus's conventions: base units, _total on counters only, no label whose values are not
 * known beforehand. `promtool check metrics` accepts the text. Takes no locks. */
#include "control/metrics.h"

#include "control/conflicts_text.h"
#include "control/daemon_figures.h"
#include "control/figures.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static bool under_way(const struct eng_job_report *report)
{
    return report->state == ENG_JOB_RUNNING || report->state == ENG_JOB_PAUSED;
}

static int compaction_figures(struct eng *eng, struct daemon_figures *d)
{
    struct eng_job_report report;
    int r = eng_job_status(eng, ENG_JOB_COMPACT, &report);
    if (r)
        return r;
    d->compaction_running = under_way(&report);
    d->compaction_planned = report.total;
    d->compaction_done = report.done;
    d->compaction_moved = report.compact.bytes_moved;
    return 0;
}

static int scrub_figures(struct eng *eng, struct daemon_figures *d)
{
    struct eng_job_report report;
    int r = eng_job_status(eng, ENG_JOB_SCRUB, &report);
    if (r)
        return r;
    d->scrub_running = under_way(&report);
    d->scrub_planned = report.total;
    d->scrub_done = report.done;
    d->scrub_damaged = report.scrub.damaged;
    return 0;
}

static int disk_figures(struct eng *eng, struct daemon_figures *d)
{
    struct eng_statfs st;
    int r = eng_statfs(eng, &st);
    if (r)
        return r;
    d->capacity_bytes = st.blocks * st.block_size;
    d->available_bytes = st.bavail * st.block_size;
    return 0;
}

static uint64_t resident_bytes(void)
{
    unsigned long long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    (void)fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_files(void)
{
    uint64_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n > 3 ? n - 3 : 0; /* "." and "..", and that of the folder itself */
}

static void process_figures(const struct session *session, struct daemon_figures *d)
{
    struct rusage use = {0};
    struct rlimit files = {0};
    (void)getrusage(RUSAGE_SELF, &use);
    (void)getrlimit(RLIMIT_NOFILE, &files);
    d->started = session->started;
    d->resident_bytes = resident_bytes();
    d->open_files = open_files();
    d->max_files = files.rlim_cur;
    d->cpu_us = (uint64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000 +
                (uint64_t)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static int daemon_figures(struct session *session, struct daemon_figures *ret)
{
    *ret = (struct daemon_figures){.version = ENG_VERSION, .requests = request_figures(&session->stats)};
    ret->conflicts_refused = conflicts_refused(session);
    process_figures(session, ret);
    int r = compaction_figures(session->eng, ret);
    if (!r)
        r = scrub_figures(session->eng, ret);
    if (!r)
        r = disk_figures(session->eng, ret);
    return r;
}

int ctl_metrics(struct session *session, struct text *t)
{
    struct eng_stats stats;
    struct daemon_figures daemon;
    struct eng_space space;
    struct eng_figure kinds[ENG_SPACE_KINDS_MAX];
    int r = session_stats(session, &stats);
    if (!r)
        r = daemon_figures(session, &daemon);
    if (!r)
        r = eng_space(session->eng, &space);
    if (r)
        return r;
    const struct figures tables[] = {figures_of_stats(&stats), figures_of_daemon(&daemon),
                                     figures_of_usage(&space), figures_of_space(&space, kinds)};
    for (int group = 0; group < ENG_GROUPS; group++) {
        for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
            figures_metrics(t, &tables[i], FIGURES_GROUP(group));
    }
    return 0;
}
