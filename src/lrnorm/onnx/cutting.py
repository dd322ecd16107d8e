"""A model's graph, cut at its LRN nodes into pieces with inputs and outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto, NodeProto, ValueInfoProto, helper, inliner

from lrnorm._spec.errors import ParameterError
from lrnorm._spec.spec import LRNSpec
from lrnorm.models.onnx import label
from lrnorm.onnx.attributes import attributes_of, spec_of
from lrnorm.onnx.graph import free, is_op, lrn_nodes, needed, reads

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


@dataclass
class Level:
    """One step of the computation: nodes that run in ONNX Runtime, and the LRNs behind them. A
    step of LRNs alone has no nodes and gives nothing."""

    nodes: list[NodeProto] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    takes: dict[str, None] = field(default_factory=dict)
    gives: list[str] = field(default_factory=list)
    norms: list[Norm] = field(default_factory=list)


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

    depths = dict.fromkeys(inputs, 0)
    made_at: dict[str, int] = {}  # what the nodes of a level give or could give
    levels: defaultdict[int, Level] = defaultdict(Level)
    same: list[NodeProto] = []  # whatever the inputs
    for node in needed(nodes, outputs.values()):
        for name in filter(None, node.input):
            if name not in depths and name not in constants:
                raise ParameterError(
                    f"node {label(node)!r} ({node.op_type})",
                    f"reads {name!r}, which nothing before it gives",
                    way_out="onnx.checker.check_model(model) tells all that is wrong.",
                )
        results = list(filter(None, node.output))
        # A graph inside may give a value the name of one that comes later.
        before = [name for name in reads(node) if name in depths]
        depth = max((depths[name] for name in before), default=0)
        if is_op(node, "LRN"):
            norm = Norm(*specs[node.output[0]], node.input[0], node.output[0])
            levels[depth].norms.append(norm)
            depths[norm.result] = depth + 1
        elif before or node.op_type in _RANDOM:
            levels[depth].nodes.append(node)
            others = (name for name in before if made_at.get(name) != depth)
            levels[depth].takes.update(dict.fromkeys(others))
            depths |= dict.fromkeys(results, depth)
            made_at |= dict.fromkeys(results, depth)
        else:
            constants.update(results)
            same.append(node)

    # Constants that no level but the first has a reason to give.
    ends = [*outputs.values(), *(norm.source for level in levels.values() for norm in level.norms)]
    fixed = [name for name in dict.fromkeys(ends) if name not in depths]
    asked = {*ends, *(name for level in levels.values() for name in level.takes)}
    running = [at for at, level in levels.items() if level.nodes]
    if fixed or running:  # every input of the model is one of the net
        first = levels[0 if fixed else min(running)]
        first.takes.update(dict.fromkeys(name for name in inputs if name not in asked))
    for depth, level in levels.items():
        wanted = fixed if depth == 0 else []
        if not level.takes and (level.nodes or wanted):  # a segment takes something
            level.takes.update(dict.fromkeys(list(inputs)[:1]))
        level.gives = [name for node in level.nodes for name in node.output if name in asked]
        level.gives += wanted
        fed = {name for node in level.nodes for name in reads(node)}.union(wanted)
        level.nodes = [*needed(same, fed), *level.nodes]
        read = fed.union(*map(reads, level.nodes))
        level.initializers = [tensor for name, tensor in tensors.items() if name in read]
    return Cut(model, inputs, outputs, [levels[depth] for depth in sorted(levels)])


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
