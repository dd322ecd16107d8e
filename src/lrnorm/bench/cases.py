"""What is measured: cases, their arrays, and the entrants every case has (a copy, and ours)."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import lrnorm
from lrnorm import _core
from lrnorm.bench.timing import batch_of

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

# The shapes of common nets at their LRN layers, one picture and sixteen: (batch, channels, h, w).
SHAPES = ((1, 96, 55, 55), (1, 192, 56, 56), (16, 96, 55, 55), (16, 192, 56, 56))
DTYPES = ("float32", "float64", "float16", "bfloat16")
LAYOUTS = ("first", "last")
VERBS = ("forward", "vjp")
BETAS = (0.75, 0.5, 0.6)  # 0.75 and 0.5 are what nets use; 0.6 has no short cut by square roots
THREADS = (1, 2)

COPY, OURS, OURS_ALLOCATING = "copyto", "lrnorm", "lrnorm allocating"


class Unable(Exception):
    """An entrant cannot do a case; the text says why."""


@dataclass(frozen=True)
class Case:
    """One row of the table. Parameters near 1: a tiny alpha would hide a wrong rival."""

    shape: Shape
    dtype: str = "float32"
    layout: str = "first"
    beta: float = 0.75
    verb: str = "forward"
    threads: int = 2
    radius: int = 2
    alpha: float = 1.0
    bias: float = 1.0

    @property
    def width(self) -> int:
        return 2 * self.radius + 1

    @property
    def axis(self) -> int:
        return 1 if self.layout == "first" else 3

    @property
    def stored_shape(self) -> Shape:
        n, c, h, w = self.shape
        return self.shape if self.layout == "first" else (n, h, w, c)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * {"float64": 8, "float32": 4}.get(self.dtype, 2)

    @property
    def shape_text(self) -> str:
        return "×".join(map(str, self.shape))

    def __str__(self) -> str:
        return (
            f"{self.shape_text} {self.dtype} channels {self.layout}, beta {self.beta:g}, "
            f"window {self.width}, {self.verb}, {self.threads} thread"
            + ("s" if self.threads > 1 else "")
        )


@dataclass(frozen=True)
class Arrays:
    """The input of a case and the gradient that comes in (forward: x again); C-contiguous."""

    x: Array
    g: Array


@dataclass(frozen=True)
class Who:
    """One column: what computed the case. It outlives the arrays."""

    case: Case
    name: str
    allocates: bool = False
    threads: str = "1"
    version: str = ""
    disagreement: float | None = None  # largest difference from ours, as a share of the largest
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entrant:
    """Someone ready to be timed: runs so many calls and returns the nanoseconds."""

    who: Who
    batch: Callable[[int], int]


def every_case(
    shapes: Iterable[Shape],
    dtypes: Iterable[str],
    layouts: Iterable[str],
    betas: Iterable[float],
    verbs: Iterable[str],
    threads: Iterable[int],
) -> list[Case]:
    """Every combination of these that is a case."""
    rows = itertools.product(shapes, dtypes, layouts, betas, verbs, threads)
    return [Case(*row) for row in rows]


def dtype_of(case: Case) -> np.dtype[Any]:
    """The NumPy type of a case."""
    if case.dtype != "bfloat16":
        return np.dtype(case.dtype)
    try:
        ml_dtypes = importlib.import_module("ml_dtypes")
    except ImportError as error:
        raise Unable("NumPy has bfloat16 only with: pip install ml_dtypes") from error
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def make_arrays(case: Case) -> Arrays:
    """The arrays that every entrant of a case is timed on."""
    rng = np.random.default_rng(0)
    dtype = dtype_of(case)
    x, *g = (
        rng.standard_normal(case.stored_shape, dtype=np.float32).astype(dtype, copy=False)
        for _ in range(1 if case.verb == "forward" else 2)
    )
    return Arrays(x, *g or [x])


def _touched(x: Array) -> Array:
    """An output whose pages the system has already handed out."""
    out = np.empty_like(x)
    out.view(np.uint8).fill(0)
    return out


def _bits(a: Array) -> Array:
    """bfloat16 as its bits: what the core reads, and what NumPy copies without looking."""
    return a.view(np.uint16) if a.dtype.kind == "V" else a


def _keywords(case: Case) -> dict[str, Any]:
    return {
        "alpha": case.alpha,
        "beta": case.beta,
        "bias": case.bias,
        "channel_window_size": case.radius,
        "axis": case.axis,
    }


def _preallocated(case: Case, arrays: Arrays, out: Array) -> Callable[[], Any]:
    if case.verb == "forward":
        return partial(lrnorm.local_response_norm, arrays.x, **_keywords(case), out=out)
    # The public vjp has no out=, so the core is called as the NumPy front calls it.
    return partial(
        _core.vjp,
        _bits(arrays.x),
        _bits(arrays.g),
        _bits(out),
        case.alpha / case.width,
        case.beta,
        case.bias,
        case.radius,
        case.radius,
        case.axis,
    )


def _allocating(case: Case, arrays: Arrays) -> Callable[[], Any]:
    if case.verb == "forward":
        return partial(lrnorm.local_response_norm, arrays.x, **_keywords(case))
    return partial(lrnorm.local_response_norm_vjp, arrays.x, arrays.g, **_keywords(case))


def copy_entrant(case: Case, arrays: Arrays) -> Entrant:
    """NumPy's copy of the same bytes into an existing array, always on one thread."""
    source, out = _bits(arrays.x), _bits(_touched(arrays.x))
    who = Who(case, COPY, version=np.__version__)
    return Entrant(who, batch_of(partial(np.copyto, out, source)))


def our_version() -> str:
    """The version of lrnorm that is measured."""
    return str(lrnorm.show_config()["lrnorm"])


def our_entrants(case: Case, arrays: Arrays) -> tuple[Entrant, Entrant, Array]:
    """Ours into an existing output, into a fresh one, and the result rivals must agree with."""
    out = _touched(arrays.x)
    into, fresh = _preallocated(case, arrays, out), _allocating(case, arrays)
    into()
    expected = out.copy()
    version = our_version()
    threads = str(case.threads)
    return (
        Entrant(Who(case, OURS, False, threads, version), batch_of(into)),
        Entrant(Who(case, OURS_ALLOCATING, True, threads, version), batch_of(fresh)),
        expected,
    )
