#!/usr/bin/env bash
# past.sh - engramctl export --at: what a snapshot holds comes out as it was, in each format, whatever was done to the store
# since.
#
#   tests/ops/past.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
STORE=$WORK/store MNT=$WORK/mnt
SMALL=(-o segment_size=64k)

status() { # COMMAND...: its exit status
    timeout 100 "$@" >"$WORK/out" 2>&1
    echo $?
}
sight() { # FOLDER: all that is in it, but .engram
    (
        cd "$1" || exit 1
        find . -name .engram -prune -o ! -type d -printf '%P %y %m %U %G %s %T@ %n %l\n' -o -printf '%P %y %m %U %G %T@\n' | sort
        find . -name .engram -prune -o -type f -print0 | sort -z | xargs -0r sha256sum
        python3 -c '
import os
for at, folders, names in os.walk("."):
    folders[:] = sorted(f for f in folders if f != ".engram")
    for name in sorted(names) + ["."]:
        path = os.path.join(at, name)
        for field in sorted(os.listxattr(path, follow_symlinks=False)):
            if field.startswith("user.") and not field.startswith("user.engram."):
                print(path, field, os.getxattr(path, field, follow_symlinks=False))'
    )
}
snapshot() { # NAME: of the store as it is, which is noted in $WORK/NAME
    sight "$MNT" >"$WORK/$1" || return 1
    unmount_store "$MNT"
    check "snapshot $1 is made" "$CTL" snapshot create "$STORE" "$1"
    must_mount "$STORE" "$MNT" "${SMALL[@]}"
}
exported() { # NAME AT [OPTION...]: what is exported is what was there
    local name=$1 at=$2
    shift 2
    rm -rf "$WORK/tree"
    "$CTL" export --format tree --at "$at" "$@" "$WORK/tree" || return 1
    diff <(sight "$WORK/tree") "$WORK/$name"
}

must_mount "$STORE" "$MNT" "${SMALL[@]}"
python3 - "$MNT" <<'P'
import os, sys
os.chdir(sys.argv[1])
os.makedirs("sub/below")
os.mkdir("empty")
for i in range(20):
    open(f"sub/m{i:02}", "wb").write(os.urandom(3000 + 500 * i))
open("big", "wb").write(os.urandom(300000))
with open("sparse", "wb") as f:
    f.write(b"a" * 5000)
    f.seek(900000)
    f.write(b"b" * 5000)
open("text", "w").write("first\n")
os.setxattr("text", "user.note", b"short")
os.setxattr("big", "user.long", os.urandom(3000))
os.symlink("sub/m00", "link")
os.link("text", "sub/below/hard")
P
snapshot one

python3 - "$MNT" <<'P'
import os, sys
os.chdir(sys.argv[1])
with open("big", "r+b") as f:
    f.seek(100000)
    f.write(os.urandom(50000))
os.truncate("sparse", 100)
open("text", "a").write("second\n")
os.setxattr("text", "user.note", b"x" * 200)
os.removexattr("big", "user.long")
os.chmod("sub/m01", 0o600)
os.rename("sub", "moved")
os.unlink("moved/m02")
os.rename("moved/m03", "moved/m04")
os.unlink("link")
os.symlink("elsewhere", "link")
os.rmdir("empty")
os.mkdir("new")
P
snapshot two
rm -rf "${MNT:?}"/*
echo run >"$MNT/.engram/compact"
check "all that was there is removed" test -z "$(ls "$MNT")"

check "with the store mounted, the first one comes out as it was" exported one one --snapshot "$MNT"

# ---- of a mount

listed() { # FILE: what the list tells of the store; the same must the mount tell
    timeout 100 "$CTL" snapshot list "$1"
}
listed "$MNT" >"$WORK/of-mount"
check_equal "a mount has two" 2 "$(wc -l <"$WORK/of-mount")"
echo more >"$MNT/more"
stored() { # COMMAND...: while MORE is in a mapping of the file, and nowhere else
    # it begins before: when it ended a descriptor of the file, the kernel would write back
    python3 -c '
import mmap, os, subprocess, sys
command = subprocess.Popen(["sh", "-c", "read go; exec \"$@\"", "sh"] + sys.argv[2:], stdin=subprocess.PIPE)
with mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 5) as pages:
    pages[0:4] = b"MORE"
    command.communicate(b"go\n", timeout=100)
    sys.exit(command.returncode)' "$MNT/more" "$@"
}
check "mkdir" stored mkdir "$MNT/.engram/snapshots/without"
check_equal "  has not what was stored into a mapping" more "$(cat "$MNT/.engram/snapshots/without/more")"
is_in_three() { # Linux begins to write back, and tells of no end
    rmdir "$MNT/.engram/snapshots/three" 2>/dev/null
    stored "$CTL" snapshot create "$MNT" three && [ "$(cat "$MNT/.engram/snapshots/three/more")" = MORE ]
}
check "create of a mount has" wait_until 10 is_in_three
rmdir "$MNT/.engram/snapshots/without"
check_equal "  which is there already" 2 "$(status "$CTL" snapshot create "$MNT" three)"
check "  which is said" grep -q "create: there is a snapshot of that name" "$WORK/out"
check "rename" "$CTL" snapshot rename "$MNT" three four
check_equal "  onto another" 2 "$(status "$CTL" snapshot rename "$MNT" four one)"
check "  which is said" grep -q "rename: there is a snapshot of that name" "$WORK/out"
check_equal "  of none" 2 "$(status "$CTL" snapshot rename "$MNT" five six)"
check "  which is said" grep -q "rename: there is no such snapshot" "$WORK/out"
check_equal "a name is no path" 2 "$(status "$CTL" snapshot create "$MNT" ../five)"
check "  which is said" grep -q "a name has no '/'" "$WORK/out"
listed "$MNT" >"$WORK/of-mount"
unmount_store "$MNT"
check_equal "the list of the mount is that of the store" "$(listed "$STORE")" "$(cat "$WORK/of-mount")"
must_mount "$STORE" "$MNT" "${SMALL[@]}"
echo another >"$MNT/more"
space() { "$CTL" snapshot list --space "$1" | cut -f 3-; } # alone, shared, name
check_equal "list --space has each" "four one two" "$(space "$MNT" | cut -f 3 | sort | xargs)"
space "$MNT" >"$WORK/space"
json=$("$CTL" snapshot list --json --space "$MNT")
check_equal "  the same as JSON" "$(sort "$WORK/space")" "$(python3 -c '
import json, sys
for s in json.loads(sys.argv[1]):
    print(s["alone_bytes"], s["shared_bytes"], s["name"], sep="\t")' "$json" | sort)"
check_equal "  and as attributes" "$(awk '$3 == "one" { print $1, $2 }' "$WORK/space")" \
    "$(getfattr --only-values --absolute-names -n user.engram.snapshot.bytes "$MNT/.engram/snapshots/one") $(getfattr \
        --only-values --absolute-names -n user.engram.snapshot.shared_bytes "$MNT/.engram/snapshots/one")"
unmount_store "$MNT"
check_equal "  and of the store" "$(cat "$WORK/space")" "$(space "$STORE")"
must_mount "$STORE" "$MNT" "${SMALL[@]}"
check_equal "--space goes with list" 2 "$(status "$CTL" snapshot drop --space "$MNT" four)"
past_bytes() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["past_bytes"])' "$MNT/.engram/stats.json"; }
before=$(past_bytes)
alone=$(awk '$3 == "four" { print $1 }' "$WORK/space")
has_come_back() { [ "$alone" -gt 0 ] && [ "$(past_bytes)" -eq $((before - alone)) ]; }
check "drop" "$CTL" snapshot drop "$MNT" four
check "  gives back what was told ($alone of $before)" wait_until 20 has_come_back
check_equal "  of none" 2 "$(status "$CTL" snapshot drop "$MNT" four)"
check_equal "two are left" 2 "$(listed "$MNT" | wc -l)"
rm "$MNT/more"
unmount_store "$MNT"
must_mount "$STORE" "$MNT" "${SMALL[@]}" -o past=off
check_equal "none with past=off" 2 "$(status "$CTL" snapshot list "$MNT")"
check "  which is said" grep -q "no folder .engram/snapshots" "$WORK/out"
unmount_store "$MNT"
must_mount "$STORE" "$MNT" "${SMALL[@]}" -o noxattr
check_equal "none with noxattr" 2 "$(status "$CTL" snapshot list "$MNT")"
check "  which is said" grep -q "shows no attributes (-o noxattr)" "$WORK/out"
unmount_store "$MNT"
must_mount "$STORE" "$MNT" "${SMALL[@]}"

check_equal "without --snapshot its store is not read" 2 "$(status "$CTL" export --at one "$MNT")"
check "  which is said" grep -q -e "--at needs --snapshot" "$WORK/out"
unmount_store "$MNT"
for name in one two; do
    check "$name comes out as it was" exported "$name" "$name" "$STORE"
    batch=$("$CTL" snapshot list --json "$STORE" | python3 -c '
import json, sys
print([s["batch"] for s in json.load(sys.stdin) if s["name"] == sys.argv[1]][0])' "$name")
    check "$name by its batch" exported "$name" "$batch" "$STORE"
done
check "as an archive" "$CTL" export --format tar --at one "$STORE" "$WORK/one.tar"
mkdir "$WORK/tar"
tar -C "$WORK/tar" --xattrs --xattrs-include='user.*' -xpf "$WORK/one.tar"
check "  with all that was there" diff <(sight "$WORK/tar") "$WORK/one"
"$CTL" export --at one "$STORE" >"$WORK/one.jsonl"
check_equal "as lines, one for each memory that was there" "$(grep -c '^[^ ]* f ' "$WORK/one")" "$(wc -l <"$WORK/one.jsonl")"
"$CTL" export "$STORE" >"$WORK/now.jsonl"
check_equal "what is there now is nothing" 0 "$(wc -l <"$WORK/now.jsonl")"

check_equal "no such snapshot" 2 "$(status "$CTL" export --at three "$STORE")"
check "  which is said" grep -q "no snapshot is called 'three'" "$WORK/out"
check_equal "a batch that nothing keeps" 2 "$(status "$CTL" export --at 3 "$STORE")"
check "  which is said" grep -q "what was there after batch 3 is not kept" "$WORK/out"
check_equal "the future" 2 "$(status "$CTL" export --at 99999999 "$STORE")"
check_equal "a plain directory has no past" 2 "$(status "$CTL" export --tree --at one "$WORK/tree")"
check "one is dropped" "$CTL" snapshot drop "$STORE" one
check_equal "  and gone" 2 "$(status "$CTL" export --at one "$STORE")"
check "  and the other one is as it was" exported two two "$STORE"
check "the store is sound" "$CTL" check "$STORE"
t_end
