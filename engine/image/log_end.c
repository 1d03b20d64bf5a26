/*
 * log_end.c - where a log ends, and what was behind that. Runs before any thread starts. */
#include "image/recovery.h"

#include "image/checkpoint.h"

#include <stdio.h>

#define TORN_SECTORS_MAX (64u << 10) /* bytes that a cut of the power may leave unreadable */

uint64_t recovery_last_whole(const struct recovery *rec)
{
    uint64_t last = 0;
    for (size_t i = 0; i < rec->n_segs; i++)
        last = MAX_OF(last, rec->segs[i].last);
    return last;
}

/*
 * The log ends at a batch that cannot be read. That is a torn end if nothing whole was written behind it, and
 * all else can be read. Otherwise the batch may be as good as those that follow, and to go on without it
 * would give them up: the next opening may read it. */
static int end_unread(struct recovery *rec)
{
    uint64_t last = recovery_last_whole(rec);
    bool unread = rec->at->unread > TORN_SECTORS_MAX;
    if (rec->unread != rec->seq + 1 || MUTANT(UNREAD_IS_TORN))
        return 0;
    for (size_t i = 0; i < rec->n_segs; i++)
        unread = unread || (&rec->segs[i] != rec->at && rec->segs[i].unread && !MUTANT(OTHERS_UNREAD));
    bool followed = last > rec->unread; /* its own ops may be whole, and its content not */
    if (followed)
        snprintf(rec->why, 256,
                 "batch %llu (segment s%08x.seg, offset %llu) cannot be read, and others up to batch %llu "
                 "follow it",
                 (unsigned long long)rec->unread, rec->at->id, (unsigned long long)rec->offset,
                 (unsigned long long)last);
    else if (unread)
        snprintf(rec->why, 256,
                 "too much of the end of the log cannot be read, from s%08x.seg, offset %llu on", rec->at->id,
                 (unsigned long long)rec->offset);
    else
        report_line(&rec->eng->report, ENG_LOG_WARNING,
                    "s%08x.seg, offset %llu: cannot be read, and nothing follows: the log ends here",
                    rec->at->id, (unsigned long long)rec->offset);
    return followed || unread ? -EIO : 0;
}

int recovery_unreadable_end(struct recovery *rec)
{
    for (size_t i = 0; i < rec->n_segs; i++) {
        const struct seg_file *sf = &rec->segs[i];
        if (!sf->unreadable || sf->valid || sf->used || index_segment(&rec->eng->idx, sf->id) ||
            sf->id < rec->first_new)
            continue;
        snprintf(rec->why, 256, "segment s%08x.seg: its header cannot be read, and the log may go on in it",
                 sf->id);
        return -EIO;
    }
    return 0;
}

/* Format 1 gave an emptied one back, of which nobody lost content; format 2 keeps it (keepers.c). */
static bool is_missing(const struct recovery *rec)
{
    const struct seg_rec *seg = index_segment(&rec->eng->idx, rec->lacks);
    if (rec->at)
        return rec->at == &rec->absent;
    return rec->lacks && (!rec->eng->checkpoints->is_v1 || (seg && seg->live));
}

/* What came behind the end of the log in that segment, if anything did, is lost. Nobody knows, so that is
 * said and refuses nothing: the second copy has all but what a cut of the power took. */
static void tell_cut_off(struct recovery *rec)
{
    bool missing = is_missing(rec), shorter = !missing && rec->at && rec->offset > rec->at->size;
    if (!(shorter || missing) || MUTANT(CUT_IS_END))
        return;
    uint32_t id = rec->at ? rec->at->id : rec->lacks;
    report_line(&rec->eng->report, ENG_LOG_WARNING,
                "s%08x.seg is %s: what the log had in it behind batch %llu, if it did, is lost", id,
                shorter ? "shorter than it was" : "missing", (unsigned long long)rec->seq);
    if (rec->eng->opt.salvage)
        rec->eng->lost_after = rec->seq;
}

int recovery_pass_if_salvage(struct recovery *rec, int r)
{
    if (!r || !rec->eng->opt.salvage)
        return r;
    if (!MUTANT(UNREAD_IS_NOTHING)) {
        report_line(&rec->eng->report, ENG_LOG_WARNING, "%s", rec->why);
        rec->eng->lost_after = rec->seq;
    }
    rec->why[0] = 0;
    return 0;
}

int recovery_end_of_log(struct recovery *rec)
{
    int r = recovery_pass_if_salvage(rec, recovery_unreadable_end(rec));
    tell_cut_off(rec);
    if (!r && rec->at && rec->seq >= rec->mark)
        r = recovery_pass_if_salvage(rec, end_unread(rec));
    uint64_t last = MAX_OF(rec->mark, recovery_last_whole(rec));
    if (!r && rec->seq < last && rec->eng->opt.salvage) {
        const char *was = rec->seq < rec->mark ? "durable" : "written";
        report_line(
            &rec->eng->report, ENG_LOG_WARNING,
            "the log is damaged behind batch %llu (segment s%08x.seg, offset %llu); batch %llu was %s",
            (unsigned long long)rec->seq, rec->at ? rec->at->id : 0, (unsigned long long)rec->offset,
            (unsigned long long)last, was);
        rec->eng->lost_after = rec->seq;
    } else if (!r && rec->seq < rec->mark && !MUTANT(NO_DURABLE_MARK)) {
        snprintf(rec->why, 256,
                 "the log ends at batch %llu (segment s%08x.seg, offset %llu) but batch %llu was durable: "
                 "damaged; "
                 "restore from a copy",
                 (unsigned long long)rec->seq, rec->at ? rec->at->id : 0, (unsigned long long)rec->offset,
                 (unsigned long long)rec->mark);
        r = -EBADMSG;
    }
    return r;
}

void recovery_count_lost(struct recovery *rec)
{
    struct eng *eng = rec->eng;
    uint64_t last = MAX_OF(rec->seq, MAX_OF(rec->mark, recovery_last_whole(rec)));
    if (eng->lost_after != UINT64_MAX) /* where nothing of it can be read there was one, for all we know */
        eng->lost_batches = last > eng->lost_after ? last - eng->lost_after : 1;
}
