"""`lrnorm inspect`: every LRN of a model file, what runtimes make of it, and what a conversion
changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from lrnorm import conventions, models
from lrnorm._spec.errors import ParameterError
from lrnorm.cli.convert import keywords
from lrnorm.cli.parser import Parser
from lrnorm.conventions.naming import row_of
from lrnorm.conventions.runtime_table import Fate, Runtime
from lrnorm.models import Difference, Found, ModelFile
from lrnorm.models.differences import NUMBERS, against, between, number_text
from lrnorm.models.found import NOTE
from lrnorm.models.rules import words_of

FOUND = 1  # the status under --strict


def entry_data(entry: Found) -> dict[str, Any]:
    """An LRN as JSON. `findings` and `notes` are the remarks by kind; `onnx` holds the words of an
    LRN node of ONNX."""
    data = entry.as_dict()
    remarks = data.pop("remarks")
    data["node"] = data.pop("name")
    data["onnx"] = data["words"] if entry.convention == "onnx" else None
    for key, is_note in (("findings", False), ("notes", True)):
        data[key] = [
            {"code": r["code"], "text": r["text"]}
            for r in remarks
            if (r["kind"] == NOTE) is is_note
        ]
    return data


def _difference_data(difference: Difference) -> dict[str, Any]:
    data = difference.as_dict()
    data["node"] = data.pop("name")
    data["mistakes"] = [{"code": m["code"], "text": m["text"]} for m in data["mistakes"]]
    return data


def report(
    model: str,
    other: str | None,
    expected: Found | None,
    *,
    as_json: bool,
    runtime: str | None = None,
) -> tuple[str, bool]:
    """The output of the command, and True if anything was found."""
    listed = {name: models.read(name) for name in (model, other) if name is not None}
    differences = None
    if other is not None:
        differences = between(listed[model].lrns, listed[other].lrns)
    elif expected is not None:
        differences = against(expected, listed[model].lrns)
    row = None if runtime is None else _runtime(runtime)
    fates = None
    if row is not None:
        entries = listed[other or model].lrns
        fates = {e.name: row.fates(e.spec, e.axis, e.shape, e.dtype) for e in entries}
    warned = (r.kind != NOTE for side in listed.values() for e in side.lrns for r in e.remarks)
    found = bool(differences) or any(warned) or any(map(_matters, (fates or {}).values()))
    if as_json:
        spec = expected.spec if expected is not None else None
        data = {
            "model": model,
            "lrns": [entry_data(entry) for entry in listed[model].lrns],
            "other": other,
            "other_lrns": None if other is None else [entry_data(e) for e in listed[other].lrns],
            "expected": None if spec is None else asdict(spec),
            "differences": None
            if differences is None
            else [_difference_data(d) for d in differences],
            "format": listed[model].format,
            "operators": dict(listed[model].operators),
        }
        if fates is not None:
            data["for"] = runtime
            data["fates"] = {
                name: [r._asdict() for r in remarks] for name, remarks in fates.items()
            }
        return json.dumps(data, indent=2, ensure_ascii=False), found
    parts = [_model_text(name, side) for name, side in listed.items()]
    if differences is not None:
        parts.append(_differences_text(differences))
    if row is not None and fates is not None:
        parts.append(_fates_text(row.title, fates))
    return "\n".join(parts), found


def _model_text(name: str, model: ModelFile) -> str:
    """The text about one model."""
    count = len(model.lrns)
    lines = [f"{name}: {count} LRN{'s' * (count != 1)}" if count else _nothing(name, model)]
    lines += [f"  note: {remark.text}" for remark in model.remarks]
    for entry in model.lrns:
        shape = "" if entry.shape is None else f" ({', '.join(map(_size, entry.shape))})"
        axis = "" if entry.axis in (1, None) else f", {_axis(entry.axis)}"
        lines.append(f"  {entry.name}: {entry.dtype or 'type not known'}{shape}{axis}")
        if entry.spec is not None:
            lines.append(f"    {_line({n: getattr(entry.spec, n) for n in NUMBERS})}")
        if entry.words:
            owner = f"{words_of(entry)}'s" if words_of(entry) else "its"
            lines.append(f"    in {owner} words: {_line(entry.words)}")
        lines += [
            f"    {'note' if remark.kind == NOTE else 'warning'}: {remark.text}"
            for remark in sorted(entry.remarks, key=lambda remark: remark.kind == NOTE)
        ]
    return "\n".join(lines)


def _nothing(name: str, model: ModelFile) -> str:
    return f"{name}: no LRN\n  {model.contents}; searched for {model.searched}"


def _size(size: int | str | None) -> str:
    return "?" if size is None else str(size)


def _axis(axis: Any) -> str:
    if isinstance(axis, tuple):
        return f"axes {', '.join(map(str, axis))}"
    return f"axis {axis}"


def _line(numbers: dict[str, Any]) -> str:
    return "  ".join(f"{name} {number_text(number)}" for name, number in numbers.items())


def _differences_text(differences: list[Difference]) -> str:
    if not differences:
        return "no differences"
    lines = [line for difference in differences for line in str(difference).splitlines()]
    return "\n".join(["differences:", *(f"  {line}" for line in lines)])


def _runtime(name: str) -> Runtime:
    """The row of a runtime, whose name may be written with hyphens and capitals."""
    row = conventions.runtimes.get(name.replace("-", "_").lower())
    if row is None:
        names = ", ".join(conventions.runtimes)
        raise ParameterError("--for", f"must be one of {names}", value=name)
    return row


def _matters(remarks: list[Fate]) -> bool:
    """Whether more is remarked than what becomes of inputs that are seldom met."""
    return any(remark.code != "range" for remark in remarks)


def _fates_text(title: str, fates: dict[str, list[Fate]]) -> str:
    lines = [f"in {title}:"]
    for name, remarks in fates.items():
        lines.append(f"  {name}: {'' if _matters(remarks) else 'runs as the numbers say'}".rstrip())
        lines += [f"    {remark.code}: {remark.text}" for remark in remarks]
    return "\n".join(lines)


def run(words: list[str]) -> int:
    """Run `lrnorm inspect` with these arguments and return its exit status."""
    parser = Parser(
        prog="lrnorm inspect",
        usage="%(prog)s [--json] [--strict] [--for RUNTIME] MODEL [OTHER | --expect NAME KEY=VALUE "
        "…]",
        description="Every LRN of a model file as the five numbers, with a warning where runtimes "
        "disagree. With OTHER, a second file of any format: what differs and which known mistake "
        "explains it.",
        epilog="for example: lrnorm inspect deploy.prototxt converted.onnx",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a model file, or the folder of a SavedModel or .mlpackage"
    )
    parser.add_argument("other", metavar="OTHER", nargs="?", help="what was made of it")
    parser.add_argument(
        "--expect",
        nargs="+",
        metavar=("NAME", "KEY=VALUE"),
        help="a framework and its words: what every LRN of MODEL should be",
    )
    parser.add_argument(
        "--for",
        dest="runtime",
        metavar="RUNTIME",
        help=f"what a runtime makes of each LRN: {', '.join(conventions.runtimes)}",
    )
    parser.add_argument("--json", action="store_true", help="print data with keys that stay")
    parser.add_argument("--strict", action="store_true", help="status 1 if anything is found")
    given = parser.parse_args(words)
    if given.other is not None and given.expect is not None:
        parser.error("OTHER and --expect are two things to compare with: give one")
    expected = None
    if given.expect is not None:
        name, *said = given.expect
        expected = _expected(name, keywords(said))
    text, found = report(
        given.model, given.other, expected, as_json=given.json, runtime=given.runtime
    )
    print(text)
    return FOUND if given.strict and found else 0


def _expected(name: str, said: dict[str, Any]) -> Found:
    """An LRN in the words of a framework; what it refuses is an error here, not a remark."""
    spec = conventions.read(name, **said)
    return Found("", row_of(name)[0], said, spec)
