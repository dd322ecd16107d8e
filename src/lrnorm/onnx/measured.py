"""Runs the subgraph of a candidate by itself and measures what it computes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from lrnorm._identify import Identification, identify
from lrnorm._identify.shapes import axis_of, computes, seen_whole
from lrnorm._identify.subject import TYPES
from lrnorm._spec.errors import FileError, IdentificationError
from lrnorm._spec.spec import LRNSpec
from lrnorm.onnx.candidates import Candidate
from lrnorm.onnx.graph import Scope, anonymous, described, is_op
from lrnorm.onnx.segments import session_of
from lrnorm.onnx.sizes import OTHERS, USUAL, Chosen, choices, number
from lrnorm.onnx.writing import part_of

Shape = tuple[int, ...]

_DOOR = "measuring what operators compute"


class Measurer:
    """Measures candidates of one model; equal subgraphs are measured once."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self._known: dict[Any, tuple[LRNSpec, int] | None] = {}

    def measure(self, scope: Scope, candidate: Candidate) -> tuple[LRNSpec, int] | None:
        """(spec, axis), or None for what is not an LRN, or cannot be run by itself."""
        dtype, sizes = scope.dtype(candidate.source), scope.sizes(candidate.source)
        if dtype not in TYPES or not sizes:
            return None
        part = _Part(self._model, scope, candidate, dtype)
        unknown: dict[str, int] = {}
        same = [unknown.setdefault(n, -len(unknown)) if isinstance(n, str) else n for n in sizes]
        key = dtype, tuple(same), part.key
        if key not in self._known:
            self._known[key] = _measured(part, sizes)
        return self._known[key]


def _measured(part: _Part, sizes: tuple[int | str, ...]) -> tuple[LRNSpec, int] | None:
    for shape, chosen in choices(sizes, USUAL):
        try:
            run, dtype = part.runner(shape, chosen)
            axis = axis_of(run, shape, dtype)
            break
        except IdentificationError:
            continue
    else:
        return None

    def again(channels: int) -> Identification:
        others = {**chosen, name: channels} if isinstance(name := sizes[axis], str) else chosen
        wider = (*shape[:axis], channels, *shape[axis + 1 :])
        return identify(part.runner(wider, others)[0], shape=wider, axis=axis, dtype=dtype)

    others, chosen_others = next(choices(sizes, OTHERS))
    try:
        spec = seen_whole(identify(run, shape=shape, axis=axis, dtype=dtype), again).spec
        if others != shape:
            run, dtype = part.runner(others, chosen_others)
    except IdentificationError:
        return None
    same = others == shape or computes(run, spec, others, axis, dtype)
    return (spec, axis) if same else None


def _in_float32(model: ModelProto) -> ModelProto:
    """The model in float32 in place of the type of its input."""
    copy = ModelProto()
    copy.CopyFrom(model)
    kind = model.graph.input[0].type.tensor_type.elem_type

    for value in (*copy.graph.input, *copy.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    attributes = [attribute for node in copy.graph.node for attribute in node.attribute]
    for tensor in (*copy.graph.initializer, *(attribute.t for attribute in attributes)):
        if tensor.data_type == kind:
            array = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for attribute in attributes:
        if attribute.name == "to" and attribute.i == kind:  # of a Cast
            attribute.i = TensorProto.FLOAT
    return copy


class _Part:
    """A candidate as a model of its own, under names that do not depend on those of the model."""

    def __init__(self, model: ModelProto, scope: Scope, candidate: Candidate, dtype: str) -> None:
        self._model, self._dtype, self._axes = model, dtype, candidate.axes
        names = {candidate.source: "source"}
        inside = {candidate.source, *(name for node in candidate.nodes for name in node.output)}
        self._nodes: list[NodeProto] = []
        self._shapes: dict[str, Any] = {}  # of values outside, with names for unknown sizes
        for node, copy in zip(candidate.nodes, anonymous(candidate.nodes, names), strict=True):
            if is_op(node, "Shape") and node.input[0] not in inside:
                self._shapes[copy.output[0]] = scope.value(node.output[0])
            else:
                self._nodes.append(copy)
        self._result = names[candidate.last.output[0]]
        values = {names[name]: scope.constant(name) for name in names}
        self._constants = [
            numpy_helper.from_array(value, name)
            for name, value in values.items()
            if value is not None
        ]

    @property
    def key(self) -> Any:
        """Equal for candidates that compute the same."""
        protos: list[Any] = [*self._nodes, *self._constants]
        return tuple(proto.SerializeToString() for proto in protos), repr(self._shapes)

    def runner(self, shape: Shape, chosen: Chosen) -> tuple[Callable[[Any], Any], str]:
        """The subgraph as a function of inputs of this shape, and the type that they have.

        Errors: IdentificationError where ONNX Runtime does not take it.
        """
        source = described("source", self._dtype, shape)
        result = described(self._result, self._dtype, None)
        tensors = [*self._constants, *self._known_shapes(chosen)]
        model = part_of(self._model, self._nodes, [source], [result], tensors)
        for dtype in dict.fromkeys((self._dtype, "float32")):  # ONNX Runtime may lack the type
            typed = model if dtype == self._dtype else _in_float32(model)
            with contextlib.suppress(FileError):
                session = session_of(typed.SerializeToString(), 1, door=_DOOR)
                break
        else:
            raise IdentificationError("ONNX Runtime does not run it by itself", "raises")

        def run(x: Any) -> Any:
            y = session.run(None, {"source": x})[0]
            return y if self._axes is None else np.transpose(y, np.argsort(self._axes))

        return run, dtype

    def _known_shapes(self, chosen: Chosen) -> list[TensorProto]:
        """Shapes of values outside, as far as they are the input's: a batch size, for example."""
        tensors = []
        for name, sizes in self._shapes.items():
            numbers = [None] if sizes is None else [number(n, chosen) for n in sizes.tolist()]
            if None in numbers:
                raise IdentificationError("it takes a shape that is not known", "raises")
            tensors.append(numpy_helper.from_array(np.array(numbers, dtype=np.int64), name))
        return tensors
