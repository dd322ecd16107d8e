"""The speed that lrnorm promises, each promise measured against its bound: a report, no test."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import lrnorm
from lrnorm import _core
from lrnorm.bench.cases import (
    OURS,
    OURS_ALLOCATING,
    Arrays,
    Case,
    Entrant,
    Unable,
    Who,
    copy_entrant,
    make_arrays,
    our_entrants,
    our_version,
)
from lrnorm.bench.report import Row, about_text, canary_text, measure_row
from lrnorm.bench.rivals import rival_entrant
from lrnorm.bench.timing import Timing

CALLS_WHILE_BUSY = 1000


class Bounded:
    """A figure that is to be at most `bound`, or at least."""

    bound: float
    at_least: bool

    @property
    def bound_text(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def met(self, figure: float) -> bool:
        return figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True)
class Promise(Bounded):
    """The time of `top` by the time of `bottom`, at most (or at least) `bound`."""

    text: str
    top: str
    bottom: str
    bound: float
    at_least: bool = False


@dataclass(frozen=True)
class Finding:
    """A promise, and what was measured of it."""

    promise: Promise
    figure: float | None  # None: not measured, and detail says why
    detail: str
    canary: str = ""

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return "not measured"
        return "met" if self.promise.met(self.figure) else "MISSED"


@dataclass
class Group:
    """Who takes part, by the names that promises use; and who could not, with the reason."""

    entrants: dict[str, Entrant]
    absent: dict[str, str] = field(default_factory=dict)


def _into(case: Case, arrays: Arrays) -> Entrant:
    return our_entrants(case, arrays)[0]


def _large() -> Group:
    first = Case((64, 96, 55, 55))
    last = replace(first, layout="last")
    arrays, arrays_last = make_arrays(first), make_arrays(last)
    return Group(
        {
            "copy": copy_entrant(first, arrays),
            "0.75": _into(first, arrays),
            "0.5": _into(replace(first, beta=0.5), arrays),
            "0.6": _into(replace(first, beta=0.6), arrays),
            "vjp": _into(replace(first, verb="vjp"), arrays),
            "last": _into(last, arrays_last),
            "vjp last": _into(replace(last, verb="vjp"), arrays_last),
        }
    )


def _cached() -> Group:
    case = Case((1, 96, 55, 55), threads=1)
    arrays = make_arrays(case)
    return Group(
        {
            "copy": copy_entrant(case, arrays),
            "0.75": _into(case, arrays),
            "0.5": _into(replace(case, beta=0.5), arrays),
        }
    )


def _statement(who: Who, text: str, names: dict[str, Any]) -> Entrant:
    """Timed as a line of code: calling a function that calls it would cost a tenth of it."""
    timer = timeit.Timer(text, globals=names)
    return Entrant(who, lambda calls: round(timer.timeit(calls) * 1e9))


def _tiny() -> Group:
    entrants = {}
    for dtype in ("float32", "float64"):
        case = Case((5, 2, 1), dtype=dtype, beta=0.5, threads=1)
        x = np.linspace(-2, 2, 10, dtype=dtype).reshape(5, 2, 1)
        names = {"f": lrnorm.local_response_norm, "add": np.add, "x": x}
        add = Who(case, "np.add(x, x)", allocates=True, version=np.__version__)
        ours = Who(case, OURS_ALLOCATING, allocates=True, version=our_version())
        entrants[f"add {dtype}"] = _statement(add, "add(x, x)", names)
        entrants[dtype] = _statement(ours, "f(x)", names)
    return Group(entrants)


def _against_rivals() -> Group:
    case = Case((16, 192, 56, 56))
    other = replace(case, beta=0.6)
    arrays = make_arrays(case)
    into, fresh, expected = our_entrants(case, arrays)
    other_into, _, other_expected = our_entrants(other, arrays)
    group = Group(
        {
            "copy": copy_entrant(case, arrays),
            "0.75": into,
            "0.75 fresh": fresh,
            "0.6": other_into,
        }
    )
    rivals = (
        ("openvino 0.75", "openvino", case, expected),
        ("openvino 0.6", "openvino", other, other_expected),
        ("torch", "torch", case, expected),
    )
    for key, name, its_case, its_expected in rivals:
        try:
            group.entrants[key] = rival_entrant(name, its_case, arrays, its_expected)
        except Unable as error:
            group.absent[key] = str(error)
    return group


def _windows() -> Group:
    narrow = Case((8, 512, 28, 28))
    arrays = make_arrays(narrow)
    return Group(
        {
            "copy": copy_entrant(narrow, arrays),
            "5": _into(narrow, arrays),
            "63": _into(replace(narrow, radius=31), arrays),
        }
    )


# Each group is measured in one interleaved run: threads, who takes part, what is promised of them.
GROUPS: tuple[tuple[int, Callable[[], Group], tuple[Promise, ...]], ...] = (
    (
        2,
        _large,
        (
            Promise("64×96×55×55 forward, beta 0.75, by np.copyto", "0.75", "copy", 1.3),
            Promise("64×96×55×55 forward, beta 0.5, by np.copyto", "0.5", "copy", 1.3),
            Promise("64×96×55×55 beta 0.6 by beta 0.75", "0.6", "0.75", 2),
            Promise("64×96×55×55 vjp by np.copyto", "vjp", "copy", 2.2),
            Promise("64×96×55×55 forward, channels last by first", "last", "0.75", 1.5),
            Promise("64×96×55×55 vjp, channels last by first", "vjp last", "vjp", 1.5),
        ),
    ),
    (
        1,
        _cached,
        (
            Promise("1×96×55×55 in cache, one thread, beta 0.75, by np.copyto", "0.75", "copy", 4),
            Promise("1×96×55×55 in cache, one thread, beta 0.5, by np.copyto", "0.5", "copy", 4),
        ),
    ),
    (
        2,
        _tiny,
        (
            Promise("5×2×1 float32, public function by np.add", "float32", "add float32", 6),
            Promise("5×2×1 float64, public function by np.add", "float64", "add float64", 6),
        ),
    ),
    (
        2,
        _against_rivals,
        (
            Promise("16×192×56×56 OpenVINO by ours, beta 0.75", "openvino 0.75", "0.75", 2, True),
            Promise("16×192×56×56 OpenVINO by ours, beta 0.6", "openvino 0.6", "0.6", 5, True),
            Promise(
                "16×192×56×56 PyTorch eager by ours, both allocating",
                "torch",
                "0.75 fresh",
                20,
                True,
            ),
        ),
    ),
    (2, _windows, (Promise("8×512×28×28, window 63 by window 5", "63", "5", 3),)),
)


def findings_of(promises: Sequence[Promise], group: Group, row: Row) -> list[Finding]:
    """What a measured row says of each promise of its group."""
    by_key = dict(zip(group.entrants, row.columns, strict=True))
    found = []
    for promise in promises:
        if promise.top in group.absent:
            found.append(Finding(promise, None, group.absent[promise.top]))
            continue
        (who, top), (_, bottom) = by_key[promise.top], by_key[promise.bottom]
        detail = (
            f"{top.min_ns / 1e3:.4g} by {bottom.min_ns / 1e3:.4g} µs; medians "
            f"{top.median_ns / bottom.median_ns:.2f}; rounds {min(top.rounds, bottom.rounds)}"
        )
        detail = "; ".join([detail, *who.notes])
        found.append(Finding(promise, top.min_ns / bottom.min_ns, detail, canary_text(row)))
    return found


# Ends by itself if the one who started it is gone.
_SPIN = "import os\np = os.getppid()\nwhile os.getppid() == p:\n    for _ in range(10**6): pass"


def times_while_busy(calls: int) -> dict[int, list[int]]:
    """Nanoseconds of each of so many calls on one and on two threads, alternating, while as many
    processes spin as there are processors."""
    case = Case((1, 96, 55, 55))
    batch = _into(case, make_arrays(case)).batch
    times: dict[int, list[int]] = {1: [], 2: []}
    command = [sys.executable, "-c", _SPIN]
    spinning = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(_core.usable_processors()):
            spinning.append(subprocess.Popen(command))
        time.sleep(0.5)
        for call in range(calls + 20):
            for threads, samples in times.items():
                lrnorm.set_num_threads(threads)
                taken = batch(1)
                if call >= 20:  # the first ones warm up
                    samples.append(taken)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
        if collecting:
            gc.enable()
    return times


def _busy(calls: int) -> tuple[list[Finding], Row]:
    times = times_while_busy(calls)
    measures: tuple[tuple[str, Callable[[list[int]], float]], ...] = (
        ("99th percentile", lambda t: statistics.quantiles(t, n=100)[98]),
        ("median", statistics.median),
    )
    found = []
    for name, measure in measures:
        one, two = measure(times[1]), measure(times[2])
        promise = Promise(
            f"1×96×55×55 with every core busy, two threads by one, {name}", "2", "1", 1.5
        )
        detail = f"{two / 1e3:.4g} by {one / 1e3:.4g} µs; {calls} calls each"
        found.append(Finding(promise, two / one, detail, "busy on purpose"))
    columns = []
    for threads, samples in times.items():
        late = measures[0][1](samples)
        note = f"every core busy; 99th percentile {late:.0f} ns"
        case = Case((1, 96, 55, 55), threads=threads)
        who = Who(case, OURS, False, str(threads), our_version(), notes=(note,))
        columns.append((who, Timing(min(samples), statistics.median(samples), len(samples), 1)))
    return found, Row(columns[0][0].case, columns, canary=None)


def measure_promises(
    rounds: int, calls_while_busy: int = CALLS_WHILE_BUSY
) -> Iterator[tuple[list[Finding], Row]]:
    """Group by group, so that what is known is not lost with what comes after."""
    for threads, prepare, promises in GROUPS:
        lrnorm.set_num_threads(threads)
        group = prepare()
        entrants = list(group.entrants.values())
        row = measure_row(entrants[0].who.case, entrants, rounds, group.absent)
        found = findings_of(promises, group, row)
        del group, entrants  # let go of the arrays before the next group makes its own
        yield found, row
    yield _busy(calls_while_busy)


def findings_text(findings: Sequence[Finding], about: dict[str, Any], rounds: int) -> str:
    """The findings as a Markdown table."""
    lines = [
        about_text(about),
        "",
        f"Ratios of the fastest of {rounds} interleaved rounds.",
        "",
        "| promise | bound | figure | | canary | times |",
        "|---|---|---|---|---|---|",
    ]
    for finding in findings:
        figure = "–" if finding.figure is None else f"{finding.figure:.2f}"
        lines.append(
            f"| {finding.promise.text} | {finding.promise.bound_text} | {figure} | "
            f"{finding.verdict} | {finding.canary} | {finding.detail} |"
        )
    return "\n".join(lines) + "\n"
