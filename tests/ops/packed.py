#!/usr/bin/env python3
"""packed.py CTL SEED FLIPS: what is packed and damaged is never taken for what it was.

Archives and JSON lines are packed by each program, each with bits flipped, cut off, and with something behind them. An import of
that either says so (exit code 1 or 2), or has the very content. Prints a line for each: KIND FLIPS-NOT-NOTICED CUTS-NOT-NOTICED
MORE-NOT-NOTICED, and what the undamaged one came to. In the current folder."""
import bz2, gzip, io, json, lzma, os, random, shutil, subprocess, sys, tarfile

CTL, SEED, FLIPS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
R = random.Random(SEED)

def by(program, *options):
    def pack(data):
        return subprocess.run([program, *options, "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return pack if shutil.which(program) else None

def halves(pack): # two members in one file, as pbzip2, pzstd, bgzip and cat make them
    return pack and (lambda data: pack(data[:len(data) // 2]) + pack(data[len(data) // 2:]))

PACKERS = {"gzip": lambda data: gzip.compress(data, mtime=0), "bzip2": bz2.compress, "xz": lzma.compress, "zstd": by("zstd", "-q"),
           "lz4": by("lz4", "-q"), "lz4-blocks": by("lz4", "-q", "-BX", "--no-frame-crc")}

def tar():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for i in range(60):
            data = R.randbytes(1000) if i % 2 else b"%d words, which pack well. " % i * 40
            info = tarfile.TarInfo(f"d/{i}")
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()

def lines():
    return b"".join(json.dumps({"id": f"d/{i}", "content": "".join(R.choice("abcdefghijklmnop ") for _ in range(100))}).encode() + b"\n"
                    for i in range(400))

def run(data, form):
    open("it", "wb").write(data)
    shutil.rmtree("store", ignore_errors=True)
    code = subprocess.run([CTL, "import", "--format", form, "it", "store"], capture_output=True, timeout=60).returncode
    if code:
        return code, None
    out = subprocess.run([CTL, "export", "store", "-"], capture_output=True, timeout=60, check=True).stdout
    return 0, sorted(out.splitlines())

def flipped(data):
    d = bytearray(data)
    d[R.randrange(len(d))] ^= 1 << R.randrange(8)
    return bytes(d)

for form, source in ("tar", tar()), ("jsonl", lines()):
    true = run(source, form)
    for name, pack in PACKERS.items():
        for number, pack in ("", pack), ("twice", halves(pack)):
            kind = " ".join(filter(None, (form, name, number)))
            if not pack:
                print(f"skip {kind}")
                continue
            packed = pack(source)
            # also the last bytes, where the sums are, each
            flips = [flipped(packed) for _ in range(FLIPS)] + [packed[:-i] + bytes([packed[-i] ^ 4]) + packed[len(packed) - i + 1:] for i in range(1, 13)]
            cuts = [packed[:-i] for i in (1, 3, 4, 5, 7, 8, 9, 12, 17, len(packed) // 3)]
            more = [packed + b"\n", packed + b"x" * 100, packed + bytes(100) + b"x", packed + source[:700], packed + bytes(600000) + b"x"]
            wrong = [sum(r[0] not in (1, 2) and r != true for r in (run(d, form) for d in many)) for many in (flips, cuts)]
            unnoticed = [sum(run(d, form)[0] not in (1, 2) for d in many) for many in (cuts, more)]
            same = "same" if run(packed, form) == true else "DIFFERENT"
            print(f"{kind}: {wrong[0]} {wrong[1] + unnoticed[0]} {unnoticed[1]} {same}", flush=True)
