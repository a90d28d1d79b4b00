"""Walks the opcodes of one pickle and yields its value as data; calls nothing that it names."""

from collections.abc import Callable
from typing import Any

from invertavatar_jax.convert import allowed
from invertavatar_jax.convert.limits import MAX_INTEGER, MAX_NAME, MAX_OPCODES, MAX_TEXT, Budget
from invertavatar_jax.convert.opcodes import READ, REFUSED
from invertavatar_jax.convert.span import Span
from invertavatar_jax.convert.stack import ENTRY, NUMBER, OBJECT, SLOT, TEXT, Persistent, Stack
from invertavatar_jax.convert.values import Global, Record, Refused

_MAX_PROTOCOL = 5


def run(
    source: Span,
    budget: Budget,
    context: allowed.Context,
    persistent: Persistent | None = None,
) -> Any:
    """Reads one pickle, up to STOP, and returns its value.

    Args:
        source: stands at the pickle's first byte; afterwards it stands behind STOP.
        budget: shared by all pickles of a file.
        context: what the functions of `allowed.FUNCTIONS` may use.
        persistent: gives persistent ids their value; None refuses them.

    Raises:
        Refused: an opcode or a name that is not allowed, or a malformed pickle.
    """
    m, view, handlers = Stack(source, budget, context, persistent), source.view, _HANDLERS
    while True:
        m.at = source.offset
        if source.position >= len(view):
            raise Refused(m.at, "the pickle ends without STOP")
        code = view[source.position]
        source.position += 1
        found = handlers.get(code)
        if found is None:
            raise Refused(m.at, _unknown(code))
        m.name, handler = found
        budget.opcodes -= 1
        if budget.opcodes < 0:
            raise m.refuse(f"comes after the {MAX_OPCODES} opcodes that are read at most")
        if handler is None:
            if len(m.stack) != 1 or m.marks:
                raise m.refuse(f"leaves {len(m.stack)} values where one is expected")
            return m.stack[0]
        handler(m)


def _unknown(code: int) -> str:
    if code in REFUSED:
        return f"opcode {REFUSED[code]} is not allowed in a checkpoint"
    return f"0x{code:02x} is no opcode: the file is damaged or no pickle"


def _constant(value: Any) -> Callable[[Stack], None]:
    return lambda m: m.push(value, 0)


def _number(code: str) -> Callable[[Stack], None]:
    return lambda m: m.push(m.source.number(code, f"opcode {m.name}"), NUMBER)


def _long(code: str) -> Callable[[Stack], None]:
    def read(m: Stack) -> None:
        count = m.source.number(code, f"opcode {m.name}")
        if not 0 <= count <= MAX_INTEGER:
            raise m.refuse(f"declares an integer of {count} bytes; {MAX_INTEGER} is the most")
        data = m.source.take(count, f"opcode {m.name}")
        m.push(int.from_bytes(data, "little", signed=True), NUMBER + count)

    return read


def _text(code: str) -> Callable[[Stack], None]:
    def read(m: Stack) -> None:
        count = m.source.number(code, f"opcode {m.name}")
        text = m.text(count)
        m.push(text, TEXT + (count if text.isascii() else 4 * count))

    return read


def _string(code: str) -> Callable[[Stack], None]:
    """Strings of Python 2, which are names in the files that hold them."""

    def read(m: Stack) -> None:
        count = m.source.number(code, f"opcode {m.name}")
        if not 0 <= count <= MAX_TEXT:
            raise m.refuse(f"declares {count} bytes of text; {MAX_TEXT} is the most")
        data = m.source.take(count, f"opcode {m.name}")
        m.push(bytes(data).decode("latin-1"), TEXT + count)

    return read


def _bytes(code: str) -> Callable[[Stack], None]:
    def read(m: Stack) -> None:
        count = m.source.number(code, f"opcode {m.name}")
        m.push(m.source.blob(count, f"opcode {m.name}"), OBJECT)

    return read


def _proto(m: Stack) -> None:
    version = m.source.number("<B", "opcode PROTO")
    if version > _MAX_PROTOCOL:
        raise m.refuse(f"names protocol {version}; {_MAX_PROTOCOL} is the newest")


def _frame(m: Stack) -> None:
    length = m.source.number("<Q", "opcode FRAME")
    if length > m.source.left:
        raise m.refuse(f"declares {length} bytes where {m.source.left} are left of its part")


def _mark(m: Stack) -> None:
    m.budget.pay(SLOT + NUMBER, m.at, "opcode MARK")
    m.marks.append(len(m.stack))


def _pop(m: Stack) -> None:
    """Python's reader lets POP take a mark off, and so does this one."""
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.pop()


def _dup(m: Stack) -> None:
    value = m.pop()
    m.stack.append(value)
    m.push(value, 0)


def _append(m: Stack) -> None:
    value = m.pop()
    m.budget.pay(SLOT, m.at, "opcode APPEND")
    m.top(list, "a list").append(value)


def _appends(m: Stack) -> None:
    values = m.pop_mark()
    m.budget.pay(SLOT * len(values), m.at, "opcode APPENDS")
    m.top(list, "a list").extend(values)


def _list(m: Stack) -> None:
    values = m.pop_mark()
    m.push(values, TEXT + SLOT * len(values))


def _dict(m: Stack) -> None:
    target: dict[Any, Any] = {}
    m.add_items(target, m.pop_mark())
    m.push(target, TEXT)


def _setitem(m: Stack) -> None:
    value, key = m.pop(), m.pop()
    m.add_items(m.top(dict, "a dictionary"), [key, value])


def _setitems(m: Stack) -> None:
    items = m.pop_mark()
    m.add_items(m.top(dict, "a dictionary"), items)


def _set(m: Stack, values: list[Any]) -> set[Any]:
    m.budget.pay(ENTRY * len(values), m.at, f"opcode {m.name}")
    return {m.key(value) for value in values}


def _additems(m: Stack) -> None:
    values = m.pop_mark()
    m.top(set, "a set").update(_set(m, values))


def _frozenset(m: Stack) -> None:
    m.push(_set(m, m.pop_mark()), OBJECT)


def _tuple(count: int) -> Callable[[Stack], None]:
    def build(m: Stack) -> None:
        values = [m.pop() for _ in range(count)]
        m.push(tuple(reversed(values)), TEXT + SLOT * count)

    return build


def _tuple_mark(m: Stack) -> None:
    values = m.pop_mark()
    m.push(tuple(values), TEXT + SLOT * len(values))


def _put(code: str) -> Callable[[Stack], None]:
    def put(m: Stack) -> None:
        _remember(m, m.source.number(code, f"opcode {m.name}"))

    return put


def _memoize(m: Stack) -> None:
    _remember(m, len(m.memo))


def _remember(m: Stack, index: int) -> None:
    m.budget.pay(ENTRY, m.at, f"opcode {m.name}")
    value = m.pop()
    m.stack.append(value)
    m.memo[index] = value


def _get(code: str) -> Callable[[Stack], None]:
    def get(m: Stack) -> None:
        index = m.source.number(code, f"opcode {m.name}")
        if index not in m.memo:
            raise m.refuse(f"asks for memo entry {index}, which is not there")
        m.push(m.memo[index], 0)

    return get


def _global(m: Stack) -> None:
    module = m.source.line("opcode GLOBAL")
    _push_global(m, module, m.source.line("opcode GLOBAL"))


def _stack_global(m: Stack) -> None:
    name, module = m.pop(), m.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise m.refuse("has a name that is no text")
    _push_global(m, module, name)


def _push_global(m: Stack, module: str, name: str) -> None:
    named = Global(module[:MAX_NAME], name[:MAX_NAME])
    if not allowed.is_allowed(named) or len(module) > MAX_NAME or len(name) > MAX_NAME:
        raise m.refuse(f"names {allowed.shown(named.path)}, which no checkpoint needs")
    m.push(named, OBJECT + 2 * TEXT)


def _newobj(m: Stack) -> None:
    arguments, kind = m.pop(), m.pop()
    if not isinstance(kind, Global) or not isinstance(arguments, tuple):
        raise m.refuse(f"makes an object of {allowed.kind_of(kind)}; expected a class's name")
    if kind.path in allowed.DICTIONARIES:
        if arguments:
            raise m.refuse(f"makes a {kind.path} with arguments")
        m.push({}, TEXT)
    elif allowed.is_record(kind):
        m.push(Record(kind.path, arguments=arguments, offset=m.at), OBJECT)
    else:
        raise m.refuse(f"makes an object of {kind.path}, which is no class of a network")


def _reduce(m: Stack) -> None:
    arguments, function = m.pop(), m.pop()
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise m.refuse(f"calls {allowed.kind_of(function)}; expected a function's name")
    build = allowed.FUNCTIONS.get(function.path)
    if build is None:
        raise m.refuse(f"calls {function.path}, which is not among the functions allowed")
    m.context.at, m.context.name = m.at, f"opcode REDUCE with {function.path}"
    m.push(build(m.context, arguments), OBJECT)


def _build(m: Stack) -> None:
    state = m.pop()
    m.context.at, m.context.name = m.at, "opcode BUILD"
    m.stack.append(allowed.build(m.context, m.pop(), state))


def _binpersid(m: Stack) -> None:
    if m.persistent is None:
        raise m.refuse("names an object outside the file, which this kind of file has none of")
    value = m.pop()
    m.push(m.persistent(value, m.at), OBJECT)


_ACTIONS: dict[str, Callable[[Stack], None] | None] = {
    "PROTO": _proto,
    "FRAME": _frame,
    "STOP": None,
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": lambda m: m.pop_mark() and None,
    "DUP": _dup,
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "BININT": _number("<i"),
    "BININT1": _number("<B"),
    "BININT2": _number("<H"),
    "LONG1": _long("<B"),
    "LONG4": _long("<i"),
    "BINFLOAT": _number(">d"),
    "SHORT_BINUNICODE": _text("<B"),
    "BINUNICODE": _text("<I"),
    "BINUNICODE8": _text("<Q"),
    "SHORT_BINSTRING": _string("<B"),
    "BINSTRING": _string("<i"),
    "SHORT_BINBYTES": _bytes("<B"),
    "BINBYTES": _bytes("<I"),
    "BINBYTES8": _bytes("<Q"),
    "BYTEARRAY8": _bytes("<Q"),
    "EMPTY_LIST": lambda m: m.push([], TEXT),
    "APPEND": _append,
    "APPENDS": _appends,
    "LIST": _list,
    "EMPTY_DICT": lambda m: m.push({}, TEXT),
    "DICT": _dict,
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "EMPTY_SET": lambda m: m.push(set(), OBJECT),
    "ADDITEMS": _additems,
    "FROZENSET": _frozenset,
    "EMPTY_TUPLE": _constant(()),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "TUPLE": _tuple_mark,
    "BINPUT": _put("<B"),
    "LONG_BINPUT": _put("<I"),
    "MEMOIZE": _memoize,
    "BINGET": _get("<B"),
    "LONG_BINGET": _get("<I"),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "NEWOBJ": _newobj,
    "REDUCE": _reduce,
    "BUILD": _build,
    "BINPERSID": _binpersid,
}
_HANDLERS = {code: (name, _ACTIONS[name]) for code, name in READ.items()}
