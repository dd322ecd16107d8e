"""`lrnorm inspect`: every LRN of a model, what runtimes will make of it, and what a conversion
did to it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any

from lrnorm import conventions
from lrnorm._spec.spec import LRNSpec
from lrnorm.cli.convert import keywords
from lrnorm.cli.parser import Parser
from lrnorm.onnx.attributes import attributes_of, spec_of
from lrnorm.onnx.fusing import chains
from lrnorm.onnx.graph import Model, is_op, lrn_nodes, opened, scopes

Said = dict[str, Any]
Shape = tuple[int | str, ...] | None

USUAL_ALPHAS = (1e-4, 5e-4, 1.0)  # AlexNet and GoogLeNet; ZFNet; Caffe's and Wolfram's default
NUMBERS = ("scale", "beta", "bias", "before", "after")


@dataclass(frozen=True)
class Remark:
    """A finding or a note: a word that stays the same between versions, and a sentence."""

    code: str
    text: str


@dataclass(frozen=True)
class Entry:
    """One LRN of a model. `onnx` holds an LRN node's own words; a chain of other operators, of so
    many `nodes`, has none."""

    node: str
    nodes: int
    spec: LRNSpec
    onnx: dict[str, Any] | None
    dtype: str | None
    shape: Shape
    findings: list[Remark]
    notes: list[Remark]


@dataclass(frozen=True)
class Difference:
    """An LRN that is not what was expected: number → (expected, found), and which known mistakes
    explain them. A side without the LRN is None."""

    node: str
    expected: LRNSpec | None
    found: LRNSpec | None
    differs: dict[str, tuple[Any, Any]]
    mistakes: list[Remark]


def entries(model: Model) -> list[Entry]:
    """Every LRN node in the order of the model, and then every LRN written out."""
    proto, folder = opened(model)
    nodes = lrn_nodes(proto)
    inputs = {
        id(node): (scope.dtype(name), scope.sizes(name))
        for scope in scopes(proto, folder)
        for node in scope.nodes
        if is_op(node, "LRN")
        for name in node.input[:1]
    }
    listed = []
    for path, found in nodes.items():
        said, spec = attributes_of(path, found), spec_of(path, found)
        dtype, shape = inputs.get(id(found.node), (None, None))  # in a function: not known
        findings = [r for rule in _RULES for r in rule(said, dtype, shape)]
        notes = list(_notes(said, shape))
        listed.append(Entry(path, 1, spec, said, dtype, shape, findings, notes))
    for path, chain in chains(model).items():
        fate = "lrnorm.onnx.fuse(model) makes it one"
        if chain.why_not is not None:
            fate = f"it stays so, because {chain.why_not}"
        note = Remark("written_out", f"an LRN written out as {chain.nodes} nodes: {fate}")
        listed.append(
            Entry(path, chain.nodes, chain.spec, None, chain.dtype, chain.shape, [], [note])
        )
    return listed


def _even(said: Said, dtype: str | None, shape: Shape) -> Iterator[Remark]:
    size = said["size"]
    if size % 2 == 0:
        yield Remark(
            "even_window",
            f"size {size} is even: ONNX has {size // 2 - 1} before and {size // 2} after, PyTorch "
            f"the other way round, OpenVINO {size // 2 - 1} on both sides, and ONNX Runtime "
            "refuses it on the CPU",
        )


def _wide(said: Said, dtype: str | None, shape: Shape) -> Iterator[Remark]:
    limits = [f"{name} (at most {most})" for name, most in _WIDEST.items() if said["size"] > most]
    if limits:
        yield Remark("wide_window", f"size {said['size']} is too wide for {' and '.join(limits)}")


_WIDEST = {"TensorRT": 15, "cuDNN": 16}


def _divided(said: Said, dtype: str | None, shape: Shape) -> Iterator[Remark]:
    alpha, size = said["alpha"], said["size"]
    if _among(alpha, USUAL_ALPHAS) is not None:
        return
    usual = _among(alpha * size, USUAL_ALPHAS)
    if usual is not None:
        yield Remark(
            "alpha_divided",
            f"alpha {alpha:g} is {usual:g} / {size}, a usual alpha divided by the size already: "
            "ONNX divides it once more",
        )


def _among(number: float, usual: tuple[float, ...]) -> float | None:
    return next((u for u in usual if math.isclose(number, u, rel_tol=1e-3)), None)


def _fractional_bias(said: Said, dtype: str | None, shape: Shape) -> Iterator[Remark]:
    bias = said["bias"]
    if bias != int(bias):
        yield Remark(
            "fractional_bias", f"OpenVINO cuts the bias to an integer: {bias:g} becomes {int(bias)}"
        )


def _type(said: Said, dtype: str | None, shape: Shape) -> Iterator[Remark]:
    if dtype in _TYPES:
        yield Remark("dtype", f"{dtype}: {_TYPES[dtype]}")


_TYPES = {
    "float64": "ONNX Runtime has no LRN of this type, and refuses the model on the CPU",
    "bfloat16": "ONNX Runtime has no LRN of this type on the CPU",
    "float16": "ONNX Runtime computes it in float32 on the CPU, others in 16 bits",
}


def _rank(said: Said, dtype: str | None, shape: Shape) -> Iterator[Remark]:
    if shape is not None and len(shape) != 4:
        yield Remark(
            "rank", f"the input has {len(shape)} axes: ONNX Runtime takes four only, on the CPU"
        )


_RULES: tuple[Callable[[Said, str | None, Shape], Iterator[Remark]], ...] = (
    _even,
    _wide,
    _divided,
    _fractional_bias,
    _type,
    _rank,
)


def _notes(said: Said, shape: Shape) -> Iterator[Remark]:
    if shape is not None and len(shape) > 1 and isinstance(shape[1], int):
        channels = shape[1]
        if said["size"] > channels:
            yield Remark(
                "wider_than_channels",
                f"size {said['size']} is more than the {channels} channels, which is harmless: "
                "alpha is divided by the size all the same",
            )


def against(expected: LRNSpec, found: list[Entry]) -> list[Difference]:
    """What differs from one spec that every LRN of a model should have."""
    if not found:
        return [Difference("", expected, None, {}, [_missing("the model")])]
    return [d for entry in found for d in _difference(entry.node, expected, entry.spec)]


def between(first: list[Entry], second: list[Entry]) -> list[Difference]:
    """What a conversion from the first model to the second changed. LRNs of one name belong
    together; the others do in their order, those with the same numbers first."""
    names = {entry.node for entry in first} & {entry.node for entry in second}
    pairs: list[tuple[Entry | None, Entry | None]] = [
        (a, b) for a in first for b in second if a.node == b.node
    ]
    lefts, rights = ([e for e in side if e.node not in names] for side in (first, second))
    alike = SequenceMatcher(
        a=[_rounded(e.spec) for e in lefts], b=[_rounded(e.spec) for e in rights], autojunk=False
    )
    for _, a, b, c, d in alike.get_opcodes():
        left: list[Entry | None] = [*lefts[a:b], *[None] * (d - c - (b - a))]
        right: list[Entry | None] = [*rights[c:d], *[None] * (b - a - (d - c))]
        pairs += zip(left, right, strict=True)
    return [d for pair in pairs for d in _of_pair(*pair)]


def _of_pair(first: Entry | None, second: Entry | None) -> Iterator[Difference]:
    if first and second:
        yield from _difference(first.node, first.spec, second.spec)
    elif first:
        yield Difference(first.node, first.spec, None, {}, [_missing("the other model")])
    elif second:
        yield Difference(second.node, None, second.spec, {}, [_missing("the first model")])


def _missing(where: str) -> Remark:
    return Remark("lrn_missing", f"there is no such LRN in {where}")


def _rounded(spec: LRNSpec) -> tuple[Any, ...]:
    return (f"{spec.scale:.5g}", f"{spec.beta:.5g}", f"{spec.bias:.5g}", spec.before, spec.after)


def _difference(node: str, expected: LRNSpec, found: LRNSpec) -> Iterator[Difference]:
    if not found.isclose(expected):
        differs = {
            name: (getattr(expected, name), getattr(found, name))
            for name in NUMBERS
            if not _same(getattr(expected, name), getattr(found, name))
        }
        yield Difference(node, expected, found, differs, list(_mistakes(expected, found)))


def _same(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, float) and math.isclose(a, b, rel_tol=1e-6))


def _mistakes(expected: LRNSpec, found: LRNSpec) -> Iterator[Remark]:
    """Which known mistakes lead from one to the other: of the window, then of alpha, given that
    window, then of the bias. What none explains is left unexplained."""
    if expected.numbers is None or found.numbers is None:
        return
    scale, _, bias, before, after = expected.numbers
    got_scale, _, got_bias, *got = found.numbers
    width, got_width = before + after + 1, sum(got) + 1
    if got != [before, after]:
        for code, window, text in _WINDOWS:
            if window(before, after) == tuple(got):
                yield Remark(code, text.format(width=width, radius=before))
                break
    # The same alpha, or the same scale, is no mistake of its own in a window of another width.
    if not any(_same(got_scale, right) for right in (scale, scale * width / got_width)):
        if _same(got_scale, scale / got_width):
            yield Remark("alpha_divided_twice", "alpha was divided by the size twice")
        elif _same(got_scale, scale * width):
            yield Remark("alpha_not_divided", "alpha was not divided by the size")
    if not _same(got_bias, bias):
        if got_bias == 1:
            yield Remark("bias_dropped", f"the bias (k) {bias:g} was dropped: 1 is the default")
        elif got_bias == int(bias):
            yield Remark("bias_cut", f"the bias {bias:g} was cut to an integer")


# What becomes of a window (before, after) by each mistake. None: it cannot happen to this one.
_WINDOWS: tuple[tuple[str, Callable[[int, int], tuple[int, int] | None], str], ...] = (
    ("leans_other_way", lambda b, a: (a, b), "the even window leans the other way"),
    (
        "width_read_as_radius",
        lambda b, a: (b + a + 1, b + a + 1),
        "the width {width} was read as a radius",
    ),
    (
        "radius_read_as_width",
        lambda b, a: ((b - 1) // 2, b // 2) if b == a and b > 0 else None,
        "the radius {radius} was read as a width",
    ),
    (
        "radius_read_as_width",
        lambda b, a: (b // 2, (b - 1) // 2) if b == a and b > 0 else None,
        "the radius {radius} was read as a width",
    ),
    (
        "term_dropped",
        lambda b, a: (min(b, a),) * 2 if b != a else None,
        "the last term of the even window was dropped",
    ),
    (
        "term_added",
        lambda b, a: (max(b, a),) * 2 if b != a else None,
        "the even window got one term more",
    ),
)


def report(
    model: str, other: str | None, expected: LRNSpec | None, *, as_json: bool
) -> tuple[str, bool]:
    """What the command prints, and whether anything was found."""
    listed = {name: entries(name) for name in (model, other) if name is not None}
    differences = None
    if other is not None:
        differences = between(listed[model], listed[other])
    elif expected is not None:
        differences = against(expected, listed[model])
    found = bool(differences) or any(entry.findings for side in listed.values() for entry in side)
    if as_json:
        data = {
            "model": model,
            "lrns": [asdict(entry) for entry in listed[model]],
            "other": other,
            "other_lrns": None if other is None else [asdict(e) for e in listed[other]],
            "expected": None if expected is None else asdict(expected),
            "differences": None if differences is None else [asdict(d) for d in differences],
        }
        return json.dumps(data, indent=2, ensure_ascii=False), found
    parts = [_entries_text(name, side) for name, side in listed.items()]
    if differences is not None:
        parts.append(_differences_text(differences))
    return "\n".join(parts), found


def _entries_text(name: str, listed: list[Entry]) -> str:
    """What people read of one model."""
    count = f"{len(listed)} LRN{'s' * (len(listed) != 1)}" if listed else "no LRN"
    lines = [f"{name}: {count}"]
    for entry in listed:
        shape = "" if entry.shape is None else f" ({', '.join(map(str, entry.shape))})"
        lines.append(f"  {entry.node}: {entry.dtype or 'type not known'}{shape}")
        lines.append(f"    {_line({n: getattr(entry.spec, n) for n in NUMBERS})}")
        if entry.onnx is not None:
            lines.append(f"    in ONNX's words: {_line(entry.onnx)}")
        lines += [f"    warning: {remark.text}" for remark in entry.findings]
        lines += [f"    note: {remark.text}" for remark in entry.notes]
    return "\n".join(lines)


def _line(numbers: dict[str, Any]) -> str:
    return "  ".join(f"{name} {_text(number)}" for name, number in numbers.items())


def _text(number: Any) -> str:
    return f"{number:.9g}" if isinstance(number, float) else str(number)


def _differences_text(differences: list[Difference]) -> str:
    if not differences:
        return "no differences"
    lines = ["differences:"]
    for difference in differences:
        numbers = [
            f"{name} {_text(a)} expected, {_text(b)} found"
            for name, (a, b) in difference.differs.items()
        ]
        lines.append(f"  {difference.node or 'LRN'}: {'; '.join(numbers) or 'missing'}")
        lines += [f"    because: {remark.text}" for remark in difference.mistakes]
        if not difference.mistakes:
            lines.append("    no known mistake explains it")
    return "\n".join(lines)


FOUND = 1  # the exit status of --strict


def run(words: list[str]) -> int:
    parser = Parser(
        prog="lrnorm inspect",
        usage="%(prog)s [--json] [--strict] MODEL [OTHER | --expect NAME KEY=VALUE …]",
        description="Every LRN of an ONNX model as the five numbers, with a warning where runtimes "
        "disagree. With OTHER, what was made of MODEL: what differs and which known mistake "
        "explains it.",
        epilog="for example: lrnorm inspect net.onnx --expect caffe local_size=5 alpha=1e-4",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("other", metavar="OTHER", nargs="?", help="what was made of it")
    parser.add_argument(
        "--expect",
        nargs="+",
        metavar=("NAME", "KEY=VALUE"),
        help="a framework and its words: what every LRN of MODEL should be",
    )
    parser.add_argument("--json", action="store_true", help="print data with keys that stay")
    parser.add_argument("--strict", action="store_true", help="status 1 if anything is found")
    given = parser.parse_args(words)
    if given.other is not None and given.expect is not None:
        parser.error("OTHER and --expect are two things to compare with: give one")

    expected = None
    if given.expect is not None:
        name, *said = given.expect
        expected = conventions.read(name, **keywords(said))
    text, found = report(given.model, given.other, expected, as_json=given.json)
    print(text)
    return FOUND if given.strict and found else 0
