#!/usr/bin/env bash
# diff.sh - engramctl diff: what changed between two snapshots, as lines, as JSON, and as lists with which rsync and rm make the
# tree of the second one of a copy of the first.
#
#   tests/ops/diff.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 rsync
STORE=$WORK/store MNT=$WORK/mnt COPY=$WORK/copy
SMALL=(-o segment_size=64k)

status() { # COMMAND...: its exit status
    timeout 100 "$@" >"$WORK/out" 2>"$WORK/err"
    echo $?
}
sight() { # FOLDER: all that is below it, but .engram
    (
        cd "$1" || exit 1
        find . -mindepth 1 -name .engram -prune -o ! -type d -printf '%P %y %m %U %G %s %T@ %n %l\n' -o -printf '%P %y %m %U %G %T@\n' | sort
        find . -name .engram -prune -o -type f -print0 | sort -z | xargs -0r sha256sum
        python3 -c '
import os
for at, folders, names in os.walk(b"."):
    folders[:] = sorted(f for f in folders if f != b".engram")
    for name in sorted(names + folders):
        path = os.path.join(at, name)
        for field in sorted(os.listxattr(path, follow_symlinks=False)):
            if field.startswith("user.") and not field.startswith("user.engram."):
                print(path, field, os.getxattr(path, field, follow_symlinks=False))'
    )
}
snapshot() { # NAME: of the store, which is mounted
    unmount_store "$MNT"
    check "snapshot $1 is made" "$CTL" snapshot create "$STORE" "$1"
}
same() { # SNAPSHOT: what is in the copy is what is in that
    diff <(sight "$COPY") <(sight "$MNT/.engram/snapshots/$1")
}
bring_up() { # A B: the copy, which is as A, to B
    check_equal "  what goes is told" 1 "$(status "$CTL" diff --removed0 "$MNT" "$1" "$2")"
    (cd "$COPY" && xargs -0r rm -rf --) <"$WORK/out"
    check_equal "  what comes is told" 1 "$(status "$CTL" diff --files0 "$MNT" "$1" "$2")"
    mv "$WORK/out" "$WORK/files"
    check "  rsync takes it" rsync -aHXI --modify-window=-1 --from0 --files-from="$WORK/files" "$MNT/.engram/snapshots/$2/" "$COPY/"
    check "  and the copy is as the store was at $2" same "$2"
}

must_mount "$STORE" "$MNT" "${SMALL[@]}"
python3 - "$MNT" <<'P'
import os, sys
os.chdir(sys.argv[1])
os.makedirs("sub/below/deep")
os.makedirs("taken/by")
os.makedirs("stays/whole")
for i in range(20):
    open(f"sub/m{i:02}", "wb").write(os.urandom(3000 + 500 * i))
    open(f"stays/whole/{i}", "wb").write(os.urandom(100))
open("sub/below/deep/f", "w").write("deep\n")
open("taken/by/f", "w").write("f\n")
open("text", "w").write("first\n")
open("edited", "w").write("one\n")
open("becomes-folder", "w").write("file\n")
os.symlink("sub", "link")
os.symlink("sub", "becomes-folder-too")
for i in "abc":
    os.link("text", f"sub/hard-{i}")
for name in (b"-rf", b"new\nline", b"back\\slash", b"a b ", b"\xff\xfe", "gr\u00fc\u00df".encode()):
    open(name, "w").write("odd\n")
os.setxattr("text", "user.note", b"short")
P
check "a copy is made of the mount" rsync -aHX --modify-window=-1 --exclude=/.engram "$MNT/" "$COPY/"
snapshot monday
check_equal "nothing has changed since" 0 "$(status "$CTL" diff "$STORE" monday)"
check "  and nothing is said" test ! -s "$WORK/out"

must_mount "$STORE" "$MNT" "${SMALL[@]}"
python3 - "$MNT" <<'P'
import os, sys
os.chdir(sys.argv[1])
with open("sub/m00", "r+b") as f:
    f.seek(1000)
    f.write(b"x" * 500)
os.chmod("sub/m01", 0o600)
os.utime("sub/m02", (1, 1))
os.setxattr("sub/m03", "user.note", b"x" * 200)
os.unlink("sub/m04")
os.rename("sub/m05", "sub/m06")
open("text", "a").write("second\n")
os.rename("edited", "edited~")
open("edited", "w").write("two\n")
os.unlink("edited~")
os.rename("sub/below", "moved")
os.unlink("becomes-folder")
os.mkdir("becomes-folder")
open("becomes-folder/f", "w").write("in it\n")
os.unlink("becomes-folder-too")
os.mkdir("becomes-folder-too")
open("taken/by/f", "w").write("g\n")
os.rename("taken", "was-taken")
open("taken", "w").write("a file now\n")
os.unlink("link")
os.symlink("moved", "link")
for name in (b"-rf", b"new\nline", b"back\\slash", b"a b "):
    open(name, "a").write("more\n")
os.unlink(b"\xff\xfe")
open("gone", "w").write("soon\n")
os.unlink("gone")
P
snapshot tuesday
check_equal "what has changed is told" 1 "$(status "$CTL" diff "$STORE" monday tuesday)"
sed 's/$$//' >"$WORK/want" <<'P'
M ./
M -rf
M a b $
M back\x5cslash
M becomes-folder/
+ becomes-folder/f
M becomes-folder-too/
M edited
M link
+ moved/
+ moved/deep/
+ moved/deep/f
M new\x0aline
M sub/
- sub/below/
- sub/below/deep/
- sub/below/deep/f
M sub/hard-a
M sub/hard-b
M sub/hard-c
M sub/m00
M sub/m01
M sub/m02
M sub/m03
- sub/m04
- sub/m05
M sub/m06
M taken
- taken/by/
- taken/by/f
M text
+ was-taken/
+ was-taken/by/
+ was-taken/by/f
- \xff\xfe
P
check "  each path once" diff "$WORK/want" "$WORK/out"
check_equal "  and the same until now" 1 "$(status "$CTL" diff "$STORE" monday)"
check "  word for word" diff "$WORK/want" "$WORK/out"
check_equal "as JSON" 1 "$(status "$CTL" diff --json "$STORE" monday tuesday)"
check "  with what was not the same" python3 - "$WORK/out" <<'P'
import base64, json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
by = {base64.b64decode(l["path_base64"]) if "path_base64" in l else l["path"]: l for l in lines}
assert len(lines) == len(by) == 35
assert sorted(by["text"]) == ["change", "inode", "path", "type", "what"], by["text"]
assert by["text"]["what"] == ["content", "mtime"] and by["text"]["change"] == "changed" and by["text"]["type"] == "file"
assert by["sub/m01"]["what"] == ["mode"] and by["sub/m02"]["what"] == ["mtime"] and by["sub/m03"]["what"] == ["fields"]
too = by["becomes-folder-too"]
assert too["type"] == "folder" and too["type_before"] == "symlink" and too["inode"] != too["inode_before"]
assert "type" in too["what"] and "content" not in too["what"]
assert by["link"]["what"] == ["content", "mtime"] and by["link"]["type"] == "symlink"
old, new = by["sub/below/deep/f"], by["moved/deep/f"]
assert old["change"] == "removed" and new["change"] == "added" and old["inode"] == new["inode"]
assert by[b"\xff\xfe"]["change"] == "removed"
P
echo "# the copy is brought up to Tuesday"
must_mount "$STORE" "$MNT" "${SMALL[@]}"
echo later >"$MNT/later"
bring_up monday tuesday
rm "$MNT/later"

rm "$MNT/text" && echo new >"$MNT/moved/new" && mv "$MNT/moved/deep" "$MNT/moved/deeper"
check_equal "what is there now, with the store mounted" 1 "$(status "$CTL" diff "$MNT" tuesday)"
check "  is told" diff - "$WORK/out" <<'P'
M ./
M moved/
- moved/deep/
- moved/deep/f
+ moved/deeper/
+ moved/deeper/f
+ moved/new
- text
P
check_equal "of a folder of it" 1 "$(status "$CTL" diff --snapshot "$MNT/moved" tuesday)"
check "  by paths from there on" diff - "$WORK/out" <<'P'
M ./
- deep/
- deep/f
+ deeper/
+ deeper/f
+ new
P
check_equal "  of another one nothing" 0 "$(status "$CTL" diff --snapshot "$MNT/stays" tuesday)"
check "a snapshot of the mount" "$CTL" snapshot create "$MNT" wednesday
bring_up tuesday wednesday
unmount_store "$MNT"

batch=$("$CTL" snapshot list "$STORE" | awk '$3 == "tuesday" { print $1 }')
check_equal "by the number of a batch" 1 "$(status "$CTL" diff "$STORE" "$batch" wednesday)"
check_equal "a snapshot and itself" 0 "$(status "$CTL" diff "$STORE" tuesday tuesday)"
check_equal "the wrong way round" 2 "$(status "$CTL" diff "$STORE" tuesday monday)"
check "  which is said" grep -q "'tuesday' is later than 'monday'" "$WORK/err"
check_equal "no such snapshot" 2 "$(status "$CTL" diff "$STORE" sunday)"
check "  which is said" grep -q "no snapshot is called 'sunday'" "$WORK/err"
check_equal "two forms at once" 2 "$(status "$CTL" diff --json --files0 "$STORE" monday)"
check_equal "a plain directory" 2 "$(status "$CTL" diff "$COPY" monday)"
check_equal "a full disk is no answer" 2 "$(
    "$CTL" diff "$STORE" monday >/dev/full 2>"$WORK/err"
    echo $?
)"
check "the store is sound" "$CTL" check "$STORE"

# ---- as text: patch(1) makes of the files of A those of B

if command -v patch >/dev/null; then
    TEXT=$WORK/text
    must_mount "$STORE" "$MNT" "${SMALL[@]}"
    mkdir -p "$MNT/text/in"
    seq 1 5000 >"$MNT/text/in/numbers"
    seq 1 100 >"$MNT/text/goes"
    printf 'no newline' >"$MNT/text/end"
    printf 'one\n' | tee "$MNT/text/same" "$MNT/text/mode" "$MNT/text/$(printf 'odd \033')" >/dev/null
    head -c 5000 /dev/urandom >"$MNT/text/binary"
    snapshot text-a
    must_mount "$STORE" "$MNT" "${SMALL[@]}"
    cp -a "$MNT/.engram/snapshots/text-a/text" "$TEXT"
    cp "$MNT/text/same" "$MNT/text/new" && cat "$MNT/text/new" >"$MNT/text/same"
    sed -i -e '2500s/$/ changed/' -e 17d "$MNT/text/in/numbers"
    rm "$MNT/text/goes"
    printf ' at the end\n' >>"$MNT/text/end"
    chmod 600 "$MNT/text/mode"
    printf 'two\n' >"$MNT/text/$(printf 'odd \033')"
    head -c 5000 /dev/urandom >"$MNT/text/binary"
    snapshot text-b
    check_equal "as text" 1 "$(status "$CTL" diff --text "$STORE" text-a text-b)"
    check_equal "  nothing on stderr" "" "$(cat "$WORK/err")"
    check "  a line for each path" test "$(grep -ac '^[-+M] text/' "$WORK/out")" -ge 8
    check "  a changed file that has the same content has a line alone" sh -c \
        "grep -qx 'M text/same' '$WORK/out' && ! grep -q 'a/text/same' '$WORK/out'"
    check "  names are text for a terminal" grep -qF 'odd \x1b' "$WORK/out"
    grep -q 'Binary files a/text/binary and b/text/binary differ' "$WORK/out" || not_ok "  binary files are told"
    printf 'one\n' >"$TEXT/odd \\x1b" # by the name that it is told under
    check "  patch takes it" sh -c "cd '$WORK' && patch -p1 --batch <'$WORK/out'"
    must_mount "$STORE" "$MNT" "${SMALL[@]}"
    for f in in/numbers end same mode new; do
        check "  $f is as in the second one" cmp "$TEXT/$f" "$MNT/.engram/snapshots/text-b/text/$f"
    done
    check "  what went has gone" test ! -e "$TEXT/goes"
    check_equal "  until now, of a mount" 1 "$(status "$CTL" diff --text "$MNT/text" text-a)"
    check "  with the content of now" grep -q '^+2500 changed' "$WORK/out"
    unmount_store "$MNT"
    check_equal "  without diff(1)" 2 "$(status env PATH=/nowhere "$CTL" diff --text "$STORE" text-a text-b)"
    check "  is said" grep -q 'no diff(1)' "$WORK/err"
else
    skip "text" "no patch"
fi
t_end
