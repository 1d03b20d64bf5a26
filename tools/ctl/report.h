/*
 * report.h - reports of the engine as JSON, with the keys that the control
 * files of a mount use, and JSON of either kind for people. */
#ifndef ENGRAMCTL_REPORT_H
#define ENGRAMCTL_REPORT_H

#include "admin.h"
#include "rules/figures.h"

#include <jansson.h>

/* New references; NULL when there is no memory. */
json_t *report_stats(const struct eng_stats *s, const struct eng_space *space);
json_t *report_compaction(const struct eng_job_report *r);
json_t *report_estimate(const struct eng_compact_estimate *e);

/* What kind of inode a mode is of: "file", "folder", "symlink" and so on. */
const char *report_type(uint32_t mode);

/* Prints an object to stdout, as the control files do: indented, keys in order. */
void report_print_json(const json_t *object);

/* Members with a default: what an older or newer daemon does not say is 0 or "". */
uint64_t report_number(const json_t *object, const char *key);
double report_real(const json_t *object, const char *key);
const char *report_text(const json_t *object, const char *key);
struct figure_value report_value(const json_t *object, const struct eng_figure *figure);

/* What happened, in a word. */
const char *report_event(enum eng_version_event event);

#endif
