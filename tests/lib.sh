# shellcheck shell=bash
#
# lib.sh - what the tests with a mounted store share. Sourced by bash.
#
#   . "$(dirname "$0")/../lib.sh"; t_begin "$@"
#
# gives BUILD (binaries), WORK (a folder of this run), and a trap that
# unmounts, kills and removes whatever lies under WORK, however the script
# ends. Each check prints one line: 'ok - NAME', 'not ok - NAME: why' or
# 'skip - NAME: why'; t_end makes the exit status of them.

export LC_ALL=C
T_FAILED=0
T_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034  # used by the scripts
ROOT=$(dirname "$T_LIB")

ok() { echo "ok - $1"; }
not_ok() {
    T_FAILED=$((T_FAILED + 1))
    echo "not ok - $1: ${2-}"
}
skip() { echo "skip - $1: $2"; }

# Runs a command; it must succeed. Its last line of output is the reason if it does not.
check() {
    local name=$1 out status
    shift
    out=$("$@" 2>&1)
    status=$?
    if [ $status -eq 0 ]; then
        ok "$name"
    else
        not_ok "$name" "status $status: $(tail -n 1 <<<"$out" | cut -c 1-300)"
        return 1
    fi
}

# Runs a command; it must fail and say TEXT, usually what strerror() says.
check_fails() {
    local name=$1 text=$2 out status
    shift 2
    out=$("$@" 2>&1)
    status=$?
    if [ $status -eq 0 ]; then
        not_ok "$name" "succeeded, expected '$text'"
    elif [ $status -ge 124 ]; then
        not_ok "$name" "status $status (hang or signal), expected '$text'"
    elif grep -qiE -- "$text" <<<"$out"; then
        ok "$name"
    else
        not_ok "$name" "expected '$text', got: $(tail -n 1 <<<"$out" | cut -c 1-300)"
    fi
}

check_equal() {
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "expected '${2:0:200}', got '${3:0:200}'"; fi
}

# Polls a condition, at most SECONDS.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

# Pids of daemons that serve something under folder $1: by exact program name and arguments, never by a pattern.
daemons_under() {
    local dir=$1 exe pid arg comm
    for exe in /proc/[0-9]*; do
        # read, not cat: this is polled
        { read -r comm <"$exe/comm"; } 2>/dev/null && [ "$comm" = engramfs ] || continue
        pid=${exe#/proc/}
        while IFS= read -r -d '' arg; do
            case $arg in "$dir" | "$dir"/*)
                echo "$pid"
                break
                ;;
            esac
        done 2>/dev/null <"$exe/cmdline"
    done
}

mounts_under() { # innermost first
    awk -v d="$1" '$2 == d || index($2, d "/") == 1 {print $2}' /proc/self/mounts | tac
}

# Takes away mounts, daemons, loop devices and files under folder $1.
sweep() {
    local dir=$1 m pid dev
    find "$dir" -xdev -maxdepth 4 -name '.compact-loop.*' 2>/dev/null | while IFS= read -r m; do
        compact_loop_stop "$(dirname "$m")/$(basename "$m" | cut -d . -f 3-)"
    done
    for m in $(mounts_under "$dir"); do
        timeout 20 umount "$m" 2>/dev/null || timeout 5 fusermount3 -u "$m" 2>/dev/null || umount -l "$m" 2>/dev/null
    done
    for pid in $(daemons_under "$dir"); do kill -9 "$pid" 2>/dev/null; done
    for m in $(mounts_under "$dir"); do umount -l "$m" 2>/dev/null; done
    if [ "$(id -u)" -eq 0 ]; then
        for dev in $(losetup -l -n -O NAME,BACK-FILE 2>/dev/null | awk -v d="$dir/" 'index($2, d) == 1 {print $1}'); do
            losetup -d "$dev" 2>/dev/null
        done
    fi
    rm -rf --one-file-system "$dir" 2>/dev/null
    return 0
}

t_cleanup() {
    local status=$? job
    trap '' INT TERM HUP
    trap - EXIT
    cd /
    for job in $(jobs -p); do kill -KILL "$job" 2>/dev/null; done
    wait 2>/dev/null
    if [ "$(type -t t_more_cleanup)" = function ]; then t_more_cleanup; fi
    if [ "${T_KEEP-}" ]; then echo "# kept: $WORK"; else sweep "$WORK"; fi
    exit $status
}

t_begin() {
    BUILD=$(cd "${1:-$ROOT/build}" 2>/dev/null && pwd) || {
        echo "not ok - setup: no build folder '${1:-$ROOT/build}'"
        exit 1
    }
    ENGRAMFS=$BUILD/fs/engramfs
    # shellcheck disable=SC2034
    CTL=$BUILD/tools/engramctl
    if [ ! -x "$ENGRAMFS" ]; then
        echo "not ok - setup: $ENGRAMFS is not built"
        exit 1
    fi
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/engramfs-test.XXXXXX") || exit 1
    trap t_cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if [ ! -c /dev/fuse ]; then
        skip "$(basename "$0" .sh)" "no /dev/fuse"
        exit 0
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v fusermount3 >/dev/null; then
        skip "$(basename "$0" .sh)" "not root and no fusermount3"
        exit 0
    fi
}

t_end() {
    [ "${T_COMPACT_LOOP:-0}" = 0 ] || compact_loop_verdict
    [ "${T_REFUSE:-0}" = 0 ] || refusals_verdict
    exit $((T_FAILED > 0))
}

# Leaves the script when one of these tools is not there.
t_needs() {
    local tool
    for tool in "$@"; do
        if ! PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null; then
            skip "$(basename "$0" .sh)" "no $tool"
            exit 0
        fi
    done
}

# ---- compaction in a loop: with T_COMPACT_LOOP=1 beside everything that happens on a mount of mount_store's

# Where the loop's process number is kept: beside the mount point, so that whoever unmounts finds it.
compact_loop_file() { echo "$(dirname "$1")/.compact-loop.$(basename "$1")"; }

# Until the mount is gone, or its daemon.
compact_loop() {
    while { echo run >"$1/.engram/compact"; } 2>/dev/null || [ -e "$1/.engram/compact" ]; do sleep 0.02; done
}

# Not a job of this shell: scripts wait for their own.
compact_loop_start() {
    [ -e "$1/.engram/compact" ] || return 0
    (
        compact_loop "$1" >/dev/null 2>&1 </dev/null &
        echo $! >"$(compact_loop_file "$1")"
    )
}

# Its open control file would keep the mount busy.
compact_loop_stop() {
    local file pid
    file=$(compact_loop_file "$1")
    [ -e "$file" ] || return 0
    pid=$(cat "$file")
    rm -f "$file"
    kill -9 "$pid" 2>/dev/null && wait_until 20 no_process "$pid"
    # what this mount's compactions did; nothing of one whose daemon is dead already
    timeout 20 cat "$1/.engram/metrics" 2>/dev/null | awk '
        /^engram_content_compactions_total\{result="success"/ {ok = $2}
        /^engram_content_compactions_total\{result="failure"/ {bad = $2}
        /^engram_content_relocations_total\{result="installed"/ {moved = $2}
        END {if (NR) print ok, bad, moved}' >>"$WORK/.compactions"
}

# Whatever a script shows beside compactions, it shows only if there were some that moved something.
compact_loop_verdict() {
    local ok bad moved
    read -r ok bad moved < <(awk '{a += $1; b += $2; c += $3} END {print a + 0, b + 0, c + 0}' "$WORK/.compactions" 2>/dev/null)
    if [ "${ok:-0}" -gt 0 ] && [ "$bad" -eq 0 ] && [ "$moved" -gt 0 ]; then
        ok "compactions beside it: $ok, none of them failed, extents moved: $moved"
    else
        not_ok "compactions beside it" "${ok:-0} succeeded, ${bad:-0} failed, ${moved:-0} extents moved"
    fi
}

# ---- with T_REFUSE=1 each mount of mount_store's has -o conflicts=refuse, and refuses only what must be refused

# What a mount has refused so far, beside the mount point.
refusals_note() {
    [ "${T_REFUSE:-0}" != 0 ] || return 0
    local total
    total=$(timeout 20 cat "$1/.engram/metrics" 2>/dev/null | awk '/^engram_conflicts_refused_total/ {print $2}')
    [ -n "$total" ] || return 0
    echo "$total" >>"$(dirname "$1")/.refusals-counted"
    [ "$total" -eq 0 ] || timeout 20 cat "$1/.engram/conflicts" >>"$(dirname "$1")/.refusals"
}

# tests/mount/refusals.txt has those that are expected: the script, a pattern of the path, one of the process's name, and why.
refusals_verdict() {
    local mnt one mounts
    for mnt in $(mounts_under "$WORK"); do refusals_note "$mnt"; done
    mounts=$(find "$WORK" -xdev -maxdepth 3 -name .refusals-counted -exec cat {} + 2>/dev/null | wc -l)
    while IFS= read -r one; do not_ok "a replacement was refused" "$one"; done < <(
        find "$WORK" -xdev -maxdepth 3 -name .refusals -exec cat {} + 2>/dev/null |
            python3 "$T_LIB/mount/refusals.py" "$(basename "$0" .sh)" "$T_LIB/mount/refusals.txt" 2>&1
    )
    if [ "$mounts" -gt 0 ]; then
        ok "with conflicts=refuse nothing else was refused, in $mounts mounts"
    else
        not_ok "with conflicts=refuse" "no mount was asked what it has refused"
    fi
}

no_process() { ! kill -0 "$@" 2>/dev/null; }

# mount_store STORE MOUNTPOINT [OPTIONS...]: returns once the mount answers, as engramfs promises.
mount_store() {
    local store=$1 mnt=$2 status
    shift 2
    mkdir -p "$mnt"
    # with the page cache as the one who writes there is nobody to judge
    case " $* " in *writeback*) ;; *) [ "${T_REFUSE:-0}" = 0 ] || set -- "$@" -o conflicts=refuse ;; esac
    timeout 120 "$ENGRAMFS" "$@" "$store" "$mnt"
    status=$?
    if [ $status -eq 0 ] && [ "${T_COMPACT_LOOP:-0}" != 0 ]; then
        compact_loop_stop "$mnt" # one whose daemon has died and been followed by this one
        compact_loop_start "$mnt"
    fi
    return $status
}

must_mount() {
    if ! mount_store "$@"; then
        not_ok "mount ${1##*/}" "engramfs failed"
        exit 1
    fi
    if ! mountpoint -q "$2"; then
        not_ok "mount ${1##*/}" "engramfs returned 0, but nothing is mounted"
        exit 1
    fi
}

no_daemon() { [ -z "$(daemons_under "$1")" ]; }

# Unmounts and waits until the daemon has written its checkpoint and gone.
unmount_store() {
    local mnt=$1
    compact_loop_stop "$mnt"
    refusals_note "$mnt"
    # Who looks at it in passing, from another test even, keeps it busy for that moment.
    wait_until 10 try_unmount "$mnt" || try_unmount "$mnt" || return 1
    wait_until 60 no_daemon "$mnt"
}

try_unmount() { timeout 60 umount "$1" 2>/dev/null || timeout 60 fusermount3 -u "$1"; }

# kill -9 of the daemon behind a mount point, and away with what the kernel still shows.
kill_daemon() {
    local mnt=$1 pid
    compact_loop_stop "$mnt"
    refusals_note "$mnt"
    for pid in $(daemons_under "$mnt"); do kill -9 "$pid"; done
    wait_until 30 no_daemon "$mnt" || return 1
    umount -l "$mnt" 2>/dev/null || fusermount3 -u -z "$mnt"
}

# One number or word of a flat JSON text on standard input, "" if absent.
json_get() {
    python3 -c '
import json, sys
v = json.load(sys.stdin)
for k in sys.argv[1].split("."):
    v = v[k]
print(json.dumps(v) if isinstance(v, (dict, list, bool)) or v is None else v)' "$1"
}

# du of a folder in bytes, as the disk has it.
du_bytes() { du -s -B1 "$1" | cut -f 1; }

# A folder `tree` of all that an import and an export have to keep: make_tree, then what a test adds, then finish_tree.
make_tree() {
    mkdir -p tree/deep/er tree/empty tree/closed
    echo one >tree/deep/a
    ln tree/deep/a tree/deep/hard
    ln tree/deep/a tree/hard-elsewhere
    ln -s deep/a tree/link
    ln -s /nowhere/at/all tree/dangling
    mkfifo tree/pipe
    : >tree/zero
    head -c 9000000 /dev/urandom >tree/deep/er/big
    truncate -s 12M tree/sparse
    printf middle | dd of=tree/sparse bs=1 seek=6000000 conv=notrunc status=none
}
finish_tree() { # attributes, modes, owners, and times last
    setfattr -n user.topic -v travel tree/deep/a
    setfattr -n user.of.a.folder -v yes tree/deep
    setfattr -n user.nothing tree/zero
    chmod 600 tree/deep/er/big
    chmod 4711 tree/zero
    chmod 1777 tree/empty
    chmod 555 tree/closed
    [ "$(id -u)" -ne 0 ] || chown 1234:567 tree/deep/a tree/deep/er
    find tree -depth -exec touch -h -d '2011-02-03 04:05:06.123456789' {} +
}

# A digest of a whole tree: names, types, modes, owners, sizes, mtimes, link targets and content.
tree_digest() {
    (cd "$1" && find . -mindepth 1 -printf '%P\0%y\0%m\0%U\0%G\0%T@\0%l\0' |
        python3 -c '
import sys, hashlib
f = sys.stdin.buffer.read().split(b"\0")[:-1]
rows = sorted(f[i:i + 7] for i in range(0, len(f), 7))
for r in rows:
    # times of ext4 and ours are in ns; find prints ten digits
    if r[1] == b"f":
        with open(r[0], "rb") as file:
            r = r + [hashlib.sha256(file.read()).hexdigest().encode()]
    sys.stdout.buffer.write(b"\0".join(r) + b"\n")') | sha256sum | cut -d ' ' -f 1
}

# Only names and content.
content_digest() {
    (cd "$1" && find . -type f -print0 | sort -z | xargs -0 -r sha256sum | sha256sum | cut -d ' ' -f 1)
}
