"""The Python side of the page: plain data in, JSON out.

The page runs these functions in Pyodide. Each returns the text of a JSON object; an error of
lrnorm becomes {"error": text}.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from lrnorm import ConventionError, LRNormError, LRNSpec, conventions, models
from lrnorm.conventions.naming import row_of

CURVE_POINTS = 65


def _json(function: Callable[..., Any]) -> Callable[..., str]:
    def called(*arguments: Any) -> str:
        try:
            return json.dumps(function(*arguments), default=str)
        except LRNormError as error:
            return json.dumps({"error": re.sub(r"/models/\w+/", "", str(error))})

    return called


@_json
def frameworks() -> list[dict[str, Any]]:
    """Every convention with the words of its form, in order; a default of None must be given."""
    found = []
    for name in conventions.names():
        row, about = row_of(name)[1], conventions.describe(name)
        words = dict(zip(row.words, row.defaults, strict=True))
        words |= {word: switch.default for word, switch in row.switches.items()}
        found.append(about._asdict() | {"words": [[word, value] for word, value in words.items()]})
    return found


def _call(name: str, spec: LRNSpec) -> dict[str, Any]:
    try:
        words = conventions.write(name, spec)
        return {"call": conventions.call(name, spec), "words": words}
    except ConventionError as error:
        return {"error": error.reason, "nearest": error.nearest}
    except LRNormError as error:
        return {"error": str(error)}


@_json
def inspect(path: str) -> dict[str, Any]:
    """What a model file holds."""
    model = models.read(path)
    return model.as_dict() | {"contents": model.contents}


@_json
def compare(first: str, second: str) -> list[dict[str, Any]]:
    """What differs between two model files."""
    return [
        difference.as_dict() | {"text": str(difference)}
        for difference in models.compare(first, second)
    ]


@_json
def calls(target: str, specs: str) -> list[dict[str, Any]]:
    """The call in the target framework for each spec of a JSON list; None stays None."""
    return [
        {"error": "its numbers are not known"} if numbers is None else _call(target, _spec(numbers))
        for numbers in json.loads(specs)
    ]


@_json
def translate(source: str, words: str) -> dict[str, Any]:
    """The spec of a framework's words, and every other framework's call."""
    spec = conventions.read(source, **json.loads(words))
    return {
        "spec": vars_of(spec),
        "text": repr(spec),
        "calls": {name: _call(name, spec) for name in conventions.names()},
    }


@_json
def explore(numbers: str, channels: int, channel: int) -> dict[str, Any]:
    """Window, response curve and one output written out, for values that are known: a bump of
    activity over the channels."""
    spec = _spec(json.loads(numbers))
    x = [
        round(3 * math.exp(-(((c - channels / 2) / (channels / 5)) ** 2)), 3)
        for c in range(channels)
    ]
    before, after = spec.ends(channels)
    first, last = max(0, channel - before), min(channels - 1, channel + after)
    squares = {j: x[j] ** 2 for j in range(first, last + 1)}
    total = math.fsum(squares.values())
    y = [_output(spec, x, c) for c in range(channels)]
    curve = []
    for i in range(CURVE_POINTS):
        energy = 100 * (i / (CURVE_POINTS - 1)) ** 2
        curve.append([energy, _power(spec.bias + spec.scale * energy, -spec.beta)])
    divisor = spec.bias + spec.scale * total
    power = _text(_power(divisor, -spec.beta))
    return {
        "x": x,
        "y": y,
        "window": [first, last],
        "curve": curve,
        "formula": f"y[c] = x[c] · ({spec.bias:g} + {spec.scale:g} · Σ x[j]²)^-{spec.beta:g},  "
        f"j = {_bound('c', '-', spec.before, '0')} … {_bound('c', '+', spec.after, 'N-1')}",
        "lines": [
            *(f"x[{j}]² = ({x[j]:g})² = {square:.6g}" for j, square in squares.items()),
            f"Σ = {total:.6g}",
            f"D = {spec.bias:g} + {spec.scale:g} · {total:.6g} = {divisor:.6g}",
            f"D^-{spec.beta:g} = {power}",
            f"y[{channel}] = {x[channel]:g} · {power} = {_text(y[channel])}",
        ],
        "spec": repr(spec),
    }


def vars_of(spec: LRNSpec) -> dict[str, Any]:
    """The five numbers by name."""
    return {name: getattr(spec, name) for name in ("scale", "beta", "bias", "before", "after")}


def _spec(numbers: dict[str, Any]) -> LRNSpec:
    for end in ("before", "after"):
        if isinstance(numbers.get(end), list):  # JSON has no tuples
            numbers[end] = tuple(numbers[end])
    return LRNSpec(**numbers)


def _output(spec: LRNSpec, x: list[float], c: int) -> float | None:
    before, after = spec.ends(len(x))
    window = x[max(0, c - before) : c + after + 1]
    power = _power(spec.bias + spec.scale * math.fsum(v * v for v in window), -spec.beta)
    return None if power is None else x[c] * power


def _power(base: float, exponent: float) -> float | None:
    """base ** exponent; None where that is no finite real number."""
    try:
        power = base**exponent
    except (ZeroDivisionError, OverflowError):
        return None
    return power if isinstance(power, float) and math.isfinite(power) else None


def _text(number: float | None) -> str:
    return "nan" if number is None else f"{number:.6g}"


def _bound(centre: str, sign: str, count: int | None, end: str) -> str:
    if count is None:
        return end
    return centre if count == 0 else f"{centre}{sign}{count}"
