#!/usr/bin/env bash
# tar out of a mount and into another one, with extended attributes.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs tar setfattr getfattr

must_mount "$WORK/store1" "$WORK/one"
must_mount "$WORK/store2" "$WORK/two"
cd "$WORK/one" || exit 1
mkdir -p people/ada projects
for i in $(seq 300); do echo "memory $i" >"people/ada/$i"; done
head -c 2500000 /dev/urandom >projects/big
truncate -s 10M projects/sparse
printf middle | dd of=projects/sparse bs=1 seek=5000000 conv=notrunc status=none
: >projects/none
ln projects/big projects/big2
ln -s ../people/ada/1 projects/link
check "setfattr" setfattr -n user.engram.confidence -v 0.9 people/ada/1
check "setfattr of an empty content" setfattr -n user.engram.content -v none projects/none
setfattr -n user.topic -v "first day" people/ada/2
check_fails "a confidence out of range" "Invalid argument" setfattr -n user.engram.confidence -v 1.5 people/ada/1
check_fails "an embedding of 3 bytes" "Invalid argument" setfattr -n user.engram.embedding -v 0x010203 people/ada/1
check_fails "a virtual attribute cannot be set" "Operation not permitted|Permission denied|Invalid argument|not supported" \
    setfattr -n user.engram.version -v 1 people/ada/1
check "virtual attributes answer by name" getfattr -n user.engram.version -n user.engram.content_hash people/ada/1
check "user.engram.generation answers" getfattr -n user.engram.generation people/ada/1
one_field() { getfattr --absolute-names --only-values -n "user.engram.$1" "$2"; }
for f in people/ada/1 projects/big projects/sparse projects/none; do
    check_equal "content_sha256 of $f is what sha256sum says" "$(sha256sum <"$f" | cut -d ' ' -f 1)" "$(one_field content_sha256 $f)"
done
STATE=$(one_field state people/ada/2)
touch people/ada/2 && mv people/ada/2 people/ada/2b && mv people/ada/2b people/ada/2
check_equal "a state has its name whatever the memory is called" "$STATE" "$(one_field state people/ada/2)"
cp -p --preserve=xattr people/ada/2 people/ada/2c && mv people/ada/2c people/ada/2
check "another memory there has another state" test "$(one_field state people/ada/2)" -gt "$STATE"
check_fails "a state cannot be set" "Operation not permitted" setfattr -n user.engram.state -v 1 people/ada/2
check_fails "a folder has no digest" "No such attribute" one_field content_sha256 people
check_equal "and are not listed" "user.engram.confidence" "$(getfattr --absolute-names -m - people/ada/1 | grep '^user')"
check_fails "an attribute that was not set" "No such attribute" getfattr -n user.engram.activation people/ada/1
touch -d '2020-01-02 03:04:05.060708090 UTC' people/ada/3
cd /
check "tar -c" tar -C "$WORK/one" --xattrs --xattrs-include='user.*' --format=posix -cf "$WORK/a.tar" .
check "tar -x" tar -C "$WORK/two" --xattrs --xattrs-include='user.*' -xpf "$WORK/a.tar"
# the root folder's own time is set by tar as well
check_equal "equal" "$(tree_digest "$WORK/one")" "$(tree_digest "$WORK/two")"
check_equal "xattrs equal" "$(cd "$WORK/one" && getfattr -R -d -m '^user\.' . | sort)" \
    "$(cd "$WORK/two" && getfattr -R -d -m '^user\.' . | sort)"
check_equal "the hard link was kept" "$(stat -c %i "$WORK/two/projects/big")" "$(stat -c %i "$WORK/two/projects/big2")"
check "tar --compare" tar -C "$WORK/two" -df "$WORK/a.tar"
check "tar -S of a sparse file" bash -c 'tar -C "$1" -Scf - projects/sparse | tar -xf - -C "$2" && cmp "$1/projects/sparse" "$2/projects/sparse"' \
    _ "$WORK/one" "$WORK"
check "unmount" unmount_store "$WORK/one"
check "unmount the other" unmount_store "$WORK/two"
must_mount "$WORK/store2" "$WORK/two"
check_equal "xattrs last" 0.9 "$(getfattr --only-values -n user.engram.confidence "$WORK/two/people/ada/1")"
check_equal "the mark of absent content lasts" none "$(getfattr --only-values -n user.engram.content "$WORK/two/projects/none")"
check "removing an attribute" setfattr -x user.engram.confidence "$WORK/two/people/ada/1"
check_fails "it is gone" "No such attribute" getfattr -n user.engram.confidence "$WORK/two/people/ada/1"
check "unmount at the end" unmount_store "$WORK/two"
t_end
