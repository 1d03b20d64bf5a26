#!/usr/bin/env bash
# pretender.sh - a FUSE that calls itself an engramfs, and is none: engramctl follows no link in it, opens nothing but regular
# files, reads no text without an end; and root asks nothing of a mount that is somebody else's, nor believes which store it has.
#
#   tests/ops/pretender.sh [BUILD]      CTL_OLD=engramctl: shows what that one does instead
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
if [ "$(id -u)" -ne 0 ]; then
    skip pretender "not root: root is who is led astray"
    exit 0
fi
CTL=${CTL_OLD-$CTL}
umask 022
chmod 755 "$WORK"
cd "$WORK" || exit 1
if ! cc -Wall -Werror -o pretender "$ROOT/tests/ops/pretender.c"; then
    skip pretender "no compiler"
    exit 0
fi
mkdir mnt victims backup
"$CTL" import - store >/dev/null <<<'{"id":"secret","content":"a memory of another store"}'
pretend() { # UID KIND [TO]
    umount mnt 2>/dev/null
    "$WORK/pretender" "$WORK/mnt" "$1" "$WORK/store" "${@:2}" >asked &
    wait_until 20 mountpoint -q "$WORK/mnt" || not_ok "$2" "it is not mounted"
}
# Each command that asks a mount for something, but for those that need a terminal
COMMANDS=("stat mnt" "map mnt" "config mnt" "config mnt auto_compact=0" "compact mnt" "compact --estimate mnt" "compact --status mnt"
    "compact --cancel mnt" "scrub mnt" "check --scrub mnt" "export --snapshot mnt -" "backup mnt backup"
    "backup --store store mnt backup")
each() { # NAME TEXT [COMMAND...]: fails at once, says TEXT, and shows no memory of the store that it was pointed to
    local command out status name=$1 text=$2
    shift 2
    [ $# -gt 0 ] || set -- "${COMMANDS[@]}"
    for command in "$@"; do
        # shellcheck disable=SC2086
        out=$( (ulimit -v 2000000 && timeout -s KILL 20 "$CTL" $command) 2>&1 </dev/null)
        status=$?
        if [ $status -eq 0 ] || [ $status -ge 124 ] || ! grep -q "$text" <<<"$out" || grep -q "another store" <<<"$out"; then
            not_ok "$name: $command" "status $status, expected '$text': $(tail -n 1 <<<"$out" | cut -c 1-200)"
        else
            ok "$name: $command"
        fi
    done
}

# ---- of a mount that is root's own: links, pipes, texts without an end
NONE="no control files of an engramfs"
for kind in link folder; do
    for name in hold config compact scrub stats.json segments maintenance metrics; do echo "root's own" >"victims/$name"; done
    before=$(cat victims/* | md5sum)
    TO=$WORK/victims
    [ $kind = folder ] || TO=$WORK/victims/config
    pretend 0 $kind "$TO"
    each "a $kind" "$NONE"
    check_equal "a $kind: what it leads to is as it was" "$before" "$(cat victims/* | md5sum)"
done
pretend 0 fifo
each "a pipe" "$NONE"
pretend 0 endless
each "a text without an end" "File too large" "stat mnt" "map mnt" "config mnt" "compact --status mnt"

# ---- words of a daemon: what it says steers no terminal, and is no line of another
cat >words.py <<'P'
# words.py DIR: files with an escape, DEL, a C1 control and a newline in each text. words.py - KIND TEXT: checks what was printed.
import json, sys, unicodedata
EVIL = "\x1b[31m\x7f\x9b31m"
if sys.argv[1] != "-":
    def put(name, text):
        with open(sys.argv[1] + "/" + name, "w", newline="") as f:
            f.write(text)
    stats = {"live_bytes": 1, "total_bytes": 2, "last_error": EVIL, "space": {"disk_usage": 9, "kind" + EVIL: 9}, "open_orphans": []}
    put("stats.json", json.dumps(stats, ensure_ascii=True))
    put("config", f"key{EVIL}=value{EVIL}\none=value{EVIL}\n")
    segment = "s00000001.seg\t10\tlog\tactive\t10\t5\n"
    put("segments", segment + segment.replace("s0", "s" + EVIL) + segment.replace("s0", '"<b>'))
    put("position", "1\n")
    change = json.dumps({"position": 1, "change": "write", "path": "path" + EVIL[5:]}, ensure_ascii=False)
    put("changes", change.replace(" ", "\r") + "\n" + '{"position": 1, "change": "end"}\n')
    sys.exit()
out = sys.stdin.buffer.read().decode()
bad = [c for c in out if c != "\n" and unicodedata.category(c) == "Cc"]
assert not bad, bad
if sys.argv[2] == "json":
    out = repr(json.loads(out))
assert sys.argv[3] in out, out
P
mkdir words && python3 words.py words
pretend 0 words "$WORK/words"
says() { # KIND TEXT COMMAND...
    timeout 20 "$CTL" "${@:3}" >said && python3 words.py - "$1" "$2" <said
}
ESC='\x1b[31m\x7f\xc2\x9b31m'
check "words: stat" says text 'last error             '"$ESC" stat mnt
check "words: a kind of space" says text "kind$ESC" stat mnt
check "words: stat --json" says json "'kind\\x1b[31m\\x7f\\x9b31m'" stat --json mnt
check "words: config" says text "key$ESC=value$ESC" config mnt
check "words: a key" says text "value$ESC" config mnt one
check "words: config --json" says json '\x1b[31m\x7f\x9b31m' config --json mnt
check "words: map" says text "1 segments" map mnt
check "words: map --json" says json "'s00000001.seg'" map --json mnt
check "words: map --svg" says text "s00000001.seg" map --svg mnt
check "words: watch" says text 'path\x7f\xc2\x9b31m' watch --once mnt
check "words: watch --json" says json 'path\x7f\x9b31m' watch --once --json mnt
umount mnt

# ---- of a mount that is somebody else's
OTHERS="mounted by another user"
pretend 65534 endless
each "somebody else's" "$OTHERS"
each "somebody else's" "$OTHERS" "dump mnt 1" "dump --content mnt 1"
check_equal "its daemon was asked for nothing of .engram" "" "$(cat asked)"
cp "$CTL" ctl && chmod 755 ctl # a build folder need not be open to others
check_fails "he may ask himself" "File too large" setpriv --reuid=65534 --regid=65534 --clear-groups ./ctl stat mnt
check "that was asked" grep -q engram asked
umount mnt

# ---- and of an engramfs
must_mount store mnt -o allow_other
for command in "stat mnt" "map mnt" "config mnt" "compact mnt" "check --scrub mnt" "export --snapshot mnt -" "backup mnt backup" "dump mnt 1"; do
    # shellcheck disable=SC2086
    check "root's own engramfs: $command" timeout 60 "$CTL" $command
done
echo 1 >"mnt/$(printf 'name\177\302\2333')"
check "unmount" unmount_store mnt
"$CTL" dump --json store "$(find store -name 's*.seg' -printf '%f\n' | sort | tail -n 1)" | grep name >dumped
check "the record of a name: dump --json" python3 words.py - text 'name\u007f\u009b3' <dumped
t_end
