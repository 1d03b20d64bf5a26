#!/usr/bin/env bash
# figures.sh - what is told of a store keeps its form: keys, names, types, help and order of lines in stats.json,
# metrics, status and `engramctl stat`, in the states of a store that show a line of each kind.
#
#   tests/ops/figures.sh [BUILD]           against figures.txt, values apart
#   tests/ops/figures.sh BUILD OLD         against another build as well, with the values, but for times
#   tests/ops/figures.sh BUILD --write     writes figures.txt: after a figure was added, and looked at
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
FORM=$ROOT/tests/ops/figures.txt

# tell NAME DIR TARGET: all five texts, with a line before each.
tell() {
    local f
    if [ -d "$3/.engram" ]; then
        for f in stats.json metrics status; do
            echo "==== $1: $f"
            cat "$3/.engram/$f" || return 1
        done
    fi
    echo "==== $1: engramctl stat"
    "$2/tools/engramctl" stat "$3" || return 1
    echo "==== $1: engramctl stat --json"
    "$2/tools/engramctl" stat --json "$3"
}

# Each extent of memory $2 in store $1 gets another byte.
damage() {
    python3 - "$1" "$2" <<'P'
import glob, sys
n = 0
for path in glob.glob(sys.argv[1] + "/*.seg"):
    data = open(path, "rb").read()
    at = data.find(sys.argv[2].encode())
    while at >= 0:
        n += 1
        with open(path, "r+b") as f:
            f.seek(at)
            f.write(b"X")
        at = data.find(sys.argv[2].encode(), at + 1)
assert n
P
}

# states BUILD DIR: makes a store in DIR and takes it through the states.
states() {
    local b=$1 dir=$2 i
    local s=$dir/store m=$dir/mnt c=$dir/mnt/.engram
    mkdir -p "$m"
    "$b/fs/engramfs" -o segment_size=1M,commit=3600 "$s" "$m" || return 1
    echo auto_compact=0 >"$c/config"
    tell new "$b" "$m" || return 1
    mkdir "$m/dir"
    mkfifo "$m/pipe"
    for i in 00 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29; do
        head -c 100000 /dev/zero >"$m/m$i"
    done
    echo here is what is damaged later >"$m/broken"
    for i in 00 01 02 12 13; do rm "$m/m$i"; done
    exec 9<"$m/m20"
    rm "$m/m20"
    cat "$m/m29" >/dev/null
    tell removed "$b" "$m" || return 1
    echo hold >"$c/hold"
    for i in 3 4 5 6 7 8 9; do rm "$m/m0$i"; done
    sync "$m"
    echo run >"$c/compact"
    tell held "$b" "$m" || return 1
    echo release >"$c/hold"
    exec 9<&-
    echo run >"$c/compact"
    echo run >"$c/scrub"
    tell compacted "$b" "$m" || return 1
    unmount_store "$m" || return 1
    tell "not mounted" "$b" "$s" || return 1
    "$b/tools/engramctl" snapshot create "$s" first || return 1
    "$b/fs/engramfs" -o segment_size=1M,commit=3600 "$s" "$m" || return 1
    rm "$m/m21" "$m/pipe"
    tell "removed, with a snapshot" "$b" "$m" || return 1
    unmount_store "$m" || return 1
    damage "$s" "what is damaged" || return 1
    "$b/fs/engramfs" -o ro "$s" "$m" || return 1
    cat "$m/broken" >/dev/null 2>&1
    tell damaged "$b" "$m" || return 1
    unmount_store "$m"
}

# Takes out what differs from run to run: times and durations, where the store is, what the kernel asked for and
# the process. With `values` all other values stay.
form() {
    python3 - "$1" "${3-}" <<'P' >"$2"
import re, sys
keep = sys.argv[2] == "values"
section, texts = "", {}
volatile = r"process_|engram_fuse_|\w+_duration_seconds|\w+_timestamp_seconds|engram_store_available|engram_store_capacity"
for line in open(sys.argv[1]):
    line = line.rstrip("\n")
    if line.startswith("===="):
        section = line
        texts[section] = []
        continue
    if section.endswith("metrics"):
        if line[0] != "#":
            series, value = line.rsplit(" ", 1)
            if not keep or re.match(volatile, series):
                line = series + " " + re.sub(r"[0-9.]+(e[-+]?[0-9]+)?", "N", value)
    else:
        line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", line)
        line = re.sub(r"   /.* on /.*   since", "   STORE on MOUNT   since", line)
        line = re.sub(r'("compaction_duration_ms": |^  duration +)[0-9.]+', r"\1N", line)
        if not keep:
            line = re.sub(r"(?<![\w.])[0-9]+(\.[0-9]+)?(?![\w.]|\.\d)( ([KMGT]i)?B\b)?",
                          lambda m: "SIZE" if m[2] else "N", line)
            line = re.sub(r"  +(N|SIZE|-SIZE)\b", r"  \1", line)
    texts[section].append(line)
seen = {}
for section, lines in texts.items():
    print(section)
    before = seen.setdefault((section.split(": ")[1], *lines), section)
    print("\n".join(lines) if keep or before == section else "as in " + before[5:])
P
}

# states_of BUILD DIR: what is told, in DIR/told.
states_of() {
    mkdir "$2" && states "$1" "$2" >"$2/told"
}
check "a store in all its states" states_of "$BUILD" "$WORK/new" || t_end
form "$WORK/new/told" "$WORK/form"
if [ "${2-}" = --write ]; then
    cp "$WORK/form" "$FORM"
    echo "# written: $FORM"
    t_end
fi
diff_to() { diff "$1" "$2" | head -n 20 && diff -q "$1" "$2" >/dev/null; }
check "each text has the form that it had" diff_to "$FORM" "$WORK/form" || diff "$FORM" "$WORK/form"
if [ "${2-}" ]; then
    check "the same with the other build" states_of "$2" "$WORK/old"
    form "$WORK/old/told" "$WORK/old/values" values
    form "$WORK/new/told" "$WORK/new/values" values
    check "the values are the same, too" diff_to "$WORK/old/values" "$WORK/new/values" ||
        diff "$WORK/old/values" "$WORK/new/values"
    for args in "stat" "stat --json"; do
        # shellcheck disable=SC2086 # words
        check_equal "engramctl $args of one store, to the byte" "$("$2/tools/engramctl" $args "$WORK/old/store" | sha256sum)" \
            "$("$BUILD/tools/engramctl" $args "$WORK/old/store" | sha256sum)"
    done
fi
t_end
