/*
 * test_figures.c - the table of figures names each field of struct eng_stats just once, and keeps the rules
 * of figure_rules.h. */
#include "figure_rules.h"

/* Fields of struct eng_stats that are told, but not by the table: none. A field that is to be told in some
 * other way is a line here, with the reason. */
static const struct {
    const char *name;
    size_t offset, size;
} elsewhere[] = {{"", sizeof(struct eng_stats), 0}};

static unsigned char owners[sizeof(struct eng_stats)];

static void claim(const char *name, size_t offset, size_t size)
{
    cr_assert_leq(offset + size, sizeof owners, "%s", name);
    for (size_t i = offset; i < offset + size; i++) {
        cr_expect_eq(owners[i], 0, "%s: byte %zu is another figure's, too", name, i);
        owners[i]++;
    }
}

Test(figures, each_field_is_told_once)
{
    for (size_t i = 0; i < eng_figures_count; i++)
        claim(eng_figures[i].label, eng_figures[i].offset, eng_figures[i].size);
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        claim(elsewhere[i].name, elsewhere[i].offset, elsewhere[i].size);
    for (size_t i = 0; i < sizeof owners; i++)
        cr_assert_eq(owners[i], 1, "byte %zu of struct eng_stats is in no line of eng_figures", i);
}

Test(figures, names_and_words_keep_the_rules)
{
    rule_table(eng_figures, eng_figures_count);
}

Test(figures, kinds_of_space_have_keys_and_words)
{
    struct eng_space_kind kinds[ENG_SPACE_KINDS_MAX];
    unsigned n = eng_space_kinds(kinds);
    cr_assert(n > 0 && n <= ENG_SPACE_KINDS_MAX);
    for (unsigned i = 0; i < n; i++) {
        cr_expect(rule_word(kinds[i].key, "_") && *kinds[i].label && *kinds[i].gives_back, "%s",
                  kinds[i].key);
        cr_expect_leq(strlen(kinds[i].label), 22);
        for (unsigned j = 0; j < i; j++)
            cr_expect_str_neq(kinds[i].key, kinds[j].key);
    }
}
