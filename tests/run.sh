#!/usr/bin/env bash
# run.sh - builds everything and runs every test.
#
#   tests/run.sh [quick|full] [GROUP...]
#
# Groups: unit crash race mutants tsan asan mount docs. Without one: all. `quick` leaves out
# the sanitizers and shortens the long runs; `full` lengthens them. What is
# missing is installed by apt (as root). Each test is one line; the log of
# one that failed follows it. The last line is `N passed, N failed`.
# Environment: BUILD (build), KEEP_LOGS=folder.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
# shellcheck source=tests/lib.sh
. tests/lib.sh

MODE=default
GROUPS_WANTED=
for arg in "$@"; do
    case $arg in
    quick | full) MODE=$arg ;;
    unit | crash | race | mutants | tsan | asan | mount | docs) GROUPS_WANTED="$GROUPS_WANTED $arg" ;;
    *)
        echo "usage: tests/run.sh [quick|full] [unit|crash|race|mutants|tsan|asan|mount|docs]..." >&2
        exit 2
        ;;
    esac
done
if [ -z "$GROUPS_WANTED" ]; then
    GROUPS_WANTED="unit crash race mutants mount docs"
    [ $MODE = quick ] || GROUPS_WANTED="$GROUPS_WANTED tsan asan"
fi
wanted() { case " $GROUPS_WANTED " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

# What the C tests may look at: shorter or longer than their default.
export ENGRAM_TEST_MODE=$MODE
BUILD=${BUILD:-build}
RUN=$(mktemp -d "${TMPDIR:-/tmp}/engramfs-run.XXXXXX") || exit 1
LOGS=${KEEP_LOGS:-$RUN/logs}
mkdir -p "$LOGS"
PASSED=0 FAILED=0 SKIPPED=0
CHILD=

summary() {
    local line="$PASSED passed, $FAILED failed"
    [ $SKIPPED -eq 0 ] || line="$line, $SKIPPED skipped"
    echo "$line"
}

finish() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    # timeout(1) passes the signal on to the whole group of the test
    if [ -n "$CHILD" ] && kill -TERM "$CHILD" 2>/dev/null; then wait "$CHILD" 2>/dev/null; fi
    cd /
    sweep "$RUN"
    [ $status -lt 128 ] || echo "interrupted" >&2
    summary
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

report() { # result name seconds note
    printf '%-6s %-44s %7ss  %s\n' "$1" "$2" "$3" "${4-}"
}

show_log() {
    sed 's/^/    | /' "$1" | tail -n "${2:-30}"
}

# count NAME SECONDS STATUS LOG: adds up what the log of a test says, and prints its line.
# Four kinds of log: 'ok - ' lines, Criterion's synthesis, a last line 'N passed, N failed', or only the exit status.
count() {
    local name=$1 seconds=$2 status=$3 log=$4 good bad skipped note='' tested
    good=$(grep -c '^ok - ' "$log")
    bad=$(grep -c '^not ok - ' "$log")
    skipped=$(grep -c '^skip - ' "$log")
    tested=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | sed -n 's/.*Synthesis: Tested: *\([0-9]*\).*Passing: *\([0-9]*\).*/\2 \1/p' | tail -n 1)
    if [ -z "$tested" ]; then
        tested=$(tail -n 1 "$log" | sed -n 's/^\([0-9]\{1,\}\) passed, \([0-9]\{1,\}\) failed$/\1 \2/p' | awk '{print $1, $1 + $2}')
    fi
    if [ -n "$tested" ]; then
        # shellcheck disable=SC2086
        set -- $tested
        good=$1 bad=$(($2 - $1)) # a test that crashed counts as failing as well
    fi
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
        case $status in 124 | 137) note="timed out" ;; *) note="exit status $status" ;; esac
    elif [ "$status" -eq 0 ] && [ $((good + bad + skipped)) -eq 0 ]; then
        good=1
    fi
    PASSED=$((PASSED + good)) FAILED=$((FAILED + bad)) SKIPPED=$((SKIPPED + skipped))
    note="$good passed${bad:+$([ "$bad" -eq 0 ] || echo ", $bad FAILED")} $note"
    if [ "$bad" -gt 0 ]; then
        report FAIL "$name" "$seconds" "$note"
        grep -E '^not ok - |\[FAIL\]|ERROR: [A-Za-z]*Sanitizer|runtime error: ' "$log" | head -n 20 | sed 's/^/    /'
        show_log "$log"
    elif [ "$good" -gt 0 ]; then
        report ok "$name" "$seconds" "$note"
    else
        report skip "$name" "$seconds"
    fi
    sed -n 's/^skip - /    skipped: /p; s/^# /    /p' "$log"
}

# run NAME SECONDS COMMAND...: bounded, in a TMPDIR of its own, which is swept whatever happens.
run() {
    local name=$1 limit=$2 log dir status began
    shift 2
    log=$LOGS/$(tr '/ ' '__' <<<"$name").log
    dir=$RUN/tmp
    mkdir -p "$dir"
    chmod 755 "$RUN" "$dir"
    began=$(date +%s.%N)
    TMPDIR=$dir timeout -k 20 "$limit" "$@" >"$log" 2>&1 </dev/null &
    CHILD=$!
    wait $CHILD
    status=$?
    CHILD=
    if [ -n "$(daemons_under "$dir")$(mounts_under "$dir")" ]; then
        echo "not ok - cleaning up: the test left a mount or a daemon behind" >>"$log"
    fi
    sweep "$dir"
    count "$name" "$(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}')" $status "$log"
}

skip_group() {
    SKIPPED=$((SKIPPED + 1))
    report skip "$1" 0.0
    echo "    skipped: $2"
}

# build DIR TARGETS... -- OPTIONS...: configures if needed, always anew, so that new files are found.
build() {
    local dir=$1 log began targets=()
    log=$LOGS/build-$(basename "$1").log
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        targets+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    began=$SECONDS
    {
        if [ -f "$dir/build.ninja" ]; then
            meson setup --reconfigure "$dir" "$@"
        else
            meson setup "$dir" "$@"
        fi && {
            # only those test groups that have files in this tree
            local have=() t all
            all=$(ninja -C "$dir" -t targets all)
            for t in "${targets[@]}"; do
                case $t in
                *-tests) ! grep -q "^$t: " <<<"$all" || have+=("$t") ;;
                *) have+=("$t") ;;
                esac
            done
            [ ${#have[@]} -eq 0 ] || ninja -C "$dir" "${have[@]}"
        }
    } >"$log" 2>&1
    local status=$?
    if [ $status -eq 0 ]; then
        report built "$dir" $((SECONDS - began))
    else
        FAILED=$((FAILED + 1))
        report FAIL "build of $dir" $((SECONDS - began))
        show_log "$log" 40
    fi
    return $status
}

programs() { # DIR GROUP: the executables of tests/GROUP, that are built from files that are there
    local source exe
    for source in tests/"$2"/*.c; do
        exe=$1/${source%.c}
        [ ! -x "$exe" ] || echo "$exe"
    done
}

run_plain() { # LABEL DIR GROUP SECONDS [PREFIX COMMAND...]
    local label=$1 dir=$2 group=$3 limit=$4 exe
    shift 4
    for exe in $(programs "$dir" "$group"); do
        run "$label/$(basename "$exe")" "$limit" "$@" "$exe"
    done
}

run_crash() { # LABEL DIR MODE [PREFIX COMMAND...]
    local label=$1 dir=$2 mode=$3 exe args
    shift 3
    for exe in $(programs "$dir" crash); do
        case $mode/$(basename "$exe") in
        quick/powercut | quick/faults) args=(--quick) ;;
        full/powercut) args=(--seeds 40) ;;
        *) args=() ;;
        esac
        run "$label/$(basename "$exe")" 900 "$@" "$exe" "${args[@]}"
    done
}

run_unit() { # LABEL DIR
    local exe found=
    for exe in $(programs "$2" unit); do
        found=1
        run "$1/$(basename "$exe")" 300 "$exe" --jobs 2
    done
    [ -n "$found" ] || skip_group "$1" "Criterion is missing (libcriterion-dev)"
}

# ---- what is missing, and the plain build
# In it warnings are errors. With sanitizers or -O3 gcc sees ghosts, and a compiler of tomorrow sees new ones.

[ -f /etc/debian_version ] || echo "not Debian: what is missing is only named" >&2
if ! tools/deps.sh build test; then
    # Without the build's own needs nothing can go on; tests that miss a tool are skipped.
    tools/deps.sh build || exit 1
fi
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:history_size=4

if ! build "$BUILD" all unit-tests crash-tests race-tests mutants-tests mount-tests -- -Dwerror=true; then
    exit 1
fi

if wanted unit; then run_unit unit "$BUILD"; fi
if wanted crash; then run_crash crash "$BUILD" $MODE; fi
if wanted race; then
    run_plain race "$BUILD" race 600
fi
if wanted mutants; then
    # the named regressions, and that each of them is seen to fail with its protection taken out
    run mutants/regressions 300 "$BUILD/tests/mutants/regressions"
    run mutants/without-protection 300 "$BUILD/tests/mutants/regressions" --mutants
    run mutants/powercut-bites 600 "$BUILD/tests/crash/powercut-bites" --bites
fi
if wanted docs && [ -x tests/docs_check.sh ]; then run docs/check 60 tests/docs_check.sh; fi

if wanted mount; then
    rounds=5 reads=1000000
    case $MODE in
    quick) rounds=2 reads=100000 ;;
    full) rounds=30 reads=5000000 ;;
    esac
    for script in tests/mount/*.sh; do
        case $(basename "$script" .sh) in
        kill9) run mount/kill9 $((120 + rounds * 60)) "$script" "$BUILD" $rounds ;;
        race) run mount/race $((180 + reads / 4000)) "$script" "$BUILD" $reads ;;
        *) run "mount/$(basename "$script" .sh)" 400 "$script" "$BUILD" ;;
        esac
    done
fi

# ---- the sanitizers, in build folders of their own

# Both sanitizers place their memory at fixed addresses, which wide address randomisation may take first.
NORANDOM=()
if setarch -R true 2>/dev/null; then NORANDOM=(setarch -R); fi

if wanted tsan; then
    if build build-tsan race-tests -- -Db_sanitize=thread -Db_lundef=false; then
        ENGRAM_TEST_MODE=$([ $MODE = full ] && echo default || echo quick) \
            run_plain tsan build-tsan race 900 "${NORANDOM[@]}"
    fi
fi
if wanted asan; then
    if build build-asan unit-tests crash-tests -- -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1; then
        # Criterion runs each test in a child that it ends by itself: leaks are looked for in the plain programs
        ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 run_unit asan-unit build-asan
        run_crash asan-crash build-asan "$([ $MODE = full ] && echo default || echo quick)" "${NORANDOM[@]}"
    fi
fi

[ $FAILED -eq 0 ] || exit 1
[ $PASSED -gt 0 ]
