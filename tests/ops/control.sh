#!/usr/bin/env bash
# control.sh - control files used by many at once, by members of a group, and by those who do not want to wait any more;
# what is written of them in help, manual and estimate.
#
#   tests/ops/control.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
STORE=$WORK/store MNT=$WORK/mnt C=$WORK/mnt/.engram
chmod 755 "$WORK"
GROUP_OPTION=()
[ "$(id -u)" -ne 0 ] || GROUP_OPTION=(-o "allow_other,ctl_group=64242")
must_mount "$STORE" "$MNT" -o segment_size=256k "${GROUP_OPTION[@]}"
echo auto_compact=0 >"$C/config"
garbage() {
    python3 - "$MNT" <<'P'
import os, sys
for i in range(60):
    open(f"{sys.argv[1]}/m{i:02}", "wb").write(os.urandom(40000))
for i in range(0, 60, 2):
    os.unlink(f"{sys.argv[1]}/m{i:02}")
P
}
garbage
is_state() { [ "$(json_get state <"$C/compact")" = "$1" ]; }

# ---- an estimate, and how wrong it was
echo estimate >"$C/compact"
cp "$C/compact" "$WORK/before"
TOTAL=$(json_get total_bytes <"$C/stats.json")
check "run" sh -c "echo run >'$C/compact'"
cp "$C/compact" "$WORK/after"
check "the estimate was exact" python3 - "$WORK/before" "$WORK/after" "$TOTAL" "$C/stats.json" <<'P'
import json, sys
before, after, stats = (json.load(open(sys.argv[i])) for i in (1, 2, 4))
e = before["estimate"]
assert before["estimate_error"] is None, before
assert e["segments"] == after["segments_done"] and e["bytes_to_move"] == after["bytes_moved"], (e, after)
assert e["bytes_given_back"] == int(sys.argv[3]) - stats["total_bytes"] > 1000000, (e, stats)
assert after["estimate_error"]["bytes_to_move"] == 0
assert after["estimate_error"]["bytes_given_back"] == after["old_size"] - after["new_size"] - e["bytes_given_back"]
print("# given back", after["bytes_reclaimed"], "estimated", e["bytes_given_back"])
P
check_equal "engramctl tells it, too" 0 "$("$CTL" compact --status --json "$MNT" | json_get estimate_error.bytes_to_move)"

# ---- help comes from the parser's table; the manual says the same
check "each file and verb of help is in the manual" python3 - "$C/help" "$ROOT/packaging/man/engramfs-control.7.scd" <<'P'
import re, sys
manual = open(sys.argv[2]).read()
files = re.findall(r"^(\S+) +read:", open(sys.argv[1]).read(), re.M)
assert len(files) == 20, files
for name in files:
    assert re.search(rf"^## .*\b{re.escape(name)}\b", manual, re.M), name
text = open(sys.argv[1]).read()
for block in re.split(r"\n\n(?=\S+ +read:)", text)[1:]:
    name = block.split()[0]
    section = re.search(rf"^## [^\n]*\b{re.escape(name)}\b.*?(?=^## |\Z)", manual, re.M | re.S)[0]
    for verb in re.findall(r"write: (\S+?)(?:BYTES)?(?: |$)", block):
        said = {"KEY=VALUE": "KEY=VALUE", "POSITION": "_POSITION_"}.get(verb, "*" + verb + "*")
        assert said in section, (name, verb)
P

# ---- many at once: each reader sees whole texts, each writer an answer that is in the manual
cat >"$WORK/many.py" <<'P'
import errno, json, os, random, sys, threading
top = sys.argv[1] + "/.engram/"
wrong = []
def reader(n):
    for i in range(60):
        name = ["stats.json", "compact", "scrub", "maintenance", "hold"][(n + i) % 5]
        try:
            text = open(top + name).read()
            o = json.loads(text)
            if name == "stats.json" and sum(v for k, v in o["space"].items() if k != "disk_usage") != o["space"]["disk_usage"]:
                raise ValueError("the receipt does not add up")
        except Exception as e:
            wrong.append((name, e))
def writer(n):
    r = random.Random(n)
    for i in range(40):
        name, verb = r.choice([("compact", "run"), ("compact", "start"), ("compact", "wait"), ("compact", "estimate"),
            ("compact", "cancel"), ("compact", "pause"), ("compact", "resume"), ("maintenance", "run"), ("scrub", "run"),
            ("scrub", "start"), ("scrub", "cancel"), ("compact", "rate=0"), ("config", "commit_ms=1000"), ("compact", "nonsense")])
        f = os.open(top + name, os.O_WRONLY)
        try:
            os.write(f, verb.encode())
            if verb == "nonsense":
                wrong.append((name, verb, "was taken"))
        except OSError as e:
            if e.errno not in ((errno.EINVAL,) if verb == "nonsense" else (errno.EBUSY, errno.ESRCH, errno.ECANCELED)):
                wrong.append((name, verb, e))
        finally:
            os.close(f)
        if verb == "pause": # nobody else may be left waiting for it
            try:
                open(top + "compact", "w").write("resume")
            except OSError:
                pass
def holder():
    for i in range(40):
        open(top + "hold", "w").write("hold")
        open(top + "hold", "w").write("release")
threads = [threading.Thread(target=reader, args=(n,)) for n in range(6)]
threads += [threading.Thread(target=writer, args=(n,)) for n in range(6)] + [threading.Thread(target=holder)]
for t in threads: t.start()
for t in threads: t.join()
for w in wrong[:5]: print(w)
sys.exit(bool(wrong))
P
garbage
DIGEST=$(content_digest "$MNT")
check "thirteen users at once" timeout 120 python3 "$WORK/many.py" "$MNT"
# one that was paused last goes on, and ends
{ echo resume >"$C/compact"; } 2>/dev/null
ended() { ! is_state running && ! is_state paused; }
check "the last one ends" wait_until 60 ended
check_equal "nothing is held" 0 "$(json_get holds <"$C/hold")"
check_equal "nothing is changed" "$DIGEST" "$(content_digest "$MNT")"

# ---- who waits holds no thread of the daemon; and all are answered
garbage
echo rate=64k >"$C/compact"
echo start >"$C/compact"
check "it runs" wait_until 20 is_state running
for i in $(seq 40); do
    { echo wait >"$C/compact"; } 2>"$WORK/wait.$i" &
    WAITERS[i]=$!
done
check "forty wait, and others are answered" timeout 20 cat "$C/status"
echo x >"$MNT/x"
check "so are memories" timeout 20 cat "$MNT/x"
check "cancel" sh -c "echo cancel >'$C/compact'"
for i in $(seq 40); do wait "${WAITERS[i]}"; done
check_equal "each of them is told" 40 "$(cat "$WORK"/wait.* | grep -c -i cancel)"

# ---- Ctrl-C, TERM and KILL end the waiting at once, and the work goes on
for signal in INT TERM KILL; do
    garbage
    echo start >"$C/compact"
    check "$signal: it runs" wait_until 20 is_state running
    # as a shell in the foreground has it: signals as by default, and the shell itself writes
    # shellcheck disable=SC2016
    python3 -c '
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp("bash", ["bash", "-c", "echo wait >\"$1\"; echo >>\"$2\"", "bash", sys.argv[1], sys.argv[2]])' "$C/compact" "$WORK/came.$signal" &
    WAITER=$!
    in_write() { grep -q "^[0-9]" "/proc/$WAITER/syscall" && [ "$(cut -d ' ' -f 1 <"/proc/$WAITER/syscall")" = 1 ] && [ "$(cat "/proc/$WAITER/comm")" = bash ]; }
    if [ -r "/proc/$WAITER/syscall" ] && [ "$(uname -m)" = x86_64 ]; then
        check "$signal: it waits" wait_until 20 in_write
    fi
    kill -s $signal $WAITER
    gone() { [ ! -e "/proc/$WAITER" ] || [ "$(cut -d ' ' -f 3 <"/proc/$WAITER/stat")" = Z ]; }
    check "$signal: its end" wait_until 20 gone
    check "$signal: the compaction runs on" is_state running
    echo cancel >"$C/compact"
    wait_until 20 ended
    { wait $WAITER; } 2>/dev/null
done
echo rate=0 >"$C/compact"

# ---- what nobody should write
head -c 100000 /dev/urandom >"$WORK/noise"
# in one write, which a shell's printf is not
# shellcheck disable=SC2059
put() { printf "$2" >"$WORK/text" && dd if="$WORK/text" of="$C/$1" bs=64k; }
for f in compact maintenance scrub hold config; do
    check_fails "$f: noise" "Invalid argument|too long|File too large" sh -c "cat '$WORK/noise' >'$C/$f'"
    check_fails "$f: a NUL in the verb" "Invalid argument" put $f 'run\0'
done
check_fails "65 lines" "too long" sh -c "yes estimate | head -n 65 >'$WORK/lines'; dd if='$WORK/lines' of='$C/compact' bs=64k"
check_fails "a verb that waits is not the last" "Invalid argument" put compact 'run\nrate=7\n'
check_equal "nothing of it was done" 0 "$(json_get rate <"$C/compact")"
check "comments and blank lines" put compact '# a note\n\n  estimate  \r\n'
check "it is well" cat "$C/status"

# ---- -o ctl_group: its members, by primary and by supplementary group; nobody else
if [ "$(id -u)" -eq 0 ]; then
    member() { setpriv --reuid=65533 --regid=64242 --clear-groups "$@"; }
    supplementary() { setpriv --reuid=65533 --regid=65533 --groups=64241,64242 "$@"; }
    other() { setpriv --reuid=65533 --regid=65533 --groups=64241 "$@"; }
    for who in member supplementary; do
        check "$who: compact" $who sh -c "echo run >'$C/compact'"
        check "$who: config" $who sh -c "echo commit_ms=2000 >'$C/config'"
        check "$who: damaged can be read" $who cat "$C/damaged"
    done
    for f in compact maintenance scrub hold config segments; do
        check_fails "others: $f" "Permission denied" other sh -c "echo run >'$C/$f'"
        check_fails "others may not even read $f" "Permission denied" other cat "$C/$f"
    done
    for f in stats.json metrics status help; do check "others: $f" other cat "$C/$f"; done
    exec 9<"$MNT/m01"
    rm "$MNT/m01"
    orphans() { "$@" cat "$C/stats.json" | python3 -c 'import json, sys; print([(o["id"], o["bytes"]) for o in json.load(sys.stdin)["open_orphans"]])'; }
    check_equal "a member sees the ids of what is still open" "[('m01', 40000)]" "$(orphans member)"
    others_see_it() { [ "$(orphans other)" = "[('', 40000)]" ]; } # what others read may be 100 ms old
    check "others do not: not in stats.json" wait_until 10 others_see_it
    check_equal "nor in status" "0 1" "$(other grep -c m01 "$C/status") $(member grep -c m01 "$C/status")"
    exec 9<&-
    check "one user cannot take the control files away from others" other timeout 100 python3 - "$C" "$WORK/taken" "$WORK/give" <<'P'
import errno, os, resource, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
files, refusals = [], 0
while len(files) < 9000 and refusals < 20: # what was closed before may be given back a moment later
    try:
        files.append(os.open(sys.argv[1] + "/" + ["help", "metrics", "stats.json"][len(files) % 3], os.O_RDONLY))
    except OSError as e:
        assert e.errno == errno.ENFILE, e
        refusals += 1
        time.sleep(0.05)
assert 100 <= len(files) <= 256, len(files)
pid = os.fork()
if pid == 0: # who holds them meanwhile, at most a minute
    for fd in (0, 1, 2):
        os.close(fd)
    for i in range(600):
        if os.path.exists(sys.argv[3]):
            break
        time.sleep(0.1)
    os._exit(0)
P
    check "root reads" timeout 20 cat "$C/status"
    check "and writes" timeout 20 bash -c 'echo estimate >"$1/compact"' _ "$C"
    check "another user reads" timeout 20 setpriv --reuid=65530 --regid=65530 --clear-groups cat "$C/help"
    touch "$WORK/give"
    reads_again() { setpriv --reuid=65533 --regid=65533 --clear-groups cat "$C/help"; }
    check "once they are closed all is as before" wait_until 70 reads_again
    check_equal "modes" "660 440 444" "$(stat -c %a "$C/compact" "$C/damaged" "$C/status" | xargs)"
    check_equal "the group" 64242 "$(stat -c %g "$C/compact")"
    # a daemon in a pid namespace of its own (a container) cannot look up who asks: it knows their primary group alone
    if ! unshare --pid --fork true 2>/dev/null; then
        skip "callers of another pid namespace" "no pid namespaces here"
    else
        mkdir "$WORK/apart"
        unshare --pid --fork "$ENGRAMFS" -f "${GROUP_OPTION[@]}" "$WORK/apart.store" "$WORK/apart" 2>"$WORK/apart.log" &
        APART=$!
        check "a mount of another pid namespace" wait_until 20 mountpoint -q "$WORK/apart"
        estimate="echo estimate >'$WORK/apart/.engram/compact'"
        check "its members, by their primary group" member bash -c "$estimate"
        check_fails "a supplementary group does not count there" "Permission denied" supplementary bash -c "$estimate"
        check_fails "others do not, as anywhere" "Permission denied" other bash -c "$estimate"
        umount "$WORK/apart"
        wait $APART
        check_equal "it ends well" 0 $?
    fi
else
    skip "ctl_group" "not root"
fi

# ---- lines: comments alone, all or nothing, and what was wrong
check "a comment, then a line, written one by one" bash -c 'while read -r l; do echo "$l" || exit 1; done >"$1/config"' _ "$C" <<L
# slow

compact_rate=5000
L
check_equal "is taken" compact_rate=5000 "$(grep ^compact_rate "$C/config")"
check_fails "a wrong key in one of several lines" "Invalid argument" bash -c "set -o pipefail; printf 'compact_rate=77\nbogus_key=1\n' | dd of='$C/config' bs=4096 status=none"
check_equal "changes nothing" compact_rate=5000 "$(grep ^compact_rate "$C/config")"
check "and status says what" grep -q "last control error *config: .*key that this file does not list" "$C/status"
check_fails "an unknown verb" "Invalid argument" bash -c "echo runn >'$C/compact'"
check "is in status as well" grep -q "last control error *compact: not understood.*'runn'" "$C/status"
check_fails "engramctl config, of a mount" "nothing was changed" "$CTL" config "$MNT" commit_ms=777 nosuch=1
check_equal "changes nothing either" 0 "$(grep -c ^commit_ms=777 "$C/config")"
check "several keys" "$CTL" config "$MNT" commit_ms=778 compact_rate=0
check_equal "are set" "commit_ms=778 compact_rate=0" "$(grep -E '^(commit_ms|compact_rate)' "$C/config" | sort | xargs)"
check "unmount" unmount_store "$MNT"
check_fails "engramctl config, of a store" "nothing was changed" "$CTL" config "$STORE" commit_ms=777 nosuch=1
check_equal "changes nothing" "commit_ms=778" "$("$CTL" config "$STORE" | grep ^commit_ms)"
check "the store is whole" "$CTL" check "$STORE"
t_end
