"""csource.py - as much of C as tools/dev/rooms, moves and dialect need, without a compiler.

scan() cuts a text into tokens, includes, macros and comments. parse() finds what stands at file scope: function
definitions, variables, and which names are used where. It is no preprocessor: both branches of an #if that it
cannot decide are read (of two that open different braces only the first), and a function-like macro is expanded
only at file scope, where it may define a function, or where it pastes a name together.
"""
import os
import re
from typing import Iterator, NamedTuple, Optional

Token = tuple[str, int]  # text and line

_PART = (r'/\*.*?\*/|//(?:\\\n|[^\n])*|"(?:\\.|[^"\\\n])*"|' r"'(?:\\.|[^'\\\n])*'")
_CODE = (
    _PART + r'|[A-Za-z_]\w*|\.?\d(?:[eEpP][+-]|[\w.])*|\.\.\.|->|\+\+|--|<<=|>>=|##|&&|\|\||[-+*/%&|^!=<>]=|<<|>>|[^\s\\]')
TOKEN = re.compile(_CODE, re.S)
TOKEN_OR_DIRECTIVE = re.compile(r'^[ \t]*\#(?:' + _PART + r'|\\.|[^\n\\])*|' + _CODE, re.S | re.M)
KEYWORDS = frozenset(
    'auto break case char const continue default do double else enum extern float for goto if inline int long '
    'register restrict return short signed sizeof static struct switch typedef union unsigned void volatile '
    'while _Bool _Thread_local _Atomic _Noreturn _Static_assert static_assert bool'.split())
# Of these `(` does not begin parameters.
ATTRIBUTES = frozenset('__attribute__ __declspec _Alignas alignas __typeof__ typeof __asm__ _Atomic'.split())
TYPE_WORDS = frozenset('char const double enum extern float int long register restrict short signed static '
                       'struct union unsigned void volatile _Bool _Thread_local _Atomic bool'.split())
EXPANSIONS_MAX = 100000


class Include(NamedTuple):
    line: int
    system: bool
    name: str


class Comment(NamedTuple):
    line: int
    text: str
    trailing: bool  # something stands before it on its line


class Macro(NamedTuple):
    name: str
    line: int
    params: Optional[list[str]]  # None: not function-like
    body: list[Token]


class Function(NamedTuple):
    name: str
    line: int
    end: int
    private: bool  # static or inline
    head: list[Token]
    body: list[Token]


class Use(NamedTuple):
    name: str
    line: int
    called: bool


class Source:
    """The parts of a text."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.includes: list[Include] = []
        self.macros: list[Macro] = []
        self.comments: list[Comment] = []
        self.lines = 0


def is_name(text: str) -> bool:
    return (text[0].isalpha() or text[0] == '_') and text not in KEYWORDS


# ---- scanning ----------------------------------------------------------------------------


class _Branch:
    """An #if whose #endif is still to come."""

    def __init__(self, truth: Optional[bool], parent_off: bool) -> None:
        self.parent_off = parent_off
        self.taken = truth is True
        self.off = parent_off or truth is False
        self.kept_one = not self.off
        self.later: Optional[int] = None  # where the tokens of a second branch begin

    def next(self, truth: Optional[bool], at: int) -> None:
        self.off = self.parent_off or self.taken or truth is False
        self.taken = self.taken or truth is True
        self.later = at if self.kept_one and not self.off else None
        self.kept_one = self.kept_one or not self.off


def _truth(word: str, rest: str) -> Optional[bool]:
    """What is known of a condition: these are no C++ files."""
    rest = ' '.join(rest.split())
    if word in ('ifdef', 'ifndef'):
        return (word == 'ifndef') if rest == '__cplusplus' else None
    return {'0': False, '1': True, 'defined(__cplusplus)': False, '!defined(__cplusplus)': True}.get(rest)


def _balanced(tokens: list[Token]) -> bool:
    count = {c: 0 for c in '(){}'}
    for text, _ in tokens:
        if text in count:
            count[text] += 1
    return count['('] == count[')'] and count['{'] == count['}']


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.source = Source()
        self.branches: list[_Branch] = []

    def off(self) -> bool:
        return bool(self.branches) and self.branches[-1].off

    def run(self) -> Source:
        line, last, text = 1, 0, self.text
        self.source.lines = text.count('\n') + (not text.endswith('\n') and text != '')
        for match in TOKEN_OR_DIRECTIVE.finditer(text):
            start = match.start()
            line += text.count('\n', last, start)
            last = start
            token = match.group()
            if token.startswith(('/*', '//')):
                self.comment(token, line, start)
            elif token.lstrip(' \t').startswith('#') and token != '##':
                self.directive(token, line, start)
            elif not self.off():
                self.source.tokens.append((token, line))
        return self.source

    def comment(self, token: str, line: int, start: int) -> None:
        before = self.text[self.text.rfind('\n', 0, start) + 1:start]
        self.source.comments.append(Comment(line, token, bool(before.strip())))

    def directive(self, token: str, line: int, start: int) -> None:
        found = re.match(r'\s*#\s*(\w*)', token)
        assert found
        word, rest = found.group(1), token[found.end():]
        rest_line = line + token.count('\n', 0, found.end())
        body = self.directive_tokens(rest, rest_line, start + found.end())
        if word in ('if', 'ifdef', 'ifndef'):
            self.branches.append(_Branch(_truth(word, _join(body)), self.off()))
        elif word in ('elif', 'else', 'endif') and self.branches:
            self.end_of_branch(word, _join(body))
        elif not self.off() and word == 'include':
            self.include(rest, line)
        elif not self.off() and word == 'define':
            self.define(rest, line, body)

    def directive_tokens(self, rest: str, line: int, start: int) -> list[Token]:
        tokens, last = [], 0
        for match in TOKEN.finditer(rest):
            line += rest.count('\n', last, match.start())
            last = match.start()
            if match.group().startswith(('/*', '//')):
                self.comment(match.group(), line, start + match.start())
            else:
                tokens.append((match.group(), line))
        return tokens

    def end_of_branch(self, word: str, rest: str) -> None:
        branch, tokens = self.branches[-1], self.source.tokens
        if branch.later is not None and not _balanced(tokens[branch.later:]):
            del tokens[branch.later:]
        branch.later = None
        if word == 'endif':
            self.branches.pop()
        else:
            branch.next(_truth('if', rest) if word == 'elif' else None, len(tokens))

    def include(self, rest: str, line: int) -> None:
        found = re.match(r'\s*(["<])([^">]+)', rest)
        if found:
            self.source.includes.append(Include(line, found.group(1) == '<', found.group(2).strip()))

    def define(self, rest: str, line: int, body: list[Token]) -> None:
        found = re.match(r'\s*(\w+)(\(?)', rest)
        if not found or not body:
            return
        params = None
        body = body[1:]
        if found.group(2):
            end = matching(body, 0)
            params = [t for t, _ in body[1:end] if t != ',']
            body = body[end + 1:]
        self.source.macros.append(Macro(found.group(1), line, params, body))


def _join(tokens: list[Token]) -> str:
    return ''.join(t for t, _ in tokens)


def scan(text: str) -> Source:
    return _Scanner(text).run()


# ---- macros ---------------------------------------------------------------------------------


class Macros:
    """The macros that a file may use: its own, and those of all other files."""

    def __init__(self, own: list[Macro], others: dict[str, Macro]) -> None:
        self.own: dict[str, list[Macro]] = {}
        for macro in own:
            self.own.setdefault(macro.name, []).append(macro)
        self.others = others

    def get(self, name: str, line: int) -> Optional[Macro]:
        own = self.own.get(name)
        if not own:
            return self.others.get(name)
        return next((m for m in reversed(own) if m.line <= line), own[0])

    def call(self, tokens: list[Token], i: int) -> Optional[Macro]:
        """The function-like macro that is used at tokens[i], if one is."""
        if i + 1 >= len(tokens) or tokens[i + 1][0] != '(':
            return None
        macro = self.get(*tokens[i])
        return macro if macro and macro.params is not None else None


def _arguments(tokens: list[Token], first: int, end: int) -> list[list[Token]]:
    out: list[list[Token]] = [[]]
    depth = 0
    for token in tokens[first:end]:
        depth += (token[0] in '([{') - (token[0] in ')]}')
        if token[0] == ',' and not depth:
            out.append([])
        else:
            out[-1].append(token)
    return out


def expand(macro: Macro, tokens: list[Token], i: int) -> tuple[list[Token], int]:
    """What the use of a macro at tokens[i] stands for, on the line of the use, and where that use ends."""
    end = matching(tokens, i + 1)
    line = tokens[i][1]
    given = _arguments(tokens, i + 2, end)
    params = macro.params or []
    bound = dict(zip(params, given))
    if params and params[-1] == '...':
        bound['__VA_ARGS__'] = [t for a in given[len(params) - 1:] for t in a + [(',', line)]][:-1]
    out: list[Token] = []
    paste = False
    for text, _ in macro.body:
        if text == '##':
            paste = True
            continue
        piece = [t for t, _ in bound.get(text, [(text, 0)])]
        if paste and out and piece:
            piece[0] = out.pop()[0] + piece[0]
        paste = False
        out += [(t, line) for t in piece]
    return out, end + 1


def _makes_names(macro: Macro) -> bool:
    """It pastes, or calls a macro that it was given."""
    body = macro.body
    return any(t == '##' or (t in (macro.params or []) and i + 1 < len(body) and body[i + 1][0] == '(')
               for i, (t, _) in enumerate(body))


def with_pasted(tokens: list[Token], macros: Macros) -> list[Token]:
    """The tokens, and behind them what macros among them that make names stand for."""
    out, todo, rounds = list(tokens), list(tokens), 0
    while todo and rounds < 8:
        rounds += 1
        found: list[Token] = []
        for i, token in enumerate(todo):
            macro = macros.call(todo, i)
            if macro and _makes_names(macro):
                found += [(';', token[1])] + expand(macro, todo, i)[0]
        out += found
        todo = found
    return out


# ---- what stands at file scope ---------------------------------------------------------------


def matching(tokens: list[Token], i: int) -> int:
    """Where the bracket at tokens[i] is closed; the last token if nowhere."""
    opens = tokens[i][0]
    closes = {'(': ')', '{': '}', '[': ']'}[opens]
    depth = 0
    for j in range(i, len(tokens)):
        text = tokens[j][0]
        if text == opens:
            depth += 1
        elif text == closes:
            depth -= 1
            if not depth:
                return j
    return len(tokens) - 1


class Item:
    """A declaration or definition: what stands before a body or `;`, and what stands between its braces."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []  # without what is between braces, of which `{` remains
        self.bodies: list[list[Token]] = []
        self.end = 0

    def texts(self) -> list[str]:
        return [t for t, _ in self.tokens]


def without_attributes(tokens: list[Token], macros: Macros) -> list[Token]:
    out: list[Token] = []
    i = 0
    while i < len(tokens):
        text = tokens[i][0]
        group = i + 1 < len(tokens) and tokens[i + 1][0] == '('
        if group and (text in ATTRIBUTES or (is_name(text) and macros.call(tokens, i))):
            i = matching(tokens, i + 1)
        else:
            out.append(tokens[i])
        i += 1
    return out


def declarator(tokens: list[Token]) -> tuple[str, bool]:
    """The name that is declared, and whether it is a function's; '' if there is none."""
    name = ''
    for i, (text, _) in enumerate(tokens):
        if text == '(' and name:
            return name, True
        if text == '(':
            inner = tokens[i + 1:matching(tokens, i)]
            if not inner or inner[0][0] != '*':
                return declarator(inner)
            names = [j for j, (t, _) in enumerate(inner) if is_name(t)]
            if not names:
                return '', False
            j = names[0]
            return inner[j][0], j + 1 < len(inner) and inner[j + 1][0] == '('
        if text in '[:{' and name:
            return name, False
        if is_name(text):
            name = text
        elif text == '*' or text in TYPE_WORDS:
            name = ''
    return name, False


def _depth_zero(tokens: list[Token], wanted: str) -> int:
    depth = 0
    for i, (text, _) in enumerate(tokens):
        depth += (text in '([') - (text in ')]')
        if text == wanted and not depth:
            return i
    return -1


def _defines_function(item: Item, macros: Macros) -> bool:
    """Of an item whose last token is the `{` of a body."""
    head = without_attributes(item.tokens[:-1], macros)
    if _depth_zero(head, '=') >= 0 or len(item.bodies) > 1 or any(t == 'typedef' for t, _ in head):
        return False
    return declarator(head)[1]


def items(source: Source, macros: Macros) -> Iterator[Item]:
    tokens, i, item, left = list(source.tokens), 0, Item(), EXPANSIONS_MAX
    while i < len(tokens):
        text, item.end = tokens[i]
        macro = macros.call(tokens, i) if not item.tokens and left else None
        if macro:
            left -= 1
            out, end = expand(macro, tokens, i)
            tokens[i:end] = out
        elif text == ';':
            yield item
            item, i = Item(), i + 1
        elif text == '{' and item.texts() and item.texts()[0] == 'extern' and item.texts()[-1][0] == '"':
            item, i = Item(), i + 1
        elif text == '{':
            end = matching(tokens, i)
            item.tokens.append(tokens[i])
            item.bodies.append(tokens[i + 1:end])
            item.end, i = tokens[end][1], end + 1
            if _defines_function(item, macros):
                yield item
                item = Item()
        elif text == '(':
            end = matching(tokens, i)
            item.tokens += tokens[i:end + 1]
            i = end + 1
        else:
            if text != '}':
                item.tokens.append(tokens[i])
            i += 1
    if item.tokens:
        yield item


class Unit:
    """What a file declares, defines and uses."""

    def __init__(self) -> None:
        self.functions: list[Function] = []
        self.declared: set[str] = set()
        self.defined: dict[str, int] = {}  # with external linkage: the line
        self.private: set[str] = set()     # static or inline
        self.uses: list[Use] = []


def _words(tokens: list[Token], macros: Macros) -> set[str]:
    """The words at depth 0, with those that macros stand for."""
    out, depth = set(), 0
    for text, line in tokens:
        depth += (text in '([') - (text in ')]')
        if depth:
            continue
        out.add(text)
        macro = macros.get(text, line) if is_name(text) else None
        if macro and macro.params is None:
            out.update(t for t, _ in macro.body)
    return out


def _add_function(unit: Unit, item: Item, macros: Macros, header: bool) -> None:
    head, body = item.tokens[:-1], item.bodies[-1]
    name = declarator(without_attributes(head, macros))[0]
    words = _words(head, macros)
    private = 'static' in words or (header and 'inline' in words)
    unit.functions.append(Function(name, head[0][1], item.end, private, head, body))
    unit.declared.add(name)
    if private:
        unit.private.add(name)
    else:
        unit.defined.setdefault(name, head[0][1])
    unit.uses += uses(with_pasted(body, macros), locals_of(head, body))


def _declarators(item: Item) -> Iterator[tuple[list[Token], bool]]:
    """The declarators of a declaration without their initialisers, and whether they had one."""
    rest = list(item.tokens)
    while rest:
        end = _depth_zero(rest, ',')
        one, rest = (rest, []) if end < 0 else (rest[:end], rest[end + 1:])
        value = _depth_zero(one, '=')
        yield (one if value < 0 else one[:value]), value >= 0


def _add_declaration(unit: Unit, item: Item, macros: Macros) -> None:
    words = _words(item.tokens, macros)
    if words & {'typedef', 'static_assert', '_Static_assert'}:
        return
    for tokens, has_value in _declarators(item):
        bare = without_attributes(tokens, macros)
        braces = [i for i, (t, _) in enumerate(bare) if t == '{']
        name, function = declarator(bare[braces[-1] + 1:] if braces else bare)
        aggregate = len(bare) == 2 and bare[0][0] in ('struct', 'union', 'enum')  # struct x;
        if not name or aggregate:
            continue
        unit.declared.add(name)
        if 'static' in words:
            unit.private.add(name)
        elif not function and ('extern' not in words or has_value):
            unit.defined.setdefault(name, tokens[0][1])
    value = _depth_zero(item.tokens, '=')
    if value >= 0:  # bodies before it are of a struct
        skipped = sum(t == '{' for t, _ in item.tokens[:value])
        inner = [t for body in item.bodies[skipped:] for t in body]
        unit.uses += uses(with_pasted(item.tokens[value:] + inner, macros), set())


def parse(source: Source, macros: Macros, header: bool) -> Unit:
    unit = Unit()
    for item in items(source, macros):
        if item.bodies and item.tokens[-1][0] == '{' and _defines_function(item, macros):
            _add_function(unit, item, macros, header)
        elif item.tokens:
            _add_declaration(unit, item, macros)
    for macro in source.macros:
        unit.uses += uses(macro.body, set(macro.params or []))
    return unit


# ---- names that are used ----------------------------------------------------------------------


def _parameters(head: list[Token]) -> set[str]:
    """The names of a function's parameters: any name before a comma, bracket or the end will do."""
    names = set()
    for i, (text, _) in enumerate(head):
        after = head[i + 1][0] if i + 1 < len(head) else ')'
        before = head[i - 1][0] if i else ''
        if is_name(text) and after in ',)[' and (is_name(before) or before == '*' or before in TYPE_WORDS):
            names.add(text)
    return names


def declared_at(tokens: list[Token], i: int) -> set[str]:
    """The variables that a statement beginning at tokens[i] declares; empty if it is no declaration."""
    names: set[str] = set()
    words, last, stars, first = 0, '', False, True
    while i < len(tokens):
        text = tokens[i][0]
        if text == '(' and words and first and i + 1 < len(tokens) and tokens[i + 1][0] == '*':
            names.update(t for t, _ in tokens[i + 2:i + 4] if is_name(t))  # int (*name)(...)
            return names
        if text == '(' and last in ATTRIBUTES or text == '{' and words and not stars and first:
            i = matching(tokens, i)
        elif is_name(text) or text in TYPE_WORDS:
            words, last = words + 1, text
        elif text == '*' and words:
            stars = True
        elif text in ('=', ';', ',', '[', ':') and (words > 1 if first else words) and is_name(last):
            names.add(last)
            i = _next_declarator(tokens, i)
            if i < 0:
                return names
            words, last, first = 0, '', False
        else:
            return names
        i += 1
    return names


def _next_declarator(tokens: list[Token], i: int) -> int:
    """The comma before the next declarator, or -1 at the end of the declaration."""
    while i < len(tokens):
        text = tokens[i][0]
        if text in ('(', '[', '{'):
            i = matching(tokens, i)
        elif text == ',':
            return i
        elif text in (';', ')', '}'):
            return -1
        i += 1
    return -1


def locals_of(head: list[Token], body: list[Token]) -> set[str]:
    names = _parameters(head)
    before = '{'
    for i, (text, _) in enumerate(body):
        starts = before in (';', '{', '}', ':') or (before == '(' and i > 1 and body[i - 2][0] == 'for')
        if starts and (is_name(text) or text in TYPE_WORDS):
            names |= declared_at(body, i)
        before = text
    return names


def uses(tokens: list[Token], hidden: set[str]) -> list[Use]:
    """The names that are used, but for members, tags, labels and those hidden by a local one."""
    out = []
    before = ''
    for i, (text, line) in enumerate(tokens):
        if is_name(text) and text not in hidden and before not in ('.', '->', 'struct', 'union', 'enum', 'goto'):
            after = tokens[i + 1][0] if i + 1 < len(tokens) else ''
            if not (after == ':' and before in ('', ';', '{', '}')):
                out.append(Use(text, line, after == '('))
        before = text
    return out


# ---- trees ---------------------------------------------------------------------------------------


def read_tree(top: str, folders: list[str]) -> dict[str, str]:
    """Path within the tree and text of each C file under these folders."""
    texts = {}
    for folder in folders:
        for where, below, names in os.walk(os.path.join(top, folder)):
            below[:] = sorted(d for d in below if not d.startswith(('.', 'build')))
            for name in sorted(names):
                if name.endswith(('.c', '.h')):
                    path = os.path.join(where, name)
                    with open(path, encoding='utf-8', errors='replace') as file:
                        texts[os.path.relpath(path, top)] = file.read()
    return texts


def parse_all(texts: dict[str, str]) -> tuple[dict[str, Source], dict[str, Unit]]:
    sources = {path: scan(text) for path, text in texts.items()}
    shared: dict[str, Macro] = {}
    for source in sources.values():
        for macro in source.macros:
            shared.setdefault(macro.name, macro)
    units = {path: parse(source, Macros(source.macros, shared), path.endswith('.h'))
             for path, source in sources.items()}
    return sources, units
