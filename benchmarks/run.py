"""Measures chosen rows and keeps them in benchmarks/results, as CSV and Markdown.

python benchmarks/run.py                      the rows of `lrnorm bench`, in a minute or two
python benchmarks/run.py --shape 16x192x56x56 --beta 0.75,0.6 --against openvino,torch
python benchmarks/run.py --full               every shape, dtype, layout, beta and verb: hours
python benchmarks/run.py --suite promises     each promised figure, and whether it is met
python benchmarks/run.py --suite sweeps       one thing varied at a time, in about ten minutes
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import promises
import report
import sweeps

import lrnorm
from lrnorm._spec.errors import LRNormError
from lrnorm.cli import bench
from lrnorm.cli.measuring import DTYPES, LAYOUTS, ROUNDS, VERBS, Case, Row, Shape

RESULTS = Path(__file__).parent / "results"
Save = Callable[[str, str], None]

# Each choice of rows: what is measured without it, and with --full.
_CHOICES: dict[str, tuple[Sequence[Any], Sequence[Any]]] = {
    "shape": ([(1, 96, 55, 55), (16, 96, 55, 55)], sweeps.SHAPES),
    "dtype": (["float32"], DTYPES),
    "layout": (["first"], LAYOUTS),
    "beta": ([0.75], (0.75, 0.5, 0.6)),  # 0.6 has no short cut by square roots
    "verb": (["forward", "vjp"], VERBS[:2]),
    "threads": ([2], (1, 2)),
}


def every_case(*choices: Iterable[Any]) -> list[Case]:
    """Every combination of these, in the order of _CHOICES."""
    return [Case(*row) for row in itertools.product(*choices)]


def _listed(read: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda text: [read(part.strip()) for part in text.split(",")]


def _shape(text: str) -> Shape:
    sizes = text.replace("×", "x").split("x")
    if len(sizes) != 4 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(
            f"a shape is batch x channels x height x width, such as 16x96x55x55, got {text!r}"
        )
    return tuple(map(int, sizes))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return int(text)


def _beta(text: str) -> float:
    try:
        beta = float(text)
    except ValueError:
        beta = math.nan
    if not math.isfinite(beta):
        raise argparse.ArgumentTypeError(f"beta must be a finite real number, got {text!r}")
    return beta


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Time Local Response Normalization beside a copy of the same bytes and beside "
        "every other library that is installed, interleaved in one run.",
        epilog="Commas separate the items of a list.",
    )
    add = parser.add_argument
    add("--suite", choices=tuple(_SUITES), default="table", help="default: table")
    add(
        "--only",
        type=bench.listed("sweep", sweeps.NAMES),
        metavar="…",
        help=f"of --suite sweeps: {', '.join(sweeps.NAMES)}",
    )
    add("--full", action="store_true", help="every combination: takes hours")
    add("--shape", type=_listed(_shape), metavar="NxCxHxW,…", help="batch x channels x h x w")
    for name, known in (("dtype", DTYPES), ("layout", LAYOUTS), ("verb", VERBS)):
        add(f"--{name}", type=bench.listed(name, known), metavar="…", help=", ".join(known))
    add("--beta", type=_listed(_beta), metavar="…", help="exponents, such as 0.75,0.6")
    add("--threads", type=_listed(_positive), metavar="…", help="thread counts, such as 1,2")
    add("--rounds", type=_positive, default=ROUNDS, metavar="N", help="default %(default)s")
    add("--results", type=Path, default=RESULTS, metavar="FOLDER", help="default: %(default)s")
    bench.add_options(parser)
    return parser


def _run_table(given: argparse.Namespace, save: Save) -> str:
    about, rounds = report.machine(), given.rounds
    chosen = (getattr(given, name) or both[given.full] for name, both in _CHOICES.items())
    rows: list[Row] = []
    text = ""
    with bench.drawing(given.plot, overwrite=True) as draw:
        for row in bench.measured(every_case(*chosen), given.against, rounds):
            rows.append(row)
            text = bench.table_text(rows, about, rounds)
            save(report.csv_text(rows, about, rounds), text)
        draw(rows, about)
    return text


def _run_promises(given: argparse.Namespace, save: Save) -> str:
    about, rounds = report.machine(), given.rounds
    findings: list[promises.Finding] = []
    rows: list[Row] = []
    text = ""
    for found, row in promises.measure_promises(rounds):
        for finding in found:
            print(f"{finding.promise.text}: {finding.verdict}", file=sys.stderr, flush=True)
        findings += found
        rows.append(row)
        text = promises.findings_text(findings, about, rounds)
        save(report.csv_text(rows, about, rounds), text)
    return text


def _run_sweeps(given: argparse.Namespace, save: Save) -> str:
    about, rounds = report.machine(), given.rounds
    rows: list[Row] = []
    text = ""
    for row in sweeps.measure_sweeps(given.only or sweeps.NAMES, given.against, rounds):
        rows.append(row)
        text = bench.table_text(rows, about, rounds)
        save(report.csv_text(rows, about, rounds), text)
    return text


_SUITES = {"table": _run_table, "promises": _run_promises, "sweeps": _run_sweeps}
# The options that choose rows or pictures, and the suite that takes them.
_TAKEN_BY = {**dict.fromkeys((*_CHOICES, "full", "plot"), "table"), "only": "sweeps"}


def main(words: list[str]) -> int:
    parser = _parser()
    given = parser.parse_args(words)
    for name, suite in _TAKEN_BY.items():
        if getattr(given, name) and given.suite != suite:
            parser.error(
                f"--suite {given.suite} has its own rows: leave out --{name}, which is for "
                f"--suite {suite}"
            )
    threads = lrnorm.show_config()["threads"]
    stem = f"{given.suite}-{datetime.datetime.now():%Y-%m-%d-%H%M}"
    try:
        print(_SUITES[given.suite](given, report.saver(given.results, stem)), end="")
    except LRNormError as error:
        parser.error(str(error))
    finally:
        lrnorm.set_num_threads(threads)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
