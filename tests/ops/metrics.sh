#!/usr/bin/env bash
# metrics.sh - what is exported is what Prometheus expects, and what alerts and the dashboard ask for is exported.
#
#   tests/ops/metrics.sh [BUILD]
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
MNT=$WORK/mnt C=$WORK/mnt/.engram MON=$ROOT/packaging/monitoring
must_mount "$WORK/store" "$MNT"
for i in 1 2 3; do echo $i >"$MNT/$i"; done
cp "$C/metrics" "$WORK/first"
rm "$MNT/1"
echo run >"$C/compact"
sync "$MNT"
cat "$MNT/2" >/dev/null
cp "$C/metrics" "$WORK/second"

check "format, names and buckets" python3 - "$WORK/first" "$WORK/second" <<'P'
import re, sys
def read(path):
    types, helps, values = {}, set(), {}
    for line in open(path):
        if m := re.match(r"# TYPE (\S+) (\S+)$", line):
            assert m[1] not in types, line
            types[m[1]] = m[2]
        elif m := re.match(r"# HELP (\S+) \S.*$", line):
            helps.add(m[1])
        else:
            m = re.match(r'([a-z_]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? (\S+)$', line)
            assert m, line
            assert m[1] + (m[2] or "") not in values, line
            values[m[1] + (m[2] or "")] = float(m[3])
    assert helps == set(types)
    return types, values
types, first = read(sys.argv[1])
_, second = read(sys.argv[2])
for name, kind in types.items():
    assert re.match("(engram|process)_", name), name
    assert name.endswith("_total") == (kind == "counter"), name
    if kind == "histogram":
        counts = [k for k in second if k.startswith(name + "_count")]
        assert counts, name
        for count in counts: # one for each set of labels
            labels = count[len(name + "_count"):].strip("{}")
            b = [(k, v) for k, v in second.items() if k.startswith(name + "_bucket{" + labels)]
            assert [v for _, v in b] == sorted(v for _, v in b), name
            assert b[-1][0].endswith('le="+Inf"}') and b[-1][1] == second[count], name
            bounds = [float(re.search('le="(.*)"', k)[1]) for k, _ in b]
            assert len(bounds) > 10 and bounds == sorted(set(bounds)), name
for k, v in first.items():
    name = k.split("{")[0]
    if types.get(name) == "counter" or re.search("_(bucket|count|sum)$", name):
        assert second[k] >= v, ("fell", k, v, second[k])
assert second['engram_content_compactions_total{result="success"}'] == 1
assert second["engram_content_compaction_duration_seconds_count"] == 1
assert second['engram_fuse_request_duration_seconds_count{class="read"}'] > 0
for name, ops in ("read", ["read"]), ("write", ["write", "copy_file_range", "fallocate"]), ("sync", ["fsync", "fsyncdir"]):
    n = lambda values: values['engram_fuse_request_duration_seconds_count{class="%s"}' % name]
    asked = lambda values: sum(values['engram_fuse_requests_total{op="%s"}' % op] for op in ops)
    assert n(second) >= n(first) and abs(asked(second) - n(second)) <= 1, (name, asked(second), n(second))
assert first.keys() == second.keys(), "series come and go"
for values in first, second:
    assert sum(v for k, v in values.items() if k.startswith("engram_store_space_bytes{")) == values["engram_store_usage_bytes"]
P
if command -v promtool >/dev/null; then
    check_equal "promtool check metrics has nothing to say" "" "$(promtool check metrics <"$WORK/second" 2>&1)"
    check "alert rules are well formed" promtool check rules "$MON/engramfs.rules.yml"
    check "each alert fires when it should" promtool test rules "$MON/rules_test.yml"
    # shellcheck disable=SC2013 # words
    for alert in $(sed -n 's/.*- alert: //p' "$MON/engramfs.rules.yml"); do
        check "$alert is tested" grep -q "alertname: $alert" "$MON/rules_test.yml"
    done
else
    skip "promtool" "not installed (package prometheus)"
fi
# ---- a scrub is seen while it runs, and what came of it
value() { sed -n "s/^$1 //p" "$C/metrics"; }
head -c 3000000 /dev/urandom >"$MNT/large"
echo rate=1000000 >"$C/scrub"
echo start >"$C/scrub"
begun() { [ "$(value engram_content_scrub_done_bytes)" -gt 0 ]; }
check "a scrub at its rate has begun" wait_until 20 begun
check_equal "and has not ended" 1 "$(value engram_content_scrub_running)"
check "it has not done all" [ "$(value engram_content_scrub_done_bytes)" -lt "$(value engram_content_scrub_planned_bytes)" ]
echo rate=0 >"$C/scrub"
echo wait >"$C/scrub"
check_equal "let go, it ends" 0 "$(value engram_content_scrub_running)"
check_equal "with all verified" "$(value engram_content_scrub_planned_bytes)" "$(value engram_content_scrub_done_bytes)"
check_equal "and nothing damaged" 0 "$(value engram_content_scrub_damaged_extents)"
# ---- the tables of figures, and what names them
"$BUILD/tests/ops/list_figures" >"$WORK/table"
check "what is exported is what the tables say, and the other way round" python3 - "$WORK/second" "$WORK/table" <<'P'
import sys
exported = dict(l.split()[2:4] for l in open(sys.argv[1]) if l.startswith("# TYPE"))
table = {l.split()[2]: l.split()[3] for l in open(sys.argv[2])}
assert table.pop("-")
assert exported == table, set(exported.items()) ^ set(table.items())
P
check "stats.json has the keys of the tables" python3 - "$C/stats.json" "$WORK/table" <<'P'
import json, sys
stats = json.load(open(sys.argv[1]))
lines = [l.split() for l in open(sys.argv[2])]
keys = lambda table: {l[1] for l in lines if l[0] == table} - {"-"}
assert stats["space"].keys() == keys("space"), stats["space"].keys() ^ keys("space")
assert stats.keys() - {"space", "open_orphans"} == keys("stats"), stats.keys() ^ keys("stats")
P
check "alerts, their tests and the dashboard ask for what is in the tables" python3 - "$WORK/table" "$MON" <<'P'
import json, re, sys
kinds = {l.split()[2]: l.split()[3] for l in open(sys.argv[1])}
known = {n + part for n, kind in kinds.items() for part in (["_bucket", "_sum", "_count"] if kind == "histogram" else [""])}
read = lambda name: open(sys.argv[2] + "/" + name).read()
exprs = [t["expr"] for p in json.loads(read("grafana-dashboard.json"))["panels"] for t in p["targets"]]
assert len(exprs) > 10
exprs += re.findall(r"expr: (.*)", read("engramfs.rules.yml")) + re.findall(r"series: (.*)", read("rules_test.yml"))
for e in exprs:
    names = re.findall(r"\b(?:engram|process)_[a-z_]+", e)
    assert names, e
    for n in names:
        assert n in known, (n, e)
P
check "openapi.yaml tells keys of the table, as what they are" python3 - "$WORK/table" "$ROOT/packaging/openapi.yaml" <<'P'
import re, sys
units = {l.split()[1]: l.split()[4] for l in open(sys.argv[1]) if l.startswith("stats ")}
told = re.findall(r"^        (\w+): \{type: (\w+)", open(sys.argv[2]).read().split("\n    Stats:\n")[1], re.M)
assert len(told) > 5
for key, kind in told:
    assert kind == {"ratio": "number", "time": "string", "text": "string"}.get(units[key], "integer"), (key, kind)
P
check "unmount" unmount_store "$MNT"
t_end
