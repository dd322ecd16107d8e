"""Table of common functions: ONNX operator, shapes, gradient for NumPy arrays.

The same names in NumPy, PyTorch, JAX, `operator` and the built-in functions mean the same.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lrnorm._layers.shapes import Shape, contradict, merged
from lrnorm._spec.errors import KindError

FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, np.ufunc)
_LIBRARIES = ("numpy", "builtins", "operator", "_operator", "torch", "jax")
_SHORT = {"numpy": "np.", "builtins": "", "_operator": "operator."}


class RefusedError(Exception):
    """A layer does not take a shape; the text says why."""


class Rule(NamedTuple):
    """Properties of a function. `vjp(g, *x)` gives a gradient for each input."""

    names: tuple[str, ...]
    operator: str | None  # of ONNX; None where there is none
    vjp: Callable[..., tuple[Any, ...]]
    times: int = 1  # how often the operator reads its input

    @property
    def joins(self) -> bool:
        """True if it takes a sequence of arrays and concatenates them."""
        return self.operator == "Concat"


def _of_one(slope: Callable[[Any], Any]) -> Callable[..., tuple[Any, ...]]:
    return lambda g, x: (g * slope(x),)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _of_two(one: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    return lambda g, a, b: (_summed(g * one(a, b), a), _summed(g * other(a, b), b))


def _summed(g: Any, like: Any) -> Any:
    """The gradient of a value that was broadcast: summed over the axes along which it was."""
    shape = np.shape(like)
    g = np.sum(g, axis=tuple(range(np.ndim(g) - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 != np.shape(g)[i])
    return np.sum(g, axis=repeated, keepdims=True)


def _larger(a: Any, b: Any) -> Any:
    return np.heaviside(np.subtract(a, b), 0.5)


# Names by row, separated by blanks; of the larger of two equal numbers each gets half.
_ROWS = (
    ("abs absolute fabs", "Abs", _of_one(np.sign)),
    ("negative neg", "Neg", _of_one(lambda x: -1)),
    ("positive", "Identity", _of_one(lambda x: 1)),
    ("exp", "Exp", _of_one(np.exp)),
    ("expm1", None, _of_one(np.exp)),
    ("log", "Log", _of_one(lambda x: 1 / x)),
    ("log1p", None, _of_one(lambda x: 1 / (1 + x))),
    ("sqrt", "Sqrt", _of_one(lambda x: 0.5 / np.sqrt(x))),
    ("square", "Mul", _of_one(lambda x: 2 * x), 2),
    ("tanh", "Tanh", _of_one(lambda x: 1 - np.tanh(x) ** 2)),
    ("sinh", "Sinh", _of_one(np.cosh)),
    ("cosh", "Cosh", _of_one(np.sinh)),
    ("sin", "Sin", _of_one(np.cos)),
    ("cos", "Cos", _of_one(lambda x: -np.sin(x))),
    ("arctan atan", "Atan", _of_one(lambda x: 1 / (1 + x * x))),
    ("relu", "Relu", _of_one(lambda x: x > 0)),
    ("sigmoid", "Sigmoid", _of_one(lambda x: _sigmoid(x) * _sigmoid(-x))),
    ("reciprocal", "Reciprocal", _of_one(lambda x: -1 / (x * x))),
    ("floor", "Floor", _of_one(lambda x: 0)),
    ("ceil", "Ceil", _of_one(lambda x: 0)),
    ("sign", "Sign", _of_one(lambda x: 0)),
    ("add", "Add", _of_two(lambda a, b: 1, lambda a, b: 1)),
    ("subtract sub", "Sub", _of_two(lambda a, b: 1, lambda a, b: -1)),
    ("multiply mul", "Mul", _of_two(lambda a, b: b, lambda a, b: a)),
    ("divide true_divide truediv div", "Div", _of_two(lambda a, b: 1 / b, lambda a, b: -a / b / b)),
    ("maximum", "Max", _of_two(_larger, lambda a, b: _larger(b, a))),
    ("minimum", "Min", _of_two(lambda a, b: _larger(b, a), _larger)),
    (
        "power pow",
        "Pow",
        _of_two(lambda a, b: b * np.power(a, b - 1), lambda a, b: np.power(a, b) * np.log(a)),
    ),
    ("concatenate concat cat", "Concat", lambda g, *x: ()),
)
_RULES = {
    name: Rule(tuple(names.split()), *rest) for names, *rest in _ROWS for name in names.split()
}


# Those that ONNX has an operator for.
SAYABLE = tuple(name for name, rule in _RULES.items() if rule.operator is not None)


def home_of(function: Any) -> str:
    """The library that a function comes from."""
    return (getattr(function, "__module__", None) or type(function).__module__).split(".")[0]


def rule_of(function: Any) -> Rule | None:
    """The rule of a function in the table; None for any other."""
    function, words = unpacked(function)
    if home_of(function) not in _LIBRARIES or set(words) - {"axis", "dim"}:
        return None
    rule = _RULES.get(getattr(function, "__name__", ""))
    return rule if rule is None or rule.joins or not words else None


def unpacked(function: Any) -> tuple[Any, dict[str, Any]]:
    """A function, and the keywords that functools.partial gives it."""
    if isinstance(function, functools.partial) and not function.args:
        return function.func, function.keywords
    return function, {}


def joining_axis(function: Any) -> int:
    """The axis of an example along which np.concatenate and its kind join: the first."""
    words = unpacked(function)[1]
    return int(words.get("axis", words.get("dim", 0)))


def shapes(
    rule: Rule, function: Any, inputs: Sequence[Shape | None], output: Shape | None
) -> tuple[list[Shape | None], Shape | None]:
    """The shapes of the inputs and of the output, as far as they follow."""
    if len(inputs) == 1 and not rule.joins:
        fits = not contradict(inputs[0], output)
        return ([output], inputs[0]) if fits else ([None], inputs[0])
    if rule.joins:
        return _joined(joining_axis(function), inputs, output)
    known = [shape for shape in inputs if shape is not None]
    nothing: list[Shape | None] = [None] * len(inputs)
    return nothing, _broadcast(known) if len(known) == len(inputs) else None


def _broadcast(shapes: list[Shape]) -> Shape:
    """The shape that NumPy's rules of broadcasting give: (3, None) and (4, 1, 5) give (4, 3, 5)."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    sizes: list[int | None] = []
    for along in zip(*padded, strict=True):
        told = {n for n in along if n not in (None, 1)}
        if len(told) > 1:
            raise RefusedError(f"the shapes {' and '.join(map(str, shapes))} do not broadcast")
        sizes.append(told.pop() if told else None if None in along else 1)
    return tuple(sizes)


def _joined(
    axis: int, inputs: Sequence[Shape | None], output: Shape | None
) -> tuple[list[Shape | None], Shape | None]:
    """All sizes are equal, but for those along the axis, which add up."""
    known = [shape for shape in (*inputs, output) if shape is not None]
    if not known:
        return list(inputs), output
    rank = len(known[0])
    if not -rank <= axis < rank or {len(shape) for shape in known} != {rank}:
        raise RefusedError(f"the shapes {' and '.join(map(str, known))} do not join along {axis}")
    others: Shape | None = None
    for shape in known:
        free = tuple(None if i == axis % rank else n for i, n in enumerate(shape))
        if contradict(others, free):
            raise RefusedError(f"the shapes {' and '.join(map(str, known))} do not join")
        others = merged(others, free)
    assert others is not None
    parts = [None if shape is None else shape[axis] for shape in inputs]
    whole = sum(n for n in parts if n is not None) if None not in parts else None

    def sized(n: int | None) -> Shape:
        return tuple(n if i == axis % rank else size for i, size in enumerate(others))

    return [sized(n) for n in parts], sized(whole)


def gradient(rule: Rule, function: Any, values: Sequence[Any], g: Any) -> tuple[Any, ...]:
    """The gradients by NumPy arrays of sum(g * function(*values))."""
    if rule.joins:
        axis = joining_axis(function)
        ends = np.cumsum([np.shape(value)[axis] for value in values])[:-1]
        found = np.split(np.asarray(g), ends, axis)
    else:
        with np.errstate(all="ignore"):
            found = list(rule.vjp(g, *map(np.asarray, values)))
    return tuple(
        np.asarray(one).astype(float_of(v), copy=False)
        for one, v in zip(found, values, strict=True)
    )


def float_of(value: Any) -> Any:
    """The type that a gradient by this array has."""
    kind = np.asarray(value).dtype
    return kind.newbyteorder("=") if kind.kind == "f" else np.result_type(kind, np.float32)


def written(function: Any) -> str:
    """A function as the expression that gives it, where there is one; else as it prints."""
    inner, words = unpacked(function)
    if words:
        said = ", ".join(f"{word}={value!r}" for word, value in words.items())
        return f"functools.partial({written(inner)}, {said})"
    name = getattr(function, "__name__", None)
    home = getattr(function, "__module__", None) or ""
    if home.split(".")[0] in _LIBRARIES and name:
        return f"{_SHORT.get(home, f'{home}.')}{name}"
    own = getattr(function, "__qualname__", name) if isinstance(function, FUNCTIONS) else None
    return own or repr(function)


@dataclass(frozen=True, repr=False)
class Elementwise:
    """The layer that `elementwise` returns."""

    function: Callable[..., Any]
    vjp: Callable[..., Any] | None

    def __call__(self, *values: Any) -> Any:
        return self.function(*values)

    def __repr__(self) -> str:
        return f"elementwise({written(self.function)})"


def elementwise(
    function: Callable[..., Any], *, vjp: Callable[..., Any] | None = None
) -> Elementwise:
    """The function as a layer that keeps the shape of its inputs: y[i] = function(x[i], …).

    A net infers shapes through it in both directions and passes whole batches to it; a bare
    function has unknown shapes and gets one example after the other. It has as many inputs as the
    function has arguments without defaults. `vjp(x, g)`, for several inputs `vjp(x1, x2, …, g)`
    with a tuple as its result, is the gradient of sum(g * function(x, …)). It is needed where
    neither tensors nor the table of known functions give one.

    Errors: KindError (a TypeError) for what cannot be called.

    Source: Wolfram's ElementwiseLayer and ThreadingLayer.

    >>> import numpy as np
    >>> from lrnorm import NetChain
    >>> from lrnorm.net import elementwise
    >>> cube = elementwise(lambda x: x**3, vjp=lambda x, g: 3 * g * x**2)
    >>> net = NetChain([cube], input=(3,))
    >>> net.ports, net(np.array([1.0, 2.0, 3.0])), net.vjp(np.array([1.0, 2.0, 3.0]))
    ({'Input': (3,), 'Output': (3,)}, array([ 1.,  8., 27.]), array([ 3., 12., 27.]))
    """
    for name, value in (("function", function), ("vjp", vjp)):
        if not callable(value) and not (name == "vjp" and value is None):
            raise KindError(f"elementwise's {name}", "must be callable", value=value)
    return Elementwise(function, vjp or getattr(function, "vjp", None))
