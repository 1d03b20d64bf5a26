#!/usr/bin/env bash
# log.sh - engramctl log: the versions of a memory, with who made each, as editors and shells leave them.
#
#   tests/ops/log.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
STORE=$WORK/store MNT=$WORK/mnt

log() { # ARGUMENTS: its output, without numbers and times
    timeout 100 "$CTL" log "$@" >"$WORK/out" 2>"$WORK/err" || echo "exit $?"
    cut -f3- "$WORK/out" | tr '\t' ' '
}
lines() { # LINE...
    printf '%s\n' "$@"
}
settle() { # so long that what is there now is a version
    sleep 1.2
}
ME=$(id -u)

must_mount "$STORE" "$MNT" -o segment_size=64k
echo history=30d >"$MNT/.engram/config"
cd "$MNT" || exit 1
mkdir d
bash -c 'echo one >d/f'
settle
tee -a d/f <<<two >/dev/null
settle
sed -i s/two/three/ d/f
settle
chmod 600 d/f
settle
mv d/f d/g
cp -p d/g d/f
settle
rm d/g
BEFORE=$(date -u +%Y-%m-%dT%H:%M:%SZ)
settle
ln d/f d/other
settle
python3 -c '
import os
os.rename("d", "e")
f = os.open("e/f", os.O_WRONLY)
os.write(f, b"ONE")' # a process that makes one state, and no more
python3 -c '
import threading
def work():
    open(f"/proc/self/task/{threading.get_native_id()}/comm", "w").write("a-worker")
    open("e/by-thread", "w").write("x")
thread = threading.Thread(target=work)
thread.start()
thread.join()' # as node, tokio and the JVM name theirs
cd "$OLDPWD" || exit 1

check_equal "a mount that is not held" "exit 2" "$(log "$MNT" d/f)"
check "  and says so" grep -q 'log needs --snapshot' "$WORK/err"
WANT=$(lines "4 bash ($ME) created" "8 tee ($ME) changed, then replaced" "10 sed ($ME) replaced" "10 chmod ($ME) changed, then removed")
check_equal "a mount: what was renamed has with it what its former path showed" "$WANT" "$(log --snapshot "$MNT" d/g)"
unmount_store "$MNT"
check_equal "  and the store" "$WANT" "$(log "$STORE" d/g)"
check_equal "the path that it had" \
    "$(lines "4 bash ($ME) created" "8 tee ($ME) changed, then replaced" "10 sed ($ME) replaced" "10 chmod ($ME) changed, then renamed" "10 cp ($ME) created, then folder")" \
    "$(log "$STORE" d/f)"
check_equal "a folder that was renamed" \
    "$(lines "4 bash ($ME) created" "8 tee ($ME) changed, then replaced" "10 sed ($ME) replaced" "10 chmod ($ME) changed, then renamed" "10 cp ($ME) created" "10 python3 ($ME) changed")" \
    "$(log "$STORE" /e/f)"
check_equal "  a hard link in it" "$(lines "10 - linked" "10 python3 ($ME) changed")" "$(log "$STORE" e/other)"
check_equal "  and itself" "0" "$(log "$STORE" e | grep -c exit)"
check_equal "what a thread with a name of its own made is by its process" "1 python3 ($ME) created" "$(log "$STORE" e/by-thread | tail -1)"
check_equal "from a time on" "10 python3 ($ME) changed" "$(log --since "$BEFORE" "$STORE" e/f)"
check_equal "  or an age" "10 python3 ($ME) changed" "$(log --since 3d "$STORE" e/f | tail -1)"
check_equal "  that is none" "exit 2" "$(log --since yesterday "$STORE" e/f)"
check_equal "what never was" "exit 2" "$(log "$STORE" e/none)"
check "  and says so" grep -q 'e/none: nothing is kept that it showed' "$WORK/err"
"$CTL" log --json "$STORE" d/f >"$WORK/json"
check "as JSON" python3 - "$WORK/json" "$ME" <<'P'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert [v["event"] for v in lines] == ["created", "changed", "replaced", "changed", "created"], lines
assert [v.get("end") for v in lines] == [None, "replaced", None, "renamed", "folder"], lines
assert [v["process"] for v in lines] == ["bash", "tee", "sed", "chmod", "cp"]
assert all(v["process_uid"] == int(sys.argv[2]) for v in lines)
assert [v["mode"] for v in lines][-3:] == ["0644", "0600", "0600"]
assert [v["number"] for v in lines] == sorted({v["number"] for v in lines})
assert [v["time"] for v in lines] == sorted(v["time"] for v in lines)
assert lines[0]["inode"] == lines[1]["inode"] != lines[2]["inode"] and lines[0]["type"] == "file"
P
t_end
