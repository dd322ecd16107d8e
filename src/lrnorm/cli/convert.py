"""`lrnorm convert`: the words of one framework in those of another, as the call to paste."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Mapping
from typing import Any

from lrnorm import conventions, models
from lrnorm._spec.errors import ConventionError, FileError, ParameterError
from lrnorm._spec.spec import LRNSpec
from lrnorm.cli.parser import Parser
from lrnorm.conventions.describing import place
from lrnorm.conventions.measures import Row
from lrnorm.conventions.naming import row_of
from lrnorm.models import Found


def keywords(pairs: Iterable[str]) -> dict[str, Any]:
    """key=value texts as keywords; a value that is no number, list or boolean stays text.

    >>> keywords(["size=5", "alpha=1e-4", "is_scaled=true"])
    {'size': 5, 'alpha': 0.0001, 'is_scaled': True}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals and text):
            rule = "must be given as KEY=VALUE, such as size=5"
            raise ParameterError("a parameter", rule, value=pair)
        if key in found:
            raise ParameterError(key, "must be given once", value=pair, got=f"{pair} too")
        found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def report(source: str, target: str, given: Mapping[str, Any]) -> str:
    """What `given` means, where the channels are in the target, and the call to paste there."""
    spec = conventions.read(source, **given)
    lines = [str(spec), f"channels: {_move(row_of(source)[1], row_of(target)[1])}"]
    return "\n".join([*lines, *_said(spec, target)])


def _said(spec: LRNSpec, target: str) -> list[str]:
    """Remarks on the spec in the target's parameters, an empty line, and the call to paste."""
    said = conventions.write(target, spec)
    there = conventions.read(target, **said)
    lines = []
    if there != spec:
        lines.append(f"scale: {there.scale!r}, the nearest to {spec.scale!r} that can be said")
    if remark := conventions.describe(target).remark:
        lines.append(
            f"note: {target} {remark}" if remark.startswith("takes") else f"note: {remark}"
        )
    return [*lines, "", conventions.call(target, spec)]


def file_report(path: str, target: str) -> str:
    """Every LRN of a model file: what it is, where its channels are, and the call to paste."""
    there = row_of(target)[1]
    model = models.read(path)
    if not model.lrns:
        raise FileError(
            path,
            f"holds no LRN: {model.contents}",
            way_out="lrnorm.identify measures what a layer of another kind computes.",
        )
    return "\n\n".join(_entry_report(entry, target, there) for entry in model.lrns)


def _entry_report(entry: Found, target: str, there: Row) -> str:
    """One LRN of a model file: its spec, where its channels go, and the call."""
    if entry.spec is None:
        return "\n".join([entry.name, *(f"  not converted: {r.text}" for r in entry.remarks)])
    if entry.convention is not None:
        axis = _move(row_of(entry.convention)[1], there)
    else:
        axis = f"axis {entry.axis} → {there.axis or place(there)}"
    lines = [entry.name, f"  {entry.spec}", f"  channels: {axis}"]
    if isinstance(entry.axis, tuple):
        lines.append(f"  window: over axes {', '.join(map(str, entry.axis))} of the file's arrays")
    try:
        said = _said(entry.spec, target)
    except ConventionError as error:
        return "\n".join([*lines, f"  not converted: {error}"])
    return "\n".join([*lines, *(f"  {line}".rstrip() for line in said)])


def _move(here: Row, there: Row) -> str:
    """Where the channels are here and there: "transpose by (0, 2, 3, 1)" for NCHW to NHWC."""
    if not here.layout or not there.layout:
        return f"{here.axis or place(here)} → {there.axis or place(there)}"
    if here.layout == there.layout:
        return f"they stay on axis {place(here)}"
    text = f"from axis {place(here)} to axis {place(there)}"
    if sorted(here.layout) == sorted(there.layout):
        return f"{text}: transpose by {tuple(map(here.layout.index, there.layout))}"
    return text


def run(words: list[str]) -> int:
    """Run `lrnorm convert` with these arguments and return its exit status."""
    parser = Parser(
        prog="lrnorm convert",
        description="What these words of one framework are in another: the five numbers, where "
        "the channels are, and the call to paste. For a model file: the same for every LRN of it.",
        epilog="for example: lrnorm convert torch tensorflow size=5 alpha=1e-4, or "
        "lrnorm convert deploy.prototxt tensorflow",
    )
    parser.add_argument("source", metavar="FROM", help="the name of a framework, or a model file")
    parser.add_argument("target", metavar="TO", help="the name of a framework")
    parser.add_argument("words", metavar="KEY=VALUE", nargs="*", help="the words of the first")
    given = parser.parse_args(words)
    if _is_file(given.source):
        if given.words:
            parser.error(f"{given.source} is a model file, which tells its words: give none")
        print(file_report(given.source, given.target))
    else:
        print(report(given.source, given.target, keywords(given.words)))
    return 0


def _is_file(source: str) -> bool:
    """A framework's name is no file; what is neither is more likely a file if it has an ending."""
    try:
        row_of(source)
    except ParameterError:
        return os.path.exists(source) or bool(os.path.splitext(source)[1])
    return False
