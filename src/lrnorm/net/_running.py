"""Values through a net, layer by layer, and gradients back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from lrnorm._dispatch import front_of
from lrnorm._errors import LRNormError, ShapeError
from lrnorm._information import Path
from lrnorm.net._nodes import Node, Run, rules_of_any
from lrnorm.net._ports import Source, named, port_of


class Flat(NamedTuple):
    """A net without its nesting: the layers that hold no others, in an order in which each comes
    after those that feed it."""

    nodes: dict[Path, Node]
    feeds: Mapping[Path, tuple[Source, ...]]
    inputs: tuple[str, ...]
    outputs: Mapping[str, Source]

    def needed(self, wanted: Iterable[Source]) -> set[Path]:
        """The layers without which these values cannot be had."""
        needed = {path for path, _ in wanted}
        for path in reversed(self.nodes):
            if path in needed:
                needed |= {source for source, _ in self.feeds[path]}
        return needed - {()}


@contextmanager
def _told_in(path: Path, node: Node) -> Iterator[None]:
    """Errors say in which layer they arose."""
    try:
        yield
    except LRNormError as error:
        raise type(error)(f"layer {named(path)}: {error}") from error
    except Exception as error:
        error.add_note(f"This arose in layer {named(path)} ({node.type}) of a net.")
        raise


def evaluate(
    flat: Flat, fed: Mapping[str, Any], wanted: Iterable[Source], run: Run
) -> dict[Source, Any]:
    """The values wanted. Any other is let go when the last layer that takes it has run."""
    wanted = list(wanted)
    needed = flat.needed(wanted)
    uses = Counter(wanted)
    for path in needed:
        uses.update(flat.feeds[path])
    values: dict[Source, Any] = {((), port): value for port, value in fed.items()}
    del fed
    for path, node in flat.nodes.items():
        if path not in needed:
            continue
        sources = flat.feeds[path]
        arguments = [values[source] for source in sources]
        for source in sources:
            uses[source] -= 1
            if not uses[source]:
                del values[source]
        with _told_in(path, node):
            results = node.call(arguments, run)
        for port, result in zip(node.outputs, results, strict=True):
            if uses[path, port]:
                values[path, port] = result
        del arguments, results
    return {source: values[source] for source in wanted}


def ones_like(value: Any) -> Any:
    """Ones of the shape and kind of a value."""
    if isinstance(value, (np.generic, int, float)):
        return np.ones_like(value)
    front = front_of(value)
    return front.ones_like(value) if front else np.ones_like(np.asarray(value))


def gradients(
    flat: Flat, fed: Mapping[str, Any], grads: Mapping[str, Any], run: Run
) -> dict[str, Any]:
    """Input port → the gradient of sum(grad * output), summed over the outputs; ones where `grads`
    has none."""
    paths = flat.needed(flat.outputs.values())
    sources = {(path, port) for path in paths for port in flat.nodes[path].outputs}
    values = evaluate(flat, fed, sources, run)
    values |= {((), port): value for port, value in fed.items()}
    found: dict[Source, Any] = {}

    def add(source: Source, grad: Any) -> None:
        found[source] = found[source] + grad if source in found else grad

    for port, source in flat.outputs.items():
        add(source, _fitting(grads.get(port), values[source], port))
    for path, node in reversed(flat.nodes.items()):
        own = [(path, port) for port in node.outputs]
        if not any(source in found for source in own):
            continue
        arguments = [values[source] for source in flat.feeds[path]]
        given = [found.pop(s) if s in found else ones_like(values[s]) * 0 for s in own]
        with _told_in(path, node):
            results = node.vjp(arguments, given, run)
        for source, grad in zip(flat.feeds[path], results, strict=True):
            add(source, grad)
        for source in own:
            del values[source]
    return {
        port: found[(), port] if ((), port) in found else ones_like(value) * 0
        for port, value in fed.items()
    }


def _fitting(grad: Any, value: Any, port: str) -> Any:
    """The gradient that comes in at an output."""
    if grad is None:
        return ones_like(value)
    if np.shape(grad) != np.shape(value):
        raise ShapeError(
            f"the gradient at {port_of((), port)} expects the shape of the output, "
            f"{tuple(np.shape(value))}, got {tuple(np.shape(grad))}."
        )
    rules = rules_of_any([value])
    return rules.alike(grad, value) if rules else grad
