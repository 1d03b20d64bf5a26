#!/usr/bin/env bash
# history.sh - what the past costs, side by side in one run: create, overwrite, replace and unlink in the engine and through a
# mount, without a history, with one, and with snapshots besides, beside another version that knows of neither; a snapshot of
# many memories while two threads write; memory for each state that is kept; the 100th version back; appends; and what is left
# on the disk when a history has expired. Prints a table; the last line is the same as JSON.
#
#   tests/bench/history.sh [BUILD] [N [MEMORIES]]
#
# N (20000): memories for the costs of operations; MEMORIES (1000000) under the snapshot. ROUNDS=N (15) of each of what is
# compared, in turn, in another order each time: of each the median, of each quotient the median and an interval that has it in
# 95 of 100 cases. With OTHER=SOURCE, built in SOURCE/build, that version beside these (a commit without history: 1ef5287).
# ONLY="engine mount snapshot memory read appends du" runs these alone. Needs a compiler, some 3 KB a memory under TMPDIR, and for
# the mount /dev/fuse.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
N=${2:-20000} MEMORIES=${3:-1000000} ROUNDS=${ROUNDS:-15} PROGRAM=$WORK/history NOW=$ENGRAMFS
wanted() { [[ " ${ONLY-$1} " == *" $1 "* ]]; }
# program OUT TREE LIBRARY [DEFINE]
program() {
    # shellcheck disable=SC2046,SC2086  # may be none
    cc -O2 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 ${4:-} -I"$2/engine" -o "$1" "$ROOT/tests/bench/history.c" \
        "$3/engine/libengramfs-engine.a" $(pkg-config --cflags --libs libxxhash nettle) -lpthread -lm || exit 1
}
program "$PROGRAM" "$ROOT" "$BUILD"
WHO=(off history on)
if [ -n "${OTHER:-}" ]; then
    program "$PROGRAM-before" "$OTHER" "$OTHER/build" -DBEFORE
    WHO=(before "${WHO[@]}")
fi
# once FILE PROGRAM ARGUMENT...: its JSON is a line more of FILE
once() {
    local file=$1
    shift
    rm -rf "$STORE"
    timeout 3600 "$@" >>"$file" || not_ok "${*:2:2}" "it failed"
    rm -rf "$STORE"
}
engine() { # WHO
    case $1 in
    before) once "$WORK/engine.before" "$PROGRAM-before" ops "$STORE" "$N" off ;;
    *) once "$WORK/engine.$1" "$PROGRAM" ops "$STORE" "$N" "$1" ;;
    esac
}
of_mount() { # WHO
    local more=()
    rm -rf "$STORE"
    ENGRAMFS=$NOW
    [ "$1" != before ] || ENGRAMFS=$OTHER/build/fs/engramfs
    must_mount "$STORE" "$MNT"
    case $1 in history | on) echo history=30d >"$MNT/.engram/config" ;; esac
    [ "$1" != on ] || more=("$MNT/.engram/snapshots")
    mkdir "$MNT/files"
    "$PROGRAM" files "$MNT/files" "$N" "${more[@]}" >>"$WORK/mount.$1" || not_ok "$1 through a mount" "it failed"
    unmount_store "$MNT"
    rm -rf "$STORE"
    ENGRAMFS=$NOW
}
# rounds COMMAND: of each of WHO in turn, another one first each time
rounds() {
    local round i
    for ((round = 0; round < ROUNDS; round++)); do
        for ((i = 0; i < ${#WHO[@]}; i++)); do
            "$1" "${WHO[(round + i) % ${#WHO[@]}]}"
        done
    done
}
if wanted engine; then rounds engine; fi
if wanted mount; then rounds of_mount; fi
if wanted snapshot; then once "$WORK/snapshot" "$PROGRAM" snapshot "$STORE" "$MEMORIES" "$ROUNDS"; fi
if wanted memory; then
    for what in append overwrite chmod replace unlink; do
        for mode in off history; do
            once "$WORK/memory.$what.$mode" "$PROGRAM" memory "$STORE" $((5 * N)) $mode $what
        done
    done
fi
if wanted read; then once "$WORK/read" "$PROGRAM" read "$STORE"; fi
for what in appends du; do
    for mode in off history; do
        size=$((5 * N)) # of few memories the two or three chunks count that are not full
        [ $what = du ] || size=10000
        if wanted $what; then once "$WORK/$what.$mode" "$PROGRAM" $what "$STORE" "$size" $mode; fi
    done
done
python3 - "$WORK" <<'P'
import json, math, os, sys
work = sys.argv[1]
def lines(name):
    path = os.path.join(work, name)
    return [json.loads(line) for line in open(path)] if os.path.exists(path) else []
def middle(values):
    values = sorted(values)
    n = len(values)
    return (values[(n - 1) // 2] + values[n // 2]) / 2
def interval(values):
    """Order statistics that have the median between them in 95 of 100 cases; of few values all."""
    values, n = sorted(values), len(values)
    k = 0
    while k + 1 < n / 2 and 2 * sum(math.comb(n, i) for i in range(k + 2)) / 2**n <= 0.05:
        k += 1
    return values[k], values[n - 1 - k]
told = {}
def tell(key, value, words):
    told[key] = value
    print(f"{words:96} {value}")
OPS = ["create", "overwrite", "replace", "unlink"]
for where, kinds in ("engine", ["elapsed", "cpu"]), ("mount", ["elapsed"]):
    runs = {who: lines(f"{where}.{who}") for who in ("before", "off", "history", "on")}
    if not runs["off"]:
        continue
    for kind in kinds:
        print(f"\n{where}, {'of the processor' if kind == 'cpu' else 'elapsed'}: ns an operation, and quotients of one round")
        for op in OPS:
            key = f"{op}_{kind}"
            for who, all in runs.items():
                if all:
                    tell(f"{where}_{who}_{key}", round(middle([r[key] for r in all])), f"{op}: {who}")
            for a, b in ("off", "before"), ("history", "off"), ("on", "off"):
                if not runs[a] or not runs[b]:
                    continue
                quotients = [x[key] / y[key] for x, y in zip(runs[a], runs[b])]
                low, high = interval(quotients)
                tell(f"{where}_{a}_by_{b}_{key}", [round(v, 3) for v in (middle(quotients), low, high)],
                     f"{op}: {a} / {b}, median and interval of {len(quotients)}")
print()
for s in lines("snapshot"):
    for key, words in (("snapshot_ms", "median, ms"), ("snapshot_longest_ms", "the longest, ms"),
                       ("write_longest_beside_ms", "the longest write beside one, ms"),
                       ("write_longest_else_ms", "the longest write besides, ms")):
        tell(key, s[key], f"snapshot of {s['memories']} memories while two threads write: {words}")
for what, extents in ("append", 0), ("overwrite", 1), ("chmod", 0), ("replace", 1), ("unlink", 0):
    for off, on in zip(lines(f"memory.{what}.off"), lines(f"memory.{what}.history")):
        more = (on["bytes"] - off["bytes"]) / max(on["kept"], 0.01)
        tell(f"memory_{what}", round(more, 1), f"memory for what {what} keeps, bytes (at most {160 + 48 * extents})")
for r in lines("read"):
    tell("read_live_us", r["live_us"], "1 MiB as it is, us")
    tell("read_past_us", r["past_us"], f"{r['versions'] - 1} edits back, us")
    tell("read_quotient", [r["ratio"], r["ratio_low"], r["ratio_high"]], "quotient, median and interval of 15 (at most 3)")
def kept_files(s):
    return s["disk_bytes"] - s.get("reserve", 0) - s.get("slack", 0)
for off, on in zip(lines("appends.off"), lines("appends.history")):
    tell("appends_payload", round(on["payload_bytes"] / on["content_bytes"], 3), "10,000 appends, each a state: payload / content")
    tell("appends_files", round(kept_files(on) / on["content_bytes"], 3), "  segments and checkpoints / content (at most 1.1)")
    tell("appends_files_off", round(kept_files(off) / off["content_bytes"], 3), "  the same without a history")
for off, on in zip(lines("du.off"), lines("du.history")):
    tell("du", round(on["disk_bytes"] / off["disk_bytes"], 4), "du when all has expired, against a store that had none (1 % more at most)")
    tell("du_files", round(kept_files(on) / kept_files(off), 4), "  without the reserve, which goes by what there was")
    for key in "live", "metadata", "index", "checkpoints", "reserve":
        tell(f"du_{key}", [on.get(key, 0), off.get(key, 0)], f"  {key} of both, bytes")
print(json.dumps(told))
P
t_end
