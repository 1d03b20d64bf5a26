#!/usr/bin/env bash
# whole.sh - what an import or an export puts there appears whole: a second process looks at each new name all the time, and fails
# if one has not its content, its fields, its owner, its mode and its time.
#
#   tests/ops/whole.sh [BUILD]      CTL_OLD=engramctl: shows what that one does instead
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 tar setfattr
if [ "$(id -u)" -ne 0 ]; then
    skip whole "not root: owners are part of what is looked at"
    exit 0
fi
CTL=${CTL_OLD-$CTL}
N=1500
cd "$WORK" || exit 1
SHIM=
cc -shared -fPIC -Wall -Werror -o names.so "$ROOT/tests/ops/names_shim.c" -ldl && SHIM=$WORK/names.so
must_mount "$WORK/store" "$WORK/mnt"

# The memories: a name says what the content is. Some are links and pipes.
python3 - "$N" <<'P'
import json, os, sys
os.mkdir("src")
lines = open("lines.jsonl", "w")
for i in range(int(sys.argv[1])):
    name, text = f"m{i:05}", f"m{i:05}" * 400
    path = "src/" + name
    if i % 20 == 7:
        os.symlink(name, path)
    elif i % 20 == 8:
        os.mkfifo(path)
        os.chmod(path, 0o640)
    else:
        with open(path, "w") as f:
            f.write(text)
        for k in ("agent", "note", "source"):
            os.setxattr(path, "user." + k, name.encode())
        os.chmod(path, 0o640)
        lines.write(json.dumps({"id": name, "content": text, "created_at": "2001-09-09T01:46:40Z",
                                "agent": name, "note": name, "source": name}) + "\n")
    os.chown(path, 1003, 1003, follow_symlinks=False)
    os.utime(path, (1e9, 1e9), follow_symlinks=False)
P
cat >watch.py <<'P'
# watch.py FOLDER OWNER MODE READY STOP: how many names it saw in how many looks, or the first that was not whole.
import os, stat, sys
folder, owner, mode, ready, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3], 8), sys.argv[4], sys.argv[5]
def half(name):
    path = f"{folder}/{name}"
    st = os.lstat(path)
    if (st.st_uid, st.st_gid) != (owner, owner):
        return f"belongs to {st.st_uid}"
    if not stat.S_ISLNK(st.st_mode) and stat.S_IMODE(st.st_mode) != mode:
        return f"has mode {st.st_mode:o}"
    if st.st_mtime != 1e9:
        return f"is of {st.st_mtime}"
    if stat.S_ISREG(st.st_mode):
        if open(path).read() != name * 400:
            return f"has {os.stat(path).st_size} bytes"
        if any(os.getxattr(path, "user." + k) not in (name.encode(), f'"{name}"'.encode()) for k in ("agent", "note", "source")):
            return "has other fields"
seen, looks = set(), 0
open(ready, "w").close()
while True:
    last = os.path.exists(stop)
    new = [n for n in os.listdir(folder) if n not in seen and not n.startswith(".engramctl-")]
    looks += bool(new)
    for name in new:
        try:
            why = half(name)
        except OSError as e:
            why = str(e)
        if why:
            sys.exit(f"{name} {why}")
        seen.add(name)
    if last:
        break
print(len(seen), looks)
P
# watched NAME FOLDER OWNER MODE WANTED COMMAND...: and it was looked at in the midst
watched() {
    local name=$1 folder=$2 owner=$3 mode=$4 wanted=$5 n looks
    shift 5
    rm -f ready stop
    mkdir -p "$folder"
    timeout 120 python3 watch.py "$folder" "$owner" "$mode" ready stop >seen 2>&1 &
    local watcher=$!
    wait_until 20 test -e ready
    check "$name" timeout 120 "$@"
    touch stop
    wait $watcher
    check_equal "  no reader saw half a memory" "0 " "$? $(grep -v '^[0-9]* [0-9]*$' seen)"
    read -r n looks <seen
    check_equal "  but all of them" "$wanted" "$n"
    check "  in many looks ($looks)" test "${looks:-0}" -ge 3
}
tar -C src --xattrs -cf src.tar .
# shellcheck disable=SC2012
FILES=$(wc -l <lines.jsonl)
# what it takes: a file is not asked for its attributes after each write of its content
getattrs() { awk '/^engram_fuse_requests_total{op="getattr"}/ {print int($2)}' mnt/.engram/metrics; }
mkdir plain mnt/plain
(cd plain && for i in $(seq 400); do echo "$i" >"p$i"; done)
tar -C plain -cf plain.tar .
before=$(getattrs)
check "400 small files" "$CTL" import --format tar plain.tar mnt/plain
asked=$(($(getattrs) - before))
check "  with at most 2.5 questions for attributes each ($asked)" test "$asked" -le 1000
watched "a tar into a mount" mnt/tar 1003 640 "$N" "$CTL" import --format tar src.tar mnt/tar
watched "a tree into a mount" mnt/tree 1003 640 "$N" "$CTL" import --format tree src mnt/tree
(umask 027 && watched "lines into a mount" mnt/lines 0 640 "$FILES" "$CTL" import lines.jsonl mnt/lines)
mkdir out && setfattr -n user.x -v x out 2>/dev/null &&
    watched "a tree out of a mount" out 1003 640 "$N" "$CTL" export --format tree mnt/tree out
if [ -n "$SHIM" ]; then
    for word in old pause; do
        watched "a tar into a mount ($word)" "mnt/tar-$word" 1003 640 "$N" env "LD_PRELOAD=$SHIM" "NAMES_SHIM=$word" \
            "$CTL" import --format tar src.tar "mnt/tar-$word"
        check_equal "  nothing else is left there" "" "$(find "mnt/tar-$word" -name '.engramctl-*')"
    done
    # a name that is there already stays what it is if it is the same, and is replaced if not
    echo other >mnt/tar-old/m00001
    head -c 9000000 /dev/zero | tr '\0' x >large && tar -cf large.tar large
    before=$(stat -c '%i %Z' mnt/tar-old/m00002)
    check "once more" env "LD_PRELOAD=$SHIM" NAMES_SHIM=old "$CTL" import --format tar src.tar mnt/tar-old
    check_equal "  what is the same is not touched" "$before" "$(stat -c '%i %Z' mnt/tar-old/m00002)"
    check "  what is not, is replaced" cmp src/m00001 mnt/tar-old/m00001
    # no other import takes a file of this one for one that is left over, until it has its name
    mkdir mnt/locks
    for archive in src large; do
        rm -f locks
        check "with locks, $archive" env "LD_PRELOAD=$SHIM" NAMES_SHIM=old "NAMES_LOCKS=$WORK/locks" \
            "$CTL" import --format tar $archive.tar mnt/locks
        check_equal "  each is locked until it has its name" locked "$(sort -u locks | xargs)"
    done
else
    skip "file systems that know less" "no compiler"
fi
check "unmount" unmount_store "$WORK/mnt"
t_end
