#!/usr/bin/env bash
# engramctl: import, export, stat, check and compact of a store that is not
# mounted, and the same through a mount where there is /dev/fuse.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"

# Not t_begin: most of this needs no mount, and must not be skipped without /dev/fuse.
BUILD=$(cd "${1:-$ROOT/build}" 2>/dev/null && pwd) || {
    echo "not ok - setup: no build folder '${1:-$ROOT/build}'"
    exit 1
}
# shellcheck disable=SC2034  # used by lib.sh
ENGRAMFS=$BUILD/fs/engramfs
WORK=$(mktemp -d "${TMPDIR:-/tmp}/engramfs-test.XXXXXX") || exit 1
trap t_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
t_needs python3 rsync getfattr setfattr
cd "$WORK" || exit 1

ctl() { timeout 60 "$BUILD/tools/engramctl" "$@"; }
# check_status NAME STATUS TEXT ENGRAMCTL-ARGUMENTS...: exit code, and what it says (on either stream).
check_status() {
    local name=$1 want=$2 text=$3 out status
    shift 3
    out=$(ctl "$@" 2>&1 </dev/null)
    status=$?
    if [ "$status" -ne "$want" ]; then
        not_ok "$name" "status $status, expected $want: $(tail -n 1 <<<"$out" | cut -c 1-300)"
    elif grep -qE -- "$text" <<<"$out"; then
        ok "$name"
    else
        not_ok "$name" "expected '$text', got: $(tail -n 1 <<<"$out" | cut -c 1-300)"
    fi
}

# same_json A B: the same set of JSON objects, numbers compared by their text.
cat >same.py <<'EOF'
import json, sys
def load(path):
    objects = {}
    with open(path, encoding="utf-8", newline="\n") as f:
        for line in f:
            if line.strip():
                o = json.loads(line, parse_float=lambda s: "number " + s, parse_int=lambda s: "number " + s)
                objects[o.get("id", str(o.get("id_base64")) + " base64")] = o
    return objects
a, b = load(sys.argv[1]), load(sys.argv[2])
wrong = [k for k in {**a, **b} if a.get(k) != b.get(k)]
for k in wrong[:3]:
    print("id %r: %.200r is now %.200r" % (k, a.get(k), b.get(k)))
sys.exit(1 if wrong or not a else 0)
EOF
same_json() { python3 same.py "$1" "$2"; }

# What a tree is: content, attributes of all kinds and links, but for the time of its root.
same_tree() {
    local out
    diff -r --no-dereference -x pipe "$1" "$2" || return 1
    out=$(rsync -aHXcni --delete "$1/" "$2/" | grep -v '^\.d\.\.t\.* \./$')
    [ -z "$out" ] || { echo "$out" | tail -n 1; return 1; }
}

# ---- JSON lines -----------------------------------------------------------------

python3 - <<'EOF'
import json, random
random.seed(7)
words = [w for w in "river stone light memory answer door winter question paper silver".split()]
with open("plain.jsonl", "w") as f:
    for i in range(5000):
        o = {"id": "people/%d/turn-%d" % (i % 50, i), "content": " ".join(random.choices(words, k=i % 60)),
             "created_at": "2023-05-%02dT13:56:%02d.%dZ" % (i % 28 + 1, i % 60, i), "speaker": "Ada" if i % 2 else "Grace"}
        if i % 3 == 0:
            o.update(confidence=round(random.random(), 4), activation=0.5, decay_rate=0.1, recall_count=i,
                     node_flags=i * 7, last_access="2024-01-01T00:00:00+01:00")
        if i % 100 == 0:
            o["embedding"] = [x / 8 for x in range(-384, 384)]
        f.write(json.dumps(o) + "\n")
with open("typed.jsonl", "w") as f:
    f.write(r'''{"id":"none","content":null}
{"id":"empty","content":""}
{"id":"nul","content":"a\u0000b\ud83d\ude00\u0001\"\\ \u2028"}
{"id":"types","content":"x","s":"5","n":5,"one":1.0,"big":123456789012345678901234567890,"e":1E-2,"t":true,"f":false,"z":null,"list":[1,{"a":[]}],"o":{"k":1.50},"no":""}
{"id":"odd keys","content":"x","":1,"engram.x":"y","confidence":null,"user.x":"z","a\nb":2}
{"id":"numbers","content":"x","confidence":0.50,"activation":1e-3,"decay_rate":10,"recall_count":18446744073709551615,"node_flags":0,"last_access":-12345}
{"id":"old","content":"x","created_at":"1066-10-14T09:00:00Z"}
{"id":"zone","content":"x","created_at":"2023-05-08t13:56:00.123456789012+05:30"}
{"id":"bytes","content_base64":"/wD+","xattrs_base64":{"user.raw":"gA=="}}
{"id_base64":"/zE=","content":"an id that is no text"}
''')
    f.write(json.dumps({"id": "large", "content": "0123456789" * 900000}) + "\n")
ids = ["", ".", "..", "/", "//", "a//b", "/a", "a/", "a\0b", "\0", "x" * 255, "x" * 256, "x" * 300 + "/y", "y/" + "x" * 300,
       ".engram", ".engram/compact", ".engram/", "%fa", "%da/b", "%d/x", "%h0", "%", "%25", "d/./e", "d/../e", "\u00e4" * 200,
       "z/" * 1000 + "q", "z/" * 2000, "w" * 3000, "n" * 250 + "%%", "n" * 250 + "%%/o", "\n", " ", "a b", "\U0001F600/\U0001F600",
       "p/q/r/s", "p/q/r", "p/q", "p", "a", "a/b", "a/b/c", "l/" + "m" * 254, "l/" + "m" * 254 + "/n"]
ids += ["n%d" % i for i in range(700)] + ["n%d/x" % i for i in range(700)]
open("long.jsonl", "w").write(json.dumps({"id": "v" * 60000, "content": "long"}) + "\n")
lines = [json.dumps({"id": i, "content": "the memory " + repr(i)[:60], "length": len(i)}) + "\n" for i in ids]
open("ids.jsonl", "w").writelines(lines)
open("ids-reversed.jsonl", "w").writelines(lines[::-1])
random.shuffle(lines)
open("ids-shuffled.jsonl", "w").writelines(lines)
EOF

check_status "import 5,000 memories" 0 "imported 5000 memories, 0 bad lines, 0 repeated" import plain.jsonl store
check "export" ctl export store plain.out
check "every memory comes back" same_json plain.jsonl plain.out
log_of() { sha256sum "$1"/*.seg; }
before=$(log_of store)
check_status "import again" 0 "imported 5000" import --format jsonl plain.jsonl store
check_equal "nothing was written for it" "$before" "$(log_of store)"
check_equal "all content is live" "$(ctl stat --json store | json_get total_bytes)" "$(ctl stat --json store | json_get live_bytes)"
check "export to standard output" bash -c 'timeout 60 "$1" export store - >plain.out2' _ "$BUILD/tools/engramctl"
check "a second import changes nothing" same_json plain.out plain.out2
check "import from standard input" bash -c 'timeout 60 "$1" import - piped <plain.jsonl' _ "$BUILD/tools/engramctl"
check "export of it" ctl export piped piped.out
check "equal" same_json plain.jsonl piped.out

check_status "import values of all types" 0 "imported 11 memories" import typed.jsonl typed
check "export them" ctl export typed typed.out
check "types, numbers and texts come back as they were" same_json typed.jsonl typed.out
check "as a tree" ctl export --format tree typed typed.tree
check_equal "null content is marked" none "$(getfattr --only-values -n user.engram.content typed.tree/none 2>&1)"
check_fails "empty content is not" "No such attribute" getfattr -n user.engram.content typed.tree/empty
check_equal "content is the file" 9000000 "$(stat -c %s typed.tree/large)"
check_equal "the time of a file is created_at" "2023-05-08 08:26:00.123456789 +0000" "$(TZ=UTC stat -c %y typed.tree/zone)"
check_equal "fields are text" 0.50 "$(getfattr --only-values -n user.engram.confidence typed.tree/numbers)"

for order in ids ids-reversed ids-shuffled; do
    check_status "$order: import" 0 "0 bad lines" import $order.jsonl $order
    check "$order: export" ctl export $order $order.out
    check "$order: ids that cannot be paths come back" same_json ids.jsonl $order.out
    for again in ids ids-reversed ids-shuffled; do ctl import $again.jsonl $order >/dev/null; done
    check "$order: export after three more imports" ctl export $order $order.out2
    check "$order: the same places were found" cmp $order.out $order.out2
    check_status "$order: check" 0 "^clean" check $order
done
check "ids: export as a tree" ctl export --format tree ids ids.tree
check_equal "no control directory in it" 0 "$(find ids.tree -maxdepth 1 -name .engram | wc -l)"
check_status "ids: import the tree" 0 "0 failed" import ids.tree ids2
check "ids: export as JSON lines" ctl export ids2 ids2.out
check "ids survive a tree" same_json ids.jsonl ids2.out

check_status "an id of 60,000 bytes" 0 "imported 1 memories" import long.jsonl long
check "export it" ctl export long long.out
check "it comes back" same_json long.jsonl long.out

# ---- bad lines -------------------------------------------------------------------

cat >bad.jsonl <<'EOF'
{"id":"good 1","content":"x"}
{"id":"confidence","content":"x","confidence":2}
{"id":"no content"}
{"content":"no id"}
not json

{"id":5,"content":"x"}
{"id":"content","content":5}
{"id":"time","content":"x","created_at":"yesterday"}
{"id":"embedding","content":"x","embedding":[1,"2"]}
{"id":"twice","content":"x","a":1,"a":2}
{"id":"good 2","content":"first"}
{"id":"good 2","content":"second"}
{"id":"surrogate","content":"\ud800"}
EOF
printf '{"id":"utf-8","content":"\xff"}\n{"id":"last","content":"no newline"}' >>bad.jsonl
check_status "bad lines: exit code 1" 1 "imported 4 memories, 11 bad lines, 1 repeated ids" import bad.jsonl bad
check_status "bad lines: the reason, with the line's number" 1 "^bad.jsonl:2: confidence is not a number from 0 to 1" import bad.jsonl bad
check_status "bad lines: a blank line counts, but is not bad" 1 "^bad.jsonl:7: id is not a string" import bad.jsonl bad
check_status "bad lines: invalid UTF-8" 1 "^bad.jsonl:15: column [0-9]+: invalid UTF-8" import bad.jsonl bad
ctl export bad bad.out 2>/dev/null
check_equal "bad lines: the good ones are there, the later one of two" \
    "good 1=x good 2=second last=no newline" \
    "$(python3 -c 'import json; print(*sorted("%(id)s=%(content)s" % json.loads(l) for l in open("bad.out")))')"
for i in $(seq 50); do echo "broken $i"; done >many.jsonl
check_equal "bad lines: twenty are shown" 20 "$(ctl import many.jsonl bad 2>&1 | grep -c '^many.jsonl:')"
check_status "bad lines: all are counted" 1 "50 bad lines" import many.jsonl bad
check_equal "summary as JSON" "0 50" \
    "$(ctl import --json many.jsonl bad 2>/dev/null | python3 -c 'import json, sys; o = json.load(sys.stdin); print(o["imported"], o["bad_lines"])')"

# ---- what other systems write ---------------------------------------------------------

cat >other-system.jsonl <<'EOF'
{"id":"naive","content":"1","created_at":"2023-05-08T13:56:00.123456"}
{"id":"date","content":"1","created_at":"2023-05-08"}
{"id":"ms","content":"1","created_at":1683554160250}
{"id":"zone","content":"1","created_at":"2023-05-08T13:56:00+0530","confidence":"0.9","recall_count":3.0}
{"id":"bad","content":"1","confidence":NaN,"embedding":[],"created_at":"yesterday"}
{"id":42,"content":{"a":1}}
EOF
check_status "strict: what is not known is left out" 1 "imported 2 memories, 4 bad lines" import other-system.jsonl strict
check_status "--timezone" 1 "imported 4 memories, 2 bad lines" import --timezone Europe/Berlin other-system.jsonl zoned
check_status "--lenient keeps all" 0 "imported 6 memories, 0 bad lines" import --lenient --timezone +02:00 other-system.jsonl lenient
ctl export lenient lenient.out
check_equal "the field is there under another name" '{"id":"bad","content":"1","original_confidence":"NaN","original_created_at":"yesterday","original_embedding":[]}' "$(grep '"bad"' lenient.out)"
check_equal "times are RFC 3339" 2023-05-08T13:56:00.123456+02:00 "$(python3 -c 'import json; print([json.loads(l)["created_at"] for l in open("lenient.out") if "naive" in l][0])')"
check_status "an unknown zone" 2 "unknown time zone" import --timezone Mars other-system.jsonl lenient
for zone in America Europe/ zone.tab tzdata.zi; do # which are there, and are no zones
    check_status "no zone: $zone" 2 "unknown time zone '$zone'" import --timezone $zone other-system.jsonl lenient
done
check_status "--errors" 1 "50 bad lines" import --errors errors.jsonl many.jsonl bad
check_equal "each bad line is there" "50 17 broken 17" "$(wc -l <errors.jsonl) $(python3 -c 'import json; o = [json.loads(l) for l in open("errors.jsonl")][16]; print(o["line"], o["text"])')"
check_equal "for its owner alone" 600 "$(stat -c %a errors.jsonl)"
for pack in gzip "bzip2" xz zstd; do
    command -v $pack >/dev/null || continue
    $pack -c plain.jsonl >packed
    check_status "lines compressed by $pack" 0 "imported 5000 memories, 0 bad" import packed packed.$pack
done
gzip -c plain.jsonl | head -c 20000 >packed
check_status "cut off: that is told" 2 "damaged, or cut off" import packed packed.cut
check "and the store is whole" ctl check packed.cut
head -c 300000000 /dev/zero | gzip -9 >bomb
check_status "a line that only unpacks to much is a bad line" 1 "1 bad lines" import bomb bombed
printf '{"id":"r","content":"1"}\n{"id":"r","content":"2"}\n' >twice.jsonl
check_status "an id twice makes exit code 1" 1 "1 repeated ids" import twice.jsonl twice
echo '{"id":"k","content":"","k1":"1","k3":"3","k2":"2"}' >keys.jsonl
ctl import keys.jsonl keys >/dev/null && ctl export keys keys.out && ctl import keys.out keys2 >/dev/null && ctl export keys2 keys.out2
check "keys have one order" cmp keys.out keys.out2
ctl export --format tree keys keys.tree
check "a plain tree as lines" ctl export --tree keys.tree keys.out3
check "is the same" cmp keys.out keys.out3

# ---- trees --------------------------------------------------------------------------

make_tree
echo closed >tree/closed/file
printf 'name' >"tree/deep/a
newline and %percent"
finish_tree
check_status "import a tree" 0 "0 failed" import tree trees
check "export a tree" ctl export --format tree trees tree.out
check "trees are equal" same_tree tree tree.out
check "holes stay holes" test "$(du_bytes tree.out/sparse)" -lt 4000000
check_status "import the tree again" 0 "0 failed" import --format tree tree trees
check "export it again" ctl export --format tree trees tree.out2
check "still equal" same_tree tree tree.out2
check_status "its store is clean" 0 "^clean" check trees
check_status "tree: a full folder is refused" 2 "not empty" export --format tree trees tree.out2
check_status "tree: as JSON lines, with a warning" 0 "3 symlinks or special files left out" export trees tree.jsonl
chmod 755 tree/closed tree.out/closed tree.out2/closed

# ---- stat, check, compact ---------------------------------------------------------------

check_equal "stat counts memories" 5000 "$(ctl stat --json store | json_get memories)"
check_status "stat for people" 0 "memories +5000" stat store
sed 's/"content": "/&once more /' plain.jsonl >other.jsonl
check_status "import other content" 0 "imported 5000" import other.jsonl store
check_status "and the first again" 0 "imported 5000" import plain.jsonl store
before=$(ctl stat --json store | json_get fragmentation_ratio)
check "overwriting left garbage" python3 -c "assert $before > 0.1, '$before'"
check_status "estimate" 0 "would empty [0-9]+ segments" compact --estimate store
check_equal "the estimate moves nothing" "$before" "$(ctl stat --json store | json_get fragmentation_ratio)"
du_before=$(du_bytes store)
ctl compact --json store >compact.json 2>compact.err
check_equal "compact" "0 done" "$? $(json_get state <compact.json)"
check "fragmentation after it is at most 0.01" python3 -c "assert $(json_get fragmentation_after <compact.json) <= 0.01"
check "the store is not larger" test "$(du_bytes store)" -le "$du_before"
check_equal "fragmentation as stat says" True "$(python3 -c "print($(ctl stat --json store | json_get fragmentation_ratio) <= 0.01)")"
check_status "check after it" 0 "^clean.* 0 problems" check store
check "export after it" ctl export store compacted.out
check "every memory is as it was" same_json plain.jsonl compacted.out

# overwrite until the engine would start by itself the next time it opens the store
for i in 1 2 3 4 5 6; do
    ctl import other.jsonl store >/dev/null 2>&1
    ctl import plain.jsonl store >/dev/null 2>&1
    fragmentation=$(ctl stat --json store | json_get fragmentation_ratio)
    if python3 -c "exit(not $fragmentation > 0.7)"; then break; fi
done
check "very fragmented after $i more imports" python3 -c "assert $fragmentation > 0.7, '$fragmentation'"
check_status "compact where the engine would compact by itself" 0 "^done: .*fragmentation 0.00" compact store
check_status "check after that" 0 "^clean" check store

# A byte of content turned: check finds it, export names the memory and gives the others.
cp -a store damaged
python3 - <<'EOF'
import glob
for path in sorted(glob.glob("damaged/*.seg")):
    data = bytearray(open(path, "rb").read())
    at = data.find(b"silver")
    if at >= 0:
        data[at] ^= 0x20
        open(path, "wb").write(data)
        break
else:
    raise SystemExit("no content found")
EOF
check_status "check finds a turned byte" 1 "DAMAGED.* [1-9][0-9]* problems" check damaged
check_status "check names the memory" 1 "people/" check damaged
check_status "export of the rest" 1 "^people/.*: Input/output error" export damaged damaged.out
check_equal "all but one" 4999 "$(wc -l <damaged.out)"
check_status "as a tree" 1 "4999 files.* 1 failed" export --format tree damaged damaged.tree

# ---- snapshots -------------------------------------------------------------------------------

cp -a store snapshots
snapshot_names() { ctl snapshot list snapshots | cut -f 3 | paste -sd ' '; }
check_status "no snapshots" 0 "^$" snapshot list snapshots
for name in first $'a\tb' last; do
    check_status "snapshot create" 0 "^$" snapshot create snapshots "$name"
done
check_equal "snapshot list" 'first a\x09b last' "$(snapshot_names)"
check_status "snapshot list: batch, time, name" 0 "^[0-9]+"$'\t'"20[0-9-]+T[0-9:.]+Z"$'\t'"first$" snapshot list snapshots
check_status "a name that is taken" 2 "there is a snapshot of that name" snapshot create snapshots last
check_status "a name that is none" 2 "a name has no '/'" snapshot create snapshots a/b
check_status "a long name" 2 "File name too long" snapshot create snapshots "$(printf '%300s' x)"
check_status "one that is not there" 2 "there is no such snapshot" snapshot drop snapshots none
check_status "snapshot rename" 0 "^$" snapshot rename snapshots first $'\xff'
check_equal "snapshot list --json" "/w== a	b last" "$(ctl snapshot list --json snapshots |
    python3 -c 'import json, sys; print(*[o.get("name", o.get("name_base64")) for o in json.load(sys.stdin)])')"
check_status "memories go into a store that has snapshots" 0 "imported 11 memories" import typed.jsonl snapshots
check_status "and it is sound" 0 "^clean" check snapshots
for name in last $'\xff' $'a\tb'; do
    check_status "snapshot drop" 0 "^$" snapshot drop snapshots "$name"
done
check_equal "all have gone" "" "$(snapshot_names)"
check_status "the store is sound" 0 "^clean" check snapshots
check_status "snapshot: no such verb" 2 "expected create, list, rename, drop or rollback" snapshot make snapshots
check_status "snapshot create: no name" 2 "expected TARGET NAME" snapshot create snapshots
check_status "snapshot drop --json" 2 "goes with list" snapshot drop --json snapshots x

# ---- usage and errors -----------------------------------------------------------------------

for sub in import export stat check compact snapshot; do
    check_status "$sub --help" 0 "^usage: engramctl $sub" $sub --help
    check_status "$sub: a bad option" 2 "bad option '--nonsense'" $sub --nonsense
    check_status "$sub: no arguments" 2 "see engramctl $sub --help" $sub
done
check_status "help" 0 "^usage: engramctl SUBCOMMAND" help
check_status "help of a subcommand" 0 "^usage: engramctl compact" help compact
check_status "version" 0 "^engramctl [0-9]" version
check_status "an unknown subcommand" 2 "unknown subcommand 'frobnicate'" frobnicate
check_status "no subcommand" 2 "usage:"
check_status "an unknown format" 2 "unknown format 'xml'" export --format xml store
for sub in stat check compact export; do
    check_status "$sub of what is missing" 2 "nothere" $sub nothere
    check_status "$sub of another folder" 2 "not a store" $sub tree
done
check "none of these made anything" test ! -e nothere
check_status "import of a missing file" 2 "nosource: No such file" import nosource newstore
check "it made no store" test ! -e newstore
check_status "compact: two actions" 2 "one action" compact --pause --resume store
check_status "compact: steering needs a mount" 2 "not a mount point" compact --pause store
check_status "check --scrub needs a mount" 2 "for mounts" check --scrub store
check_status "export to a missing folder" 2 "No such file" export store nowhere/out
check_fails "a full disk is noticed" "No space left" bash -c 'timeout 60 "$1" export store >/dev/full' _ "$BUILD/tools/engramctl"
check_fails "a full disk, in short output" "No space left" bash -c 'timeout 60 "$1" stat store >/dev/full' _ "$BUILD/tools/engramctl"
check_fails "a closed pipe is noticed" "Broken pipe" \
    bash -c 'set -o pipefail; timeout 60 "$1" export store | head -c 10 >/dev/null' _ "$BUILD/tools/engramctl"
for format in jsonl tar; do # a disk that fills in the middle is a limit here
    echo "what was there before" >kept.out
    check_fails "$format: an export that ends in the middle" "File too large" \
        bash -c 'ulimit -f 100; trap "" XFSZ; exec timeout 60 "$1" export --format "$2" store kept.out' _ "$BUILD/tools/engramctl" $format
    check_equal "$format: leaves what was there" "what was there before" "$(cat kept.out)"
    check "$format: one that comes to its end" ctl export --format $format store kept.out
    check "$format: takes its place" test "$(stat -c %s kept.out)" -gt 200000
done
rm kept.out
check_equal "nothing unfinished lies about" "" "$(find . -maxdepth 1 -name '*.part')"
check_equal "no control characters in a log" 0 "$(ctl import plain.jsonl store 2>&1 | grep -c $'[\r\033]')"

# ---- the same through a mount --------------------------------------------------------------------

through_mount() {
    local mnt=$WORK/mnt
    must_mount "$WORK/mounted" "$mnt"
    mkdir "$mnt/folder"
    check_status "mount: import" 0 "imported 11 memories" import typed.jsonl "$mnt"
    check "mount: export" ctl export "$mnt" mnt.out
    check "mount: everything comes back" same_json typed.jsonl mnt.out
    check_status "mount: import into a folder" 0 "0 bad lines" import ids.jsonl "$mnt/folder"
    check_status "mount: import again in another order" 0 "0 bad lines" import ids-shuffled.jsonl "$mnt/folder"
    check "mount: export of the folder" ctl export "$mnt/folder" folder.out
    check "mount: ids come back without the folder's name" same_json ids.jsonl folder.out
    check_status "mount: a folder that is not there" 2 "no such directory in the mount" import ids.jsonl "$mnt/missing"
    mkdir "$mnt/tree"
    check_status "mount: import a tree" 0 "0 failed" import tree "$mnt/tree"
    check "mount: equal in the mount" same_tree tree "$mnt/tree"
    check "mount: export a tree" ctl export --format tree "$mnt/tree" mnt.tree
    check "mount: equal outside" same_tree tree mnt.tree
    # twice: nothing is written, whatever the format; and a reader beside sees the old memory or the new one
    state() { (cd "$mnt" && find . -name .engram -prune -o -printf '%p %y %m %i %s %T@ %C@ %n\n' | sort && getfattr -hR -n user.engram.version . 2>/dev/null | sort); }
    ctl export --format tar trees twice.tar
    ctl export trees twice-tree.jsonl 2>/dev/null
    head -c 20000000 /dev/urandom >tree/deep/large
    mkdir "$mnt/twice" && echo "old and long" >"$mnt/old"
    for what in tree twice.tar twice-tree.jsonl typed.jsonl; do
        ctl import $what "$mnt/twice" >/dev/null 2>&1
        state >state1
        ctl import $what "$mnt/twice" >/dev/null 2>&1
        state >state2
        check "mount: $what twice changes nothing" cmp state1 state2
    done
    rm tree/deep/large
    python3 - "$mnt/watched" >watched.out <<'EOF2' &
import os, sys
path, seen = sys.argv[1], set()
open(path, "w").write("a" * 1000)
print("ready", flush=True)
while not os.path.exists(path + ".end"):
    seen.add(open(path).read()[:1])
print("saw", "".join(sorted(seen)) if all(seen) else "an empty memory", flush=True)
EOF2
    wait_until 20 grep -q ready watched.out
    for i in $(seq 40); do
        for c in a b; do
            printf '{"id":"watched","content":"%s"}\n' "$(printf "$c%.0s" $(seq 1000))" | ctl import - "$mnt" >/dev/null
        done
    done
    touch "$mnt/watched.end"
    check "mount: a reader beside an import" wait_until 20 grep -q saw watched.out
    check_equal "mount: never sees an empty memory" "saw ab" "$(tail -n 1 watched.out)"
    rm -r "$mnt"/watched* "$mnt/twice" "$mnt/old"
    check_equal "mount: stat has the keys of stats.json" \
        "$(python3 -c 'import json, sys; print(sorted(json.load(open(sys.argv[1]))))' "$mnt/.engram/stats.json")" \
        "$(ctl stat --json store | python3 -c 'import json, sys; print(sorted(json.load(sys.stdin)))')"
    check_status "mount: stat" 0 "^memories" stat "$mnt"
    check_status "mount: snapshot create" 0 "^$" snapshot create "$mnt" taken
    check_status "mount: snapshot list" 0 "taken$" snapshot list "$mnt"
    check_status "mount: snapshot drop" 0 "^$" snapshot drop "$mnt" taken
    check_status "mount: check says what to do" 2 "unmount it.*check --scrub" check "$mnt"
    check_status "mount: scrub" 0 "^clean" check --scrub "$mnt"
    check_status "mount: estimate" 0 "would empty" compact --estimate "$mnt"
    check_status "mount: rate" 0 "" compact --rate=100M "$mnt"
    check_status "mount: a bad rate" 2 "not understood" compact --rate=fast "$mnt"
    check_status "mount: compact" 0 "^done: .*fragmentation 0.00" compact "$mnt"
    check_status "mount: compact from a folder of it" 0 '"state": "done"' compact --json "$mnt/folder"
    check_status "mount: nothing to pause" 1 "none is running" compact --pause "$mnt"
    check_status "mount: its store is in use" 2 "mounted: .*in use" stat mounted
    check "mount: unmount" unmount_store "$mnt"
    check_status "mount: its store is clean" 0 "^clean" check mounted
}
if [ -c /dev/fuse ] && [ -x "$ENGRAMFS" ]; then
    through_mount
else
    skip "tools through a mount" "no /dev/fuse"
fi
t_end
