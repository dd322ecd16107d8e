"""A model's graph, cut at its LRN nodes into pieces with inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto, NodeProto, ValueInfoProto, helper, inliner

from lrnorm._spec.errors import ParameterError
from lrnorm._spec.spec import LRNSpec
from lrnorm.onnx.attributes import attributes_of, spec_of
from lrnorm.onnx.graph import free, is_op, label, lrn_nodes, needed, reads

# They read nothing and give other numbers at every run: two copies of one would not agree.
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
_RANDOM |= {"Bernoulli", "Multinomial"}


@dataclass(frozen=True)
class Norm:
    """An LRN node."""

    name: str
    spec: LRNSpec
    alpha: float  # as ONNX says it, from which the spec's scale follows
    source: str
    result: str


@dataclass(frozen=True)
class Level:
    """One step of the computation: nodes that run in ONNX Runtime, and the LRNs behind them. A
    step of LRNs alone has no nodes and gives nothing."""

    nodes: list[NodeProto]
    initializers: list[Any]
    takes: list[str]
    gives: list[str]
    norms: list[Norm]


@dataclass(frozen=True)
class Cut:
    """A model in levels; `outputs` maps each output to the name of its value."""

    model: ModelProto
    inputs: Mapping[str, ValueInfoProto]
    outputs: Mapping[str, str]
    levels: list[Level]


def cut(model: ModelProto) -> Cut:
    """The level of a node is the number of LRNs on the longest way to it from the inputs. What
    depends on no input goes into every level that needs it."""
    model, specs = _inlined(model)
    graph = model.graph
    tensors: dict[str, Any] = {t.name: t for t in graph.initializer}
    tensors |= {t.values.name: t for t in graph.sparse_initializer}
    constants = set(tensors)
    inputs = {value.name: value for value in graph.input if value.name not in constants}
    outputs = {value.name: value.name for value in graph.output}
    nodes = list(graph.node)
    for name in outputs.keys() & inputs.keys():  # a net has a layer between two of its ports
        outputs[name] = free(f"{name}/given", inputs | outputs)
        nodes.append(helper.make_node("Identity", [name], [outputs[name]]))

    level = dict.fromkeys(inputs, 0)
    made_at: dict[str, int] = {}  # what the nodes of a level give or could give
    at: dict[int, list[NodeProto]] = {}
    same: list[NodeProto] = []  # whatever the inputs
    takes: dict[int, dict[str, None]] = {}  # what those nodes read of other levels
    norms: dict[int, list[Norm]] = {}
    for node in needed(nodes, outputs.values()):
        for name in filter(None, node.input):
            if name not in level and name not in constants:
                raise ParameterError(
                    f"node {label(node)!r} ({node.op_type})",
                    f"reads {name!r}, which nothing before it gives",
                    way_out="onnx.checker.check_model(model) tells all that is wrong.",
                )
        results = list(filter(None, node.output))
        # A graph inside may give a value the name of one that comes later.
        before = [name for name in reads(node) if name in level]
        depth = max((level[name] for name in before), default=0)
        if is_op(node, "LRN"):
            norm = Norm(*specs[node.output[0]], node.input[0], node.output[0])
            norms.setdefault(depth, []).append(norm)
            level[norm.result] = depth + 1
        elif before or node.op_type in _RANDOM:
            at.setdefault(depth, []).append(node)
            others = (name for name in before if made_at.get(name) != depth)
            takes.setdefault(depth, {}).update(dict.fromkeys(others))
            level |= dict.fromkeys(results, depth)
            made_at |= dict.fromkeys(results, depth)
        else:
            constants.update(results)
            same.append(node)

    # Constants that no level but the first has a reason to give.
    ends = [*outputs.values(), *(norm.source for some in norms.values() for norm in some)]
    fixed = [name for name in dict.fromkeys(ends) if name not in level]
    if fixed:
        at.setdefault(0, [])
        takes.setdefault(0, {})
    asked = {*ends, *(name for names in takes.values() for name in names)}
    if at:  # every input of the model is one of the net, and a segment takes something
        takes[min(at)].update(dict.fromkeys(name for name in inputs if name not in asked))
        for names in takes.values():
            names.update(dict.fromkeys(list(inputs)[:1] if not names else []))
    levels = []
    for depth in sorted({*at, *norms}):
        some, wanted = at.get(depth, []), fixed if depth == 0 else []
        gives = [name for node in some for name in node.output if name in asked] + wanted
        fed = {name for node in some for name in reads(node)}
        own = [*needed(same, fed.union(wanted)), *some]
        read = fed.union(wanted, *map(reads, own))
        initializers = [tensor for name, tensor in tensors.items() if name in read]
        found = norms.get(depth, [])
        levels.append(Level(own, initializers, list(takes.get(depth, {})), gives, found))
    return Cut(model, inputs, outputs, levels)


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
            f"the LRN {path}",
            "stands in a graph inside a node (If, Loop, Scan), where a net cannot reach it",
            way_out="Export the model without that node, or run it whole with onnxruntime.",
        )
    found = zip(named, lrn_nodes(model).values(), strict=True)
    return model, {
        f.node.output[0]: (path, spec_of(path, f), attributes_of(path, f)["alpha"])
        for path, f in found
    }
