#!/usr/bin/env bash
# foreign.sh - somebody has mounted a file system of his own in his folder of the mount, or over a file of his: root's export and
# import leave that out, say so, and do all the rest. An export that cannot know what is missing leaves the last good one alone.
#
#   tests/ops/foreign.sh [BUILD]      CTL_OLD=engramctl: shows what that one does instead
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 tar
if [ "$(id -u)" -ne 0 ]; then
    skip foreign "not root: root's export is what this is about"
    exit 0
fi
CTL=${CTL_OLD-$CTL}
cd "$WORK" || exit 1
if ! cc -Wall -Werror -o liar "$ROOT/tests/ops/liar.c" ||
    ! cc -shared -fPIC -Wall -Werror -o names.so "$ROOT/tests/ops/names_shim.c" -ldl; then
    skip foreign "no compiler"
    exit 0
fi
ctl() { timeout 60 "$CTL" "$@"; }
PLACES=() LIARS=()
liar() { # PLACE ERRNO|cut [others]: as liar.c says
    "$WORK/liar" "$@" &
    LIARS+=($!)
    PLACES+=("$1")
    wait_until 20 grep -q " $WORK/$1 fuse " /proc/self/mounts
}
no_liars() {
    local place
    for place in "${PLACES[@]}"; do umount -l "$place"; done
    PLACES=() LIARS=()
}

# ---- 60 notes after bob's folder, a file of his, and one more behind each
must_mount "$WORK/store" "$WORK/mnt" -o allow_other
mkdir mnt/a mnt/bob mnt/z
echo "bob's own" >mnt/bob/note
echo "bob's too" >mnt/bobs-file
for i in $(seq 60); do echo "note $i" >"mnt/z/n$i"; done
echo first >mnt/a/first
chown -R 65534:65534 mnt/bob mnt/bobs-file

names() { # FORMAT OUT: the memories in it
    case $1 in
    jsonl) python3 -c 'import json, sys; print("\n".join(json.loads(l)["id"] for l in open(sys.argv[1])))' "$2" ;;
    tar) tar tf "$2" | grep -v '/$' ;;
    tree) (cd "$2" && find . -type f -printf '%P\n') ;;
    esac | sort
}
all=$(cd mnt && find . -name .engram -prune -o -type f -printf '%P\n' | sort)
rest=$(grep -v bob <<<"$all")
export_of() { # FORMAT: exports to out.FORMAT; its status and what it said in out.status, out.said
    ctl export --format "$1" mnt "out.$1" >out.said 2>&1
    echo $? >out.status
}
for format in jsonl tar tree; do
    export_of $format
    check_equal "$format: all of it" "0 $(md5sum <<<"$all")" "$(cat out.status) $(names $format out.$format | md5sum)"
done

without_bob() { # LABEL WHY: whatever bob mounts, the rest is exported, and what is not is named with WHY
    local format
    for format in jsonl tar tree; do
        rm -rf out.tree
        export_of $format
        check_equal "$format, $1: the rest is there" "1 $(md5sum <<<"$rest")" \
            "$(cat out.status) $(names $format out.$format | md5sum)"
        check_equal "  the folder is named as one" 1 "$(grep -c "^bob: $2; a folder, left out with all in it" out.said)"
        check_equal "  and the file" 1 "$(grep -c "^bobs-file: $2\$" out.said)"
        check_equal "  and counted" 1 "$(grep -c '2 .*, of that 1 folders' out.said)"
    done
}
other="something else is mounted there"
liar mnt/bob 5
liar mnt/bobs-file 5
without_bob "for himself" "$other"
check_equal "in JSON, too" "2 1" "$(ctl export --json mnt out.jsonl 2>/dev/null |
    python3 -c 'import json, sys; d = json.load(sys.stdin); print(d["failed"], d["folders_failed"])')"
# an import of the mount as a tree goes the same way
ctl import --format tree mnt copied >out.said 2>&1
check_equal "import --format tree of it" "1 1" "$? $(grep -c "^bob: $other; a folder" out.said)"
check_equal "  has the rest" "$(md5sum <<<"$rest")" "$(ctl export copied copied.jsonl 2>/dev/null; names jsonl copied.jsonl | md5sum)"
no_liars

# ---- what answers all of us, with an error of his choice: those that end an import if they are the target's own
python3 - <<'P'
import json, os
with open("lines.jsonl", "w") as f:
    for name in ["a/1", "bob/note", "bobs-file", "z/new1", "z/new2"]:
        f.write(json.dumps({"id": name, "content": "new"}) + "\n")
for d in ("a", "bob", "z"):
    os.makedirs("src/" + d)
for name in ("a/1", "bob/note", "bobs-file", "z/new1", "z/new2"):
    open("src/" + name, "w").write("new")
P
tar -C src --sort=name -cf lines.tar .
for error in 2 5 28 30 107; do # ENOENT EIO ENOSPC EROFS ENOTCONN
    liar mnt/bob $error others
    liar mnt/bobs-file $error others
    [ $error != 2 ] || without_bob "for all, error $error" "$other"
    sources=lines.jsonl
    [ $error != 5 ] || sources="lines.jsonl lines.tar src"
    for source in $sources; do
        rm -f mnt/a/1 mnt/z/new*
        ctl import "$source" mnt >out.said 2>&1
        check_equal "import of $source beside error $error" "1 3" "$? $(cat mnt/a/1 mnt/z/new1 mnt/z/new2 2>/dev/null | grep -o new | wc -l)"
        [ $error != 5 ] || check_equal "  and both are named with why" 1 "$(($(grep -c ": $other" out.said) >= 2))"
    done
    rm -f mnt/a/1 mnt/z/new*
    no_liars
done
# ---- what answers nobody: whoever asks it waits until it ends, not even kill -9 helps
silent() { # NAME COMMAND...: with no answer from bob's; the exit status, and how often he was asked
    local name=$1 pid
    shift
    : >asked
    "${shim[@]}" timeout 60 "$CTL" "$@" >out.said 2>&1 &
    pid=$!
    wait_until 20 sh -c "! kill -0 $pid" || { not_ok "$name" "it waits for him: $(head -n 1 asked)" && kill -KILL "${LIARS[@]}" && no_liars; }
    wait $pid
    answer="$? $(wc -l <asked)"
}
for openat2 in with without; do
    shim=()
    [ $openat2 = with ] || shim=(env "LD_PRELOAD=$WORK/names.so" NAMES_SHIM=no_openat2)
    for command in "export mnt out.jsonl" "export mnt out.tar" "export --format tree mnt out.tree" "import lines.jsonl mnt" \
        "import lines.tar mnt" "import --format tree src mnt" "import --format tree mnt out.store"; do
        rm -rf out.tree out.store
        [ ${#PLACES[@]} != 0 ] || { liar mnt/bob silent others 2>>asked && liar mnt/bobs-file silent others 2>>asked; }
        # shellcheck disable=SC2086
        silent "$command" $command
        check_equal "$command beside what never answers, $openat2 openat2" "1 0 1" "$answer $(($(grep -c ": $other" out.said) >= 2))"
    done
done
rm -f mnt/a/1 mnt/z/new*
no_liars
check_equal "what was beneath it is as it was" "bob's own bob's too" "$(cat mnt/bob/note mnt/bobs-file | xargs -d '\n')"

# ---- in a plain tree, too: whose it is is known before he is asked
mkdir planted planted/m planted/z
for i in $(seq 20); do echo "$i" >"planted/z/$i"; done
echo "root's" >planted/file
left_of() { # COMMAND: how many memories its output has
    local out=${1##* }
    [ "$out" != out.store ] || { out=out.jsonl && "$CTL" export out.store out.jsonl >/dev/null 2>&1; }
    names "${out#out.}" "$out" | wc -l
}
users="another user has mounted something there (--trust takes it over)"
shim=()
for what in silent 2; do # 2: ENOENT, as if nothing were there
    for command in "export --tree planted out.jsonl" "export --tree planted out.tar" "export --tree --format tree planted out.tree" \
        "import --format tree planted out.store"; do
        rm -rf out.*
        [ ${#PLACES[@]} != 0 ] || { liar planted/m $what others 2>>asked && liar planted/file $what others 2>>asked; }
        # shellcheck disable=SC2086
        silent "$command" $command
        check_equal "$command beside bob's, $what: all else is taken, and that is told" "1 0 1 1 20" "$answer \
$(grep -c "^m: $users; a folder, left out with all in it" out.said) $(grep -c "^file: $users" out.said) $(left_of "$command")"
    done
    no_liars
done

# ---- a lease of bob's on a file of his own keeps nobody
mkdir leased && echo 1 >leased/a && echo 2 >leased/b && chown nobody leased/b
# shellcheck disable=SC2016  # Python
python3 -c 'import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open("leased/b", os.O_RDWR)
os.setuid(int(sys.argv[1]))
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
signal.pause()' "$(id -u nobody)" &
HOLDER=$!
has_lease() { grep -q "LEASE *ACTIVE *WRITE $HOLDER " /proc/locks; }
if wait_until 20 has_lease; then
    silent "a file that bob has a lease on" export --tree leased out.jsonl
    check_equal "a file that bob has a lease on is told, and nobody waits" "1 0 1 1" \
        "$answer $(grep -c '^b: ' out.said) $(names jsonl out.jsonl | wc -l)"
else
    skip "a file that bob has a lease on" "no leases here"
fi
kill -KILL "$HOLDER" && wait "$HOLDER" 2>/dev/null

# ---- nor does what is mounted in the folder of a store of root's
ctl import --format tree planted stored >/dev/null 2>&1
mkdir stored/x
liar stored/x silent others 2>>asked
silent "export of a store with bob's mount in its folder" export stored out.jsonl
check_equal "export of a store with bob's mount in its folder: he is not asked" 0 "${answer#* }"

no_liars

# ---- a listing that breaks off: nobody knows what is missing. Of a plain tree, whose mounts are part of it, with --trust all
mkdir plain plain/m plain/z
for i in $(seq 20); do echo "$i" >"plain/z/$i"; done
for format in jsonl tar; do
    rm -f plain.out*
    ctl export --trust --tree --format $format plain plain.out >/dev/null 2>&1
    before=$(md5sum plain.out)
    liar plain/m cut others
    ctl export --trust --tree --format $format plain plain.out >out.said 2>&1
    check_equal "$format, cut: the last good one stays" "2 $before" "$? $(md5sum plain.out)"
    check_equal "  that is told" "1 1" "$(grep -c '^m: Input/output error; a folder, not listed to its end' out.said) \
$(grep -c 'plain.out was not touched.*plain.out.incomplete' out.said)"
    check_equal "  what could be read is beside it" 21 "$(names $format plain.out.incomplete | wc -l)"
    check_equal "  for its owner alone" "600" "$(stat -c %a plain.out.incomplete)"
    ctl export --trust --tree --format $format plain - >out.stream 2>out.said
    check_equal "  a stream says so in the end" "2 1" "$? $(grep -c 'standard output is not whole' out.said)"
    no_liars
    check "  then all is well again" ctl export --trust --tree --format $format plain plain.out
done
liar plain/m cut others
ctl export --trust --tree --format tree plain plain.tree >out.said 2>&1
check_equal "tree, cut" "2 1" "$? $(grep -c 'plain.tree is not whole' out.said)"
ctl import --trust --format tree plain plain.store >out.said 2>&1
check_equal "import of what is cut" "1 1" "$? $(grep -c '^m: .*not listed to its end' out.said)"
no_liars

# ---- the daemon dies in the middle: that is no export
rm -rf mnt/* && for i in $(seq 300); do head -c 250000 /dev/urandom >"mnt/n$i"; done
for format in jsonl tar; do
    echo "the last good one" >last
    died=
    for _ in $(seq 5); do
        timeout 60 "$CTL" export --format $format mnt last >out.said 2>&1 &
        export=$!
        # which has no name yet
        until [ -n "$(find -L "/proc/$(pgrep -P $export || echo none)/fd" -type f -size +1023k 2>/dev/null)" ] || ! kill -0 $export 2>/dev/null; do :; done
        daemons_under "$WORK" | xargs -r kill -KILL
        wait $export
        status=$?
        umount -l mnt
        must_mount "$WORK/store" "$WORK/mnt" -o allow_other
        [ $status = 0 ] || { died=1 && break; }
    done
    check_equal "$format: the daemon dies" "1 2 the last good one" "$died $status $(head -c 100 last | tr -d '\0')"
    check_equal "  that is told" 1 "$(grep -c '^engramctl: mnt: ' out.said)"
    check_equal "  and nothing is left" "" "$(find . -name "last.*")"
done
# and an import ends when it is the target that answers no more, not one name of it
mkfifo feed
timeout 60 "$CTL" import - mnt <feed >out.said 2>&1 &
import=$!
exec 5>feed
cat lines.jsonl >&5
wait_until 20 test -d mnt/a # made for its first line
daemons_under "$WORK" | xargs -r kill -KILL
exec 5>&-
wait $import
check_equal "an import whose daemon dies ends" "2" "$?"
umount -l mnt
must_mount "$WORK/store" "$WORK/mnt" -o allow_other
check "unmount" unmount_store "$WORK/mnt"

# ---- he says of what he has mounted that it is root's, and set-user-ID: root takes that bit not over
if ! cc -Wall -Werror -o mirror "$ROOT/tests/ops/mirror.c"; then
    skip "what he says of his mount" "no compiler"
    t_end
    exit
fi
mkdir -p said theirs
echo program >said/rootid && chmod 4755 said/rootid
check "a store of root's with the same" ctl import --format tree said roots
mv roots said/store
mirror() { # SOURCE [PLACE [UID]]: mounted on `theirs` in the name of nobody; shows what is in `said` as root's
    "$WORK/mirror" "$WORK/${2-theirs}" "${3-65534}" "$1" "$WORK/said" &
    wait_until 20 mountpoint -q "${2-theirs}"
}
enter() { :; }
not_taken() { # WHAT ARGUMENT...: an import or export by root to `taken`, which leaves the bit out and tells it
    local what=$1
    shift
    rm -rf taken taken.out
    (enter && timeout 60 "$CTL" "$@") >said.out 2>&1
    check_equal "$what: exit status" 1 $?
    check "$what: it is told" grep -q "rootid.*set-ID" said.out
    [ "$1" != import ] || ctl export --format tree taken taken.out >/dev/null 2>&1
    check_equal "$what: the program is not root's" "755" "$(stat -c %a taken*/rootid)"
}
for source in honest user_id=0 "x,user_id=0 - ext4 y rw,user_id=0"; do
    mirror "$source"
    not_taken "mounted as '$source'" import --format tree theirs "$WORK/taken"
    not_taken "a store there, mounted as '$source'" export --format tree theirs/store "$WORK/taken"
    umount theirs
done
mirror honest
must_mount "$WORK/theirs/store" "$WORK/mnt" -o ro
not_taken "a store there, mounted by root" export --format tree mnt "$WORK/taken"
check "unmount it" unmount_store "$WORK/mnt"
enter() { cd theirs && umount -l "$WORK/theirs" && ! grep "$WORK/theirs" /proc/self/mountinfo; }
not_taken "taken away, and in use still" import --format tree . "$WORK/taken"
# the same in a tree of root's
mkdir -p tree/hers tree/roots tree/plain tree/z
mount -t tmpfs -o size=1m none tree/plain
mkdir tree/plain/d && echo 1 >tree/plain/d/one && echo 2 >tree/plain/two && echo 3 >tree/z/three
mirror honest tree/hers
mirror honest tree/roots 0
ALL="hers plain plain/d plain/d/one plain/two roots roots/rootid z z/three"
tree_of() { (cd taken.out && find . -mindepth 1 -not -path '*/store*' -printf '%P\n' | sort | xargs); }
rm -rf taken taken.out
ctl import --format tree tree taken >said.out 2>&1
check_equal "mounted in a tree: exit status" 1 $?
check "mounted in a tree: it is told" grep -q "^hers: $users" said.out
ctl export --format tree taken taken.out >/dev/null 2>&1
check_equal "mounted in a tree: all else is taken" "${ALL#hers }" "$(tree_of)"
check "  as an archive" sh -c "'$CTL' export --tree --format tar tree tree.tar; tar tf tree.tar | grep -c -e hers/ -e roots/rootid | grep -qx 1"
rm -rf taken taken.out
check "mounted in a tree, with --trust" ctl import --trust --format tree tree taken
ctl export --format tree taken taken.out >/dev/null 2>&1
check_equal "  all is taken" "${ALL/ plain/ hers\/rootid plain}" "$(tree_of)"
umount tree/hers tree/roots tree/plain
t_end
