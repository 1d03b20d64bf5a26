#!/usr/bin/env bash
# tools.sh - engramctl map, config, scrub, dump, bench, repair, version; --json; signals of the daemon.
#
#   tests/ops/tools.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
MNT=$WORK/mnt C=$WORK/mnt/.engram STORE=$WORK/store
must_mount "$STORE" "$MNT" -o segment_size=256k
python3 - "$MNT" <<'P'
import os, sys
for i in range(40):
    open(f"{sys.argv[1]}/m{i:02}", "wb").write(os.urandom(50000))
for i in range(0, 20):
    os.unlink(f"{sys.argv[1]}/m{i:02}")
P
SEGMENTS=$(grep -vcE "checkpoint|echo" "$C/segments")
"$CTL" map "$MNT" >"$WORK/map"
check "map has a cell for each segment" python3 - "$WORK/map" "$SEGMENTS" <<'P'
import sys
lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
assert len("".join(lines[:-1])) == int(sys.argv[2]), lines
assert "█" in lines[0] and "·" in lines[0] and "▶" in lines[0]
assert lines[-1].startswith(sys.argv[2] + " segments, "), lines[-1]
P
check_equal "no colour in a file" 0 "$(grep -c $'\033' "$WORK/map")"
on_terminal() { script -qec "$1" /dev/null </dev/null; }
if script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    check "colour on a terminal" grep -q $'\033\[32m' <(TERM=xterm on_terminal "$CTL map $MNT")
    check_equal "but not with NO_COLOR" 0 "$(NO_COLOR=1 TERM=xterm on_terminal "$CTL map $MNT" | grep -c $'\033\[3')"
else
    skip "colour" "no script(1), or no terminals to be had (/dev/pts)"
fi
check_equal "--width breaks lines" $(((SEGMENTS + 3) / 4 + 1)) "$("$CTL" map --width 4 "$MNT" | wc -l)"
check "--svg is well formed, a group for each segment" python3 - "$CTL" "$MNT" "$SEGMENTS" <<'P'
import subprocess, sys, xml.dom.minidom
svg = xml.dom.minidom.parseString(subprocess.check_output([sys.argv[1], "map", "--svg", sys.argv[2]]))
assert len(svg.getElementsByTagName("g")) == int(sys.argv[3])
P
check_equal "map --json has each, too" "$SEGMENTS" "$("$CTL" map --json "$MNT" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["segments"]))')"
check_fails "--width 0" "must be 1 to 500" "$CTL" map --width 0 "$MNT"

check "config prints" sh -c "'$CTL' config '$MNT' | cmp - '$C/config'"
check_equal "config --json has the same" "$("$CTL" config "$MNT")" "$("$CTL" config --json "$MNT" | python3 -c 'import json, sys; print("\n".join("%s=%s" % i for i in json.load(sys.stdin).items()))')"
check "config changes" "$CTL" config "$MNT" compact_min_fragmentation=0.25 commit_ms=1000
check "at once" grep -qx commit_ms=1000 "$C/config"
check_fails "unknown key" "unknown key or bad value" "$CTL" config "$MNT" nonsense=1
check_fails "bad value" "unknown key or bad value" "$CTL" config "$MNT" compact_min_fragmentation=7
check_equal "one key is asked for" 1000 "$("$CTL" config "$MNT" commit_ms)"
check_equal "as JSON" 1000 "$("$CTL" config --json "$MNT" commit_ms | json_get commit_ms)"
check_fails "an unknown one" "no key 'nonsense'" "$CTL" config "$MNT" nonsense
check "a number with a unit" "$CTL" config "$MNT" compact_rate=10M
check_equal "is times 1024" 10485760 "$("$CTL" config "$MNT" compact_rate)"
check "by the control file" sh -c "echo compact_rate=2k >'$C/config'"
check_equal "as well" 2048 "$("$CTL" config "$MNT" compact_rate)"
check "back" "$CTL" config "$MNT" compact_rate=0
check_fails "no pair" "not KEY=VALUE" "$CTL" config "$MNT" commit_ms=1000 compact_rate
check_equal "status of failure" 2 "$("$CTL" config "$MNT" x=1 2>/dev/null; echo $?)"
check "scrub" "$CTL" scrub "$MNT"
check_equal "no progress where no terminal is" "" "$("$CTL" scrub "$MNT" 2>&1 >/dev/null)"
if script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    head -c 3000000 /dev/urandom >"$MNT/large"
    echo rate=1M >"$C/scrub"
    TERM=xterm on_terminal "$CTL scrub $MNT" >"$WORK/progress"
    check "progress on a terminal: how far, how fast, how long still" grep -qE '[0-9.]+ MiB of 3\.8 MiB, [0-9.]+ [KM]iB/s, [0-9]+:[0-9][0-9] left' "$WORK/progress"
    TERM=dumb on_terminal "$CTL scrub $MNT" >"$WORK/progress"
    check_equal "not on a dumb one" 1 "$(wc -l <"$WORK/progress")"
    echo rate=0 >"$C/scrub"
    rm "$MNT/large"
fi
check_equal "scrub --json" "done" "$("$CTL" scrub --json "$MNT" | json_get state)"
check_equal "version --json" "$("$CTL" version | cut -d ' ' -f 2)" "$("$CTL" version --json | json_get version)"

# ---- dump: of a mount, while it is used
FIRST=$(grep -v checkpoint "$C/segments" | head -n 1 | cut -f 1)
"$CTL" dump --content --json "$MNT" "$FIRST" >"$WORK/dump"
check_equal "dump: all checksums hold" 0 $?
check "dump: records, one a line, each byte told once" python3 - "$WORK/dump" "$STORE/$FIRST" <<'P'
import json, os, sys
items = [json.loads(l) for l in open(sys.argv[1])]
assert items[0]["record"] == "segment" and items[0]["of"] == "log"
assert items[1]["record"] == "batch" and items[1]["seq"] == 1
place = 0
for i in items:
    if i["depth"] < 2:
        assert i["place"] == place, i
        place += i["size"]
assert place == os.path.getsize(sys.argv[2])
assert {"create", "link", "extent", "data"} <= {i["record"] for i in items}
assert "m00" in [i.get("name") for i in items if i["record"] == "link"]
P
check "dump for people, by number" sh -c "'$CTL' dump '$MNT' 1 | grep -q ' link parent=1 .*name=\"m00\"'"
check_fails "dump: no such segment" "No such file" "$CTL" dump "$MNT" 4000
check_fails "dump: no segment's name" "no number or name of a segment" "$CTL" dump "$MNT" s1.seg
check_fails "dump: of no store" "No such file" "$CTL" dump "$WORK" 1

# ---- bench: leaves nothing behind
bench_is_whole() {
    "$CTL" bench --json --memories 60 --size 1000 "$1" | python3 -c '
import json, sys
o = json.load(sys.stdin)
assert [p["name"] for p in o["phases"]] == ["create", "look up", "read", "overwrite", "fsync", "list", "remove"]
assert all(p["count"] in (50, 60) and p["seconds"] > 0 and p["p50_us"] <= p["p99_us"] for p in o["phases"]), o'
}
LISTED=$(ls -A "$MNT")
check "bench of a mount" bench_is_whole "$MNT"
check_equal "bench leaves nothing behind" "$LISTED" "$(ls -A "$MNT")"
check "bench for people" sh -c "'$CTL' bench --memories 5 '$MNT' | grep -q '^overwrite .*[0-9]'"
check_fails "bench: a bad number" "bad value" "$CTL" bench --memories 0 "$MNT"
check "unmount" unmount_store "$MNT"
check "bench of a store that is not mounted" bench_is_whole "$STORE"
check "config of a store that is not mounted" sh -c "'$CTL' config '$STORE' | grep -qx commit_ms=1000"
check "changes that, too" "$CTL" config "$STORE" commit_ms=2000
check "for good" sh -c "'$CTL' config '$STORE' | grep -qx commit_ms=2000"
check "map of a store that is not mounted" "$CTL" map "$STORE"
check "and it is whole" "$CTL" check "$STORE"

# ---- a mount that hides the fields is no source of an export, and no target of an import
must_mount "$WORK/hidden" "$MNT"
mkdir "$MNT/in" # and "a//b" is kept as an attribute, too
printf '%s\n' '{"id":"in/a","content":"x","confidence":0.5,"tags":["t"]}' '{"id":"a//b","content":"y"}' >"$WORK/fields.jsonl"
"$CTL" import "$WORK/fields.jsonl" "$MNT" >"$WORK/out"
"$CTL" export "$MNT" - | sort >"$WORK/fields.whole"
check "unmount it" unmount_store "$MNT"
must_mount "$WORK/hidden" "$MNT" -o noxattr
for format in jsonl tar tree; do
    check_fails "export of a mount with -o noxattr as $format" "--snapshot" "$CTL" export --format $format "$MNT" "$WORK/hidden.out"
    check_fails "  of a folder of it" "--snapshot" "$CTL" export --format $format "$MNT/in" "$WORK/hidden.out"
    check_fails "  as a plain tree" "--snapshot" "$CTL" export --tree --format $format "$MNT" "$WORK/hidden.out"
    check "  makes nothing" test ! -e "$WORK/hidden.out"
done
check_fails "import from it" "noxattr" "$CTL" import --format tree "$MNT" "$WORK/hidden.store"
check_fails "import into it" "noxattr" "$CTL" import "$WORK/fields.jsonl" "$MNT"
echo '{"id":"in/a","content":"x"}' >"$WORK/fewer.jsonl"
check_fails "  even of what has no fields" "noxattr" "$CTL" import "$WORK/fewer.jsonl" "$MNT"
check_fails "an export into it" "noxattr" "$CTL" export --format tree "$STORE" "$MNT/new"
check_equal "a snapshot has all" "$(cat "$WORK/fields.whole")" "$("$CTL" export --snapshot "$MNT" - | sort)"
check "its figures are shown" "$CTL" stat "$MNT"
check "unmount with noxattr" unmount_store "$MNT"

# ---- what is damaged: dump shows where, repair saves the rest
cp -r "$STORE" "$WORK/damaged"
python3 - "$WORK/damaged" >"$WORK/where" <<'P'
import glob, sys
for path in sorted(glob.glob(sys.argv[1] + "/s*.seg"), reverse=True):
    data = bytearray(open(path, "rb").read())
    at = data.find(b"engx", 1000)
    if at >= 0 and at % 8 == 0 and int.from_bytes(data[at + 4:at + 8], "little") == 50000:
        data[at + 5000] ^= 1
        open(path, "wb").write(data)
        print(path.split("/")[-1], at)
        break
P
read -r FILE AT <"$WORK/where"
check_equal "dump without --content does not read contents" 0 "$("$CTL" dump "$WORK/damaged" "$FILE" >/dev/null; echo $?)"
check_equal "dump --content tells damage" 1 "$("$CTL" dump --content "$WORK/damaged" "$FILE" >"$WORK/dump"; echo $?)"
check "where it is" grep -q "^ *$AT +.* data .*DAMAGED: the checksum of its content" "$WORK/dump"
"$CTL" repair --json --into "$WORK/repaired" "$WORK/damaged" >"$WORK/repair.json" 2>/dev/null
check_equal "repair: something was lost" 1 $?
check "repair: the summary is JSON" python3 -m json.tool "$WORK/repair.json"
check "repair: the new store is whole" "$CTL" check "$WORK/repaired"
check_fails "repair: where to?" "one of --into" "$CTL" repair "$WORK/damaged"

# ---- a config file with a mistake is refused, and not replaced by defaults
cp -a "$STORE" "$WORK/config-store"
printf 'compact_rate=20000\ncommit_ms=many\r\n' >"$WORK/config-store/config"
check_fails "config: a bad line is named" "config:2: 'commit_ms=many" "$CTL" config "$WORK/config-store"
check_fails "config: and nothing is changed" "config:2: " "$CTL" config "$WORK/config-store" compact_rate=5
check_equal "config: the file is as it was" "compact_rate=20000" "$(head -n 1 "$WORK/config-store/config")"

printf 'compact_rate=10M\n' >"$WORK/config-store/config"
check_equal "config: a number with a unit, by hand, is what it is elsewhere" 10485760 "$("$CTL" config "$WORK/config-store" compact_rate)"
check_equal "config: a mistake is named by its line" 2 "$(printf 'compact_rate=10MB\n' >"$WORK/config-store/config" && "$CTL" config "$WORK/config-store" >"$WORK/said" 2>&1; echo $?)"

# ---- signals; and that systemd is told when the mount answers
python3 - "$WORK/notify" >"$WORK/notified" <<'P' &
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(60)
for _ in range(2):
    print(s.recv(100).decode(), os.path.ismount(os.path.dirname(sys.argv[1]) + "/mnt"), flush=True)
P
wait_until 10 test -S "$WORK/notify"
# as a service: the file that standard error is, is the journal, which systemd says by its device and inode
: >"$WORK/log"
NOTIFY_SOCKET=$WORK/notify JOURNAL_STREAM=$(stat -c %d:%i "$WORK/log") "$ENGRAMFS" -f "$STORE" "$MNT" >"$WORK/log" 2>&1 &
DAEMON=$!
check "READY=1 when the mount answers" wait_until 20 grep -qx "READY=1 True" "$WORK/notified"
sed -i 's/^commit_ms=.*/commit_ms=3000/' "$STORE/config"
kill -HUP $DAEMON
check "SIGHUP rereads config" wait_until 10 grep -q "config was read again" "$WORK/log"
check "which is in force" grep -qx commit_ms=3000 "$C/config"
echo nonsense >>"$STORE/config"
kill -HUP $DAEMON
check "a bad line is told" wait_until 10 grep -q "'nonsense' is not understood" "$WORK/log"
kill -USR1 $DAEMON
check "SIGUSR1 writes the status to the log" wait_until 10 grep -q "status: last control error" "$WORK/log"
check "the space receipt is in it" grep -q "status: space" "$WORK/log"
check "it still serves" ls "$MNT"
check "its descriptor limit is the hard one" test "$(awk '/open files/ {print $4}' /proc/$DAEMON/limits)" = "$(awk '/open files/ {print $5}' /proc/$DAEMON/limits)"
kill -TERM $DAEMON
check "SIGTERM unmounts" wait_until 20 no_daemon "$MNT"
check "STOPPING=1" wait_until 5 grep -q STOPPING=1 "$WORK/notified"
check "in the journal each line has its level" grep -q "^<6>$STORE mounted on $MNT" "$WORK/log"
check "a warning another" grep -q "^<4>warning: .*'nonsense' is not understood" "$WORK/log"
check_equal "and none is without" "" "$(grep -v '^<[3467]>' "$WORK/log")"
mkdir "$WORK/none" && touch "$WORK/none/file"
JOURNAL_STREAM=$(stat -c %d:%i "$WORK/log") "$ENGRAMFS" -f "$WORK/none" "$MNT" >>"$WORK/log" 2>&1
check "so does the reason not to start" grep -q "^<3>error: $WORK/none: .*not a store" "$WORK/log"
JOURNAL_STREAM=1:1 "$ENGRAMFS" -f "$WORK/none" "$MNT" >"$WORK/log" 2>&1
check "elsewhere lines have the program's name" grep -q "^engramfs: error: $WORK/none: " "$WORK/log"
# ---- a line of a million members is refused as soon as it has more than a memory can have, not after the square of them
python3 -c 'print("{\"id\":\"many\",\"content\":\"x\"," + ",".join(f"\"k{i}\":1" for i in range(1000000)) + "}\n{\"id\":\"next\",\"content\":\"y\"}")' >"$WORK/many.jsonl"
check_equal "a line with a million members is bad" 1 "$(timeout 30 "$CTL" import "$WORK/many.jsonl" "$WORK/many" >"$WORK/many.err" 2>&1; echo $?)"
check "and told why" grep -q "many.jsonl:1: too many members" "$WORK/many.err"
check_equal "the next one is there" 1 "$("$CTL" export "$WORK/many" - 2>/dev/null | grep -c '"next"')"
# ---- and a large line takes eight times its length of memory at most, and 256 MiB, whatever is in it
large() { # NAME MEMBER STRICT LENIENT: what the import of a line of 64 MiB with that member ends with
    local options status
    python3 -c 'import sys; n = 64 << 20; print("{\"id\":\"large\",\"content\":\"x\"," + eval(sys.argv[1]) + "}\n{\"id\":\"next\",\"content\":\"y\"}")' \
        "$2" >"$WORK/large.jsonl"
    for options in "" --lenient; do
        rm -rf "$WORK/large"
        # shellcheck disable=SC2086
        (ulimit -v $((8 * 65536 + 262144)) && timeout 100 "$CTL" import $options "$WORK/large.jsonl" "$WORK/large") >"$WORK/large.out" 2>&1
        status=$?
        check_equal "64 MiB of $1 $options" "$([ -z "$options" ] && echo "$3" || echo "$4")" "$status $(sed -n 's/.*large.jsonl:1: //p' "$WORK/large.out")"
        check_equal "  and then comes the next line" 1 "$("$CTL" export "$WORK/large" - 2>/dev/null | grep -c '"next"')"
    done
}
large numbers '"\"a\":[" + "1," * (n // 2) + "1]"' '1 "a" is larger than 65536 bytes' '0 '
large "what is no number" '"\"a\":[" + "NaN," * (n // 4) + "1]"' '1 "a" is larger than 65536 bytes' '0 '
large attributes '"\"xattrs_base64\":{" + ",".join("\"user.%x\":\"\"" % i for i in range(n // 17)) + "}"' \
    '1 too many members: over 2047' '1 too many members: over 2047'
rm -rf "$WORK/large" "$WORK/large.jsonl"
t_end
