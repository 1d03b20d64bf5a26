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

WANT=$(lines "4 bash ($ME) created" "8 tee ($ME) changed, then replaced" "10 sed ($ME) replaced" "10 chmod ($ME) changed, then removed")
check_equal "a mount: what was renamed has with it what its former path showed" "$WANT" "$(log --snapshot "$MNT" d/g)"
check_equal "  by its folder history, for who may read it" "$WANT" "$(log "$MNT" d/g)"
check_equal "  what is there now" "1 python3 ($ME) created" "$(log "$MNT" e/by-thread | tail -1)"
check_equal "  from a folder of it on" "$(log "$MNT" e/f)" "$(log "$MNT/e" f)"
check_equal "  what never was" "exit 2" "$(log "$MNT" e/none)"
check "  and says so" grep -q 'e/none: nothing is kept that it showed' "$WORK/err"
log --json "$MNT" d/f >/dev/null
mv "$WORK/out" "$WORK/mount.json"
EVENTS=$(log "$MNT")
EVENTS_OF_E=$(log "$MNT" e)
check_equal "a folder of a mount, from it on" "$EVENTS_OF_E" "$(log "$MNT/e")"
unmount_store "$MNT"
check_equal "  and the store" "$WANT" "$(log "$STORE" d/g)"
check_equal "the path that it had" \
    "$(lines "4 bash ($ME) created" "8 tee ($ME) changed, then replaced" "10 sed ($ME) replaced" "10 chmod ($ME) changed, then renamed" "10 cp ($ME) created, then folder")" \
    "$(log "$STORE" d/f)"
check_equal "a folder that was renamed" \
    "$(lines "4 bash ($ME) created" "8 tee ($ME) changed, then replaced" "10 sed ($ME) replaced" "10 chmod ($ME) changed, then renamed" "10 cp ($ME) created" "10 python3 ($ME) changed")" \
    "$(log "$STORE" /e/f)"
check_equal "  a hard link in it" "$(lines "10 - linked" "10 python3 ($ME) changed")" "$(log "$STORE" e/other)"
WANT=$(lines "0 mkdir ($ME) created d" "4 bash ($ME) created d/f" "8 tee ($ME) changed d/f" "10 sed ($ME) replaced d/f" \
    "10 chmod ($ME) changed d/f" "10 mv ($ME) renamed d/g d/f" "10 cp ($ME) created d/f" "10 rm ($ME) removed d/g" "10 - linked d/other" \
    "0 python3 ($ME) renamed e d" "10 python3 ($ME) changed e/f" "10 python3 ($ME) changed e/other" "1 python3 ($ME) created e/by-thread")
check_equal "what happened in a folder, by whatever name it had" "$WANT" "$(log "$STORE" e)"
check_equal "  and in the whole store" "$WANT" "$(log "$STORE")"
check_equal "  of a mount" "$(log "$STORE")" "$EVENTS"
check_equal "  of a folder of it" "$(log "$STORE" e)" "$EVENTS_OF_E"
check_equal "  from a time on" "$(tail -4 <<<"$WANT")" "$(log --since "$BEFORE" "$STORE" e | tail -4)"
check_equal "  and not what was before" 0 "$(log --since "$BEFORE" "$STORE" | grep -c created.d/f)"
check "  in the order of their numbers" sort -nc "$WORK/out"
"$CTL" log --json "$STORE" >"$WORK/json"
check "  as JSON" python3 - "$WORK/json" "$ME" <<'P'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert [v["path"] for v in lines if v["event"] == "renamed"] == ["d/g", "e"], lines
assert [v["from"] for v in lines if v["event"] == "renamed"] == ["d/f", "d"]
gone = [v for v in lines if v["event"] == "removed"]
assert len(gone) == 1 and gone[0]["path"] == "d/g" and gone[0]["process"] == "rm" and gone[0]["type"] == "file"
assert [v["time"] for v in lines] == sorted(v["time"] for v in lines)
P
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
check "  by the folder of a mount: the same, but for the inode, and times to the millisecond" python3 - "$WORK/json" "$WORK/mount.json" <<'P'
import json, sys
a, b = [[json.loads(line) for line in open(name)] for name in sys.argv[1:3]]
for v in a + b:
    del v["inode"]
    v["time"] = v["time"][:19]
assert a == b, (a, b)
P

# ---- whose past it is: another user sees of the mount what he may

if [ "$ME" -eq 0 ] && command -v setpriv >/dev/null; then
    must_mount "$STORE.2" "$MNT" -o segment_size=64k,allow_other,past=on
    chmod 755 "$WORK"
    echo history=30d >"$MNT/.engram/config"
    mkdir -m 777 "$MNT/all" && mkdir -m 700 "$MNT/mine"
    as() { setpriv --reuid 12345 --regid 12345 --clear-groups "$@"; }
    as sh -c "echo his >'$MNT/all/his'"
    echo mine >"$MNT/mine/f"
    as_log() { as timeout 100 "$CTL" log "$@" 2>"$WORK/err" | cut -f3- | tr '\t' ' '; }
    check_equal "another user: what he has written" "4 sh (12345) created" "$(as_log "$MNT" all/his | tail -1)"
    check_equal "  nothing of a folder that is closed to him" "" "$(as_log "$MNT" mine/f)"
    check "  which is said" grep -q 'Permission denied' "$WORK/err"
    as mkdir "$MNT/all/sub" && as sh -c "echo deep >'$MNT/all/sub/f' && rm '$MNT/all/sub/f'"
    as_log "$MNT" | grep -v created..$ >"$WORK/his" # without the root itself
    check_equal "  of the whole the versions that he may see, each with its path" \
        "$(lines "sh (12345) created all/his" "mkdir (12345) created all/sub" "sh (12345) created, then removed all/sub/f")" \
        "$(grep -E ' all/(his|sub)' "$WORK/his" | grep -v '^0 sh' | cut -d ' ' -f 2-)"
    check_equal "  and nothing of others" 0 "$(grep -c mine/ "$WORK/his")"
    check_equal "  of a folder" "5 sh (12345) created, then removed all/sub/f" "$(as_log "$MNT" all/sub | tail -1)"
    check_equal "  --snapshot needs the store" "" "$(as_log --snapshot "$MNT" all)"
    check "  which is said" grep -q 'cannot hold the store' "$WORK/err"
    unmount_store "$MNT"
else
    skip "another user" "not root, or no setpriv"
fi
t_end
