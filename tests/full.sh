# shellcheck shell=bash
#
# full.sh - the long version of all tests, in parts that each end within an hour on two processors. Sourced by run.sh,
# for its functions. Each part is one line of PARTS_ALL and, where it is more than groups of run.sh, a function part_NAME.
#
# What a program can be told is told here, so that the numbers of docs/TESTING.md stand in one place; the scripts of
# tests/mount and tests/ops look at ENGRAM_TEST_MODE=full.

# name|groups of run.sh|what it covers
PARTS_ALL=(
    "base|docs unit mutants review lint coverage|what CI runs once, and the lines of the engine that tests reach"
    "crash||each I/O call cut and failed, each allocation failed, 5,000 random workloads cut"
    "lives||two lives: death at each I/O call of the script, all second lives; 2,000 random workloads"
    "damage||each bit of a small store flipped, every length, with three liars"
    "race|tsan|millions of verified reads, by schedule and at random; CI's numbers under the thread sanitizer"
    "fuzz||two minutes for each target"
    "mount||a mounted store and real tools, with long runs and a folder of 1,000,000 entries"
    "mountc|mountc|the mounted store once more while compaction runs in a loop, as long as in CI"
    "mountr|mountr|the mounted store and the comparison with ext4 once more with -o conflicts=refuse, as long as in CI"
    "posix|posix|a mount and ext4 compared: rules, and 281 seeds of 6,000 random operations"
    "kill9||two times 250 rounds of kill -9, 3,000,000 reads of a mount beside compaction"
    "archives||10,000 hostile archives and trees"
    "ops||what operators need; the Debian package in a clean Debian, booted with systemd"
    "asan|asan|unit, crash and a mounted daemon under the address, leak and undefined behaviour sanitizers"
)

part_list() { printf '%s\n' "${PARTS_ALL[@]}" | awk -F '|' '{printf "    %-9s %s\n", $1, $3}'; }
part_names() { printf '%s\n' "${PARTS_ALL[@]}" | cut -d '|' -f 1; }
is_part() { part_names | grep -qxF -- "$1"; }
part_groups() { printf '%s\n' "${PARTS_ALL[@]}" | awk -F '|' -v part="$1" '$1 == part {print $2}'; }

sim() { # GROUP PROGRAM ARGUMENTS...
    run "$1/$2" 3500 "$BUILD/tests/sim/$2" "${@:3}"
}

part_crash() {
    local exe
    for exe in $(programs "$BUILD" sim crash); do
        case ${exe##*/} in
        twolives) ;; # a part of its own
        upgrade) sim crash upgrade tests/mount/old/*.tar.xz ;;
        *) sim crash "${exe##*/}" ;;
        esac
    done
    run "crash/powercut, 5,000 seeds" 3500 "$BUILD/tests/sim/powercut" --no-script --seeds 5000 --ops 150 --stride 61
}

part_lives() {
    run "lives/script" 3500 "$BUILD/tests/sim/twolives" --seeds 0 --alone
    run "lives/script beside an installer" 3500 "$BUILD/tests/sim/twolives" --seeds 0 --beside 1
    run "lives/2,000 seeds" 3500 "$BUILD/tests/sim/twolives" --no-script --seeds 2000
}

part_damage() { sim damage damage; }

part_race() {
    local exe args
    for exe in $(programs "$BUILD" sim race); do
        case ${exe##*/} in
        race | everything | past) args=(--reads 20000000) ;;
        views) args=(--views 400) ;;
        feed) args=(--batches 3000000) ;;
        *) args=() ;;
        esac
        sim race "${exe##*/}" "${args[@]}"
    done
}

part_fuzz() {
    local share
    for share in 1/2 2/2; do run "fuzz $share" 3500 env SHARE=$share tests/sim/fuzz/run.sh 120; done
}

part_mount() {
    run_scripts mount tests/mount "$BUILD" kill9 race
    run_scripts mount/programs tests/mount/programs "$BUILD"
}

part_kill9() {
    local half
    for half in 1 2; do run "kill9 $half" 3500 tests/mount/kill9.sh "$BUILD" 250; done
    run kill9/race 3500 tests/mount/race.sh "$BUILD" 3000000
}

part_archives() { run archives 3500 tests/ops/archives.sh "$BUILD" 10000; }

part_ops() { run_scripts ops tests/ops "$BUILD" archives; }

# As in CI, but for what run.sh itself lengthens.
part_base() { export ENGRAM_TEST_MODE=default; }
part_mountc() { export ENGRAM_TEST_MODE=default; }
part_mountr() { export ENGRAM_TEST_MODE=default; }
part_asan() { export ENGRAM_TEST_MODE=default; }

# part NAME: starts what is more than the groups of the part, which follow.
part() {
    if declare -F "part_$1" >/dev/null; then "part_$1"; fi
}

# One line of the totals, from all that part NAME printed and its exit status: `N passed, N failed[, N skipped] ...`. A part that
# ended without its last line, or badly though it tells of no failure, counts as one that failed.
part_result() { # NAME STATUS < OUTPUT
    tail -n 2 | awk -v name="$1" -v status="$2" '
        $1 == "part" && $2 == name ":" && $4 == "passed," {sub(/^part /, ""); line = $0}
        END {
            if (line == "")
                line = name ": 0 passed, 1 failed: it stopped, exit status " status
            else if (status != 0 && line ~ / passed, 0 failed/)
                sub(/ 0 failed/, " 1 failed", line)
            print line
        }'
}

part_total() { # < lines of part_result
    awk '{
        p += $2; f += $4
        if ($7 == "skipped") s += $6
    } END {print p + 0 " passed, " f + 0 " failed" (s ? ", " s " skipped" : "")}'
}

# parts NAMES...: each in a process of its own, so that one that is interrupted leaves the others; adds up their last lines.
parts() {
    local name began=$SECONDS out status=0 one
    out=$(mktemp) || return 1
    for name in "$@"; do
        echo "==== part $name"
        tests/run.sh full "$name" 2>&1 | tee "$out"
        one=${PIPESTATUS[0]}
        [ "$one" -eq 0 ] && grep -q "^part $name: " "$out" || status=1
        part_result "$name" "$one" <"$out" >>"$out.sum"
    done
    echo "==== all parts, $((SECONDS - began)) s"
    cat "$out.sum"
    part_total <"$out.sum"
    rm -f "$out" "$out.sum"
    return $status
}
