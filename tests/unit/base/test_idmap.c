/*
 * test_idmap.c - the map from segment ids, against a plain array. */
#include "base/idmap.h"

#include "rng.h"

#include <criterion/criterion.h>
#include <string.h>

Test(idmap, an_empty_one_holds_nothing)
{
    struct idmap map = {0};
    cr_assert_eq(idmap_get(&map, 1), 0);
    cr_assert_eq(idmap_get(&map, 0), 0);
    idmap_del(&map, 7);
    idmap_done(&map);
}

Test(idmap, does_as_an_array_does)
{
    enum { IDS = 300 };
    static uint64_t model[IDS];
    uint64_t rng = 1;
    struct idmap map = {0};
    for (unsigned step = 0; step < 200000; step++) {
        /* Ids that share their low bits, as well as neighbours. */
        uint32_t i = 1 + (uint32_t)rng_below(&rng, IDS - 1), id = i % 3 ? i : i << 20;
        if (rng_below(&rng, 3)) {
            cr_assert_eq(idmap_reserve(&map, 1), 0);
            model[i] = step + 1;
            idmap_set(&map, id, step + 1);
        } else {
            model[i] = 0;
            idmap_del(&map, id);
        }
        if (step % 1000 == 0) {
            uint32_t n = 0;
            for (uint32_t j = 1; j < IDS; j++) {
                cr_assert_eq(idmap_get(&map, j % 3 ? j : j << 20), model[j], "step %u, id %u", step, j);
                n += model[j] != 0;
            }
            cr_assert_eq(map.n, n);
        }
    }
    cr_assert_leq(map.cap, 4 * IDS);
    idmap_done(&map);
}
