/*
 * test_xattr_rules.c - the rules for extended attributes. */
#include "rfc3339_cases.h"
#include "rules/xattr_rules.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int set(const char *key, const char *text)
{
    char name[300];
    (void)snprintf(name, sizeof(name), "user.engram.%s", key);
    return xa_check_set(name, text, strlen(text));
}

static void all(const char *key, const char *const *texts, int expected)
{
    for (; *texts; texts++)
        cr_expect_eq(set(key, *texts), expected, "%s=\"%s\"", key, *texts);
}

Test(fs_xattr, confidence_and_activation_lie_in_the_unit_interval)
{
    const char *const good[] = {"0", "1", "0.5", "1.0", "1.000", ".5", "0.", "1e-3", "5E-1", "0.95", NULL};
    const char *const bad[] = {"",        "-0.1", "1.0001", "2",     "nan",   "inf", "0x0.8p0",
                               " 0.5",    "0.5 ", "0,5",    "0.5\n", ".",     "e1",  "1e",
                               "1e99999", "-0",   "+0.5",   "0.5f",  "1e400", NULL};
    all("confidence", good, 0);
    all("activation", good, 0);
    all("confidence", bad, -EINVAL);
    all("activation", bad, -EINVAL);
    cr_expect_eq(xa_check_set("user.engram.confidence", "0.5\0", 4), -EINVAL);
}

Test(fs_xattr, decay_rate_is_not_negative)
{
    const char *const good[] = {"0", "0.1", "100", "1e10", NULL};
    const char *const bad[] = {"-1", "inf", "NaN", "x", "1e999", NULL};
    all("decay_rate", good, 0);
    all("decay_rate", bad, -EINVAL);
}

Test(fs_xattr, counts_are_unsigned)
{
    const char *const good[] = {"0", "7", "18446744073709551615", NULL};
    const char *const bad[] = {"-1", "", "1.5", "18446744073709551616", "0x10", "1 ", NULL};
    all("recall_count", good, 0);
    all("recall_count", bad, -EINVAL);
    cr_expect_eq(set("node_flags", "4294967295"), 0);
    cr_expect_eq(set("node_flags", "4294967296"), -EINVAL);
}

Test(fs_xattr, times_are_rfc3339_or_integers)
{
    const char *const good[] = {"2024-02-29T12:00:00Z",
                                "2024-01-31 23:59:60.123456789+05:30",
                                "1969-07-20t20:17:40z",
                                "0000-01-01T00:00:00-00:00",
                                "1700000000",
                                "-1",
                                "9223372036854775807",
                                "-9223372036854775808",
                                NULL};
    const char *const bad[] = {"2023-02-29T12:00:00Z",
                               "2024-13-01T00:00:00Z",
                               "2024-04-31T00:00:00Z",
                               "2024-01-01T24:00:00Z",
                               "2024-01-01T00:60:00Z",
                               "2024-01-01T00:00:61Z",
                               "2024-01-01T00:00:00",
                               "2024-01-01T00:00:00.Z",
                               "2024-01-01T00:00:00+5:30",
                               "2024-01-01T00:00:00Zx",
                               "2024-01-01",
                               "1900-02-29T00:00:00Z",
                               "9223372036854775808",
                               "yesterday",
                               "",
                               NULL};
    all("created", good, 0);
    all("last_access", good, 0);
    all("created", bad, -EINVAL);
    all("last_access", bad, -EINVAL);
}

Test(fs_xattr, times_are_those_that_engramctl_takes)
{
    all("created", rfc3339_good, 0);
    all("last_access", rfc3339_good, 0);
    all("created", rfc3339_bad, -EINVAL);
    all("last_access", rfc3339_bad, -EINVAL);
}

Test(fs_xattr, embedding_is_floats_without_nan)
{
    float values[] = {0.0f, -1.5f, INFINITY, 1e-40f};
    cr_expect_eq(xa_check_set("user.engram.embedding", values, sizeof(values)), 0);
    cr_expect_eq(xa_check_set("user.engram.embedding", values, 4), 0);
    cr_expect_eq(xa_check_set("user.engram.embedding", values, 0), -EINVAL);
    cr_expect_eq(xa_check_set("user.engram.embedding", values, 7), -EINVAL);
    values[3] = NAN;
    cr_expect_eq(xa_check_set("user.engram.embedding", values, sizeof(values)), -EINVAL);
    values[3] = -NAN;
    cr_expect_eq(xa_check_set("user.engram.embedding", values, sizeof(values)), -EINVAL);
}

Test(fs_xattr, content_is_none_or_not_set)
{
    cr_expect_eq(set("content", "none"), 0);
    cr_expect_eq(set("content", "None"), -EINVAL);
    cr_expect_eq(set("content", ""), -EINVAL);
}

Test(fs_xattr, ids_and_unknown_names_are_kept_as_they_are)
{
    cr_expect_eq(set("id", ""), 0);
    cr_expect_eq(xa_check_set("user.engram.id", "a\0b/..", 6), 0);
    cr_expect_eq(set("mood", "anything at all"), 0);
    cr_expect_eq(xa_check_set("user.comment", "x", 1), 0);
    cr_expect_eq(xa_check_set("security.capability", "x", 1), 0);
    cr_expect_eq(xa_check_set("trusted.overlay.opaque", "y", 1), 0);
}

Test(fs_xattr, no_label_is_not_supported_unless_the_kernel_looks_at_labels)
{
    cr_expect_eq(xa_absent("security.selinux", false), -EOPNOTSUPP);
    cr_expect_eq(xa_absent("security.selinux", true), -ENODATA);
    cr_expect_eq(xa_absent("security.capability", false), -ENODATA);
    cr_expect_eq(xa_absent("user.mood", false), -ENODATA);
}

Test(fs_xattr, computed_names_answer_only)
{
    cr_expect_eq(xa_virtual("user.engram.content_hash"), XA_CONTENT_HASH);
    cr_expect_eq(xa_virtual("user.engram.content_sha256"), XA_CONTENT_SHA256);
    cr_expect_eq(xa_virtual("user.engram.state"), XA_STATE);
    cr_expect_eq(xa_virtual("user.engram.version"), XA_VERSION);
    cr_expect_eq(xa_virtual("user.engram.generation"), XA_GENERATION);
    cr_expect_eq(xa_virtual("user.engram.snapshot.position"), XA_SNAPSHOT_POSITION);
    cr_expect_eq(xa_virtual("user.engram.snapshot.time"), XA_SNAPSHOT_TIME);
    cr_expect_eq(xa_virtual("user.engram.snapshot.bytes"), XA_SNAPSHOT_BYTES);
    cr_expect_eq(xa_virtual("user.engram.snapshot.shared_bytes"), XA_SNAPSHOT_SHARED_BYTES);
    cr_expect_eq(xa_virtual("user.engram.exact"), XA_EXACT);
    cr_expect_eq(xa_virtual("user.engram.actor"), XA_ACTOR);
    cr_expect_eq(xa_virtual("user.engram.event"), XA_EVENT);
    cr_expect_eq(xa_virtual("user.engram.ended"), XA_ENDED);
    cr_expect_eq(xa_virtual("user.engram.snapshot"), XA_STORED);
    cr_expect_eq(xa_virtual("user.engram.versions"), XA_STORED);
    cr_expect_eq(xa_virtual("user.version"), XA_STORED);
    cr_expect_eq(set("version", "1"), -EPERM);
    cr_expect_eq(xa_check_remove("user.engram.generation"), -EPERM);
    cr_expect_eq(xa_check_get("user.engram.content_hash"), 0);
}

Test(fs_xattr, namespaces)
{
    cr_expect_eq(xa_check_get("system.posix_acl_access"), -EOPNOTSUPP);
    cr_expect_eq(xa_check_set("system.posix_acl_default", "x", 1), -EOPNOTSUPP);
    cr_expect_eq(xa_check_set("nospace", "x", 1), -EOPNOTSUPP);
    cr_expect_eq(xa_check_set("user.", "x", 1), -EINVAL);
    char name[300] = "user.";
    memset(name + 5, 'a', 251);
    cr_expect_eq(xa_check_get(name), -ERANGE);
    name[255] = '\0';
    cr_expect_eq(xa_check_get(name), 0);
    static char big[65537];
    cr_expect_eq(xa_check_set("user.x", big, sizeof(big)), -E2BIG);
    cr_expect_eq(xa_check_set("user.x", big, sizeof(big) - 1), 0);
}

Test(fs_xattr, lists_hide_what_is_not_to_be_seen)
{
    const char list[] = "user.a\0user.engram.if_match\0trusted.b\0user.engram.version\0security.c";
    char copy[sizeof(list)];
    memcpy(copy, list, sizeof(list));
    size_t n = xa_filter_list(copy, sizeof(copy), 0);
    cr_expect_eq(n, sizeof("user.a\0security.c"));
    cr_expect_eq(memcmp(copy, "user.a\0security.c", n), 0);
    memcpy(copy, list, sizeof(list));
    n = xa_filter_list(copy, sizeof(copy), 1);
    cr_expect_eq(n, sizeof("user.a\0trusted.b\0security.c"));
    cr_expect_eq(xa_filter_list(copy, 0, 1), 0);
    cr_expect_eq(xa_filter_list(copy, 3, 1), 0, "a list that is not terminated shows nothing");
}

Test(fs_xattr, guards_are_what_the_engine_takes)
{
    const char *const bad[] = {"", "None", "state:", "state:x", "1", "sha256", NULL};
    cr_expect(xa_is_guard("user.engram.if_match") && !xa_is_guard("user.if_match"));
    cr_expect_eq(set("if_match", "none"), 0);
    cr_expect_eq(set("if_match", "state:65536"), 0);
    all("if_match", bad, -EINVAL);
}
