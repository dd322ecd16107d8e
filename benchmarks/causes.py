"""Causes of slow rows: what profiles of the kernels showed, by kind of row.

Instruction counts come from `make instructions` under AVX2, cycles of loops from llvm-mca.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import instructions
from results import Point

_KEPT = instructions.read(instructions.X86.kept)


def _count(
    verb: str = "forward",
    dtype: str = "float32",
    window: str = "5",
    beta: str = "0.75",
    shape: str = "2x96x1024",
) -> float:
    """Instructions per element."""
    call = ("avx2", verb, dtype, "first", window, beta, shape)
    return float(_KEPT[call]["per_element"])


PLAIN = _count()
_ROW = 9  # numbers in a row of this shape
SHORT_ROW = _ROW * _count(shape="64x96x9")


class Cause(NamedTuple):
    """A condition on a row, and what limits the speed of rows that meet it."""

    holds: Callable[[Point], bool]
    text: str


def _pixels(point: Point) -> int:
    return math.prod(point.shape[2:])


# The page names the first cause that holds for a row.
CAUSES = (
    Cause(
        lambda point: math.prod(point.shape) <= 4096,
        "few numbers: the time is that of the call itself, one or two microseconds of Python and "
        "of checking the arguments",
    ),
    Cause(
        lambda point: point.row["layout"] == "first" and _pixels(point) < 64,
        f"short rows: one row of {_ROW} numbers takes {SHORT_ROW:.0f} instructions, "
        f"{_ROW * PLAIN:.0f} of them for the numbers. Rows of different examples are not adjacent "
        "in memory and cannot be joined",
    ),
    Cause(
        lambda point: point.row["verb"] == "vjp",
        "a gradient reads two arrays and writes one, 1.5 times the bytes of a copy, and products "
        f"with dy are computed in double: {_count('vjp'):.1f} instructions per element, forward "
        f"{PLAIN:.1f}",
    ),
    Cause(
        lambda point: point.row["dtype"] == "float64",
        "float64 keeps D in pairs of doubles and corrects its power, to stay within the accuracy "
        f"promised: {_count(dtype='float64'):.1f} instructions per element, float32 {PLAIN:.1f}",
    ),
    Cause(
        lambda point: int(point.row["window"]) > 5,
        "windows above 5 channels share a core summed in double, four at a time: "
        f"{_count(window='31'):.1f} instructions per element for 31 channels, {PLAIN:.1f} for 5",
    ),
    Cause(
        lambda point: float(point.row["beta"]) not in (0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 3),
        "this exponent has no short chain of roots and products and is computed by log2 and exp2: "
        f"{_count(beta='0.6'):.1f} instructions per element, beta 0.75 {PLAIN:.1f}",
    ),
    Cause(
        lambda point: float(point.row["beta"]) in (1, 2),
        "beta 1 and 2 need a division and no root. torch.compile also computes this in one pass, "
        "so both are bandwidth-bound",
    ),
    Cause(
        lambda point: point.row["threads"] == "1",
        f"one thread does all the arithmetic: {PLAIN:.1f} instructions per element, where a copy "
        "has one load and one store for a vector",
    ),
    Cause(
        lambda point: point.row["dtype"] in ("float16", "bfloat16"),
        "half the bytes of float32 with the same arithmetic, in float32",
    ),
    Cause(
        lambda point: point.nbytes <= (point.last_cache or 0),
        "the array fits into a cache, where a copy is one load and one store for a vector. What "
        f"remains is the arithmetic, {PLAIN:.1f} instructions per element",
    ),
    Cause(
        lambda point: not point.busy,
        f"the arithmetic, {PLAIN:.1f} instructions per element, takes longer than the copy where "
        "the threads share one core, as two processors of a virtual machine may",
    ),
)

# Reasons for a missed target: the columns of the row, and the reason. The first that fits holds.
REASONS: tuple[tuple[dict[str, str], str], ...] = (
    (
        {"beta": "1.0"},
        "at beta 1 there is almost nothing to compute, and torch.compile also computes it in one "
        "pass: both are bandwidth-bound",
    ),
    (
        {"beta": "2.0"},
        "both are bandwidth-bound, as at beta 1. lrnorm also adds parts of D in double, because "
        "the square doubles an error of D: in float, as the rival computes, the error was 8.1 ULP "
        "where 7 are promised",
    ),
    *(
        (
            {"dtype": dtype},
            "16-bit numbers need the arithmetic of float32 and two conversions for half the bytes, "
            "so the arithmetic limits two threads",
        )
        for dtype in ("float16", "bfloat16")
    ),
    (
        {"shape": "1×5×2×1"},
        "ten numbers: the time is that of the call itself. lrnorm checks its arguments each time; "
        "a rival's graph was built for this array beforehand",
    ),
)


def cause_of(point: Point) -> str | None:
    """The known cause that limits the speed of this row, or None."""
    return next((cause.text for cause in CAUSES if cause.holds(point)), None)
