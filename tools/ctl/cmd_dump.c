/*
 * cmd_dump.c - engramctl dump: the records of a segment, for debugging. State: struct dump, for one run. */
#include "admin.h"
#include "ctl/subcommand.h"
#include "ctl/transfer/place.h"
#include "ctl/transfer/target.h"
#include "rules/rfc3339.h"
#include "shared/cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help_text[] =
    "usage: engramctl dump [--json] [--content] TARGET SEGMENT\n"
    "\n"
    "Prints the records of one segment file of TARGET, a store (mounted or not, damaged or\n"
    "not) or a mount point whose store can be read: batches of the log with what they do,\n"
    "and where the contents lie. SEGMENT is its number, or its name as .engram/segments\n"
    "and engramctl map --json list it. docs/FORMAT.md tells what the records mean.\n"
    "\n"
    "  --json      an object for each record, one a line\n"
    "  --content   verify the checksums of the contents as well\n"
    "\n"
    "Exit codes: 0 printed, 1 a checksum did not hold or something could not be read as a\n"
    "record (told in its line), 2 not printed.\n";

struct dump {
    bool json;
    uint64_t problems;
};

/* Bytes as text in quotes; what is not printable as \xNN. Long values are cut. */
static void print_bytes(const unsigned char *bytes, size_t len)
{
    enum { SHOWN = 256 };
    putchar('"');
    for (size_t i = 0; i < len && i < SHOWN; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\')
            printf("\\%c", bytes[i]);
        else if (bytes[i] < 0x20 || bytes[i] >= 0x7f)
            printf("\\x%02x", bytes[i]);
        else
            putchar(bytes[i]);
    }
    fputs(len > SHOWN ? "\"..." : "\"", stdout);
}

static void print_field(const struct eng_dump_field *f)
{
    char time[40];
    printf(" %s=", f->key);
    switch (f->type) {
    case ENG_DUMP_NUMBER:
        printf("%" PRIu64, f->number);
        break;
    case ENG_DUMP_OCTAL:
        printf("0%" PRIo64, f->number);
        break;
    case ENG_DUMP_HEX:
        printf("%016" PRIx64, f->number);
        break;
    case ENG_DUMP_TIME:
        fputs(rfc3339_format((int64_t)f->number, time), stdout);
        break;
    case ENG_DUMP_BYTES:
        print_bytes(f->bytes, f->len);
        break;
    }
}

static void print_people(const struct eng_dump_item *item)
{
    printf("%*s%" PRIu64 " +%" PRIu64 " %s", 2 * item->depth, "", item->offset, item->size, item->kind);
    for (size_t i = 0; i < item->n_fields; i++)
        print_field(&item->fields[i]);
    if (item->problem)
        printf("  DAMAGED: %s", item->problem);
    putchar('\n');
}

/* What is not UTF-8 comes out as hexadecimal digits, under a key of its own. */
static void add_bytes(json_t *o, const struct eng_dump_field *f)
{
    char key[64], *digits = NULL;
    json_t *text = json_stringn(f->bytes, f->len);
    if (!text && (digits = malloc(2 * f->len + 1))) {
        for (size_t i = 0; i < f->len; i++)
            snprintf(digits + 2 * i, 3, "%02x", ((const unsigned char *)f->bytes)[i]);
        text = json_string(f->len ? digits : "");
    }
    snprintf(key, sizeof key, "%s%s", f->key, digits ? "_hex" : "");
    json_object_set_new(o, key, text);
    free(digits);
}

static void add_field(json_t *o, const struct eng_dump_field *f)
{
    char text[40];
    switch (f->type) {
    case ENG_DUMP_BYTES:
        add_bytes(o, f);
        return;
    case ENG_DUMP_TIME:
        (void)rfc3339_format((int64_t)f->number, text);
        break;
    case ENG_DUMP_OCTAL:
        snprintf(text, sizeof text, "0%" PRIo64, f->number);
        break;
    case ENG_DUMP_HEX:
        snprintf(text, sizeof text, "%016" PRIx64, f->number);
        break;
    case ENG_DUMP_NUMBER:
        if (f->number <= INT64_MAX) {
            json_object_set_new(o, f->key, json_integer((json_int_t)f->number));
            return;
        }
        snprintf(text, sizeof text, "%" PRIu64, f->number);
        break;
    }
    json_object_set_new(o, f->key, json_string(text));
}

static int print_json(const struct eng_dump_item *item)
{
    json_t *o = json_object();
    if (!o)
        return -ENOMEM;
    json_object_set_new(o, "record", json_string(item->kind));
    json_object_set_new(o, "depth", json_integer(item->depth));
    json_object_set_new(o, "place", json_integer((json_int_t)item->offset));
    json_object_set_new(o, "size", json_integer((json_int_t)item->size));
    for (size_t i = 0; i < item->n_fields; i++)
        add_field(o, &item->fields[i]);
    json_object_set_new(o, "problem", item->problem ? json_string(item->problem) : json_null());
    char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    int r = text ? 0 : -ENOMEM;
    if (text)
        cli_print_json(text, strlen(text));
    json_decref(o);
    free(text);
    return r;
}

static int on_item(void *arg, const struct eng_dump_item *item)
{
    struct dump *d = arg;
    d->problems += item->problem != NULL;
    if (cli_interrupted())
        return -EINTR;
    if (ferror(stdout)) /* told at the end */
        return -EPIPE;
    if (d->json)
        return print_json(item);
    print_people(item);
    return 0;
}

/* "7", "s00000007.seg". */
static bool parse_segment(const char *s, uint32_t *ret)
{
    char *end;
    bool named = *s == 's';
    errno = 0;
    if (!(named ? strlen(s) == 13 : *s >= '0' && *s <= '9'))
        return false;
    unsigned long n = strtoul(s + named, &end, named ? 16 : 10);
    if (errno || strcmp(end, named ? ".seg" : "") != 0 || n == 0 || n > UINT32_MAX)
        return false;
    *ret = (uint32_t)n;
    return true;
}

static int dump(const char *path, const char *name, uint32_t segment, bool json, bool content)
{
    struct dump d = {.json = json};
    char why[512], folder[PLACE_PATH];
    int fd = target_open_store_folder(path, why);
    if (fd < 0) {
        cli_error("%s", why);
        return CLI_ERROR;
    }
    cli_catch_signals();
    int r = eng_dump(place_path(fd, folder), NULL, segment, content, on_item, &d);
    if (r < 0 && r != -EPIPE)
        cli_error("%s: segment %s: %s", path, name, r == -EINTR ? "interrupted" : strerror(-r));
    close(fd);
    if (r < 0)
        return CLI_ERROR;
    return d.problems ? CLI_SOME : CLI_OK;
}

int cmd_dump(int argc, char **argv)
{
    bool json = false, content = false;
    uint32_t segment;
    const struct subcommand_option options[] = {{"json", &json, NULL}, {"content", &content, NULL}, {0}};
    int code = subcommand_options(argc, argv, "dump", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind != 2)
        return cli_usage("dump", "expected TARGET and SEGMENT");
    if (!parse_segment(argv[optind + 1], &segment))
        return cli_usage("dump", "'%s' is no number or name of a segment", argv[optind + 1]);
    return dump(argv[optind], argv[optind + 1], segment, json, content);
}
