/*
 * holes.h - where content and holes are, as lseek(2) has it. */
#ifndef ENGRAMFS_FS_HOLES_H
#define ENGRAMFS_FS_HOLES_H

#include "admin.h"

/* What stat(2) calls a block. */
#define HOLES_BLOCK 4096u

/* SEEK_DATA and SEEK_HOLE as eng_seek(), in whole blocks, as other file systems tell them and programs expect
 * it: a block with any content in it is data. The end of the file is a hole wherever it is. */
int holes_seek(struct eng *eng, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset);
/* The same in a view of the past. */
int holes_seek_past(struct eng_view *view, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset);

#endif
