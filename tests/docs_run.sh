#!/usr/bin/env bash
# docs_run.sh - each command of the documentation is run as it stands there: every block ```sh of docs/OPERATIONS.md,
# docs/CONTROL.md, docs/API.md and docs/FAQ.md, line by line, with places of its own.
#
#   tests/docs_run.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/lib.sh"
t_begin "$@"
t_needs curl rsync python3
mkdir "$WORK/bin"
ln -s "$ENGRAMFS" "$CTL" "$ROOT/packaging/engram-backup" "$WORK/bin/"
[ ! -x "$BUILD/tools/engram-gateway" ] || ln -s "$BUILD/tools/engram-gateway" "$WORK/bin/"
PATH=$WORK/bin:$PATH
PORT=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
for doc in OPERATIONS CONTROL API FAQ; do
    if [ $doc = API ] && [ ! -x "$WORK/bin/engram-gateway" ]; then
        skip "docs/API.md" "the gateway is not built"
        continue
    fi
    place=$WORK/$doc
    mkdir -p "$place/mnt" "$place/backup"
    # a line that runs in the background gets no answer of its own
    awk '/^```sh$/ {on = 1; next} /^```/ {on = 0} on' "$ROOT/docs/$doc.md" >"$place/commands"
    check "docs/$doc.md has commands" test -s "$place/commands"
    sed "s|/var/lib/memories|$place/store|g; s|/mnt/memories|$place/mnt|g; s|/backup/|$place/backup/|g; s|9464|$PORT|g; s|curl -s |curl -sSf |g" \
        "$place/commands" >"$place/run"
    exec 5>&1
    while IFS= read -r line; do
        case $line in
        '') ;;
        *'&')
            eval "$line" >"$place/background.log" 2>&1
            ok "docs/$doc.md: $line"
            ;;
        'kill %1')
            kill %1 && wait %1
            check_equal "docs/$doc.md: $line" 0 $?
            ;;
        umount*)
            check "docs/$doc.md: umount" umount "$place/mnt"
            wait_until 30 no_daemon "$place"
            ;;
        *) check "docs/$doc.md: ${line//$place/}" timeout 60 bash -c "$line" ;;
        esac
    done <"$place/run"
done
t_end
