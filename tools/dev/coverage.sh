#!/usr/bin/env bash
# coverage.sh - which lines of the engine the tests of the engine reach: unit, review, mutants, damage (quick), crash (quick).
#
#   tools/dev/coverage.sh [MINIMUM]     percent of lines of engine/ below which it fails; 90
#
# The table goes to standard output, a page for each file to build-coverage/html.
set -u
cd "$(dirname "$0")/../.." || exit 1
MINIMUM=${1:-90}
BUILD=build-coverage
if ! command -v gcovr >/dev/null; then
    echo "skip - coverage: no gcovr"
    exit 0
fi
again=()
[ ! -f $BUILD/build.ninja ] || again=(--reconfigure)
mkdir -p $BUILD
if ! meson setup "${again[@]}" $BUILD -Db_coverage=true -Doptimization=0 >$BUILD/log 2>&1 ||
    ! ninja -C $BUILD unit-tests crash-tests review-tests damage-tests race-tests >>$BUILD/log 2>&1; then
    tail -n 20 $BUILD/log
    echo "not ok - coverage: the build"
    exit 1
fi
find $BUILD -name '*.gcda' -delete
export ENGRAM_TEST_MODE=quick
for source in tests/unit/*/test_*.c tests/sim/{review,damage,race}/*.c; do
    case $source in */unit/fs/* | */unit/tools/*) continue ;; esac
    exe=$BUILD/$(cut -d / -f 1-2 <<<"$source")/$(basename "$source" .c)
    [ ! -x "$exe" ] || timeout 600 "$exe" >>$BUILD/log 2>&1 || echo "# failed: $exe"
done
timeout 600 $BUILD/tests/sim/powercut --quick >>$BUILD/log 2>&1 || echo "# failed: powercut"
timeout 600 $BUILD/tests/sim/faults --quick >>$BUILD/log 2>&1 || echo "# failed: faults"
mkdir -p $BUILD/html
# assert() and what no caller can reach is not counted: unreachable branches of macros do not make lines
gcovr --root . --filter 'engine/' --object-directory $BUILD --exclude-unreachable-branches \
    --html-details $BUILD/html/index.html --txt $BUILD/coverage.txt -s >$BUILD/summary 2>>$BUILD/log
cat $BUILD/coverage.txt
percent=$(sed -n 's/^lines: \([0-9.]*\)%.*/\1/p' $BUILD/summary)
if [ -n "$percent" ] && awk -v p="$percent" -v m="$MINIMUM" 'BEGIN {exit !(p >= m)}'; then
    echo "ok - coverage: $percent % of the lines of engine/ (at least $MINIMUM)"
else
    echo "not ok - coverage: ${percent:-no} % of the lines of engine/, less than $MINIMUM"
    exit 1
fi
