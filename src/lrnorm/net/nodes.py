"""Kinds of layers: what a net asks of each, and one rule per kind.

A new kind is one class of `Node`, registered with `node_of`. The kinds of a framework stand in its
own front, which is imported when the first of its layers comes.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from lrnorm._function.dispatch import front_of
from lrnorm._layers.facts import Leaf, Shape
from lrnorm._layers.layer import LocalResponseNormalizationLayer
from lrnorm._spec.errors import KindError
from lrnorm.net.shapes import contradict, merged

Shapes = list[Shape | None]


class Run(NamedTuple):
    """What holds for one evaluation."""

    training: bool | None = False  # None leaves each layer as it is
    dtype: str | None = None  # what is computed in; None leaves it to the input
    result: str | None = None  # what comes back; None leaves it as computed
    batch_size: int | None = None
    batched: bool = False
    arrays: bool = True  # fed NumPy arrays, whose types are fitted to what the layers compute in


class Node:
    """How a net sees a layer that holds no others: ports, shapes, arrays, call and gradient."""

    outputs: tuple[str, ...] = ("Output",)
    # Ports that take one edge each. None: the layer takes its edges in order, `least` to `most`.
    inputs: tuple[str, ...] | None = None
    least = 1
    most: int | None = None
    tells_rank = True  # whether it may tell one example from a batch

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    @property
    def type(self) -> str:
        return type(self.layer).__name__

    def leaf(self) -> Leaf:
        """What `information` tells of it."""
        return Leaf(self.layer, self.type, {"text": self.expression})

    @property
    def expression(self) -> str:
        return repr(self.layer)

    def input_names(self, count: int) -> tuple[str, ...]:
        """The input ports, which are `count` where the layer declares none."""
        if self.inputs is not None:
            return self.inputs
        return ("Input",) if count == 1 else tuple(f"Input{i + 1}" for i in range(count))

    def arrays(self) -> dict[tuple[str, ...], Any]:
        return {}

    def claims(self, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
        """What follows for the shapes of its ports; None where nothing does."""
        return [None] * len(inputs), [None] * len(outputs)

    def call(self, values: Sequence[Any], run: Run) -> tuple[Any, ...]:
        """One value for each output."""
        raise NotImplementedError

    def vjp(self, values: Sequence[Any], grads: Sequence[Any], run: Run) -> tuple[Any, ...]:
        """The gradients by the inputs of sum(grad * output)."""
        raise NotImplementedError


class NetNode(Node):
    """A net inside: laid open, it is the layers that it holds."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.inputs, self.outputs = tuple(layer.inputs), tuple(layer.outputs)


def same_shape(own: Shape | None, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
    """The claims of a layer whose only input and output have one shape, of which it says `own`."""

    def says(other: Shape | None) -> Shape | None:
        return own if contradict(own, other) else merged(own, other)

    return [says(outputs[0])], [says(inputs[0])]


# Module of a class → where the rule for it is.
_RULES_ELSEWHERE = {"torch": "lrnorm.net.torch_nodes"}


def _rules_of(thing: Any) -> types.ModuleType | None:
    """The rules of the framework that something comes from: an array, a layer, a function."""
    homes = [cls.__module__ for cls in type(thing).__mro__]
    homes.append(getattr(thing, "__module__", None) or "")
    for home in homes:
        if (root := home.split(".")[0]) in _RULES_ELSEWHERE:
            return import_module(_RULES_ELSEWHERE[root])
    return None


def rules_of_any(things: Iterable[Any]) -> types.ModuleType | None:
    """The rules of the first framework found among these."""
    return next((rules for rules in map(_rules_of, things) if rules), None)


def rules_loaded() -> list[types.ModuleType]:
    """The rules of the frameworks that are in use."""
    return [import_module(m) for root, m in _RULES_ELSEWHERE.items() if root in sys.modules]


@functools.singledispatch
def _node_of(layer: Any) -> Node:
    return FunctionNode(layer)


register: Any = _node_of.register  # (class of layers) → decorator of its Node


def node_of(layer: Any) -> Node:
    """The rule for this layer."""
    _rules_of(layer)  # registers those of its framework
    return _node_of(layer)


@register(LocalResponseNormalizationLayer)
class LayerNode(Node):
    """The layer of lrnorm, which knows its shape and its derivative."""

    inputs = ("Input",)

    def leaf(self) -> Leaf:
        leaf: Leaf = self.layer._facts().leaves[()]
        return leaf

    def claims(self, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
        return same_shape(self.layer.input, inputs, outputs)

    def call(self, values: Sequence[Any], run: Run) -> tuple[Any, ...]:
        return (self.layer(values[0]),)

    def vjp(self, values: Sequence[Any], grads: Sequence[Any], run: Run) -> tuple[Any, ...]:
        return (self.layer.vjp(values[0], grads[0]),)


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, np.ufunc)


def stacked(pieces: Sequence[Any]) -> Any:
    """Examples as one batch."""
    first = pieces[0]
    if isinstance(first, (np.ndarray, np.generic, numbers.Number, list, tuple)):
        return np.stack([np.asarray(piece) for piece in pieces])
    return joined([piece[None] for piece in pieces])


def joined(pieces: Sequence[Any]) -> Any:
    """Pieces of a batch as one."""
    if isinstance(pieces[0], np.ndarray):
        return np.concatenate(pieces)
    front = front_of(pieces[0])
    return front.joined(pieces, pieces[0]) if front else [x for piece in pieces for x in piece]


def _written(function: Any) -> str:
    """A function by its name, anything else as it prints."""
    name = getattr(function, "__name__", None)
    return name if isinstance(function, _FUNCTIONS) and name else repr(function)


class FunctionNode(Node):
    """Any other callable: a function of one example, of unknown shapes."""

    tells_rank = False

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.least, self.most = _arity(layer)

    @property
    def function(self) -> Any:
        """What is called."""
        return self.layer

    @property
    def type(self) -> str:
        return "function" if isinstance(self.layer, _FUNCTIONS) else type(self.layer).__name__

    @property
    def expression(self) -> str:
        return _written(self.layer)

    def leaf(self) -> Leaf:
        text = getattr(self.function, "__module__", "") or ""
        if isinstance(self.function, _FUNCTIONS):
            text += f".{getattr(self.function, '__qualname__', _written(self.function))}"
        return Leaf(self.layer, self.type, {"function": text})

    def call(self, values: Sequence[Any], run: Run) -> tuple[Any, ...]:
        return (self._each(self._compute, values, run),)

    def vjp(self, values: Sequence[Any], grads: Sequence[Any], run: Run) -> tuple[Any, ...]:
        results = self._each(self._gradient, (*values, *grads), run)
        return results if isinstance(results, tuple) else (results,)

    def _compute(self, *values: Any) -> Any:
        rules = rules_of_any((self.function, *values))
        return rules.call_function(self.function, values) if rules else self.function(*values)

    def _gradient(self, *values_and_grad: Any) -> Any:
        if (own := getattr(self.layer, "vjp", None)) is not None:
            return own(*values_and_grad)
        rules = rules_of_any((self.function, *values_and_grad[:-1]))
        if rules is None:
            raise KindError(
                f"{_written(self.function)} has no gradient: it is a plain function. Give it one "
                "with lrnorm.net.elementwise(function, vjp=lambda x, g: …), or a method vjp(x, g)."
            )
        return rules.vjp_of_function(self.function, values_and_grad[:-1], values_and_grad[-1])

    def _each(self, verb: Callable[..., Any], values: Sequence[Any], run: Run) -> Any:
        """What the verb gives for each example of a batch; an empty batch goes in whole, as there
        is no other way to learn the shape of what comes out."""
        if not run.batched or not len(values[0]):
            return verb(*values)
        results = [verb(*each) for each in zip(*values, strict=True)]
        if isinstance(results[0], tuple):
            return tuple(stacked(pieces) for pieces in zip(*results, strict=True))
        return stacked(results)


def _arity(function: Any) -> tuple[int, int | None]:
    """How many inputs a function needs, and how many it can take; None for any number."""
    if isinstance(function, np.ufunc):
        return function.nin, function.nin
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # compiled functions that do not tell
        return 1, None
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in places)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return max(needed, 1), None
    return max(needed, 1), len(places)


@dataclass(frozen=True, repr=False)
class Elementwise:
    """What `elementwise` makes."""

    function: Callable[..., Any]
    vjp: Callable[..., Any] | None

    def __call__(self, x: Any) -> Any:
        return self.function(x)

    def __repr__(self) -> str:
        return f"elementwise({_written(self.function)})"


def elementwise(
    function: Callable[[Any], Any], *, vjp: Callable[[Any, Any], Any] | None = None
) -> Elementwise:
    """The function as a layer that keeps the shape of its input: y[i] = function(x[i]).

    A net infers shapes through it in both directions, and hands it whole batches; a bare function
    has unknown shapes and gets one example after the other. `vjp(x, g)` is the gradient of
    sum(g * function(x)), which a net's vjp needs where tensors do not tell it.

    Errors: KindError (a TypeError) for what cannot be called.

    Source: Wolfram's ElementwiseLayer.

    >>> import numpy as np
    >>> from lrnorm import NetChain
    >>> from lrnorm.net import elementwise
    >>> square = elementwise(np.square, vjp=lambda x, g: 2 * g * x)
    >>> net = NetChain([square], input=(3,))
    >>> net.ports, net(np.array([1.0, 2.0, 3.0])), net.vjp(np.array([1.0, 2.0, 3.0]))
    ({'Input': (3,), 'Output': (3,)}, array([1., 4., 9.]), array([2., 4., 6.]))
    """
    for name, value in (("function", function), ("vjp", vjp)):
        if not callable(value) and not (name == "vjp" and value is None):
            raise KindError(f"elementwise takes a {name} that can be called, got {value!r}.")
    return Elementwise(function, vjp or getattr(function, "vjp", None))


@register(Elementwise)
class ElementwiseNode(FunctionNode):
    """A function of unknown kind that keeps shapes: whole batches at once."""

    inputs = ("Input",)
    type = "elementwise"

    @property
    def function(self) -> Any:
        return self.layer.function

    def claims(self, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
        return same_shape(None, inputs, outputs)

    def _each(self, verb: Callable[..., Any], values: Sequence[Any], run: Run) -> Any:
        return verb(*values)
