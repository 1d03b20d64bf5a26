/*
 * config.c - configuration, kept as key=value lines in the file "config",
 * which is replaced as a whole. A file that cannot be understood is reported and left out:
 * settings are no reason to refuse memories.
 */
#include "engine_impl.h"

#include <math.h>
#include <stdio.h>

#define CONFIG_FILE "config"
#define CONFIG_MAX 65536u
#define VALUE_MAX 31u /* of a value as text: longer than any that is in range needs to be */

static const struct config_key {
    const char *name;
    size_t offset;
    bool ratio; /* a double in 0..1; else a uint64_t */
    double default_ratio;
    uint64_t default_value, min, max;
} keys[] = {
    {"compact_min_fragmentation", offsetof(struct config, compact_min_fragmentation), true, 0.5, 0, 0, 1},
    {"compact_min_bytes", offsetof(struct config, compact_min_bytes), false, 0, 100000000, 0, UINT64_MAX},
    {"startup_fragmentation", offsetof(struct config, startup_fragmentation), true, 0.7, 0, 0, 1},
    {"compact_rate", offsetof(struct config, compact_rate), false, 0, 0, 0, UINT64_MAX},
    {"auto_compact", offsetof(struct config, auto_compact), false, 0, 1, 0, 1},
    {"checkpoint_bytes", offsetof(struct config, checkpoint_bytes), false, 0, 256u << 20, 4096, UINT64_MAX},
    {"checkpoint_ops", offsetof(struct config, checkpoint_ops), false, 0, 500000, 1, UINT64_MAX},
    {"commit_ms", offsetof(struct config, commit_ms), false, 0, 5000, 1, 86400000},
};

static void *slot(struct config *config, const struct config_key *key)
{
    return (uint8_t *)config + key->offset;
}

void config_defaults(struct config *config)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (keys[i].ratio)
            *(double *)slot(config, &keys[i]) = keys[i].default_ratio;
        else
            *(uint64_t *)slot(config, &keys[i]) = keys[i].default_value;
    }
}

/* Parses and sets one value: -ENOENT, -EINVAL. */
static int set_value(struct config *config, const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct config_key *key = &keys[i];
        char *end;
        if (strcmp(name, key->name) != 0)
            continue;
        /* strtod() and strtoull() would skip leading space, line ends among it, and take a sign. */
        if (strlen(value) > VALUE_MAX || !(value[0] == '.' || (value[0] >= '0' && value[0] <= '9')))
            return -EINVAL;
        errno = 0;
        if (key->ratio) {
            double d = strtod(value, &end);
            if (errno || end == value || *end || !(d >= 0 && d <= 1))
                return -EINVAL;
            __atomic_store((double *)slot(config, key), &d, __ATOMIC_RELAXED);
        } else {
            uint64_t u = strtoull(value, &end, 10);
            if (errno || end == value || *end || u < key->min || u > key->max)
                return -EINVAL;
            __atomic_store_n((uint64_t *)slot(config, key), u, __ATOMIC_RELAXED);
        }
        return 0;
    }
    return -ENOENT;
}

static void get_value(struct config *config, const struct config_key *key, char out[VALUE_MAX + 1])
{
    if (key->ratio) {
        double d;
        __atomic_load((double *)slot(config, key), &d, __ATOMIC_RELAXED);
        for (int digits = 6; digits <= 17; digits++) { /* as few as give the same number back */
            snprintf(out, VALUE_MAX + 1, "%.*g", digits, d);
            if (strtod(out, NULL) == d)
                break;
        }
    } else {
        snprintf(out, VALUE_MAX + 1, "%llu",
                 (unsigned long long)__atomic_load_n((uint64_t *)slot(config, key), __ATOMIC_RELAXED));
    }
}

/* What is stored, on top of the defaults. An unreadable or strange file counts as empty, with a warning if
 * `warn`. */
static int read_stored(struct eng *eng, bool warn, struct config *ret_config)
{
    char *text, *line, *save = NULL;
    size_t size;
    config_defaults(ret_config);
    int r = io_read_file(eng->io, CONFIG_FILE, CONFIG_MAX, &text, &size);
    if (r == 0) {
        for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
            char *eq = strchr(line, '=');
            if (eq)
                *eq = 0;
            if ((!eq || set_value(ret_config, line, eq + 1) != 0) && warn)
                eng_logf(eng, ENG_LOG_WARNING, "config: '%s' is not understood, default used", line);
        }
        free(text);
    } else if (r != -ENOENT && warn) {
        eng_logf(eng, ENG_LOG_WARNING, "config: %s, defaults used", strerror(-r));
    }
    return r == -ENOENT || r == -EFBIG ? 0 : r;
}

int config_load(struct eng *eng)
{
    (void)read_stored(eng, true, &eng->config);
    if (eng->opt.commit_ms > 0) /* of this mount only */
        eng->config.commit_ms = (uint64_t)eng->opt.commit_ms;
    return 0;
}

int eng_config_reload(struct eng *eng)
{
    struct config stored;
    pthread_mutex_lock(&eng->ckpt_lock);
    int r = read_stored(eng, true, &stored);
    for (size_t i = 0; i < ARRAY_LEN(keys) && !r; i++) {
        char now[VALUE_MAX + 1];
        bool of_mount = eng->opt.commit_ms > 0 && strcmp(keys[i].name, "commit_ms") == 0;
        get_value(&stored, &keys[i], now);
        if (!of_mount)
            (void)set_value(&eng->config, keys[i].name, now);
    }
    pthread_mutex_unlock(&eng->ckpt_lock);
    eng_worker_configured(eng);
    return r;
}

int eng_config_each(struct eng *eng, void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char value[VALUE_MAX + 1];
        get_value(&eng->config, &keys[i], value);
        emit(arg, keys[i].name, value);
    }
    return 0;
}

int eng_config_set(struct eng *eng, const char *name, const char *value)
{
    if (eng_is_read_only(eng))
        return -EROFS;
    struct config stored;
    int r = set_value(&(struct config){0}, name, value);
    if (r)
        return r;
    char text[ARRAY_LEN(keys) * 64];
    size_t len = 0;
    pthread_mutex_lock(&eng->ckpt_lock); /* one writer of small files at a time */
    r = read_stored(eng, false, &stored);
    if (!r)
        r = set_value(&stored, name, value);
    for (size_t i = 0; i < ARRAY_LEN(keys) && !r; i++) {
        char now[VALUE_MAX + 1];
        get_value(&stored, &keys[i], now);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s=%s\n", keys[i].name, now);
    }
    if (!r)
        r = io_replace_file(eng->io, CONFIG_FILE, text, len);
    if (!r)
        r = set_value(&eng->config, name, value);
    pthread_mutex_unlock(&eng->ckpt_lock);
    eng_worker_configured(eng);
    return r;
}
