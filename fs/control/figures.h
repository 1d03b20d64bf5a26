/*
 * figures.h - the loops over tables of figures: JSON, Prometheus and people. Each tells those figures of a
 * table that are in `groups` (FIGURES_GROUP()). Pure. */
#ifndef ENGRAMFS_CONTROL_FIGURES_H
#define ENGRAMFS_CONTROL_FIGURES_H

#include "control/text_buffer.h"
#include "rules/figures.h"

/* Members of an object that has been begun, as text_json_key() joins them. */
void figures_json(struct text *t, const char *indent, const struct figures *figures, unsigned groups);
/* Families of the text exposition, version 0.0.4. */
void figures_metrics(struct text *t, const struct figures *figures, unsigned groups);
/* A line for each. */
void figures_people(struct text *t, const struct figures *figures, unsigned groups,
                    const struct figure_note *notes);

#endif
