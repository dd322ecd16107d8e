"""Finds subgraphs that may be an LRN: from the square of a value to a quotient with that value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from onnx import NodeProto

from lrnorm.onnx.graph import Scope, graphs_of, is_op, reads
from lrnorm.onnx.tensors import is_constant

# Operators between the input and its squares, or its quotient, that leave the values as they are,
# take some of them, or multiply them by a constant.
LIGHT = frozenset(
    [
        *("Abs", "Cast", "Div", "Flatten", "Gather", "Identity", "Mul", "Neg", "Pad", "Reshape"),
        *("Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
    ]
)
MOST_ANCESTORS = 6  # from a square back to the input, in light operators

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Candidate:
    """A quotient that depends on `source` alone: its nodes in order, the last being the quotient
    or its cast, and those before it that hold squares or sums of squares."""

    source: str
    nodes: tuple[NodeProto, ...]
    inner: tuple[NodeProto, ...]

    @property
    def last(self) -> NodeProto:
        return self.nodes[-1]

    @property
    def reduces(self) -> bool:
        """Whether an operator takes the whole axis, as RMSNorm and PixelNorm do."""
        return any(node.op_type.startswith("Reduce") for node in self.inner)


def needs(node: NodeProto) -> set[str]:
    """The values of its own graph, or of one around it, that a node reads, those that graphs
    inside it read included."""
    own = {
        name
        for _, graph in graphs_of(node)
        for name in (
            *(t.name for t in graph.initializer),
            *(name for inner in graph.node for name in inner.output),
            *(value.name for value in graph.input),
        )
    }
    return set(reads(node)) - own


def search(scope: Scope, verify: Callable[[Candidate], Answer | None]) -> list[Answer]:
    """What `verify` makes of the candidates of one graph. Of those with one input the longest
    comes first; the squares of one that is verified belong to no other."""
    nodes = _ordered(scope)
    squares = {id(node): node.input[0] for node in nodes if _is_square(node, scope)}
    constants = frozenset(
        name for node in scope.nodes for name in needs(node) if is_constant(scope, name)
    )
    tried: set[str] = set()
    done: set[int] = set()
    answers = []

    def verified(source: str) -> bool:
        for candidate in _from(nodes, source, squares, constants):
            if not done.isdisjoint(map(id, candidate.inner)):
                continue
            if (answer := verify(candidate)) is not None:
                answers.append(answer)
                done.update(map(id, candidate.inner))
                return True
        return False

    for node in nodes:
        if id(node) not in squares:
            continue
        for source in _sources(scope, squares[id(node)]):
            if id(node) in done:
                break
            if source not in tried:
                tried.add(source)
                verified(source)
    return answers


def _ordered(scope: Scope) -> list[NodeProto]:
    """The nodes, each after those whose values it reads: ONNX demands it, some files do not."""
    places = {name: i for i, node in enumerate(scope.nodes) for name in node.output if name}
    waits = [
        {i for name in needs(node) if (i := places.get(name, at)) != at}
        for at, node in enumerate(scope.nodes)
    ]
    if all(not wait or max(wait) < at for at, wait in enumerate(waits)):
        return scope.nodes
    left, done, order = dict(enumerate(waits)), set[int](), list[NodeProto]()
    while ready := [at for at, wait in left.items() if wait <= done]:
        order += [scope.nodes[at] for at in ready]
        done.update(ready)
        for at in ready:
            del left[at]
    return order


def _is_square(node: NodeProto, scope: Scope) -> bool:
    if is_op(node, "Mul"):
        return len(node.input) == 2 and node.input[0] == node.input[1]
    if is_op(node, "Pow"):
        exponent = scope.value(node.input[1])
        return exponent is not None and exponent.size == 1 and exponent.ravel()[0] == 2
    return is_op(node, "ReduceSumSquare") or is_op(node, "ReduceL2")


def _sources(scope: Scope, base: str) -> Iterator[str]:
    """The squared value, and what it was made of by light operators; what was cast before the
    cast, whose type has more digits than the numbers of the model."""
    for _ in range(MOST_ANCESTORS + 1):
        node = scope.producers.get(base)
        if node is not None and is_op(node, "Cast"):
            yield node.input[0]
        if not _is_centred(scope, base):
            yield base
        if node is None or node.op_type not in LIGHT:
            return
        wider = [name for name in node.input if name and scope.value(name) is None]
        if not wider:
            return
        base = wider[0]


def _is_centred(scope: Scope, name: str) -> bool:
    """Whether a mean was subtracted: what follows is a layer, batch or instance normalization."""
    node = scope.producers.get(name)
    if node is None or not is_op(node, "Sub"):
        return False
    mean = scope.producers.get(node.input[1])
    return mean is not None and mean.op_type in ("ReduceMean", "GlobalAveragePool")


def _from(
    nodes: list[NodeProto], source: str, squares: dict[int, str], constants: frozenset[str]
) -> list[Candidate]:
    """The quotients of light forms of `source` with values that its squares alone lead to."""
    fixed, light, derived = set(constants), {source}, set[str]()
    inner: list[NodeProto] = []
    quotients: list[tuple[NodeProto, int]] = []
    for node in nodes:
        wanted = needs(node)
        inputs = wanted & (light | derived)
        if source in node.output:
            continue
        if is_op(node, "Shape") or all(n in fixed for n in wanted):
            fixed.update(node.output)
        elif not inputs or not all(n in fixed for n in wanted - inputs):
            continue
        elif squares.get(id(node)) in light or (
            wanted & derived and not _is_quotient(node, light, derived)
        ):
            derived.update(node.output)
            inner.append(node)
        elif wanted & derived:
            quotients.append((node, len(inner)))
            light.update(node.output)
        elif node.op_type in LIGHT:
            light.update(node.output)
            if is_op(node, "Cast") and any(node.input[0] in q.output for q, _ in quotients):
                quotients.append((node, len(inner)))  # back to the type of the input
    return [_candidate(nodes, source, node, inner[:count]) for node, count in reversed(quotients)]


def _is_quotient(node: NodeProto, light: set[str], derived: set[str]) -> bool:
    pairs = []
    if is_op(node, "Div"):
        pairs = [tuple(node.input)]
    elif is_op(node, "Mul"):
        pairs = [tuple(node.input), tuple(reversed(node.input))]
    return any(a in light and b in derived for a, b in pairs)


def _candidate(
    nodes: list[NodeProto], source: str, last: NodeProto, inner: list[NodeProto]
) -> Candidate:
    """All that the quotient needs, back to the source and the constants."""
    wanted, needed = needs(last), {id(last)}
    for node in reversed(nodes):
        outputs = set(node.output)
        if id(node) not in needed and wanted & outputs and source not in outputs:
            needed.add(id(node))
            if not is_op(node, "Shape"):  # of a value that is known by its shape alone
                wanted |= needs(node)
    whole = tuple(node for node in nodes if id(node) in needed)
    return Candidate(source, whole, tuple(node for node in inner if id(node) in needed))
