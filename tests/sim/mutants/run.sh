#!/usr/bin/env bash
# run.sh - shows that each protection of the engine is load-bearing: the test that mutants.txt names for it passes, and
# fails when the protection is taken out.
#
#   tests/sim/mutants/run.sh [BUILD] [MUTANT]
set -u
cd "$(dirname "$0")/../../.." || exit 1
BUILD=${1:-build}
ONLY=${2-}
PROGRAMS=$BUILD/tests/sim/mutants
LIST=tests/sim/mutants/mutants.txt
caught=0 total=0 failed=0

one() { # PROGRAM TEST SECONDS: its exit status. A test of Criterion that takes longer than SECONDS fails
    # shellcheck disable=SC2086  # TEST may be several words
    case $1 in
    schedules | everything | files | chunks | damage | bounds | upgrade)
        timeout 300 "$PROGRAMS/$1" $2 # threads that meet, on a busy machine
        ;;
    regressions) timeout $((2 * $3)) "$PROGRAMS/$1" "$2" ;;
    *) timeout $((4 * $3)) "$PROGRAMS/$1" --filter "$2" --timeout "$3" | grep -v '^$' ;;
    esac >/dev/null 2>&1
    return "${PIPESTATUS[0]}"
}

# Whether the test fails without the protection, or never ends: the test gets five times as long as with the protection,
# and ten seconds. A program that was ended, since its time was over, has noticed nothing, nor has one that does not know
# the mutant (99: MUTANT_UNKNOWN in engine/base/fault.h). Where real threads have to meet they may miss each other, more
# often on a busy machine: `everything` gets ten runs, a compaction beside its installer (50 ms) a hundred.
notices() { # MUTANT PROGRAM TEST SECONDS
    local tries=1 i limit=$((10 + 5 * $4))
    case "$2 $3" in
    everything*) tries=10 ;;
    *compact-beside*) tries=100 ;;
    esac
    for ((i = 0; i < tries; i++)); do
        ENG_MUTANT=$1 one "$2" "$3" "$limit"
        case $? in 0 | 99 | 124 | 137) ;; *) return 0 ;; esac
    done
    return 1
}

while read -r mutant program test; do
    case $mutant in '' | '#'*) continue ;; esac
    [ -z "$ONLY" ] || [ "$ONLY" = "$mutant" ] || continue
    total=$((total + 1))
    began=$SECONDS
    if [ ! -x "$PROGRAMS/$program" ] && [ -x "$PROGRAMS/test_recover" ]; then
        echo "not ok - mutant $mutant: $program is not among those that meson.build makes"
        failed=$((failed + 1))
    elif [ ! -x "$PROGRAMS/$program" ]; then
        echo "skip - mutant $mutant: $program is not built (no Criterion?)"
        total=$((total - 1))
    elif ! one "$program" "$test" 150; then
        echo "not ok - mutant $mutant: $test fails with the protection in place"
        failed=$((failed + 1))
    elif ! notices "$mutant" "$program" "$test" $((SECONDS - began)); then
        echo "not ok - mutant $mutant: $test does not notice"
        failed=$((failed + 1))
    else
        took=$((SECONDS - began))
        echo "ok - mutant $mutant: caught by $test$([ $took -lt 10 ] || echo ", $took s")"
        caught=$((caught + 1))
    fi
done <"$LIST"

# A protection without a test, or a test of a protection that is not there, is a hole in the list.
if [ -z "$ONLY" ]; then
    known=$(sed -n 's/^    M(\([A-Z_]*\)).*/\1/p' engine/base/fault.h | sort -u)
    listed=$(grep -v '^#' $LIST | cut -d ' ' -f 1 | sort -u)
    if [ "$known" = "$listed" ]; then
        echo "ok - mutants.txt names a test for each of the $(wc -w <<<"$known") protections in engine/base/fault.h"
    else
        echo "not ok - mutants.txt and engine/base/fault.h differ: $(comm -3 <(echo "$known") <(echo "$listed") | tr -s '\t\n' ' ')"
        failed=$((failed + 1))
    fi
fi
echo "# $caught of $total mutants caught"
[ $failed -eq 0 ]
