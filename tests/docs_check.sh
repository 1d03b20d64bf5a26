#!/usr/bin/env bash
# docs_check.sh - that what the documents cite is there:
#   `path` and `path:function`   the file, and in it a definition of that name; of a pattern, any file
#   `path arguments`             the file; with X, NAME or ROOM in it it stands for any
#   `a_test` in `path`           the file, and in it that word
#   each invariant I1 to I11     in docs/DESIGN.md, and cited in engine/
#   each op, table of the index and configuration key   in docs/FORMAT.md
#   the default of each configuration key               in docs/FORMAT.md and engramfs-control(7)
#   each capability of fs/capabilities.c, and its setting, in docs/KERNEL-CACHE.md, and no other there
#   each lock of the sources     in docs/LOCKING.md, and nothing there that is no lock
#   each callback of engine/engine.h, admin.h and guarded.h   in docs/LOCKING.md
#   each room, and the order of tools/dev/rooms         in engine/README.md
#   each word of docs/GLOSSARY.md                       in the header that the page names for it
#   each row of docs/lab/review-findings.md             names checks, which are in their files, or says why it has none
# In engine/README.md paths may also begin with a room of the engine.
# One line each, `ok - ` or `not ok - `; the last line is `N passed, N failed`.
# shellcheck disable=SC2016,SC2013 # backquotes are meant; words hold no space
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
PASSED=0 FAILED=0
shopt -s nullglob # a pattern that matches nothing is no file of that name
DOCS=(README.md CONTRIBUTING.md engine/README.md docs/*.md docs/lab/README.md)
SOURCES=({engine,fs,tools}/*.[ch] {engine,fs,tools}/*/*.[ch] tools/*/*/*.[ch])
TOPS='engine|fs|tools|tests|docs|packaging|debian|\.ci'
ROOMS=$(printf '%s\n' engine/*/ | sed 's|^engine/||; s|/$||' | paste -sd '|')

result() { # 0|1 WHAT
    if [ "$1" -eq 0 ]; then
        PASSED=$((PASSED + 1))
        echo "ok - $2"
    else
        FAILED=$((FAILED + 1))
        echo "not ok - $2"
    fi
}

# A definition begins in the first column, and is not a prototype: no `;` ends its line, unless it is a macro or a one-liner.
defines() { # FILE NAME
    grep -qE "^[A-Za-z_].*[ *]$2\(([^;]*$|.*\{)|^#define $2\b" "$1"
}

cited() { # FILE -> path or path:function, once each
    {
        grep -ohE "\`($TOPS)/[A-Za-z0-9_./*-]*(:[A-Za-z_0-9]+)?( [^\`]*)?\`" "$1"
        [ "$1" != engine/README.md ] || grep -ohE "\`($ROOMS)/[a-z_.]*\`" "$1" | sed 's|^`|`engine/|'
    } | tr -d '`' | cut -d ' ' -f 1 | grep -vE '[/_.](X|NAME|ROOM)\b' | sort -u
}

is_there() { # PATH or pattern
    case $1 in
    *\**) compgen -G "$1" >/dev/null ;;
    *) [ -e "$1" ] ;;
    esac
}

# ---- the table of findings: `tests/FILE` ("CHECK", "CHECK")

FINDINGS=docs/lab/review-findings.md
rows=0
while IFS='|' read -r _ finding deed shown _; do
    case $finding in *---* | ' finding ' | ' claim ' | '') continue ;; esac
    rows=$((rows + 1))
    [[ $shown = *\`tests/*\`\ \(\"* || $deed = *"waits for issue"* || $deed = *"no fault"* || $deed = *OPEN* ]]
    result $? "$FINDINGS:$finding"
    while read -r cite; do
        file=$(cut -d '`' -f 2 <<<"$cite")
        while read -r name; do
            grep -qF -- "$name" "$file" 2>/dev/null
            result $? "$FINDINGS:$finding: '$name' in $file"
        done < <(grep -oE '"[^"]*"' <<<"$cite" | tr -d '"')
    done < <(grep -oE '`tests/[^`]*` \(("[^"]*"(, )?)+\)' <<<"$shown")
done <"$FINDINGS"
[ $rows -ge 130 ]
result $? "$FINDINGS has $rows rows"

# ---- what documents cite

for doc in "${DOCS[@]}"; do
    while read -r cite; do
        path=${cite%%:*} name=
        [ "$path" = "$cite" ] || name=${cite#*:}
        if ! is_there "$path"; then
            result 1 "$doc: $cite: no such file"
        elif [ -n "$name" ] && ! defines "$path" "$name"; then
            result 1 "$doc: $cite: not defined there"
        else
            result 0 "$doc: $cite"
        fi
    done < <(cited "$doc")

    # `one` and `two` in `tests/...`: words of that file
    while read -r phrase; do
        path=$(sed -E 's/.* in `([^`]*)`$/\1/' <<<"$phrase")
        for name in $(grep -oE '`[a-z_0-9]+`' <<<"${phrase% in *}" | tr -d '`'); do
            grep -qw "$name" "$path" 2>/dev/null
            result $? "$doc: $name in $path"
        done
    done < <(tr '\n' ' ' <"$doc" | tr -s ' ' | grep -oE '(`[a-z_0-9]+`(,| and)? )+in `(tests|engine)/[A-Za-z0-9_./]+`')
done

for doc in $(grep -ohE '(docs|engine)/[A-Z]+\.md' "${DOCS[@]}" "${SOURCES[@]}" | sort -u); do
    [ -f "$doc" ]
    result $? "$doc, which others name"
done

# ---- the code in the documents

for n in 1 2 3 4 5 6 7 8 9 10 11; do
    grep -q "^\*\*I$n\*\*" docs/DESIGN.md
    result $? "docs/DESIGN.md: I$n"
    grep -qE "\bI$n\b" engine/*/*.c
    result $? "engine: I$n is cited where it is kept"
done

some() { # WHAT LIST: that what was read out of a file is not empty
    [ -n "$2" ]
    result $? "$1 are found"
}

ops=$(sed -n '/^enum op_type/,/OP_TYPES/p' engine/disk/codec.h | grep -oE 'OP_[A-Z_]+' | grep -v OP_TYPES)
some "ops in engine/disk/codec.h" "$ops"
for op in $ops; do
    grep -q "| ${op#OP_} |" docs/FORMAT.md
    result $? "docs/FORMAT.md: $op"
done
keys=$(sed -n '/keys\[\] = {/,/^};/p' engine/core/config.c | grep -oE '^ *\{"[a-z_]+"' | tr -d ' {"')
some "keys in engine/core/config.c" "$keys"
for key in $keys; do
    grep -q "^| $key |" docs/FORMAT.md
    result $? "docs/FORMAT.md: key $key"
done
# Their defaults, in docs/FORMAT.md and in the manual page.
while read -r key ratio fraction number; do
    default=$([ "$ratio" = true ] && echo "$fraction" || echo $((${number//u/})))
    grep -qF "| $key | $default |" docs/FORMAT.md
    result $? "docs/FORMAT.md: $key is $default"
    grep -qF "*$key* ($default)" packaging/man/engramfs-control.7.scd
    result $? "engramfs-control(7): $key is $default"
done < <(sed -nE 's/^ *\{"([a-z_]+)", offsetof\([^)]*\), (true|false), ([^,]*), ([^,]*),.*/\1 \2 \3 \4/p' engine/core/config.c)

# ---- capabilities: name and setting, as the table of the page has them in its first and third column

asked() {
    sed -nE 's/^ *CAPABILITY\(([A-Z0-9_]+), (ON|OFF|WRITEBACK|REFUSE),.*/\1 \2/p' fs/capabilities.c |
        sed 's/ ON$/ on/; s/ OFF$/ off/; s/ WRITEBACK$/ with -o writeback/; s/ REFUSE$/ with -o conflicts=refuse/' | sort
}
some "capabilities in fs/capabilities.c" "$(asked)"
differs=$(diff <(asked) <(sed -nE 's/^\| `([A-Z0-9_]+)` \| [a-z]+ \| ([^|]*) \|.*/\1 \2/p' docs/KERNEL-CACHE.md | tr -d '`' | sort))
[ -z "$differs" ]
result $? "docs/KERNEL-CACHE.md: what is asked of the kernel${differs:+: $differs}"

# ---- locks: `NAME` of `struct X`, or in `FILE` where it stands in a function

locks() {
    awk 'FNR == 1 || /^}/ { owner = "" }
        /^struct [a-z_0-9]+ \{/ { owner = "of `struct " $2 "`" }
        match($0, /^ *(static )?pthread_(mutex|rwlock)_t [a-z_0-9, ]+[;= ]/) {
            names = substr($0, RSTART, RLENGTH)
            sub(/.*_t /, "", names)
            gsub(/[;=,]/, " ", names)
            n = split(names, name, " ")
            for (i = 1; i <= n; i++)
                print "`" name[i] "` " (owner == "" ? "in `" FILENAME "`" : owner)
        }' "${SOURCES[@]}" | sort -u
}
some "locks" "$(locks)"
while read -r lock; do
    grep -qF "| $lock" docs/LOCKING.md
    result $? "docs/LOCKING.md: $lock"
done < <(locks)
while read -r lock; do
    locks | grep -qxF "$lock"
    result $? "docs/LOCKING.md: $lock is a lock"
done < <(sed -nE 's/^\| (`[a-z_]+lock` |`lock` |`queue` )((of|in) `[^`]*`).*\|.*/\1\2/p' docs/LOCKING.md)

# ---- callbacks: `NAME` of `struct X`, or of `FUNCTION()`, of which a row may name several

callbacks() {
    awk 'FNR == 1 || /^}/ { owner = "" }
        /^struct [a-z_0-9]+ \{/ { owner = "`struct " $2 "`" }
        /^[a-zA-Z]/ && match($0, / eng_[a-z_0-9]+\(/) { owner = "`" substr($0, RSTART + 1, RLENGTH - 1) ")`"; sub(/_sized/, "", owner) }
        match($0, /\(\*[a-z_]+\)\(/) { print substr($0, RSTART + 2, RLENGTH - 4), owner }' engine/engine.h engine/admin.h engine/guarded.h | sort -u
}
some "callbacks" "$(callbacks)"
while read -r name owner; do
    grep -F "| \`$name\` of " docs/LOCKING.md | cut -d '|' -f 2 | grep -qF "$owner"
    result $? "docs/LOCKING.md: the callback $name of $owner"
done < <(callbacks)

# ---- rooms and words

for room in ${ROOMS//|/ }; do
    grep -q "^| \`$room/\` |" engine/README.md
    result $? "engine/README.md: the room $room"
done
order=$(sed -n 's/^engine  \(base < .*\)/\1/p' tools/dev/rooms)
some "the order in tools/dev/rooms" "$order"
grep -qxF "$order" engine/README.md
result $? "engine/README.md: the order of tools/dev/rooms"

while IFS='|' read -r word file; do
    grep -qiF -- "$word" "$file" 2>/dev/null
    result $? "docs/GLOSSARY.md: $word in $file"
done < <(sed -nE 's/^\| ([^|]+) \|.*\| `([^`]*)` \|$/\1|\2/p' docs/GLOSSARY.md)

echo "$PASSED passed, $FAILED failed"
[ "$FAILED" -eq 0 ]
