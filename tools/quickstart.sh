#!/usr/bin/env bash
# quickstart.sh - from a fresh clone to a mounted store with memories in it.
#
# Installs what is missing, builds, mounts, imports the sample, and shows what
# one does with a mount. Can be run again with the same STORE and MOUNTPOINT.
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'U'
usage: tools/quickstart.sh STORE MOUNTPOINT

Builds engramfs, creates STORE (a folder; an existing store is used again),
mounts it on MOUNTPOINT (a folder, created if missing), imports a sample of
memories, shows what can be done with them, and leaves it mounted.
U
}

die() {
    echo "quickstart: $*" >&2
    exit 1
}

case ${1-} in -h | --help)
    usage
    exit 0
    ;;
esac
if [ $# -ne 2 ] || [ -z "$1" ] || [ -z "$2" ] || [[ $1 = -* ]] || [[ $2 = -* ]]; then
    usage >&2
    exit 2
fi
STORE=$(realpath -m -- "$1")
# A mount point whose daemon died cannot be resolved to the end, only up to it.
MNT=$(realpath -m -- "$2" 2>/dev/null) || MNT=$(realpath -m -- "$(dirname -- "$2")")/$(basename -- "$2")
case $MNT/ in "$STORE"/*) die "MOUNTPOINT must not lie inside STORE" ;; esac
case $STORE/ in "$MNT"/*) die "STORE must not lie inside MOUNTPOINT" ;; esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
BUILD=${BUILD:-build}
TMP=$(mktemp -d)
trap 'rm -rf -- "$TMP"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
plain() { printf '\n%s\n' "$*"; }
[ -t 1 ] || say() { plain "$@"; }
# Shows a command and does it. What may be any name is in the environment: nothing in it is run.
export BUILD STORE MNT TMP
show() {
    local text=$*
    text=${text//\$BUILD/$BUILD} text=${text//\$MNT/$MNT} text=${text//\$TMP/$TMP}
    printf '$ %s\n' "$text"
    bash -o pipefail -c "$*"
}
quietly() { # LOG COMMAND...
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "failed: $*"
    fi
}

say "1. What is needed, and the build"
tools/dev/deps.sh build demo
[ -c /dev/fuse ] || die "there is no /dev/fuse: load the module (modprobe fuse), or give the container --device /dev/fuse --cap-add SYS_ADMIN"
[ -f "$BUILD/build.ninja" ] || quietly "$TMP/setup.log" meson setup "$BUILD"
quietly "$TMP/build.log" ninja -C "$BUILD" fs/engramfs tools/engramctl
echo "built: $BUILD/fs/engramfs and $BUILD/tools/engramctl"

say "2. The store, and the mount"
mkdir -p -- "$MNT" 2>/dev/null || true # an existing mount point whose daemon died is cleaned by engramfs
# What is mounted there, if it is one of ours: the store's path.
mounted=$(findmnt -n -t fuse.engramfs -o SOURCE --mountpoint "$MNT" 2>/dev/null | tail -n 1 || true)
if [ "$mounted" = "$STORE" ] && [ -r "$MNT/.engram/status" ]; then
    echo "$STORE is already mounted on $MNT"
else
    printf '$ %s %s %s\n' "$BUILD/fs/engramfs" "$STORE" "$MNT"
    "$BUILD/fs/engramfs" "$STORE" "$MNT"
fi
cat "$MNT/.engram/status" >/dev/null || die "the mount does not answer"
# What follows overwrites and removes: only what an earlier run of this has brought.
MARK=user.quickstart
if [ -n "$(ls -A "$MNT")" ] && ! getfattr -n $MARK "$MNT" >/dev/null 2>&1; then
    die "$STORE has memories of your own, which this would mix with the sample; it stays mounted and as it was. Give a STORE that is missing or empty"
fi
setfattr -n $MARK -v 1 "$MNT"

say "3. Memories go in: one JSON object a line"
for sample in tools/sample/*.jsonl; do
    show "\"\$BUILD/tools/engramctl\" import '$sample' \"\$MNT\""
done

say "4. They are files"
cd "$MNT"
show "ls"
show "ls people/ada | head -n 8"
show "cat people/ada/birthday; echo"
show "grep -ril sailing . | sort | head -n 5"
show "getfattr -d -m '^user' people/ada/birthday"

say "5. Overwriting and removing"
show "echo 'Ada moved her birthday dinner to the boathouse this year.' > people/ada/birthday"
show "cat people/ada/birthday"
show "rm -r routines"
show "ls -d routines || true"
show "sed -n '/^space/,/^$/p' .engram/status"

say "6. Compaction takes the dead bytes back, while everything can be read"
show "echo run > .engram/compact"
show "cat .engram/compact"

say "7. From now on what is overwritten and removed is kept for 30 days"
show "echo history=30d > .engram/config"
show "rm -r projects"
show "ls .engram/deleted"
show "mv .engram/deleted/projects projects && ls projects | head -n 3"

say "8. A backup: rsync, and a second run that transfers nothing"
# Attributes go along where the target's file system can hold them.
X=
touch "$TMP/probe"
if setfattr -n user.probe -v 1 "$TMP/probe" 2>/dev/null; then X=X; fi
show "rsync -a$X --stats ./ \"\$TMP/backup/\" | grep 'files transferred'"
printf '$ (again)\n'
rsync "-a$X" --stats ./ "$TMP/backup/" | tee "$TMP/second" | grep 'files transferred'
grep -q 'files transferred: 0$' "$TMP/second" || die "the second rsync transferred something"
show "diff -r . \"\$TMP/backup\" && echo equal"

cd /
say "Done. $MNT stays mounted; look around, and read $MNT/.engram/help."
if [ "$(id -u)" -eq 0 ]; then
    printf 'To unmount:  umount %q\n' "$MNT"
else
    printf 'To unmount:  fusermount3 -u %q\n' "$MNT"
fi
