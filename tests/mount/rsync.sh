#!/usr/bin/env bash
# rsync -aXH both ways; a second run must find nothing to do.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs rsync setfattr getfattr python3

STORE=$WORK/store MNT=$WORK/mnt SRC=$WORK/src
must_mount "$STORE" "$MNT"
mkdir -p "$SRC/people/ada" "$SRC/places" "$SRC/empty"

# xattrs need a file system that has them (tmpfs of older kernels has not)
touch "$SRC/probe"
X=X
if ! setfattr -n user.probe -v 1 "$SRC/probe" 2>/dev/null; then
    X=
    skip "xattrs through rsync" "no user xattrs on ${TMPDIR:-/tmp}"
fi
rm "$SRC/probe"

for i in $(seq 400); do echo "fact $i about ada $RANDOM" >"$SRC/people/ada/$i"; done
for i in $(seq 100); do head -c $((RANDOM * 3)) /dev/urandom >"$SRC/places/$i"; done
: >"$SRC/empty/nothing"
ln -s ../people/ada/1 "$SRC/places/link"
ln "$SRC/people/ada/2" "$SRC/places/hard"
chmod 600 "$SRC/people/ada/3"
# Old times: rsync leaves a folder or link alone that was made within the same second, whatever the rest of its time.
find "$SRC" -depth -exec touch -h -d '2020-02-02 02:02:02.123456789 UTC' {} +
touch -d '1999-12-31 23:59:59.999999999 UTC' "$SRC/people/ada/4"
if [ "$X" ]; then
    setfattr -n user.engram.confidence -v 0.75 "$SRC/people/ada/5"
    setfattr -n user.mood -v calm "$SRC/people/ada/5"
    # 768 floats of 0.5, as an embedding is stored
    python3 -c '
import os, struct, sys
os.setxattr(sys.argv[1], "user.engram.embedding", struct.pack("<768f", *[i / 768 for i in range(768)]))' "$SRC/people/ada/6"
fi

# rsync says on standard output what it changes; nothing changed is an empty text.
run() { rsync -aH$X --itemize-changes "$@"; }

check "into the mount" run "$SRC/" "$MNT/"
check_equal "equal" "$(tree_digest "$SRC")" "$(tree_digest "$MNT")"
check_equal "a second run changes nothing" "" "$(run "$SRC/" "$MNT/" 2>&1)"
check_equal "a run with checksums changes nothing" "" "$(run --checksum "$SRC/" "$MNT/" 2>&1)"
if [ "$X" ]; then
    check_equal "xattrs arrived" "$(cd "$SRC" && getfattr -R -d -m '^user\.' -e hex . | sort | sha256sum)" \
        "$(cd "$MNT" && getfattr -R -d -m '^user\.' -e hex . | sort | sha256sum)"
fi
check "out of the mount" run "$MNT/" "$WORK/back/"
check_equal "the backup is equal" "$(tree_digest "$SRC")" "$(tree_digest "$WORK/back")"
check_equal "a second backup changes nothing" "" "$(run "$MNT/" "$WORK/back/" 2>&1)"
check_equal "the control directory is not in the backup" "" "$(ls -d "$WORK/back/.engram" 2>/dev/null)"
check_equal "the hard link was kept" 2 "$(stat -c %h "$WORK/back/people/ada/2")"

# changes: one grown, one overwritten with equal length, one removed, one renamed
echo more >>"$SRC/people/ada/7"
echo "FACT 8" | dd of="$SRC/people/ada/8" conv=notrunc status=none
# rsync tells equal sizes apart by whole seconds of mtime
touch -d '2021-06-07 08:09:10.111 UTC' "$SRC/people/ada/8"
rm "$SRC/people/ada/9"
mv "$SRC/people/ada/10" "$SRC/people/ada/ten"
touch -d '2021-06-07 08:09:10.222 UTC' "$SRC/people/ada"
check "the delta, with --delete and --inplace" run --delete --inplace --no-whole-file "$SRC/" "$MNT/"
check_equal "equal after the delta" "$(tree_digest "$SRC")" "$(tree_digest "$MNT")"
check "the delta of the backup" run --delete "$MNT/" "$WORK/back/"
check_equal "the backup is equal again" "$(tree_digest "$SRC")" "$(tree_digest "$WORK/back")"
mkdir "$WORK/void"
check "--delete of everything" run --delete "$WORK/void/" "$MNT/"
check_equal "the mount is empty" "" "$(ls -A "$MNT")"
check "restore from the backup" run "$WORK/back/" "$MNT/"
check_equal "restored" "$(tree_digest "$SRC")" "$(tree_digest "$MNT")"

# an orderly restart must not look like a change
check "unmount" unmount_store "$MNT"
must_mount "$STORE" "$MNT"
check_equal "after a restart a run changes nothing" "" "$(run "$MNT/" "$WORK/back/" 2>&1)"
check "unmount at the end" unmount_store "$MNT"
t_end
