/*
 * fault.h - where tests reach in. Fault points are named places at which a
 * test makes threads meet or calls fail; mutants take one protection out, so
 * that the test of that protection can be shown to fail without it.
 *
 * A fault point costs a test of one pointer. Mutants exist only in builds
 * with ENG_MUTANTS; elsewhere MUTANT() is the constant false. */
#ifndef ENGRAMFS_FAULT_H
#define ENGRAMFS_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum fault_point {
    FP_COMPACT_COPIED,    /* survivors copied and durable, nothing installed */
    FP_COMPACT_INSTALLED, /* a group of relocations was installed */
    FP_COMPACT_READ,      /* about to read a victim's extents */
    FP_CHECKPOINT_FROZEN, /* a checkpoint froze the index and wrote nothing. Under the lock of checkpoints. */
    FP_LOG_WRITTEN,       /* batch in the log, index not changed yet */
    FP_READ_COLLECTED,    /* locators and generation taken, nothing pinned */
    FP_READ_PINNED,       /* segments pinned, generation not compared again yet */
    FP_WRITE_DRAFTED,     /* a write is read and hashed as far as it needs no lock; log.lock comes next */
    FP_TAIL_SLICE,        /* a slice of a tail was freed, and more is left */
    FP_XATTRS_COPIED,     /* some chunks of a file's xattrs were copied for a batch to come */
    FP_PROOF_WANTED,      /* a guard needs a digest, which is computed next */
    FP_CHANGE_REFUSED,    /* a change got -ENOSPC, and nobody has looked yet whether there is room */
    FP_POSITION_ASKED,    /* a position is not shown yet, and nobody waits yet. Under log.lock */
    FP_BIT_FLUSHED,       /* a feature bit is about to be written. Under the lock of checkpoints. */
    FP_SEEK_SLICE,        /* SEEK_HOLE has looked at a slice of the extents, and goes on */
    FP_LIST_SLICE,        /* a listing of a past folder has looked at a slice of its names, and goes on */
    FP_DIFF_SLICE,        /* a comparison has looked for changes in a slice of the index, and goes on */
    FP_REFS_ASKED,        /* a summary was asked for what is live in its segment; not counted yet */
    FP_RETIRE,            /* about to unlink a segment */
    FP_INSTALLER_AWAITED, /* a compaction waits for its installer. Under the lock of the two: may not wait. */
    FP_INSTALLER_GIVEN,   /* a compaction gave its installer something to do */
    FP_INSTALLER_IDLE,    /* the installer has nothing to do. Under the lock of the two: may not wait. */
    FP_INSTALLER_RUNS,    /* the installer begins with what it was given */
    FP_SYNC,              /* about to flush */
    FP_SEGMENT_LOOK,      /* the record of one of all segments is looked at. Under log.lock or index_lock */
    FP_COUNT
};

typedef void (*fault_fn)(void *arg, enum fault_point point);

struct fault_hook {
    fault_fn _Atomic fn; /* set after arg */
    void *arg;           /* immutable once fn is set */
};

static inline void fault_point(const struct fault_hook *hook, enum fault_point point)
{
    fault_fn fn = atomic_load_explicit(&hook->fn, memory_order_acquire);
    if (fn)
        fn(hook->arg, point);
}

/* What each takes out, and the rule that it breaks. tests/sim/mutants/mutants.txt names the test that must
 * fail with it. */
#define MUTANT_LIST(M)                                                                                       \
    M(BLIND_INSTALL)       /* I3: relocations are installed without comparing */                             \
    M(NO_PIN)              /* I1: segments are unlinked in spite of pins */                                  \
    M(EVICT_PINNED)        /* I1: a file is closed in spite of pins, to open another */                      \
    M(EVICT_USED)          /* the file that is closed may be the one that is used most */                    \
    M(OPEN_IN_SECTION)     /* a file is opened under the lock of the index */                                \
    M(NO_GENERATION)       /* I2: the generation is not compared after pinning */                            \
    M(MIXED_DIGEST)        /* a digest goes on although the content was changed meanwhile */                 \
    M(SAME_GENERATION)     /* I2: a relocation does not raise it */                                          \
    M(NO_VERIFY)           /* I6: content is not verified */                                                 \
    M(PUBLISH_UNWRITTEN)   /* I2: a batch counts although it could not be written */                         \
    M(INSTALL_UNSYNCED)    /* relocations are logged before the survivors are durable */                     \
    M(RETIRE_UNSYNCED)     /* I4: a segment goes before the deaths in it are durable */                      \
    M(RETIRE_UNMARKED)     /* I4: a segment goes before the disk says that its deaths are durable */         \
    M(MARK_BESIDE)         /* I4: what says so lies in the page of those deaths */                           \
    M(OLDER_TAKEN)         /* salvage takes a copy that is older than what is missing */                     \
    M(OLD_START)           /* salvage starts from what the log does not lead on from */                      \
    M(CUT_UNTOLD)          /* a check of a salvaged store does not tell that its log was cut short */        \
    M(UNREAD_IS_NOTHING)   /* salvage passes over a segment whose head cannot be read */                     \
    M(CUT_IS_END)          /* I7: a log that is shorter than a checkpoint says ends cleanly */               \
    M(MARK_SPENDS_ALL)     /* one mark on a full disk spends the whole reserve */                            \
    M(MOVED_FORGOTTEN)     /* I7: survivors are not asked whether they are the only copy */                  \
    M(MARK_REMEMBERED)     /* I4: what an earlier life has read as durable counts as said by the disk */     \
    M(KNOWN_PROVE_NOTHING) /* I7: survivors of which a part is named are not asked for the rest */           \
    M(ALL_KEPT)            /* where a segment is missing each killed compaction leaves a file for good */    \
    M(TAIL_BREAKS)         /* salvage drops a file whose truncation was not finished */                      \
    M(MOVED_REMOVED)       /* survivors that the log does not name go although something is missing */       \
    M(MOVED_NOT_LOST)      /* salvage passes over survivors that the log does not name */                    \
    M(PARTS_LEFT)          /* survivors of a part of what is missing are nobody's */                         \
    M(VALUES_FORGOTTEN)    /* values of attributes among survivors, or behind damage, are nobody's */        \
    M(VALUES_GUESSED)      /* an attribute gets a value that may be of another */                            \
    M(RETIRE_YOUNG)        /* I4: a segment goes although a checkpoint needs its metadata */                 \
    M(NO_HOLD)             /* I4: segments are unlinked although the store is held */                        \
    M(NO_SYNCDIR)          /* I7: new segments are synced without their directory */                         \
    M(SYNC_BESIDE)         /* I11: what a mend's sync is told of lost writes nobody else hears */            \
    M(HEADER_UNSYNCED)     /* I7: a checkpoint names a segment whose header is not durable */                \
    M(NO_SEALED_SYNC)      /* I7: only the active segment is flushed */                                      \
    M(NO_BATCH_SUM)        /* I7: recovery believes every batch */                                           \
    M(BATCH_BELIEVED)      /* I10: the header of a batch says how much memory it takes */                    \
    M(NO_CHAIN)            /* I7: a batch need not follow the one before it */                               \
    M(NO_STORE_NUMBER)     /* I7: what looks like a batch is one, whoever wrote it */                        \
    M(NO_DURABLE_MARK)     /* I7: a bad batch ends the log also where it was durable once */                 \
    M(NO_SCAN)             /* I7: marks behind a bad batch are not looked for */                             \
    M(NO_TAIL_CONTENT)     /* I7: content beyond the mark is not verified by recovery */                     \
    M(REPLAY_UNCOUNTED)    /* a log that is replayed at each opening never gets its checkpoint */            \
    M(CKPT_MARK_LOST)      /* I7: a checkpoint that cannot be used says nothing of what was durable */       \
    M(HEADER_MARK_LOST)    /* I7: nor does the header of a segment */                                        \
    M(OTHERS_UNREAD)       /* what cannot be read in other segments may not have followed */                 \
    M(UNREAD_IS_TORN)      /* a read that fails ends the log beyond the mark, whatever follows */            \
    M(DISCARD_WHOLE)       /* opening removes segments that hold whole batches behind a bad one */           \
    M(UNREAD_LEFT)         /* nor is one kept that cannot be read in part: the next opening removes it */    \
    M(PASSED_BY_LOST)      /* repair does not look behind the bad batch that ended a log */                  \
    M(KEPT_OR_NOT)         /* the log goes on though such a segment could not be kept */                     \
    M(KEPT_REPLACED)       /* the number of one that is kept is used again, and then its name */             \
    M(CONTINUE_TORN)       /* a log goes on where it was torn, over what is evidence */                      \
    M(CONTINUE_HEADLESS)   /* a log goes on in a segment whose head cannot be read */                        \
    M(HEAD_WANTED)         /* a head that cannot be read refuses the log that goes on behind it */           \
    M(NO_MAKE_DURABLE)     /* I7: what recovery accepted is not made durable */                              \
    M(CHECKPOINT_UNSYNCED) /* I7: a checkpoint knows more than the durable log */                            \
    M(CKPT_FROM_CACHE)     /* I7: a checkpoint is adopted as memory shows it, durable or not */              \
    M(SCRUB_NO_IMAGES)     /* a scrub looks at no image of the index in a checkpoint */                      \
    M(SCRUB_HEALS_NOTHING) /* a scrub tells of what a recovery would miss, and leaves it so */               \
    M(NUMBERS_BELIEVED)    /* I10: whatever says so has used numbers of segments up */                       \
    M(MANIFEST_BELIEVED)   /* I10: a footer or root says how much memory is taken for what it leads to */    \
    M(HOLES_ARE_READ)      /* a search goes through a hole byte by byte, however large a file looks */       \
    M(MANY_CKPT_FILES)     /* a checkpoint may need any number of files */                                   \
    M(CHANGES_FORGOTTEN)   /* what a failed checkpoint was to write is not written by the next */            \
    M(UNIT_UNMARKED)       /* a record is changed, and no checkpoint is told */                              \
    M(SALVAGE_ALL_LOST)    /* a damaged part of the index costs all names */                                 \
    M(ONE_COPY)            /* the second copy of an image is looked for where the first is */                \
    M(COPY_UNSYNCED)       /* I7: the second copy of a checkpoint need not be durable */                     \
    M(ROOT_BEFORE_PIECES)  /* I7: a root is written before the pieces that it stands for are durable */      \
    M(UPGRADE_UNSAVED)     /* a store is of the new version before a checkpoint of that is */                \
    M(UPGRADE_UNLINKS)     /* checkpoints of the old version go before the store is of the new one */        \
    M(CLEAN_NAMED)         /* I4: cleaning frees an image file that is still named */                        \
    M(STRAYS_ARE_OURS)     /* salvage hands out what lies in segments of another store */                    \
    M(STRAYS_REMOVED)      /* finished checkpoints of another store are removed */                           \
    M(STRAY_WRITTEN)       /* a scrub writes a header of ours into a segment of another store */             \
    M(MADE_NAMES_STAY)     /* a memory loses its name to a directory that salvage called so */               \
    M(NO_CHUNK_SUM)        /* I10: chunks of a checkpoint are not verified */                                \
    M(NO_INDEX_VERIFY)     /* I10: the records of a checkpoint are not verified */                           \
    M(NO_REPLAY_VERIFY)    /* I10: what a log leads to is believed */                                        \
    M(MANY_XATTRS)         /* a file has any number of attributes */                                         \
    M(NO_LIST_LIMIT)       /* more attributes come in by bulk than can be listed */                          \
    M(NO_LOOP_CHECK)       /* a directory may be moved below itself */                                       \
    M(ALL_RESERVED)        /* a piece of a file is cut out with memory for copies of all of its extents */   \
    M(NO_FAILED_SYNC)      /* I11: a failed flush is forgotten */                                            \
    M(FORGET_SYNCDIR)      /* I11: a failed sync of the folder concerns its caller only */                   \
    M(NO_READ_ONLY)        /* I11: the store goes on after a failed flush */                                 \
    M(NO_MEDIUM_READ)      /* I11: the next life believes the page cache */                                  \
    M(GROUP_ALL)           /* I9: a group of a compaction has all victims, whatever is live in them */       \
    M(RETIRE_ALL_AT_ONCE)  /* all segments are looked at in one hold of log.lock */                          \
    M(LOOK_ALL_AT_ONCE)    /* as above, when figures of them are made or some are chosen */                  \
    M(RETIRE_LATE)         /* I9: victims stay until all are emptied */                                      \
    M(NO_INSTALLER_WAIT)   /* I9: a compaction hands over before its installer has ended */                  \
    M(TAIL_COMES_BACK)     /* a file grows over what a truncation has left to be freed later */              \
    M(NO_SLICES)           /* what frees many extents does it in one batch */                                \
    M(LATE_DRAFT)          /* content is read and hashed under log.lock */                                   \
    M(STALE_DRAFT)         /* a write takes a tail along that was read before it changed */                  \
    M(GOAL_IGNORED)        /* a writer on a full disk waits for all garbage instead of what it needs */      \
    M(FORCED_AGAIN)        /* each refused removal begins a compaction that is in vain */                    \
    M(TAKEN_IS_FUTILE)     /* a compaction whose gain others took counts as one that won nothing */          \
    M(ROOM_BELIEVED)       /* a change that is refused twice gives up if somebody has seen room meanwhile */ \
    M(REFUSAL_IS_SHORTAGE) /* where no room helps, a change is tried again as if the disk were full */       \
    M(GAIN_UNTOLD)         /* who waits for room is not told that some was won */                            \
    M(DAMAGE_CHOSEN)       /* a compaction goes for segments that keep nothing but damage */                 \
    M(REFUSAL_FORGOTTEN)   /* a compaction believes a disk that has refused what it said it had */           \
    M(AGE_ENDS)            /* a checkpoint that does not fit ends a compaction */                            \
    M(OLDER_OUTPUT)        /* I7: a copy may lie in a segment of a lower number than what it is of */        \
    M(GIVEN_UP_STAYS)      /* an output that is given up while the store is held stays until a remount */    \
    M(DROP_INSTALLED)      /* I8: a compaction that fails drops its copies, whatever was installed */        \
    M(COPY_DATED_LATE)     /* a copy of compaction is younger than what overwrites it meanwhile */           \
    M(DROP_UNREADABLE)     /* I5: what cannot be verified counts as moved */                                 \
    M(NUMBERS_AGAIN)       /* I1: a segment number is given out twice */                                     \
    M(USES_FORGOTTEN)      /* I1: a dropped chunk forgets how often its inodes were used */                  \
    M(PAST_AMONG_HEADS)    /* past states take their numbers between those of memories */                    \
    M(APART_FORGOTTEN)     /* a checkpoint does not say which chunks have past states alone */               \
    M(CREATE_IN_ORDER)     /* a replay wants each inode in the slot that is next */                          \
    M(STATE_TWICE)         /* all states that a batch makes have one name */                                 \
    M(DROP_IN_USE)         /* a chunk is dropped with what is left in it */                                  \
    M(FETCH_BESIDE)        /* a chunk that several need is fetched by each of them */                        \
    M(LOST_AS_ZEROS)       /* a writer is not told that it was given zeros for a chunk */                    \
    M(CHUNK_UNCHECKED)     /* I10: the records of a chunk are believed before all of them are verified */    \
    M(MISSED_FOR_GOOD)     /* a chunk that could not be read once is lost */                                 \
    M(MISSED_IS_ABSENT)    /* what lies in a part of the index that cannot be had is not there */            \
    M(LOAD_ERROR_LOST)     /* what the loader could not load counts as loaded */                             \
    M(LATE_DAMAGE_IGNORED) /* I10: a store whose index is found damaged goes on answering */                 \
    M(LATE_NOT_REMEMBERED) /* the run after one that found damage late looks for it as late */               \
    M(RETIRE_UNVERIFIED)   /* I4: segments go before the index that says so is verified */                   \
    M(NO_FETCH_AHEAD)      /* what a mutation needs of the index is read while readers wait */               \
    M(CLOSE_WAITS)         /* who closes a store waits for an index that cannot be loaded */                 \
    M(LOST_IS_REFUSED)     /* a store whose log makes good what a replay misses is refused */                \
    M(LATE_READ_ONLY)      /* read-only, damage is found late at each opening */                             \
    M(FROZEN_AT_ONCE)      /* batches beside a checkpoint are as large as others */                          \
    M(LOST_BELIEVED)       /* records may be neither in use nor free */                                      \
    M(PLACE_BELIEVED)      /* I10: a checkpoint may say that the log goes on where no batch can end */       \
    M(SEARCH_UNBOUND)      /* what looks like a batch is hashed however often that is */                     \
    M(FREE_BELIEVED)       /* I10: free chains may lead to what is in use, and buckets have some */          \
    M(FROZEN_SLICES)       /* slices beside a checkpoint are as large as others */                           \
    M(ONE_MERGE)           /* of the buckets that a removal joins the first alone is fetched ahead */        \
    M(NEIGHBOURS_AWAY)     /* leaves that a change takes along are read while readers wait */                \
    M(IMPATIENT)           /* what a change that is written needs is asked for once */                       \
    M(NAMES_FETCHED)       /* a name is put where chunks are read for a place */                             \
    M(NAMES_WALKED)        /* a name is put where all chunks are walked for a place */                       \
    M(TIDIED_AT_ONCE)      /* all that is stale of a stack of free names goes in one call */                 \
    M(RUNS_DOUBLED)        /* what is known of free names doubles in one call */                             \
    M(GROWN_TAKEN)         /* names go into free runs that have grown, by entries that are stale */          \
    M(NO_FREEZE_ROOM)      /* a freeze gets its memory under the locks */                                    \
    M(WAIT_UNLOCKED)       /* who waits for a position comes between a batch and its waking */               \
    M(FEED_GAP)            /* a reader of the feed is not told that it fell behind */                        \
    M(COMMIT_WAITS)        /* commits wait for the checkpoint under way */                                   \
    M(LOOK_FREES_ALL)      /* who reads figures frees all that strangers have removed */                     \
    M(NO_ORPHANS)          /* what was unlinked while open is not freed after a crash */                     \
    M(ECHO_IS_LOG)         /* the echo is read from the log that it is to stand in for */                    \
    M(ECHO_OVER_LOG)       /* the echo is asked before the log */                                            \
    M(ECHO_UNCHAINED)      /* a batch of the echo need not follow the one before it */                       \
    M(ECHO_UNSYNCED)       /* a batch comes to the echo before it is durable in the log */                   \
    M(ECHO_STALE)          /* an echo that tells of another past than the log stays */                       \
    M(SORTED_EACH_TIME)    /* records of the echo are sorted with each of its files that was read */         \
    M(ALL_REFS_KEPT)       /* an opening keeps records of the echo that the checkpoint has        */         \
    M(ASIDE_UNVERIFIED)    /* a segment is set aside before the index is verified                 */         \
    M(OLD_GOES_AT_ONCE)    /* what the checkpoint has of the echo goes before that is verified    */         \
    M(NOT_LOADED_AGAIN)    /* the echo is not read again for an older checkpoint                  */         \
    M(EIO_PASSES_ALONE)    /* other errors with the echo are none of the moment                   */         \
    M(ENOENT_IS_GONE)      /* an echo that is not found once is gone                              */         \
    M(HELD_STAYS_OPEN)     /* what a checkpoint in a hold has of the echo stays open              */         \
    M(HELD_IS_LOST)        /* a copy of a held folder gets what was written meanwhile, without content */    \
    M(HELD_IS_SHORT)       /* what was written in a hold and is damaged is left out */                       \
    M(UNREAD_ECHO_IS_END)  /* a second copy of the log that cannot be read just now is none */               \
    M(UNREAD_IS_CUT)       /* an echo is cut where it cannot be read */                                      \
    M(KEPT_AGAIN)          /* the number of an echo that was set aside is used again */                      \
    M(GONE_IS_THERE)       /* batches in an echo that goes are not written anew */                           \
    M(STORE_IS_COPY)       /* what was written in a hold is taken for a copy of the folder, by itself */     \
    M(COPY_STAYS)          /* a copy of a held folder is one for good, whatever was done with it */          \
    M(CUT_UNSYNCED)        /* an echo becomes this store's before what it has too much is cut, durably */    \
    M(TORN_GOES)           /* a torn echo goes with the opening, whatever it alone vouches for */            \
    M(GATHERS_FIRST)       /* an opening writes the first batches of the log to the echo, not the last */    \
    M(GATHERED_ANYHOW)     /* what could not be written to another echo is taken to be there */              \
    M(UNREAD_CKPT_IS_NONE) /* a checkpoint that cannot be read just now is none */                           \
    M(ECHO_UNCALLED)       /* where nobody commits the second copy of the log does not become durable */     \
    M(UNECHOED)            /* while not all is loaded the second copy of the log does not become durable */  \
    M(GAPS_ARE_DAMAGE)     /* what a cut of the power has torn out of an echo is called damage */            \
    M(GAPS_ARE_TORN)       /* what was durable is called torn */                                             \
    M(COPY_UNMENDED)       /* what a second copy of a small file is to stand in for stays damaged */         \
    M(SUMMARY_SHORT)       /* a summary leaves extents out */                                                \
    M(SUMMARY_BELIEVED)    /* a summary is not compared with its sums */                                     \
    M(SUMMARY_UNCOUNTED)   /* what a summary has missed is not looked for in the index */                    \
    M(WINDOW_AGAIN)        /* a scrub asks again for what it could not read ahead, with each range */        \
    M(ERRORS_UNCOUNTED)    /* a scrub comes to its gate by what it could read */                             \
    M(LOST_REFUSED)        /* an opening refuses an index of which a record is neither free nor in use */    \
    M(CUT_IS_WHOLE)        /* a segment that was cut is said to have all that it had */                      \
    M(SUMMARY_UNSYNCED)    /* the summary of survivors is not made durable */                                \
    M(ALL_METADATA_SPENT)  /* the heads of survivors count as garbage, too, which compaction cannot win */   \
    M(RETIRE_BEGINNING) /* that in which the log goes on behind the newest checkpoint goes if it is empty */ \
    M(RETIRE_LIVE)      /* I4: a segment goes although something in it is live */                            \
    M(OWNER_BY_SLOT)    /* whatever lies in the slot of an extent's owner counts as that extent's */         \
    M(NO_RESERVE)       /* no space is set aside for a full disk */                                          \
    M(RESERVE_GROWS)    /* the reserve stays as large as it was */                                           \
    M(GIVEN_BACK_WHOLE) /* for a checkpoint, the reserve, whatever it needs */                               \
    M(VAIN_COPIES_STAY) /* what was copied in vain keeps its room */                                         \
    M(UNINSTALLED_KEPT) /* what of a segment of survivors was not installed counts as needed */              \
    M(INSTALLER_KEEPS)  /* the same where the installer has it */                                            \
    M(CUT_UNCOUNTED)    /* what was cut of survivors counts as their payload */                              \
    M(BESIDE_UNCUT)     /* what was copied in vain beside an installer, and then without it, stays */        \
    M(ONE_PIECE)        /* what the reserve grows by is one extent */                                        \
    M(EXTENTS_STAY)     /* a reserve whose extents are in use is not made anew */                            \
    M(TAKEN_IS_WRITTEN) /* a removal leaves no room for what a checkpoint under way has to write */          \
    M(OWN_CHANGE_FREE)  /* a removal leaves room for what has changed before it only */                      \
    M(UNTOLD_ALLOWS)    /* a disk that does not tell its space has some for a checkpoint */                  \
    M(NOTHING_REMOVES)  /* a hole where nothing is counts as a removal */                                    \
    M(NEIGHBOUR_UNPROVED)  /* a block that one copy has lost is mended with what is bad in the other */      \
    M(SYNCED_IN_PART)      /* the echo calls batches durable behind one that it lacks */                     \
    M(LAST_IS_BEST)        /* of several records of a batch any will do */                                   \
    M(SETTLED_ANYHOW)      /* I11: a checkpoint is adopted although neither copy could be made durable */    \
    M(END_BEHIND_HOLE)     /* a copy of a checkpoint that was cut gets its end, and is called mended */      \
    M(END_UNWRITTEN)       /* the end of a copy is called mended without a write */                          \
    M(SHORT_UNTOLD)        /* nobody is told of a copy of a checkpoint that is too short */                  \
    M(END_UNREAD)          /* the log goes on in a block that was not read */                                \
    M(END_CACHED)          /* what is in memory of that block proves that it can be */                       \
    M(LOG_STAYS)           /* a segment that cannot be written is not left */                                \
    M(LEFT_UNCUT)          /* one is left with what there is of a batch that failed */                       \
    M(LEFT_EACH_TIME)      /* one is left for each batch that fails */                                       \
    M(WALKED_FOR_EACH)     /* each relocation of an xattr goes through the file's list */                    \
    M(WALKS_UNCOUNTED)     /* those of a batch may be of any number of long lists */                         \
    M(LOOKED_FOR_EACH)     /* each xattr to be copied is looked for in the file's list */                    \
    M(LOOKS_UNCOUNTED)     /* those of a step are looked for in one hold, in any number of lists */          \
    M(BIT_LATE)            /* what a feature bit lets be written is written before the bit */                \
    M(BIT_IN_HOLD)         /* a feature bit is set while the store is held */                                \
    M(PAST_NAME_FREED)     /* an inode is freed although a past name leads to it */                          \
    M(COOKIE_COUNTED)      /* cookies do not tell the batch, although there is a past */                     \
    M(KEPT_IS_ORPHAN)      /* an inode without a name is an orphan, whatever past names it has */            \
    M(TEXT_FREED_TWICE)    /* a past name that is dropped frees a text that an older one shares */           \
    M(SHOWN_TWICE)         /* a listing at a batch shows what was there, and what is there now */            \
    M(APPEND_KEEPS_TAIL)   /* what a write takes along, the past keeps as it was, too */                     \
    M(GATHER_IS_CHANGE)    /* what only comes to another place counts as written */                          \
    M(REWRITE_UNVERIFIED)  /* recovery believes content of which only a part was said to be new */           \
    M(REWRITE_UNNOTED)     /* a summary has such content as the value of an attribute */                     \
    M(REWRITE_UNSCANNED)   /* one that is made of the batches lacks it */                                    \
    M(REWRITE_UNTOLD)      /* the feed passes it by */                                                       \
    M(SNAPSHOT_UNSEEN)     /* a state that a snapshot sees is not kept when it ends */                       \
    M(REPLACED_UNSEEN)     /* a state in which a past name of its inode ended is not kept */                 \
    M(SHORT_STATE_SHOWN)   /* a history keeps each state, however short */                                   \
    M(SETTLED_BY_CTIME)    /* the ctime tells whether a state is settled */                                  \
    M(KEEP_UNLOGGED)       /* I12: a recovery does not learn which states were kept */                       \
    M(KEPT_USES)           /* a removal that a snapshot keeps may use of the reserve what any other may */   \
    M(DROPPED_EARLY)       /* with a snapshot goes what another one sees */                                  \
    M(EXPIRED_EARLY)       /* what a history keeps goes as soon as no snapshot sees it */                    \
    M(AGE_BY_CLOCK)        /* the clock of people says how old a past state is */                            \
    M(FLOOR_LATE)          /* the floor rises when what lies below it has gone */                            \
    M(HISTORY_STAYS)       /* a full disk refuses changes, whatever a history keeps */                       \
    M(SHORT_KEEPS)         /* what is removed from a full disk is kept all the same */                       \
    M(COUNTED_TWICE)       /* a state goes in which a past name ended: the one before it counts that, too */ \
    M(AMEND_FREES)         /* what a state that is not kept loses is freed, whatever a past state reads */   \
    M(VIEW_DROPPED)        /* the job `history` asks snapshots alone, not the views in use */                \
    M(CHUNK_PASSED_BY)     /* a comparison of two moments passes by what was written since the first one */  \
    M(RESTORE_UNKEPT)      /* what a restored memory was before is kept only if it was settled */            \
    M(RESTORE_IN_PART)     /* fields come back in a batch behind that of the content */                      \
    M(RESTORE_COPIES)      /* content of the memory itself is copied when it is restored */                  \
    M(ROLLBACK_IN_PART)    /* what goes in a rollback goes in a batch of its own */                          \
    M(ROLLBACK_PLAN_STALE) /* a rollback does not look what has changed since it was planned */              \
    M(ROLLBACK_UNKEPT)     /* what a rollback ends is not kept */                                            \
    M(RESTORE_PLAN_STALE)  /* what is written between the looking and the batch is not looked for */         \
    M(RESTORE_VIEW_GOES)   /* what has no room takes away what a memory is to become */                      \
    M(RESTORE_HOLDS_UP)    /* as much is compared under log.lock as before it is taken */                    \
    M(RESTORE_RECALLS)     /* fields that a history ignores go back as others do */                          \
    M(FIRST_PIECE_ASKED)   /* it asks the oldest piece of a part of the index when that was written */       \
    M(LATE_NAMES_MISSED)   /* names that end while it looks for them are in no part of the index */          \
    M(VIEW_UNKEPT)         /* what only a view in use sees is not kept when it is changed */                 \
    M(SALVAGED_EXACT)      /* what a salvage leaves of the past counts as all of it */                       \
    M(VALUES_UNCOUNTED)    /* history_bytes counts no values of attributes */                                \
    M(NUMBERS_USED_UP)     /* a history takes all numbers of a line */                                       \
    M(OLDER_UNASKED)       /* a state stays since a name ended in it, though no older one is left */         \
    M(MOMENTS_UNASKED)     /* all moments that are old go */                                                 \
    M(PLACES_COUNTED)      /* past names of one path are not counted beyond their place in the folder */     \
    M(LIVE_BEGINS_EARLY)   /* what a live name begins with goes, being one of too many */                    \
    M(LINES_STAY_LONG)     /* what gets long is cut by the hour alone */                                     \
    M(NOTHING_IGNORED)     /* fields of history_ignore end a state as others do */                           \
    M(SET_BACK_UNSEEN)     /* a folder that was changed as the clock had been set back is believed */        \
    M(SNAPSHOT_TELLS_TIME) /* the time of the floor is that of a snapshot, with which it goes */             \
    M(WAY_FORGOTTEN)       /* each state that goes is looked for from the head of its line on */             \
    M(VIEW_AMENDED)        /* what is short goes under a view in use that is of no snapshot */               \
    M(STATE_TOO_EARLY)     /* a past view shows what was before its batch */                                 \
    M(LINKS_AS_RECORDED)   /* a past view counts no links that ended since */                                \
    M(FOLDER_AS_IT_IS)     /* a past view shows a folder's record, whatever has happened to its names */     \
    M(LISTED_IN_PART)      /* a listing of a past folder ends where a slice of it does */                    \
    M(LINE_FROM_TWO_SECTIONS) /* a past view's reader that begins anew believes where it found the state */  \
    M(PAST_PIN_LATE)          /* what a past view's reader has not pinned in time is damaged */              \
    M(PAST_HAS_NO_HOLES)      /* what has ended takes as many blocks as its size has */                      \
    M(MOMENT_GOES_ON)         /* what comes later belongs to a moment that was looked at */                  \
    M(FIRST_MOMENT)           /* what was at a time is looked for from the first moment on, not the last */  \
    M(FLOOR_UNSEEN)           /* a past view goes on when the floor has passed it */                         \
    M(WRONG_NEIGHBOUR)        /* a past state reads what it lacks from the head at once */                   \
    M(HOLE_UNMARKED)          /* what was a hole when a state ended is as it was filled later */             \
    M(ABSENT_UNMARKED)        /* an xattr that was not there when a state ended is as it was set later */    \
    M(ABSENT_STAYS)           /* that it was not there is noted for ever, though it has come and gone */     \
    M(UNSEEN_STAYS)           /* what is written to a removed file stays as long as a snapshot shows that */ \
    M(NAMELESS_KEPT)          /* a snapshot keeps the state of a removed file that is still open */          \
    M(FREES_UNGATED)          /* a job that is cancelled frees all orphans first */                          \
    M(CLOSE_FREES_ALL)        /* who closes a store waits until all orphans are freed */                     \
    M(HOUSE_FREES_ALL)        /* and until the housekeeper has freed them */                                 \
    M(SWEEP_UNCALLED)         /* a job `history` that failed is not tried again unless something happens */  \
    M(KEPT_UNCOUNTED)         /* what snapshots alone show counts as memories */                             \
    M(HOLES_STAY)             /* a hole is noted for ever, though what it hides has come and gone */         \
    M(TAIL_IS_DEAD)           /* what a truncation has left is no past state's */                            \
    M(TAIL_IS_LIVE)           /* where a file has grown again a past state reads what it has now */          \
    M(THIN_FREES)             /* what a dropped past state has is freed, whatever an older one reads */      \
    M(END_UNMARKED)           /* the end of a past state is forgotten with it */                             \
    M(LEAP_UNMARKED)          /* what came back from a past state to the present one is no more in it */     \
    M(LEAP_DROPPED)           /* what a leap leads to is freed with the state that has it */                 \
    M(LEAP_TOO_SHORT)         /* a leap leads to the next newer state */                                     \
    M(LEAP_INTO_TAIL)         /* a truncation leaves a tail to which a leap leads past the state before */   \
    M(PAST_UNASKED)           /* of a line the head alone is asked what of it lies in a segment */           \
    M(PAST_DATED_LATE)        /* a copy for a past state is dated as if it were of what there is now */      \
    M(GUESSED_MOVE)           /* a survivor is taken for that of several states that comes first */          \
    M(NEWER_LOST_KEPT)        /* a past state stays although a newer one of its line is lost */              \
    M(FOLLOWS_REPLACED)       /* a line comes along from before its inode took another's place */            \
    M(EACH_STATE_SHOWN)       /* a version is shown as each of its states was, one after the other */        \
    M(REPLACED_LEFT)          /* what a former name led to before it took another's place stays behind */    \
    M(LATE_EVENTS_MISSED)     /* names that end while links are looked for tell of no change */              \
    M(EVENTS_OF_ALL_CHUNKS)   /* what happened is looked for in what was not written since */                \
    M(EVENTS_BY_NAMES_OF_NOW) /* the path of an event is that of now */                                      \
    M(LINKED_LEFT)            /* what has another name does not come back with its folder */                 \
    M(LINKED_BEFORE)          /* what came back elsewhere is taken for what has another name */              \
    M(CHAIN_WALKED_AGAIN)     /* of an inode each name that was removed asks for all that it had */          \
    M(REMOVALS_FOUND_AGAIN)   /* each removal asks for all of its name */                                    \
    M(LIVES_FOUND_AGAIN)      /* lives in a folder are looked for each time that the path led to it */       \
    M(MOVED_IS_DELETED)       /* what was renamed away counts as removed, once its inode has no name */      \
    M(UNDELETES_ALL)          /* a folder comes back with what others had removed below it */                \
    M(REVIVED_UNKEPT)         /* no state is kept of what had no name when it gets one again */              \
    M(ACTOR_OF_FIRST)         /* who made a file is taken for who changed it */                              \
    M(ACTOR_OF_LAST)          /* of each state that a path showed who made the present one is told */        \
    M(GUARD_BEFORE_LOCK)      /* a guard is looked at before the lock is taken */                            \
    M(GUARD_STAYS)            /* a stored guard stays though its rename was done */                          \
    M(GUARD_LISTED)           /* it is listed as other attributes are */                                     \
    M(GUARD_IN_STATE)         /* setting it changes the state */                                             \
    M(GATHER_MOVES_STATE)     /* content that comes to another place is another state, without a history */  \
    M(GUARD_STALE_PROOF)      /* a digest of what the target was stands for what it is */                    \
    M(PUT_IN_PART)            /* of records that are put all together each is a batch */                     \
    M(SAME_IS_ANOTHER)        /* a path that shows the same by another inode shows another version */        \
    M(EQUAL_REFUSED)          /* a target with the content of the source is another one */                   \
    M(CKPT_UNTIDY)            /* a tidy checkpoint spares what any other does */                             \
    M(NO_LOCK)                /* the store is not locked */

#define MUTANT_ENUM(name) MUTANT_##name,
enum mutant { MUTANT_NONE, MUTANT_LIST(MUTANT_ENUM) MUTANT_COUNT };
#undef MUTANT_ENUM

#define MUTANT_UNKNOWN 99 /* how a program ends whose $ENG_MUTANT is no name of the list */

#ifdef ENG_MUTANTS
/* Set from $ENG_MUTANT, a name of the list, before main(). Immutable while threads run. */
extern __attribute__((visibility("default"))) enum mutant fault_mutant;
#define MUTANT(m) (fault_mutant == MUTANT_##m)
/* Bytes of content that threads have hashed, to write or to verify, with log.lock held for a mutation. */
extern __attribute__((visibility("default"))) _Atomic uint64_t fault_hashed_locked;
/* This thread got log.lock for a mutation, or let it go. */
void fault_mutation(bool held);
void fault_hashes(uint32_t bytes);
#else
#define MUTANT(m) false
static inline void fault_mutation(bool held)
{
    (void)held;
}
static inline void fault_hashes(uint32_t bytes)
{
    (void)bytes;
}
#endif

#endif
