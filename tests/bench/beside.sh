#!/usr/bin/env bash
# beside.sh - what the index costs, this tree beside another commit, in turn in one run: bytes of checkpoints for bytes of
# log after random overwrites, memory a memory, a scrub, a compaction of one victim, what is left of memories that were
# removed, and how long an operation is held up by checkpoints. Prints a table; the last line is the same as JSON.
#
#   tests/bench/beside.sh [BUILD] [COMMIT] [MEMORIES] [VICTIMS]
#
# COMMIT (929e3dc) is built in a worktree of its own, which is removed, or taken from the folder OLD if that is set.
# MEMORIES (1000000) for overwrites and hold-ups; VICTIMS (MEMORIES; 10000000 take 6 GB under TMPDIR and 2.5 GB of memory)
# beside the one victim. ONLY="overwrites scrub" runs these alone; another measure is a subcommand of beside.c, a line in
# MEASURES, and rows in the table. Times are of the processor but for hold-ups. What is compared ran under one load.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
COMMIT=${2:-929e3dc} MEMORIES=${3:-1000000}
VICTIMS=${4:-$MEMORIES}
BEFORE=${OLD-}
if [ -z "$BEFORE" ]; then
    BEFORE=$WORK/before
    git -C "$ROOT" worktree add --detach "$BEFORE" "$COMMIT" >"$WORK/build.log" 2>&1 || exit 1
    # shellcheck disable=SC2064
    trap "git -C '$ROOT' worktree remove --force '$BEFORE'" EXIT
fi
[ -e "$BEFORE/build/build.ninja" ] || meson setup "$BEFORE/build" "$BEFORE" >"$WORK/build.log" 2>&1 || exit 1
ninja -C "$BEFORE/build" engine/libengramfs-engine.a >"$WORK/build.log" 2>&1 || {
    tail "$WORK/build.log"
    exit 1
}
# program TREE OUT [FLAGS]: beside.c with the engine of TREE
program() {
    local tree=$1 out=$2
    shift 2
    # shellcheck disable=SC2046
    cc -O2 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 "$@" -I"$tree/engine" "$ROOT/tests/bench/beside.c" \
        -Wl,--wrap=pwritev64 "${LIBRARY:-$tree/build/engine/libengramfs-engine.a}" \
        $(pkg-config --cflags --libs libxxhash nettle) -lpthread -lm -o "$out" || exit 1
}
program "$BEFORE" "$WORK/beside-before" -DOLD
LIBRARY=$BUILD/engine/libengramfs-engine.a program "$ROOT" "$WORK/beside-now"

MEASURES="overwrites:$MEMORIES:20000 scrub:400000 victim:$VICTIMS shrunk:300000 holdup:$MEMORIES:20"
for measure in $MEASURES; do
    IFS=: read -r what n m <<<"$measure"
    [[ " ${ONLY-$what} " == *" $what "* ]] || continue
    for which in before now; do
        "$WORK/beside-$which" "$what" "$STORE" "$n" ${m:+"$m"} >"$WORK/$what.$which" || exit 1
        rm -rf "$STORE" "$STORE.new"
    done
done
python3 - "$WORK" "$COMMIT" <<'P'
import json, os, sys
work, commit = sys.argv[1:]
both = {}
for name in os.listdir(work):
    what, _, which = name.partition(".")
    if which in ("before", "now"):
        both.setdefault(what, {})[which] = json.load(open(f"{work}/{name}"))
row = "{:62} {:>12} {:>12} {:>9}".format
print(row("", commit, "now", "now/" + commit[:4]))
def tell(words, what, value):
    if what in both:
        a, b = value(both[what]["before"]), value(both[what]["now"])
        print(row(words.format(**both[what]["now"]), f"{a:.2f}", f"{b:.2f}", f"{b / a:.3f}" if a else "-"))
tell("bytes of checkpoints a byte of log, {memories} memories", "overwrites", lambda m: m["checkpoint_bytes_a_log_byte"])
tell("bytes of memory a memory, opened again", "overwrites", lambda m: m["memory_a_memory"])
tell("scrub of {segments} segments beside {memories}, CPU ms", "scrub", lambda m: m["scrub_cpu_ms"])
tell("compaction of one victim beside {memories}, CPU ms", "victim", lambda m: m["compaction_cpu_ms"])
tell("{memories} removed: memory of the index against a new store", "shrunk", lambda m: m["shrunk_index"] / m["new_index"])
tell("{memories} removed: checkpoints against a new store", "shrunk", lambda m: m["shrunk_checkpoints"] / m["new_checkpoints"])
tell("overwrite, longest, no checkpoints, ms", "holdup", lambda m: m["alone_max_ms"])
tell("overwrite, longest, beside checkpoints, ms", "holdup", lambda m: m["beside_max_ms"])
tell("overwrite, 99.9 %, no checkpoints, ms", "holdup", lambda m: m["alone_p999_ms"])
tell("overwrite, 99.9 %, beside checkpoints, ms", "holdup", lambda m: m["beside_p999_ms"])
tell("longest not durable with commit_ms=100, no checkpoints, ms", "holdup", lambda m: m["alone_undurable_ms"])
tell("longest not durable with commit_ms=100, beside them, ms", "holdup", lambda m: m["beside_undurable_ms"])
print(json.dumps(both))
P
