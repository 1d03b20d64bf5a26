#!/usr/bin/env bash
# run.sh - builds the libFuzzer targets with clang, makes what they start from, and runs each for some seconds.
#
#   tests/sim/fuzz/run.sh [SECONDS [TARGET...]]
#
# Says for each how many inputs were tried, or where the input lies that it fails for, and how to run that again.
# Environment: FUZZ_SEED (random), CORPUS=folder that is kept, SHARE=K/N: every Nth target only, from the Kth.
set -u
cd "$(dirname "$0")/../../.." || exit 1
SECONDS_EACH=${1:-10}
[ $# -eq 0 ] || shift
TARGETS=${*:-superblock segment batch checkpoint edits recover jsonl verbs xattr}
if [ "${SHARE-}" ]; then # words, of which every Nth stays
    # shellcheck disable=SC2086
    TARGETS=$(printf '%s\n' $TARGETS | awk -v k="${SHARE%/*}" -v n="${SHARE#*/}" 'NR % n == k % n')
fi
BUILD=build-fuzz
if ! command -v clang >/dev/null || ! echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return !d && n; }' |
    clang -x c -fsanitize=fuzzer,address - -o /dev/null 2>/dev/null; then
    echo "skip - fuzzing: no clang with libFuzzer (clang, libclang-rt-14-dev)"
    exit 0
fi
again=()
[ ! -f $BUILD/build.ninja ] || again=(--reconfigure)
mkdir -p $BUILD
exec 9<$BUILD
flock 9 # another share builds
if ! CC=clang meson setup "${again[@]}" $BUILD -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
    -Doptimization=1 -Dc_args="-fsanitize=fuzzer-no-link -fno-sanitize-recover=all" >/tmp/fuzz-build.$$ 2>&1 ||
    ! ninja -C $BUILD fuzz-targets >>/tmp/fuzz-build.$$ 2>&1; then
    tail -n 30 /tmp/fuzz-build.$$
    rm -f /tmp/fuzz-build.$$
    echo "not ok - building the fuzz targets"
    exit 1
fi
rm -f /tmp/fuzz-build.$$
exec 9<&-
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT
CORPUS=${CORPUS:-$WORK/corpus}
FOUND=${TMPDIR:-/tmp}
# Both sanitizers and address randomisation want the same addresses.
NORANDOM=()
if setarch -R true 2>/dev/null; then NORANDOM=(setarch -R); fi
"${NORANDOM[@]}" $BUILD/tests/sim/fuzz/seeds "$CORPUS" || exit 1
status=0
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
for target in $TARGETS; do
    log=$WORK/$target.log
    # Whole files of real stores; the others are short texts, or scripts that alter such files.
    max_len=32768
    case $target in checkpoint | segment) max_len=$((8 << 20)) ;; esac
    timeout $((SECONDS_EACH + 120)) "${NORANDOM[@]}" "$BUILD/tests/sim/fuzz/fuzz_$target" -max_total_time="$SECONDS_EACH" \
        -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=256 -max_len=$max_len -seed="${FUZZ_SEED:-$RANDOM}" \
        -print_final_stats=1 -artifact_prefix="$FOUND/fuzz-$target-" "$CORPUS/$target" >"$log" 2>&1
    result=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    if [ $result -eq 0 ] && [ "${runs:-0}" -gt 0 ]; then
        echo "ok - fuzz $target: $runs inputs, $cover edges, seed $(sed -n 's/^INFO: Seed: //p' "$log")"
    else
        grep -E 'ERROR|SUMMARY|need |Test unit written|runtime error' "$log" | head -n 10
        tail -n 25 "$log"
        echo "not ok - fuzz $target: again with $BUILD/tests/sim/fuzz/fuzz_$target FILE, the file that it names"
        status=1
    fi
done
exit $status
