#!/usr/bin/env bash
# compaction.sh - a compaction beside a raw copy of the same live bytes (read, XXH3, write, one fdatasync), with them in
# the page cache and without; and how long operations take before and while it runs, at the engine and through a mount,
# without a rate limit and with 100 MB/s. Round after round, medians. Prints a table; the last line is the same as JSON.
#
#   tests/bench/compaction.sh [BUILD] [MEMORIES] [ROUNDS]
#
# MEMORIES (1000000) of 1 KiB, half of them dead at random; ROUNDS (5). Needs some 5 KiB a memory under TMPDIR. As root
# the page cache is dropped; without, `cold` is not.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
N=${2:-1000000} ROUNDS=${3:-5} RATE=100000000
MADE=$WORK/made ALL=$WORK/all
COMPACTION=$BUILD/tests/bench/compaction

fresh() {
    rm -rf "$STORE"
    cp -r "$MADE" "$STORE"
    sync
}
# note NAME COMMAND...: what the command prints is a figure of this round
note() {
    local name=$1 is
    shift
    is=$("$@") || {
        not_ok "$name" "$*: status $?"
        exit 1
    }
    printf '{"name": "%s", "is": %s}\n' "$name" "$is" >>"$ALL"
}
# raw_copy packed|scattered: of the store as it was made. Packed reads as many bytes as live, scattered each where it is
raw_copy() {
    local option=()
    [ "$1" = packed ] || option=(--scattered)
    "$BUILD/tests/bench/rawcopy" "${option[@]}" "$LIVE" "$WORK/raw" "$MADE"/*.seg && rm "$WORK/raw"
}
warm() { cat "$1"/*.seg >/dev/null; }
note_mounted() { # name, rate
    fresh
    must_mount "$STORE" "$MNT" -o noxattr
    note "$1" "$BUILD/tests/bench/latency" "$MNT" 3 "$2"
    unmount_store "$MNT" || exit 1
}

"$COMPACTION" make "$MADE" "$N" 1024 50 >"$WORK/made.json" || exit 1
LIVE=$(json_get live_bytes <"$WORK/made.json")
for round in $(seq "$ROUNDS"); do
    fresh
    warm "$STORE"
    note "compaction warm" "$COMPACTION" run "$STORE"
    warm "$MADE"
    note "raw copy warm" raw_copy packed
    fresh
    cold
    note "compaction cold" "$COMPACTION" run "$STORE"
    cold
    note "raw copy cold" raw_copy packed
    cold
    note "raw copy scattered, cold" raw_copy scattered
    fresh
    note "engine" "$COMPACTION" load "$STORE" 3
    fresh
    note "engine, 100 MB/s" "$COMPACTION" load "$STORE" 3 $RATE
    note_mounted "mount" 0
    note_mounted "mount, 100 MB/s" $RATE
    echo "# round $round of $ROUNDS" >&2
done
python3 - "$ALL" <<'P' || not_ok "table" "of what was measured"
import json, statistics, sys
seen = {}
for line in open(sys.argv[1]):
    row = json.loads(line)
    seen.setdefault(row["name"], []).append(row["is"])
out = {}
seconds = lambda x: x if isinstance(x, float) else x["seconds"]
for name, rounds in seen.items():
    if "engine" in name or "mount" in name:
        continue
    times = [seconds(r) for r in rounds]
    out[name] = statistics.median(times)
    print(f"{name + ', seconds':<44}{out[name]:.3f}   ({min(times):.3f} to {max(times):.3f})")
for a, b in (("compaction warm", "raw copy warm"), ("compaction cold", "raw copy cold"), ("compaction cold", "raw copy scattered, cold")):
    ratios = [seconds(x) / seconds(y) for x, y in zip(seen[a], seen[b])]
    out[f"{a} / {b}"] = statistics.median(ratios)
    print(f"{a + ' / ' + b:<44}{statistics.median(ratios):.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")
print(f"\n{'microseconds':<26}{'idle p50':>9}{'p99':>9}   {'compacting p50':>14}{'p99':>9}{'p99.9':>9}{'longest':>9}  of p99 idle")
for name in ("engine", "engine, 100 MB/s", "mount", "mount, 100 MB/s"):
    for kind in ("read", "write", "create"):
        def median(when, what):
            return statistics.median(r[f"{kind}_{when}_us"][what] for r in seen[name])
        row = {"idle_p50": median("idle", "p50"), "idle_p99": median("idle", "p99"), "p50": median("compacting", "p50"),
               "p99": median("compacting", "p99"), "p99.9": median("compacting", "p99.9"),
               "max": max(r[f"{kind}_compacting_us"]["max"] for r in seen[name])}
        ratio = statistics.median(r[f"{kind}_compacting_us"]["p99"] / r[f"{kind}_idle_us"]["p99"] for r in seen[name])
        out[f"{name}: {kind}"] = {**row, "p99_of_idle": ratio}
        print(f"{name + ': ' + kind:<26}{row['idle_p50']:>9.0f}{row['idle_p99']:>9.0f}   {row['p50']:>14.0f}{row['p99']:>9.0f}"
              f"{row['p99.9']:>9.0f}{row['max']:>9.0f}  {ratio:.1f}")
print(json.dumps(out))
P
t_end
