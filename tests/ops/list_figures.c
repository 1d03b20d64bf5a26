/*
 * list_figures.c - the tables of figures as text, for metrics.sh: a line for each figure, with its key,
 * metric, kind and unit; - where there is none. */
#include "control/daemon_figures.h"

#include <stdio.h>

static const char *const kinds[] = {[ENG_FIGURE_GAUGE] = "gauge",
                                    [ENG_FIGURE_COUNTER] = "counter",
                                    [ENG_FIGURE_HISTOGRAM] = "histogram",
                                    [ENG_FIGURE_TEXT] = "gauge"};
static const char *const units[] = {
    [ENG_UNIT_COUNT] = "count",     [ENG_UNIT_BYTES] = "bytes",     [ENG_UNIT_RATIO] = "ratio",
    [ENG_UNIT_SECONDS] = "seconds", [ENG_UNIT_MILLISECONDS] = "ms", [ENG_UNIT_MICROSECONDS] = "us",
    [ENG_UNIT_TIME] = "time",       [ENG_UNIT_TEXT] = "text"};

static void list(struct figures figures, const char *table)
{
    for (size_t i = 0; i < figures.n; i++) {
        const struct eng_figure *f = &figures.list[i];
        printf("%s %s %s %s %s\n", table, f->key ? f->key : "-", f->metric ? f->metric : "-", kinds[f->kind],
               units[f->unit]);
    }
}

int main(void)
{
    struct eng_figure space[ENG_SPACE_KINDS_MAX];
    list(figures_of_stats(NULL), "stats");
    list(figures_of_daemon(NULL), "daemon");
    list(figures_of_usage(NULL), "space");
    list(figures_of_space(NULL, space), "space");
    return fflush(stdout) != 0;
}
