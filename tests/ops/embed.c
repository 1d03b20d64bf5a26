/*
 * embed.c - a program from elsewhere that embeds the engine, as packaging.sh and debian.sh build it: makes
 * the store that its argument names, and keeps and reads a memory. */
#include <engine.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    struct eng *eng;
    struct eng_options opt = {.no_background = true};
    struct eng_caller who = {0};
    struct eng_attr attr;
    char why[256], buf[8];
    if (argc < 2 || eng_open(argv[1], &opt, &eng, why) != 0)
        return 1;
    int err = eng_create(eng, &who, ENG_ROOT_INO, "a", 0100644, 0, NULL, &attr);
    err |= eng_write(eng, attr.ino, "hello", 5, 0) != 5;
    err |= eng_read(eng, attr.ino, buf, sizeof(buf), 0) != 5;
    err |= eng_close(eng);
    return err != 0;
}
