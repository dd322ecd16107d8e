"""ONNX models as nets: LRN nodes are lrnorm's layers, all else runs in ONNX Runtime."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from onnx import TensorProto, ValueInfoProto, helper
from onnx.external_data_helper import uses_external_data

from lrnorm._layers.layer import LocalResponseNormalizationLayer
from lrnorm._spec.errors import FileError, KindError, LRNormError, ParameterError
from lrnorm._spec.spec import is_integer
from lrnorm.net import NetGraph, NetPort
from lrnorm.onnx.cutting import Cut, Level, Norm, cut
from lrnorm.onnx.graph import (
    Model,
    Scope,
    copied,
    declared_sizes,
    described,
    free,
    scopes,
    with_data,
)
from lrnorm.onnx.segments import TYPES, OnnxSegment, Sizes, Value, example_of, session_of
from lrnorm.onnx.writing import part_of

_BATCH = "batch"  # the name of a first axis that has none


def load(model: Model, *, intra_op_num_threads: int | None = None) -> NetGraph:
    """The model as a net: its LRN nodes are layers of lrnorm, all else runs in ONNX Runtime.

        net(x) = … segment2(LRN(segment1(x))) …

    `model` is a path, bytes or an onnx.ModelProto. The net has the model's inputs and outputs as
    ports, without the batch axis, and takes one example or a batch as any net does; a model that
    is fixed to one example runs once for each. An LRN goes by the name that `specs` gives it, and
    the rest is cut into "segment1", "segment2", …, one for each number of LRNs on the longest way
    there. An output that is also an input goes by the name `NAME/given`. LRNs compute in the type
    of their input, any float, along axis 1 of any rank; windows of even width, which ONNX
    Runtime refuses, are as the standard has them.

    `intra_op_num_threads` is how many threads a session of ONNX Runtime uses: None for as many as
    lrnorm does at this moment, 0 for ONNX Runtime's own choice.

    Errors: FileError (an OSError) for what is no ONNX model or what ONNX Runtime refuses;
    ParameterError (a ValueError) for an LRN that breaks ONNX's rules, or stands in a graph inside
    a node; KindError (a TypeError) for a model of another kind; MissingDependencyError (an
    ImportError) without onnxruntime.

    Source: the operator LRN-13 of the ONNX standard.

    >>> import lrnorm
    >>> model = lrnorm.onnx.to_onnx(lrnorm.LocalResponseNormalizationLayer(input=(5, None, None)))
    >>> net = lrnorm.onnx.load(model)
    >>> net["LRN"].spec, net.ports
    (LRNSpec(scale=0.2, beta=0.5, bias=1.0, before=2, after=2), \
{'Input': (5, None, None), 'Output': (5, None, None)})
    """
    threads = intra_op_num_threads
    if threads is not None and not (is_integer(threads) and threads >= 0):
        raise (ParameterError if is_integer(threads) else KindError)(
            "intra_op_num_threads",
            "must be an integer of at least 0, or None",
            value=threads,
            way_out="0 is ONNX Runtime's own choice, None as many as lrnorm uses.",
        )
    whole, folder = copied(model)
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else "the model"
    if folder:
        whole = with_data(whole, model, folder)
    elif any(map(uses_external_data, whole.graph.initializer)):
        raise FileError(
            name,
            "keeps data in other files, which are not known of a ModelProto or bytes",
            way_out="Give the path: lrnorm.onnx.load(path).",
        )
    try:
        return _Builder(cut(whole), folder, threads).net()
    except LRNormError as error:
        raise error.at(name) from error


class _Builder:
    """Makes the sessions level by level; earlier ones know the types and sizes at a cut."""

    def __init__(self, parts: Cut, folder: str, threads: int | None) -> None:
        self.parts, self.folder, self.threads = parts, folder, threads
        graph = parts.model.graph
        self.described = {v.name: v for v in (*graph.value_info, *graph.output)}
        self.values = {name: _declared(value) for name, value in parts.inputs.items()}

    @cached_property
    def inferred(self) -> Scope:
        """Shapes as onnx infers them: ONNX Runtime reports a number and an array of unknown rank
        alike."""
        return scopes(self.parts.model, self.folder)[0]

    def net(self) -> NetGraph:
        opened = [self._opened(level) for level in self.parts.levels]
        batch = self._batch()
        ports = {**self.parts.inputs, **self.parts.outputs}
        layers: dict[str, Any] = {}
        edges: list[tuple[Any, Any]] = []
        ends: dict[str, Any] = {name: NetPort(name) for name in self.parts.inputs}
        listed: set[str] = set()  # initializers of the segments so far
        for level, (model, session) in zip(self.parts.levels, opened, strict=True):
            if session is not None:
                number = 1 + sum(isinstance(layer, OnnxSegment) for layer in layers.values())
                name = free(f"segment{number}", ports | layers)
                dense = [t.name for t in level.initializers if isinstance(t, TensorProto)]
                layers[name] = OnnxSegment(
                    model,
                    tuple(self.values[value] for value in level.takes),
                    tuple(self.values[value] for value in level.gives),
                    batch,
                    tuple(array for array in dense if array not in listed),
                    self.threads,
                    {os.getpid(): session},
                )
                listed.update(dense)
                edges += [(ends[value], NetPort(name, value)) for value in level.takes]
                ends |= {value: NetPort(name, value) for value in level.gives}
            for norm in level.norms:
                name = free(norm.name, ports | layers)
                layers[name] = _layer(norm, self.values[norm.source], batch)
                edges.append((ends[norm.source], name))
                ends[norm.result] = name
        order = {NetPort(name): i for i, name in enumerate(self.parts.inputs)}
        edges.sort(key=lambda edge: order.get(edge[0], len(order)))  # ports as the model has them
        edges += [  # an output that is also an input has the name of its copy
            (ends[value], NetPort(value if name in self.parts.inputs else name))
            for name, value in self.parts.outputs.items()
        ]
        examples = {name: example_of(self.values[name]) for name in self.parts.inputs}
        return NetGraph(layers, edges, input=examples)

    def _opened(self, level: Level) -> tuple[bytes, Any]:
        """The model of a level and its session, None where it holds LRNs alone."""
        model, session = b"", None
        if level.gives:
            takes = [described(*self.values[name][:3]) for name in level.takes]
            gives = [self.described.get(name, ValueInfoProto(name=name)) for name in level.gives]
            whole = self.parts.model
            part = part_of(whole, level.nodes, takes, gives, level.initializers)
            model = part.SerializeToString()
            kinds = ", ".join(dict.fromkeys(node.op_type for node in level.nodes))
            session = session_of(model, self.threads, f"the part with {kinds}")
            for value in session.get_outputs():
                sizes = tuple(value.shape) or self.inferred.sizes(value.name)
                self.values[value.name] = _value(value.name, value.type, sizes)
        for norm in level.norms:
            self.values[norm.result] = self.values[norm.source]._replace(name=norm.result)
        return model, session

    def _batch(self) -> int | None:
        """The number of examples of one run, None for any number. Marks the values that hold a
        batch."""
        inputs, outputs = list(self.parts.inputs), list(self.parts.outputs.values())
        first = [sizes[0] for name in inputs if (sizes := self.values[name].sizes)]
        numbers = [size for size in first if isinstance(size, int)]
        free_ones = {size for size in first if isinstance(size, str)}
        unknown = {name for name in inputs if self.values[name].sizes is None}
        fixed = 1 if 1 in numbers else None if free_ones or unknown else next(iter(numbers), None)
        norms = [norm for level in self.parts.levels for norm in level.norms]
        must = {*outputs, *unknown}.union(*((norm.source, norm.result) for norm in norms))

        def holds(name: str) -> bool:
            sizes = self.values[name].sizes
            if sizes is None:
                return name in must  # unless it says otherwise
            if not sizes:
                return False
            if isinstance(sizes[0], int):
                return sizes[0] == fixed
            return sizes[0] in free_ones or name in must

        if fixed is None and not all(map(holds, (*inputs, *outputs))):
            fixed = 1  # what has no axis for a batch is there for each example
        self.values = {n: v._replace(batched=holds(n)) for n, v in self.values.items()}
        return fixed


def _declared(value: ValueInfoProto) -> Value:
    """An input of the model."""
    tensor = value.type.tensor_type
    kind = f"tensor({TensorProto.DataType.Name(tensor.elem_type).lower()})"
    sizes = declared_sizes(tensor)
    if sizes and sizes[0] is None:
        sizes = (_BATCH, *sizes[1:])
    return _value(value.name, kind if kind in TYPES else helper.printable_type(value.type), sizes)


def _value(name: str, kind: str, sizes: Sizes | None) -> Value:
    """A value as ONNX Runtime describes it."""
    if kind not in TYPES:
        raise ParameterError(
            repr(name),
            "must be a tensor of a type that NumPy has, to be a port or to lead to an LRN or past "
            "it",
            got=kind,
            way_out="Run the model with onnxruntime.",
        )
    return Value(name, TYPES[kind], sizes)


def _layer(norm: Norm, value: Value, batch: int | None) -> Any:
    """The layer that an LRN of this value is."""
    spec = norm.spec
    if not value.batched:
        return LocalResponseNormalizationLayer._along(spec, 1, batch == 1)
    if value.sizes is None or len(value.sizes) != 4 or spec.before == spec.after == 0:
        return LocalResponseNormalizationLayer._along(spec, 0, True)
    return LocalResponseNormalizationLayer(
        alpha=norm.alpha,
        beta=spec.beta,
        bias=spec.bias,
        channel_window_size=(spec.before, spec.after),  # type: ignore[arg-type]
    )
