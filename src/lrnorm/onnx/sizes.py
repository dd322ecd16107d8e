"""Sizes that have names in a model, or are computed from named ones, given numbers to run with."""

from __future__ import annotations

import ast
import contextlib
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
    try:
        return _value(_tree(size), chosen) if isinstance(size, str) else size
    except (KeyError, ZeroDivisionError):
        return None


def _tree(size: str) -> ast.AST:
    """The expression that a size is; a text that is none is a name."""
    with contextlib.suppress(SyntaxError, ValueError):
        tree = ast.parse(size, mode="eval").body
        if isinstance(tree, ast.BinOp):
            return tree
    return ast.Name(size)


def _value(node: ast.AST, chosen: Chosen) -> int:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, chosen), _value(node.right, chosen)
        return int(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return chosen[node.id]
    raise KeyError(ast.dump(node))


def choices(sizes: Sizes, usual: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Chosen]]:
    """Shapes to measure with, and what each name stands for: sizes that are known stay, unless the
    array is large and runs with smaller ones too."""
    trees = {size: _tree(size) for size in sizes if isinstance(size, str)}
    names = [n.id for tree in trees.values() for n in ast.walk(tree) if isinstance(n, ast.Name)]
    for start in _STARTS:
        chosen: Chosen = {}
        for axis, size in enumerate(sizes):
            if isinstance(size, str) and isinstance(trees[size], ast.Name):
                chosen.setdefault(size, usual[min(axis, 4)])
        for i, name in enumerate(dict.fromkeys(names)):
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
