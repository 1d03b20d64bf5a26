/*
 * test_freeze_room.c - what a freeze needs of memory is had before its locks are taken, since a page that
 * nobody has touched can take long to come, and everybody would wait for it. The linker wraps what asks for
 * memory. */
#include "image/checkpoint.h"
#include "image/freeze.h"
#include "inside.h"
#include "tree/view.h"

#include "unit_store.h"

#include <criterion/criterion.h>

enum {
    FILES = 20000,
    SMALL = 256 /* bytes: what such a call asks for is no array with a place for each chunk */
};

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

static struct unit u;
static bool looking;
static size_t asked; /* under the locks */

/* This thread is the only one: whoever holds the lock exclusively is itself. */
static void look(size_t size)
{
    if (!looking || size <= SMALL)
        return;
    if (pthread_rwlock_tryrdlock(&u.eng->index_lock))
        asked += size;
    else
        pthread_rwlock_unlock(&u.eng->index_lock);
}

void *__wrap_malloc(size_t size)
{
    look(size);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    look(n * size);
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    look(size);
    return __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    look(n * size);
    return __real_reallocarray(p, n, size);
}

static void setup(void)
{
    unit_new(&u, 0);
    for (unsigned i = 0; i < FILES; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "f%u", i);
        (void)unit_create(&u, name);
    }
}

static void teardown(void)
{
    looking = false;
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(freeze_room, .init = setup, .fini = teardown, .timeout = 60);

Test(freeze_room, nothing_is_allocated_under_the_locks)
{
    struct view *view;
    looking = true;
    for (int i = 0; i < 3; i++) { /* the first is the store's first checkpoint; all of it has changed */
        cr_assert_eq(checkpoint_write(u.eng), 0);
        cr_assert_eq(asked, 0, "checkpoint %d: %zu bytes", i, asked);
        (void)unit_create(&u, (char[]){(char)('x' + i), 0});
    }
    keepers_hold(u.eng);
    cr_assert_eq(view_freeze(u.eng, &view), 0);
    view_thaw(view);
    keepers_release(u.eng);
    cr_assert_eq(asked, 0, "a view: %zu bytes", asked);
}

/* Between the look at the tables and the freeze they may grow: then there is too little room, and it is had
 * all the same. */
Test(freeze_room, too_little_of_it_will_do)
{
    struct index_room room;
    struct index view;
    uint64_t freeze;
    const uint32_t one[INDEX_TABLES] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    cr_assert_eq(index_room_init(&room, one, true), 0);
    freeze_lock(u.eng);
    cr_assert_eq(index_freeze(&u.eng->idx, &room, &view, &freeze), 0);
    freeze_unlock(u.eng);
    index_room_done(&room);
    cr_assert_eq(view.inodes.n_chunks, u.eng->idx.inodes.n_chunks);
    cr_assert_gt(view.inodes.n_chunks, 8, "more than the least room");
    for (uint32_t i = 1; i < view.inodes.used; i++)
        cr_assert_eq(
            memcmp(table_get(&view.inodes, i), table_get(&u.eng->idx.inodes, i), sizeof(struct inode_rec)),
            0);
    freeze_give_back(u.eng, &view, freeze);
}
