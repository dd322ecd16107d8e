"""Runs the subgraph of a candidate by itself and measures what it computes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lrnorm._identify import exact, identify
from lrnorm._identify.subject import TYPES
from lrnorm._spec.errors import IdentificationError, LRNormError
from lrnorm._spec.spec import LRNSpec
from lrnorm.onnx.candidates import Candidate
from lrnorm.onnx.graph import Scope, is_op, reads
from lrnorm.onnx.segments import session_of
from lrnorm.onnx.sizes import OTHERS, USUAL, Chosen, choices, number

SEVERAL_CHANNELS = (64, 256)  # where a window reaches from end to end of the axis

Shape = tuple[int, ...]


class Measurer:
    """Measures candidates of one model; equal subgraphs are measured once."""

    def __init__(self, model: ModelProto, folder: str) -> None:
        self._model, self._folder = model, folder
        self._known: dict[Any, tuple[LRNSpec, int] | None] = {}

    def measure(self, scope: Scope, candidate: Candidate) -> tuple[LRNSpec, int] | None:
        """(spec, axis), or None for what is not an LRN, or cannot be run by itself."""
        dtype, sizes = scope.dtype(candidate.source), scope.sizes(candidate.source)
        if dtype not in TYPES or sizes is None or not sizes:
            return None
        part = _Part(self._model, self._folder, scope, candidate, dtype)
        key = part.key(sizes)
        if key not in self._known:
            self._known[key] = _measured(part, sizes)
        return self._known[key]


def _measured(part: _Part, sizes: tuple[int | str, ...]) -> tuple[LRNSpec, int] | None:
    for shape, chosen in choices(sizes, USUAL):
        run = part.runner(shape, chosen)
        axis = None if run is None else _axis(run)
        if run is None or axis is None:
            continue
        found = _spec(run, axis)
        if found is None:
            return None
        if found.before is None or found.after is None:
            found = _wider(part, sizes, axis) or found
        others, chosen = next(choices(sizes, OTHERS))
        if others != shape and not _agrees(part.runner(others, chosen), found, axis):
            return None
        return found, axis
    return None


def _spec(run: _Run, axis: int) -> LRNSpec | None:
    try:
        return identify(run, shape=run.shape, axis=axis, dtype=run.dtype).spec
    except IdentificationError:
        return None


def _wider(part: _Part, sizes: tuple[int | str, ...], axis: int) -> LRNSpec | None:
    """The spec on an axis of so many channels that the window ends before it, if it can have as
    many."""
    first, chosen = next(choices(sizes, USUAL))
    for channels in SEVERAL_CHANNELS:
        if isinstance(name := sizes[axis], str):
            chosen[name] = channels
        run = part.runner((*first[:axis], channels, *first[axis + 1 :]), chosen)
        found = None if run is None else _spec(run, axis)
        if found is None or (found.before is not None and found.after is not None):
            return found
    return None


def _agrees(run: _Run | None, spec: LRNSpec, axis: int) -> bool:
    """Whether it computes the same for other sizes."""
    if run is None:
        return False
    shape = run.shape
    size = math.sqrt(abs((spec.bias or 1.0) / spec.scale)) if spec.scale else 1.0
    x = (np.random.default_rng(2).standard_normal(shape) * min(size, 1e3)).astype(np.float32)
    x = x.astype(run.dtype)
    try:
        y = np.asarray(run(x), dtype=np.float64)
    except Exception:  # ONNX Runtime's errors share no class
        return False
    right = exact.forward(np.moveaxis(x.astype(np.float64), axis, -1), spec)
    right = np.moveaxis(right, -1, axis)
    if y.shape != shape:
        return False
    with np.errstate(all="ignore"):
        close = np.abs(y - right) <= 1e3 * 2.0 ** (1 - TYPES[run.dtype][0]) * np.abs(right)
    return bool(np.all(close | (np.isnan(y) & np.isnan(right))))


def _axis(run: _Run) -> int | None:
    """The one axis along which a value changes others; None if there are several, or if the
    result has another shape."""
    rng = np.random.default_rng(0)
    shape, dtype = run.shape, run.dtype
    moved: set[int] = set()
    for size in (1.0, 60.0) if dtype == "float16" else (1.0, 1e3, 1e6):
        x = (rng.uniform(0.5, 1.5, shape) * size).astype(dtype)
        try:
            y = np.asarray(run(x))
            place = tuple(n // 2 for n in shape)
            x[place] *= 4
            other = np.asarray(run(x))
        except Exception:
            return None
        if y.shape != shape:
            return None
        eps = float(np.finfo(y.dtype).eps)
        with np.errstate(all="ignore"):
            same = np.abs(other - y) <= 8 * eps * np.abs(y)
            changed = np.argwhere(~(same | (np.isnan(other) & np.isnan(y))))
        moved |= {axis for axis in range(len(shape)) if np.any(changed[:, axis] != place[axis])}
    if len(moved) > 1:
        return None
    return moved.pop() if moved else min(1, len(shape) - 1)


class _Run:
    """The subgraph as a function of its one input."""

    def __init__(self, session: Any, shape: Shape, dtype: str, axes: Shape | None) -> None:
        self._session, self.shape, self.dtype, self._axes = session, shape, dtype, axes

    def __call__(self, x: Any) -> Any:
        y = self._session.run(None, {"lrnorm_source": x})[0]
        return y if self._axes is None else np.transpose(y, np.argsort(self._axes))


def _session(model: ModelProto) -> Any:
    """ONNX Runtime's session of the model; None where it refuses."""
    try:
        return session_of(model.SerializeToString(), 1, "measuring what operators compute")
    except LRNormError:
        raise
    except Exception:  # errors of ONNX Runtime share no class
        return None


def _in_float32(model: ModelProto, kind: int) -> ModelProto:
    """The model in float32 in place of another type."""
    copy = ModelProto()
    copy.CopyFrom(model)

    def narrowed(tensor: TensorProto) -> None:
        if tensor.data_type == kind:
            array = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    for value in (*copy.graph.input, *copy.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in copy.graph.initializer:
        narrowed(tensor)
    for node in copy.graph.node:
        for attribute in node.attribute:
            narrowed(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == kind:
                attribute.i = TensorProto.FLOAT
    return copy


class _Part:
    """A candidate as a model of its own."""

    def __init__(
        self, model: ModelProto, folder: str, scope: Scope, candidate: Candidate, dtype: str
    ) -> None:
        self._model, self._folder, self._scope = model, folder, scope
        self._candidate, self.dtype = candidate, dtype

    def key(self, sizes: Any) -> Any:
        """Equal for candidates that compute the same: names do not count."""
        names: dict[str, str] = {self._candidate.source: "source"}
        unknown: dict[str, int] = {}
        sizes = [unknown.setdefault(n, -len(unknown)) if isinstance(n, str) else n for n in sizes]
        parts = []
        for node in self._candidate.nodes:
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = copy.doc_string = ""
            for list_ in (copy.input, copy.output):
                list_[:] = [name and names.setdefault(name, f"v{len(names)}") for name in list_]
            parts.append(copy.SerializeToString())
        constants = self._constants()
        data = tuple(
            (names.get(t.name, t.name), bytes(numpy_helper.to_array(t).tobytes()))
            for t in constants
        )
        return self.dtype, tuple(sizes), tuple(parts), data

    def _constants(self) -> list[TensorProto]:
        wanted = sorted({name for node in self._candidate.nodes for name in reads(node)})
        values = {name: self._scope.constant(name) for name in wanted}
        return [numpy_helper.from_array(v, name) for name, v in values.items() if v is not None]

    def runner(self, shape: Shape, chosen: Chosen) -> _Run | None:
        """The subgraph on inputs of this shape; None where ONNX Runtime does not take it."""
        source, last = self._candidate.source, self._candidate.last
        model = ModelProto()
        model.ir_version = min(self._model.ir_version or 8, 10)
        model.opset_import.extend(self._model.opset_import)
        model.functions.extend(self._model.functions)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        graph = model.graph
        graph.name = "part"
        graph.input.append(helper.make_tensor_value_info("lrnorm_source", kind, shape))
        graph.output.append(helper.make_tensor_value_info(last.output[0], kind, None))
        graph.initializer.extend(self._constants())
        graph.node.append(helper.make_node("Identity", ["lrnorm_source"], [source]))
        derived = {source}
        for node in self._candidate.nodes:
            if is_op(node, "Shape") and node.input[0] not in derived:
                known = self._known_shape(node, chosen)
                if known is None:
                    return None
                graph.initializer.append(known)
                continue
            derived.update(node.output)
            graph.node.append(node)
        session = _session(model)
        if session is None and self.dtype != "float32":  # a type that ONNX Runtime lacks
            session, kind = _session(_in_float32(model, kind)), TensorProto.FLOAT
        if session is None:
            return None
        dtype = "float32" if kind == TensorProto.FLOAT else self.dtype
        return _Run(session, shape, dtype, self._candidate.axes)

    def _known_shape(self, node: NodeProto, chosen: Chosen) -> TensorProto | None:
        """The shape of a value outside, as far as it is the input's: a batch size, for example."""
        value = self._scope.value(node.output[0])
        numbers = [None] if value is None else [number(size, chosen) for size in value.tolist()]
        if any(found is None for found in numbers):
            return None
        return numpy_helper.from_array(np.array(numbers, dtype=np.int64), node.output[0])
