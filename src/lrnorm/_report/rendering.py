"""A graph of layers as a picture: boxes in rows, each below those that feed it.

Rows by the longest way from the ports; long edges pass through rows as bends; boxes in a row are
ordered by where their neighbours stand, and placed near them. Written as SVG by hand, or drawn
with matplotlib.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from lrnorm._spec.errors import ParameterError, missing

Key = Any
_CHAR, _LINE, _PAD, _GAP_X, _GAP_Y = 7.2, 17.0, 12.0, 34.0, 52.0
_BEND = 18.0  # the room that a passing arrow takes
_SWEEPS = 24
_FILLS = {"port": "#eef3fb", "layer": "#ffffff", "net": "#f6f1e7"}


class Box(NamedTuple):
    """The box of a layer or a port. Each of the texts in `takes` and `gives` has a place of
    its own at the upper or the lower edge, where the arrows with that text begin or end."""

    lines: tuple[str, ...]
    kind: str = "layer"
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()

    @property
    def width(self) -> float:
        text = max(len(line) for line in self.lines) * _CHAR + 2 * _PAD
        return max(text, *(sum(map(_room, names)) for names in (self.takes, self.gives)))

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + _PAD


class Arrow(NamedTuple):
    """An edge, from one box to another, with what stands at its start and at its end."""

    source: Key
    target: Key
    text: str = ""
    head: str = ""


class _Bend(NamedTuple):
    """The place where an arrow passes through a row."""

    arrow: int
    row: int


class Point(NamedTuple):
    """A place in the drawing."""

    x: float
    y: float


@dataclass(frozen=True)
class Drawing:
    """Boxes and arrows, laid out: `svg` is the text, `save(path)` writes .svg or .png."""

    boxes: Mapping[Key, Box]
    arrows: tuple[Arrow, ...]

    def __repr__(self) -> str:
        return f"<drawing of {len(self.boxes)} boxes and {len(self.arrows)} arrows: save(path)>"

    @cached_property
    def _rows(self) -> list[list[Key]]:
        """Boxes and bends by row, top to bottom, each row from left to right."""
        row = _depths(self.boxes, self.arrows)
        rows: list[list[Key]] = [[] for _ in range(max(row.values(), default=0) + 1)]
        for key, depth in row.items():
            rows[depth].append(key)
        chains = []
        for i, arrow in enumerate(self.arrows):
            bends = [_Bend(i, r) for r in range(row[arrow.source] + 1, row[arrow.target])]
            for bend in bends:
                rows[bend.row].append(bend)
            chains.append([arrow.source, *bends, arrow.target])
        above, below = _neighbours(chains, itertools.chain(*rows))
        for sweep in range(_SWEEPS):
            neighbours, order = (above, rows) if sweep % 2 == 0 else (below, rows[::-1])
            place: dict[Key, float] = {}
            for keys in order:
                for i, key in enumerate(keys):
                    place[key] = i
                middle = {k: _mean([place[n] for n in neighbours[k]], place[k]) for k in keys}
                keys.sort(key=middle.__getitem__)
                for i, key in enumerate(keys):
                    place[key] = i - (len(keys) - 1) / 2
        return rows

    @cached_property
    def places(self) -> dict[Key, Point]:
        """The middle of every box and bend."""
        above, below = _neighbours(self._chains, itertools.chain(*self._rows))
        x = dict.fromkeys(above, 0.0)
        for keys in self._rows:
            x.update(_spread(keys, dict.fromkeys(keys, 0.0), self._width))
        for sweep in range(_SWEEPS):
            near, rows = (above, self._rows) if sweep % 2 == 0 else (below, self._rows[::-1])
            for keys in rows:
                wish = {key: _mean([x[n] for n in near[key]], x[key]) for key in keys}
                x.update(_spread(keys, wish, self._width))
        y, places = _PAD, {}
        for keys in self._rows:
            height = max(self._height(key) for key in keys)
            for key in keys:
                places[key] = Point(x[key], y + height / 2)
            y += height + _GAP_Y
        return places

    @cached_property
    def _chains(self) -> list[list[Key]]:
        bends: dict[int, list[_Bend]] = {i: [] for i in range(len(self.arrows))}
        for keys in self._rows:
            for key in keys:
                if isinstance(key, _Bend):
                    bends[key.arrow].append(key)
        return [[a.source, *bends[i], a.target] for i, a in enumerate(self.arrows)]

    def _width(self, key: Key) -> float:
        return _BEND if isinstance(key, _Bend) else self.boxes[key].width

    def _height(self, key: Key) -> float:
        return 0.0 if isinstance(key, _Bend) else self.boxes[key].height

    @cached_property
    def _lines(self) -> list[list[Point]]:
        """The corners of every arrow, from below one box to above the other, upright through the
        rows between."""
        lines = []
        for arrow, (first, *bends, last) in zip(self.arrows, self._chains, strict=True):
            start, end = self.places[first], self.places[last]
            below = start.x + _place_of(arrow.text, self.boxes[first].gives)
            points = [Point(below, start.y + self._height(first) / 2)]
            for bend in bends:
                at = self.places[bend]
                half = max(map(self._height, self._rows[bend.row])) / 2
                points += [at._replace(y=at.y - half), at._replace(y=at.y + half)]
            above = end.x + _place_of(arrow.head, self.boxes[last].takes)
            lines.append([*points, Point(above, end.y - self._height(last) / 2)])
        return lines

    @cached_property
    def _texts(self) -> list[tuple[Point, str]]:
        """Texts at the start and at the end of the arrows; a text that several
        arrows have at one place is drawn once."""
        texts: dict[tuple[Point, str], None] = {}
        for arrow, line in zip(self.arrows, self._lines, strict=True):
            start, end = line[0], line[-1]
            texts[start._replace(y=start.y + 17), arrow.text] = None
            texts[end._replace(y=end.y - 12), arrow.head] = None
        return [(at, text) for at, text in texts if text]

    def _frame(self) -> tuple[float, float, float, float]:
        """Left, top, width, height."""
        halves = [(self.places[key].x, box.width / 2) for key, box in self.boxes.items()]
        halves += [(at.x, len(text) * _CHAR / 2) for at, text in self._texts]
        halves += [(point.x, 0.0) for line in self._lines for point in line]
        left = min(x - half for x, half in halves)
        right = max(x + half for x, half in halves)
        bottom = max(self.places[k].y + b.height / 2 for k, b in self.boxes.items())
        return left - _PAD, 0.0, right - left + 2 * _PAD, bottom + _PAD

    def _marks(self) -> Iterator[_Curve | _Text | _Rect]:
        """Curves, texts and boxes in the order in which both renderers draw them."""
        for line in self._lines:
            yield _Curve(_controls(line))
        for at, text in self._texts:
            yield _Text(at, text, halo=True)
        for key, box in self.boxes.items():
            x, y = self.places[key]
            corner = Point(x - box.width / 2, y - box.height / 2)
            radius = box.height / 2 if box.kind == "port" else 4
            yield _Rect(corner, box.width, box.height, radius, _FILLS[box.kind])
            for i, text in enumerate(box.lines):
                base = y + (i - (len(box.lines) - 1) / 2) * _LINE + 4
                yield _Text(Point(x, base), text, bold=i == 0 and len(box.lines) > 1)

    @cached_property
    def svg(self) -> str:
        """The picture as the text of an SVG file."""
        left, top, width, height = self._frame()
        frame = f"{left:.0f} {top:.0f} {width:.0f} {height:.0f}"
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="{frame}" font-family="sans-serif" font-size="12">\n'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>\n'
            f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" '
            'fill="#fff"/>'
        )
        return "\n".join([head, *(mark.svg() for mark in self._marks()), "</svg>\n"])

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: Any) -> None:
        """Write a file: .svg by itself, .png with matplotlib."""
        path = FilePath(path)
        if path.suffix == ".svg":
            path.write_text(self.svg, encoding="utf-8")
        elif path.suffix == ".png":
            self._save_png(path)
        else:
            way_out = f"Write for example {path.stem}.svg."
            rule = "is written as .svg or .png"
            raise ParameterError("a drawing", rule, value=path.name, way_out=way_out)

    def _save_png(self, path: FilePath) -> None:
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise missing(
                "a drawing as .png", "matplotlib", "'lrnorm[plot]'", otherwise="write .svg"
            ) from error
        left, top, width, height = self._frame()
        figure = Figure((width / 72, height / 72), dpi=144)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(left, left + width), ylim=(top + height, top))
        axes.set_axis_off()
        for mark in self._marks():
            mark.draw(axes)
        FigureCanvasAgg(figure).print_png(str(path))  # type: ignore[no-untyped-call]


class _Curve(NamedTuple):
    """An arrow, as the control points of a Bézier curve."""

    points: list[Point]

    def svg(self) -> str:
        first, *rest = (f"{p.x:.1f} {p.y:.1f}" for p in self.points)
        path = f"M{first}C{' '.join(rest)}"
        return f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#tip)"/>'

    def draw(self, axes: Any) -> None:
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path

        path = Path(self.points, [Path.MOVETO, *[Path.CURVE4] * (len(self.points) - 1)])
        style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 8, "color": "#555"}
        axes.add_patch(FancyArrowPatch(path=path, **style))


class _Text(NamedTuple):
    """A line of text above a base line, centred; on an arrow with a halo."""

    at: Point
    text: str
    bold: bool = False
    halo: bool = False

    def svg(self) -> str:
        style = ' font-weight="bold"' if self.bold else ""
        if self.halo:
            style += ' fill="#555" font-size="11" stroke="#fff" stroke-width="5"'
            style += ' paint-order="stroke"'
        place = f'x="{self.at.x:.1f}" y="{self.at.y:.1f}"'
        return f'<text {place} text-anchor="middle"{style}>{html.escape(self.text)}</text>'

    def draw(self, axes: Any) -> None:
        style: dict[str, Any] = {"size": 9, "ha": "center", "va": "baseline"}
        style["weight"] = "bold" if self.bold else "normal"
        if self.halo:
            style |= {
                "color": "#555",
                "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1},
            }
        axes.text(*self.at, self.text, **style)


class _Rect(NamedTuple):
    """A box with round corners."""

    corner: Point
    width: float
    height: float
    radius: float
    fill: str

    def svg(self) -> str:
        return (
            f'<rect x="{self.corner.x:.1f}" y="{self.corner.y:.1f}" width="{self.width:.1f}" '
            f'height="{self.height:.1f}" rx="{self.radius:.1f}" fill="{self.fill}" stroke="#333"/>'
        )

    def draw(self, axes: Any) -> None:
        from matplotlib.patches import FancyBboxPatch

        style = f"round,pad=0,rounding_size={self.radius}"
        box = FancyBboxPatch(self.corner, self.width, self.height, boxstyle=style)
        box.set(facecolor=self.fill, edgecolor="#333")
        axes.add_patch(box)


def _room(text: str) -> float:
    """The width that a text takes beside others."""
    return len(text) * _CHAR + _PAD


def _place_of(text: str, texts: tuple[str, ...]) -> float:
    """Distance of a text from the middle of its edge; 0 for a text without a place."""
    if text not in texts:
        return 0.0
    before = sum(map(_room, texts[: texts.index(text)]))
    return before + _room(text) / 2 - sum(map(_room, texts)) / 2


def _depths(boxes: Iterable[Key], arrows: Iterable[Arrow]) -> dict[Key, int]:
    """Box → its row: one below the lowest of those that lead to it."""
    import graphlib  # here: `import lrnorm` stays quick

    before: dict[Key, list[Key]] = {key: [] for key in boxes}
    for arrow in arrows:
        before[arrow.target].append(arrow.source)
    depth: dict[Key, int] = {}
    for key in graphlib.TopologicalSorter(before).static_order():
        depth[key] = 1 + max((depth[source] for source in before[key]), default=-1)
    # What nothing leads to stands right above what it leads to.
    for key in before:
        after = [depth[arrow.target] for arrow in arrows if arrow.source == key]
        if not before[key] and after:
            depth[key] = min(after) - 1
    return {key: depth[key] for key in before}


def _neighbours(
    chains: Iterable[list[Key]], keys: Iterable[Key]
) -> tuple[dict[Key, list[Key]], dict[Key, list[Key]]]:
    """Of each box and bend those above and those below that an arrow connects it with."""
    above: dict[Key, list[Key]] = {key: [] for key in keys}
    below: dict[Key, list[Key]] = {key: [] for key in above}
    for chain in chains:
        for one, other in itertools.pairwise(chain):
            below[one].append(other)
            above[other].append(one)
    return above, below


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _spread(keys: list[Key], wish: Mapping[Key, float], width: Any) -> dict[Key, float]:
    """Places near those wished for, in this order, with room between: runs that would overlap are
    put side by side around the mean of what they wish."""
    runs: list[tuple[list[Key], float, float]] = []  # keys, middle of the run, its width
    for key in keys:
        run = [key], wish[key], width(key)
        while runs and runs[-1][1] + runs[-1][2] / 2 + _GAP_X > run[1] - run[2] / 2:
            before = runs.pop()
            total = before[2] + _GAP_X + run[2]
            # where each half of the run would have the middle of the whole
            by_before = before[1] - before[2] / 2 + total / 2
            by_run = run[1] + run[2] / 2 - total / 2
            n, m = len(before[0]), len(run[0])
            run = before[0] + run[0], (by_before * n + by_run * m) / (n + m), total
        runs.append(run)
    places = {}
    for run_keys, middle, total in runs:
        x = middle - total / 2
        for key in run_keys:
            places[key] = x + width(key) / 2
            x += width(key) + _GAP_X
    return places


def _controls(points: list[Point]) -> list[Point]:
    """Control points of a curve that leaves and enters every corner upright."""
    controls = [points[0]]
    for one, other in itertools.pairwise(points):
        bend = (other.y - one.y) * 0.45
        controls += [one._replace(y=one.y + bend), other._replace(y=other.y - bend), other]
    return controls
