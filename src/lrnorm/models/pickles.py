"""Python pickles read as data. Nothing is imported and nothing is called.

The standard library's pickletools names each instruction; a small machine carries them out on
stand-ins: a class is its name, a call is the name with its arguments.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from lrnorm.models.found import one_line
from lrnorm.models.source import DamagedError

MOST_INSTRUCTIONS = 3_000_000


@dataclass(eq=False)
class Name:
    """A class or function, which is not imported."""

    name: str


@dataclass(eq=False)
class Thing:
    """A stand-in for the result of a call: the name called, its arguments, and its contents."""

    kind: str
    args: Any = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)

    @property
    def fields(self) -> dict[Any, Any]:
        """The attributes of an instance."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        found: dict[Any, Any] = {}
        for part in parts:
            if isinstance(part, dict):
                found |= part
        return found


@dataclass(eq=False)
class Reference:
    """Something that the pickle keeps outside, such as the storage of a tensor."""

    key: Any


_PUSHED = re.compile(
    r"BININT[12]?|INT|LONG[14]?|(?:SHORT_)?BINSTRING|STRING|(?:SHORT_)?BINUNICODE8?|UNICODE"
    r"|(?:SHORT_)?BINBYTES8?|BYTEARRAY8|(?:BIN)?FLOAT"
)
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def load(file: IO[bytes]) -> Any:
    """The object of one pickle; the file stands behind it afterwards."""
    machine = _Machine()
    try:
        for count, (code, argument, _) in enumerate(pickletools.genops(file)):
            if count > MOST_INSTRUCTIONS:
                raise DamagedError(f"its pickle has more than {MOST_INSTRUCTIONS} instructions")
            if code.name == "STOP":
                return machine.stack.pop()
            machine.run(code.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise DamagedError(f"its pickle breaks the rules of pickles: {one_line(error)}") from None
    raise DamagedError("its pickle has no end")


class _Machine:
    """The stack, the marks and the memo of a pickle. Each method carries out one kind of
    instruction.

    A mark sets the stack aside and begins an empty one, which `since_mark` returns.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        if _PUSHED.fullmatch(name):
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        else:
            action = _ACTIONS.get(name)
            if action is None:
                raise DamagedError(f"its pickle has the instruction {name}, which is not read")
            action(self, argument)

    def push(self, value: Any) -> None:  # looks the stack up when called: a mark replaces it
        self.stack.append(value)

    def drop(self, values: list[Any]) -> None:
        """Forget what was taken."""

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def take(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise DamagedError("its pickle takes more than there is")
        if not count:
            return []
        items, self.stack[-count:] = self.stack[-count:], []
        return items

    def called(self, kind: Any, args: Any) -> None:
        """Push a stand-in for the result of calling `kind`."""
        key = kind.key if isinstance(kind, Reference) else ()
        if isinstance(key, tuple) and key[:1] == ("module",) and len(key) > 1:
            kind = key[1]  # before version 1.6 PyTorch kept a class beside its source text
        name = kind.name if isinstance(kind, Name) else type(kind).__name__
        self.stack.append(Thing(name, args))

    def add(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Thing):
            target.values.extend(items)

    def put(self, items: list[Any]) -> None:
        """Put keys and values, which alternate in `items`, into the dict on top of the stack."""
        target = self.stack[-1]
        place = target.items if isinstance(target, Thing) else target
        if not isinstance(place, dict):
            raise DamagedError("its pickle puts items into what is no dict")
        place.update(zip(items[::2], items[1::2], strict=True))

    def build(self, state: Any) -> None:
        if isinstance(self.stack[-1], Thing):
            self.stack[-1].state = state

    def dict(self, items: list[Any]) -> None:
        self.stack.append({})
        self.put(items)

    def reduce(self) -> None:
        kind, args = self.take(2)
        self.called(kind, args)

    def reduce_with_keywords(self) -> None:
        kind, args, keywords = self.take(3)
        self.called(kind, args)
        self.stack[-1].state = keywords

    def object(self) -> None:
        kind, *args = self.since_mark()
        self.called(kind, tuple(args))


def _joined(text: str) -> Name:
    return Name(".".join(text.split(" ", 1)))


_Action = Callable[[_Machine, Any], None]
_ACTIONS: dict[str, _Action] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "MARK": lambda m, a: m.mark(),
    "POP": lambda m, a: m.drop(m.take(1)),
    "POP_MARK": lambda m, a: m.drop(m.since_mark()),
    "DUP": lambda m, a: m.push(m.stack[-1]),
    "EMPTY_LIST": lambda m, a: m.push([]),
    "EMPTY_DICT": lambda m, a: m.push({}),
    "EMPTY_TUPLE": lambda m, a: m.push(()),
    "EMPTY_SET": lambda m, a: m.push([]),
    "LIST": lambda m, a: m.push(m.since_mark()),
    "FROZENSET": lambda m, a: m.push(m.since_mark()),
    "DICT": lambda m, a: m.dict(m.since_mark()),
    "TUPLE": lambda m, a: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, a: m.push(tuple(m.take(1))),
    "TUPLE2": lambda m, a: m.push(tuple(m.take(2))),
    "TUPLE3": lambda m, a: m.push(tuple(m.take(3))),
    "APPEND": lambda m, a: m.add(m.take(1)),
    "APPENDS": lambda m, a: m.add(m.since_mark()),
    "ADDITEMS": lambda m, a: m.add(m.since_mark()),
    "SETITEM": lambda m, a: m.put(m.take(2)),
    "SETITEMS": lambda m, a: m.put(m.since_mark()),
    "GLOBAL": lambda m, a: m.push(_joined(a)),
    "STACK_GLOBAL": lambda m, a: m.push(Name(".".join(map(str, m.take(2))))),
    "REDUCE": lambda m, a: m.reduce(),
    "NEWOBJ": lambda m, a: m.reduce(),
    "NEWOBJ_EX": lambda m, a: m.reduce_with_keywords(),
    "OBJ": lambda m, a: m.object(),
    "INST": lambda m, a: m.called(_joined(a), tuple(m.since_mark())),
    "BUILD": lambda m, a: m.build(m.take(1)[0]),
    "PUT": lambda m, a: m.memo.__setitem__(int(a), m.stack[-1]),
    "BINPUT": lambda m, a: m.memo.__setitem__(a, m.stack[-1]),
    "LONG_BINPUT": lambda m, a: m.memo.__setitem__(a, m.stack[-1]),
    "MEMOIZE": lambda m, a: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    "GET": lambda m, a: m.push(m.memo[int(a)]),
    "BINGET": lambda m, a: m.push(m.memo[a]),
    "LONG_BINGET": lambda m, a: m.push(m.memo[a]),
    "PERSID": lambda m, a: m.push(Reference(a)),
    "BINPERSID": lambda m, a: m.push(Reference(m.take(1)[0])),
    "EXT1": lambda m, a: m.push(Name(f"extension {a}")),
    "EXT2": lambda m, a: m.push(Name(f"extension {a}")),
    "EXT4": lambda m, a: m.push(Name(f"extension {a}")),
    "NEXT_BUFFER": lambda m, a: m.push(Reference("buffer")),
    "READONLY_BUFFER": lambda m, a: None,
}


def modules(root: Any) -> Iterator[tuple[str, Thing]]:
    """Every torch.nn.Module in what a pickle holds, with its path; also those inside dicts."""
    stack: list[tuple[str, Any]] = [("", root)]
    seen: set[int] = set()
    while stack:
        path, value = stack.pop()
        if id(value) in seen or not isinstance(value, (Thing, dict, list, tuple)):
            continue
        seen.add(id(value))
        inner: Any = ()
        if isinstance(value, Thing):
            children = value.fields.get("_modules")
            if children is not None:
                yield path, value
            held = children.items if isinstance(children, Thing) else children
            inner = (held if isinstance(held, dict) else value.items).items()
        elif isinstance(value, dict):
            inner = value.items()
        else:
            inner = enumerate(value)
        step = f"{path}." if path else ""
        stack += reversed([(f"{step}{key}"[:300], item) for key, item in inner])
