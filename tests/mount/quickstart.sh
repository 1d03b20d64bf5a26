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
    check "$run run: keeps a history" grep -qx history=30d "$WORK/mnt/.engram/config"
    check "$run run: what was removed is back" sh -c "ls '$WORK/mnt/projects' | grep -q ."
    # the second run finds it mounted, the third one a dead daemon
    if [ $run = second ]; then
        for pid in $(daemons_under "$WORK"); do kill -9 "$pid"; done
        wait_until 30 no_daemon "$WORK"
    fi
done
QUOTED="$WORK/o'brien; touch \$EVIL"
EVIL=$WORK/evil timeout 300 "$QS" "$QUOTED store" "$QUOTED mnt" >"$WORK/quoted.log" 2>&1
check_equal "an apostrophe in both names: status" 0 $?
check "nothing in a name is run" test ! -e "$WORK/evil"
check "and the last line can be run" bash -c "$(tail -n 1 "$WORK/quoted.log" | sed 's/^To unmount://')"
check "its daemon ends" wait_until 60 no_daemon "$QUOTED mnt"
must_mount "$WORK/own" "$WORK/own-mnt"
mkdir "$WORK/own-mnt/routines" && echo mine >"$WORK/own-mnt/routines/morning"
check_fails "a store with memories of one's own is left alone" "memories of your own" timeout 100 "$QS" "$WORK/own" "$WORK/own-mnt"
check_equal "nothing of it is gone" "routines mine" "$(ls "$WORK/own-mnt") $(cat "$WORK/own-mnt/routines/morning")"
check "unmount it" unmount_store "$WORK/own-mnt"
check "unmount as it says" bash -c "${last#To unmount:}"
check "the daemon ends" wait_until 60 no_daemon "$WORK"

# ---- what is missing, and cannot be had: told in a line, and nothing is begun
mkdir "$WORK/bin"
for tool in bash sh env dirname realpath mktemp rm cat tail grep id basename; do ln -s "$(command -v $tool)" "$WORK/bin/$tool"; done
check_fails "without apt and packages: their names" "meson  \(cmd: meson\)" env PATH="$WORK/bin" BUILD="$WORK/none" "$QS" "$WORK/new" "$WORK/new-mnt"
printf '#!/bin/sh\necho "Temporary failure resolving deb.debian.org" >&2\nexit 100\n' >"$WORK/bin/apt-get"
chmod +x "$WORK/bin/apt-get"
if [ "$(id -u)" -eq 0 ]; then
    check_fails "without the network: what apt says, and what it was for" "apt could not install \(is there a network\?\): .*meson" env PATH="$WORK/bin" BUILD="$WORK/none" "$QS" "$WORK/new" "$WORK/new-mnt"
fi
check "neither has made anything" test ! -e "$WORK/new" -a ! -e "$WORK/new-mnt"
t_end
