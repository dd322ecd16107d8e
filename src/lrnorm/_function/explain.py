"""Writes one output out: its window, squares, sum, power and result."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import Any

import lrnorm.numpy
from lrnorm._function.dispatch import front_of
from lrnorm._function.foreign_names import explain_foreign
from lrnorm._function.keywords import ALPHA, BETA, BIAS, NUMBERS, RADIUS, spec_of
from lrnorm._function.lists import array_of_lists
from lrnorm._spec.errors import KindError, ShapeError
from lrnorm._spec.spec import Axis, LRNSpec, WindowSize, ends_along, is_integer, resolve_axes

# Exponents beyond those of float64, and nan and inf in place of exceptions.
_EXACT = Context(prec=60, Emin=-(10**6), Emax=10**6, traps=[])
_SHOWN = Context(prec=10, Emin=-(10**6), Emax=10**6, traps=[])
_ENDS = 6  # channels shown at either end of a window that is too wide to print


def _text(number: Decimal) -> str:
    """Ten significant digits."""
    if not number.is_finite():
        return str(float(number))
    shown = number.normalize(_SHOWN)
    return f"{shown:f}" if not number or -6 < shown.adjusted() < 16 else f"{shown:e}"


@dataclass(frozen=True)
class Column:
    """The output by one spec; each number is rounded once."""

    spec: LRNSpec
    channels: range | tuple[range, ...]  # of the window, as far as it lies on the axis or axes
    squares: tuple[float, ...]
    sum: float
    energy: float  # D
    power: float  # D**-beta
    result: float
    cells: dict[str, str]  # what is shown, by the label of the line


@dataclass(frozen=True)
class Explanation:
    """One output written out. It prints as a table with a column for each spec."""

    index: tuple[int, ...]
    axis: int | tuple[int, ...]
    size: int | tuple[int, ...]  # of the axis, or of the axes of a box
    values: tuple[float, ...]  # along the axis; of a box those inside
    columns: tuple[Column, ...]

    def __repr__(self) -> str:
        place = ", ".join(map(str, self.index))
        title = f"y[{place}] = x[{place}] · D^-beta,  D = bias + scale · Σ x[j]²,  "
        what = "channels"
        if isinstance(self.axis, tuple):
            centre = tuple(self.index[axis] for axis in self.axis)
            title += f"element {centre} of {self.size} on axes {self.axis}"
            what = "elements"
        else:
            title += f"channel {self.index[self.axis]} of {self.size} on axis {self.axis}"
        near = sorted({j for column in self.columns for j in _places(column.channels)})
        values = self.values
        if not isinstance(self.axis, tuple):
            values = tuple(self.values[j] for (j,) in near)
        hidden = len(near) - 2 * _ENDS
        squares = [_square(j, value) for j, value in zip(near, values, strict=True)]
        if hidden > 1:
            squares[_ENDS:-_ENDS] = ["…"]
        lines = []
        for label in ("scale", "beta", "bias", "window", *squares, "Σ", "D", "D^-beta", "y"):
            empty = f"{hidden} more {what}" if label == "…" else "–"
            lines.append([label, *(column.cells.get(label, empty) for column in self.columns)])
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        table = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )
        return "\n  ".join([title, *table])


_Place = tuple[int, ...]  # along each axis of the window


def _places(channels: range | tuple[range, ...]) -> list[_Place]:
    """The places of a window, in order."""
    return list(itertools.product(*(channels if isinstance(channels, tuple) else (channels,))))


def _square(place: _Place, value: float) -> str:
    return f"x[{', '.join(map(str, place))}]² = ({_text(Decimal(value))})²"


def _ranges(centre: _Place, sizes: _Place, spec: LRNSpec) -> tuple[range, ...]:
    """The window around `centre`, as far as it lies inside."""
    ends = zip(centre, sizes, *ends_along(spec, sizes), strict=True)
    return tuple(range(max(0, c - b), min(size - 1, c + a) + 1) for c, size, b, a in ends)


def _column(
    values: Mapping[_Place, float], centre: _Place, ranges: tuple[range, ...], spec: LRNSpec
) -> Column:
    places = _places(ranges)
    with localcontext(_EXACT):
        x, scale, beta, bias = map(Decimal, (values[centre], spec.scale, spec.beta, spec.bias))
        squares = [Decimal(values[j]) ** 2 for j in places]
        total = sum(squares, Decimal(0))
        energy = bias + scale * total
        power = energy**-beta if beta else Decimal(1)  # also where D is 0 or nan
        result = x * power
        cells = {_square(j, values[j]): _text(q) for j, q in zip(places, squares, strict=True)}
        cells |= {
            "scale": f"{spec.scale!r}",
            "beta": f"{spec.beta!r}",
            "bias": f"{spec.bias!r}",
            "window": ", ".join(f"{part[0]} … {part[-1]}" for part in ranges),
            "Σ": _text(total),
            "D": f"{_text(bias)} + {_text(scale)} · {_text(total)} = {_text(energy)}",
            "D^-beta": f"({_text(energy)})^{_text(-beta)} = {_text(power)}",
            "y": f"{_text(x)} · {_text(power)} = {_text(result)}",
        }
        return Column(
            spec=spec,
            channels=ranges if len(ranges) > 1 else ranges[0],
            squares=tuple(map(float, squares)),
            sum=float(total),
            energy=float(energy),
            power=float(power),
            result=float(result),
            cells=cells,
        )


def _position(index: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of one output, counted from 0."""
    place = index if isinstance(index, (tuple, list)) else (index,)
    if not all(map(is_integer, place)):
        way_out = "Write for example index=(3, 0, 0)."
        raise KindError("index", "must be an integer for each axis", value=index, way_out=way_out)
    if len(place) != len(shape):
        rule = f"must name one output, with {len(shape)} integers for the shape {shape}"
        raise ShapeError("index", rule, value=index, way_out="Give one integer for each axis.")
    if not all(-size <= i < size for i, size in zip(place, shape, strict=True)):
        rule = f"must lie inside the shape {shape}"
        raise ShapeError("index", rule, value=index, way_out="Count from 0, or from -1 backwards.")
    return tuple(operator.index(i) % size for i, size in zip(place, shape, strict=True))


def explain(
    x: Any,
    index: int | tuple[int, ...],
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    bias: float = BIAS,
    channel_window_size: WindowSize = RADIUS,
    spec: LRNSpec | tuple[LRNSpec, ...] | None = None,
    axis: Axis = None,
    **foreign: Any,
) -> Explanation:
    """One output of `local_response_norm(x, …)` written out, term by term.

        D[c] = bias + scale * sum(x[j]**2 for j in c-before … c+after)
        y[c] = x[c] * D[c]**-beta

    Parameters
    ----------
    x : array or nested lists
        As for `local_response_norm`.
    index : tuple of int
        Which output: an integer for each axis of x; at rank 1 an integer will do.
    spec : LRNSpec or a tuple of them
        In place of the four numbers. Several stand side by side.
    alpha, beta, bias, channel_window_size, axis
        Those of `local_response_norm`.

    Returns
    -------
    An object that prints as a table, ten digits a number. Its `columns`, one for each spec, hold
    the numbers: channels, squares, sum, energy, power, result. They are computed from the values
    of x with 60 digits, also where squares leave the range of float64, and rounded once.

    Errors: ShapeError (a ValueError) for an index that is not one output's, else those of
    `local_response_norm`.

    Source: the formula of Krizhevsky et al. (2012), section 3.3.

    >>> import lrnorm
    >>> lrnorm.explain([-2.0, -1.0, 0.0, 1.0, 2.0], 4, axis=0)
    y[4] = x[4] · D^-beta,  D = bias + scale · Σ x[j]²,  channel 4 of 5 on axis 0
      scale         0.2
      beta          0.5
      bias          1.0
      window        2 … 4
      x[2]² = (0)²  0
      x[3]² = (1)²  1
      x[4]² = (2)²  4
      Σ             5
      D             1 + 0.2 · 5 = 2
      D^-beta       (2)^-0.5 = 0.7071067812
      y             2 · 0.7071067812 = 1.414213562
    """
    if foreign:
        raise explain_foreign("explain", foreign, (*NUMBERS, "spec", "axis"))
    several = spec if isinstance(spec, (tuple, list)) else (spec,)
    if not several:
        way_out = "Leave it out to use alpha, beta, bias and channel_window_size."
        rule = "must be an LRNSpec or several of them"
        raise KindError("spec", rule, value=spec, way_out=way_out)
    numbers = alpha, beta, bias, channel_window_size
    specs = [spec_of("explain", *numbers, one, {}, axis) for one in several]
    front = front_of(x)
    if front is None:
        x = array_of_lists(x)
    shape = tuple(x.shape)
    axes = resolve_axes(axis, len(shape))
    # A call on no elements checks the dtype.
    (front or lrnorm.numpy).forward(x[:0, ...], specs[0], axes, dtype=None, out=None)
    place = _position(index, shape)
    centre, sizes = tuple(place[a] for a in axes), tuple(shape[a] for a in axes)
    windows = [_ranges(centre, sizes, one) for one in specs]
    if len(axes) == 1:
        wanted: list[_Place] = [(c,) for c in range(sizes[0])]
    else:
        wanted = sorted({j for ranges in windows for j in _places(ranges)})
    values = dict(zip(wanted, _values(x, place, axes, wanted), strict=True))
    return Explanation(
        index=place,
        axis=axes if len(axes) > 1 else axes[0],
        size=sizes if len(axes) > 1 else sizes[0],
        values=tuple(values.values()),
        columns=tuple(
            _column(values, centre, ranges, one) for ranges, one in zip(windows, specs, strict=True)
        ),
    )


def _values(
    x: Any, place: tuple[int, ...], axes: tuple[int, ...], wanted: list[_Place]
) -> list[float]:
    """The elements of x at `place`, moved along `axes` to each place that is wanted."""
    if len(axes) == 1:
        line = x[(*place[: axes[0]], slice(None), *place[axes[0] + 1 :])]
        return [float(v) for v in (line.tolist() if hasattr(line, "tolist") else line)]
    moved = dict.fromkeys(axes, 0)
    values = []
    for one in wanted:
        moved.update(zip(axes, one, strict=True))
        values.append(float(x[tuple(moved.get(i, at) for i, at in enumerate(place))]))
    return values
