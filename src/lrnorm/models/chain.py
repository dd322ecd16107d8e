"""PyTorch's own LRN written out in operators, as torch.export and torch.jit.trace leave it.

    div(x, pow(add(mul(squeeze(avg_pool(pad(view(mul(x, x))))), alpha), k), beta))

The graph is a dict from the name of a value to (operator, arguments); an argument is a Value, a
number or a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lrnorm._spec.errors import LRNormError
from lrnorm._spec.spec import LRNSpec
from lrnorm.models.found import Found, lrn
from lrnorm.models.source import DamagedError


class Value(NamedTuple):
    """A reference to what another operator computes, or to an input."""

    name: str


Graph = Mapping[str, tuple[str, list[Any]]]
MOST_STEPS = 20
_SHAPING = frozenset(("view", "reshape", "_unsafe_view", "squeeze", "unsqueeze", "_reshape_alias"))
_POOLS = frozenset(("avg_pool1d", "avg_pool2d", "avg_pool3d"))


@dataclass(frozen=True)
class Chain:
    """An LRN found in a graph: the value it computes, and what it says."""

    output: str
    input: str
    found: Found


def chains(graph: Graph) -> Iterator[Chain]:
    """Every LRN of the graph, by the value of its quotient, and every operator of lrnorm's own."""
    for name, (kind, arguments) in graph.items():
        if kind == "lrnorm.forward":
            found = _own(name, arguments)
        elif kind in ("div", "div_"):
            found = _quotient(graph, name, arguments)
        else:
            continue
        if found is not None:
            yield found


def _own(name: str, arguments: list[Any]) -> Chain | None:
    """lrnorm::forward(x, scale, beta, bias, before, after, axes)"""
    if len(arguments) != 7 or not isinstance(arguments[0], Value):
        return None
    scale, beta, bias, before, after, axis = arguments[1:]
    try:
        ends: list[Any] = [tuple(e) if isinstance(e, list) else e for e in (before, after)]
        spec = LRNSpec(scale, beta, bias, *ends)
        axes = tuple(axis) if isinstance(axis, list) else (axis,)
        where = axes if len(axes) > 1 else axes[0]
    except (LRNormError, TypeError, IndexError):  # a damaged program: no axes, or no numbers
        return None
    return Chain(name, arguments[0].name, Found(name, None, {}, spec, where))


def _quotient(graph: Graph, name: str, arguments: list[Any]) -> Chain | None:
    """The LRN that ends in this division, if the operators before it are those of PyTorch's
    function."""
    if len(arguments) < 2 or not isinstance(arguments[0], Value):
        return None
    x = arguments[0]
    power, beta = _with_number(graph, arguments[1], "pow")
    total, k = _with_number(graph, power, "add")
    mean, alpha = _with_number(graph, total, "mul")
    if not isinstance(mean, Value):
        return None
    kind, pooled = graph.get(_reshaped(graph, mean).name, ("", []))
    if kind not in _POOLS or len(pooled) < 2 or not isinstance(pooled[1], list):
        return None
    size, *rest = pooled[1] or [0]
    nothing = [other for option in pooled[3:4] if isinstance(option, list) for other in option]
    if any(side != 1 for side in rest) or any(nothing) or not isinstance(pooled[0], Value):
        return None
    squares, ends = _unpadded(graph, pooled[0])
    if not _is_square(graph, _reshaped(graph, squares), x) or type(size) is not int:
        return None
    if ends != (size // 2, (size - 1) // 2):  # a window of another form: by its own numbers
        if sum(ends) + 1 != size:
            return None
        try:
            spec = LRNSpec(alpha / size, beta, k, *ends)
        except (LRNormError, TypeError):
            return None
        return Chain(name, x.name, Found(name, None, {}, spec, 1))
    words = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    return Chain(name, x.name, lrn(name, "torch", words, 1))


def _with_number(graph: Graph, value: Any, wanted: str) -> tuple[Any, Any]:
    """(the other operand, the number) of an operator on a value and a number."""
    if not isinstance(value, Value):
        return None, None
    kind, arguments = graph.get(value.name, ("", []))
    if kind.rstrip("_") != wanted or len(arguments) < 2:
        return None, None
    numbers = [a for a in arguments[:2] if isinstance(a, (int, float))]
    others = [a for a in arguments[:2] if isinstance(a, Value)]
    return (others[0], numbers[0]) if len(numbers) == len(others) == 1 else (None, None)


def _reshaped(graph: Graph, value: Value) -> Value:
    """The value before operators that only change its shape."""
    for _ in range(MOST_STEPS):
        kind, arguments = graph.get(value.name, ("", []))
        if kind not in _SHAPING or not arguments or not isinstance(arguments[0], Value):
            return value
        value = arguments[0]
    raise DamagedError("it reshapes one value too often")


def _unpadded(graph: Graph, value: Value) -> tuple[Value, tuple[int, int]]:
    """The value before a padding, and how far that reaches to either side of the channels."""
    kind, arguments = graph.get(value.name, ("", []))
    if kind not in ("pad", "constant_pad_nd") or len(arguments) < 2:
        return value, (0, 0)
    inner, pads = arguments[:2]
    if not isinstance(inner, Value) or not isinstance(pads, list) or len(pads) < 2:
        return value, (0, 0)
    if any(pads[:-2]) or not all(type(p) is int for p in pads) or any(arguments[3:4]):
        return value, (0, 0)
    return inner, (pads[-2], pads[-1])


def _is_square(graph: Graph, value: Value, x: Value) -> bool:
    kind, arguments = graph.get(value.name, ("", []))
    return (kind == "mul" and arguments[:2] == [x, x]) or (
        kind == "pow" and arguments[:2] == [x, 2]
    )
