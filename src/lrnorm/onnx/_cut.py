"""A model's graph cut at its LRN nodes: what each piece holds, takes and gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper, inliner

from lrnorm._errors import ParameterError
from lrnorm._spec import LRNSpec
from lrnorm.onnx._graph import free, graphs_of, is_op, label, lrn_nodes
from lrnorm.onnx._specs import attributes_of, spec_of

# They read nothing and give other numbers at every run: two copies of one would not agree.
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
_RANDOM |= {"Bernoulli", "Multinomial"}


@dataclass(frozen=True)
class Norm:
    """An LRN node."""

    name: str
    spec: LRNSpec
    alpha: float  # as ONNX says it, from which the spec's scale follows
    level: int
    source: str
    result: str


@dataclass(frozen=True)
class Piece:
    """All that runs between LRN nodes at one level."""

    level: int
    nodes: list[NodeProto]
    initializers: list[Any]
    takes: list[str]
    gives: list[str]


@dataclass(frozen=True)
class Cut:
    """A model in pieces; `outputs` tells under which name the value of each output goes."""

    model: ModelProto
    inputs: Mapping[str, ValueInfoProto]
    outputs: Mapping[str, str]
    pieces: list[Piece]
    norms: list[Norm]


def cut(model: ModelProto) -> Cut:
    """The level of a node is the number of LRNs on the longest way to it from the inputs. What
    depends on no input goes into every piece that needs it."""
    model, specs = _inlined(model)
    graph = model.graph
    constants: dict[str, Any] = {t.name: t for t in graph.initializer}
    constants |= {t.values.name: t for t in graph.sparse_initializer}
    inputs = {value.name: value for value in graph.input if value.name not in constants}
    outputs = {value.name: value.name for value in graph.output}
    nodes = list(graph.node)
    for name in outputs.keys() & inputs.keys():  # a net has a layer between two of its ports
        outputs[name] = free(f"{name}/given", inputs | outputs)
        nodes.append(helper.make_node("Identity", [name], [outputs[name]]))

    level = dict.fromkeys(inputs, 0)
    made_at: dict[str, int] = {}  # what a piece gives or could give
    at: dict[int, list[NodeProto]] = {}
    norms = []
    for node in _needed(nodes, outputs.values()):
        reads = _reads(node)
        for name in reads:
            if name not in level and name not in constants:
                raise ParameterError(
                    f"node {label(node)!r} ({node.op_type}) reads {name!r}, which nothing before "
                    "it gives. onnx.checker.check_model(model) tells all that is wrong."
                )
        results = list(filter(None, node.output))
        depth = max((level[name] for name in reads if name in level), default=0)
        if is_op(node, "LRN"):
            norms.append(Norm(*specs[node.output[0]], depth, node.input[0], node.output[0]))
            level[node.output[0]] = depth + 1
        elif node.op_type in _RANDOM or any(name in level for name in reads):
            at.setdefault(depth, []).append(node)
            level |= dict.fromkeys(results, depth)
            made_at |= dict.fromkeys(results, depth)
        else:
            constants |= dict.fromkeys(results, node)

    # Constants that no piece but the first has a reason to give.
    read_outside = [*outputs.values(), *(norm.source for norm in norms)]
    fixed = [name for name in dict.fromkeys(read_outside) if name not in level]
    if fixed:
        at.setdefault(0, [])
    takes = {depth: _takes(some, level, made_at, depth) for depth, some in at.items()}
    asked = {*read_outside, *(name for names in takes.values() for name in names)}
    if at:  # every input of the model is one of the net, and a piece takes something
        unread = [n for n in inputs if n not in asked]
        first = min(at)
        takes[first] += unread
        for names in takes.values():
            names += list(inputs)[:1] if not names else []
    pieces = []
    for depth, some in sorted(at.items()):
        gives = [name for node in some for name in node.output if name in asked]
        gives += fixed if depth == 0 else []
        own, initializers = _with_constants(some, fixed if depth == 0 else [], constants)
        ordered = [node for node in nodes if id(node) in own]
        pieces.append(Piece(depth, ordered, initializers, takes[depth], gives))
    return Cut(model, inputs, outputs, pieces, norms)


def _inlined(model: ModelProto) -> tuple[ModelProto, dict[str, tuple[str, LRNSpec, float]]]:
    """The model with no LRN but in its own graph, and result → name and spec of each."""
    named = lrn_nodes(model)
    own = [node for node in model.graph.node if is_op(node, "LRN")]
    if len(own) < len(named) and model.functions:
        model = inliner.inline_local_functions(model)
        own = [node for node in model.graph.node if is_op(node, "LRN")]
    if len(own) < len(named):
        outer = {id(node) for node in own}
        path = next(p for p, found in lrn_nodes(model).items() if id(found.node) not in outer)
        raise ParameterError(
            f"the LRN {path} stands in a graph inside a node (If, Loop, Scan), where a net cannot "
            "reach it. Export the model without that node, or run it whole with onnxruntime."
        )
    found = zip(named, lrn_nodes(model).values(), strict=True)
    return model, {
        f.node.output[0]: (path, spec_of(path, f), attributes_of(path, f)["alpha"])
        for path, f in found
    }


def _needed(nodes: list[NodeProto], wanted: Iterable[str]) -> list[NodeProto]:
    """The nodes without which these values cannot be had."""
    names, kept = set(wanted), []
    for node in reversed(nodes):
        if names.intersection(node.output):
            kept.append(node)
            names |= _reads(node).keys()
    return kept[::-1]


def _reads(node: NodeProto) -> dict[str, None]:
    """What a node reads, what graphs inside it take from outside included, each once."""
    names = dict.fromkeys(filter(None, node.input))
    for _, graph in graphs_of(node):
        names |= dict.fromkeys(_captured(graph))
    return names


def _captured(graph: GraphProto) -> Iterator[str]:
    own = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        yield from (name for name in _reads(node) if name not in own)
    yield from (value.name for value in graph.output if value.name not in own)


def _takes(
    nodes: list[NodeProto], level: Mapping[str, int], made_at: Mapping[str, int], depth: int
) -> list[str]:
    read = dict.fromkeys(name for node in nodes for name in _reads(node))
    return [name for name in read if name in level and made_at.get(name) != depth]


def _with_constants(
    nodes: list[NodeProto], fixed: list[str], constants: Mapping[str, Any]
) -> tuple[set[int], list[Any]]:
    """The ids of the nodes and of those that make constants for them, and the initializers."""
    ids = {id(node) for node in nodes}
    initializers: dict[str, Any] = {}
    names = [*fixed, *(name for node in nodes for name in _reads(node))]
    while names:
        name = names.pop()
        source = constants.get(name)
        if isinstance(source, NodeProto):
            if id(source) not in ids:
                ids.add(id(source))
                names += _reads(source)
        elif source is not None:
            initializers[name] = source
    return ids, list(initializers.values())
