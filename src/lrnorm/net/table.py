"""A net as a table: a line for each layer."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from lrnorm._layers.facts import Facts, Path, shape_text


class Table(NamedTuple):
    """Lines of cells under a title: text, or HTML in a notebook."""

    title: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    foot: str

    def __str__(self) -> str:
        rows = [self.head, *self.lines]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.head))]

        def line(row: tuple[str, ...]) -> str:
            *cells, last = [cell.ljust(n) for cell, n in zip(row, widths, strict=True)]
            return ("  " + "  ".join([*cells, last.strip().rjust(widths[-1])])).rstrip()

        return "\n".join([self.title, *(line(row) for row in rows), f"  {self.foot}"])

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            style = ' style="text-align:left"'
            return f"<tr>{''.join(f'<{tag}{style}>{html.escape(c)}</{tag}>' for c in cells)}</tr>"

        body = "".join(row(line, "td") for line in self.lines)
        return (
            f"<table><caption>{html.escape(self.title)}</caption>{row(self.head, 'th')}{body}"
            f'<tr><td colspan="{len(self.head)}">{html.escape(self.foot)}</td></tr></table>'
        )


def table_of(facts: Facts) -> Table:
    """Every layer that holds no others: its name, type, the shape it gives, its arrays."""
    gives = {link.source: shape_text(link.shape) for link in reversed(facts.links)}
    arrays = {path: _count_of(facts.arrays, path) for path in facts.leaves}
    lines = tuple(
        (
            " / ".join(map(str, path)),
            leaf.type,
            gives.get(path, "?"),
            f"{arrays[path]:,}" if arrays[path] else "",
        )
        for path, leaf in facts.leaves.items()
    )
    ports = [
        ", ".join(f"{name}: {shape_text(shape)}" for name, shape in ports.items())
        for ports in (facts.input_ports, facts.output_ports)
    ]
    count, total = len(facts.leaves), _count_of(facts.arrays, ())
    return Table(
        f"{facts.type}  {ports[0]} → {ports[1]}",
        ("layer", "type", "gives", "elements"),
        lines,
        f"{count} layer{'s' if count > 1 else ''}, {total:,} elements in arrays",
    )


def _count_of(arrays: Mapping[Path, Any], path: Path) -> int:
    """The elements of the arrays under a path, each array once."""
    own = {id(a): a for p, a in arrays.items() if p[: len(path)] == path}
    return sum(math.prod(array.shape) for array in own.values())
