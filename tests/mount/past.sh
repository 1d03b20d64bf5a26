#!/usr/bin/env bash
# past.sh - snapshots in .engram/snapshots: trees of their own for each tool, compared with a copy that was made of the tree at
# that moment; who may see what; and what goes on while they come and go.
#
#   tests/mount/past.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 setpriv rsync git tar setfattr getfattr
if [ "$(id -u)" -ne 0 ]; then
    skip "past" "not root: there is nobody to be"
    exit 0
fi
umask 022
chmod 755 "$WORK"
cd "$WORK" || exit 1
STORE=$WORK/store MNT=$WORK/mnt SNAPSHOTS=$WORK/mnt/.engram/snapshots
ANN=51001 BOB=51002 CLUB=51003
as() { # ID COMMAND...
    local id=$1
    shift
    setpriv --reuid="$id" --regid="$id" --groups=$CLUB "$@"
}
fails() { ! "$@" >/dev/null 2>&1; }

# ---- trees

fields() { (cd "$1" && find . -depth -print0 | sort -z | xargs -0 getfattr -h -d -m '^user\.(topic|of|nothing)' 2>/dev/null); }
links() { (cd "$1" && find . ! -type d -printf '%P %n\n' | sort); }
hashes() { # what is computed
    local which
    for which in content_hash content_sha256 version state; do
        (cd "$1" && find . -type f -print0 | sort -z | xargs -0 getfattr -n user.engram.$which 2>&1)
    done
}
times() { (cd "$1" && find . ! -type l -printf '%P %T@ %m %U %G %s\n' | sort); }
same_tree() { # NAME TREE: it is as the copy
    check_equal "$1: names, modes, owners, times, content" "$COPY" "$(tree_digest "$2")"
    check_equal "$1: link counts" "$LINKS" "$(links "$2")"
    check_equal "$1: extended attributes" "$FIELDS" "$(fields "$2")"
}
must_mount "$STORE" "$MNT" -o allow_other,noatime
make_tree
git init -q tree/repository
(cd tree/repository && echo text >f && git add f && git -c user.name=a -c user.email=a@b commit -qm one)
mkdir "tree/$(printf 'odd \001 \n%% @ \377 name')"
echo x >"tree/$(printf 'odd \001 \n%% @ \377 name')/-f"
finish_tree
rsync -aHAX tree/ "$MNT/tree"
rsync -aHAX tree/ "$WORK/copy"
COPY=$(tree_digest copy) LINKS=$(links copy) FIELDS=$(fields copy)
ODD=$(printf '@ %%2F \001\n\377 -x')
check "mkdir takes a snapshot" mkdir "$SNAPSHOTS/one"
check_fails "a second time it is there" "File exists" mkdir "$SNAPSHOTS/one"
check "one whose name has odd bytes" mkdir "$SNAPSHOTS/$ODD"
check_fails "a name is too long" "File name too long" mkdir "$SNAPSHOTS/$(printf 'x%.0s' {1..256})"
check "a long one" mkdir "$SNAPSHOTS/$(printf 'x%.0s' {1..255})"
V=$SNAPSHOTS/one/tree
TIMES=$(times "$MNT/tree")
HASHES=$(hashes "$MNT/tree")
change() { # each kind of change
    echo new >"$MNT/tree/deep/a"
    rm "$MNT/tree/deep/hard" "$MNT/tree/link"
    ln "$MNT/tree/zero" "$MNT/tree/more"
    printf changed | dd of="$MNT/tree/sparse" bs=1 seek=100 conv=notrunc status=none
    truncate -s 5000 "$MNT/tree/deep/er/big"
    mv "$MNT/tree/empty" "$MNT/tree/deep/moved"
    setfattr -n user.topic -v other "$MNT/tree/deep/a"
    setfattr -x user.nothing "$MNT/tree/zero"
    chmod 700 "$MNT/tree/closed"
    chown 7:7 "$MNT/tree/deep/er"
    rm -rf "$MNT/tree/repository/.git"
}
is_past() { # WHEN
    same_tree "$1" "$V"
    check_equal "$1: times to the nanosecond" "$TIMES" "$(times "$V")"
    check_equal "$1: digests and versions" "$HASHES" "$(hashes "$V")"
    check "$1: diff -r" diff -r --no-dereference -x pipe copy "$V"
}
look() { # WHEN: and with each tool
    is_past "$1"
    check "$1: cp -a" cp -a "$V" "$WORK/cp"
    same_tree "$1: what cp -a copied" "$WORK/cp"
    check "$1: tar" sh -c "mkdir $WORK/tar && tar -C '$V' --xattrs -cf - . | tar -C $WORK/tar --xattrs -xf -"
    check_equal "$1: what tar brought along" "$COPY" "$(tree_digest "$WORK/tar")"
    check "$1: rsync" rsync -aHX "$V/" "$WORK/rsync"
    same_tree "$1: what rsync copied" "$WORK/rsync"
    check_equal "$1: rsync finds nothing to do then" "" "$(rsync -aHXi "$V/" "$WORK/rsync" 2>&1 || echo "it failed")"
    check "$1: git clone" git -c safe.directory='*' clone -q --no-local "$V/repository" "$WORK/clone"
    check_equal "$1: what git cloned" text "$(cat "$WORK/clone/f")"
    check_equal "$1: grep -r" "$(cd copy && grep -rl one . -D skip | sort)" "$(cd "$V" && grep -rl one . -D skip | sort)"
    rm -rf "$WORK"/{cp,tar,rsync,clone}
}
is_past "nothing has changed"
change
look "all has changed"
inodes() { find "$1" -printf '%i\n' | sort -u; }
check_equal "names of one inode share its number" "$(stat -c %i "$V/deep/a")" "$(stat -c %i "$V/hard-elsewhere")"
check_equal "listings tell the numbers that stat tells" \
    "$(find "$V" -printf '%P %i\n' | sort)" "$(cd "$V" && find . -print0 | xargs -0 stat -c '%n %i' | sed 's,^\./\?,,' | sort)"
INODES=$(inodes "$V")
check_equal "numbers are none of the present" "" "$(comm -12 <(inodes "$MNT") <(echo "$INODES"))"
check_equal "nor of another snapshot" "" "$(comm -12 <(inodes "$SNAPSHOTS/$ODD/tree") <(echo "$INODES"))"
check "cp from the past onto the memory" cp "$V/deep/a" "$MNT/tree/deep/a"
check_equal "it is as it was" one "$(cat "$MNT/tree/deep/a")"
check "cp --sparse and seek" cp --sparse=auto "$V/sparse" "$WORK/sparse"
check "it is the same" cmp "$WORK/sparse" copy/sparse
unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,noatime
check_equal "another mount: the numbers are the same" "$INODES" "$(inodes "$V")"
look "another mount"

# ---- nothing changes there

check_fails "a file is not written" "Read-only file system" sh -c "echo x >'$V/deep/a'"
check_fails "nor appended to" "Read-only file system" dd if=/dev/zero of="$V/deep/a" bs=1 count=1 conv=notrunc
check_fails "nor made" "Read-only file system" touch "$V/none"
check_fails "nor removed" "Read-only file system" rm -f "$V/zero"
check_fails "nor is a folder made" "Read-only file system" mkdir "$V/none"
check_fails "nor removed" "Read-only file system" rmdir "$V/empty"
check_fails "nor a link" "Read-only file system" ln -s x "$V/none"
check_fails "nor a hard link there" "Read-only file system" ln "$V/zero" "$V/none"
check_fails "nor one out of it" "(Read-only file system|cross-device)" ln "$V/zero" "$MNT/none"
check_fails "nor one into it" "Read-only file system" ln "$MNT/tree/zero" "$V/none"
check_fails "nor is it moved out" "Read-only file system" mv "$V/zero" "$MNT/none"
check_fails "nor in" "Read-only file system" mv "$MNT/tree/zero" "$V/none"
check_fails "nor a snapshot out" "Read-only file system" mv "$SNAPSHOTS/one" "$MNT/none"
check_fails "nor a folder among snapshots" "Read-only file system" mv "$MNT/tree/deep" "$SNAPSHOTS/none"
check_fails "nor a file among them" "Read-only file system" touch "$SNAPSHOTS/none"
check_fails "chmod" "Read-only file system" chmod 777 "$V/zero"
check_fails "chown" "Read-only file system" chown 1 "$V/zero"
check_fails "times" "Read-only file system" touch -d 2020-01-01 "$V/zero"
check_fails "truncate" "Read-only file system" truncate -s 1 "$V/zero"
check_fails "setfattr" "Read-only file system" setfattr -n user.x -v 1 "$V/zero"
check_fails "removing one" "Read-only file system" setfattr -x user.topic "$V/deep/a"

cat >"$WORK/calls.py" <<'P'
"""calls.py SNAPSHOT FILE FOLDER LIVE: each call that changes something, and whether it gets EROFS."""
import ctypes, errno, fcntl, mmap, os, sys
snapshot, f, d, live, text = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
def c(r):
    if r < 0:
        raise OSError(ctypes.get_errno(), "")
def renameat2(a, b, flags):
    c(libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags))
def write_by(flags):
    os.write(os.open(f, flags), b"x")
def mapped():
    with mmap.mmap(os.open(text, os.O_RDWR), 1) as m:
        m[0] = 1
        m.flush()
def copied():
    os.copy_file_range(os.open(live, os.O_RDONLY), os.open(f, os.O_WRONLY), 1)
calls = {
    "O_TRUNC": lambda: os.open(f, os.O_WRONLY | os.O_TRUNC),
    "O_TRUNC of a reader": lambda: os.open(f, os.O_RDONLY | os.O_TRUNC),
    "O_CREAT": lambda: os.open(d + "/none", os.O_CREAT | os.O_WRONLY),
    "O_CREAT in a snapshot's root": lambda: os.open(snapshot + "/none", os.O_CREAT | os.O_WRONLY),
    "O_TMPFILE": lambda: os.open(d, os.O_TMPFILE | os.O_WRONLY),
    "O_APPEND": lambda: write_by(os.O_WRONLY | os.O_APPEND),
    "O_DIRECT": lambda: write_by(os.O_WRONLY | os.O_DIRECT),
    "O_SYNC": lambda: write_by(os.O_WRONLY | os.O_SYNC),
    "a mapping": mapped,
    "copy_file_range": copied,
    "fallocate": lambda: os.posix_fallocate(os.open(f, os.O_WRONLY), 0, 100),
    "a hole": lambda: c(libc.fallocate(os.open(f, os.O_WRONLY), 3, ctypes.c_int64(0), ctypes.c_int64(1))),
    "ftruncate": lambda: os.ftruncate(os.open(f, os.O_WRONLY), 0),
    "fchmod": lambda: os.fchmod(os.open(f, os.O_RDONLY), 0o777),
    "fchown": lambda: os.fchown(os.open(f, os.O_RDONLY), 1, 1),
    "futimens": lambda: os.utime(os.open(f, os.O_RDONLY)),
    "times of a folder": lambda: os.utime(d),
    "chmod of a snapshot": lambda: os.chmod(snapshot, 0o700),
    "mknod": lambda: os.mknod(d + "/none", 0o10644),
    "unlink": lambda: os.unlink(f),
    "exchange": lambda: renameat2(f, live, 2),
    "exchange the other way": lambda: renameat2(live, f, 2),
    "whiteout": lambda: renameat2(f, d + "/none", 4),
    "rename over": lambda: os.rename(live, f),
    "rename over a live one": lambda: os.rename(f, live),
    "rename within": lambda: os.rename(f, d + "/none"),
    "rename of a folder out": lambda: os.rename(d, live + ".none"),
    "a field": lambda: os.setxattr(f, "user.engram.confidence", b"1"),
    "trusted": lambda: os.setxattr(f, "trusted.x", b"1"),
    "security": lambda: os.setxattr(f, "security.x", b"1"),
    "an attribute of a snapshot": lambda: os.setxattr(snapshot, "user.x", b"1"),
    "an attribute of the folder of snapshots": lambda: os.setxattr(os.path.dirname(snapshot), "user.x", b"1"),
}
for name, call in calls.items():
    try:
        call()
        print(name, "was done")
    except OSError as e:
        if e.errno != errno.EROFS:
            print(name, e.strerror, errno.errorcode[e.errno])
P
echo live >"$MNT/live"
check_equal "each call that changes something is EROFS" "" \
    "$(python3 "$WORK/calls.py" "$SNAPSHOTS/one" "$V/zero" "$V/empty" "$MNT/live" "$V/deep/a" 2>&1)"
check_equal "the live one is as it was" live "$(cat "$MNT/live")"
rm "$MNT/live"
check "what was stored through a mapping is gone" wait_until 10 cmp -s "$V/deep/a" copy/deep/a
same_tree "nothing was changed" "$V"
check_equal "statfs is that of the store" "$(stat -f -c '%s %l %T' "$MNT")" "$(stat -f -c '%s %l %T' "$V")"

# ---- file handles, and `.` and `..` by them

cat >"$WORK/handles.py" <<'P'
"""handles.py MNT SNAPSHOT: handles of what is there are opened, also when the kernel has forgotten it; forged ones are ESTALE."""
import os, random, sys
from file_handles import handle_of, lead_nowhere, node_of, opened
mnt, snapshot = sys.argv[1:]
mount = os.open(mnt, os.O_RDONLY)
def drop():
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3")
f = snapshot + "/tree/deep/a"
kept = os.open(f, os.O_RDONLY)      # the view stays in use
for path in f, snapshot + "/tree/deep", snapshot:
    kind, handle = handle_of(path)
    drop()
    fd = opened(mount, kind, handle)
    assert os.fstat(fd).st_ino == os.stat(path).st_ino, path
    if path != f:
        assert os.listdir(fd) == os.listdir(path) or set(os.listdir(fd)) == set(os.listdir(path)), path
        up = os.open("..", os.O_RDONLY, dir_fd=fd)
        assert os.fstat(up).st_ino == os.stat(path + "/..").st_ino, path
        assert os.fstat(os.open(".", os.O_RDONLY, dir_fd=fd)).st_ino == os.stat(path).st_ino, path
kind, handle = handle_of(f)
random.seed(1)
forged = [node_of(handle) ^ 1 << bit for bit in range(64)]
forged += [3 << 61 | random.getrandbits(61) for _ in range(500)] + [3 << 61, 3 << 61 | 1, (1 << 63) - 1]
# another inode of the same view, or the same by another caller's node; never one of the present or of another view
lead_nowhere(mount, kind, handle, forged, lambda ino: ino >> 61 == 1)
P
check "handles lead back, forged ones nowhere" env PYTHONPATH="$ROOT/tests/mount" timeout 60 python3 "$WORK/handles.py" "$MNT" "$SNAPSHOTS/one"
same_tree "the daemon lives" "$V"

# ---- names of snapshots

check "mv renames" mv "$SNAPSHOTS/$ODD" "$SNAPSHOTS/two"
check_equal "it has the other name" "$(printf 'one\ntwo\n')" "$(cd "$SNAPSHOTS" && printf '%s\n' [!x]*)"
check_fails "not onto another" "File exists" mv -T "$SNAPSHOTS/two" "$SNAPSHOTS/one"
check_fails "what is not there is not renamed" "No such file" mv "$SNAPSHOTS/none" "$SNAPSHOTS/more"
check_fails "what is not there is not dropped" "No such file" rmdir "$SNAPSHOTS/none"
same_tree "the renamed one" "$SNAPSHOTS/two/tree"
exec 5<"$V/deep/er/big"
exec 6<"$V/deep"
check "rmdir drops" rmdir "$SNAPSHOTS/one"
check "and the other" rmdir "$SNAPSHOTS/two"
check "and the last" rmdir "$SNAPSHOTS/$(printf 'x%.0s' {1..255})"
check_equal "there is none any more" "" "$(ls "$SNAPSHOTS")"
check_fails "nor by name" "No such file" ls "$SNAPSHOTS/one"
echo 3 >/proc/sys/vm/drop_caches
check "who is in it reads on" cmp - copy/deep/er/big <&5
check_equal "and lists" "$(ls copy/deep)" "$(ls /proc/$$/fd/6/)"
exec 5<&- 6<&-

# ---- each byte that a name may have, in snapshots and below

cat >"$WORK/bytes.py" <<'P'
"""bytes.py MNT: names with each byte, alone and together, as long as a name may be; also those that mean something elsewhere."""
import os, shutil, sys
mnt = os.fsencode(sys.argv[1])
snapshots = mnt + b"/.engram/snapshots"
letters = [bytes([i]) for i in range(1, 256) if i not in b"/."]
together = b"".join(letters) + b".x"
names = letters + [together, b"\n" * 255, b"\xff" * 255, b"...", b".engram", b"-rf", b"%2F", b"a@1", b"'\"", b"a/b".replace(b"/", b"\\")]
assert len(together) == 255 and len(set(names)) == len(names)
os.mkdir(mnt + b"/bytes")
for name in names:
    folder = mnt + b"/bytes/" + name
    os.mkdir(folder)
    with open(folder + b"/" + name, "wb") as f:
        f.write(name)
    os.symlink(name, folder + b"/" + name[:200] + b"-link")
some = names[::25] + names[-12:]
for name in some:
    os.mkdir(snapshots + b"/" + name)
shutil.rmtree(mnt + b"/bytes")
assert sorted(os.listdir(snapshots)) == sorted(some)
for snapshot in some:
    root = snapshots + b"/" + snapshot + b"/bytes"
    assert sorted(os.listdir(root)) == sorted(names), snapshot
    for name in names if snapshot == some[0] else some:
        folder = root + b"/" + name
        with open(folder + b"/" + name, "rb") as f:
            assert f.read() == name, (snapshot, name)
        assert os.readlink(folder + b"/" + name[:200] + b"-link") == name
        assert len(os.listdir(folder)) == 2
    os.rename(snapshots + b"/" + snapshot, snapshots + b"/x" + snapshot[:254])
    assert os.path.isdir(snapshots + b"/x" + snapshot[:254] + b"/bytes") and not os.path.exists(root)
    os.rmdir(snapshots + b"/x" + snapshot[:254])
assert os.listdir(snapshots) == []
P
check "names with each byte" timeout 60 python3 "$WORK/bytes.py" "$MNT"

# ---- what is freed

head -c 20000000 /dev/urandom >"$MNT/large"
LARGE=$(sha256sum <"$MNT/large")
mkdir "$SNAPSHOTS/large"
rm "$MNT/large"
find "$SNAPSHOTS/large" -type f -exec cat {} + >/dev/null
as $BOB find "$SNAPSHOTS/large" >/dev/null 2>&1
is_freed() {
    ls "$SNAPSHOTS" >/dev/null # the kernel gives up what is below when that name is there
    echo run >"$MNT/.engram/compact"
    [ "$(du_bytes "$STORE/")" -lt $(($1 - 15000000)) ]
}
echo run >"$MNT/.engram/compact"
FULL=$(du_bytes "$STORE/")
exec 5<"$SNAPSHOTS/large/large"
rmdir "$SNAPSHOTS/large"
check "what somebody reads is not freed" fails is_freed "$FULL"
reads_on() { # after the job that lets go what a dropped snapshot alone showed has gone by
    ls "$SNAPSHOTS" >/dev/null && echo run >"$MNT/.engram/compact" || return 1
    [ "$(sha256sum </dev/fd/5)" = "$LARGE" ]
}
for i in 1 2 3; do
    check "who reads it reads on, $i" reads_on
done
exec 5<&-
check "what a dropped snapshot alone showed is freed once nobody reads it" wait_until 30 is_freed "$FULL"

# ---- killed

echo "not synced" >"$MNT/not-synced"
mkdir "$SNAPSHOTS/kept"
durable=$(sed -n 's/.*durable to \([0-9]*\).*/\1/p' "$MNT/.engram/status")
position=$(getfattr --absolute-names --only-values -n user.engram.snapshot.position "$SNAPSHOTS/kept")
check "a snapshot is durable when mkdir returns ($durable, $position)" test "${durable:-0}" -ge "${position:-1}"
kill_daemon "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,noatime
check "a snapshot that mkdir has answered outlives kill -9" ls "$SNAPSHOTS/kept/tree/deep"
rmdir "$SNAPSHOTS/kept"
unmount_store "$MNT"

# ---- rights

rights() { # PAST: makes files of Ann's, a snapshot "r", and mounts with that
    must_mount "$STORE" "$MNT" -o "allow_other,past=$1$2"
    rm -rf "$MNT/r"
    mkdir -m 755 "$MNT/r" "$MNT/r/open" "$MNT/r/listed" "$MNT/r/went"
    chmod 777 "$MNT/r/went"
    for f in all closed opened gone open/f listed/f given; do
        echo "$f" >"$MNT/r/$f"
        setfattr -n user.topic -v "$f" "$MNT/r/$f"
        chown $ANN:$CLUB "$MNT/r/$f"
    done
    ln -s all "$MNT/r/soft"
    chown -h $ANN "$MNT/r/soft"
    chmod 600 "$MNT/r/opened"
    mkdir "$SNAPSHOTS/r"
    chmod 600 "$MNT/r/closed"
    chmod 666 "$MNT/r/opened"
    chmod 700 "$MNT/r/open"
    chmod 711 "$MNT/r/listed"
    rm "$MNT/r/gone"
    chown $BOB "$MNT/r/given"
}
end_rights() {
    rmdir "$SNAPSHOTS/r"
    unmount_store "$MNT"
}
R=$SNAPSHOTS/r/r
bob_is_out() { # NAME: whatever root has looked at before
    check_fails "$1: today's mode closes it" "Permission denied" as $BOB cat "$R/closed"
    check_fails "$1: the mode of then closes it" "Permission denied" as $BOB cat "$R/opened"
    check_fails "$1: today's mode of a folder closes what is below" "Permission denied" as $BOB cat "$R/open/f"
    check_fails "$1: its listing is closed" "Permission denied" as $BOB ls "$R/listed"
    check_fails "$1: fields" "Permission denied" as $BOB getfattr -n user.topic "$R/closed"
}
rights on ""
check_equal "past=on: the mode of then is shown" 644 "$(stat -c %a "$R/closed")"
bob_is_out "past=on"
find "$R" -type f -exec cat {} + >/dev/null
bob_is_out "past=on, root has looked"
check_equal "past=on: all may read what both modes open" all "$(as $BOB cat "$R/all")"
check_equal "past=on: by a link" all "$(as $BOB cat "$R/soft")"
check_equal "past=on: and its fields" all "$(as $BOB getfattr --only-values --absolute-names -n user.topic "$R/all")"
check_equal "past=on: of what was removed the mode of then counts" gone "$(as $BOB cat "$R/gone")"
check_equal "past=on: below a folder that may be entered" listed/f "$(as $BOB cat "$R/listed/f")"
check "past=on: a stranger lists what both modes let him" as $BOB ls -l "$R"
check_fails "a stranger does not list the snapshots" "Permission denied" as $BOB ls "$SNAPSHOTS"
check_fails "nor takes one" "Permission denied" as $BOB mkdir "$SNAPSHOTS/bob"
check_fails "nor drops one" "Permission denied" as $BOB rmdir "$SNAPSHOTS/r"
check_fails "nor renames one" "Permission denied" as $BOB mv "$SNAPSHOTS/r" "$SNAPSHOTS/bob"
# what the kernel has kept of a file that he could read then
chmod 600 "$MNT/r/all"
check_fails "past=on: closed after he has read it" "Permission denied" as $BOB cat "$R/all"
check_fails "past=on: its fields, too" "Permission denied" as $BOB getfattr -n user.topic "$R/all"
chmod 644 "$MNT/r/all"
check_equal "past=on: opened again" all "$(as $BOB cat "$R/all")"
chmod 700 "$MNT/r"
check_fails "past=on: a folder that was closed after he was in it" "Permission denied" as $BOB cat "$R/all"
chmod 755 "$MNT/r"
check_equal "past=on: open again" all "$(as $BOB cat "$R/all")"

# what others have looked up from his folder, or through his descriptor, is not kept for him
cat >"$WORK/his.py" <<'P'
"""his.py ID FOLDER: as ID in FOLDER, root reads `closed` in it by that folder's descriptor; then ID does, and by one of his own."""
import os, sys
user, folder = int(sys.argv[1]), sys.argv[2]
def be(uid):
    os.seteuid(0)
    os.setegid(uid)
    os.seteuid(uid)
def read(fd):
    try:
        os.lseek(fd, 0, 0)
        return os.read(fd, 100).decode().strip()
    except OSError as e:
        return e.strerror
os.setgroups([])
be(user)
there = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
try:
    mine = os.open("closed", os.O_RDONLY, dir_fd=there) # the mode of then lets him
except OSError as e:
    sys.exit(e.strerror)
be(0)
print("root by his folder:", read(os.open("closed", os.O_RDONLY, dir_fd=there)))
print("root by his descriptor:", read(mine))
be(user)
print("he by his descriptor:", read(mine))
print("he by his folder:", read(os.open("closed", os.O_RDONLY, dir_fd=there)))
P
check_equal "past=on: nothing that root reads by way of him is kept for him" \
    "$(printf 'root by his %s\n' 'folder: closed' 'descriptor: Permission denied'
    printf 'he by his %s: Permission denied\n' descriptor folder)" \
    "$(python3 "$WORK/his.py" $BOB "$R")"
# who is put into a folder by root
cd "$R" || exit 1
cat closed opened open/f >/dev/null
ls -lR . >/dev/null
check_fails "past=on: in root's folder, today's mode closes it" "Permission denied" as $BOB cat closed
check_fails "past=on: in root's folder, the mode of then closes it" "Permission denied" as $BOB cat opened
check_fails "past=on: in root's folder, a folder that is closed today" "Permission denied" as $BOB cat open/f
check_fails "past=on: in root's folder, its listing" "Permission denied" as $BOB ls open
check_equal "past=on: in root's folder, what he may read" all "$(as $BOB cat all)"
cd "$WORK" || exit 1
end_rights

rights on ,suid,dev
cp /usr/bin/id "$MNT/r/id"
cp /usr/bin/id "$MNT/r/same"
cp /usr/bin/id "$MNT/r/mended"
cp /usr/bin/cat "$MNT/r/able"
cp /usr/bin/cat "$MNT/r/able-still"
chmod 755 "$MNT/r"/able*
CHOWN=0x0100000201000000000000000000000000000000
setfattr -n security.capability -v $CHOWN "$MNT/r/able"
setfattr -n security.capability -v $CHOWN "$MNT/r/able-still"
mknod "$MNT/r/zero" c 1 5
mknod "$MNT/r/zeros" c 1 5
chmod 4755 "$MNT/r/id" "$MNT/r/same" "$MNT/r/mended"
chmod 666 "$MNT/r/zero" "$MNT/r/zeros"
mkdir "$SNAPSHOTS/programs"
P=$SNAPSHOTS/programs/r
chmod 755 "$MNT/r/id"
chmod 600 "$MNT/r/zero"
setfattr -x security.capability "$MNT/r/able"
can() { as $BOB "$1" /proc/self/status | awk '/CapEff/ { print $2 + 0 }'; }
check_equal "a program that has a capability still, has it in a snapshot" 1 "$(can "$P/able-still")"
check_equal "one that has none today, has none in a snapshot" 0 "$(can "$P/able")"
check_equal "root sees that it had one" $CHOWN "$(getfattr --only-values --absolute-names -e hex -n security.capability "$P/able" |
    od -An -tx1 | tr -d ' \n' | sed 's/^/0x/')"
reads() { as $BOB head -c 1 "$1" | od -An -tx1; }
check_equal "what is set-ID still, is so in a snapshot" 0 "$(as $BOB "$P/same" -u)"
check_equal "what is no set-ID program today, is none in a snapshot" $BOB "$(as $BOB "$P/id" -u)"
echo mended >>"$MNT/r/mended"
check_equal "a set-ID program that is another one today, is none in a snapshot" "4755 $BOB" \
    "$(stat -c %a "$MNT/r/mended") $(as $BOB "$P/mended" -u)"
check_equal "root sees that it was one" 4755 "$(stat -c %a "$P/id")"
check_equal "a device that is open still, is so in a snapshot" " 00" "$(reads "$P/zeros")"
check_fails "a device that is closed today, is so in a snapshot" "Permission denied" as $BOB head -c 1 "$P/zero"
rm "$MNT/r/same" "$MNT/r/zeros" "$MNT/r/able-still"
check_equal "one that was removed has none" 0 "$(can "$P/able-still")"
check_equal "a set-ID program that was removed is none" $BOB "$(as $BOB "$P/same" -u)"
check_fails "a device that was removed is closed" "Permission denied" as $BOB head -c 1 "$P/zeros"
rmdir "$SNAPSHOTS/programs"
end_rights

rights owner ""
check_equal "past=owner: the owner reads" all "$(as $ANN cat "$R/all")"
check_equal "past=owner: what he has closed" closed "$(as $ANN cat "$R/closed")"
check_equal "past=owner: what he has removed" gone "$(as $ANN cat "$R/gone")"
check_equal "past=owner: fields" all "$(as $ANN getfattr --only-values --absolute-names -n user.topic "$R/all")"
check_equal "past=owner: his link" all "$(as $ANN cat "$R/soft")"
check "past=owner: others see names" as $BOB ls "$R"
check "past=owner: and modes" as $BOB stat "$R/all"
check_fails "past=owner: not where a link leads" "Permission denied" as $BOB ls -l "$R/soft"
for f in all gone opened listed/f; do
    check_fails "past=owner: others do not read $f" "Permission denied" as $BOB cat "$R/$f"
done
check_fails "past=owner: nor fields" "Permission denied" as $BOB getfattr -n user.topic "$R/all"
check_fails "past=owner: who got it later does not read what it was" "Permission denied" as $BOB cat "$R/given"
check_fails "past=owner: nor does who gave it away" "Permission denied" as $ANN cat "$R/given"
check_equal "past=owner: root reads" given "$(cat "$R/given")"
end_rights

rights owner ,ctl=visible # the default is owner
unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o allow_other
check_fails "by default others do not read" "Permission denied" as $BOB cat "$R/all"
check_equal "by default the owner reads" all "$(as $ANN cat "$R/all")"
unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,past=off
check_fails "past=off: there is no such folder" "No such file" ls "$SNAPSHOTS"
check "past=off: nor is it listed" fails grep -q snapshots <(ls "$MNT/.engram")
unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,ro
check_equal "a mount that is read-only shows them" given "$(cat "$R/given")"
check_fails "and takes none" "Read-only file system" mkdir "$SNAPSHOTS/more"
unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,writeback,past=on
check_equal "with writeback, too" given "$(cat "$R/given")"
echo live >"$MNT/live"
mkdir "$MNT/r/empty" "$SNAPSHOTS/empty"
check_equal "and nothing is written" "" \
    "$(cd "$SNAPSHOTS/empty" && python3 "$WORK/calls.py" "$PWD" "$PWD/r/all" "$PWD/r/empty" "$MNT/live" "$PWD/r/all" 2>&1)"
check_equal "nor shown" all "$(cat "$SNAPSHOTS/empty/r/all")"
rmdir "$SNAPSHOTS/empty"
check_equal "and others" given "$(as $BOB cat "$R/given")"
end_rights

# ---- many

must_mount "$STORE" "$MNT" -o allow_other
MANY=300
[ "${ENGRAM_TEST_MODE:-}" != full ] || MANY=4500 # more than can be looked at at once: the kernel gives up some
for ((i = 0; i < MANY; i++)); do
    echo $i >"$MNT/n"
    mkdir "$SNAPSHOTS/n$i" || break
done
check_equal "so many snapshots" $MANY "$(find "$SNAPSHOTS" -mindepth 1 -maxdepth 1 | wc -l)"
check_equal "each has what was then" "$(seq 0 $((MANY - 1)))" "$(for ((i = 0; i < MANY; i++)); do cat "$SNAPSHOTS/n$i/n"; done)"
check_equal "all are shown at once" $MANY "$(find "$SNAPSHOTS" -mindepth 1 -maxdepth 1 -print0 | xargs -0 stat -c %F | grep -c directory)"
check_equal "each has numbers of its own" $MANY "$(find "$SNAPSHOTS" -mindepth 2 -name n -printf '%i\n' | sort -u | wc -l)"
check_equal "and to who is in the folder" $MANY "$(cd "$SNAPSHOTS" && find . -mindepth 2 -name n | wc -l)"
check "all are dropped" find "$SNAPSHOTS" -mindepth 1 -maxdepth 1 -exec rmdir {} +
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"

# ---- that it notices

notices() { # WHAT MUTANT OPTIONS COMMAND...: without the protection the command fails
    local before=$ENGRAMFS what=$1 mutant=$2 options=$3
    shift 3
    ENGRAMFS=$BUILD/tests/mount/fsfuzz/engramfs
    if [ ! -x "$ENGRAMFS" ]; then
        skip "$what is noticed" "tests/mount/fsfuzz/engramfs is not built"
    else
        export "FS_MUTANT_$mutant=1"
        rights "$options" ""
        check "$what is noticed" fails "$@"
        end_rights
        unset "FS_MUTANT_$mutant"
    fi
    ENGRAMFS=$before
}
other_numbers() { [ "$(stat -c %i "$R/all")" != "$(stat -c %i "$MNT/r/all")" ]; }
is_closed() { fails as $BOB cat "$R/closed"; }
lists_then() { (cd "$R" && printf '%s ' *) | grep -q 'closed given gone listed'; }
is_asked_again() {
    as $BOB cat "$R/all" >/dev/null
    chmod 600 "$MNT/r/all"
    fails as $BOB cat "$R/all"
}
notices "a view with the numbers of the present" SAME_INO on other_numbers
notices "a view that lists the present" PAST_IS_LISTED_NOW on lists_then
notices "who asks for the mode of then only" MODE_OF_THEN_ONLY on is_closed
notices "what the kernel keeps for others" PAST_KEPT_IN_KERNEL on is_asked_again
t_end
