#!/usr/bin/env bash
# history.sh - .engram/history and .engram/deleted: saves as editors make them, each state of a path with who made it, what was
# removed and comes back with its history, for each tool and with each byte that a name may have; who may see what, and how much of
# the daemon's memory; and what is refused.
#
#   tests/mount/history.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 setpriv rsync tar setfattr getfattr
if [ "$(id -u)" -ne 0 ]; then
    skip "history" "not root: there is nobody to be"
    exit 0
fi
umask 022
chmod 755 "$WORK"
cd "$WORK" || exit 1
STORE=$WORK/store MNT=$WORK/mnt H=$WORK/mnt/.engram/history D=$WORK/mnt/.engram/deleted
ANN=51001 BOB=51002 CLUB=51003
SAVES=20
as() { # ID COMMAND...
    local id=$1
    shift
    setpriv --reuid="$id" --regid="$id" --groups=$CLUB "$@"
}
fails() { ! "$@" >/dev/null 2>&1; }
field() { getfattr -h --absolute-names --only-values -n "user.engram.$1" "$2" 2>/dev/null; }
configure() { for line in "$@"; do echo "$line" >"$MNT/.engram/config" || return 1; done; }
names() { find "$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort; }
numbers() { find "$1" -printf '%i\n' | sort -u; }

must_mount "$STORE" "$MNT" -o allow_other,noatime
check "a history that keeps each state" configure history_settle=0 history=1d

# ---- saves

save_as_vim() { # FILE CONTENT
    [ ! -e "$1" ] || mv "$1" "$1~"
    printf '%s\n' "$2" >"$1"
    rm -f "$1~"
}
save_as_emacs() {
    printf '%s\n' "$2" >"$1.#tmp" && mv "$1.#tmp" "$1"
}
save_as_sed() {
    [ -e "$1" ] || echo 0 >"$1"
    sed -i "1s/.*/$2/" "$1"
}
save_as_append() { printf '%s\n' "$2" >>"$1"; }
mkdir saved
for ((i = 1; i <= SAVES; i++)); do
    for how in vim emacs sed append; do
        "save_as_$how" "$MNT/$how.txt" "content $i of $how"
        cp "$MNT/$how.txt" "saved/$how.$(printf %02d $i)"
    done
done
for how in vim emacs sed append; do
    # a file that is being made was empty for a moment, and sed's first line is none of those
    find "$H/$how.txt/@" -type f -size +0 | sort >versions
    [ $how != sed ] || sed -i 1d versions
    check_equal "$how: all $SAVES saves are listed" $SAVES "$(wc -l <versions)"
    for ((i = 1; i <= SAVES; i++)); do
        cmp -s "saved/$how.$(printf %02d $i)" "$(sed -n ${i}p versions)" || echo "$i"
    done >different
    check_equal "$how: each is as it was saved" "" "$(cat different)"
done
check_equal "names have a number and a time" "" \
    "$(names "$H/vim.txt/@" | grep -vxE '[0-9]{12}@[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z')"
check_equal "numbers rise" "$(ls "$H/emacs.txt/@")" "$(ls -U "$H/emacs.txt/@")"
check_equal "listings tell the numbers that stat tells" "$(find "$H" -printf '%P %i\n' | sort)" \
    "$(cd "$H" && find . -print0 | xargs -0 stat -c '%n %i' | sed 's,^\./\?,,' | sort)"

# ---- what a state has

echo one >"$MNT/f"
setfattr -n user.topic -v first "$MNT/f"
chmod 640 "$MNT/f"
chown $ANN:$CLUB "$MNT/f"
touch -d '2011-02-03 04:05:06.5' "$MNT/f"
ln "$MNT/f" "$MNT/name-more"
THEN=$(stat -c '%s %a %u %g %h %y' "$MNT/f")
python3 -c 'import sys; open(sys.argv[1], "w").write("two\n")' "$MNT/f"
setfattr -n user.topic -v second "$MNT/f"
chmod 600 "$MNT/f"
rm "$MNT/name-more"
of_then() { # FOLDER TEXT: the last state with that content
    find "$1" -type f -print0 | sort -z | xargs -0 grep -lFxZ "$2" | tr '\0' '\n' | tail -n 1
}
OLD=$(of_then "$H/f/@" one)
check_equal "size, mode, owner, links and time of then" "$THEN" "$(stat -c '%s %a %u %g %h %y' "$OLD")"
check_equal "an attribute of then" first "$(getfattr --absolute-names --only-values -n user.topic "$OLD")"
check_equal "only those are listed" "user.topic" "$(getfattr --absolute-names -m - "$OLD" | grep user)"
check_equal "the present state is the last one" two "$(cat "$(find "$H/f/@" -type f | sort | tail -n 1)")"
NEWEST=$(find "$H/f/@" -type f | sort | tail -n 1)
check_equal "it has not ended" "" "$(field ended "$NEWEST")"
check_equal "who changed it" 0:chmod "$(field actor "$NEWEST")"
check_equal "one by a change" changed "$(field event "$NEWEST")"
check_equal "which ended the one before" changed "$(field ended "$OLD")"
check_equal "the first was made" created "$(field event "$(find "$H/f/@" -type f | sort | head -n 1)")"
check_equal "the name of a hash is as ever" "$(xxh64sum --tag /dev/null >/dev/null 2>&1; field content_hash "$MNT/f")" "$(field content_hash "$NEWEST")"
check_fails "actor is none of the attributes that can be set" "Operation not permitted" setfattr -n user.engram.actor -v x "$MNT/f"
check_fails "nor event" "Operation not permitted" setfattr -n user.engram.event -v x "$MNT/f"
ln -s first "$MNT/soft" && rm "$MNT/soft" && ln -s second "$MNT/soft"
check_equal "links lead where they led" "$(printf 'first\nsecond')" "$(find "$H/soft/@" -type l -printf '%f %l\n' | sort | cut -d ' ' -f 2)"
mkdir -m 700 "$MNT/dir" && echo below >"$MNT/dir/below" && chmod 755 "$MNT/dir"
check_equal "a folder's modes" "$(printf '700\n755')" "$(find "$H/dir/@" -mindepth 1 -printf '%f %m\n' | sort | cut -d ' ' -f 2 | uniq)"
check_equal "and its names" "$(printf '@\nbelow')" "$(ls "$H/dir")"
check_equal "of a state of a folder nothing below is shown" "" "$(find "$H/dir/@" -mindepth 2)"
mv "$MNT/dir" "$MNT/moved"
check_equal "what was renamed took its line along" "below" "$(cat "$H/moved/below/@/"*)"
check_equal "and is still under its old path" "below" "$(cat "$H/dir/below/@/"*)"
check_fails "what never was" "No such file" ls "$H/none"
check_fails "nor below a file" "No such file" ls "$H/f/none"
check_fails "no such version" "No such file" cat "$H/f/@/000000000001@2020-01-01T00:00:00.000Z"
check_fails "nor by another time" "No such file" cat "${OLD%@*}@2020-01-01T00:00:00.000Z"

# a version begins at the moment before it, and a snapshot is one
for i in 1 2 3 4 5; do
    echo "$i" >"$MNT/g"
    mkdir "$MNT/.engram/snapshots/s$i"
    echo "$i, once more" >"$MNT/g"
done
LISTED=("$H/g/@"/*)
rmdir "$MNT/.engram/snapshots"/s?
check_equal "each is another one now, by its time" "yes" "$([ "${LISTED[*]}" = "$(echo "$H/g/@"/*)" ] && echo no || echo yes)"
check "who has listed a version before snapshots were dropped finds it" cat "${LISTED[@]}"

# ---- each tool

configure history_settle=10s # of what is written in pieces one state is enough
mkdir "$MNT/tree" && make_tree && finish_tree && rsync -aHAX tree/ "$MNT/tree"
rm "$MNT/tree/hard-elsewhere" tree/hard-elsewhere
configure history_settle=0
rm -rf "$MNT/tree/deep" && rm "$MNT/tree/sparse"
echo again >"$MNT/tree/sparse" && rm "$MNT/tree/sparse"
check_equal "deleted/ has it as it was" "$(cd tree && content_digest deep)" "$(cd "$D/tree" && content_digest deep)"
check_equal "times, owners, sizes, links" "$(cd tree/deep && find . ! -type d -printf '%P %m %U %G %s %T@ %l\n' | sort)" \
    "$(cd "$D/tree/deep" && find . ! -type d -printf '%P %m %U %G %s %T@ %l\n' | sort)"
check_equal "an attribute" travel "$(getfattr --absolute-names --only-values -n user.topic "$D/tree/deep/a")"
check "diff -r" diff -r --no-dereference tree/deep "$D/tree/deep"
check_equal "the newest by its name, the earlier by its time" "again" "$(cat "$D/tree/sparse")"
EARLIER=$(ls -d "$D/tree/sparse@"*)
check "the earlier one" cmp "$EARLIER" tree/sparse
check "cp --sparse" cp --sparse=auto "$EARLIER" sparse-copy
check "it is the same" cmp sparse-copy tree/sparse
check_equal "what is there is not in it" "" "$(names "$D/tree" | grep -x zero)"
check_equal "but folders are" "$(printf 'closed\nempty')" "$(names "$D/tree" | grep -vE 'sparse|deep|hard')"
check_equal "who removed it" 0:rm "$(field actor "$D/tree/deep/a")"
check_equal "what happened" removed "$(field event "$D/tree/deep/a")"
for where in "$H" "$D"; do
    what=${where##*/}
    rm -rf by-*
    check "$what: ls -lR" ls -lR "$where"
    check "$what: cp -a" cp -a "$where" by-cp
    check "$what: tar" sh -c "mkdir by-tar && tar -C '$where' --xattrs -cf - . | tar -C by-tar --xattrs -xf -"
    check "$what: rsync" rsync -aHX "$where/" by-rsync
    check_equal "$what: rsync finds nothing to do then" "" "$(rsync -aHXi "$where/" by-rsync 2>&1 || echo "it failed")"
    for by in cp tar rsync; do
        check "$what: diff -r with what $by copied" diff -r --no-dereference -x pipe -x '*@*' "$where" by-$by
        check_equal "$what: what $by copied" "$(content_digest "$where")" "$(content_digest by-$by)"
    done
    check_equal "$what: grep -r" "$(cd by-cp && grep -rlD skip one . | sort)" "$(cd "$where" && grep -rlD skip one . | sort)"
    check_equal "$what: find -newer" "$(cd by-cp && find . -type f -newermt 2020-01-01 | sort)" "$(cd "$where" && find . -type f -newermt 2020-01-01 | sort)"
done
check_equal "numbers are none of the present" "" "$(comm -12 <(numbers "$MNT") <(sort -u <(numbers "$H") <(numbers "$D")))"
check_equal "nor are those of both the same" "" "$(comm -12 <(numbers "$H") <(numbers "$D"))"
mkdir "$MNT/.engram/snapshots/now"
check_equal "nor of a snapshot" "" "$(comm -12 <(numbers "$MNT/.engram/snapshots/now") <(sort -u <(numbers "$H") <(numbers "$D")))"
rmdir "$MNT/.engram/snapshots/now"
check_equal "each state of a file has its own" "$(find "$H/emacs.txt/@" -type f | wc -l)" "$(find "$H/emacs.txt/@" -type f -printf '%i\n' | sort -u | wc -l)"
check "cp of a state onto the file" cp "$OLD" "$MNT/f"
check_equal "it is as it was" one "$(cat "$MNT/f")"

# ---- back out of deleted

FIRST=$(numbers "$H/tree/deep/a/@")
check "mv of a file" mv "$D/tree/sparse" "$MNT/tree/back"
check_equal "it is there" again "$(cat "$MNT/tree/back")"
check "by a number of the present" test "$(stat -c %i "$MNT/tree/back")" -lt $((1 << 61))
check "the earlier one is the newest now" cmp "$D/tree/sparse" tree/sparse
check_equal "and has its plain name alone" sparse "$(names "$D/tree" | grep sparse)"
check_equal "its history came along" again "$(cat "$H/tree/back/@/"* | uniq)"
exec 5<"$D/tree/sparse"
check "mv of it" mv "$D/tree/sparse" "$MNT/tree/sparse"
check "who has it open reads on" cmp - tree/sparse <&5
exec 5<&-
check "it is as it was" cmp "$MNT/tree/sparse" tree/sparse
check "mv of a folder" mv "$D/tree/deep" "$MNT/tree/deep"
check_equal "all of it is there" "$(content_digest tree/deep)" "$(content_digest "$MNT/tree/deep")"
check_equal "as it was" "$(cd tree/deep && find . -printf '%P %y %m %U %G %s %l\n' | grep -v '^ ' | sed 's/^\(er d.*\) [0-9]* $/\1/' | sort)" \
    "$(cd "$MNT/tree/deep" && find . -printf '%P %y %m %U %G %s %l\n' | grep -v '^ ' | sed 's/^\(er d.*\) [0-9]* $/\1/' | sort)"
check_equal "history/ has what it had" "$FIRST" "$(numbers "$H/tree/deep/a/@" | grep -Fxf <(echo "$FIRST"))"
check_equal "link counts" 2 "$(stat -c %h "$MNT/tree/deep/a")"
check "it can be changed" sh -c "echo more >>'$MNT/tree/deep/a' && rm '$MNT/tree/deep/hard'"
check_fails "a second time it is a folder that is there" "Read-only file system" mv "$D/tree/deep" "$MNT/tree/other"
mkdir "$MNT/with-link" && echo text >"$MNT/with-link/f" && ln "$MNT/with-link/f" "$MNT/outside" && rm -r "$MNT/with-link"
check_equal "what has another name was not removed" 1 "$(stat -c %h "$MNT/outside")"
check "but is linked again when its folder comes back" mv "$D/with-link" "$MNT/with-link"
check "  as the same file" test "$MNT/with-link/f" -ef "$MNT/outside"
check_equal "  which has two names, whichever is asked" "2 2" "$(stat -c %h "$MNT/outside" "$MNT/with-link/f" | xargs)"
mkdir -p "$MNT/left/below" && echo text >"$MNT/left/below/f" && cp -a "$MNT/left" left
exec 5<"$MNT/left" 6<"$MNT/left/below" 7<"$MNT/left/below/f"
rm -r "$MNT/left"
check "mv of a folder that somebody is in" mv "$D/left" "$MNT/left"
check "it has all that it had" diff -r left "$MNT/left"
check "and lives" sh -c "echo new >'$MNT/left/below/new' && rm '$MNT/left/below/new' && rmdir '$MNT/left/none' 2>/dev/null || mkdir '$MNT/left/none'"
check_equal "who has its file open reads on" text "$(cat <&7)"
exec 5<&- 6<&- 7<&-
check "it lives on when he has left" sh -c "echo 3 >/proc/sys/vm/drop_caches && touch '$MNT/left/below/more' && rm -r '$MNT/left'"
check "and comes back again" mv "$D/left" "$MNT/left"
echo x >"$MNT/x" && rm "$MNT/x" && echo y >"$MNT/y"
check_fails "not over another" "File exists" python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$D/x" "$MNT/y"
check_equal "which is as it was" y "$(cat "$MNT/y")"
check "mv -n leaves both" sh -c "mv -n '$D/x' '$MNT/y'; [ -e '$D/x' ]"

# ---- nothing else changes there

cat >"$WORK/calls.py" <<'P'
"""calls.py FILE FOLDER LIVE OTHER: each call that changes something, and whether it gets EROFS. OTHER: an entry of FOLDER."""
import ctypes, errno, mmap, os, sys
f, d, live, other = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
def c(r):
    if r < 0:
        raise OSError(ctypes.get_errno(), "")
def renameat2(a, b, flags):
    c(libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags))
def mapped():
    with mmap.mmap(os.open(f, os.O_RDWR), 1) as m:
        m[0] = 1
        m.flush()
calls = {
    "write": lambda: os.write(os.open(f, os.O_WRONLY), b"x"),
    "append": lambda: os.write(os.open(f, os.O_WRONLY | os.O_APPEND), b"x"),
    "a mapping": mapped,
    "O_TRUNC": lambda: os.open(f, os.O_WRONLY | os.O_TRUNC),
    "O_CREAT": lambda: os.open(d + "/none", os.O_CREAT | os.O_WRONLY),
    "O_TMPFILE": lambda: os.open(d, os.O_TMPFILE | os.O_WRONLY),
    "mkdir": lambda: os.mkdir(d + "/none"),
    "mknod": lambda: os.mknod(d + "/none"),
    "symlink": lambda: os.symlink("x", d + "/none"),
    "link there": lambda: os.link(live, d + "/none"),
    "link out": lambda: os.link(f, live + ".none"),
    "unlink": lambda: os.unlink(f),
    "rmdir": lambda: os.rmdir(d),
    "rename in": lambda: os.rename(live, d + "/none"),
    "rename over": lambda: os.rename(live, f),
    "rename within": lambda: os.rename(f, d + "/none"),
    "exchange": lambda: renameat2(live, f, 2),
    "chmod": lambda: os.chmod(f, 0o777),
    "chown": lambda: os.chown(f, 1, 1),
    "utime": lambda: os.utime(f),
    "truncate": lambda: os.truncate(f, 0),
    "setxattr": lambda: os.setxattr(f, "user.x", b"1"),
    "removexattr": lambda: os.removexattr(f, "user.topic"),
    "setxattr of a folder": lambda: os.setxattr(d, "user.x", b"1"),
    "chmod of a folder": lambda: os.chmod(d, 0o700),
}
if "/history/" in f:
    calls["rename out"] = lambda: os.rename(f, live + ".none")
    calls["rename of a folder out"] = lambda: os.rename(d, live + ".none")
for name, call in calls.items():
    try:
        call()
        print(name, "was done")
    except OSError as e:
        if e.errno != errno.EROFS:
            print(name, e.strerror, errno.errorcode[e.errno])
P
setfattr -n user.topic -v x "$MNT/y" && mkdir "$MNT/z" && cp -a "$MNT/y" "$MNT/z/y" && rm "$MNT/z/y"
check_equal "history: each call that changes something is EROFS" "" "$(python3 calls.py "$OLD" "$H/f/@" "$MNT/y" x 2>&1)"
check_equal "deleted: the same" "" "$(python3 calls.py "$D/z/y" "$D/z" "$MNT/y" x 2>&1)"
check_fails "rm -rf of deleted" "Read-only file system" rm -rf "$D/z"
check_fails "a folder that is there is not moved out" "Read-only file system" mv "$D/z" "$MNT/none"
check "exchange out of deleted is refused" python3 -c '
import ctypes, sys
sys.exit(ctypes.CDLL(None).renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2) == 0)' "$D/z/y" "$MNT/y"
check_fails "nor is it named as the control folder" "" mv "$D/z/y" "$MNT/.engram"
check_equal "all is as it was" "y y" "$(cat "$D/z/y") $(cat "$MNT/y")"

# ---- each byte

cat >"$WORK/bytes.py" <<'P'
"""bytes.py MNT: names with each byte, and those that mean something: their states, what was removed, and back again."""
import os, sys
mnt = os.fsencode(sys.argv[1])
history, deleted = mnt + b"/.engram/history", mnt + b"/.engram/deleted"
letters = [bytes([i]) for i in range(1, 256) if i not in b"/."]
together = b"".join(letters) + b".x"
stamp = b"2026-11-28T12:00:00.123Z"
names = letters + [together, b"\n" * 255, b"\xff" * 255, b"@" * 255, b"%" * 255, b"...", b".engram", b"-rf", b"%2F", b"%25", b"a@1", b"@", b"@@",
                   b"f@" + stamp, b"f@000000000042@" + stamp, b"g@unknown", b"%~0123456789abcdef", "ä".encode() * 127, b"@" + stamp, b"100%"]
assert len(set(names)) == len(names) - 1 # "@" is twice
names = list(dict.fromkeys(names))
os.mkdir(mnt + b"/bytes")
for name in names:
    f = mnt + b"/bytes/" + name
    with open(f, "wb") as file:
        file.write(b"first")
    with open(f, "wb") as file:
        file.write(name)
    folder = mnt + b"/bytes/d" + name[:254]
    os.mkdir(folder)
    with open(folder + b"/" + name, "wb") as file:
        file.write(name)
def states(path):
    found = [open(path + b"/@/" + v, "rb").read() for v in sorted(os.listdir(path + b"/@"))]
    return [text for text in found if text]
# by its listing: what each name shows is in its last state
shown = os.listdir(history + b"/bytes")
files = {}
for text in shown:
    if text != b"@":
        versions = sorted(os.listdir(history + b"/bytes/" + text + b"/@"))
        last = history + b"/bytes/" + text + b"/@/" + versions[-1]
        if os.path.isfile(last):
            assert states(history + b"/bytes/" + text) == [b"first", open(last, "rb").read()], text
            files[open(last, "rb").read()] = text
        else:
            assert os.path.isdir(last)
assert sorted(files) == sorted(names), set(names) - set(files)
assert len(shown) == 2 * len(names) + 1, (len(shown), len(names))
assert all(b"\n" not in text and len(text) <= 255 for text in shown)
for name in names: # a folder's names
    assert states(history + b"/bytes/" + files[name]) == [b"first", name]
for name in names:
    os.unlink(mnt + b"/bytes/" + name)
    os.unlink(mnt + b"/bytes/d" + name[:254] + b"/" + name)
    os.rmdir(mnt + b"/bytes/d" + name[:254])
for again in range(2):
    for name in names:
        with open(mnt + b"/bytes/" + name, "wb") as file:
            file.write(b"again %d" % again)
        os.unlink(mnt + b"/bytes/" + name)
entries = os.listdir(deleted + b"/bytes")
assert len(entries) == len(set(entries)) == 4 * len(names), (len(entries), len(set(entries)), len(names))
content = {}
for text in entries:
    f = deleted + b"/bytes/" + text
    if os.path.isdir(f):
        below = os.listdir(f)
        assert len(below) == 1, below
        content[open(f + b"/" + below[0], "rb").read(), "folder"] = text
    else:
        content.setdefault(open(f, "rb").read(), []).append(text)
assert len(content[b"again 0"]) == len(content[b"again 1"]) == len(names)
back = mnt + b"/back"
os.mkdir(back)
for n, name in enumerate(names):
    assert len(content[name]) == 1, name
    os.rename(deleted + b"/bytes/" + content[name][0], back + b"/" + name)
    assert open(back + b"/" + name, "rb").read() == name
    os.rename(deleted + b"/bytes/" + content[name, "folder"], back + b"/d%d" % n)
    assert open(back + b"/d%d/" % n + name, "rb").read() == name
for name in names:
    assert b"first" in states(history + b"/back/" + files[name])
P
check "names with each byte" timeout 120 python3 bytes.py "$MNT"

# ---- many of one moment

python3 -c '
import os, sys
for i in range(60):
    with open(sys.argv[1], "w") as f:
        f.write(str(i))
    os.unlink(sys.argv[1])' "$MNT/often"
check_equal "removals of one millisecond have names of their own" "$(seq 0 59)" "$(cd "$D" && cat often* 2>/dev/null | sed 's/$/\n/' >/dev/null; for f in "$D"/often*; do cat "$f"; echo; done | sort -n)"
check_equal "the newest is plain" 59 "$(cat "$D/often")"
python3 -c '
import errno, os, sys, time
folder, deleted = sys.argv[1:]
os.mkdir(folder)
for i in range(3000):
    os.close(os.open(folder + "/f", os.O_CREAT | os.O_WRONLY))
    os.unlink(folder + "/f")
begin = time.monotonic()
for text in "y" * 237 + "%~" + "0" * 16, "y" * 212 + "%~" + "0" * 16 + "@2026-11-28T12:00:00.123Z":
    try:
        os.stat(deleted + "/" + text)
        sys.exit("it is there")
    except OSError as e:
        assert e.errno == errno.ENOENT, e
print("looked up in", time.monotonic() - begin)
sys.exit(time.monotonic() - begin > 2)' "$MNT/oftener" "$D/oftener" >looks 2>&1
check_equal "a name that is cut is not looked for among all removals of each" 0 $?
echo here >"$MNT/often"
rm -rf "$MNT/often" && mkdir "$MNT/often"
check_equal "beside a folder of that name all have a time" "here" "$(cat "$D"/often@* | grep -o here)"
check "the folder itself is shown" test -d "$D/often"

# ---- killed

sync -f "$MNT" 2>/dev/null || sync -f "$MNT" # it tells of what was stored in vain first
NUMBERS=$(numbers "$H/emacs.txt")
kill_daemon "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,noatime
check_equal "after kill -9 the numbers are the same" "$NUMBERS" "$(numbers "$H/emacs.txt")"
check_equal "and what they show" "content 7 of emacs" "$(grep -h ' 7 ' "$H/emacs.txt/@/"*)"
check_equal "and what was removed" y "$(cat "$D/z/y")"

# ---- handles

cat >"$WORK/handles.py" <<'P'
"""handles.py MNT FILE: a handle leads back while the kernel has its node; forged ones are ESTALE."""
import errno, os, random, sys
from file_handles import REFUSED, handle_of, lead_nowhere, node_of, opened
mnt, f = sys.argv[1:]
mount = os.open(mnt, os.O_RDONLY)
kept = os.open(f, os.O_RDONLY)
kind, handle = handle_of(f)
assert os.fstat(opened(mount, kind, handle)).st_ino == os.fstat(kept).st_ino
folder = os.path.dirname(f)
there = os.open(folder, os.O_RDONLY)
fd = opened(mount, *handle_of(folder))
assert os.fstat(os.open("..", os.O_RDONLY, dir_fd=fd)).st_ino == os.stat(folder + "/..").st_ino
node = node_of(handle)
random.seed(1)
top = 1 << 62 | 1 << 59
assert node >> 59 == top >> 59, hex(node)
forged = [node ^ 1 << bit for bit in range(64)] + [top, top | 31, top | (1 << 59) - 1]
forged += [top | random.getrandbits(59) for _ in range(500)]
# another one of the past, never one of the present
lead_nowhere(mount, kind, handle, forged, lambda ino: ino >> 61, REFUSED + (errno.EACCES,))
P
OLD=$(of_then "$H/f/@" two)
check "handles lead back, forged ones nowhere" env PYTHONPATH="$ROOT/tests/mount" timeout 60 python3 handles.py "$MNT" "$OLD"
check "of what was removed, too" env PYTHONPATH="$ROOT/tests/mount" timeout 60 python3 handles.py "$MNT" "$D/z/y"
check_equal "the daemon lives" two "$(cat "$OLD")"
unmount_store "$MNT"

# ---- rights

rights() { # OPTIONS: what Ann has, and had
    must_mount "$STORE" "$MNT" -o "allow_other,$1"
    rm -rf "$MNT/r"
    mkdir -m 777 "$MNT/r" "$MNT/r/open" "$MNT/r/shut" "$MNT/r/gone" "$MNT/r/public"
    for f in all closed opened given open/f shut/f gone/f; do
        echo "old $f" >"$MNT/r/$f"
        setfattr -n user.topic -v "$f" "$MNT/r/$f"
        chown $ANN:$CLUB "$MNT/r/$f"
    done
    chmod 600 "$MNT/r/opened"
    chmod 700 "$MNT/r/open" "$MNT/r/gone"
    for f in all closed opened given open/f shut/f gone/f; do
        echo "new $f" >"$MNT/r/$f"
    done
    chmod 600 "$MNT/r/closed"
    chmod 644 "$MNT/r/opened"
    chmod 700 "$MNT/r/shut"
    chmod 755 "$MNT/r/open"
    chown $BOB "$MNT/r/given"
    chown $ANN "$MNT/r/gone"
    mv "$MNT/r/open/f" "$MNT/r/public/f"
    rm -r "$MNT/r/gone"
    for f in free locked; do
        echo "$f" >"$MNT/r/$f"
        chown $ANN "$MNT/r/$f"
    done
    chmod 600 "$MNT/r/locked"
    rm "$MNT/r/free" "$MNT/r/locked"
    mkdir -m 700 "$MNT/r/was-shut"
    echo f >"$MNT/r/was-shut/f"
    chown -R $ANN "$MNT/r/was-shut"
    rm "$MNT/r/was-shut/f"
    chmod 755 "$MNT/r/was-shut"
}
version() { of_then "$H/r/$1/@" "old $1"; }
rights past=on
declare -A V
for f in all closed opened given open/f shut/f gone/f; do
    V[$f]=$(version "$f")
done
V[moved]=$(of_then "$H/r/public/f/@" "old open/f")
bob_is_out() { # NAME
    check_fails "$1: today's mode closes it" "Permission denied" as $BOB cat "${V[closed]}"
    check_fails "$1: the mode of then closes it" "Permission denied" as $BOB cat "${V[opened]}"
    check_fails "$1: today's mode of a folder" "Permission denied" as $BOB cat "${V[shut/f]}"
    check_fails "$1: the mode of then of a removed folder" "Permission denied" as $BOB cat "${V[gone/f]}"
    check_fails "$1: a folder that it was in then, by its new path" "Permission denied" as $BOB cat "${V[moved]}"
    check_fails "$1: fields" "Permission denied" as $BOB getfattr -n user.topic "${V[closed]}"
    check_fails "$1: who it was" "Permission denied" as $BOB getfattr -n user.engram.actor "${V[closed]}"
    check_fails "$1: names below a folder that is closed" "Permission denied" as $BOB ls "$H/r/shut"
    check_fails "$1: or was, when it was removed" "Permission denied" as $BOB ls "$H/r/gone"
    check_fails "$1: in deleted/, too" "Permission denied" as $BOB ls "$D/r/gone"
    check_fails "$1: and what is in it" "Permission denied" as $BOB cat "$D/r/gone/f"
    check_fails "$1: what was removed goes by its mode" "Permission denied" as $BOB cat "$D/r/locked"
    check_fails "$1: nor what was in a folder that was closed then" "Permission denied" as $BOB cat "$D/r/was-shut/f"
    check_fails "$1: nor does he bring it back" "(Operation not permitted|Permission denied)" as $BOB mv "$D/r/free" "$MNT/r/his"
}
bob_is_out "past=on"
cat "${V[closed]}" "${V[opened]}" "${V[shut/f]}" "${V[gone/f]}" "${V[moved]}" "$D/r/gone/f" "$D/r/locked" >/dev/null
bob_is_out "past=on, root has looked"
check_equal "past=on: all may read what both modes open" "old all" "$(as $BOB cat "${V[all]}")"
check_equal "past=on: what was removed" free "$(as $BOB cat "$D/r/free")"
check_equal "past=on: the folder's owner reads that" f "$(as $ANN cat "$D/r/was-shut/f")"
check "past=on: a stranger lists what he may" as $BOB ls -l "$H/r" "$H/r/all/@" "$D/r"
check_equal "past=on: and not what he may not look up" "" "$(as $BOB find "$H/r/public/f/@" -printf '%f\n' | grep -Fx "$(basename "${V[moved]}")")"
check_equal "past=on: of the folder of then the owner reads by its new path" "old open/f" "$(as $ANN cat "${V[moved]}")"
chmod 600 "$MNT/r/all"
check_fails "past=on: closed after he has read it" "Permission denied" as $BOB cat "${V[all]}"
chmod 644 "$MNT/r/all"
check_equal "past=on: opened again" "old all" "$(as $BOB cat "${V[all]}")"
cd "$H/r/closed/@" || exit 1
cat ./* >/dev/null
check_fails "past=on: nothing that root has read is his" "Permission denied" as $BOB cat "./$(basename "${V[closed]}")"
cd "$WORK" || exit 1
check "past=on: the owner brings it back" as $ANN mv "$D/r/free" "$MNT/r/hers"
check_equal "it is hers" "$ANN free" "$(stat -c %u "$MNT/r/hers") $(cat "$MNT/r/hers")"
unmount_store "$MNT"
rights past=owner
V[all]=$(version all)
check_equal "past=owner: the owner reads" "old all" "$(as $ANN cat "${V[all]}")"
check_fails "past=owner: others do not" "Permission denied" as $BOB cat "${V[all]}"
check_fails "past=owner: nor fields" "Permission denied" as $BOB getfattr -n user.topic "${V[all]}"
check_fails "past=owner: nor what was removed" "Permission denied" as $BOB cat "$D/r/free"
check_equal "past=owner: root reads" "old given" "$(cat "$(version given)")"
check_fails "past=owner: who got it later does not" "Permission denied" as $BOB cat "$(version given)"
check "past=owner: others list names" as $BOB ls "$D/r"
mkdir -m 777 "$MNT/r/shared"
chown $BOB "$MNT/r/shared"
as $ANN sh -c "echo hers >'$MNT/r/shared/hers'"
cp -p /bin/true "$MNT/r/shared/set-id" && chmod 4755 "$MNT/r/shared/set-id"
as $BOB sh -c "echo his >'$MNT/r/shared/his' && rm -r '$MNT/r/shared'"
check "past=owner: a folder comes back for its owner" as $BOB mv "$D/r/shared" "$MNT/r/shared"
check_equal "past=owner: with what was his below it" his "$(ls "$MNT/r/shared")"
check "past=owner: what was another's is for that one" as $ANN mv "$D/r/shared/hers" "$MNT/r/shared/hers"
unmount_store "$MNT"

# ---- deep down

must_mount "$STORE" "$MNT" -o allow_other,past=on
configure history_versions=4096
DEEP=deep$(printf '/d%.0s' {1..150})
mkdir -p "$MNT/$DEEP" && chmod 700 "$MNT/$DEEP"
python3 -c '
import os, sys
f = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY, 0o644)
for i in range(300):
    os.pwrite(f, b"%d" % i, 0)' "$MNT/$DEEP/f"
chmod 755 "$MNT/$DEEP"
cat >"$WORK/listed.py" <<'P'
"""listed.py FOLDER: how often a listing is asked for, the slowest one in ms, and what is told but the folder itself."""
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
buf = ctypes.create_string_buffer(32768)
calls, slowest, names = 0, 0, []
while True:
    begin = time.monotonic()
    n = libc.getdents64(fd, buf, 32768)
    slowest = max(slowest, time.monotonic() - begin)
    calls += 1
    if n <= 0:
        break
    at = 0
    while at < n:
        length = struct.unpack_from("<H", buf, at + 16)[0]
        names.append(buf.raw[at + 19 : at + length].split(b"\0")[0])
        at += length
print(n, calls > 3, slowest < 1, len([name for name in names if name not in (b".", b"..")]))
P
check_equal "states that he may not see do not keep a request" "0 True True 1" "$(as $BOB /usr/bin/python3 "$WORK/listed.py" "$H/$DEEP/f/@")"
check "who may sees them in one" test "$(find "$H/$DEEP/f/@" -type f | wc -l)" -ge 300
mkdir -p "$MNT/$DEEP/gone" && head -c 1048576 /dev/urandom >"$MNT/$DEEP/gone/f" && cp "$MNT/$DEEP/gone/f" "$WORK/gone-f" && rm -r "$MNT/$DEEP/gone"
cat >"$WORK/reads.py" <<'P'
"""reads.py FILE COPY: reads it piece by piece past the page cache, and says so after the first half; goes on at a line on stdin."""
import mmap, os, sys
f = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
want = open(sys.argv[2], "rb").read()
piece = mmap.mmap(-1, 4096)
for at in range(0, len(want), 4096):
    if at == len(want) // 2:
        print("half", flush=True)
        sys.stdin.readline()
    try:
        n = os.preadv(f, [piece], at)
    except OSError as e:
        print(at, os.strerror(e.errno))
        sys.exit(1)
    if piece[:n] != want[at : at + 4096]:
        sys.exit("other bytes")
print("all")
P
chmod 644 "$WORK/gone-f"
check_equal "he reads what was removed there" "half all" "$(as $BOB /usr/bin/python3 "$WORK/reads.py" "$D/$DEEP/gone/f" "$WORK/gone-f" </dev/null | xargs)"
mkfifo "$WORK/go"
as $BOB /usr/bin/python3 "$WORK/reads.py" "$D/$DEEP/gone/f" "$WORK/gone-f" <"$WORK/go" >"$WORK/read" &
exec 5>"$WORK/go"
check "  half of it" wait_until 60 grep -q half "$WORK/read"
chmod 700 "$MNT/deep"
echo >&5
exec 5>&-
wait $!
check_equal "  and no more when a folder above is closed" "524288 Permission denied" "$(tail -1 "$WORK/read")"
unmount_store "$MNT"

# ---- how much a stranger has

must_mount "$STORE" "$MNT" -o allow_other,past=on
mkdir -m 777 "$MNT/names"
cat >"$WORK/names.py" <<'P'
"""names.py FOLDER ID: makes 1,100 files as that user, each by a process of another name."""
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
for i in range(1100):
    process = os.fork()
    if process == 0:
        libc.prctl(15, b"name%d" % i, 0, 0, 0)
        os.close(os.open(sys.argv[1] + "/%d" % i, os.O_CREAT | os.O_WRONLY))
        os._exit(0)
    os.waitpid(process, 0)
P
python3 names.py "$MNT/names" $BOB
maker() { field actor "$(find "$H/names/$1/@" -type f | tail -n 1)"; }
check_equal "a stranger has so many names" "$BOB:name7 $BOB:?" "$(maker 7) $(maker 1098)"
check_equal "and root any" 0:touch "$(touch "$MNT/names/roots" && maker roots)"
unmount_store "$MNT"

must_mount "$STORE" "$MNT" -o allow_other,past=on
python3 - "$MNT" <<'P'
import os, sys
os.chdir(sys.argv[1])
for name in ["many"] + ["x" * 250] * 8:
    os.mkdir(name)
    os.chdir(name)
for i in range(1600):
    os.close(os.open("%04d" % i, os.O_CREAT | os.O_WRONLY))
P
MANY=$H/many$(printf "/$(printf 'x%.0s' {1..250})%.0s" {1..8})
cat >"$WORK/hold.py" <<'P'
"""hold.py FOLDER READY: holds as many nodes as it gets, until its input ends."""
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
ready = open(sys.argv[2], "w", encoding="ascii")
os.setgroups([])
os.setgid(51002)
os.setuid(51002)
fds, text = [], "no end"
try:
    here = os.open(sys.argv[1], os.O_RDONLY)
    for name in sorted(os.listdir(here)):
        if name != "@":
            fds.append(os.open(name, os.O_PATH, dir_fd=here))
            fds.append(os.open("@", os.O_RDONLY, dir_fd=fds[-1]))
            for version in os.listdir(fds[-1]):
                fds.append(os.open(version, os.O_PATH, dir_fd=fds[-1]))
except OSError as e:
    text = e.strerror
print(len(fds), text, file=ready, flush=True)
sys.stdin.read()
P
mkfifo input
python3 hold.py "$MANY" held <input &
HOLDER=$!
exec 7>input
check "a stranger holds what he gets" wait_until 60 test -s held
check_equal "which is not all" "Too many open files in system" "$(cut -d ' ' -f 2- held)"
check_equal "root is not pushed out ($(cat held))" 1600 "$(find "$MANY" -mindepth 3 -maxdepth 3 | wc -l)"
check "nor from what was removed" cat "$D/z/y"
exec 7>&-
wait $HOLDER

check "what he leaves the kernel gives up" wait_until 30 as $BOB ls "$MANY/0001/@"
unmount_store "$MNT"

cat >"$WORK/live.py" <<'P'
"""live.py FOLDER DELETED READY: as a stranger has 4,500 folders come back while he has them open, until its input ends."""
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
ready = open(sys.argv[3], "w", encoding="ascii")
os.setgroups([])
os.setgid(51002)
os.setuid(51002)
os.chdir(sys.argv[1])
fds = []
for top, n in ("a", 4000), ("b", 500):
    os.mkdir(top)
    for i in range(n):
        os.mkdir("%s/%d" % (top, i))
        fds.append(os.open("%s/%d" % (top, i), os.O_RDONLY))
    for i in range(n):
        os.rmdir("%s/%d" % (top, i))
    os.rmdir(top)
    os.rename(sys.argv[2] + "/" + top, top)
print(len(fds), file=ready, flush=True)
sys.stdin.read()
P
must_mount "$STORE" "$MNT" -o allow_other,past=on
mkdir "$MNT/roots" && mkdir -m 777 "$MNT/his"
rm -f held
python3 live.py "$MNT/his" "$D/his" held <input &
HOLDER=$!
exec 7>input
check "a stranger is in many folders that have come back" wait_until 60 test -s held
exec 5<"$MNT/roots"
rm -r "$MNT/roots"
check "root has one come back that somebody is in" mv "$D/roots" "$MNT/roots"
check "and it lives ($(cat held))" touch "$MNT/roots/new"
exec 5<&- 7>&-
wait $HOLDER
unmount_store "$MNT"

# ---- other mounts

must_mount "$STORE" "$MNT" -o allow_other,past=off
check_fails "past=off: there is no history" "No such file" ls "$H"
check_fails "past=off: nor what was removed" "No such file" ls "$D"
check_equal "past=off: nor are they listed" "" "$(names "$MNT/.engram" | grep -E 'history|deleted')"
unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,ctl=off
check_fails "ctl=off: nothing of it" "No such file" ls "$H"
unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,noxattr
check_equal "noxattr: states" two "$(cat "$OLD")"
check_fails "noxattr: no fields" "not supported" getfattr -n user.engram.event "$OLD"
unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,ro
check_equal "ro: states" two "$(cat "$OLD")"
check_fails "ro: nothing comes back" "Read-only file system" mv "$D/z/y" "$MNT/none"
unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,writeback
check_equal "writeback: states" two "$(cat "$OLD")"
check_equal "writeback: each call that changes something is EROFS" "" "$(python3 calls.py "$OLD" "$H/f/@" "$MNT/y" x 2>&1)"
check "writeback: back it comes" mv "$D/z/y" "$MNT/z/y"
check_equal "writeback: as it was" y "$(cat "$MNT/z/y")"
rm "$MNT/z/y"
check "a history that is switched off" configure history=0
check_fails "shows no state of before" "No such file" cat "$OLD"
check_equal "nor what was removed" "" "$(ls "$D/z")"
unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"

# ---- that it notices

notices() { # WHAT MUTANT COMMAND...: without the protection the command fails
    local before=$ENGRAMFS what=$1 mutant=$2
    shift 2
    ENGRAMFS=$BUILD/tests/mount/fsfuzz/engramfs
    if [ ! -x "$ENGRAMFS" ]; then
        skip "$what is noticed" "tests/mount/fsfuzz/engramfs is not built"
    else
        export "FS_MUTANT_$mutant=1"
        must_mount "$STORE" "$MNT" -o allow_other,past=on
        configure history_settle=0 history=1d
        unmount_store "$MNT"
        rights past=on
        check "$what is noticed" fails "$@"
        unmount_store "$MNT"
        unset "FS_MUTANT_$mutant"
    fi
    ENGRAMFS=$before
}
other_numbers() { [ "$(stat -c %i "$(version all)")" != "$(stat -c %i "$MNT/r/all")" ]; }
is_closed() { fails as $BOB cat "$(version closed)"; }
way_is_closed() { fails as $BOB cat "$(of_then "$H/r/public/f/@" "old open/f")"; }
notices "a state with the number of the present" SAME_INO other_numbers
notices "who asks for the mode of then only" MODE_OF_THEN_ONLY is_closed
was_shut() { fails as $BOB cat "$D/r/was-shut/f"; }
is_asked_again() {
    local file
    file=$(version all)
    as $BOB cat "$file" >/dev/null
    chmod 600 "$MNT/r/all"
    fails as $BOB cat "$file"
}
notices "who asks nobody on the way" WAY_UNASKED way_is_closed
notices "the same in deleted" WAY_UNASKED was_shut
notices "what the kernel keeps for others" PAST_KEPT_IN_KERNEL is_asked_again
t_end
