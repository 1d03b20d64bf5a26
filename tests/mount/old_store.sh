#!/usr/bin/env bash
# old_store.sh - stores that earlier versions wrote open, and are what they were when they were written: each file, link,
# attribute, extent and time; after a compaction and a restart, too. tests/mount/old/ has them; make.sh there says how
# they were made.
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
look() { python3 "$T_LIB/mount/old/fill.py" look "$MNT" >"$WORK/$1"; }

for archive in "$T_LIB"/mount/old/*.tar.xz; do
    old=$(basename "$archive" .tar.xz)
    want=$T_LIB/mount/old/$old.json
    store=$WORK/$old
    mkdir "$store"
    check "$old: unpack" tar -C "$store" -xJf "$archive"
    check "$old: more than one checkpoint" test "$(find "$store" -name '*.ckp' | wc -l)" -ge 2
    digest=$(cd "$store" && sha256sum -- * | sha256sum)
    must_mount "$store" "$MNT" -o "ro,$OPTIONS"
    look "$old.ro"
    check_equal "$old: read-only, all is what it was" "" "$(difference "$want" "$WORK/$old.ro")"
    check_equal "$old: one of each kind" "survivors log checkpoint" "$(cut -f 3 "$C/segments" | sort -r | uniq | xargs)"
    check "$old: unmount" unmount_store "$MNT"
    check_equal "$old: not a byte of it is changed" "$digest" "$(cd "$store" && sha256sum -- * | sha256sum)"
    check "$old: engramctl check" "$CTL" check "$store"

    must_mount "$store" "$MNT" -o "$OPTIONS"
    look "$old.rw"
    check_equal "$old: for writing, all is what it was" "" "$(difference "$want" "$WORK/$old.rw")"
    check "$old: scrub" sh -c "echo run >'$C/scrub'"
    check "$old: compaction" sh -c "echo run >'$C/compact'"
    check "$old: it moved something" test "$(json_get bytes_moved <"$C/compact")" -gt 0
    look "$old.compacted"
    check_equal "$old: compacted, all is what it was" "" "$(difference "$want" "$WORK/$old.compacted")"
    echo new >"$MNT/new" && rm "$MNT/new"
    check "$old: unmount after that" unmount_store "$MNT"
    must_mount "$store" "$MNT" -o "$OPTIONS"
    look "$old.again"
    check_equal "$old: opened again, all but the root's times is what it was" "" \
        "$(difference <(sed 1d "$want") <(sed 1d "$WORK/$old.again"))"
    check "$old: unmount at the end" unmount_store "$MNT"
    check_equal "$old: clean" "0 problems" "$("$CTL" check "$store" | grep -o '[0-9]* problems')"
done
check "there was one" test -n "${old-}"
t_end
