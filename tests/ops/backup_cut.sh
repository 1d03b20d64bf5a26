#!/usr/bin/env bash
# backup_cut.sh - a backup that is killed at each change of a name, as by a power cut: what is there is the earlier backup
# or the new one, whole, for whoever only reads and for who mounts it, and the next run goes on. And at each such change
# of a first one.
#
#   tests/ops/backup_cut.sh [BUILD]      SEED=N: the same stores again
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs cc cmp
cd "$WORK" || exit 1
SEED=${SEED:-$RANDOM}
echo "# SEED=$SEED"
if ! cc -shared -fPIC -Wall -Werror -o cut.so "$ROOT/tests/ops/names_cut_shim.c" -ldl; then
    not_ok "the shim is built"
    exit 1
fi
cut_backup() { # N FOLDER: killed at its N-th change of a name
    rm -f cut.log
    { CUT_LOG=$WORK/cut.log CUT_AT=$1 LD_PRELOAD=$WORK/cut.so timeout 60 "$CTL" backup --no-verify mnt "$2" >said 2>&1; } 2>/dev/null
}
remount() {
    check "unmount" unmount_store "$WORK/mnt"
    must_mount "$WORK/store" "$WORK/mnt" -o segment_size=256k
}
some() { # N: so many random changes
    local i
    for ((i = 0; i < $1; i++)); do
        case $((RANDOM % 6)) in
        0 | 1 | 2) head -c $((RANDOM * 2)) /dev/urandom >mnt/f$((RANDOM % 25)) ;;
        3) rm -f mnt/f$((RANDOM % 25)) ;;
        4) mkdir -p mnt/d$((RANDOM % 3)) && echo $RANDOM >mnt/d$((RANDOM % 3))/s$((RANDOM % 5)) ;;
        5) truncate -s $((RANDOM * 2)) mnt/f$((RANDOM % 25)) ;;
        esac 2>/dev/null
    done
}
# What a store says: 0, and all of it, to whoever only reads.
reads() { "$CTL" check "$1" >checked 2>&1 && "$CTL" export --snapshot "$1" - 2>>checked | sha256sum; }
is_one_of() { # NAME STATE: of the earlier backup or of the new one
    case $2 in
    "$OLD") ok "$1: the earlier one" ;;
    "$NEW") ok "$1: the new one" ;;
    *) not_ok "$1" "neither the earlier backup nor the new one: $(tail -n 1 checked)" ;;
    esac
}

# ---- over an earlier one. KIND: what was between the two
for kind in writes compaction; do
    RANDOM=$((SEED + ${#kind}))
    must_mount "$WORK/store" "$WORK/mnt" -o segment_size=256k
    some 60
    [ $kind = writes ] || remount
    check "a backup, then $kind" "$CTL" backup mnt first
    OLD=$(reads first)
    some 40
    [ $kind = writes ] || { echo run >mnt/.engram/compact && remount; }
    some 5
    echo compact_rate=1000000 >mnt/.engram/config
    cp -a first whole && cut_backup -1 whole
    NEW=$(reads whole)
    check_equal "the new one is what is mounted" "$("$CTL" export mnt - 2>/dev/null | sha256sum)" "$NEW"
    # What a power cut might take back: names of copies, before the list counts; names that were given, before it goes.
    check "each step is durable before the next ($kind)" awk '
        $1 == "sync" { synced = 1; next }
        $3 == ".engram-backup.names" { if (!synced) exit 1; listed = 1 }
        $1 == "unlink" && $2 == ".engram-backup.names" { if (!synced) exit 1; gone = 1 }
        listed && !gone && !begun++ && !synced { exit 1 }
        { synced = 0 }
        END { if (!gone || !synced) exit 1 }' cut.log
    seen=
    for ((n = 0; n < 200; n++)); do
        rm -rf bk && cp -a first bk
        cut_backup $n bk && break
        state=$(reads bk)
        is_one_of "$kind, killed at change $n, read" "$state"
        seen="$seen $state"
        [ $((n % 3)) = 1 ] || continue
        must_mount "$WORK/bk" "$WORK/mnt2"
        check "  and unmounted" unmount_store "$WORK/mnt2"
        check_equal "  and mounted, it stays so" "$state" "$(reads bk)"
    done
    check "$kind: the run came to its end after $n changes" test $n -gt 3 -a $n -lt 200
    check "$kind: both were seen" test "${seen/$OLD/}" != "$seen" -a "${seen/$NEW/}" != "$seen"
    rm -rf bk && cp -a first bk
    cut_backup $((n / 2)) bk
    check "$kind: the run after one that was killed" "$CTL" backup mnt bk
    check_equal "makes it the new one" "$NEW" "$(reads bk)"
    check_equal "and leaves nothing" "" "$(find bk -name '.engram-backup*')"
    check "unmount" unmount_store "$WORK/mnt"
    rm -rf store first whole bk
done

# ---- one that was interrupted is mounted to be read only; and its list of names is damaged
must_mount "$WORK/store" "$WORK/mnt" -o segment_size=256k
some 20
check "a backup" "$CTL" backup mnt first
some 20 && echo last >mnt/last
cut_backup 1 first
check "is interrupted when its list is there" test -s first/.engram-backup.names
must_mount "$WORK/first" "$WORK/mnt2" -o ro
check_equal "mounted with -o ro, it is the new one" last "$(cat mnt2/last)"
check_fails "whose files have not their names, for a backup of it" "mount it for writing once" "$CTL" backup mnt2 second
check_equal "an export of it has all" "$("$CTL" export mnt - 2>/dev/null | sha256sum)" "$("$CTL" export --snapshot mnt2 - 2>/dev/null | sha256sum)"
check "unmount" unmount_store "$WORK/mnt2"
check "nothing of it was changed" test -s first/.engram-backup.names
sed -i 's/^+ s/+ t/' first/.engram-backup.names
check_fails "a list that is damaged" "run engramctl backup again" "$CTL" check first
check_fails "is no list for a mount either" "run engramctl backup again" "$ENGRAMFS" first mnt2
check "the next run" "$CTL" backup mnt first
check_equal "makes it good" "$("$CTL" export mnt - 2>/dev/null | sha256sum)" "$(reads first)"

# ---- a first one: no store before it is whole, and the next run completes it, whatever it had come to
echo compact_rate=2000000 >mnt/.engram/config
NEW=$("$CTL" export mnt - 2>/dev/null | sha256sum)
for ((n = 0; n < 200; n++)); do
    rm -rf bk
    cut_backup $n bk && break
    if [ -e bk/superblock ] || [ -e bk/superblock.copy ] || [ -e bk/.engram-backup.names ]; then
        check_equal "a first one, killed at change $n, is whole" "$NEW" "$(reads bk)"
    else
        check_fails "a first one, killed at change $n, is none" "not a store" "$CTL" check bk
    fi
    check "and the next run completes it" "$CTL" backup --no-verify mnt bk
    check_equal "  to what it should be" "$NEW" "$(reads bk)"
done
check "a first one has changes, too" test $n -gt 3 -a $n -lt 200
# and a store that has gone on, by a compaction, since the run that was interrupted
cut_backup "$(awk '$1 != "sync" { if (/names.part/) exit; n++ } END { print n }' cut.log)" bk0
check "all files, and no superblock" test -e bk0/s00000001.seg -a ! -e bk0/superblock -a ! -e bk0/superblock.copy
some 20 && echo run >mnt/.engram/compact
NEW=$("$CTL" export mnt - 2>/dev/null | sha256sum)
for ((n = 0; n < 200; n++)); do
    rm -rf bk && cp -a bk0 bk
    cut_backup $n bk && break
    if "$CTL" check bk >checked 2>&1 || ! grep -q "not a store" checked; then
        check_equal "files of another moment, killed at change $n" "$NEW" "$(reads bk)"
    fi
done
check "that comes to its end, too" test $n -gt 3 -a $n -lt 200
rm bk/superblock bk/superblock.copy
check "a folder that has all but the superblocks is gone on with" "$CTL" backup mnt bk
check_equal "as far as it should" "$NEW" "$(reads bk)"
mkdir others && echo mine >others/config
check_fails "a folder with a config of somebody else's is no backup" "is no backup, and not empty: config" "$CTL" backup mnt others
check_equal "and stays" mine "$(cat others/config)"
check "unmount" unmount_store "$WORK/mnt"
t_end
