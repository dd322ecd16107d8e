"""Why rows stand where they stand: what profiles of the kernels showed, by the kind of row.

The counts are those of `make instructions` under AVX2; cycles of loops are llvm-mca's.
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
    """Instructions for an element."""
    call = ("avx2", verb, dtype, "first", window, beta, shape)
    return float(_KEPT[call]["per_element"])


PLAIN = _count()
_ROW = 9  # numbers in a row of this shape
SHORT_ROW = _ROW * _count(shape="64x96x9")


class Cause(NamedTuple):
    """What holds for some rows, and what it costs them."""

    holds: Callable[[Point], bool]
    text: str


def _pixels(point: Point) -> int:
    return math.prod(point.shape[2:])


# The first that holds is named.
CAUSES = (
    Cause(
        lambda point: math.prod(point.shape) <= 4096,
        "few numbers: what is timed is the call, a microsecond or two of Python and of looking at "
        "the arguments",
    ),
    Cause(
        lambda point: point.row["layout"] == "first" and _pixels(point) < 64,
        f"short rows: a channel's row of {_ROW} numbers takes {SHORT_ROW:.0f} instructions, "
        f"{_ROW * PLAIN:.0f} of them for its numbers; pictures cannot be joined, their rows do not "
        "follow each other",
    ),
    Cause(
        lambda point: point.row["verb"] == "vjp",
        "a gradient reads two arrays and writes one, half as many bytes again as a copy, and what "
        f"meets dy is kept in double: {_count('vjp'):.1f} instructions an element, forward "
        f"{PLAIN:.1f}",
    ),
    Cause(
        lambda point: point.row["dtype"] == "float64",
        "float64 has D in two doubles and corrects its power, or 4.5 units in the last place would "
        f"not hold: {_count(dtype='float64'):.1f} instructions an element, float32 {PLAIN:.1f}",
    ),
    Cause(
        lambda point: int(point.row["window"]) > 5,
        "windows beyond 5 have running sums, in double so that nothing is subtracted or lost: "
        f"{_count(window='31'):.1f} instructions an element whatever the width, window 5 "
        f"{PLAIN:.1f}",
    ),
    Cause(
        lambda point: float(point.row["beta"]) not in (0.25, 0.5, 0.75, 1, 2),
        "powers without a chain go through log2 and exp2 in two floats: "
        f"{_count(beta='0.6'):.1f} instructions an element, beta 0.75 {PLAIN:.1f}",
    ),
    Cause(
        lambda point: float(point.row["beta"]) in (1, 2),
        "beta 1 and 2 cost a division and no root: torch.compile makes one pass of it too, and "
        "both wait for memory",
    ),
    Cause(
        lambda point: point.row["threads"] == "1",
        "one thread does the arithmetic: 31 instructions for 16 numbers (AVX-512) keep its two "
        "vector units busy for 14 cycles, a copy takes one load and one store",
    ),
    Cause(
        lambda point: point.row["dtype"] in ("float16", "bfloat16"),
        "half the bytes of float32, and the same arithmetic in float",
    ),
    Cause(
        lambda point: point.nbytes <= (point.last_cache or 0),
        "the array fits into a cache, where a copy is one load and one store for 16 numbers; the "
        "arithmetic, 31 instructions and 14 cycles of two vector units, is what is left",
    ),
)

# Why a row misses a target: the columns it has, and the reason. The first that fits holds.
REASONS: tuple[tuple[dict[str, str], str], ...] = (
    (
        {"beta": "1.0"},
        "at beta 1 there is next to nothing to compute, and torch.compile makes one pass of it "
        "too: both wait for memory",
    ),
    (
        {"beta": "2.0"},
        "both wait for memory, as at beta 1; and ours adds parts of D in double, since a square "
        "doubles its errors: in float, as the rival does it, they came to 8.1 units of the 7 "
        "promised",
    ),
    *(
        (
            {"dtype": dtype},
            "16-bit numbers take the arithmetic of float32, and two conversions, for half the "
            "bytes: it is what two threads spend their time on",
        )
        for dtype in ("float16", "bfloat16")
    ),
    (
        {"shape": "1×5×2×1"},
        "ten numbers: what is timed is the call. Ours looks at its arguments each time; a rival's "
        "graph was built for this one array beforehand",
    ),
)


def cause_of(point: Point) -> str | None:
    """What is known to hold this row back."""
    return next((cause.text for cause in CAUSES if cause.holds(point)), None)
