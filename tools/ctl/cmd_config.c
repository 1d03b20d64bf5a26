/*
 * cmd_config.c - engramctl config: prints or changes the configuration of a
 * store or mount. No state. */
#include "ctl/report.h"
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/control.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help_text[] =
    "usage: engramctl config [--json] TARGET [KEY|KEY=VALUE…]\n"
    "\n"
    "Prints the configuration of TARGET, a store that is not mounted or a mount point, or\n"
    "the value of one KEY, or changes keys. A change lasts; a mount follows it at once.\n"
    "engramfs-control(7) tells the keys. A number may end in K, M, G or T (times 1024).\n"
    "A store whose file `config` has a line that is not understood is refused, with the\n"
    "number of the line; a mount takes the default for it.\n"
    "\n"
    "  --json   the configuration as one JSON object; values are text\n"
    "\n"
    "Exit codes: 0 printed or changed, 2 not.\n";

static void add_key(void *arg, const char *key, const char *value)
{
    json_object_set_new(arg, key, json_string(value));
}

/* key=value lines, as the control file has them. */
static void add_lines(json_t *o, char *text)
{
    char *rest = text, *line, *equals;
    while ((line = strsep(&rest, "\n")))
        if ((equals = strchr(line, '='))) {
            *equals = '\0';
            add_key(o, line, equals + 1);
        }
}

/* All keys and their values, as text. */
static int read_all(struct target *t, json_t *o)
{
    struct buf text = {0};
    int r;
    if (t->kind == TARGET_STORE)
        r = eng_config_each(t->eng, add_key, o);
    else if (!(r = control_read(t->mountpoint, "config", &text)) && text.len)
        add_lines(o, text.data);
    buf_done(&text);
    if (r < 0)
        cli_error("%s: %s", t->path, control_strerror(r));
    return r;
}

static int print_all(struct target *t, bool json)
{
    json_t *o = json_object(), *value;
    const char *key;
    int r = read_all(t, o);
    if (!r && json)
        report_print_json(o);
    json_object_foreach(o, key, value)
    {
        if (json)
            continue;
        cli_print_name(key);
        putchar('=');
        cli_print_name(json_string_value(value));
        putchar('\n');
    }
    json_decref(o);
    return r;
}

static int print_one(struct target *t, const char *key, bool json)
{
    json_t *o = json_object();
    int r = read_all(t, o);
    const char *value = !r ? json_string_value(json_object_get(o, key)) : NULL;
    if (!r && !value) {
        cli_error("%s: there is no key '%s'", t->path, key);
        r = -ENOENT;
    }
    json_t *one = value && json ? json_pack("{s:s}", key, value) : NULL;
    if (one) {
        report_print_json(one);
    } else if (value) {
        cli_print_name(value);
        putchar('\n');
    }
    json_decref(one);
    json_decref(o);
    return r;
}

/* Whether the store takes the line over: a value that it does not understand it replaces by the default. */
static bool is_understood(char *line)
{
    char *equals = strchr(line, '=');
    if (!equals)
        return !*line;
    *equals = 0;
    bool is = eng_config_check(line, equals + 1) == 0;
    *equals = '=';
    return is;
}

enum { CONFIG_MAX = 65536 }; /* as the engine reads it */

/* All of a file, as text. */
static int read_text(int fd, char **ret_text)
{
    struct stat st;
    size_t size = 0;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (!r && !S_ISREG(st.st_mode))
        r = -EINVAL;
    char *text = r ? NULL : malloc(CONFIG_MAX + 1);
    if (!r && !text)
        r = -ENOMEM;
    while (!r && size <= CONFIG_MAX) {
        ssize_t n = pread(fd, text + size, CONFIG_MAX + 1 - size, (off_t)size);
        if (!n)
            break;
        if (n < 0 && errno != EINTR)
            r = -errno;
        size += n > 0 ? (size_t)n : 0;
    }
    if (!r && size > CONFIG_MAX)
        r = -EFBIG;
    if (r) {
        free(text);
        return r;
    }
    text[size] = '\0';
    *ret_text = text;
    return 0;
}

/* The file of the store that is open, which may be somebody else's: no link is followed, no pipe waited for.
 * NULL: there is none. */
static int read_config(const struct target *t, char **ret_text)
{
    int fd = openat(t->folder, "config", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    *ret_text = NULL;
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = read_text(fd, ret_text);
    close(fd);
    return r;
}

/* Refuses a store whose file is not understood wholly: what it says would be lost with the next change. */
static int check_file(const struct target *t)
{
    char *text = NULL, *line;
    int r = t->kind == TARGET_STORE ? read_config(t, &text) : 0, number = 0;
    if (r == -ELOOP || r == -EINVAL)
        cli_error("%s/config is not a file; nothing is done until it is one", t->path);
    else if (r)
        cli_error("%s/config: %s; nothing is done until it is mended", t->path, strerror(-r));
    for (char *rest = text; !r && (line = strsep(&rest, "\n"));) {
        number++;
        if (is_understood(line))
            continue;
        cli_error("%s/config:%d: '%.200s' is not understood; nothing is done until it is mended", t->path,
                  number, line);
        r = -EINVAL;
    }
    free(text);
    return r;
}

enum { PAIRS_MAX = 64 };

/* "KEY=VALUE" taken apart, into memory of its own that `ret` points to. */
static int parse_pair(const char *given, struct eng_config_pair *ret)
{
    const char *equals = strchr(given, '=');
    char *key = equals && !strchr(given, '\n') ? strdup(given) : NULL;
    if (!key) {
        cli_error("'%s' is not KEY=VALUE", given);
        return -EINVAL;
    }
    key[equals - given] = '\0';
    *ret = (struct eng_config_pair){key, key + (equals - given) + 1};
    return 0;
}

static int set_of_mount(const struct target *t, const struct eng_config_pair *pairs, size_t n)
{
    struct buf lines = {0};
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_char(&lines, '\n');
        buf_str(&lines, pairs[i].key);
        buf_char(&lines, '=');
        buf_str(&lines, pairs[i].value);
    }
    buf_char(&lines, '\0');
    int r = lines.failed ? -ENOMEM : control_write(t->mountpoint, "config", lines.data);
    buf_done(&lines);
    return r;
}

/* All of them, or none. */
static int set_all(struct target *t, char **texts, size_t n)
{
    struct eng_config_pair pairs[PAIRS_MAX];
    size_t parsed = 0;
    int r = n <= PAIRS_MAX ? 0 : -E2BIG;
    while (!r && parsed < n && !(r = parse_pair(texts[parsed], &pairs[parsed])))
        parsed++;
    bool said = r == -EINVAL;
    if (!r)
        r = t->kind == TARGET_STORE ? eng_config_set_all(t->eng, pairs, n) : set_of_mount(t, pairs, n);
    if (r < 0 && !said)
        cli_error("%s: nothing was changed: %s", t->path,
                  r == -EINVAL || r == -ENOENT ? "unknown key or bad value; engramfs-control(7) lists them"
                                               : control_strerror(r));
    for (size_t i = 0; i < parsed; i++)
        free((char *)(uintptr_t)pairs[i].key);
    return r;
}

int cmd_config(int argc, char **argv)
{
    bool json = false;
    const struct subcommand_option options[] = {{"json", &json, NULL}, {0}};
    int code = subcommand_options(argc, argv, "config", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind < 1)
        return cli_usage("config", "expected TARGET");
    struct target *t;
    bool ask = argc - optind == 2 && !strchr(argv[optind + 1], '=');
    bool change = argc - optind > 1 && !ask;
    t = subcommand_open(argv[optind], change ? TARGET_QUIET : TARGET_READ_ONLY);
    if (!t)
        return CLI_ERROR;
    int r = check_file(t);
    if (!r && ask)
        r = print_one(t, argv[optind + 1], json);
    else if (!r && !change)
        r = print_all(t, json);
    if (!r && change)
        r = set_all(t, argv + optind + 1, (size_t)(argc - optind - 1));
    int c = target_close(t);
    return r < 0 || c < 0 ? CLI_ERROR : CLI_OK;
}
