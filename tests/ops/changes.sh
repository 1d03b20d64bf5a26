#!/usr/bin/env bash
# changes.sh - position, wait-for, changes and changes-since of a mount, and engramctl watch, which lives from them.
#
#   tests/ops/changes.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
STORE=$WORK/store MNT=$WORK/mnt C=$WORK/mnt/.engram
chmod 755 "$WORK"
OTHERS=()
[ "$(id -u)" -ne 0 ] || OTHERS=(-o allow_other)
must_mount "$STORE" "$MNT" "${OTHERS[@]}"
position() { cat "$C/position"; }
# told SINCE: what happened since then, a word or two for each change
told() {
    python3 - "$C/changes-since/$1" <<'P'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert lines[-1]["change"] == "end" and lines[-1]["position"] == max(l["position"] for l in lines), lines[-1:]
assert all(a["position"] <= b["position"] for a, b in zip(lines, lines[1:]))
print(" ".join(f'{l["change"]}{"-moved" if l.get("moved") else ""}:{l["path"]}'
               + (f'={l["field"]}' if "field" in l else "")
               + (f'={",".join(l["attributes"])}' if "attributes" in l else "") for l in lines[:-1]))
P
}

# ---- what is told, with its paths
P=$(position)
check "a position is a number" expr "$P" : '[0-9]*$'
mkdir "$MNT/people"
check_equal "a folder" "created:people linked:people" "$(told "$P")"
P=$(position)
echo one >"$MNT/people/ada"
check_equal "a file and its content" "created:people/ada linked:people/ada content:people/ada" "$(told "$P")"
P=$(position)
mv "$MNT/people/ada" "$MNT/ada"
check_equal "a rename shows as one" "linked-moved:ada unlinked-moved:people/ada" "$(told "$P")"
P=$(position)
setfattr -n user.engram.confidence -v 0.5 "$MNT/ada"
chmod 640 "$MNT/ada"
check_equal "fields and attributes" "fields:ada=user.engram.confidence attributes:ada=mode" "$(told "$P")"
P=$(position)
rm "$MNT/ada"
gone() { [ "$(told "$P")" = "unlinked:ada removed:None" ]; }
check "a removal, and the end of the inode" wait_until 20 gone
P=$(position)
cat "$MNT"/* >"$WORK/read" 2>&1
check_equal "what is read is no change" "" "$(told "$P")"
NAME=$(printf 'line\nand "quote" \xff')
: >"$MNT/$NAME"
check "a name with every kind of byte" python3 - "$C/changes" "$NAME" <<'P'
import base64, json, os, sys
last = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")][-2]
assert last["change"] == "linked" and base64.b64decode(last["path_base64"]) == os.fsencode(sys.argv[2]), last
assert last["path"] == 'line\nand "quote" \ufffd', last
P
check "a field likewise" python3 - "$C/changes" "$MNT/$NAME" <<'P'
import base64, json, os, sys
def last():
    return [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")][-2]
for name in (b"user.\xfe\xff", b"user.caf\xc3\xa9"):
    os.setxattr(sys.argv[2], name, b"1")
    said = last()
    assert said["change"] == "fields" and said["field"] == name.decode(errors="replace"), said
    bytes = said.get("field_base64")
    assert (base64.b64decode(bytes) if bytes else said["field"].encode()) == name, said
    assert (bytes is None) == (name == b"user.caf\xc3\xa9"), said
P
rm "$MNT/$NAME"

# ---- positions that cannot be had
stale() { python3 -c 'import errno, sys
try: open(sys.argv[1])
except OSError as e: sys.exit(e.errno != getattr(errno, sys.argv[2]))
sys.exit(1)' "$C/changes-since/$1" "$2"; }
check "the future" stale $(($(position) + 5)) ESTALE
for bad in x -1 0x10 1.5 99999999999999999999 " 1" 00 01 ""; do
    [ -z "$bad" ] || check "no position: '$bad'" stale "$bad" ENOENT
done
check_equal "the folder lists nothing" "" "$(ls -A "$C/changes-since")"
check_fails "nothing is made in it" "not permitted" sh -c ": >'$C/changes-since/new'"
check_fails "nor removed" "not permitted" rmdir "$C/changes-since"
for bad in x "" -1 "1 2" 18446744073709551616; do
    [ -z "$bad" ] || check_fails "wait-for takes no '$bad'" "invalid argument" bash -c "echo '$bad' >'$C/wait-for'"
done

# ---- waiting
check "a position that is shown" timeout 20 sh -c "position=\$(cat '$C/position'); echo \$position >'$C/wait-for'"
check "one returns with its batch, and not before" python3 - "$MNT" <<'P'
import os, sys, threading
mnt = sys.argv[1]
c = mnt + "/.engram/"
start = int(open(c + "position").read())
def wait(position):
    with open(c + "wait-for", "w") as f:
        f.write(str(position))
waiter = threading.Thread(target=wait, args=(start + 2,), daemon=True)
waiter.start()
os.mkdir(mnt + "/first")
wait(start + 1)
waiter.join(0.5)
assert waiter.is_alive(), "it returned before its batch"
os.mkdir(mnt + "/second")
waiter.join(20)
assert not waiter.is_alive(), "it missed its batch"
P
daemon=$(daemons_under "$MNT")
descriptors() { find "/proc/$daemon/fd" -mindepth 1 | wc -l; }
threads() { find "/proc/$daemon/task" -mindepth 1 -maxdepth 1 | wc -l; }
before="$(descriptors) $(threads)"
check "many that are interrupted are answered" python3 - "$C/wait-for" <<'P'
import os, signal, sys
waits = False
def on_alarm(*_): # once for each write: on a busy machine the next comes before the timer is off
    global waits
    if waits:
        waits = False
        raise InterruptedError # or Python writes again
signal.signal(signal.SIGALRM, on_alarm)
for i in range(200):
    fd = os.open(sys.argv[1], os.O_WRONLY)
    try:
        waits = True
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.05)
        os.write(fd, b"999999999999\n")
        sys.exit("it returned")
    except InterruptedError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.close(fd)
P
# those of checkpoints, and of workers, come and go beside them: fewer than 200
no_more() { [ "$(descriptors)" -lt $((${before% *} + 100)) ] && [ "$(threads)" -lt $((${before#* } + 20)) ]; }
check "the daemon is looked at" test "${before% *}" -gt 2 -a "${before#* }" -gt 2
check "they keep no descriptors and no threads" no_more
P=$(position)
timeout 20 bash -c "echo \$\$ >'$WORK/next.pid'; echo $((P + 1)) >'$C/wait-for'" 2>"$WORK/next" &
next=$!
is_in_write() { # where that can be known
    local pid call
    pid=$(cat "$WORK/next.pid") && [ "$(cut -d ' ' -f 3 "/proc/$pid/stat")" != R ] || return 1
    [ "$(uname -m)" != x86_64 ] || call=$(cut -d ' ' -f 1 "/proc/$pid/syscall" 2>"$WORK/syscall") || return 0
    [ "${call-1}" = 1 ]
}
check "the next one waits" wait_until 20 is_in_write
mkdir "$MNT/third"
wait $next
check_equal "and the next that waits is answered" 0 $?
if [ "$(id -u)" -eq 0 ]; then
    other() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
    check "everybody may know the position" other cat "$C/position"
    for f in changes "changes-since/$(position)"; do check_fails "others: $f" "permission denied" other cat "$C/$f"; done
    check_fails "others do not wait" "permission denied" other bash -c "echo 1 >'$C/wait-for'"
fi

# ---- a consumer that knows a position misses nothing, beside writers
check "each change once and in order, beside writers" python3 - "$MNT" <<'P'
import json, os, sys, threading
mnt = sys.argv[1]
c = mnt + "/.engram/"
start = int(open(c + "position").read())
N, T = 400, 3
def write(t):
    for i in range(N):
        with open(f"{mnt}/w{t}-{i:04}", "w") as f:
            f.write("x")
threads = [threading.Thread(target=write, args=(t,)) for t in range(T)]
for t in threads:
    t.start()
seen, position, contents = [], start, 0
while len(seen) < N * T or contents < N * T:
    with open(c + "wait-for", "w") as f:
        f.write(f"{position + 1}\n")
    lines = [json.loads(line) for line in open(f"{c}changes-since/{position}")]
    for l in lines[:-1]:
        assert position < l["position"] <= lines[-1]["position"], (position, l)
        if l["change"] == "linked":
            seen.append(l["path"])
        contents += l["change"] == "content"
    assert lines[-1]["position"] > position
    position = lines[-1]["position"]
for t in threads:
    t.join()
assert len(seen) == len(set(seen)) == N * T
for t in range(T):
    mine = [p for p in seen if p.startswith(f"w{t}-")]
    assert mine == sorted(mine), "each writer's order"
P
check "the latest are the last 1,000" python3 - "$C/changes" <<'P'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert 1000 <= len(lines) - 1 < 1100 and lines[-1]["change"] == "end", len(lines)
P

# ---- folders deeper than paths reach, which anybody makes: each line of a text climbs them
mkdir "$MNT/deep"
P=$(position)
python3 - "$MNT/deep" <<'P'
import os, sys
os.chdir(sys.argv[1])
for i in range(3000):
    os.mkdir("x")
    os.chdir("x")
fd = os.open("f", os.O_CREAT | os.O_WRONLY)
for i in range(5000):
    os.pwrite(fd, b"x", 0)
P
cat >"$WORK/deep.py" <<'P'
import json, sys
folder, position, longest, texts, kinds = sys.argv[1], int(sys.argv[2]), 0, 0, {}
while True:
    lines = [json.loads(line) for line in open(f"{folder}/{position}")]
    if len(lines) == 1:
        break
    position, texts = lines[-1]["position"], texts + 1
    longest = max([longest] + [len(l["path"]) for l in lines[:-1] if l["path"]])
    for l in lines[:-1]:
        kinds[l["change"]] = kinds.get(l["change"], 0) + 1
        assert l["change"] != "content" or l["path"] is None, l
    assert sum(l["path"] is None for l in lines[:-1]) < 2100, "a text of many climbs"
assert kinds["content"] == 5000 and kinds["linked"] == kinds["created"] == 3001, kinds
assert texts > 3 and 4000 < longest <= 4095, (texts, longest)
P
check "what lies deeper has no path; a text with many of them is short, and the next goes on" \
    python3 "$WORK/deep.py" "$C/changes-since" "$P"
check "the latest changes are whole" python3 - "$C/changes" "$(position)" <<'P'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert 1000 < len(lines) < 1100 and lines[-1]["position"] == int(sys.argv[2]), (len(lines), lines[-1])
P

P=$(position)
python3 - "$MNT" <<'P'
import os, sys
path = sys.argv[1] + "/" + "n" * 200
for i in range(30000): # more than the daemon keeps
    os.rename(f"{path}{i - 1}" if i else sys.argv[1] + "/w0-0000", f"{path}{i}")
P
check "who falls behind is told" stale "$P" ESTALE
check "with paths of 4,000 bytes, too, the latest are the last 1,000" python3 - "$MNT" <<'P'
import json, os, sys
mnt = os.path.realpath(sys.argv[1])
os.chdir(mnt)
for i in range(19):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
with open("f", "w") as f:
    for i in range(1500):
        os.pwrite(f.fileno(), b"x", 0)
with open(mnt + "/.engram/position") as f:
    position = int(f.read())
with open(mnt + "/.engram/changes") as f:
    lines = [json.loads(line) for line in f]
assert len(lines) == 1001 and lines[-1]["position"] == position, (len(lines), lines[-1])
assert all(len(l["path"]) == 19 * 201 + 1 for l in lines[:-1])
P
check "the latest are known" sh -c "tail -n 1 '$C/changes' | grep -q '\"change\": \"end\"'"

# ---- nothing is left of positions that were asked for
kept() { awk '/^VmRSS:/ {print int($2 / 1024)}' "/proc/$daemon/status"; }
KEPT=$(kept) P=$(position)
check "texts of 1 MiB, 300 of them" python3 - "$C/changes-since" "$P" <<'P'
import sys
for i in range(300):
    with open(f"{sys.argv[1]}/{int(sys.argv[2]) - 4000 + i}") as f:
        assert len(f.read()) > 1 << 20, i
P
little() { [ "$(kept)" -lt $((KEPT + $1)) ]; }
check "are not kept" wait_until 20 little 100
check "10,000 positions, each read, and 10,000 by many at once" python3 - "$MNT" <<'P'
import multiprocessing, os, sys
mnt = sys.argv[1]
c = mnt + "/.engram/"
fd = os.open(mnt + "/position", os.O_CREAT | os.O_WRONLY)
with open(c + "position") as f:
    start = int(f.read())
for i in range(10000):
    with open(f"{c}changes-since/{start + i}") as f:
        f.read()
    os.pwrite(fd, b"x", 0)
def ask(k):
    for i in range(1250):
        os.stat(f"{c}changes-since/{start + 10000 - 8 * (i % 50) - k}")
askers = [multiprocessing.Process(target=ask, args=(k,)) for k in range(8)]
for a in askers:
    a.start()
for a in askers:
    a.join()
assert not any(a.exitcode for a in askers)
P
all_files() { for f in position status stats.json config hold changes "changes-since/$(position)"; do cat "$C/$f" || return 1; done; }
check "all control files can be read then" all_files
check "and no text was kept" wait_until 20 little 100

# ---- engramctl watch
P=$(position)
timeout 60 "$CTL" watch "$MNT" >"$WORK/watched" 2>"$WORK/watch.err" &
WATCH=$!
timeout 60 "$CTL" watch --json --from "$P" "$MNT" >"$WORK/watched.json" 2>&1 &
WATCH_JSON=$!
mkdir "$MNT/seen"
watched() { grep -q "linked *seen" "$WORK/watched" && grep -q '"path": "seen"' "$WORK/watched.json"; }
# the first begins where it finds the mount: make folders until it has begun
until wait_until 1 watched; do
    rmdir "$MNT/seen"
    mkdir "$MNT/seen"
    [ $SECONDS -lt 60 ] || break
done
check "what is made is printed as it comes" watched
check_equal "all lines of --json are JSON" "" "$(python3 -c 'import json,sys
for line in open(sys.argv[1]): json.loads(line)' "$WORK/watched.json" 2>&1)"
kill -INT "$WATCH"
wait "$WATCH"
check_equal "Ctrl-C ends it in peace" 0 $?
check_equal "--once: what happened since a position" 1 \
    "$("$CTL" watch --once --from "$P" "$MNT" | grep -c "^[0-9TZ:.-]*  linked      seen$" | sed 's/[0-9][0-9]*/1/')"
P=$(position)
check "--once ends, also if each line that it prints is followed by a change" python3 - "$CTL" "$MNT" "$P" <<'P'
import fcntl, os, subprocess, sys
ctl, mnt, position = sys.argv[1:]
for i in range(200):
    os.mkdir(f"{mnt}/before{i}")
to_read, to_write = os.pipe()
fcntl.fcntl(to_write, 1031, 4096) # F_SETPIPE_SZ: it waits until most of it is read
watch = subprocess.Popen([ctl, "watch", "--once", "--json", "--from", position, mnt], stdout=to_write)
os.close(to_write)
n = 0
with os.fdopen(to_read, "rb", buffering=0) as lines:
    for line in lines:
        os.mkdir(f"{mnt}/after{n}")
        n += 1
        if n > 3000:
            watch.kill()
assert watch.wait() == 0 and n >= 400, (watch.returncode, n)
P
"$CTL" watch --once --from 999999999 "$MNT" >"$WORK/out" 2>"$WORK/err"
check_equal "a position that is not known: 1" 1 $?
check "and why" grep -q "not all known" "$WORK/err"
"$CTL" watch "$STORE" >"$WORK/out" 2>&1
check_equal "a store is no mount: 2" 2 $?
"$CTL" watch --from x "$MNT" >"$WORK/out" 2>&1
check_equal "a bad position: 2" 2 $?
# names are anybody's: none looks like a line of another change, or steers a terminal
P=$(position)
python3 - "$MNT" <<'P'
import os, sys
forged = b"\n2001-01-01T00:00:00Z  unlinked    \x1b[31mforged\\\xc2\x9b1m\x9b1m"
path = os.fsencode(sys.argv[1]) + b"/caf\xc3\xa9" + forged
os.mkdir(path)
os.setxattr(path, b"user.caf\xc3\xa9" + forged, b"1")
P
FORGED=$(printf 'caf\xc3\xa9')'\x0a2001-01-01T00:00:00Z  unlinked    \x1b[31mforged\x5c\xc2\x9b1m'
"$CTL" watch --once --from "$P" "$MNT" >"$WORK/out" 2>&1
check_equal "names on the terminal: each line is a change" 0 "$(grep -c '^2001\|^$' "$WORK/out")"
check_equal "  and has no control characters" 0 "$(LC_ALL=C grep -ac "[$(printf '\001-\010\013-\037\177')]\|$(printf '\xc2')[$(printf '\x80-\x9f')]" "$WORK/out")"
check "  a path" grep -qF "linked      $FORGED" "$WORK/out"
check "  a field" grep -qF "  user.$FORGED" "$WORK/out"
check_equal "as JSON, neither" 0 "$("$CTL" watch --json --once --from "$P" "$MNT" | LC_ALL=C grep -ac "$(printf '\xc2')[$(printf '\x80-\x9f')]")"
python3 - "$MNT" <<'P'
import os, sys
path = os.fsencode(sys.argv[1])
for name in os.listdir(path):
    if b"forged" in name:
        os.rmdir(path + b"/" + name)
P
check_fails "who waits keeps the mount busy, as an open file does" "busy" umount "$MNT"
daemons_under "$MNT" | xargs kill -TERM
check "a daemon that is told to end goes" wait_until 60 no_daemon "$MNT"
wait "$WATCH_JSON"
check_equal "the end of the mount ends it" 2 $?
check "which is said" grep -q "the mount is gone" "$WORK/watched.json"
check "the store is sound" "$CTL" check "$STORE"

# ---- the store goes back, and on past the position of who watches
cp -a "$STORE" "$WORK/earlier"
must_mount "$STORE" "$MNT" "${OTHERS[@]}"
P=$(position)
timeout 60 "$CTL" watch --json --from "$P" "$MNT" >"$WORK/watched" 2>"$WORK/watch.err" &
WATCH=$!
mkdir "$MNT/lost"
check "somebody watches" wait_until 20 grep -q lost "$WORK/watched"
TOOL=$(pgrep -P "$WATCH")
# else it finds a folder of the mount that was, and says that this is gone
waits() { find "/proc/$TOOL/fd" -lname '*wait-for' | grep -q . && grep -q '^State:.S' "/proc/$TOOL/status"; }
check "and waits for more" wait_until 20 waits
kill -STOP "$TOOL"
daemons_under "$MNT" | xargs kill -TERM
check "the daemon goes" wait_until 60 no_daemon "$MNT"
rm -r "$STORE"
mv "$WORK/earlier" "$STORE"
must_mount "$STORE" "$MNT" "${OTHERS[@]}"
for i in $(seq 40); do mkdir "$MNT/again$i"; done
kill -CONT "$TOOL"
wait "$WATCH"
check_equal "who watched is told that it was mounted again: 1" 1 $?
check "which is said" grep -q "mounted again" "$WORK/watch.err"
check_fails "and gets none of these for changes since then" "" grep -q again "$WORK/watched"
# it is taken away between the look for it and the look whose it is, which a mount that is not listed any more is nobody's
if [ "$(id -u)" -eq 0 ] && cc -shared -fPIC -Wall -Werror -o "$WORK/gone.so" "$ROOT/tests/ops/gone_shim.c" -ldl; then
    P=$(position)
    env LD_PRELOAD="$WORK/gone.so" GONE_MOUNT="$MNT" GONE_WHEN="$WORK/armed" timeout 60 "$CTL" watch --from "$P" "$MNT" \
        >"$WORK/watched" 2>"$WORK/watch.err" &
    WATCH=$!
    mkdir "$MNT/gone-1"
    check "somebody else watches" wait_until 20 grep -q gone-1 "$WORK/watched"
    touch "$WORK/armed"
    mkdir "$MNT/gone-2"
    wait "$WATCH"
    check_equal "whose mount goes while it is looked at: 2" 2 $?
    check "  and says so" grep -q "the mount is gone" "$WORK/watch.err"
    check "its daemon goes" wait_until 60 no_daemon "$MNT"
else
    skip "a mount that goes while it is looked at" "root's, with a compiler"
    check "unmount" unmount_store "$MNT"
fi
must_mount "$STORE" "$MNT" -o fsname=$'x\033[31m\nforged'
"$ENGRAMFS" "$WORK/another" "$MNT" >"$WORK/out" 2>&1
check "what somebody calls his mount is said without what steers a terminal" grep -qF 'x?[31m?forged is mounted there already' "$WORK/out"
check "unmount" unmount_store "$MNT"
t_end
