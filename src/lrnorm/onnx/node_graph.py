"""Layers and nets as one ONNX model, which information calls NodeGraph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper

from lrnorm._layers.layer import LocalResponseNormalizationLayer
from lrnorm._layers.shapes import Shape
from lrnorm._layers.structure import Leaf, Path, Structure
from lrnorm._spec.errors import KindError, ParameterError
from lrnorm._spec.spec import LRNSpec
from lrnorm.net.functions import SAYABLE, Elementwise, joining_axis, rule_of
from lrnorm.net.nodes import node_of
from lrnorm.net.ports import Source, named
from lrnorm.onnx.attributes import fits_float32, in_onnx_words
from lrnorm.onnx.decomposing import write_out
from lrnorm.onnx.graph import described, free, renamed
from lrnorm.onnx.segments import OnnxSegment

_BATCH = "batch"
OPSET, IR_VERSION = 17, 8  # of what is written: new enough for every operator used, and read widely


def to_onnx(layer: Any) -> ModelProto:
    """A model of a layer, "Input" to "Output", float32 of (batch, channels, height, width); or of a
    net, with the net's ports.

        Output = Input * (bias + scale * sum(Input[j]**2 for j in c-before … c+after)) ** -beta

    Sizes are free, except those that the layer's `input` fixes. It is one LRN node where ONNX has
    a word for the window: as many channels before as after, or one more after. A window that leans
    otherwise, or has an end None, is written out in standard operators. Even windows (one more
    after) are right ONNX, but ONNX Runtime refuses them on the CPU.

    `layer` is a layer, an LRNSpec, one of the modules of `lrnorm.torch`, or a NetChain or NetGraph.
    The model of a net is what ``information(net, "NodeGraph")`` gives: each LRN is one node.

    Errors: ParameterError (a ValueError) for a number that float32 cannot hold, and for a layer of
    a net that ONNX has no operator for; KindError (a TypeError) for anything else.

    Source: the operator LRN-13 of the ONNX standard.

    >>> import lrnorm
    >>> model = lrnorm.onnx.to_onnx(lrnorm.LocalResponseNormalizationLayer(input=(96, None, None)))
    >>> [node.op_type for node in model.graph.node]
    ['LRN']
    """
    spec = layer if isinstance(layer, LRNSpec) else getattr(layer, "spec", None)
    if not isinstance(spec, LRNSpec):
        if hasattr(layer, "_structure") and not isinstance(layer, type):
            return model_of(layer._structure())
        raise KindError("to_onnx", "takes a layer, a net or an LRNSpec", value=layer)
    sizes = getattr(layer, "input", None) or (None, None, None)
    names = ("channels", "height", "width")
    shape = ["batch", *(size or name for size, name in zip(sizes, names, strict=True))]
    ports = [described(name, "float32", shape) for name in ("Input", "Output")]
    said = in_onnx_words(spec, sizes[0])
    words = {} if isinstance(said, str) else said
    node = helper.make_node("LRN", ["Input"], ["Output"], name="LRN", **words)
    graph = helper.make_graph([node], "LocalResponseNormalization", ports[:1], ports[1:])
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lrnorm",
    )
    if isinstance(said, str):
        write_out(model, _checked(spec))
    onnx.checker.check_model(model, full_check=True)
    return model


def _checked(spec: LRNSpec) -> LRNSpec:
    """The spec, if the operators that write it out can have its window and its numbers."""
    if isinstance(spec.before, tuple):
        raise ParameterError(
            "to_onnx",
            "takes a spec with one window, along the channels",
            value=spec,
            way_out="Export a PyTorch module that calls the function with axis=(2, 3).",
        )
    for name in ("scale", "beta", "bias"):
        if not fits_float32(number := getattr(spec, name)):
            raise ParameterError(
                name,
                "must fit into float32, in which the model computes",
                value=number,
                way_out="Scale the input, or keep the layer out of the model.",
            )
    return spec


def model_of(facts: Structure) -> ModelProto:
    """The layers as one model of float32 or of what its segments say, of a batch of any length."""
    return _Writer(facts).model()


class _Writer:
    """Puts the models of single layers together, under names that no other has."""

    def __init__(self, facts: Structure) -> None:
        self.facts = facts
        self.into: dict[Path | None, list[Any]] = {path: [] for path in (*facts.leaves, None)}
        for link in facts.links:
            self.into[link.target].append(link)
        self.nodes: list[NodeProto] = []
        self.made: dict[str, Any] = {}  # value → the node or initializer that makes it
        self.node_names: dict[str, None] = {}
        self.functions: list[Any] = []
        self.weights: dict[Any, str] = {}  # content → name: shared weights are written once
        self.names = self._names()

    def _names(self) -> dict[Source, str]:
        """Value → its name: that of the port it goes to, or what the model had that it came in."""
        ends = {(link.source or (), link.source_port): link.target_port for link in self.into[None]}
        names: dict[Source, str] = ends | {((), port): port for port in self.facts.input_ports}
        self.taken = dict.fromkeys((*self.facts.input_ports, *self.facts.output_ports))
        for link in self.facts.links:
            source = link.source or (), link.source_port
            if source in names:
                continue
            leaves = self.facts.leaves
            if isinstance(leaves[source[0]].layer, OnnxSegment):
                wish = link.source_port
            elif link.target is not None and isinstance(leaves[link.target].layer, OnnxSegment):
                wish = link.target_port
            else:
                wish = "/".join(map(str, source[0])) or link.source_port
            names[source] = free(wish, self.taken)
            self.taken[names[source]] = None
        return names

    def model(self) -> ModelProto:
        parts = {path: self._part(path, leaf) for path, leaf in self.facts.leaves.items()}
        newest = {"": 0}
        for part in parts.values():
            for opset in part.opset_import:
                newest[opset.domain] = max(newest.get(opset.domain, 0), opset.version)
        newest[""] = newest[""] or OPSET
        for path, part in parts.items():
            if {o.version for o in part.opset_import if o.domain == ""} - {newest[""]}:
                part = onnx.version_converter.convert_version(part, newest[""])
            self._add(path, part)
        for link in self.into[None]:  # a value that goes to several ports
            name = self.names[link.source or (), link.source_port]
            if name != link.target_port:
                self.nodes.append(helper.make_node("Identity", [name], [link.target_port]))
        graph = helper.make_graph(
            self.nodes,
            self.facts.type,
            self._inputs(parts),
            [ValueInfoProto(name=name) for name in self.facts.output_ports],
            initializer=[made for made in self.made.values() if isinstance(made, TensorProto)],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*each) for each in newest.items()],
            ir_version=max(IR_VERSION, *(part.ir_version for part in parts.values())),
            functions=self.functions,
            producer_name="lrnorm",
        )
        inferred = onnx.shape_inference.infer_shapes(model).graph.output
        shapes = self.facts.output_ports.values()
        for value, known, shape in zip(model.graph.output, inferred, shapes, strict=True):
            told = known.type.tensor_type.elem_type
            value.type.CopyFrom(known.type if told else _type(value.name, shape))
        return model

    def _inputs(self, parts: Mapping[Path, ModelProto]) -> list[ValueInfoProto]:
        """As segments and modules declare them; a layer of lrnorm takes what it has to give."""
        told: dict[Source, TypeProto] = {}
        for path, part in reversed(list(parts.items())):
            after = next((told[s] for s in told if s[0] == path), None)
            for link, value in zip(self.into[path], part.graph.input, strict=True):
                own = value.type if value.HasField("type") else after
                if own is not None:
                    told[link.source or (), link.source_port] = own
        return [
            helper.make_value_info(port, told.get(((), port)) or _type(port, shape))
            for port, shape in self.facts.input_ports.items()
        ]

    def _part(self, path: Path, leaf: Leaf) -> ModelProto:
        layer = leaf.layer
        if isinstance(layer, OnnxSegment):
            return onnx.load_from_string(layer.model)
        if isinstance(layer, LocalResponseNormalizationLayer):
            said = in_onnx_words(layer.spec, layer.input[0] if layer.input else None)
            return to_onnx(layer) if isinstance(said, str) else _single("LRN", 1, said)
        links = self.into[path]
        function = layer.function if isinstance(layer, Elementwise) else layer
        rule = rule_of(function)
        ranks = {len(link.shape) for link in links if link.shape is not None}
        if rule is not None and rule.operator is not None and len(ranks) < 2:
            axis = joining_axis(function)
            words = {"axis": axis + (axis >= 0)} if rule.joins else {}
            return _single(rule.operator, len(links), words, rule.times)
        export = getattr(node_of(layer), "exported", None)
        if export is None:
            raise self._refusal(path, leaf, "it has no operator for it")
        shapes = [link.shape for link in links]
        if any(shape is None or None in shape for shape in shapes):
            raise self._refusal(path, leaf, f"the shape of its input is not known, {shapes}")
        try:
            return onnx.load_from_string(export(shapes, OPSET))
        except Exception as error:  # whatever PyTorch's exporter raises
            raise self._refusal(path, leaf, str(error).partition("\n")[0]) from error

    def _refusal(self, path: Path, leaf: Leaf, reason: str) -> ParameterError:
        return ParameterError(
            f"layer {named(path)} ({leaf.type})",
            f"cannot be said in ONNX: {reason}",
            way_out="Use layers of lrnorm, ONNX segments, torch.nn.Modules for an input of known "
            "shape, and functions of one meaning for an example and a batch: "
            f"{', '.join(SAYABLE)}.",
        )

    def _add(self, path: Path, part: ModelProto) -> None:
        """The nodes of a layer, under names of this model. What is there already, as constants are
        that several segments of one model hold, is not written twice."""
        graph = part.graph
        kept = isinstance(self.facts.leaves[path].layer, OnnxSegment)
        place = "/".join(map(str, path))
        sources = [self.names[link.source or (), link.source_port] for link in self.into[path]]
        names = dict(zip((value.name for value in graph.input), sources, strict=True))
        for value in graph.output:
            port = value.name if kept else "Output"
            names[value.name] = self.names.get((path, port), value.name)

        def name_of(name: str, made: Any) -> str:
            same = self.made.get(name)
            wish = name if kept or not place else f"{place}/{name}"
            return name if kept and same == made else free(wish, self.taken)

        for tensor in graph.initializer:
            content = tensor.data_type, tuple(tensor.dims), tensor.raw_data
            same = self.weights.get(content) if tensor.raw_data and not kept else None
            names.setdefault(tensor.name, same or name_of(tensor.name, tensor))
            self.weights.setdefault(content, names[tensor.name])
            if names[tensor.name] not in self.made:
                self.made[names[tensor.name]] = new = TensorProto()
                new.CopyFrom(tensor)
                new.name = names[tensor.name]
                self.taken[new.name] = None
        for node in graph.node:
            new = renamed(node, names)
            for result in filter(None, node.output):
                names.setdefault(result, name_of(result, new))
            new = renamed(node, names)
            if all(self.made.get(result) == new for result in filter(None, new.output)):
                continue
            if new.name or not kept:
                wish = new.name if kept or not place else f"{place}/{new.name}"
                single = not kept and len(graph.node) == 1
                new.name = free(place if single and place else wish, self.node_names)
                self.node_names[new.name] = None
            self.nodes.append(new)
            self.made |= dict.fromkeys(filter(None, new.output), new)
            self.taken |= dict.fromkeys(new.output)
        known = {(f.domain, f.name, f.overload) for f in self.functions}
        self.functions += [f for f in part.functions if (f.domain, f.name, f.overload) not in known]


def _single(operator: str, inputs: int, words: Mapping[str, Any], times: int = 1) -> ModelProto:
    """One operator that is the same in all versions and for all types, which others may tell."""
    names = [f"Input{i}" for i in range(inputs)]
    taken, given = ([ValueInfoProto(name=name) for name in some] for some in (names, ["Output"]))
    node = helper.make_node(operator, names * times, ["Output"], name=operator, **words)
    graph = helper.make_graph([node], operator, taken, given)
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[])


def _type(port: str, shape: Shape | None) -> TypeProto:
    """float32 of that shape for each example of a batch."""
    sizes = [_BATCH, *(f"{port}_{i}" if n is None else n for i, n in enumerate(shape or (), 1))]
    return helper.make_tensor_type_proto(TensorProto.FLOAT, None if shape is None else sizes)
