#!/usr/bin/env bash
# midway.sh - what somebody else does before an import or export of root's, and in the midst of it, in a folder that is his: he puts
# something of his where a memory was, keeps a file open that gets another owner, cuts one that is read, makes the names that are to
# come. He gets nothing of anybody's, nobody else gets anything of his, and what could not be done is told.
#
#   tests/ops/midway.sh [BUILD]      CTL_OLD=engramctl: shows what that one does instead
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 tar setpriv
if [ "$(id -u)" -ne 0 ]; then
    skip midway "not root: root's import for others is what this is about"
    exit 0
fi
CTL=${CTL_OLD-$CTL}
cd "$WORK" || exit 1
chmod 755 "$WORK"
must_mount "$WORK/store" "$WORK/mnt" -o allow_other
chmod 755 mnt
BOB=1001 ALICE=1002

# ---- hard links: what has the first name by the time that the second comes is bob's
mkdir mnt/again
cat >links.py <<'P'
# links.py CTL TARGET WHAT: bob/x is alice's; once it is there bob does WHAT; then comes alice/y, a hard link to it.
import io, os, shutil, subprocess, sys, tarfile, time
ctl, top, what = sys.argv[1:]
BOB, ALICE = 1001, 1002
shutil.rmtree(f"{top}/bob", True), shutil.rmtree(f"{top}/alice", True), shutil.rmtree(f"{top}/pad", True)
os.mkdir(f"{top}/bob"), os.chown(f"{top}/bob", BOB, BOB)
def head(name, kind, uid, mode, size=0, link=""):
    i = tarfile.TarInfo(name)
    i.type, i.uid, i.gid, i.mode, i.size, i.linkname, i.mtime = kind, uid, uid, mode, size, link, 1700000000
    return i.tobuf(tarfile.GNU_FORMAT)
def bobs():
    os.chdir(f"{top}/bob")
    os.setresgid(BOB, BOB, BOB), os.setresuid(BOB, BOB, BOB)
    if what != "nothing":
        os.rename("x", "x.old")
    if what == "file":
        open("x", "w").write("forged")
        os.chmod("x", 0o666)
    elif what == "symlink":
        os.symlink("/etc/passwd", "x")
    elif what == "another":
        os.rename("w", "x") # which is alice's as well, and came from the archive
text = b"hers\n"
run = subprocess.Popen([ctl, "import", "--format", "tar", "-", top], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
out = run.stdin
out.write(head("alice", tarfile.DIRTYPE, ALICE, 0o700))
for name in ("x", "w"):
    out.write(head(f"bob/{name}", tarfile.REGTYPE, ALICE, 0o600, len(text)) + text + bytes(512 - len(text)))
for i in range(600): # until all before them is there
    out.write(head(f"pad/{i}", tarfile.REGTYPE, 0, 0o600))
out.flush()
until = time.monotonic() + 30
while not os.path.exists(f"{top}/bob/w") and time.monotonic() < until:
    time.sleep(0.01)
child = os.fork()
if not child:
    bobs()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
out.write(head("alice/y", tarfile.LNKTYPE, ALICE, 0o600, 0, "bob/x") + head("alice/z", tarfile.LNKTYPE, ALICE, 0o600, 0, "alice/y"))
out.write(head("last", tarfile.REGTYPE, 0, 0o600) + bytes(1024))
said = run.communicate()[0].decode()
told = [l.split(":")[1].strip() for l in said.splitlines() if "what it is a hard link to" in l]
def of(name):
    try:
        s = os.lstat(f"{top}/{name}")
        return f"{s.st_uid} {s.st_nlink}"
    except FileNotFoundError:
        return "-"
print(run.returncode, of("alice/y"), of("alice/z"), "told:", *told, "last" if os.path.exists(f"{top}/last") else "cut")
P
links() { timeout 60 python3 links.py "$CTL" "$WORK/mnt" "$1"; }
check_equal "bob leaves it alone: alice's is linked to it" "0 $ALICE 3 $ALICE 3 told: last" "$(links nothing)"
for what in file symlink another gone; do
    check_equal "bob puts there: $what. No link, and that is told" "1 - - told: alice/y alice/z last" "$(links $what)"
done
# the first name waits to be put, and its folder was left and is entered again
python3 - <<'P'
import io, tarfile
with tarfile.open("again.tar", "w") as t:
    for name, link in (("a/x", ""), ("b/c", ""), ("b/y", "a/x"), ("a/z", "b/y")):
        i = tarfile.TarInfo(name)
        i.type, i.linkname, i.size = (tarfile.LNKTYPE, link, 0) if link else (tarfile.REGTYPE, "", 2)
        t.addfile(i, io.BytesIO(b"hi") if not link else None)
P
check "of a folder that is entered again" "$CTL" import again.tar mnt/again
check_equal "  three names" "3 3 3" "$(stat -c %h mnt/again/a/x mnt/again/b/y mnt/again/a/z | xargs)"
# bob is quick: between any two looks at the first name
if cc -shared -fPIC -Wall -Werror -o names.so "$ROOT/tests/ops/names_shim.c" -ldl; then
    mkdir quick && echo hers >quick/x && chown $ALICE quick/x && ln quick/x quick/y && tar -C quick -cf quick.tar x y
    noticed=0
    for look in 1 2 3 4 5; do
        rm -rf mnt/quick mnt/forged && mkdir mnt/quick && echo forged >mnt/forged && chown $BOB mnt/forged
        env "LD_PRELOAD=$WORK/names.so" NAMES_SHIM=swap SWAP_NAME=x SWAP_LOOK=$look "SWAP_WITH=$WORK/mnt/forged" \
            timeout 60 "$CTL" import quick.tar mnt/quick >quick.said 2>&1
        noticed=$((noticed + $(grep -c 'y: what it is a hard link to' quick.said)))
        check_equal "something else under the first name at look $look: no link to it" 0 "$(cat mnt/quick/y 2>/dev/null | grep -c forged)"
    done
    check_equal "  noticed before each of the two looks for the link" 2 $noticed
else
    skip "bob is quick" "no compiler"
fi
# the same without haste: the first name is refused
python3 - <<'P'
import io, tarfile
with tarfile.open("refused.tar", "w", format=tarfile.PAX_FORMAT) as t:
    def entry(name, kind, data=b"", link="", **more):
        i = tarfile.TarInfo(name)
        i.type, i.uid, i.gid, i.mode, i.size, i.linkname = kind, 1002, 1002, 0o600, len(data), link
        i.pax_headers = more
        t.addfile(i, io.BytesIO(data))
    entry("bob/x", tarfile.REGTYPE, b"hers", uid="99999999999")
    entry("alice/y", tarfile.LNKTYPE, link="bob/x")
    entry("alice/fine", tarfile.REGTYPE, b"fine")
    entry("alice/fine2", tarfile.LNKTYPE, link="alice/fine")
P
refused() { # TARGET: what came of it
    "$CTL" import refused.tar "$1" >refused.said 2>&1
    echo "$? $(grep -c 'alice/y: what it is a hard link to' refused.said) $(grep -o '[0-9]* hard links; [0-9]* failed' refused.said)"
}
rm -rf mnt/*
mkdir mnt/bob && chown $BOB mnt/bob
setpriv --reuid $BOB --regid $BOB --clear-groups sh -c 'echo forged >mnt/bob/x'
check_equal "the first name is refused: no link to bob's" "1 1 1 hard links; 2 failed" "$(refused mnt)"
check_equal "  nothing has the name, and his has one" "1 fine2" "$(stat -c %h mnt/bob/x) $(find mnt/alice -type f ! -name fine -printf '%f\n' | sort | xargs)"
mkdir -p tree/bob && echo there >tree/bob/x
check "a store that is not mounted" "$CTL" import --format tree tree second
check_equal "  the same" "1 1 1 hard links; 2 failed" "$(refused second)"
rm -rf mnt/* tree
mkdir -p tree/alice tree/bob mnt/bob/x && echo hers >tree/bob/x && ln tree/bob/x tree/alice/y && ln tree/bob/x tree/last
"$CTL" import --format tree tree mnt >tree.said 2>&1
check_equal "of a tree the next name is the first then" "1 hers 2 1" "$? $(cat mnt/last) $(stat -c %h mnt/last) $(grep -c 'bob/x: ' tree.said)"

# ---- what bob has open: its content is that of the archive already, but it is to be somebody else's, or less open
cat >open.py <<'P'
# open.py CTL TARGET KIND: bob, or everybody, has files open that an import makes alice's or root's. What each can do afterwards.
import os, subprocess, sys
ctl, top, kind = sys.argv[1:]
os.chdir(top)
opened = {}
sizes = {"diary": 0, "tool": 17, "large": 9 << 20, "longer": 9 << 20}
os.mkdir("of"), os.chmod("of", 0o777)
if os.fork() == 0:
    os.umask(0)
    if kind == "owner":
        os.setresgid(1001, 1001, 1001), os.setresuid(1001, 1001, 1001)
    for name, size in sizes.items():
        fd = os.open("of/" + name, os.O_RDWR | os.O_CREAT, 0o644 if kind == "owner" else 0o666)
        os.write(fd, b"x" * size)
    os.mkfifo("of/pipe", 0o644 if kind == "owner" else 0o666)
    os._exit(0)
assert os.wait()[1] == 0
for name in [*sizes, "pipe"]:
    os.utime("of/" + name, (1700000000, 1700000000))
    opened[name] = os.open("of/" + name, os.O_RDWR | os.O_NONBLOCK)
run = subprocess.run([ctl, "import", "../open.tar", "."], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
can = []
for name, fd in opened.items():
    s = os.stat("of/" + name)
    got = oct(s.st_mode & 0o777), s.st_uid
    assert got == (("0o600", 1002) if kind == "owner" else ("0o644", 0)), (name, got)
    with open("of/" + name, "rb" if name != "pipe" else "rb+", 0) as f:
        if name != "pipe":
            assert len(f.read()) == sizes[name] + (name == "longer")
            os.pwrite(fd, b"EVIL", 0)
            can += [name] * (os.pread(f.fileno(), 4, 0) == b"EVIL")
        else:
            f.write(b"hers")
            try:
                can += [name] * (os.read(fd, 4) == b"hers")
            except BlockingIOError:
                pass
before = {n: os.stat("of/" + n).st_ctime_ns for n in opened}
again = subprocess.run([ctl, "import", "../open.tar", "."], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
touched = [n for n in opened if os.stat("of/" + n).st_ctime_ns != before[n]]
print(run.returncode, again.returncode, "can write to:", *can, "touched by the second import:", *touched)
P
for kind in owner mode; do
    python3 - $kind <<'P'
import io, sys, tarfile
owner, mode = (1002, 0o600) if sys.argv[1] == "owner" else (0, 0o644)
with tarfile.open("open.tar", "w", format=tarfile.GNU_FORMAT) as t:
    for name, size in (("diary", 0), ("tool", 17), ("large", 9 << 20), ("longer", (9 << 20) + 1), ("pipe", -1)):
        i = tarfile.TarInfo("of/" + name)
        i.uid = i.gid = owner
        i.mode, i.mtime, i.size = mode, 1700000000, max(size, 0)
        i.type = tarfile.FIFOTYPE if size < 0 else tarfile.REGTYPE
        t.addfile(i, io.BytesIO(b"x" * i.size))
P
    rm -rf mnt/*
    check_equal "another $kind for what somebody has open: he has it open no more" "0 0 can write to: touched by the second import:" \
        "$(timeout 60 python3 open.py "$CTL" "$WORK/mnt" $kind 2>&1)"
done

# ---- the names that are to come: bob knows the number of the process, and makes a thousand of them where only their owners can remove them
rm -rf mnt/* && mkdir mnt/shared many && chmod 1777 mnt/shared
head -c 9000000 /dev/zero >many/large && echo small >many/small && ln many/small many/second && mkfifo many/pipe
tar -C many -cf many.tar .
taken() { # what came of the import
    sh -c 'P=$$
        setpriv --reuid '$BOB' --regid '$BOB' --clear-groups sh -c "cd mnt/shared && seq -f .engramctl-$P-%g.part 0 1000 | xargs touch"
        exec "$0" import many.tar mnt/shared' "$CTL" 2>taken.said | sed 's/; in .*//'
    find mnt/shared -type f -user $BOB | wc -l
}
for round in new "as they were"; do
    check_equal "bob has the names of the import: all is put ($round)" "imported 2 files, 0 directories, 1 others, 1 hard links; 0 failed 1001" "$(taken | xargs)"
    rm -f mnt/shared/.engramctl-*
done
for name in large small second; do echo other >mnt/shared/other && mv mnt/shared/other mnt/shared/$name; done
check_equal "  and replaced" "imported 2 files, 0 directories, 1 others, 1 hard links; 0 failed 1001" "$(taken | xargs)"

# ---- what bob gives to be imported is a link to what is root's
rm -rf mnt/* && mkdir -m 700 private && mkdir gift private/folder && chown $BOB gift && mkdir mnt/gift
echo '{"id":"secret","content":"root'"'"'s"}' >private/lines && echo "root's" >private/folder/secret && tar -C private/folder -cf private/a.tar secret
setpriv --reuid $BOB --regid $BOB --clear-groups sh -c "cd gift && ln -s ../private/lines lines && ln -s ../private/a.tar a.tar &&
    ln -s ../private/folder folder && mkdir his && echo '{\"id\":\"his\",\"content\":\"his\"}' >his/lines && ln -s his/lines own && ln -s ../private up"
for source in lines a.tar folder up/lines; do
    check_equal "a source that is a link of his: $source" "2 1 0" "$("$CTL" import gift/$source mnt/gift >gift.said 2>&1; echo "$?" \
        "$(grep -c "a link of somebody else's leads to what is not his" gift.said)" "$(find mnt/gift -type f | wc -l)")"
done
check "one that leads to what is his is followed" "$CTL" import gift/own mnt/gift
check "and root's own" sh -c "ln -s ../private/lines private/link && '$CTL' import private/link mnt/gift && '$CTL' import /dev/stdin mnt/gift <private/lines"
check "a pipe that is named" bash -c "'$CTL' import <(cat private/lines) mnt/gift"
check_equal "one that is not there: no store is made" "2 0" "$("$CTL" import gift/none none >/dev/null 2>&1; echo "$?" "$(find . -maxdepth 1 -name none | wc -l)")"

# ---- a file that is cut while it is read: an export has the old one or the new one, or says what it has
if cc -shared -fPIC -Wall -Werror -o cut.so "$ROOT/tests/ops/cut_shim.c" -ldl; then
    mkdir mnt/cut
    cut_at() { # FORMAT AT TIME [NAME]: exports a file of 20 MB that is cut then: what was said, and what is there
        rm -rf out && mkdir out
        head -c 20000000 /dev/zero | tr '\0' o >mnt/cut/big
        env "LD_PRELOAD=$WORK/cut.so" "CUT_FILE=$WORK/mnt/cut/big" CUT_AT="$2" CUT_TIME="$3" \
            timeout 60 "$CTL" export --format "$1" mnt/cut out/got >cut.said 2>&1
        echo "$?" "$(grep -o 'big: .*' cut.said)" "$(case $1 in
            tree) cat out/got/big ;;
            tar) tar -xOf out/got big ;;
            jsonl) python3 -c 'import json; print(json.load(open("out/got"))["content"], end="")' ;;
            esac | tr '\0' 0 | python3 -c 'import itertools, sys; print(*(f"{k}*{len(list(g))}" for k, g in itertools.groupby(sys.stdin.read())))')"
    }
    NEW="0  n*1 e*1 w*1"
    for format in tree tar jsonl; do
        check_equal "as $format: cut while it is read first: the new one" "$NEW" "$(cut_at $format 8388608 1)"
    done
    check_equal "as tar: cut while it is written: told from where on" \
        "1 big: was cut while it was read: what follows byte 8388608 is zeros o*8388608 0*11611392" "$(cut_at tar 8388608 2)"
    check_equal "  and not told of what is whole" "0  o*20000000" "$(cut_at tar 8388608 3)"
    # an export that is killed leaves nothing, and what was there
    for format in tar jsonl; do
        rm -rf out && mkdir out && echo before >out/got
        head -c 20000000 /dev/zero | tr '\0' o >mnt/cut/big
        env "LD_PRELOAD=$WORK/cut.so" CUT_AT=8388608 CUT_TIME=1 timeout 60 "$CTL" export --format $format mnt/cut out/got >/dev/null 2>&1
        check_equal "killed in the midst of $format: nothing is left" "137 got before" "$? $(find out -mindepth 1 -printf '%f\n' | sort | xargs) $(cat out/got)"
        check "  the next one takes its place" "$CTL" export --format $format mnt/cut out/got
        check_equal "  alone" "got 600" "$(find out -mindepth 1 -printf '%f\n' | sort | xargs) $(stat -c %a out/got)"
    done
    if cc -shared -fPIC -Wall -Werror -o names.so "$ROOT/tests/ops/names_shim.c" -ldl; then
        check "and where no file is without a name" env "LD_PRELOAD=$WORK/names.so" NAMES_SHIM=old "$CTL" export --format tar mnt/cut out/got
        check_equal "  it takes its place alone" "got 600 big" "$(find out -mindepth 1 -printf '%f\n' | sort | xargs) $(stat -c %a out/got) $(tar -tf out/got | grep -o big)"
    fi
    # an import that has compared the beginning of a large one, and copies it
    mkdir more
    head -c 9000000 /dev/zero | tr '\0' o >mnt/cut/big
    cp mnt/cut/big more/big && echo more >>more/big
    touch -d @1700000000 more/big mnt/cut/big && chown 0:0 mnt/cut/big && chmod 644 mnt/cut/big more/big
    check_equal "cut when the import has compared it: told" "1 1 new" \
        "$(env "LD_PRELOAD=$WORK/cut.so" "CUT_FILE=$WORK/mnt/cut/big" CUT_AT=1048576 CUT_TIME=2 timeout 60 "$CTL" import --format tree more mnt/cut >cut.said 2>&1
            echo "$?" "$(grep -c 'big: somebody has put' cut.said)" "$(cat mnt/cut/big)")"
else
    skip "a file that is cut" "no compiler"
fi
check "unmount" unmount_store "$WORK/mnt"
t_end
