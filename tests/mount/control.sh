#!/usr/bin/env bash
# The control directory: every file, every verb, every errno, and what a mount refuses.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3

STORE=$WORK/store MNT=$WORK/mnt C=$WORK/mnt/.engram
chmod 755 "$WORK"
must_mount "$STORE" "$MNT" -o allow_other 2>/dev/null || exit 1
FILES="compact maintenance scrub hold damaged segments stats.json metrics status config position wait-for changes conflicts help" FOLDERS="changes-since snapshots at history deleted"
WRITABLE="compact maintenance scrub hold config wait-for"

put() { printf '%s\n' "$2" >"$C/$1"; }
state() { json_get state <"$C/$1"; }
is_state() { [ "$(state "$1")" = "$2" ]; }

# -- hidden, but reachable
check_equal "hidden in ls -a" "" "$(ls -A "$MNT")"
check_equal "find does not see it" "1" "$(find "$MNT" | wc -l)"
check_equal "listed when asked by name" "$(tr ' ' '\n' <<<"$FILES $FOLDERS" | sort)" "$(ls "$C" | sort)"
check "stat .engram" test -d "$C"

# -- every file reads as one frozen text of its true size
for f in $FILES; do
    check "cat $f" cat "$C/$f"
    check "cp $f" cp "$C/$f" "$WORK/copy"
    # two looks are two texts, so the size is compared within one open
    check "$f: its size is true" python3 - "$C/$f" <<'P'
import os, sys
f = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(f).st_size
first = os.read(f, 1 << 24)
assert len(first) == size, (len(first), size)
assert os.pread(f, 1 << 24, 0) == first
assert os.pread(f, 1 << 24, 7) == first[7:]
assert os.fstat(f).st_size == size
P
    if [ "$f" != damaged ] && [ "$f" != conflicts ]; then check "$f is not empty" test -s "$WORK/copy"; fi
done
check "a text is of the moment of its opening, a later one of its own" python3 - "$MNT" <<'P'
import json, os, sys
top = sys.argv[1]
def memories(f):
    return json.loads(os.pread(f, 1 << 20, 0))["memories"]
first = os.open(top + "/.engram/stats.json", os.O_RDONLY)
open(top + "/moment", "w").write("x")
second = os.open(top + "/.engram/stats.json", os.O_RDONLY)
os.unlink(top + "/moment")
assert (memories(first), memories(second), memories(first)) == (0, 1, 0), (memories(first), memories(second))
P
for f in compact maintenance scrub stats.json; do
    check "$f is JSON" python3 -m json.tool "$C/$f"
done
check "tar of the control files" bash -c 'tar -cf - -C "$1" .engram | tar -tf - >/dev/null' _ "$MNT"
check_equal "st_ino stays" "$(stat -c %i "$C/compact")" "$(stat -c %i "$C/compact")"
for key in state old_size new_size bytes_reclaimed duration_ms fragmentation_before fragmentation_after \
    segments_done segments_total bytes_moved; do
    check "compact has $key" json_get "$key" <"$C/compact"
done
for key in total_bytes live_bytes fragmentation_ratio compactions_total compaction_duration_ms bytes_reclaimed_total \
    last_compaction; do
    check "stats.json has $key" json_get "$key" <"$C/stats.json"
done
for key in compaction reason fragmentation_ratio total_bytes; do
    check "maintenance has $key" json_get "$key" <"$C/maintenance"
done
for m in engram_content_storage_total_bytes engram_content_storage_live_bytes \
    engram_content_storage_fragmentation_ratio engram_content_compactions_total \
    engram_content_compaction_duration_seconds_bucket engram_content_bytes_reclaimed_total; do
    check "metrics has $m" grep -q "^$m" "$C/metrics"
done
if command -v promtool >/dev/null; then check "promtool" bash -c 'promtool check metrics <"$1"' _ "$C/metrics"; fi

# -- names that cannot be made or unmade
DENIED="Operation not permitted|Permission denied|File exists|Read-only|busy|not supported|Invalid argument"
check_fails "mkdir .engram" "File exists|$DENIED" mkdir "$C"
check_fails "create in .engram" "$DENIED" touch "$C/new"
check_fails "mkdir in .engram" "$DENIED" mkdir "$C/newdir"
check_fails "rm a control file" "$DENIED" rm -f "$C/compact"
check_fails "rmdir .engram" "$DENIED|not empty" rmdir "$C"
check_fails "mv .engram away" "$DENIED" mv "$C" "$MNT/other"
echo x >"$MNT/x"
check_fails "mv onto .engram" "$DENIED|cannot overwrite|directory" mv -T "$MNT/x" "$C"
check_fails "mv onto a control file" "$DENIED|cross-device" mv -f "$MNT/x" "$C/compact"
check_fails "ln into .engram" "$DENIED|cross-device" ln "$MNT/x" "$C/x"
check_fails "ln -s as .engram" "$DENIED" ln -sT x "$C"
check_fails "write to a file that only tells" "$DENIED" bash -c 'echo run >"$1"' _ "$C/stats.json"
check_fails "no such control file" "No such file|$DENIED" cat "$C/nonsense"
check_equal "x survived" x "$(cat "$MNT/x")"

# -- bad verbs and values
for f in compact maintenance scrub hold config; do
    check_fails "$f: unknown verb" "Invalid argument" put "$f" nonsense
done
check_fails "compact: rate=fast" "Invalid argument" put compact rate=fast
check_fails "compact: run with an argument" "Invalid argument" put compact "run now"
check "compact: an empty line asks for nothing" put compact ""
check_fails "config: unknown key" "Invalid argument|No such" put config nonsense=1
check_fails "config: bad value" "Invalid argument" put config compact_min_fragmentation=2
check_fails "config: no value" "Invalid argument" put config compact_min_fragmentation
check_fails "hold: release without hold" "Invalid argument" put hold release
# The kernel's cache cuts a write that begins within a page at the page's end: a line is done whole or not at all.
cat >"$WORK/offsets.py" <<'P'
import errno, os, resource, sys
page, whole, folder = resource.getpagesize(), sys.argv[2] == "whole", sys.argv[1] + "/.engram/"
def rate():
    with open(folder + "config") as f:
        return next(line for line in f if line.startswith("compact_rate=")).encode()
def put(text, at, more=0):
    f = os.open(folder + "config", os.O_WRONLY | more)
    try:
        return os.pwrite(f, text, at)
    except OSError as e:
        return errno.errorcode[e.errno]
    finally:
        os.close(f)
line = b"compact_rate=%d\n"
for i, at in enumerate((0, 1, page - 96, page, 2 * page, (1 << 40) + 5, page - 16)):
    text = line % (10 + i) # 16 bytes: the last one ends with the page
    assert put(text, at) == len(text) and rate() == text, (at, rate())
lines = b"#" * (2 * page) + b"\n" + line % 20
assert put(lines, 0) == len(lines) and rate() == line % 20
for cut in range(1, 19): # also where the part before the end is a line, of another value
    for end in (page, 2 * page, 1 << 40):
        before, text = rate(), line % (10000 + cut)
        wrote = put(text, end - cut)
        if whole:
            assert wrote == len(text) and rate() == text, (cut, wrote, rate())
        else:
            assert wrote == "EINVAL" and rate() == before, (cut, wrote, before, rate())
            with open(folder + "status") as f:
                assert "goes over the end of a page" in f.read()
assert put(line % 1234567, page - 5, os.O_DIRECT) == 21 and rate() == line % 1234567
assert put(line % 0, 0) == 15
P
check "a line at any offset is done, or nothing of it" python3 "$WORK/offsets.py" "$MNT" cut
check_fails "compact: pause when none runs" "No such process" put compact pause
check_fails "compact: cancel when none runs" "No such process" put compact cancel

# -- verbs that succeed
check "compact: run on a store without garbage" put compact run
check "compact: wait when none runs" put compact wait
check "compact: estimate" put compact estimate
check "compact: >> appends" bash -c 'echo estimate >>"$1"' _ "$C/compact"
check "compact: without a newline" bash -c 'printf estimate >"$1"' _ "$C/compact"
check "maintenance: run" put maintenance run
check_equal "maintenance: below the thresholds nothing is done" null "$(json_get compaction <"$C/maintenance")"
check "scrub: run" put scrub run
check_equal "scrub: done" "done" "$(state scrub)"
check_equal "scrub: nothing damaged" 0 "$(json_get damaged <"$C/scrub")"
check_equal "damaged: empty" "" "$(cat "$C/damaged")"
check "hold: hold" put hold hold
check "hold: release" put hold release
check "config: set" put config compact_min_fragmentation=0.25
check "config: shows it" grep -qx 'compact_min_fragmentation=0.25' "$C/config"

# -- one compaction at a time; pause, resume, cancel; a writer that is interrupted
python3 - "$MNT" <<'P'
import os, sys
for i in range(64):
    with open("%s/big%d" % (sys.argv[1], i), "wb") as f:
        f.write(os.urandom(1 << 18))
for i in range(0, 64, 2):
    os.unlink("%s/big%d" % (sys.argv[1], i))
P
digest=$(content_digest "$MNT")
check "rate=64k" put compact rate=64k
check "start" put compact start
check "it runs" wait_until 10 is_state compact running
check_fails "EBUSY: run" "busy" put compact run
check_fails "EBUSY: start" "busy" put compact start
check_fails "EBUSY: maintenance run" "busy" put maintenance run
check "pause" put compact pause
check "it is paused" wait_until 10 is_state compact paused
check_equal "reads go on while it is paused" "$digest" "$(content_digest "$MNT")"
check "resume" put compact resume
check "it runs again" wait_until 10 is_state compact running
echo wait >"$C/compact" 2>"$WORK/wait.err" &
waiter=$!
is_waiting() { [ -e /proc/$waiter ] && [ "$(cut -d ' ' -f 3 /proc/$waiter/stat)" != R ]; }
wait_until 5 is_waiting
cat >"$WORK/interrupt.py" <<'P'
# A writer of `wait` that gets a signal: EINTR at once, while the work goes on.
import errno, os, signal, sys, threading, time
signal.signal(signal.SIGUSR1, lambda *a: (_ for _ in ()).throw(InterruptedError()))
main = threading.main_thread().ident
stop = False
def interrupt():
    while not stop:
        time.sleep(0.05)
        signal.pthread_kill(main, signal.SIGUSR1)
threading.Thread(target=interrupt, daemon=True).start()
f = os.open(sys.argv[1], os.O_WRONLY)
try:
    os.write(f, b"wait\n")
except InterruptedError:
    stop = True
    sys.exit(0)
sys.exit("write returned")
P
check "an interrupted writer gets EINTR" timeout 20 python3 "$WORK/interrupt.py" "$C/compact"
check "and the work goes on" is_state compact running
check "cancel" put compact cancel
check "it is cancelled" wait_until 10 is_state compact cancelled
wait $waiter
check_equal "who waited got ECANCELED" 1 "$(grep -c -i cancel "$WORK/wait.err")"
check_equal "nothing was lost" "$digest" "$(content_digest "$MNT")"
check "rate=0" put compact rate=0
check "run to the end" put compact run
check_equal "state" "done" "$(state compact)"
check "fragmentation_after <= 0.01" bash -c 'python3 -c "import json, sys
sys.exit(not json.load(sys.stdin)[\"fragmentation_after\"] <= 0.01)" <"$1"' _ "$C/compact"
check_equal "nothing was lost in the end" "$digest" "$(content_digest "$MNT")"

# -- another user
if [ "$(id -u)" -eq 0 ]; then
    as() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }
    check "another user may read" as cat "$C/status"
    for f in $WRITABLE; do
        check_fails "$f: another user may not write" "Permission denied|not permitted" as bash -c 'echo run >"$1"' _ "$C/$f"
    done
    chmod 600 "$MNT/x"
    check_fails "modes hold for another user" "Permission denied" as cat "$MNT/x"
    check_fails "another user may not create here" "Permission denied" as touch "$MNT/y"
    check_fails "nor chmod" "not permitted" as chmod 777 "$MNT/x"
else
    skip "another user" "not root"
fi

# -- what a second mount and bad arguments get: one clear line each
mkdir -p "$WORK/mnt2" "$WORK/other"
echo "something else" >"$WORK/other/file"
one_line() {
    local out status
    out=$(timeout 120 "$ENGRAMFS" "$@" 2>&1)
    status=$?
    if mountpoint -q "$WORK/mnt2"; then echo "it was mounted"; return 0; fi
    echo "$out"
    [ $status -ne 0 ] || return 0
    [ "$(wc -l <<<"$out")" -eq 1 ] || { echo "more than one line"; return 125; }
    return $status
}
check_fails "a second daemon on the same store" "in use|use by" one_line "$STORE" "$WORK/mnt2"
check_fails "read-only beside a writer" "in use|use by" one_line -o ro "$STORE" "$WORK/mnt2"
check_fails "an unknown option" "unknown option" one_line -o nonsense "$WORK/new" "$WORK/mnt2"
check_fails "a bad value" "segment_size" one_line -o segment_size=3 "$WORK/new" "$WORK/mnt2"
check_fails "a folder that is no store" "not a store|not an engram" one_line "$WORK/other" "$WORK/mnt2"
check_equal "it was left alone" "something else" "$(cat "$WORK/other/file")"
check_fails "a file as a store" "not a dir|Not a directory|not a folder|not a store" one_line "$WORK/other/file" "$WORK/mnt2"
check_fails "a mount point that is missing" "No such|mount point|not exist" one_line "$WORK/new" "$WORK/missing/mnt"
check_fails "a mount point that is busy" "busy|in use|mounted" one_line "$WORK/new2" "$MNT"
check_fails "no arguments" "usage|missing" one_line
check_equal "the first mount is well" "$digest" "$(content_digest "$MNT")"
check "unmount" unmount_store "$MNT"

# -- config lasts; read-only; ctl=visible and ctl=off
must_mount "$STORE" "$MNT" -o ro
check "config lasted" grep -qx 'compact_min_fragmentation=0.25' "$C/config"
for f in $WRITABLE; do
    case $f in compact | maintenance) verb=run ;; scrub) verb=cancel ;; hold) verb=hold ;; config) verb=auto_compact=0 ;; esac
    check_fails "EROFS: $f" "Read-only" put "$f" "$verb"
done
check_fails "EROFS: wait-for, also for what is shown" "Read-only" bash -c "cat '$C/position' >'$C/wait-for'"
"$CTL" watch "$MNT" >"$WORK/watched" 2>&1 &
watch=$!
catches_interrupts() { [ $((0x$(sed -n "s,^SigCgt:\t,,p" "/proc/$watch/status") >> 1 & 1)) -eq 1 ]; }
check "read-only: watch gets ready" wait_until 60 catches_interrupts
timeout 2 tail --pid=$watch -f /dev/null
check_equal "read-only: watch goes on" 124 $?
kill -INT $watch
wait $watch
check_equal "read-only: watch waits until it is ended" "0 " "$? $(cat "$WORK/watched")"
check_equal "read-only: content" "$digest" "$(content_digest "$MNT")"
check "unmount read-only" unmount_store "$MNT"
if [ "$(id -u)" -eq 0 ]; then
    must_mount "$STORE" "$MNT"
    mkdir "$WORK/view"
    check "a read-only view" bash -c 'mount --bind "$1" "$2" && mount -o remount,bind,ro "$2"' _ "$MNT" "$WORK/view"
    "$CTL" watch "$WORK/view" >"$WORK/watched" 2>&1 &
    watch=$!
    is_shown() { : >"$MNT/seen.$SECONDS" && grep -q seen "$WORK/watched"; }
    check "read-only view: watch shows what others change" wait_until 20 is_shown
    kill -INT $watch
    wait $watch
    check_equal "  and ends well" 0 $?
    rm -f "$MNT"/seen.*
    umount "$WORK/view"
    check "unmount what is seen" unmount_store "$MNT"
fi
must_mount "$STORE" "$MNT" -o writeback
check "writeback: a line is done at any offset" python3 "$WORK/offsets.py" "$MNT" whole
check "unmount writeback" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o ctl=visible
check_equal "ctl=visible" .engram "$(find "$MNT" -maxdepth 1 -name '.e*' -printf %f)"
check "unmount visible" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o ctl=off
check_fails "ctl=off" "No such file" cat "$C/status"
check "unmount off" unmount_store "$MNT"

# -- an orderly unmount and a mount right behind it, and one over a dead daemon
must_mount "$STORE" "$MNT"
umount "$MNT" 2>/dev/null || fusermount3 -u "$MNT"
must_mount "$STORE" "$MNT"
check_equal "mounted right after umount" "$digest" "$(content_digest "$MNT")"
for pid in $(daemons_under "$MNT"); do kill -9 "$pid"; done
check "the daemon is gone" wait_until 30 no_daemon "$MNT"
check_fails "a dead mount point" "not connected|connection abort" touch "$MNT/new" # a listing may come from the kernel's cache
must_mount "$STORE" "$MNT"
check_equal "mounted over a dead mount point" "$digest" "$(content_digest "$MNT")"
check "unmount at the end" unmount_store "$MNT"
t_end
