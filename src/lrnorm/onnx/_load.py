"""ONNX models as nets: LRN nodes are lrnorm's layers, all else runs in ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from onnx import TensorProto, ValueInfoProto, helper
from onnx.external_data_helper import uses_external_data

from lrnorm._errors import FileError, KindError, LRNormError, ParameterError
from lrnorm._spec import is_integer
from lrnorm.layer import LocalResponseNormalizationLayer
from lrnorm.net import NetGraph, NetPort
from lrnorm.onnx._cut import Cut, Norm, Piece, cut
from lrnorm.onnx._graph import Model, Scope, copied, free, scopes, with_data
from lrnorm.onnx._segments import (
    TYPES,
    AxisNormalization,
    OnnxSegment,
    Sizes,
    Value,
    example_of,
    session_of,
)

_BATCH = "batch"  # the name of a first axis that has none


def load(model: Model, *, intra_op_num_threads: int | None = None) -> NetGraph:
    """The model as a net: its LRN nodes are layers of lrnorm, all else runs in ONNX Runtime.

        net(x) = … segment2(LRN(segment1(x))) …

    `model` is a path, bytes or an onnx.ModelProto. The net has the model's inputs and outputs as
    ports, without the batch axis, and takes one example or a batch as any net does; a model that
    is fixed to one example runs once for each. An LRN goes by the name that `specs` gives it, and
    the rest is cut into "segment1", "segment2", …, one for each number of LRNs on the longest way
    there. LRNs compute in the type of their input, any float, along axis 1 of any rank; windows of
    even width, which ONNX Runtime refuses, are as the standard has them.

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
            f"intra_op_num_threads must be an integer of at least 0, or None, got {threads!r}. "
            "0 is ONNX Runtime's own choice, None as many as lrnorm uses."
        )
    whole, folder = copied(model)
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else "the model"
    if folder:
        whole = with_data(whole, model, folder)
    elif any(map(uses_external_data, whole.graph.initializer)):
        raise FileError(
            f"{name} keeps data in other files, which are not known of a ModelProto or bytes. "
            "Give the path: lrnorm.onnx.load(path)."
        )
    try:
        parts = cut(whole)
        return _Builder(parts, folder, threads).net()
    except LRNormError as error:
        raise type(error)(f"{name}: {error}") from error


class _Builder:
    """Makes the sessions level by level: types and sizes at a cut are told by those before it."""

    def __init__(self, parts: Cut, folder: str, threads: int | None) -> None:
        self.parts, self.folder, self.threads = parts, folder, threads
        graph = parts.model.graph
        self.described = {v.name: v for v in (*graph.value_info, *graph.output)}
        self.kinds: dict[str, str] = {}  # value → ONNX Runtime's name of its type
        self.sizes: dict[str, Sizes | None] = {}
        self.models: dict[int, bytes] = {}
        self.sessions: dict[int, Any] = {}

    @cached_property
    def inferred(self) -> Scope:
        """What onnx knows of shapes: ONNX Runtime says the same of a number and of an array of
        unknown rank."""
        return scopes(self.parts.model, self.folder)[0]

    def _levels(self) -> list[tuple[Piece | None, list[Norm]]]:
        """What is computed in turn: a piece, and the LRNs that it leads to."""
        pieces = {piece.level: piece for piece in self.parts.pieces}
        norms: dict[int, list[Norm]] = {}
        for norm in self.parts.norms:
            norms.setdefault(norm.level, []).append(norm)
        return [(pieces.get(n), norms.get(n, [])) for n in sorted({*pieces, *norms})]

    def net(self) -> NetGraph:
        for name, value in self.parts.inputs.items():
            self._describe_input(name, value)
        for piece, norms in self._levels():
            if piece is not None:
                self._open(piece)
            for norm in norms:
                self.kinds[norm.result] = self.kinds[norm.source]
                self.sizes[norm.result] = self.sizes[norm.source]
        return self._joined()

    def _describe_input(self, name: str, value: ValueInfoProto) -> None:
        kind = value.type.tensor_type
        found = [k for k, (number, _) in TYPES.items() if number == kind.elem_type]
        self.kinds[name] = found[0] if found else helper.printable_type(value.type)
        self.sizes[name] = None
        if kind.HasField("shape"):
            sizes = [
                d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim
            ]
            if sizes and sizes[0] == "":
                sizes[0] = _BATCH
            self.sizes[name] = tuple(size if size != "" else None for size in sizes)

    def _info(self, name: str) -> ValueInfoProto:
        """What a segment's input is declared as."""
        number, _ = TYPES[self._known(name)]
        return helper.make_tensor_value_info(name, number, self.sizes[name])

    def _known(self, name: str) -> str:
        if self.kinds[name] not in TYPES:
            raise ParameterError(
                f"{name!r} is a {self.kinds[name]}, and only tensors of types that NumPy has can "
                "be a port or lead to an LRN and past it. Run the model with onnxruntime."
            )
        return self.kinds[name]

    def _open(self, piece: Piece) -> None:
        whole = self.parts.model
        dense = [t for t in piece.initializers if isinstance(t, TensorProto)]
        graph = helper.make_graph(
            piece.nodes,
            whole.graph.name or "graph",
            [self._info(name) for name in piece.takes],
            [self.described.get(name, ValueInfoProto(name=name)) for name in piece.gives],
            initializer=dense,
            sparse_initializer=[t for t in piece.initializers if not isinstance(t, TensorProto)],
        )
        model = helper.make_model(
            graph,
            opset_imports=whole.opset_import,
            ir_version=whole.ir_version,
            functions=whole.functions,
        )
        try:
            self.models[piece.level] = model.SerializeToString()
            session = session_of(self.models[piece.level], self.threads)
        except LRNormError:
            raise
        except Exception as error:
            kinds = ", ".join(dict.fromkeys(node.op_type for node in piece.nodes))
            raise FileError(
                f"ONNX Runtime refuses the part with {kinds}: {' '.join(str(error).split())} "
                "onnx.checker.check_model(model) tells whether the model is at fault."
            ) from error
        self.sessions[piece.level] = session
        for value in session.get_outputs():
            self.kinds[value.name] = value.type
            self.sizes[value.name] = tuple(value.shape) or self.inferred.sizes(value.name)
            self._known(value.name)

    def _batches(self) -> tuple[int | None, set[str]]:
        """How many examples a run takes, None for any number, and which values hold a batch."""
        first = {n: s[0] for n in self.parts.inputs if (s := self.sizes[n])}
        numbers = [size for size in first.values() if isinstance(size, int)]
        free_ones = {size for size in first.values() if isinstance(size, str)}
        unknown = [name for name in self.parts.inputs if self.sizes[name] is None]
        fixed = 1 if 1 in numbers else None if free_ones or unknown else next(iter(numbers), None)
        outputs = set(self.parts.outputs.values())
        norms = {name for norm in self.parts.norms for name in (norm.source, norm.result)}
        must = {*outputs, *unknown, *norms}  # unless they say otherwise

        def holds(name: str) -> bool:
            sizes = self.sizes[name]
            if sizes is None:
                return name in must
            if not sizes:
                return False
            if isinstance(sizes[0], int):
                return sizes[0] == fixed
            return sizes[0] in free_ones or name in must

        if fixed is None and not all(map(holds, (*self.parts.inputs, *outputs))):
            fixed = 1  # what has no axis for a batch is there for each example
        return fixed, {name for name in self.sizes if holds(name)}

    def _joined(self) -> NetGraph:
        inputs, outputs = self.parts.inputs, self.parts.outputs
        batch, batched = self._batches()
        taken: dict[str, Any] = {**inputs, **outputs}
        layers: dict[str, Any] = {}
        edges: list[tuple[Any, Any]] = []
        ends: dict[str, Any] = {name: NetPort(name) for name in inputs}
        listed: set[str] = set()
        for piece, norms in self._levels():
            if piece is not None:
                number = 1 + sum(isinstance(layer, OnnxSegment) for layer in layers.values())
                name = free(f"segment{number}", taken)
                layers[name] = self._segment(piece, batch, batched, listed)
                edges += [(ends[value], NetPort(name, value)) for value in piece.takes]
                ends |= {value: NetPort(name, value) for value in piece.gives}
                taken[name] = None
            for norm in norms:
                name = free(norm.name, taken)
                layers[name] = self._layer(norm, batch, norm.source in batched)
                edges.append((ends[norm.source], name))
                ends[norm.result] = name
                taken[name] = None
        order = {NetPort(name): i for i, name in enumerate(inputs)}
        edges.sort(key=lambda edge: order.get(edge[0], len(order)))  # ports as the model has them
        edges += [(ends[value], NetPort(name)) for name, value in outputs.items()]
        values = self._values(inputs, batched)
        return NetGraph(layers, edges, input={v.name: example_of(v) for v in values})

    def _values(self, names: Iterable[str], batched: set[str]) -> tuple[Value, ...]:
        return tuple(
            Value(name, TYPES[self.kinds[name]][1], self.sizes[name], name in batched)
            for name in names
        )

    def _segment(
        self, piece: Piece, batch: int | None, batched: set[str], listed: set[str]
    ) -> OnnxSegment:
        takes, gives = (self._values(names, batched) for names in (piece.takes, piece.gives))
        dense = [t.name for t in piece.initializers if isinstance(t, TensorProto)]
        arrays = tuple(name for name in dense if name not in listed)
        listed.update(arrays)
        model = self.models[piece.level]
        made = OnnxSegment(model, takes, gives, batch, arrays, self.threads)
        made.sessions[os.getpid()] = self.sessions[piece.level]
        return made

    def _layer(self, norm: Norm, batch: int | None, batched: bool) -> Any:
        spec, sizes = norm.spec, self.sizes[norm.source]
        if not batched:
            return AxisNormalization(spec, 1, batch == 1)
        if sizes is None or len(sizes) != 4 or spec.before == spec.after == 0:
            return AxisNormalization(spec)
        return LocalResponseNormalizationLayer(
            alpha=norm.alpha,
            beta=spec.beta,
            bias=spec.bias,
            channel_window_size=(spec.before, spec.after),  # type: ignore[arg-type]
        )
