# shellcheck shell=bash
#
# debian_inside.sh - what tests/ops/debian.sh runs in a Debian 12 that has booted with systemd: the service as an
# operator uses it. Lines 'ok - ', 'not ok - ' on standard output.
# shellcheck disable=SC2317,SC2016

export LC_ALL=C
ok() { echo "ok - service: $1"; }
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then ok "$name"; else echo "not ok - service: $name: $(tail -n 3 <<<"$out" | tr '\n' ' ')"; fi
}
check_equal() { if [ "$2" = "$3" ]; then ok "$1"; else echo "not ok - service: $1: expected '$2', got '$3'"; fi; }
fails() { ! "$@"; }
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}
UNIT=engramfs@x.service STORE=/var/lib/engramfs/x MNT=/srv/engramfs/x
main_pid() { systemctl show -P MainPID "$UNIT"; }
# logged PRIORITY TEXT [UNIT]: is there such a line of the unit in the journal, with this level?
logged() {
    journalctl -u "${3:-$UNIT}" -o json --output-fields=MESSAGE,PRIORITY --no-pager |
        grep "\"PRIORITY\":\"$1\"" | grep -q -- "\"MESSAGE\":\"[^<\"]*$2"
}
limit() { grep -qE "^$1 +$2 " "/proc/$(main_pid)/limits"; }

check "systemd-analyze verify" systemd-analyze verify --man=no /usr/lib/systemd/system/engramfs@.service /usr/lib/systemd/system/engram-gateway@.service
check "the group engramfs is there" getent group engramfs

# ---- started: ready when the mount answers
check "start" systemctl enable --now "$UNIT"
check "which returns when the mount answers" sh -c "echo hello >$MNT/a && cat $MNT/a"
check "the mount is in the host's namespace" grep -q "^$STORE $MNT fuse.engramfs " /proc/1/mounts
check "other users may enter" setpriv --reuid=65534 --regid=65534 --clear-groups cat "$MNT/a"
check "but not use the control files" fails setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "echo run >$MNT/.engram/compact"
check "the journal has its lines with their level" wait_until 10 logged 6 "$STORE mounted on $MNT"
check "no core dumps" limit "Max core file size" 0
check "descriptors: as many as the service is given" sh -c "awk '/^Max open files/ {exit \$4 != \$5}' /proc/$(main_pid)/limits"
check "no new privileges" grep -q 'NoNewPrivs:.*1' "/proc/$(main_pid)/status"
check "system calls are filtered" grep -q 'Seccomp:.*2' "/proc/$(main_pid)/status"
echo nonsense >>$STORE/config
check "reload" systemctl reload "$UNIT"
check "it reads config again" wait_until 10 logged 6 "config was read again"
check "what is wrong there is a warning" wait_until 10 logged 4 "'nonsense' is not understood"
kill -USR1 "$(main_pid)"
check "SIGUSR1 writes the status" wait_until 10 logged 6 "status: "

# ---- what it does for a living, under its restrictions
check "attributes, chown, setuid modes, special files" sh -c "cd $MNT && setfattr -n user.engram.confidence -v 0.5 a && chown 1000:1000 a && chmod 4755 a && mkfifo p && mknod n c 1 3"
for i in 1 2 3 4 5 6; do head -c 300000 /dev/urandom >"$MNT/m$i"; done
rm "$MNT"/m[1-5]
check "compaction" sh -c "echo run >$MNT/.engram/compact"
check "scrub" sh -c "echo run >$MNT/.engram/scrub"
check "backup" engram-backup "$MNT" "$STORE" /root/backup
check "of which the copy is whole" engramctl check /root/backup

check "a folder for who is to write" install -d -o nobody -g nogroup "$MNT/agent"
check "who writes" runuser -u nobody -- touch "$MNT/agent/note"

# ---- the gateway beside it
health() { curl -sf --max-time 10 http://127.0.0.1:9464/health; }
asks() { curl -sf -H "Authorization: Bearer $(cat /var/lib/engram-gateway/x/token)" "$@"; } # the unit makes it
compact() { asks --max-time 20 -X POST http://127.0.0.1:9464/api/v1/maintenance/compact; }
check "start the gateway" systemctl enable --now engram-gateway@x
check "it answers" wait_until 10 health
check_equal "the group of ctl_group is its primary one" engramfs "$(ps -o group= -p "$(systemctl show -P MainPID engram-gateway@x)")"
check "it may compact" compact
metrics() { asks http://127.0.0.1:9464/metrics | grep -q engram_content_compactions_total; }
check "metrics" metrics
check_equal "not for who has no token" 401 "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9464/metrics)"

# ---- stopped and started, killed, stopped while it is busy
check "restart" systemctl restart "$UNIT"
check "all is there" grep -q hello "$MNT/a"
check "the gateway sees the new mount" wait_until 20 health
check "and may compact it" compact
OLD=$(main_pid)
kill -9 "$OLD"
again() { [ "$(main_pid)" != "$OLD" ] && [ "$(main_pid)" != 0 ] && systemctl is-active "$UNIT"; }
check "it is started again after kill -9" wait_until 30 again
check "on the same mount point, with all that was there" grep -q hello "$MNT/a"
check "the gateway finds it" wait_until 20 health
{ exec sleep 1000; } <"$MNT/a" &
HOLDER=$!
holds() { [ "$(readlink /proc/$HOLDER/fd/0)" = "$MNT/a" ]; }
wait_until 10 holds
check "stop while a file is open" timeout 60 systemctl stop "$UNIT"
check "it is not a failure" test "$(systemctl is-failed "$UNIT")" = inactive
check "nothing is mounted" fails mountpoint -q "$MNT"
kill $HOLDER
check "the store is whole" engramctl check "$STORE"
check "without its mount the gateway says so" test "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9464/health)" = 503
check "stop the gateway" systemctl stop engram-gateway@x

# ---- what cannot be mounted
mkdir -p /var/lib/engramfs/bad && echo nothing >/var/lib/engramfs/bad/file
check "a folder that is no store is refused" fails systemctl start engramfs@bad
check "with an error in the journal" wait_until 10 logged 3 "not a store" engramfs@bad

# ---- fstab
mkdir -p /mnt/memories
echo "/var/lib/memories  /mnt/memories  fuse.engramfs  noatime,allow_other,nofail  0  0" >>/etc/fstab
systemctl daemon-reload
check "a line of fstab, by systemd" systemctl start mnt-memories.mount
check "it is mounted" sh -c "echo x >/mnt/memories/a && umount /mnt/memories"
released() { engramctl check /var/lib/memories; }
check "and whole" wait_until 30 released
echo "# $(systemd-analyze security --no-pager "$UNIT" | tail -n 1 | tr -cd '[:print:]')"
echo "# $(systemd-analyze security --no-pager engram-gateway@x | tail -n 1 | tr -cd '[:print:]')"
echo "end of the tests inside"
