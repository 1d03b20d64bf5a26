/*
 * test_control.c - verbs and sizes of control files, the command line, and
 * the text formats that control files use. */
#include "bytes.h"
#include "control/text_buffer.h"
#include "control/verbs.h"
#include "engine.h"
#include "options.h"
#include "rules/printable.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct ctl_command commands[CTL_COMMANDS_MAX];
static size_t count;

static int parse(enum ctl_file file, const char *text)
{
    count = 0;
    return ctl_parse(file, text, strlen(text), commands, &count);
}

Test(fs_control, sizes)
{
    const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"4096", 4096},
                {"64k", 65536},
                {"1M", 1 << 20},
                {"2G", UINT64_C(2) << 30},
                {"1t", UINT64_C(1) << 40}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t bytes = 1;
        cr_expect_eq(bytes_parse(good[i].text, &bytes), 0, "%s", good[i].text);
        cr_expect_eq(bytes, good[i].bytes, "%s", good[i].text);
    }
    const char *const bad[] = {"", "k", "-1", "1.5M", "1Mi", "1 M", "1x", "0x10", " 1", NULL};
    for (size_t i = 0; bad[i]; i++) {
        uint64_t bytes = 77;
        cr_expect_eq(bytes_parse(bad[i], &bytes), -EINVAL, "%s", bad[i]);
        cr_expect_eq(bytes, 77, "untouched on failure");
    }
    uint64_t bytes;
    cr_expect_eq(bytes_parse("99999999999999999999", &bytes), -ERANGE);
    cr_expect_eq(bytes_parse("8388608T", &bytes), -ERANGE);
    cr_expect_eq(bytes_parse("9223372036854775807", &bytes), 0);
    cr_expect_eq(bytes_parse("9223372036854775808", &bytes), -ERANGE);
}

Test(fs_control, comments_and_blank_lines_alone_ask_for_nothing)
{
    const char *const forms[] = {"", "\n", "  \n", "# why\n", "# why", "\n# why\n\n", NULL};
    for (size_t i = 0; forms[i]; i++) {
        cr_expect_eq(parse(CTL_CONFIG, forms[i]), 0, "%s", forms[i]);
        cr_expect_eq(count, 0);
    }
}

Test(fs_control, one_verb_with_and_without_newline)
{
    const char *const forms[] = {"run", "run\n", "  run \r\n", "\n\nrun\n\n", "# why\nrun\n", NULL};
    for (size_t i = 0; forms[i]; i++) {
        cr_assert_eq(parse(CTL_COMPACT, forms[i]), 0, "%s", forms[i]);
        cr_expect_eq(count, 1);
        cr_expect_eq(commands[0].verb->action, CTL_DO_JOB_RUN);
        cr_expect_eq(commands[0].verb->job, ENG_JOB_COMPACT);
        cr_expect(commands[0].verb->waits);
    }
}

Test(fs_control, lines_are_taken_in_order_and_all_or_none)
{
    cr_assert_eq(parse(CTL_COMPACT, "rate=1M\nstart\n"), 0);
    cr_expect_eq(count, 2);
    cr_expect_eq(commands[0].verb->action, CTL_DO_JOB_RATE);
    cr_expect_eq(commands[0].bytes, 1 << 20);
    cr_expect_eq(commands[1].verb->action, CTL_DO_JOB_START);
    cr_expect_eq(parse(CTL_COMPACT, "start\nrubbish\n"), -EINVAL);
    cr_expect_eq(parse(CTL_COMPACT, "run\nrate=0\n"), -EINVAL, "a verb that waits comes last");
    cr_expect_eq(parse(CTL_COMPACT, "rate=0\nrun\n"), 0);
}

Test(fs_control, what_is_refused)
{
    const char *const bad[] = {"run\n#x\ny", "# x\ny",    "Run",      "run now", "runs", "rate",
                               "rate=",      "rate=fast", "rate=1 M", "hold",    "only", NULL};
    for (size_t i = 0; bad[i]; i++)
        cr_expect_eq(parse(CTL_COMPACT, bad[i]), -EINVAL, "%s", bad[i]);
    cr_expect_eq(ctl_parse(CTL_COMPACT, "run\0x", 5, commands, &count), -EINVAL);
    char long_line[600];
    memset(long_line, 'a', sizeof(long_line));
    cr_expect_eq(ctl_parse(CTL_COMPACT, long_line, sizeof(long_line), commands, &count), -EINVAL);
    char many[2 * (CTL_COMMANDS_MAX + 1) * 6 + 1] = "";
    for (int i = 0; i <= CTL_COMMANDS_MAX; i++)
        strcat(many, "pause\n");
    cr_expect_eq(parse(CTL_COMPACT, many), -E2BIG);
    cr_expect_eq(parse(CTL_HELP, "run"), -EINVAL, "a file without verbs takes none");
    cr_expect_eq(parse(CTL_DAMAGED, "run"), -EINVAL);
}

Test(fs_control, every_file_has_its_verbs)
{
    cr_expect_eq(parse(CTL_MAINTENANCE, "run"), 0);
    cr_expect_eq(parse(CTL_MAINTENANCE, "start"), -EINVAL);
    cr_expect_eq(parse(CTL_SCRUB, "rate=0"), 0);
    cr_expect_eq(commands[0].verb->action, CTL_DO_JOB_RATE);
    cr_expect_eq(commands[0].verb->job, ENG_JOB_SCRUB);
    cr_expect_eq(parse(CTL_HOLD, "hold\nrelease"), 0);
    cr_expect_eq(count, 2);
    cr_expect_eq(ctl_file_by_name("stats.json"), CTL_STATS);
    cr_expect_eq(ctl_file_by_name("nothing"), -1);
}

Test(fs_control, config_pairs)
{
    cr_assert_eq(parse(CTL_CONFIG, " compact_rate = 10M \n#x=y\nauto_compact=0"), 0);
    cr_expect_eq(count, 2);
    cr_expect_str_eq(commands[0].key, "compact_rate");
    cr_expect_str_eq(commands[0].value, "10M");
    cr_expect_str_eq(commands[1].key, "auto_compact");
    cr_expect_eq(parse(CTL_CONFIG, "=1"), -EINVAL);
    cr_expect_eq(parse(CTL_CONFIG, "key="), -EINVAL);
    cr_expect_eq(parse(CTL_CONFIG, "key"), -EINVAL);
}

Test(fs_control, positions)
{
    const struct {
        const char *text;
        uint64_t position;
    } good[] = {{"0", 0}, {"7", 7}, {"0012", 12}, {"9223372036854775807", INT64_MAX}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert_eq(parse(CTL_WAIT_FOR, good[i].text), 0, "%s", good[i].text);
        cr_expect_eq(commands[0].position, good[i].position, "%s", good[i].text);
        cr_expect_eq(commands[0].verb->action, CTL_DO_WAIT_FOR);
        cr_expect(commands[0].verb->waits);
    }
    const char *const bad[] = {
        "-1", "+1", "0x1", "1k", "1 2", "1.0", "x", "1\n2", "9223372036854775808", "99999999999999999999",
        NULL};
    for (size_t i = 0; bad[i]; i++)
        cr_expect_eq(parse(CTL_WAIT_FOR, bad[i]), -EINVAL, "%s", bad[i]);
    uint64_t position = 77;
    cr_expect_eq(ctl_parse_position("", &position), -EINVAL);
    cr_expect_eq(ctl_parse_position("9223372036854775808", &position), -ERANGE);
    cr_expect_eq(position, 77, "untouched on failure");
}

Test(fs_control, help_names_every_file)
{
    struct text t = TEXT_INIT;
    ctl_help(&t);
    cr_assert_not(text_failed(&t));
    for (int i = 0; i < CTL_FILES; i++)
        cr_expect_not_null(strstr(t.data, ctl_files[i].name), "%s", ctl_files[i].name);
    cr_expect_not_null(strstr(t.data, "rate=BYTES"));
    text_done(&t);
}

Test(fs_text, json_strings)
{
    const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "\"plain\""},
        {"q\"b\\", "\"q\\\"b\\\\\""},
        {"a\nb\t\x7f", "\"a\\u000ab\\u0009\\u007f\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xff\xc3", "\"\\ufffd\\ufffd\""},
        {"\xc2\x9b[m\xc2\x80\xc2\xa0", "\"\\u009b[m\\u0080\xc2\xa0\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct text t = TEXT_INIT;
        text_json_string(&t, cases[i].in);
        cr_expect_str_eq(t.data, cases[i].out);
        text_done(&t);
    }
}

Test(fs_text, names_steer_no_terminal)
{
    const struct {
        const char *in, *name, *line;
    } cases[] = {
        {"plain", "plain", "plain"},
        {"a\n\x1b[m\x7f\\", "a\\x0a\\x1b[m\\x7f\\x5c", "a??[m?\\"},
        {"\xc3\xa4\xc2\xa0\xe2\x82\xac", "\xc3\xa4\xc2\xa0\xe2\x82\xac", "\xc3\xa4\xc2\xa0\xe2\x82\xac"},
        {"\xc2\x9b[m\xc2\x80", "\\xc2\\x9b[m\\xc2\\x80", "??[m??"},
        {"\x9b\xff\xc3", "\\x9b\\xff\\xc3", "???"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct text t = TEXT_INIT;
        char line[64];
        text_name(&t, cases[i].in);
        cr_expect_str_eq(t.data, cases[i].name);
        text_done(&t);
        (void)snprintf(line, sizeof line, "%s", cases[i].in);
        printable_line(line);
        cr_expect_str_eq(line, cases[i].line);
    }
}

Test(fs_text, bytes_that_are_no_text)
{
    const struct {
        const char *in, *base64;
        bool utf8;
    } cases[] = {{"", "", true},           {"f", "Zg==", true},          {"fo", "Zm8=", true},
                 {"foo", "Zm9v", true},    {"foobar", "Zm9vYmFy", true}, {"\xff\xfe", "//4=", false},
                 {"a\xc3", "YcM=", false}, {"\xc3\xa4", "w6Q=", true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct text t = TEXT_INIT;
        text_add(&t, "%s", "");
        text_base64(&t, cases[i].in);
        cr_expect_str_eq(t.data, cases[i].base64);
        cr_expect_eq(text_is_utf8(cases[i].in), cases[i].utf8, "%s", cases[i].base64);
        text_done(&t);
    }
}

Test(fs_text, formats)
{
    struct text t = TEXT_INIT;
    text_json_number(&t, 0.25);
    text_add(&t, " ");
    text_json_number(&t, 0.0 / 0.0);
    text_add(&t, " ");
    text_time(&t, -1000000);
    text_add(&t, " ");
    text_bytes(&t, 1536);
    text_add(&t, " ");
    text_name(&t, "a\nb\\");
    cr_expect_str_eq(t.data, "0.25 0 1969-12-31T23:59:59.999Z 1.5 KiB a\\x0ab\\x5c");
    text_done(&t);
}

static char why[FS_WHY_MAX];

static int options(struct fs_options *opt, const char *list)
{
    char program[] = "engramfs", store[] = "s", mnt[] = "m", o[] = "-o", words[512];
    (void)snprintf(words, sizeof(words), "%s", list);
    char *argv[] = {program, store, mnt, o, words, NULL};
    why[0] = '\0';
    return opt_parse(5, argv, opt, why);
}

Test(fs_options, what_fstab_passes_is_taken)
{
    struct fs_options opt;
    cr_assert_eq(options(&opt,
                         "rw,nosuid,nodev,noatime,_netdev,nofail,x-systemd.automount,defaults,user,auto,"
                         "subtype=engramfs,fsname=a\\,b"),
                 0, "%s", why);
    cr_expect_str_eq(opt.mount_flags, "nosuid,nodev,noatime");
    cr_expect_str_eq(opt.fsname, "a,b");
    cr_expect_str_eq(opt.store, "s");
    cr_expect_str_eq(opt.mountpoint, "m");
    cr_expect_not(opt.read_only);
    opt_done(&opt);
}

Test(fs_options, values)
{
    struct fs_options opt;
    cr_assert_eq(
        options(&opt, "ro,ctl=visible,ctl_group=0,commit=0.5,segment_size=1M,noxattr,noperm,allow_other"), 0);
    cr_expect(opt.read_only && opt.noxattr && opt.noperm && opt.allow_other);
    cr_expect_eq(opt.ctl, CTL_VISIBLE);
    cr_expect(opt.has_ctl_gid && opt.ctl_gid == 0);
    cr_expect_eq(opt.commit_ms, 500);
    cr_expect_eq(opt.segment_size, 1 << 20);
    opt_done(&opt);
}

Test(fs_options, what_is_refused_is_named)
{
    const char *const bad[] = {"bogus",
                               "ctl=maybe",
                               "ctl_group=no-such-group-here",
                               "commit=-1",
                               "commit=x",
                               "commit=",
                               "commit=1e9",
                               "segment_size=1",
                               "segment_size=4G",
                               "segment_size=",
                               "fsname=",
                               "entry_timeout=1",
                               NULL};
    for (size_t i = 0; bad[i]; i++) {
        struct fs_options opt;
        cr_expect_eq(options(&opt, bad[i]), -EINVAL, "%s", bad[i]);
        cr_expect_not_null(strstr(why, bad[i]), "\"%s\" names %s", why, bad[i]);
        cr_expect_null(strchr(why, '\n'));
        opt_done(&opt);
    }
}

Test(fs_options, arguments)
{
    struct fs_options opt;
    char program[] = "engramfs", f[] = "-f", s[] = "s", m[] = "m", x[] = "x", bad[] = "-z", lone[] = "-o";
    char *in_order[] = {program, f, s, m, NULL};
    cr_expect_eq(opt_parse(4, in_order, &opt, why), 0);
    cr_expect(opt.foreground);
    opt_done(&opt);
    char *too_many[] = {program, s, m, x, NULL};
    cr_expect_eq(opt_parse(4, too_many, &opt, why), -EINVAL);
    opt_done(&opt);
    char *too_few[] = {program, s, NULL};
    cr_expect_eq(opt_parse(2, too_few, &opt, why), -EINVAL);
    opt_done(&opt);
    char *unknown[] = {program, s, m, bad, NULL};
    cr_expect_eq(opt_parse(4, unknown, &opt, why), -EINVAL);
    opt_done(&opt);
    char *lonely[] = {program, s, m, lone, NULL};
    cr_expect_eq(opt_parse(4, lonely, &opt, why), -EINVAL);
    opt_done(&opt);
}
