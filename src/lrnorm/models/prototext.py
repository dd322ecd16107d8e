"""Protocol buffers in their text form (.prototxt, .pbtxt), without a schema.

A message becomes a dict of lists: a nested message is a dict, anything else the text as it stands.
Unknown fields and unknown names of enums are no errors here, which the package protobuf makes them.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

from lrnorm.models.source import DamagedError
from lrnorm.models.wire import Record

DEEPEST = 100
MOST_FIELDS = 3_000_000

_TOKEN = re.compile(
    r"""(?:[\s,;]++|\#[^\n]*+)*+
    (?:(?P<name>[A-Za-z_][\w.]*+|\[[\w./\s]*+\])\s*+(?::\s*+)?+(?=[^\s:])
      |(?P<close>[}>])
      |(?P<end>\Z))""",
    re.X,
)
_GAP = re.compile(r"(?:\s++|\#[^\n]*+)*+")
_STRING = re.compile(r"""("(?:[^"\\\n]++|\\.)*+"|'(?:[^'\\\n]++|\\.)*+')""", re.S)
_SCALAR = re.compile(r"-?\s*+[^\s,;{}<>\[\]#\"':]++")


class Quoted(str):
    """A text that stands in quotation marks: type: "LRN", not type: LRN."""

    __slots__ = ()


def parse(text: str) -> Record:
    """The message that the text writes.

    >>> parse('layer { name: "n" lrn_param { local_size: 5 } }  # norm')
    {'layer': [{'name': ['n'], 'lrn_param': [{'local_size': ['5']}]}]}
    """
    top: Record = {}
    open_messages = [top]
    at = count = 0
    while True:
        token = _TOKEN.match(text, at)
        if token is None:
            raise DamagedError(f"line {_line(text, at)} is no field of a message")
        at = token.end()
        count += 1
        if count > MOST_FIELDS:
            raise DamagedError(f"it has more than {MOST_FIELDS} fields")
        if token["end"] is not None:
            if len(open_messages) > 1:
                raise DamagedError("it ends inside a message: a } is missing")
            return top
        if token["close"]:
            open_messages.pop()
            if not open_messages:
                raise DamagedError(f"line {_line(text, at)} closes a message that is not open")
            continue
        values = open_messages[-1].setdefault(token["name"], [])
        if text[at] in "{<":
            inner: Record = {}
            values.append(inner)
            open_messages.append(inner)
            at += 1
            if len(open_messages) > DEEPEST:
                raise DamagedError(f"it has more than {DEEPEST} messages inside each other")
        elif text[at] == "[":
            at = _list(text, at + 1, values)
        else:
            value, at = _scalar(text, at)
            values.append(value)


def _list(text: str, at: int, values: list[Any]) -> int:
    """[1, 2, 3]: the same as the field three times. Lists of messages are skipped."""
    while True:
        at = _after_gap(text, at)
        if at >= len(text):
            raise DamagedError("it ends inside a list: a ] is missing")
        if text[at] == "]":
            return at + 1
        if text[at] in ",;":
            at += 1
        else:
            value, at = _scalar(text, at)
            values.append(value)


def _after_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return at if gap is None else gap.end()


def _scalar(text: str, at: int) -> tuple[str, int]:
    """(the value that begins at a place, the place behind it)."""
    if text[at] in "\"'":
        parts = []
        while string := _STRING.match(text, at):  # strings beside each other are one
            parts.append(string[0][1:-1])
            at = _after_gap(text, string.end())
        if not parts:
            raise DamagedError(f"line {_line(text, at)} has a text without its closing mark")
        return Quoted("".join(parts)), at
    scalar = _SCALAR.match(text, at)
    if scalar is None:
        raise DamagedError(f"line {_line(text, at)} has a field without a value")
    return "".join(scalar[0].split()), scalar.end()


def unescaped(text: str) -> str:
    """A quoted text with its escapes replaced.

    >>> unescaped(r"a\\"b\\303\\251")
    'a"bé'
    """
    if "\\" not in text:
        return str(text)
    raw, _ = codecs.escape_decode(text.encode("utf-8"))
    return bytes(raw).decode("utf-8", "replace")


def messages(record: Record, *names: str) -> list[Record]:
    """The messages of a field, text or binary; with several names, those at the end of that path.

    >>> messages(parse("layer { include { phase: TEST } include { phase: TRAIN } }"), "layer",
    ...          "include")
    [{'phase': ['TEST']}, {'phase': ['TRAIN']}]
    """
    found = [record]
    for name in names:
        found = [value for m in found for value in m.get(name, ()) if isinstance(value, dict)]
    return found


def scalar(record: Record, name: str, default: Any = None) -> Any:
    """The value of a field that is no message; the last one counts, as in protobuf."""
    values = record.get(name)
    if not values:
        return default
    if isinstance(values[-1], dict):
        raise DamagedError(f"{name} is a message where a value must stand")
    return values[-1]


def number(record: Record, name: str, default: float) -> float:
    """A field as a float; protobuf's text form writes 1e-4, 0.75f, inf."""
    value = scalar(record, name, default)
    if not isinstance(value, str):
        return float(value)
    try:
        return float(value if value.lower().endswith("inf") else value.rstrip("fF"))
    except ValueError:
        raise DamagedError(f"{name} is {value[:40]!r}, which is no number") from None


def integer(record: Record, name: str, default: int) -> int:
    """A field as an integer; protobuf's text form has decimal, 0x hexadecimal and 0 octal."""
    value = scalar(record, name, default)
    if not isinstance(value, str):
        return int(value)
    try:
        if len(value) > 40:
            raise ValueError
        base = 16 if "0x" in value.lower() else 8 if re.fullmatch(r"-?0\d+", value) else 10
        return int(value, base)
    except ValueError:
        raise DamagedError(f"{name} is {value[:40]!r}, which is no integer") from None


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
