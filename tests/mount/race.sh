#!/usr/bin/env bash
# race_mount.c on a store with small segments. Second argument: verified reads that must overlap compactions.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
READS=${2:-1000000}
if [ ! -x "$BUILD/tests/mount/race_mount" ]; then
    skip race "tests/mount/race_mount is not built"
    exit 0
fi
must_mount "$WORK/store" "$WORK/mnt" -o segment_size=4M
# What the daemon says that it has read.
reads_of_daemon() { sed -n 's/^engram_operations_total{op="read"} //p' "$WORK/mnt/.engram/metrics"; }
before=$(reads_of_daemon)
# Not through check(): its figures are wanted also when all is well.
if "$BUILD/tests/mount/race_mount" "$WORK/mnt" "$READS" ${SEED:+"$SEED"} >"$WORK/out" 2>"$WORK/err"; then
    ok "$READS reads beside compactions, none wrong"
else
    not_ok "$READS reads beside compactions" "$(head -n 3 "$WORK/err" | tr '\n' ';')"
fi
cat "$WORK/out"
verified=$(sed -n 's/^# \([0-9]*\) verified reads.*/\1/p' "$WORK/out")
came=$(($(reads_of_daemon) - before))
if [ "${verified:-0}" -gt 0 ] && [ "$came" -ge "$verified" ]; then
    ok "each of the $verified verified reads reached the daemon, which counted $came"
else
    not_ok "each verified read reached the daemon" "$came of ${verified:-no} did"
fi
check "engramctl compact" "$CTL" compact "$WORK/mnt"
check "unmount" unmount_store "$WORK/mnt"
check "engramctl check" "$CTL" check "$WORK/store"
t_end
