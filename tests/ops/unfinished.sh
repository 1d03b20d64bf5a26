#!/usr/bin/env bash
# unfinished.sh - a killed import leaves a file that is no memory: no export has it, and the next import removes it. That of a living
# import, and what somebody else has given such a name, stay where they are.
#
#   tests/ops/unfinished.sh [BUILD]      CTL_OLD=engramctl: shows what that one does instead
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 tar
if [ "$(id -u)" -ne 0 ]; then
    skip unfinished "not root: the files of others are part of it"
    exit 0
fi
CTL=${CTL_OLD-$CTL}
cd "$WORK" || exit 1
ctl() { timeout 60 "$CTL" "$@"; }
must_mount "$WORK/store" "$WORK/mnt"
PART='.engramctl-[0-9]*-[0-9]*.part'
parts() { find mnt -name "$PART" -printf '%P\n' | sort; }

# ---- archives of one large memory each, fed by hand: all but their end
for name in dead living again; do
    head -c 20000000 /dev/urandom >$name && tar -cf $name.tar $name
    mkfifo $name.feed
done
mkdir mnt/d
begin() { # NAME: an import that is in the middle; its number is in $IMPORT
    local before
    before=$(parts)
    timeout 120 "$CTL" import --format tar "$1.feed" mnt/d >"$1.said" 2>&1 &
    IMPORT=$!
    exec {FEED}>"$1.feed"
    head -c 15000000 "$1.tar" >&"$FEED"
    check "the import of $1 is in the middle" wait_until 20 eval "test \"\$(parts)\" != '$before'"
}
begin dead
STALE=$(parts)
# the process itself: timeout(1) is above it
kill -KILL "$(cat "/proc/$IMPORT/task/$IMPORT/children")"
exec {FEED}>&-
wait $IMPORT 2>/dev/null
check_equal "a killed import leaves a file" "1 $STALE" "$(wc -l <<<"$STALE") $(parts)"
begin living
LIVING=$IMPORT LIVING_FEED=$FEED
LIVING_PART=$(parts | grep -vxF "$STALE")
check "the next import has removed it" test ! -e "mnt/$STALE"
check_equal "  and has said so" 1 "$(grep -c 'removed; an import that has ended' living.said)"

# ---- others: a file of somebody else, one of ours with two names, a folder, and a memory whose id has that form
echo other >mnt/d/.engramctl-1-1.part
chown 1002:1002 mnt/d/.engramctl-1-1.part
echo linked >mnt/d/.engramctl-1-2.part && ln mnt/d/.engramctl-1-2.part mnt/d/linked
mkdir mnt/d/.engramctl-1-3.part && echo in >mnt/d/.engramctl-1-3.part/note
for name in .engramctl-1-4.part.x .engramctl-1.part .engramctl-x-1.part engramctl-1-1.part; do echo "$name" >"mnt/d/$name"; done
echo '{"id":".engramctl-7-7.part","content":"a memory"}' >named.jsonl
check "a memory of that name" ctl import named.jsonl mnt/d
begin again
check "an import beside a living one" test -e "mnt/$LIVING_PART"
tail -c +15000001 again.tar >&"$FEED"
exec {FEED}>&-
wait "$IMPORT"
check_equal "  is done" "0 0" "$? $(cmp again mnt/d/again; echo $?)"
check_equal "what somebody else has called so stays" "other" "$(cat mnt/d/.engramctl-1-1.part)"
check_equal "and what has another name" "linked" "$(cat mnt/d/.engramctl-1-2.part)"

# ---- no export has them, and each says so
wanted=$(printf '%s\n' .engramctl-1-3.part/note .engramctl-1-4.part.x .engramctl-1.part .engramctl-7-7.part .engramctl-x-1.part again \
    engramctl-1-1.part linked | sort)
plain=$(sort <<<"${wanted/.engramctl-7-7.part/%f.engramctl-7-7.part}")
names() { # FORMAT OUT
    case $1 in
    jsonl*) python3 -c 'import json, sys; print("\n".join(json.loads(l)["id"] for l in open(sys.argv[1])))' "$2" ;;
    tar) tar tf "$2" | grep -v '/$' ;;
    tree) (cd "$2" && find . -type f -printf '%P\n') ;;
    esac | sort
}
for format in jsonl tar tree; do
    ctl export --format $format mnt/d "out.$format" >out.said 2>&1
    status=$?
    [ $format = jsonl ] && want=$wanted || want=$plain
    check_equal "$format: memories only" "0 $want" "$status $(names $format "out.$format")"
    check_equal "  and the three others are named" 3 "$(grep -c "left out; no memory" out.said)"
done
ctl export --snapshot mnt/d out.jsonl >out.said 2>&1
check_equal "a snapshot: memories only" "0 $wanted" "$? $(names jsonl out.jsonl)"
check_equal "in JSON, too" "3 0" "$(ctl export --json mnt/d out.jsonl 2>/dev/null |
    python3 -c 'import json, sys; d = json.load(sys.stdin); print(d["unfinished"], d["failed"])')"
tar -C mnt/d -cf with.tar .engramctl-1-1.part linked
mkdir mnt/e
ctl import with.tar mnt/e >out.said 2>&1
check_equal "an archive with one is imported without it" "1 1 linked" \
    "$? $(grep -c 'has the name of a file that an import has not finished' out.said) $(ls -A mnt/e)"
ctl import --format tree mnt/d copied >out.said 2>&1
check_equal "as is a tree" "0 3" "$? $(grep -c 'left out; no memory' out.said)"

# ---- the living one ends well
tail -c +15000001 living.tar >&"$LIVING_FEED"
exec {LIVING_FEED}>&-
wait "$LIVING"
check_equal "the living one is done" "0 0" "$? $(cmp living mnt/d/living; echo $?)"

# ---- in a store that is not mounted
echo half >mnt/d/.engramctl-9-0.part
check "unmount" unmount_store "$WORK/mnt"
ctl export store out.jsonl >out.said 2>&1
check_equal "a store: left out, and named" "0 0 1" "$? $(names jsonl out.jsonl | grep -c 'engramctl-9-0') $(grep -c '^d/.engramctl-9-0.part: left out' out.said)"
mkdir in && mkdir in/d && head -c 10000000 dead >in/d/more
check "an import into it" ctl import --format tree in store
check "the store is whole" ctl check store
must_mount "$WORK/store" "$WORK/mnt"
check "  has removed what was left" test ! -e mnt/d/.engramctl-9-0.part
check_equal "  but not what is somebody else's" "other" "$(cat mnt/d/.engramctl-1-1.part)"
check "unmount" unmount_store "$WORK/mnt"
t_end
