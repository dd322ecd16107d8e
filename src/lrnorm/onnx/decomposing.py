"""LRN nodes written out in other operators, for runtimes that lack the node or run it slowly."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto

from lrnorm import conventions
from lrnorm._identify import exact
from lrnorm._spec.errors import ParameterError
from lrnorm._spec.spec import LRNSpec
from lrnorm.models.onnx import Located, label, labels
from lrnorm.onnx.attributes import clipped, spec_of
from lrnorm.onnx.graph import Model, Scope, copied, is_op, scopes, with_data
from lrnorm.onnx.writing import Writer, put, replaced

_log = logging.getLogger("lrnorm.onnx")

WIDEST_BAND = 1024  # channels: a matrix of their square costs more than the LRN beyond
_LAST = np.iinfo(np.int64).max


def decompose(
    model: Model, *, runtime: str | None = "onnxruntime", form: str = "auto"
) -> ModelProto:
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

    Errors: ParameterError (a ValueError) for an unknown form or runtime, and for "auto" with
    runtime=None; FileError (an OSError) and KindError (a TypeError) as in `specs`.

    Source: the operators Conv, AveragePool, Slice of the ONNX standard.

    >>> import lrnorm
    >>> model = lrnorm.onnx.to_onnx(lrnorm.LocalResponseNormalizationLayer(input=(96, 55, 55)))
    >>> faster = lrnorm.onnx.decompose(model, runtime="onnxruntime")
    >>> [node.op_type for node in faster.graph.node]
    ['Mul', 'Mul', 'Conv', 'Sqrt', 'Div']
    """
    wanted = _form(runtime, form)
    copy, folder = copied(model)
    # A graph is copied with what is inside it, so the inner ones come first.
    for scope in reversed(scopes(copy, folder)):
        nodes = [node for node in scope.nodes if is_op(node, "LRN")]
        writers = []
        for name, node in zip(labels(nodes), nodes, strict=True):
            path = scope.prefix + name
            if wanted == "operator":
                _log.info("%s stays: the LRN node is the fastest form in %s", path, runtime)
                continue
            writer = _Writer(copy, scope, node, wanted)
            if (reason := writer.why_not()) is not None:
                _log.warning("%s stays an LRN node: %s", path, reason)
                continue
            spec = spec_of(path, Located(node, {a.name: a for a in node.attribute}))
            _log.info("%s: %s in place of the LRN node", path, writer.write(spec))
            writers.append(writer)
        put(scope.graph, replaced(scope.nodes, writers), writers)
    return with_data(copy, model, folder)


def _form(runtime: str | None, form: str) -> str:
    if form not in ("auto", *_FORMS):
        raise ParameterError("form", f"must be auto, {', '.join(_FORMS)}", value=form)
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


def write_out(model: ModelProto, spec: LRNSpec) -> None:
    """Writes the one LRN node of a model out as this spec, which may be none that a node can be."""
    scope = scopes(model, "")[0]
    writer = _Writer(model, scope, scope.nodes[0], "pool")
    writer.write(spec)
    put(scope.graph, writer.nodes, [writer])


class _Writer(Writer):
    """Writes the nodes that stand in place of one LRN node."""

    def __init__(self, model: ModelProto, scope: Scope, node: NodeProto, form: str) -> None:
        super().__init__(scope, node)
        self._form = form
        self._opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        sizes = scope.sizes(node.input[0])
        self._rank = 0 if sizes is None else len(sizes)
        channels = sizes[1] if sizes and len(sizes) > 1 else None
        self._channels = channels if isinstance(channels, int) else None

    def why_not(self) -> str | None:
        """Why the LRN node stays."""
        if any(attribute.ref_attr_name for attribute in self.node.attribute):
            return "its numbers are those of a function's call"
        if self._dtype is None:
            return "the type of its input is not known"
        return None if self._rank else "the rank of its input is not known"

    def write(self, spec: LRNSpec) -> str:
        """Writes the nodes; returns the form that they have."""
        form, x = self._form, self.node.input[0]
        if form == "conv" and (self._channels is None or self._channels > WIDEST_BAND):
            form = "pool"
        if form == "pool" and self._channels is None and self._rank > 4:
            form = "slices"  # ONNX Runtime pools three axes at most
        if self._channels is None and None in (spec.before, spec.after):
            form = "running"
        if spec.beta == 0:
            self.make("Identity", x)
        else:
            energy = _SUMS[form](self, x, spec)
            self.make("Div", x, self._power(energy, spec.beta))
        self.nodes[-1].name = label(self.node)
        self.ends_as(self.node.output[0])
        return form

    def _power(self, energy: str, beta: float) -> str:
        """D ** beta, by roots where they are few."""
        roots = {0.25: (2,), 0.5: (1,), 0.75: (1, 2), 1.0: (0,), 1.5: (0, 1)}.get(beta)
        if roots is None:
            return self.make("Pow", energy, beta)
        levels = [energy]
        while len(levels) <= max(roots):
            levels.append(self.make("Sqrt", levels[-1]))
        first, *rest = (levels[level] for level in roots)
        return self.make("Mul", first, *rest) if rest else first

    def _scaled_square(self, x: str, scale: float) -> str:
        root = math.sqrt(abs(scale))
        scaled = x if root == 1 else self.make("Mul", x, root)
        return self.make("Mul", scaled, scaled)

    def conv(self, x: str, spec: LRNSpec) -> str:
        """bias + Σ in one 1×1 convolution; other ranks than four are folded for it."""
        channels = self._channels
        assert channels is not None
        band = exact.membership(spec, channels) * math.copysign(1.0, spec.scale)
        bias = np.full(channels, spec.bias, np.float64)
        square = self._scaled_square(x, spec.scale)
        return self.in_four_axes(
            square, self._rank, lambda four: self.make("Conv", four, band[:, :, None, None], bias)
        )

    def pool(self, x: str, spec: LRNSpec) -> str:
        """An average pool of alpha · x²: over (batch, 1, channels, places) where the number of
        channels is known, else over one axis more than x has."""
        before, after, size = self._window(spec)
        square = self._scaled_square(x, spec.scale * size)
        if self._channels is not None:
            planes, rank = self.make("Reshape", square, [0, 1, self._channels, -1]), 4
        else:
            planes, rank = self._with_axes("Unsqueeze", square, [1]), self._rank + 1
        padded = self._pad(planes, rank, 2, before, after)
        pooled = self.make(
            "AveragePool", padded, kernel_shape=[size, *[1] * (rank - 3)], strides=[1] * (rank - 2)
        )
        if self._channels is not None:
            mean = self.make("Reshape", pooled, self.make("Shape", x))
        else:
            mean = self._with_axes("Squeeze", pooled, [1])
        return self._biased(mean, spec)

    def slices(self, x: str, spec: LRNSpec) -> str:
        """Shifted slices of the padded squares, added."""
        before, after, size = self._window(spec)
        padded = self._pad(self._scaled_square(x, spec.scale), self._rank, 1, before, after)
        total = self._slice(padded, 0, 1 - size or _LAST)
        for i in range(1, size):
            total = self.make("Add", total, self._slice(padded, i, i + 1 - size or _LAST))
        return self._biased(total, spec)

    def running(self, x: str, spec: LRNSpec) -> str:
        """Running sums from the open end of the axis, read where the window ends."""
        square = self._scaled_square(x, spec.scale)
        if spec.before is None and spec.after is None:
            return self._biased(self.make("ReduceSum", square, integers([1]), keepdims=1), spec)
        backwards = spec.before is not None
        before, after = spec.ends(1)
        padded = self._pad(square, self._rank, 1, *((before, 0) if backwards else (0, after)))
        sums = self.make("CumSum", padded, integers(1), reverse=int(backwards))
        part = (0, -before or _LAST) if backwards else (after, _LAST)
        return self._biased(self._slice(sums, *part), spec)

    def _window(self, spec: LRNSpec) -> tuple[int, int, int]:
        """The ends and the width of the window, as far as it reaches where that is known."""
        known = spec if self._channels is None else clipped(spec, self._channels)
        before, after = known.ends(1)
        return before, after, before + after + 1

    def _biased(self, sums: str, spec: LRNSpec) -> str:
        if spec.scale < 0:
            return self.make("Sub", np.float64(spec.bias), sums)
        return self.make("Add", sums, np.float64(spec.bias))

    # Operators whose attributes became inputs in later sets.

    def _with_axes(self, kind: str, x: str, axes: list[int]) -> str:
        if self._opset < 13:
            return self.make(kind, x, axes=axes)
        return self.make(kind, x, integers(axes))

    def _pad(self, x: str, rank: int, axis: int, before: int, after: int) -> str:
        ends = [0] * (2 * rank)
        ends[axis], ends[axis + rank] = before, after
        if self._opset < 11:
            return self.make("Pad", x, pads=ends)
        return self.make("Pad", x, integers(ends))

    def _slice(self, x: str, start: int, end: int) -> str:
        if self._opset < 10:
            return self.make("Slice", x, starts=[start], ends=[end], axes=[1])
        return self.make("Slice", x, *map(integers, ([start], [end], [1])))


def integers(numbers: Any) -> Any:
    """An array of int64, as ONNX writes shapes and axes."""
    return np.array(numbers, dtype=np.int64)


_SUMS: dict[str, Callable[[_Writer, str, LRNSpec], str]] = {
    "conv": _Writer.conv,
    "pool": _Writer.pool,
    "slices": _Writer.slices,
    "running": _Writer.running,
}
_FORMS = ("conv", "pool", "slices")
