"""Sizes that have names in a model, or are computed from named ones, given numbers to run with."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

Sizes = tuple[int | str, ...]
Chosen = dict[str, int]

MOST_ELEMENTS = 300_000  # of an input that is measured as it is
USUAL = (2, 16, 5, 6, 3)  # numbers for axes whose sizes are only names, two sets
OTHERS = (3, 20, 4, 7, 2)
# For names from which the sizes are computed: large enough to stay positive after many strides.
_STARTS = (37, 101, 333, 1001)

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def number(size: int | str, chosen: Chosen) -> int | None:
    """The number of a size: a name such as "batch", or an expression such as "(h - 1)//2 + 1"."""
    if not isinstance(size, str) or size in chosen:
        return chosen[size] if isinstance(size, str) else size
    try:
        found = _value(ast.parse(size, mode="eval").body, chosen)
    except (SyntaxError, KeyError, ZeroDivisionError):
        return None
    return int(found)


def _value(node: ast.AST, chosen: Chosen) -> int:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, chosen), _value(node.right, chosen)
        return int(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return chosen[node.id]
    raise KeyError(ast.dump(node))


def _names(size: str) -> list[str]:
    """The names in an expression; a text that is none is a name."""
    try:
        tree = ast.parse(size, mode="eval")
    except SyntaxError:
        return [size]
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return names if any(isinstance(node, ast.BinOp) for node in ast.walk(tree)) else [size]


def choices(sizes: Sizes, usual: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Chosen]]:
    """Shapes to measure with, and what each name stands for: sizes that are known stay, unless the
    array is large and runs with smaller ones too."""
    for start in _STARTS:
        chosen: Chosen = {}
        for axis, size in enumerate(sizes):
            if isinstance(size, str) and _names(size) == [size]:
                chosen.setdefault(size, usual[min(axis, 4)])
        computed = [name for size in sizes if isinstance(size, str) for name in _names(size)]
        for i, name in enumerate(dict.fromkeys(computed)):
            chosen.setdefault(name, start + usual[0] + 8 * i)
        shape = tuple(number(size, chosen) or 0 for size in sizes)
        if min(shape) >= 1:
            break
    else:
        return
    if math.prod(shape) > MOST_ELEMENTS and len(shape) > 2:
        yield (
            tuple(
                min(size, usual[min(axis, 4)]) if axis not in (1, len(shape) - 1) else size
                for axis, size in enumerate(shape)
            ),
            chosen,
        )
        yield (min(shape[0], usual[0]), shape[1], *(min(size, 7) for size in shape[2:])), chosen
    if math.prod(shape) <= 20 * MOST_ELEMENTS:
        yield shape, chosen
