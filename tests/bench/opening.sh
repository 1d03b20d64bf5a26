#!/usr/bin/env bash
# opening.sh - how long a cold store takes to its first answer, and until all of its index is verified: after an orderly
# end, and after kill -9 with random overwrites in the log. Prints a table; the last line is the same as JSON.
#
#   tests/bench/opening.sh [BUILD] [MEMORIES ["OVERWRITES ..."]]
#
# With OTHER=SOURCE, built in SOURCE/build, the same for another version beside it, on a store that it has made itself.
# ROUNDS=N (5): of each the median. Needs a compiler and some 1.5 KB a memory under TMPDIR. As root the page cache is dropped
# before each opening.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
N=${2:-1000000} OVERWRITES=${3:-1000 20000} ROUNDS=${ROUNDS:-5}

# row KEY VALUE WHAT: a figure, for the table and for the JSON
row() {
    printf '%-70s %s\n' "$3" "$2" | tee -a "$WORK/table"
    printf '%s"%s": %s' "${JSON:+$JSON, }" "$1" "$2" >"$WORK/json.next"
    JSON=$(cat "$WORK/json.next")
}
median() { sort -n "$1" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
# opened ROUND: opens the cold store; the seconds until one memory is read, and until the index is verified
opened() {
    cold
    "$WORK/opening-$WHO" "$STORE" "$N" "$1" >"$WORK/once" || not_ok "the first answer" "$WHO: the store cannot be read"
    cut -d' ' -f1 "$WORK/once" >>"$WORK/first"
    cut -d' ' -f2 "$WORK/once" >>"$WORK/all"
}
# told KEY WHAT
told() {
    row "${WHO}_$1_first_seconds" "$(median "$WORK/first")" "$WHO: $2, to the first answer, seconds"
    row "${WHO}_$1_verified_seconds" "$(median "$WORK/all")" "$WHO: $2, until all is verified, seconds"
    rm "$WORK/first" "$WORK/all"
}
# of WHO BUILD SOURCE [DEFINE]
of() {
    local round
    WHO=$1 STORE=$WORK/store-$1
    # shellcheck disable=SC2086  # may be none
    cc -O2 -D_GNU_SOURCE ${4:-} -I"$3/engine" -o "$WORK/opening-$1" "$(dirname "$0")/opening.c" \
        "$2/engine/libengramfs-engine.a" -lxxhash -lnettle -lpthread || not_ok "build for $1" "cc failed"
    "$2/tools/engramctl" import "$WORK/lines.jsonl" "$STORE" >"$WORK/import.log" 2>&1 ||
        not_ok import "$(tail -n 1 "$WORK/import.log")"
    for round in $(seq "$ROUNDS"); do opened "$round"; done
    told clean "cold after an orderly end"
    for changes in $OVERWRITES; do
        for round in $(seq "$ROUNDS"); do
            "$WORK/opening-$WHO" "$STORE" "$N" "1$round" "$changes" || not_ok "kill -9" "$WHO: the writes failed"
            opened "$round"
        done
        told "killed_$changes" "cold after kill -9, $changes overwrites in the log"
    done
    rm -r "$STORE"
}

JSON=
row memories "$N" "memories of 200 bytes, in folders of 1000"
lines_of_200 "$N" >"$WORK/lines.jsonl"
of this "$BUILD" "$ROOT" -DSTAGED
[ -z "${OTHER:-}" ] || of other "$OTHER/build" "$OTHER"
echo
cat "$WORK/table"
echo "{$JSON}"
t_end
