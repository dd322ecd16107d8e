"""Times calls that take turns: the cases, their arrays, and who computes them.

A case is timed in rounds. In each round everyone takes part once, in another order, beside a
canary that shows whether the machine is busy. Short calls are timed in batches.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import itertools
import math
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import lrnorm
from lrnorm._fronts.core import core as _core

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

DTYPES = ("float32", "float64", "float16", "bfloat16")
LAYOUTS = ("first", "last")
VERBS = ("forward", "vjp", "jvp", "vjp and parameters")
COPY, SHARED_COPY = "copyto", "copyto on all threads"
OURS, OURS_ALLOCATING = "lrnorm", "lrnorm allocating"
COPIES = (COPY, SHARED_COPY)
OWN = (*COPIES, OURS, OURS_ALLOCATING)

ROUNDS = 15
SHORTEST_SAMPLE_NS = 200_000  # far above the clock's step and the cost of reading it
MOST_CALLS = 1 << 20
# OpenMP's threads spin for up to 16 ms after a call, and would slow down whoever comes next.
SETTLE_S = 0.02
LIMIT_S = 60.0  # an entrant that has used this much time takes part in no further round
BUSY_BELOW = 1.6
_CANARY_BYTES = bytes(4 << 20)


class Unable(Exception):
    """An entrant cannot compute a case; the text gives the reason."""


@dataclass(frozen=True)
class Case:
    """One row of a table. The parameters are near 1: a tiny alpha would hide a wrong rival."""

    shape: Shape  # batch, channels, height, width
    dtype: str = "float32"
    layout: str = "first"
    beta: float = 0.75
    verb: str = "forward"
    threads: int = 2
    radius: int = 2
    alpha: float = 1.0
    bias: float = 1.0
    values: str = "normal"
    window: str = "across"  # the channels; or "within" each channel, over height and width

    @property
    def width(self) -> int:
        return 2 * self.radius + 1

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of the stored array that the window extends along."""
        if self.window == "across":
            return (1,) if self.layout == "first" else (3,)
        return (2, 3) if self.layout == "first" else (1, 2)

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
        values = "" if self.values == "normal" else f", {self.values}"
        size = str(self.width) if self.window == "across" else f"{self.width}×{self.width}"
        return (
            f"{self.shape_text} {self.dtype} channels {self.layout}, beta {self.beta:g}, "
            f"window {size}, {self.verb}{values}, {self.threads} thread"
            + ("s" if self.threads > 1 else "")
        )


# Values of an input → what makes them of normal deviates, in place.
VALUES: dict[str, Callable[[Array], Any]] = {
    "normal": lambda x: x,
    "ReLU": lambda x: np.maximum(x, 0, out=x),
    "mostly zeros": lambda x: np.multiply(x, np.abs(x) > 2.4, out=x),  # one in sixty is not
    "1e20": lambda x: np.multiply(x, 1e20, out=x),
    "1e200": lambda x: np.multiply(x, 1e200, out=x),
}


@dataclass(frozen=True)
class Arrays:
    """The input x of a case, C-contiguous, and g: the gradient or tangent (forward: x again)."""

    x: Array
    g: Array


@dataclass(frozen=True)
class Who:
    """What computed a case, with which version and threads."""

    case: Case
    name: str
    allocates: bool = False
    threads: str = "1"
    version: str = ""
    disagreement: float | None = None  # largest difference from ours, as a share of the largest
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entrant:
    """Someone ready to be timed: `batch` runs so many calls and returns the nanoseconds."""

    who: Who
    batch: Callable[[int], int]


@dataclass(frozen=True)
class Timing:
    """Nanoseconds a call, over the rounds that an entrant took part in."""

    min_ns: float
    median_ns: float
    rounds: int
    calls: int  # in each round's sample


@dataclass(frozen=True)
class Measured:
    """The rows of one run, and how busy the machine was."""

    timings: list[Timing]
    canary: float  # how much faster two threads finish two pieces of work than one thread


@dataclass(frozen=True)
class Row:
    """Entrants that were timed together, with their times; and who could not take part, and why."""

    case: Case
    columns: Sequence[tuple[Who, Timing]]
    canary: float | None
    absent: dict[str, str] = field(default_factory=dict)
    sweep: str = ""  # the names of the sweeps it belongs to

    @property
    def busy(self) -> bool:
        return self.canary is not None and self.canary < BUSY_BELOW

    def timing(self, name: str, case: Case) -> Timing | None:
        return next((t for who, t in self.columns if who.name == name and who.case == case), None)

    def fastest_copy(self, case: Case) -> Timing | None:
        """On one thread or on as many as the case has: the limit that memory sets."""
        copies = [time for name in COPIES if (time := self.timing(name, case))]
        return min(copies, key=lambda time: time.min_ns, default=None)


# Arrays and entrants


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
        rng.standard_normal(case.stored_shape, dtype=np.float32)
        for _ in range(1 if case.verb == "forward" else 2)
    )
    x, *g = (array.astype(dtype, copy=False) for array in (x, *g))
    VALUES[case.values](x)
    return Arrays(x, *g or [x])


def touched(x: Array) -> Array:
    """An output whose pages the system has already handed out."""
    out = np.empty_like(x)
    out.view(np.uint8).fill(0)
    return out


def bits(a: Array) -> Array:
    """bfloat16 as its bits, which the core reads and NumPy copies without looking."""
    return a.view(np.uint16) if a.dtype.kind == "V" else a


def _keywords(case: Case) -> dict[str, Any]:
    return {
        "alpha": case.alpha,
        "beta": case.beta,
        "bias": case.bias,
        "channel_window_size": case.radius,
        "axis": case.axes,
    }


def _allocating(case: Case, arrays: Arrays) -> Callable[[], Any]:
    x, g, words = arrays.x, arrays.g, _keywords(case)
    vjp = lrnorm.local_response_norm_vjp
    return {
        "forward": partial(lrnorm.local_response_norm, x, **words),
        "vjp": partial(vjp, x, g, **words),
        "jvp": partial(lrnorm.local_response_norm_jvp, x, g, **words),
        "vjp and parameters": partial(vjp, x, g, **words, parameters=True),
    }[case.verb]


def _preallocated(case: Case, arrays: Arrays, out: Array) -> Callable[[], Any]:
    if case.verb == "forward":
        return partial(lrnorm.local_response_norm, arrays.x, **_keywords(case), out=out)
    if case.verb not in ("vjp", "jvp"):
        return _allocating(case, arrays)
    ends = (case.radius,) * len(case.axes)
    return partial(
        getattr(_core, f"box_{case.verb}"),
        *(bits(arrays.x), bits(arrays.g), bits(out)),
        *(case.alpha / case.width ** len(case.axes), case.beta, case.bias, ends, ends, case.axes),
    )


def copy_entrants(case: Case, arrays: Arrays) -> list[Entrant]:
    """NumPy's copy of the same bytes into an existing array: on one thread, and on as many as the
    case has, where these are more."""
    source, out = (bits(a).reshape(-1) for a in (arrays.x, touched(arrays.x)))
    one = Who(case, COPY, version=np.__version__)
    entrants = [Entrant(one, batch_of(partial(np.copyto, out, source)))]
    if case.threads > 1:
        ends = [len(source) * i // case.threads for i in range(case.threads + 1)]
        parts = [slice(*pair) for pair in itertools.pairwise(ends)]
        pool = ThreadPoolExecutor(case.threads)

        def shared() -> None:
            for _ in pool.map(lambda part: np.copyto(out[part], source[part]), parts):
                pass

        who = Who(case, SHARED_COPY, threads=str(case.threads), version=np.__version__)
        entrants.append(Entrant(who, batch_of(shared)))
    return entrants


def our_version() -> str:
    """The version of lrnorm that is measured."""
    return str(lrnorm.show_config()["lrnorm"])


def our_entrants(case: Case, arrays: Arrays) -> tuple[Entrant, Entrant, Array]:
    """Ours into an existing output, ours into a new one, and the result to compare rivals with."""
    out = touched(arrays.x)
    into, fresh = _preallocated(case, arrays, out), _allocating(case, arrays)
    result = into()
    expected = result[0] if isinstance(result, tuple) else out.copy()
    who = partial(Who, threads=str(case.threads), version=our_version())
    return (
        Entrant(who(case, OURS), batch_of(into)),
        Entrant(who(case, OURS_ALLOCATING, allocates=True), batch_of(fresh)),
        expected,
    )


# Time


def batch_of(call: Callable[[], Any]) -> Callable[[int], int]:
    """`call` as a function that runs it so many times and returns the nanoseconds."""

    def batch(calls: int) -> int:
        turns = itertools.repeat(None, calls)
        start = time.perf_counter_ns()
        for _ in turns:
            call()
        return time.perf_counter_ns() - start

    return batch


def canary() -> tuple[int, int]:
    """Nanoseconds for two pieces of work on one thread, and on two.

    The work is SHA-256 of a constant: arithmetic outside the GIL, and none of lrnorm's own code.
    """
    start = time.perf_counter_ns()
    hashlib.sha256(_CANARY_BYTES)
    hashlib.sha256(_CANARY_BYTES)
    one = time.perf_counter_ns() - start
    other = threading.Thread(target=hashlib.sha256, args=(_CANARY_BYTES,))
    start = time.perf_counter_ns()
    other.start()
    hashlib.sha256(_CANARY_BYTES)
    other.join()
    return one, time.perf_counter_ns() - start


def calls_for(batch: Callable[[int], int]) -> int:
    """How many calls make a sample long enough to time."""
    batch(1)  # the first call pays for what is set up once
    calls = 1
    while calls < MOST_CALLS and batch(calls) < SHORTEST_SAMPLE_NS:
        calls *= 2
    return calls


def interleave(
    batches: Sequence[Callable[[int], int]],
    rounds: int = ROUNDS,
    *,
    limit_s: float = LIMIT_S,
    settle_s: float = SETTLE_S,
    canary: Callable[[], tuple[int, int]] = canary,
) -> Measured:
    """Time every batch once in each round, each round in another order."""
    shuffle = random.Random(0).shuffle
    samples: list[list[float]] = [[] for _ in batches]
    spent = [0.0] * len(batches)
    ones, twos = [], []
    collecting = gc.isenabled()
    gc.disable()
    try:
        calls = [calls_for(batch) for batch in batches]
        order = list(range(len(batches)))
        for _ in range(rounds):
            time.sleep(settle_s)
            one, two = canary()
            ones.append(one)
            twos.append(two)
            shuffle(order)
            for i in order:
                if spent[i] > limit_s:
                    continue
                time.sleep(settle_s)
                before = time.perf_counter()
                batches[i](calls[i])  # wakes its threads and brings its data back into the cache
                samples[i].append(batches[i](calls[i]) / calls[i])
                spent[i] += time.perf_counter() - before
    finally:
        if collecting:
            gc.enable()
    timings = [
        Timing(min(s), statistics.median(s), len(s), n) for s, n in zip(samples, calls, strict=True)
    ]
    return Measured(timings, statistics.median(ones) / statistics.median(twos))


def measure_row(
    case: Case,
    entrants: Sequence[Entrant],
    rounds: int,
    absent: dict[str, str],
    *,
    limit_s: float = LIMIT_S,
    sweep: str = "",
) -> Row:
    """Time every entrant of a case, interleaved."""
    measured = interleave([entrant.batch for entrant in entrants], rounds, limit_s=limit_s)
    columns = zip((entrant.who for entrant in entrants), measured.timings, strict=True)
    return Row(case, list(columns), measured.canary, absent, sweep)
