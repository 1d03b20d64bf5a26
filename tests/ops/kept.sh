#!/usr/bin/env bash
# kept.sh - what an import cannot make takes nothing away: what has the name stays, whatever it is and whatever was to come; and
# what is replaced is replaced at once, in mounts, stores and trees.
#
#   tests/ops/kept.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 tar setfattr setpriv
if [ "$(id -u)" -ne 0 ]; then
    skip kept "not root: devices, and what nobody else may read, are part of it"
    exit 0
fi
cd "$WORK" || exit 1
chmod 755 .
SHIM=
cc -shared -fPIC -Wall -Werror -o names.so "$ROOT/tests/ops/names_shim.c" -ldl && SHIM=$WORK/names.so

# What is there: a memory, one with a second name, a symlink, a pipe. What comes: whatever cannot be made there.
cat >make.py <<'P'
import io, tarfile
KINDS = ("plain", "linked", "link", "pipe")
def archive(name):
    return tarfile.open(name, "w", format=tarfile.PAX_FORMAT)
def entry(t, name, type, link="", data=b"", **more):
    i = tarfile.TarInfo(name)
    i.type, i.linkname, i.size = type, link, len(data)
    for k, v in more.items():
        setattr(i, k, v)
    t.addfile(i, io.BytesIO(data))
# nothing of it can be made, by anybody
with archive("never.tar") as t:
    entry(t, "folder", tarfile.DIRTYPE)
    for k in KINDS:
        entry(t, f"long-{k}", tarfile.SYMTYPE, "x" * 5000)
        entry(t, f"hard-{k}", tarfile.LNKTYPE, "folder")
        entry(t, f"gone-{k}", tarfile.LNKTYPE, "nowhere")
        entry(t, f"big-{k}", tarfile.REGTYPE, data=b"x" * 10, pax_headers={"SCHILY.xattr.user.a": "v" * 70000})
# nor this, by somebody who is not root
with archive("device.tar") as t:
    for k in KINDS:
        entry(t, f"device-{k}", tarfile.CHRTYPE, devmajor=1, devminor=3)
# an archive that ends within a file
with archive("cut.whole") as t:
    entry(t, "cut-linked", tarfile.REGTYPE, data=b"y" * 2000000)
open("cut.tar", "wb").write(open("cut.whole", "rb").read()[:1000000])
with archive("cut2.whole") as t:
    entry(t, "cut-pipe", tarfile.REGTYPE, data=b"y" * 20000000)
open("cut2.tar", "wb").write(open("cut2.whole", "rb").read()[:9000000])
# and what can be: each kind in place of each
with archive("good.tar") as t:
    for k in KINDS:
        for what in KINDS:
            name = f"{what}-{k}"
            if what == "link":
                entry(t, name, tarfile.SYMTYPE, "new")
            elif what == "pipe":
                entry(t, name, tarfile.FIFOTYPE)
            elif what == "plain":
                entry(t, name, tarfile.REGTYPE, data=b"new")
            else:
                entry(t, name + ".first", tarfile.REGTYPE, data=b"new")
                entry(t, name, tarfile.LNKTYPE, name + ".first")
P
python3 make.py
old() { # FOLDER WHAT...: of each kind one
    local folder=$1 what
    shift
    mkdir -p "$folder"
    for what; do
        echo precious >"$folder/$what-plain"
        echo precious >"$folder/$what-linked"
        ln "$folder/$what-linked" "$folder/other-$what-linked"
        ln -s precious "$folder/$what-link"
        mkfifo "$folder/$what-pipe"
    done
}
listing() { (cd "$1" && find . -mindepth 1 ! -name folder -printf '%P %y %n %l ' -exec sh -c 'test ! -f "$1" -o -L "$1" || cat "$1"' - {} \; -printf '\n' | grep . | sort); }
is_like() { listing "$2" | diff "$1" -; }                                       # LISTING FOLDER
NEVER="long hard gone big"
# shellcheck disable=SC2086
old never $NEVER device cut
listing never >never.true
cp -a never unread # a tree whose files cannot be read, by whoever is not root
find unread ! -type d -delete
for what in device cut $NEVER; do for k in plain linked link pipe; do echo new >"unread/$what-$k"; done; done
chmod 000 unread/*
chmod 755 unread

must_mount "$WORK/store" "$WORK/mnt" -o allow_other
for source in never.tar cut.tar cut2.tar; do
    cp -a never mnt/n
    "$CTL" import --format tar "$source" mnt/n >out 2>err
    check "$source into a mount: it is told" test $? -ne 0
    check "  and all that was there is there" is_like never.true mnt/n
    rm -rf mnt/n
    rm -rf plain.store
    "$CTL" import --format tree never plain.store >/dev/null
    "$CTL" import --format tar "$source" plain.store >out 2>err
    check "$source into a store: it is told" test $? -ne 0
    "$CTL" export --format tree plain.store plain.tree >/dev/null 2>&1
    check "  and all that was there is there" is_like never.true plain.tree
    rm -rf plain.tree
done
cp -a never mnt/n
chown -hR 1001:1001 mnt/n unread
check_fails "devices, as somebody: it is told" "Operation not permitted" setpriv --reuid 1001 --regid 1001 --clear-groups \
    "$CTL" import --format tar device.tar mnt/n
check "  and all that was there is there" is_like never.true mnt/n
check_fails "files that cannot be read: it is told" "Permission denied" setpriv --reuid 1001 --regid 1001 --clear-groups \
    "$CTL" import --format tree unread mnt/n
check "  and all that was there is there" is_like never.true mnt/n
rm -rf mnt/n

# in place of something else: each kind, and the name is never without either
KINDS="plain linked link pipe"
# shellcheck disable=SC2086
old good $KINDS
mkdir want
tar -xf good.tar -C want
listing want >good.true
{ cat good.true; for what in $KINDS; do echo "other-$what-linked f 1  precious"; done; } | sort >good.others
if [ -n "$SHIM" ]; then
    for word in new old; do
        cp -a good mnt/g
        rm -f gone
        check "what differs is replaced, in a mount ($word)" env "LD_PRELOAD=$SHIM" "NAMES_SHIM=$word" "NAMES_GONE=$WORK/gone" \
            "$CTL" import --format tar good.tar mnt/g
        check_equal "  no name was gone in between" "" "$(cat gone 2>/dev/null)"
        check "  all is as it is to be" is_like good.others mnt/g
        rm -rf mnt/g
    done
fi
# the same in a store, and in a tree that a store is exported to
"$CTL" import --format tree good good.store >/dev/null
check "what differs is replaced, in a store" "$CTL" import --format tar good.tar good.store
"$CTL" export --format tree good.store good.tree >/dev/null 2>&1
check "  all is as it is to be" is_like good.others good.tree
check "  it is whole" "$CTL" check good.store
mkdir mnt/g
"$CTL" import --format tree good mnt/g >/dev/null
check "by a tree" "$CTL" import --format tree want mnt/g
check "  all is as it is to be" is_like good.others mnt/g
# what is there already is not written to, not even by a file without a name
batches() { sed -n 's/^engram_store_log_sequence //p' mnt/.engram/metrics; }
mkdir twice twice/folder
(cd twice/folder && echo x >first && ln first second && ln -s nowhere link && ln link link2 && mkfifo pipe && ln pipe pipe2 && truncate -s 9M large)
tar -C twice -cf twice.tar .
for format in tree tar; do
    from=twice
    [ $format = tree ] || from=twice.tar
    mkdir "mnt/twice-$format"
    check "a $format with second names" "$CTL" import --format $format $from "mnt/twice-$format"
    before=$(batches)
    check "  once more" "$CTL" import --format $format $from "mnt/twice-$format"
    check_equal "  changes nothing" "$before" "$(batches)"
done
check "unmount" unmount_store "$WORK/mnt"
t_end
