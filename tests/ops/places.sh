#!/usr/bin/env bash
# places.sh - the folders that root names for an import, an export or a backup lie in somebody else's, who lets them change places with
# links to what is root's, at each moment: nothing there is read, nothing is written. And it is the store of the mount that a snapshot has.
#
#   tests/ops/places.sh [BUILD]      CTL_OLD=engramctl: shows what that one does instead
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 tar setpriv
if [ "$(id -u)" -ne 0 ]; then
    skip places "not root: what root does in somebody's folder is what this is about"
    exit 0
fi
CTL=${CTL_OLD-$CTL}
cd "$WORK" || exit 1
chmod 755 "$WORK"
ctl() { timeout 60 "$CTL" "$@"; }

# ---- what is root's, and bob's: a folder of the mount, one for exports, a store
must_mount "$WORK/store" "$WORK/mnt" -o allow_other
mkdir -p bobs mnt/bob
ln -s "$WORK/victim" mnt/bob/y
ln -s "$WORK/victim" bobs/y
ln -s "$WORK/nothing" bobs/empty
ln -s "$WORK/roots" bobs/store-y
mkdir evil && echo "bob's text" >evil/shadow && echo "bob's too" >evil/job
tar -C evil -cf evil.tar shadow job
echo '{"id":"roots","content":"of root"}' >roots.jsonl
digest() { (cd victim && find . -printf '%p %y %m %U %s %T@\n' | sort && cat shadow); }
fresh() { # the folders as root and bob have made them
    rm -rf victim && mkdir -m 700 victim
    echo rootsecret >victim/shadow
    touch -d '2001-02-03 04:05:06 UTC' victim/shadow victim
    rm -rf mnt/bob/x bobs/x bobs/out* bobs/store nothing roots out out.*
    mkdir mnt/bob/x bobs/x nothing
    echo "bob's" >mnt/bob/x/note
    ctl import roots.jsonl roots >/dev/null
    ctl import evil.tar bobs/store >/dev/null
    for y in mnt/bob/y bobs/y bobs/empty bobs/store-y; do [ -L $y ] || rm -rf $y; done
    ln -sfn "$WORK/victim" mnt/bob/y
    ln -sfn "$WORK/victim" bobs/y
    ln -sfn "$WORK/nothing" bobs/empty
    ln -sfn "$WORK/roots" bobs/store-y
    chown -hR 1002:1002 mnt/bob bobs
}
ids_of() { ctl export "$1" - 2>/dev/null | sed -n 's/.*"id":"\([a-z]*\)".*/\1/p' | sort | xargs; }

# ---- at each moment: between any two looks that the program takes at the name
if cc -shared -fPIC -Wall -Werror -o exchange.so "$ROOT/tests/ops/exchange_shim.c" -ldl; then
    at_once() { # THIS THAT AFTER COMMAND...
        local this=$1 that=$2 after=$3
        shift 3
        rm -f exchanged
        env "LD_PRELOAD=$WORK/exchange.so" "EXCHANGE_NAME=$(basename "$this")" "EXCHANGE_AFTER=$after" "EXCHANGE_THIS=$WORK/$this" \
            "EXCHANGE_THAT=$WORK/$that" "EXCHANGE_DONE=$WORK/exchanged" timeout 60 "$CTL" "$@" >said 2>&1
    }
    fresh
    before=$(digest)
    for n in 0 1 2 3 4 5 6; do
        fresh
        at_once mnt/bob/x mnt/bob/y $n import evil.tar mnt/bob/x
        check_equal "import into a folder of the mount, after $n looks" "$before" "$(digest)"
        [ $n != 1 ] || check "  (they do change places)" test -e exchanged
        for format in jsonl tar tree; do
            fresh
            at_once mnt/bob/x mnt/bob/y $n export --format $format mnt/bob/x out
            check_equal "export of it as $format" 0 "$(grep -rls rootsecret out | wc -l)"
        done
        fresh
        at_once bobs/x bobs/y $n export --tree bobs/x out
        check_equal "export of a tree" 0 "$(grep -ls rootsecret out | wc -l)"
        at_once bobs/x bobs/y $n import --format tree bobs/x copied
        check_equal "import of one" 0 "$(ids_of copied | grep -c shadow)"
        rm -rf copied
        fresh
        at_once bobs/x bobs/empty $n export --format tree mnt bobs/x
        check_equal "export into his folder" "" "$(ls -A nothing)"
        fresh
        at_once bobs/x bobs/y $n export --format tree mnt bobs/x
        check_equal "  into one that is not empty" "$before" "$(digest)"
        fresh
        at_once bobs/x bobs/empty $n import --create evil.tar bobs/x
        check_equal "a store made in his folder" "" "$(ls -A nothing)"
        fresh
        at_once bobs/store bobs/store-y $n import evil.tar bobs/store
        check_equal "import into a store of his" roots "$(ids_of roots)"
        fresh
        rm -rf bobs/s bobs/s-y pair && mkdir -p bobs/s pair/store pair/store.repaired
        cp -a bobs/store bobs/s/store && ln -s "$WORK/pair" bobs/s-y && chown -hR 1002:1002 bobs/s bobs/s-y
        at_once bobs/s bobs/s-y $n repair --in-place bobs/s/store
        check_equal "repair in his folder" "pair/store pair/store.repaired" "$(echo pair/*)"
        fresh
        at_once bobs/store bobs/store-y $n export bobs/store out
        check_equal "export of it" 0 "$(grep -ls "of root" out | wc -l)"
        rm -rf bobs/bk bobs/bk-y && mkdir -m 700 bobs/bk bobs/bk-y
        at_once bobs/bk bobs/bk-y $n backup mnt bobs/bk
        check_equal "a backup verifies what it has written, after $n looks" "0 1" \
            "$? $(for y in bobs/bk bobs/bk-y; do ctl check $y >/dev/null 2>&1 && echo $y; done | wc -l)"
    done
else
    skip "folders that change places" "no compiler"
fi
check "unmount" unmount_store "$WORK/mnt"

# ---- a store in the tree that is imported into it
mkdir around && echo 1 >around/one && ctl import roots.jsonl around/store >/dev/null
check_equal "an import of what has the store in it leaves that out" "1 1 one roots" \
    "$(ctl import --format tree around around/store >said 2>&1; echo $?) $(grep -c '^store: .*left out' said) $(ids_of around/store)"

# ---- OUT and the file of bad lines: nobody else reads what root writes there, and root writes to nobody's but his own
must_mount "$WORK/store" "$WORK/mnt" -o allow_other
echo secret >mnt/secret
echo '{"bad' >bad.jsonl
mkfifo -m 666 bobs/fifo && chown 1002:1002 bobs/fifo
echo "root's own" >roots-file && chmod 644 roots-file
ln -s "$WORK/roots-file" bobs/link && chown -h 1002:1002 bobs/link
reading() { # COMMAND...: what bob gets from his FIFO
    exec 3<>bobs/fifo # so that nobody waits for a reader
    timeout 10 "$CTL" "$@" >said 2>&1
    timeout 1 cat bobs/fifo >got <&- &
    exec 3>&-
    wait $!
    cat got
}
check_equal "an export to somebody's FIFO" "" "$(reading export mnt bobs/fifo)"
check_equal "a tar archive" "" "$(reading export --format tar mnt bobs/fifo | head -c 100)"
check_equal "bad lines" "" "$(reading import --errors bobs/fifo bad.jsonl mnt)"
check_fails "are refused" "belongs to somebody else" ctl import --errors bobs/fifo bad.jsonl mnt
check_fails "  or to what his link leads to" "a link of somebody else" ctl import --errors bobs/link bad.jsonl mnt
check_fails "  an export, too" "a link of somebody else" ctl export mnt bobs/link
check_equal "which stays as it was" "root's own 644" "$(cat roots-file) $(stat -c %a roots-file)"
ln -s "$WORK/victim" bobs/way && chown -h 1002:1002 bobs/way
check_fails "nor through his link" "a link of somebody else" ctl export mnt bobs/way/out
check_fails "  as a tree" "a link of somebody else" ctl export --format tree mnt bobs/way/out
check_fails "  a backup" "a link of somebody else" ctl backup mnt bobs/way/out
check_equal "there is nothing in it" shadow "$(ls -A victim)"
mkdir -p bobs/real && ln -s real bobs/current && chown -h 1002:1002 bobs/real bobs/current
check "his link to what is his is followed" ctl export mnt bobs/current/out
check "  and root's own, wherever" sh -c "ln -s '$WORK/bobs/real' own && '$CTL' export --format tree mnt own/tree && test -e bobs/real/tree/secret"
check_equal "a pipe that we were given will do" 1 "$(ctl export mnt /dev/stdout | grep -c '"secret')"
check "  a FIFO of root's" sh -c "mkfifo mine && { timeout 20 '$CTL' export mnt mine & timeout 20 grep -q secret mine; }"
echo old >two.errors && ln two.errors other.name
check_fails "a file of bad lines with another name" "links" ctl import --errors two.errors bad.jsonl mnt
check_equal "  stays" old "$(cat other.name)"
if [ -e exchange.so ]; then
    before=$(cat roots-file)
    for n in 0 1 2 3 4; do
        rm -f bobs/o bobs/l && mkfifo bobs/o && ln -s "$WORK/roots-file" bobs/l && chown -h 1002:1002 bobs/o bobs/l
        chown root bobs/o # one that root would write to
        exec 3<>bobs/o # so that nobody waits for a reader
        at_once bobs/o bobs/l $n export mnt bobs/o
        exec 3>&-
        check_equal "a FIFO that becomes a link after $n looks" "$before" "$(cat roots-file)"
    done
fi
# ---- no backup into what is copied
mkdir mnt/deep store/sub
for place in mnt/bk mnt/deep/bk store/bk store/sub/bk; do
    check_fails "a backup into $place" "itself" ctl backup mnt $place
    check "  makes nothing" test ! -e $place
done
mkdir mnt/have store/have
check_fails "into a folder of the mount" "itself" ctl backup mnt mnt/have
check_fails "into one of the store" "itself" ctl backup mnt store/have
check_equal "which stay empty" "" "$(ls -A mnt/have)$(ls -A store/have)"
rmdir store/have store/sub
check "a backup beside it" ctl backup mnt bk
check "unmount it again" unmount_store "$WORK/mnt"

# ---- a snapshot is of the store that is mounted, or refused
echo '{"id":"other","content":"of another store"}' >other.jsonl
ctl import other.jsonl other >/dev/null
must_mount "$WORK/S" "$WORK/mnt" -o fsname="$WORK/other"
echo "of this one" >mnt/this
snapshot() { # OPTION...: exports; its status and what is in it
    rm -f out
    ctl export --snapshot "$@" mnt out >said 2>&1
    echo "$? $([ ! -e out ] || sed -n 's/.*"id":"\([a-z]*\)".*/\1/p' out | sort | xargs)"
}
check_equal "the source names another store: refused" "2 " "$(snapshot)"
check "  with the reason" grep -q "other is not the store that is mounted on" said
check_equal "  --store names the right one" "0 this" "$(snapshot --store S)"
check_equal "  or a wrong one" "2 " "$(snapshot --store other)"
check_fails "  dump says so, too" "is not the store that is mounted on" ctl dump mnt 1
check "unmount it" unmount_store "$WORK/mnt"
must_mount "$WORK/S" "$WORK/mnt"
check_equal "its own" "0 this" "$(snapshot)"
mv S S.old && cp -a other S
echo new >mnt/written
check_equal "another one has its place" "2 " "$(snapshot)"
rm -rf S && cp -a S.old S
check_equal "a copy of it has its place" "2 " "$(snapshot)"
rm -rf S
check_equal "nothing has its place" "2 1" "$(snapshot)$(grep -c -- "--store names it" said)"
check_equal "its new name" "0 this written" "$(snapshot --store S.old)"
check_fails "--store without --snapshot" "goes with --snapshot" ctl export --store S.old mnt out
check "unmount S" unmount_store "$WORK/mnt"

# ---- whoever mounts something says himself whose store it is
if command -v fusermount3 >/dev/null; then
    chmod 777 mnt && mkdir -m 777 shared && cp "$ENGRAMFS" engramfs
    must_mount "$WORK/shared" "$WORK/mnt" && echo ours >mnt/ours && unmount_store "$WORK/mnt"
    chmod 777 shared && chmod 666 shared/*
    chown 65534:65534 mnt
    echo user_allow_other >fuse.conf
    mknod -m 666 dev-fuse c 10 229
    cat >lent.sh <<'S'
mount --bind fuse.conf /etc/fuse.conf && mount --bind dev-fuse /dev/fuse || exit 9
setpriv --reuid=65534 --regid=65534 --clear-groups ./engramfs -o allow_other shared mnt || exit 8
timeout 20 ${2-} "$1" export --snapshot mnt out
echo "$?" >status
timeout 20 ${2-} "$1" backup mnt his/copied
echo "$?" >>status
umount mnt
S
    rm -f out && install -d -o 65534 his && cp "$CTL" ctl && sed -i 's/mnt out$/mnt his\/out/' lent.sh
    unshare -m bash lent.sh "$CTL" >said 2>&1
    check_equal "a user's mount lends nobody's store to him" "2 2 2" "$(xargs <status) $(grep -c "mounted by another user" said)"
    chown -R 65534 shared
    unshare -m bash lent.sh ./ctl "setpriv --reuid=65534 --regid=65534 --clear-groups" >said 2>&1
    check_equal "  he may himself" "0 0" "$(xargs <status)"
    wait_until 20 no_daemon "$WORK"
else
    skip "a user's mount" "no fusermount3"
fi
t_end
