"""Drawings of the normalization: one pixel, a whole picture, and the response curve.

Each function draws into `ax` and returns it; without `ax` it makes a new figure. No window opens,
and no setting of matplotlib changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lrnorm._function.functions import local_response_norm
from lrnorm._spec.errors import FileError, KindError, ShapeError, missing
from lrnorm._spec.spec import Axis, LRNSpec, is_integer, resolve_axes, resolve_axis

try:
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise missing("lrnorm.plot", "matplotlib", "'lrnorm[plot]'") from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AFTER", "BEFORE", "channels", "compare", "overview", "response"]

# From the palette of Okabe and Ito: distinct for every kind of colour vision, and in gray.
BEFORE = "#E69F00"
AFTER = "#0072B2"

KINDS = ("png", "pdf", "svg", "jpg")  # the formats in which a drawing can be saved
ABOVE: dict[str, Any] = {
    "loc": "upper center",
    "frameon": False,
    "handlelength": 1.2,
    "columnspacing": 1.2,
}
LARGEST = 1000  # pixels on a side that a drawing can show

Array = npt.NDArray[Any]


def _own_axes() -> Axes:
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(6, 4), layout="constrained")[1]


def _make_room(ax: Axes) -> None:
    """Leave room for the legend above the drawing, where it hides nothing."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.3 * (high - low))


def _check_spec(spec: Any) -> None:
    if not isinstance(spec, LRNSpec):
        raise KindError(
            "spec",
            "must be an LRNSpec",
            value=spec,
            way_out="LRNSpec.from_keywords(alpha=…, channel_window_size=…) makes one.",
        )


def channels(
    x: Any,
    spec: LRNSpec,
    at: tuple[int, ...] | None = None,
    *,
    axis: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One pixel's channels before and after.

        y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

    `x` is (channels, height, width), or any array whose channels are on `axis`. `at` is the pixel:
    one index for each of the other axes, (i, j) for a picture. Without it, the pixel with the
    largest sum of squares is drawn.

    Errors: ShapeError (a ValueError) where `at` does not fit, KindError (a TypeError) where `spec`
    is not an LRNSpec.

    >>> import numpy, lrnorm
    >>> x = numpy.random.default_rng(0).normal(size=(16, 4, 5))
    >>> ax = lrnorm.plot.channels(x, lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2), at=(1, 2))
    >>> ax.get_xlabel()
    'channel'
    """
    _check_spec(spec)
    x = np.asarray(x)
    lines = np.moveaxis(x, resolve_axis(axis, x.ndim), 0)
    at = _position(lines, at)
    before = lines[(slice(None), *at)]
    after = local_response_norm(before, spec=spec, axis=0)
    ax = _own_axes() if ax is None else ax
    place = np.arange(len(before))
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.bar(place, before, width=0.9, color=BEFORE, alpha=0.55, label="before")
    ax.bar(place, after, width=0.45, color=AFTER, label="after")
    ax.set_xlabel("channel")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel("value")
    ax.set_title(f"The channels at {at if len(at) != 1 else at[0]}" if at else "The channels")
    ax.legend(ncols=2, **ABOVE)
    _make_room(ax)
    return ax


def _position(lines: Array, at: Any) -> tuple[int, ...]:
    """A checked index into the axes behind the channels."""
    space = lines.shape[1:]
    if 0 in lines.shape:
        raise ShapeError("an array without entries", "cannot be drawn", value=lines.shape)
    if at is None:
        with np.errstate(all="ignore"):
            energy = np.nan_to_num(_energy(lines))
        return tuple(int(i) for i in np.unravel_index(energy.argmax(), space))
    at = tuple(at) if np.iterable(at) else (at,)
    if len(at) != len(space) or not all(
        is_integer(i) and -n <= i < n for i, n in zip(at, space, strict=True)
    ):
        raise ShapeError(
            "at",
            f"must be an index into {space}, the axes without the channels",
            value=at,
            way_out="For (channels, height, width) it is (row, column).",
        )
    return tuple(int(i) % n for i, n in zip(at, space, strict=True))


def response(spec: LRNSpec, *, ax: Axes | None = None) -> Axes:
    """The output of one channel over its input, for several energies of its neighbours.

        y = x * (bias + scale * (x**2 + energy of the neighbours)) ** -beta

    The energy of the neighbours is the sum of their squares. Without neighbours the curve leaves
    the straight line where scale * x**2 reaches the bias. The horizontal axis ends at four times
    that x, and the energies are multiples of its square.

    Errors: KindError (a TypeError) where `spec` is not an LRNSpec.

    >>> import lrnorm
    >>> ax = lrnorm.plot.response(lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2))
    >>> ax.get_xlabel()
    'input x'
    """
    _check_spec(spec)
    usual = spec.scale > 0 and spec.bias > 0
    knee = float(np.sqrt(spec.bias / spec.scale)) if usual else 1.0
    x = np.linspace(0, 4 * knee, 201)
    ax = _own_axes() if ax is None else ax
    energies = (0, 4, 16, 64)
    shades = colormaps["viridis"](np.linspace(0.0, 0.85, len(energies)))
    for multiple, shade in zip(energies, shades, strict=True):
        energy = float(f"{multiple * knee**2:.2g}")
        with np.errstate(all="ignore"):
            y = x * (spec.bias + spec.scale * (x * x + energy)) ** -spec.beta
        ax.plot(x, y, color=shade, linewidth=2, label=f"{energy:g}")
    ax.set_xlabel("input x")
    ax.set_ylabel("output y")
    ax.set_title("Response, by the energy of the neighbours")
    ax.legend(title="Σ x² of the neighbours", ncols=len(energies), **ABOVE)
    _make_room(ax)
    ax.margins(x=0)
    return ax


def compare(x: Any, y: Any, *, ax: Axes | None = None) -> Axes:
    """Two pictures side by side, each scaled by its own largest value.

    `x` and `y` are (channels, height, width) of one shape. One channel is drawn in gray and three
    in colour; of any other number the root mean square over the channels is drawn.

    Errors: ShapeError (a ValueError) for other shapes.

    >>> import numpy, lrnorm
    >>> x = numpy.random.default_rng(0).random((3, 8, 9))
    >>> ax = lrnorm.plot.compare(x, lrnorm.local_response_norm(x))
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['before', 'after']
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 3 or x.shape != y.shape or not x.size:
        raise ShapeError(
            "x and y",
            "must be (channels, height, width) of one shape, with entries",
            got=f"{x.shape} and {y.shape}",
            way_out="Of a batch pass one item, x[0] and y[0].",
        )
    left, right = _visible(x), _visible(y)
    height, width = left.shape[:2]
    gap = max(1, width // 30)
    frame = np.ones((height, 2 * width + gap, *left.shape[2:]))
    frame[:, :width], frame[:, width + gap :] = left, right
    ax = _own_axes() if ax is None else ax
    ax.imshow(frame, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    ax.set_xticks([(width - 1) / 2, width + gap + (width - 1) / 2], ["before", "after"])
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title("Each at its own brightest")
    if len(x) not in (1, 3):
        ax.set_xlabel(f"root mean square of {len(x)} channels")
    return ax


def _energy(x: Array) -> Array:
    """The sum of squares over the first axis, in memory that does not grow with its length."""
    if x.dtype.kind not in "fiubV":  # V: bfloat16
        raise KindError(
            "a drawing",
            "needs real numbers",
            got=str(x.dtype),
            way_out="Draw abs(x), for example.",
        )
    total = np.zeros(x.shape[1:])
    for channel in x:
        total += np.square(channel, dtype=np.float64)
    return total


def _visible(x: Array) -> Array:
    """(height, width) or (height, width, 3) in 0 … 1, its largest value at 1."""
    with np.errstate(all="ignore"):
        if len(x) in (1, 3):
            picture = np.moveaxis(x.astype(np.float64), 0, -1).squeeze(-1 if len(x) == 1 else ())
        else:
            picture = np.sqrt(_energy(x) / len(x))
    picture = np.nan_to_num(picture, posinf=0, neginf=0)
    largest = picture.max()
    shown: Array = np.clip(picture / largest, 0, 1) if largest > 0 else np.zeros_like(picture)
    return shown


def overview(x: Any, spec: LRNSpec, *, axis: Axis = None) -> Figure:
    """One figure of three drawings: the picture, one pixel's channels, and the response curve.

    An array with more axes than (channels, height, width) is drawn by its first item, a large one
    by every n-th pixel, and one with fewer axes without a picture. A box is drawn by the picture
    and the response curve.

    >>> import numpy, lrnorm
    >>> x = numpy.random.default_rng(0).random((3, 8, 9))
    >>> len(lrnorm.plot.overview(x, lrnorm.LRNSpec(0.2, 0.5, 1.0, 2, 2)).axes)
    3
    """
    if spec.axes > 1:
        return _overview_of_a_box(x, spec, resolve_axes(axis, np.ndim(x)))
    lines = np.moveaxis(x, resolve_axis(axis, np.ndim(x)), 0)
    while lines.ndim > 3 and lines.size:
        lines = lines[:, 0]
    step = max(1, max(lines.shape[1:], default=1) // LARGEST)
    seen = lines[(slice(None), *[slice(None, None, step)] * (lines.ndim - 1))]
    at = tuple(step * i for i in _position(seen, None))
    with_picture = lines.ndim == 3
    figure = Figure(figsize=(15 if with_picture else 10, 4), layout="constrained")
    panels = figure.subplots(1, 3 if with_picture else 2)
    if with_picture:
        compare(seen, local_response_norm(seen, spec=spec, axis=0), ax=panels[0])
    channels(lines, spec, at, axis=0, ax=panels[-2])
    response(spec, ax=panels[-1])
    return figure


def _overview_of_a_box(x: Any, spec: LRNSpec, axes: tuple[int, ...]) -> Figure:
    """The picture along the last two axes of the box, and the response curve."""
    before = np.moveaxis(x, axes, range(-len(axes), 0))
    inside = tuple(range(before.ndim - len(axes), before.ndim))
    while before.ndim - len(axes) > 1:
        before, inside = before[0], tuple(axis - 1 for axis in inside)
    pictures = [np.asarray(before), local_response_norm(before, spec=spec, axis=inside)]
    if before.ndim == len(axes):
        pictures = [picture[None] for picture in pictures]
    while pictures[0].ndim > 3:  # the middle of the box's further axes
        pictures = [picture[:, picture.shape[1] // 2] for picture in pictures]
    step = max(1, max(pictures[0].shape[1:], default=1) // LARGEST)
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    compare(*(picture[:, ::step, ::step] for picture in pictures), ax=panels[0])
    response(spec, ax=panels[1])
    return figure


def file_kind(path: str) -> str:
    """The format that a drawing's name asks for."""
    kind = path.rpartition(".")[2].lower()
    if kind not in KINDS:
        rule = f"must be one of {', '.join(KINDS)}"
        raise FileError("the ending of a drawing", rule, value=path)
    return kind
