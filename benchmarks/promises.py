"""Measures the speed that lrnorm promises: each row of the table in `promised.py`.

Rows of one group are timed together, in turns; `copy`, `ours`, `fresh`, `rival` and `line` say who
is timed. Figures go into a report: no test asserts a speed.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from promised import OURS_TINY, PROMISES, Promise, Timed, ours

import lrnorm
from lrnorm import _core
from lrnorm.cli import measuring
from lrnorm.cli.bench import about_text, canary_text
from lrnorm.cli.measuring import (
    OURS,
    OURS_ALLOCATING,
    Arrays,
    Case,
    Entrant,
    Row,
    Timing,
    Unable,
    Who,
)
from lrnorm.cli.rivals import rival_entrant

CALLS_WHILE_BUSY = 1000


# Who is timed


def _line_entrant(timed: Timed) -> Entrant:
    """Timed as a line of code: a function around the call would add a tenth of its time."""
    case = timed.case
    x = np.linspace(-2, 2, 10, dtype=case.dtype).reshape(5, 2, 1)
    is_ours = timed.name == OURS_TINY
    version = measuring.our_version() if is_ours else np.__version__
    who = Who(case, OURS_ALLOCATING if is_ours else f"np.{timed.name}", True, version=version)
    names = {"f": lrnorm.local_response_norm, "add": np.add, "x": x}
    timer = timeit.Timer(timed.name, globals=names)
    return Entrant(who, lambda calls: round(timer.timeit(calls) * 1e9))


Make = Callable[[Timed, Callable[[Case], Arrays]], Entrant]
MAKERS: dict[str, Make] = {
    "copy": lambda timed, arrays: measuring.copy_entrants(timed.case, arrays(timed.case))[0],
    "shared copy": lambda timed, arrays: measuring.copy_entrants(timed.case, arrays(timed.case))[
        -1
    ],
    "ours": lambda timed, arrays: measuring.our_entrants(timed.case, arrays(timed.case))[0],
    "fresh": lambda timed, arrays: measuring.our_entrants(timed.case, arrays(timed.case))[1],
    "rival": lambda timed, arrays: rival_entrant(
        timed.name,
        timed.case,
        arrays(timed.case),
        measuring.our_entrants(timed.case, arrays(timed.case))[2],
    ),
    "line": lambda timed, arrays: _line_entrant(timed),
}


def prepare(promises: Sequence[Promise]) -> tuple[dict[Timed, Entrant], dict[Timed, str]]:
    """Everyone in these rows, ready to be timed; and who cannot take part, with the reason.

    Cases that differ in parameters alone share their arrays.
    """

    @cache
    def shared(shape: Any, dtype: str, layout: str, values: str, gradient: bool) -> Arrays:
        verb = "vjp" if gradient else "forward"
        return measuring.make_arrays(Case(shape, dtype, layout, verb=verb, values=values))

    gradients = {timed.case.stored_shape for timed in _everyone(promises) if _needs_g(timed.case)}

    def arrays(case: Case) -> Arrays:
        gradient = case.stored_shape in gradients
        return shared(case.shape, case.dtype, case.layout, case.values, gradient)

    entrants, absent = {}, {}
    for timed in _everyone(promises):
        lrnorm.set_num_threads(timed.case.threads)
        try:
            entrants[timed] = MAKERS[timed.way](timed, arrays)
        except Unable as error:
            absent[timed] = str(error)
    return entrants, absent


def _everyone(promises: Sequence[Promise]) -> list[Timed]:
    return list(dict.fromkeys(timed for p in promises for timed in (p.bottom, p.top)))


def _needs_g(case: Case) -> bool:
    return case.verb != "forward"


# Findings


@dataclass(frozen=True)
class Finding:
    """A promise, and the figure that was measured."""

    promise: Promise
    figure: float | None  # None: not measured, and detail says why
    detail: str
    canary: str = ""

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return "not measured"
        return "met" if self.promise.met(self.figure) else "MISSED"


def measure_group(promises: Sequence[Promise], rounds: int) -> tuple[list[Finding], Row]:
    """Time everyone in the rows of one group together."""
    entrants, absent = prepare(promises)
    case = promises[0].bottom.case
    lrnorm.set_num_threads(case.threads)
    reasons = {timed.name or timed.way: reason for timed, reason in absent.items()}
    row = measuring.measure_row(case, list(entrants.values()), rounds, reasons)
    return findings_of(promises, dict(zip(entrants, row.columns, strict=True)), absent, row), row


def findings_of(
    promises: Sequence[Promise],
    times: dict[Timed, tuple[Who, Timing]],
    absent: dict[Timed, str],
    row: Row,
) -> list[Finding]:
    """The figure of each promise of a measured group."""
    found = []
    for promise in promises:
        if missing := next((t for t in (promise.top, promise.bottom) if t in absent), None):
            found.append(Finding(promise, None, absent[missing]))
            continue
        (who, top), (_, bottom) = times[promise.top], times[promise.bottom]
        detail = (
            f"{top.min_ns / 1e3:.4g} by {bottom.min_ns / 1e3:.4g} µs; medians "
            f"{top.median_ns / bottom.median_ns:.2f}; rounds {min(top.rounds, bottom.rounds)}"
        )
        detail = "; ".join([detail, *who.notes])
        found.append(Finding(promise, top.min_ns / bottom.min_ns, detail, canary_text(row)))
    return found


# Ends by itself when the process that started it is gone.
_SPIN = "import os\np = os.getppid()\nwhile os.getppid() == p:\n    for _ in range(10**6): pass"


def times_while_busy(calls: int) -> dict[int, list[int]]:
    """Nanoseconds of each of so many calls on one and on two threads, alternating, while as many
    processes spin as there are processors."""
    case = Case((1, 96, 55, 55))
    batch = measuring.our_entrants(case, measuring.make_arrays(case))[0].batch
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


def measure_busy(calls: int) -> tuple[list[Finding], Row]:
    times = times_while_busy(calls)
    measures: tuple[tuple[str, Callable[[list[int]], float]], ...] = (
        ("99th percentile", lambda t: statistics.quantiles(t, n=100)[98]),
        ("median", statistics.median),
    )
    one, two = (ours(Case((1, 96, 55, 55), threads=threads)) for threads in (1, 2))
    found = []
    for name, measure in measures:
        ones, twos = measure(times[1]), measure(times[2])
        promise = Promise("every core busy", f"two threads by one, {name}", two, one, 1.5)
        detail = f"{twos / 1e3:.4g} by {ones / 1e3:.4g} µs; {calls} calls each"
        found.append(Finding(promise, twos / ones, detail, "busy on purpose"))
    columns = []
    for threads, samples in times.items():
        late = measures[0][1](samples)
        note = f"every core busy; 99th percentile {late:.0f} ns"
        case = Case((1, 96, 55, 55), threads=threads)
        who = Who(case, OURS, False, str(threads), measuring.our_version(), notes=(note,))
        columns.append((who, Timing(min(samples), statistics.median(samples), len(samples), 1)))
    return found, Row(columns[0][0].case, columns, canary=None)


def measure_promises(
    rounds: int, calls_while_busy: int = CALLS_WHILE_BUSY
) -> Iterator[tuple[list[Finding], Row]]:
    """Group by group, so that a run that breaks keeps its first groups."""
    for group in dict.fromkeys(promise.group for promise in PROMISES):
        promises = [p for p in PROMISES if p.group == group]
        found, row = measure_group(promises, rounds)
        if row.busy:  # the quieter of two attempts; the row says if it was busy too
            again = measure_group(promises, rounds)
            found, row = max((found, row), again, key=lambda attempt: attempt[1].canary or 0)
        yield found, row
    yield measure_busy(calls_while_busy)


def findings_text(findings: Sequence[Finding], about: dict[str, Any], rounds: int) -> str:
    """The findings as a Markdown table."""
    lines = [
        about_text(about),
        "",
        f"Ratios of the fastest of {rounds} interleaved rounds.",
        "",
        "| shape | promise | bound | figure | | canary | times |",
        "|---|---|---|---|---|---|---|",
    ]
    for finding in findings:
        promise = finding.promise
        figure = "–" if finding.figure is None else f"{finding.figure:.2f}"
        lines.append(
            f"| {promise.bottom.case.shape_text} ({promise.group}) | {promise.text} | "
            f"{promise.bound_text} | {figure} | {finding.verdict} | {finding.canary} | "
            f"{finding.detail} |"
        )
    return "\n".join(lines) + "\n"
