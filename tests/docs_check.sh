#!/usr/bin/env bash
# docs_check.sh - that what the documents cite is there:
#   `path` and `path:function`   the file, and in it a definition of that name
#   `a_test` in `path`           the file, and in it that word
#   each invariant I1 to I11     in docs/DESIGN.md, and cited in engine/
#   each op, table of the index and configuration key   in docs/FORMAT.md
# One line each, `ok - ` or `not ok - `; the last line is `N passed, N failed`.
# shellcheck disable=SC2016,SC2013 # backquotes are meant; words hold no space
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
PASSED=0 FAILED=0

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

cited() { # FILE... -> path or path:function, once each
    grep -ohE '`(engine|fs|tools|tests|docs)/[A-Za-z0-9_./-]+(:[A-Za-z_0-9]+)?`' "$@" | tr -d '`' |
        grep -vE '[/_]X\.' | sort -u # X stands for any name
}

for doc in README.md CONTRIBUTING.md docs/*.md; do
    [ -f "$doc" ] || continue
    while read -r cite; do
        path=${cite%%:*} name=
        [ "$path" = "$cite" ] || name=${cite#*:}
        if [ ! -e "$path" ]; then
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
    done < <(tr '\n' ' ' <"$doc" | grep -oE '(`[a-z_0-9]+`(,| and)? )+in `(tests|engine)/[A-Za-z0-9_./]+`')
done

for doc in $(grep -ohE 'docs/[A-Z]+\.md' README.md CONTRIBUTING.md engine/*.[ch] fs/*.[ch] | sort -u); do
    [ -f "$doc" ]
    result $? "$doc, which others name"
done

for n in 1 2 3 4 5 6 7 8 9 10 11; do
    grep -q "^\*\*I$n\*\*" docs/DESIGN.md
    result $? "docs/DESIGN.md: I$n"
    grep -qE "\bI$n\b" engine/*.c
    result $? "engine: I$n is cited where it is kept"
done

for op in $(sed -n '/^enum op_type/,/OP_TYPES/p' engine/codec.h | grep -oE 'OP_[A-Z_]+' | grep -v OP_TYPES); do
    grep -q "| ${op#OP_} |" docs/FORMAT.md
    result $? "docs/FORMAT.md: $op"
done
for key in $(sed -n '/keys\[\] = {/,/^};/p' engine/config.c | grep -oE '^ *\{"[a-z_]+"' | tr -d ' {"'); do
    grep -q "^| $key |" docs/FORMAT.md
    result $? "docs/FORMAT.md: key $key"
done

echo "$PASSED passed, $FAILED failed"
[ "$FAILED" -eq 0 ]
