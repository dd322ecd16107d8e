"""LRN nodes written out in other operators, for runtimes that lack the node or run it slowly."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lrnorm import conventions
from lrnorm._spec.errors import ParameterError
from lrnorm._spec.spec import LRNSpec
from lrnorm.onnx.attributes import spec_of
from lrnorm.onnx.graph import (
    Found,
    Model,
    Scope,
    copied,
    free,
    is_op,
    label,
    labels,
    scopes,
    with_data,
)

_log = logging.getLogger("lrnorm.onnx")

WIDEST_BAND = 1024  # channels: a matrix of their square costs more than the LRN beyond
_LAST = np.iinfo(np.int64).max


def decompose(model: Model, *, runtime: str | None = None, form: str = "auto") -> ModelProto:
    """A copy of the model in which every LRN node is written out in other operators.

        LRN(x)   →   x / (bias + Σ (√scale · x[j])²) ** beta

    Each form scales the input before it squares it, so that float16 squares stay in the type.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        It is not changed. Of a path the external data come into the copy.
    runtime : str
        Where the model will run, a name in `lrnorm.conventions.runtimes`: "auto" takes the form
        that is fastest there. Where that is the operator itself, the node stays, and the logger
        "lrnorm.onnx" says so.
    form : str
        "conv": a 1×1 convolution with a band of ones, three to ten times faster than the node in
        ONNX Runtime's CPU; operators of four axes only; a nan or inf spreads over the channels of
        its pixel. "pool": an average pool along the channels. "slices": shifted slices, added.
        In these two nan and inf stay in their windows. "auto": as the runtime has it.

    The conv form needs to know how many channels there are; where it does not, or where they are
    more than 1024, the pool form takes its place; of five axes or more, the slices. Square roots
    and products stand for the powers 0.25, 0.5, 0.75, 1 and 1.5. Nodes inside functions stay.

    Errors: ParameterError (a ValueError) for an unknown form or runtime, and for "auto" without a
    runtime; FileError (an OSError) and KindError (a TypeError) as in `specs`.

    Source: the operators Conv, AveragePool, Slice of the ONNX standard.

    >>> import lrnorm
    >>> model = lrnorm.onnx.to_onnx(lrnorm.LocalResponseNormalizationLayer(input=(96, 55, 55)))
    >>> faster = lrnorm.onnx.decompose(model, runtime="onnxruntime")
    >>> [node.op_type for node in faster.graph.node]
    ['Mul', 'Mul', 'Conv', 'Sqrt', 'Div']
    """
    wanted = _form(runtime, form)
    copy, folder = copied(model)
    for scope in scopes(copy, folder):
        nodes = [node for node in scope.nodes if is_op(node, "LRN")]
        for name, node in zip(labels(nodes), nodes, strict=True):
            path = scope.prefix + name
            if wanted == "operator":
                _log.info("%s stays: the LRN node is the fastest form in %s", path, runtime)
                continue
            reason = _Writer(copy, scope, node, wanted).write(path)
            if reason:
                _log.warning("%s stays an LRN node: %s", path, reason)
    return with_data(copy, model, folder)


def _form(runtime: str | None, form: str) -> str:
    if form not in ("auto", *_SUMS):
        raise ParameterError("form", f"must be auto, {', '.join(_SUMS)}", value=form)
    if runtime is None:
        if form == "auto":
            raise ParameterError(
                "runtime",
                "must be given for the form auto, because the fastest form depends on it",
                way_out='Pass runtime="onnxruntime", for example, or form="conv".',
            )
        return form
    if runtime not in conventions.runtimes:
        names = ", ".join(conventions.runtimes)
        raise ParameterError("runtime", f"must be one of {names}", value=runtime)
    return conventions.runtimes[runtime].form if form == "auto" else form


class _Writer:
    """Writes the nodes that stand in place of one LRN node."""

    def __init__(self, model: ModelProto, scope: Scope, node: NodeProto, form: str) -> None:
        self._scope, self._node, self._form = scope, node, form
        self._opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self._taken: dict[str, Any] = {**scope.producers, **scope.uses, **scope.initializers}
        self._nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []
        self._dtype = scope.dtype(node.input[0])
        sizes = scope.sizes(node.input[0])
        self._rank = None if sizes is None else len(sizes)
        self._channels = sizes[1] if sizes and len(sizes) > 1 else None

    def write(self, path: str) -> str | None:
        """Puts the nodes in place; or says why the LRN node stays."""
        if any(attribute.ref_attr_name for attribute in self._node.attribute):
            return "its numbers are those of a function's call"
        if self._dtype is None:
            return "the type of its input is not known"
        if self._rank is None:
            return "the rank of its input is not known"
        spec = spec_of(path, Found(self._node, {a.name: a for a in self._node.attribute}))
        form = self._form
        if form == "conv" and not (
            isinstance(self._channels, int) and self._channels <= WIDEST_BAND
        ):
            form = "pool"
        if form == "pool" and not isinstance(self._channels, int) and self._rank > 4:
            form = "slices"  # ONNX Runtime pools three axes at most
        x = self._node.input[0]
        if spec.beta == 0:
            self._make("Identity", x)
        else:
            energy = _SUMS[form](self, x, spec)
            self._make("Div", x, self._power(energy, spec.beta))
        self._put()
        _log.info("%s: %s in place of the LRN node", path, form)
        return None

    def _put(self) -> None:
        result, name = self._node.output[0], label(self._node)
        self._nodes[-1].output[0] = result
        self._nodes[-1].name = name
        graph = self._scope.graph
        at = next(i for i, node in enumerate(graph.node) if result in node.output)
        rest = list(graph.node)
        del graph.node[:]
        graph.node.extend([*rest[:at], *self._nodes, *rest[at + 1 :]])
        graph.initializer.extend(self._tensors)

    def _name(self, word: str) -> str:
        name = free(f"{self._node.output[0]}/{word}", self._taken)
        self._taken[name] = None
        return name

    def _make(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        """A node of these inputs, names or constants; returns the name of its result."""
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        name = self._name(kind.lower())
        self._nodes.append(helper.make_node(kind, names, [name], **attributes))
        return name

    def _constant(self, value: Any) -> str:
        """Floats in the type of the input; lists of integers as they are."""
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(np.dtype(self._dtype))
        tensor = numpy_helper.from_array(array, self._name("number"))
        self._tensors.append(tensor)
        return tensor.name

    def _power(self, energy: str, beta: float) -> str:
        """D ** beta, by roots where they are few."""
        roots = {0.25: (2,), 0.5: (1,), 0.75: (1, 2), 1.0: (0,), 1.5: (0, 1)}.get(beta)
        if roots is None:
            return self._make("Pow", energy, beta)
        levels = [energy]
        while len(levels) <= max(roots):
            levels.append(self._make("Sqrt", levels[-1]))
        first, *rest = (levels[level] for level in roots)
        return self._make("Mul", first, *rest) if rest else first

    def _scaled_square(self, x: str, scale: float) -> str:
        root = math.sqrt(abs(scale))
        scaled = x if root == 1 else self._make("Mul", x, root)
        return self._make("Mul", scaled, scaled)

    def conv(self, x: str, spec: LRNSpec) -> str:
        """bias + Σ in one 1×1 convolution; other ranks than four are folded for it."""
        channels = self._channels
        assert isinstance(channels, int)
        square = self._scaled_square(x, spec.scale)
        if self._rank != 4:
            four = [0, 0, -1, 1] if self._rank != 2 else [0, 0, 1, 1]
            folded = self._make("Reshape", square, four)
        else:
            folded = square
        offset = np.arange(channels)[None] - np.arange(channels)[:, None]
        before, after = spec.ends(channels)
        band = ((offset >= -before) & (offset <= after)) * math.copysign(1.0, spec.scale)
        energy = self._make(
            "Conv", folded, band[:, :, None, None], np.full(channels, spec.bias, np.float64)
        )
        return energy if self._rank == 4 else self._make("Reshape", energy, self._make("Shape", x))

    def pool(self, x: str, spec: LRNSpec) -> str:
        """An average pool of alpha · x²: over (batch, 1, channels, places) where the number of
        channels is known, else over one axis more than x has."""
        before, after = spec.ends(1)
        size = before + after + 1
        square = self._scaled_square(x, spec.scale * size)
        if isinstance(self._channels, int):
            planes = self._make("Reshape", square, [0, 1, self._channels, -1])
        else:
            planes = self._with_axes("Unsqueeze", square, [1])
        rank = 4 if isinstance(self._channels, int) else (self._rank or 4) + 1
        ends = [0] * (2 * rank)
        ends[2], ends[2 + rank] = before, after
        padded = self._pad(planes, ends)
        pooled = self._make(
            "AveragePool", padded, kernel_shape=[size, *[1] * (rank - 3)], strides=[1] * (rank - 2)
        )
        if isinstance(self._channels, int):
            mean = self._make("Reshape", pooled, self._make("Shape", x))
        else:
            mean = self._with_axes("Squeeze", pooled, [1])
        return self._biased(mean, spec)

    def slices(self, x: str, spec: LRNSpec) -> str:
        """Shifted slices of the padded squares, added."""
        before, after = spec.ends(1)
        ends = [0] * (2 * (self._rank or 0))
        ends[1], ends[1 + (self._rank or 0)] = before, after
        padded = self._pad(self._scaled_square(x, spec.scale), ends)
        size = before + after + 1
        total = self._slice(padded, 0, 1 - size or _LAST)
        for i in range(1, size):
            total = self._make("Add", total, self._slice(padded, i, i + 1 - size or _LAST))
        return self._biased(total, spec)

    def _biased(self, sums: str, spec: LRNSpec) -> str:
        if spec.scale < 0:
            return self._make("Sub", np.float64(spec.bias), sums)
        return self._make("Add", sums, np.float64(spec.bias))

    # Operators whose attributes became inputs in later sets.

    def _with_axes(self, kind: str, x: str, axes: list[int]) -> str:
        if self._opset < 13:
            return self._make(kind, x, axes=axes)
        return self._make(kind, x, axes_constant(axes))

    def _pad(self, x: str, ends: list[int]) -> str:
        if self._opset < 11:
            return self._make("Pad", x, pads=ends)
        return self._make("Pad", x, axes_constant(ends))

    def _slice(self, x: str, start: int, end: int) -> str:
        if self._opset < 10:
            return self._make("Slice", x, starts=[start], ends=[end], axes=[1])
        return self._make("Slice", x, *map(axes_constant, ([start], [end], [1])))


def axes_constant(numbers: list[int]) -> Any:
    return np.array(numbers, dtype=np.int64)


_SUMS: dict[str, Callable[[_Writer, str, LRNSpec], str]] = {
    "conv": _Writer.conv,
    "pool": _Writer.pool,
    "slices": _Writer.slices,
}
