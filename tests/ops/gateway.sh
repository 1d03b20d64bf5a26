#!/usr/bin/env bash
# gateway.sh - engram-gateway: each endpoint, each status, limits, tokens, a mount that goes and comes, Prometheus.
#
#   tests/ops/gateway.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs curl python3
GATEWAY=$BUILD/tools/engram-gateway
if [ ! -x "$GATEWAY" ]; then
    skip gateway "not built (no libmicrohttpd)"
    exit 0
fi
chmod 755 "$WORK"
STORE=$WORK/store MNT=$WORK/mnt C=$WORK/mnt/.engram
AS=() NAME=()
if [ "$(id -u)" -eq 0 ]; then # a user of its own, let in by its group alone
    AS=(setpriv --reuid=65533 --regid=65533 --clear-groups --no-new-privs) NAME=(-o "allow_other,ctl_group=65533")
fi
mounted() { must_mount "$STORE" "$MNT" -o segment_size=256k "${NAME[@]}"; }
mounted

# serve OPTIONS...: sets URL and GW
serve() {
    rm -f "$WORK/gw.log" # or the line of the one before is found in it
    "${AS[@]}" "$GATEWAY" --port 0 "$@" "$MNT" >"$WORK/gw.log" 2>&1 &
    GW=$!
    wait_until 10 grep -q listening "$WORK/gw.log" || { not_ok "gateway starts" "$(cat "$WORK/gw.log")"; t_end; }
    URL=http://127.0.0.1:$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$WORK/gw.log")
}
ended() { [ ! -e "/proc/$GW" ] || [ "$(cut -d ' ' -f 3 <"/proc/$GW/stat")" = Z ]; }
stop() { # NAME
    kill "$GW"
    wait_until 10 ended
    wait "$GW"
    check_equal "$1" 0 $?
}
# ask METHOD PATH [CURL OPTIONS]: prints the status; the body is in $WORK/body
ask() {
    ask_it "$@" | tee "$WORK/status"
    echo "$1 $2 $(cat "$WORK/status")" >>"$WORK/answers"
}
ask_it() { timeout 60 curl -s -o "$WORK/body" -w '%{http_code}' -X "$1" "${@:3}" "$URL$2"; }
body() { json_get "$1" <"$WORK/body"; }
# is STATUS METHOD PATH ...: and an error is JSON that has the same code
is() {
    local want=$1 got
    shift
    got=$(ask "$@")
    check_equal "$1 $2 ${*:3} is $want" "$want" "$got"
    [ "$want" -lt 400 ] || check_equal "  its body says so, too" "$want" "$(body error.code 2>/dev/null)"
}

serve
is 200 GET /health
check_equal "healthy" ok "$(body status)"
is 200 GET /metrics
if command -v promtool >/dev/null; then
    check_equal "promtool accepts it" "" "$(promtool check metrics <"$WORK/body" 2>&1)"
fi
check "content type" sh -c "curl -sI '$URL/metrics' | grep -qi '^content-type: text/plain; version=0.0.4'"
python3 - "$MNT" <<'P'
import os, sys
for i in range(40):
    open(f"{sys.argv[1]}/m{i}", "wb").write(os.urandom(50000))
for i in range(0, 40, 2):
    os.unlink(f"{sys.argv[1]}/m{i}")
P
is 200 GET /api/v1/maintenance/stats
check_equal "the same as stats.json" "$(json_get live_bytes <"$C/stats.json")" "$(body live_bytes)"
is 200 POST /api/v1/maintenance/run
check_equal "below the thresholds" null "$(body compaction)"
is 200 POST /api/v1/maintenance/compact -d '{"min_fragmentation": 0.9}'
check_equal "not above min_fragmentation" skipped "$(body state)"
is 200 POST /api/v1/maintenance/compact -d '{"min_fragmentation": 0.9, "force": true}'
check_equal "forced" "done" "$(body state)"
check "bytes were given back" test "$(body bytes_reclaimed)" -gt 500000
rm "$MNT"/m*1 "$MNT"/m*3
echo compact_rate=8192 >"$C/config" # from its beginning on: the request sets the rate of one that runs by then
is 202 POST /api/v1/maintenance/compact -d '{"wait": false, "rate": 8192}'
check "what is told of it is JSON" body state
is 409 POST /api/v1/maintenance/compact
is 409 POST /api/v1/maintenance/run
is 409 POST /api/v1/maintenance/compact -d '{"rate": 7}'
check_equal "who is refused changes nothing" 8192 "$(json_get rate <"$C/compact")"
echo cancel >"$C/compact"
over() { ! grep -q '"running"' "$C/compact"; }
check "it ends" wait_until 20 over
echo compact_rate=0 >"$C/config"
is 200 POST /api/v1/maintenance/compact -d '{"rate": 0}'
check_equal "without a limit" 0 "$(body rate)"
is 200 POST /api/v1/maintenance/compact
for bad in '{' '[]' '"x"' '{"force": 1}' '{"wait": "no"}' '{"rate": -1}' '{"rate": 1.5}' '{"min_fragmentation": 2}' \
    '{"unknown": 1}' '{"wait": true, "wait": false}' 'force=true'; do
    is 400 POST /api/v1/maintenance/compact -d "$bad"
done
is 400 POST /api/v1/maintenance/run -d x
is 400 POST /api/v1/maintenance/run -H "Origin: http://evil.example"
is 400 GET /api/v1/maintenance/stats -H "Host: evil.example:80"
is 400 GET /metrics -H "Host: 127.0.0.1.evil.example"
is 200 GET /metrics -H "Host: LOCALHOST:9464"
is 404 GET /
is 404 GET /api/v1/maintenance
is 404 GET /metrics/../../etc/passwd --path-as-is
is 405 GET /api/v1/maintenance/compact
is 405 POST /metrics
is 405 DELETE /api/v1/maintenance/stats
check "405 names what is allowed" sh -c "curl -s -D - -o /dev/null '$URL/api/v1/maintenance/run' | grep -qi '^allow: POST'"
head -c 9000 /dev/zero | tr '\0' ' ' >"$WORK/large"
is 413 POST /api/v1/maintenance/compact --data-binary "@$WORK/large"
is 413 POST /api/v1/maintenance/compact -H "Transfer-Encoding: chunked" --data-binary "@$WORK/large"
is 200 GET /health

# the daemon dies; the gateway says so, and goes on when it is back
kill_daemon "$MNT"
is 503 GET /health
is 503 GET /metrics
is 503 POST /api/v1/maintenance/compact
mounted
is 200 GET /health

# the daemon hangs: so is said, of each file, in time, and those who ask keep no threads waiting in the kernel
DAEMON=$(daemons_under "$MNT")
kill -STOP "$DAEMON"
in_time() { # STATUS PATH
    check_equal "a hung mount: $2" "$1" "$(ask GET "$2" --max-time 12)"
}
in_time 503 /health
in_time 503 /metrics
in_time 503 /api/v1/maintenance/stats
check "it says why" grep -q "does not answer" "$WORK/body"
for _ in $(seq 60); do
    curl -s -o /dev/null --max-time 12 "$URL/metrics" &
    ASKERS+=($!)
done
wait "${ASKERS[@]}"
in_time 503 /health
threads() { find "/proc/$GW/task" -mindepth 1 -maxdepth 1 | wc -l; }
few_threads() { [ "$(threads)" -le 8 ]; }
check "few threads wait for it" wait_until 20 few_threads
# nor do those who want something done, and they leave places for who asks
ASKERS=()
for i in $(seq 40); do
    curl -s -o "$WORK/post.$i" --max-time 20 -X POST "$URL/api/v1/maintenance/$([ $((i % 2)) = 0 ] && echo run || echo compact)" &
    ASKERS+=($!)
done
posts_say() { grep -ls "$1" "$WORK"/post.* | wc -l; }
some_are_refused() { [ "$(posts_say "others wait already")" -ge 1 ]; }
check "half of the places are for POSTs, and one more is refused at once" wait_until 15 some_are_refused
in_time 503 /health
in_time 503 /metrics
wait "${ASKERS[@]}"
# of 40 at once some of one party may be turned away before they are read
check "POSTs are answered while it hangs" test "$(posts_say '"code": 503')" -ge 24
check "as many as have places, that it does" test "$(posts_say "does not answer")" -ge 16
check "and no thread waits for it" wait_until 20 few_threads
kill -CONT "$DAEMON"
is 200 GET /health
is 200 GET /metrics

if command -v prometheus >/dev/null; then
    PORT=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$WORK/prometheus.yml" <<Y
global: {scrape_interval: 1s}
rule_files: ["$ROOT/packaging/monitoring/engramfs.rules.yml"]
scrape_configs: [{job_name: engramfs, static_configs: [{targets: ["${URL#http://}"]}]}]
Y
    prometheus --config.file="$WORK/prometheus.yml" --storage.tsdb.path="$WORK/tsdb" \
        --web.listen-address="127.0.0.1:$PORT" --log.level=error >"$WORK/prometheus.log" 2>&1 &
    PROMETHEUS=$!
    query() {
        curl -sf "http://127.0.0.1:$PORT/api/v1/query" --data-urlencode "query=$1" |
            python3 -c 'import json,sys; print(json.load(sys.stdin)["data"]["result"][0]["value"][1])'
    }
    scraped() { [ "$(query 'up{job="engramfs"}')" = 1 ] && query engram_memories; }
    check "Prometheus scrapes it" wait_until 60 scraped
    check_equal "and has its figures" "$(find "$MNT" -type f | wc -l)" "$(query engram_memories)"
    check "each expression of the dashboard is answered" python3 - "$PORT" "$ROOT/packaging/monitoring/grafana-dashboard.json" <<'P'
import json, sys, urllib.parse, urllib.request
for panel in json.load(open(sys.argv[2]))["panels"]:
    for t in panel["targets"]:
        url = "http://127.0.0.1:%s/api/v1/query?" % sys.argv[1] + urllib.parse.urlencode({"query": t["expr"]})
        r = json.load(urllib.request.urlopen(url))
        assert r["status"] == "success", r
        rated = any(f in t["expr"] for f in ("rate(", "increase(", "> 0")) # two scrapes, or an error, may not be there yet
        assert r["data"]["result"] or rated, t["expr"]
        for label in __import__("re").findall(r"{{(\w+)}}", t.get("legendFormat", "")):
            assert all(label in s["metric"] for s in r["data"]["result"]), (label, r["data"]["result"][:1])
P
    check "all rules are evaluated without an error" sh -c "! curl -sf http://127.0.0.1:$PORT/api/v1/rules | grep -q '\"health\":\"err\"'"
    kill "$PROMETHEUS"
    wait "$PROMETHEUS" 2>/dev/null
else
    skip "Prometheus" "not installed"
fi
stop "SIGTERM ends it"

# connections are limited; but those who say nothing, or take no answer, keep nobody out
serve --max-connections 2
exec 7<>"/dev/tcp/127.0.0.1/${URL##*:}" 8<>"/dev/tcp/127.0.0.1/${URL##*:}"
check_equal "one connection more is answered" 200 "$(ask GET /health --max-time 1)"
check "because the oldest silent one was closed" timeout 1 sh -c '! read -r _ <&7'
exec 7<&- 7>&- 8<&- 8>&-
stop "SIGTERM ends it again"
cat >"$WORK/strangers.py" <<'P'
# Holds a connection from each of 127.0.0.2 to 127.0.0.250: silent, with half a request, or taking no answers; and opens
# another one for each that is closed. Writes how many it holds, once nothing more happens, or with `again` each time.
import itertools, os, select, socket, sys
port, ready, again = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "again"
poll, held, number = select.poll(), {}, itertools.count()
def connect():
    i = next(number) % 249 + 2
    s = socket.socket()
    s.bind((f"127.0.0.{i}", 0))
    s.connect(("127.0.0.1", port))
    try:
        s.setblocking(False)
        s.send([b"", b"GET /health HTTP/1.1\r\nX-A: ", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000][i % (2 if again else 3)])
    except OSError:
        pass
    held[s.fileno()] = s
    poll.register(s, select.POLLRDHUP)
for i in range(249):
    connect()
while True:
    events = poll.poll(None if os.path.exists(ready) else 200)
    for fd, _ in events:
        poll.unregister(fd)
        held.pop(fd).close()
        if again:
            connect()
    if again or not events:
        open(ready, "w").write(str(len(held)))
P
strangers() { # WORD
    rm -f "$WORK/ready"
    timeout 60 python3 "$WORK/strangers.py" "${URL##*:}" "$WORK/ready" "$1" &
    STRANGERS=$!
    check "strangers of 249 addresses hold what they get" wait_until 20 test -s "$WORK/ready"
}
begone() { kill "$STRANGERS" && wait "$STRANGERS"; }
serve
strangers once
check_equal "three quarters of 32 places" 24 "$(cat "$WORK/ready")"
for path in /health /metrics; do
    check_equal "$path is answered within a second" 200 "$(ask GET $path --max-time 1)"
done
begone 2>/dev/null
strangers again
N=0
for _ in $(seq 40); do
    [ "$(ask GET /metrics --max-time 2)" != 200 ] || N=$((N + 1))
done
echo "# $N of 40 answered within two seconds while strangers open connection after connection"
check "even while they take each place again" test $N -ge 30
begone 2>/dev/null
stop "SIGTERM ends it a third time"

# a flood of connections of one party, and another one that wants to be answered: on a network of their own
if ! unshare -n true 2>/dev/null; then
    skip "a flood of connections" "no network namespace"
else
    cat >"$WORK/flood.py" <<'P'
import fcntl, os, resource, signal, socket, struct, subprocess, sys, time
def address(name, ip):
    """Gives an interface an address and takes it up; lo:1 is lo under a second name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        if ip:
            fcntl.ioctl(s, 0x8916, struct.pack("16sH2s4s8s", name, socket.AF_INET, b"", socket.inet_aton(ip), b""))
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14s", name, 1, b""))
address(b"lo", None)
address(b"lo:1", "10.9.9.9")
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
gateway = subprocess.Popen(sys.argv[1:] + ["--listen", "0.0.0.0", "--port", "29464"], stderr=subprocess.DEVNULL)
def ask(ip):
    begun = time.monotonic()
    try:
        with socket.socket() as s:
            s.settimeout(20)
            s.bind((ip, 0))
            s.connect(("10.9.9.9", 29464))
            s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            good = s.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        good = False
    return good, time.monotonic() - begun
while not ask("10.9.9.9")[0]:
    if gateway.poll() is not None:
        sys.exit("the gateway ended")
begun, tell = os.pipe()
child = os.fork()
if not child: # more than the gateway takes, over and over; each is dropped for a new one
    held = []
    while True:
        s = socket.socket()
        s.setblocking(False)
        try:
            s.connect(("127.0.0.1", 29464))
        except BlockingIOError:
            pass
        except OSError:
            continue
        held.append(s)
        if len(held) > 1500:
            held.pop(0).close()
            if tell >= 0:
                tell = os.write(tell, b"1") - 2
os.read(begun, 1)
answers = [ask("10.9.9.9") for i in range(10)]
os.kill(child, signal.SIGKILL)
gateway.terminate()
gateway.wait(30)
times = sorted(t for _, t in answers)
print(sum(good for good, _ in answers), "answered, the slowest after %.2f s" % times[-1])
sys.exit(not (all(good for good, _ in answers) and times[len(times) // 2] < 3))
P
    printf 'correct horse battery\n' >"$WORK/flood-token"
    chmod 644 "$WORK/flood-token"
    check "another party is answered beside a flood" timeout 300 unshare -n python3 "$WORK/flood.py" "${AS[@]}" "$GATEWAY" --token-file "$WORK/flood-token" "$MNT"
fi

# ids of what is removed and open are the mount's to tell, not the gateway's
echo secret >"$MNT/my-secret"
exec 9<"$MNT/my-secret"
rm "$MNT/my-secret"
serve
is 200 GET /api/v1/maintenance/stats
check_equal "an open orphan is listed, without its id" "1 0" "$(grep -c '"inode"' "$WORK/body") $(grep -c my-secret "$WORK/body")"
exec 9<&-
# who sends a byte from time to time keeps nobody out
python3 - "${URL##*:}" "$WORK/slow" <<'P' &
import socket, sys, time
def connect():
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
    s.sendall(b"GET /health HTTP/1.1\r\nX-A: ")
    return s
many = [connect() for i in range(40)]
open(sys.argv[2], "w").close()
end = time.time() + 60
while time.time() < end and many:
    for s in list(many):
        try:
            s.sendall(b"a")
        except OSError:
            many.remove(s)
    time.sleep(1)
P
SLOW=$!
check "forty slow clients come" wait_until 20 test -e "$WORK/slow"
answered() { curl -sf "$@" --max-time 1 "$URL/health"; }
check "another one of this machine is answered at once" answered --interface 127.0.0.2
check "and theirs as well" answered
kill $SLOW 2>/dev/null
wait $SLOW 2>/dev/null
stop "ended"
# a mount with -o ro
check "unmount" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o ro "${NAME[@]}"
serve
is 503 GET /health
check "it says why" grep -q "mounted with -o ro" "$WORK/body"
is 503 POST /api/v1/maintenance/compact
is 503 POST /api/v1/maintenance/run
check_equal "its metric" "engram_store_read_only 1" "$(grep ^engram_store_read_only "$C/metrics")"
check_equal "its reason" "mounted with -o ro" "$(json_get read_only_reason <"$C/stats.json")"
stop "ended"
check "unmount" unmount_store "$MNT"
mounted

serve --listen localhost
is 200 GET /health
stop "a name may be given to listen on"

# tokens
printf 'correct horse battery\n' >"$WORK/token"
chmod 644 "$WORK/token"
serve --token-file "$WORK/token"
is 401 GET /metrics
is 401 POST /api/v1/maintenance/compact -H "Authorization: Bearer correct horse batterz"
is 401 POST /api/v1/maintenance/compact -H "Authorization: Bearer "
is 200 GET /metrics -H "Authorization: Bearer correct horse battery"
is 200 GET /health
is 200 GET /metrics -H "Authorization: Bearer correct horse battery" -H "Host: engram.example"
stop "SIGTERM ends that one, too"

check_fails "others only with a token" "needs --token-file" "$GATEWAY" --listen 0.0.0.0 --port 0 "$MNT"
check_fails "a bad port" "must be 0 to 65535" "$GATEWAY" --port 70000 "$MNT"
check_fails "no mount point" "expected one MOUNTPOINT" "$GATEWAY"
check_fails "an empty token" "at least 8" "$GATEWAY" --token-file /dev/null "$MNT"

# what it may not do
if [ "$(id -u)" -eq 0 ]; then
    AS=(setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs)
    serve
    is 200 GET /metrics
    is 500 POST /api/v1/maintenance/compact
    check "and says what is missing" grep -q ctl_group "$WORK/body"
    stop "it ends"
fi

# the description and the program agree
check "each path, method and key is in openapi.yaml" python3 - "$ROOT" <<'P'
import re, sys
api = open(sys.argv[1] + "/packaging/openapi.yaml").read()
src = open(sys.argv[1] + "/tools/gateway/routes.c").read()
routes = re.findall(r'\{"(/[^"]*)", "([A-Z]+)"', src)
assert len(routes) == 5
for path, method in routes:
    assert re.search(rf"^  {re.escape(path)}:\n    {method.lower()}:", api, re.M), path
assert len(re.findall(r"^  /", api, re.M)) == len(routes)
for key in "force", "min_fragmentation", "rate", "wait":
    assert f"        {key}: {{type" in api, key
for status in set(re.findall(r"answer_error\(a, (\d+)", src)) - {"405"}:
    assert f'"{status}":' in api, status
P
check "and so is each status that was answered here, at its path and method" python3 - "$ROOT/packaging/openapi.yaml" "$WORK/answers" <<'P'
import re, sys
listed, path, method = set(), None, None
for line in open(sys.argv[1]):
    if m := re.match(r"  (/\S+):$", line):
        path = m[1]
    elif m := re.match(r"    (get|post):$", line):
        method = m[1].upper()
    elif re.match(r"\S", line):
        path = None
    elif path and (m := re.match(r'        "(\d+)":', line)):
        listed.add((method, path, m[1]))
answered = {tuple(line.split()) for line in open(sys.argv[2])}
answered = {a for a in answered if any(a[:2] == l[:2] for l in listed) and a[2] != "000"}
assert len(answered) > 15, answered
assert not answered - listed, sorted(answered - listed)
P
check "unmount" unmount_store "$MNT"

# a mount that was taken away, and is in use still
if [ "$(id -u)" -eq 0 ]; then
    mounted
    rm -f "$WORK/gw.log" # as in serve()
    (cd "$MNT" && umount -l . && exec "$GATEWAY" --port 0 .) >"$WORK/gw.log" 2>&1 &
    GW=$!
    wait_until 10 grep -q listening "$WORK/gw.log" || not_ok "gateway starts" "$(cat "$WORK/gw.log")"
    URL=http://127.0.0.1:$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$WORK/gw.log")
    is 500 GET /metrics
    check "it says that nobody tells whose it is" grep -q "not among the mounts" "$WORK/body"
    stop "it ends"
    check "and so does its daemon" wait_until 20 no_daemon "$MNT"
fi
t_end
