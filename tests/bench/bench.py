#!/usr/bin/env python3
"""The benchmark. Started by run.sh, which builds what it needs.

Each workload is run on each filesystem in turn, round after round, so that what disturbs the machine disturbs all of
them; the figure is the median of the rounds, and the spread the quartiles. A ratio is the median of the ratios of the
rounds: its two times were measured within the same minute.
"""
import argparse
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

QUICK = dict(files=2000, big=64, rounds=3, tree=2000, listing=20000)
NORMAL = dict(files=10000, big=1024, rounds=5, tree=100000, listing=1000000)

# What a workload must reach, by the beginning of its name: times of another filesystem's time. Where nullfs, which
# does nothing, takes longer than that, no filesystem on FUSE can be faster: then 1.3 times its time.
MUSTS = {
    "create+write+close": (1.3, "nullfs"), "read warm": (1.2, "ext4"), "read cold, in order": (0.5, "ext4"),
    "read cold, random": (1.0, "ext4"), "replace": (0.7, "ext4"), "overwrite": (0.2, "ext4"), "unlink": (0.3, "ext4"),
    "rm -r": (0.3, "ext4"), "sequential": (1.25, "passthrough_ll"), "random 4 KiB": (1.0, "passthrough_ll"),
    "write 1 KiB + fsync": (1.2, "ext4"), "rsync": (0.8, "ext4"), "grep -r cold": (0.5, "ext4"),
    "ls": (1.5, "ext4"), "find": (1.5, "ext4"), "du": (1.5, "ext4"),
}


def sh(*command, **kw):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **kw).stdout


def mounted(path):
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return any(line.split()[1] == path for line in f)


def unmount(path):
    for _ in range(50):
        if not mounted(path):
            return
        if subprocess.run(["umount", path], stderr=subprocess.DEVNULL, check=False).returncode:
            time.sleep(0.1)
    subprocess.run(["umount", "-l", path], check=False)


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3\n")


class HaltPoll:
    """A virtual processor that halts takes long to wake, and a FUSE request wakes two. While this is in force an idle one
    looks for work for `ns` before it halts, as a host processor does; the setting of the machine comes back after it."""
    path = "/sys/module/haltpoll/parameters/guest_halt_poll_ns"

    def __init__(self, ns):
        self.ns, self.before = ns, None

    def write(self, value):
        with open(self.path, "w", encoding="ascii") as f:
            f.write(value)

    def __enter__(self):
        if self.ns is not None:
            with open(self.path, encoding="ascii") as f:
                self.before = f.read()
            self.write(str(self.ns))

    def __exit__(self, *_):
        if self.before is not None:
            self.write(self.before)


class Filesystem:
    """A folder to work in: mounted for a round, and away after it."""

    def __init__(self, name, work, build):
        self.name, self.build = name, build
        self.base = os.path.join(work, name.replace(" ", "_"))
        self.mnt = os.path.join(self.base, "mnt")
        self.process = None

    def start(self):
        os.makedirs(self.mnt)

    def prime(self):
        """What the kernel asks once for a mount (is there OPEN, OPENDIR, GETXATTR?) is not the first workload's to pay for."""
        path = os.path.join(self.mnt, "prime")
        with open(path, "w", encoding="ascii") as f:
            f.write("x")
        with open(path, encoding="ascii") as f:
            f.read()
        os.listdir(self.mnt)
        os.unlink(path)

    def stop(self):
        if self.process:
            unmount(self.mnt)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
            self.process = None
        else:
            unmount(self.mnt)
        shutil.rmtree(self.base, ignore_errors=True)

    def daemon(self, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            if mounted(self.mnt):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not mount: {' '.join(command)}")

    def requests(self):
        """Counts of FUSE requests so far, by kind; only engramfs can tell."""
        return {}


class Engramfs(Filesystem):
    options = ""

    def start(self):
        super().start()
        command = [f"{self.build}/fs/engramfs", "-f", os.path.join(self.base, "store"), self.mnt]
        if self.options:
            command += ["-o", self.options]
        self.daemon(*command)

    def requests(self):
        with open(f"{self.mnt}/.engram/metrics", encoding="utf-8") as f:
            return {m[1]: int(m[2]) for m in re.finditer(r'^engram_fuse_requests_total\{op="(\w+)"\} (\d+)', f.read(), re.M)}


class EngramfsNoxattr(Engramfs):
    options = "noxattr"


class Ext4Loop(Filesystem):
    """ext4 on a file: without discard, and without the flush that ext4 does when a file is replaced."""

    def start(self):
        super().start()
        image = os.path.join(self.base, "image")
        with open(image, "wb") as f:
            f.truncate(6 << 30)
        # inodes for a million files
        sh("mkfs.ext4", "-q", "-m", "0", "-i", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
        sh("mount", "-o", "loop,nodiscard,noauto_da_alloc", image, self.mnt)


class EngramfsWriteback(Engramfs):
    options = "noxattr,writeback"


class Passthrough(Filesystem):
    """libfuse's example, which hands each request on to the disk's ext4. Pages are kept, writes go through: as engramfs does."""
    options = "cache=always"

    def start(self):
        super().start()
        source = os.path.join(self.base, "source")
        os.makedirs(source)
        self.daemon(f"{self.build}/passthrough_ll", "-f", "-o", f"source={source},{self.options}", self.mnt)


class PassthroughWriteback(Passthrough):
    options = "cache=always,writeback"


class Null(Filesystem):
    def start(self):
        super().start()
        self.daemon(f"{self.build}/tests/bench/nullfs", self.mnt)


FILESYSTEMS = {
    "engramfs": Engramfs,
    "engramfs noxattr": EngramfsNoxattr,
    "ext4": Filesystem,
    "ext4 loop": Ext4Loop,
    "passthrough_ll": Passthrough,
    "nullfs": Null,
}
# With the kernel gathering writes before they reach the daemon: only where that is the question.
WRITEBACK = {"engramfs writeback": EngramfsWriteback, "passthrough_ll writeback": PassthroughWriteback}


class Bench:
    def __init__(self, args):
        self.args = args
        self.size = dict(QUICK if args.quick else NORMAL)
        self.size["files"] = args.files or self.size["files"]
        self.rounds = args.rounds or self.size["rounds"]
        self.times = {}  # (workload, filesystem) -> seconds of each round
        self.counts = {}  # workload -> FUSE requests of engramfs noxattr for one file
        self.work = tempfile.mkdtemp(prefix="engramfs-bench.", dir=args.dir)
        self.kinds = {n: k for n, k in (FILESYSTEMS | WRITEBACK).items()
                      if "passthrough" not in n or os.path.exists(f"{args.build}/passthrough_ll")}
        self.systems = [n for n in FILESYSTEMS if n in self.kinds]

    def time_of(self, fs, name, *params, cold=False):
        if cold:
            drop_caches()
        return float(sh(f"{self.args.build}/tests/bench/workload", name, fs.mnt, *map(str, params)))

    def timed(self, *command, cold=False, **kw):
        if cold:
            drop_caches()
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)
        return time.monotonic() - began

    def note(self, fs, workload, seconds):
        self.times.setdefault((workload, fs.name), []).append(seconds)

    def step(self, fs, label, name, *params, cold=False, files=1):
        before = fs.requests()
        seconds = self.time_of(fs, name, *params, cold=cold)
        after = fs.requests()
        self.note(fs, label, seconds)
        if fs.name.startswith("engramfs") and files:
            per_file = {k: round((after[k] - before.get(k, 0)) / files, 2) for k in after
                        if k != "forget" and after[k] - before.get(k, 0) > files / 20}
            self.counts.setdefault(label, {})[fs.name] = per_file

    # ---- the workloads, one method each: what it measures on a fresh filesystem ----

    def small(self, fs, size, folders, threads):
        n = self.size["files"] if size < 65536 else max(self.size["files"] // 50, 40)
        p = (n, size, folders, threads)
        text = f"{size} B" if size < 1024 else f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"
        where = f"{text}, {folders or 'no'} folders, {threads} thread{'s' if threads > 1 else ''}"
        if folders:
            self.time_of(fs, "mkdirs", folders, 0, folders, 1)
        self.step(fs, f"create+write+close; {where}", "create", *p, files=n)
        self.time_of(fs, "read", *p)  # the page of a file that was just written is not whole in a FUSE page cache
        self.step(fs, f"read warm; {where}", "read", *p, files=n)
        self.step(fs, f"read cold, in order; {where}", "read", *p, cold=True, files=n)
        self.step(fs, f"read cold, random; {where}", "random", *p, cold=True, files=n)
        self.step(fs, f"replace (rsync); {where}", "replace", *p, files=n)
        self.step(fs, f"overwrite (O_TRUNC); {where}", "overwrite", *p, files=n)
        self.step(fs, f"unlink; {where}", "unlink", *p, files=n)

    def flat(self, fs):
        self.small(fs, 1024, 0, 1)

    def tiny(self, fs):
        self.small(fs, 100, 0, 1)

    def medium(self, fs):
        self.small(fs, 16384, 0, 1)

    def large(self, fs):
        self.small(fs, 1 << 20, 0, 1)

    def folders(self, fs):
        self.small(fs, 1024, 1000, 1)

    def threads(self, fs):
        self.small(fs, 1024, 0, 4)

    def big(self, fs):
        mib = self.size["big"]
        self.step(fs, f"sequential write, {mib} MiB", "seqwrite", mib * 8, 1 << 17, 0, 1, files=0)
        self.step(fs, f"sequential read cold, {mib} MiB", "seqread", mib * 8, 1 << 17, 0, 1, cold=True, files=0)
        n = mib * 32  # of the blocks of 4 KiB, an eighth
        self.step(fs, f"random 4 KiB reads cold in {mib} MiB", "randread", n, 4096, 0, 1, cold=True, files=0)
        self.step(fs, f"random 4 KiB writes in {mib} MiB", "randwrite", n, 4096, 0, 1, files=0)

    def sync(self, fs):
        n = self.size["files"] // 10
        self.step(fs, "write 1 KiB + fsync, 1 writer", "fsync", n, 1024, 0, 1, files=n)
        self.step(fs, "write 1 KiB + fsync, 16 writers", "fsync", n * 4, 1024, 0, 16, files=n * 4)

    def tree(self, fs):
        """What people do with a tree: rsync in, out, again; ls, find, du, grep; rm."""
        n, source = self.size["tree"], os.path.join(self.work, "source")
        if not os.path.exists(source):
            os.makedirs(source)
            self.time_of(SourceFolder(source), "mkdirs", 1000, 0, 1000, 1)
            self.time_of(SourceFolder(source), "create", n, 1024, 1000, 1)
        there, out = f"{fs.mnt}/tree", os.path.join(self.work, "out")
        what = f"{n} files"
        os.sync()
        self.note(fs, f"rsync -a in, {what}", self.timed("rsync", "-a", source + "/", there))
        self.note(fs, f"rsync -a again, {what}", self.timed("rsync", "-a", source + "/", there))
        self.note(fs, f"ls -lR warm, {what}", self.timed("ls", "-lR", there))
        self.note(fs, f"grep -r cold, {what}", self.timed("sh", "-c", "! grep -r 'no such text' \"$1\"", "sh", there, cold=True))
        self.note(fs, f"find cold, {what}", self.timed("find", there, "-name", "f1*", cold=True))
        self.note(fs, f"ls -lR cold, {what}", self.timed("ls", "-lR", there, cold=True))
        self.note(fs, f"du cold, {what}", self.timed("du", "-s", there, cold=True))
        self.note(fs, f"rsync -a out, {what}", self.timed("rsync", "-a", there + "/", out, cold=True))
        shutil.rmtree(out)
        self.note(fs, f"rm -r, {what}", self.timed("rm", "-r", there))

    def list_all(self, fs):
        """Listings of many files in 1000 folders, that were made before the first round."""
        what = f"{self.size['listing']} files"
        for command in (["ls", "-R"], ["find", "-name", "f1*"], ["ls", "-lR"], ["du", "-s"]):
            name = " ".join(command[:2] if command[0] != "find" else ["find"])
            self.note(fs, f"{name} cold, {what}", self.timed(*command, cold=True, cwd=fs.mnt))
            self.note(fs, f"{name} warm, {what}", self.timed(*command, cwd=fs.mnt))

    GROUPS = {
        "flat": flat, "folders": folders, "threads": threads, "tiny": tiny, "medium": medium, "large": large,
        "big": big, "sync": sync, "tree": tree, "listing": list_all,
    }

    # ---- running ----

    def systems_of(self, group):
        if group == "big":
            return list(self.kinds)
        # passthrough_ll keeps each file open that the kernel knows
        if self.size.get(group, 0) > resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 2000:
            return [n for n in self.systems if n != "passthrough_ll"]
        return list(self.systems)

    def shuffled(self, group):
        systems = self.systems_of(group)
        random.shuffle(systems)
        return [self.kinds[n](n, self.work, self.args.build) for n in systems]

    def run_group(self, group):
        for i in range(self.rounds):
            for fs in self.shuffled(group):
                fs.start()
                try:
                    fs.prime()
                    self.GROUPS[group](self, fs)
                finally:
                    fs.stop()
                os.sync()
            print(f"# {group}: round {i + 1} of {self.rounds}", file=sys.stderr, flush=True)

    def run_listing(self):
        """All stay mounted: making a million files takes longer than listing them."""
        systems = self.shuffled("listing")
        try:
            for fs in systems:
                fs.start()
                fs.prime()
                self.time_of(fs, "mkdirs", 1000, 0, 1000, 1)
                self.time_of(fs, "create", self.size["listing"], 100, 1000, 1)
            for i in range(self.rounds):
                random.shuffle(systems)
                for fs in systems:
                    self.list_all(fs)
                print(f"# listing: round {i + 1} of {self.rounds}", file=sys.stderr, flush=True)
        finally:
            for fs in systems:
                fs.stop()

    def run(self):
        for group in self.args.only.split(",") if self.args.only else list(self.GROUPS):
            if group == "listing":
                self.run_listing()
            else:
                self.run_group(group)

    def workloads(self):
        return list(dict.fromkeys(w for w, _ in self.times))

    def ratio(self, workload, a, b):
        """Median and quartiles of the ratios of the rounds; None if one of them is not there."""
        x, y = self.times.get((workload, a)), self.times.get((workload, b))
        if not x or not y:
            return None
        ratios = sorted(p / q for p, q in zip(x, y))
        return (statistics.median(ratios), ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4])

    def must(self, workload, seconds):
        """The longest time that is good enough, and what it is made of; None where nothing is asked for."""
        for name, (factor, other) in MUSTS.items():
            if workload.startswith(name) and other in seconds:
                limit, why = factor * seconds[other], f"{factor:g} {other}"
                if other != "nullfs" and seconds.get("nullfs", 0) > limit:
                    limit, why = 1.3 * seconds["nullfs"], "1.3 nullfs"
                return {"seconds": limit, "of": why}
        return None

    def result(self):
        rows = []
        for w in self.workloads():
            row = {"workload": w, "seconds": {}, "spread": {}, "requests_per_file": self.counts.get(w, {})}
            for s in self.kinds:
                t = sorted(self.times.get((w, s), []))
                if t:
                    row["seconds"][s] = statistics.median(t)
                    row["spread"][s] = [t[len(t) // 4], t[3 * len(t) // 4]]
            for s in ("engramfs", "engramfs noxattr"):
                row[f"{s} / ext4"] = self.ratio(w, s, "ext4")
                row[f"{s} / passthrough_ll"] = self.ratio(w, s, "passthrough_ll")
                row[f"{s} / nullfs"] = self.ratio(w, s, "nullfs")
            row["must"] = self.must(w, row["seconds"])
            rows.append(row)
        return {"machine": machine(self.args.halt_poll), "rounds": self.rounds, "files": self.size["files"], "rows": rows}


class SourceFolder:
    def __init__(self, mnt):
        self.mnt = mnt


def machine(halt_poll):
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = re.search(r"model name\s*: (.*)", f.read())
    return {"kernel": os.uname().release, "cpus": os.cpu_count(), "cpu": cpu[1] if cpu else "?",
            "date": time.strftime("%Y-%m-%d"), "halt_poll": halt_poll, "load": os.getloadavg()[0]}


def verdict(row):
    """The must, and whether noxattr and the defaults meet it: by how much of it they take."""
    if not row["must"]:
        return ""
    return f"{row['must']['of']:>22}  " + ", ".join(
        f"{'yes' if share <= 1 else 'NO'} {share:.2f}" for share in
        (row["seconds"][s] / row["must"]["seconds"] for s in ("engramfs noxattr", "engramfs") if s in row["seconds"]))


def table(result, systems):
    print(f"{'seconds, medians of ' + str(result['rounds']):58}" + "".join(f"{s:>18}" for s in systems)
          + f"{'noxattr/ext4':>22}{'noxattr/nullfs':>16}{'default/ext4':>14}{'must':>22}  met")
    for row in result["rows"]:
        r, n, d = row["engramfs noxattr / ext4"], row["engramfs noxattr / nullfs"], row["engramfs / ext4"]
        print(f"{row['workload']:58}" + "".join(f"{row['seconds'].get(s, float('nan')):18.3f}" for s in systems)
              + (f"{r[0]:8.2f} ({r[1]:.2f}-{r[2]:.2f})".rjust(22) if r else " " * 22)
              + (f"{n[0]:16.2f}" if n else " " * 16) + (f"{d[0]:14.2f}" if d else " " * 14) + verdict(row))
    print("\nFUSE requests for each file")
    for row in result["rows"]:
        for name, counts in row["requests_per_file"].items():
            print(f"  {row['workload']:56}{name:18}" + ", ".join(f"{k} {v:g}" for k, v in sorted(counts.items())))


def plot(result, path):
    """Ratios to ext4 as bars, on a logarithmic scale: left of the line engramfs is faster."""
    import math
    rows = [r for r in result["rows"] if r["engramfs noxattr / ext4"]]
    height, left, width = 18, 400, 500

    def x(v):
        return left + width * (math.log10(min(max(v, 0.02), 10)) - math.log10(0.02)) / (1 - math.log10(0.02))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 60}" height="{height * len(rows) + 50}" '
           'font-family="sans-serif" font-size="11">', '<rect width="100%" height="100%" fill="white"/>']
    for mark in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10):
        out.append(f'<line x1="{x(mark):.0f}" x2="{x(mark):.0f}" y1="20" y2="{height * len(rows) + 25}" '
                   f'stroke="{"black" if mark == 1 else "#ddd"}"/><text x="{x(mark):.0f}" y="14" text-anchor="middle">{mark:g}</text>')
    for i, row in enumerate(rows):
        y = 24 + i * height
        m, lo, hi = row["engramfs noxattr / ext4"]
        d = row["engramfs / ext4"]
        out.append(f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{row["workload"]}</text>')
        out.append(f'<line x1="{x(lo):.1f}" x2="{x(hi):.1f}" y1="{y + 8}" y2="{y + 8}" stroke="#1f5fa8" stroke-width="3"/>')
        out.append(f'<circle cx="{x(m):.1f}" cy="{y + 8}" r="4" fill="#1f5fa8"/>')
        if d:
            out.append(f'<circle cx="{x(d[0]):.1f}" cy="{y + 8}" r="3" fill="none" stroke="#c0504d"/>')
    out.append(f'<text x="{left}" y="{height * len(rows) + 42}">time relative to ext4 on the same disk: filled -o noxattr '
               'with quartiles, open defaults</text></svg>')
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh")
    parser.add_argument("build")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller files, 3 rounds")
    parser.add_argument("--only", help="groups: " + ", ".join(Bench.GROUPS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--files", type=int, help="small files of each workload (10,000 by default)")
    parser.add_argument("--halt-poll", type=int, metavar="NS",
                        help="in a virtual machine with haltpoll: let idle processors look for work so long before they halt")
    parser.add_argument("--dir", default="/var/tmp", help="where to work: on ext4")
    parser.add_argument("--out", default="bench-out")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for mounts and drop_caches")
    if args.only and set(args.only.split(",")) - set(Bench.GROUPS):
        parser.error("no such group; there are " + ", ".join(Bench.GROUPS))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bench = Bench(args)
    try:
        with HaltPoll(args.halt_poll):
            bench.run()
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", bench.work], check=False)
    result = bench.result()
    os.makedirs(args.out, exist_ok=True)
    with open(f"{args.out}/bench.json", "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    plot(result, f"{args.out}/bench.svg")
    table(result, [s for s in bench.kinds if any(s in row["seconds"] for row in result["rows"])])


if __name__ == "__main__":
    main()
