"""`lrnorm bench`: how long ours takes, beside a copy of the array and beside whoever else is here.

lrnorm bench                                  a few rows, in a minute or two
lrnorm bench --against torch,onnxruntime --plot bench.png
lrnorm bench --full --results benchmarks/results
lrnorm bench --suite promises                 each promised figure, and whether it is met
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
from lrnorm._errors import FileError, LRNormError
from lrnorm.bench import cases, promises, report
from lrnorm.bench.cases import Case, Shape, Unable
from lrnorm.bench.rivals import RIVALS, rival_entrant
from lrnorm.bench.timing import ROUNDS

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
                f"unknown {what} {text!r}. There are: {', '.join(known)}."
            )
        return text

    return read


def _shape(text: str) -> Shape:
    sizes = text.replace("×", "x").split("x")
    if len(sizes) != 4 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(
            f"a shape is batch x channels x height x width, such as 16x96x55x55, got {text!r}."
        )
    return tuple(map(int, sizes))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}.")
    return int(text)


def _beta(text: str) -> float:
    try:
        beta = float(text)
    except ValueError:
        beta = math.nan
    if not math.isfinite(beta):
        raise argparse.ArgumentTypeError(f"beta must be a finite real number, got {text!r}.")
    return beta


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lrnorm bench",
        description="Time Local Response Normalization beside a copy of the same bytes and beside "
        "every other library that is installed, interleaved in one run.",
        epilog="Lists are separated by commas. Without a choice, a few rows are measured.",
    )
    add = parser.add_argument
    add(
        "--suite",
        choices=("table", "promises"),
        default="table",
        help="table (default), or promises: each promised figure and whether it is met",
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


def _measure(case: Case, names: Sequence[str], rounds: int) -> report.Row | None:
    lrnorm.set_num_threads(case.threads)
    try:
        arrays = cases.make_arrays(case)
    except Unable as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    into, fresh, expected = cases.our_entrants(case, arrays)
    entrants = [cases.copy_entrant(case, arrays), into, fresh]
    absent = {}
    for name in names:
        try:
            entrants.append(rival_entrant(name, case, arrays, expected))
        except Unable as error:
            absent[name] = str(error)
    return report.measure_row(case, entrants, rounds, absent)


def _run_table(arguments: argparse.Namespace, save: Callable[[str, str], None]) -> str:
    about = report.machine()
    chosen = {
        name: getattr(arguments, name) or (_EVERYTHING if arguments.full else _DEFAULTS)[name]
        for name in _DEFAULTS
    }
    wanted = list(cases.every_case(*chosen.values()))
    against = RIVALS if arguments.against is None else arguments.against
    names = [name for name in against if name != "none"]
    rows: list[report.Row] = []
    text = ""
    for number, case in enumerate(wanted, 1):
        print(f"[{number}/{len(wanted)}] {case}", file=sys.stderr, flush=True)
        row = _measure(case, names, arguments.rounds)
        if row is None:
            continue
        rows.append(row)
        text = report.table_text(rows, about, arguments.rounds)
        save(report.csv_text(rows, about, arguments.rounds), text)
    if arguments.plot and rows:
        report.draw(rows, about, arguments.plot)
    return text


def _run_promises(arguments: argparse.Namespace, save: Callable[[str, str], None]) -> str:
    about = report.machine()
    findings: list[promises.Finding] = []
    rows: list[report.Row] = []
    text = ""
    for found, row in promises.measure_promises(arguments.rounds):
        for finding in found:
            print(f"{finding.promise.text}: {finding.verdict}", file=sys.stderr, flush=True)
        findings += found
        rows.append(row)
        text = promises.findings_text(findings, about, arguments.rounds)
        save(report.csv_text(rows, about, arguments.rounds), text)
    return text


_SUITES = {"table": _run_table, "promises": _run_promises}


def main(argv: list[str]) -> int:
    """Run the command; its exit status."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        rows_chosen = [f"--{n}" for n in (*_DEFAULTS, "against", "plot") if getattr(arguments, n)]
        if arguments.suite == "promises" and (rows_chosen or arguments.full):
            parser.error(
                f"--suite promises has its own rows: leave out {(rows_chosen or ['--full'])[0]}."
            )
    except SystemExit as stop:  # argparse has printed what is wrong, or the help
        return int(stop.code or 0)
    threads = lrnorm.show_config()["threads"]
    try:
        if arguments.plot:
            report.check_picture(arguments.plot)
        save = _saver(arguments.results, arguments.suite)
        print(_SUITES[arguments.suite](arguments, save), end="")
    except LRNormError as error:
        print(f"lrnorm bench: {error}", file=sys.stderr)
        return 2
    finally:
        lrnorm.set_num_threads(threads)
    return 0


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
