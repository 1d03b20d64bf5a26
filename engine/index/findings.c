/*
 * findings.c - see findings.h. */
#include "index/findings.h"

#include <stdarg.h>
#include <stdio.h>

void findings_add(struct findings *f, const char *fmt, ...)
{
    f->n++;
    if (!f->problem)
        return;
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    f->problem(f->arg, line);
}
