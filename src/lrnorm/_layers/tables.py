"""Tables of layers and nets, and the report of `information`: text, or HTML in a notebook."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lrnorm._function.foreign_names import snake_case
from lrnorm._layers.shapes import Shape, shape_text
from lrnorm._layers.structure import Path, Structure


class Table(NamedTuple):
    """Lines of cells under a title."""

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
        head = row(self.head, "th") if self.head else ""
        foot = f'<tr><td colspan="{len(self.head)}">{html.escape(self.foot)}</td></tr>'
        caption = f"<caption>{html.escape(self.title)}</caption>"
        return f"<table>{caption}{head}{body}{foot if self.foot else ''}</table>"


class Tabled:
    """Base class of layers and nets, which notebooks show as a table."""

    def _structure(self) -> Structure:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return table_of(self._structure())._repr_html_()


class Report(Mapping[str, Any]):
    """The main properties of a layer or net: a mapping that prints as a table.

    Keys are Wolfram's names; a look-up takes their spelling in snake_case too.
    """

    __module__ = "lrnorm"

    def __init__(self, title: str, labels: Mapping[str, str], values: Mapping[str, Any]) -> None:
        self.title, self._labels, self._values = title, dict(labels), dict(values)

    def __getitem__(self, name: str) -> Any:
        own = {snake_case(known): known for known in self._values}
        return self._values[own.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """(label, text) of each property."""
        return tuple((label, _text(self._values[name])) for name, label in self._labels.items())

    def __repr__(self) -> str:
        width = max(map(len, self._labels.values()))
        rows = (f"  {label:<{width}}  {value}" for label, value in self.lines)
        return "\n".join([self.title, *rows])

    def _repr_html_(self) -> str:
        return Table(self.title, (), self.lines, "")._repr_html_()


def _text(value: Any) -> str:
    return ports_text(value) if isinstance(value, Mapping) else str(value)


def ports_text(ports: Mapping[str, Shape | None]) -> str:
    """Names and shapes of ports.

    >>> ports_text({"Input": (5, None, 1)})
    'Input: 5 × ? × 1'
    """
    return ", ".join(f"{name}: {shape_text(shape)}" for name, shape in ports.items())


def table_of(structure: Structure) -> Table:
    """Every layer that holds no others: its name, type, the shape it gives, its arrays."""
    gives = {link.source: shape_text(link.shape) for link in reversed(structure.links)}
    arrays = {path: _count_of(structure.arrays, path) for path in structure.leaves}
    lines = tuple(
        (
            " / ".join(map(str, path)),
            leaf.type,
            gives.get(path, "?"),
            f"{arrays[path]:,}" if arrays[path] else "",
        )
        for path, leaf in structure.leaves.items()
    )
    count, total = len(structure.leaves), _count_of(structure.arrays, ())
    ports = f"{ports_text(structure.input_ports)} → {ports_text(structure.output_ports)}"
    return Table(
        f"{structure.type}  {ports}",
        ("layer", "type", "gives", "elements"),
        lines,
        f"{count} layer{'s' if count > 1 else ''}, {total:,} elements in arrays",
    )


def _count_of(arrays: Mapping[Path, Any], path: Path) -> int:
    """The elements of the arrays under a path, each array once."""
    own = {id(a): a for p, a in arrays.items() if p[: len(path)] == path}
    return sum(math.prod(array.shape) for array in own.values())
