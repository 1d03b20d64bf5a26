#!/usr/bin/env bash
# repair.sh - engramctl check --repair: what can be read of a damaged store comes into a new one, and the old one stays as it is.
#
#   tests/mount/repair.sh [BUILD]
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3

store_digest() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum); }

# 300 memories in folders, closed; then 30 more and a kill -9, so that there is a log behind the checkpoint.
make_store() { # STORE
    local mnt=$WORK/mnt i
    mkdir -p "$1"
    must_mount "$1" "$mnt" -o segment_size=256k
    mkdir "$mnt/early" "$mnt/late"
    for i in $(seq 300); do head -c $((i * 7)) /dev/zero | tr '\0' "$(printf '%b' "\\$(printf %o $((97 + i % 26)))")" >"$mnt/early/$i"; done
    head -c 100000 "$BUILD/fs/engramfs" >"$mnt/early/big"
    setfattr -n user.engram.confidence -v 0.5 "$mnt/early/1"
    ln "$mnt/early/1" "$mnt/early/one"
    ln -s early/1 "$mnt/sym"
    unmount_store "$mnt" || return 1
    must_mount "$1" "$mnt" -o segment_size=256k
    for i in $(seq 30); do echo "late memory $i" >"$mnt/late/$i"; done
    sync -d "$mnt/late/30"
    echo last >"$mnt/late/last" # says that those before are durable
    kill_daemon "$mnt"
}

flip() { # FILE OFFSET
    python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2])); b = f.read(1); f.seek(int(sys.argv[2])); f.write(bytes([b[0] ^ 1]))' "$1" "$2"
}
offset_of() { grep -obUaF -m1 -- "$2" "$1" | head -n 1 | cut -d : -f 1; } # FILE TEXT
segment_with() { grep -lF -- "$2" "$1"/*.seg | head -n 1; }

make_store "$WORK/whole" || { not_ok "a store to damage"; t_end; }
"$CTL" export --format tree "$WORK/whole" "$WORK/expect" 2>/dev/null

# ---- nothing is damaged
out=$("$CTL" check --repair --into "$WORK/same" "$WORK/whole" 2>"$WORK/err")
check_equal "a whole store is repaired to one like it" "$?" 0
check "and nothing is given up" grep -q "^all: .* given up: 0 batches" <<<"$out"
"$CTL" export --format tree "$WORK/same" "$WORK/got" 2>/dev/null
check_equal "names, modes, times and content are equal" "$(tree_digest "$WORK/got")" "$(tree_digest "$WORK/expect")"
check "it is clean" "$CTL" check "$WORK/same"

# ---- content
cp -a "$WORK/whole" "$WORK/content"
SEG=$(segment_with "$WORK/content" "late memory 7")
flip "$SEG" $(($(offset_of "$SEG" "late memory 7") + 3))
before=$(store_digest "$WORK/content")
check_fails "check tells of damaged content" "late/7" "$CTL" check "$WORK/content"
out=$("$CTL" check --repair --into "$WORK/content.new" "$WORK/content" 2>"$WORK/err")
check_equal "status 1: not all" "$?" 1
check "the summary says so" grep -q "^NOT ALL" <<<"$out"
check "what was lost is listed" grep -q "late/7: bytes 0 to 13 are lost" "$WORK/err"
check_equal "the damaged store is as it was" "$(store_digest "$WORK/content")" "$before"
check "the new one is clean" "$CTL" check "$WORK/content.new"
rm -rf "$WORK/got"
"$CTL" export --format tree "$WORK/content.new" "$WORK/got" 2>/dev/null
rm -rf "$WORK/got/lost+found" "$WORK/got/late/7"
cp -a "$WORK/expect" "$WORK/less" && rm "$WORK/less/late/7"
check_equal "all others are there" "$(content_digest "$WORK/got")" "$(content_digest "$WORK/less")"

# a large memory of which one block is damaged
damage_big() { # STORE
    python3 - "$1" "$WORK/expect/early/big" <<'P'
import glob, sys
text = open(sys.argv[2], "rb").read()[50000:50064]
for name in glob.glob(sys.argv[1] + "/*.seg"):
    data = open(name, "rb").read()
    at = data.find(text)
    if at >= 0:
        with open(name, "r+b") as f:
            f.seek(at); f.write(bytes([data[at] ^ 1]))
P
}
cp -a "$WORK/whole" "$WORK/block"
damage_big "$WORK/block"
"$CTL" check --repair --into "$WORK/block.new" "$WORK/block" >/dev/null 2>"$WORK/err"
check_equal "one block is lost" "$(grep -c 'early/big: bytes 49152 to 53247 are lost' "$WORK/err")" 1
rm -rf "$WORK/got"
"$CTL" export --format tree "$WORK/block.new" "$WORK/got" 2>/dev/null
PART=$(echo "$WORK"/got/lost+found/*.early_big)
check "all but that block is in lost+found" python3 -c '
import sys
a, b = open(sys.argv[1], "rb").read(), open(sys.argv[2], "rb").read()
assert len(a) == len(b) and a[:49152] == b[:49152] and a[53248:] == b[53248:] and a != b' "$WORK/expect/early/big" "$PART"
check "and not under its name" test ! -e "$WORK/got/early/big"

# ---- what others have prepared, and what an earlier repair has left
# STORE.new of a store in which somebody has made lost+found by the shell words given; NUMBER is that of the memory that is damaged.
prepared() { # STORE WORDS
    cp -a "$WORK/whole" "$1"
    must_mount "$1" "$WORK/mnt"
    chmod 600 "$WORK/mnt/early/big"
    (cd "$WORK/mnt" && NUMBER=$(stat -c %i early/big) sh -c "$2")
    unmount_store "$WORK/mnt" || return 1
    damage_big "$1"
    "$CTL" check --repair --into "$1.new" "$1" >"$WORK/out" 2>"$WORK/err"
    local status=$?
    check_equal "$(basename "$1"): status 1: not all" $status 1
    rm -rf "$WORK/got"
    "$CTL" export --format tree "$1.new" "$WORK/got" 2>/dev/null
    cmp -s -n 49152 "$WORK/expect/early/big" "$WORK"/got/lost+found.1/*.early_big ||
        not_ok "$(basename "$1"): what can be read is in a folder of its own" "$(ls "$WORK/got")"
    check_equal "$(basename "$1"): nobody else may look in there" "$(stat -c '%a %u' "$WORK/got/lost+found.1" "$WORK"/got/lost+found.1/* | xargs)" "700 0 600 0"
    check "$(basename "$1"): its name is told" grep -q 'bytes are in lost+found.1/.*early_big' "$WORK/err"
}
# shellcheck disable=SC2016
prepared "$WORK/stranger" 'mkdir -m 777 lost+found && echo mine >lost+found/$NUMBER.early_big && chmod 666 lost+found/* && chown -R 1000 lost+found'
check_equal "what a stranger has prepared stays his, with what he wrote" \
    "$(stat -c %u "$WORK"/got/lost+found/*.early_big) $(cat "$WORK"/got/lost+found/*.early_big)" "1000 mine"
# shellcheck disable=SC2016
prepared "$WORK/again" 'mkdir -m 700 lost+found && echo whole >lost+found/$NUMBER.early_big'
check_equal "a whole memory of an earlier repair is as it was" "$(cat "$WORK"/got/lost+found/*)" whole
prepared "$WORK/file" 'echo text >lost+found; chown 1000 lost+found'
check_equal "a file of that name is as it was" "$(cat "$WORK/got/lost+found")" text
# as long as there are such names
cp -a "$WORK/again" "$WORK/more"
must_mount "$WORK/more" "$WORK/mnt"
ln -s /etc "$WORK/mnt/lost+found.1" && mkfifo "$WORK/mnt/lost+found.2"
check "unmount" unmount_store "$WORK/mnt"
"$CTL" check --repair --into "$WORK/more.new" "$WORK/more" >"$WORK/out" 2>"$WORK/err"
check "nor do others: the next name that is free" grep -q 'bytes are in lost+found.3/' "$WORK/err"

# ---- the log, whose metadata is there twice
# Damage to the log alone costs nothing: the new store is like the one that was not damaged. Then the echo goes, too.
only_one_copy() { # NAME STORE UNDAMAGED-TREE
    check_equal "$1: there is a second copy" "$(find "$2" -name 'e*.log' | wc -l)" 1
    "$CTL" check --repair --into "$2.echo" "$2" >"$WORK/out" 2>"$WORK/err"
    check "$1: what the log lost comes from its second copy" grep -q "is taken from the log's second copy" "$WORK/err"
    check "$1: nothing is given up, or comes without its name" grep -q "in lost+found: 0 files in part, 0 pieces without a name; given up: 0 batches" "$WORK/out"
    rm -rf "$WORK/got"
    "$CTL" export --format tree "$2.echo" "$WORK/got" 2>/dev/null
    check_equal "$1: names, modes, times and content are equal" "$(tree_digest "$WORK/got")" "$(tree_digest "$3")"
    rm "$2"/e*.log
}
tree_of() { rm -rf "$2" && "$CTL" export --format tree "$1" "$2" 2>/dev/null; } # STORE FOLDER
cp -a "$WORK/whole" "$WORK/log"
SEG=$(segment_with "$WORK/log" "late memory 12")
# the batch before has its content there; what follows is the head of the next batch
flip "$SEG" $(($(offset_of "$SEG" "late memory 12") + 40))
"$CTL" check "$WORK/log" >"$WORK/out" 2>&1
check_equal "a check of a log damaged in its middle: status 1" $? 1
check "it tells of the batch that only the second copy has" grep -q "batch [0-9]* cannot be read; its second copy has it$" "$WORK/out"
only_one_copy "a log damaged in its middle" "$WORK/log" "$WORK/expect"
check_fails "a log damaged in its middle is refused without it" "damaged" "$CTL" check "$WORK/log"
out=$("$CTL" check --repair --into "$WORK/log.new" "$WORK/log" 2>"$WORK/err")
check_equal "but repaired, with status 1" "$?" 1
check "the new one is clean" "$CTL" check "$WORK/log.new"
rm -rf "$WORK/got"
"$CTL" export --format tree "$WORK/log.new" "$WORK/got" 2>/dev/null
check "what came before the damage has its name" grep -qx "late memory 11" "$WORK/got/late/11"
check_equal "what came behind it is in lost+found" "$(cat "$WORK"/got/lost+found/* | grep -c '^late memory \(2.\|30\)$')" 11
check_equal "all that is older is there" "$(content_digest "$WORK/got/early")" "$(content_digest "$WORK/expect/early")"

# a file of many pieces, which were written over each other, behind the damage
mkdir "$WORK/pieces"
must_mount "$WORK/pieces" "$WORK/mnt"
echo "before all" >"$WORK/mnt/first" && sync "$WORK/mnt/first"
python3 - "$WORK/mnt/many" "$WORK/many" <<'P'
import os, random, sys
random.seed(7)
want = bytearray(1 << 20)
f = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR, 0o600)
places = [(at, 4096) for at in range(0, len(want), 4096)]
places += [(random.randrange(len(want) - 70000), random.randrange(1, 70000)) for i in range(200)]
for at, n in places:
    data = random.randbytes(n)
    os.pwrite(f, data, at)
    want[at:at + n] = data
os.setxattr(f, "user.long", b"a value " * 100)
os.fsync(f)
open(sys.argv[2], "wb").write(want)
P
echo last >"$WORK/mnt/last" && sync "$WORK/mnt/last"
kill_daemon "$WORK/mnt"
tree_of "$WORK/pieces" "$WORK/pieces.tree"
SEG=$(segment_with "$WORK/pieces" "before all")
flip "$SEG" $(($(offset_of "$SEG" "before all") + 40))
only_one_copy "a file of many pieces" "$WORK/pieces" "$WORK/pieces.tree"
"$CTL" check --repair --into "$WORK/pieces.new" "$WORK/pieces" >"$WORK/out" 2>"$WORK/err"
rm -rf "$WORK/got"
"$CTL" export --format tree "$WORK/pieces.new" "$WORK/got" 2>/dev/null
check "of many pieces over each other the younger is right" cmp "$WORK/many" "$WORK"/got/lost+found/*.many
check_equal "and the value of an attribute comes" "$(cat "$WORK"/got/lost+found/*.value-s*)" \
    "$(python3 -c 'print("a value " * 100, end="")')"
check "which is told" grep -q "1 values of attributes that no name leads to" "$WORK/err"

# a log that is cut short where nothing but names was changed: no piece is left to tell
mkdir "$WORK/cut"
must_mount "$WORK/cut" "$WORK/mnt"
echo "before all" >"$WORK/mnt/first" && sync "$WORK/mnt/first"
for i in 1 2 3 4; do
    mv "$WORK/mnt/$([ "$i" = 1 ] && echo first || echo "nr$((i - 1))")" "$WORK/mnt/nr$i" && sync "$WORK/mnt"
done
kill_daemon "$WORK/mnt"
tree_of "$WORK/cut" "$WORK/cut.tree"
SEG=$(segment_with "$WORK/cut" "nr2")
flip "$SEG" "$(offset_of "$SEG" "nr2")"
only_one_copy "a log of names" "$WORK/cut" "$WORK/cut.tree"
"$CTL" check --repair --into "$WORK/cut.new" "$WORK/cut" >"$WORK/out" 2>"$WORK/err"
check_equal "a repair of a log that was cut short says so" "$?" 1
check "and why" grep -q "the log cannot be followed behind batch" "$WORK/err"
check "and how many batches it gave up" grep -q "given up: [1-9][0-9]* batches of the log" "$WORK/out"

# ---- superblock and checkpoints
cp -a "$WORK/whole" "$WORK/super"
head -c 8192 /dev/zero >"$WORK/super/superblock"
check_fails "a superblock that is damaged is told of" "superblock" "$CTL" check "$WORK/super"
check "a superblock that is damaged: the other stands in" "$CTL" export --format tree "$WORK/super" "$WORK/super.tree"
check_equal "a superblock that is damaged costs nothing" "$(tree_digest "$WORK/super.tree")" "$(tree_digest "$WORK/expect")"
head -c 8192 /dev/zero >"$WORK/super/superblock.copy"
check_fails "a store without a superblock is refused" "superblock" "$CTL" check "$WORK/super"
"$CTL" check --repair --into "$WORK/super.new" "$WORK/super" >"$WORK/out" 2>"$WORK/err"
rm -rf "$WORK/got"
"$CTL" export --format tree "$WORK/super.new" "$WORK/got" 2>/dev/null
check_equal "content comes back without the superblock" "$(find "$WORK/got" -type f | wc -l | awk '{print ($1 >= 330)}')" 1

rm "$WORK/super/superblock" "$WORK/super/superblock.copy" && rm -rf "$WORK/super.new" "$WORK/got"
check_fails "without the file it is no store" "not a store" "$CTL" check "$WORK/super"
"$CTL" check --repair --into "$WORK/super.new" "$WORK/super" >"$WORK/out" 2>"$WORK/err"
"$CTL" export --format tree "$WORK/super.new" "$WORK/got" 2>/dev/null
check_equal "content comes back without the file" "$(find "$WORK/got" -type f | wc -l | awk '{print ($1 >= 330)}')" 1

cp -a "$WORK/whole" "$WORK/names"
rm "$WORK/names"/*.ckp "$WORK/names"/*.cpy
FIRST=$(find "$WORK/names" -name '*.seg' | sort | head -n 1)
dd if=/dev/zero of="$FIRST" bs=64 count=1 conv=notrunc 2>/dev/null # the header of the segment with the log's beginning
"$CTL" check --repair --into "$WORK/header.new" "$WORK/names" >"$WORK/out" 2>"$WORK/err"
rm -rf "$WORK/got"
"$CTL" export --format tree "$WORK/header.new" "$WORK/got" 2>/dev/null
check_equal "a header costs nothing that its batches prove" "$(content_digest "$WORK/got/early")" "$(content_digest "$WORK/expect/early")"
dd if=/dev/zero of="$FIRST" bs=4096 count=1 conv=notrunc 2>/dev/null # and the first batches
check_fails "without checkpoints and the log's beginning it is refused" "restore|damaged" "$CTL" check "$WORK/names"
"$CTL" check --repair --into "$WORK/names.new" "$WORK/names" >"$WORK/out" 2>"$WORK/err"
rm -rf "$WORK/got"
"$CTL" export --format tree "$WORK/names.new" "$WORK/got" 2>/dev/null
check "memories are found by what they say of themselves" test -n "$(find "$WORK/got/lost+found" -name '*.early_300')"
check_equal "and are whole" "$(cat "$WORK"/got/lost+found/*.early_300 | sha256sum)" "$(sha256sum <"$WORK/expect/early/300")"

# ---- in place, and what is refused
check_fails "in place, with damage: status 1" "bytes 0 to 13 are lost" "$CTL" check --repair --in-place "$WORK/content"
check "the repaired store has its place" "$CTL" check "$WORK/content"
check_equal "the damaged one is kept" "$(store_digest "$WORK/content.damaged")" "$before"
check_fails "a new store that exists is refused" "exists" "$CTL" check --repair --into "$WORK/same" "$WORK/whole"
check_fails "--repair alone is refused" "--into" "$CTL" check --repair "$WORK/whole"
must_mount "$WORK/whole" "$WORK/mnt"
check_fails "a mounted store is refused" "in use" "$CTL" check --repair --into "$WORK/x" "$WORK/whole"
check_fails "a mount point is refused" "unmount" "$CTL" check --repair --into "$WORK/x" "$WORK/mnt"
check "unmount" unmount_store "$WORK/mnt"
# ---- in place, as a shell completes it
cd "$WORK" || exit 1
for how in "./slash/" "$WORK/slash//" .; do
    rm -rf slash slash.damaged
    echo '{"id":"a","content":"1"}' | "$CTL" import - slash >/dev/null
    check "in place: $how" sh -c "{ [ '$how' != . ] || cd slash; } && '$CTL' repair --in-place '$how'"
    check_equal "in place: $how: both are there" "slash slash.damaged" "$(echo slash*)"
    check "in place: $how: the new one is whole" "$CTL" check slash
done
# ---- in place, by root, of somebody's store: it is his as before
if [ "$(id -u)" -eq 0 ]; then
    as() { setpriv --reuid=54321 --regid=54322 --clear-groups "$@"; }
    chmod 755 "$WORK"
    cp "$CTL" "$WORK/ctl"
    for mode in 700 2750 755; do
        install -d -o 54321 -g 54322 -m 755 "$WORK/his"
        echo '{"id":"a","content":"1"}' | as "$WORK/ctl" import - "$WORK/his/store" >/dev/null
        chmod $mode "$WORK/his/store"
        as chmod 640 "$WORK/his/store/superblock"
        check "$mode: root repairs it in place" "$CTL" repair --in-place "$WORK/his/store"
        check_equal "$mode: the folder is his, as open as it was" "54321 54322 $mode" "$(stat -c '%u %g %a' "$WORK/his/store")"
        check_equal "$mode: and so is all in it" "54321 54322" "$(find "$WORK/his/store" -type f -printf '%U %G\n' | sort -u)"
        check_equal "$mode: which nobody else may read" "" "$(find "$WORK/his/store" -type f -perm /077)"
        check "$mode: he goes on with it" as "$WORK/ctl" check "$WORK/his/store"
        check_equal "$mode: and has his memories" 1 "$(as "$WORK/ctl" export "$WORK/his/store" 2>/dev/null | grep -c '"id":"a"')"
        rm -rf "$WORK/his"
    done
    install -d -o 54321 -g 54322 -m 755 "$WORK/his"
    echo '{"id":"a","content":"1"}' | as "$WORK/ctl" import - "$WORK/his/store" >/dev/null
    check "into a new one" "$CTL" repair --into "$WORK/his/new" "$WORK/his/store"
    check_equal "which is root's own" "0 700" "$(stat -c '%u %a' "$WORK/his/new")"
fi
t_end
