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
#include <getopt.h>
#include <string.h>

static const char help_text[] =
    "usage: engramctl config [--json] TARGET [KEY=VALUE…]\n"
    "\n"
    "Prints the configuration of TARGET, a store that is not mounted or a mount point, or\n"
    "changes keys of it. A change lasts; a mount follows it at once.\n"
    "engramfs-control(7) tells the keys.\n"
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

static int print_all(struct target *t, bool json)
{
    struct buf text = {0};
    json_t *o = json_object(), *value;
    const char *key;
    int r;
    if (t->kind == TARGET_STORE)
        r = eng_config_each(t->eng, add_key, o);
    else if ((r = control_read(t->mountpoint, "config", &text)) == 0 && text.len)
        add_lines(o, text.data);
    if (r < 0)
        cli_error("%s: %s", t->path, control_strerror(r));
    else if (json)
        report_print_json(o);
    json_object_foreach(o, key, value)
    {
        if (!json)
            printf("%s=%s\n", key, json_string_value(value));
    }
    json_decref(o);
    buf_done(&text);
    return r;
}

static int set_one(struct target *t, const char *pair)
{
    char key[64];
    const char *equals = strchr(pair, '=');
    if (!equals || (size_t)(equals - pair) >= sizeof key || strchr(pair, '\n')) {
        cli_error("'%s' is not KEY=VALUE", pair);
        return -1;
    }
    memcpy(key, pair, (size_t)(equals - pair));
    key[equals - pair] = '\0';
    int r = t->kind == TARGET_STORE ? eng_config_set(t->eng, key, equals + 1)
                                    : control_write(t->mountpoint, "config", pair);
    if (r < 0)
        cli_error("%s: %s: %s", t->path, pair,
                  r == -EINVAL || r == -ENOENT ? "unknown key or bad value" : control_strerror(r));
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
    bool change = argc - optind > 1;
    t = subcommand_open(argv[optind], change ? TARGET_QUIET : TARGET_READ_ONLY);
    if (!t)
        return CLI_ERROR;
    int r = 0;
    if (!change)
        r = print_all(t, json);
    for (int i = optind + 1; i < argc && !r; i++)
        r = set_one(t, argv[i]);
    int c = target_close(t);
    return r < 0 || c < 0 ? CLI_ERROR : CLI_OK;
}
