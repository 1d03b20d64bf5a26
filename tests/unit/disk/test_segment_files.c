/*
 * test_segment_files.c - which segment files stay open, and that nobody waits while one is opened: on a
 * folder that exists only as calls, so that opens can be counted and stopped. */
#include "disk/segments.h"

#include "base/util.h"

#include <criterion/criterion.h>
#include <semaphore.h>

/* An open file. */
struct io_file {
    uint32_t id;
};

static struct eng_io io;
static struct fault_hook hook;
static struct segments segments;
static uint64_t opens; /* without those that create */
static uint32_t open_now, most_open;
static bool under_lock; /* a file was opened or closed under segments.lock */

static void (*on_open)(uint32_t id); /* NULL: none */
static int open_error;

static void look_at_lock(void)
{
    if (pthread_mutex_trylock(&segments.lock) != 0)
        under_lock = true;
    else
        pthread_mutex_unlock(&segments.lock);
}

static int fake_open(struct eng_io *of, const char *name, int flags, struct io_file **ret_file)
{
    uint32_t id;
    (void)of;
    cr_assert_eq(segment_parse_name(name, &id), 0);
    opens += !(flags & IO_CREATE);
    if (on_open)
        on_open(id);
    if (open_error)
        return open_error;
    *ret_file = malloc(sizeof **ret_file);
    **ret_file = (struct io_file){id};
    open_now++;
    most_open = MAX_OF(most_open, open_now);
    return 0;
}

static void fake_close(struct io_file *file)
{
    open_now--;
    free(file);
}

static ssize_t fake_pwritev(struct io_file *file, const struct iovec *iov, int n, uint64_t offset)
{
    ssize_t size = 0;
    (void)file, (void)offset;
    for (int i = 0; i < n; i++)
        size += (ssize_t)iov[i].iov_len;
    return size;
}

static int fake_unlink(struct eng_io *of, const char *name)
{
    (void)of, (void)name;
    return 0;
}

static const struct eng_io_ops ops = {
    .open = fake_open, .close = fake_close, .pwritev = fake_pwritev, .unlink = fake_unlink};

static void setup(void)
{
    io.ops = &ops;
    segments_init(&segments, &io, &hook);
}

static void teardown(void)
{
    segments_free(&segments);
    cr_assert_eq(open_now, 0, "a file was lost, or closed twice");
}

TestSuite(segment_files, .init = setup, .fini = teardown, .timeout = 60);

static void add(uint32_t n)
{
    for (uint32_t id = 1; id <= n; id++)
        cr_assert_eq(segments_add(&segments, id, SEGMENT_LOG, 1000), 0);
}

static void read_one(uint32_t id)
{
    struct segment *seg;
    cr_assert_eq(segments_pin(&segments, id, &seg), 0);
    cr_assert_eq(seg->file->id, id);
    segments_unpin(seg);
}

static uint64_t rng = 1;

static uint32_t below(uint32_t n)
{
    rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((rng >> 33) % n);
}

/* ---- which stay open ------------------------------------------------------------------- */

#define MANY 4000u
#define HOT 100u

/* Whatever the place of the hot ones among all: those that were made first, or last, or any. */
Test(segment_files, what_is_read_again_and_again_stays_open)
{
    add(MANY);
    for (uint32_t first = 1; first <= MANY; first += (MANY - HOT) / 3) {
        for (uint32_t id = 1; id <= MANY; id++)
            read_one(id);
        opens = 0;
        for (unsigned i = 0; i < 50000; i++)
            read_one(first + below(HOT));
        cr_assert_leq(opens, HOT, "from %u on: %llu files opened for %u hot ones", first,
                      (unsigned long long)opens, HOT);
        cr_assert_leq(most_open, 512 + 1);
    }
}

/* As when a scrub or a copy goes through all beside the readers of a few. */
Test(segment_files, what_is_read_once_drives_out_nothing_that_is_read_again)
{
    add(MANY);
    for (unsigned i = 0; i < 10000; i++)
        read_one(1 + below(HOT));
    opens = 0;
    for (unsigned i = 0; i < 5 * MANY; i++) {
        read_one(1 + below(HOT));
        if (i % 5 == 0)
            read_one(HOT + 1 + i / 5 % (MANY - HOT));
    }
    cr_assert_leq(opens, MANY + HOT, "%llu files opened for %u cold ones", (unsigned long long)opens, MANY);
    cr_assert_geq(opens, MANY - HOT, "all were read");
}

/* Hot ones that are no longer so give way. */
Test(segment_files, what_was_hot_gives_way)
{
    add(2000);
    for (uint32_t first = 1; first + 400 <= 2000; first += 400) {
        opens = 0;
        for (unsigned i = 0; i < 40000; i++)
            read_one(first + below(400));
        cr_assert_leq(opens, 400 + 400, "from %u on: %llu opened for 400", first, (unsigned long long)opens);
    }
}

/* What is pinned stays, however much it is; afterwards no more than open_max stay. */
Test(segment_files, the_number_comes_down_again)
{
    static struct segment *pinned[700];
    add(MANY);
    for (uint32_t i = 0; i < ARRAY_LEN(pinned); i++)
        cr_assert_eq(segments_pin(&segments, 1 + i, &pinned[i]), 0);
    cr_assert_eq(open_now, ARRAY_LEN(pinned));
    for (uint32_t i = 0; i < ARRAY_LEN(pinned); i++) {
        cr_assert_eq(pinned[i]->file->id, 1 + i);
        segments_unpin(pinned[i]);
    }
    for (uint32_t id = 1000; id < 1000 + ARRAY_LEN(pinned); id++)
        read_one(id);
    cr_assert_leq(open_now, segments.open_max);
    cr_assert_eq(open_now, segments.n_open);
}

Test(segment_files, those_retired_leave_the_others_as_they_are)
{
    add(MANY);
    for (uint32_t id = 1; id <= 500; id++)
        read_one(id);
    for (uint32_t id = 1; id <= 500; id += 2)
        cr_assert_eq(segments_retire(&segments, id), 0);
    cr_assert_eq(open_now, 250);
    opens = 0;
    for (uint32_t id = 2; id <= 500; id += 2)
        read_one(id);
    cr_assert_eq(opens, 0);
    for (uint32_t id = 2; id <= 500; id += 2)
        cr_assert_eq(segments_retire(&segments, id), 0);
    cr_assert_eq(open_now, 0);
    read_one(MANY);
    cr_assert_eq(open_now, 1);
}

/* ---- while one is opened ------------------------------------------------------------------ */

static void watch_lock(uint32_t id)
{
    (void)id;
    look_at_lock();
}

Test(segment_files, no_file_is_opened_under_the_lock)
{
    struct segment *seg;
    on_open = watch_lock;
    add(1500);
    for (uint32_t id = 1; id <= 1500; id++)
        read_one(id);
    cr_assert_eq(segments_create(&segments, SEGMENT_SURVIVORS, 1, 0, 0, &seg), 0);
    segments_unpin(seg);
    cr_assert_not(under_lock);
}

#define SLOW 7u
static sem_t opening, go_on;

static void stop_slow(uint32_t id)
{
    if (id != SLOW)
        return;
    (void)sem_post(&opening);
    (void)sem_wait(&go_on);
}

static void *read_slow(void *arg)
{
    struct segment **ret_seg = arg;
    cr_assert_eq(segments_pin(&segments, SLOW, ret_seg), 0);
    return NULL;
}

/* Of several that open one file each gets it, and one file stays. */
Test(segment_files, nobody_waits_while_a_file_is_opened)
{
    struct segment *seg, *got[3] = {0};
    pthread_t threads[3];
    cr_assert(sem_init(&opening, 0, 0) == 0 && sem_init(&go_on, 0, 0) == 0);
    add(600);
    on_open = stop_slow;
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, read_slow, &got[i]), 0);
        (void)sem_wait(&opening);
    }
    for (uint32_t id = 1; id <= 600; id++) /* others are read */
        read_one(id == SLOW ? 1 : id);
    cr_assert_eq(segments_create(&segments, SEGMENT_LOG, 1, 0, 0, &seg), 0);
    segments_unpin(seg);
    cr_assert_eq(segments_retire(&segments, seg->id), 0);
    cr_assert_eq(segments_pin_open(&segments, SLOW, &seg), -EAGAIN);
    cr_assert_eq(segments_retire(&segments, SLOW), -EBUSY, "who opens it has pinned it");
    for (unsigned i = 0; i < 3; i++)
        (void)sem_post(&go_on);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(got[i] && got[i] == got[0] && got[i]->file->id == SLOW);
        segments_unpin(got[i]);
    }
    cr_assert_eq(open_now, segments.n_open);
    cr_assert_eq(segments_pin_open(&segments, SLOW, &seg), 0);
    segments_unpin(seg);
    cr_assert_eq(segments_retire(&segments, SLOW), 0);
}

Test(segment_files, one_that_does_not_open_is_not_pinned)
{
    struct segment *seg = NULL;
    add(3);
    open_error = -EMFILE;
    cr_assert_eq(segments_pin(&segments, 2, &seg), -EMFILE);
    cr_assert(!seg && segments_pins_of(&segments, 2) == 0);
    cr_assert_eq(segments_pin_open(&segments, 2, &seg), -EAGAIN);
    cr_assert(!seg && segments_pins_of(&segments, 2) == 0);
    open_error = 0;
    read_one(2);
    cr_assert_eq(segments_retire(&segments, 2), 0);
    cr_assert_eq(segments_pin_open(&segments, 2, &seg), -ENOENT);
}
