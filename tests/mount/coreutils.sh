#!/usr/bin/env bash
# Everyday tools on a mounted store: what they do on ext4 they must do here.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 find sed

STORE=$WORK/store MNT=$WORK/mnt REF=$WORK/ref
must_mount "$STORE" "$MNT"
mkdir "$REF"

# -- a tree with all kinds of entries, made once on the real file system
mkdir -p "$REF/src/deep/er"
printf 'alpha beta\n' >"$REF/src/a.txt"
: >"$REF/src/empty"
head -c 3000000 /dev/urandom >"$REF/src/big.bin"
head -c 4097 /dev/urandom >"$REF/src/deep/odd.bin"
ln -s ../a.txt "$REF/src/deep/link"
ln "$REF/src/a.txt" "$REF/src/deep/er/hard"
mkfifo "$REF/src/fifo"
chmod 0640 "$REF/src/a.txt"
chmod 0700 "$REF/src/deep"
touch -d '2001-02-03 04:05:06.789012345 UTC' "$REF/src/empty" "$REF/src/deep/er"
for i in $(seq 300); do echo "memory $i" >"$REF/src/deep/er/m$i"; done

check "cp -a" cp -a "$REF/src" "$MNT/src"
check_equal "cp -a keeps everything" "$(tree_digest "$REF/src")" "$(tree_digest "$MNT/src")"
check_equal "hard link has the same inode" "$(stat -c %i "$MNT/src/a.txt")" "$(stat -c %i "$MNT/src/deep/er/hard")"
check_equal "link count" 2 "$(stat -c %h "$MNT/src/a.txt")"
check "cp -a back" cp -a "$MNT/src" "$REF/back"
check_equal "the copy back is equal" "$(tree_digest "$REF/src")" "$(tree_digest "$REF/back")"
check "diff -r" diff -r --no-dereference "$REF/back/deep" "$MNT/src/deep"

cd "$MNT" || exit 1

# -- mv, ln
check "mv a file" mv src/big.bin moved.bin
check "the moved file is whole" cmp moved.bin "$REF/src/big.bin"
check_fails "the old name is gone" "No such file" cat src/big.bin
mkdir one two
echo x >one/x
check "mv a folder into another" mv one two/
check_equal "its file moved along" x "$(cat two/one/x)"
check_fails "mv a folder into itself" "subdirectory of itself|Invalid argument" mv two two/one/
check_fails "mv over a filled folder" "not empty|File exists" bash -c 'mkdir -p full/one && touch full/one/f && mv -T two/one full/one'
check "mv -n" bash -c 'echo new >n1; echo old >n2; mv -n n1 n2; [ "$(cat n2)" = old ]'
check "ln" ln moved.bin second-name
check "ln -s" ln -s moved.bin soft
check_equal "readlink" moved.bin "$(readlink soft)"
check "a symlink is followed" cmp soft "$REF/src/big.bin"
check "a name goes, the other stays" bash -c 'rm moved.bin && cmp second-name "$1"' _ "$REF/src/big.bin"
check_fails "ln onto an existing name" "File exists" ln second-name n2
check_fails "hard link to a folder" "not allowed|not permitted" ln two two2

# -- truncate and dd at offsets, against the same on the real file system
both() { (cd "$REF" && "$@" >/dev/null 2>&1) && (cd "$MNT" && "$@" >/dev/null 2>&1); }
same() { both "${@:2}" && cmp "$REF/w" "$MNT/w" || return 1; }
head -c 700000 /dev/urandom >"$WORK/noise"
check "dd whole" same w dd if="$WORK/noise" of=w bs=64k
check "dd in the middle" same w dd if="$WORK/noise" of=w bs=1000 seek=17 count=3 conv=notrunc
check "dd of single bytes" same w dd if="$WORK/noise" of=w bs=1 seek=65535 count=3 conv=notrunc
check "dd beyond the end leaves a hole" same w dd if="$WORK/noise" of=w bs=4096 seek=400 count=1 conv=notrunc
check "truncate shorter" same w truncate -s 100001 w
check "truncate longer" same w truncate -s 300000 w
check "truncate to 0" same w truncate -s 0 w
check "append by >>" same w bash -c 'for i in $(seq 500); do echo "line $i" >>w; done'
check "dd conv=fsync" same w dd if="$WORK/noise" of=w bs=10000 conv=fsync
check "dd oflag=append" same w dd if="$WORK/noise" of=w bs=777 count=9 oflag=append conv=notrunc
check_equal "size of a sparse file" 5368709120 "$(truncate -s 5G sparse && stat -c %s sparse)"
check "a sparse file takes no room" bash -c '[ "$(du -k sparse | cut -f 1)" -lt 64 ]'
check "a write beyond 4 GiB" bash -c 'printf tail | dd of=sparse bs=1 seek=5368709000 conv=notrunc 2>/dev/null &&
    [ "$(tail -c +5368709001 sparse | head -c 4)" = tail ]'
check_fails "truncate beyond the largest size" "too large" truncate -s 16T sparse
rm sparse

# -- attributes
echo attr >attr
check_equal "chmod" 4751 "$(chmod 4751 attr && stat -c %a attr)"
check_equal "touch -d to the nanosecond" "2011-11-11 11:11:11.123456789 +0000" \
    "$(touch -d '2011-11-11 11:11:11.123456789 UTC' attr && TZ=UTC stat -c %y attr)"
check_equal "touch -d before 1970" "-86400" "$(touch -d '1969-12-31 00:00:00 UTC' attr && stat -c %Y attr)"
check_equal "touch -a leaves mtime" "-86400" "$(touch -a attr && stat -c %Y attr)"
check "ctime moves with chmod" bash -c 'a=$(stat -c %z attr); sleep 0.02; chmod 600 attr; [ "$a" != "$(stat -c %z attr)" ]'
check "mtime moves with a write" bash -c 'a=$(stat -c %y attr); echo more >>attr; [ "$a" != "$(stat -c %y attr)" ]'
check "mtime of a folder moves with a name" bash -c 'a=$(stat -c %y two); sleep 0.02; touch two/t; [ "$a" != "$(stat -c %y two)" ]'
if [ "$(id -u)" -eq 0 ]; then
    check_equal "chown" 1234:4321 "$(chown 1234:4321 attr && stat -c %u:%g attr)"
    check_equal "chown of a symlink" 77 "$(chown -h 77 soft && stat -c %u soft)"
    check_equal "set-group-ID folder gives its group" 4321 \
        "$(mkdir sg && chown 0:4321 sg && chmod 2775 sg && touch sg/f && stat -c %g sg/f)"
else
    skip "chown" "not root"
fi
check_equal "umask" 640 "$(umask 027 && touch masked && stat -c %a masked)"
check "stat -f" bash -c 'set -- $(stat -f -c "%b %f %S" .); [ "$1" -gt 0 ] && [ "$2" -gt 0 ] && [ "$3" -gt 0 ]'
check "df" df .
check_equal "link count of a folder" "$(stat -c %h "$REF/src")" "$(stat -c %h "$MNT/src")"

# -- find, grep, sed, sort, ls, du
check_equal "find counts" "$(find "$REF/src/deep" | wc -l)" "$(find src/deep | wc -l)"
check_equal "find -newer and -size" 300 "$(find src/deep/er -name 'm*' -size -2 | wc -l)"
check_equal "find -type l" src/deep/link "$(find src -type l)"
check_equal "grep -r" 1 "$(grep -rlx 'memory 217' src/deep/er | wc -l)"
check_equal "grep -rc sums up" 300 "$(grep -rh '^memory' src/deep/er | wc -l)"
check "sed -i" sed -i 's/^memory/MEMORY/' src/deep/er/m1 src/deep/er/m2
check_equal "sed -i changed it" "MEMORY 1" "$(cat src/deep/er/m1)"
check_equal "ls -l" 300 "$(find src/deep/er -maxdepth 1 -name 'm*' -exec ls -l {} + | wc -l)"
check_equal "ls | sort" "$(ls "$REF/src/deep/er" | sort | sha256sum)" "$(ls src/deep/er | sort | sha256sum)"
check_equal "ls -U names each once" 301 "$(ls -U src/deep/er | sort -u | wc -l)"
check "du sees the content" bash -c '[ "$(du -sk second-name | cut -f 1)" -ge 2900 ]'
check_equal "du --apparent-size" 3000000 "$(du -b second-name | cut -f 1)"
check_equal "sort -o onto itself" "$(seq 1000 | sort | sha256sum)" "$(seq 1000 >s && sort -o s s && sha256sum <s)"
check_equal "wc, head, tail" "1000 1 999" "$(echo "$(wc -l <s) $(head -n 1 s) $(tail -n 1 s)")"
check "tee -a" bash -c 'echo one | tee -a tee.txt >/dev/null; echo two | tee -a tee.txt >/dev/null; [ "$(cat tee.txt)" = "one
two" ]'
check "install" install -m 755 attr installed
check "split and join again" bash -c 'split -b 100000 second-name part. && cat part.* | cmp - second-name'
check "xargs rm" bash -c 'ls part.* | xargs rm && ! ls part.* 2>/dev/null'
check "cp --sparse, cp --reflink=auto" bash -c 'cp --sparse=always second-name c1 && cp --reflink=auto c1 c2 && cmp c2 second-name'

# -- what saving does to fields, as README.md and docs/FAQ.md say: those who rename a new file over the name lose them
# all, those who write into the file keep them
CONTENT=
saved() { # NAME FIELDS COMMAND...: of a fresh memory with fields; the command has to change it to `14 May`
    local name=$1 want=$2 got
    shift 2
    rm -f fields fields.new
    echo "14 March" >fields
    setfattr -n user.engram.confidence -v 0.9 fields
    setfattr -n user.mood -v calm fields
    "$@" >/dev/null 2>&1 </dev/null
    CONTENT=$(cat fields)
    got=$(getfattr --absolute-names -d fields | grep -c ^user)
    check_equal "$name: fields left" "14 May $want" "$CONTENT $got"
}
saved "sed -i" 0 sed -i s/March/May/ fields
saved "os.replace" 0 python3 -c 'import os; open("fields.new", "w").write("14 May\n"); os.replace("fields.new", "fields")'
saved "mv" 0 bash -c 'echo 14 May >fields.new && mv fields.new fields'
saved ">" 2 bash -c 'echo 14 May >fields'
saved "tee" 2 bash -c 'echo 14 May | tee fields'
saved "cp over it" 2 bash -c 'echo 14 May >fields.new && cp fields.new fields'
saved "open(..., 'w')" 2 python3 -c 'open("fields", "w").write("14 May\n")'
if command -v vim >/dev/null; then
    saved "vim with backupcopy=yes" 2 vim -u NONE -es -c 'set backupcopy=yes' -c '%s/March/May/' -c 'wq' fields
fi
FAQ=$(sed -n 's/.*`\(cp --attributes-only [^`]*\)`.*/\1/p' "$ROOT/docs/FAQ.md")
check_equal "the FAQ has a way for the others" "cp --attributes-only --preserve=xattr OLD NEW" "$FAQ"
keep="${FAQ/OLD/fields}"
saved "sed, that way" 2 bash -c "sed s/March/May/ fields >fields.new && ${keep/NEW/fields.new} && mv fields.new fields"

# -- what editors do: a temporary file, fsync, rename over the old name
check "replace as editors do" python3 - <<'P'
import os
for i in range(200):
    with open(".doc.swp", "wb") as f:
        f.write(b"version %d\n" % i * 50)
        f.flush()
        os.fsync(f.fileno())
    os.rename(".doc.swp", "doc")
    assert open("doc", "rb").read() == b"version %d\n" % i * 50
d = os.open(".", os.O_DIRECTORY)
os.fsync(d)
assert not os.path.exists(".doc.swp")
P
if command -v vim >/dev/null; then
    check "vim" bash -c 'vim -u NONE -es -c "%s/version/VERSION/" -c wq doc </dev/null; grep -q "^VERSION 199" doc'
fi
check "rename flags: NOREPLACE, EXCHANGE" python3 - <<'P'
import ctypes, os, errno
libc = ctypes.CDLL(None, use_errno=True)
def rename2(a, b, flags):
    r = libc.renameat2(-100, a.encode(), -100, b.encode(), flags)
    return ctypes.get_errno() if r else 0
open("ra", "w").write("A"); open("rb", "w").write("B")
assert rename2("ra", "rb", 1) == errno.EEXIST
assert rename2("ra", "rb", 2) == 0
assert open("ra").read() == "B" and open("rb").read() == "A"
assert rename2("ra", "rc", 1) == 0 and open("rc").read() == "B"
assert rename2("rc", "missing", 2) == errno.ENOENT
P

# -- names
n255=$(printf 'n%.0s' $(seq 255))
check "a name of 255 bytes" bash -c 'echo long >"$1" && [ "$(cat "$1")" = long ] && ls | grep -qx "$1" && rm "$1"' _ "$n255"
check_fails "a name of 256 bytes" "File name too long" touch "n$n255"
check_fails "looking up a name of 256 bytes" "File name too long" stat "n$n255"
check "bytes that are no UTF-8, blanks, newlines" python3 - <<'P'
import os
names = [b"\xff\xfe", b" lead", b"trail ", b"new\nline", b"tab\t", b"-rf", b"*", b"\\", "日本語".encode(), b"..."]
os.mkdir(b"odd")
for n in names:
    open(b"odd/" + n, "wb").write(n)
assert sorted(os.listdir(b"odd")) == sorted(names)
for n in names:
    assert open(b"odd/" + n, "rb").read() == n
P
check "rm -r of odd names" rm -r odd

# -- unlink while open
check "an unlinked file lives while it is open" bash -c '
    exec 7<>held || exit 1
    echo first >&7
    rm held
    [ ! -e held ] || exit 1
    echo second >&7
    [ "$(cat /dev/fd/7 2>/dev/null || cat /proc/self/fd/7)" = "first
second" ]'
check "the same over a replaced file, with a second read" python3 - <<'P'
import os
open("r1", "wb").write(b"old" * 1000)
f = open("r1", "rb")
open("r2", "wb").write(b"new")
os.rename("r2", "r1")
assert f.read() == b"old" * 1000 and os.fstat(f.fileno()).st_nlink == 0
assert open("r1", "rb").read() == b"new"
P

# -- system calls that tools use now and then
check "mmap, O_DIRECT reads, O_APPEND, pwrite, holes" python3 - <<'P'
import mmap, os
with open("mm", "w+b") as f:
    f.truncate(20000)
    m = mmap.mmap(f.fileno(), 20000)
    m[5000:5005] = b"hello"
    m.flush(); m.close()
assert open("mm", "rb").read() == b"\0" * 5000 + b"hello" + b"\0" * 14995
try:
    d = os.open("mm", os.O_RDONLY | os.O_DIRECT)
    buf = mmap.mmap(-1, 8192)
    n = os.readv(d, [buf])
    assert n == 8192 and buf[5000:5005] == b"hello"
    os.close(d)
except OSError as e:
    if e.errno != 22: raise
a = os.open("ap", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
b = os.open("ap", os.O_WRONLY | os.O_APPEND)
for i in range(100):
    os.write(a, b"a%02d" % i); os.write(b, b"b%02d" % i)
data = open("ap", "rb").read()
assert data == b"".join(b"a%02db%02d" % (i, i) for i in range(100)), data[:30]
w = os.open("h", os.O_RDWR | os.O_CREAT)
os.pwrite(w, b"end", 1 << 20)
assert os.pread(w, 10, 0) == b"\0" * 10
assert os.pread(w, 10, 1 << 20) == b"end"
assert os.fstat(w).st_size == (1 << 20) + 3
P
check "a folder listed while it is emptied loses and repeats nothing" python3 - <<'P'
import os
os.mkdir("list")
for i in range(5000): open("list/%d" % i, "w").close()
seen = []
with os.scandir("list") as it:
    for e in it:
        seen.append(e.name)
        os.unlink("list/" + e.name)
assert len(seen) == 5000 and len(set(seen)) == 5000, (len(seen), len(set(seen)))
assert os.listdir("list") == []
os.rmdir("list")
P
check_fails "rmdir of a filled folder" "not empty" rmdir src
check_fails "cat of a folder" "Is a directory" cat src
check_fails "a file as a folder" "Not a directory" ls doc/x
check "rm -r of a large tree" rm -r src
check_fails "it is gone" "No such file" ls src

# -- everything is there after an orderly unmount, and a read-only mount shows it but changes nothing
before=$(cd / && tree_digest "$MNT")
cd /
check "unmount" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o ro
check_equal "read-only: all is there" "$before" "$(tree_digest "$MNT")"
check_fails "read-only: create" "Read-only file system" touch "$MNT/new"
check_fails "read-only: write" "Read-only file system" bash -c 'echo x >>"$1"' _ "$MNT/doc"
check_fails "read-only: remove" "Read-only file system" rm -f "$MNT/doc"
check_fails "read-only: chmod" "Read-only file system" chmod 600 "$MNT/doc"
check_fails "read-only: mkdir" "Read-only file system" mkdir "$MNT/newdir"
check_fails "read-only: rename" "Read-only file system" mv "$MNT/doc" "$MNT/doc2"
check "unmount read-only" unmount_store "$MNT"
must_mount "$STORE" "$MNT"
check_equal "mounted again: all is there" "$before" "$(tree_digest "$MNT")"
check "unmount at the end" unmount_store "$MNT"
if [ -x "$CTL" ]; then check "engramctl check" "$CTL" check "$STORE"; fi
t_end
