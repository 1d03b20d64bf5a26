#!/usr/bin/env bash
# fsfuzz.c on a mount and on a directory of ext4: short in CI, long when ENGRAM_TEST_MODE=full. A failing seed is printed
# with the command that shows it again. With SEED=N and OPS=M only that seed: `SEED=17 OPS=1500 tests/mount/fsfuzz/fsfuzz.sh build`.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../../lib.sh"
t_begin "$@"
FUZZ=$BUILD/tests/mount/fsfuzz/fsfuzz
if [ ! -x "$FUZZ" ]; then
    skip fsfuzz "tests/mount/fsfuzz/fsfuzz is not built"
    exit 0
fi
PATH=$PATH:/usr/sbin:/sbin
STORE=$WORK/store MNT=$WORK/mnt REF=$WORK/ref
mkdir "$REF"
if [ "$(stat -f -c %T "$REF")" != ext2/ext3 ]; then
    # the reference has to be a real one, with extended attributes
    truncate -s 1G "$WORK/ref.img"
    if [ "$(id -u)" -ne 0 ] || ! mkfs.ext4 -q "$WORK/ref.img" || ! mount -o loop "$WORK/ref.img" "$REF"; then
        skip fsfuzz "no directory of ext4 to compare with: set TMPDIR to one"
        exit 0
    fi
fi

# Small segments and a compaction in a loop: whatever is read may have moved a moment ago.
OPTIONS=segment_size=1M USERS=''
if [ "$(id -u)" -eq 0 ]; then
    OPTIONS=$OPTIONS,allow_other,dev,suid
    # a user is another process, which changes what root has seen
    [ "${T_REFUSE:-0}" != 0 ] || USERS=--users
    chmod 755 "$WORK"
fi
cat >"$WORK/remount" <<R
#!/usr/bin/env bash
. '$T_LIB/lib.sh'
ENGRAMFS='$ENGRAMFS'
case \$1 in
kill) kill_daemon '$MNT' ;;
*) unmount_store '$MNT' ;;
esac && mount_store '$STORE' '$MNT' -o $OPTIONS
R
chmod 755 "$WORK/remount"

fuzz() { # NAME ARGUMENTS...
    local name=$1
    shift
    if timeout 3000 "$FUZZ" $USERS "$@" "$MNT" "$REF" >"$WORK/out" 2>&1; then
        ok "$name: $(tail -n 1 "$WORK/out")"
    else
        not_ok "$name" "$(head -n 1 "$WORK/out")"
        sed 's/^/# /' "$WORK/out" | head -n 60
    fi
}

# Each of these wrongs on our side must be noticed; else an ok of the others means nothing.
must_mount "$STORE" "$MNT" -o "$OPTIONS"
for lie in write truncate punch rename unlink chmod mtime xattr; do
    timeout 60 "$FUZZ" --seed 5 --ops 3000 --lie "$lie" "$MNT" "$REF" >"$WORK/out" 2>&1
    if grep -q '^DIFFERENCE' "$WORK/out"; then
        ok "a wrong $lie is noticed"
    else
        not_ok "a wrong $lie is noticed" "$(tail -n 1 "$WORK/out")"
    fi
done
rm -rf "$MNT"/s5 "$REF"/s5

if [ "${SEED-}" ]; then
    fuzz "seed $SEED" --seed "$SEED" --seeds 1 --ops "${OPS:-2000}" --remount "$WORK/remount"
    t_end
fi
seeds=6 ops=2500
if [ "${ENGRAM_TEST_MODE-}" = full ]; then seeds=120 ops=6000; fi
first=1
if [ "${ENGRAM_TEST_MODE-}" = soak ]; then first=$RANDOM; fi
fuzz "with remounts" --seed $first --seeds $seeds --ops $ops --remount "$WORK/remount"
fuzz "two processes, with remounts" --seed $((first + 77)) --seeds 1 --ops $ops --procs 2 --remount "$WORK/remount"
compact_loop_start "$MNT"
fuzz "beside compactions" --seed $((first + 1000)) --seeds $seeds --ops $ops
fuzz "three processes beside compactions" --seed $first --seeds $((seeds / 3)) --ops $ops --procs 3
check "unmount" unmount_store "$MNT"
if [ -x "$CTL" ]; then check "engramctl check" "$CTL" check "$STORE"; fi

# The same beside compactions that install without comparing (I3) must go wrong, sooner or later.
if [ -x "$BUILD/tests/mount/fsfuzz/engramfs" ]; then
    ENGRAMFS=$BUILD/tests/mount/fsfuzz/engramfs
    ENG_MUTANT=BLIND_INSTALL must_mount "$WORK/blind" "$MNT" -o "$OPTIONS"
    compact_loop_start "$MNT"
    noticed=no
    for seed in $(seq 20); do
        timeout 60 "$FUZZ" $USERS --seed "$seed" --ops 3000 "$MNT" "$REF" >"$WORK/out" 2>&1
        if grep -q '^DIFFERENCE' "$WORK/out"; then
            noticed=yes
            break
        fi
    done
    check_equal "compaction that installs blindly is noticed" yes $noticed
    unmount_store "$MNT"
fi
t_end
