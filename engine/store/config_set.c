/*
 * config_set.c - the configuration of an open store: read at opening, told,
 * changed and read again.
 *
 * Locking: config_file_lock protects the file: one writer at a time. */
#include "store/store.h"

#include "commit/flush.h"
#include "commit/keep.h"
#include "upkeep/expiry.h"
#include "upkeep/history.h"
#include "upkeep/workers.h"

#include <stdlib.h>

void config_load(struct eng *eng)
{
    eng->config_is_known = config_read(eng->io, superblock_tag(&eng->sb), &eng->report, eng->opt.read_only,
                                       NULL, &eng->config) == 0;
    if (eng->opt.commit_ms > 0) /* of this mount only */
        atomic_store_explicit(&eng->config.commit_ms, (uint64_t)eng->opt.commit_ms, memory_order_relaxed);
}

/* ---- of a history -------------------------------------------------------------------- */

/* What the settings say of a history holds from here on. What fails of it is made good with the next change
 * (commit/keep.c). */
static void apply_history(struct eng *eng)
{
    (void)expiry_switch(eng);
    if (!eng_has_history(eng))
        return;
    history_note(eng);
    history_look(eng);
}

/* A line of the file asks for a history, which the store cannot have had before. */
static void begin_history(struct eng *eng)
{
    bool is_wanted = atomic_load_explicit(&eng->config.history, memory_order_relaxed) != 0;
    int r = is_wanted && !is_read_only(eng) ? store_set_history(eng) : 0;
    if (r)
        report_line(&eng->report, ENG_LOG_WARNING,
                    "config: history is not kept: %s; it is tried again when "
                    "the configuration is read again",
                    strerror(-r));
}

void config_opened(struct eng *eng)
{
    if (is_read_only(eng))
        return;
    begin_history(eng);
    (void)expiry_switch(eng);
}

/* Whether it asks for one. */
static bool asks_for_history(const struct eng_config_pair *pairs, size_t n)
{
    bool asks = false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(pairs[i].key, "history") == 0)
            asks = strtoull(pairs[i].value, NULL, 10) != 0;
    return asks;
}

static bool is_of_history(const struct eng_config_pair *pairs, size_t n)
{
    bool is = false;
    for (size_t i = 0; i < n && !is; i++)
        is = strncmp(pairs[i].key, "history", strlen("history")) == 0;
    return is;
}

/* ---- read, told, changed -------------------------------------------------------------- */

int eng_config_reload(struct eng *eng)
{
    struct config stored;
    const char *key;
    if (!eng)
        return -EINVAL;
    report_defer();
    pthread_mutex_lock(&eng->config_file_lock);
    int r = config_read(eng->io, superblock_tag(&eng->sb), &eng->report, is_read_only(eng), &eng->config,
                        &stored);
    for (size_t i = 0; !r && (key = config_key(i)); i++) {
        char value[CONFIG_VALUE_SIZE];
        bool of_mount = eng->opt.commit_ms > 0 && strcmp(key, "commit_ms") == 0;
        config_get_value(&stored, i, value);
        if (!of_mount && config_says(&stored, i))
            (void)config_set_value(&eng->config, key, value);
    }
    pthread_mutex_unlock(&eng->config_file_lock);
    begin_history(eng);
    report_flush(&eng->report);
    workers_configured(eng);
    apply_history(eng);
    return r;
}

int eng_config_each(struct eng *eng, void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
    const char *key;
    if (!eng || !emit)
        return -EINVAL;
    for (size_t i = 0; (key = config_key(i)); i++) {
        char value[CONFIG_VALUE_SIZE];
        config_get_value(&eng->config, i, value);
        emit(arg, key, value);
    }
    return 0;
}

static int set_pairs(struct config *config, const struct eng_config_pair *pairs, size_t n)
{
    int r = 0;
    for (size_t i = 0; !r && i < n; i++)
        r = config_set_value(config, pairs[i].key, pairs[i].value);
    return r;
}

int eng_config_check(const char *key, const char *value)
{
    struct config scratch = {0};
    return key && value ? config_set_value(&scratch, key, value) : -EINVAL;
}

int eng_config_set_all(struct eng *eng, const struct eng_config_pair *pairs, size_t n)
{
    if (!eng || (!pairs && n))
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        if (!pairs[i].key || !pairs[i].value)
            return -EINVAL;
    }
    if (is_read_only(eng))
        return -EROFS;
    struct config stored;
    int r = set_pairs(&(struct config){0}, pairs, n);
    if (!r && asks_for_history(pairs, n))
        r = store_set_history(eng);
    if (r)
        return r;
    pthread_mutex_lock(&eng->config_file_lock);
    r = config_read(eng->io, superblock_tag(&eng->sb), NULL, false, NULL, &stored);
    if (!r)
        r = set_pairs(&stored, pairs, n);
    if (!r)
        r = config_write(eng->io, superblock_tag(&eng->sb), &stored);
    if (!r)
        r = set_pairs(&eng->config, pairs, n);
    pthread_mutex_unlock(&eng->config_file_lock);
    if (io_dir_failed(eng->io))
        (void)flush_log(eng); /* turns the store read-only: names of others may be lost, too */
    workers_configured(eng);
    if (!r && is_of_history(pairs, n))
        apply_history(eng);
    return r;
}

int eng_config_set(struct eng *eng, const char *key, const char *value)
{
    return eng_config_set_all(eng, &(struct eng_config_pair){key, value}, 1);
}
