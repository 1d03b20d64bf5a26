/*
 * config_set.c - the configuration of an open store: read at opening, told,
 * changed and read again.
 *
 * Locking: config_file_lock protects the file: one writer at a time. */
#include "store/store.h"

#include "upkeep/workers.h"

void config_load(struct eng *eng)
{
    (void)config_read(eng->io, &eng->report, &eng->config);
    if (eng->opt.commit_ms > 0) /* of this mount only */
        atomic_store_explicit(&eng->config.commit_ms, (uint64_t)eng->opt.commit_ms, memory_order_relaxed);
}

int eng_config_reload(struct eng *eng)
{
    struct config stored;
    const char *key;
    if (!eng)
        return -EINVAL;
    pthread_mutex_lock(&eng->config_file_lock);
    int r = config_read(eng->io, &eng->report, &stored);
    for (size_t i = 0; !r && (key = config_key(i)); i++) {
        char value[CONFIG_VALUE_SIZE];
        bool of_mount = eng->opt.commit_ms > 0 && strcmp(key, "commit_ms") == 0;
        config_get_value(&stored, i, value);
        if (!of_mount)
            (void)config_set_value(&eng->config, key, value);
    }
    pthread_mutex_unlock(&eng->config_file_lock);
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

int eng_config_set(struct eng *eng, const char *name, const char *value)
{
    if (!eng || !name || !value)
        return -EINVAL;
    if (is_read_only(eng))
        return -EROFS;
    struct config stored;
    int r = config_set_value(&(struct config){0}, name, value);
    if (r)
        return r;
    pthread_mutex_lock(&eng->config_file_lock);
    r = config_read(eng->io, NULL, &stored);
    if (!r)
        r = config_set_value(&stored, name, value);
    if (!r)
        r = config_write(eng->io, &stored);
    if (!r)
        r = config_set_value(&eng->config, name, value);
    pthread_mutex_unlock(&eng->config_file_lock);
    workers_configured(eng);
    return r;
}
