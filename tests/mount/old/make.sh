#!/usr/bin/env bash
# make.sh - has an engramfs of another version write a store with one of each kind, for tests/mount/old_store.sh:
# two checkpoints, survivors of a compaction, a log behind them that ends in kill -9, an orphan that was open then;
# with "closed" it ends in an unmount instead, so that all is in its newest checkpoint.
#
#   tests/mount/old/make.sh BUILD VERSION [closed]   as root; writes tests/mount/old/VERSION[-closed].tar.xz and .json
#
# Those of 929e3dc were made by that commit's own build. A store is made anew only for a new version of the format.
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../../lib.sh"
t_begin "$1"
OUT=$T_LIB/mount/old/$2${3:+-$3}
FILL="$T_LIB/mount/old/fill.py"
STORE=$WORK/store MNT=$WORK/mnt C=$WORK/mnt/.engram
newest() { basename "$(find "$STORE" -name '*.ckp' | sort | tail -n 1)"; }
at_start() { must_mount "$STORE" "$MNT" -o segment_size=64k,allow_other,dev; }
at_start
echo auto_compact=0 >"$C/config"
check "first step" python3 "$FILL" first "$MNT"
check "unmount: a checkpoint" unmount_store "$MNT"
at_start
for i in $(seq 1 3 37); do rm "$MNT/people/m$(printf %02d "$i")"; done
check "compaction: survivors, and a second checkpoint" sh -c "echo run >'$C/compact'"
for i in $(seq 1 3 37); do echo "back $i" >"$MNT/people/m$(printf %02d "$i")"; done
check "second step" python3 "$FILL" second "$MNT"
check "unmount: a third" unmount_store "$MNT"
at_start
python3 "$FILL" third "$MNT" >"$WORK/out" &
THIRD=$!
check "third step" wait_until 60 grep -q ready "$WORK/out"
python3 "$FILL" look "$MNT" >"$OUT.json"
if [ "${3-}" = closed ]; then
    kill $THIRD
    wait $THIRD 2>/dev/null
    check "unmount: a checkpoint of all" unmount_store "$MNT"
else
    for pid in $(daemons_under "$MNT"); do kill -9 "$pid"; done
    check "kill -9" wait_until 30 no_daemon "$MNT"
    umount -l "$MNT"
    kill $THIRD
    wait $THIRD 2>/dev/null
fi
rm -f "$STORE/reserve"
tar -C "$STORE" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -S -cJf "$OUT.tar.xz" .
ls -l "$STORE" "$OUT".*
t_end
