/*
 * test_trueid.c - ids that lead to their file, and ids that do not. */
#include "ctl/transfer/trueid.h"

#include "ctl/transfer/idpath.h"

#include <criterion/criterion.h>
#include <string.h>

static bool leads(const char *id, const char *path)
{
    return trueid_leads(id, strlen(id), path);
}

Test(trueid, each_form_leads_to_its_file)
{
    cr_expect(leads("a", "a"));
    cr_expect(leads("a", "%fa"));
    cr_expect(leads("a//b", "a/%d/b"));
    cr_expect(leads("/", "%d/%f"));
    cr_expect(leads("people/ada/x", "%dpeople/ada/%fx"));
    char id[600], path[4 + IDPATH_PATH_MAX + 1];
    memset(id, 'x', sizeof id);
    cr_assert_eq(idpath_of(id, sizeof id, path), IDPATH_HASHED);
    cr_expect(trueid_leads(id, sizeof id, path));
    id[300] = '/'; /* a directory that is too long: the whole id in the root */
    cr_assert_eq(idpath_of(id, sizeof id, path), IDPATH_HASHED);
    cr_expect(trueid_leads(id, sizeof id, path));
    memcpy(id, "dir/", 4); /* imported into a folder */
    cr_assert_eq(idpath_of(id + 4, sizeof id - 4, path + 4), IDPATH_HASHED);
    memcpy(path, "dir/", 4);
    cr_expect(trueid_leads(id, sizeof id, path));
}

Test(trueid, another_file_has_not_the_id)
{
    cr_expect_not(leads("people/ada/birthday", "pub/note"));
    cr_expect_not(leads("people/ada/birthday", "people/ada/note"));
    cr_expect_not(leads("people/ada/birthday", "people/ada"));
    cr_expect_not(leads("people/ada", "people/ada/birthday"));
    cr_expect_not(leads("fold/x//y", "moved/x/%d/y"));
    cr_expect_not(leads("a/b", "a%2Fb"));
    cr_expect_not(leads("", "x"));
    cr_expect_not(leads("a/b", "%h00000000000000000000000000000000-a%2Fb"));
}
