#!/usr/bin/env bash
# moved.sh - an export of a mount that others change meanwhile: what is moved is exported or told, what is removed is no fault.
#
#   tests/ops/moved.sh [BUILD]
#
# The export goes to a pipe. Who reads it changes the mount after the first byte: the export then has listed the root and waits.
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
cd "$WORK" || exit 1
must_mount "$WORK/store" "$WORK/mnt"
cat >moved.py <<'P'
# moved.py FORMAT CHANGE CTL: "STATUS, what is told; what is missing and not told; what is told and there".
import io, json, os, re, subprocess, sys, tarfile
form, change, ctl = sys.argv[1:]
os.system("rm -rf mnt/*")
BIG = 200000
def put(path, size=BIG):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w") as f:
        f.write(os.path.basename(path).ljust(size, "."))
os.makedirs("mnt/first/deep")
for i in range(12):
    put(f"mnt/a{i:02}")
for i in range(12):
    put(f"mnt/f{i:02}", 10)
for i in range(20):
    for j in range(3):
        put(f"mnt/m{i:02}/{j}", 10)
os.makedirs("mnt/m18/deep")
put("mnt/m18/deep/er/x", 10)
os.makedirs("mnt/zz")
os.link("mnt/f11", "mnt/a-link")
def inodes():
    return {os.lstat(os.path.join(d, n)).st_ino: os.path.relpath(os.path.join(d, n), "mnt")
            for d, dirs, files in os.walk("mnt") for n in files if ".engram" not in d}
before = inodes()
p = subprocess.Popen([ctl, "export", "--format", form, "mnt", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
out = p.stdout.read(1)
os.chdir("mnt")
exec(change)
os.chdir("..")
after = inodes()
rest, err = p.communicate(timeout=60)
out += rest
if form == "jsonl":
    got = {json.loads(l)["id"] for l in out.splitlines()}
else:
    t = tarfile.open(fileobj=io.BytesIO(out))
    got = {m.name.removeprefix("./") for m in t if m.isreg() or m.islnk()}
told = re.findall(r"^(?:engramctl: )?(.*?): (?:was moved|a folder that was removed)", err.decode(), re.M)
missing = [after[i] for i in before if i in after and after[i] not in got and before[i] not in got
           and not any(after[i] == t or after[i].startswith(t + "/") for t in told)]
# what was moved to a place that is read later is there by that name
double = [t for t in told if t in got]
other = [l for l in err.decode().splitlines() if not re.search("was moved|a folder that was removed|exported|could not be read", l)]
print(f"{p.returncode} {' '.join(sorted(told))};{' '.join(sorted(missing))};{' '.join(double)};{' '.join(other)}")
P
for format in jsonl tar; do
    moved() { # WANTED CHANGE...
        local wanted=$1 name=$2
        shift 2
        check_equal "$format: $name" "$wanted" "$(timeout 100 python3 moved.py $format "$*" "$CTL" 2>&1)"
    }
    moved "0 ;;;" "nothing happens" "pass"
    moved "0 ;;;" "files are removed" "for i in range(10): os.unlink(f'f{i:02}')"
    moved "1 elsewhere;;;" "a folder is renamed" "os.rename('m10', 'elsewhere')"
    moved "1 elsewhere first/deep/er;;;" "folders are renamed, one into another one" "os.rename('m10', 'elsewhere'); os.rename('m18', 'first/deep/er')"
    moved "1 g;;;" "a file is renamed" "os.rename('f05', 'g')"
    moved "1 first/b/c/g;;;" "a file is moved into a new folder" "os.makedirs('first/b/c'); os.rename('f05', 'first/b/c/g')"
    moved "1 m10;;;" "a folder is removed, what was in it is elsewhere" "[os.rename(f'm10/{j}', f'x{j}') for j in range(3)]; os.rmdir('m10')"
    moved "1 m10;;;" "a folder is removed with all in it" "[os.unlink(f'm10/{j}') for j in range(3)]; os.rmdir('m10')"
    moved "0 ;;;" "a file is moved to a folder that is read later" "os.rename('f05', 'zz/f05')"
    moved "0 ;;;" "a file is replaced" "open('new', 'w').write('x'); os.rename('new', 'f05')"
    moved "0 ;;;" "one of two names is removed" "os.unlink('f11')"
done
check "unmount" unmount_store "$WORK/mnt"
t_end
