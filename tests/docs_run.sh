#!/usr/bin/env bash
# docs_run.sh - each command of the documentation is run as it stands there: every block ```sh of README.md and docs/, and
# every example of the manual pages, line by line, with places of its own.
#
#   tests/docs_run.sh [BUILD]
#
# A line that ends in `# N: why` has to end with status N. A comment <!-- test: NAME --> before a block has something happen
# first (stage_NAME below). Blocks ```console need a system of their own: tests/ops/debian_inside.sh runs them, and
# here it is only looked that each of their commands is in it.
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/lib.sh"
t_begin "$@"
t_needs curl rsync python3 getfattr
mkdir "$WORK/bin"
ln -s "$ENGRAMFS" "$CTL" "$ROOT/packaging/engram-backup" "$WORK/bin/"
[ ! -x "$BUILD/tools/engram-gateway" ] || ln -s "$BUILD/tools/engram-gateway" "$WORK/bin/"
PATH=$WORK/bin:$PATH
PORT=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# ---- what happens before a block
stage_daemon_killed() {
    kill -9 "$(daemons_under "$place/mnt")"
    wait_until 30 no_daemon "$place/mnt"
}
stage_some_memories() {
    mkdir "$place/mnt/goes" && echo monday | tee "$place/mnt/goes/with" >"$place/mnt/changes"
}
stage_changed_since_monday() {
    rm -r "$place/mnt/goes" && mkdir "$place/mnt/comes" && echo tuesday | tee "$place/mnt/comes/with" >>"$place/mnt/changes"
}
stage_copy_of_tuesday() {
    grep -q goes/with "$place/backup/removed" && grep -q tuesday "$place/backup/daily/comes/with" &&
        diff -r "$place/mnt/.engram/snapshots/tuesday" "$place/backup/daily"
}
# A bit of a memory's content turns, on the disk.
turn_a_bit() {
    python3 - "$place/store" <<'P'
import glob, sys
for path in glob.glob(sys.argv[1] + "/s*.seg"):
    data = bytearray(open(path, "rb").read())
    at = data.find(b"it was raining")
    if at >= 0:
        data[at] ^= 1
        open(path, "wb").write(data)
        raise SystemExit
raise SystemExit("not found")
P
}
stage_damaged_content() {
    umount "$place/mnt" && wait_until 30 no_daemon "$place/mnt" && "$CTL" snapshot drop "$place/store" tuesday && turn_a_bit &&
        engramfs "$place/store" "$place/mnt"
}
stage_damaged_store() {
    wait_until 30 no_daemon "$place/mnt" && python3 - "$place/store" <<'P'
# What was durable is a prefix of the log, and this is its beginning: no torn end.
import glob, os, sys
for path in glob.glob(sys.argv[1] + "/c*.c[kp][py]"):
    os.unlink(path)
path = sorted(glob.glob(sys.argv[1] + "/s*.seg"))[0]
data = bytearray(open(path, "rb").read())
data[data.index(b"first")] ^= 1
open(path, "wb").write(data)
P
}
# A log over several segments that is not synced, with a bad batch in the second one.
stage_bad_batch() {
    rm -rf "$place/store" && engramfs -o commit=3600,segment_size=64k "$place/store" "$place/mnt" || return 1
    for i in {10..70}; do printf "memory $i %.0s" {1..500} >"$place/mnt/memory$i" || return 1; done
    kill -9 "$(daemons_under "$place/mnt")" && wait_until 30 no_daemon "$place/mnt" && umount "$place/mnt" || return 1
    python3 - "$place/store" <<'P'
import sys
path = sys.argv[1] + "/s00000002.seg"
data = bytearray(open(path, "rb").read())
data[data.index(b"engb", 20000) + 70] ^= 1
open(path, "wb").write(data)
P
}

# ---- one line
run_line() { # LINE
    local line=$1 want=0 out status name
    name="$doc: ${line//$place/}"
    name=${name%%$'\n'*}
    case $line in
    *'&')
        eval "$line" >"$place/background.log" 2>&1
        ok "$name"
        return
        ;;
    'kill %1')
        kill %1 && wait %1
        check_equal "$name" 0 $?
        return
        ;;
    'meson setup build '*) # compiling takes its time; tests/ops/packaging.sh does it
        line="meson setup '$place/b' '$ROOT' && ninja -C '$place/b' -n"
        ;;
    'tests/run.sh'*) line="tests/run.sh help" ;; # this is part of what it runs
    esac
    if [[ $line =~ \#\ ([0-9]+): ]]; then want=${BASH_REMATCH[1]}; fi
    # not from the documentation: bash, its limit, and its folder
    out=$(cd "$place/dir" && HOME=$place/home timeout 120 bash -c "$line" 2>&1)
    status=$?
    if [ $status -eq "$want" ]; then
        ok "$name"
    else
        not_ok "$name" "status $status: $(tail -n 1 <<<"$out" | cut -c 1-300)"
    fi
    case $line in umount*) wait_until 30 no_daemon "$(cut -d ' ' -f 2 <<<"$line")" ;; esac
}

# ---- a document: its blocks on standard input, stages as lines `#stage NAME`
run_commands() {
    local line rest
    sed "s|/var/lib/memories|$place/store|g; s|/var/lib/saved|$place/saved|g; s|/mnt/memories|$place/mnt|g; s|/backup/|$place/backup/|g; s|/tmp/small|$place/small|g
         s|\\bSTORE\\b|$place/hand|g; s|\\bMOUNTPOINT\\b|$place/hand-mnt|g; s|~/|$place/home/|g; s|9464|$PORT|g; s|curl -s |curl -sSf |g" >"$place/run"
    while IFS= read -r line <&4; do
        while [[ $line = *[\\\|] ]] && IFS= read -r rest <&4; do line="${line%\\} $rest"; done
        if [[ $line =~ \<\<\'([A-Z]+)\' ]]; then # and what follows up to its end
            while IFS= read -r rest <&4 && line+=$'\n'$rest && [ "$rest" != "${BASH_REMATCH[1]}" ]; do :; done
        fi
        case $line in
        '') ;;
        '#stage '*) check "$doc: (${line#\#stage })" "stage_${line#\#stage }" ;;
        *) run_line "$line" ;;
        esac
    done 4<"$place/run"
    ! mountpoint -q "$place/mnt" || check "$doc: unmount" unmount_store "$place/mnt"
}
make_place() {
    place=$WORK/$(tr / _ <<<"$doc")
    mkdir -p "$place/mnt" "$place/hand-mnt" "$place/backup" "$place/home" "$place/dir"
    ln -s "$BUILD" "$place/dir/build"
    ln -s "$ROOT/tools" "$ROOT/tests" "$ROOT/meson.build" "$place/dir/"
    cp "$ROOT/tools/sample/ada.jsonl" "$place/dir/memories.jsonl"
}
export BUILD
cd "$ROOT" || exit 1
for doc in README.md docs/*.md; do
    make_place
    awk '/^<!-- test: / {print "#stage " $3} /^```sh$/ {on = 1; next} /^```/ {on = 0} on' "$doc" >"$place/commands"
    [ -s "$place/commands" ] || continue
    if grep -q engram-gateway "$place/commands" && [ ! -x "$WORK/bin/engram-gateway" ]; then
        skip "$doc" "the gateway is not built"
        continue
    fi
    run_commands <"$place/commands"
done
for doc in packaging/man/*.scd; do
    make_place
    awk '/^# / {part = $2} /^```/ {on = !on; next} on && part == "EXAMPLES"' "$doc" >"$place/commands"
    [ -s "$place/commands" ] || continue
    # examples begin with a mount where they do not make one
    if ! grep -q '^engramfs ' "$place/commands"; then
        must_mount "$place/store" "$place/mnt"
        "$CTL" import "$ROOT/tools/sample/ada.jsonl" "$place/mnt" >/dev/null
    fi
    run_commands <"$place/commands"
done

# ---- what is not run here is run in a system of its own
while IFS= read -r line; do
    command=$(sed 's/ *#.*//; s/NAME/x/' <<<"$line" | cut -d ' ' -f 1,2)
    check "in tests/ops/debian_inside.sh: $command" grep -qF -- "$command" tests/ops/debian_inside.sh
done < <(awk '/^```console$/ {on = 1; next} /^```/ {on = 0} on' README.md docs/*.md)
check_equal "each block says what it is" "" "$(awk '/^```/ {n++; if (n % 2 && $0 !~ /^```(sh|console|text|c|json)$/) print FILENAME ": " $0} ENDFILE {n = 0}' README.md docs/OPERATIONS.md docs/CONTROL.md docs/API.md docs/FAQ.md CONTRIBUTING.md)"
t_end
