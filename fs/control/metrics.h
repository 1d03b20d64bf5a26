/*
 * metrics.h - the figures of the mount for Prometheus. */
#ifndef ENGRAMFS_CONTROL_METRICS_H
#define ENGRAMFS_CONTROL_METRICS_H

#include "control/text_buffer.h"
#include "session.h"

/* The Prometheus text exposition. Errors of the engine come back. */
int ctl_metrics(struct session *session, struct text *t);

#endif
