#!/usr/bin/env bash
# Commands of same.txt, each run in equal trees on a mount and on the host's file system: exit status, output and the tree
# afterwards must be the same.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../../lib.sh"
t_begin "$@"
t_needs python3 setfattr getfattr git tar cpio patch ed perl
if [ "$(id -u)" -ne 0 ]; then
    skip "programs_same" "not root: owners and devices are among what is compared"
    exit 0
fi
STORE=$WORK/store MNT=$WORK/mnt REF=$WORK/ref TREE=$WORK/tree
must_mount "$STORE" "$MNT" -o dev,suid
mkdir -p "$REF" "$TREE/sub/deep" "$TREE/empty"
(cd "$TREE" || exit 1
    seq -f 'line %g of a memory' 40 >text
    ln text other
    echo "a line in sub" >sub/file
    echo leaf >sub/deep/leaf
    ln -s ../sub sub/up
    python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(1).randbytes(20000))' >bin
    truncate -s 300000 sparse
    printf island | dd of=sparse bs=1 seek=200000 conv=notrunc status=none
    # shellcheck disable=SC2016
    printf '#!/bin/sh\necho "ran $1"\nexit 3\n' >script
    chmod 755 script
    ln -s text soft
    ln -s missing dangling
    ln -s loop loop
    mkfifo fifo
    echo odd >'odd name'
    find . -depth -exec touch -h -d '2021-03-04 05:06:07.123456789 UTC' {} +) || exit 1
if ! setfattr -n user.probe -v 1 "$TREE/empty" 2>/dev/null; then
    skip "programs_same" "no user xattrs on ${TMPDIR:-/tmp}, with which to compare"
    exit 0
fi
setfattr -x user.probe "$TREE/empty"

cat >"$WORK/there.py" <<'P'
"""What is in a tree: sizes of folders, blocks and times of now are not compared."""
import hashlib, os, stat, sys
rows, first = [], {}
for folder, dirs, files in os.walk(b"."):
    dirs.sort(); files.sort()
    for name in [b"."] * (folder == b".") + dirs + files:
        path = os.path.join(folder, name)
        st = os.lstat(path)
        row = [path, stat.filemode(st.st_mode), oct(st.st_mode), st.st_nlink, st.st_uid, st.st_gid]
        row.append(st.st_mtime_ns if st.st_mtime < 1.7e9 else "now")
        row.append(first.setdefault(st.st_ino, path) if st.st_nlink > 1 and not stat.S_ISDIR(st.st_mode) else "")
        row.append([(x, os.getxattr(path, x, follow_symlinks=False)) for x in sorted(os.listxattr(path, follow_symlinks=False))])
        if stat.S_ISREG(st.st_mode):
            row += [st.st_size, hashlib.sha256(open(path, "rb").read(1 << 24)).hexdigest()]
        elif stat.S_ISLNK(st.st_mode):
            row += [st.st_size, os.readlink(path)]
        elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
            row.append(st.st_rdev)
        rows.append(row)
for row in sorted(rows):
    print(*row)
P
there() { (cd "$1" && python3 "$WORK/there.py"); }
run_in() { # FOLDER COMMAND: prints all that is compared; names of temporary files and the folder's own are made equal
    rm -rf "$1/x" && cp -a "$TREE" "$1/x" && cd "$1/x" || return 1
    timeout 60 bash -c "$2" >"$WORK/said" 2>&1 </dev/null
    echo "exit status $?" | tee "$WORK/status"
    sed -e "s|$1|HERE|g" -e 's/tmp\.[A-Za-z0-9]*/TMP/g' "$WORK/said"
    there . | sed -e 's/tmp\.[A-Za-z0-9]*/TMP/g' | sort
    cd /
}
n=0
while IFS= read -r command; do
    case $command in '#'* | '') continue ;; esac
    while ! bash -n <<<"$command" 2>/dev/null && IFS= read -r more; do command+=$'\n'$more; done # a string over several lines
    run_in "$REF" "$command" >"$WORK/on.ref" 2>&1
    run_in "$MNT" "$command" >"$WORK/on.mnt" 2>&1
    n=$((n + 1))
    name=${command%%$'\n'*}
    name=${name:0:100}
    if grep -q 124 "$WORK/status"; then
        not_ok "$name" "it hangs"
    elif cmp -s "$WORK/on.ref" "$WORK/on.mnt"; then
        ok "$name"
    else
        not_ok "$name" "$(diff "$WORK/on.ref" "$WORK/on.mnt" | head -n "${SHOW:-4}" | tr '\n' ';')"
    fi
done <"$T_LIB/mount/programs/same.txt"
check "all commands were run" test "$n" -ge 60
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
