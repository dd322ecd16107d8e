"""An LRN that an exporter wrote out in many operators, found by what it computes."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper

from lrnorm._spec.spec import LRNSpec
from lrnorm.onnx.attributes import decimal, in_onnx_words
from lrnorm.onnx.graph import (
    Model,
    Scope,
    all_reads,
    attribute_value,
    copied,
    free,
    graphs_of,
    is_op,
    label,
    labels,
    opened,
    reads,
    scopes,
    with_data,
)

_log = logging.getLogger("lrnorm.onnx")


@dataclass(frozen=True)
class Chain:
    """An LRN written out: its numbers, how many nodes do it (constants not counted), why it has to
    stay that way, or None where `fuse` makes it one LRN node, and the type and shape of its input,
    each None where not known."""

    spec: LRNSpec
    nodes: int
    why_not: str | None
    dtype: str | None
    shape: tuple[int | str, ...] | None


@dataclass
class _Match:
    """What was found: the nodes from the square to the quotient, which is the last."""

    spec: LRNSpec
    source: str
    rank: int
    nodes: list[NodeProto]
    words: dict[str, Any] = field(default_factory=dict)  # what the LRN node would say
    why_not: str | None = None
    unneeded: list[NodeProto] = field(default_factory=list)  # and what would go for it


def chains(model: Model) -> dict[str, Chain]:
    """Every LRN that is written out in other operators, as PyTorch's exporters do.

        y = x / (bias + alpha * pool(pad(x * x))) ** beta

    The names are those of the last node of each, with the path of a graph inside another, as in
    `specs`. Every constant is checked, and every shape that the result depends on: what cannot be
    proved to be an LRN is not in the answer. Functions are not looked into.

    Errors: FileError (an OSError) and KindError (a TypeError) as in `specs`.

    Source: what torch.onnx.export writes for torch.nn.functional.local_response_norm.

    >>> import lrnorm
    >>> leaning = lrnorm.LRNSpec(scale=0.25, beta=0.75, bias=1.0, before=2, after=1)
    >>> [chain] = lrnorm.onnx.chains(lrnorm.onnx.to_onnx(leaning)).values()
    >>> chain.spec, chain.nodes
    (LRNSpec(scale=0.25, beta=0.75, bias=1.0, before=2, after=1), 9)
    >>> print(chain.why_not)
    an LRN node of ONNX has before = (size - 1) // 2 and after = size // 2, got before=2, after=1
    """
    found, folder = opened(model)
    answer: dict[str, Chain] = {}
    for scope in scopes(found, folder):
        matches = _matches(scope)
        for name, match in zip(labels(m.nodes[-1] for m in matches), matches, strict=True):
            working = [node for node in match.unneeded if not is_op(node, "Constant")]
            chain = Chain(
                match.spec,
                len(working),
                match.why_not,
                scope.dtype(match.source),
                scope.sizes(match.source),
            )
            answer[free(scope.prefix + name, answer)] = chain
    return answer


def fuse(model: Model) -> ModelProto:
    """A copy of the model in which what PyTorch wrote out in many operators is one LRN node again.

        x / (bias + alpha * pool(pad(x * x))) ** beta   →   LRN(x)

    The LRN takes the name of the last node it replaces. The axes after the second of an input that
    has not four are folded into one for it and unfolded after, because ONNX Runtime takes only
    four. `specs` before and after tells how many were fused, `chains` which stay and why, and
    the logger "lrnorm.onnx" both. These stay: even windows, because PyTorch's lean to earlier
    channels and ONNX's to later ones (unless there are so few channels that both cover all);
    inputs that are not float32, because ONNX Runtime has no LRN for float64 and attributes are
    float32; chains one of whose inner values is used elsewhere, or is an output.

    The model given is not changed. Of a path the external data come into the copy; a ModelProto or
    bytes keep their references.

    Errors: FileError (an OSError) and KindError (a TypeError) as in `specs`.

    Source: the operator LRN-13 of the ONNX standard.

    >>> import lrnorm
    >>> whole = lrnorm.onnx.to_onnx(lrnorm.LRNSpec(0.2, 0.75, 1.0, 2, 2))
    >>> [node.op_type for node in lrnorm.onnx.fuse(whole).graph.node]
    ['LRN']
    """
    copy, folder = copied(model)
    for scope in reversed(scopes(copy, folder)):  # a graph is copied with what is inside it
        matches = _matches(scope)
        for match in matches:
            where = scope.prefix + label(match.nodes[-1])
            if match.why_not is None:
                _log.info("%s: one LRN in place of %d nodes", where, len(match.unneeded))
            else:
                _log.warning("%s stays as it is: %s", where, match.why_not)
        _replace(scope, [match for match in matches if match.why_not is None])
    return with_data(copy, model, folder)


def _replace(scope: Scope, matches: list[_Match]) -> None:
    gone = {id(node) for match in matches for node in match.nodes}
    new = {id(match.nodes[-1]): _lrn(match, scope) for match in matches}
    nodes = [
        made
        for node in scope.nodes
        for made in new.get(id(node), [] if id(node) in gone else [node])
    ]
    asked = Counter[str]()
    for match in matches:
        for node in match.nodes:
            asked.update(reads(node))
    nodes, unread = _without_idle(scope, nodes, set(asked))
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
    last = match.nodes[-1]
    result = last.output[0]
    if match.rank == 4:
        return [helper.make_node("LRN", [match.source], [result], name=label(last), **match.words)]
    taken = {**scope.producers, **scope.uses}
    target, shape, folded, normalized = (
        free(f"{result}/{name}", taken) for name in ("target", "shape", "folded", "normalized")
    )
    return [
        helper.make_node(
            "Constant", [], [target], value=helper.make_tensor(target, 7, [4], [0, 0, 0, -1])
        ),
        helper.make_node("Shape", [match.source], [shape]),
        helper.make_node("Reshape", [match.source, target], [folded]),
        helper.make_node("LRN", [folded], [normalized], name=label(last), **match.words),
        helper.make_node("Reshape", [normalized, shape], [result]),
    ]


def _matches(scope: Scope) -> list[_Match]:
    found = []
    for node in scope.nodes:
        if is_op(node, "Div") and len(node.input) == 2:
            try:
                found.append(_judged(_Reader(scope).match(node), scope))
            except (_OtherError, LookupError, TypeError, ValueError):
                continue  # the others: nodes against ONNX's own rules, numbers that make no LRNSpec
    return found


def _judged(match: _Match, scope: Scope) -> _Match:
    """Whether it can be an LRN node, and what would go with it."""
    inside = Counter[str]()
    for node in match.nodes:
        inside.update(reads(node))
    inner = [name for node in match.nodes[:-1] for name in node.output if name]
    elsewhere = [name for name in inner if scope.uses[name] != inside[name]]
    sizes = scope.sizes(match.source)
    channels = sizes[1] if sizes and isinstance(sizes[1], int) else None
    words = in_onnx_words(match.spec, channels)
    kind = scope.dtype(match.source)
    if elsewhere:
        match.why_not = f"its inner value {elsewhere[0]!r} is used elsewhere"
    elif kind != "float32":
        match.why_not = f"the LRN node keeps its numbers in float32, and the input is {kind}"
    elif isinstance(words, str):
        match.why_not = words
    else:
        match.words = words
    away = {id(node) for node in match.nodes}
    instead = helper.make_node("LRN", [match.source], match.nodes[-1].output)
    rest = [instead, *(node for node in scope.nodes if id(node) not in away)]
    left = {id(node) for node in _without_idle(scope, rest, set(inside))[0]}
    match.unneeded = [node for node in scope.nodes if id(node) not in left]
    return match


class _OtherError(Exception):
    """It is something else."""


def _need(condition: Any) -> None:
    if not condition:
        raise _OtherError


class _Reader:
    """Reads a chain from its end to its start, and keeps the nodes it went through."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.nodes: list[NodeProto] = []

    def node(self, name: str, *kinds: str) -> NodeProto:
        node = self.scope.producers.get(name)
        if node is None or not any(is_op(node, kind) for kind in kinds):
            raise _OtherError
        self.nodes.append(node)
        return node

    def number(self, name: str) -> float:
        value = self.scope.value(name)
        if value is None or value.size != 1 or value.ndim > 1 or value.dtype == object:
            raise _OtherError
        return decimal(value.reshape(())[()])

    def with_number(self, name: str, kind: str, absent: float) -> tuple[str, float]:
        """The other operand of an addition or a product with a number, and that number. Exporters
        leave out `+ 0` and `* 1`."""
        node = self.scope.producers.get(name)
        if node is None or not is_op(node, kind):
            return name, absent
        for value, number in (node.input, reversed(node.input)):
            try:
                found = self.number(number)
            except _OtherError:
                continue
            self.nodes.append(node)
            return value, found
        return name, absent

    def match(self, last: NodeProto) -> _Match:
        source, divisor = last.input
        power = self.node(divisor, "Pow")
        beta = self.number(power.input[1])
        name, bias = self.with_number(power.input[0], "Add", 0.0)
        name, alpha = self.with_number(name, "Mul", 1.0)
        reshaped = self.scope.producers.get(name)
        back = None
        if reshaped is not None and is_op(reshaped, "Reshape"):
            back = self.node(name, "Reshape")
            name = back.input[0]
        pool = self.node(self.without_plane(name), "AveragePool")
        size = self.pool_size(pool)
        pad = self.node(pool.input[0], "Pad")
        before, after = self.padding(pad, len(attribute_value(pool, "kernel_shape")) + 2)
        _need(before + after + 1 == size)
        planes = self.node(pad.input[0], "Reshape", "Unsqueeze")
        square = self.node(planes.input[0], "Mul")
        _need(list(square.input) == [source, source])
        rank = self.rank(source, planes, back, pool)
        spec = LRNSpec(alpha / size, beta, bias, before, after)
        return _Match(spec, source, rank, [*reversed(self.nodes), last])

    def without_plane(self, name: str) -> str:
        """What loses its second axis, of length 1. PyTorch's older exporter asks for that length
        first, although there is only one answer."""
        node = self.node(name, "Squeeze", "If")
        if node.op_type == "Squeeze":
            _need(self.scope.axes(node) == (1,))
            return str(node.input[0])
        branch = dict(graphs_of(node)).get("then_branch")
        if branch is None or len(branch.output) != 1:
            raise _OtherError
        inner = Scope(branch, branch, "", self.scope.folder, self.scope)
        squeeze = inner.producers.get(branch.output[0].name)
        if squeeze is None or not is_op(squeeze, "Squeeze") or inner.axes(squeeze) != (1,):
            raise _OtherError
        equal = self.node(node.input[0], "Equal")
        length, one = equal.input
        _need(self.number(one) == 1)
        gather = self.node(length, "Gather")
        _need(self.number(gather.input[1]) == 1 and attribute_value(gather, "axis", 0) == 0)
        shape = self.node(gather.input[0], "Shape")
        _need(attribute_value(shape, "start", 0) == 0 and shape.input[0] == squeeze.input[0])
        return str(squeeze.input[0])

    def pool_size(self, pool: NodeProto) -> int:
        size, *others = attribute_value(pool, "kernel_shape")
        for name, usual in (("strides", 1), ("dilations", 1), ("pads", 0)):
            _need(set(attribute_value(pool, name, [usual])) == {usual})
        _need(attribute_value(pool, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID"))
        _need(set(others) == {1})
        return int(size)

    def padding(self, pad: NodeProto, rank: int) -> tuple[int, int]:
        """How many channels of zeros come before and after; nothing else is padded."""
        _need(attribute_value(pad, "mode", b"constant") == b"constant")
        _need(not any(pad.input[3:]))  # axes, which no exporter writes here
        if len(pad.input) > 2 and pad.input[2]:
            _need(self.number(pad.input[2]) == 0)
        if len(pad.input) > 1:
            pads = self.scope.value(pad.input[1])
        else:  # before opset 11
            _need(attribute_value(pad, "value", 0.0) == 0)
            pads = np.array(attribute_value(pad, "pads", ()))
        if pads is None or pads.shape != (2 * rank,):
            raise _OtherError
        ends = [int(pads[2]), int(pads[2 + rank])]
        _need(np.count_nonzero(pads) == np.count_nonzero(ends))
        return ends[0], ends[1]

    def rank(self, source: str, planes: NodeProto, back: NodeProto | None, pool: NodeProto) -> int:
        """The rank of the input, once it is sure that the pool ran over its channels and the
        result came back in its shape."""
        window = attribute_value(pool, "kernel_shape")
        if planes.op_type == "Unsqueeze":
            _need(self.scope.axes(planes) == (1,) and back is None)
            return len(window) + 1
        sizes = self.scope.sizes(source)
        if sizes is None or len(sizes) < 3 or len(window) != 3:
            raise _OtherError
        # (batch, 1, channels, a, b). The number of elements stays, so batch and channels fix a * b,
        # and channels and a * b the batch.
        batch, plane, channels, *space = self.lengths(planes, 5)
        _need(1 in plane and sizes[1] in channels)
        area, whole = _product(space), _product([{size} for size in sizes[2:]])
        _need(sizes[0] in batch or (area is not None and area == whole))
        if back is None:
            _need(len(sizes) == 4 and sizes[2] in space[0])
        else:
            known = [
                size in length
                for size, length in zip(sizes, self.lengths(back, len(sizes)), strict=True)
            ]
            _need(known.count(False) <= 1)  # one follows from the others
        return len(sizes)

    def lengths(self, reshape: NodeProto, rank: int) -> list[set[int | str]]:
        """What is known of each length after a Reshape: what it asks for, and what the model says.
        -1 and 0 ask for nothing in particular."""
        asked = self.scope.value(reshape.input[1])
        said = self.scope.sizes(reshape.output[0])
        known: list[set[int | str]] = [set() for _ in range(rank)]
        _need(asked is not None or said is not None)
        for lengths in (asked, said):
            if lengths is None:
                continue
            _need(len(lengths) == rank)
            for found, length in zip(known, lengths, strict=True):
                if isinstance(length, str) or length > 0:
                    found.add(length if isinstance(length, str) else int(length))
        return known


def _product(lengths: list[set[int | str]]) -> int | None:
    """Of numbers, or None where one is not known."""
    total = 1
    for length in lengths:
        numbers = [n for n in length if isinstance(n, int)]
        if not numbers:
            return None
        total *= numbers[0]
    return total
