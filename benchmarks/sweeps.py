"""The sweeps: each varies one thing from the case BASE, beside every rival."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from report import free_memory, last_cache

from lrnorm.cli import bench
from lrnorm.cli.measuring import DTYPES, LAYOUTS, Case, Row

LIMIT_S = 4.0  # for one entrant in one row: some forty rows must end within minutes

# The shapes of common nets at their LRN layers, one picture and sixteen.
SHAPES = ((1, 96, 55, 55), (1, 192, 56, 56), (16, 96, 55, 55), (16, 192, 56, 56))
BASE = Case((16, 96, 55, 55))
WIDE = Case((8, 256, 28, 28))  # enough channels for a window of 255

SWEEPS: dict[str, list[Case]] = {
    "shapes": [replace(BASE, shape=shape, beta=beta) for beta in (0.75, 0.5) for shape in SHAPES],
    "channels": [
        *(replace(BASE, shape=(16, channels, 55, 55)) for channels in (1, 8, 32, 96, 192, 512)),
        replace(BASE, shape=(1, 2048, 1, 1)),
    ],
    "pixels": [
        *(replace(BASE, shape=(16, 96, side, side)) for side in (1, 4, 13, 27, 55, 112)),
        replace(BASE, shape=(1, 16, 2048, 2048)),
    ],
    "batch": [replace(BASE, shape=(batch, 96, 55, 55)) for batch in (1, 4, 16, 64)],
    "window": [replace(WIDE, radius=radius) for radius in (1, 2, 4, 7, 15, 31, 63, 127)],
    "beta": [replace(BASE, beta=beta) for beta in (0.5, 0.75, 0.6, 1.0, 2.0)],
    "dtype": [replace(BASE, dtype=dtype) for dtype in DTYPES],
    "layout": [replace(BASE, layout=layout) for layout in LAYOUTS],
    "threads": [replace(BASE, threads=threads) for threads in (1, 2)],
    "verb": [replace(BASE, verb=verb) for verb in ("forward", "vjp")],
    "tiny": [replace(BASE, shape=(1, 5, 2, 1))],
}
# Arrays twice as large as the last cache, so that a copy goes through memory. Their size depends
# on the machine. Rivals would need too much memory, and take part in the other sweeps.
MEMORY = "memory"
NAMES = (*SWEEPS, MEMORY)


def memory_cases(cache: int) -> list[Case]:
    """BASE with as many pictures as fill the last cache twice."""
    picture = BASE.shape[1:]
    rows = []
    for dtype, beta in (("float32", 0.75), ("float32", 0.5), ("float16", 0.75)):
        one = math.prod(picture) * np.dtype(dtype).itemsize
        rows.append(Case((math.ceil(2 * cache / one), *picture), dtype, beta=beta))
    return rows


def fits_in_memory(case: Case) -> bool:
    """Whether there is room for everything that the copies and ours hold at the same time."""
    # x and g, ours, its copy, the copies' target, a new result and the one before it.
    return 8 * case.nbytes < free_memory()


def chosen(names: Sequence[str]) -> dict[Case, str]:
    """Each case of these sweeps once, with the names of all sweeps that contain it."""
    every = dict(SWEEPS)
    if cache := last_cache():
        every[MEMORY] = memory_cases(cache)
    belongs: dict[Case, list[str]] = {}
    for name, points in every.items():
        for case in points:
            belongs.setdefault(case, []).append(name)
    return {case: " ".join(of) for case, of in belongs.items() if set(of) & set(names)}


def measure_sweeps(names: Sequence[str], rivals: Sequence[str], rounds: int) -> Iterator[Row]:
    """Row by row, so that a run that breaks keeps its first rows."""
    rows = chosen(names)
    for number, (case, sweep) in enumerate(rows.items(), 1):
        print(f"[{number}/{len(rows)}] {case}", file=sys.stderr, flush=True)
        if not fits_in_memory(case):
            print("left out: not enough free memory for it", file=sys.stderr)
            continue
        against = () if sweep == MEMORY else rivals
        row = bench.measure_case(case, against, rounds, limit_s=LIMIT_S, sweep=sweep)
        if row:
            yield row
