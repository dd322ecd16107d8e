"""The speed that lrnorm promises: one table of rows, each a ratio of two times with its bound.

A row is a Promise in PROMISES. Rows of one group are timed together, in turns; `copy`, `ours`,
`fresh`, `rival` and `line` say who is timed. Figures go into a report: no test asserts a speed.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

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
class Timed:
    """What is timed: a way of MAKERS, and what it needs."""

    way: str
    case: Case
    name: str = ""


copy = partial(Timed, "copy")
shared_copy = partial(Timed, "shared copy")  # on as many threads as the case has
ours = partial(Timed, "ours")  # into an existing output
fresh = partial(Timed, "fresh")  # into a new output


def rival(name: str, case: Case) -> Timed:
    return Timed("rival", case, name)


def line(statement: str, dtype: str = "float32") -> Timed:
    """A line of code on ten numbers, as a loop in Python meets it."""
    return Timed("line", Case((1, 5, 2, 1), dtype, beta=0.5, threads=1), statement)


@dataclass(frozen=True)
class Promise(Bounded):
    """The time of `top` by the time of `bottom`, at most (or at least) `bound`."""

    group: str
    text: str
    top: Timed
    bottom: Timed
    bound: float
    at_least: bool = False


_LARGE = Case((64, 96, 55, 55))
_LAST = replace(_LARGE, layout="last")
_CACHED = Case((1, 96, 55, 55), threads=1)
_NET = Case((16, 192, 56, 56))
_WINDOWS = Case((8, 512, 28, 28))
_OURS_TINY, _ADD = "f(x)", "add(x, x)"


def _vjp(case: Case) -> Case:
    return replace(case, verb="vjp")


def _beta(case: Case, beta: float) -> Case:
    return replace(case, beta=beta)


_MIDDLE = Case((16, 96, 55, 55))
_ONE = Case((1, 96, 55, 55))
_WHOLE_LAST = Case((256, 1024, 1, 1), layout="last")
_DOUBLE = replace(_MIDDLE, dtype="float64")
_SHORT = (Case((16, 96, 4, 4)), Case((64, 512, 4, 4)))
_BEYOND = {  # arrays of twice the last cache of the machine that the page was measured on
    "float32": Case((867, 96, 55, 55)),
    "float16": Case((1734, 96, 55, 55), dtype="float16"),
    "bfloat16": Case((1734, 96, 55, 55), dtype="bfloat16"),
}
_BATCHES = (("16 pictures", _MIDDLE), ("1 picture", _ONE))

# Calls next to the common one: none is much slower.
NEIGHBOURS = (
    *(
        Promise(
            f"windows, {name}",
            f"window {2 * radius + 1} by 5, beta {beta:g}",
            ours(replace(case, radius=radius, beta=beta)),
            ours(_beta(case, beta)),
            1.6,
        )
        for name, case in _BATCHES
        for radius in (3, 5, 7, 15)
        for beta in (0.5, 0.75, 1.0)
    ),
    *(
        Promise(
            "wide windows",
            f"window {2 * radius + 1} by 5",
            ours(replace(Case((8, 256, 28, 28)), radius=radius)),
            ours(Case((8, 256, 28, 28))),
            1.8,
        )
        for radius in (31, 63, 127)
    ),
    *(
        Promise(
            f"exponents, {name}",
            f"beta {beta:g} by 0.75",
            ours(_beta(case, beta)),
            ours(case),
            bound,
        )
        for name, case in _BATCHES
        for beta, bound in (
            *((beta, 1.4) for beta in (1.25, 1.5, 1.75, 2.0, 3.0)),
            *((beta, 2) for beta in (0.6, 0.9, 1.1, 2.5)),
        )
    ),
    *(
        Promise(
            f"derivatives, {name}", text, ours(replace(case, verb=verb)), ours(_vjp(case)), bound
        )
        for name, case in _BATCHES
        for text, verb, bound in (
            ("vjp with parameters by vjp", "vjp and parameters", 1.6),
            ("jvp by vjp", "jvp", 1.1),
        )
    ),
    Promise("vjp in cache", "vjp by np.copyto", ours(_vjp(_CACHED)), copy(_CACHED), 4),
    *(
        Promise(
            f"whole axis, {name}, channels {case.layout}",
            f"{verb}, whole axis by window 5",
            ours(replace(case, radius=case.shape[1], verb=verb)),
            ours(replace(case, verb=verb)),
            1.3,
        )
        for name, case in (
            ("256×1024", _WHOLE_LAST),
            ("256×1024", Case((1, 1024, 16, 16))),
            ("16 pictures", _MIDDLE),
            ("16 pictures", replace(_MIDDLE, layout="last")),
        )
        for verb in ("forward", "vjp")
    ),
    Promise(
        "windows of zeros",
        "bias 0 over windows of zeros by bias 1",
        ours(replace(_MIDDLE, bias=0.0, values="mostly zeros")),
        ours(replace(_MIDDLE, values="mostly zeros")),
        3,
    ),
    *(
        Promise(
            f"rare values, {values}",
            f"all inputs {values} by ordinary ones",
            ours(replace(case, values=values)),
            ours(case),
            8,
        )
        for case, values in (
            (_ONE, "1e20"),
            (_MIDDLE, "1e20"),
            (replace(_ONE, dtype="float64"), "1e200"),
        )
    ),
    *(
        Promise("short rows", "4×4 pixels by np.copyto", ours(case), copy(case), bound)
        for case, bound in zip(_SHORT, (5, 1.3), strict=True)
    ),
    Promise("layouts", "forward, channels last by first", ours(_LAST), ours(_LARGE), 1.3),
    Promise("float64", "forward by np.copyto of its bytes", ours(_DOUBLE), copy(_DOUBLE), 2),
    Promise(
        "16 pictures", "forward by a copy on two threads", ours(_MIDDLE), shared_copy(_MIDDLE), 1.3
    ),
    Promise(
        "twice the last cache",
        "forward by the fastest copy",
        ours(_BEYOND["float32"]),
        shared_copy(_BEYOND["float32"]),
        1.1,
    ),
    *(
        Promise(
            f"twice the last cache, {name}",
            "forward by a copy on two threads",
            ours(_BEYOND[name]),
            shared_copy(_BEYOND[name]),
            1.3,
        )
        for name in ("float16", "bfloat16")
    ),
    *(
        Promise(
            "torch.compile",
            f"torch.compile by ours, beta {beta:g}",
            rival("torch.compile", _beta(_MIDDLE, beta)),
            fresh(_beta(_MIDDLE, beta)),
            1.5,
            True,
        )
        for beta in (1.0, 2.0)
    ),
    Promise(
        "ten numbers",
        "OpenCV by ours",
        rival("opencv", Case((1, 5, 2, 1))),
        fresh(Case((1, 5, 2, 1))),
        1,
        True,
    ),
)


PROMISES = (
    Promise("large", "forward, beta 0.75, by np.copyto", ours(_LARGE), copy(_LARGE), 1.3),
    Promise(
        "large", "forward, beta 0.5, by np.copyto", ours(_beta(_LARGE, 0.5)), copy(_LARGE), 1.3
    ),
    Promise("large", "beta 0.6 by beta 0.75", ours(_beta(_LARGE, 0.6)), ours(_LARGE), 2),
    Promise("large", "vjp by np.copyto", ours(_vjp(_LARGE)), copy(_LARGE), 2.2),
    Promise("large", "forward, channels last by first", ours(_LAST), ours(_LARGE), 1.5),
    Promise("large", "vjp, channels last by first", ours(_vjp(_LAST)), ours(_vjp(_LARGE)), 1.5),
    Promise("in cache", "beta 0.75 by np.copyto", ours(_CACHED), copy(_CACHED), 4),
    Promise("in cache", "beta 0.5 by np.copyto", ours(_beta(_CACHED, 0.5)), copy(_CACHED), 4),
    *(
        Promise("tiny", f"{dtype}, the function by np.add", line(_OURS_TINY, dtype), add, 6)
        for dtype in ("float32", "float64")
        for add in [line(_ADD, dtype)]
    ),
    Promise("rivals", "OpenVINO by ours", rival("openvino", _NET), ours(_NET), 2, True),
    Promise(
        "rivals",
        "OpenVINO by ours, beta 0.6",
        rival("openvino", _beta(_NET, 0.6)),
        ours(_beta(_NET, 0.6)),
        5,
        True,
    ),
    Promise(
        "rivals",
        "PyTorch eager by ours, both allocating",
        rival("torch", _NET),
        fresh(_NET),
        20,
        True,
    ),
    Promise(
        "windows", "window 63 by window 5", ours(replace(_WINDOWS, radius=31)), ours(_WINDOWS), 3
    ),
    *NEIGHBOURS,
)


# Who is timed


def _line_entrant(timed: Timed) -> Entrant:
    """Timed as a line of code: a function around the call would add a tenth of its time."""
    case = timed.case
    x = np.linspace(-2, 2, 10, dtype=case.dtype).reshape(5, 2, 1)
    is_ours = timed.name == _OURS_TINY
    version = measuring.our_version() if is_ours else np.__version__
    who = Who(case, OURS_ALLOCATING if is_ours else f"np.{timed.name}", True, version=version)
    names = {"f": lrnorm.local_response_norm, "add": np.add, "x": x}
    timer = timeit.Timer(timed.name, globals=names)
    return Entrant(who, lambda calls: round(timer.timeit(calls) * 1e9))


Make = Callable[[Timed, Callable[[Case], Arrays]], Entrant]
MAKERS: dict[str, Make] = {
    "copy": lambda timed, arrays: measuring.copy_entrant(timed.case, arrays(timed.case)),
    "shared copy": lambda timed, arrays: measuring.shared_copy_entrant(
        timed.case, arrays(timed.case)
    ),
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
