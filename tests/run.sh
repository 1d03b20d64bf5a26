#!/usr/bin/env bash
# run.sh - builds everything and runs every test.
#
#   tests/run.sh [quick] [GROUP...]     `tests/run.sh help` lists the groups
#   tests/run.sh full [PART...]         the long version; `tests/run.sh full help` lists its parts
#   tests/run.sh soak HOURS             random tests with new seeds until the time is over
#
# Without a word: what CI runs, under 35 minutes on two processors. `quick` leaves
# out the sanitizers and shortens the long runs; `full` lengthens them: under three
# hours, in parts of at most one, each of which also runs alone. As many
# tests run at a time as there are processors, and one. What is missing is installed by
# apt (as root). Each test is one line; the log of one that failed follows it.
# The last line is `N passed, N failed`.
# Environment: BUILD (build), JOBS (processors and one), KEEP_LOGS=folder.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
# shellcheck source=tests/lib.sh
. tests/lib.sh
# shellcheck source=tests/full.sh
. tests/full.sh

# Each group, and what it covers. In this order they run.
GROUPS_ALL=(
    "docs      what the documentation cites exists"
    "unit      each part of the engine, the daemon and the tools on its own"
    "mutants   the named regressions; and that each protection, taken out, is missed by its test"
    "damage    every bit flipped, every length cut, segments swapped, doubled, zeroed"
    "crash     the power fails at each I/O call and in recovery; each call and allocation fails once"
    "review    the list of the review that the predecessor failed, each by name"
    "race      threads against each other, by schedule and at random; versions are linearizable"
    "fuzz      decoders, recovery, import, verbs and attributes with mutated input"
    "mount     a mounted store and real tools"
    "posix     the answers of a mount and of ext4 compared: a list of rules, and random operations"
    "ops       what operators need: receipts, metrics, gateway, service, packages, backups"
    "mountc    the mounted store once more while compaction runs in a loop"
    "mountr    programs and a comparison with ext4 once more with -o conflicts=refuse: nothing is refused that need not be"
    "tsan      the races under the thread sanitizer"
    "asan      unit, crash and a mounted daemon under the address, leak and undefined behaviour sanitizers"
    "lint      clang builds it without a warning; clang-tidy, cppcheck, shellcheck, the format"
    "coverage  lines of the engine that tests reach"
)
usage() {
    if [ "$MODE" = full ]; then
        echo "usage: tests/run.sh full [PART...]"
        part_list
    else
        echo "usage: tests/run.sh [quick] [GROUP...] | full [PART...] | soak HOURS"
        printf '    %s\n' "${GROUPS_ALL[@]}"
    fi
}
is_group() { printf '%s\n' "${GROUPS_ALL[@]}" | cut -d ' ' -f 1 | grep -qxF -- "$1"; }

MODE=default
HOURS=
GROUPS_WANTED=
PARTS=()
while [ $# -gt 0 ]; do
    case $1 in
    quick | full) MODE=$1 ;;
    soak)
        MODE=soak HOURS=${2-}
        if ! [[ $HOURS =~ ^[0-9]+(\.[0-9]+)?$ ]]; then
            usage >&2
            exit 2
        fi
        shift
        ;;
    help | -h | --help)
        usage
        exit 0
        ;;
    *)
        if [ "$MODE" = full ] && is_part "$1"; then
            PARTS+=("$1")
        elif [ "$MODE" != full ] && is_group "$1"; then
            GROUPS_WANTED="$GROUPS_WANTED $1"
        else
            usage >&2
            exit 2
        fi
        ;;
    esac
    shift
done
if [ "$MODE" = full ]; then
    if [ ${#PARTS[@]} -ne 1 ]; then
        [ ${#PARTS[@]} -gt 0 ] || mapfile -t PARTS < <(part_names)
        parts "${PARTS[@]}"
        exit
    fi
    GROUPS_WANTED=$(part_groups "${PARTS[0]}")
elif [ -z "$GROUPS_WANTED" ]; then
    GROUPS_WANTED="docs unit mutants damage crash review race fuzz mount posix ops"
    [ "$MODE" = quick ] || GROUPS_WANTED="$GROUPS_WANTED mountc mountr tsan asan lint"
    [ "$MODE" != soak ] || GROUPS_WANTED=
fi
wanted() {
    case " $GROUPS_WANTED " in *" $1 "*) ;; *) return 1 ;; esac
    printf '%s\n' "${GROUPS_ALL[@]}" | grep "^$1 "
}

# What the C tests may look at: shorter or longer than their default.
export ENGRAM_TEST_MODE=$MODE
BUILD=${BUILD:-build}
RUN=$(mktemp -d "${TMPDIR:-/tmp}/engramfs-run.XXXXXX") || exit 1
LOGS=${KEEP_LOGS:-$RUN/logs}
mkdir -p "$LOGS"
PASSED=0 FAILED=0 SKIPPED=0
JOBS=${JOBS:-$(($(nproc) + 1))} # some wait for disks and daemons

summary() {
    local line="$PASSED passed, $FAILED failed"
    [ $SKIPPED -eq 0 ] || line="$line, $SKIPPED skipped"
    [ "$MODE" != full ] || echo "part ${PARTS[0]}: $line in $SECONDS s, load $(cut -d ' ' -f 1-3 /proc/loadavg)"
    echo "$line"
}

finish() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    # timeout(1) passes the signal on to the whole group of the test
    if [ ${#JOB_NAME[@]} -gt 0 ]; then
        kill -TERM "${!JOB_NAME[@]}" 2>/dev/null
        wait "${!JOB_NAME[@]}" 2>/dev/null
    fi
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

# run NAME SECONDS COMMAND...: starts a test, bounded, with a TMPDIR of its own, which is swept whatever happens.
# JOBS of them run at a time; `wait_all` waits for all of them.
declare -A JOB_NAME=() JOB_LOG=() JOB_DIR=() JOB_BEGAN=()
N_STARTED=0
run() {
    local name=$1 limit=$2 log dir
    shift 2
    while [ ${#JOB_NAME[@]} -ge "$JOBS" ]; do reap; done
    N_STARTED=$((N_STARTED + 1))
    log=$LOGS/$(tr '/ ' '__' <<<"$name").log
    dir=$RUN/$N_STARTED
    mkdir -p "$dir"
    chmod 755 "$RUN" "$dir"
    TMPDIR=$dir timeout -k 20 "$limit" "$@" >"$log" 2>&1 </dev/null &
    JOB_NAME[$!]=$name JOB_LOG[$!]=$log JOB_DIR[$!]=$dir JOB_BEGAN[$!]=$(date +%s.%N)
}

# Waits for one of the tests that run, and counts it.
reap() {
    local pid status dir log file
    wait -n -p pid "${!JOB_NAME[@]}"
    status=$?
    dir=${JOB_DIR[$pid]} log=${JOB_LOG[$pid]}
    if [ -n "$(daemons_under "$dir")$(mounts_under "$dir")" ]; then
        echo "not ok - cleaning up: the test left a mount or a daemon behind" >>"$log"
    fi
    for file in "$dir"/sanitizer.*; do # what a daemon without a terminal had to say
        [ -s "$file" ] || continue
        # the leak sanitizer says so of a thread that ends while it looks, and goes on
        grep -qv '^==[0-9]*==Unable to get registers from thread [0-9]*\.$' "$file" || continue
        cat "$file" >>"$log"
        echo "not ok - the daemon: $(grep -m1 -E 'ERROR: |runtime error: ' "$file" | cut -c 1-200)" >>"$log"
    done
    sweep "$dir"
    count "${JOB_NAME[$pid]}" "$(awk -v a="${JOB_BEGAN[$pid]}" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}')" $status "$log"
    unset "JOB_NAME[$pid]" "JOB_LOG[$pid]" "JOB_DIR[$pid]" "JOB_BEGAN[$pid]"
}

wait_all() {
    while [ ${#JOB_NAME[@]} -gt 0 ]; do reap; done
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

programs() { # DIR unit|sim FOLDER: the executables that are built from the files of tests/unit/FOLDER or tests/sim/FOLDER
    local source exe
    for source in tests/"$2"/$3/*.c; do
        exe=$1/tests/$2/$(basename "$source" .c)
        [ ! -x "$exe" ] || echo "$exe"
    done
}

run_plain() { # LABEL DIR FOLDER SECONDS [PREFIX COMMAND...]
    local label=$1 dir=$2 folder=$3 limit=$4 exe
    shift 4
    for exe in $(programs "$dir" sim "$folder"); do
        run "$label/$(basename "$exe")" "$limit" "$@" "$exe"
    done
}

run_crash() { # LABEL DIR MODE [PREFIX COMMAND...]
    local label=$1 dir=$2 mode=$3 exe args
    shift 3
    for exe in $(programs "$dir" sim crash); do
        case $mode/$(basename "$exe") in
        quick/powercut | quick/faults | quick/nomem) args=(--quick) ;;
        sample/powercut) args=(--stride 37) ;;
        sample/faults) args=(--stride 397) ;;
        sample/twolives) args=(--stride 19 --seeds 5) ;;
        default/faults) args=(--stride 29) ;;
        default/twolives) args=(--stride 7) ;;
        more/powercut | more/faults) args=(--stride 7) ;;
        sample/nomem | more/nomem) args=(--quick) ;;
        quick/upgrade | sample/upgrade) args=(--stride 37 tests/mount/old/*.tar.xz) ;;
        */upgrade) args=(--stride 3 tests/mount/old/*.tar.xz) ;;
        *) args=() ;;
        esac
        run "$label/$(basename "$exe")" 900 "$@" "$exe" "${args[@]}"
    done
}

# Short random workloads, other I/O calls of each cut.
run_seeds() { # BUILD MODE
    local n=120
    [ "$2" != quick ] || n=40
    run "crash/powercut, $n seeds" 1800 "$1/tests/sim/powercut" --no-script --seeds $n --ops 150 --stride 61
}

# Those of lazy.txt once more, with stores that answer before all of the index is loaded.
run_unit() { # LABEL DIR PROGRAMS THAT ARE LEFT OUT...
    local label=$1 dir=$2 exe name found=
    shift 2
    for exe in $(programs "$dir" unit '*'); do
        found=1
        name=$(basename "$exe")
        case " $* " in *" $name "*) continue ;; esac
        run "$label/$name" 300 "$exe" --jobs 2
        ! grep -qx "$name" tests/unit/lazy.txt || run "$label/$name, lazily" 300 env ENG_LAZY=1 "$exe" --jobs 2
    done
    [ -n "$found" ] || skip_group "$label" "Criterion is missing (libcriterion-dev)"
}

run_scripts() { # LABEL FOLDER BUILD SCRIPTS THAT ARE LEFT OUT...
    local label=$1 folder=$2 build=$3 script name limit=$((${T_COMPACT_LOOP:-0} * 300 + 600)) left_out
    shift 3
    left_out=" $* "
    [ "$MODE" != full ] || limit=3600
    for script in "$folder"/*.sh; do
        [ -x "$script" ] || continue
        name=$(basename "$script" .sh)
        case $left_out in *" $name "*) continue ;; esac
        case $name in
        kill9) run "$label/$name" "$limit" "$script" "$build" "$ROUNDS" ;;
        race) run "$label/$name" $((180 + READS / 4000)) "$script" "$build" "$READS" ;;
        *) run "$label/$name" "$limit" "$script" "$build" ;;
        esac
    done
}

# ---- what is missing, and the plain build
# In it warnings are errors. With sanitizers or -O3 gcc sees ghosts, and a compiler of tomorrow sees new ones.

[ -f /etc/debian_version ] || echo "not Debian: what is missing is only named" >&2
needs="test"
[ "$MODE" != full ] || needs="$needs full"
if wanted lint >/dev/null; then needs="$needs lint"; fi
if wanted coverage >/dev/null; then needs="$needs coverage"; fi
# shellcheck disable=SC2086  # a list
if ! tools/dev/deps.sh build $needs; then
    # Without the build's own needs nothing can go on; tests that miss a tool are skipped.
    tools/dev/deps.sh build || exit 1
fi
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:history_size=4

TARGETS=(unit-tests crash-tests race-tests mutants-tests damage-tests review-tests mount-tests
    fsfuzz-tests posix-tests bench-tests)
if ! build "$BUILD" all "${TARGETS[@]}" -- -Dwerror=true; then
    exit 1
fi

ROUNDS=50 READS=300000
[ "$MODE" != quick ] || ROUNDS=5 READS=100000

if [ "$MODE" = soak ]; then
    # shellcheck source=tests/soak.sh
    . tests/soak.sh
elif [ "$MODE" = full ]; then
    part "${PARTS[0]}"
fi
if wanted docs; then run docs/check 60 tests/docs_check.sh; fi
if wanted unit; then run_unit unit "$BUILD"; fi
if wanted mutants; then
    run mutants/regressions 300 "$BUILD/tests/sim/mutants/regressions"
    run mutants/protections 1200 tests/sim/mutants/run.sh "$BUILD"
    run mutants/powercut-bites 600 "$BUILD/tests/sim/powercut-bites" --bites
    run mutants/twolives-bites 600 "$BUILD/tests/sim/twolives-bites" --bites
fi
if wanted damage; then run_plain damage "$BUILD" damage 900; fi
if wanted crash; then
    run_crash crash "$BUILD" "$MODE"
    run_seeds "$BUILD" "$MODE"
fi
if wanted review; then run_plain review "$BUILD" review 600; fi
if wanted race; then run_plain race "$BUILD" race 900; fi
if wanted fuzz; then
    run fuzz 400 tests/sim/fuzz/run.sh 4
fi
if wanted mount; then
    run_scripts mount tests/mount "$BUILD"
    run_scripts mount/programs tests/mount/programs "$BUILD"
fi
if wanted posix; then
    run_scripts posix tests/mount/posix "$BUILD"
    run_scripts posix tests/mount/fsfuzz "$BUILD"
fi
if wanted ops; then run_scripts ops tests/ops "$BUILD"; fi
if wanted mountc; then
    # without those that count compactions or requests, or fill the disk, or have a loop of their own, or a mount that root may not
    # enter, or ask what a daemon has inherited
    also=cache # takes long, and moves while it is read are in race and past
    [ "$MODE" != full ] || also=
    # shellcheck disable=SC2086  # one name, or none
    T_COMPACT_LOOP=1 run_scripts mountc tests/mount "$BUILD" at $also compact conflict_examples conflicts control editors enospc filled fsync full_waiters held_copy history holds kill9 life listers mounting neighbours old_store persons quickstart quota race repair requests starts strangers tools user
    [ "$MODE" != full ] || T_COMPACT_LOOP=1 run_scripts mountc/programs tests/mount/programs "$BUILD"
    T_COMPACT_LOOP=1 run_scripts mountc tests/mount/posix "$BUILD"
fi
if wanted mountr; then
    # those of programs that replace what they have read; the rest in `full mountr`, but for what counts requests, has other
    # options, or mounts by itself
    if [ "$MODE" = full ]; then
        T_REFUSE=1 run_scripts mountr tests/mount "$BUILD" cache conflict_examples conflicts control holds life listers mounting neighbours old_store quickstart race requests starts strangers tools user
        T_REFUSE=1 run_scripts mountr/programs tests/mount/programs "$BUILD"
        T_REFUSE=1 run_scripts mountr tests/mount/posix "$BUILD"
        T_REFUSE=1 run_scripts mountr tests/mount/fsfuzz "$BUILD"
    else
        for name in programs/work coreutils rsync git sqlite; do
            T_REFUSE=1 run "mountr/$name" 600 "tests/mount/$name.sh" "$BUILD"
        done
    fi
fi

# ---- the sanitizers, in build folders of their own

# Both sanitizers place their memory at fixed addresses, which wide address randomisation may take first.
NORANDOM=()
if setarch -R true 2>/dev/null; then NORANDOM=(setarch -R); fi

if wanted tsan && build build-tsan race-tests -- -Db_sanitize=thread -Db_lundef=false; then
    ENGRAM_TEST_MODE=$([ "$MODE" = full ] && echo default || echo quick) \
        run_plain tsan build-tsan race 900 "${NORANDOM[@]}"
fi
if wanted asan && build build-asan all unit-tests crash-tests mount-tests -- \
    -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1; then
    # Criterion runs each test in a child that it ends by itself: leaks are looked for in the plain programs
    # and those that take longest under them are for `full`
    long=(test_holes test_full_disk test_full_past test_slices test_gather test_shrink test_history_thin test_frozen_batches)
    [ "$MODE" != full ] || long=()
    ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 run_unit asan-unit build-asan "${long[@]}"
    run_crash asan-crash build-asan "$([ "$MODE" = full ] && echo more || echo sample)" "${NORANDOM[@]}"
    for name in coreutils control; do
        run "asan-mount/$name" 600 "${NORANDOM[@]}" sh -c \
            "ASAN_OPTIONS=\$ASAN_OPTIONS:log_path=\$TMPDIR/sanitizer exec tests/mount/$name.sh build-asan"
    done
fi
if wanted lint; then run lint 1800 env NODES="$([ "$MODE" != full ] || echo 225000)" tools/dev/lint.sh; fi
wait_all
if wanted coverage; then run coverage 1800 tools/dev/coverage.sh; fi
wait_all

[ $FAILED -eq 0 ] || exit 1
[ $PASSED -gt 0 ]
