"""The parts of a loaded model that run in ONNX Runtime, as layers of a net."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lrnorm._fronts.config import show_config
from lrnorm._layers.evaluation import Run
from lrnorm._layers.shapes import Shape, contradict, is_known
from lrnorm._layers.structure import Leaf
from lrnorm._spec.errors import FileError, KindError, ShapeError, missing
from lrnorm.net.nodes import Node, Shapes, register, rules_of_any
from lrnorm.onnx.graph import anonymous, scopes

# ONNX Runtime's name of a type → NumPy's.
TYPES = {f"tensor({name})": name for name in ("bool", "float16", "int8", "int16", "int32", "int64")}
TYPES |= {f"tensor(u{name})": f"u{name}" for name in ("int8", "int16", "int32", "int64")}
TYPES |= {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(string)": "object"}

_SMALL = 64  # elements: what is larger is a weight, not a constant of a shape
_REMEMBERED = 64  # number of input shapes whose output shapes are remembered

Sizes = tuple[int | str | None, ...]


class Value(NamedTuple):
    """An input or output of a segment. A size is a number, a name that stands for one, or None."""

    name: str
    dtype: str
    sizes: Sizes | None
    batched: bool = False  # the first axis is the batch


def example_of(value: Value) -> Shape | None:
    """The shape of one example: a size that has a name is unknown."""
    sizes = value.sizes
    if sizes is None:
        return None
    return tuple(n if isinstance(n, int) else None for n in sizes[value.batched :])


def session_of(
    model: bytes, threads: int | None, part: str = "the model", door: str = "lrnorm.onnx.load"
) -> Any:
    """An ONNX Runtime session for the CPU. `door` is what needs it, for the error without.

    Errors: FileError, about that part, where ONNX Runtime refuses it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing(door, "the package onnxruntime", "'lrnorm[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an exception, not as a log besides
    options.intra_op_num_threads = show_config()["threads"] if threads is None else threads
    # Its threads wait busily for more work; between two segments that would slow down the LRN.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # errors of ONNX Runtime share no class
        raise FileError(
            part,
            f"is refused by ONNX Runtime: {' '.join(str(error).split())}",
            way_out="onnx.checker.check_model(model) tells whether the model is at fault.",
        ) from error


@dataclass(frozen=True, repr=False)
class OnnxSegment:
    """A part of an ONNX model that has no LRN, in ONNX Runtime: `lrnorm.onnx.load` makes them.

    A callable of examples, one for each of `inputs`; several outputs come as a tuple. Equal where
    models are, and picklable: the session is made again from the model's bytes.
    """

    model: bytes
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    batch: int | None  # how many examples a run takes; None for any number
    arrays: tuple[str, ...]  # the initializers that no segment before this one has
    threads: int | None
    sessions: dict[int, Any] = field(default_factory=dict, compare=False)  # by process

    @property
    def session(self) -> Any:
        """The session of this process: its threads do not come along with a fork."""
        if os.getpid() not in self.sessions:
            self.sessions[os.getpid()] = session_of(self.model, self.threads)
        return self.sessions[os.getpid()]

    def graph(self) -> Any:
        """The graph, as ONNX keeps it."""
        return onnx.load_from_string(self.model).graph

    @cached_property
    def given(self) -> Callable[[tuple[Shape | None, ...]], list[Shape | None]]:
        """The shapes of the outputs, where they follow from those of the inputs."""
        return lru_cache(_REMEMBERED)(self._given)

    def _given(self, shapes: tuple[Shape | None, ...]) -> list[Shape | None]:
        model = onnx.load_from_string(self.model)
        graph = model.graph
        small = [t for t in graph.initializer if math.prod(t.dims) <= _SMALL]
        graph.input.extend(  # of weights their shape is enough
            helper.make_tensor_value_info(t.name, t.data_type, t.dims)
            for t in graph.initializer
            if math.prod(t.dims) > _SMALL
        )
        del graph.initializer[:]
        graph.initializer.extend(small)
        for value, shape, info in zip(self.inputs, shapes, graph.input, strict=False):
            sizes = (*(value.sizes or ())[: value.batched], *(shape or ()))
            kind = info.type.tensor_type
            kind.CopyFrom(helper.make_tensor_type_proto(kind.elem_type, sizes).tensor_type)
        inferred = scopes(model, "")[0]
        return [example_of(v._replace(sizes=inferred.sizes(v.name))) for v in self.outputs]

    def __call__(self, *examples: Any) -> Any:
        results = self.run(examples, batched=False)
        return tuple(results) if len(results) > 1 else results[0]

    def run(self, values: Sequence[Any], *, batched: bool) -> list[Any]:
        """An array for each output, of one example or of a batch."""
        pairs = zip(self.inputs, values, strict=True)
        feed = {value.name: _fitted(value, array) for value, array in pairs}
        if batched and self.batch == 1:
            return self._one_by_one(list(feed.values()))
        holding = [value.name for value in self.inputs if value.batched]
        if not batched:
            feed |= {name: feed[name][None] for name in holding}
        counts = {len(feed[name]) for name in holding}
        if self.batch is not None and counts - {self.batch}:
            got = f"a batch of {max(counts)}" if batched else "one example"
            raise ShapeError(
                "the model",
                f"is fixed to batches of {self.batch}",
                got=got,
                way_out=f"Feed a batch of {self.batch}, or export the model with a batch of any "
                "length.",
            )
        results = self.session.run([value.name for value in self.outputs], feed)
        for i, value in enumerate(self.outputs):
            if value.batched and counts and results[i].shape[:1] != (max(counts),):
                raise ShapeError(
                    repr(value.name),
                    f"should hold one example for each of the batch of {max(counts)} that the "
                    "model was fed",
                    got=f"the shape {results[i].shape}",
                    way_out="Declare its shape in the model, or run the model with onnxruntime.",
                )
            if value.batched and not batched:
                results[i] = results[i][0]
        return list(results)

    def _one_by_one(self, arrays: list[Any]) -> list[Any]:
        runs = [self.run(examples, batched=False) for examples in zip(*arrays, strict=True)]
        if runs:
            return [np.stack(results) for results in zip(*runs, strict=True)]
        shapes = list(map(example_of, self.outputs))
        if not all(map(is_known, shapes)):
            raise ShapeError(
                "an empty batch",
                "has no sizes, and the model leaves some open",
                way_out="Feed an example.",
            )
        pairs = zip(shapes, self.outputs, strict=True)
        return [np.empty((0, *shape), value.dtype) for shape, value in pairs]  # type: ignore[misc]

    def __reduce__(self) -> tuple[Any, ...]:
        values = self.model, self.inputs, self.outputs, self.batch, self.arrays, self.threads
        return OnnxSegment, values

    def __repr__(self) -> str:
        kinds = dict.fromkeys(n.op_type for n in self.graph().node if n.op_type != "Constant")
        return f"<OnnxSegment: {', '.join(kinds)}>"


def _fitted(value: Value, array: Any) -> Any:
    """The array in the type that the model takes."""
    array = np.asarray(array)
    if not np.can_cast(array.dtype, value.dtype, "same_kind"):
        raise KindError(
            repr(value.name),
            f"takes {value.dtype}",
            got=str(array.dtype),
            way_out=f"Convert it first: x.astype({value.dtype!r}).",
        )
    return np.ascontiguousarray(array, value.dtype).reshape(array.shape)


@register(OnnxSegment)
class SegmentNode(Node):
    """A segment always gets a batch axis."""

    layer: OnnxSegment

    def __init__(self, layer: OnnxSegment) -> None:
        super().__init__(layer)
        self.inputs = tuple(value.name for value in layer.inputs)
        self.outputs = tuple(value.name for value in layer.outputs)

    def leaf(self) -> Leaf:
        names = {value.name: f"input{i}" for i, value in enumerate(self.layer.inputs)}
        nodes = [
            hashlib.sha256(node.SerializeToString(deterministic=True)).hexdigest()
            for node in anonymous(self.layer.graph().node, names)
        ]
        return Leaf(self.layer, self.type, {"nodes": nodes})

    def arrays(self) -> dict[tuple[str, ...], Any]:
        tensors = {t.name: t for t in self.layer.graph().initializer}
        return {(name,): numpy_helper.to_array(tensors[name]) for name in self.layer.arrays}

    def claims(self, inputs: Shapes, outputs: Shapes) -> tuple[Shapes, Shapes]:
        said = [list(map(example_of, some)) for some in (self.layer.inputs, self.layer.outputs)]
        fits = not any(map(contradict, said[0], inputs))
        if fits and all(map(is_known, inputs)) and not all(map(is_known, said[1])):
            said[1] = self.layer.given(tuple(inputs))
        return said[0], said[1]

    def call(self, values: Sequence[Any], run: Run) -> tuple[Any, ...]:
        rules = rules_of_any(values)
        if rules is None:
            return tuple(self.layer.run(values, batched=run.batched))
        if any(getattr(value, "requires_grad", False) for value in values):
            self.vjp(values, (), run)
        results = self.layer.run([rules.array_of(v) for v in values], batched=run.batched)
        return tuple(rules.call_function(lambda *tensors: tensors, results))

    def vjp(self, values: Sequence[Any], grads: Sequence[Any], run: Run) -> tuple[Any, ...]:
        raise KindError(
            "ONNX Runtime",
            "computes no gradients",
            way_out="Build the net of layers that have one, or feed tensors without one: "
            "x.detach().",
        )
