"""Values through a net, layer by layer, and gradients back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from lrnorm._function.dispatch import front_of
from lrnorm._layers.evaluation import Run
from lrnorm._layers.structure import Path
from lrnorm._spec.errors import LRNormError, ShapeError
from lrnorm.net.nodes import Node, rules_of_any
from lrnorm.net.ports import Source, Wiring, layer_at, port_of


@contextmanager
def _errors_in(path: Path, node: Node) -> Iterator[None]:
    """Errors say in which layer they arose."""
    try:
        yield
    except LRNormError as error:
        raise error.at(layer_at(path)) from error
    except Exception as error:
        error.add_note(f"This arose in {layer_at(path, node)} of a net.")
        raise


def evaluate(
    wiring: Wiring, fed: Mapping[str, Any], wanted: Iterable[Source], run: Run
) -> dict[Source, Any]:
    """The values wanted. Any other is let go when the last layer that takes it has run."""
    wanted = list(wanted)
    needed = wiring.needed(path for path, _ in wanted)
    uses = Counter(wanted)
    for path in needed:
        uses.update(wiring.feeds[path].values())
    values: dict[Source, Any] = {((), port): value for port, value in fed.items()}
    del fed
    for path, node in wiring.nodes.items():
        if path not in needed:
            continue
        sources = wiring.feeds[path].values()
        arguments = [values[source] for source in sources]
        for source in sources:
            uses[source] -= 1
            if not uses[source]:
                del values[source]
        with _errors_in(path, node):
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
    wiring: Wiring, fed: Mapping[str, Any], grads: Mapping[str, Any], run: Run
) -> dict[str, Any]:
    """Input port → the gradient of sum(grad * output), summed over the outputs; ones where `grads`
    has none."""
    wanted: list[Source] = [((), port) for port in fed]
    for path in wiring.needed(path for path, _ in wiring.outputs.values()):
        wanted += [(path, port) for port in wiring.nodes[path].outputs]
    values = evaluate(wiring, fed, wanted, run)
    found: dict[Source, Any] = {}

    def add(source: Source, grad: Any) -> None:
        found[source] = found[source] + grad if source in found else grad

    def summed(source: Source) -> Any:
        return found.pop(source) if source in found else ones_like(values[source]) * 0

    for port, source in wiring.outputs.items():
        add(source, _fitting(grads.get(port), values[source], port))
    for path, node in reversed(wiring.nodes.items()):
        own = [(path, port) for port in node.outputs]
        if not any(source in found for source in own):
            continue
        sources = wiring.feeds[path].values()
        arguments = [values[source] for source in sources]
        with _errors_in(path, node):
            results = node.vjp(arguments, list(map(summed, own)), run)
        for source, grad in zip(sources, results, strict=True):
            add(source, grad)
        for source in own:
            del values[source]
    return {port: summed(((), port)) for port in fed}


def _fitting(grad: Any, value: Any, port: str) -> Any:
    """The gradient that comes in at an output."""
    if grad is None:
        return ones_like(value)
    if np.shape(grad) != np.shape(value):
        raise ShapeError(
            f"the gradient at {port_of((), port)}",
            f"expects the shape of the output, {tuple(np.shape(value))}",
            got=str(tuple(np.shape(grad))),
        )
    rules = rules_of_any([value])
    return rules.alike(grad, value) if rules else grad
