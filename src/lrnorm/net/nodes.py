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
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from lrnorm._function.dispatch import front_of
from lrnorm._layers.evaluation import Run
from lrnorm._layers.layer import LocalResponseNormalizationLayer
from lrnorm._layers.shapes import Shape, contradict, merged
from lrnorm._layers.structure import Leaf
from lrnorm._spec.errors import KindError
from lrnorm.net import functions
from lrnorm.net.functions import FUNCTIONS, Elementwise, written

Shapes = list[Shape | None]


class Node:
    """Interface of a layer inside a net: ports, shapes, arrays, call and gradient."""

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
        """The entry of this layer in `information`."""
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
        """Shapes of the ports as far as they follow from each other; None for the rest."""
        return [None] * len(inputs), [None] * len(outputs)

    def call(self, values: Sequence[Any], run: Run) -> tuple[Any, ...]:
        """One value for each output."""
        raise NotImplementedError

    def vjp(self, values: Sequence[Any], grads: Sequence[Any], run: Run) -> tuple[Any, ...]:
        """The gradients by the inputs of sum(grad * output)."""
        raise NotImplementedError


class NetNode(Node):
    """A net inside a net, which is evaluated as the layers that it holds."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.inputs, self.outputs = tuple(layer.inputs), tuple(layer.outputs)


def same_shape(own: Shape | None, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
    """The claims of a layer whose ports all have one shape; `own` is what it knows of it."""

    def says(others: Shapes) -> Shape | None:
        shape = own
        for other in others:
            shape = shape if contradict(shape, other) else merged(shape, other)
        return shape

    known = [*inputs, *outputs]
    said = [says([*known[:i], *known[i + 1 :]]) for i in range(len(known))]
    return said[: len(inputs)], said[len(inputs) :]


# Package of a class or a function → where the rules for it stand.
_RULES_ELSEWHERE = {
    "torch": "lrnorm.net.torch_modules",
    "jax": "lrnorm.net.jax_functions",
    "jaxlib": "lrnorm.net.jax_functions",
}


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
    """The rules of the frameworks whose layers, functions or arrays were used so far."""
    return [sys.modules[m] for m in set(_RULES_ELSEWHERE.values()) if m in sys.modules]


def brought_home(value: Any, home: types.ModuleType | None) -> Any:
    """An array as one of the framework that the net was fed, of NumPy for None."""
    rules = rules_of_any([value])
    if rules is not home and rules is not None:
        value = rules.array_of(value)
    foreign = home is not None and rules is not home and isinstance(value, np.ndarray | np.generic)
    return home.array_from(value) if home is not None and foreign else value


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
        leaf: Leaf = self.layer._structure().leaves[()]
        return leaf

    def claims(self, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
        return same_shape(self.layer.input, inputs, outputs)

    def call(self, values: Sequence[Any], run: Run) -> tuple[Any, ...]:
        return (self.layer._in_net("forward", run.batched, *values),)

    def vjp(self, values: Sequence[Any], grads: Sequence[Any], run: Run) -> tuple[Any, ...]:
        return (self.layer._in_net("vjp", run.batched, *values, *grads),)


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


class FunctionNode(Node):
    """Any other callable: a function of one example; the table knows the shapes of some."""

    tells_rank = False

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.rule = functions.rule_of(self.function)
        joins = self.rule is not None and self.rule.joins
        self.least, self.most = (1, None) if joins else _arity(self.function)

    @property
    def function(self) -> Any:
        """The callable that computes."""
        return self.layer

    @property
    def type(self) -> str:
        name = getattr(functions.unpacked(self.layer)[0], "__name__", "<")
        return name if name[0] != "<" else self._kind

    @property
    def _kind(self) -> str:
        return "function" if isinstance(self.layer, FUNCTIONS) else type(self.layer).__name__

    @property
    def expression(self) -> str:
        return written(self.layer)

    def leaf(self) -> Leaf:
        text = getattr(self.function, "__module__", "") or ""
        if isinstance(self.function, FUNCTIONS):
            text += f".{getattr(self.function, '__qualname__', written(self.function))}"
        return Leaf(self.layer, self.type, {"function": text})

    def claims(self, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
        if self.rule is None:
            return super().claims(inputs, outputs)
        said, output = functions.shapes(self.rule, self.function, inputs, outputs[0])
        return said, [output]

    def call(self, values: Sequence[Any], run: Run) -> tuple[Any, ...]:
        whole = run.batched and self._takes_batches(values)
        return (self._each(partial(self._compute, batched=whole), values, run),)

    def vjp(self, values: Sequence[Any], grads: Sequence[Any], run: Run) -> tuple[Any, ...]:
        whole = run.batched and self._takes_batches((*values, *grads))
        results = self._each(partial(self._gradient, batched=whole), (*values, *grads), run)
        return results if isinstance(results, tuple) else (results,)

    def _takes_batches(self, values: Sequence[Any]) -> bool:
        """True if it computes the same of a batch of tensors as of each example: a trace then
        holds for batches of any length. NumPy's functions may round a batch otherwise."""
        ranks = {getattr(value, "ndim", None) for value in values}
        return self.rule is not None and len(ranks) == 1 and rules_of_any(values) is not None

    def _of(self, rules: types.ModuleType | None, batched: bool = False) -> Callable[..., Any]:
        """The function of separate values. A function of NumPy, which would record no gradient, is
        replaced by the one of that name in the framework."""
        function, words = functions.unpacked(self.function)
        if batched and self.rule is not None and self.rule.joins:
            axis = functions.joining_axis(self.function)
            words = {next(iter(words), "axis"): axis + (axis >= 0)}
        if rules is not None and functions.home_of(function) == "numpy":
            names = self.rule.names if self.rule else (getattr(function, "__name__", ""),)
            twins = (getattr(rules.LIBRARY, name, None) for name in names)
            function = next(filter(None, twins), function)
        if self.rule is not None and self.rule.joins:
            return lambda *values: function(list(values), **words)
        return partial(function, **words) if words else function

    def _compute(self, *values: Any, batched: bool = False) -> Any:
        rules = rules_of_any((self.function, *values))
        function = self._of(rules, batched)
        return rules.call_function(function, values) if rules else function(*values)

    def _gradient(self, *values_and_grad: Any, batched: bool = False) -> Any:
        """The gradient by the inputs: from the layer, from the framework, or from the table of
        functions."""
        if (own := getattr(self.layer, "vjp", None)) is not None:
            return own(*values_and_grad)
        *values, grad = values_and_grad
        rules = rules_of_any((self.function, *values))
        if rules is not None:
            return rules.vjp_of_function(self._of(rules, batched), values, grad)
        if self.rule is not None:
            return functions.gradient(self.rule, self.function, values, grad)
        raise KindError(
            written(self.layer),
            "has no gradient: it is a plain function",
            way_out="Give it one with lrnorm.net.elementwise(function, vjp=…), where vjp takes "
            "the inputs and g, or pass an object with a method vjp(x, g).",
        )

    def _each(self, verb: Callable[..., Any], values: Sequence[Any], run: Run) -> Any:
        """The verb applied to each example of a batch; an empty batch is passed whole, as there
        is no other way to learn the shape of what comes out."""
        if not run.batched or self._takes_batches(values) or not len(values[0]):
            return verb(*values)
        results = [verb(*each) for each in zip(*values, strict=True)]
        if isinstance(results[0], tuple):
            return tuple(stacked(pieces) for pieces in zip(*results, strict=True))
        return stacked(results)


def _arity(function: Any) -> tuple[int, int | None]:
    """The least and the largest number of inputs of a function; None for any number."""
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


@register(Elementwise)
class ElementwiseNode(FunctionNode):
    """A function of unknown kind that keeps shapes: whole batches at once."""

    type = "elementwise"

    def __init__(self, layer: Elementwise) -> None:
        super().__init__(layer)
        if self.least == 1:
            self.inputs = ("Input",)

    @property
    def function(self) -> Any:
        return self.layer.function

    def claims(self, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
        return same_shape(None, inputs, outputs)

    def _gradient(self, *values_and_grad: Any, batched: bool = False) -> Any:
        if self.layer.vjp is not None:
            return self.layer.vjp(*values_and_grad)
        return super()._gradient(*values_and_grad)

    def _each(self, verb: Callable[..., Any], values: Sequence[Any], run: Run) -> Any:
        return verb(*values)
