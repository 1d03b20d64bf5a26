/*
 * test_jsonl.c - a line of JSON to a memory and back. */
#include "ctl/transfer/fields.h"
#include "ctl/transfer/jsonl.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct pool pool;
static char why[JSONL_WHY_MAX];

static int parse_n(const char *line, size_t len, struct memory *m)
{
    why[0] = 0;
    return jsonl_parse(line, len, &pool, m, why);
}

static struct memory parse(const char *line)
{
    struct memory m = {0};
    int r = parse_n(line, strlen(line), &m);
    cr_assert_eq(r, 0, "%s: %s", line, why);
    return m;
}

static struct memory parse_as(const char *line, size_t len, bool lenient, const char *zone)
{
    struct memory m = {0};
    struct jsonl_options options = {.lenient = lenient};
    if (zone)
        cr_assert(times_zone(zone, &options.zone));
    cr_assert_eq(jsonl_parse_as(line, len, &options, &pool, &m, why), 0, "%.100s: %s", line, why);
    return m;
}

static void expect_bad(const char *line, const char *reason)
{
    struct memory m;
    cr_expect_eq(parse_n(line, strlen(line), &m), -22, "accepted: %s", line);
    cr_expect(strstr(why, reason) != NULL, "%s: \"%s\" does not say \"%s\"", line, why, reason);
}

static const struct eng_xattr_pair *xattr(const struct memory *m, const char *name)
{
    for (size_t i = 0; i < m->n_xattrs; i++)
        if (!strcmp(m->xattrs[i].name, name))
            return &m->xattrs[i];
    return NULL;
}

static void expect_xattr(const struct memory *m, const char *name, const char *value)
{
    const struct eng_xattr_pair *x = xattr(m, name);
    cr_assert(x != NULL, "no %s", name);
    cr_expect(x->size == strlen(value) && !memcmp(x->value, value, x->size), "%s is %.*s", name, (int)x->size,
              (const char *)x->value);
}

static const char *print(const struct memory *m)
{
    static struct buf out;
    out.len = 0;
    cr_assert_eq(jsonl_print(m, &pool, &out), 0);
    buf_char(&out, 0);
    return out.data;
}

/* Prints what was parsed from `line`; expects `again`, and that this is a fixed point. */
static void expect_again(const char *line, const char *again)
{
    struct memory m = parse(line);
    char *first = strdup(print(&m));
    cr_expect_str_eq(first, again);
    m = parse(first);
    cr_expect_str_eq(print(&m), first);
    free(first);
}

Test(jsonl, a_simple_memory)
{
    struct memory m = parse("{\"id\": \"a/b\", \"content\": \"text\", \"created_at\": "
                            "\"2023-05-08T13:56:00Z\", \"speaker\": \"Melanie\"}");
    cr_expect(m.id_len == 3 && !memcmp(m.id, "a/b", 3));
    cr_expect(m.content_len == 4 && !memcmp(m.content, "text", 4));
    cr_expect_eq(m.created, INT64_C(1683554160000000000));
    cr_expect_eq(m.n_xattrs, 2);
    expect_xattr(&m, "user.engram.created", "2023-05-08T13:56:00Z");
    expect_xattr(&m, "user.speaker", "Melanie");
}

Test(jsonl, no_content_is_not_empty_content)
{
    struct memory none = parse("{\"id\":\"x\",\"content\":null}"),
                  empty = parse("{\"id\":\"x\",\"content\":\"\"}");
    cr_expect_eq(none.content_len, 0);
    expect_xattr(&none, "user.engram.content", "none");
    cr_expect_eq(empty.n_xattrs, 0);
    cr_expect_str_eq(print(&none), "{\"id\":\"x\",\"content\":null}\n");
    cr_expect_str_eq(print(&empty), "{\"id\":\"x\",\"content\":\"\"}\n");
    none.content = "now it has some";
    none.content_len = strlen(none.content);
    cr_expect_str_eq(print(&none), "{\"id\":\"x\",\"content\":\"now it has some\"}\n");
}

Test(jsonl, text_of_any_kind)
{
    struct memory m =
        parse("{\"id\":\"\\u0000\\/"
              "\",\"content\":\"a\\u0000\\\"\\\\\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\\u0001\"}");
    static const char content[] = "a\0\"\\\b\f\n\r\t\xC3\xA4\xF0\x9F\x98\x80\x01";
    cr_expect(m.id_len == 2 && !memcmp(m.id, "\0/", 2));
    cr_expect(m.content_len == sizeof content - 1 && !memcmp(m.content, content, m.content_len));
    cr_expect_str_eq(print(&m),
                     "{\"id\":\"\\u0000/"
                     "\",\"content\":\"a\\u0000\\\"\\\\\\b\\f\\n\\r\\t\xC3\xA4\xF0\x9F\x98\x80\\u0001\"}\n");
}

Test(jsonl, strings_of_all_lengths_around_the_word_size)
{
    for (int len = 0; len < 40; len++) {
        for (int at = 0; at < len; at++) {
            char line[128], text[64] = "", escaped[80] = "";
            memset(text, 'x', (size_t)len);
            memcpy(escaped, text, (size_t)at);
            strcat(escaped, "\\n");
            strcat(escaped, text + at + 1);
            text[at] = '\n';
            snprintf(line, sizeof line, "{\"id\":\"i\",\"content\":\"%s\"}", escaped);
            struct memory m = parse(line);
            cr_assert(m.content_len == (size_t)len && !memcmp(m.content, text, (size_t)len), "%s", line);
            strcat(line, "\n");
            cr_assert_str_eq(print(&m), line);
        }
    }
}

Test(jsonl, numbers_keep_their_text)
{
    expect_again("{\"id\":\"x\",\"content\":\"\",\"confidence\":0.50,\"activation\":1e-3,\"decay_rate\":10,"
                 "\"recall_count\":18446744073709551615,\"node_flags\":4294967295,\"last_access\":-5}",
                 "{\"id\":\"x\",\"content\":\"\",\"confidence\":0.50,\"activation\":1e-3,\"decay_rate\":10,"
                 "\"recall_count\":18446744073709551615,\"node_flags\":4294967295,\"last_access\":-5}\n");
}

Test(jsonl, other_members_keep_their_types)
{
    static const char line[] = "{\"id\":\"x\",\"content\":\"\",\"s\":\"5\",\"n\":5,\"f\":1.0,\"big\":"
                               "123456789012345678901234567890,\"e\":1E400,"
                               "\"t\":true,\"b\":false,\"z\":null,\"list\":[1, {\"a\":[]}],\"o\":{\"k\": "
                               "1.50},\"empty\":\"\",\"js\":\"[1]\"}\n";
    struct memory m = parse(line);
    expect_xattr(&m, "user.n", "5");
    expect_xattr(&m, "user.s", "5");
    expect_xattr(&m, "user.z", "null");
    expect_xattr(&m, "user.list", "[1, {\"a\":[]}]");
    expect_xattr(&m, "user.engram.types", "[\"n\",\"f\",\"big\",\"e\",\"t\",\"b\",\"z\",\"list\",\"o\"]");
    expect_again(
        line, "{\"id\":\"x\",\"content\":\"\",\"b\":false,\"big\":123456789012345678901234567890,\"e\":1E400,"
              "\"empty\":\"\",\"f\":1.0,\"js\":\"[1]\",\"list\":[1, {\"a\":[]}],\"n\":5,\"o\":{\"k\": 1.50},"
              "\"s\":\"5\",\"t\":true,\"z\":null}\n");
}

Test(jsonl, members_that_cannot_be_attributes)
{
    char line[1000], key[300];
    memset(key, 'k', sizeof key);
    snprintf(line, sizeof line,
             "{\"id\":\"x\",\"content\":\"\",\"confidence\":null,\"\":1,\"%.251s\":\"long\",\"engram.id\":"
             "\"y\",\"a\\u0000b\":[2]}\n",
             key);
    struct memory m = parse(line);
    cr_expect_eq(m.n_xattrs, 1);
    cr_expect_str_eq(m.xattrs[0].name, "user.engram.fields");
    expect_again(line, line);
}

Test(jsonl, a_null_field_that_was_set_later)
{
    struct memory m = parse("{\"id\":\"x\",\"content\":\"\",\"confidence\":null,\"\":1}");
    struct eng_xattr_pair x[2] = {m.xattrs[0], {"user.engram.confidence", "0.5", 3}};
    m.xattrs = x;
    m.n_xattrs = 2;
    cr_expect_str_eq(print(&m), "{\"id\":\"x\",\"content\":\"\",\"confidence\":0.5,\"\":1}\n");
}

Test(jsonl, embeddings)
{
    struct memory m =
        parse("{\"id\":\"x\",\"content\":\"\",\"embedding\":[ 1, -0.5 ,3e-5,0.1, -0, 3.4028235e38,1e-45]}");
    const struct eng_xattr_pair *x = xattr(&m, "user.engram.embedding");
    static const unsigned char start[] = {0, 0, 0x80, 0x3F, 0, 0, 0, 0xBF};
    cr_assert_eq(x->size, 28);
    cr_expect(!memcmp(x->value, start, sizeof start));
    expect_again("{\"id\":\"x\",\"content\":\"\",\"embedding\":[1,-0.5,3e-5,0.1,-0,3.4028235e38,1e-45]}",
                 "{\"id\":\"x\",\"content\":\"\",\"embedding\":[1.0,-0.5,0.00003,0.1,-0.0,3.4028235e+38,1."
                 "4013e-45]}\n");
}

Test(jsonl, floats_come_back_to_the_bit)
{
    uint32_t bits = 12345;
    struct buf line = {0};
    for (int round = 0; round < 3000; round++) {
        float v[16];
        for (int i = 0; i < 16; i++) {
            do {
                bits = bits * 1664525 + 1013904223;
                memcpy(&v[i], &bits, 4);
                if (round % 2 && isfinite(v[i])) /* the usual range of an embedding */
                    v[i] = ldexpf(frexpf(v[i], &(int){0}), (int)(bits >> 28) - 14);
            } while (!isfinite(v[i]));
        }
        struct eng_xattr_pair x = {"user.engram.embedding", v, sizeof v};
        struct memory m = {.id = "x", .id_len = 1, .content = "", .xattrs = &x, .n_xattrs = 1};
        line.len = 0;
        cr_assert_eq(jsonl_print(&m, &pool, &line), 0);
        struct memory back;
        cr_assert_eq(parse_n(line.data, line.len, &back), 0, "%.*s: %s", (int)line.len, line.data, why);
        cr_assert(!memcmp(back.xattrs[0].value, v, sizeof v), "%.*s", (int)line.len, line.data);
    }
}

Test(jsonl, bytes_that_are_no_text)
{
    struct eng_xattr_pair x[] = {
        {"user.raw", "\xFF\x00\x01", 3},   {"user.id", "collides", 8}, {"user.engram.confidence", ".5", 2},
        {"user.engram.other", "later", 5}, {"user.b\xFF", "v", 1},     {"security.x", "not ours", 8}};
    struct memory m = {
        .id = "\xC3(", .id_len = 2, .content = "a\x80", .content_len = 2, .xattrs = x, .n_xattrs = 6};
    char *line = strdup(print(&m));
    cr_expect(strstr(line, "{\"id_base64\":\"wyg=\",\"content_base64\":\"YYA=\"") == line, "%s", line);
    struct memory back = parse(line);
    cr_expect(back.id_len == 2 && !memcmp(back.id, m.id, 2));
    cr_expect(back.content_len == 2 && !memcmp(back.content, m.content, 2));
    cr_expect_eq(back.n_xattrs, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct eng_xattr_pair *b = xattr(&back, x[i].name);
        cr_expect(b && b->size == x[i].size && !memcmp(b->value, x[i].value, b->size), "%s", x[i].name);
    }
    cr_expect_str_eq(print(&back), line);
    free(line);
}

Test(jsonl, attributes_changed_by_hand)
{
    struct memory m = parse("{\"id\":\"x\",\"content\":\"\",\"n\":5,\"k\":[1]}");
    struct eng_xattr_pair x[3];
    memcpy(x, m.xattrs, sizeof x);
    for (size_t i = 0; i < 3; i++) {
        if (!strcmp(x[i].name, "user.n"))
            x[i].value = "6", x[i].size = 1;
        if (!strcmp(x[i].name, "user.k"))
            x[i].value = "no json", x[i].size = 7;
    }
    m.xattrs = x;
    cr_expect_str_eq(print(&m), "{\"id\":\"x\",\"content\":\"\",\"k\":\"no json\",\"n\":6}\n");
}

/* Whatever stands in the attributes that import itself writes, the line is valid and nothing is lost. */
Test(jsonl, own_attributes_set_by_hand)
{
    static const char *const values[] = {"",
                                         "x",
                                         "{",
                                         "[]",
                                         "{\"\":[1}",
                                         "{\"\":[}]}",
                                         "{\"id\":\"y\"}",
                                         "{\"plain\":1}",
                                         "{\"confidence\":5}",
                                         "{\"\":1} x",
                                         "[\"n\",5]",
                                         "[\"n\"",
                                         "{\"\":\n1}"};
    static const char *const names[] = {"user.engram.fields", "user.engram.types", "user.engram.content",
                                        "user.engram.created", "user.engram.embedding"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            struct eng_xattr_pair x[] = {{names[n], values[i], strlen(values[i])}, {"user.n", "5", 1}};
            struct memory back,
                m = {.id = "x", .id_len = 1, .content = "c", .content_len = 1, .xattrs = x, .n_xattrs = 2};
            char *line = strdup(print(&m));
            cr_assert_eq(parse_n(line, strlen(line), &back), 0, "%s%s", line, why);
            cr_expect_eq(strlen(print(&back)), strlen(line), "%s", line); /* the order may change */
            cr_expect_eq(strchr(line, '\n'), line + strlen(line) - 1);
            if (n > 1) {
                const struct eng_xattr_pair *b = xattr(&back, names[n]);
                cr_expect(b && b->size == x[0].size && !memcmp(b->value, x[0].value, b->size), "%s", line);
            }
            free(line);
        }
    }
}

Test(jsonl, bad_lines)
{
    expect_bad("[1]", "not a JSON object");
    expect_bad("", "not a JSON object");
    expect_bad("{", "key in quotes");
    expect_bad("{}", "no id");
    expect_bad("{\"id\":\"x\"}", "no content");
    expect_bad("{\"content\":\"x\"}", "no id");
    expect_bad("{\"id\":5,\"content\":\"\"}", "id is not a string");
    expect_bad("{\"id\":\"x\",\"content\":5}", "content is not a string or null");
    expect_bad("{\"id\":\"x\",\"content\":\"\"} x", "follows the object");
    expect_bad("{\"id\":\"x\",\"content\":\"\",}", "key in quotes");
    expect_bad("{\"id\":\"x\" \"content\":\"\"}", "expected ','");
    expect_bad("{\"id\" \"x\"}", "expected ':'");
    expect_bad("{\"id\":\"x\",\"content\":\"", "closing quote");
    expect_bad("{\"id\":\"x\",\"content\":\"\\", "closing quote");
    expect_bad("{\"id\":\"x\",\"content\":\"a\tb\"}", "control character");
    expect_bad("{\"id\":\"x\",\"content\":\"\\x\"}", "escape");
    expect_bad("{\"id\":\"x\",\"content\":\"\\ud800\"}", "escape");
    expect_bad("{\"id\":\"x\",\"content\":\"\\udc00\"}", "escape");
    expect_bad("{\"id\":\"x\",\"content\":\"\\u12\"}", "escape");
    expect_bad("{\"id\":\"x\",\"content\":\"\xFF\"}", "UTF-8");
    expect_bad("{\"id\":\"x\",\"content\":\"\xC0\x80\"}", "UTF-8");
    expect_bad("{\"id\":\"x\",\"content\":\"\xED\xA0\x80\"}", "UTF-8");
    expect_bad("{\"id\":\"x\",\"content\":\"\xF4\x90\x80\x80\"}", "UTF-8");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"n\":01}", "expected ','");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"n\":1.}", "number");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"n\":-}", "number");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"n\":NaN}", "not a JSON value");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"n\":[1,]}", "in \"n\"");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"n\":[1}", "in \"n\"");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"n\":[1", "closing bracket");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"n\":1,\"n\":2}", "occurs twice");
    expect_bad("{\"id\":\"x\",\"id\":\"x\",\"content\":\"\"}", "occurs twice");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"content_base64\":\"\"}", "both");
    expect_bad("{\"id\":\"x\",\"content_base64\":\"YQ\"}", "not base64");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"xattrs_base64\":{\"trusted.x\":\"\"}}", "not a name");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"xattrs_base64\":{\"user.engram.id\":\"\"}}", "not a name");
    expect_bad("{\"id\":\"x\",\"content\":\"\",\"a\":1,\"xattrs_base64\":{\"user.a\":\"\"}}", "given twice");
}

Test(jsonl, fields_out_of_range)
{
    static const char *const members[] = {"\"confidence\":2",
                                          "\"confidence\":-0.1",
                                          "\"confidence\":-0.0",
                                          "\"confidence\":true",
                                          "\"activation\":1.0001",
                                          "\"decay_rate\":-1",
                                          "\"decay_rate\":1e999",
                                          "\"recall_count\":-1",
                                          "\"recall_count\":1.5",
                                          "\"recall_count\":1e3",
                                          "\"recall_count\":18446744073709551616",
                                          "\"node_flags\":4294967296",
                                          "\"last_access\":1.5",
                                          "\"last_access\":\"yesterday\"",
                                          "\"created_at\":\"\"",
                                          "\"created_at\":\"2023-02-29T00:00:00Z\"",
                                          "\"created_at\":\"2023-05-08T13:56:00\"",
                                          "\"embedding\":[]",
                                          "\"embedding\":[1,null]",
                                          "\"embedding\":[1e39]",
                                          "\"embedding\":[\"1\"]",
                                          "\"embedding\":5",
                                          "\"embedding\":[1,]",
                                          "\"embedding\":[1 2]",
                                          "\"embedding\":[[1]]"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        char line[200], key[40];
        snprintf(line, sizeof line, "{\"id\":\"x\",\"content\":\"\",%s}", members[i]);
        snprintf(key, sizeof key, "%.*s is not", (int)(strchr(members[i] + 1, '"') - members[i] - 1),
                 members[i] + 1);
        expect_bad(line, key);
    }
}

Test(jsonl, too_much_of_everything)
{
    size_t n = ENG_XATTR_SIZE_MAX + 1;
    char *line = malloc(n + 200);
    char *p = line + sprintf(line, "{\"id\":\"x\",\"content\":\"\",\"big\":\"");
    memset(p, 'x', n);
    strcpy(p + n, "\"}");
    expect_bad(line, "user.big is larger than 65536 bytes");
    strcpy(p + n - 1, "\"}");
    struct memory m = parse(line);
    cr_expect_eq(m.xattrs[0].size, ENG_XATTR_SIZE_MAX);
    p = line + sprintf(line, "{\"id\":\"");
    memset(p, 'x', n);
    strcpy(p + n, "\",\"content\":\"\"}");
    expect_bad(line, "id is longer");
    free(line);
    struct buf many = {0};
    buf_str(&many, "{\"id\":\"x\",\"content\":\"\"");
    for (int i = 0; i < 1000; i++) {
        char member[100];
        snprintf(member, sizeof member, ",\"k%070d\":\"\"", i);
        buf_str(&many, member);
    }
    buf_str(&many, "}");
    cr_expect_eq(parse_n(many.data, many.len, &m), -22);
    cr_expect(strstr(why, "names together") != NULL, "%s", why);
    buf_reset(&many);
    buf_str(&many, "{\"id\":\"x\",\"content\":\"\",\"xattrs_base64\":{\"user.a\":\"\"");
    for (int i = 0; i < ENG_XATTR_COUNT_MAX; i++)
        buf_str(&many, ",\"user.a\":\"\"");
    buf_str(&many, "}}");
    cr_expect_eq(parse_n(many.data, many.len, &m), -22);
    cr_expect(strstr(why, "too many members: over 2047") != NULL, "%s", why);
    buf_done(&many);
}

/* How large it is is looked at before what is in it, which takes many times its memory. */
Test(jsonl, large_values_are_not_loaded)
{
    struct buf line = {0};
    struct memory m;
    buf_str(&line, "{\"id\":\"x\",\"content\":\"\",\"m\":[");
    while (line.len < ENG_XATTR_SIZE_MAX)
        buf_str(&line, "1,");
    buf_str(&line, "1 2]}");
    cr_expect_eq(parse_n(line.data, line.len, &m), -22);
    cr_expect(strstr(why, "\"m\" is larger than 65536 bytes") == NULL, "%s", why);
    line.len -= 4;
    for (int i = 0; i < 40; i++)
        buf_str(&line, ",1");
    buf_str(&line, " 2]}");
    cr_expect_eq(parse_n(line.data, line.len, &m), -22);
    cr_expect_str_eq(why, "\"m\" is larger than 65536 bytes");
    struct jsonl_options options = {.lenient = true};
    cr_expect_eq(jsonl_parse_as(line.data, line.len, &options, &pool, &m, why), -22);
    cr_expect_str_eq(why, "in \"m\": no JSON value");
    line.len -= 4;
    buf_str(&line, "]}");
    m = parse_as(line.data, line.len, true, NULL);
    cr_expect(xattr(&m, "user.original_m_1") && xattr(&m, "user.original_m_2"));
    buf_done(&line);
}

/* No line, however broken, may do more than be refused. */
Test(jsonl, every_truncation_and_many_mutations)
{
    static const char line[] =
        "{\"id\":\"a\\u00e4/"
        "\",\"content\":\"\xC3\xA4\\ud83d\\ude00\",\"created_at\":\"2023-05-08T13:56:00.5+02:00\","
        "\"embedding\":[1,2.5e-3],\"x\":{\"y\":[true,null,\"]\"]},\"confidence\":0.5,\"xattrs_base64\":{"
        "\"user.q\":\"/w==\"}}";
    struct memory m;
    unsigned seed = 7;
    cr_assert_eq(parse_n(line, sizeof line - 1, &m), 0, "%s", why);
    for (size_t len = 0; len < sizeof line - 1; len++) {
        char *copy = malloc(len + 1); /* exact, so that a sanitizer sees reads beyond it */
        memcpy(copy, line, len);
        cr_expect_eq(parse_n(copy, len, &m), -22, "accepted %zu bytes", len);
        free(copy);
    }
    for (int round = 0; round < 100000; round++) {
        char copy[sizeof line];
        memcpy(copy, line, sizeof line);
        for (int i = rand_r(&seed) % 3; i >= 0; i--)
            copy[(size_t)rand_r(&seed) % (sizeof line - 1)] = (char)rand_r(&seed);
        if (parse_n(copy, sizeof line - 1, &m) == 0) {
            char *again = strdup(print(&m));
            m = parse(again);
            cr_expect_str_eq(print(&m), again);
            free(again);
        }
    }
}

/* ---- what other systems write -------------------------------------------------------------- */

static void expect_field(const char *member, const char *name, const char *value)
{
    char line[300];
    snprintf(line, sizeof line, "{\"id\":\"x\",\"content\":\"\",%s}", member);
    struct memory m = parse(line);
    expect_xattr(&m, name, value);
}

Test(jsonl, values_that_only_look_different)
{
    expect_field("\"confidence\":\"0.9\"", "user.engram.confidence", "0.9");
    expect_field("\"recall_count\":3.0", "user.engram.recall_count", "3");
    expect_field("\"recall_count\":\"18446744073709551615\"", "user.engram.recall_count",
                 "18446744073709551615");
    expect_field("\"node_flags\":\"7.00\"", "user.engram.node_flags", "7");
    expect_field("\"last_access\":\"5\"", "user.engram.last_access", "5");
    expect_field("\"created_at\":\"2023-05-08T13:56:00+0530\"", "user.engram.created",
                 "2023-05-08T13:56:00+05:30");
    expect_field("\"created_at\":\"2023-05-08 13:56Z\"", "user.engram.created", "2023-05-08T13:56:00+00:00");
    expect_field("\"created_at\":1683554160", "user.engram.created", "2023-05-08T13:56:00Z");
    expect_field("\"created_at\":\"1683554160\"", "user.engram.created", "2023-05-08T13:56:00Z");
    expect_field("\"created_at\":1683554160.25", "user.engram.created", "2023-05-08T13:56:00.25Z");
    expect_field("\"created_at\":1683554160250", "user.engram.created", "2023-05-08T13:56:00.25Z");
    expect_field("\"created_at\":1683554160250000", "user.engram.created", "2023-05-08T13:56:00.25Z");
    expect_field("\"created_at\":-1", "user.engram.created", "1969-12-31T23:59:59Z");
    /* as they were, where they are right already */
    expect_field("\"created_at\":\"2023-05-08t13:56:00.120+02:00\"", "user.engram.created",
                 "2023-05-08t13:56:00.120+02:00");
}

static void expect_created(const char *number, const char *value)
{
    char member[100];
    for (int quoted = 0; quoted <= 1; quoted++) {
        const char *quote = quoted ? "\"" : "";
        snprintf(member, sizeof member, "\"created_at\":%s%s%s", quote, number, quote);
        expect_field(member, "user.engram.created", value);
    }
}

/* As R, awk and spreadsheets write them, in each unit. */
Test(jsonl, times_are_the_number_that_is_written)
{
    expect_created("1.7e9", "2023-11-14T22:13:20Z");
    expect_created("17e8", "2023-11-14T22:13:20Z");
    expect_created("1.7E+09", "2023-11-14T22:13:20Z");
    expect_created("1.7083824e9", "2024-02-19T22:40:00Z");
    expect_created("1.70838E+12", "2024-02-19T22:00:00Z");
    expect_created("17083824000000000e-7", "2024-02-19T22:40:00Z");
    expect_created("1700000000.5e3", "2023-11-14T22:13:20.5Z");
    expect_created("1.7e18", "2023-11-14T22:13:20Z");
    expect_created("1.700000000000000001e18", "2023-11-14T22:13:20.000000001Z");
    expect_created("1.7e-3", "1970-01-01T00:00:00.0017Z");
    expect_created("-1.5e0", "1969-12-31T23:59:58.5Z");
    expect_created("-0.0000000001", "1969-12-31T23:59:59.999999999Z"); /* no later, as of archives */
    expect_created("0.0000000001", "1970-01-01T00:00:00Z");
    expect_created("1e-300", "1970-01-01T00:00:00Z");
    expect_created("0e99", "1970-01-01T00:00:00Z");
    expect_created("99999999999", "5138-11-16T09:46:39Z");
    expect_created("1700000000.066172", "2023-11-14T22:13:20.066172Z");
    expect_created("1700000000066172.125", "2023-11-14T22:13:20.066172125Z");
    expect_created("1700000000.9999999999", "2023-11-14T22:13:20.999999999Z");
}

Test(jsonl, no_fraction_of_a_time_loses_anything)
{
    for (unsigned i = 1; i < 10000000; i += 1237) {
        char number[40], want[48];
        unsigned fraction = i % 10 ? i : i + 1; /* no zero at the end */
        snprintf(number, sizeof number, "1700000000.%07u", fraction);
        snprintf(want, sizeof want, "2023-11-14T22:13:20.%07uZ", fraction);
        expect_created(number, want);
    }
}

/* What is no time since 1970, or is rather a date. */
Test(jsonl, numbers_that_are_no_time)
{
    static const char *const numbers[] = {"1e19",     "1e20",       "-1e19",  "1e999999999999999999999",
                                          "20240115", "2024",       "202401", "19991231",
                                          "2024.0",   "2.0240115e7"};
    static const char *const texts[] = {"1.7e", "1.7e+", "e9",   ".", "1.7.0",
                                        "0x10", "1 7",   "1e9z", "-", "1e9.5"};
    char line[200];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers + sizeof texts / sizeof *texts; i++) {
        size_t t = i - sizeof numbers / sizeof *numbers;
        bool text = i >= sizeof numbers / sizeof *numbers;
        int n = snprintf(line, sizeof line, "{\"id\":\"x\",\"content\":\"\",\"created_at\":%s%s%s}",
                         text ? "\"" : "", text ? texts[t] : numbers[i], text ? "\"" : "");
        struct memory m;
        struct jsonl_options options = {0};
        cr_expect(times_zone("UTC", &options.zone));
        cr_expect_eq(jsonl_parse_as(line, (size_t)n, &options, &pool, &m, why), -EINVAL, "%s", line);
    }
    /* seconds all the same */
    expect_created("20241315", "1970-08-23T06:35:15Z");
    expect_created("1000", "1970-01-01T00:16:40Z");
}

static void expect_zone(const char *zone, const char *time, const char *value)
{
    char line[200];
    int n = snprintf(line, sizeof line, "{\"id\":\"x\",\"content\":\"\",\"created_at\":\"%s\"}", time);
    struct memory m = parse_as(line, (size_t)n, false, zone);
    expect_xattr(&m, "user.engram.created", value);
}

Test(jsonl, times_without_an_offset)
{
    struct times_zone z;
    expect_zone("UTC", "2023-05-08T13:56:00.123456", "2023-05-08T13:56:00.123456+00:00");
    expect_zone("+02:00", "2023-05-08T13:56:00", "2023-05-08T13:56:00+02:00");
    expect_zone("-0330", "2023-05-08", "2023-05-08T00:00:00-03:30");
    if (times_zone("Europe/Berlin", &z)) {
        expect_zone("Europe/Berlin", "2023-05-08T13:56:00", "2023-05-08T13:56:00+02:00");
        expect_zone("Europe/Berlin", "2023-01-08T13:56:00", "2023-01-08T13:56:00+01:00");
    }
    cr_expect_not(times_zone("Nowhere/Atall", &z));
    cr_expect_not(times_zone("../passwd", &z));
    cr_expect_not(times_zone("", &z));
}

static void expect_lenient(const char *member, const char *name, const char *value)
{
    char line[300];
    int n = snprintf(line, sizeof line, "{\"id\":\"x\",\"content\":\"\",%s}", member);
    struct memory m = parse_as(line, (size_t)n, true, NULL);
    expect_xattr(&m, name, value);
}

Test(jsonl, lenient_keeps_what_does_not_fit)
{
    expect_lenient("\"confidence\":2", "user.original_confidence", "2");
    expect_lenient("\"created_at\":\"yesterday\"", "user.original_created_at", "yesterday");
    expect_lenient("\"created_at\":\"2023-05-08T13:56:00\"", "user.original_created_at",
                   "2023-05-08T13:56:00");
    expect_lenient("\"embedding\":[]", "user.original_embedding", "[]");
    expect_lenient("\"confidence\":NaN", "user.original_confidence", "NaN");
    expect_lenient("\"a\":[1,-Infinity,\"NaN \\\" NaN\"]", "user.a", "[1,\"-Infinity\",\"NaN \\\" NaN\"]");
    struct memory m = parse_as("{\"id\":42,\"content\":{\"a\":1}}", 27, true, NULL);
    cr_expect(m.id_len == 2 && !memcmp(m.id, "42", 2));
    cr_expect(m.content_len == 7 && !memcmp(m.content, "{\"a\":1}", 7));
}

Test(jsonl, lenient_keeps_the_text_of_what_has_no_form_here)
{
    expect_lenient("\"embedding\":[1e400]", "user.original_embedding", "[1e400]");
    expect_lenient("\"m\":[1,1e400]", "user.original_m", "[1,1e400]");
    expect_lenient("\"m\":{\"a\":1,\"a\":[2]}", "user.original_m", "{\"a\":1,\"a\":[2]}");
    expect_lenient("\"m\":{\"k\":{\"x\\u0000\":1}}", "user.original_m", "{\"k\":{\"x\\u0000\":1}}");
    char deep[10100] = "{\"id\":\"x\",\"content\":\"\",\"m\":", *p = deep + strlen(deep);
    memset(p, '[', 5000);
    memset(p + 5000, ']', 5000);
    strcpy(p + 10000, "}");
    struct memory m = parse_as(deep, strlen(deep), true, NULL);
    const struct eng_xattr_pair *x = xattr(&m, "user.original_m");
    cr_assert(x && x->size == 10000 && !memcmp(x->value, p, 10000));
    /* told as the text that it is, and read back to the same */
    struct buf out = {0};
    static const char line[] = "{\"id\":\"x\",\"content\":\"\",\"m\":[1e400]}";
    m = parse_as(line, sizeof line - 1, true, NULL);
    cr_assert_eq(jsonl_print(&m, &pool, &out), 0);
    cr_assert(memmem(out.data, out.len, "\"original_m\":\"[1e400]\"", 22), "%.*s", (int)out.len, out.data);
    m = parse_as(out.data, out.len - 1, false, NULL);
    expect_xattr(&m, "user.original_m", "[1e400]");
    buf_done(&out);
}

/* That is no JSON, and what was meant nobody knows. */
Test(jsonl, lenient_takes_no_broken_lines)
{
    static const char *const members[] = {"[1 2]", "{\"a\":}", "[1,]", "{\"a\" 1}", "[nul]", "[\"\\q\"]"};
    struct jsonl_options options = {.lenient = true};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        char line[100];
        struct memory m;
        int n = snprintf(line, sizeof line, "{\"id\":\"x\",\"content\":\"\",\"m\":%s}", members[i]);
        cr_assert_eq(jsonl_parse_as(line, (size_t)n, &options, &pool, &m, why), -EINVAL, "%s", line);
    }
}

Test(jsonl, lenient_keeps_what_is_too_large_in_parts)
{
    size_t n = 70000;
    char *line = malloc(2 * n + 100), *p = line + sprintf(line, "{\"id\":\"x\",\"content\":\"\",\"big\":\"y");
    for (size_t i = 0; i < n; i++, p += 2)
        memcpy(p, "\xC3\xA4", 2);
    strcpy(p, "\"}");
    struct memory m = parse_as(line, strlen(line), true, NULL);
    const struct eng_xattr_pair *a = xattr(&m, "user.original_big_1"), *b = xattr(&m, "user.original_big_2"),
                                *c = xattr(&m, "user.original_big_3");
    cr_assert(a && b && c);
    cr_expect_eq(a->size + b->size + c->size, 2 * n + 1);
    cr_expect_eq(a->size % 2, 1);
    cr_expect_eq(b->size % 2, 0);
    free(line);
}
