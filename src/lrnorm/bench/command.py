"""`lrnorm bench`: how long ours takes, beside a copy of the array and beside whoever else is here.

lrnorm bench                                  a few rows, in a minute or two
lrnorm bench --against torch,onnxruntime --plot bench.png
lrnorm bench --full --results benchmarks/results
lrnorm bench --suite promises                 each promised figure, and whether it is met
lrnorm bench --suite sweeps                   one thing varied at a time, in about ten minutes
"""

from __future__ import annotations

import argparse
import datetime
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lrnorm
from lrnorm._spec.errors import FileError, LRNormError
from lrnorm.bench import cases, promises, report, sweeps
from lrnorm.bench.cases import Shape
from lrnorm.bench.measure import measure_case
from lrnorm.bench.rivals import RIVALS
from lrnorm.bench.timing import ROUNDS
from lrnorm.cli.parser import Parser

# What a plain run measures: one picture that stays in the cache and sixteen that do not.
_DEFAULTS: dict[str, Any] = {
    "shape": [(1, 96, 55, 55), (16, 96, 55, 55)],
    "dtype": ["float32"],
    "layout": ["first"],
    "beta": [0.75],
    "verb": ["forward", "vjp"],
    "threads": [2],
}
_EVERYTHING: dict[str, Any] = {
    "shape": cases.SHAPES,
    "dtype": cases.DTYPES,
    "layout": cases.LAYOUTS,
    "beta": cases.BETAS,
    "verb": cases.VERBS,
    "threads": cases.THREADS,
}


def _listed(read: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def read_all(text: str) -> list[Any]:
        return [read(part.strip()) for part in text.split(",")]

    return read_all


def _one_of(what: str, known: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(
                f"unknown {what} {text!r}. There are: {', '.join(known)}"
            )
        return text

    return read


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


def _parser() -> Parser:
    parser = Parser(
        prog="lrnorm bench",
        description="Time Local Response Normalization beside a copy of the same bytes and beside "
        "every other library that is installed, interleaved in one run.",
        epilog="Lists are separated by commas. Without a choice, a few rows are measured.",
    )
    add = parser.add_argument
    add(
        "--suite",
        choices=tuple(_SUITES),
        default="table",
        help="table (default); promises: each promised figure and whether it is met; sweeps: one "
        "thing varied at a time, ten minutes",
    )
    add(
        "--only",
        type=_listed(_one_of("sweep", sweeps.NAMES)),
        metavar="…",
        help=f"of --suite sweeps: {', '.join(sweeps.NAMES)}",
    )
    add("--full", action="store_true", help="every shape, dtype, layout, beta, verb: takes hours")
    add("--shape", type=_listed(_shape), metavar="NxCxHxW,…", help="batch x channels x h x w")
    for name, known in (("dtype", cases.DTYPES), ("layout", cases.LAYOUTS), ("verb", cases.VERBS)):
        read = _listed(_one_of(name, known))
        add(f"--{name}", type=read, metavar="…", help=", ".join(known))
    add("--beta", type=_listed(_beta), metavar="…", help="exponents, such as 0.75,0.6")
    add("--threads", type=_listed(_positive), metavar="…", help="thread counts, such as 1,2")
    add("--rounds", type=_positive, default=ROUNDS, metavar="N", help=f"{ROUNDS} if left out")
    add(
        "--against",
        type=_listed(_one_of("rival", (*RIVALS, "none"))),
        metavar="…",
        help=f"{', '.join(RIVALS)}, or none; every installed one if left out",
    )
    add("--plot", type=Path, metavar="FILE", help="draw the times as multiples of a copy's")
    add("--results", type=Path, metavar="FOLDER", help="write CSV and Markdown there")
    return parser


def _rivals(arguments: argparse.Namespace) -> list[str]:
    against = RIVALS if arguments.against is None else arguments.against
    return [name for name in against if name != "none"]


def _run_table(arguments: argparse.Namespace, save: Callable[[str, str], None]) -> str:
    about = report.machine()
    chosen = {
        name: getattr(arguments, name) or (_EVERYTHING if arguments.full else _DEFAULTS)[name]
        for name in _DEFAULTS
    }
    wanted = list(cases.every_case(*chosen.values()))
    names = _rivals(arguments)
    rounds = arguments.rounds
    rows: list[report.Row] = []
    text = ""
    for number, case in enumerate(wanted, 1):
        print(f"[{number}/{len(wanted)}] {case}", file=sys.stderr, flush=True)
        row = measure_case(case, names, rounds)
        if row is None:
            continue
        rows.append(row)
        text = report.table_text(rows, about, rounds)
        save(report.csv_text(rows, about, rounds), text)
    if arguments.plot and rows:
        report.draw(rows, about, arguments.plot)
    return text


def _run_promises(arguments: argparse.Namespace, save: Callable[[str, str], None]) -> str:
    about = report.machine()
    rounds = arguments.rounds
    findings: list[promises.Finding] = []
    rows: list[report.Row] = []
    text = ""
    for found, row in promises.measure_promises(rounds):
        for finding in found:
            print(f"{finding.promise.text}: {finding.verdict}", file=sys.stderr, flush=True)
        findings += found
        rows.append(row)
        text = promises.findings_text(findings, about, rounds)
        save(report.csv_text(rows, about, rounds), text)
    return text


def _run_sweeps(arguments: argparse.Namespace, save: Callable[[str, str], None]) -> str:
    about = report.machine()
    rounds = arguments.rounds
    rows: list[report.Row] = []
    text = ""
    for row in sweeps.measure_sweeps(arguments.only or sweeps.NAMES, _rivals(arguments), rounds):
        rows.append(row)
        text = report.table_text(rows, about, rounds)
        save(report.csv_text(rows, about, rounds), text)
    return text


_SUITES = {"table": _run_table, "promises": _run_promises, "sweeps": _run_sweeps}
# The options that choose rows or pictures, and the suites that take them.
_TAKEN_BY = {
    **dict.fromkeys((*_DEFAULTS, "full", "plot"), ("table",)),
    "against": ("table", "sweeps"),
    "only": ("sweeps",),
}


def main(argv: list[str]) -> int:
    """Run the command; its exit status."""
    threads = lrnorm.show_config()["threads"]
    try:
        arguments = _arguments(argv)
        if arguments.plot:
            report.check_picture(arguments.plot)
        save = _saver(arguments.results, arguments.suite)
        print(_SUITES[arguments.suite](arguments, save), end="")
    except SystemExit as stop:  # argparse, after --help
        return int(stop.code or 0)
    except LRNormError as error:
        print("lrnorm:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    finally:
        lrnorm.set_num_threads(threads)
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args(argv)
    for name, suites in _TAKEN_BY.items():
        if getattr(arguments, name) and arguments.suite not in suites:
            parser.error(
                f"--suite {arguments.suite} has its own rows: leave out --{name}, which is for "
                f"--suite {' or '.join(suites)}"
            )
    return arguments


def _saver(folder: Path | None, suite: str) -> Callable[[str, str], None]:
    """Writes CSV and Markdown after every row, so that a long run that breaks is not lost."""
    if folder is None:
        return lambda table, text: None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"--results: cannot make the folder {folder}: {error.strerror}.") from error
    stem = f"{suite}-{datetime.datetime.now():%Y-%m-%d-%H%M}"

    def save(table: str, text: str) -> None:
        report.write_whole(folder / f"{stem}.csv", table.encode())
        report.write_whole(folder / f"{stem}.md", text.encode())

    return save
