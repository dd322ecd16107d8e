"""LRNs written out in many operators: found by structure and measurement, made one node."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

from lrnorm import conventions
from lrnorm._spec.errors import ConventionError
from lrnorm._spec.spec import LRNSpec
from lrnorm.models.onnx import label, labels
from lrnorm.onnx.attributes import in_onnx_words
from lrnorm.onnx.candidates import Candidate, search
from lrnorm.onnx.graph import (
    Model,
    Scope,
    all_reads,
    attribute_value,
    copied,
    described,
    free,
    is_op,
    needed,
    reads,
    scopes,
    with_data,
)
from lrnorm.onnx.measured import Measurer
from lrnorm.onnx.writing import Writer, put, replaced

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


class _Match(NamedTuple):
    """A candidate that was verified."""

    candidate: Candidate
    chain: Chain
    words: dict[str, Any]  # of the LRN node, empty where there is none
    unneeded: list[NodeProto]  # what would go for it


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
    onnx has no window of before=2, after=1: size is a width; an even one reaches one further \
ahead: before = (size-1)//2, after = size//2
    """
    answer: dict[str, Chain] = {}
    for scope, matches in _all_matches(*copied(model)):
        names = labels(match.candidate.last for match in matches)
        for name, match in zip(names, matches, strict=True):
            answer[free(scope.prefix + name, answer)] = match.chain
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
            if match.chain.why_not is None:
                fused += 1
                _log.info("%s: one LRN in place of %d nodes", where, len(match.unneeded))
            else:
                _log.warning("%s stays as it is: %s", where, match.chain.why_not)
        _replace(scope, [match for match in matches if match.chain.why_not is None])
    if fused:
        _log.info(
            "ONNX Runtime's CPU computes an LRN node slowly: lrnorm.onnx.decompose(model, "
            'runtime="onnxruntime") writes faster operators'
        )
    return with_data(copy, model, folder)


def _all_matches(model: ModelProto, folder: str) -> list[tuple[Scope, list[_Match]]]:
    """What is found in each graph. An LRN keeps the shape of its input, which tells later shapes
    that ONNX does not infer, and so the next LRNs: the search is repeated until all are told."""
    measurer = Measurer(model)
    told: dict[str, tuple[GraphProto, ValueInfoProto]] = {}
    while True:
        found = [(scope, _matches(scope, measurer)) for scope in scopes(model, folder)]
        new = {
            value.name: (scope.graph, value)
            for scope, matches in found
            for match in matches
            if (value := _unknown_shape(scope, match)) is not None and value.name not in told
        }
        if not new:
            break
        for graph, value in new.values():
            graph.value_info.append(value)
        told |= new
    for graph, value in told.values():
        graph.value_info.remove(value)
    return found


def _unknown_shape(scope: Scope, match: _Match) -> ValueInfoProto | None:
    """The type of the result, where its shape is not known."""
    result, chain = match.candidate.last.output[0], match.chain
    if scope.sizes(result) is not None or chain.shape is None or chain.dtype is None:
        return None
    axes = match.candidate.axes or range(len(chain.shape))
    return described(result, chain.dtype, [chain.shape[axis] for axis in axes])


def _matches(scope: Scope, measurer: Measurer) -> list[_Match]:
    def verify(candidate: Candidate) -> _Match | None:
        found = measurer.measure(scope, candidate)
        if found is None:
            return None
        spec, axis = found
        if spec.bias == 0 and spec.before == spec.after == 0:
            return None  # a power of the value itself
        return _judged(scope, candidate, _as_divided(spec), axis)

    return search(scope, verify)


def _as_divided(spec: LRNSpec) -> LRNSpec:
    """The spec with the bits of scale that alpha / size has, as `specs` reads an LRN node."""
    before, after = spec.before, spec.after
    if not isinstance(before, int) or not isinstance(after, int):
        return spec
    size = before + after + 1
    alpha = float(f"{spec.scale * size:.12g}")
    return dataclasses.replace(spec, scale=alpha / size)


def _judged(scope: Scope, candidate: Candidate, spec: LRNSpec, axis: int) -> _Match:
    """Whether it can be an LRN node, and what would go with it."""
    source, sizes = candidate.source, scope.sizes(candidate.source)
    channels = sizes[axis] if sizes else None
    words = in_onnx_words(spec, channels if isinstance(channels, int) else None)
    instead = Writer(scope, candidate.last)
    instead.make("LRN", source)
    instead.ends_as(candidate.last.output[0])
    rest = replaced(scope.nodes, [instead], set(map(id, candidate.inner)))
    unneeded = _no_more_needed(scope, rest)
    count = sum(not is_op(node, "Constant") for node in unneeded)
    why_not = _why_not(scope, candidate, spec, words)
    chain = Chain(spec, count, why_not, scope.dtype(source), sizes, axis)
    return _Match(candidate, chain, {} if isinstance(words, str) else words, unneeded)


def _why_not(
    scope: Scope, candidate: Candidate, spec: LRNSpec, words: dict[str, Any] | str
) -> str | None:
    """Why it has to stay, or None."""
    inside = Counter(name for node in candidate.nodes for name in reads(node).elements())
    held = [name for node in candidate.inner for name in node.output if name]
    elsewhere = [name for name in held if scope.uses[name] != inside[name]]
    if elsewhere:
        return f"its inner value {elsewhere[0]!r} is used elsewhere"
    if (kind := scope.dtype(candidate.source)) != "float32":
        return f"the LRN node keeps its numbers in float32, and the input is {kind}"
    if (spec.before is None or spec.after is None) and candidate.reduces:
        return "its window is the whole axis, which an LRN node cannot express"
    if isinstance(words, str):
        return words
    if words["alpha"] == 0 or words["beta"] == 0:
        return "alpha or beta is 0, so it only multiplies: ONNX Runtime refuses such an LRN node"
    try:
        conventions.read("onnxruntime", **words)
    except ConventionError as error:
        return f"ONNX Runtime refuses the LRN node on the CPU: {error.reason}"
    return None


def _no_more_needed(scope: Scope, nodes: list[NodeProto]) -> list[NodeProto]:
    """What the graph needed before, and does not need now that it has these nodes."""
    outputs = [value.name for value in scope.graph.output]
    left = set(map(id, needed(nodes, outputs)))
    return [node for node in needed(scope.nodes, outputs) if id(node) not in left]


def _replace(scope: Scope, matches: list[_Match]) -> None:
    gone = {id(node) for match in matches for node in match.candidate.inner}
    writers = []
    for match in matches:
        writer, undone = _written(scope, match)
        writers.append(writer)
        gone |= {id(undone)}
    nodes = replaced(scope.nodes, writers, gone)
    idle = set(map(id, _no_more_needed(scope, nodes)))
    put(scope.graph, [node for node in nodes if id(node) not in idle], writers)
    graph = scope.graph
    unread = set(scope.uses) - set(all_reads(graph.node, graph)) - {v.name for v in graph.input}
    for list_ in (graph.initializer, graph.value_info):
        for item in [item for item in list_ if item.name in unread]:
            list_.remove(item)


def _written(scope: Scope, match: _Match) -> tuple[Writer, NodeProto | None]:
    """The LRN node, with what brings the channels to axis 1 of four axes and back; and a Transpose
    behind it that is undone."""
    candidate = match.candidate
    x, last = candidate.source, candidate.last
    writer = Writer(scope, last)
    given = list(range(len(match.chain.shape or ())))
    second = [axis for axis in given if axis != match.chain.axis]
    second.insert(1, match.chain.axis)
    final = list(candidate.axes or given)  # the order that the readers of the quotient expect
    maker, readers = scope.producers.get(x), [n for n in scope.nodes if last.output[0] in n.input]
    if second != given:
        if maker is not None and [second[axis] for axis in _perm(maker)] == given:
            x = maker.input[0]
        else:
            x = writer.make("Transpose", x, perm=second)
    node = partial(writer.make, "LRN", name=label(last), **match.words)
    y = writer.in_four_axes(x, len(given), node)
    undone = None
    if second != final:
        if (
            scope.uses[last.output[0]] == 1
            and [final[a] for n in readers for a in _perm(n)] == second
        ):
            [undone] = readers
        else:
            writer.make("Transpose", y, perm=[second.index(axis) for axis in final])
    writer.ends_as((undone or last).output[0])
    return writer, undone


def _perm(node: NodeProto) -> list[int]:
    """The order of axes of a Transpose; empty for any other node."""
    return list(attribute_value(node, "perm", ())) if is_op(node, "Transpose") else []
