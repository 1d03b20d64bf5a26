#!/usr/bin/env bash
# Programs that copy trees: rsync with everything and --link-dest, cpio, tar and cp of sparse files, python's shutil, backups by
# borg and restic of the mount and onto it. rsync.sh, archive.sh and coreutils.sh have the plain cases.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../../lib.sh"
t_begin "$@"
t_needs python3 rsync setfattr getfattr
STORE=$WORK/store MNT=$WORK/mnt SRC=$WORK/src
COUNT=500
[ "${ENGRAM_TEST_MODE-}" != full ] || COUNT=20000
must_mount "$STORE" "$MNT" -o segment_size=4M

# One tree with all that a copy has to keep, made once on the host's file system.
mkdir -p "$SRC/memories/ada" "$SRC/links" "$SRC/modes" "$SRC/odd" "$SRC/empty"
python3 - "$SRC" "$COUNT" <<'P'
import os, random, sys
src, count = sys.argv[1], int(sys.argv[2])
r = random.Random(4)
for i in range(count):
    with open(f"{src}/memories/ada/{i}", "wb") as f:
        f.write(r.randbytes(r.choice([0, 1, 100, 4095, 4096, 4097, 20000])))
for i in range(0, count, 10):
    os.link(f"{src}/memories/ada/{i}", f"{src}/links/hard{i}")
    os.symlink(f"../memories/ada/{i}", f"{src}/links/soft{i}")
for mode in range(0o400, 0o1000, 0o11):
    path = f"{src}/modes/{mode:o}"
    open(path, "w").write(path)
    os.chmod(path, mode)
for name in (b"\xff\xfe", b"new\nline", b" blank ", "日本語".encode(), b"-rf", b"x" * 255):
    open(src.encode() + b"/odd/" + name, "wb").write(name)
with open(f"{src}/sparse", "wb") as f:
    f.truncate(12 << 20)
    f.seek(5 << 20); f.write(b"island" * 1000)
os.symlink("t" * 4000, f"{src}/links/long")
os.mkfifo(f"{src}/fifo")
P
HAVE_X=
if setfattr -n user.probe -v 1 "$SRC/empty" 2>/dev/null; then
    HAVE_X=X
    for i in $(seq 0 10 200); do setfattr -n user.engram.confidence -v 0.5 "$SRC/memories/ada/$i" && setfattr -n user.mood -v "calm $i" "$SRC/memories/ada/$i"; done
else
    skip "xattrs" "none on ${TMPDIR:-/tmp}"
fi
if [ "$(id -u)" -eq 0 ]; then
    chown -R 1234:4321 "$SRC/memories/ada/1" "$SRC/links/soft0" "$SRC/modes"
    chmod 4755 "$SRC/memories/ada/1"
    mknod "$SRC/device" c 1 3
    [ ! "$HAVE_X" ] || setfattr -n trusted.note -v t "$SRC/memories/ada/2"
fi
# Old times: rsync leaves a link or folder alone that was made within the same second.
find "$SRC" -depth -exec touch -h -d '2021-03-04 05:06:07.123456789 UTC' {} +
WANT=$(tree_digest "$SRC")
xattrs() {
    python3 - "$1" <<'P'
import hashlib, os, sys
rows = []
os.chdir(sys.argv[1].encode())
for folder, dirs, files in os.walk(b"."):
    for path in [os.path.join(folder, n) for n in dirs + files]:
        for name in sorted(os.listxattr(path, follow_symlinks=False)):
            if name.startswith(("user.", "trusted.")):
                rows.append((path, name, os.getxattr(path, name, follow_symlinks=False)))
print(len(rows), hashlib.sha256(repr(sorted(rows)).encode()).hexdigest())
P
}
WANT_X=$(xattrs "$SRC")
same_as_source() { # NAME FOLDER [without xattrs]
    check_equal "$1: equal" "$WANT" "$(tree_digest "$2")"
    [ "${3-}" ] || check_equal "$1: xattrs equal" "$WANT_X" "$(xattrs "$2")"
}

# ---- rsync -aHAX --delete, both ways
ACLS=A
rsync --version | grep -q ' ACLs' && ! rsync --version | grep -q 'no ACLs' || ACLS=
run() { rsync -aH$ACLS$HAVE_X --itemize-changes "$@" 2>&1; }
mkdir "$MNT/in"
check "rsync -aH$ACLS$HAVE_X --delete into the mount" run --delete "$SRC/" "$MNT/in/"
same_as_source "rsync in" "$MNT/in"
check_equal "a second run transfers nothing" "" "$(run --delete "$SRC/" "$MNT/in/")"
check "rsync out of the mount" run --delete "$MNT/in/" "$WORK/out/"
same_as_source "rsync out" "$WORK/out"
check_equal "a second run back transfers nothing" "" "$(run --delete "$MNT/in/" "$WORK/out/")"
check_equal "nor one with checksums" "" "$(run --checksum --delete "$MNT/in/" "$WORK/out/")"
check "--sparse over what is there" run -S --ignore-times "$SRC/" "$MNT/in/"
same_as_source "once more over it" "$MNT/in"
check "the sparse file is sparse" bash -c '[ "$(du -k "$1" | cut -f 1)" -lt 4000 ]' _ "$MNT/in/sparse"
# the delta algorithm, which reads the old file while it writes the new one
check "a delta of a large file" bash -c 'printf changed | dd of="$1/sparse" bs=1 seek=1000000 conv=notrunc status=none &&
    rsync -a --no-whole-file --inplace "$1/sparse" "$2/sparse" && cmp "$1/sparse" "$2/sparse"' _ "$SRC" "$MNT/in"
truncate -s 0 "$SRC/sparse" && truncate -s 12M "$SRC/sparse"
touch -d '2021-03-04 05:06:07.123456789 UTC' "$SRC/sparse" "$SRC"
WANT=$(tree_digest "$SRC")
run --delete --checksum "$SRC/" "$MNT/in/" >/dev/null
same_as_source "after a hole took the place of content" "$MNT/in"

# --link-dest: a snapshot takes new space for what has changed only
check "--link-dest, first" run --link-dest="$MNT/in" "$SRC/" "$MNT/snap1/"
same_as_source "--link-dest, first" "$MNT/snap1"
check_equal "nothing was transferred: the same inode" "$(stat -c %i "$MNT/in/memories/ada/5")" "$(stat -c %i "$MNT/snap1/memories/ada/5")"
echo changed >"$SRC/memories/ada/5"
check "--link-dest, second" run --link-dest=../snap1 "$SRC/" "$MNT/snap2/"
check_equal "the changed one is another" changed "$(cat "$MNT/snap2/memories/ada/5")"
check "the old snapshot has the old one" bash -c '! cmp -s "$1/snap1/memories/ada/5" "$1/snap2/memories/ada/5"' _ "$MNT"
check_equal "the others are shared by three" 3 "$(stat -c %h "$MNT/snap2/memories/ada/6")"
check "a snapshot goes" rm -r "$MNT/snap1"
check_equal "the others stay" 2 "$(stat -c %h "$MNT/snap2/memories/ada/6")"
rm -r "$MNT/snap2"
rsync -a "$MNT/in/memories/ada/5" "$SRC/memories/ada/5"
touch -d '2021-03-04 05:06:07.123456789 UTC' "$SRC/memories/ada"
check "--delete of nearly everything" run --delete "$SRC/modes/" "$MNT/in/"
check_equal "what is left" "$(tree_digest "$SRC/modes")" "$(tree_digest "$MNT/in")"
check "and back again" run --delete "$SRC/" "$MNT/in/"
same_as_source "and back again" "$MNT/in"

# ---- cpio and tar
if command -v cpio >/dev/null; then
    mkdir "$MNT/cpio" "$WORK/cpio"
    check "cpio -p into the mount" bash -c 'cd "$1" && find . -mindepth 1 -depth -print0 | cpio -0 -pdm --quiet "$2"' _ "$SRC" "$MNT/cpio"
    cpio_digest() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum; find . -printf '%P %y %m %l\n' | sort) | sha256sum; }
    check_equal "cpio -p: equal" "$(cpio_digest "$SRC")" "$(cpio_digest "$MNT/cpio")"
    check "cpio -o, -i: out of the mount and in" bash -c 'cd "$1" && find memories links -depth -print0 | cpio -0 -o -H newc --quiet >"$2/a.cpio" &&
        cd "$2/cpio" && cpio -idm --quiet <../a.cpio' _ "$MNT/cpio" "$WORK"
    check_equal "cpio: hard links were kept" "$(stat -c %h "$SRC/memories/ada/10")" "$(stat -c %h "$WORK/cpio/memories/ada/10")"
    check_equal "cpio: equal" "$(content_digest "$SRC/memories")" "$(content_digest "$WORK/cpio/memories")"
    rm -r "$MNT/cpio"
else
    skip "cpio" "no cpio"
fi
if command -v tar >/dev/null; then
    mkdir "$MNT/tar"
    check "tar, sparse, with xattrs and ACLs asked for" bash -c 'tar -C "$1" --xattrs --xattrs-include="*" --acls -Scf - . |
        tar -C "$2" --xattrs --xattrs-include="*" --acls -Sxpf -' _ "$MNT/in" "$MNT/tar"
    same_as_source "tar" "$MNT/tar"
    check "tar --listed-incremental sees no change" bash -c 'cd "$1" && tar -g "$2/snar" -cf /dev/null memories && cp "$2/snar" "$2/snar2" &&
        [ -z "$(tar -g "$2/snar2" -cvf "$2/incremental.tar" memories | grep -v "/$")" ]' _ "$MNT/tar" "$WORK"
    rm -r "$MNT/tar"
fi

# ---- cp and shutil
check "cp -a within the mount" cp -a "$MNT/in" "$MNT/copy"
same_as_source "cp -a" "$MNT/copy"
check "cp -a --reflink=auto --sparse=always" cp -a --reflink=auto --sparse=always "$MNT/in/sparse" "$MNT/sparse2"
check "it is equal" cmp "$MNT/in/sparse" "$MNT/sparse2"
rm -rf "$MNT/copy" "$MNT/sparse2"
check "python: copytree, move, archives, rmtree" python3 - "$SRC" "$MNT" "$WORK" <<'P'
import filecmp, os, shutil, sys, tempfile
src, mnt, work = sys.argv[1:]
shutil.copytree(f"{src}/memories", f"{mnt}/tree", symlinks=True)
def equal(a, b):
    c = filecmp.dircmp(a, b)
    assert not (c.left_only or c.right_only or c.funny_files), (c.left_only, c.right_only)
    match, mismatch, errors = filecmp.cmpfiles(a, b, c.common_files, shallow=False)
    assert not mismatch and not errors, (mismatch, errors)
    for d in c.common_dirs:
        equal(f"{a}/{d}", f"{b}/{d}")
equal(f"{src}/memories", f"{mnt}/tree")
for name in ("ada/1", "ada/3"):
    a, b = os.stat(f"{src}/memories/{name}"), os.stat(f"{mnt}/tree/{name}")
    assert (a.st_mtime_ns, a.st_mode & 0o777) == (b.st_mtime_ns, b.st_mode & 0o777), name
shutil.move(f"{mnt}/tree", f"{work}/moved")         # between file systems
shutil.move(f"{work}/moved", f"{mnt}/tree2")
equal(f"{src}/memories", f"{mnt}/tree2")
for kind in ("zip", "gztar"):
    path = shutil.make_archive(f"{mnt}/archive", kind, f"{mnt}/tree2")
    shutil.unpack_archive(path, f"{mnt}/un-{kind}")
    equal(f"{mnt}/tree2", f"{mnt}/un-{kind}")
    shutil.rmtree(f"{mnt}/un-{kind}")
    os.unlink(path)
with open(f"{src}/memories/ada/9", "rb") as a, open(f"{mnt}/sent", "wb") as b:
    while os.sendfile(b.fileno(), a.fileno(), None, 1 << 20):
        pass
assert filecmp.cmp(f"{src}/memories/ada/9", f"{mnt}/sent", shallow=False)
with tempfile.TemporaryDirectory(dir=mnt) as d, tempfile.NamedTemporaryFile(dir=d) as f:
    f.write(b"x" * 100000); f.flush()
    assert os.path.getsize(f.name) == 100000
assert shutil.disk_usage(mnt).total > 0
shutil.rmtree(f"{mnt}/tree2")
os.unlink(f"{mnt}/sent")
assert sorted(os.listdir(mnt)) == ["in"], os.listdir(mnt)
P
check "python: mmap: write, flush, resize, find, two views" python3 - "$MNT" <<'P'
import mmap, os, sys
path = sys.argv[1] + "/mapped"
with open(path, "w+b") as f:
    f.truncate(100000)
    with mmap.mmap(f.fileno(), 0) as m, mmap.mmap(f.fileno(), 0) as other:
        m[50000:50005] = b"hello"
        assert other[50000:50005] == b"hello" and other.find(b"hello") == 50000
        assert os.pread(f.fileno(), 5, 50000) == b"hello"     # mapping and read agree without a flush
        os.pwrite(f.fileno(), b"HELLO", 50000)
        assert m[50000:50005] == b"HELLO"
        m.flush()
        m.resize(300000)
        m[299990:] = b"0123456789"
        m.move(0, 50000, 5)
    with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as private:
        private[0:5] = b"never"
assert open(path, "rb").read() == b"HELLO" + b"\0" * 49995 + b"HELLO" + b"\0" * 249985 + b"0123456789"
os.unlink(path)
P

# ---- backups
if command -v borg >/dev/null; then
    export BORG_BASE_DIR=$WORK/borg BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes
    check "borg init" timeout 120 borg init -e none "$WORK/borg-repo"
    check "borg create: a backup of the mount" bash -c 'cd "$1" && timeout 300 borg create --read-special=no "$2::first" . 2>/dev/null ||
        timeout 300 borg create "$2::first" .' _ "$MNT/in" "$WORK/borg-repo"
    check_equal "borg: a second backup finds no file changed" "" "$(cd "$MNT/in" && timeout 300 borg create --list --filter AMC \
        "$WORK/borg-repo::second" . 2>&1 | grep '^[AMC] ' | grep -vE " (fifo|odd/.*)$")"
    mkdir "$WORK/borg-out"
    check "borg extract" bash -c 'cd "$1" && timeout 300 borg extract --numeric-ids "$2::second" || [ $? -eq 1 ]' _ "$WORK/borg-out" "$WORK/borg-repo"
    same_as_source "borg" "$WORK/borg-out"
    check "borg init on the mount" timeout 120 borg init -e none "$MNT/borg"
    check "borg create onto the mount" bash -c 'cd "$1" && timeout 300 borg create "$2::a" memories links' _ "$SRC" "$MNT/borg"
    check "borg check --verify-data on the mount" timeout 300 borg check --verify-data "$MNT/borg"
    check "borg delete, compact on the mount" bash -c 'timeout 300 borg delete "$1::a" && timeout 300 borg compact "$1"' _ "$MNT/borg"
    rm -rf "$MNT/borg"
else
    skip "borg" "no borg"
fi
if command -v restic >/dev/null; then
    export RESTIC_PASSWORD=x RESTIC_CACHE_DIR=$WORK/restic-cache
    check "restic init on the mount" timeout 120 restic -q -r "$MNT/restic" init
    check "restic backup onto the mount" timeout 300 restic -q -r "$MNT/restic" backup "$SRC/memories"
    check "restic check --read-data on the mount" timeout 300 restic -q -r "$MNT/restic" check --read-data
    check "restic init" timeout 120 restic -q -r "$WORK/restic" init
    check "restic backup of the mount" timeout 300 restic -q -r "$WORK/restic" backup "$MNT/in"
    check_equal "restic: a second backup finds no file changed" "0 0" "$(timeout 300 restic -r "$WORK/restic" backup --json "$MNT/in" |
        python3 -c 'import json, sys; s = json.loads(sys.stdin.read().splitlines()[-1]); print(s["files_new"], s["files_changed"])')"
    check "restic restore" timeout 300 restic -q -r "$WORK/restic" restore latest --target "$WORK/restic-out"
    check_equal "restic: content equal" "$(content_digest "$SRC")" "$(content_digest "$WORK/restic-out$MNT/in")"
    rm -rf "$MNT/restic"
else
    skip "restic" "no restic"
fi

check "unmount" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o ro
same_as_source "after a restart" "$MNT/in"
check "unmount at the end" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
