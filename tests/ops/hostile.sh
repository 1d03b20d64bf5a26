#!/usr/bin/env bash
# hostile.sh - root imports into, and exports from, a tree in which somebody else swaps folders for links all the time; and modes,
# owners and ids that lend rights to others. Nothing outside of the tree is read, written or given other modes.
#
#   tests/ops/hostile.sh [BUILD]      CTL_OLD=engramctl: shows what that one does instead
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 tar setfattr setpriv rsync
if [ "$(id -u)" -ne 0 ]; then
    skip hostile "not root: root's import for others is what this is about"
    exit 0
fi
CTL=${CTL_OLD-$CTL}
ROUNDS=6
[ "${ENGRAM_TEST_MODE-}" != quick ] || ROUNDS=2
cd "$WORK" || exit 1
chmod 755 "$WORK"
mode_of() { stat -c '%a %u' "$1"; }
must_mount "$WORK/store" "$WORK/mnt" -o allow_other
cp "$CTL" ctl && chmod 755 ctl # a build folder need not be open to others

# ---- what only root may see and change
prepare_outside() {
    rm -rf outside
    mkdir -m 711 outside
    mkdir -m 700 outside/cron
    echo "root's own" >outside/cron/job0
    chmod 600 outside/cron/job0
    touch -d '2001-02-03 04:05:06 UTC' outside/cron/job0 outside/cron outside
}
digest_outside() { (cd outside && find . -printf '%p %y %m %U %G %s %T@\n' | sort && cat cron/job0 && ls -A cron); }

# ---- the other process: a folder and a link to the outside change places without a pause
cat >swap.py <<'P'
import ctypes, os, sys
os.setgroups([])
os.setgid(1002)
os.setuid(1002)
libc = ctypes.CDLL(None, use_errno=True)
top, outside = sys.argv[1], sys.argv[2]
pairs = []
for place in sys.argv[3:]:
    parent, name = os.path.split(place)
    parent = os.path.join(top, parent)
    link = os.path.join(parent, ".link-" + name)
    if not os.path.islink(link):
        os.symlink(outside, link)
    pairs.append((os.fsencode(os.path.join(parent, name)), os.fsencode(link)))
print("swapping", flush=True)
while True:
    for a, b in pairs:
        libc.renameat2(-100, a, -100, b, 2)
P
swap() { # starts it for these places below mnt/bob
    rm -f swap.out
    python3 swap.py "$WORK/mnt/bob" "$WORK/outside/cron" "$@" >swap.out &
    SWAP=$!
    wait_until 20 grep -q swapping swap.out
}
swap_end() {
    kill "$SWAP"
    wait "$SWAP" 2>/dev/null
    rm -f swap.out
}
fresh_bob() { # folders a, b/c, d that belong to bob, with some files to be replaced
    rm -rf mnt/bob
    mkdir mnt/bob mnt/bob/a mnt/bob/b mnt/bob/b/c mnt/bob/d
    for d in a b/c d; do for i in $(seq 0 40); do echo "old $i" >"mnt/bob/$d/job$i"; done; done
    chown -R 1002:1002 mnt/bob
}
# the archives: of bob's, so he says what is in them
mkdir -p source/bob/a source/bob/b/c source/bob/d
for d in a b/c d; do for i in $(seq 0 40); do echo "* * * * * root pwned $i" >"source/bob/$d/job$i"; done; done
head -c 9000000 /dev/zero | tr '\0' x >source/bob/a/job0
mkdir source/bob/a/dir
ln -s nothing source/bob/a/link
chmod 0777 source/bob/a source/bob/b/c source/bob/d
chown -hR 1002:1002 source/bob
chmod 4777 source/bob/a/job1
tar -C source --sort=name -cf bob.tar bob
tar -C source -cf implied.tar bob/a/job0 bob/b/c/job0 bob/b/c/job1 bob/d/job0
python3 - <<'P'
import json, os
with open("bob.jsonl", "w") as f:
    for i in range(41):
        for d in ("a", "b/c", "d"):
            f.write(json.dumps({"id": f"bob/{d}/job{i}", "content": f"pwned {i}"}) + "\n")
P
attack() { # NAME COMMAND...: while bob swaps
    local name=$1 round before
    shift
    prepare_outside
    before=$(digest_outside)
    for round in $(seq "$ROUNDS"); do
        fresh_bob
        swap a b/c d
        "$@" >attack.out 2>&1
        [ $? -lt 124 ] || not_ok "$name: round $round" "it hung or crashed"
        swap_end
    done
    check_equal "$name: nothing outside is changed" "$before" "$(digest_outside)"
}
ctl() { timeout 60 "$CTL" "$@"; }
attack "tar" ctl import bob.tar mnt
attack "a tar with implied folders" ctl import implied.tar mnt
attack "a tree" ctl import --format tree source mnt
attack "JSON lines" ctl import bob.jsonl mnt

exports() { # into out.*; everything bob has is his, so nothing of root's may be in it
    rm -rf out.tree out.tar out.jsonl
    ctl export --format tree mnt/bob out.tree
    ctl export mnt/bob out.tar
    ctl export mnt/bob out.jsonl
    grep -rlI "root's own" out.tree out.tar out.jsonl >>leaked 2>/dev/null
    return 0
}
: >leaked
attack "export" exports
check_equal "export: nothing from outside was read" "" "$(sort -u leaked | xargs)"

# ---- modes: never laxer than in the end
prepare_outside
rm -rf mnt/bob
check "an archive with implied folders" "$CTL" import implied.tar mnt
check_equal "they are not open to all" "755 0" "$(mode_of mnt/bob)"
check_equal "deeper ones neither" "755 0" "$(mode_of mnt/bob/b/c)"
(umask 077 && "$CTL" import implied.tar strict >/dev/null && "$CTL" export --format tree strict strict.tree >/dev/null)
check_equal "the umask counts" "700 0" "$(mode_of strict.tree/bob/b)"
# a fifo that nobody feeds holds the import up in the middle
rm -rf mnt/bob
mkfifo feed
timeout 60 "$CTL" import --format tar feed mnt >/dev/null 2>&1 &
exec 5>feed
head -c 5000000 bob.tar >&5
wait_until 20 test -d mnt/bob/a
check_equal "a folder with an entry is closed until the end" "700 0" "$(mode_of mnt/bob/a)"
check_equal "as is its parent" "700 0" "$(mode_of mnt/bob)"
tail -c +5000001 bob.tar >&5
exec 5>&-
wait $!
check_equal "and has its mode in the end" "777 1002" "$(mode_of mnt/bob/a)"

# ---- kill -9 in the middle of a large memory: the old one is there, whole
echo "the old memory" >mnt/kept
setfattr -n user.field -v old mnt/kept
mkdir killed && head -c 20000000 /dev/urandom >killed/kept
tar -C killed -cf killed.tar kept
"$CTL" import --format tar feed mnt >/dev/null 2>&1 &
IMPORT=$!
exec 5>feed
head -c 15000000 killed.tar >&5
check "the import is in the middle" wait_until 20 sh -c "ls mnt/.engramctl-*.part || test \$(stat -c %s mnt/kept) -gt 1000"
kill -KILL $IMPORT
exec 5>&-
wait $IMPORT 2>/dev/null
check_equal "killed in the middle" "the old memory old" "$(head -c 100 mnt/kept | tr -d '\0') $(getfattr --only-values -n user.field mnt/kept)"
rm -rf killed* mnt/kept mnt/.engramctl-*

# ---- set-user-ID bits only with the owner
check_equal "root keeps both" "4777 1002" "$(mode_of mnt/bob/a/job1)"
mkdir -m 777 alice
alice() { setpriv --reuid=1001 --regid=1001 --clear-groups "$@"; }
alice ./ctl export --format tree mnt/bob alice/out >/dev/null 2>&1
check_equal "another user's copy has the bit not" "777 1001" "$(mode_of alice/out/a/job1)"
"$CTL" export mnt bob2.tar >/dev/null 2>&1
chmod 644 bob2.tar
mkdir mnt/alice && chown 1001:1001 mnt/alice
alice ./ctl import bob2.tar mnt/alice >/dev/null 2>&1
check_equal "nor by an archive" "777 1001" "$(mode_of mnt/alice/bob/a/job1)"
check_equal "an export is for who made it" "600 0" "$("$CTL" export mnt bob3.tar >/dev/null 2>&1; mode_of bob3.tar)"
check_equal "as lines, too" "600 0" "$("$CTL" export mnt bob3.jsonl >/dev/null 2>&1; mode_of bob3.jsonl)"

# ---- an ordinary user's own files that he may not write to: each is read-only and larger than a batch
mkdir -m 777 user && alice mkdir user/src
head -c 9000000 /dev/urandom >user/pack && chmod 644 user/pack
alice install -m 444 user/pack user/src/pack
alice tar -C user/src -cf user/src.tar pack
check "a read-only file over 8 MiB, by its owner" alice ./ctl import --format tree user/src mnt/alice
check_equal "it is there, and read-only" "444 1001" "$(cmp user/pack mnt/alice/pack && mode_of mnt/alice/pack)"
rm -f mnt/alice/pack
check "from an archive" alice ./ctl import user/src.tar mnt/alice
check "as a tree" alice ./ctl export --format tree mnt/alice user/out
check_equal "it is in there" "444 1001" "$(cmp user/pack user/out/pack && mode_of user/out/pack)"
alice ./ctl import user/src.tar user/store >/dev/null
check "the same into a store" alice ./ctl import user/src.tar user/store

# ---- bad lines are for who imported, whatever the file was before
echo '{"bad' >bad.jsonl
echo old >bad.errors && chmod 644 bad.errors
"$CTL" import --errors bad.errors bad.jsonl mnt/alice >/dev/null 2>&1
check_equal "an older file of bad lines is closed to others" "600 0 1" "$(mode_of bad.errors) $(grep -c '"line":1' bad.errors)"
check_equal "  and has nothing of the old ones" 0 "$(grep -c old bad.errors)"
echo hers >hers.errors && chown 1001:1001 hers.errors
check_fails "one of somebody else is refused" "belongs to somebody else" "$CTL" import --errors hers.errors bad.jsonl mnt/alice
check_equal "  and stays as it was" "hers" "$(cat hers.errors)"
check "what is no file is taken" sh -c "'$CTL' import --errors /dev/stdout bad.jsonl mnt/alice | grep -q '\"line\":1'"

# ---- who is quick at the right moment: something else has the name when its attributes are set (tests/ops/names_shim.c)
if cc -shared -fPIC -Wall -Werror -o names.so "$ROOT/tests/ops/names_shim.c" -ldl; then
    swapped() { # NAME SOURCE [LOOK]: imports while `other` takes the place of NAME, once
        env "LD_PRELOAD=$WORK/names.so" NAMES_SHIM=swap "SWAP_NAME=$1" "SWAP_LOOK=${3-1}" "SWAP_WITH=$WORK/mnt/quick/other" \
            timeout 60 "$CTL" import --format tree "$2" mnt/quick >swap.said 2>&1
        echo "$? $(grep -c 'something else in its place' swap.said) $(test -e mnt/quick/other && echo "not swapped")"
    }
    mkdir mnt/quick mnt/roots one two
    echo same >one/note && chmod 4777 one/note
    echo "root's own" >mnt/roots/key && chmod 600 mnt/roots/key
    noticed=0
    for look in 1 2 3 4 5 6; do
        rm -f mnt/quick/*
        cp one/note mnt/quick/note && chmod 600 mnt/quick/note
        ln mnt/roots/key mnt/quick/other
        [ "$(swapped note one $look)" != "1 1 " ] || noticed=$((noticed + 1))
        check_equal "another file under the name of one, at look $look: root's is his still" "600 0 root's own" \
            "$(mode_of mnt/roots/key) $(cat mnt/roots/key)"
    done
    check "another file under the name of one that gets its attributes" test "$noticed" -ge 1
    rm -f mnt/quick/*
    mkfifo two/pipe && chown 1002:1002 two/pipe && chmod 666 two/pipe
    mkfifo -m 600 mnt/roots/pipe && ln mnt/roots/pipe mnt/quick/other
    check_equal "another pipe in place of the one just made" "1 1 " "$(swapped .engramctl- two)"
    check_equal "  is root's still" "600 0" "$(mode_of mnt/roots/pipe)"
    rm -f mnt/quick/.engramctl-*
    ln mnt/roots/key mnt/quick/other
    check_equal "a file in place of it" "1 1 " "$(swapped .engramctl- two)"
    check_equal "  is root's still" "600 0" "$(mode_of mnt/roots/key)"
else
    skip "who is quick at the right moment" "no compiler"
fi

# ---- ids: whoever may write to a file cannot claim the id of another one
ids() { "$CTL" export "$@" - | python3 -c 'import json, sys; print(" ".join(sorted(json.loads(l)["id"] for l in sys.stdin)))'; }
rm -rf mnt/* && mkdir -p mnt/people/ada mnt/pub mnt/fold
echo "Ada's birthday" >mnt/people/ada/birthday
echo "bob's" >mnt/pub/note
setfattr -n user.engram.id -v people/ada/birthday mnt/pub/note
check_equal "a claimed id" "people/ada/birthday pub/note" "$(ids mnt)"
echo '{"id":"x//y","content":"esc"}
{"id":"taken","content":"1"}
{"id":"taken/deeper","content":"2"}
{"id":"pub","content":"3"}' >escaped.jsonl
echo '{"id":"'"$(printf 'l%.0s' $(seq 300))"'","content":"long"}' >>escaped.jsonl
"$CTL" import escaped.jsonl mnt/fold >/dev/null
check_equal "true ids" "taken taken/deeper x//y" "$(ids mnt/fold | tr ' ' '\n' | grep -v -e ^l -e ^pub | xargs)"
check_equal "from above" "fold/taken fold/taken/deeper fold/x//y" "$(ids mnt | tr ' ' '\n' | grep -v -e ^fold/l -e pub -e people | xargs)"
mv mnt/fold mnt/moved
check_equal "none is believed that has moved" "" "$(ids mnt | tr ' ' '\n' | grep ^fold)"
cp -a "$(find mnt/moved -name '%f*' -o -name y | head -n 1)" mnt/moved/copy
check_equal "no id twice" "" "$(ids mnt | tr ' ' '\n' | sort | uniq -d)"
mkdir -p mnt/sticky && echo 1 >mnt/sticky/note && echo 2 >mnt/sticky/%fnote
setfattr -n user.engram.id -v sticky/note mnt/sticky/%fnote
check_equal "nor by the escaped form of a name that is there" "sticky/%fnote sticky/note" "$(ids mnt | tr ' ' '\n' | grep ^sticky | xargs)"
mkdir -p mnt/sticky/d mnt/sticky/%dd && echo 1 >mnt/sticky/%dd/note
setfattr -n user.engram.id -v sticky/d/note mnt/sticky/%dd/note
check_equal "nor by that of a folder" "sticky/%dd/note" "$(ids mnt | tr ' ' '\n' | grep '^sticky/.*d/' | xargs)"

# ---- into itself
rm -rf mnt/* && mkdir mnt/sub && echo 1 >mnt/sub/one
"$CTL" export --format tree mnt mnt/out >self.out 2>&1
check_equal "a tree into itself: the rest is done, and that is told" "1 1 out/sub/one" "$? $(grep -c '^out: .*left out' self.out) $(cd mnt && find out -type f -printf '%p')"
"$CTL" import --format tree mnt mnt/sub >self.out 2>&1
check_equal "the other way" "1 1" "$? $(grep -c '^sub: .*left out' self.out)"
check "an archive does not hold itself" sh -c "'$CTL' export mnt mnt/all.tar; tar tf mnt/all.tar | grep -c part | grep -qx 0"

# ---- a folder of the mount, mounted somewhere else, is a mount
mkdir mnt/agent bound
mount --bind mnt/agent bound
check "import into a bind mount" sh -c "echo '{\"id\":\"a//b\",\"content\":\"1\"}' | '$CTL' import - bound"
check_equal "no store was made of it" "" "$(cd bound && find . -name superblock -o -name '*.seg')"
check_equal "ids are those of the mount" "agent/a//b" "$(ids mnt | tr ' ' '\n' | grep agent)"
check_equal "and of the folder" "a//b" "$(ids bound)"
check "its control files are the mount's" sh -c "'$CTL' config bound | grep -q commit_ms"
umount bound
check "unmount" unmount_store "$WORK/mnt"
check_fails "an import into the mount point" "is empty: a mount point whose daemon" "$CTL" import bob.jsonl mnt
check_equal "made nothing" "" "$(ls -A mnt)"
echo "none $WORK/mnt fuse.engramfs noauto 0 0" >fstab
if unshare -m mount --bind fstab /etc/fstab 2>/dev/null; then
    check_fails "nor --create, if fstab has it" "mount point of /etc/fstab" \
        unshare -m sh -c "mount --bind fstab /etc/fstab && '$CTL' import --create bob.jsonl mnt"
fi
check "--create makes a store there" "$CTL" import --create bob.jsonl mnt
rm -rf mnt/*
check "the store is whole" "$CTL" check store

# ---- a store of somebody else stays his
mkdir -m 755 hers && chown 1001:1001 hers
alice ./ctl import bob.jsonl hers/store >/dev/null
python3 -c 'import json
for i in range(400): print(json.dumps({"id": "r%d" % i, "content": "%d" % i * 3000}))' >root.jsonl
"$CTL" import root.jsonl hers/store >/dev/null
"$CTL" config hers/store commit_ms=2000
"$CTL" compact hers/store >/dev/null
check_equal "files that root makes are the owner's" "1001" "$(stat -c %u hers/store/* | sort -u)"
check "she can use it" alice ./ctl check hers/store
check "and write to it" alice ./ctl import bob.jsonl hers/store

# ---- root exports a store of hers: what she may put there, and could not make herself, is not made of it
cat >evil.py <<'P'
import io, sys, tarfile
out, uid = sys.argv[1], 1001
t = tarfile.open(out, "w", format=tarfile.PAX_FORMAT)
def entry(name, kind=tarfile.REGTYPE, mode=0o755, owner=uid, xattrs={}, **more):
    i = tarfile.TarInfo(name)
    i.type, i.mode, i.uid, i.gid = kind, mode, owner, owner
    i.size = 3 if kind == tarfile.REGTYPE else 0
    i.pax_headers = {"SCHILY.xattr." + k: v for k, v in xattrs.items()}
    for k, v in more.items():
        setattr(i, k, v)
    t.addfile(i, io.BytesIO(b"abc") if i.size else None)
entry("./", tarfile.DIRTYPE, 0o777)
entry("rootid", mode=0o4755, owner=0)
entry("rootgid", mode=0o2755, owner=0)
entry("hers", mode=0o6755)
entry("disk", tarfile.BLKTYPE, 0o666, devmajor=7, devminor=0)
entry("tty", tarfile.CHRTYPE, 0o666, devmajor=5, devminor=0)
entry("pipe", tarfile.FIFOTYPE, 0o644)
entry("cap", xattrs={"security.capability": "\1\0\0\2\2" + 15 * "\0", "trusted.x": "1", "user.kept": "1"})
entry("dir", tarfile.DIRTYPE, 0o2755, owner=0)
t.close()
P
python3 evil.py hers/evil.tar && chown 1001:1001 hers/evil.tar
alice ./ctl import hers/evil.tar hers/evil >/dev/null
what_is() { (cd "$1" && find . -mindepth 1 -printf '%f %y %m %U:%G\n' | sort | xargs); }
LIMITED="cap f 755 1001:1001 dir d 755 0:0 hers f 6755 1001:1001 pipe p 644 1001:1001 rootgid f 755 0:0 rootid f 755 0:0"
told() { # FILE: 7 things are told, each once
    local text
    for text in rootid:.*set-ID rootgid:.*set-ID dir:.*set-ID disk:.*device tty:.*device cap:.*security.capability cap:.*trusted.x; do
        [ "$(grep -c "^$text" "$1")" = 1 ] || return 1
    done
}
names_of() { getfattr --absolute-names -m - "$1" | grep -v -e '^#' -e selinux | xargs; }
exported() { # WHAT OUT ARGUMENT...: an export by root leaves that out, and tells it
    local what=$1 out=$2
    shift 2
    timeout 100 "$CTL" export "$@" >said 2>&1
    check_equal "$what: exit status" 1 $?
    check "$what: all is told" told said
    check_equal "$what: what is there" "$LIMITED" "$(what_is "$out")"
    check_equal "$what: no capability, and the memory's own field" "user.kept" "$(names_of "$out/cap")"
}
install -d -m 700 there
exported "a store of hers as a tree" there --format tree hers/evil there
check_equal "a folder that was there stays root's, and closed" "700 0" "$(mode_of there)"
install -d -m 755 open
check "a store of root's with the same" "$CTL" import hers/evil.tar evil
check "of which all is taken" "$CTL" export --format tree evil open
check_equal "all is made" "4755 0" "$(mode_of open/rootid)"
check_equal "and a folder that was there becomes no more open" "755 0" "$(mode_of open)"
check "with --trust" "$CTL" export --trust --format tree hers/evil trusted
check_equal "of hers, too" "4755 0 b" "$(mode_of trusted/rootid) $(stat -c %F trusted/disk | cut -c 1)"
timeout 100 "$CTL" export --format tar hers/evil evil.out.tar 2>said
check_equal "an archive: exit status" 1 $?
check "an archive: all is told" told said
mkdir -m 700 unpacked && tar -xpf evil.out.tar -C unpacked --xattrs --xattrs-include='*'
check_equal "an archive: what is in it" "$LIMITED" "$(what_is unpacked)"
check_equal "an archive: no capability" "user.kept" "$(names_of unpacked/cap)"
mkdir side
must_mount "$WORK/hers/evil" "$WORK/side"
exported "her store, mounted by root" mounted --format tree side mounted
exported "and as of one moment" moment --snapshot --format tree side moment
# what has the name of the store by now need not be the store
mv hers/evil hers/moved && ln -s /usr hers/evil
timeout 100 "$CTL" export --format tree side linked >/dev/null 2>said
check_equal "a link to a folder of root's in its place: exit status" 1 $?
check_equal "a link to a folder of root's in its place: nothing is believed" "" "$(find linked -perm /6000 -o -type b -o -type c)"
check "which is told, too" grep -q "^rootid: .*set-ID\|: rootid: .*set-ID\|rootid: its set-ID" said
rm hers/evil && mv hers/moved hers/evil
timeout 100 "$CTL" import --format tree side taken >/dev/null 2>said
check_equal "imported into a store of root's: exit status" 1 $?
check "imported: all is told" told said
check "and out of that, as root's own" "$CTL" export --format tree taken again
check_equal "nothing of it is there" "$LIMITED" "$(what_is again)"
check "unmount" unmount_store "$WORK/side"
must_mount "$WORK/hers/evil" "$WORK/side"
check "root's backup of it" "$CTL" backup side kept
check "unmount" unmount_store "$WORK/side"
exported "root's backup of her store" out.kept --format tree kept out.kept
cp -a kept kept.was && must_mount "$WORK/kept" "$WORK/side"
check "and a backup of that" "$CTL" backup side kept.kept
check "unmount" unmount_store "$WORK/side"
exported "root's backup of the backup" out.kept2 --format tree kept.kept out.kept2

# a repair makes of somebody's store one of root's
copied() { timeout 100 "$CTL" "$@" >/dev/null 2>&1 || [ $? -eq 1 ]; }
chown -R 1001:1001 hers/evil
check "root's repair of her store" copied repair --into fixed hers/evil
exported "root's repair of her store" out.fixed --format tree fixed out.fixed
check "a repair of that" copied repair --into fixed2 fixed
exported "a repair of that" out.fixed2 --format tree fixed2 out.fixed2
must_mount "$WORK/fixed" "$WORK/side"
exported "what was repaired, mounted by root" out.fixed3 --format tree side out.fixed3
check "a backup of that" "$CTL" backup side fixed.kept
check "unmount" unmount_store "$WORK/side"
exported "a backup of that" out.fixed4 --format tree fixed.kept out.fixed4
cp -a kept kept3
check "root's backup, repaired in place" copied repair --in-place kept3
exported "root's backup, repaired in place" out.kept3 --format tree kept3 out.kept3
cp -a hers/evil mixed && chown 0:0 mixed # of her files, in a folder of root's
cp -a mixed bare && rm bare/superblock
exported "her files in root's folder, without a superblock" out.bare --format tree bare out.bare
cp -a bare once && must_mount "$WORK/once" "$WORK/side"
exported "her files in root's folder, mounted by root" out.once --format tree side out.once
check "unmount" unmount_store "$WORK/side"
check_equal "  whose superblock is root's by now" "0 1001" "$(stat -c %u once/superblock) $(stat -c %u once/*.seg | sort -u | tail -n 1)"
exported "her files in root's folder, after that" out.once2 --format tree once out.once2
cp -a mixed several && chown 1002:1002 several/*.seg
timeout 100 "$CTL" export --format tree several out.several 2>said
check_equal "files of several users: exit status" 1 $?
check_equal "  nobody knows what is whose" "" "$(find out.several -perm /6000)"
for note in folder link pipe garbage; do
    rm -rf noted noted.out && cp -a kept noted && rm noted/.engram-past
    case $note in
    folder) mkdir noted/.engram-past ;;
    link) ln -s "$WORK/kept/.engram-past" noted/.engram-past ;;
    pipe) mkfifo noted/.engram-past ;;
    garbage) printf 'engramfs repair 1\nowner root\n' >noted/.engram-past ;;
    esac
    timeout 100 "$CTL" export --format tree noted noted.out 2>said
    check_equal "a backup whose note is a $note: exit status" 1 $?
    check_equal "  nobody knows what is whose" "" "$(find noted.out -perm /6000 -o -type b -o -type c)"
done
check "her files in root's folder, repaired in place" copied check --repair --in-place mixed
exported "her files in root's folder, repaired in place" out.mixed --format tree mixed out.mixed
check "her store, repaired in place by root" copied repair --in-place hers/evil
check_equal "stays hers" "1001:1001" "$(stat -c %u:%g hers/evil hers/evil/* | sort -u)"
exported "her store, repaired in place by root" out.evil --format tree hers/evil out.evil
check "a store of root's, repaired" copied repair --into roots evil
check "is root's" "$CTL" export --format tree roots out.roots
check_equal "with all that it has" "4755 0" "$(mode_of out.roots/rootid)"
check "by herself all is exported" alice ./ctl export --format tar hers/evil hers/own.tar
chmod 770 evil # others can write to it
timeout 100 "$CTL" export --format tree evil loose 2>said
check_equal "a store of root's that others can write to: exit status" 1 $?
check_equal "nobody knows what is whose: no set-ID bits at all" "" "$(find loose -perm /6000)"
check "which is told" grep -q "^hers: .*set-ID" said

# ---- engramctl config of a store of hers
echo "root:secret" >secret && chmod 600 secret
config_of() { # WHAT MESSAGE
    timeout 20 "$CTL" config hers/store >said 2>&1
    check_equal "$1: config: exit status" 2 $?
    check "$1: and why" grep -q "$2" said
    check_equal "$1: nothing of root's is shown" 0 "$(grep -c root:secret said)"
}
alice ln -sf "$WORK/secret" hers/store/config
config_of "a link to a file of root's" "is not a file"
alice sh -c 'rm hers/store/config && mkfifo hers/store/config'
config_of "a pipe" "is not a file"
alice sh -c 'rm hers/store/config && head -c 200000 /dev/zero | tr "\0" x >hers/store/config'
config_of "a line without end" "File too large"
alice rm hers/store/config
check "and without any" "$CTL" config hers/store
t_end
