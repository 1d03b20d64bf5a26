/*
 * test_persons.c - whose subordinate id a user id is. */
#include "persons.h"

#include <criterion/criterion.h>
#include <string.h>

static struct persons persons;

static void parse(const char *text)
{
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    cr_assert_not_null(file);
    persons_parse(file, &persons);
    (void)fclose(file);
}

Test(persons, subordinate_ids_are_their_owners)
{
    parse("ann:100000:65536\nbob:165536:65536\nann:900000:10\n");
    cr_expect_eq(persons_find(&persons, 100000), 100000);
    cr_expect_eq(persons_find(&persons, 165535), 100000);
    cr_expect_eq(persons_find(&persons, 900009), 100000, "in another range");
    cr_expect_eq(persons_find(&persons, 165536), 165536);
    cr_expect_eq(persons_find(&persons, 231071), 165536);
}

Test(persons, all_others_are_themselves)
{
    parse("ann:100000:65536\n");
    cr_expect_eq(persons_find(&persons, 1000), 1000);
    cr_expect_eq(persons_find(&persons, 99999), 99999);
    cr_expect_eq(persons_find(&persons, 165536), 165536);
    cr_expect_eq(persons_find(&persons, UINT32_MAX - 1), UINT32_MAX - 1);
}

Test(persons, what_is_no_line_is_left_out_and_root_is_root)
{
    parse("# ranges\n\nann\nann:x:5\nroot:0:4000000000\nbob:200000:0\neve:4294967290:100\neve:300000:10");
    cr_expect_eq(persons.n, 2);
    cr_expect_eq(persons_find(&persons, 0), 0);
    cr_expect_eq(persons_find(&persons, 200000), 200000);
    cr_expect_eq(persons_find(&persons, 5), 5, "a range does not begin anew at 0");
    cr_expect_eq(persons_find(&persons, 300001), 4294967290U);
}
