"""LRNs written out in many operators: found by structure and measurement, made one node."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from lrnorm import conventions
from lrnorm._spec.errors import ConventionError
from lrnorm._spec.spec import LRNSpec
from lrnorm.onnx.attributes import in_onnx_words
from lrnorm.onnx.candidates import Candidate, search
from lrnorm.onnx.graph import (
    Model,
    Scope,
    all_reads,
    attribute_value,
    copied,
    free,
    is_op,
    label,
    labels,
    reads,
    scopes,
    with_data,
)
from lrnorm.onnx.measured import Measurer

_log = logging.getLogger("lrnorm.onnx")


@dataclass(frozen=True)
class Chain:
    """An LRN written out: its numbers, how many nodes do it (constants not counted), why it has to
    stay that way, or None where `fuse` makes it one LRN node, the type and shape of its input,
    each None where not known, and the axis of its channels."""

    spec: LRNSpec
    nodes: int
    why_not: str | None
    dtype: str | None
    shape: tuple[int | str, ...] | None
    axis: int = 1


@dataclass
class _Match:
    """A candidate that was verified."""

    candidate: Candidate
    spec: LRNSpec
    axis: int
    words: dict[str, Any] = field(default_factory=dict)  # of the LRN node
    why_not: str | None = None
    unneeded: list[NodeProto] = field(default_factory=list)  # what would go for it


def chains(model: Model) -> dict[str, Chain]:
    """Every LRN that is written out in other operators, whichever they are.

        y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

    Candidates are the subgraphs from the square of a value to a quotient with that value that
    depend on nothing else. Each is run by itself in ONNX Runtime and measured, as
    `lrnorm.identify` does: what is not verified to be an LRN is not in the answer. The names are
    those of the last node of each, with the path of a graph inside another, as in `specs`.
    Functions are not looked into.

    Errors: FileError (an OSError) and KindError (a TypeError) as in `specs`;
    MissingDependencyError (an ImportError) without onnxruntime.

    Source: the operators of the ONNX standard.

    >>> import lrnorm
    >>> leaning = lrnorm.LRNSpec(scale=0.25, beta=0.75, bias=1.0, before=2, after=1)
    >>> [chain] = lrnorm.onnx.chains(lrnorm.onnx.to_onnx(leaning)).values()
    >>> chain.spec, chain.nodes
    (LRNSpec(scale=0.25, beta=0.75, bias=1.0, before=2, after=1), 10)
    >>> print(chain.why_not)
    an LRN node of ONNX has before = (size - 1) // 2 and after = size // 2, got before=2, after=1
    """
    answer: dict[str, Chain] = {}
    for scope, matches in _all_matches(*copied(model)):
        names = labels(match.candidate.last for match in matches)
        for name, match in zip(names, matches, strict=True):
            source = match.candidate.source
            answer[free(scope.prefix + name, answer)] = Chain(
                match.spec,
                len([node for node in match.unneeded if not is_op(node, "Constant")]),
                match.why_not,
                scope.dtype(source),
                scope.sizes(source),
                match.axis,
            )
    return answer


def fuse(model: Model) -> ModelProto:
    """A copy of the model in which an LRN that was written out in many operators is one LRN node.

        x / (bias + alpha * pool(pad(x * x))) ** beta   →   LRN(x)

    What counts as an LRN is measured, as in `chains`. The LRN takes the name of the last node it
    replaces. Where the channels are not axis 1, a Transpose stands before and after it, unless the
    model has one there to undo; the axes after the second of an input that has not four are
    folded into one for it and unfolded after, because ONNX Runtime takes only four.

    `specs` before and after tells how many were fused, `chains` which stay and why, and the
    logger "lrnorm.onnx" both. These stay: what ONNX Runtime refuses on the CPU or an LRN node
    cannot express (even windows, alpha or beta not above 0, windows to the end of the axis);
    inputs that are not float32, because the attributes of an LRN node are; chains one of whose
    inner values is used elsewhere, or is an output.

    ONNX Runtime computes the one node three to ten times slower on the CPU than the operators
    that `decompose` writes: fuse for runtimes that have a fast LRN, to read the numbers with
    `specs`, or to run the model with `load`.

    The model given is not changed. Of a path the external data come into the copy; a ModelProto or
    bytes keep their references.

    Errors: those of `chains`.

    Source: the operator LRN-13 of the ONNX standard.

    >>> import lrnorm
    >>> whole = lrnorm.onnx.to_onnx(lrnorm.LRNSpec(0.2, 0.75, 1.0, 2, 2))
    >>> [node.op_type for node in lrnorm.onnx.fuse(whole).graph.node]
    ['LRN']
    """
    copy, folder = copied(model)
    fused = 0
    # A graph is copied with what is inside it, so the inner ones come first.
    for scope, matches in reversed(_all_matches(copy, folder)):
        for match in matches:
            where = scope.prefix + label(match.candidate.last)
            if match.why_not is None:
                fused += 1
                _log.info("%s: one LRN in place of %d nodes", where, len(match.unneeded))
            else:
                _log.warning("%s stays as it is: %s", where, match.why_not)
        _replace(scope, [match for match in matches if match.why_not is None])
    if fused:
        _log.info(
            "ONNX Runtime's CPU computes an LRN node slowly: lrnorm.onnx.decompose(model, "
            'runtime="onnxruntime") writes faster operators'
        )
    return with_data(copy, model, folder)


def _all_matches(model: ModelProto, folder: str) -> list[tuple[Scope, list[_Match]]]:
    """What is found in each graph. An LRN keeps the shape of its input, which tells later shapes
    that ONNX does not infer, and so the next LRNs: the search is repeated until all are told."""
    measurer = Measurer(model, folder)
    told: list[tuple[GraphProto, ValueInfoProto]] = []
    while True:
        found = [(scope, _matches(scope, measurer)) for scope in scopes(model, folder)]
        new = [
            (scope.graph, value)
            for scope, matches in found
            for match in matches
            if (value := _unknown_shape(scope, match)) is not None
            if not any(value.name == other.name for _, other in told)
        ]
        for graph, value in new:
            graph.value_info.append(value)
        if not new:
            break
        told += new
    for graph, value in told:
        graph.value_info.remove(value)
    return found


def _unknown_shape(scope: Scope, match: _Match) -> ValueInfoProto | None:
    """The type of the result, where its shape is not known."""
    result, sizes = match.candidate.last.output[0], scope.sizes(match.candidate.source)
    dtype = scope.dtype(match.candidate.source)
    if scope.sizes(result) is not None or sizes is None or dtype is None:
        return None
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(result, kind, sizes)


def _matches(scope: Scope, measurer: Measurer) -> list[_Match]:
    def verify(candidate: Candidate) -> _Match | None:
        found = measurer.measure(scope, candidate)
        if found is None:
            return None
        spec, axis = found
        if spec.bias == 0 and spec.before == spec.after == 0:
            return None  # a power of the value itself
        return _judged(_Match(candidate, _as_divided(spec), axis), scope)

    return search(scope, verify)


def _as_divided(spec: LRNSpec) -> LRNSpec:
    """The spec with the bits of scale that alpha / size has, as `specs` reads an LRN node."""
    before, after = spec.before, spec.after
    if not isinstance(before, int) or not isinstance(after, int):
        return spec
    size = before + after + 1
    alpha = float(f"{spec.scale * size:.12g}")
    return dataclasses.replace(spec, scale=alpha / size)


def _judged(match: _Match, scope: Scope) -> _Match:
    """Whether it can be an LRN node, and what would go with it."""
    candidate, spec = match.candidate, match.spec
    inside = Counter[str]()
    for node in candidate.nodes:
        inside.update(reads(node))
    held = [name for node in candidate.inner for name in node.output if name]
    elsewhere = [name for name in held if scope.uses[name] != inside[name]]
    sizes = scope.sizes(candidate.source)
    channels = sizes[match.axis] if sizes else None
    words = in_onnx_words(spec, channels if isinstance(channels, int) else None)
    kind = scope.dtype(candidate.source)
    if elsewhere:
        match.why_not = f"its inner value {elsewhere[0]!r} is used elsewhere"
    elif kind != "float32":
        match.why_not = f"the LRN node keeps its numbers in float32, and the input is {kind}"
    elif (spec.before is None or spec.after is None) and candidate.reduces:
        match.why_not = "its window is the whole axis, which an LRN node cannot express"
    elif isinstance(words, str):
        match.why_not = words
    else:
        match.words = words
        match.why_not = _refused(words)
    away = {id(node) for node in candidate.inner} | {id(candidate.last)}
    instead = helper.make_node("LRN", [candidate.source], candidate.last.output)
    rest = [instead, *(node for node in scope.nodes if id(node) not in away)]
    left = {id(node) for node in _without_idle(scope, rest, set(inside))[0]}
    match.unneeded = [node for node in scope.nodes if id(node) not in left]
    return match


def _refused(words: dict[str, Any]) -> str | None:
    """Why ONNX Runtime would not run the LRN node on the CPU."""
    if words["alpha"] == 0 or words["beta"] == 0:
        return "alpha or beta is 0, so it only multiplies: ONNX Runtime refuses such an LRN node"
    try:
        conventions.read("onnxruntime", **words)
    except ConventionError as error:
        return f"ONNX Runtime refuses the LRN node on the CPU: {error.reason}"
    return None


def _replace(scope: Scope, matches: list[_Match]) -> None:
    gone = {id(n) for match in matches for n in (*match.candidate.inner, match.candidate.last)}
    gone |= {id(node) for match in matches if (node := _undone(scope, match)) is not None}
    new = {id(match.candidate.last): _lrn(match, scope) for match in matches}
    nodes = [
        made
        for node in scope.nodes
        for made in new.get(id(node), [] if id(node) in gone else [node])
    ]
    asked = {name for match in matches for node in match.candidate.nodes for name in reads(node)}
    nodes, unread = _without_idle(scope, nodes, asked)
    graph = scope.graph
    del graph.node[:]
    graph.node.extend(nodes)
    for list_ in (graph.initializer, graph.value_info):
        for item in [item for item in list_ if item.name in unread]:
            list_.remove(item)


def _without_idle(
    scope: Scope, nodes: list[NodeProto], candidates: set[str]
) -> tuple[list[NodeProto], set[str]]:
    """The nodes without those that only fed what is gone, and the names that nobody reads now."""
    while True:
        used = all_reads(nodes, scope.graph)
        idle = [
            node
            for node in nodes
            if any(name in candidates for name in node.output)
            and not any(name in used for name in node.output)
        ]
        if not idle:
            inputs = {value.name for value in scope.graph.input}
            return nodes, candidates - set(used) - inputs
        for node in idle:
            candidates |= set(reads(node)) | set(node.output)
        away = {id(node) for node in idle}
        nodes = [node for node in nodes if id(node) not in away]


def _lrn(match: _Match, scope: Scope) -> list[NodeProto]:
    """The LRN node, with what brings the channels to axis 1 of four axes and back."""
    source, last = match.candidate.source, match.candidate.last
    undone = _undone(scope, match)
    result = (last if undone is None else undone).output[0]
    taken = {**scope.producers, **scope.uses}
    before: list[NodeProto] = []
    after: list[NodeProto] = []
    sizes = scope.sizes(source) or ()
    rank = len(sizes)

    def name(word: str) -> str:
        found = free(f"{result}/{word}", taken)
        taken[found] = None
        return found

    if match.axis != 1:
        order, back = _orders(rank, match.axis)
        moved, returned = name("channels_second"), name("channels_returned")
        maker = scope.producers.get(source)
        if maker is not None and is_op(maker, "Transpose") and _perm(maker) == back:
            moved = maker.input[0]
            taken[moved] = None
        else:
            before.append(helper.make_node("Transpose", [source], [moved], perm=order))
        source = moved
        if undone is None:
            after.insert(0, helper.make_node("Transpose", [returned], [result], perm=back))
            result = returned
    if rank != 4:
        target, shape, folded, normalized = map(name, ("target", "shape", "folded", "normalized"))
        four = [0, 0, 0, -1] if rank > 2 else [0, 0, 1, 1]
        before += [
            helper.make_node(
                "Constant", [], [target], value=helper.make_tensor(target, 7, [4], four)
            ),
            helper.make_node("Shape", [source], [shape]),
            helper.make_node("Reshape", [source, target], [folded]),
        ]
        after.insert(0, helper.make_node("Reshape", [normalized, shape], [result]))
        source, result = folded, normalized
    node = helper.make_node("LRN", [source], [result], name=label(last), **match.words)
    return [*before, node, *after]


def _orders(rank: int, axis: int) -> tuple[list[int], list[int]]:
    """The order of axes that puts `axis` second and keeps the others, and its inverse."""
    order = [i for i in range(rank) if i != axis]
    order.insert(1, axis)
    return order, [order.index(i) for i in range(rank)]


def _undone(scope: Scope, match: _Match) -> NodeProto | None:
    """The one reader of the quotient, if it is the Transpose that brings the channels to axis 1."""
    result = match.candidate.last.output[0]
    readers = [node for node in scope.nodes if result in node.input]
    order, _ = _orders(len(scope.sizes(match.candidate.source) or ()), match.axis)
    if match.axis == 1 or scope.uses[result] != 1 or len(readers) != 1:
        return None
    return readers[0] if is_op(readers[0], "Transpose") and _perm(readers[0]) == order else None


def _perm(node: NodeProto) -> list[int]:
    return list(attribute_value(node, "perm", ()))
