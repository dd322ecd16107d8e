"""Finds subgraphs that may be an LRN: from the square of a value to a quotient with that value."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from onnx import NodeProto

from lrnorm.onnx.graph import Scope, attribute_value, is_op, needed, reads

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
    or its cast, those before it that hold squares or sums of squares, and the axes of the source
    in the order of the quotient, None where they are in place."""

    source: str
    nodes: tuple[NodeProto, ...]
    inner: tuple[NodeProto, ...]
    axes: tuple[int, ...] | None

    @property
    def last(self) -> NodeProto:
        return self.nodes[-1]

    @property
    def reduces(self) -> bool:
        """Whether an operator takes the whole axis, as RMSNorm and PixelNorm do."""
        return any(node.op_type.startswith("Reduce") for node in self.inner)


def search(scope: Scope, verify: Callable[[Candidate], Answer | None]) -> list[Answer]:
    """What `verify` makes of the candidates of one graph. Of those with one input the longest
    comes first; the squares of one that is verified belong to no other."""
    nodes = scope.nodes
    squares = {id(node): node.input[0] for node in nodes if _is_square(node, scope)}
    constants = frozenset(
        name for node in nodes for name in reads(node) if scope.constant(name) is not None
    )
    tried: set[str] = set()
    done: set[int] = set()
    answers = []

    for node in nodes:
        if id(node) not in squares:
            continue
        for source in _sources(scope, squares[id(node)]):
            if id(node) in done:
                break
            if source in tried:
                continue
            tried.add(source)
            for candidate in _from(nodes, source, squares, constants):
                free = done.isdisjoint(map(id, candidate.inner))
                if free and (answer := verify(candidate)) is not None:
                    answers.append(answer)
                    done.update(map(id, candidate.inner))
                    break
    return answers


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
    fixed, derived = set(constants), set[str]()
    light: dict[str, tuple[int, ...] | None] = {source: None}  # name → order of axes
    reached: list[NodeProto] = []
    inner: list[NodeProto] = []
    quotients: list[NodeProto] = []
    for node in nodes:
        wanted = set(reads(node))
        inputs = wanted & (light.keys() | derived)
        if source in node.output:
            continue
        if is_op(node, "Shape") or wanted <= fixed:
            fixed.update(node.output)
        elif not inputs or not wanted - inputs <= fixed:
            continue
        elif squares.get(id(node)) in light or (
            wanted & derived and not _is_quotient(node, light, derived)
        ):
            derived.update(node.output)
            inner.append(node)
        elif wanted & derived:
            quotients.append(node)
            light |= dict.fromkeys(node.output, _order(node, light))
        elif node.op_type in LIGHT:
            light |= dict.fromkeys(node.output, _order(node, light))
            if is_op(node, "Cast") and any(node.input[0] in q.output for q in quotients):
                quotients.append(node)  # back to the type of the input
        reached.append(node)
    answers = []
    for last in reversed(quotients):
        whole = tuple(needed(reached, last.output))  # back to the source and the constants
        ids = set(map(id, whole))
        squared = tuple(node for node in inner if id(node) in ids)
        answers.append(Candidate(source, whole, squared, light[last.output[0]]))
    return answers


def _order(node: NodeProto, light: Mapping[str, tuple[int, ...] | None]) -> tuple[int, ...] | None:
    """The order of the source's axes in what a node makes of a light form. Where a Reshape between
    leaves it open, measuring shows that it is another."""
    order = next(light[name] for name in node.input if name in light)
    if not is_op(node, "Transpose"):
        return order
    perm = tuple(attribute_value(node, "perm", ()))
    return tuple(order[i] for i in perm) if order and sorted(order) == sorted(perm) else perm


def _is_quotient(node: NodeProto, light: Container[str], derived: set[str]) -> bool:
    pairs = []
    if is_op(node, "Div"):
        pairs = [tuple(node.input)]
    elif is_op(node, "Mul"):
        pairs = [tuple(node.input), tuple(reversed(node.input))]
    return any(a in light and b in derived for a, b in pairs)
