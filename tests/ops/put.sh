#!/usr/bin/env bash
# put.sh - engramctl put and edit: nobody's change is lost, what is refused changes nothing and leaves nothing, and a memory keeps
# its owner, mode and fields.
#
#   tests/ops/put.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317,SC2016
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 setfattr getfattr
STORE=$WORK/store MNT=$WORK/mnt
umask 022
OTHERS=()
if [ "$(id -u)" -eq 0 ]; then
    OTHERS=(-o allow_other)
    chmod 755 "$WORK"
fi
must_mount "$STORE" "$MNT" "${OTHERS[@]}"
cd "$MNT" || exit 1

state() { getfattr --only-values -n user.engram.state "$1"; }
put() { timeout 60 "$CTL" put "$@"; }
edit() { timeout 60 "$CTL" edit "$@"; }
# The exit status of a command, and what it said.
says() { # NAME STATUS TEXT COMMAND...
    local name=$1 want=$2 text=$3 out status
    shift 3
    out=$("$@" 2>&1 </dev/null)
    status=$?
    if [ $status -eq "$want" ] && grep -qE -- "$text" <<<"$out"; then
        ok "$name"
    else
        not_ok "$name" "status $status, expected $want; said: $(head -n 2 <<<"$out" | tr '\n' ';')"
    fi
}
with() { # TEXT COMMAND...: with that on standard input
    local text=$1
    shift
    "$@" <<<"$text"
}
all() { find "$MNT" -mindepth 1 ! -path "$MNT/.engram*" -printf '%P %y %m\n' | sort; }

# ---- put

check "a memory is made" with one put note
check_equal "  with its content" one "$(cat note)"
check_equal "  and the mode that a shell would give" 644 "$(stat -c %a note)"
S=$(state note)
check_equal "the state that it prints is that of the memory" "state:$(put note <<<two && echo)" "state:state:$(state note)"
says "what is not as it was is refused" 1 "refused: it is not state:$S any more, but state:$(state note)" with three put --if-match "$S" note
check_equal "  and stays" two "$(cat note)"
says "by a hash likewise" 1 "refused: it is not [0-9a-f]{64} any more" with three put --if-match "$(echo one | sha256sum | cut -d ' ' -f 1)" note
check "what is as it was is replaced" with three put --if-match "$(state note)" note
check "  as the attribute and getfattr have it" with four put --if-match "state:$(state note)" note
check "  by its hash" with five put --if-match "$(sha256sum note | cut -d ' ' -f 1)" note
check_equal "  and so it is there" five "$(cat note)"
SUM=$(sha256sum note | tr a-f A-F | cut -d ' ' -f 1)
check "  in capitals" with six put --if-match "$SUM" note
check "a state that put printed serves for the next one" \
    sh -c 's=$(echo 1 | "$0" put note) && s=$(echo 2 | "$0" put --if-match "$s" note) && echo 3 | "$0" put --if-match "$s" note' "$CTL"
S=$(state note)
check "another one is faster" with 4 put note
check "with what is there already it is done: a retry" with 4 put --if-match "$S" note
says "where nothing may be something is" 1 'refused: it exists \(state:[0-9]+\)' with x put --create note
check "where nothing is it is made" with x put --create made
says "what is gone is refused" 1 "refused: it is gone" sh -c 's=$(echo x | "$0" put gone) && rm gone && echo y | "$0" put --if-match "$s" gone' "$CTL"
check_equal "nothing else is there" "made f 644
note f 644" "$(all)"

# ---- what stays

setfattr -n user.topic -v travel note
setfattr -n user.engram.confidence -v 0.5 note
chmod 4750 note
[ "$(id -u)" -ne 0 ] || chown 1234:567 note && chmod 4750 note
OWNER=$(stat -c '%u:%g %a' note)
check "a memory with fields is replaced" with five put --if-match "$(state note)" note
check_equal "  mode and owner stay" "$OWNER" "$(stat -c '%u:%g %a' note)"
check_equal "  and fields" 'user.engram.confidence="0.5" user.topic="travel"' "$(getfattr -d note | grep '^user' | sort | paste -sd ' ')"
check_fails "  but no guard" "No such attribute" getfattr -n user.engram.if_match note
setfattr -n user.engram.content -v none made 2>/dev/null
: >none && setfattr -n user.engram.content -v none none
check "one that had no content has one" with something put none
check_fails "  and does not say that it has none" "No such attribute" getfattr -n user.engram.content none
check "a megabyte" sh -c 'head -c 3000000 /dev/urandom >"$2" && "$0" put "$1" <"$2" && cmp "$1" "$2"' "$CTL" big "$WORK/big"
check "nothing at all" put big </dev/null
check_equal "  is nothing" 0 "$(stat -c %s big)"
ln -s note link
check "a symbolic link" with linked put link
check_equal "  is followed" "linked symbolic link" "$(cat note) $(stat -c %F link)"
ln note hard
check "of two names" with once put note
check_equal "  the other one keeps what it was" linked "$(cat hard)"
if [ "$(id -u)" -eq 0 ]; then
    other() { setpriv --reuid=5001 --regid=5001 --clear-groups "$@"; }
    mkdir open && chmod 777 open && echo mine >open/f && chmod 4666 open/f
    check "who may not give a file away" with theirs other "$CTL" put open/f
    check_equal "  makes it his, and lends no rights" "5001:5001 666" "$(stat -c '%u:%g %a' open/f)"
    echo secret >open/closed && chmod 600 open/closed
    says "what one may not read one does not replace" 2 "Permission denied" with x other "$CTL" put open/closed
    chmod 755 open
    says "nor in a folder where one may not write" 2 "Permission denied" with x other "$CTL" put open/f
fi

# ---- where it does not work

says "no mount" 2 "is in no mount of engramfs" with x put "$WORK/elsewhere"
says "a folder" 2 "is no memory|Is a directory" with x sh -c 'mkdir -p folder && "$0" put folder' "$CTL"
says "a folder that is not there" 2 "No such file" with x put nowhere/such
says "a control file" 2 "Operation not permitted|Permission denied" with x put .engram/config
says "no state" 2 "is no state" with x put --if-match 12x note
says "both conditions" 2 "exclude each other" with x put --create --if-match 12 note
says "no path" 2 "expected one PATH" put
(exec >&- && put note <<<closed) 2>/dev/null
check_equal "without standard output nothing of it gets into the memory" closed "$(cat note)"

# ---- edit

seq 10 >list
check "a program changes a memory" edit list sed s/7/seven/
check_equal "  as it says" seven "$(sed -n 7p list)"
says "one that fails changes nothing" 2 "nothing was written: sh ended with status 3" edit list sh -c 'cat; exit 3'
says "one that is killed neither" 2 "ended by signal 9" edit list sh -c 'cat; kill -9 $$'
says "one that is not there neither" 2 "No such file" edit list no-such-program
check_equal "  it is as it was" "10 seven" "$(wc -l <list) $(sed -n 7p list)"
check "while others change it, it runs again" edit list sh -c '[ -e once ] || { : >once; echo theirs >>list; }; cat; echo mine'
check_equal "  and has both changes" "theirs mine" "$(tail -n 2 list | xargs)"
rm once
says "not more often than it may" 1 "refused 3 times: others have changed it" edit --tries 3 list sh -c 'cat; echo x >>tried; echo theirs >>list'
check_equal "  that is 3 times" 3 "$(wc -l <tried)"
says "what is not there" 2 "No such file" edit not-there cat
check "begins with nothing if that is asked for" edit --create not-there sh -c 'wc -c'
check_equal "  and is there then" 0 "$(cat not-there)"
check "what comes meanwhile is not replaced" edit --create race sh -c '[ -e race ] || { echo theirs >race; exec echo mine; }; cat; echo mine'
check_equal "  but gone on with" "theirs mine" "$(xargs <race)"
check "options behind the command are the command's" edit list sed -n -e 7p
check_equal "  that is one line" seven "$(cat list)"
setfattr -n user.topic -v lists list
check "fields stay" edit list cat
check_equal "  as they were" lists "$(getfattr --only-values -n user.topic list)"
says "a field that others set meanwhile is a change, too" 1 "refused 1 time:" edit --tries 1 list sh -c 'cat; setfattr -n user.topic -v other list'
says "what replaces it as well" 1 "refused 1 time:" edit --tries 1 list sh -c 'cat; cp list other && mv other list'
says "what removes it as well" 1 "refused 1 time:" edit --tries 1 list sh -c 'cat; mv list gone'
mv gone list

export TMPDIR=$WORK/tmp
mkdir "$TMPDIR"
check "{} is a file" edit list sed -i s/seven/SEVEN/ {}
check_equal "  of what was there" SEVEN "$(cat list)"
check "  by the memory's name, for one user" edit list sh -c 'test "$(basename "$0")" = list && stat -c %a "$(dirname "$0")" | grep -qx 700' {}
check_equal "  which goes" "" "$(ls "$TMPDIR")"
says "if others were faster it stays, and is named" 1 "what it was to become is in $TMPDIR/engramctl-[A-Za-z0-9]*/list" \
    edit list sh -c 'echo work >$0; echo theirs >>list' {}
check_equal "  with what was made" work "$(cat "$TMPDIR"/engramctl-*/list)"
rm -r "$TMPDIR"/engramctl-*
check "it runs again where that is asked for" edit --tries 2 list sh -c 'echo more >>$0; [ -e once ] || { : >once; echo theirs >>list; }' {}
check_equal "  and has both changes" "theirs more" "$(tail -n 2 list | xargs)"
says "one that fails" 2 "nothing was written" edit list sh -c 'echo x >$0; exit 1' {}
check_equal "  leaves nothing" "" "$(ls "$TMPDIR")"
if command -v vim >/dev/null; then
    check "vim" edit list vim -u NONE -N -es -c '%s/SEVEN/8/' -c wq {}
    check_equal "  has changed it" 8 "$(head -n 1 list)"
fi

# ---- who comes between the last look and the step

if cc -shared -fPIC -Wall -Werror -o "$WORK/late.so" "$ROOT/tests/ops/late_shim.c" -ldl; then
    late() { env LD_PRELOAD="$WORK/late.so" LATE="$1" "${@:2}"; }
    echo first >late
    check "edit runs again" late 'echo theirs >>late' "$CTL" edit late sh -c 'cat; echo mine'
    check_equal "  and has both changes" "first theirs mine" "$(xargs <late)"
    check "also if that has replaced it" late 'cp late other && echo more >>other && mv other late' "$CTL" edit late sh -c 'cat; echo mine'
    check_equal "  and has both changes then" "first theirs mine more mine" "$(xargs <late)"
    says "put is refused" 1 "refused: it is not state:" with x late 'echo theirs >late' "$CTL" put --if-match "$(state late)" late
    check_equal "  and nothing is written" theirs "$(cat late)"
    says "put of what is new as well" 1 "refused: it exists" with x late 'echo theirs >new' "$CTL" put --create new
    check_equal "  and nothing is written there" theirs "$(cat new)"
    check "put without a condition replaces that, too" \
        with mine late 'setfattr -n user.topic -v theirs newer && echo theirs >newer' sh -c ': >newer && exec "$0" put newer' "$CTL"
    check_equal "  with its content" mine "$(cat newer)"
    check "edit makes what is not there" late 'echo theirs >newest' "$CTL" edit --create newest sh -c 'cat; echo mine'
    check_equal "  and goes on with what somebody else has made" "theirs mine" "$(xargs <newest)"
    check_equal "no file of these is left" "" "$(find "$MNT" -name '.engramctl*')"
else
    skip "who comes late" "no compiler"
fi

# ---- signals

mkfifo "$WORK/fifo" "$WORK/begun"
for signal in TERM INT KILL; do
    all >"$WORK/before"
    env --default-signal=INT "$CTL" put --if-match "$(state note)" note <"$WORK/fifo" 2>"$WORK/said" &
    exec 9>"$WORK/fifo"
    printf 'half' >&9
    wait_until 10 sh -c 'ls -l /proc/'$!'/fd | grep -q "$1/#"' _ "$MNT" # the file without a name
    kill -$signal $!
    # a signal that came just before a read(2): the next one a second later interrupts it
    wait $!
    STATUS=$?
    exec 9>&-
    check_equal "put that gets $signal" "$([ $signal = KILL ] && echo 137 || echo 2)" $STATUS
    check_equal "  leaves nothing, and the memory as it was" "$(cat "$WORK/before") closed" "$(all) $(cat note)"
done
env --default-signal=INT "$CTL" edit note sh -c 'echo >"$0"; exec sleep 100' "$WORK/begun" 2>"$WORK/said" &
read -r <"$WORK/begun"
kill -TERM $!
wait $!
check_equal "edit that gets TERM ends its command, and" 2 $?
check_equal "  leaves the memory as it was" closed "$(cat note)"

# ---- many at once

count=0
: >counter
for i in 1 2 3 4; do
    (for j in 1 2 3 4 5 6 7 8 9 10; do timeout 60 "$CTL" edit --tries 1000 counter sh -c "cat; echo $i.$j" || echo failed >>"$WORK/failed"; done) &
done
wait
for i in 1 2 3 4; do for j in 1 2 3 4 5 6 7 8 9 10; do grep -qx "$i.$j" counter && count=$((count + 1)); done; done
check_equal "of four that edit at once each edit is there, once" "40 40" "$count $(wc -l <counter)"
check_equal "  and none has failed" "" "$(cat "$WORK/failed" 2>/dev/null)"
echo 0 >number
for i in 1 2 3 4; do
    (for j in 1 2 3 4 5 6 7 8 9 10; do timeout 60 "$CTL" edit --tries 1000 number sh -c 'read -r n; echo $((n + 1))' || echo failed >>"$WORK/failed"; done) &
done
wait
check_equal "of four that count with one number each counts, though two may make the same of it" 40 "$(cat number)"
for i in 1 2 3 4 5 6 7 8; do (put --create first <<<"$i" >"$WORK/made.$i" 2>/dev/null) & done
wait
check_equal "of eight that make it one does" "1" "$(cat "$WORK"/made.* | wc -l)"
check_equal "no file of theirs is left" "" "$(find "$MNT" -name '.engramctl*')"

# ---- other mounts

cd / || exit 1
check "unmount" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o noxattr
says "a mount without attributes" 2 "has no attributes \(-o noxattr\)" with x put "$MNT/note"
says "  for edit" 2 "has no attributes \(-o noxattr\)" edit "$MNT/note" cat
check "unmount that" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o ro
says "a mount for reading" 2 "Read-only" with x put "$MNT/note"
check "unmount that, too" unmount_store "$MNT"
check "the store is whole" "$CTL" check "$STORE"
t_end
