"""Draws the figures of docs/performance.md from the rows of the CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from results import Point, is_of_layer

from lrnorm.cli.bench import CLOSE_COLOUR, OUR_COLOUR, RIVAL_COLOURS
from lrnorm.cli.measuring import OURS, OURS_ALLOCATING
from lrnorm.cli.rivals import RIVALS

COLOURS = {
    OURS: OUR_COLOUR,
    OURS_ALLOCATING: CLOSE_COLOUR,
    **dict(zip(RIVALS, RIVAL_COLOURS, strict=False)),
}
TITLE: dict[str, Any] = {"loc": "left", "fontsize": 12, "fontweight": "bold"}
DPI = 150
Curve = list[tuple[float, float, bool]]  # place, ratio, busy


def readable_bytes(count: float, _: Any = None) -> str:
    """A size in steps of 1000, for example 38 MB."""
    unit, name = next(
        (u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")) if count >= u or u == 1
    )
    return f"{count / unit:.3g} {name}"


def times(ratio: float, _: Any = None) -> str:
    """A ratio in few digits: 0.72, 5.9, 1,200."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def spread(places: Sequence[float], gap: float) -> list[float]:
    """The places, moved as little as possible so that neighbours are at least `gap` apart.

    spread([1.0, 1.0, 5.0], 2.0) is [0.0, 2.0, 5.0].
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    groups: list[list[int]] = [[i] for i in order]

    def centre(group: list[int]) -> float:
        return sum(places[i] for i in group) / len(group)

    def touch(low: list[int], high: list[int]) -> bool:
        return centre(high) - centre(low) < gap * (len(low) + len(high)) / 2

    at = 0
    while at + 1 < len(groups):
        if touch(groups[at], groups[at + 1]):
            groups[at : at + 2] = [groups[at] + groups[at + 1]]
            at = max(at - 1, 0)
        else:
            at += 1
    moved = list(places)
    for group in groups:
        for k, i in enumerate(group):
            moved[i] = centre(group) + gap * (k - (len(group) - 1) / 2)
    return moved


def curves(points: Sequence[Point], at: Callable[[Point], float]) -> dict[str, Curve]:
    """Name → (place, time divided by that of a copy, busy) in order of place."""
    found: dict[str, Curve] = {}
    for point in sorted(points, key=at):
        for name in COLOURS:
            if (ratio := point.over_copy(name)) is not None:
                found.setdefault(name, []).append((at(point), ratio, point.busy))
    return found


def hollow(points: Sequence[Point]) -> str:
    """The legend of hollow marks, or nothing if there are none."""
    return "; hollow: the machine was busy" if any(p.busy for p in points) else ""


def _plain(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(which="major", color="#e8e8e8", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_curves(axes: Axes, drawn: dict[str, Curve], names: dict[str, str]) -> None:
    """Draw one line per entrant, named at its right end, and the copy as a line at 1."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    for name, curve in drawn.items():
        ours = name in (OURS, OURS_ALLOCATING)
        style = {"color": COLOURS[name], "zorder": 3 if ours else 2}
        size = 4.5 if name == OURS else 3
        axes.plot(
            [x for x, _, _ in curve],
            [y for _, y, _ in curve],
            linewidth=2.6 if name == OURS else 1.4,
            marker="o",
            markersize=size,
            **style,
        )
        for x, y, busy in curve:
            if busy:
                axes.plot(x, y, "o", markersize=size, markerfacecolor="white", **style)
    axes.axhline(1, color="black", linewidth=1)
    axes.yaxis.set_major_formatter(times)
    _plain(axes)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.5), high)
    low, high = axes.get_ylim()
    step = math.log10(high / low) * 0.048  # a line of text, in decades of this axis
    left, right = axes.get_xlim()
    aside = (right / left) ** 0.025
    ends = {name: curve[-1][:2] for name, curve in drawn.items()}
    places = {}
    for end in {x for x, _ in ends.values()}:
        beside = [name for name, (x, _) in ends.items() if x == end]
        moved = spread([math.log10(ends[name][1]) for name in beside], step)
        places |= dict(zip(beside, moved, strict=True))
    for name, (x, y) in ends.items():
        axes.annotate(
            names.get(name, name),
            (x, y),
            xytext=(x * aside, 10 ** places[name]),
            color=COLOURS[name],
            fontsize=9.5,
            fontweight="bold" if name == OURS else "normal",
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "color": COLOURS[name], "linewidth": 0.5, "alpha": 0.5},
        )


def _figure(title: str, height: float = 5) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, **TITLE)
    return figure, axes


def _copy_label(axes: Axes) -> None:
    axes.text(
        0.01,
        0.97,
        "as fast as copying (np.copyto)",
        transform=axes.get_yaxis_transform(),
        fontsize=8.5,
        verticalalignment="top",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
    )


def by_size(points: Sequence[Point], names: dict[str, str]) -> Figure:
    """Arrays of 96 channels, from one pixel to twice the last cache."""
    figure, axes = _figure(
        "Time of one call, divided by the time to copy its array: by size of the array"
    )
    _draw_curves(axes, curves(points, lambda p: float(p.nbytes)), names)
    _copy_label(axes)
    axes.xaxis.set_major_formatter(readable_bytes)
    axes.set_xlabel(
        "size of the array (float32, 96 channels, window 5, beta 0.75, 2 threads)" + hollow(points)
    )
    axes.set_ylabel("time ÷ time of a copy; lower is faster")
    cache = points[0].last_cache
    if cache and axes.get_xlim()[0] < cache < axes.get_xlim()[1]:
        axes.axvline(cache, color="#999999", linewidth=0.8, linestyle=":")
        axes.text(
            cache,
            0.99,
            "last cache ",
            transform=axes.get_xaxis_transform(),
            color="#777777",
            fontsize=8.5,
            horizontalalignment="right",
            verticalalignment="top",
        )
    return figure


def by_window(points: Sequence[Point], names: dict[str, str]) -> Figure:
    """One array, with windows of increasing size."""
    figure, axes = _figure(
        "Time of one call, divided by the time to copy its array: by window size"
    )
    drawn = curves(points, lambda p: float(p.row["window"]))
    _draw_curves(axes, drawn, names)
    _copy_label(axes)
    widths = sorted({int(p.row["window"]) for p in points})
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()
    shape = points[0].row["shape"]
    axes.set_xlabel(
        f"channels in the window ({shape} float32, beta 0.75, 2 threads){hollow(points)}"
    )
    axes.set_ylabel("time ÷ time of a copy; lower is faster")
    return figure


def behind(points: Sequence[Point], names: dict[str, str]) -> Figure:
    """The time of each rival divided by that of lrnorm: one dot per row, the closest one named."""
    ratios: dict[str, list[tuple[float, Point]]] = {}
    for point in points:
        for name in RIVALS:
            if name in point.times and (ratio := point.times[name].over_ours) is not None:
                ratios.setdefault(name, []).append((ratio, point))
    order = sorted(ratios, key=lambda name: -min(ratios[name], key=lambda r: r[0])[0])
    figure, axes = _figure(
        "How many times as long as lrnorm each rival takes, row by row",
        1.2 + 0.62 * len(order),
    )
    axes.set_xscale("log")
    for place, name in enumerate(order):
        values = [ratio for ratio, _ in ratios[name]]
        nearest, point = min(ratios[name], key=lambda r: r[0])
        axes.plot(
            [min(values), max(values)], [place, place], color=COLOURS[name], linewidth=5, alpha=0.3
        )
        axes.plot(
            values, [place] * len(values), "o", color=COLOURS[name], markersize=3.5, alpha=0.6
        )
        inside = "white" if point.busy else OUR_COLOUR
        axes.plot(
            nearest, place, "D", color=OUR_COLOUR, markersize=6.5, markerfacecolor=inside, zorder=3
        )
        axes.annotate(
            f"{times(nearest)}× at {label(point)}",
            (nearest, place),
            xytext=(-2, 7),
            textcoords="offset points",
            fontsize=8,
            color=OUR_COLOUR,
        )
        axes.annotate(
            f" {times(max(values))}×",
            (max(values), place),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8.5,
            color="#555555",
            verticalalignment="center",
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.text(1, len(order) - 0.35, " as fast as lrnorm", fontsize=8.5)
    axes.set_yticks(range(len(order)), [names.get(name, name) for name in order], fontsize=10)
    axes.set_ylim(-0.6, len(order) - 0.1)
    axes.tick_params(axis="y", length=0)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.8), high * 1.3)
    axes.xaxis.set_major_formatter(times)
    _plain(axes)
    axes.grid(visible=False, axis="y")
    closest = [min(rows, key=lambda r: r[0])[1] for rows in ratios.values()]
    axes.set_xlabel(
        "time ÷ time of lrnorm, allocating where the rival does; red: its closest row"
        + hollow(closest)
    )
    return figure


def label(point: Point) -> str:
    """The name of a row: its shape, and every value that is not the usual one."""
    row = point.row
    usual = {
        "dtype": "float32",
        "layout": "first",
        "beta": "0.75",
        "window": "5",
        "verb": "forward",
    }
    said = {"layout": "channels {}", "beta": "beta {}", "window": "window {}"}
    other = [
        said.get(key, "{}").format(row[key]) for key, value in usual.items() if row[key] != value
    ]
    threads = ["1 thread"] if row["threads"] == "1" else []
    return ", ".join([row["shape"], *other, *threads])


def is_of_sizes(point: Point) -> bool:
    row = point.row
    swept = bool({"pixels", "memory"} & set(point.sweeps)) and point.shape[1] == 96
    return swept and (row["dtype"], float(row["beta"])) == ("float32", 0.75)


@dataclass(frozen=True)
class Picture:
    """A figure: how it is drawn, which rows it shows, and its alternative text."""

    draw: Callable[[Sequence[Point], dict[str, str]], Figure]
    chosen: Callable[[Point], bool]
    says: str


PICTURES = {
    "performance_size.png": Picture(
        by_size,
        is_of_sizes,
        "Time of a call divided by the time of a copy, over the size of the array",
    ),
    "performance_window.png": Picture(
        by_window,
        lambda point: "window" in point.sweeps,
        "Time of a call divided by the time of a copy, over the window size",
    ),
    "performance_behind.png": Picture(
        behind,
        lambda point: is_of_layer(point) and point.closest is not None,
        "How many times as long as lrnorm each rival takes, over all rows",
    ),
}


def save(points: Sequence[Point], names: dict[str, str], folder: Path) -> None:
    """Save every figure that has rows to show."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in PICTURES.items():
        if chosen := list(filter(picture.chosen, points)):
            picture.draw(chosen, names).savefig(folder / name, dpi=DPI)
