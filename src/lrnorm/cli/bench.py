"""`lrnorm bench`: the speed on this machine, beside copying and beside other libraries."""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import lrnorm
from lrnorm.cli import measuring
from lrnorm.cli.measuring import COPIES, OURS, OURS_ALLOCATING, OWN, Case, Row, Timing, Unable, Who
from lrnorm.cli.parser import Parser
from lrnorm.cli.rivals import RIVALS, rival_entrant
from lrnorm.files import writing

# One picture, whose arrays stay in the cache, and sixteen, whose arrays do not.
_PICTURES = (Case((1, 96, 55, 55)), Case((16, 96, 55, 55)))
CASES = [replace(case, verb=verb) for case in _PICTURES for verb in ("forward", "vjp")]

OUR_COLOUR, CLOSE_COLOUR = "#c0392b", "#e59a8f"  # ours, and ours allocating
RIVAL_COLOURS = ("#9aa5b1", "#c9b458", "#7fa88f", "#a884b8", "#c78d6b", "#6f8fc2", "#8a8a5c")


def listed(what: str, known: Sequence[str]) -> Callable[[str], list[str]]:
    """Reads names that commas separate, for argparse."""

    def read(text: str) -> list[str]:
        names = [part.strip() for part in text.split(",")]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"unknown {what} {name!r}. There are: {', '.join(known)}"
                )
        return names

    return read


def add_options(parser: argparse.ArgumentParser) -> None:
    """--against and --plot, which benchmarks/run.py has too."""
    parser.add_argument(
        "--against",
        type=listed("rival", (*RIVALS, "none")),
        default=list(RIVALS),
        metavar="NAME,…",
        help=f"{', '.join(RIVALS)}, or none; default: every installed one",
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw the times as multiples of a copy's time"
    )


def run(words: list[str]) -> int:
    """Run `lrnorm bench` with these arguments and return its exit status."""
    parser = Parser(
        prog="lrnorm bench",
        description="Time Local Response Normalization beside a copy of the same bytes and beside "
        "every other library that is installed. Everyone takes a turn in each round of one run. "
        "It takes a minute or two.",
    )
    add_options(parser)
    parser.add_argument("--force", action="store_true", help="replace the drawing if it exists")
    given = parser.parse_args(words)
    threads = lrnorm.show_config()["threads"]
    with drawing(given.plot, overwrite=given.force) as draw:
        try:
            rows = list(measured(CASES, given.against, measuring.ROUNDS))
        finally:
            lrnorm.set_num_threads(threads)
        about = machine()
        print(table_text(rows, about, measuring.ROUNDS), end="")
        draw(rows, about)
    return 0


# Measuring


def measured(
    cases: Sequence[Case], rivals: Sequence[str], rounds: int, **how: Any
) -> Iterator[Row]:
    """The row of each case, as soon as it is measured."""
    for number, case in enumerate(cases, 1):
        print(f"[{number}/{len(cases)}] {case}", file=sys.stderr, flush=True)
        row = measure_case(case, rivals, rounds, **how)
        if row is not None:
            yield row


def measure_case(case: Case, rivals: Sequence[str], rounds: int, **how: Any) -> Row | None:
    """The row of a case; None, and a line with the reason, where even ours cannot be set up."""
    lrnorm.set_num_threads(case.threads)
    try:
        arrays = measuring.make_arrays(case)
    except Unable as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    into, fresh, expected = measuring.our_entrants(case, arrays)
    entrants = [*measuring.copy_entrants(case, arrays), into, fresh]
    absent = {}
    for name in rivals:
        if name == "none":
            continue
        try:
            entrants.append(rival_entrant(name, case, arrays, expected))
        except Unable as error:
            absent[name] = str(error)
    return measuring.measure_row(case, entrants, rounds, absent, **how)


def machine() -> dict[str, Any]:
    """What the figures are measured on, and with."""
    config = lrnorm.show_config()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "processors": config["processors"],
        **{name: config[name] for name in ("isa", "lrnorm", "numpy", "python")},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


# The table


def ratio(top: Timing | None, bottom: Timing | None) -> float | None:
    """The fastest of one by the fastest of the other; None where either is missing."""
    return None if top is None or bottom is None else top.min_ns / bottom.min_ns


def over_ours(row: Row, who: Who, timing: Timing) -> float | None:
    """A rival's time by ours, with ours allocating where the rival does."""
    if who.name in OWN:
        return None
    ours = OURS_ALLOCATING if who.allocates else OURS
    return ratio(timing, row.timing(ours, who.case))


def notes_of(who: Who, timing: Timing, rounds: int) -> list[str]:
    """What is to be said of a time beside the number."""
    few = [f"only {timing.rounds} rounds"] if timing.rounds < rounds else []
    return [*who.notes, *few]


def time_text(ns: float) -> str:
    """Nanoseconds in the unit that suits."""
    units = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns"))
    unit, name = next((u, n) for u, n in units if ns >= u or u == 1)
    return f"{ns / unit:.3g} {name}"


def canary_text(row: Row) -> str:
    """The canary of a row, marked where it shows a busy machine."""
    if row.canary is None:
        return "busy on purpose"
    return f"{row.canary:.2f}" + (" BUSY" if row.busy else "")


def about_text(about: dict[str, Any]) -> str:
    """The machine in one line."""
    return (
        f"{about['cpu']}, {about['processors']} processors, {about['system']}; "
        f"lrnorm {about['lrnorm']} ({about['isa']}), NumPy {about['numpy']}, "
        f"Python {about['python']}; {about['date']}"
    )


def table_text(rows: Sequence[Row], about: dict[str, Any], rounds: int) -> str:
    """The fastest times as Markdown: ours by the copy's, a rival's by ours."""
    names = list(dict.fromkeys(who.name for row in rows for who, _ in row.columns))
    versions = {who.name: who.version for row in rows for who, _ in row.columns}
    rivals = [name for name in names if name not in OWN]
    heads = [f"{name} {versions[name]}".strip() if name in rivals else name for name in names]
    lines = [
        about_text(about),
        "",
        f"Fastest of {rounds} interleaved rounds.",
        "lrnorm: (× the time of the faster copy, on one thread or on all).",
        "Others: (× the time of lrnorm, allocating where they do).",
        "",
        "| case | canary | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    remarks: Counter[str] = Counter()
    for row in rows:
        cells = {}
        for who, timing in row.columns:
            times = over_ours(row, who, timing)
            if who.name in (OURS, OURS_ALLOCATING):
                times = ratio(timing, row.fastest_copy(row.case))
            mark = "" if times is None else f" ({times:.2f}×)"
            cells[who.name] = f"{time_text(timing.min_ns)}{mark}"
            for note in notes_of(who, timing, rounds):
                cells[who.name] += "*"
                remarks[f"{who.name}: {note}"] += 1
        for name, reason in row.absent.items():
            remarks[f"{name}: {reason}"] += 1
        line = " | ".join(cells.get(name, "–") for name in names)
        lines.append(f"| {row.case} | {canary_text(row)} | {line} |")
    lines.append("")
    for remark, where in remarks.items():
        lines.append(
            f"- {remark}" + ("" if where == len(rows) else f" ({where} of {len(rows)} rows)")
        )
    if any(row.busy for row in rows):
        lines.append(
            "- BUSY: two threads were not 1.6 times as fast as one on a known loop; do not trust "
            "that row."
        )
    return "\n".join(lines).rstrip() + "\n"


# The drawing


@contextmanager
def drawing(path: str | None, *, overwrite: bool) -> Iterator[Callable[..., None]]:
    """A function that draws rows into the file, which appears when the block ends; without a file
    it does nothing. A name that cannot be drawn to is refused before the block, which takes long.
    """
    if path is None:
        yield lambda rows, about: None
        return
    kind = import_module("lrnorm.plot").file_kind(path)
    with writing(path, overwrite=overwrite) as stream:
        yield lambda rows, about: _figure(rows, about).savefig(stream, format=kind, dpi=150)


def _figure(rows: Sequence[Row], about: dict[str, Any]) -> Any:
    """Bars of time by the time of a copy, one group of bars a case."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    names = list(
        dict.fromkeys(who.name for row in rows for who, _ in row.columns if who.name not in COPIES)
    )
    colours = {OURS: OUR_COLOUR, OURS_ALLOCATING: CLOSE_COLOUR}
    others = [name for name in names if name not in colours]
    colours |= {name: RIVAL_COLOURS[i % len(RIVAL_COLOURS)] for i, name in enumerate(others)}
    bars = []  # (place, ratio, colour, text), from the top down
    ticks, place = [], 0.0
    for row in rows:
        top = place
        for who, timing in row.columns:
            times = ratio(timing, row.fastest_copy(row.case))
            if who.name in COPIES or times is None:
                continue
            text = f" {times:.1f}" if times < 100 else f" {times:,.0f}"
            bars.append((place, times, colours[who.name], text))
            place += 1
        busy = "\n(machine busy)" if row.busy else ""
        label = str(row.case).replace(", beta", ",\nbeta")
        ticks.append(((top + place - 1) / 2, f"{label}{busy}"))
        place += 1
    figure = Figure(figsize=(10, 1.6 + 0.24 * place), layout="constrained")
    axes = figure.add_subplot()
    places, widths, fills, texts = zip(*bars, strict=True)
    drawn = axes.barh(places, widths, height=0.85, color=fills)
    axes.bar_label(drawn, texts, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(min(0.8, min(widths) * 0.8), max(widths) * 2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(place - 1 + 0.2, -1)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("time ÷ time of copying the array, on one thread or on all; shorter is faster")
    handles = [Patch(color=colours[name]) for name in names]
    figure.legend(handles, names, loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    figure.supxlabel(about_text(about), fontsize=6, color="#666666")
    return figure
