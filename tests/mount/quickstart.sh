#!/usr/bin/env bash
# The newcomer's first command, twice with the same store.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs rsync getfattr findmnt
export BUILD
QS="$ROOT/tools/quickstart.sh"
usage_of() { "$QS" "$@" 2>&1 | head -n 1; }

check_equal "no arguments give the usage" "usage: tools/quickstart.sh STORE MOUNTPOINT" "$(usage_of)"
check_equal "three arguments give the usage" "usage: tools/quickstart.sh STORE MOUNTPOINT" "$(usage_of a b c)"
check "--help" "$QS" --help
check_fails "a mount point inside the store" "must not lie inside" "$QS" "$WORK/s" "$WORK/s/mnt"
for run in first second third; do
    out=$(timeout 300 "$QS" "$WORK/store" "$WORK/mnt" 2>&1)
    check_equal "$run run: status" 0 $?
    last=$(tail -n 1 <<<"$out")
    case $last in
    "To unmount:"*"$WORK/mnt") ok "$run run: the last line says how to unmount" ;;
    *) not_ok "$run run: the last line says how to unmount" "$last" ;;
    esac
    check "$run run: it is mounted" mountpoint -q "$WORK/mnt"
    check_equal "$run run: the overwritten memory" "Ada moved her birthday dinner to the boathouse this year." \
        "$(cat "$WORK/mnt/people/ada/birthday")"
    check "$run run: shows where the space went" grep -q "^  dead" <<<"$out"
    check "$run run: shows the compaction's figures" grep -q '"bytes_reclaimed"' <<<"$out"
    # the second run finds it mounted, the third one a dead daemon
    if [ $run = second ]; then
        for pid in $(daemons_under "$WORK"); do kill -9 "$pid"; done
        wait_until 30 no_daemon "$WORK"
    fi
done
check "unmount as it says" bash -c "${last#To unmount:}"
check "the daemon ends" wait_until 60 no_daemon "$WORK"
t_end
