/* conflicts_text.c - see conflicts_text.h. No state, no locks. */
#include "control/conflicts_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "refused.h"

uint64_t conflicts_refused(const struct session *session)
{
    return session->refused ? refused_total(session->refused) : 0;
}

static void process_member(struct text *t, const char *key, const struct seen_process *who)
{
    text_add(t, ", \"%s\": {\"name\": ", key);
    text_json_string(t, who->name);
    text_add(t, ", \"pid\": %d, \"uid\": %u}", (int)who->pid, (unsigned)who->uid);
}

static void refused_line(struct text *t, const struct refused_one *one)
{
    text_add(t, "{\"time\": \"");
    text_time(t, one->time);
    text_add(t, "\", \"path\": ");
    text_json_string(t, one->path);
    if (!text_is_utf8(one->path)) {
        text_add(t, ", \"path_base64\": \"");
        text_base64(t, one->path);
        text_add(t, "\"");
    }
    text_add(t, ", \"operation\": \"%s\"", one->what);
    process_member(t, "process", &one->who);
    if (one->seen)
        text_add(t, ", \"seen\": {\"version\": %" PRIu64 "}", one->seen);
    else
        text_add(t, ", \"seen\": {\"version\": null}");
    text_add(t, ", \"found\": {\"inode\": %" PRIu64 ", \"version\": %" PRIu64 ", \"size\": %" PRIu64,
             one->ino, one->version, one->size);
    if (one->state)
        text_add(t, ", \"state\": %" PRIu64, one->state);
    text_add(t, "}");
    if (one->has_writer)
        process_member(t, "by", &one->writer);
    else
        text_add(t, ", \"by\": null");
    text_add(t, "}\n");
}

int conflicts_text(const struct session *session, struct text *t)
{
    const uint64_t total = conflicts_refused(session);
    struct refused_one *one = malloc(sizeof *one);
    if (!one)
        return -ENOMEM;
    for (uint64_t n = total > REFUSED_KEPT ? total - REFUSED_KEPT + 1 : 1; n <= total; n++)
        if (refused_get(session->refused, n, one))
            refused_line(t, one);
    free(one);
    return 0;
}
