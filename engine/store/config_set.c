/*
 * config_set.c - the configuration of an open store: read at opening, told,
 * changed and read again.
 *
 * Locking: config_file_lock protects the file: one writer at a time. */
#include "store/store.h"

#include "commit/flush.h"
#include "upkeep/workers.h"

void config_load(struct eng *eng)
{
    eng->config_is_known = config_read(eng->io, superblock_tag(&eng->sb), &eng->report, eng->opt.read_only,
                                       NULL, &eng->config) == 0;
    if (eng->opt.commit_ms > 0) /* of this mount only */
        atomic_store_explicit(&eng->config.commit_ms, (uint64_t)eng->opt.commit_ms, memory_order_relaxed);
}

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
        if (!of_mount)
            (void)config_set_value(&eng->config, key, value);
    }
    pthread_mutex_unlock(&eng->config_file_lock);
    report_flush(&eng->report);
    workers_configured(eng);
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
    return r;
}

int eng_config_set(struct eng *eng, const char *key, const char *value)
{
    return eng_config_set_all(eng, &(struct eng_config_pair){key, value}, 1);
}
