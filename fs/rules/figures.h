/*
 * figures.h - values of figures (eng_figure in admin.h), and how people are shown them. Pure; for the mount
 * and for the tools. */
#ifndef ENGRAMFS_RULES_FIGURES_H
#define ENGRAMFS_RULES_FIGURES_H

#include "admin.h"

/* Figures and the struct that they are of. */
struct figures {
    const struct eng_figure *list;
    size_t n;
    const void *of;
};
struct figures figures_of_stats(const struct eng_stats *stats);
/* The space receipt, a figure for each kind (space NULL: those of every store), and its sum. `ret_list` is
 * what the result points to. */
struct figures figures_of_space(const struct eng_space *space,
                                struct eng_figure ret_list[ENG_SPACE_KINDS_MAX]);
struct figures figures_of_usage(const struct eng_space *space);

/* Sets of groups. */
#define FIGURES_GROUP(group) (1u << (group))
#define FIGURES_ALL (FIGURES_GROUP(ENG_GROUPS) - 1)
static inline bool figure_is_in(const struct eng_figure *figure, unsigned groups)
{
    return (groups & FIGURES_GROUP(figure->group)) != 0;
}

/* By the type of the figure. Histograms have none. */
struct figure_value {
    uint64_t u64;
    int64_t i64;
    double real;
    const char *text; /* never NULL; of a time: "", or the text in place of i64 */
};
/* Of the field at list[i]; with a key, the sum of those in the row that have this key. */
struct figure_value figure_value(const struct figures *figures, size_t i);
/* Whether list[i] is the first in a row with its key. */
bool figure_is_first(const struct figures *figures, size_t i);
/* Whether there is something to tell: neither 0 nor "". */
bool figure_is_any(const struct eng_figure *figure, const struct figure_value *value);

/* For people: 12, 1.5 KiB, 0.2500, "never". At most `size` - 1 characters; returns buf. */
char *figure_text(const struct eng_figure *figure, const struct figure_value *value, char *buf, size_t size);
/* 1536 -> "1.5 KiB"; returns buf. */
char *figure_bytes(uint64_t bytes, char buf[32]);

/* What a program says about figures in a text for people: a note behind the value, or NULL for a figure that
 * it tells in words of its own, or not at all. */
struct figure_note {
    const char *key; /* NULL ends the list */
    const char *note;
};
/* What to show behind the value; NULL if the figure has no line of its own. */
const char *figure_note(const struct eng_figure *figure, const struct figure_value *value,
                        const struct figure_note *notes);

#endif
