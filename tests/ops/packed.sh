#!/usr/bin/env bash
# packed.sh - compressed archives and JSON lines: whatever is wrong with one is noticed, by the sum that its format has, and told with
# what came from it; one that has no sum is told. And archives of any number of entries.
#
#   SEED=123 tests/ops/packed.sh [BUILD] [FLIPS]     20 flipped bits of each kind
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 tar gzip
if ! "$CTL" export --format tar "$WORK/nothing" /dev/null 2>&1 | grep -q "not a store\|No such"; then
    skip packed "engramctl was built without libarchive"
    exit 0
fi
cd "$WORK" || exit 1
SEED=${SEED-$RANDOM$RANDOM}
FLIPS=${2-20}
[ "${2-}" ] || [ "${ENGRAM_TEST_MODE-}" != full ] || FLIPS=300
echo "# seed $SEED, $FLIPS flips"
timeout $((300 + FLIPS * 10)) python3 "$ROOT/tests/ops/packed.py" "$CTL" "$SEED" "$FLIPS" >result
check_equal "each kind was tried" 0 $?
while read -r line; do
    case $line in
    skip*) skip "${line#skip }" "there is no such program" ;;
    *) check_equal "${line%%:*}: flips, cuts and more behind it that nobody noticed" "0 0 0 same" "${line#*: }" ;;
    esac
done <result

# what is said: the entries that came before a sum could be looked at
mkdir some
for i in 1 2 3; do echo "memory $i" >some/$i; done
tar -C some -cf some.tar 1 2 3
gzip -nk some.tar
python3 - <<'P'
d = bytearray(open("some.tar.gz", "rb").read())
d[-8] ^= 1 # of the sum
open("sum.tar.gz", "wb").write(d)
open("short.tar.gz", "wb").write(d[:-7])
P
said() { "$CTL" import "$@" 2>&1 >/dev/null | sed 's/^engramctl: \(warning: \)\?//'; }
"$CTL" import sum.tar.gz sum.store >/dev/null 2>&1
check_equal "an archive whose end fails its sum: exit code" 1 $?
check_equal "  what is said" "sum.tar.gz: damaged, or cut off: incorrect data check
sum.tar.gz: 3 entries came from it, '1' to '3', before its sum could be looked at: they may be damaged" "$(said sum.tar.gz sum.store2)"
check_equal "  what came from it is there" 3 "$("$CTL" export sum.store | wc -l)"
check_equal "one whose end is missing: what is said" "short.tar.gz: damaged, or cut off: it ends too early" "$(said short.tar.gz short.store | head -n 1)"
"$CTL" import --json sum.tar.gz sum.store3 >sum.json 2>/dev/null
check_equal "  and as JSON" 1 "$(json_get failed <sum.json)"
for i in 1 2 3; do echo "{\"id\":\"$i\",\"content\":\"memory $i\"}"; done >some.jsonl
gzip -nk some.jsonl
python3 -c 'd = bytearray(open("some.jsonl.gz", "rb").read()); d[-8] ^= 1; open("sum.jsonl.gz", "wb").write(d)'
check_equal "lines whose end fails the sum: what is said" "sum.jsonl.gz: damaged, or cut off: incorrect data check
sum.jsonl.gz: lines 1 to 3 came from it before its sum could be looked at: what they had may be damaged" "$(said sum.jsonl.gz lines.store)"
"$CTL" import sum.jsonl.gz lines.store >/dev/null 2>&1
check_equal "  exit code" 2 $?
check_equal "a plain archive without its end: exit code" 1 "$(head -c 3072 some.tar >ended.tar; "$CTL" import ended.tar ended >/dev/null 2>ended.err; echo $?)"
check_equal "  what is said" "ended.tar: it has no end: it may have been cut off behind the last entry" "$(cat ended.err)"
check "with its end, and nothing else behind that" bash -c "head -c 4096 some.tar >just.tar; '$CTL' import just.tar just"
check "one that is filled up with zeros, as on a tape" bash -c "(cat some.tar.gz; head -c 5000 /dev/zero) >tape.tar.gz; '$CTL' import tape.tar.gz tape"
check "through a pipe, to its last byte" bash -c "set -o pipefail; (cat some.tar; head -c 3000000 /dev/zero) | gzip | '$CTL' import --format tar - piped"

# and what has no sum
unsummed() { # FILE FORMAT PROGRAM
    check_equal "$1: it has no sum, which is told" "$1: packed by $2 without a sum: damage of it may go unnoticed" "$(said "$1" "no-sum-$1")"
    check "  and imported" "$CTL" import "$1" "no-sum-$1"
}
for form in tar jsonl; do
    if command -v zstd >/dev/null; then
        zstd -q --no-check some.$form -o plain.$form.zst
        unsummed plain.$form.zst zstd
        (zstd -q -c some.$form; zstd -q --no-check -c some.$form) >mixed.$form.zst
        check_equal "$form: the second frame has none: told" 1 "$(said mixed.$form.zst no-sum-mixed | grep -c "without a sum")"
    fi
    if command -v lz4 >/dev/null; then
        lz4 -q --no-frame-crc some.$form plain.$form.lz4
        unsummed plain.$form.lz4 lz4
        (lz4 -q -c some.$form; lz4 -q --no-frame-crc -c some.$form) >mixed.$form.lz4
        check_equal "$form: the second frame has none: told" 1 "$(said mixed.$form.lz4 no-sum-mixed | grep -c "without a sum")"
    fi
    python3 -c 'import lzma, sys; open(sys.argv[2], "wb").write(lzma.compress(open(sys.argv[1], "rb").read(), check=lzma.CHECK_NONE))' some.$form plain.$form.xz
    unsummed plain.$form.xz xz
    (xz -c some.$form; cat plain.$form.xz) >mixed.$form.xz
    check_equal "$form: the second stream has none: told" 1 "$(said mixed.$form.xz no-sum-mixed | grep -c "without a sum")"
done
# frames that are to be skipped come first: one of pzstd, which says how long the next one is; one that is longer than it looks for
python3 - <<'P'
import struct
for name, sizes in (("one", [4]), ("none", [0]), ("more", [4, 100000, 0])):
    with open(f"{name}.skipped", "wb") as f:
        for i, size in enumerate(sizes):
            f.write(struct.pack("<II", 0x184D2A50 + i, size) + b"\n" * size)
P
for form in tar jsonl; do
    for program in zstd lz4; do
        command -v $program >/dev/null || continue
        for frames in one none more; do
            $program -q -c some.$form | cat $frames.skipped - >$frames.$form.$program
            check "$form: $frames before the frames of $program" "$CTL" import --format $form $frames.$form.$program skipped-$frames-$form-$program
            check_equal "  all of it" 3 "$("$CTL" export skipped-$frames-$form-$program | grep -c memory)"
        done
    done
    ! command -v pzstd >/dev/null || check "$form by pzstd" bash -c "pzstd -q -c some.$form | '$CTL' import --format $form - pzstd-$form"
done
printf '\x50\x2a\x4d\x18\x04\0\0\0abcd' >only.tar
check_fails "such frames and nothing else are no archive" "not a tar archive" "$CTL" import only.tar only.store
pieces() { python3 -c 'import os, sys
d = open(sys.argv[1], "rb").read()
for i in range(0, len(d), 7):
    os.write(1, d[i:i + 7])' "$1"; }
for file in mixed.*; do
    check_equal "$file, in pieces of seven bytes" 1 "$(pieces "$file" | said --format "$(cut -d . -f 2 <<<"$file")" - "pieces-$file" | grep -c "without a sum")"
done

# any number of entries without content: files, folders and links; each has headers, and nothing else
python3 - <<'P'
import json, tarfile
with open("empty.jsonl", "w") as f:
    for i in range(60000):
        f.write(json.dumps({"id": f"{i}", "content": ""}) + "\n")
    f.write(json.dumps({"id": "last", "content": "behind them"}) + "\n")
with tarfile.open("links.tar", "w", format=tarfile.PAX_FORMAT) as t:
    def entry(name, kind, link=""):
        i = tarfile.TarInfo(name)
        i.type, i.linkname, i.mtime = kind, link, 1.5
        t.addfile(i)
    entry("first", tarfile.REGTYPE)
    for i in range(15000):
        entry(f"d{i}", tarfile.DIRTYPE)
        entry(f"h{i}", tarfile.LNKTYPE, "first")
        entry(f"s{i}", tarfile.SYMTYPE, "first")
    entry("last", tarfile.REGTYPE)
P
check "60,000 memories without content" "$CTL" import empty.jsonl empties
check "  as an archive" "$CTL" export --format tar empties empties.tar
check "  come back" timeout 120 "$CTL" import empties.tar empties2
check "  all of them" bash -c "'$CTL' export empties | sort >e1; '$CTL' export empties2 | sort >e2; test \$(wc -l <e1) = 60001 && cmp e1 e2"
check "packed, too" bash -c "gzip -1 <empties.tar | timeout 120 '$CTL' import --format tar - empties3"
check_equal "45,000 folders and links" "imported 2 files, 15000 directories, 15000 others, 15000 hard links; 0 failed" \
    "$(timeout 120 "$CTL" import links.tar links | sed 's/; in .*//')"
t_end
