#!/usr/bin/env bash
# summaries.sh - finding what is live in a segment by its summary, and by the walk through the whole index that was the
# only way before, in turn in one run: for one victim of a compaction, and for a scrub of all segments. What the two find
# is compared. Prints a table; the last line is the same as JSON.
#
#   tests/bench/summaries.sh [BUILD] [MEMORIES] [SCRUBBED]
#
# MEMORIES (1000000; 10000000 take 6 GB under TMPDIR and 2.5 GB of memory) of 300 bytes for the victims; SCRUBBED (400000)
# in segments of 200 memories each. Times of the processor, in ms; where the machine is idle those of the clock are the same.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
SUMMARIES=$BUILD/tests/bench/summaries

victim=$("$SUMMARIES" victim "$WORK/victim" "${2:-1000000}") || exit 1
rm -rf "$WORK/victim"
scrub=$("$SUMMARIES" scrub "$WORK/scrub" "${3:-400000}" 65536) || exit 1
rm -rf "$WORK/scrub"
python3 - "$victim" "$scrub" <<'P'
import json, sys
victim, scrub = map(json.loads, sys.argv[1:])
row = "{:58} {:>10} {:>10} {:>8}".format
print(row("", "summary", "walk", "faster"))
def tell(what, summary, walk):
    print(row(what, f"{summary:.2f} ms", f"{walk:.2f} ms", f"{walk / summary:.1f}x"))
for key, words in ("in_order", "written in order"), ("at_random", "overwritten at random"):
    tell(f"one victim beside {victim['memories']} memories, {words}",
         victim[f"{key}_summary_cpu_ms"], victim[f"{key}_walk_cpu_ms"])
tell(f"{scrub['segments']} segments beside {scrub['memories']} memories", scrub["summary_cpu_ms"], scrub["walk_cpu_ms"])
print(json.dumps({"victim": victim, "scrub": scrub}))
P
