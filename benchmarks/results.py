"""The CSV of evidence.py read back: points, what was promised of them, and what has a reason."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from promised import Bounded
from sweeps import NAMES

from lrnorm.cli.measuring import OURS
from lrnorm.cli.rivals import RIVALS

# Columns that tell one point from another, and say under what a ratio holds.
POINT = ("sweep", "shape", "dtype", "layout", "beta", "window", "verb", "threads")
BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Time:
    """What one entrant took in one point."""

    ns: float
    over_copy: float | None
    over_ours: float | None
    version: str
    rounds: int


@dataclass(frozen=True)
class Point:
    """One row of a table: everyone in it was timed in the same run."""

    row: dict[str, str]
    canary: float | None
    busy: bool
    times: dict[str, Time] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def sweeps(self) -> list[str]:
        return self.row["sweep"].split()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(int, self.row["shape"].split("×")))

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * BYTES[self.row["dtype"]]

    @property
    def last_cache(self) -> int | None:
        return int(self.row["last_cache"]) if self.row["last_cache"] else None

    @property
    def closest(self) -> tuple[str, float] | None:
        """The rival nearest to ours, and its time by ours."""
        ratios = {name: self.times[name].over_ours for name in RIVALS if name in self.times}
        known = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        return min(known.items(), key=lambda item: item[1]) if known else None

    def over_copy(self, name: str) -> float | None:
        return self.times[name].over_copy if name in self.times else None

    def __str__(self) -> str:
        r = self.row
        threads = "1 thread" if r["threads"] == "1" else f"{r['threads']} threads"
        said = f"{r['shape']} {r['dtype']}, channels {r['layout']}, beta {r['beta']}, "
        return said + f"window {r['window']}, {r['verb']}, {threads}"


def _ratio(text: str) -> float | None:
    return float(text) if text else None


def read(path: Path) -> list[Point]:
    """The points of a file, in its order."""
    points: dict[tuple[str, ...], Point] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            point = points.setdefault(
                tuple(row[name] for name in POINT),
                Point(row, _ratio(row["canary"]), row["busy"] == "True"),
            )
            if not row["min_ns"]:
                point.absent[row["entrant"]] = row["notes"]
                continue
            point.times[row["entrant"]] = Time(
                float(row["min_ns"]),
                _ratio(row["over_copy"]),
                _ratio(row["over_ours"]),
                row["version"],
                int(row["rounds"]),
            )
    return list(points.values())


@dataclass(frozen=True)
class Target(Bounded):
    """Where it applies, someone's figure is at most, or at least, the bound."""

    text: str
    bound: float
    applies: Callable[[Point], bool]
    figure: Callable[[Point], tuple[str, float] | None]  # who, and the figure
    at_least: bool = False

    def worst(self, figures: Sequence[float]) -> float:
        return min(figures) if self.at_least else max(figures)


def _of_nets(point: Point, *dtypes: str) -> bool:
    row = point.row
    return (
        row["dtype"] in dtypes
        and row["verb"] == "forward"
        and float(row["beta"]) in (0.5, 0.75)
        and row["window"] == "5"
        and row["layout"] == "first"
        and row["threads"] != "1"
    )


def is_of_layer(point: Point) -> bool:
    """Whether the layer alone was measured, not a whole net."""
    return bool(set(point.sweeps) & set(NAMES))


def _caches(low: float, high: float) -> Callable[[Point], bool]:
    """Float32 arrays of nets between so many times the last cache."""

    def applies(point: Point) -> bool:
        if not ({"shapes", "memory"} & set(point.sweeps) and _of_nets(point, "float32")):
            return False
        return bool(point.last_cache) and low <= point.nbytes / (point.last_cache or 1) < high

    return applies


def _ours_over_copy(point: Point) -> tuple[str, float] | None:
    ratio = point.over_copy(OURS)
    return None if ratio is None else (OURS, ratio)


COPY_TARGETS = (
    Target(
        "forward by the faster copy, float32, beta 0.75 and 0.5, twice the last cache or more",
        1.1,
        _caches(2, math.inf),
        _ours_over_copy,
    ),
    Target("the same, once to twice the last cache", 1.3, _caches(1, 2), _ours_over_copy),
    Target(
        "forward by the faster copy of the same bytes, float16 and bfloat16, beta 0.75 and 0.5",
        1.3,
        lambda point: _of_nets(point, "float16", "bfloat16"),
        _ours_over_copy,
    ),
)
TARGETS = (
    *COPY_TARGETS,
    Target(
        "the closest rival by ours, every row", 1.5, is_of_layer, lambda point: point.closest, True
    ),
)


# What is looked into wherever it is seen: a row beyond one of these has its cause on the page.
WATCHED = (
    Target("by a copy", 1.3, is_of_layer, _ours_over_copy),
    Target("closest rival", 2, is_of_layer, lambda point: point.closest, True),
)


@dataclass(frozen=True)
class Finding:
    """What a point says of a target."""

    target: Target
    point: Point
    who: str
    figure: float

    @property
    def met(self) -> bool:
        return self.target.met(self.figure)


def findings(points: Sequence[Point], targets: Sequence[Target] = TARGETS) -> list[Finding]:
    """Every target at every point that it applies to."""
    return [
        Finding(target, point, *found)
        for target in targets
        for point in points
        if target.applies(point) and (found := target.figure(point)) is not None
    ]
