#!/usr/bin/env bash
# past_edges.sh - snapshots in a mount, where tools and users are not as one thinks: copiers of sparse files, removers that
# believe no error, `mkdir -m`, file handles, root without capabilities, descriptors that went from hand to hand, programs that
# may not be read, and -o writeback.
#
#   tests/mount/past_edges.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 setpriv unshare rsync tar getfattr
if [ "$(id -u)" -ne 0 ]; then
    skip "past_edges" "not root: there is nobody to be"
    exit 0
fi
umask 022
chmod 755 "$WORK"
cd "$WORK" || exit 1
STORE=$WORK/store MNT=$WORK/mnt SNAPSHOTS=$WORK/mnt/.engram/snapshots
ANN=51001 BOB=51002
as() { # ID COMMAND...
    local id=$1
    shift
    setpriv --reuid="$id" --regid="$id" --clear-groups "$@"
}
fails() { ! "$@" >/dev/null 2>&1; }
is_kept() { [ -e "$SNAPSHOTS/$1" ]; }

# ---- what a copier looks at before it looks for holes

must_mount "$STORE" "$MNT" -o allow_other,past=on
SPARSE=$MNT/sparse
truncate -s 100M "$SPARSE"
for at in 0 1000 20000; do
    head -c 4096 /dev/urandom | dd of="$SPARSE" bs=4096 seek=$at conv=notrunc status=none
done
head -c 300000 /dev/urandom >"$MNT/dense"
mkdir "$SNAPSHOTS/holes"
cp --sparse=always "$SPARSE" of-then
for f in "$SPARSE" "$MNT/dense"; do
    head -c 5000 /dev/urandom | dd of="$f" bs=5000 seek=100000 oflag=seek_bytes conv=notrunc status=none
done
V=$SNAPSHOTS/holes
blocks() { stat -c %b "$1"; }
check_equal "a sparse file that was changed since takes the blocks of then" 24 "$(blocks "$V/sparse")"
check_equal "one without holes takes those of its size" 586 "$(blocks "$V/dense")"
check_equal "du" "12K 293K" "$(du -k "$V/sparse" | cut -f1)K $(du -k "$V/dense" | cut -f1)K"
copied() { # NAME FILE: it has the holes
    check "$1: the same" cmp of-then "$2"
    check "$1: and has its holes ($(blocks "$2") blocks)" test "$(blocks "$2")" -lt 1000
}
cp "$V/sparse" by-cp && copied "cp" by-cp
tar -C "$V" -Scf by.tar sparse && mkdir by-tar && tar -C by-tar -xf by.tar && copied "tar -S" by-tar/sparse
check "tar -S: the archive ($(blocks by.tar) blocks)" test "$(blocks by.tar)" -lt 1000
rsync -aS "$V/sparse" by-rsync && copied "rsync -S" by-rsync

# ---- who removes it with all below

mkdir -p "$MNT/a/b" && echo text >"$MNT/a/b/f" && echo text >"$MNT/z"
for n in rm rmtree find deliberate; do mkdir "$SNAPSHOTS/$n"; done
cat >remove.py <<'P'
import os, shutil, sys, threading
snapshot, how = sys.argv[1:]
if how == "tree":
    shutil.rmtree(snapshot, ignore_errors=True)
else:  # another thread of the same process drops it
    try:
        os.unlink(snapshot + "/z")
    except OSError:
        pass
    def drop():
        try:
            os.rmdir(snapshot)
        except OSError as e:
            print(e.strerror)
    t = threading.Thread(target=drop)
    t.start()
    t.join()
P
rm -rf "$SNAPSHOTS/rm" 2>/dev/null
check "rm -rf drops no snapshot" is_kept rm
python3 remove.py "$SNAPSHOTS/rmtree" tree
check "nor does shutil.rmtree that ignores errors" is_kept rmtree
check_equal "nor a thread beside" "Directory not empty" "$(python3 remove.py "$SNAPSHOTS/rmtree" thread)"
find "$SNAPSHOTS/find" -delete 2>/dev/null
check "nor find -delete" is_kept find
find "$SNAPSHOTS" -mindepth 1 -delete 2>/dev/null
check "nor does that of all" ls "$SNAPSHOTS/rm" "$SNAPSHOTS/rmtree" "$SNAPSHOTS/find" "$SNAPSHOTS/holes"
rm "$SNAPSHOTS/deliberate/z" 2>/dev/null
check "rmdir does, whoever has tried before" rmdir "$SNAPSHOTS"/{rm,rmtree,find,deliberate}

# ---- mkdir -m

check_fails "mkdir -m: the mode is that of the tree" "Read-only file system" mkdir -m 700 "$SNAPSHOTS/mode"
check "but the snapshot is taken" is_kept mode
check_equal "with the mode of the tree" "$(stat -c %a "$MNT")" "$(stat -c %a "$SNAPSHOTS/mode")"
check "a mode that it has anyway is none to set" mkdir -m "$(stat -c %a "$MNT")" "$SNAPSHOTS/mode2"
check "whatever the umask" sh -c "umask 077 && mkdir $SNAPSHOTS/mode3"
rmdir "$SNAPSHOTS"/mode*

# ---- file handles

cat >handle.py <<'P'
"""handle.py get FILE: its handle; handle.py open FOLDER HANDLE: what is read by it."""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def c(r):
    if r < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return r
if sys.argv[1] == "get":
    h = ctypes.create_string_buffer((128).to_bytes(4, "little"), 8 + 128)
    mount = ctypes.c_int()
    c(libc.name_to_handle_at(-100, os.fsencode(sys.argv[2]), h, ctypes.byref(mount), 0))
    print(h.raw[: 8 + int.from_bytes(h.raw[:4], "little")].hex())
else:
    h = ctypes.create_string_buffer(bytes.fromhex(sys.argv[3]))
    try:
        fd = c(libc.open_by_handle_at(os.open(sys.argv[2], os.O_RDONLY), h, os.O_RDONLY))
        print(os.read(fd, 100).decode().strip())
    except OSError as e:
        print(e.strerror)
P
handle() { python3 handle.py "$@"; }
LIVE=$(handle get "$MNT/z") PAST=$(handle get "$V/a/b/f" 2>/dev/null)
mkdir "$SNAPSHOTS/handles"
PAST=$(handle get "$SNAPSHOTS/handles/a/b/f")
exec 5<"$SNAPSHOTS/handles/a/b/f" # so long the view is in use
check_equal "a handle into a snapshot opens it" text "$(handle open "$MNT" "$PAST")"
exec 5<&-
unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,past=on
check_equal "after a remount one of a memory does" text "$(handle open "$MNT" "$LIVE")"
check_equal "one into a snapshot is stale" "Stale file handle" "$(handle open "$MNT" "$PAST")"
ls "$V" "$SNAPSHOTS/handles" >/dev/null # in the same places or others
seen=$(handle open "$MNT" "$PAST")
check "and never leads elsewhere ($seen)" test "$seen" = "Stale file handle" -o "$seen" = text
rmdir "$SNAPSHOTS/handles"

# ---- root without the rights of root

echo secret >"$MNT/ann" && chown $ANN "$MNT/ann"
mkdir -m 755 "$MNT/folder" && echo below >"$MNT/folder/f" && chown $ANN "$MNT/folder"
mkdir "$SNAPSHOTS/rights"
R=$SNAPSHOTS/rights
bare() { setpriv --bounding-set -dac_override,-dac_read_search --inh-caps -dac_override,-dac_read_search "$@"; }
check_equal "uid 0 without capabilities reads what all may" secret "$(bare cat "$R/ann")"
chmod 600 "$MNT/ann" && chmod 700 "$MNT/folder"
check_fails "today's mode closes the memory to it" "Permission denied" bare cat "$MNT/ann"
check_equal "root reads the snapshot" "secret below" "$(cat "$R/ann" "$R/folder/f" | xargs)"
check_fails "uid 0 without capabilities does not, since today's mode closes it" "Permission denied" bare cat "$R/ann"
check_fails "nor does it list" "Permission denied" bare ls "$R/folder"
check_fails "nor look below" "Permission denied" bare cat "$R/folder/f"
check_equal "root still does" secret "$(cat "$R/ann")"
check_fails "nor does root of other users" "Permission denied" unshare --user --map-root-user cat "$R/ann"

check_fails "what a snapshot keeps is told to those who may drop it" "Permission denied" \
    as $BOB getfattr -n user.engram.snapshot.bytes "$R"
check "when it was taken to all" as $BOB getfattr -n user.engram.snapshot.time "$R"

# ---- a descriptor goes from hand to hand

chmod 644 "$MNT/ann"
cat >hands.py <<'P'
"""hands.py ID PAST LIVE: ID opens PAST while LIVE is open to all, which is then closed; root reads by that descriptor, then ID."""
import os, sys
user, past, live = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def be(uid):
    os.seteuid(0)
    os.setegid(uid)
    os.seteuid(uid)
def read(what, fd):
    try:
        print(what, os.pread(fd, 100, 0).decode().strip())
    except OSError as e:
        print(what, e.strerror)
os.setgroups([])
be(user)
fd = os.open(past, os.O_RDONLY)
be(0)
read("root, while it is open:", fd) if len(sys.argv) > 4 else None
os.chmod(live, 0o600)
read("root, once it is closed:", fd)
be(user)
read("he:", fd)
P
check_equal "what root reads by another user's descriptor is not kept for him" \
    "root, once it is closed: Permission denied;he: Permission denied;" "$(python3 hands.py $BOB "$R/ann" "$MNT/ann" | tr '\n' ';')"
chmod 644 "$MNT/ann"
check_equal "as long as it is open to him root reads it" "root, while it is open: secret" \
    "$(python3 hands.py $BOB "$R/ann" "$MNT/ann" open | grep while)"
check_equal "what its owner may read is read by whom he gives it to run" secret "$(as $ANN sh -c "exec 3<$R/ann; cat <&3")"

# ---- programs that may be run and not read

cp /bin/true "$MNT/program" && chmod 711 "$MNT/program"
mkdir "$SNAPSHOTS/programs"
check "a program that may not be read is run today" as $BOB "$MNT/program"
check_fails "in a snapshot it is not" "Permission denied" as $BOB sh -c "$SNAPSHOTS/programs/program || exit 1"
check "but by root" "$SNAPSHOTS/programs/program"
chmod 755 "$MNT/program" && mkdir "$SNAPSHOTS/programs2"
check "one that may be read is" as $BOB "$SNAPSHOTS/programs2/program"
unmount_store "$MNT"

# ---- with -o writeback

must_mount "$STORE" "$MNT" -o allow_other,past=on,writeback
cat >mapped.py <<'P'
import mmap, os, sys
os.setgroups([])
os.setegid(int(sys.argv[1]))
os.seteuid(int(sys.argv[1]))
fd = os.open(sys.argv[2], os.O_RDONLY)
for flags in mmap.MAP_SHARED, mmap.MAP_PRIVATE:
    print(mmap.mmap(fd, 4, flags=flags, prot=mmap.PROT_READ)[:].decode())
P
check_equal "writeback: others than root map files" "text text" "$(python3 mapped.py $BOB "$SNAPSHOTS/rights/z" 2>&1 | xargs)"
check_equal "writeback: root, too" "text text" "$(python3 mapped.py 0 "$SNAPSHOTS/rights/z" 2>&1 | xargs)"
chmod 644 "$MNT/ann"
check_equal "writeback: read while it is open" secret "$(as $BOB cat "$SNAPSHOTS/rights/ann")"
chmod 600 "$MNT/ann"
check_fails "writeback: closed after he has read it" "Permission denied" as $BOB cat "$SNAPSHOTS/rights/ann"
cat "$SNAPSHOTS/rights/ann" >/dev/null
check_fails "writeback: root has read it" "Permission denied" as $BOB cat "$SNAPSHOTS/rights/ann"
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
