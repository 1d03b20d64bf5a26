/*
 * test_messages.c - lines for people reach whom they are meant for. */
#include "messages.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* libfuse explains itself on stderr only, so that this is caught while it mounts (mount.c). What the threads
 * of the engine say in that moment is not. */
Test(messages, a_line_is_not_caught_with_what_is_said_while_mounting)
{
    int ends[2];
    char got[256] = "";
    cr_assert_eq(pipe(ends), 0);
    int saved = dup(STDERR_FILENO), caught = memfd_create("caught", MFD_CLOEXEC);
    cr_assert(saved >= 0 && caught >= 0);
    cr_assert_geq(dup2(ends[1], STDERR_FILENO), 0);
    messages_init(true, false);
    cr_assert_geq(dup2(caught, STDERR_FILENO), 0);
    messages_line(ENG_LOG_WARNING, "one of %s", "the engine");
    cr_assert_geq(dup2(saved, STDERR_FILENO), 0);
    cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    cr_assert_gt(read(ends[0], got, sizeof got - 1), 0);
    cr_assert_str_eq(got, "engramfs: warning: one of the engine\n");
    cr_assert_eq(lseek(caught, 0, SEEK_END), 0);
}
