/*
 * config.c - the keys of the configuration and their text form; see config.h. A file that cannot be
 * understood is reported and left out: settings are no reason to refuse memories. */
#include "core/config.h"

#include <math.h>
#include <stdio.h>

#define HISTORY "history"

/* A uint64_t; a double in 0..1; seconds, as a uint64_t; names with commas between them. */
enum kind { NUMBER, RATIO, DURATION, LIST };

static const struct config_key {
    const char *name;
    size_t offset;
    enum kind kind;
    double default_ratio;
    uint64_t default_value, min, max;
} keys[] = {
    {"compact_min_fragmentation", offsetof(struct config, compact_min_fragmentation), RATIO, 0.5, 0, 0, 1},
    {"compact_min_bytes", offsetof(struct config, compact_min_bytes), NUMBER, 0, 100000000, 0, UINT64_MAX},
    {"startup_fragmentation", offsetof(struct config, startup_fragmentation), RATIO, 0.7, 0, 0, 1},
    {"compact_rate", offsetof(struct config, compact_rate), NUMBER, 0, 0, 0, UINT64_MAX},
    {"auto_compact", offsetof(struct config, auto_compact), NUMBER, 0, 1, 0, 1},
    {"checkpoint_bytes", offsetof(struct config, checkpoint_bytes), NUMBER, 0, 32u << 20, 4096, UINT64_MAX},
    {"checkpoint_ops", offsetof(struct config, checkpoint_ops), NUMBER, 0, 500000, 1, UINT64_MAX},
    {"commit_ms", offsetof(struct config, commit_ms), NUMBER, 0, 5000, 1, 86400000},
    {HISTORY, offsetof(struct config, history), DURATION, 0, 0, 0, UINT64_C(36500) * 86400},
    {"history_versions", offsetof(struct config, history_versions), NUMBER, 0, 100, 1, 4096},
    {"history_bytes", offsetof(struct config, history_bytes), NUMBER, 0, 0, 0, UINT64_MAX},
    {"history_settle", offsetof(struct config, history_settle), DURATION, 0, 1, 0, 3600},
    {"history_ignore", offsetof(struct config, history_ignore), LIST, 0, 0, 0, 0},
};

#define IGNORED "activation,recall_count,last_access,atime" /* as in the manual */

static _Atomic double *ratio_of(const struct config *config, size_t i)
{
    return (_Atomic double *)(uintptr_t)((const uint8_t *)config + keys[i].offset);
}

static _Atomic uint64_t *number_of(const struct config *config, size_t i)
{
    return (_Atomic uint64_t *)(uintptr_t)((const uint8_t *)config + keys[i].offset);
}

static struct config_text_value *text_of(const struct config *config, size_t i)
{
    return (struct config_text_value *)(uintptr_t)((const uint8_t *)config + keys[i].offset);
}

static void get_text(const struct config_text_value *text, char out[CONFIG_VALUE_SIZE])
{
    for (size_t i = 0; i < ARRAY_LEN(text->words); i++) {
        uint64_t word = atomic_load_explicit(&text->words[i], memory_order_relaxed);
        memcpy(out + i * sizeof word, &word, sizeof word);
    }
    out[CONFIG_VALUE_SIZE - 1] = 0;
}

static void set_text(struct config_text_value *text, const char *value)
{
    char all[CONFIG_VALUE_SIZE] = {0};
    (void)snprintf(all, sizeof all, "%s", value);
    for (size_t i = 0; i < ARRAY_LEN(text->words); i++) {
        uint64_t word;
        memcpy(&word, all + i * sizeof word, sizeof word);
        atomic_store_explicit(&text->words[i], word, memory_order_relaxed);
    }
}

void config_defaults(struct config *config)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (keys[i].kind == LIST)
            set_text(text_of(config, i), IGNORED);
        else if (keys[i].kind == RATIO)
            atomic_init(ratio_of(config, i), keys[i].default_ratio);
        else
            atomic_init(number_of(config, i), keys[i].default_value);
    }
    atomic_init(&config->history_is_known, false);
}

static int set_ratio(struct config *config, size_t i, const char *value)
{
    char *end;
    errno = 0;
    double d = strtod(value, &end);
    if (errno || end == value || *end || !(d >= 0 && d <= 1))
        return -EINVAL;
    atomic_store_explicit(ratio_of(config, i), d, memory_order_relaxed);
    return 0;
}

/* Powers of 1024, as the options of a mount and control files take them, too. */
static bool scale(const char *unit, uint64_t *value)
{
    static const char powers[] = "kmgt";
    const char *at = *unit && !unit[1] ? strchr(powers, *unit | 0x20) : NULL;
    if (!*unit)
        return true;
    return at && !__builtin_mul_overflow(*value, UINT64_C(1) << (10 * (at - powers + 1)), value);
}

static const struct unit {
    char name;
    uint64_t seconds;
} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}}; /* the largest first */

/* Of a duration, which has one; but 0 is 0. */
static bool scale_time(const char *unit, uint64_t *value)
{
    size_t i = 0;
    if (!*unit)
        return *value == 0;
    while (i < ARRAY_LEN(units) && units[i].name != *unit)
        i++;
    return i < ARRAY_LEN(units) && !unit[1] && !__builtin_mul_overflow(*value, units[i].seconds, value);
}

static int set_number(struct config *config, size_t i, const char *value)
{
    char *end;
    errno = 0;
    uint64_t u = strtoull(value, &end, 10);
    if (errno || end == value || u > keys[i].max)
        return -EINVAL;
    bool is_right = keys[i].kind == DURATION ? scale_time(end, &u) : scale(end, &u);
    if (!is_right || u < keys[i].min || u > keys[i].max)
        return -EINVAL;
    atomic_store_explicit(number_of(config, i), u, memory_order_relaxed);
    return 0;
}

/* Names of letters, digits and `_`, `-`, `.`; none at all is a list, too. */
static int set_list(struct config *config, size_t i, const char *value)
{
    static const char in_names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    for (const char *at = value; *value; at++) {
        size_t len = strspn(at, in_names);
        at += len;
        if (!len || (*at && *at != ','))
            return -EINVAL;
        if (!*at)
            break;
    }
    set_text(text_of(config, i), value);
    return 0;
}

static size_t find_key(const char *name)
{
    size_t i = 0;
    while (i < ARRAY_LEN(keys) && strcmp(name, keys[i].name) != 0)
        i++;
    return i;
}

uint64_t config_number(const struct config *config, const char *name)
{
    size_t i = find_key(name);
    if (i == ARRAY_LEN(keys) || keys[i].kind == RATIO || keys[i].kind == LIST)
        return 0;
    return atomic_load_explicit(number_of(config, i), memory_order_relaxed);
}

#define NUMBER_SIZE 32u /* bytes for one as text */

int config_set_value(struct config *config, const char *name, const char *value)
{
    size_t i = find_key(name);
    if (i == ARRAY_LEN(keys))
        return -ENOENT;
    if (keys[i].kind == LIST)
        return strlen(value) >= CONFIG_VALUE_SIZE ? -EINVAL : set_list(config, i, value);
    /* strtod() and strtoull() would accept leading space, line ends among it, and a sign. */
    bool number = value[0] == '.' || (value[0] >= '0' && value[0] <= '9');
    if (strlen(value) >= NUMBER_SIZE || !number)
        return -EINVAL;
    int r = keys[i].kind == RATIO ? set_ratio(config, i, value) : set_number(config, i, value);
    if (!r && strcmp(name, HISTORY) == 0)
        atomic_store_explicit(&config->history_is_known, true, memory_order_relaxed);
    return r;
}

bool config_says(const struct config *config, size_t i)
{
    return strcmp(keys[i].name, HISTORY) != 0 ||
           atomic_load_explicit(&config->history_is_known, memory_order_relaxed);
}

const char *config_key(size_t i)
{
    return i < ARRAY_LEN(keys) ? keys[i].name : NULL;
}

bool config_ignores(const struct config *config, const char *xattr, size_t len)
{
    static const char prefix[] = "user.engram.";
    const size_t n = sizeof prefix - 1;
    bool is_field = len > n && memcmp(xattr, prefix, n) == 0, ignores = false;
    char all[CONFIG_VALUE_SIZE], *save = NULL;
    get_text(&config->history_ignore, all);
    for (char *name = strtok_r(all, ",", &save); name && !ignores; name = strtok_r(NULL, ",", &save)) {
        size_t its = strlen(name);
        ignores = (its == len && memchr(name, '.', its) && memcmp(name, xattr, len) == 0) ||
                  (is_field && its == len - n && memcmp(name, xattr + n, its) == 0);
    }
    return ignores;
}

void config_get_value(const struct config *config, size_t i, char out[CONFIG_VALUE_SIZE])
{
    if (keys[i].kind == LIST) {
        get_text(text_of(config, i), out);
        return;
    }
    if (keys[i].kind != RATIO) {
        uint64_t u = atomic_load_explicit(number_of(config, i), memory_order_relaxed);
        const struct unit *unit = units;
        while (u % unit->seconds) /* one of a second divides all */
            unit++;
        if (keys[i].kind == DURATION && u)
            snprintf(out, CONFIG_VALUE_SIZE, "%llu%c", (unsigned long long)(u / unit->seconds), unit->name);
        else
            snprintf(out, CONFIG_VALUE_SIZE, "%llu", (unsigned long long)u);
        return;
    }
    double d = atomic_load_explicit(ratio_of(config, i), memory_order_relaxed);
    for (int digits = 6; digits <= 17; digits++) { /* as few as give the same number back */
        snprintf(out, CONFIG_VALUE_SIZE, "%.*g", digits, d);
        if (strtod(out, NULL) == d)
            break;
    }
}

/* What `now` has for key i, where the file says nothing that can be understood. */
static void keep_value(struct config *config, const struct config *now, size_t i)
{
    char value[CONFIG_VALUE_SIZE];
    config_get_value(now, i, value);
    if (config_says(now, i))
        (void)config_set_value(config, keys[i].name, value);
}

static void read_lines(char *text, struct report *report, const struct config *now, struct config *config)
{
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *eq = strchr(line, '=');
        if (eq)
            *eq = 0;
        if (eq && config_set_value(config, line, eq + 1) == 0)
            continue;
        size_t i = find_key(line);
        if (now && i < ARRAY_LEN(keys))
            keep_value(config, now, i);
        if (report)
            report_line(report, ENG_LOG_WARNING, "config: '%s' is not understood, %s", line,
                        now ? "nothing changed by it" : "default used");
    }
}

int config_read(struct eng_io *io, uint64_t store, struct report *report, bool read_only,
                const struct config *now, struct config *ret_config)
{
    struct config_text t;
    config_defaults(ret_config);
    int r = config_file_read(io, store, &t);
    if (!r && t.text) {
        if (report)
            config_file_mend(io, store, report, &t, read_only);
        read_lines(t.text, report, now, ret_config);
    } else if (r != -ENOENT) {
        for (size_t i = 0; now && i < ARRAY_LEN(keys); i++)
            keep_value(ret_config, now, i);
        if (report)
            report_line(report, ENG_LOG_WARNING, "config: %s, %s", strerror(-r),
                        now ? "nothing changed" : "defaults used");
    }
    free(t.text);
    return r == -ENOENT || r == -EFBIG ? 0 : r;
}

int config_write(struct eng_io *io, uint64_t store, const struct config *config)
{
    char text[ARRAY_LEN(keys) * 64 + CONFIG_VALUE_SIZE];
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char value[CONFIG_VALUE_SIZE];
        if (!config_says(config, i))
            continue;
        config_get_value(config, i, value);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s=%s\n", keys[i].name, value);
    }
    return config_file_write(io, store, text, len);
}
