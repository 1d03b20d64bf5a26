#!/usr/bin/env bash
# Programs that load a file system and verify what it gives back: fio, stress-ng, dbench, bonnie++.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../../lib.sh"
t_begin "$@"
PATH=$PATH:/usr/sbin:/sbin
STORE=$WORK/store MNT=$WORK/mnt
FULL=
if [ "${ENGRAM_TEST_MODE-}" = full ]; then FULL=yes; fi
must_mount "$STORE" "$MNT" -o segment_size=4M

# ---- fio: each block has a checksum and its own offset in it, overwritten at random; looked at once more after a restart
# and a compaction, when nothing is in the page cache any more
fio_job() { # FILE ENGINE MODE SIZE OPTIONS...
    local file=$1 engine=$2 mode=$3 size=$4
    shift 4
    fio --minimal --name=job --directory="$MNT" --filename="$file" --ioengine="$engine" --rw="$mode" --size="$size" \
        --randseed=7 --verify_state_save=0 --verify=crc32c --verify_fatal=1 --end_fsync=1 --allow_file_create=1 "$@" >"$WORK/$file.out" 2>&1 &&
        ! grep -qiE 'verify: bad|err= *[1-9]' "$WORK/$file.out"
}
SIZE=8M
[ ! "$FULL" ] || SIZE=512M
# name, engine, mode, options
FIO_JOBS=(
    "psync psync randwrite --bs=4k --fsync=512"
    "blocks psync randwrite --bsrange=512-64k --bs_unaligned=1"
    "mapped mmap randwrite --bs=4k"
    "direct libaio randwrite --bs=4k --direct=1 --iodepth=16"
    "aio libaio randrw --bs=16k --iodepth=8"
    "ring io_uring randwrite --bs=4k --iodepth=16"
    "ringdirect io_uring randwrite --bs=8k --direct=1 --iodepth=8"
    "vectors pvsync2 write --bs=128k"
)
if ! command -v fio >/dev/null; then
    skip "fio" "no fio"
else
    known=$(fio --enghelp)
    for job in "${FIO_JOBS[@]}"; do
        read -r file engine mode options <<<"$job"
        if ! grep -qw "$engine" <<<"$known"; then
            skip "fio $engine" "this fio has no such engine"
            continue
        fi
        # shellcheck disable=SC2086
        check "fio: $file, $engine, $mode $options" fio_job "$file" "$engine" "$mode" $SIZE $options
    done
    check "unmount" unmount_store "$MNT"
    must_mount "$STORE" "$MNT"
    check "compact" bash -c 'echo run >"$1/.engram/compact"' _ "$MNT"
    for job in "${FIO_JOBS[@]}"; do
        read -r file engine mode options <<<"$job"
        [ -e "$MNT/$file" ] || continue
        # shellcheck disable=SC2086
        check "fio: $file once more after a restart" fio_job "$file" "$engine" "$mode" $SIZE $options --verify_only=1
    done
    check "four processes in one file" fio_job shared psync randwrite 2M --bs=4k --numjobs=4 --offset_increment=2M
    # it must be able to fail
    printf x | dd of="$MNT/psync" bs=1 seek=123456 conv=notrunc status=none
    if fio_job psync psync randwrite $SIZE --bs=4k --verify_only=1; then
        not_ok "fio finds one wrong byte" "it does not"
    else
        ok "fio finds one wrong byte"
    fi
    rm -f "$MNT"/*
fi

# ---- stress-ng: what it verifies of names, locks, attributes, mappings. What fails on the host's own file system in the same
# way is the stressor's or the kernel's.
STRESSORS="access chdir chmod chown chattr copy-file dentry dir dirdeep dirmany dnotify fallocate fanotify fcntl fiemap file-ioctl
filename flock fpunch fsize fstat getdent handle hdd inode-flags inotify io iomix lease link locka lockf lockofd metamix
mknod open readahead rename revio seek sendfile splice symlink sync-file touch unlink utime verity xattr acl mmap mmapfork
msync aio aiol io-uring"
stress_in() { # FOLDER NAME: a relative path, since io-uring 0.15 looks its file up by an absolute one after it has removed it
    (cd "$1" && timeout 120 stress-ng "--$2" 2 "--$2-ops" "$OPS" --timeout "$SECONDS_EACH" --verify --mmap-file --temp-path . 2>&1)
}
one_stressor() { # NAME: one line of a result
    local s=$1 out status
    mkdir -p "$MNT/stress-$s" "$WORK/host-$s"
    out=$(stress_in "$MNT/stress-$s" "$s")
    status=$?
    if grep -q 'unrecognized option' <<<"$out"; then
        echo "# this stress-ng has no $s"
    elif grep -qiE 'skipp(ed|ing)|not supported' <<<"$out"; then
        # the first line that says so, without process number
        echo "# $s: $(grep -iE 'skipp|not supported' <<<"$out" | head -n 1 | sed 's/.*\] //')"
    elif [ $status -eq 0 ]; then
        echo "ok - stress-ng: $s"
    elif ! stress_in "$WORK/host-$s" "$s" >/dev/null; then
        echo "# $s fails on the host's file system as well"
    else
        echo "not ok - stress-ng: $s: status $status: $(grep -m 1 -iE 'fail|error' <<<"$out" | cut -c 1-200)"
    fi
    rm -rf "$MNT/stress-$s" "$WORK/host-$s"
}
if ! command -v stress-ng >/dev/null; then
    skip "stress-ng" "no stress-ng"
else
    export -f one_stressor stress_in
    export MNT WORK OPS=200 SECONDS_EACH=2
    [ ! "$FULL" ] || export OPS=100000 SECONDS_EACH=20
    tr -s ' \n' '\n\n' <<<"$STRESSORS" | xargs -P 3 -I{} bash -c 'one_stressor {}' >"$WORK/stress" 2>&1
    cat "$WORK/stress"
    bad=$(grep -c '^not ok' "$WORK/stress") # printed by other processes, counted here
    T_FAILED=$((T_FAILED + bad))
    if [ "$(grep -c '^ok' "$WORK/stress")" -ge 30 ]; then
        ok "most stressors apply"
    else
        not_ok "most stressors apply" "$(grep -c '^ok' "$WORK/stress") of $(wc -w <<<"$STRESSORS")"
    fi
    check_equal "nothing is left of them" "" "$(ls -A "$MNT")"
fi

# ---- dbench: what a file server does, by four clients; it stops at the first call that does not answer as its script says
SCRIPT=/usr/share/dbench/client.txt
if ! command -v dbench >/dev/null || [ ! -r $SCRIPT ]; then
    skip "dbench" "no dbench"
else
    mkdir "$MNT/dbench"
    check "dbench" timeout 600 dbench -t "$([ "$FULL" ] && echo 120 || echo 4)" -c $SCRIPT -D "$MNT/dbench" 4
    rm -rf "$MNT/dbench"
fi

# ---- bonnie++: a large file by blocks (-f: one system call for each character would take half an hour), and many small ones
if ! command -v bonnie++ >/dev/null; then
    skip "bonnie++" "no bonnie++"
else
    mkdir "$MNT/bonnie"
    as_root=()
    [ "$(id -u)" -ne 0 ] || as_root=(-u 0:0)
    check "bonnie++" timeout 900 bonnie++ -q -f "${as_root[@]}" -d "$MNT/bonnie" -r 16 -s "$([ "$FULL" ] && echo 1024 || echo 32)" \
        -n "$([ "$FULL" ] && echo 64 || echo 2)"
    check_equal "bonnie++ leaves nothing" "" "$(ls -A "$MNT/bonnie")"
fi
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
