#!/usr/bin/env bash
# rooms.sh - the scripts that hold the sources to the floor plan and its dialect: tools/dev/rooms, moves, dialect.
# Small trees are made, each with one fault, which must be found once and at its line. Needs no build and no mount.
#
#   tests/ops/rooms.sh [BUILD]      BUILD is not looked at
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_needs python3 git
WORK=$(mktemp -d "${TMPDIR:-/tmp}/engramfs-test.XXXXXX") || exit 1
trap t_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
export TMPDIR=$WORK
DEV=$ROOT/tools/dev
T=$WORK/tree

dev() { # SCRIPT ARGUMENTS...
    local script=$1
    shift
    timeout 60 "$DEV/$script" "$@"
}

# put FILE: standard input becomes a file of the tree
put() {
    mkdir -p "$(dirname "$T/$1")"
    cat >"$T/$1"
}
lines() { printf '%s\n' "$@"; }

# A tree without a fault, though it looks like it has some.
clean_tree() {
    rm -rf "$T"
    cp -r "$WORK/clean" "$T"
}
write_clean_tree() {
    lines '#ifndef E' '#define E' 'struct eng;' 'int eng_open(struct eng *eng);' 'extern const int eng_limit;' \
        'int eng_ask_sized(struct eng *eng, int size);' \
        'static inline int eng_ask(struct eng *eng)' '{' '    return eng_ask_sized(eng, 4);' '}' '#endif' | put engine/engine.h
    lines '#include "engine.h"' 'int eng_ask_sized(struct eng *eng, int size)' '{' '    return eng && size;' '}' | put engine/store/ask.c
    lines '#include <stdint.h>' 'static inline int twice(int a)' '{' '    return 2 * a;' '}' | put engine/base/util.h
    lines '#include "base/util.h"' 'int io_read(int fd);' 'void io_done(void *p);' | put engine/disk/io.h
    lines '#include "disk/io.h"' 'static int flush(void)' '{' '    return 0;' '}' \
        'int io_read(int fd)' '{' '    return flush() + twice(fd);' '}' 'void io_done(void *p)' '{' '    (void)p;' '}' | put engine/disk/io.c
    put engine/index/btree.h <<'C'
#include "disk/io.h"
#define CLEANUP_IO __attribute__((cleanup(io_done)))
int btree_get(int key);
/* Declared here and defined above: nothing goes wrong until it is used. */
int commit_all(int (*done)(void *arg),
               void *arg);
int flush(int n);
C
    put engine/index/btree.c <<'C'
#include "index/btree.h"
/* #include "commit/flush.h" and commit_all() in a comment */
// commit_all(0, 0)
static const char *text = "commit_all() \" commit_all";
struct ops {
    int (*commit_all)(int a);
    int flush;
};
static int mine(int flush)
{
    return flush; /* a parameter */
}
#if 0
#include "commit/flush.h"
static int off(void) { return commit_all(0, 0); }
#endif
int btree_get(int key)
{
    struct ops ops = {.commit_all = mine, .flush = 1};
    CLEANUP_IO int *p = 0;
    int commit_all = ops.commit_all(1), n = ops.flush;
    if (key)
        goto flush;
    n = io_read(n) + commit_all + (p ? text[0] : '"');
flush:
    return n;
}
C
    lines '#include "index/btree.h"' 'int commit_start(void);' | put engine/commit/flush.h
    put engine/commit/flush.c <<'C'
#include "commit/flush.h"
int commit_all(int (*done)(void *arg),
               void *arg)
{
    return done(arg) + btree_get(1);
}
int flush(int n)
{
    return n;
}
int commit_start(void)
{
    return 0;
}
C
    lines '#include "engine.h"' '#include "commit/flush.h"' 'static int one(void)' '{' '    return commit_start();' '}' \
        'const int eng_limit = 1;' 'int eng_open(struct eng *eng)' '{' '    return one() + (eng != 0);' '}' | put engine/store/open.c
    lines 'int view_get(void);' | put engine/tree/view.h
    lines '#include "engine.h"' '#include "tree/view.h"' 'static int one(void)' '{' '    return 1;' '}' \
        'int view_get(void)' '{' '    return one();' '}' | put engine/tree/view.c
    lines 'struct session;' 'int reply(struct session *s);' | put fs/reply.h
    lines '#include "reply.h"' '#include "engine.h"' '#include <fuse3/fuse_lowlevel.h>' 'int reply(struct session *s)' '{' '    return !s;' '}' | put fs/reply.c
    lines 'int nodes_get(void);' | put fs/control/nodes.h
    lines '#include "control/nodes.h"' '#include "reply.h"' 'int nodes_get(void)' '{' '    return reply(0);' '}' | put fs/control/nodes.c
    lines '#include "control/nodes.h"' 'int main(void)' '{' '    return nodes_get();' '}' | put fs/main.c
    lines 'int buf_add(void);' | put tools/shared/buf.h
    lines '#include "shared/buf.h"' 'int buf_add(void)' '{' '    return 0;' '}' | put tools/shared/buf.c
    lines 'int copy(void);' | put tools/ctl/transfer/copy.h
    lines '#include "ctl/transfer/copy.h"' '#include "shared/buf.h"' 'int copy(void)' '{' '    return buf_add();' '}' | put tools/ctl/transfer/copy.c
    lines '#include "ctl/transfer/copy.h"' '#include "engine.h"' 'int main(void)' '{' '    return copy() + eng_open(0);' '}' | put tools/ctl/main.c
    lines '#include "shared/buf.h"' 'int main(void)' '{' '    return buf_add();' '}' | put tools/gateway/main.c
}

# fault NAME FILE:LINE REGEX: rooms finds just that in the tree. The next one begins with a clean tree.
fault() {
    local out status
    out=$(dev rooms "$T" 2>&1)
    status=$?
    if [ $status -eq 1 ] && [ "$(wc -l <<<"$out")" -eq 1 ] && [[ $out == "$2: "* ]] && grep -qE -- "$3" <<<"$out"; then
        ok "rooms: $1"
    else
        not_ok "rooms: $1" "expected status 1 and '$2: … $3', got $status and: $(head -n 5 <<<"$out")"
    fi
    clean_tree
}

# ---- rooms: what is no fault
write_clean_tree
cp -r "$T" "$WORK/clean"
check_equal "rooms: a clean tree, with comments, strings, members, locals and statics that look like calls" "0: " \
    "$(
        out=$(dev rooms "$T" 2>&1)
        echo "$?: $out"
    )"
lines '#include "engine.h"' >>"$T/engine/base/util.h"
check "rooms: any file of the engine includes engine.h" dev rooms "$T"
clean_tree
rm -rf "$T/engine" "$T/fs" "$T/tools"
check_fails "rooms: a folder without sources is an error" "no C sources" dev rooms "$T"

# ---- rooms: includes
clean_tree
lines '' '#include "commit/flush.h"' >>"$T/engine/index/btree.h"
fault "an include upwards, and the circle that it closes" engine/index/btree.h:9 \
    'includes "commit/flush.h": upwards, engine/index -> engine/commit, a circle: engine/index -> engine/commit -> engine/index$'
lines '#include "upkeep/full_disk.h"' >>"$T/engine/index/btree.h"
lines 'struct full_disk;' | put engine/upkeep/full_disk.h
fault "an include upwards without a circle" engine/index/btree.h:8 'upwards, engine/index -> engine/upkeep$'
lines '#include "tree/view.h"' >>"$T/engine/store/open.c"
fault "an include aside" engine/store/open.c:12 'includes "tree/view.h": aside, engine/store -> engine/tree$'
lines '#include "io.h"' >>"$T/engine/disk/io.c"
fault "an include without its room, in the same folder" engine/disk/io.c:14 'includes "io.h" without its room: "disk/io.h"'
lines '#include "../disk/io.h"' >>"$T/engine/index/btree.c"
fault "an include by way of .." engine/index/btree.c:28 'without its room: "disk/io.h"'
lines '#include "../shared/buf.h"' >>"$T/tools/gateway/main.c"
fault "the same in tools/" tools/gateway/main.c:6 'without its room: "shared/buf.h"'
lines '#include "nodes.h"' >>"$T/fs/control/nodes.c"
fault "the same in fs/" fs/control/nodes.c:7 'without its room: "control/nodes.h"'
lines '#include "index/lost.h"' >>"$T/engine/index/btree.c"
fault "an include of nothing" engine/index/btree.c:28 'no such header'
lines '#include <fuse3/fuse_lowlevel.h>' >>"$T/engine/disk/io.c"
fault "FUSE in the engine" engine/disk/io.c:14 'engine/ knows nothing of FUSE'
lines '#include "reply.h"' >>"$T/engine/tree/view.c"
fault "fs/ in the engine" engine/tree/view.c:11 'includes "reply.h": upwards, engine -> fs'
lines '#include "shared/buf.h"' >>"$T/engine/tree/view.c"
fault "tools/ in the engine" engine/tree/view.c:11 'upwards, engine -> tools'
lines '#include "reply.h"' >>"$T/tools/gateway/main.c"
fault "fs/ in tools/" tools/gateway/main.c:6 'aside, tools -> fs'
lines '#include "tree/view.h"' >>"$T/fs/reply.c"
fault "an inner header of the engine in fs/" fs/reply.c:8 'fs/ includes nothing of engine/ but engine.h, admin.h and guarded.h'
lines '#include "disk/io.h"' >>"$T/tools/shared/buf.c"
fault "an inner header of the engine in tools/" tools/shared/buf.c:6 'tools/ includes nothing of engine/'
lines '#include "base/util.h"' >>"$T/engine/engine.h"
fault "an inner header in engine.h" engine/engine.h:12 'a public header uses nothing of the rooms'

# ---- rooms: calls and names
lines 'int up(void)' '{' '    return' '        commit_all(0, 0);' '}' >>"$T/engine/index/btree.c"
fault "a call upwards" engine/index/btree.c:31 'calls commit_all\(\) \(engine/commit/flush.c\): upwards, engine/index -> engine/commit'
lines '#include "engine.h"' 'int up(void)' '{' '    return eng_ask(0);' '}' >>"$T/engine/disk/io.c"
fault "a call upwards by way of an inline one" engine/disk/io.c:17 'calls eng_ask\(\) \(engine/store/ask.c\): upwards'
lines 'static int (*const table[])(int (*)(void *), void *) = {' '    commit_all,' '};' >>"$T/engine/index/btree.c"
fault "a table of functions upwards" engine/index/btree.c:29 'names commit_all \(engine/commit/flush.c\): upwards'
lines '#define SYNC(a) (twice(a) + flush(a))' >>"$T/engine/index/btree.h"
fault "a macro that calls upwards" engine/index/btree.h:8 'calls flush\(\)'
lines '#define CALL(x) commit_##x(0, 0)' 'int up(void) { return CALL(all); }' >>"$T/engine/index/btree.c"
fault "a call whose name is pasted" engine/index/btree.c:29 'calls commit_all\(\)'
lines 'int view_get(void);' 'int aside(void)' '{' '    return view_get();' '}' >>"$T/engine/store/open.c"
fault "a call aside" engine/store/open.c:15 'calls view_get\(\) \(engine/tree/view.c\): aside, engine/store -> engine/tree'
lines 'int reply(void *s);' 'int up(void)' '{' '    return reply(0);' '}' >>"$T/engine/tree/view.c"
fault "a call of fs/ in the engine" engine/tree/view.c:14 'upwards, engine -> fs'
lines 'int nodes_get(void);' 'int up(void)' '{' '    return nodes_get();' '}' >>"$T/fs/reply.c"
fault "a call upwards in fs/, where rooms are lists of files" fs/reply.c:11 'upwards, fs/helpers -> fs/control'
lines 'int copy(void);' 'int aside(void)' '{' '    return copy();' '}' >>"$T/tools/gateway/main.c"
fault "a call aside in tools/" tools/gateway/main.c:9 'aside, tools/gateway -> tools/ctl/transfer'
lines 'int view_get(void);' 'int in(void)' '{' '    return view_get();' '}' >>"$T/fs/main.c"
fault "a call in fs/ of what is not in engine.h" fs/main.c:9 'calls view_get\(\) .*not in engine.h, admin.h or guarded.h'

# ---- rooms: circles of files
lines '#include "index/apply.h"' 'int ring(void)' '{' '    return apply();' '}' >>"$T/engine/index/btree.c"
lines 'int apply(void);' | put engine/index/apply.h
lines '#include "index/apply.h"' 'int btree_get(int key);' 'int apply(void)' '{' '    return btree_get(1);' '}' | put engine/index/apply.c
fault "a circle of calls between two files of a room" engine/index/apply.c:5 \
    'a circle in engine/index: apply -> btree -> apply: engine/index/apply.c:5 calls btree_get\(\); engine/index/btree.c:28 includes "index/apply.h"$'
lines '#include "index/b.h"' | put engine/index/a.h
lines '#include "index/c.h"' | put engine/index/b.h
lines '#include "index/a.h"' | put engine/index/c.h
fault "a circle of includes between three" engine/index/a.h:1 'a circle in engine/index: a -> b -> c -> a'
lines 'int get(void);' 'int attr(void)' '{' '    return get();' '}' | put fs/attr.c
lines 'int attr(void);' 'int get(void)' '{' '    return attr();' '}' | put fs/dir.c
fault "a circle in fs/" fs/attr.c:4 'a circle in fs/requests: attr -> dir -> attr'

# ---- rooms: places and sizes
lines 'struct a;' | put engine/attic/a.h
fault "a file in a folder that is no room" engine/attic/a.h:1 'belongs to no room'
lines 'struct a;' | put engine/a.c
fault "a file in engine/ itself" engine/a.c:1 'belongs to no room'
lines 'struct a;' | put fs/odd.c
fault "a file of fs/ that is in no list" fs/odd.c:1 'belongs to no room'
lines 'struct a;' | put tools/odd.c
fault "a file in tools/ itself" tools/odd.c:1 'belongs to no room'
yes '' | head -n 800 | put engine/base/long.c
check "rooms: a file of 800 lines" dev rooms "$T"
lines '' >>"$T/engine/base/long.c"
fault "a file of 801" engine/base/long.c:801 'the file has 801 lines, more than 800'
body() { # LINES of a function
    lines '__attribute__((noinline)) static int' 'long_one(int a,' '    int b)' '{'
    yes '    a++;' | head -n $(($1 - 5))
    lines '}'
}
body 56 | put engine/base/long.c
check "rooms: a function of 56 lines" dev rooms "$T"
(
    lines '' ''
    body 57
) | put engine/base/long.c
check_equal "rooms: --sizes" "  57 long_one                         engine/base/long.c:3" "$(dev rooms --sizes "$T" | head -n 1)"
fault "a function of 57" engine/base/long.c:3 'long_one\(\) has 57 lines, more than 56'

# ---- rooms: whatever form a definition takes
put engine/commit/forms.c <<'C'
#include "commit/forms.h"
int f_plain(void) { return 0; }
__attribute__((format(printf, 1, 2))) int f_attribute(const char *format,
                                                      ...)
{
    return 0;
}
API struct node *f_api(void)
{
    return 0;
}
PRINTF(1, 2) int f_printf(const char *format, ...)
{
    return 0;
}
void (*f_returns(int a))(void)
{
    return 0;
}
DEFINE_GETTER(size)
#define DEFINE(name, n) int f_x_##name(void) { return n; }
LIST(DEFINE)
#ifdef HAVE_A
int f_branch(int a)
{
#else
int f_branch(long a)
{
#endif
    return 0;
}
int f_a, *f_b = 0, f_c[2] = {1, 2};
const struct { int a; } f_table[] = {{1}, {2}};
void (*f_hook)(int a);
_Thread_local unsigned f_local;
static int f_hidden(void)
{
    return 0;
}
extern int f_extern;
typedef int f_type(void);
static_assert(sizeof(struct node) == 1, "f_assert");
C
put engine/commit/forms.h <<'C'
#define API __attribute__((visibility("default")))
#define PRINTF(a, b) __attribute__((format(printf, a, b)))
#define DEFINE_GETTER(name)    \
    int f_get_##name(void)     \
    {                          \
        return 0;              \
    }
#define LIST(M) M(one, 1) M(two, 2)
C
FORMS="f_a f_api f_attribute f_b f_branch f_c f_get_size f_hook f_local f_plain f_printf f_returns f_table f_x_one f_x_two"
{
    for form in $FORMS f_hidden f_type f_assert f_extern; do echo "extern int $form();"; done
    for form in $FORMS f_hidden f_type f_assert f_extern; do echo "int use_$form(void) { return g($form); }"; done
} | put engine/index/uses.c
check_equal "rooms: definitions of all forms are known, and nothing else is taken for one" "$FORMS" \
    "$(dev rooms "$T" | sed -n 's/^engine.index.uses.c:[0-9]*: names \(f_[a-z_]*\) .*upwards.*/\1/p' | sort | xargs)"
clean_tree

# ---- rooms: what it shows
check_equal "rooms: --graph" "engine/index           -> engine/disk               1 includes    2 mentions" \
    "$(dev rooms --graph "$T" | grep '^engine/index')"
lines '#include "index/btree.h"' 'int apply(void)' '{' '    return btree_get(1);' '}' | put engine/index/apply.c
check_equal "rooms: --files" "apply            -> btree            include  btree_get" "$(dev rooms --files index "$T")"
check_fails "rooms: --files of no room" "no files in a room attic; there are: engine/base," dev rooms --files attic "$T"
own_tree() { # quickly, from anywhere, and whatever it finds
    local status
    cd / && timeout 30 "$DEV/rooms" >"$WORK/own"
    status=$?
    [ $status -le 1 ] && { [ $status -eq 0 ] || [ -s "$WORK/own" ]; }
}
check "rooms: of the tree that it is in" own_tree
check_equal "rooms: it leaves nothing behind" "" "$(find "$DEV" -name __pycache__)"

# ---- dialect
D=$WORK/dialect.out
# rule NAME RULE LINES: what dialect finds in tools/shared/d.c, as 'line line'
rule() {
    local status
    dev dialect --rules "$2" "$T" >"$D"
    status=$?
    check_equal "dialect: $1" "$3" "$(sed -n "s/^tools.shared.d.c:\([0-9]*\): $2: .*/\1/p" "$D" | xargs)"
    check_equal "dialect: $1, counted" "# $2 $(wc -w <<<"$3"), $((${#3} > 0))" "$(tail -n 1 "$D"), $status"
}
rm -rf "$T"
put tools/shared/d.c <<'C'
/* one line */
/* two
 * lines */
/*
 * with an end of its own
 */
int a; /* behind
        */
const char *s = "/*\n*/";
C
rule "*/ alone" comment "6 8"
put tools/shared/d.c <<'C'
struct x {
    int a; /* short */
    int b; /* long, and
              longer */
    /* above,
     * as it should be */
    int c;
};
int d; /* no field,
          this one */
C
rule "long comments behind fields" trailing 3
put tools/shared/d.c <<'C'
#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define SIZE sizeof(buf)
typedef struct { int a; } plain;
int f(void)
{
    g(sizeof(struct x), sizeof(uint64_t), sizeof(char *), sizeof x, sizeof *x, sizeof(a + b), sizeof(const int));
    g(sizeof(struct x *), sizeof(((struct x *)0)->a), "sizeof(x)", sizeof(fuse_ino_t));
    g(sizeof(x));
    g(sizeof(*x));
    g(sizeof(x->y.z[3]), sizeof(x[0]));
}
C
rule "sizeof" sizeof "2 8 9 10 10"
put tools/shared/d.c <<'C'
bool f(void)
{
    if (r == 0 && a)
        return p == NULL;
    while (q->p != NULL)
        n += p != NULL;
    if (x == 0 || a->r == 0 || strcmp(a, b) == 0 || !p || n == r)
        return g(a, b) != NULL;
    ok = a && f(p) != NULL;
    if (err != 0)
        made = r == 0;
    return p != NULL ? a : "r == 0";
}
C
rule "comparisons with nothing" zero "3 4 5 9 10 11 12"
put tools/shared/d.c <<'C'
#define GET(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
int f(void)
{
    atomic_load(&a); /* not __atomic_load_n() */
    return __sync_fetch_and_add(&a, 1);
}
C
rule "builtins" atomic "1 5"
put tools/shared/d.c <<'C'
#define MAX(a, b) ((a) > (b) ? (a) : (b))
int f(void)
{
    int r = a ? b : c;
    struct x x = {.a = r ? 1 : 2, .b = r ? 3 : 4, g(a ? b : c)};
    for (r = a ? 1 : 2; r < (b ? 1 : 2); r++)
        g(a ? 1 : 2,
          b ? 1 : 2);
    h((struct x){.a = r ? 1 : 2, .b = r ? 1 : 2}, "a ? b : c ? d : e");
    return a ? 1 : b ? 2 : c ? 3 : 4;
}
C
rule "more than one ?:" ternary "8 10"
put tools/shared/d.c <<'C'
int f(int err, int *ret)
{
    int r = g(), error = 0;
    int err = g();
    for (;;) {
        int a, rc = 1;
        struct ret ret;
        err = h(int_ret);
    }
}
C
rule "results by other names" result "4 6"
check_fails "dialect: no such rule" "no rule nothing; there are: comment" dev dialect --rules nothing "$T"

# ---- a repository
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t
R=$WORK/repo T=$WORK/repo
git init -q "$R"
repo() { git -C "$R" "$@"; }
commit() { repo add -A && repo commit -q --allow-empty -m "$1"; }
LONG=$(printf 'x%.0s' {1..73})
put tools/shared/d.c </dev/null
commit "before: $LONG"
repo tag before
commit "${LONG%x}"
check "dialect: a subject of 72 characters" dev dialect --commits before "$R"
commit "$LONG"
check_equal "dialect: one of 73, and none from before" "1 # comment 0, trailing 0, sizeof 0, zero 0, atomic 0, ternary 0, result 0, subject 1" \
    "$(dev dialect --commits before "$R" | grep -c ': subject: 73 characters: xxx') $(dev dialect --commits before "$R" | tail -n 1)"
BEFORE=$(repo rev-parse before)
git clone -q --depth 2 "file://$R" "$WORK/shallow"
check_equal "dialect: in a clone that is too shallow to know the revision" "1" \
    "$(dev dialect --commits "$BEFORE" "$WORK/shallow" | grep -c ': subject: ')"
git clone -q "$R" "$WORK/fresh"
check_equal "dialect: in a fresh clone" "1" "$(dev dialect --commits "$BEFORE" "$WORK/fresh" | grep -c ': subject: ')"
check "dialect: what is no repository has no subjects" \
    env GIT_CEILING_DIRECTORIES="$WORK" timeout 60 "$DEV/dialect" --rules subject --commits "$BEFORE" "$WORK"

# ---- moves
function_of() { # NAME WORD: twelve lines that are like no other's
    lines "$3int $1(struct $2 *$2, const char *name)" '{' "    int r = ${2}_begin($2);" "    for (size_t i = 0; !r && i < $2->n_$2; i++)" \
        "        if (${2}_matches($2->$2[i], name))" "            r = ${2}_note($2, i, \"$2\");" '    if (r == -ENOENT)' "        r = ${2}_missing($2);" \
        "    ${2}_end($2);" '    return r;' '}'
}
big() { # NAME: of two halves
    lines "void $1(struct eng *eng)" '{'
    half_one
    half_two
    lines '}'
}
half_one() { lines '    uint64_t total = eng->used + eng->lost;' '    pthread_mutex_lock(&eng->lock);' '    while (total > eng->most && drop_oldest(eng, &total))' '        eng->dropped++;' '    pthread_mutex_unlock(&eng->lock);'; }
half_two() { lines '    struct report report = {.kind = REPORT_SPACE, .bytes = eng->dropped};' '    if (eng->opt.on_report)' '        eng->opt.on_report(eng->opt.arg, &report);' '    snprintf(eng->line, sizeof eng->line, "%u dropped", eng->dropped);'; }
rm -rf "$R/tools"
{
    function_of stays apple ''
    function_of moves banana ''
    function_of old_name cherry ''
    function_of moves_renamed date ''
    function_of listed elder ''
    function_of merged fig ''
    big splits
    lines 'void vanishes(void)' '{' '    puts("x");' '}'
    lines 'int long_gone(int a, int b)' '{' '    return a << 3 ^ (b - 1) * 77 + a % 5;' '}'
} | put engine/a.c
{
    function_of twin grape 'static '
    function_of first guava ''
} | put engine/b.c
{
    function_of twin lemon 'static '
    function_of second lime ''
} | put engine/c.c
commit old
repo tag old
repo mv -f engine/b.c engine/twin_b.c
mkdir "$R/engine/core"
repo mv -f engine/c.c engine/core/z.c
{
    function_of stays apple ''
    function_of new_name cherry '' | sed 's/cherry_note/cherry_remember/; s/\bi\b/at/g'
    function_of unlike_anything elder '' | sed 's/elder/x/g; /for/,/note/d'
    lines 'void one(struct eng *eng)' '{'
    half_one
    lines '}' 'void two(struct eng *eng)' '{'
    half_two
    lines '}'
    function_of whole fig '' | sed '$d'
    lines '    eng_other_things(1, 2);' '    return fig ? fig->more : 0;' '}'
} | put engine/a.c
{
    function_of moves banana ''
    function_of quite_new_place date ''
    function_of added kiwi ''
} | put engine/core/d.c
lines '# what cannot be seen' 'listed unlike_anything' 'long_gone -' | put tools/dev/renames.txt
commit new
repo tag new
dev moves --top "$R" old new >"$WORK/moves.md"
check_equal "moves: each function and where it is" "| engine/a.c | \`listed\` | | \`unlike_anything\` |
| engine/a.c | \`long_gone\` | | gone |
| engine/a.c | \`merged\` | | \`whole\` |
| engine/a.c | \`moves\` | engine/core/d.c | |
| engine/a.c | \`moves_renamed\` | engine/core/d.c | \`quite_new_place\` |
| engine/a.c | \`old_name\` | | \`new_name\` |
| engine/a.c | \`splits\` | | split into \`one\` in engine/a.c, \`two\` in engine/a.c |
| engine/a.c | \`vanishes\` | | gone |
| engine/b.c | \`first\` | engine/twin_b.c | |
| engine/b.c | \`twin\` | engine/twin_b.c | |
| engine/c.c | \`second\` | engine/core/z.c | |
| engine/c.c | \`twin\` | engine/core/z.c | |" "$(grep '^| engine' "$WORK/moves.md")"
check_equal "moves: the summary" "13 functions: 1 where they were, 5 moved, 3 renamed, 1 moved and renamed, 1 split, 0 merged, 2 gone. 3 are new." \
    "$(tail -n 1 "$WORK/moves.md")"
check_equal "moves: against the work tree, and the same each time" \
    "$(sed 's/From old to new\./From old to the work tree./' "$WORK/moves.md")" "$(dev moves --top "$R" old)"
{
    lines 'static int host(struct fig *fig)' '{' '    int more = prepare_everything(fig);'
    half_one
    half_two
    function_of x grape '' | sed '1,2d; $d'
    half_one
    lines '}'
} | put engine/merged.c
repo rm -q --cached engine/twin_b.c && rm "$R/engine/twin_b.c"
check "moves: a function that is part of another" grep -qF "| engine/b.c | \`twin\` | | merged into \`host\` in engine/merged.c |" <(dev moves --top "$R" old)
check_fails "moves: no such revision" "moves: git" dev moves --top "$R" nothing
lines 'one two three' | put tools/dev/renames.txt
check_fails "moves: a list that cannot be read" "renames.txt:1: not" dev moves --top "$R" old
if git -C "$ROOT" rev-parse -q --verify HEAD >/dev/null 2>&1; then
    dev moves HEAD HEAD >"$WORK/same.md"
    check_equal "moves: a revision compared with itself has no table" "0 0 moved, 0 renamed" \
        "$(grep -c '^|' "$WORK/same.md") $(grep -o '0 moved, 0 renamed' "$WORK/same.md")"
else
    skip "moves: a revision compared with itself" "not a git tree"
fi
t_end
