#!/usr/bin/env bash
# old_store.sh - stores that earlier versions wrote open, and are what they were when they were written: each file, link,
# attribute, extent and time; after a compaction and a restart, too. What only reads leaves them as they are; the first
# opening for writing makes them of today's format, and says so once. tests/mount/old/ has them; make.sh there says how
# they were made. With OLD_ENGRAMFS, that of a build of one of these versions, it is shown that it refuses them then.
#
#   tests/mount/old_store.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 xz tar
MNT=$WORK/mnt C=$WORK/mnt/.engram
OPTIONS=dev
[ "$(id -u)" -ne 0 ] || OPTIONS=dev,allow_other

# difference FILE FILE: the first lines that differ
difference() {
    python3 - "$@" 2>&1 <<'P'
import json, sys
one, two = ([json.loads(l) for l in open(name)] for name in sys.argv[1:3])
assert len(one) > 45, len(one)
bad = [(a, b) for a, b in zip(one, two) if a != b]
for a, b in bad[:5]:
    print(a["path"], {k: (a.get(k), b.get(k)) for k in {**a, **b} if a.get(k) != b.get(k)})
if len(one) != len(two):
    print(len(one), len(two), "names;", sorted({l["path"] for l in one} ^ {l["path"] for l in two})[:5])
P
}
digest() { (cd "$1" && sha256sum -- * | sha256sum); }
version() { od -An -tu4 -j 8 -N 4 "$1/superblock" | tr -d ' '; }
# mount_watched STORE LINES: mounts it on $MNT with the lines of the daemon in the file LINES
mount_watched() {
    mkdir -p "$MNT"
    "$ENGRAMFS" -f -o "$OPTIONS" "$1" "$MNT" 2>"$2" &
    if ! wait_until 60 mountpoint -q "$MNT"; then
        not_ok "mount ${1##*/}" "$(cat "$2")"
        exit 1
    fi
}
look() { python3 "$T_LIB/mount/old/fill.py" look "$MNT" >"$WORK/$1"; }

for archive in "$T_LIB"/mount/old/*.tar.xz; do
    old=$(basename "$archive" .tar.xz)
    want=$T_LIB/mount/old/$old.json
    store=$WORK/$old
    mkdir "$store"
    check "$old: unpack" tar -C "$store" -xJf "$archive"
    check "$old: more than one checkpoint" test "$(find "$store" -name '*.ckp' | wc -l)" -ge 2
    digest=$(digest "$store")
    check_equal "$old: of version 1" 1 "$(version "$store")"
    for command in check stat map config export "dump s0000000d.seg"; do
        # shellcheck disable=SC2086
        set -- $command
        verb=$1
        shift
        case $verb in
            dump) set -- "$store" "$@" ;;
            export) set -- --format tar "$store" "$WORK/$old.tar" ;; # a tree: this disk may hold less
            *) set -- "$@" "$store" ;;
        esac
        check "$old: engramctl $verb" sh -c '"$@" >/dev/null' sh "$CTL" "$verb" "$@"
        check_equal "$old: engramctl $verb changes not a byte" "$digest" "$(digest "$store")"
    done
    must_mount "$store" "$MNT" -o "ro,$OPTIONS"
    look "$old.ro"
    check_equal "$old: read-only, all is what it was" "" "$(difference "$want" "$WORK/$old.ro")"
    check_equal "$old: one of each kind" "survivors log checkpoint" "$(cut -f 3 "$C/segments" | sort -r | uniq | xargs)"
    check "$old: engramctl backup" "$CTL" backup --store "$store" "$MNT" "$WORK/$old.backup"
    check "$old: unmount" unmount_store "$MNT"
    check_equal "$old: not a byte of it is changed" "$digest" "$(digest "$store")"
    check_equal "$old: the backup is of version 1" 1 "$(version "$WORK/$old.backup")"
    check "$old: and whole" "$CTL" check "$WORK/$old.backup"

    mount_watched "$store" "$WORK/$old.lines"
    check_equal "$old: it says once that it is upgraded" 1 "$(grep -c 'upgraded from format 1 to 2' "$WORK/$old.lines")"
    check_equal "$old: of version 2" 2 "$(version "$store")"
    check_equal "$old: one checkpoint, twice" "ckp cpy" \
        "$(find "$store" -name 'c*.c??' | sed 's/.*\.//' | sort | xargs)"
    look "$old.rw"
    check_equal "$old: for writing, all is what it was" "" "$(difference "$want" "$WORK/$old.rw")"
    check "$old: scrub" sh -c "echo run >'$C/scrub'"
    check "$old: compaction" sh -c "echo run >'$C/compact'"
    check "$old: it moved something" test "$(json_get bytes_moved <"$C/compact")" -gt 0
    look "$old.compacted"
    check_equal "$old: compacted, all is what it was" "" "$(difference "$want" "$WORK/$old.compacted")"
    echo new >"$MNT/new" && rm "$MNT/new"
    check "$old: unmount after that" unmount_store "$MNT"
    mount_watched "$store" "$WORK/$old.lines"
    check_equal "$old: the second opening upgrades nothing" 0 "$(grep -c upgraded "$WORK/$old.lines")"
    look "$old.again"
    check_equal "$old: opened again, all but the root's times is what it was" "" \
        "$(difference <(sed 1d "$want") <(sed 1d "$WORK/$old.again"))"
    check "$old: unmount at the end" unmount_store "$MNT"
    check_equal "$old: clean" "0 problems" "$("$CTL" check "$store" | grep -o '[0-9]* problems')"
    if [ -n "${OLD_ENGRAMFS-}" ]; then
        digest=$(digest "$store")
        check "$old: its own program refuses it" sh -c '! "$@"' sh "$OLD_ENGRAMFS" -o "$OPTIONS" "$store" "$MNT"
        check_equal "$old: and changes nothing" "$digest" "$(digest "$store")"
    fi
done
check "there was one" test -n "${old-}"
t_end
